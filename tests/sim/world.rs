//! The world: what is due next, what happens then, and what the fleet's effects do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use lockgate::core::fleet::event::{Effect, Event};
use lockgate::core::fleet::saved::SavedState;
use lockgate::core::fleet::snapshot::Snapshot;
use lockgate::core::fleet::spec::{FleetSpec, ServerId, ServerSpec};
use lockgate::core::fleet::{Fleet, ServerEntry};
use lockgate::core::health::agent::{AgentAnswer, AgentOutcome};
use lockgate::core::health::{CheckOutcome, CheckStatus};
use lockgate::core::queue;
use lockgate::core::server::AdminState;

use crate::map;
use crate::oracle::Oracle;
use crate::traffic::{Request, RequestId};

/// Number of shards: two workers and the control thread.
const SHARDS: usize = 3;

/// What happened in a run, to be sure that everything happens.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub requests: u64,
    pub served: u64,
    pub bound: u64,
    pub waited: u64,
    pub timed_out: u64,
    pub left: u64,
    pub refused: u64,
    pub shut_down: u64,
    pub orders: u64,
    pub refused_orders: u64,
    pub probes: u64,
    pub probes_lost: u64,
    pub probes_stale: u64,
    pub look_ups: u64,
    pub moves: u64,
    pub outages: u64,
    pub crashes: u64,
    pub stale_pictures: u64,
    pub publications: u64,
    pub added: u64,
    pub deleted: u64,
    pub agents_heard: u64,
    pub followed: u64,
}

impl Tally {
    fn fields(&mut self) -> [&mut u64; 23] {
        [
            &mut self.requests,
            &mut self.served,
            &mut self.bound,
            &mut self.waited,
            &mut self.timed_out,
            &mut self.left,
            &mut self.refused,
            &mut self.shut_down,
            &mut self.orders,
            &mut self.refused_orders,
            &mut self.probes,
            &mut self.probes_lost,
            &mut self.probes_stale,
            &mut self.look_ups,
            &mut self.moves,
            &mut self.outages,
            &mut self.crashes,
            &mut self.stale_pictures,
            &mut self.publications,
            &mut self.added,
            &mut self.deleted,
            &mut self.agents_heard,
            &mut self.followed,
        ]
    }

    /// Sums up.
    pub fn add(&mut self, other: &Tally) {
        for (sum, n) in self.fields().into_iter().zip(other.clone().fields()) {
            *sum += *n;
        }
    }

    /// A simulation in which something never happens proves nothing about it.
    pub fn check_coverage(&self, runs: u64) {
        assert!(self.clone().fields().iter().all(|n| **n >= runs / 10), "something hardly ever happens: {self:?}");
        assert!(self.served * 4 > self.requests, "too few requests are served: {self:?}");
    }
}

/// What happens at some time.
#[derive(Debug)]
pub enum Happening {
    Checked { server: ServerId, ticket: u64 },
    LookedUp { server: ServerId },
    AgentAnswers { server: ServerId, ticket: u64 },
    Arrival,
    Departure(RequestId),
    Woken(RequestId),
    QueueTimeout(RequestId),
    ClientLeaves(RequestId),
    Flap,
    NameMoves,
    Order,
    ErrorsObserved,
    Crash,
}

/// A happening with its time; the earlier number first among equals.
type Due = (Instant, u64, Happening);

#[derive(Debug)]
struct ByTime(Due);

impl PartialEq for ByTime {
    fn eq(&self, other: &Self) -> bool {
        (self.0.0, self.0.1) == (other.0.0, other.0.1)
    }
}
impl Eq for ByTime {}
impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByTime {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.0, self.0.1).cmp(&(other.0.0, other.0.1))
    }
}

/// How a server really is.
#[derive(Debug, Clone)]
pub struct Truth {
    pub healthy: bool,
    pub latency: Duration,
    /// Where its name points; nowhere when DNS fails.
    pub points_to: Vec<u32>,
}

pub struct World {
    pub rng: Rng,
    pub start: Instant,
    pub now: Instant,
    pub spec: FleetSpec,
    pub fleet: Fleet,
    /// What workers read.
    pub published: Arc<Snapshot>,
    /// What a worker may still hold.
    pub outdated: Arc<Snapshot>,
    pub truth: BTreeMap<ServerId, Truth>,
    pub oracle: Oracle,
    /// The question to each agent whose answer will count.
    questions: BTreeMap<ServerId, u64>,
    /// Requests under way: running or waiting.
    pub requests: BTreeMap<RequestId, Request>,
    pub next_request: RequestId,
    due: BinaryHeap<Reverse<ByTime>>,
    sequence: u64,
    pub tally: Tally,
    /// What was said, for the comparison of two runs.
    pub diary: Vec<String>,
    ready_told: bool,
    resting: bool,
}

