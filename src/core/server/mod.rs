//! One server's state: what a person said, what checks found, and what follows.
//!
//! [`ServerState`] is a pure machine on two axes. Each method is one thing that happens to a server and returns a
//! [`Transition`]: where it stood before and where it stands now. What a transition means for log lines, counters,
//! queues and snapshots is decided by [`crate::core::fleet`]; the ramp after a return is in [`slowstart`].
//!
//! With `return_from_drain: keep` and `initial: up` the machine does exactly what HAProxy does. The rules of its own:
//!
//! * `initial: first` (the default): no traffic before the first check result, which decides alone. Until then the
//!   server reads `DOWN` with check status `INI`, because every tool takes `DOWN` for "gets no traffic".
//! * `return_from_drain: checks` (the default): DRAIN to READY is assumed down until `rise` passes were counted from the
//!   READY. A server without checks, or with checks switched off, keeps its state, since nothing could bring it back.
//!
//! What an agent adds to health is in [`agent`], how a server follows another one (`track`) in [`lead`].

pub mod agent;
pub mod lead;
pub mod slowstart;
#[cfg(test)]
mod tests;
mod transition;

pub use agent::AgentAxis;
pub use lead::Lead;
pub use slowstart::Ramp;
pub use transition::{Standing, Transition};

use crate::core::fleet::event::ForcedHealth;
use crate::core::fleet::spec::{InitialState, OnError, ReturnFromDrain, ReturnFromMaint, ServerAddress, ServerSpec};

/// `rise` and `fall` of a server without checks; only shown, never reached by counting.
const UNCHECKED: (u32, u32) = (3, 3);

/// What a person said. HAProxy: `set server B/S state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// Takes traffic if it is up.
    Ready,
    /// No new requests except those bound to it; checks go on.
    Drain,
    /// No traffic, no checks.
    Maint,
}

/// What checks (or a hand) found. HAProxy: `srv_op_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationalState {
    /// Down.
    Stopped,
    /// Up, ramping up its weight (`slowstart`).
    Starting,
    /// Up.
    Running,
    /// Up for what is bound to it, nothing new (`NOLB`).
    Stopping,
}

impl OperationalState {
    /// HAProxy's number: `srv_op_state` of `show servers state`.
    pub fn number(self) -> u8 {
        match self {
            OperationalState::Stopped => 0,
            OperationalState::Starting => 1,
            OperationalState::Running => 2,
            OperationalState::Stopping => 3,
        }
    }

    /// Up and open to new requests.
    pub fn is_up(self) -> bool {
        matches!(self, OperationalState::Starting | OperationalState::Running)
    }
}

/// The configured rules a server's transitions follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What it is before anything is known (`initial`).
    pub initial: InitialState,
    /// What DRAIN to READY does (`return_from_drain`).
    pub return_from_drain: ReturnFromDrain,
    /// What MAINT to READY does (`return_from_maint`).
    pub return_from_maint: ReturnFromMaint,
    /// Whether coming back up ramps (`slowstart`).
    pub ramps: bool,
}

/// A server's state. HAProxy management guide: `srv_admin_state`, `srv_op_state`, `srv_check_health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// What a person said.
    pub admin: AdminState,
    /// What checks found.
    pub operational: OperationalState,
    /// The health counter: 0 to `rise + fall - 1`; up from `rise` on.
    pub health: u32,
    /// The configured `rise`.
    pub rise: u32,
    /// The configured `fall`.
    pub fall: u32,
    /// Whether the server has checks at all.
    pub checked: bool,
    /// Whether they are switched on (`disable health` switches them off).
    pub checks_enabled: bool,
    /// No check has come back yet and requests wait for it (`initial: first`).
    pub awaiting_first_check: bool,
    /// The name has no address: MAINT by resolution, whatever was said.
    pub unresolved: bool,
    /// The health its agent gives it, if it has one.
    pub agent: Option<AgentAxis>,
    /// The server it tracks, as `backend/server`, if any.
    pub tracks: Option<Box<str>>,
    /// How that server is, once the fleet has told.
    pub lead: Option<Lead>,
    /// `disabled: true` stood in the configuration (admin flag 4 of `show servers state`).
    pub disabled_in_config: bool,
    /// The configured rules.
    pub policy: Policy,
}

/// How soon a server wants its next check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Up with a full counter: `interval`.
    Settled,
    /// On its way up or down: `fastinter`.
    Moving,
    /// Down with an empty counter: `downinter`.
    Down,
}

