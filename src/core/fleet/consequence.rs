//! What a change of one server's state entails: counters, times, ramp, queue, connections, checks, log lines.

use super::apply::Turn;
use super::event::{Effect, Way};
use super::sentence::{self, Name, Tally};
use super::spec::ServerId;
use super::{Fleet, ServerEntry};
use crate::core::health::CheckOutcome;
use crate::core::queue;
use crate::core::server::{AdminState, OperationalState, Ramp, Transition};

/// Why a state changed.
#[derive(Debug)]
pub(super) enum Cause<'a> {
    /// A check, or passive observation.
    Check(&'a CheckOutcome),
    /// A person.
    Order(Way),
    /// Checks or the agent were switched on or off.
    Checks,
    /// The server it tracks changed.
    Lead,
    /// A check, or an agent, of which a line of its own has been written.
    Told,
    /// The name got an address.
    Resolved,
    /// The ramp came to its end.
    Ramp,
}

impl Cause<'_> {
    fn text(&self) -> String {
        match self {
            Cause::Check(outcome) => sentence::reason(outcome),
            Cause::Order(way) => sentence::ordered(*way).to_owned(),
            Cause::Checks | Cause::Resolved | Cause::Ramp | Cause::Lead | Cause::Told => String::new(),
        }
    }
}

impl Fleet {
    /// Draws the consequences of a transition that has just been made.
    pub(super) fn follow(&mut self, id: ServerId, transition: Transition, cause: &Cause<'_>, turn: &mut Turn) {
        let name = self.sentence_name(id);
        let Some(entry) = self.server_mut(id) else { return };
        entry.count(&transition, turn);
        entry.steer_ramp(turn);
        entry.steer_checks(&transition, turn);
        turn.touch(id.backend);
        turn.due(id);
        if transition.moved() {
            let requeued = self.release(id, &transition, turn);
            self.tell(id, &name, &transition, cause, requeued, turn);
        }
        self.lead(id, turn);
    }

    /// The next step of a ramp, if it is due.
    pub(super) fn step_ramp(&mut self, id: ServerId, turn: &mut Turn) {
        let Some(entry) = self.server_mut(id) else { return };
        let Some(ramp) = entry.ramp.as_mut().filter(|r| r.next_step() <= turn.now) else { return };
        if ramp.step(turn.now) {
            let transition = entry.state.ramp_done();
            self.follow(id, transition, &Cause::Ramp, turn);
        }
        turn.touch(id.backend);
    }

    /// For log lines about this server.
    pub(super) fn sentence_name(&self, id: ServerId) -> Name {
        let text = |name: Option<&str>| name.unwrap_or("?").into();
        Name {
            backend: text(self.backend(id.backend).map(|b| &*b.spec.name)),
            server: text(self.server(id).map(|s| &*s.spec.name)),
            backup: self.server(id).is_some_and(|s| s.spec.backup),
            tracks: self.server(id).and_then(|s| s.spec.track.clone()),
        }
    }

    /// Lets go of what a server that is gone holds: those who wait for it, idle connections and, if asked for, sessions.
    fn release(&mut self, id: ServerId, transition: &Transition, turn: &mut Turn) -> u32 {
        let (Some(backend), Some(entry)) = (self.backend(id.backend), self.server(id)) else { return 0 };
        let gone = transition.after.operational == OperationalState::Stopped;
        let requeued = if gone { queue::redistribute(&backend.live, &entry.live, id.index) } else { 0 };
        if requeued > 0 && !turn.dispatch.contains(&id.backend) {
            turn.dispatch.push(id.backend);
        }
        // A server that is only assumed down after DRAIN goes on serving what it has.
        let assumed = transition.left_drain();
        if transition.went_down() && entry.spec.on_marked_down_shutdown && !assumed {
            turn.later.push(Effect::ShutdownSessions { server: id, flag: 'D' });
        }
        if transition.entered_maint() {
            turn.later.push(Effect::CloseIdle(id));
        }
        requeued
    }

