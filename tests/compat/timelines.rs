//! HAProxy's recorded state experiments, replayed in virtual time: the same commands, the same changes at the servers'
//! ends, and then the same states in the same order, each within a check interval, and the same log lines.
//!
//! `golden/state` holds the recordings; the servers are those of the lab's `state.cfg`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockgate::core::balance::Algorithm;
use lockgate::core::fleet::event::{Effect, Event, ForcedHealth, Origin, Way, WeightChange};
use lockgate::core::fleet::saved::SavedState;
use lockgate::core::fleet::snapshot::ConnectTo;
use lockgate::core::fleet::spec::*;
use lockgate::core::fleet::{Fleet, Refusal};
use lockgate::core::health::{CheckKind, CheckOutcome, CheckSpec, CheckStatus, HttpCheck};
use lockgate::core::server::AdminState;
use lockgate::core::stats::{self, Query, Rates, View};

use crate::lab;

/// The longest from one recorded state to the next: an interval with its spread, and a check that runs into its timeout.
const PATIENCE: Duration = Duration::from_millis(2200);

/// The server an experiment is about, by its letter.
fn watched(title: &str) -> &'static str {
    match title.split('.').next().unwrap() {
        "P" | "P2" | "P3" | "P4" => "be_web/trk",
        "Q" | "Q2" | "Q3" => "be_web/slow",
        "R" => "be_web/nochk",
        "S" => "be_web/off",
        "T" | "U" => "be_web/web2",
        "V" | "W" => "be_404/d404",
        "V2" => "be_web/web3",
        _ => "be_web/web1",
    }
}

fn check(interval_ms: u64, rounds: u32, disable_on_404: bool) -> Option<Arc<CheckSpec>> {
    let interval = Duration::from_millis(interval_ms);
    Some(Arc::new(CheckSpec {
        kind: CheckKind::Http(HttpCheck {
            method: "GET".into(),
            path: "/health".into(),
            host: None,
            headers: vec![],
            expect: vec![(200, 200)],
            body: None,
            disable_on_404,
            h2: false,
        }),
        interval,
        fastinter: interval,
        downinter: interval,
        timeout: Duration::from_millis(900).min(interval),
        rise: rounds,
        fall: rounds,
        address: None,
        port: None,
        tls: None,
    }))
}

/// The servers of `state.cfg`.
fn spec(initial: InitialState, return_from_maint: ReturnFromMaint) -> FleetSpec {
    let server = |name: &str, port: u16| ServerSpec {
        check: check(1000, 3, false),
        initial,
        return_from_maint,
        ..lab::server(name, port, 1, None, 3, None)
    };
    let web = vec![
        server("web1", 18101),
        server("web2", 18102),
        server("web3", 18103),
        ServerSpec { slowstart: Some(Duration::from_secs(4)), ..server("slow", 18104) },
        ServerSpec { check: None, ..server("nochk", 18105) },
        ServerSpec { check: None, track: Some("be_web/web1".into()), ..server("trk", 18106) },
        ServerSpec { backup: true, ..server("bak", 18106) },
        ServerSpec { disabled: true, ..server("off", 18106) },
        ServerSpec { weight: 0, ..server("w0", 18106) },
        server("refused", 19),
        server("tout", 18111),
        server("d404", 18112),
    ];
    let two = |name, port| ServerSpec { check: check(500, 2, true), ..server(name, port) };
    let be_404 = vec![two("d404", 18112), two("s2", 18113)];
    let backend = |name, iid, servers| {
        let backend = lab::backend(name, iid, Algorithm::RoundRobin, None, servers);
        Arc::new(BackendSpec { log_health_checks: true, ..(*backend).clone() })
    };
    FleetSpec { frontends: vec![], backends: vec![backend("be_web", 3, web), backend("be_404", 4, be_404)] }
}

/// How a server's end behaves.
#[derive(Clone, Copy)]
struct End {
    status: u16,
    delays: bool,
}

