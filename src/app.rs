//! The only wiring: what starts, what stops, in which order.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin::AdminServer;
use crate::config::model::{Bind, BindAddress, Global, Model};
use crate::control::orders::ControlOrders;
use crate::control::state_file::StateFile;
use crate::control::tls::LiveTls;
use crate::control::{ControlHandle, ControlParts};
use crate::core::fleet::Fleet;
use crate::core::fleet::event::Effect;
use crate::core::fleet::live::ProcessLive;
use crate::core::fleet::saved::SavedState;
use crate::core::limit::RateTable;
use crate::core::pattern::Patterns;
use crate::core::route::RouteIndex;
use crate::discovery::Lookup;
use crate::frontend::worker::{self, BindContext, WorkerParts};
use crate::listener::bind::{self, OpenListener};
use crate::listener::door;
use crate::listener::per_source::PerSource;
use crate::log::{ControlLog, LogClock, LogSetup, LogWriter, WorkerLog, system_zone};
use crate::runtime::compression::Budget;
use crate::runtime::gate::Gate;
use crate::runtime::notify::notify;
use crate::runtime::page::{PAGE_BACKLOG, PageRequest};
use crate::runtime::shared::{CONTROL_BACKLOG, Published, Shared, WorkerReport};
use crate::runtime::throttle::{Throttle, Throttles};
use crate::runtime::worker::{WorkerHandle, WorkerOrder, local_runtime, spawn};
use crate::runtime::{clock, limits};
use crate::tls::{BindAcceptor, Certificates, Clocks, Connectors, Resumption, ticket_source};
use crate::web::PageServer;

/// How often the workers are looked at.
const WORKER_WATCH: Duration = Duration::from_secs(1);
/// How often a stopping process looks whether its workers are gone.
const LEAVE_POLL: Duration = Duration::from_millis(10);

/// What is told to whoever started us, once everything listens.
#[derive(Debug)]
pub struct Listening {
    /// Each bind as it was configured and the address it really got.
    pub binds: Vec<(String, BindAddress)>,
}

/// A process that is up, before it serves.
struct Started {
    workers: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    log_writer: LogWriter,
    log: ControlLog,
    reports: mpsc::Receiver<WorkerReport>,
    page_requests: mpsc::Receiver<PageRequest>,
    control: ControlParts,
    first_effects: Vec<Effect>,
}