    /// Writes the log lines HAProxy writes.
    fn tell(
        &self,
        id: ServerId,
        name: &Name,
        transition: &Transition,
        cause: &Cause<'_>,
        requeued: u32,
        turn: &mut Turn,
    ) {
        let (Some(backend), Some(entry)) = (self.backend(id.backend), self.server(id)) else { return };
        let mut tally = Tally {
            usable: backend.usable(),
            sessions: entry.live.inflight.now(),
            requeued,
            queued: entry.live.queued.now(),
        };
        let up = transition.after.operational != OperationalState::Stopped;
        let (before, after) = (transition.before, transition.after);
        let drain = after.is_drained();
        let quiet = before.is_drained() || before.operational == OperationalState::Stopping;
        let loss = if quiet { sentence::NOTICE } else { sentence::ALERT };
        let was_down = transition.before.operational == OperationalState::Stopped;
        let why = if entry.state.tracks.is_some() { name.via() } else { cause.text() };
        let was_ordered = before.admin != AdminState::Ready;
        let is_ordered = after.admin != AdminState::Ready;
        if before.unresolved && !after.unresolved {
            if let (Some(host), false) = (entry.host(), entry.state.is_in_maintenance()) {
                turn.log(sentence::NOTICE, sentence::resolves(name, host, up, drain));
            }
        } else if after.unresolved {
            if transition.left_maint() {
                turn.log(sentence::NOTICE, sentence::remains_in_maint(name));
            }
        } else if transition.entered_maint() {
            let severity = if was_down { sentence::NOTICE } else { loss };
            turn.log(severity, sentence::enters_maint(name, was_down, is_ordered, &tally));
        } else if transition.left_maint() {
            turn.log(sentence::NOTICE, sentence::leaves_maint(name, up, drain, was_ordered));
            if drain {
                turn.log(sentence::NOTICE, sentence::remains_in_drain(name, is_ordered));
            }
        } else if after.is_held() {
            // MAINT was both ordered and inherited.
            if before.admin == AdminState::Maint && after.admin != AdminState::Maint {
                turn.log(sentence::NOTICE, sentence::remains_in_maint(name));
            } else if before.inherits_maint && !after.inherits_maint {
                turn.log(sentence::NOTICE, sentence::remains_in_forced_maint(name));
            }
        } else if transition.entered_drain() {
            tally.queued += backend.live.queued.now();
            turn.log(sentence::NOTICE, sentence::enters_drain(name, up, is_ordered, &tally));
        } else if transition.left_drain() {
            turn.log(sentence::NOTICE, sentence::leaves_drain(name, up, was_ordered));
        } else if transition.given_otherwise() {
            turn.log(sentence::NOTICE, sentence::remains_in_drain(name, is_ordered));
        } else if transition.went_down() {
            turn.log(loss, sentence::down(name, &why, &tally));
        } else if transition.became_stopping() {
            tally.queued += backend.live.queued.now();
            turn.log(sentence::NOTICE, sentence::stopping(name, &why, &tally));
        } else if transition.came_up() {
            tally.queued += backend.live.queued.now();
            turn.log(sentence::NOTICE, sentence::up(name, &why, &tally));
        }
    }
}

impl ServerEntry {
    /// `chkfail`, `chkdown`, `lastchg`, `downtime`.
    fn count(&mut self, transition: &Transition, turn: &Turn) {
        if transition.failure_counted {
            self.check_failures += 1;
        }
        if transition.went_down() {
            self.down_count += 1;
        }
        if transition.moved() {
            self.changed_at = turn.now;
        }
        match (self.state.counts_as_down(), self.down_since) {
            (true, None) => self.down_since = Some(turn.now),
            (false, Some(since)) => {
                self.downtime += turn.now.saturating_duration_since(since);
                self.down_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// A ramp runs exactly while the state is STARTING.
    fn steer_ramp(&mut self, turn: &Turn) {
        let starting = self.state.operational == OperationalState::Starting;
        match (starting, self.spec.slowstart) {
            (true, Some(length)) if self.ramp.is_none() => self.ramp = Some(Ramp::new(length, turn.now)),
            (true, _) => {}
            (false, _) => self.ramp = None,
        }
    }

    /// MAINT stops checks; leaving it asks for one soon; a READY after DRAIN that counts passes counts only those
    /// of checks that left after it.
    fn steer_checks(&mut self, transition: &Transition, turn: &Turn) {
        if self.state.is_in_maintenance() {
            self.stop_checks();
        } else if transition.left_maint() {
            self.restart_checks_soon(turn.now);
        } else if transition.left_drain() && transition.after.operational == OperationalState::Stopped {
            self.restart_checks(turn.now);
        } else if transition.moved() {
            self.keep_pace(turn.now);
        }
    }
}