struct World {
    fleet: Fleet,
    start: Instant,
    now: Instant,
    ends: BTreeMap<u16, End>,
    /// Checks under way, by when they come back.
    checks: Vec<(Instant, ServerId, u64, CheckOutcome)>,
    logs: Vec<String>,
}

/// What is compared: columns of the CSV and fields of `show servers state`.
type Seen = BTreeMap<String, String>;

impl World {
    fn new(spec: &FleetSpec) -> World {
        let start = Instant::now();
        let (fleet, effects) = Fleet::new(spec, 2, &SavedState::default(), 3, start);
        let mut world = World { fleet, start, now: start, ends: BTreeMap::new(), checks: vec![], logs: vec![] };
        world.take(effects);
        world
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Log { severity, text } => self.logs.push(format!("{severity} {text}")),
                Effect::Probe { server, ticket, to: ConnectTo::Ip(to), check } => {
                    let (after, outcome) = self.answer(to.port(), &check);
                    self.checks.push((self.now + after, server, ticket, outcome));
                }
                _ => {}
            }
        }
        self.fleet.check_invariants();
    }

    fn answer(&self, port: u16, check: &CheckSpec) -> (Duration, CheckOutcome) {
        let end = self.ends.get(&port).copied().unwrap_or(End { status: 200, delays: false });
        let CheckKind::Http(request) = &check.kind else { panic!("all checks are HTTP") };
        let (status, code, text, after) = match end.status {
            _ if port == 19 => (CheckStatus::L4Connect, None, "Connection refused", 0),
            _ if end.delays => (CheckStatus::L7Timeout, None, "", 900),
            200 => (CheckStatus::L7Ok, Some(200), "", 0),
            204 => (CheckStatus::L7Status, Some(204), "No Content", 0),
            404 if request.disable_on_404 => (CheckStatus::L7OkConditional, Some(404), "Not Found", 0),
            404 => (CheckStatus::L7Status, Some(404), "Not Found", 0),
            500 => (CheckStatus::L7Status, Some(500), "Internal Server Error", 0),
            503 => (CheckStatus::L7Status, Some(503), "Service Unavailable", 0),
            other => panic!("no end answers {other}"),
        };
        let after = Duration::from_millis(after);
        (after, CheckOutcome { status, code, duration: after, text: text.into() })
    }

    /// Lets the next thing happen, at most until `deadline`; false when there is none.
    fn step(&mut self, deadline: Instant) -> bool {
        let back = self.checks.iter().enumerate().min_by_key(|(_, c)| c.0).map(|(at, c)| (c.0, at));
        let timer = self.fleet.next_timeout();
        match (back, timer) {
            (Some((at, which)), timer) if at <= deadline && timer.is_none_or(|t| at <= t) => {
                self.now = self.now.max(at);
                let (_, server, ticket, outcome) = self.checks.remove(which);
                self.apply(Event::Checked { server, ticket, outcome }).unwrap();
            }
            (_, Some(at)) if at <= deadline => {
                self.now = self.now.max(at);
                let effects = self.fleet.on_timeout(self.now);
                self.take(effects);
            }
            _ => {
                self.now = self.now.max(deadline);
                return false;
            }
        }
        true
    }

    fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let effects = self.fleet.apply(event, self.now)?;
        self.take(effects);
        Ok(())
    }

    /// Carries out a command; the reply as it goes over the socket.
    fn order(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let by = Origin { way: Way::Cli, who: "ops".into(), at: SystemTime::UNIX_EPOCH };
        let id = |path| self.fleet.find_server(path).unwrap();
        let admin = |word: &str| match word {
            "ready" => AdminState::Ready,
            "drain" => AdminState::Drain,
            _ => AdminState::Maint,
        };
        let event = match words[..] {
            ["set", "server", path, "state", to] => Event::SetAdminState { server: id(path), state: admin(to), by },
            ["enable", "server", path] => Event::SetAdminState { server: id(path), state: AdminState::Ready, by },
            ["disable", "server", path] => Event::SetAdminState { server: id(path), state: AdminState::Maint, by },
            ["enable", "health", path] => Event::SetChecks { server: id(path), enabled: true },
            ["disable", "health", path] => Event::SetChecks { server: id(path), enabled: false },
            ["set", "server", path, "weight", to] => {
                let weight = match to.strip_suffix('%') {
                    Some(percent) => WeightChange::Percent(percent.parse().unwrap()),
                    None => WeightChange::Absolute(to.parse().unwrap()),
                };
                Event::SetWeight { server: id(path), weight, by }
            }
            ["set", "server", path, "health", to] => {
                let health = match to {
                    "up" => ForcedHealth::Up,
                    "down" => ForcedHealth::Down,
                    _ => ForcedHealth::Stopping,
                };
                Event::SetHealth { server: id(path), health, by }
            }
            _ => panic!("no such command: {command}"),
        };
        match self.apply(event) {
            Ok(()) => "\n".to_owned(),
            Err(Refusal(text)) => format!("{text}\n\n"),
        }
    }

    /// `origin PORT /health now answers N`, `origin PORT delays /health 3s`, `origin PORT no delay`
    fn act(&mut self, action: &str) {
        let words: Vec<&str> = action.split_whitespace().collect();
        let end = self.ends.entry(words[1].parse().unwrap()).or_insert(End { status: 200, delays: false });
        match words[2] {
            "/health" => end.status = words[5].parse().unwrap(),
            "delays" => end.delays = true,
            "no" => end.delays = false,
            other => panic!("no such action: {other}"),
        }
    }

    fn seen(&self, path: &str) -> Seen {
        let (backend, server) = path.split_once('/').unwrap();
        let rates = Rates::default();
        let view = View { fleet: &self.fleet, rates: &rates, started: self.start, now: self.now, legends: true };
        let csv = stats::render(&Query::default(), &view).unwrap();
        let begin = format!("{backend},{server},");
        let row: Vec<&str> = csv.lines().find(|line| line.starts_with(&begin)).unwrap().split(',').collect();
        let entry = self.fleet.server(self.fleet.find_server(path).unwrap()).unwrap();
        let state = &entry.state;
        Seen::from([
            ("status".into(), row[17].into()),
            ("weight".into(), row[18].into()),
            ("check_status".into(), row[36].trim_start_matches("* ").into()),
            ("health".into(), row[69].into()),
            ("rise/fall".into(), format!("{}/{}", row[67], row[68])),
            ("desc".into(), row[65].into()),
            ("throttle".into(), row[29].into()),
            ("chkfail".into(), row[21].into()),
            ("chkdown".into(), row[22].into()),
            ("op".into(), state.operational.number().to_string()),
            ("admin".into(), state.admin_flags().to_string()),
            ("chk_health".into(), state.health.to_string()),
            ("uw".into(), entry.weight.to_string()),
        ])
    }

    fn bystander_is_moving(&self, watched: &str) -> bool {
        let path = |s: &lockgate::core::fleet::ServerEntry| {
            format!("{}/{}", self.fleet.backend(s.id.backend).unwrap().spec.name, s.spec.name)
        };
        self.fleet.servers().map(path).any(|path| path != watched && self.is_about_to_change(&path))
    }

    /// What a server stands at cannot be what it stands at when its next check has come back.
    fn is_about_to_change(&self, path: &str) -> bool {
        let entry = self.fleet.server(self.fleet.find_server(path).unwrap()).unwrap();
        let state = match &entry.spec.track {
            Some(lead) => &self.fleet.server(self.fleet.find_server(lead).unwrap()).unwrap().state,
            None => &entry.state,
        };
        let Some(ConnectTo::Ip(to)) = &entry.address else { panic!("all are on loopback") };
        let well = to.port() != 19 && self.ends.get(&to.port()).is_none_or(|end| end.status == 200 && !end.delays);
        let moving = state.health > 0 && state.health < state.health_max();
        state.has_checks() && !state.is_in_maintenance() && (moving || (state.health == 0 && well))
    }
}

