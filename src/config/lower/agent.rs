//! `agent`: what a backend and a server say, put together key by key.

use std::time::Duration;

use super::Lowering;
use super::check::INTERVAL_MIN;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::At;
use crate::config::raw::agent::{Agent, AgentChoice};
use crate::core::fleet::spec::ServerAddress;
use crate::core::health::agent::AgentSpec;
use crate::core::units::render_duration;

const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

/// What the innermost layer that says something says.
fn pick<'a, T>(layers: &[&'a Agent], key: impl Fn(&'a Agent) -> Option<&'a At<T>>) -> Option<&'a At<T>> {
    layers.iter().rev().find_map(|layer| key(layer))
}

impl Lowering<'_> {
    /// The agent of a server, told by its backend and by itself; `None` when there is none or it is off.
    pub fn agent(
        &mut self,
        backend: Option<&At<AgentChoice>>,
        server: Option<&At<AgentChoice>>,
        address: Option<&ServerAddress>,
    ) -> Option<AgentSpec> {
        let at = server.or(backend)?.id();
        let layers = layers(&[backend, server]);
        if layers.is_empty() {
            return None;
        }
        let spec = self.agent_spec(&layers);
        if spec.port == 0 {
            self.missing(at, "the agent has no `port`").help("add `port: 5555`, where the agent listens");
        }
        if matches!(address, Some(ServerAddress::Unix(_))) && spec.address.is_none() {
            self.error(at, "where is the agent of a server on a unix socket?").help("add `address: 127.0.0.1`");
        }
        Some(spec)
    }

    /// Lowers the agent of a backend by itself, so that its mistakes are reported even when every server overrides it.
    pub fn agent_alone(&mut self, written: Option<&At<AgentChoice>>) {
        let layers = layers(&[written]);
        if !layers.is_empty() {
            let _ = self.agent_spec(&layers);
        }
    }

    fn agent_spec(&mut self, layers: &[&Agent]) -> AgentSpec {
        let interval =
            self.duration(pick(layers, |a| a.interval.as_ref()), INTERVAL_DEFAULT, INTERVAL_MIN, DURATION_MAX);
        let address = pick(layers, |a| a.address.as_ref());
        let ip = address.and_then(|a| self.ip(a.id(), a.as_ref()));
        if let Some(at) = address.filter(|_| ip.is_some_and(|ip| ip.is_unspecified())) {
            self.error(at.id(), "no agent can be asked at this address").help("remove it to ask the server itself");
        }
        AgentSpec {
            port: pick(layers, |a| a.port.as_ref()).map_or(0, |port| **port),
            address: ip,
            send: pick(layers, |a| a.send.as_ref()).map_or_else(|| "".into(), |text| text.as_ref().into()),
            interval,
            timeout: self.agent_timeout(layers, interval),
        }
    }

    /// A question must be over before the next one begins.
    fn agent_timeout(&mut self, layers: &[&Agent], interval: Duration) -> Duration {
        let default = TIMEOUT_DEFAULT.min(interval);
        let Some(written) = pick(layers, |a| a.timeout.as_ref()) else { return default };
        let timeout = self.timeout(Some(written), default);
        if timeout > interval {
            let (long, short) = (render_duration(timeout), render_duration(interval));
            self.error(written.id(), format!("a question may take {long}, but the next one comes after {short}"))
                .help(format!("set `timeout` to at most {short}, or ask less often"));
        }
        timeout
    }
}

/// The layers that count, the outermost first; none when the last word is `off`.
fn layers<'a>(written: &[Option<&'a At<AgentChoice>>]) -> Vec<&'a Agent> {
    let mut layers = Vec::new();
    for choice in written.iter().flatten() {
        match &***choice {
            AgentChoice::Off(_) => layers.clear(),
            AgentChoice::On(agent) => layers.push(&**agent),
        }
    }
    layers
}

/// The place of an agent that is not `off`.
pub(super) fn place(written: Option<&At<AgentChoice>>) -> Option<NodeId> {
    written.filter(|choice| matches!(***choice, AgentChoice::On(_))).map(At::id)
}
