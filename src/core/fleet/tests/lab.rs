//! A fleet on a desk: time is moved by hand, probes and look-ups are answered by hand, effects are kept.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::core::fleet::event::*;
use crate::core::fleet::saved::SavedState;
use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::fleet::spec::*;
use crate::core::fleet::{Fleet, Refusal, ServerEntry};
use crate::core::health::agent::{AgentAnswer, AgentOutcome};
use crate::core::health::{CheckOutcome, CheckStatus};
use crate::core::server::AdminState;

pub(crate) struct Lab {
    pub(crate) fleet: Fleet,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    /// Log lines so far, `severity text`.
    pub(crate) logs: Vec<String>,
    /// The effects of the last call.
    pub(crate) effects: Vec<Effect>,
    /// Probes under way.
    pub(crate) probes: BTreeMap<ServerId, u64>,
    /// Agents being asked.
    pub(crate) questions: BTreeMap<ServerId, u64>,
    /// Look-ups under way.
    pub(crate) look_ups: Vec<ServerId>,
}

pub(crate) fn by_cli() -> Origin {
    Origin { way: Way::Cli, who: "ops".into(), at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000) }
}

pub(crate) fn passed() -> CheckOutcome {
    CheckOutcome { status: CheckStatus::L7Ok, code: Some(200), duration: Duration::ZERO, text: "".into() }
}

pub(crate) fn failed() -> CheckOutcome {
    let text = "Service Unavailable".into();
    CheckOutcome { status: CheckStatus::L7Status, code: Some(503), duration: Duration::from_millis(2), text }
}

impl Lab {
    pub(crate) fn new(spec: &FleetSpec) -> Lab {
        Lab::with(spec, &SavedState::default())
    }

    #[allow(clippy::disallowed_methods)]
    pub(crate) fn with(spec: &FleetSpec, saved: &SavedState) -> Lab {
        let start = Instant::now();
        let (fleet, effects) = Fleet::new(spec, 3, saved, 7, start);
        let (probes, questions) = (BTreeMap::new(), BTreeMap::new());
        let mut lab =
            Lab { fleet, now: start, start, logs: vec![], effects: vec![], probes, questions, look_ups: vec![] };
        lab.take(effects);
        lab
    }