/// The compared fields of a recorded line; `None` when the CSV and the state were read on two sides of a change.
fn recorded(line: &str) -> Option<Seen> {
    let mut seen = Seen::new();
    let mut rest = line.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        seen.insert(name.trim_matches([' ', '|']).to_owned(), value.to_owned());
        rest = after;
    }
    for ignored in ["code", "last_chk", "chk_status", "chk_result", "chk_state"] {
        seen.remove(ignored);
    }
    let torn = !seen["health"].is_empty() && seen["health"] != seen["chk_health"];
    (!torn).then_some(seen)
}

struct Replay<'a> {
    world: &'a mut World,
    title: String,
    path: String,
    last: Seen,
    /// This much the replay is behind the recording, or ahead of it.
    anchor: (Instant, f64),
    ordered: bool,
}

impl Replay<'_> {
    /// Something happens; the watched server may change to `expected` only.
    #[track_caller]
    fn step(&mut self, deadline: Instant, expected: Option<&Seen>) -> bool {
        let went = self.world.step(deadline);
        let seen = self.world.seen(&self.path);
        let right = seen == self.last || Some(&seen) == expected;
        assert!(right, "{}\n  left:     {:?}\n  for:      {seen:?}\n  expected: {expected:?}", self.title, self.last);
        self.last = seen;
        went
    }

    fn line(&mut self, line: &str) {
        let (time, what) = line.trim().split_once("s  ").unwrap();
        let time: f64 = time.parse().unwrap();
        if let Some(command) = what.strip_prefix("CLI '") {
            let (commands, reply) = command.split_once("' -> '").unwrap();
            self.wait_for(time);
            let replies: String = commands.split("; ").map(|command| self.world.order(command)).collect();
            let reply = reply.trim_end_matches('\'').replace("\\n", "\n");
            assert_eq!(replies, reply, "{}: {commands}", self.title);
            self.ordered = true;
        } else if let Some(action) = what.strip_prefix("ACTION ") {
            self.wait_for(time);
            self.world.act(action);
        } else if let Some(expected) = recorded(what) {
            self.reach(&expected);
            self.anchor = (self.world.now, time);
        }
    }

    /// Lets the recorded time go by, unless the next check would change what was found.
    fn wait_for(&mut self, time: f64) {
        let until = self.anchor.0 + Duration::from_secs_f64((time - self.anchor.1).max(0.0));
        while !self.world.is_about_to_change(&self.path) && self.step(until, None) {}
    }

    fn reach(&mut self, expected: &Seen) {
        let seen = self.world.seen(&self.path);
        if std::mem::take(&mut self.ordered) {
            // A command acts at once.
            assert_eq!(seen, *expected, "{}: after a command", self.title);
            self.last = seen;
            return;
        }
        let deadline = self.world.now + PATIENCE;
        while self.last != *expected {
            let went = self.step(deadline, Some(expected));
            let last = &self.last;
            assert!(
                went || last == expected,
                "{}: in vain\n  at:       {last:?}\n  expected: {expected:?}",
                self.title
            );
        }
    }
}

