//! Agents: when they are asked, what their answers change, and what operators may say about them.
//!
//! An agent is asked in MAINT too: that is how it can end a MAINT it has begun. What it says of health moves only its own
//! axis of the state ([`crate::core::server::agent`]); what it says of MAINT and DRAIN, weight and `maxconn` is done as if
//! an operator had said it, and kept like that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::apply::Turn;
use super::consequence::Cause;
use super::event::{AgentOrder, Effect, Origin, Way};
use super::schedule::{CheckSchedule, LOST_AFTER, RunningCheck, spread};
use super::snapshot::ConnectTo;
use super::spec::ServerId;
use super::{Fleet, LastCheck, Refusal, ServerEntry, sentence};
use crate::core::admin::texts;
use crate::core::health::agent::{AgentAnswer, AgentHealth, AgentOutcome, AgentReport, AgentSpec, parse};
use crate::core::health::{CheckOutcome, CheckStatus};

/// The last answer had no end.
const INCOMPLETE: &str = "Ignoring incomplete line from agent";

/// A server's agent in the control task.
#[derive(Debug)]
pub struct AgentEntry {
    /// Its configuration.
    pub spec: Arc<AgentSpec>,
    /// At another address than the server's, as configured or set by an operator.
    pub address: Option<IpAddr>,
    /// Its port, as configured or set by an operator.
    pub port: u16,
    /// What is sent to it first.
    pub send: Box<str>,
    /// What the last question came to. Its text is what the agent said.
    pub last: Option<LastCheck>,
    pub(super) schedule: CheckSchedule,
}

impl AgentEntry {
    pub(super) fn new(spec: &Arc<AgentSpec>) -> AgentEntry {
        AgentEntry {
            address: spec.address,
            port: spec.port,
            send: spec.send.clone(),
            last: None,
            schedule: CheckSchedule::default(),
            spec: spec.clone(),
        }
    }

    /// It is being asked now.
    pub fn is_running(&self) -> bool {
        self.schedule.running.is_some()
    }

    /// The class of the last result.
    pub fn status(&self) -> CheckStatus {
        self.last.as_ref().map_or(CheckStatus::Initializing, |last| last.outcome.status)
    }
}

impl ServerEntry {
    /// The next question leaves now, or none does; the answer to one under way is dropped.
    pub(super) fn restart_agent(&mut self, now: Instant) {
        let enabled = self.state.has_agent();
        if let Some(agent) = &mut self.agent {
            agent.schedule = CheckSchedule { due: enabled.then_some(now), running: None };
        }
    }

    pub(super) fn agent_wake_up(&self) -> Option<Instant> {
        self.agent_target()?;
        let schedule = self.agent.as_ref()?.schedule;
        schedule.running.map_or(schedule.due, |r| Some(r.lost_at))
    }

    /// The agent's own address where set, else the server's; `None` while that is not known.
    fn agent_target(&self) -> Option<SocketAddr> {
        let agent = self.agent.as_ref()?;
        let server = match self.address.as_ref() {
            Some(ConnectTo::Ip(a)) => Some(a.ip()),
            Some(ConnectTo::Unix(_)) | None => None,
        };
        Some(SocketAddr::new(agent.address.or(server)?, agent.port))
    }

    /// Asks the agent if that is due; whether it did.
    pub(super) fn ask_agent_if_due(&mut self, ticket: u64, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let Some(to) = self.agent_target() else { return false };
        let id = self.id;
        let Some(agent) = &mut self.agent else { return false };
        if agent.schedule.running.is_some_and(|r| r.lost_at <= now) {
            agent.schedule = CheckSchedule { due: Some(now), running: None };
        }
        if agent.schedule.running.is_some() || agent.schedule.due.is_none_or(|due| due > now) {
            return false;
        }
        let timeout = agent.spec.timeout;
        agent.schedule.running =
            Some(RunningCheck { ticket, started: now, lost_at: now + timeout.saturating_add(LOST_AFTER) });
        effects.push(Effect::AskAgent { server: id, ticket, to, send: agent.send.clone(), timeout });
        true
    }
}

