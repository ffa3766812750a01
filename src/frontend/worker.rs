//! A worker thread: what it holds, and its life: accept, serve, obey orders, leave.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::connection::{self, Arrival, Held};
use super::registry::{Doing, Registry};
use super::report;
use super::stream::Scratch;
use crate::backend::pool::Pool;
pub use crate::config::model::BindProtocol;
use crate::config::model::ProxyProtocol;
use crate::core::fleet::frontends::FrontendStatus;
use crate::core::fleet::live::{FrontendLive, ListenerLive};
use crate::core::fleet::snapshot::{FrontendView, Snapshot};
use crate::core::fleet::spec::FrontendLog;
use crate::core::log::format::variable::Wants;
use crate::core::stats::counters::{Counter, Shard};
use crate::core::termination::Cause;
use crate::listener::bind::OpenListener;
use crate::listener::door::Door;
use crate::listener::per_source::{PerSource, SourcePlace};
use crate::log::WorkerLog;
use crate::runtime::buffer::BufferShelf;
use crate::runtime::clock;
use crate::runtime::compression::EncoderShelf;
use crate::runtime::shared::Shared;
use crate::runtime::socket::Socket;
use crate::runtime::splice::PipeShelf;
use crate::runtime::throttle::Throttles;
use crate::runtime::worker::{Handover, WorkerHandle, WorkerOrder};
use crate::tls::{BindAcceptor, Connectors};

/// How long log lines wait for company.
const LOG_FLUSH: Duration = Duration::from_millis(10);
/// How long a draining worker waits for its listeners to be emptied.
const LAST_ACCEPTS: Duration = Duration::from_millis(200);
/// How often idle server connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How long connections that are ordered to end may take to do so.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// Scratch spaces kept for reuse.
const SCRATCH_MAX: usize = 64;
/// A new connection goes to another worker if this one has so many more.
const LOAD_SLACK: u32 = 4;

/// What a worker needs to know of a bind.
#[derive(Debug, Clone)]
pub struct BindContext {
    /// Position of the frontend.
    pub frontend: usize,
    /// The address clients connect to; `None` for unix sockets.
    pub address: Option<SocketAddr>,
    /// PROXY headers, if connections begin with one.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS, if the bind terminates it.
    pub tls: Option<Arc<BindAcceptor>>,
    /// Which version of HTTP is spoken where no handshake says it.
    pub protocol: BindProtocol,
    /// The bind as the log names it.
    pub name: String,
    /// Connections per source, of the bind's frontend.
    pub per_source: Arc<PerSource>,
    /// The kernel's accept queue.
    pub backlog: u32,
    /// The file of a unix socket.
    pub file: Option<PathBuf>,
    /// Its own counters, if it has any (`socket_stats`).
    pub listener: Option<Arc<ListenerLive>>,
}

impl BindContext {
    /// Adds to a counter of the frontend, and of the bind itself if it is counted apart.
    #[inline]
    pub fn add(&self, frontend: &FrontendLive, shard: Shard, counter: Counter, n: u64) {
        frontend.counters.add(shard, counter, n);
        if let Some(listener) = &self.listener {
            listener.counters.add(shard, counter, n);
        }
    }

    /// Counts a connection of `peer` among those of its source: `None` when there are too many, which is counted, and
    /// the connection to be closed.
    pub fn enter(
        &self,
        frontend: &FrontendView,
        shard: Shard,
        peer: Option<SocketAddr>,
    ) -> Option<Option<SourcePlace>> {
        let (Some(limit), Some(peer)) = (frontend.spec.maxconn_per_source, peer) else { return Some(None) };
        let place = self.per_source.enter(peer.ip(), limit);
        if place.is_none() {
            self.count(&frontend.live, shard, Counter::Dcon);
        }
        place.map(Some)
    }

    /// [`BindContext::add`] of one.
    #[inline]
    pub fn count(&self, frontend: &FrontendLive, shard: Shard, counter: Counter) {
        self.add(frontend, shard, counter, 1);
    }
}

