//! The control state machine: every server's two-axis state, driven by events, read through snapshots.
//!
//! [`Fleet`] is the one place where control state changes. An [`event::Event`] goes in with the time, [`Effect`]s come
//! out; the shell carries them out and feeds the results back. Nothing here waits, and nothing here touches a socket.
//!
//! Reading order: [`spec`] (what was configured), [`event`] (what happens), [`snapshot`] (what workers read), [`live`]
//! (the atomics they touch); then the machine: `apply` (what an event does), [`agent`], `track` and `elsewhere` (agents,
//! servers that follow others, orders about addresses), `consequence` (what a change of state entails), `schedule` (when
//! the next check, ramp step and look-up are due), `publish` (backend accounting and snapshots), `members` (servers
//! added and deleted), [`frontends`] (what frontends are told), `sentence` (HAProxy's log lines), [`saved`] (what
//! outlives the process), `find` (names to ids).

pub mod agent;
mod apply;
mod clear;
mod consequence;
mod elsewhere;
pub mod event;
mod find;
pub mod frontends;
mod invariants;
pub mod live;
mod members;
mod publish;
pub mod saved;
mod schedule;
mod sentence;
pub mod snapshot;
pub mod spec;
#[cfg(test)]
pub(crate) mod tests;
mod track;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::AgentEntry;
use event::{Effect, Origin};
use live::{BackendLive, FrontendLive, ServerLive};
use members::Deleted;
use saved::SavedState;
use schedule::CheckSchedule;
use snapshot::{ConnectTo, FrontendView, Snapshot};
use spec::{BackendIndex, BackendSpec, FleetSpec, InitialState, ServerAddress, ServerId, ServerSpec};

use crate::core::discovery::Resolution;
use crate::core::health::CheckOutcome;
use crate::core::limit::process::ProcessLimits;
use crate::core::route::RouteAction;
use crate::core::server::{AdminState, Ramp, ServerState};

/// Everything the control task knows of frontends, backends and servers.
#[derive(Debug)]
pub struct Fleet {
    frontends: Vec<Arc<FrontendView>>,
    backends: Vec<BackendEntry>,
    snapshot: Arc<Snapshot>,
    /// Writers of counters: the workers, and the control thread last.
    shards: usize,
    rng: fastrand::Rng,
    /// Of the next probe.
    next_ticket: u64,
    /// `Effect::Ready` was given.
    ready: bool,
    limits: ProcessLimits,
    /// Turns from servers being deleted to servers being added, and back; see [`ServerEntry::revision`].
    turnover: u32,
}

/// A backend in the control task.
#[derive(Debug)]
pub struct BackendEntry {
    /// Its configuration.
    pub spec: Arc<BackendSpec>,
    /// Its atomics.
    pub live: Arc<BackendLive>,
    /// By their `id.index`, which may have gaps: find one with [`Fleet::server`].
    pub servers: Vec<ServerEntry>,
    /// Places of deleted servers, by index. With `servers` they leave no gap.
    deleted: Vec<Deleted>,
    /// A tenth of the connections that the frontends with a route to it may have, at least 1. HAProxy: the default of
    /// `fullconn`.
    pub session_limit: u32,
    /// Switched to maintenance, by configuration or by hand.
    pub maintenance: bool,
    /// Whether some server is usable (`status` UP or DOWN).
    pub up: bool,
    /// When `up` last changed.
    pub changed_at: Instant,
    /// Times it went down.
    pub down_count: u64,
    /// Time spent down before `changed_at`.
    pub downtime: Duration,
    /// `up` has been known once: before, "no server available" is not news.
    settled: bool,
}

