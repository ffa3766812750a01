//! What each event does.
//!
//! Every handler changes one server (or a backend) and hands the transition to `consequence`; `finish` then settles the
//! backends that were touched, publishes and puts the effects in order: log lines, the snapshot, those who wait, old
//! connections, the state file, new checks.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::consequence::Cause;
use super::event::{Effect, Event, ForcedHealth, Origin, WeightChange};
use super::snapshot::ConnectTo;
use super::spec::{BackendIndex, ServerAddress, ServerId};
use super::{Fleet, LastCheck, Refusal, ServerEntry, sentence};
use crate::core::admin::texts;
use crate::core::discovery::{self, Resolution};
use crate::core::health::{CheckOutcome, CheckStatus};
use crate::core::server::{AdminState, OperationalState};
use crate::core::stats::Counter;
use crate::core::stats::counters::Shard;

/// Highest weight. HAProxy: `SRV_UWGHT_MAX`.
const WEIGHT_MAX: u32 = 256;

/// What one call of the fleet brings about, until its effects are put in order.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Instant,
    /// Log lines.
    pub(super) logs: Vec<Effect>,
    /// Backends whose accounting and snapshot are to be looked at.
    touched: Vec<BackendIndex>,
    /// Backends whose waiting requests are to be looked at.
    pub(super) dispatch: Vec<BackendIndex>,
    /// What comes after the publication.
    pub(super) later: Vec<Effect>,
    /// Servers for which a check or a look-up may be due.
    due: Vec<ServerId>,
    pub(super) save: bool,
}

impl Turn {
    pub(super) fn new(now: Instant) -> Turn {
        Turn {
            now,
            logs: Vec::new(),
            touched: Vec::new(),
            dispatch: Vec::new(),
            later: Vec::new(),
            due: Vec::new(),
            save: false,
        }
    }

    pub(super) fn touch(&mut self, backend: BackendIndex) {
        if !self.touched.contains(&backend) {
            self.touched.push(backend);
        }
    }

    pub(super) fn due(&mut self, server: ServerId) {
        self.due.push(server);
    }

    pub(super) fn save(&mut self) {
        self.save = true;
    }

    pub(super) fn log(&mut self, severity: u8, text: String) {
        self.logs.push(Effect::Log { severity, text });
    }
}

impl Fleet {
    /// Takes in one thing that happened and says what is to be done about it, in order. A refusal means that nothing
    /// changed.
    pub fn apply(&mut self, event: Event, now: Instant) -> Result<Vec<Effect>, Refusal> {
        let mut turn = Turn::new(now);
        match event {
            Event::SetAdminState { server, state, by } => self.set_admin_state(server, state, by, &mut turn)?,
            Event::SetHealth { server, health, by } => self.set_health(server, health, &by, &mut turn)?,
            Event::SetWeight { server, weight, by } => self.set_weight(server, weight, by, &mut turn)?,
            Event::SetAddress { server, ip, port, by } => self.set_server_address(server, ip, port, by, &mut turn)?,
            Event::SetMaxconn { server, maxconn } => {
                self.entry(server)?.maxconn = (maxconn > 0).then_some(maxconn);
                turn.save = true;
                turn.touch(server.backend);
            }
            Event::SetChecks { server, enabled } => self.set_checks(server, enabled, &mut turn)?,
            Event::SetCheckTarget { server, ip, port } => self.set_check_target(server, ip, port, &mut turn)?,
            Event::SetName { server, name, by } => self.set_server_name(server, &name, by, &mut turn)?,
            Event::SetTls { server, on, by } => self.set_server_tls(server, on, by, &mut turn)?,
            Event::OrderAgent { server, order } => self.order_agent(server, order, &mut turn)?,
            Event::AgentAnswered { server, ticket, outcome, at } => {
                self.agent_answered(server, ticket, outcome, at, &mut turn)?
            }
            Event::SetMaintenance { backend, on } => self.set_maintenance(backend, on, &mut turn)?,
            Event::AddServer { backend, spec, sid } => self.add_server(backend, &spec, sid, &mut turn)?,
            Event::DeleteServer { server } => self.delete_server(server, &mut turn)?,
            Event::OrderFrontend { frontend, order } => self.order_frontend(frontend, order, &mut turn)?,
            Event::SetFrontendMaxconn { frontend, maxconn } => self.limit_frontend(frontend, maxconn, &mut turn)?,
            Event::SetProcessLimit { limit, to } => self.set_process_limit(limit, to, &mut turn)?,
            Event::Checked { server, ticket, outcome } => self.checked(server, ticket, outcome, &mut turn)?,
            Event::Resolved { server, answer, ttl } => self.resolved(server, answer, ttl, &mut turn)?,
            Event::Observed { server, text } => self.observed(server, &text, &mut turn)?,
        }
        Ok(self.finish(turn))
    }