impl Fleet {
    /// What an operator says about an agent.
    pub(super) fn order_agent(&mut self, id: ServerId, order: AgentOrder, turn: &mut Turn) -> Result<(), Refusal> {
        let refuse = |text: &str| Err(Refusal(text.to_owned()));
        let entry = self.entry(id)?;
        let enabled = entry.state.has_agent();
        let Some(agent) = &mut entry.agent else {
            return match order {
                AgentOrder::Enable(false) => Ok(()),
                AgentOrder::Enable(true) => refuse(texts::AGENT_NOT_CONFIGURED),
                AgentOrder::Target { .. } => refuse(texts::NO_AGENT.trim_end_matches('.')),
                AgentOrder::Health { .. } | AgentOrder::Send(_) => refuse(texts::NO_AGENT),
            };
        };
        match order {
            AgentOrder::Enable(on) if on == enabled => {}
            AgentOrder::Enable(on) => {
                let transition = entry.state.set_agent_enabled(on);
                entry.restart_agent(turn.now);
                turn.save();
                self.follow(id, transition, &Cause::Checks, turn);
            }
            AgentOrder::Target { .. } if !enabled => return refuse(texts::NO_AGENT.trim_end_matches('.')),
            _ if !enabled => return refuse(texts::NO_AGENT),
            AgentOrder::Target { ip, port } => {
                agent.address = ip.or(agent.address);
                agent.port = port.unwrap_or(agent.port);
                turn.save();
                turn.due(id);
            }
            AgentOrder::Send(send) => agent.send = send,
            AgentOrder::Health { up, by } => {
                let transition = entry.state.force_agent(up);
                self.follow(id, transition, &Cause::Order(by.way), turn);
            }
        }
        Ok(())
    }

    /// An agent was asked and answered, or did not. Not being reached changes nothing about the server.
    pub(super) fn agent_answered(
        &mut self,
        id: ServerId,
        ticket: u64,
        outcome: AgentOutcome,
        at: SystemTime,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let mut rng = self.rng.fork();
        let entry = self.entry(id)?;
        let Some(agent) = &mut entry.agent else { return Ok(()) };
        let Some(running) = agent.schedule.running.filter(|r| r.ticket == ticket) else { return Ok(()) };
        let next = (running.started + spread(agent.spec.interval, &mut rng)).max(turn.now);
        agent.schedule = CheckSchedule { due: Some(next), running: None };
        let previous = agent.status();
        let (report, status, text) = match outcome.answer {
            AgentAnswer::Line(line) => {
                let report = parse(&line);
                let (status, text) = (report.status(), report.text.clone());
                (report, status, text)
            }
            AgentAnswer::Incomplete => (AgentReport::default(), previous, INCOMPLETE.into()),
            AgentAnswer::Failed(status, text) => (AgentReport::default(), status, text),
        };
        let code = status.has_code().then_some(0);
        let outcome = CheckOutcome { status, code, duration: outcome.duration, text };
        agent.last = Some(LastCheck { outcome: outcome.clone(), at: turn.now });
        self.heed_agent(id, &report, at, turn)?;
        self.heed_agents_health(id, report.health, &outcome, previous, turn);
        Ok(())
    }

    /// What an agent says of MAINT and DRAIN, weight and `maxconn`. Said again and again, it changes something once.
    fn heed_agent(
        &mut self,
        id: ServerId,
        report: &AgentReport,
        at: SystemTime,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let by = || Origin { way: Way::Agent, who: "agent".into(), at };
        let admin = self.entry(id)?.state.admin;
        if let Some(to) = report.admin.filter(|to| *to != admin) {
            self.set_admin_state(id, to, by(), turn)?;
        }
        if let Some(change) = report.weight {
            let entry = self.entry(id)?;
            if entry.weight_after(change)? != entry.weight {
                self.set_weight(id, change, by(), turn)?;
            }
        }
        if let Some(limit) = report.maxconn {
            let entry = self.entry(id)?;
            let limit = (limit > 0).then_some(limit);
            if entry.maxconn != limit {
                entry.maxconn = limit;
                turn.save();
                turn.touch(id.backend);
            }
        }
        Ok(())
    }

    fn heed_agents_health(
        &mut self,
        id: ServerId,
        health: Option<AgentHealth>,
        outcome: &CheckOutcome,
        previous: CheckStatus,
        turn: &mut Turn,
    ) {
        let name = self.sentence_name(id);
        let tells = self.backend(id.backend).is_some_and(|b| b.spec.log_health_checks);
        let Some(entry) = self.server_mut(id) else { return };
        let before = entry.state.agent;
        let transition = match health {
            Some(health) => entry.state.agent_said(health == AgentHealth::Up),
            None => entry.state.unchanged(),
        };
        let news = outcome.status != previous || entry.state.agent != before;
        let neutral = matches!(outcome.status, CheckStatus::Checked | CheckStatus::Initializing);
        if let (true, true, false, Some(agent)) = (tells, news, neutral, entry.state.agent) {
            let score = sentence::Score { health: agent.health(), rise: 1, fall: 1, weighs: entry.weight > 0 };
            turn.log(sentence::NOTICE, sentence::checked(&name, "Agent", outcome, score));
        }
        let cause = if tells { Cause::Told } else { Cause::Check(outcome) };
        self.follow(id, transition, &cause, turn);
    }
}