impl ServerState {
    /// The state a server starts in.
    pub fn new(spec: &ServerSpec) -> ServerState {
        let (rise, fall) = spec.check.as_ref().map_or(UNCHECKED, |c| (c.rise.max(1), c.fall.max(1)));
        let mut state = ServerState {
            admin: if spec.disabled { AdminState::Maint } else { AdminState::Ready },
            operational: OperationalState::Stopped,
            health: 0,
            rise,
            fall,
            checked: spec.check.is_some(),
            checks_enabled: spec.check.is_some(),
            awaiting_first_check: false,
            unresolved: matches!(spec.address, ServerAddress::Name { .. }),
            agent: spec.agent.as_ref().map(|_| AgentAxis::START),
            tracks: spec.track.clone(),
            lead: None,
            disabled_in_config: spec.disabled,
            policy: Policy {
                initial: spec.initial,
                return_from_drain: spec.return_from_drain,
                return_from_maint: spec.return_from_maint,
                ramps: spec.slowstart.is_some_and(|t| !t.is_zero()),
            },
        };
        state.start();
        state
    }

    /// Starts anew with what an operator had set in an earlier life of the process.
    pub fn begin(&mut self, admin: Option<AdminState>, unresolved: bool, checks_off: bool) {
        self.admin = admin.unwrap_or(self.admin);
        self.unresolved = unresolved;
        self.checks_enabled = self.checked && !checks_off;
        self.start();
    }

    /// The order of a person. MAINT forgets health; DRAIN keeps it; see the module comment for the ways back.
    pub fn set_admin(&mut self, to: AdminState) -> Transition {
        self.transition(|s| {
            let from = std::mem::replace(&mut s.admin, to);
            match (from, to) {
                (AdminState::Maint, AdminState::Ready | AdminState::Drain) => s.return_from_maint(),
                (AdminState::Ready | AdminState::Drain, AdminState::Maint) => s.stop(),
                (AdminState::Drain, AdminState::Ready) => {
                    if s.policy.return_from_drain == ReturnFromDrain::Checks && s.has_checks() {
                        s.stop();
                    }
                }
                (AdminState::Ready, AdminState::Drain) => {}
                (AdminState::Ready, AdminState::Ready)
                | (AdminState::Drain, AdminState::Drain)
                | (AdminState::Maint, AdminState::Maint) => {}
            }
            false
        })
    }

    /// Health said by hand; checks go on from there. In MAINT only the counter moves, and leaving MAINT forgets it.
    pub fn force_health(&mut self, health: ForcedHealth) -> Transition {
        self.transition(|s| {
            s.health = if health == ForcedHealth::Down { 0 } else { s.health_max() };
            if s.is_in_maintenance() {
                return false;
            }
            s.awaiting_first_check = false;
            match health {
                ForcedHealth::Down => s.operational = OperationalState::Stopped,
                ForcedHealth::Stopping => s.operational = OperationalState::Stopping,
                ForcedHealth::Up if s.operational.is_up() => {}
                ForcedHealth::Up => s.operational = s.up(),
            }
            false
        })
    }

    /// A check passed on condition: the server wants nothing new (`disable_on_404`). Counts as a pass; a server whose
    /// counter has it up becomes `NOLB`.
    pub fn checked_conditionally(&mut self) -> Transition {
        self.transition(|s| {
            if s.is_in_maintenance() || !s.has_checks() {
                return false;
            }
            s.awaiting_first_check = false;
            s.count_pass();
            if s.health >= s.rise && s.agent_allows_up() {
                s.operational = OperationalState::Stopping;
            }
            false
        })
    }

    /// A check came back. Nothing happens in MAINT, without an address, or with checks switched off.
    pub fn checked(&mut self, passed: bool) -> Transition {
        self.transition(|s| {
            if s.is_in_maintenance() || !s.has_checks() {
                return false;
            }
            if std::mem::take(&mut s.awaiting_first_check) {
                return s.first_check(passed);
            }
            if passed { s.pass() } else { s.fail() }
        })
    }

    /// Nothing happened.
    pub fn unchanged(&self) -> Transition {
        Transition { before: self.standing(), after: self.standing(), failure_counted: false }
    }

    /// `enable health`, `disable health`. The counter is kept; without checks configured nothing happens.
    pub fn set_checks_enabled(&mut self, enabled: bool) -> Transition {
        self.transition(|s| {
            s.checks_enabled = enabled && s.checked;
            if s.checks_enabled && s.operational != OperationalState::Stopped && s.health < s.rise {
                // It came up without a counter while checks were off.
                s.health = s.rise;
            }
            false
        })
    }