    /// One backend `be_web`.
    pub(crate) fn web(servers: Vec<ServerSpec>) -> Lab {
        Lab::new(&super::specs::fleet(vec![super::specs::backend("be_web", servers)]))
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            match effect {
                Effect::Log { severity, text } => self.logs.push(format!("{severity} {text}")),
                Effect::Probe { server, ticket, .. } => {
                    assert!(self.fleet.server(*server).unwrap().check_running);
                    self.probes.insert(*server, *ticket);
                }
                Effect::AskAgent { server, ticket, .. } => {
                    assert!(self.fleet.server(*server).unwrap().agent.as_ref().unwrap().is_running());
                    self.questions.insert(*server, *ticket);
                }
                Effect::Resolve { server, .. } => self.look_ups.push(*server),
                _ => {}
            }
        }
        self.effects = effects;
        self.fleet.check_invariants();
    }

    #[track_caller]
    pub(crate) fn apply(&mut self, event: Event) {
        let effects = self.fleet.apply(event, self.now).unwrap();
        self.take(effects);
    }

    pub(crate) fn refused(&mut self, event: Event) -> String {
        let Refusal(text) = self.fleet.apply(event, self.now).unwrap_err();
        self.fleet.check_invariants();
        text
    }

    pub(crate) fn id(&self, name: &str) -> ServerId {
        let path = if name.contains('/') { name.to_owned() } else { format!("be_web/{name}") };
        self.fleet.find_server(&path).unwrap()
    }

    pub(crate) fn entry(&self, name: &str) -> &ServerEntry {
        self.fleet.server(self.id(name)).unwrap()
    }

    pub(crate) fn word(&self, name: &str) -> String {
        self.entry(name).state.status_word()
    }

    pub(crate) fn view(&self) -> &BackendView {
        &self.fleet.snapshot().backends[0]
    }

    pub(crate) fn server_view(&self, name: &str) -> &ServerView {
        let id = self.id(name);
        &self.fleet.snapshot().backends[id.backend.0 as usize].servers[id.index as usize]
    }

    pub(crate) fn admin(&mut self, name: &str, state: AdminState) {
        let server = self.id(name);
        self.apply(Event::SetAdminState { server, state, by: by_cli() });
    }

    pub(crate) fn maint(&mut self, name: &str) {
        self.admin(name, AdminState::Maint);
    }

    pub(crate) fn drain(&mut self, name: &str) {
        self.admin(name, AdminState::Drain);
    }

    pub(crate) fn ready(&mut self, name: &str) {
        self.admin(name, AdminState::Ready);
    }

    pub(crate) fn health(&mut self, name: &str, health: ForcedHealth) {
        let server = self.id(name);
        self.apply(Event::SetHealth { server, health, by: by_cli() });
    }

    pub(crate) fn weight(&mut self, name: &str, weight: WeightChange) {
        let server = self.id(name);
        self.apply(Event::SetWeight { server, weight, by: by_cli() });
    }

    /// Moves time to where something is due, at most to `deadline`, and does it; false when nothing was.
    pub(crate) fn tick(&mut self, deadline: Instant) -> bool {
        match self.fleet.next_timeout().filter(|t| *t <= deadline) {
            Some(due) => {
                self.now = self.now.max(due);
                let effects = self.fleet.on_timeout(self.now);
                self.take(effects);
                assert!(self.fleet.next_timeout().is_none_or(|t| t > self.now), "what was due was not done");
                true
            }
            None => {
                self.now = deadline;
                false
            }
        }
    }

    /// Moves time on and does what is due on the way. Probes pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        let deadline = self.now + time;
        loop {
            while let Some((server, ticket)) = self.probes.pop_first() {
                self.apply(Event::Checked { server, ticket, outcome: passed() });
            }
            if !self.tick(deadline) {
                return;
            }
        }
    }

    /// Waits until this server is being checked, without letting any check finish, and answers.
    pub(crate) fn answer(&mut self, name: &str, outcome: CheckOutcome) {
        let server = self.id(name);
        let deadline = self.now + Duration::from_secs(60);
        while !self.probes.contains_key(&server) {
            assert!(self.tick(deadline), "{name} is not checked");
        }
        let ticket = self.probes.remove(&server).unwrap();
        self.apply(Event::Checked { server, ticket, outcome });
    }

    /// Waits until this server's agent is being asked, without letting any check finish; it answers.
    pub(crate) fn agent(&mut self, name: &str, answer: AgentAnswer) {
        let server = self.id(name);
        let deadline = self.now + Duration::from_secs(60);
        while !self.questions.contains_key(&server) {
            assert!(self.tick(deadline), "the agent of {name} is not asked");
        }
        let ticket = self.questions.remove(&server).unwrap();
        let outcome = AgentOutcome { answer, duration: Duration::from_millis(2) };
        self.apply(Event::AgentAnswered { server, ticket, outcome, at: by_cli().at });
    }

    /// The same with a line.
    pub(crate) fn says(&mut self, name: &str, line: &str) {
        self.agent(name, AgentAnswer::Line(line.into()));
    }

    pub(crate) fn order_agent(&mut self, name: &str, order: AgentOrder) {
        let server = self.id(name);
        self.apply(Event::OrderAgent { server, order });
    }

    pub(crate) fn pass(&mut self, name: &str) {
        self.answer(name, passed());
    }

    pub(crate) fn fail(&mut self, name: &str) {
        self.answer(name, failed());
    }

    pub(crate) fn resolve(&mut self, name: &str, addresses: &[&str], ttl: u64) {
        let server = self.id(name);
        let answer: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.look_ups.retain(|s| *s != server);
        self.apply(Event::Resolved { server, answer: Ok(answer), ttl: Duration::from_secs(ttl) });
    }

    /// The log lines since the last call.
    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.logs)
    }

    /// The effects of the last call, by name.
    pub(crate) fn effect_words(&self) -> Vec<&'static str> {
        let word = |e: &Effect| match e {
            Effect::Publish => "publish",
            Effect::Dispatch(_) => "dispatch",
            Effect::Probe { .. } => "probe",
            Effect::AskAgent { .. } => "ask",
            Effect::Resolve { .. } => "resolve",
            Effect::Log { .. } => "log",
            Effect::ShutdownSessions { .. } => "shutdown",
            Effect::CloseIdle(_) => "close idle",
            Effect::SetListening { .. } => "listen",
            Effect::SetFrontendMaxconn { .. } | Effect::SetProcessLimit { .. } => "limit",
            Effect::Save => "save",
            Effect::Ready => "ready",
        };
        self.effects.iter().map(word).collect()
    }
}
