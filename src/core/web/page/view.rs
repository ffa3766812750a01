//! State and counters in the words of the page.

use std::time::Duration;

use askama::Template;

use super::{Look, Mood, SCRIPT, STYLE};
use crate::core::fleet::frontends::FrontendStatus;
use crate::core::fleet::snapshot::{ConnectTo, FrontendView};
use crate::core::fleet::{BackendEntry, ServerEntry};
use crate::core::server::{AdminState, OperationalState};
use crate::core::stats::counters::{Counter, Counters, Gauge};
use crate::core::stats::{RELEASE_DATE, VERSION, View};
use crate::core::web::action::{ACTIONS, Action, Outcome};
use crate::core::web::{AccessLevel, Asked, human};

/// How often scripts load the page anew when nothing is configured.
const LIVE_REFRESH: Duration = Duration::from_secs(5);

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page<'a> {
    style: &'static str,
    script: &'static str,
    title: &'a str,
    version: Option<&'static str>,
    released: &'static str,
    node: Option<&'a str>,
    description: Option<&'a str>,
    user: Option<&'a str>,
    level: &'static str,
    /// Seconds for browsers without scripts; 0 for never.
    reload_seconds: u64,
    /// Seconds for the script.
    live_seconds: u64,
    paused: bool,
    banner: Option<(&'static str, bool)>,
    pid: u32,
    threads: u32,
    uptime: String,
    idle: u32,
    connections: u32,
    maxconn: u32,
    sums: Sums,
    stopping: bool,
    path: &'a str,
    scope: &'a str,
    filters: Vec<FilterLink>,
    actions: Vec<&'static Action>,
    legend: [Mood; 9],
    frontends: Vec<FrontendLine>,
    backends: Vec<BackendCard>,
}

/// The numbers at the top.
#[derive(Default)]
struct Sums {
    servers: usize,
    usable: usize,
    problems: usize,
    queued: u64,
    requests_per_second: u64,
    sent_per_second: String,
}

/// A link that switches a filter.
struct FilterLink {
    label: &'static str,
    href: String,
    on: bool,
}

/// A number, and in words what it is made of.
struct Detailed {
    text: String,
    detail: String,
    bad: bool,
}

struct FrontendLine {
    name: String,
    iid: u32,
    status: FrontendStatus,
    sessions: String,
    most: u32,
    limit: u32,
    rate: String,
    rate_max: u64,
    request_rate: String,
    request_rate_max: u64,
    requests: String,
    statuses: [String; 5],
    denied: Detailed,
    received: String,
    sent: String,
}

/// What servers and backends have in common.
struct Load {
    sessions: u32,
    most: u32,
    limit: String,
    queued: u32,
    queued_most: u32,
    rate: u64,
    requests: String,
    errors: Detailed,
    response: String,
    received: String,
    sent: String,
}

struct ServerLine {
    key: String,
    name: String,
    address: String,
    backup: bool,
    mood: Mood,
    status: String,
    who: String,
    since: String,
    check: Check,
    weight: String,
    downs: Detailed,
    load: Load,
}

#[derive(Default)]
struct Check {
    result: String,
    age: String,
    text: String,
    failed: bool,
    agent: String,
    agent_failed: bool,
}

struct BackendCard {
    name: String,
    iid: u32,
    up: bool,
    maintenance: bool,
    status: &'static str,
    since: String,
    algorithm: &'static str,
    usable: usize,
    total: usize,
    problems: usize,
    weight: u32,
    downs: Detailed,
    load: Load,
    servers: Vec<ServerLine>,
}