/// Runs lockgate as `model` says, until a signal ends it. `on_listening` hears the addresses once they are open.
/// `startup` is what was said of the configuration, for `show startup-logs`: severity word and text of each.
pub fn run(model: Model, startup: Vec<(&'static str, Box<str>)>, on_listening: impl FnOnce(&Listening)) -> Result<()> {
    let runtime = local_runtime().context("cannot start the control thread's runtime")?;
    let descriptors = limits::raise_descriptors(model.descriptors_needed());
    let admin_sockets = model.global.admin.clone();
    let grace = model.global.grace;
    runtime.block_on(async move {
        // Before any worker accepts, so that a clash ends the start and costs no client its connection.
        let server = AdminServer::bind(&admin_sockets).context("cannot open an admin socket")?;
        let (started, listening) = start(model, startup, descriptors)?;
        let Started { workers, threads, shared, log_writer, log, reports, page_requests, control, first_effects } =
            started;
        let control = ControlHandle::new(control);
        let orders = Rc::new(ControlOrders::new(control.clone()));
        let pages = PageServer::new(orders.clone()).context("cannot serve stats pages")?;
        let mut tasks = JoinSet::new();
        let admin = tasks.spawn_local(async move {
            let Err(error) = server.serve(orders).await;
            tracing::error!(%error, "admin sockets cannot be served");
        });
        tasks.spawn_local(pages.serve(page_requests));
        tasks.spawn_local(control.clone().hear_workers(reports));
        tasks.spawn_local(control.clone().keep_rates());
        tasks.spawn_local(control.clone().keep_certificates());
        control.carry_out(first_effects);
        tasks.spawn_local(control.clone().run_timers());
        log.event(5, &format!("lockgate {} started.", env!("CARGO_PKG_VERSION")));
        on_listening(&listening);
        serve_until_signal(&log_writer, &mut tasks, &threads).await?;
        leave(&shared, &workers, threads, grace, &log).await?;
        admin.abort();
        tasks.shutdown().await;
        remove_unix_binds(&listening);
        log_writer.shutdown();
        Ok(())
    })
}

fn start(model: Model, startup: Vec<(&'static str, Box<str>)>, descriptors: u64) -> Result<(Started, Listening)> {
    let threads = model.global.threads;
    let process = ProcessLive::new();
    let (log_writer, worker_logs, log) =
        LogWriter::start(&model.global.logs, log_setup(threads, &process)).context("cannot start logging")?;
    let resumption = resumption(&model)?;
    let connectors = connectors(&model)?;
    let mut certificates = Certificates::new();
    let mut contexts = bind_contexts(&model, &resumption, &mut certificates)?;
    let loaded_at = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    certificates.refresh_staples(i64::try_from(loaded_at.as_secs()).unwrap_or(i64::MAX));
    let tls = LiveTls { acceptors: contexts.iter().filter_map(|context| context.tls.clone()).collect() };
    let (listeners, listening) = open_binds(&model.binds, threads)?;
    for (context, (_, got)) in contexts.iter_mut().zip(&listening.binds) {
        if let BindAddress::Tcp(address) = got {
            context.address = Some(*address);
        }
    }
    let name =
        |context: &BindContext| Some((model.fleet.frontends.get(context.frontend)?.name.clone(), context.address?));
    let binds = contexts.iter().filter_map(name).collect();
    let saved = match &model.global.state_file {
        Some(path) => StateFile::load(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => SavedState::default(),
    };
    let state_file = model.global.state_file.clone().map(StateFile::open).transpose()?;
    let now = clock::now();
    let (fleet, first_effects) = Fleet::new(&model.fleet, threads + 1, &saved, fastrand::u64(..), now);
    let limits = model.global.limits;
    let fleet = fleet.with_limits(limits);
    give_counters(&mut contexts, &fleet);
    let (to_control, reports) = mpsc::channel(CONTROL_BACKLOG);
    let (to_pages, page_requests) = mpsc::channel(PAGE_BACKLOG);
    let frontends = &model.fleet.frontends;
    let patterns = Patterns::new(model.patterns, model.fleet.backends.iter().map(|b| &*b.name));
    let shared = Arc::new(Shared {
        snapshot: Published::new(fleet.snapshot().clone()),
        process,
        connections: Gate::new(limits.maxconn),
        frontend_connections: frontends.iter().map(|f| Gate::new(f.maxconn)).collect(),
        throttles: Throttles {
            connections: Throttle::new(limits.connection_rate),
            sessions: Throttle::new(limits.session_rate),
            tls: Throttle::new(limits.tls_rate),
            frontends: frontends.iter().map(|f| Throttle::new(f.session_rate.unwrap_or(0))).collect(),
        },
        compression: compression_budget(&model.global),
        rate_tables: frontends
            .iter()
            .map(|f| f.rate_limits.iter().map(|l| Arc::new(RateTable::new(l.clone()))).collect())
            .collect(),
        patterns: patterns.live().clone(),
        route_indexes: frontends.iter().map(|f| RouteIndex::new(&f.routes)).collect(),
        worker_load: (0..threads).map(|_| AtomicU32::new(0)).collect(),
        draining: AtomicBool::new(false),
        started: now,
        to_control,
        to_pages,
    });
    let (workers, handles) = spawn_workers(&shared, contexts, listeners, worker_logs, &connectors)?;
    let control = ControlParts {
        fleet,
        patterns,
        shared: shared.clone(),
        workers: workers.clone(),
        log: log.clone(),
        lookup: Lookup::system(),
        resumption,
        state_file,
        listeners: (model.binds.len() + model.global.admin.len()) as u32,
        global: model.global,
        descriptors,
        certificates,
        tls,
        connectors,
        startup,
        binds,
    };
    let threads = handles;
    let started = Started { workers, threads, shared, log_writer, log, reports, page_requests, control, first_effects };
    Ok((started, listening))
}

fn log_setup(workers: usize, live: &Arc<ProcessLive>) -> LogSetup {
    LogSetup {
        workers,
        live: live.clone(),
        pid: std::process::id(),
        zone: system_zone(),
        clock: LogClock { monotonic: clock::now, wall: clock::wall },
    }
}

fn resumption(model: &Model) -> Result<Arc<Resumption>> {
    let started = clock::now();
    let clocks = Clocks {
        monotonic: Arc::new(move || clock::now().saturating_duration_since(started)),
        wall: Arc::new(|| clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default()),
    };
    let keys = ticket_source::load(&model.global.tls.ticket_keys)?;
    Ok(Resumption::new(&model.global.tls, &keys, clocks)?)
}

/// Makes the connector of every server now, so that a file that cannot be used ends the start.
fn connectors(model: &Model) -> Result<Arc<Connectors>> {
    let connectors = Connectors::new();
    let now = clock::now();
    for server in model.fleet.backends.iter().flat_map(|backend| &backend.servers) {
        let check = server.check.iter().filter_map(|check| check.tls.as_ref());
        for settings in server.tls.settings().into_iter().chain(check) {
            connectors.get(settings, now).with_context(|| format!("server {}: cannot speak TLS", settings.owner))?;
        }
    }
    Ok(Arc::new(connectors))
}

/// What every worker needs to know of each bind.
fn bind_contexts(
    model: &Model,
    resumption: &Arc<Resumption>,
    certificates: &mut Certificates,
) -> Result<Vec<BindContext>> {
    let per_source: Vec<_> = model.fleet.frontends.iter().map(|_| Arc::new(PerSource::default())).collect();
    let mut contexts = Vec::with_capacity(model.binds.len());
    for bind in &model.binds {
        let frontend = bind.frontend.0 as usize;
        let name = &model.fleet.frontends[frontend].name;
        let tls = match &bind.tls {
            None => None,
            Some(spec) => {
                let address = shown(&bind.address);
                let resolver = certificates
                    .open_bind(&format!("frontend {name}, {address}"), spec)
                    .with_context(|| format!("frontend {name}: cannot use the certificates"))?;
                // Not the address: machines that share ticket keys have different ones.
                let place = bind.name.as_ref().map_or_else(|| bind.number.to_string(), ToString::to_string);
                let acceptor = BindAcceptor::new(spec, &format!("{name} {place}"), resumption, resolver);
                Some(acceptor.with_context(|| format!("frontend {name}, {address}"))?)
            }
        };
        contexts.push(BindContext {
            frontend,
            address: match &bind.address {
                BindAddress::Tcp(a) => Some(*a),
                BindAddress::Unix(_) => None,
            },
            proxy_protocol: bind.proxy_protocol.clone(),
            tls,
            protocol: bind.protocol,
            name: bind.name.as_ref().map_or_else(|| bind.number.to_string(), ToString::to_string),
            per_source: per_source[frontend].clone(),
            listener: None,
            backlog: bind.backlog,
            file: match &bind.address {
                BindAddress::Tcp(_) => None,
                BindAddress::Unix(unix) => Some(unix.path.clone()),
            },
        });
    }
    Ok(contexts)
}

/// Gives each bind that is counted by itself its counters.
fn give_counters(contexts: &mut [BindContext], fleet: &Fleet) {
    for (index, frontend) in fleet.frontends().iter().enumerate() {
        let named = frontend.live.named();
        let binds = contexts.iter_mut().filter(|c| c.frontend == index);
        for (context, listener) in binds.zip(&named.listeners) {
            context.listener = Some(listener.clone());
        }
    }
}

fn compression_budget(global: &Global) -> Arc<Budget> {
    let limits = &global.compression;
    Budget::new(limits.memory_bytes, global.limits.compression_rate, limits.cpu_max_percent)
}

/// An address as people write it.
pub fn shown(address: &BindAddress) -> String {
    match address {
        BindAddress::Tcp(a) => a.to_string(),
        BindAddress::Unix(u) => u.path.display().to_string(),
    }
}

/// Opens every bind for every worker: `listeners[bind][worker]`.
fn open_binds(binds: &[Bind], workers: usize) -> Result<(Vec<Vec<OpenListener>>, Listening)> {
    let mut listeners = Vec::with_capacity(binds.len());
    let mut listening = Listening { binds: Vec::with_capacity(binds.len()) };
    for bind in binds {
        let opened = bind::open(bind, workers)?;
        let got = match (&bind.address, opened.first()) {
            (BindAddress::Tcp(_), Some(OpenListener::Tcp(l))) => BindAddress::Tcp(l.local_addr()?),
            (address, _) => address.clone(),
        };
        listening.binds.push((shown(&bind.address), got));
        listeners.push(opened);
    }
    Ok((listeners, listening))
}

fn spawn_workers(
    shared: &Arc<Shared>,
    contexts: Vec<BindContext>,
    listeners: Vec<Vec<OpenListener>>,
    logs: Vec<WorkerLog>,
    connectors: &Arc<Connectors>,
) -> Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>)> {
    let mut handles = Vec::new();
    let mut orders = Vec::new();
    for index in 0..logs.len() {
        let (sender, receiver) = mpsc::unbounded_channel();
        handles.push(WorkerHandle { index, orders: sender });
        orders.push(receiver);
    }
    let mut by_worker: Vec<Vec<(BindContext, OpenListener)>> = logs.iter().map(|_| Vec::new()).collect();
    for (context, opened) in contexts.into_iter().zip(listeners) {
        for (of_worker, listener) in by_worker.iter_mut().zip(opened) {
            of_worker.push((context.clone(), listener));
        }
    }
    let mut threads = Vec::new();
    for (index, ((log, binds), orders)) in logs.into_iter().zip(by_worker).zip(orders).enumerate() {
        let parts = WorkerParts {
            index,
            shared: shared.clone(),
            log,
            binds,
            peers: handles.clone(),
            orders,
            connectors: connectors.clone(),
            seed: fastrand::u64(..),
        };
        threads.push(spawn(format!("worker-{index}"), move || worker::run(parts))?);
    }
    Ok((handles, threads))
}

/// Serves until SIGTERM or SIGINT. A control task or a worker that ends before that ends the process, because its state
/// can no longer be trusted; the service manager starts it anew.
async fn serve_until_signal(log_writer: &LogWriter, tasks: &mut JoinSet<()>, threads: &[JoinHandle<()>]) -> Result<()> {
    let mut look = tokio::time::interval(WORKER_WATCH);
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut usr1 = signal(SignalKind::user_defined1())?;
    let mut hup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = usr1.recv() => log_writer.reopen(),
            ended = tasks.join_next() => match ended {
                Some(Err(error)) => anyhow::bail!("a control task failed: {error}"),
                _ => anyhow::bail!("a control task ended"),
            },
            _ = look.tick() => {
                if threads.iter().any(JoinHandle::is_finished) {
                    anyhow::bail!("a worker ended");
                }
            }
            _ = hup.recv() => tracing::warn!("this version does not reload its configuration; restart to apply changes"),
        }
    }
}