/// A server in the control task.
#[derive(Debug)]
pub struct ServerEntry {
    /// Its identity.
    pub id: ServerId,
    /// Its number (`sid`), from 1 on. Unique in the backend; a deleted server's is given to the next one.
    pub sid: u32,
    /// Tells servers that had the same number one after the other apart (`srid`).
    pub revision: u32,
    /// Added at run time: it is not in the configuration, and the state file does not keep it.
    pub dynamic: bool,
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Its atomics.
    pub live: Arc<ServerLive>,
    /// The two-axis state with the health counter.
    pub state: ServerState,
    /// Where it is, as far as known.
    pub address: Option<ConnectTo>,
    /// Weight set by the operator or the configuration, 0 to 256.
    pub weight: u32,
    /// Requests in flight at once, if limited.
    pub maxconn: Option<u32>,
    /// The last finished check.
    pub last_check: Option<LastCheck>,
    /// A check is running now.
    pub check_running: bool,
    /// Who set the admin state last, if anyone did.
    pub changed_by: Option<Origin>,
    /// When the effective state last changed.
    pub changed_at: Instant,
    /// `chkfail`: failed checks while up.
    pub check_failures: u64,
    /// `chkdown`: times it went down.
    pub down_count: u64,
    /// Time spent down before `down_since`.
    pub downtime: Duration,
    /// Since when it is down, if it is.
    pub down_since: Option<Instant>,
    /// The ramp it is on.
    ramp: Option<Ramp>,
    /// Its checks.
    schedule: CheckSchedule,
    /// The look-ups of its name.
    resolution: Option<Resolution>,
    /// An address an operator set; the name is not looked up any more.
    set_address: Option<SocketAddr>,
    /// A name an operator set in place of the configured one.
    set_name: Option<Box<str>>,
    /// A look-up is under way.
    look_up_running: bool,
    /// The answer under way is to a name it has no more.
    answer_is_old: bool,
    /// Where checks go instead of the server's address.
    check_address: Option<IpAddr>,
    /// Where checks go instead of the server's port.
    check_port: Option<u16>,
    /// Its agent, if it has one.
    pub agent: Option<AgentEntry>,
    /// Whether it is spoken to in TLS, where an operator said so.
    set_tls: Option<bool>,
    /// Servers that track it.
    followers: Vec<ServerId>,
    /// Requests wait for the server it tracks.
    lead_awaited: bool,
}

/// The last finished check of a server.
#[derive(Debug, Clone)]
pub struct LastCheck {
    /// What came of it.
    pub outcome: CheckOutcome,
    /// When it ended.
    pub at: Instant,
}