impl<'a> Page<'a> {
    pub(super) fn of(look: &Look<'a>) -> Page<'a> {
        let (view, facts, spec, asked) = (look.view, look.facts, look.spec, look.asked);
        let shown = |name: &str| spec.covers(name) && asked.covers(name);
        let frontends = view.fleet.frontends().iter().filter(|f| shown(&f.spec.name));
        let backends = view.fleet.backends().iter().filter(|b| shown(&b.spec.name));
        let backends: Vec<BackendCard> = backends.map(|b| BackendCard::of(b, look)).collect();
        let frontends: Vec<FrontendLine> = frontends.map(|f| FrontendLine::of(f, view)).collect();
        let refresh = if asked.norefresh { None } else { spec.refresh };
        Page {
            style: STYLE,
            script: SCRIPT,
            title: spec.title.as_deref().unwrap_or("lockgate"),
            version: spec.show_version.then_some(VERSION),
            released: RELEASE_DATE,
            node: spec.show_node.then_some(&*facts.node),
            description: facts.description.as_deref().filter(|_| spec.show_node),
            user: look.user,
            level: look.level.word(),
            reload_seconds: refresh.map_or(0, |r| r.as_secs().max(1)),
            live_seconds: spec.refresh.unwrap_or(LIVE_REFRESH).as_secs().max(1),
            paused: asked.norefresh,
            banner: asked.outcome.as_deref().map(Outcome::describe),
            pid: facts.pid,
            threads: facts.threads,
            uptime: human::uptime(view.now.saturating_duration_since(facts.started)),
            idle: facts.idle_percent.min(100),
            connections: facts.connections,
            maxconn: facts.maxconn,
            sums: Sums::of(&backends, view),
            stopping: facts.stopping,
            path: &spec.path,
            scope: asked.scope.as_deref().unwrap_or_default(),
            filters: filter_links(look),
            actions: ACTIONS.iter().filter(|a| a.label.is_some() && a.level <= look.level).collect(),
            legend: Mood::ALL,
            frontends,
            backends,
        }
    }

    fn may_act(&self) -> bool {
        !self.actions.is_empty()
    }
}

fn filter_links(look: &Look<'_>) -> Vec<FilterLink> {
    let asked = look.asked;
    let link = |label, on, up, no_maint| {
        let wanted = Asked { up, no_maint, outcome: None, ..asked.clone() };
        FilterLink { label, href: format!("{}{}", look.spec.path, wanted.kept_options()), on }
    };
    vec![
        link("All servers", !asked.up && !asked.no_maint, false, false),
        link("Without down", asked.up, true, false),
        link("Without maintenance", asked.no_maint, false, true),
    ]
}

impl Sums {
    fn of(cards: &[BackendCard], view: &View<'_>) -> Sums {
        let process = view.rates.process();
        let frontends = view.fleet.frontends();
        let sent: u64 = frontends.iter().map(|f| f.live.counters.sum(Counter::Bout)).sum();
        Sums {
            servers: cards.iter().map(|c| c.total).sum(),
            usable: cards.iter().map(|c| c.usable).sum(),
            problems: cards.iter().map(|c| c.problems).sum(),
            queued: cards.iter().map(|c| u64::from(c.load.queued)).sum(),
            requests_per_second: frontends.iter().map(|f| request_rate(f, view).0).sum(),
            sent_per_second: human::bytes(process.bytes_out.read(sent, view.now)),
        }
    }
}

fn request_rate(frontend: &FrontendView, view: &View<'_>) -> (u64, u64) {
    let total = frontend.live.counters.sum(Counter::ReqTot);
    let rates = view.rates.frontend(&frontend.spec.name);
    rates.map_or((0, 0), |r| (r.requests.read(total, view.now), r.requests.max(total, view.now)))
}

impl FrontendLine {
    fn of(frontend: &FrontendView, view: &View<'_>) -> FrontendLine {
        let counters = &frontend.live.counters;
        let sum = |counter| counters.sum(counter);
        let sessions = sum(Counter::Stot);
        let rates = view.rates.frontend(&frontend.spec.name);
        let rate = rates.map_or((0, 0), |r| (r.sessions.read(sessions, view.now), r.sessions.max(sessions, view.now)));
        let requests = request_rate(frontend, view);
        let (denied, broken) = (sum(Counter::Dreq), sum(Counter::Ereq));
        let statuses = [Counter::Hrsp2xx, Counter::Hrsp3xx, Counter::Hrsp4xx, Counter::Hrsp5xx, Counter::HrspOther];
        FrontendLine {
            name: frontend.spec.name.to_string(),
            iid: frontend.spec.iid,
            status: frontend.live.status(),
            sessions: human::count(u64::from(frontend.live.connections.now())),
            most: frontend.live.connections.max(),
            limit: frontend.live.maxconn(),
            rate: human::count(rate.0),
            rate_max: rate.1,
            request_rate: human::count(requests.0),
            request_rate_max: requests.1,
            requests: human::count(sum(Counter::ReqTot)),
            statuses: statuses.map(|c| human::count(sum(c))),
            denied: Detailed::new(denied + broken, &[("denied", denied), ("bad", broken)]),
            received: human::bytes(sum(Counter::Bin)),
            sent: human::bytes(sum(Counter::Bout)),
        }
    }
}

impl FrontendLine {
    /// The colour and sign of its state.
    fn mood(&self) -> Mood {
        match self.status {
            FrontendStatus::Open => Mood::Up,
            FrontendStatus::Paused => Mood::Maint,
            FrontendStatus::Stopped => Mood::Down,
        }
    }
}

impl Detailed {
    /// The parts are named when they are there.
    fn new(total: u64, parts: &[(&str, u64)]) -> Detailed {
        let named = parts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{} {name}", human::count(*n)));
        Detailed { text: human::count(total), detail: named.collect::<Vec<_>>().join(", "), bad: total > 0 }
    }
}

impl Load {
    fn of(counters: &Counters, sessions: &Gauge, queued: &Gauge, limit: Option<u32>, rate: u64) -> Load {
        let sum = |counter| counters.sum(counter);
        let (connecting, answering, failed) = (sum(Counter::Econ), sum(Counter::Eresp), sum(Counter::Hrsp5xx));
        let tried = [("retries", sum(Counter::Wretr)), ("redispatches", sum(Counter::Wredis))];
        let mut errors = Detailed::new(
            connecting + answering + failed,
            &[("connect", connecting), ("response", answering), ("5xx", failed), tried[0], tried[1]],
        );
        errors.bad |= tried.iter().any(|(_, n)| *n > 0);
        let timed = sum(Counter::TimedRequests) > 0;
        Load {
            sessions: sessions.now(),
            most: sessions.max(),
            limit: limit.map_or_else(|| "∞".to_owned(), |n| human::count(u64::from(n))),
            queued: queued.now(),
            queued_most: queued.max(),
            rate,
            requests: human::count(sum(Counter::Stot)),
            errors,
            response: match timed {
                true => format!("{} ms", counters.sliding_mean(Counter::ResponseSlide)),
                false => "–".to_owned(),
            },
            received: human::bytes(sum(Counter::Bin)),
            sent: human::bytes(sum(Counter::Bout)),
        }
    }
}

impl BackendCard {
    fn of(backend: &BackendEntry, look: &Look<'_>) -> BackendCard {
        let view = look.view;
        let servers = backend.servers.iter().filter(|s| !is_hidden(s, look)).map(|s| ServerLine::of(s, backend, look));
        let usable = backend.usable();
        let live = &backend.live;
        let total = live.counters.sum(Counter::Stot);
        let rate = view.rates.backend(&backend.spec.name).map_or(0, |r| r.sessions.read(total, view.now));
        let up = backend.up || backend.servers.is_empty();
        BackendCard {
            name: backend.spec.name.to_string(),
            iid: backend.spec.iid,
            up: up && !backend.maintenance,
            maintenance: backend.maintenance,
            status: match (backend.maintenance, up) {
                (true, _) => "MAINT",
                (false, true) => "UP",
                (false, false) => "DOWN",
            },
            since: human::age(view.now.saturating_duration_since(backend.changed_at)),
            algorithm: backend.spec.algorithm.name(),
            usable: usable.active + usable.backup,
            total: backend.servers.len(),
            problems: backend.servers.iter().filter(|s| Mood::of(s).is_problem()).count(),
            weight: backend.total_weight(),
            downs: downs(backend.down_count, 0, backend.downtime_at(view.now)),
            load: Load::of(&live.counters, &live.sessions, &live.queued, Some(backend.session_limit), rate),
            servers: servers.collect(),
        }
    }
}

fn downs(downs: u64, failed_checks: u64, downtime: Duration) -> Detailed {
    let mut detail = Vec::new();
    if downtime.as_secs() > 0 {
        detail.push(human::age(downtime));
    }
    if failed_checks > 0 {
        detail.push(format!("failed checks: {}", human::count(failed_checks)));
    }
    Detailed { text: human::count(downs), detail: detail.join(", "), bad: false }
}

/// As the CSV leaves them out.
fn is_hidden(server: &ServerEntry, look: &Look<'_>) -> bool {
    let state = &server.state;
    let maintenance = state.is_in_maintenance();
    let rising = state.has_checks() && state.health > 0;
    let down = maintenance || (state.operational == OperationalState::Stopped && !rising);
    (look.asked.no_maint && maintenance) || (look.asked.up && down)
}

impl ServerLine {
    fn of(server: &ServerEntry, backend: &BackendEntry, look: &Look<'_>) -> ServerLine {
        let view = look.view;
        let legends = look.spec.show_legends || look.level >= AccessLevel::Operator;
        let live = &server.live;
        let total = live.counters.sum(Counter::Stot);
        let rates = view.rates.backend(&backend.spec.name);
        let rate = rates.and_then(|r| r.server(&server.spec.name)).map_or(0, |r| r.sessions.read(total, view.now));
        let weight = match server.throttle() {
            Some(percent) if percent < 100 => format!("{} ({percent} %)", server.effective_weight()),
            _ => server.effective_weight().to_string(),
        };
        ServerLine {
            // Numbers of deleted servers come again: a row that is another server must not take over its choice.
            key: format!("{}/{}/{}", backend.spec.iid, server.sid, server.revision),
            name: server.spec.name.to_string(),
            address: if legends { address(server) } else { String::new() },
            backup: server.spec.backup,
            mood: Mood::of(server),
            status: server.state.status_word(),
            who: match &server.changed_by {
                Some(by) if legends && !by.who.is_empty() && server.state.admin != AdminState::Ready => {
                    format!("by {}", by.who)
                }
                _ => String::new(),
            },
            since: human::age(view.now.saturating_duration_since(server.changed_at)),
            check: Check::of(server, view),
            weight,
            downs: downs(server.down_count, server.check_failures, server.downtime_at(view.now)),
            load: Load::of(&live.counters, &live.inflight, &live.queued, server.maxconn, rate),
        }
    }