    /// Settles what was touched and puts the effects in order.
    pub(super) fn finish(&mut self, mut turn: Turn) -> Vec<Effect> {
        let mut publish = false;
        for backend in std::mem::take(&mut turn.touched) {
            self.account(backend, &mut turn);
            if self.refresh_view(backend) {
                publish = true;
                if !turn.dispatch.contains(&backend) {
                    turn.dispatch.push(backend);
                }
            }
        }
        let mut effects = turn.logs;
        effects.extend(publish.then_some(Effect::Publish));
        effects.extend(turn.dispatch.into_iter().map(Effect::Dispatch));
        effects.append(&mut turn.later);
        effects.extend(turn.save.then_some(Effect::Save));
        for server in turn.due {
            self.start_due(server, turn.now, &mut effects);
        }
        if !self.ready && self.is_ready() {
            self.ready = true;
            effects.push(Effect::Ready);
        }
        effects
    }

    pub(super) fn entry(&mut self, id: ServerId) -> Result<&mut ServerEntry, Refusal> {
        self.server_mut(id).ok_or_else(|| Refusal("No such server.".to_owned()))
    }

    pub(super) fn set_admin_state(
        &mut self,
        id: ServerId,
        to: AdminState,
        by: Origin,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        let way = by.way;
        let transition = entry.state.set_admin(to);
        entry.changed_by = Some(by);
        turn.save = true;
        self.follow(id, transition, &Cause::Order(way), turn);
        Ok(())
    }