/// Why an event changed nothing. `Display` is HAProxy's sentence for the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Fleet {
    /// A fleet as configured, with what operators had set before (`saved`), and what is to be done first: the first
    /// check of every server and the first look-up of every name leave at once.
    ///
    /// `shards` is the number of workers and one for the control thread. `seed` spreads the checks.
    pub fn new(spec: &FleetSpec, shards: usize, saved: &SavedState, seed: u64, now: Instant) -> (Fleet, Vec<Effect>) {
        let shards = shards.max(1);
        let frontends = spec
            .frontends
            .iter()
            .map(|f| Arc::new(FrontendView { spec: f.clone(), live: FrontendLive::new(f, shards) }))
            .collect::<Vec<_>>();
        let limits = session_limits(spec);
        let backends = spec.backends.iter().zip(limits).zip(0..).map(|((b, session_limit), i)| BackendEntry {
            session_limit,
            ..BackendEntry::new(b, BackendIndex(i), shards, now)
        });
        let mut fleet = Fleet {
            snapshot: Arc::new(Snapshot { generation: 0, frontends: frontends.clone(), backends: Vec::new() }),
            frontends,
            backends: backends.collect(),
            shards,
            rng: fastrand::Rng::with_seed(seed),
            next_ticket: 1,
            ready: false,
            limits: ProcessLimits::default(),
            turnover: 0,
        };
        fleet.restore(saved, now);
        fleet.tie_followers();
        let effects = fleet.first_effects(now);
        (fleet, effects)
    }

    /// The same with the limits of the process, as configured.
    pub fn with_limits(mut self, limits: ProcessLimits) -> Fleet {
        self.limits = limits;
        self
    }

    /// Limits of the process as they are now.
    pub fn limits(&self) -> &ProcessLimits {
        &self.limits
    }

    /// What workers shall read. Replaced by each [`Effect::Publish`].
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Worker threads.
    pub fn workers(&self) -> usize {
        self.shards.saturating_sub(1).max(1)
    }

    /// By `FrontendIndex`.
    pub fn frontends(&self) -> &[Arc<FrontendView>] {
        &self.frontends
    }

    /// By `BackendIndex`.
    pub fn backends(&self) -> &[BackendEntry] {
        &self.backends
    }

    /// A backend.
    pub fn backend(&self, index: BackendIndex) -> Option<&BackendEntry> {
        self.backends.get(index.0 as usize)
    }

    /// A server.
    pub fn server(&self, id: ServerId) -> Option<&ServerEntry> {
        let servers = &self.backend(id.backend)?.servers;
        servers.get(members::position(servers, id.index)?)
    }

    /// Every server.
    pub fn servers(&self) -> impl Iterator<Item = &ServerEntry> {
        self.backends.iter().flat_map(|b| &b.servers)
    }

    /// Whether every server that starts with a check (`initial: first` or `checks`) had it. Servers in MAINT, with
    /// checks switched off, or whose name could not be looked up are not waited for.
    pub fn is_ready(&self) -> bool {
        !self.servers().any(ServerEntry::holds_readiness)
    }

    fn server_mut(&mut self, id: ServerId) -> Option<&mut ServerEntry> {
        let servers = &mut self.backends.get_mut(id.backend.0 as usize)?.servers;
        let at = members::position(servers, id.index)?;
        servers.get_mut(at)
    }
}

/// [`BackendEntry::session_limit`] of every backend. Gone through once: there may be very many routes.
fn session_limits(spec: &FleetSpec) -> Vec<u32> {
    let mut sums = vec![0u64; spec.backends.len()];
    for frontend in &spec.frontends {
        let led_to: HashSet<u32> = (frontend.routes.iter())
            .flat_map(|route| match &route.action {
                RouteAction::Backend(backend) => vec![backend.0],
                RouteAction::HostMap(map) => map.default.iter().chain(&map.named).map(|backend| backend.0).collect(),
                RouteAction::Redirect(_) | RouteAction::Respond(_) => Vec::new(),
            })
            .collect();
        for backend in led_to {
            if let Some(sum) = sums.get_mut(backend as usize) {
                *sum += u64::from(frontend.maxconn);
            }
        }
    }
    sums.into_iter().map(|sum| u32::try_from(sum.div_ceil(10)).unwrap_or(u32::MAX).max(1)).collect()
}

impl BackendEntry {
    fn new(spec: &Arc<BackendSpec>, index: BackendIndex, shards: usize, now: Instant) -> BackendEntry {
        let servers = spec.servers.iter().zip(0..);
        BackendEntry {
            spec: spec.clone(),
            live: BackendLive::new(shards),
            servers: servers
                .map(|(s, i)| ServerEntry::new(s, ServerId { backend: index, index: i }, shards, now))
                .collect(),
            deleted: Vec::new(),
            session_limit: 1,
            maintenance: spec.maintenance,
            up: false,
            changed_at: now,
            down_count: 0,
            downtime: Duration::ZERO,
            settled: false,
        }
    }

    /// Usable servers: those that are no backup, and backups (`act`, `bck`).
    pub fn usable(&self) -> Usable {
        let count = |backup| self.servers.iter().filter(|s| s.is_usable() && s.spec.backup == backup).count();
        Usable { active: count(false), backup: count(true) }
    }