/// What a worker is made of.
pub struct WorkerParts {
    /// Its position.
    pub index: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Its log.
    pub log: WorkerLog,
    /// All binds, and this worker's listener for each.
    pub binds: Vec<(BindContext, OpenListener)>,
    /// All workers, itself included.
    pub peers: Vec<WorkerHandle>,
    /// Its orders.
    pub orders: mpsc::UnboundedReceiver<WorkerOrder>,
    /// TLS to servers.
    pub connectors: Arc<Connectors>,
    /// Seed of its random generator.
    pub seed: u64,
}

/// A snapshot held by one worker: cloning the `Rc` around it costs no atomic operation on memory all workers share.
#[derive(Debug)]
pub struct Pinned(Arc<Snapshot>);

impl std::ops::Deref for Pinned {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// A worker. Everything in it belongs to one thread.
pub struct Worker {
    /// Its position.
    pub index: usize,
    /// Its counters' shard.
    pub shard: Shard,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Buffers.
    pub shelf: BufferShelf,
    /// Encoders for answers.
    pub encoders: EncoderShelf,
    /// Idle server connections.
    pub pool: RefCell<Pool>,
    /// Pipes for sessions that move much.
    pub pipes: Rc<PipeShelf>,
    /// TLS to servers.
    pub connectors: Arc<Connectors>,
    /// Log lines; added by [`Worker::with_log`].
    log: RefCell<WorkerLog>,
    /// What the log targets' formats show that has to be found out for them.
    log_wants: Wants,
    /// Said when the first line waits in an empty log.
    log_waits: Notify,
    /// Chance.
    pub rng: RefCell<fastrand::Rng>,
    /// Connections.
    pub registry: Rc<Registry>,
    /// Binds.
    pub binds: Vec<Rc<BindContext>>,
    /// Where they come in, by bind.
    doors: Vec<Door>,
    /// Said when no more connections are to be accepted.
    drain: Notify,
    /// Turns of source addresses.
    pub source_turn: Cell<usize>,
    snapshot: RefCell<Rc<Pinned>>,
    #[allow(clippy::vec_box, reason = "the boxes are what is handed out")]
    scratch: RefCell<Vec<Box<Scratch>>>,
    peers: Vec<WorkerHandle>,
}

impl Worker {
    /// The newest snapshot. Pinning it costs no atomic write.
    #[inline]
    pub fn snapshot(&self) -> Rc<Pinned> {
        let mut pinned = self.snapshot.borrow_mut();
        if self.shared.snapshot.is_newer_than(pinned.generation) {
            *pinned = Rc::new(Pinned(self.shared.snapshot.load_full()));
        }
        pinned.clone()
    }

    /// Adds to the log, and sees to it that what is added leaves soon.
    pub fn with_log(&self, add: impl FnOnce(&mut WorkerLog)) {
        let mut log = self.log.borrow_mut();
        let was_empty = log.is_empty();
        add(&mut log);
        if was_empty && !log.is_empty() {
            self.log_waits.notify_one();
        }
    }

    /// What the line of a request in this frontend shows that has to be found out for it.
    pub fn log_wants(&self, log: &FrontendLog) -> Wants {
        match &log.format {
            _ if log.off => Wants::default(),
            Some(format) => format.wants(),
            None => self.log_wants,
        }
    }

    /// A scratch space for one request.
    pub fn scratch(&self) -> Box<Scratch> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Scratch spaces kept for reuse.
    pub fn scratches_kept(&self) -> usize {
        self.scratch.borrow().len()
    }

    /// Takes a scratch space back.
    pub fn shelve_scratch(&self, mut scratch: Box<Scratch>) {
        let mut shelf = self.scratch.borrow_mut();
        if shelf.len() < SCRATCH_MAX && scratch.is_modest() {
            scratch.clear();
            shelf.push(scratch);
        }
    }