    fn set_health(&mut self, id: ServerId, health: ForcedHealth, by: &Origin, turn: &mut Turn) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        if entry.state.tracks.is_some() {
            return Err(Refusal(texts::TRACKING.to_owned()));
        }
        let transition = entry.state.force_health(health);
        self.follow(id, transition, &Cause::Order(by.way), turn);
        Ok(())
    }

    pub(super) fn set_weight(
        &mut self,
        id: ServerId,
        change: WeightChange,
        by: Origin,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        entry.weight = entry.weight_after(change)?;
        entry.changed_by = Some(by);
        turn.save = true;
        turn.touch(id.backend);
        Ok(())
    }

    fn set_server_address(
        &mut self,
        id: ServerId,
        ip: Option<IpAddr>,
        port: Option<u16>,
        by: Origin,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        if port == Some(0) {
            return Err(Refusal("provided port is invalid".to_owned()));
        }
        let entry = self.entry(id)?;
        let Some((current_ip, current_port)) = entry.ip_and_port() else {
            return Err(Refusal(format!(
                "The server '{}' listens on a unix socket: its address cannot be changed.",
                entry.spec.name
            )));
        };
        let Some(ip) = ip.or(current_ip) else {
            return Err(Refusal(format!("The server '{}' has no address yet: give one.", entry.spec.name)));
        };
        let to = SocketAddr::new(ip, port.unwrap_or(current_port));
        entry.changed_by = Some(by);
        entry.set_address = Some(to).filter(|to| entry.spec.address != ServerAddress::Ip(*to));
        turn.save = true;
        self.move_to(id, to, "'stats socket command'", turn);
        Ok(())
    }

    fn set_checks(&mut self, id: ServerId, enabled: bool, turn: &mut Turn) -> Result<(), Refusal> {
        let entry = self.entry(id)?;
        if !entry.state.checked {
            return if enabled {
                Err(Refusal("Health checks are not configured on this server, cannot enable.".to_owned()))
            } else {
                Ok(())
            };
        }
        if entry.state.checks_enabled == enabled {
            return Ok(());
        }
        let transition = entry.state.set_checks_enabled(enabled);
        entry.restart_checks(turn.now);
        turn.save = true;
        turn.touch(id.backend);
        self.follow(id, transition, &Cause::Checks, turn);
        Ok(())
    }

    fn set_maintenance(&mut self, index: BackendIndex, on: bool, turn: &mut Turn) -> Result<(), Refusal> {
        let backend = self.backends.get_mut(index.0 as usize).ok_or_else(|| Refusal("No such backend.".to_owned()))?;
        if backend.maintenance != on {
            backend.maintenance = on;
            let verb = if on { "enters" } else { "leaves" };
            turn.log(sentence::NOTICE, format!("Backend {} {verb} maintenance.", backend.spec.name));
            turn.save = true;
            turn.touch(index);
        }
        Ok(())
    }

    fn checked(
        &mut self,
        id: ServerId,
        ticket: u64,
        mut outcome: CheckOutcome,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let mut rng = self.rng.fork();
        let name = self.sentence_name(id);
        let tells = self.backend(id.backend).is_some_and(|b| b.spec.log_health_checks);
        let entry = self.entry(id)?;
        if entry.schedule.running.is_none_or(|r| r.ticket != ticket) {
            return Ok(());
        }
        if outcome.status == CheckStatus::L7OkConditional {
            match entry.state.operational {
                // It asks to be left alone, but it has not come back yet.
                OperationalState::Stopped => outcome.status = CheckStatus::L7Status,
                _ => outcome.text = "".into(),
            }
        }
        let (status, previous, health) = (outcome.status, entry.last_status(), entry.state.health);
        let transition = match status.is_verdict() || entry.state.awaiting_first_check {
            true if status == CheckStatus::L7OkConditional => entry.state.checked_conditionally(),
            true => entry.state.checked(status.passed()),
            false => entry.state.unchanged(),
        };
        if tells && status.is_verdict() && (status != previous || entry.state.health != health) {
            turn.log(sentence::NOTICE, sentence::checked(&name, "Health", &outcome, entry.score()));
        }
        let was_sent = entry.last_check.as_ref().is_none_or(|last| last.outcome.status != CheckStatus::SocketError);
        if outcome.status == CheckStatus::SocketError && was_sent {
            turn.log(sentence::WARNING, sentence::check_not_sent(&name, &outcome.text));
        }
        entry.last_check = Some(LastCheck { outcome: outcome.clone(), at: turn.now });
        entry.check_came_back(turn.now, &mut rng);
        let cause = if tells { Cause::Told } else { Cause::Check(&outcome) };
        self.follow(id, transition, &cause, turn);
        Ok(())
    }

    fn resolved(
        &mut self,
        id: ServerId,
        answer: Result<Vec<IpAddr>, Box<str>>,
        ttl: Duration,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let mut rng = self.rng.fork();
        let name = self.sentence_name(id);
        let entry = self.entry(id)?;
        entry.look_up_running = false;
        if std::mem::take(&mut entry.answer_is_old) {
            entry.resolution = entry.host().map(|host| Resolution::new(host, turn.now));
            turn.due(id);
            return Ok(());
        }
        let current = entry.ip_and_port();
        let (Some(resolution), None, Some((ip, port))) = (&mut entry.resolution, entry.set_address, current) else {
            return Ok(());
        };
        let chosen = answer.as_ref().ok().and_then(|addresses| discovery::choose(ip, addresses));
        turn.due(id);
        turn.touch(id.backend);
        match chosen {
            Some(chosen) => {
                resolution.answered(ttl, turn.now);
                self.move_to(id, SocketAddr::new(chosen, port), "DNS", turn);
            }
            None => {
                resolution.failed(turn.now, &mut rng);
                if resolution.failures() == 1 {
                    let why = answer.err().unwrap_or_else(|| "no addresses".into());
                    turn.log(sentence::WARNING, sentence::look_up_failed(&name, resolution.host(), &why, ip));
                }
                // Who waited for it waits no longer.
                self.lead(id, turn);
            }
        }
        Ok(())
    }

    fn observed(&mut self, id: ServerId, text: &str, turn: &mut Turn) -> Result<(), Refusal> {
        let control = Shard(self.shards - 1);
        let name = self.sentence_name(id);
        let tells = self.backend(id.backend).is_some_and(|b| b.spec.log_health_checks);
        let entry = self.entry(id)?;
        entry.live.observed_errors.store(0, std::sync::atomic::Ordering::Relaxed);
        let Some(observe) = entry.spec.observe else { return Ok(()) };
        if entry.state.is_in_maintenance() || !entry.state.has_checks() {
            return Ok(());
        }
        entry.live.counters.inc(control, Counter::Hanafail);
        let outcome = CheckOutcome {
            status: CheckStatus::Analyze,
            code: None,
            duration: Duration::ZERO,
            text: format!("Detected {} consecutive errors, last one was: {text}", observe.error_limit).into(),
        };
        let transition = entry.state.observed_errors(observe.on_error);
        if transition.failure_counted {
            if tells {
                turn.log(sentence::NOTICE, sentence::checked(&name, "Health", &outcome, entry.score()));
            }
            entry.last_check = Some(LastCheck { outcome: outcome.clone(), at: turn.now });
        }
        entry.hurry_check(turn.now);
        let cause = if tells { Cause::Told } else { Cause::Check(&outcome) };
        self.follow(id, transition, &cause, turn);
        Ok(())
    }

    /// A server's address becomes `to`: what is known of the old one is not known of this.
    fn move_to(&mut self, id: ServerId, to: SocketAddr, updater: &str, turn: &mut Turn) {
        let name = self.sentence_name(id);
        let Some(entry) = self.server_mut(id) else { return };
        let from = entry.address.replace(ConnectTo::Ip(to));
        if from == entry.address {
            return;
        }
        let from = match from {
            Some(ConnectTo::Ip(a)) => Some(a),
            _ => None,
        };
        turn.log(sentence::NOTICE, sentence::moved(&name, from, to, updater));
        let transition = entry.state.resolved();
        entry.restart_checks(turn.now);
        if from.is_some() {
            turn.later.push(Effect::CloseIdle(id));
        }
        turn.touch(id.backend);
        self.follow(id, transition, &Cause::Resolved, turn);
    }
}

