//! Orders about where things are and how they are spoken to: the address checks go to, the name of a server, TLS.
//!
//! A server's own address is set in `apply`; what is said of agents in `agent`.

use std::net::IpAddr;

use super::apply::Turn;
use super::event::{Effect, Origin};
use super::spec::{ServerAddress, ServerId};
use super::{Fleet, Refusal, ServerEntry};
use crate::core::admin::texts;
use crate::core::discovery::Resolution;

impl ServerEntry {
    /// Where checks go instead of the server's address, as configured or set by an operator.
    pub fn check_address(&self) -> Option<IpAddr> {
        self.check_address
    }

    /// Where checks go instead of the server's port, as configured or set by an operator.
    pub fn check_port(&self) -> Option<u16> {
        self.check_port
    }

    /// The name it is looked up by: the configured one or the one an operator set. `None` when it has none.
    pub fn host(&self) -> Option<&str> {
        self.resolution.as_ref().map(Resolution::host)
    }

    /// Whether it is spoken to in TLS: as configured, or as an operator set it.
    pub fn speaks_tls(&self) -> bool {
        self.spec.tls.settings().is_some() && self.set_tls.unwrap_or(self.spec.tls.is_on())
    }

    /// What an operator said of TLS, if it is not what is configured.
    pub(super) fn set_tls(&self) -> Option<bool> {
        self.set_tls.filter(|on| *on != self.spec.tls.is_on())
    }

    /// A name an operator set in place of the configured one.
    pub fn set_name(&self) -> Option<&str> {
        self.set_name.as_deref()
    }

    /// Looks for this name from now on. What comes back for the old one is dropped, and only then the new one is asked for.
    pub(super) fn rename(&mut self, name: &str, turn_now: std::time::Instant) {
        let ServerAddress::Name { host, .. } = &self.spec.address else { return };
        self.set_name = (**host != *name).then(|| name.into());
        self.set_address = None;
        let mut resolution = Resolution::new(name, turn_now);
        if self.look_up_running {
            self.answer_is_old = true;
            resolution.asked(turn_now);
        }
        self.resolution = Some(resolution);
    }
}

impl Fleet {
    /// Sends checks elsewhere. Port 0 is the server's own.
    pub(super) fn set_check_target(
        &mut self,
        id: ServerId,
        ip: Option<IpAddr>,
        port: Option<u16>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        if !entry.state.has_checks() {
            return Err(Refusal(texts::CHECKS_NOT_ENABLED.to_owned()));
        }
        entry.check_address = ip.or(entry.check_address);
        entry.check_port = port.map_or(entry.check_port, |port| (port > 0).then_some(port));
        turn.save();
        Ok(())
    }

    /// Speaks TLS with a server from now on, or clear text. Its checks go on as they are, as in HAProxy.
    pub(super) fn set_server_tls(
        &mut self,
        id: ServerId,
        on: bool,
        by: Origin,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        self.may_set_tls(id)?;
        let entry = self.entry(id)?;
        if entry.speaks_tls() != on {
            entry.changed_by = Some(by);
            entry.set_tls = Some(on);
            turn.save();
            turn.touch(id.backend);
            turn.later.push(Effect::CloseIdle(id));
        }
        Ok(())
    }

    /// Whether `set server B/S ssl` means anything, to be asked before its word is looked at, as HAProxy does.
    pub fn may_set_tls(&self, id: ServerId) -> Result<(), Refusal> {
        let entry = self.server(id).ok_or_else(|| Refusal(texts::NO_SUCH_SERVER.to_owned()))?;
        if entry.dynamic {
            return Err(Refusal(texts::TLS_OF_DYNAMIC_SERVER.to_owned()));
        }
        match entry.spec.tls.settings() {
            Some(_) => Ok(()),
            None => Err(Refusal(texts::NO_SERVER_TLS.to_owned())),
        }
    }

    /// Gives a server that is configured by name another one. Until it has an address, the old one is kept.
    pub(super) fn set_server_name(
        &mut self,
        id: ServerId,
        name: &str,
        by: Origin,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let now = turn.now;
        let entry = self.entry(id)?;
        if entry.host().is_none() {
            return Err(Refusal(texts::NO_RESOLUTION.to_owned()));
        }
        if entry.host() == Some(name) && entry.set_address.is_none() {
            return Ok(());
        }
        entry.changed_by = Some(by);
        entry.rename(name, now);
        turn.save();
        turn.due(id);
        Ok(())
    }

    /// What `set server B/S fqdn NAME` answers, to be asked before the event is applied. The spelling is HAProxy's.
    pub fn describe_name_change(&self, id: ServerId, name: &str) -> Result<String, Refusal> {
        let by = "by 'stats socket command'";
        let entry = self.server(id).ok_or_else(|| Refusal(texts::NO_SUCH_SERVER.to_owned()))?;
        let Some(host) = entry.host() else { return Err(Refusal(texts::NO_RESOLUTION.to_owned())) };
        if host == name {
            return Ok(format!("no need to change the FDQN {by}"));
        }
        let backend = self.backend(id.backend).map_or("?", |b| &b.spec.name);
        Ok(format!("{backend}/{} changed its FQDN from {host} to {name} {by}", entry.spec.name))
    }
}