fn replay(world: &mut World, recording: &str, path_of: impl Fn(&str) -> String) {
    for experiment in recording.split("\n## ").skip(1) {
        let (title, lines) = experiment.split_once('\n').unwrap();
        let path = path_of(title);
        let mut lines = lines.lines().filter(|line| line.contains("s  "));
        let Some(first) = lines.next().and_then(|line| recorded(line.trim().split_once("s  ")?.1)) else { continue };
        let patience = world.now + Duration::from_secs(12);
        // The others have come to rest, as they had in the recording; only that of a start begins in mid-course.
        let at_rest = !first["status"].contains('/');
        while at_rest && world.bystander_is_moving(&path) && world.step(patience) {}
        while world.seen(&path) != first && world.step(patience) {}
        assert_eq!(world.seen(&path), first, "{title}: before it");
        let anchor = (world.now, 0.0);
        let mut replay = Replay { title: title.to_owned(), path, last: first, anchor, ordered: false, world };
        lines.for_each(|line| replay.line(line));
    }
}

/// Experiment W, of which only counters and log lines were recorded.
fn all_down_drained_and_in_maintenance(world: &mut World) {
    let both = ["be_404/d404", "be_404/s2"];
    let until = |world: &mut World, word: &str| {
        let patience = world.now + Duration::from_secs(10);
        while !both.iter().all(|path| world.seen(path)["status"] == word) {
            assert!(world.step(patience), "never {word}");
        }
    };
    for port in ["18112", "18113"] {
        world.act(&format!("origin {port} /health now answers 500"));
    }
    until(world, "DOWN");
    for port in ["18112", "18113"] {
        world.act(&format!("origin {port} /health now answers 200"));
    }
    until(world, "UP");
    for state in ["drain", "maint", "ready"] {
        for path in both {
            world.order(&format!("set server {path} state {state}"));
        }
    }
}