impl ServerEntry {
    /// What a change makes of its weight.
    pub(super) fn weight_after(&self, change: WeightChange) -> Result<u32, Refusal> {
        match change {
            WeightChange::Absolute(weight) if weight > WEIGHT_MAX => {
                Err(Refusal("Absolute weight can only be between 0 and 256 inclusive.".to_owned()))
            }
            WeightChange::Absolute(weight) => Ok(weight),
            WeightChange::Percent(percent) => {
                let weight = u64::from(self.spec.weight) * u64::from(percent) / 100;
                Ok(u32::try_from(weight).unwrap_or(WEIGHT_MAX).min(WEIGHT_MAX))
            }
        }
    }

    /// The class of its last check's result.
    fn last_status(&self) -> CheckStatus {
        self.last_check.as_ref().map_or(CheckStatus::Initializing, |last| last.outcome.status)
    }

    fn score(&self) -> sentence::Score {
        let state = &self.state;
        sentence::Score { health: state.health, rise: state.rise, fall: state.fall, weighs: self.weight > 0 }
    }

    /// Its address as far as known, and its port; `None` for a unix socket.
    pub(super) fn ip_and_port(&self) -> Option<(Option<IpAddr>, u16)> {
        match (&self.address, &self.spec.address) {
            (Some(ConnectTo::Ip(a)), _) => Some((Some(a.ip()), a.port())),
            (None, ServerAddress::Name { port, .. }) => Some((None, *port)),
            (None, ServerAddress::Ip(a)) => Some((Some(a.ip()), a.port())),
            (Some(ConnectTo::Unix(_)), _) | (None, ServerAddress::Unix(_)) => None,
        }
    }
}
