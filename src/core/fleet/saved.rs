//! What operators set, in a form that outlives the process: the contents of `state_file`.
//!
//! Everything is keyed by name. What no longer exists in the configuration is skipped, and what is not understood is
//! left out, so that an old file never keeps a new configuration from starting.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::event::{Origin, Way};
use super::snapshot::ConnectTo;
use super::{BackendEntry, Fleet, ServerEntry};
use crate::core::server::AdminState;

/// Operator state of all backends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    /// By backend name. Backends nobody touched are absent.
    #[serde(default)]
    pub backends: BTreeMap<String, SavedBackend>,
}

/// Operator state of a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBackend {
    /// Maintenance, if it differs from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
    /// By server name. Servers nobody touched are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<String, SavedServer>,
}

/// Operator state of a server. What is absent is as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServer {
    /// `ready`, `drain` or `maint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<SavedAdmin>,
    /// 0 to 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// In place of the configured address or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// 0 is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxconn: Option<u32>,
    /// In place of the configured name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is spoken to in TLS, if that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Where checks go, if that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<SavedTarget>,
    /// Where the agent is, if that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<SavedTarget>,
    /// `disable agent` was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent_off: bool,
    /// `disable health` was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks_off: bool,
    /// By whom the state was last changed, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SavedOrigin>,
}

/// An address and a port; what is absent is the server's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTarget {
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// An admin state as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedAdmin {
    /// READY, on a server the configuration disables.
    Ready,
    /// DRAIN
    Drain,
    /// MAINT
    Maint,
}

/// Who asked, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedOrigin {
    /// By which way.
    pub way: SavedWay,
    /// Who, as far as known.
    #[serde(default)]
    pub who: String,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub at_ms: u64,
}

/// By which way an order came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SavedWay {
    /// The admin socket.
    Cli,
    /// The stats page.
    Web,
    /// The server's agent.
    Agent,
    /// Not known any more.
    #[serde(other)]
    File,
}

impl Fleet {
    /// What operators have set, for the state file.
    pub fn saved_state(&self) -> SavedState {
        let backends = self.backends.iter().map(|b| (b.spec.name.to_string(), b.saved()));
        SavedState { backends: backends.filter(|(_, b)| *b != SavedBackend::default()).collect() }
    }

    /// Sets what operators had set before, without a word and without effects.
    pub(super) fn restore(&mut self, saved: &SavedState, now: Instant) {
        for backend in &mut self.backends {
            let Some(was) = saved.backends.get(&*backend.spec.name) else { continue };
            backend.maintenance = was.maintenance.unwrap_or(backend.maintenance);
            for server in &mut backend.servers {
                if let Some(was) = was.servers.get(&*server.spec.name) {
                    server.restore(was, now);
                }
            }
        }
    }
}

impl BackendEntry {
    fn saved(&self) -> SavedBackend {
        // A server added at run time is gone after a restart, and so is what was said to it.
        let servers = self.servers.iter().filter(|s| !s.dynamic).map(|s| (s.spec.name.to_string(), s.saved()));
        SavedBackend {
            maintenance: (self.maintenance != self.spec.maintenance).then_some(self.maintenance),
            servers: servers.filter(|(_, s)| *s != SavedServer::default()).collect(),
        }
    }
}

impl ServerEntry {
    fn saved(&self) -> SavedServer {
        let configured = if self.spec.disabled { AdminState::Maint } else { AdminState::Ready };
        SavedServer {
            admin: (self.state.admin != configured).then(|| self.state.admin.into()),
            weight: (self.weight != self.spec.weight).then_some(self.weight),
            address: self.set_address,
            name: self.set_name.as_deref().map(str::to_owned),
            tls: self.set_tls(),
            check: self.saved_check_target(),
            agent: self.saved_agent_target(),
            agent_off: self.state.agent.is_some_and(|agent| !agent.enabled),
            maxconn: (self.maxconn != self.spec.maxconn).then(|| self.maxconn.unwrap_or(0)),
            checks_off: self.state.checked && !self.state.checks_enabled,
            by: self.changed_by.as_ref().map(SavedOrigin::from),
        }
    }

    fn saved_check_target(&self) -> Option<SavedTarget> {
        let configured = self.spec.check.as_ref()?;
        let now = SavedTarget { address: self.check_address, port: self.check_port };
        (now != SavedTarget { address: configured.address, port: configured.port }).then_some(now)
    }

    fn saved_agent_target(&self) -> Option<SavedTarget> {
        let agent = self.agent.as_ref()?;
        let now = SavedTarget { address: agent.address, port: Some(agent.port) };
        (now != SavedTarget { address: agent.spec.address, port: Some(agent.spec.port) }).then_some(now)
    }

    fn restore(&mut self, was: &SavedServer, now: Instant) {
        if let Some(name) = &was.name {
            self.rename(name, now);
        }
        self.set_tls = was.tls;
        if let (Some(target), true) = (was.check, self.state.checked) {
            (self.check_address, self.check_port) = (target.address, target.port);
        }
        if let (Some(target), Some(agent)) = (was.agent, &mut self.agent) {
            agent.address = target.address;
            agent.port = target.port.unwrap_or(agent.port);
        }
        let _ = self.state.set_agent_enabled(!was.agent_off);
        if let Some(address) = was.address.filter(|_| self.ip_and_port().is_some()) {
            self.address = Some(ConnectTo::Ip(address));
            self.set_address = Some(address);
        }
        // The state is built anew, so that what was set holds from the first moment.
        self.state.begin(was.admin.map(AdminState::from), self.address.is_none(), was.checks_off);
        self.weight = was.weight.filter(|w| *w <= 256).unwrap_or(self.weight);
        self.maxconn = was.maxconn.map_or(self.maxconn, |m| (m > 0).then_some(m));
        self.changed_by = was.by.as_ref().map(Origin::from);
        self.changed_at = now;
    }
}

impl From<AdminState> for SavedAdmin {
    fn from(state: AdminState) -> SavedAdmin {
        match state {
            AdminState::Ready => SavedAdmin::Ready,
            AdminState::Drain => SavedAdmin::Drain,
            AdminState::Maint => SavedAdmin::Maint,
        }
    }
}

impl From<SavedAdmin> for AdminState {
    fn from(state: SavedAdmin) -> AdminState {
        match state {
            SavedAdmin::Ready => AdminState::Ready,
            SavedAdmin::Drain => AdminState::Drain,
            SavedAdmin::Maint => AdminState::Maint,
        }
    }
}

impl From<&Origin> for SavedOrigin {
    fn from(origin: &Origin) -> SavedOrigin {
        let at = origin.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let way = match origin.way {
            Way::Cli => SavedWay::Cli,
            Way::Web => SavedWay::Web,
            Way::Agent => SavedWay::Agent,
            Way::StateFile => SavedWay::File,
        };
        SavedOrigin { way, who: origin.who.to_string(), at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl From<&SavedOrigin> for Origin {
    fn from(saved: &SavedOrigin) -> Origin {
        let way = match saved.way {
            SavedWay::Cli => Way::Cli,
            SavedWay::Web => Way::Web,
            SavedWay::Agent => Way::Agent,
            SavedWay::File => Way::StateFile,
        };
        // Far beyond any real date the sum would overflow; such a time is not worth keeping.
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(saved.at_ms));
        Origin { way, who: saved.who.as_str().into(), at: at.unwrap_or(SystemTime::UNIX_EPOCH) }
    }
}
