//! What an agent does to its server's state: a second health, beside that of the checks.
//!
//! The agent's health has rise 1 and fall 1: one word moves it. A server comes up only when checks and agent both have it
//! up; either takes it down. An order by hand (`set server B/S agent`) acts at once, whatever the other says, and what
//! is heard next goes on from there. HAProxy does the same.

use super::{OperationalState, ServerState, Transition};

/// The agent's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentAxis {
    /// Whether the agent is asked (`disable agent` switches that off).
    pub enabled: bool,
    /// Whether it has the server up. A server starts as up.
    pub up: bool,
}

impl AgentAxis {
    /// Asked, and up.
    pub const START: AgentAxis = AgentAxis { enabled: true, up: true };

    /// HAProxy's `agent_health`: 0 or 1.
    pub fn health(self) -> u32 {
        u32::from(self.up)
    }
}

impl ServerState {
    /// The agent said up or down. In MAINT only its own health moves.
    pub fn agent_said(&mut self, up: bool) -> Transition {
        self.transition(|s| {
            let Some(agent) = s.agent.as_mut().filter(|a| a.enabled) else { return false };
            agent.up = up;
            if s.is_in_maintenance() {
                return false;
            }
            match (up, s.operational) {
                (false, _) => s.operational = OperationalState::Stopped,
                (true, OperationalState::Stopped) if !s.has_checks() || s.health >= s.rise => s.operational = s.up(),
                (true, _) => {}
            }
            false
        })
    }

    /// The agent's health said by hand; acts on the server whatever its checks say. HAProxy: `set server B/S agent`.
    pub fn force_agent(&mut self, up: bool) -> Transition {
        self.transition(|s| {
            let Some(agent) = s.agent.as_mut().filter(|a| a.enabled) else { return false };
            agent.up = up;
            if s.is_in_maintenance() {
                return false;
            }
            s.awaiting_first_check = false;
            if !up {
                s.operational = OperationalState::Stopped;
            } else if !s.operational.is_up() {
                s.operational = s.up();
            }
            false
        })
    }

    /// `enable agent`, `disable agent`. The server's state stays; without an agent nothing happens.
    pub fn set_agent_enabled(&mut self, enabled: bool) -> Transition {
        self.transition(|s| {
            if let Some(agent) = &mut s.agent {
                agent.enabled = enabled;
            }
            false
        })
    }

    /// Whether there is an agent and it is asked.
    pub fn has_agent(&self) -> bool {
        self.agent.is_some_and(|agent| agent.enabled)
    }

    /// Nothing an agent says keeps the server down.
    pub(super) fn agent_allows_up(&self) -> bool {
        self.agent.is_none_or(|agent| agent.up || !agent.enabled)
    }
}