    /// Whether connections that came in by this frontend are to end when they can: it or the process is on its way out.
    #[inline]
    pub fn is_leaving(&self, frontend: &FrontendLive) -> bool {
        self.shared.is_draining() || frontend.status() == FrontendStatus::Stopped
    }

    /// The least loaded other worker, if a new connection should go there.
    fn better_worker(&self) -> Option<&WorkerHandle> {
        let load = |i: usize| self.shared.worker_load.get(i).map_or(u32::MAX, |l| l.load(Ordering::Relaxed));
        let mine = load(self.index);
        let least = (0..self.peers.len()).min_by_key(|i| load(*i))?;
        let theirs = load(least);
        (mine > theirs.saturating_add(LOAD_SLACK + theirs / 4)).then(|| &self.peers[least])
    }
}

/// Runs a worker to its end.
pub async fn run(parts: WorkerParts) {
    let WorkerParts { index, shared, log, binds, peers, mut orders, connectors, seed } = parts;
    let mut contexts = Vec::with_capacity(binds.len());
    let mut doors = Vec::with_capacity(binds.len());
    for (context, listener) in binds {
        // The file of a unix socket is shared by all workers: one looks after it.
        let file = context.file.clone().filter(|_| index == 0);
        let door = Door::open(listener, context.backlog, file);
        contexts.push(Rc::new(context));
        match door {
            Ok(door) => doors.push(door),
            Err(error) => {
                tracing::error!(%error, worker = index, "cannot watch a listening socket");
                return;
            }
        }
    }
    let pinned = Rc::new(Pinned(shared.snapshot.load_full()));
    let worker = Rc::new(Worker {
        index,
        shard: Shard(index),
        encoders: EncoderShelf::new(shared.compression.clone()),
        shared,
        shelf: BufferShelf::default(),
        pool: RefCell::new(Pool::default()),
        pipes: Rc::new(PipeShelf::default()),
        connectors,
        log_wants: log.wants(),
        log: RefCell::new(log),
        log_waits: Notify::new(),
        rng: RefCell::new(fastrand::Rng::with_seed(seed)),
        registry: Rc::new(Registry::default()),
        binds: contexts,
        doors,
        drain: Notify::new(),
        source_turn: Cell::new(index),
        snapshot: RefCell::new(pinned),
        scratch: RefCell::new(Vec::new()),
        peers,
    });
    let mut accepting: Vec<_> =
        (0..worker.doors.len()).map(|bind| tokio::task::spawn_local(accept_loop(worker.clone(), bind))).collect();
    let flushing = tokio::task::spawn_local(flush_log(worker.clone()));
    let sweeping = tokio::task::spawn_local(sweep_pool(worker.clone()));
    let mut draining = false;
    loop {
        let order = if draining && worker.registry.is_empty() { None } else { orders.recv().await };
        match order {
            None => break,
            Some(WorkerOrder::Stop) => {
                end_all(&worker).await;
                break;
            }
            Some(WorkerOrder::Drain) => {
                draining = true;
                for door in &worker.doors {
                    // What the kernel has already taken in is served; whoever comes later is refused.
                    let _ = door.set(FrontendStatus::Stopped);
                }
                worker.drain.notify_waiters();
                for task in accepting.drain(..) {
                    // Each ends once nothing is left to accept, unless it waits for a place under `maxconn`.
                    let _ = tokio::time::timeout(LAST_ACCEPTS, task).await;
                }
                worker.registry.for_each(|e| e.wake());
                let watched = worker.clone();
                let me = worker.peers[index].clone();
                tokio::task::spawn_local(async move {
                    // The last connection to leave ends the worker.
                    while !watched.registry.is_empty() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let _ = me.orders.send(WorkerOrder::Stop);
                });
            }
            Some(order) => obey(&worker, order),
        }
    }
    flushing.abort();
    sweeping.abort();
    worker.log.borrow_mut().flush();
}

/// Orders every connection to end, and lets each write its log line.
async fn end_all(worker: &Worker) {
    let until = clock::now() + STOP_PATIENCE;
    worker.registry.for_each(|e| e.end(Cause::Stopping));
    while !worker.registry.is_empty() && clock::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn obey(worker: &Rc<Worker>, order: WorkerOrder) {
    match order {
        WorkerOrder::ListStreams(reply) => {
            let _ = reply.send(report::list(worker));
        }
        WorkerOrder::Describe(reply) => {
            let _ = reply.send(report::describe(worker));
        }
        WorkerOrder::KillStream { id, cause } => worker.registry.for_each(|e| {
            if e.id == id {
                e.end(cause);
            }
        }),
        WorkerOrder::KillServerStreams { server, cause } => worker.registry.for_each(|e| {
            if e.server.get() == Some(server) {
                e.end(cause);
            }
        }),
        WorkerOrder::CloseIdle(server) => worker.pool.borrow_mut().close(server),
        WorkerOrder::SetListening { frontend, status } => set_listening(worker, frontend, status),
        WorkerOrder::Report(done) => {
            let _ = done.send(());
        }
        WorkerOrder::Adopt(handover) => adopt(worker, handover),
        WorkerOrder::Drain | WorkerOrder::Stop => {}
    }
}

/// Sends log lines on that have waited for company long enough. An idle worker is not woken.
async fn flush_log(worker: Rc<Worker>) {
    loop {
        worker.log_waits.notified().await;
        tokio::time::sleep(LOG_FLUSH).await;
        worker.log.borrow_mut().flush();
    }
}

/// Closes server connections that were idle too long.
async fn sweep_pool(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        worker.pool.borrow_mut().sweep(clock::now());
    }
}

/// Opens, pauses or shuts the doors of a frontend.
fn set_listening(worker: &Worker, frontend: usize, status: FrontendStatus) {
    for (context, door) in worker.binds.iter().zip(&worker.doors).filter(|(c, _)| c.frontend == frontend) {
        if let Err(error) = door.set(status) {
            tracing::error!(%error, worker = worker.index, bind = %context.name, ?status, "cannot change a listening socket");
        }
    }
    if status == FrontendStatus::Stopped {
        // Those between two requests would never look up by themselves.
        worker.registry.for_each(|e| {
            if e.frontend == frontend && e.doing.get() == Doing::Idle && e.requests.get() > 0 {
                e.end(Cause::Stopping);
            }
        });
    }
}

async fn accept_loop(worker: Rc<Worker>, bind: usize) {
    let shared = worker.shared.clone();
    let (context, Some(door)) = (worker.binds[bind].clone(), worker.doors.get(bind)) else { return };
    let (frontend, tls) = (context.frontend, context.tls.is_some());
    let Some(of_frontend) = shared.frontend_connections.get(frontend) else { return };
    let throttles = &shared.throttles;
    loop {
        let next = door.next();
        let arrived = if worker.shared.is_draining() {
            // The door is shut: what is left behind it is served.
            let mut next = std::pin::pin!(next);
            let ready = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            let Poll::Ready(arrived) = ready else { return };
            arrived
        } else {
            tokio::select! {
                arrived = next => arrived,
                () = worker.drain.notified() => continue,
            }
        };
        let Some((socket, peer)) = arrived else { return };
        // Over a limit a connection waits here, and those behind it in the kernel's queue; none is refused.
        if of_frontend.is_full() || shared.connections.is_full() {
            shared.process.maxconn_reached.fetch_add(1, Ordering::Relaxed);
        }
        let of_frontend = of_frontend.enter().await;
        let of_process = shared.connections.enter().await;
        if !shared.is_draining() {
            tokio::select! {
                biased;
                () = await_turn(throttles, frontend, tls) => {}
                // Who was taken in is served before the process ends, and nobody comes after.
                () = worker.drain.notified() => {}
            }
        }
        let arrival = Arrival { bind, socket, peer, announced: None, places: (of_process, of_frontend) };
        if let Some(arrival) = hand_over(&worker, arrival) {
            welcome(&worker, arrival);
        }
    }
}

/// Waits until all rates let one more connection of this frontend through.
async fn await_turn(throttles: &Throttles, frontend: usize, tls: bool) {
    throttles.connections.pass().await;
    throttles.sessions.pass().await;
    if let Some(throttle) = throttles.frontends.get(frontend) {
        throttle.pass().await;
    }
    if tls {
        throttles.tls.pass().await;
    }
}

/// Gives a fresh connection to a less loaded worker, if there is one; gives it back otherwise.
fn hand_over(worker: &Worker, arrival: Arrival) -> Option<Arrival> {
    // A worker that leaves may have left already when this reaches it.
    let Some(other) = worker.better_worker().filter(|_| !worker.shared.is_draining()) else { return Some(arrival) };
    let Arrival { bind, socket: Socket::Tcp(socket), peer, places, .. } = arrival else { return Some(arrival) };
    if let Ok(socket) = socket.into_std() {
        let _ = other.orders.send(WorkerOrder::Adopt(Handover { socket, bind, peer, places }));
    }
    None
}

fn adopt(worker: &Rc<Worker>, handover: Handover) {
    let Handover { socket, bind, peer, places } = handover;
    if let (true, Ok(socket)) = (bind < worker.binds.len(), tokio::net::TcpStream::from_std(socket)) {
        welcome(worker, Arrival { bind, socket: Socket::Tcp(socket), peer, announced: None, places });
    }
}

fn welcome(worker: &Rc<Worker>, arrival: Arrival) {
    let context = worker.binds[arrival.bind].clone();
    let snapshot = worker.snapshot();
    let Some(frontend) = snapshot.frontends.get(context.frontend) else { return };
    let place = match context.proxy_protocol {
        // Whose it is will be known later.
        Some(_) => None,
        None => match context.enter(frontend, worker.shard, arrival.peer) {
            Some(place) => place,
            None => {
                // As HAProxy: a connection that is refused was one, but never became a session.
                context.count(&frontend.live, worker.shard, Counter::ConnTot);
                return;
            }
        },
    };
    let counted = Counted::new(worker, frontend.live.clone(), &context);
    connection::start(worker, context, arrival, Held::new(counted, place));
}

/// A connection's part in the gauges; leaves them when dropped.
#[derive(Debug)]
pub struct Counted {
    shared: Arc<Shared>,
    frontend: Arc<FrontendLive>,
    listener: Option<Arc<ListenerLive>>,
    worker: usize,
}

impl Counted {
    fn new(worker: &Worker, frontend: Arc<FrontendLive>, bind: &BindContext) -> Counted {
        worker.shared.process.connections.rise();
        frontend.connections.rise();
        if let Some(listener) = &bind.listener {
            listener.connections.rise();
        }
        match (&bind.proxy_protocol, &bind.listener) {
            (None, _) => bind.count(&frontend, worker.shard, Counter::Stot),
            // As HAProxy: it becomes a session of the frontend once its header was read.
            (Some(_), Some(listener)) => listener.counters.inc(worker.shard, Counter::Stot),
            (Some(_), None) => {}
        }
        bind.count(&frontend, worker.shard, Counter::ConnTot);
        if let Some(load) = worker.shared.worker_load.get(worker.index) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Counted { shared: worker.shared.clone(), frontend, listener: bind.listener.clone(), worker: worker.index }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Caught at the connection's task: this one is lost, the others go on.
            self.frontend.counters.inc(Shard(self.worker), Counter::Eint);
            if let Some(listener) = &self.listener {
                listener.counters.inc(Shard(self.worker), Counter::Eint);
            }
            tracing::error!(worker = self.worker, "a connection ended in a panic");
        }
        self.shared.process.connections.fall();
        self.frontend.connections.fall();
        if let Some(listener) = &self.listener {
            listener.connections.fall();
        }
        if let Some(load) = self.shared.worker_load.get(self.worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