    /// Passive observation reached its limit (`observe`, `on_error`). Nothing happens to a server that is down already.
    pub fn observed_errors(&mut self, on_error: OnError) -> Transition {
        self.transition(|s| {
            if s.is_in_maintenance() || !s.has_checks() || s.operational == OperationalState::Stopped {
                return false;
            }
            match on_error {
                OnError::Fastinter => return false,
                OnError::FailCheck => {}
                OnError::SuddenDeath => s.health = s.health.min(s.rise + 1),
                OnError::MarkDown => s.health = s.rise,
            }
            s.fail()
        })
    }

    /// The name got its first address: the server starts as at the start of the process.
    pub fn resolved(&mut self) -> Transition {
        self.transition(|s| {
            if std::mem::take(&mut s.unresolved) {
                s.start();
            }
            false
        })
    }

    /// The ramp is over.
    pub fn ramp_done(&mut self) -> Transition {
        self.transition(|s| {
            if s.operational == OperationalState::Starting {
                s.operational = OperationalState::Running;
            }
            false
        })
    }

    /// Whether load balancing may give it new requests, weight aside.
    pub fn is_eligible(&self) -> bool {
        self.admin == AdminState::Ready
            && !self.is_in_maintenance()
            && !self.inherits_drain()
            && self.operational.is_up()
    }

    /// Whether requests bound to it by persistence may go there: also in DRAIN and `NOLB`.
    pub fn accepts_persistent(&self) -> bool {
        !self.is_in_maintenance() && self.operational != OperationalState::Stopped
    }

    /// MAINT, by order, from the server it tracks, or because the name has no address.
    pub fn is_in_maintenance(&self) -> bool {
        self.admin == AdminState::Maint || self.inherits_maint() || self.unresolved
    }

    /// DRAIN, by order or from the server it tracks, and not MAINT.
    pub fn is_draining(&self) -> bool {
        (self.admin == AdminState::Drain || self.inherits_drain()) && !self.is_in_maintenance()
    }

    /// Whether checks exist and are switched on.
    pub fn has_checks(&self) -> bool {
        self.checked && self.checks_enabled
    }

    /// The highest value of the health counter, `rise + fall - 1`.
    pub fn health_max(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// Whether time spent now counts as downtime: down, MAINT or DRAIN, but not while nothing is known yet.
    pub fn counts_as_down(&self) -> bool {
        !self.awaiting_first_check
            && (self.is_in_maintenance() || self.is_draining() || self.operational == OperationalState::Stopped)
    }

    /// How soon the next check is wanted.
    pub fn pace(&self) -> Pace {
        match (self.operational, self.health) {
            (_, h) if h >= self.health_max() => Pace::Settled,
            (OperationalState::Stopped, 0) => Pace::Down,
            _ => Pace::Moving,
        }
    }

    /// HAProxy's `status` column (17) of a server.
    pub fn status_word(&self) -> String {
        if self.unresolved {
            return "MAINT (resolution)".to_owned();
        }
        match &self.tracks {
            Some(lead) if self.inherits_maint() => return format!("MAINT (via {lead})"),
            _ if self.is_in_maintenance() => return "MAINT".to_owned(),
            _ => {}
        }
        let tally = self.tally();
        let counted = |word: &str, full: bool| {
            if full { word.to_owned() } else { format!("{word} {}", tally.fraction()) }
        };
        let full = tally.is_full() || !tally.checked;
        match self.operational {
            OperationalState::Running | OperationalState::Starting => match self.is_draining() {
                true if tally.agent_up.is_some() => "DRAIN (agent)".to_owned(),
                true => counted("DRAIN", full),
                false if tally.checked => counted("UP", full),
                false => "no check".to_owned(),
            },
            OperationalState::Stopping => counted("NOLB", full),
            OperationalState::Stopped if tally.agent_up == Some(false) => "DOWN (agent)".to_owned(),
            OperationalState::Stopped if tally.health == 0 && tally.checked => "DOWN".to_owned(),
            OperationalState::Stopped if tally.checked || tally.agent_up.is_some() => {
                format!("DOWN {}", tally.fraction())
            }
            OperationalState::Stopped => "DOWN".to_owned(),
        }
    }

    /// HAProxy's `srv_admin_state` bits: 1 MAINT, 2 MAINT of the tracked server, 4 disabled in the configuration, 8 DRAIN,
    /// 16 DRAIN of the tracked server, 32 no address.
    pub fn admin_flags(&self) -> u32 {
        let order = match self.admin {
            AdminState::Ready => 0,
            AdminState::Maint => 1,
            AdminState::Drain => 8,
        };
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        order
            | flag(self.inherits_maint(), 2)
            | flag(self.disabled_in_config, 4)
            | flag(self.inherits_drain(), 16)
            | flag(self.unresolved, 32)
    }

    /// Where the server stands.
    pub fn standing(&self) -> Standing {
        Standing {
            admin: self.admin,
            operational: self.operational,
            awaiting: self.awaiting_first_check,
            unresolved: self.unresolved,
            inherits_maint: self.inherits_maint(),
            inherits_drain: self.inherits_drain(),
        }
    }

    /// Panics when the state contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.rise >= 1 && self.fall >= 1, "rise and fall are at least 1: {self:?}");
        assert!(self.health <= self.health_max(), "the counter has left its range: {self:?}");
        assert!(self.checked || !self.checks_enabled, "checks are on that do not exist: {self:?}");
        if self.is_in_maintenance() {
            assert_eq!(self.operational, OperationalState::Stopped, "MAINT is never up: {self:?}");
            assert!(!self.awaiting_first_check, "MAINT has no checks to wait for: {self:?}");
        } else if self.has_checks() && self.agent.is_none() {
            // An agent keeps a server down that its checks have up, and brings one up by hand that they have not.
            let up = self.operational != OperationalState::Stopped;
            assert_eq!(up, self.health >= self.rise, "counter and operational state disagree: {self:?}");
        }
        if self.awaiting_first_check {
            assert_eq!(self.operational, OperationalState::Stopped, "nothing is known, so it is not up: {self:?}");
            assert!(self.checked || self.lead.is_some(), "there is no check to wait for: {self:?}");
        }
        if self.operational == OperationalState::Starting {
            assert!(self.policy.ramps, "a ramp that was not configured: {self:?}");
        }
    }

