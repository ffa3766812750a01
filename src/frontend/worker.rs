//! A worker thread: what it holds, and its life: accept, serve, obey orders, leave.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::connection::{self, Arrival, Held};
use super::registry::{Doing, Registry};
use super::stream::Scratch;
use crate::backend::pool::Pool;
use crate::core::admin::StreamRow;
use crate::core::admin::sessions::StreamState;
use crate::core::admin::threads::{PoolView, WorkerView};
use crate::core::fleet::live::FrontendLive;
use crate::core::fleet::snapshot::{ConnectTo, Snapshot};
use crate::core::stats::counters::{Counter, Shard};
use crate::core::termination::Cause;
use crate::listener::accept::Acceptor;
use crate::listener::bind::OpenListener;
use crate::listener::per_source::PerSource;
use crate::log::WorkerLog;
use crate::runtime::buffer::{BUFFER_BYTES, BufferShelf, LARGE_BUFFER_BYTES};
use crate::runtime::clock;
use crate::runtime::shared::Shared;
use crate::runtime::socket::Socket;
use crate::runtime::worker::{Handover, WorkerHandle, WorkerOrder};

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
    /// TLS, if the bind terminates it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The bind as the log names it.
    pub name: String,
    /// Connections per source, of the bind's frontend.
    pub per_source: Arc<PerSource>,
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
    /// Idle server connections.
    pub pool: RefCell<Pool>,
    /// Log lines; added by [`Worker::with_log`].
    log: RefCell<WorkerLog>,
    /// Said when the first line waits in an empty log.
    log_waits: Notify,
    /// Chance.
    pub rng: RefCell<fastrand::Rng>,
    /// Connections.
    pub registry: Rc<Registry>,
    /// Binds.
    pub binds: Vec<Rc<BindContext>>,
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
        let newest = self.shared.snapshot.load();
        let mut pinned = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(&newest, &pinned.0) {
            *pinned = Rc::new(Pinned(Arc::clone(&newest)));
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

    /// A scratch space for one request.
    pub fn scratch(&self) -> Box<Scratch> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a scratch space back.
    pub fn shelve_scratch(&self, mut scratch: Box<Scratch>) {
        let mut shelf = self.scratch.borrow_mut();
        if shelf.len() < SCRATCH_MAX && scratch.is_modest() {
            scratch.clear();
            shelf.push(scratch);
        }
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
    let WorkerParts { index, shared, log, binds, peers, mut orders, seed } = parts;
    let mut contexts = Vec::with_capacity(binds.len());
    let mut acceptors = Vec::with_capacity(binds.len());
    for (context, listener) in binds {
        contexts.push(Rc::new(context));
        match Acceptor::register(listener) {
            Ok(acceptor) => acceptors.push(acceptor),
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
        shared,
        shelf: BufferShelf::default(),
        pool: RefCell::new(Pool::default()),
        log: RefCell::new(log),
        log_waits: Notify::new(),
        rng: RefCell::new(fastrand::Rng::with_seed(seed)),
        registry: Rc::new(Registry::default()),
        binds: contexts,
        drain: Notify::new(),
        source_turn: Cell::new(index),
        snapshot: RefCell::new(pinned),
        scratch: RefCell::new(Vec::new()),
        peers,
    });
    let mut accepting: Vec<_> = acceptors
        .into_iter()
        .enumerate()
        .map(|(bind, acceptor)| tokio::task::spawn_local(accept_loop(worker.clone(), bind, acceptor)))
        .collect();
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
            let _ = reply.send(list(worker));
        }
        WorkerOrder::Describe(reply) => {
            let _ = reply.send(describe(worker));
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
        WorkerOrder::Adopt(handover) => adopt(worker, handover),
        WorkerOrder::Drain | WorkerOrder::Stop => {}
    }
}

fn describe(worker: &Worker) -> WorkerView {
    let snapshot = worker.snapshot();
    let counted = |counter| snapshot.frontends.iter().map(|f| f.live.counters.of(worker.shard, counter)).sum();
    let runtime = tokio::runtime::Handle::current().metrics();
    let [buffers, large_buffers, _] = worker.shelf.kept();
    WorkerView {
        index: worker.index,
        connections: u32::try_from(worker.registry.len()).unwrap_or(u32::MAX),
        accepted: counted(Counter::ConnTot),
        requests: counted(Counter::ReqTot),
        tasks: runtime.num_alive_tasks() as u64,
        loops: runtime.worker_park_count(0),
        busy: runtime.worker_total_busy_duration(0),
        pools: vec![
            PoolView { name: "buffer", size: BUFFER_BYTES, kept: buffers },
            PoolView { name: "large_buffer", size: LARGE_BUFFER_BYTES, kept: large_buffers },
            PoolView { name: "scratch", size: size_of::<Scratch>(), kept: worker.scratch.borrow().len() },
        ],
    }
}

