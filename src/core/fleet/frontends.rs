//! What frontends and the process as a whole are told at run time: to listen or not, and how much to let in.

use super::apply::Turn;
use super::event::Effect;
use super::snapshot::FrontendView;
use super::spec::FrontendIndex;
use super::{Fleet, Refusal, sentence};
use crate::core::limit::process::ProcessLimit;
use crate::core::stats::Counter;

/// Whether a frontend listens. HAProxy: the `status` column of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrontendStatus {
    /// It does.
    Open = 0,
    /// Not now: clients are refused. Connections it has go on.
    Paused = 1,
    /// Never again.
    Stopped = 2,
}

impl FrontendStatus {
    /// As the `status` column says it.
    pub fn word(self) -> &'static str {
        match self {
            FrontendStatus::Open => "OPEN",
            FrontendStatus::Paused => "PAUSED",
            FrontendStatus::Stopped => "STOP",
        }
    }

    pub(super) fn of_number(number: u8) -> FrontendStatus {
        match number {
            0 => FrontendStatus::Open,
            1 => FrontendStatus::Paused,
            _ => FrontendStatus::Stopped,
        }
    }
}

/// What a frontend can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontendOrder {
    /// `enable frontend`
    Enable,
    /// `disable frontend`
    Disable,
    /// `shutdown frontend`
    Shutdown,
}

impl FrontendOrder {
    /// The status it leads to, or why it leads nowhere.
    fn from(self, status: FrontendStatus) -> Result<FrontendStatus, &'static str> {
        use FrontendStatus::{Open, Paused, Stopped};
        match (self, status) {
            (FrontendOrder::Enable, Stopped) => Err("Frontend was previously shut down, cannot enable."),
            (FrontendOrder::Disable, Stopped) => Err("Frontend was previously shut down, cannot disable."),
            (FrontendOrder::Shutdown, Stopped) => Err("Frontend was already shut down."),
            (FrontendOrder::Enable, Open) => Err("All sockets are already enabled."),
            (FrontendOrder::Disable, Paused) => Err("All sockets are already disabled."),
            (FrontendOrder::Enable, Paused) => Ok(Open),
            (FrontendOrder::Disable, Open) => Ok(Paused),
            (FrontendOrder::Shutdown, Open | Paused) => Ok(Stopped),
        }
    }
}

impl Fleet {
    fn frontend_at(&self, index: FrontendIndex) -> Result<&FrontendView, Refusal> {
        let found = self.frontends.get(index.0 as usize);
        found.map(|f| &**f).ok_or_else(|| Refusal("No such frontend.".to_owned()))
    }

    pub(super) fn order_frontend(
        &mut self,
        index: FrontendIndex,
        order: FrontendOrder,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let frontend = self.frontend_at(index)?;
        let status = order.from(frontend.live.status()).map_err(|why| Refusal(why.to_owned()))?;
        frontend.live.set_status(status);
        let name = &frontend.spec.name;
        let line = match status {
            FrontendStatus::Open => format!("Resumed frontend {name}."),
            FrontendStatus::Paused => format!("Paused frontend {name}."),
            FrontendStatus::Stopped => {
                let connections = frontend.live.counters.sum(Counter::ConnTot);
                format!("Proxy {name} stopped (cumulated conns: FE: {connections}, BE: 0).")
            }
        };
        turn.log(sentence::WARNING, line);
        turn.later.push(Effect::SetListening { frontend: index, status });
        Ok(())
    }

    pub(super) fn limit_frontend(
        &mut self,
        index: FrontendIndex,
        maxconn: u32,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        self.frontend_at(index)?.live.set_maxconn(maxconn);
        turn.later.push(Effect::SetFrontendMaxconn { frontend: index, maxconn });
        Ok(())
    }

    pub(super) fn set_process_limit(&mut self, limit: ProcessLimit, to: u32, turn: &mut Turn) -> Result<(), Refusal> {
        let to = self.limits.set(limit, to).map_err(|error| Refusal(error.to_string()))?;
        turn.later.push(Effect::SetProcessLimit { limit, to });
        Ok(())
    }
}
