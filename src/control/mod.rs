//! The one writer of state: events go in, the fleet changes, effects are carried out.
//!
//! Everything here runs on the control thread. Reading order: [`ControlHandle::apply`], `effects`, [`state_file`],
//! [`orders`] (what the admin sockets may ask), `metrics` (what a scrape gets), [`mod@tls`] (certificates on disk).

mod effects;
mod facts;
mod metrics;
pub mod orders;
pub mod remembered;
pub mod state_file;
pub mod tls;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Notify, mpsc};

use crate::config::model::Global;
use crate::core::fleet::event::{Effect, Event};
use crate::core::fleet::{Fleet, Refusal};
use crate::core::pattern::Patterns;
use crate::core::stats::Rates;
use crate::discovery::Lookup;
use crate::log::ControlLog;
use crate::runtime::clock;
use crate::runtime::notify::notify;
use crate::runtime::shared::{BadMessage, Shared, WorkerReport};
use crate::runtime::worker::WorkerHandle;
use crate::tls::{Certificates, Connectors, Resumption};

use self::state_file::StateFile;
use self::tls::LiveTls;

/// Refused messages kept for `show errors`.
const ERRORS_MAX: usize = 64;

/// The control task's belongings.
pub struct Control {
    fleet: Fleet,
    patterns: Patterns,
    shared: Arc<Shared>,
    workers: Vec<WorkerHandle>,
    log: ControlLog,
    lookup: Rc<Lookup>,
    resumption: Arc<Resumption>,
    rates: Rates,
    errors: VecDeque<BadMessage>,
    errors_total: u64,
    state_file: Option<StateFile>,
    global: Global,
    descriptors: u64,
    started_wall_us: u64,
    boot_time: std::time::Duration,
    listeners: u32,
    idleness: facts::Idleness,
    ready: bool,
    certificates: Certificates,
    tls: LiveTls,
    watch: tls::Watch,
    connectors: Arc<Connectors>,
    events: remembered::Events,
    startup: Vec<(&'static str, Box<str>)>,
    binds: Vec<(Box<str>, SocketAddr)>,
}

/// The way to the control state for everything that runs on the control thread.
#[derive(Clone)]
pub struct ControlHandle {
    control: Rc<RefCell<Control>>,
    changed: Rc<Notify>,
    ready: Rc<Notify>,
}

/// What a control task is made of.
pub struct ControlParts {
    /// The fleet.
    pub fleet: Fleet,
    /// Maps and access lists.
    pub patterns: Patterns,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// The workers.
    pub workers: Vec<WorkerHandle>,
    /// Where state changes are logged.
    pub log: ControlLog,
    /// DNS.
    pub lookup: Lookup,
    /// TLS sessions and ticket keys.
    pub resumption: Arc<Resumption>,
    /// Where operator state is kept.
    pub state_file: Option<StateFile>,
    /// The `global` section.
    pub global: Global,
    /// The limit on descriptors in force.
    pub descriptors: u64,
    /// Listening sockets, admin sockets included.
    pub listeners: u32,
    /// The certificates of every bind.
    pub certificates: Certificates,
    /// TLS of all binds.
    pub tls: LiveTls,
    /// TLS to servers.
    pub connectors: Arc<Connectors>,
    /// What was said at the start, for `show startup-logs`: severity word and text.
    pub startup: Vec<(&'static str, Box<str>)>,
    /// The frontend and address of every bind on TCP.
    pub binds: Vec<(Box<str>, SocketAddr)>,
}

impl ControlHandle {
    /// Takes charge.
    pub fn new(parts: ControlParts) -> ControlHandle {
        let now = clock::now();
        let started = parts.shared.started;
        let mut rates = Rates::default();
        rates.sample(&parts.fleet, 0, now);
        let control = Control {
            rates,
            fleet: parts.fleet,
            patterns: parts.patterns,
            shared: parts.shared,
            workers: parts.workers,
            log: parts.log,
            lookup: Rc::new(parts.lookup),
            resumption: parts.resumption,
            errors: VecDeque::new(),
            errors_total: 0,
            state_file: parts.state_file,
            global: parts.global,
            descriptors: parts.descriptors,
            started_wall_us: clock::wall_us(),
            boot_time: now.saturating_duration_since(started),
            listeners: parts.listeners,
            idleness: facts::Idleness::new(now),
            ready: false,
            certificates: parts.certificates,
            tls: parts.tls,
            watch: None,
            connectors: parts.connectors,
            events: remembered::Events::default(),
            startup: parts.startup,
            binds: parts.binds,
        };
        ControlHandle {
            control: Rc::new(RefCell::new(control)),
            changed: Rc::new(Notify::new()),
            ready: Rc::new(Notify::new()),
        }
    }