/// Stops accepting, lets what runs finish for up to `grace`, then closes. A second signal leaves at once.
async fn leave(
    shared: &Shared,
    workers: &[WorkerHandle],
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    log: &ControlLog,
) -> Result<()> {
    notify("STOPPING=1");
    log.event(4, &format!("lockgate is stopping, open requests may take {} s to finish.", grace.as_secs()));
    shared.draining.store(true, Ordering::Release);
    for worker in workers {
        let _ = worker.orders.send(WorkerOrder::Drain);
    }
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let gone = async {
        while threads.iter().any(|t| !t.is_finished()) {
            tokio::time::sleep(LEAVE_POLL).await;
        }
    };
    let all_done = tokio::select! {
        () = gone => true,
        () = tokio::time::sleep(grace) => false,
        _ = term.recv() => false,
        _ = int.recv() => false,
    };
    if !all_done {
        log.event(4, "lockgate closes what is still open.");
        for worker in workers {
            let _ = worker.orders.send(WorkerOrder::Stop);
        }
        let patience = clock::now() + Duration::from_secs(2);
        while threads.iter().any(|t| !t.is_finished()) && clock::now() < patience {
            tokio::time::sleep(LEAVE_POLL).await;
        }
    }
    log.event(5, "lockgate stopped.");
    Ok(())
}

fn remove_unix_binds(listening: &Listening) {
    for (_, address) in &listening.binds {
        if let BindAddress::Unix(unix) = address {
            let _ = std::fs::remove_file(&unix.path);
            let _ = std::fs::remove_file(door::aside(&unix.path));
        }
    }
}