impl World {
    #[allow(clippy::disallowed_methods)]
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let start = Instant::now();
        let spec = map::draw(&mut rng);
        let (fleet, effects) = Fleet::new(&spec, SHARDS, &SavedState::default(), seed, start);
        let mut truth = BTreeMap::new();
        for server in fleet.servers() {
            let healthy = rng.u32(0..8) > 0;
            let points_to = if rng.u32(0..6) == 0 { vec![] } else { vec![server.id.index] };
            truth.insert(server.id, Truth { healthy, latency: Duration::from_millis(rng.u64(1..200)), points_to });
        }
        let published = fleet.snapshot().clone();
        let mut world = World {
            oracle: Oracle::new(&fleet),
            rng,
            start,
            now: start,
            spec,
            outdated: published.clone(),
            published,
            fleet,
            truth,
            questions: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            due: BinaryHeap::new(),
            sequence: 0,
            tally: Tally::default(),
            diary: vec![],
            ready_told: false,
            resting: false,
        };
        world.carry_out(effects);
        for happening in
            [Happening::Arrival, Happening::Flap, Happening::NameMoves, Happening::Order, Happening::ErrorsObserved]
        {
            world.later(Duration::ZERO, happening);
        }
        world.later(Duration::from_secs(20), Happening::Crash);
        world.audit();
        world
    }

    /// Puts a happening on the calendar.
    pub fn later(&mut self, wait: Duration, happening: Happening) {
        self.sequence += 1;
        self.due.push(Reverse(ByTime((self.now + wait, self.sequence, happening))));
    }

    /// A span of time, by chance, around a mean.
    pub fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(2.0 * self.rng.f64()) + Duration::from_micros(1)
    }

    /// The next thing that happens, be it the fleet's or the world's.
    pub fn step(&mut self) {
        let fleets = self.fleet.next_timeout();
        let worlds = self.due.peek().map(|Reverse(ByTime((at, ..)))| *at);
        match (fleets, worlds) {
            (Some(f), w) if w.is_none_or(|w| f <= w) => {
                assert!(f >= self.now || f + Duration::from_secs(3600) > self.now, "a time long gone is due");
                self.now = self.now.max(f);
                let effects = self.fleet.on_timeout(self.now);
                self.carry_out(effects);
                assert!(self.fleet.next_timeout().is_none_or(|t| t > self.now), "what was due was not done");
            }
            _ => {
                let Some(Reverse(ByTime((at, _, happening)))) = self.due.pop() else { return };
                assert!(at >= self.now, "time went back");
                self.now = at;
                self.happen(happening);
            }
        }
        self.audit();
    }

    /// No new requests, no orders, no trouble: everything must come to its end.
    pub fn come_to_rest(&mut self) {
        self.resting = true;
        for _ in 0..20_000 {
            if self.requests.is_empty() {
                break;
            }
            self.step();
        }
        assert!(self.requests.is_empty(), "requests that never end: {:?}", self.requests.keys());
        for server in self.fleet.servers() {
            assert_eq!(server.live.inflight.now(), 0, "a server did not empty");
            assert_eq!(server.live.queued.now(), 0);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        match happening {
            Happening::Checked { server, ticket } => self.check_comes_back(server, ticket),
            Happening::LookedUp { server } => self.look_up_comes_back(server),
            Happening::AgentAnswers { server, ticket } => self.agent_answers(server, ticket),
            Happening::Departure(id) => self.request_is_served(id),
            Happening::Woken(id) => self.stream_wakes_up(id),
            Happening::QueueTimeout(id) => self.request_times_out(id),
            Happening::ClientLeaves(id) => self.client_leaves(id),
            _ if self.resting => {}
            Happening::Arrival => {
                self.request_arrives();
                // Bursts, then quiet.
                let wait = if self.rng.u32(0..3) == 0 { millis(400) } else { millis(20) };
                let wait = self.about(wait);
                self.later(wait, Happening::Arrival);
            }
            Happening::Flap => {
                let server = self.any_server();
                let (healthy, slow) = (self.rng.u32(0..3) > 0, self.rng.u64(1..390));
                if let Some(truth) = self.truth.get_mut(&server) {
                    truth.healthy = healthy;
                    truth.latency = millis(slow);
                }
                let wait = self.about(seconds(4));
                self.later(wait, Happening::Flap);
            }
            Happening::NameMoves => {
                let server = self.any_server();
                let points_to = (0..self.rng.u32(0..3)).map(|_| self.rng.u32(100..104)).collect();
                if let Some(truth) = self.truth.get_mut(&server) {
                    truth.points_to = points_to;
                }
                let wait = self.about(seconds(5));
                self.later(wait, Happening::NameMoves);
            }
            Happening::Order => {
                self.order();
                let wait = self.about(millis(1200));
                self.later(wait, Happening::Order);
            }
            Happening::ErrorsObserved => {
                let server = self.any_server();
                self.apply(Event::Observed { server, text: "Wrong http response".into() });
                let wait = self.about(seconds(15));
                self.later(wait, Happening::ErrorsObserved);
            }
            Happening::Crash => {
                if self.rng.bool() {
                    self.crash();
                }
                let wait = self.about(seconds(40));
                self.later(wait, Happening::Crash);
            }
        }
    }

    pub fn any_server(&mut self) -> ServerId {
        let ids: Vec<ServerId> = self.truth.keys().copied().collect();
        ids[self.rng.usize(..ids.len())]
    }

    /// A server that was added.
    pub fn meet(&mut self, server: ServerId, spec: &ServerSpec) {
        let truth = Truth { healthy: self.rng.u32(0..4) > 0, latency: Duration::from_millis(50), points_to: vec![7] };
        self.truth.insert(server, truth);
        self.oracle.meet(server, spec);
    }

    /// What is said of a server that was deleted meanwhile changes nothing.
    fn is_gone(&mut self, server: ServerId, event: &Event) -> bool {
        let gone = !self.truth.contains_key(&server);
        if gone {
            assert!(self.fleet.apply(event.clone(), self.now).is_err(), "{server:?} is gone");
        }
        gone
    }

    fn check_comes_back(&mut self, server: ServerId, ticket: u64) {
        let lost =
            CheckOutcome { status: CheckStatus::L4Connect, code: None, duration: Duration::ZERO, text: "".into() };
        if self.is_gone(server, &Event::Checked { server, ticket, outcome: lost }) {
            return;
        }
        let truth = &self.truth[&server];
        let (status, text) = if truth.healthy { (CheckStatus::L4Ok, "") } else { (CheckStatus::L4Connect, "refused") };
        let outcome = CheckOutcome { status, code: None, duration: truth.latency, text: text.into() };
        let counted = self.oracle.is_current(server, ticket);
        if counted {
            self.oracle.checked(server, outcome.status.passed());
        } else {
            self.tally.probes_stale += 1;
        }
        let before = self.fleet.server(server).map(|s| s.state.clone());
        self.apply(Event::Checked { server, ticket, outcome });
        if !counted {
            assert_eq!(before, self.fleet.server(server).map(|s| s.state.clone()), "a stale result counted");
        }
    }

    fn agent_answers(&mut self, server: ServerId, ticket: u64) {
        let (words, admin, up) = match self.rng.u32(0..12) {
            0 => ("down # broken", None, Some(false)),
            1 => ("drain", Some(AdminState::Drain), None),
            2 => ("maint 10%", Some(AdminState::Maint), None),
            3 | 4 => ("ready 100%", Some(AdminState::Ready), None),
            5 => ("ready up 250% maxconn:3", Some(AdminState::Ready), Some(true)),
            6 => ("bogus\0 maxconn:0 0%", None, None),
            7 => ("", None, None),
            _ => ("up", None, Some(true)),
        };
        let (answer, admin, up) = match self.rng.u32(0..10) {
            0 => (AgentAnswer::Incomplete, None, None),
            1 => (AgentAnswer::Failed(CheckStatus::L7Timeout, "".into()), None, None),
            _ => (AgentAnswer::Line(words.into()), admin, up),
        };
        let outcome = AgentOutcome { answer, duration: Duration::from_millis(1) };
        let at = SystemTime::UNIX_EPOCH + (self.now - self.start);
        let event = Event::AgentAnswered { server, ticket, outcome, at };
        if self.is_gone(server, &event) {
            return;
        }
        if self.questions.get(&server) == Some(&ticket) {
            self.questions.remove(&server);
            self.tally.agents_heard += 1;
            if let Some(admin) = admin {
                self.oracle.admin(server, admin);
            }
            if let Some(up) = up {
                self.oracle.agent(server, up);
            }
        }
        self.apply(event);
    }

    fn look_up_comes_back(&mut self, server: ServerId) {
        let answer = Ok(vec![map::ip(1)]);
        if self.is_gone(server, &Event::Resolved { server, answer, ttl: Duration::ZERO }) {
            return;
        }
        let points_to = &self.truth[&server].points_to;
        let answer: Result<Vec<_>, Box<str>> = match points_to.is_empty() {
            true => Err("SERVFAIL".into()),
            false => Ok(points_to.iter().map(|n| map::ip(*n)).collect()),
        };
        let ttl = Duration::from_secs(self.rng.u64(0..10));
        let before = self.fleet.server(server).and_then(|s| s.address.clone());
        if before.is_none() && answer.is_ok() {
            self.oracle.resolved(server);
        }
        self.apply(Event::Resolved { server, answer, ttl });
        let after = self.fleet.server(server).and_then(|s| s.address.clone());
        assert!(before.is_none() || after.is_some(), "the last good answer was forgotten");
        self.tally.moves += u64::from(before.is_some() && before != after);
    }

    /// Gives the fleet an event that cannot be refused.
    pub fn apply(&mut self, event: Event) {
        let effects = self.fleet.apply(event, self.now).expect("events of the world are not refused");
        self.carry_out(effects);
    }

    /// Does what the control task does with effects.
    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut dispatched = false;
        for effect in effects {
            match effect {
                Effect::Publish => {
                    assert!(!dispatched, "those who wait were looked at before the new picture was out");
                    self.outdated = std::mem::replace(&mut self.published, self.fleet.snapshot().clone());
                    self.tally.publications += 1;
                }
                Effect::Dispatch(backend) => {
                    dispatched = true;
                    queue::dispatch(&self.published.backends[backend.0 as usize]);
                    self.collect_grants();
                }
                Effect::Probe { server, ticket, .. } => {
                    self.tally.probes += 1;
                    self.oracle.probed(server, ticket);
                    if self.rng.u32(0..100) == 0 {
                        self.tally.probes_lost += 1;
                    } else {
                        let wait = self.truth[&server].latency;
                        self.later(wait, Happening::Checked { server, ticket });
                    }
                }
                Effect::AskAgent { server, ticket, .. } => {
                    self.questions.insert(server, ticket);
                    let wait = self.about(Duration::from_millis(100));
                    self.later(wait, Happening::AgentAnswers { server, ticket });
                }
                Effect::Resolve { server, .. } => {
                    self.tally.look_ups += 1;
                    let wait = self.about(Duration::from_millis(30));
                    self.later(wait, Happening::LookedUp { server });
                }
                Effect::Log { severity, text } => {
                    assert!(text.ends_with(['.', '!']) && !text.contains('\n'), "an odd line: {text}");
                    assert!(matches!(severity, 0 | 1 | 4 | 5));
                    self.tally.outages += u64::from(severity == 0);
                    self.diary.push(format!("{:?} {severity} {text}", self.now - self.start));
                }
                Effect::ShutdownSessions { server, flag } => {
                    assert_eq!(flag, 'D');
                    self.shut_down_sessions(server);
                }
                Effect::Ready => {
                    assert!(!std::mem::replace(&mut self.ready_told, true), "ready was told twice");
                    assert!(self.fleet.is_ready());
                }
                Effect::CloseIdle(_) => {}
                Effect::SetListening { .. } | Effect::SetFrontendMaxconn { .. } | Effect::SetProcessLimit { .. } => {}
                Effect::Save => {
                    let saved = self.fleet.saved_state();
                    let text = serde_json::to_string(&saved).expect("plain values");
                    let read: SavedState = serde_json::from_str(&text).expect("what was written can be read");
                    assert_eq!(read, saved);
                }
            }
        }
        assert!(Arc::ptr_eq(&self.published, self.fleet.snapshot()), "a change was not published");
    }

    /// The process dies; its state file does not.
    fn crash(&mut self) {
        let saved = self.fleet.saved_state();
        self.due.retain(|Reverse(ByTime((_, _, h)))| {
            !matches!(
                h,
                Happening::Checked { .. }
                    | Happening::LookedUp { .. }
                    | Happening::AgentAnswers { .. }
                    | Happening::Departure(_)
                    | Happening::Woken(_)
                    | Happening::QueueTimeout(_)
                    | Happening::ClientLeaves(_)
            )
        });
        self.requests.clear();
        let told = |fleet: &Fleet| -> BTreeMap<_, _> {
            let servers = fleet.servers().filter(|s| !s.dynamic);
            let said = |s: &ServerEntry| (s.state.admin, s.weight, s.maxconn, s.set_address());
            servers.map(|s| ((s.id.backend, s.spec.name.clone()), said(s))).collect()
        };
        let before = told(&self.fleet);
        let (fleet, effects) = Fleet::new(&self.spec, SHARDS, &saved, self.sequence, self.now);
        // Servers that were deleted are back, those that were added are gone.
        let after = told(&fleet);
        assert!(before.iter().all(|(name, said)| after.get(name) == Some(said)), "operator state was lost");
        let ids: Vec<ServerId> = fleet.servers().map(|s| s.id).collect();
        self.truth.retain(|id, _| ids.contains(id));
        for id in ids {
            let truth = Truth { healthy: true, latency: Duration::from_millis(50), points_to: vec![id.index] };
            self.truth.entry(id).or_insert(truth);
        }
        assert_eq!(fleet.saved_state(), saved);
        self.oracle = Oracle::new(&fleet);
        self.questions.clear();
        self.fleet = fleet;
        self.published = self.fleet.snapshot().clone();
        self.outdated = self.published.clone();
        self.ready_told = false;
        self.tally.crashes += 1;
        self.carry_out(effects);
    }
}