/// Log lines about one server, durations masked.
fn about<'a>(lines: impl Iterator<Item = &'a str>, path: &str) -> Vec<String> {
    let duration = regex::Regex::new("check duration: [0-9]+ms").unwrap();
    let of_server = format!("erver {path} ");
    let lines = lines.filter(|line| line.contains(&of_server));
    lines.map(|line| duration.replace(line, "check duration: Nms").into_owned()).collect()
}

#[test]
fn states_follow_each_other_and_are_logged_as_recorded() {
    let mut world = World::new(&spec(InitialState::Up, ReturnFromMaint::Up));
    let settled = world.now + Duration::from_secs(5);
    while world.step(settled) {}
    world.logs.clear();
    replay(&mut world, include_str!("golden/state/timeline-2.8.txt"), |title| watched(title).to_owned());
    all_down_drained_and_in_maintenance(&mut world);
    let recorded: Vec<String> = include_str!("golden/state/state-change-logs-2.8.txt")
        .lines()
        .map(|line| {
            let (priority, rest) = line.trim_start_matches('<').split_once('>').unwrap();
            let severity = priority.parse::<u32>().unwrap() % 8;
            format!("{severity} {}", rest.split_once("]: ").unwrap().1)
        })
        .collect();
    for name in ["web1", "trk", "slow", "nochk", "off", "web2", "web3"] {
        let path = format!("be_web/{name}");
        let (ours, theirs) =
            (about(world.logs.iter().map(String::as_str), &path), about(recorded.iter().map(String::as_str), &path));
        for (n, (our, their)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(our, their, "line {n} about {path}");
        }
        // Between two experiments a server may have come further than when the recording went on.
        assert_eq!(ours.len(), theirs.len(), "lines about {path}");
    }
    let tally = regex::Regex::new("[01] active").unwrap();
    for path in ["be_404/d404", "be_404/s2"] {
        let ours = about(world.logs.iter().map(String::as_str), path);
        let theirs = about(recorded.iter().map(String::as_str), path);
        // Which of the two fails first, and is first to come back, is chance.
        let masked = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().map(|line| tally.replace(&line, "N active").into_owned()).collect()
        };
        assert_eq!(masked(ours), masked(theirs), "{path}");
    }
    let emergencies = |lines: &[String]| lines.iter().filter(|l| l.starts_with("0 backend be_404")).count();
    assert_eq!(emergencies(&world.logs), emergencies(&recorded));
}

#[test]
fn a_start_that_asks_for_passes_follows_the_recording_of_3_5() {
    let mut world = World::new(&spec(InitialState::Checks, ReturnFromMaint::Checks));
    replay(&mut world, include_str!("golden/state/timeline-3.5-init-state-fully-down.txt"), |_| {
        "be_web/web1".to_owned()
    });
}