fn list(worker: &Worker) -> Vec<StreamRow> {
    let snapshot = worker.snapshot();
    let now = clock::now();
    let mut rows = Vec::with_capacity(worker.registry.len());
    worker.registry.for_each(|e| {
        let backend = e.backend.get().and_then(|i| snapshot.backends.get(i));
        let server = e.server.get().and_then(|id| backend?.servers.get(id.index as usize));
        rows.push(StreamRow {
            id: e.id,
            began_at: e.began_at,
            age: now.saturating_duration_since(e.since),
            source: e.peer,
            destination: e.destination,
            tls: e.tls,
            frontend: snapshot
                .frontends
                .get(e.frontend)
                .map_or_else(|| (Box::default(), 0), |f| (f.spec.name.clone(), f.spec.iid)),
            backend: backend.map(|b| (b.spec.name.clone(), b.spec.iid)),
            server: server.map(|s| (s.spec.name.clone(), s.id.index + 1)),
            server_address: server.and_then(|s| match s.address {
                Some(ConnectTo::Ip(address)) => Some(address),
                _ => None,
            }),
            requests: e.requests.get(),
            retries: e.retries.get(),
            state: match e.doing.get() {
                Doing::Handshake | Doing::Idle | Doing::Request => StreamState::Request,
                Doing::Tarpit => StreamState::Tarpit,
                Doing::Queue => StreamState::Queue,
                Doing::Connect => StreamState::Connect,
                Doing::Headers => StreamState::Response,
                Doing::Data => StreamState::Transfer,
                Doing::Tunnel => StreamState::Tunnel,
            },
            client_expires_in: None,
            server_expires_in: None,
            bytes_in: e.bytes_in.get(),
            bytes_out: e.bytes_out.get(),
            request: Box::default(),
        });
    });
    rows
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

async fn accept_loop(worker: Rc<Worker>, bind: usize, acceptor: Acceptor) {
    let frontend = worker.binds[bind].frontend;
    let Some(of_frontend) = worker.shared.frontend_permits.get(frontend).cloned() else { return };
    loop {
        let next = acceptor.next();
        let (socket, peer) = if worker.shared.is_draining() {
            // What the kernel has already taken in is served; closing the socket now would reset it.
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
        // Over the limit a connection waits here, and those behind it in the kernel's queue; none is refused.
        if of_frontend.available_permits() == 0 || worker.shared.connection_permits.available_permits() == 0 {
            worker.shared.process.maxconn_reached.fetch_add(1, Ordering::Relaxed);
        }
        let Ok(frontend_permit) = of_frontend.clone().acquire_owned().await else { return };
        let Ok(permit) = worker.shared.connection_permits.clone().acquire_owned().await else { return };
        let arrival = Arrival { bind, socket, peer, permits: (permit, frontend_permit) };
        if let Some(arrival) = hand_over(&worker, arrival) {
            welcome(&worker, arrival);
        }
    }
}

/// Gives a fresh connection to a less loaded worker, if there is one; gives it back otherwise.
fn hand_over(worker: &Worker, arrival: Arrival) -> Option<Arrival> {
    // A worker that leaves may have left already when this reaches it.
    let Some(other) = worker.better_worker().filter(|_| !worker.shared.is_draining()) else { return Some(arrival) };
    let Arrival { bind, socket: Socket::Tcp(socket), peer, permits } = arrival else { return Some(arrival) };
    if let Ok(socket) = socket.into_std() {
        let _ = other.orders.send(WorkerOrder::Adopt(Handover { socket, bind, peer, permits }));
    }
    None
}

fn adopt(worker: &Rc<Worker>, handover: Handover) {
    let Handover { socket, bind, peer, permits } = handover;
    if let (true, Ok(socket)) = (bind < worker.binds.len(), tokio::net::TcpStream::from_std(socket)) {
        welcome(worker, Arrival { bind, socket: Socket::Tcp(socket), peer, permits });
    }
}

fn welcome(worker: &Rc<Worker>, arrival: Arrival) {
    let context = worker.binds[arrival.bind].clone();
    let snapshot = worker.snapshot();
    let Some(frontend) = snapshot.frontends.get(context.frontend) else { return };
    let place = match (frontend.spec.maxconn_per_source, arrival.peer) {
        (Some(limit), Some(peer)) => match context.per_source.enter(peer.ip(), limit) {
            Some(place) => Some(place),
            None => {
                frontend.live.counters.inc(worker.shard, Counter::Dcon);
                return;
            }
        },
        _ => None,
    };
    let counted = Counted::new(worker, frontend.live.clone());
    connection::start(worker, context, arrival, Held::new(counted, place));
}

/// A connection's part in the gauges; leaves them when dropped.
#[derive(Debug)]
pub struct Counted {
    shared: Arc<Shared>,
    frontend: Arc<FrontendLive>,
    worker: usize,
}

impl Counted {
    fn new(worker: &Worker, frontend: Arc<FrontendLive>) -> Counted {
        worker.shared.process.connections.rise();
        frontend.connections.rise();
        frontend.counters.inc(worker.shard, Counter::Stot);
        frontend.counters.inc(worker.shard, Counter::ConnTot);
        if let Some(load) = worker.shared.worker_load.get(worker.index) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Counted { shared: worker.shared.clone(), frontend, worker: worker.index }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Caught at the connection's task: this one is lost, the others go on.
            self.frontend.counters.inc(Shard(self.worker), Counter::Eint);
            tracing::error!(worker = self.worker, "a connection ended in a panic");
        }
        self.shared.process.connections.fall();
        self.frontend.connections.fall();
        if let Some(load) = self.shared.worker_load.get(self.worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
