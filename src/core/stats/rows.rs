//! The objects `show stat` has a row for, each with what its columns are read from.

use std::sync::Arc;
use std::time::Instant;

use super::counters::Counter;
use super::rates::Rates;
use crate::core::fleet::agent::AgentEntry;
use crate::core::fleet::live::{ListenerLive, ServerLive};
use crate::core::fleet::snapshot::{ConnectTo, FrontendView};
use crate::core::fleet::spec::ListenerSpec;
use crate::core::fleet::{BackendEntry, Fleet, ServerEntry};
use crate::core::server::OperationalState;

/// What a reply is made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// State and counters.
    pub fleet: &'a Fleet,
    /// Per-second values.
    pub rates: &'a Rates,
    /// When the process started: `lastsess` counts from it.
    pub started: Instant,
    /// Now.
    pub now: Instant,
    /// Whether `addr` and `cookie` are shown: to operators and above.
    pub legends: bool,
}

/// The kind of an object: the number of the `type` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0
    Frontend,
    /// 1
    Backend,
    /// 2
    Server,
    /// 3
    Listener,
}

impl Kind {
    /// The number in the `type` column.
    pub fn number(self) -> u32 {
        match self {
            Kind::Frontend => 0,
            Kind::Backend => 1,
            Kind::Server => 2,
            Kind::Listener => 3,
        }
    }

    /// The letter that begins a typed line.
    pub fn letter(self) -> char {
        match self {
            Kind::Frontend => 'F',
            Kind::Backend => 'B',
            Kind::Server => 'S',
            Kind::Listener => 'L',
        }
    }

    /// `objType` of JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Frontend => "Frontend",
            Kind::Backend => "Backend",
            Kind::Server => "Server",
            Kind::Listener => "Listener",
        }
    }
}

/// A frontend's row.
#[derive(Debug, Clone, Copy)]
pub struct FrontendRow<'a> {
    /// What it is read from.
    pub view: &'a View<'a>,
    /// The frontend.
    pub frontend: &'a FrontendView,
}

/// A listening socket's row.
#[derive(Debug, Clone, Copy)]
pub struct ListenerRow<'a> {
    /// What it is read from.
    pub view: &'a View<'a>,
    /// Its frontend.
    pub frontend: &'a FrontendView,
    /// Its configuration.
    pub listener: &'a ListenerSpec,
    /// Its position in the frontend.
    pub index: usize,
}

/// A backend's row.
#[derive(Debug, Clone, Copy)]
pub struct BackendRow<'a> {
    /// What it is read from.
    pub view: &'a View<'a>,
    /// The backend.
    pub backend: &'a BackendEntry,
    /// Whether some servers are hidden (`up`, `no-maint`): the status then tells how many are up.
    pub servers_hidden: bool,
}

/// A server's row.
#[derive(Debug, Clone, Copy)]
pub struct ServerRow<'a> {
    /// What it is read from.
    pub view: &'a View<'a>,
    /// Its backend.
    pub backend: &'a BackendEntry,
    /// The server.
    pub server: &'a ServerEntry,
}

/// Any row.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// A frontend's.
    Frontend(FrontendRow<'a>),
    /// A backend's.
    Backend(BackendRow<'a>),
    /// A server's.
    Server(ServerRow<'a>),
    /// A listening socket's.
    Listener(ListenerRow<'a>),
}

impl Row<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Row::Frontend(_) => Kind::Frontend,
            Row::Backend(_) => Kind::Backend,
            Row::Server(_) => Kind::Server,
            Row::Listener(_) => Kind::Listener,
        }
    }

    /// `iid`
    pub fn iid(&self) -> u32 {
        match self {
            Row::Frontend(r) => r.frontend.spec.iid,
            Row::Backend(r) => r.backend.spec.iid,
            Row::Server(r) => r.backend.spec.iid,
            Row::Listener(r) => r.frontend.spec.iid,
        }
    }

    /// `sid`
    pub fn sid(&self) -> u32 {
        match self {
            Row::Server(r) => r.sid(),
            Row::Listener(r) => r.sid(),
            _ => 0,
        }
    }
}

impl FrontendRow<'_> {
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.frontend.live.counters.sum(counter)
    }
}

impl<'a> ListenerRow<'a> {
    /// `sid`: its position from 1 on.
    pub fn sid(&self) -> u32 {
        u32::try_from(self.index).unwrap_or(u32::MAX).saturating_add(1)
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.live().map_or(0, |l| l.counters.sum(counter))
    }

    pub(super) fn live(&self) -> Option<Arc<ListenerLive>> {
        self.frontend.live.named().listeners.get(self.index).cloned()
    }
}

impl BackendRow<'_> {
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.backend.live.counters.sum(counter)
    }

    /// `UP` or `DOWN`; with hidden servers also how many are not stopped, of all.
    pub(super) fn status(&self) -> String {
        let entry = self.backend;
        let word = if entry.up || entry.servers.is_empty() { "UP" } else { "DOWN" };
        if !self.servers_hidden {
            return word.to_owned();
        }
        let running = entry.servers.iter().filter(|s| s.state.operational != OperationalState::Stopped).count();
        format!("{word} ({running}/{})", entry.servers.len())
    }

    /// `uweight`: the serving servers' weights before slow start.
    pub(super) fn user_weight(&self) -> u32 {
        let backup = self.backend.usable().active == 0;
        (self.backend.servers.iter()).filter(|s| s.is_usable() && s.spec.backup == backup).map(|s| s.weight).sum()
    }

    pub(super) fn since_change(&self) -> std::time::Duration {
        self.view.now.saturating_duration_since(self.backend.changed_at)
    }
}

impl<'a> ServerRow<'a> {
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.server.live.counters.sum(counter)
    }

    pub(super) fn live(&self) -> &'a ServerLive {
        &self.server.live
    }

    /// `sid`: its number in the backend, from 1 on.
    pub fn sid(&self) -> u32 {
        self.server.sid
    }

    /// Checks exist and are switched on: chkfail, chkdown and downtime are shown.
    pub(super) fn checks_enabled(&self) -> bool {
        self.server.state.has_checks()
    }

    /// Checks are being made: the check columns are shown. They are paused in MAINT.
    pub(super) fn checks_running(&self) -> bool {
        self.checks_enabled() && !self.server.state.is_in_maintenance()
    }

    /// Its agent, if one is asked: the agent columns are shown, in MAINT too.
    pub(super) fn agent(&self) -> Option<&'a AgentEntry> {
        self.server.agent.as_ref().filter(|_| self.server.state.has_agent())
    }

    /// `addr`
    pub(super) fn address(&self) -> Option<String> {
        match &self.server.address {
            Some(ConnectTo::Ip(address)) => Some(address.to_string()),
            Some(ConnectTo::Unix(_)) => Some("unix".to_owned()),
            None => None,
        }
    }

    /// `cookie`
    pub(super) fn cookie(&self) -> Option<&'a str> {
        self.backend.spec.cookie.as_ref()?;
        Some(self.server.spec.cookie.as_deref().unwrap_or(&self.server.spec.name))
    }
}

/// `lastsess`: seconds since the last request, -1 when there was none.
pub(super) fn since_last_session(last_ms: i64, view: &View<'_>) -> i32 {
    let Ok(last) = u128::try_from(last_ms) else { return -1 };
    let now = view.now.saturating_duration_since(view.started).as_millis();
    i32::try_from(now.saturating_sub(last) / 1000).unwrap_or(i32::MAX)
}

pub(super) fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