    /// Lets something happen.
    pub fn apply(&self, event: Event) -> Result<(), Refusal> {
        self.control.borrow().may_connect(&event)?;
        let effects = self.control.borrow_mut().fleet.apply(event, clock::now())?;
        self.carry_out(effects);
        Ok(())
    }

    /// Carries out what the fleet asks for.
    pub fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out_one(effect);
        }
        self.changed.notify_one();
    }

    /// Waits until every server has had its first check.
    pub async fn until_ready(&self) {
        while !self.control.borrow().ready {
            self.ready.notified().await;
        }
    }

    /// Runs the fleet's timers. Never returns.
    pub async fn run_timers(self) {
        loop {
            let next = self.control.borrow().fleet.next_timeout();
            let now = clock::now();
            match next {
                Some(at) if at <= now => {
                    let effects = self.control.borrow_mut().fleet.on_timeout(now);
                    self.carry_out(effects);
                    tokio::task::yield_now().await;
                }
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes in what workers report. Never returns while a worker lives.
    pub async fn hear_workers(self, mut reports: mpsc::Receiver<WorkerReport>) {
        while let Some(report) = reports.recv().await {
            match report {
                WorkerReport::Event(event) => {
                    if let Err(refusal) = self.apply(event) {
                        tracing::debug!(%refusal, "event changed nothing");
                    }
                }
                WorkerReport::BadMessage(bad) => {
                    let mut control = self.control.borrow_mut();
                    control.errors_total += 1;
                    if control.errors.len() == ERRORS_MAX {
                        control.errors.pop_front();
                    }
                    control.errors.push_back(*bad);
                }
            }
        }
    }

    /// Once a second: samples rates, retires ticket keys, forgets expired keys of rate limits, tells systemd how we are.
    /// Never returns.
    pub async fn keep_rates(self) {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut status = String::new();
        loop {
            tick.tick().await;
            let control = &mut *self.control.borrow_mut();
            let admin = control.shared.process.admin_connections.load(Ordering::Relaxed);
            control.rates.sample(&control.fleet, admin, clock::now());
            control.sample_idleness();
            control.resumption.rotate();
            control.keep_staples();
            for table in control.shared.rate_tables.iter().flatten() {
                table.drop_expired(clock::now());
            }
            control.patterns.tidy();
            let now = control.status_line();
            if now != status {
                notify(&format!("STATUS={now}"));
                status = now;
            }
        }
    }
}

impl Control {
    /// Refuses a new server whose files for TLS cannot be used.
    fn may_connect(&self, event: &Event) -> Result<(), Refusal> {
        let Event::AddServer { spec, .. } = event else { return Ok(()) };
        let check = spec.check.iter().filter_map(|check| check.tls.as_ref());
        for settings in spec.tls.settings().into_iter().chain(check) {
            self.connectors.get(settings, clock::now()).map_err(|error| Refusal(format!("{error}.")))?;
        }
        Ok(())
    }

    /// One line on how everything is, for `systemctl status`.
    fn status_line(&self) -> String {
        let backends = self.fleet.backends();
        let servers: usize = backends.iter().map(|b| b.servers.len()).sum();
        let up = backends.iter().flat_map(|b| &b.servers).filter(|s| s.state.is_eligible()).count();
        format!("{up} of {servers} servers usable, {} connections", self.shared.process.connections.now())
    }
}