    fn transition(&mut self, change: impl FnOnce(&mut ServerState) -> bool) -> Transition {
        let before = self.standing();
        let failure_counted = change(self);
        Transition { before, after: self.standing(), failure_counted }
    }

    fn up(&self) -> OperationalState {
        if self.policy.ramps { OperationalState::Starting } else { OperationalState::Running }
    }

    /// Down with an empty counter.
    fn stop(&mut self) {
        self.operational = OperationalState::Stopped;
        self.health = 0;
        self.awaiting_first_check = false;
    }

    /// As at the start of the process: the first time up has no ramp. What its lead is and what its agent has said
    /// goes on to hold.
    fn start(&mut self) {
        self.stop();
        if self.is_in_maintenance() {
            return;
        }
        if let Some(lead) = self.lead {
            return self.keep_step(lead, true);
        }
        match self.policy.initial {
            InitialState::First if self.has_checks() => self.awaiting_first_check = true,
            InitialState::Checks if self.has_checks() => {}
            InitialState::First | InitialState::Checks | InitialState::Up => {
                self.health = self.rise;
                if self.agent_allows_up() {
                    self.operational = OperationalState::Running;
                }
            }
        }
    }

    fn return_from_maint(&mut self) {
        self.stop();
        if self.is_in_maintenance() {
            return;
        }
        if let Some(lead) = self.lead {
            return self.keep_step(lead, false);
        }
        if self.has_checks() {
            if self.policy.return_from_maint == ReturnFromMaint::Checks {
                return;
            }
            self.health = self.rise;
        }
        if self.agent_allows_up() {
            self.operational = self.up();
        }
    }

    /// The first result of `initial: first` decides alone; it is not a return, so there is no ramp.
    fn first_check(&mut self, passed: bool) -> bool {
        if passed {
            self.health = self.health_max();
            if self.agent_allows_up() {
                self.operational = OperationalState::Running;
            }
        }
        !passed
    }

    fn count_pass(&mut self) {
        if self.health < self.health_max() {
            self.health += 1;
            if self.health >= self.rise {
                self.health = self.health_max();
            }
        }
    }

    fn pass(&mut self) -> bool {
        self.count_pass();
        if self.health >= self.rise && !self.operational.is_up() && self.agent_allows_up() {
            self.operational = self.up();
        }
        false
    }

    fn fail(&mut self) -> bool {
        let counted = self.health > 0;
        self.health = self.health.saturating_sub(1);
        if self.health < self.rise {
            self.health = 0;
            self.operational = OperationalState::Stopped;
        }
        counted
    }
}