    /// What the filter looks in.
    fn words(&self) -> String {
        format!("{} {} {} {}", self.name, self.address, self.status, self.mood.meaning()).to_lowercase()
    }
}

fn address(server: &ServerEntry) -> String {
    match &server.address {
        Some(ConnectTo::Ip(address)) => address.to_string(),
        Some(ConnectTo::Unix(path)) => path.display().to_string(),
        None => "no address yet".to_owned(),
    }
}

impl Check {
    fn of(server: &ServerEntry, view: &View<'_>) -> Check {
        let mut check = Check::of_health(server, view);
        if let Some(agent) = server.agent.as_ref().filter(|_| server.state.has_agent()) {
            let said = agent.last.as_ref().map_or("", |last| &*last.outcome.text);
            let gap = if said.is_empty() { "" } else { ": " };
            check.agent = format!("agent {}{gap}{said}", agent.status().word());
            check.agent_failed = server.state.tally().agent_up == Some(false);
        }
        check
    }

    fn of_health(server: &ServerEntry, view: &View<'_>) -> Check {
        if let Some(lead) = &server.spec.track {
            return Check { result: format!("as {lead}"), ..Check::default() };
        }
        if server.state.is_in_maintenance() || !server.state.has_checks() {
            return Check { result: "–".to_owned(), ..Check::default() };
        }
        let Some(last) = &server.last_check else {
            return Check { result: "first check awaited".to_owned(), ..Check::default() };
        };
        let outcome = &last.outcome;
        let code = outcome.code.map(|c| format!(" {c}")).unwrap_or_default();
        let failed = !outcome.status.passed();
        Check {
            result: format!("{}{code} in {} ms", outcome.status.word(), outcome.duration.as_millis()),
            age: format!("{} ago", human::age(view.now.saturating_duration_since(last.at))),
            text: match (failed, outcome.text.is_empty()) {
                (false, _) => String::new(),
                (true, true) => outcome.status.description().to_owned(),
                (true, false) => outcome.text.to_string(),
            },
            failed,
            ..Check::default()
        }
    }
}
