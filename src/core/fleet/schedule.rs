//! When things are due: checks, ramp steps, look-ups.
//!
//! A check is a [`Effect::Probe`] with a ticket and comes back as an event with it; a result with an older ticket is
//! dropped. Checks of one server never overlap.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::apply::Turn;
use super::event::Effect;
use super::snapshot::ConnectTo;
use super::spec::ServerId;
use super::{Fleet, ServerEntry};
use crate::core::server::Pace;

/// A probe that has not come back so long after its timeout is taken as lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(10);

/// The checks of one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CheckSchedule {
    /// When the next one leaves, unless one is running.
    pub(super) due: Option<Instant>,
    /// The one that is running.
    pub(super) running: Option<RunningCheck>,
}

/// A check under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunningCheck {
    pub(super) ticket: u64,
    pub(super) started: Instant,
    pub(super) lost_at: Instant,
}

/// A time spread by a tenth so that servers do not march in step.
pub(super) fn spread(time: Duration, rng: &mut fastrand::Rng) -> Duration {
    time.mul_f64(0.9 + 0.2 * rng.f64())
}

impl ServerEntry {
    /// The next check leaves now; the result of one under way is dropped.
    pub(super) fn restart_checks(&mut self, now: Instant) {
        self.forget_check();
        let wanted = self.state.has_checks() && !self.state.is_in_maintenance();
        self.schedule.due = wanted.then_some(now);
    }

    /// No checks any more, and the result of one under way is dropped.
    pub(super) fn stop_checks(&mut self) {
        self.forget_check();
        self.schedule.due = None;
    }

    fn forget_check(&mut self) {
        self.schedule.running = None;
        self.check_running = false;
    }

    /// The running check came back: the next one leaves an interval after this one left.
    pub(super) fn check_came_back(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let Some(running) = self.schedule.running.take() else { return };
        self.check_running = false;
        self.schedule.due = Some((running.started + self.interval(rng)).max(now));
    }

    /// The next check leaves no later than `fastinter` from now (passive observation).
    pub(super) fn hurry_check(&mut self, now: Instant) {
        let (Some(check), Some(due)) = (&self.spec.check, self.schedule.due) else { return };
        self.schedule.due = Some(due.min(now + check.fastinter));
    }

    /// The next check leaves half a `fastinter` from now: soon, and not in the instant of the order that asked for it.
    pub(super) fn restart_checks_soon(&mut self, now: Instant) {
        self.restart_checks(now);
        if let (Some(check), Some(_)) = (&self.spec.check, self.schedule.due) {
            self.schedule.due = Some(now + check.fastinter / 2);
        }
    }

    /// The next check leaves no later than the present pace has it; for a server whose pace has just changed.
    pub(super) fn keep_pace(&mut self, now: Instant) {
        let (Some(pace), Some(due)) = (self.pace(), self.schedule.due) else { return };
        self.schedule.due = Some(due.min(now + pace));
    }

    /// Time between two checks at the present pace, spread.
    fn interval(&self, rng: &mut fastrand::Rng) -> Duration {
        self.pace().map_or(Duration::MAX, |pace| spread(pace, rng))
    }

    fn pace(&self) -> Option<Duration> {
        let check = self.spec.check.as_ref()?;
        Some(match self.state.pace() {
            Pace::Settled => check.interval,
            Pace::Moving => check.fastinter,
            Pace::Down => check.downinter,
        })
    }

    fn check_wake_up(&self) -> Option<Instant> {
        self.schedule.running.map_or(self.schedule.due, |r| Some(r.lost_at))
    }

    /// Whose address and port a check goes to: the check's own where set, else the server's.
    fn check_target(&self) -> Option<ConnectTo> {
        let server = match self.address.as_ref()? {
            ConnectTo::Ip(a) => Some(*a),
            ConnectTo::Unix(_) => None,
        };
        let ip = self.check_address.or(server.map(|a| a.ip()));
        let port = self.check_port.or(server.map(|a| a.port()));
        match (ip, port) {
            (Some(ip), Some(port)) => Some(ConnectTo::Ip(SocketAddr::new(ip, port))),
            _ => self.address.clone(),
        }
    }
}

impl Fleet {
    /// When [`Fleet::on_timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let times = self.servers().flat_map(|s| {
            let ramp = s.ramp.map(|r| r.next_step());
            let look_up = s.resolution.as_ref().filter(|_| s.set_address.is_none()).map(|r| r.next());
            [s.check_wake_up(), s.agent_wake_up(), ramp, look_up]
        });
        times.flatten().min()
    }

    /// Does what is due at `now`.
    pub fn on_timeout(&mut self, now: Instant) -> Vec<Effect> {
        let mut turn = Turn::new(now);
        let ids: Vec<ServerId> = self.servers().map(|s| s.id).collect();
        for id in ids {
            self.step_ramp(id, &mut turn);
            turn.due(id);
        }
        self.finish(turn)
    }

    /// Starts what is due for one server: a look-up, a question to its agent, a check.
    pub(super) fn start_due(&mut self, id: ServerId, now: Instant, effects: &mut Vec<Effect>) {
        let ticket = self.next_ticket;
        let Some(entry) = self.server_mut(id) else { return };
        let asked = entry.ask_agent_if_due(ticket, now, effects);
        let ticket = if asked { ticket + 1 } else { ticket };
        if let Some(resolution) = entry.resolution.as_mut().filter(|r| entry.set_address.is_none() && r.next() <= now) {
            resolution.asked(now);
            entry.look_up_running = true;
            effects.push(Effect::Resolve { server: id, host: resolution.host().into() });
        }
        if entry.schedule.running.is_some_and(|r| r.lost_at <= now) {
            entry.restart_checks(now);
        }
        let due = entry.schedule.running.is_none() && entry.schedule.due.is_some_and(|due| due <= now);
        let (true, Some(check), Some(to)) = (due, entry.spec.check.clone(), entry.check_target()) else {
            self.next_ticket = ticket;
            return;
        };
        entry.schedule.running =
            Some(RunningCheck { ticket, started: now, lost_at: now + check.timeout.saturating_add(LOST_AFTER) });
        entry.check_running = true;
        self.next_ticket = ticket + 1;
        effects.push(Effect::Probe { server: id, ticket, to, check });
    }
}