    /// The sum of the effective weights of the servers that are picked from (`weight` of the BACKEND row): without
    /// another usable server the first backup alone.
    pub fn total_weight(&self) -> u32 {
        let usable = |backup| self.servers.iter().filter(move |s| s.is_usable() && s.spec.backup == backup);
        match usable(false).next() {
            Some(_) => usable(false).map(ServerEntry::effective_weight).sum(),
            None => usable(true).next().map_or(0, ServerEntry::effective_weight),
        }
    }

    /// Time spent down until `now` (`downtime`).
    pub fn downtime_at(&self, now: Instant) -> Duration {
        if self.up { self.downtime } else { self.downtime + now.saturating_duration_since(self.changed_at) }
    }
}

/// How many servers may get new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usable {
    /// No backups.
    pub active: usize,
    /// Backups.
    pub backup: usize,
}

impl ServerEntry {
    fn new(spec: &Arc<ServerSpec>, id: ServerId, shards: usize, now: Instant) -> ServerEntry {
        let (address, resolution) = match &spec.address {
            ServerAddress::Ip(a) => (Some(ConnectTo::Ip(*a)), None),
            ServerAddress::Unix(p) => (Some(ConnectTo::Unix(Arc::from(p.as_path()))), None),
            ServerAddress::Name { host, .. } => (None, Some(Resolution::new(host, now))),
        };
        ServerEntry {
            id,
            sid: id.index.saturating_add(1),
            revision: 0,
            dynamic: false,
            live: ServerLive::new(shards),
            state: ServerState::new(spec),
            address,
            weight: spec.weight,
            maxconn: spec.maxconn,
            last_check: None,
            check_running: false,
            changed_by: None,
            changed_at: now,
            check_failures: 0,
            down_count: 0,
            downtime: Duration::ZERO,
            down_since: None,
            ramp: None,
            schedule: CheckSchedule::default(),
            resolution,
            set_address: None,
            set_name: None,
            look_up_running: false,
            answer_is_old: false,
            check_address: spec.check.as_ref().and_then(|check| check.address),
            check_port: spec.check.as_ref().and_then(|check| check.port),
            agent: spec.agent.as_ref().map(AgentEntry::new),
            set_tls: None,
            followers: Vec::new(),
            lead_awaited: false,
            spec: spec.clone(),
        }
    }

    /// May get new requests by load balancing: state and weight allow it and its address is known.
    pub fn is_usable(&self) -> bool {
        self.state.is_eligible() && self.weight > 0 && self.address.is_some()
    }

    /// The weight with the ramp applied, as HAProxy shows it (`weight` of the CSV): a ramp shows as at least 1.
    pub fn effective_weight(&self) -> u32 {
        self.ramp.map_or(self.weight, |r| r.scale(self.weight))
    }

    /// HAProxy's `throttle` column: percent of the weight given now, while ramping and not draining.
    pub fn throttle(&self) -> Option<u32> {
        let ramp = self.ramp.filter(|_| !self.state.is_draining())?;
        Some(if self.weight == 0 { 100 } else { ramp.percent() })
    }

    /// Time spent down until `now` (`downtime`).
    pub fn downtime_at(&self, now: Instant) -> Duration {
        self.downtime + self.down_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// An address an operator set in place of the configured one.
    pub fn set_address(&self) -> Option<SocketAddr> {
        self.set_address
    }

    /// Requests that find no usable server wait for it: its name or its first check has yet to be answered.
    fn is_awaited(&self) -> bool {
        match &self.resolution {
            _ if self.state.admin == AdminState::Maint => false,
            _ if self.lead_awaited => true,
            Some(r) if self.state.unresolved => r.failures() == 0,
            _ => self.state.awaiting_first_check && self.state.checks_enabled,
        }
    }

    fn holds_readiness(&self) -> bool {
        let first_check_due = self.state.has_checks()
            && self.last_check.is_none()
            && !self.state.is_in_maintenance()
            && self.spec.initial != InitialState::Up;
        self.is_awaited() || first_check_due
    }
}
