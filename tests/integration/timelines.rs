//! The ways of a server's state on the running program: the deployment's order with a follower behind it, agents, a 404
//! that asks for rest. The long list of recorded experiments is replayed in virtual time (`tests/compat/timelines.rs`).

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::eventually;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};

/// A server whose `/health` answers what a test sets.
fn switchable() -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&status);
    let origin = Origin::answering(move |request| match request.target() {
        "/health" => Reply::status(answered.load(Ordering::SeqCst)),
        _ => Reply::ok("here"),
    });
    (origin, status)
}

/// An agent that says what a test sets.
fn agent(first: &str) -> (Origin, Arc<Mutex<String>>) {
    let line = Arc::new(Mutex::new(first.to_owned()));
    let said = Arc::clone(&line);
    let origin = Origin::script(move |conn| {
        conn.wire.fill()?;
        let line = said.lock().unwrap().clone();
        conn.send(line)
    });
    (origin, line)
}

const LIKE_HAPROXY: &str = "initial: up\nreturn_from_drain: keep\nlog_health_checks: true\n\
     health_check: { path: /health, interval: 300ms, timeout: 300ms, rise: 3, fall: 3, disable_on_404: true }";

/// Every different pair of states of two servers until both have reached the last.
#[track_caller]
fn watch(site: &Running, names: [&str; 2], last: &str) -> Vec<[String; 2]> {
    let mut seen: Vec<[String; 2]> = Vec::new();
    eventually(last, || {
        let rows = site.stats();
        let word = |name: &str| rows.iter().find(|row| row.get("svname") == name).unwrap().get("status").to_owned();
        let now = names.map(word);
        if seen.last() != Some(&now) {
            seen.push(now.clone());
        }
        now.iter().all(|word| word == last).then_some(())
    });
    seen
}

/// The two servers go through these states together, in this order, to the last. A slow test may miss some.
#[track_caller]
fn go_through(site: &Running, names: [&str; 2], words: &[&str]) {
    let seen = watch(site, names, words[words.len() - 1]);
    let mut rest = words.iter();
    let in_order = seen.iter().all(|[first, second]| first == second && rest.any(|word| word == first));
    assert!(in_order, "{seen:?} is not {words:?}");
}

#[test]
fn the_deployments_order_with_a_follower_behind_it() {
    let (origin, health) = switchable();
    let other = Origin::named("s2");
    let site = Site::of(&[&origin]).server(other.addr(), "track: web/s1").backend(LIKE_HAPROXY).start();
    let names = ["s1", "s2"];
    watch(&site, names, "UP");
    // F: drain, health down, ready at once.
    site.order("set server web/s1 state drain; set server web/s1 health down; set server web/s1 state ready");
    go_through(&site, names, &["DOWN", "DOWN 1/3", "DOWN 2/3", "UP"]);
    // G: the application is stopped in between.
    site.order("set server web/s1 state drain; set server web/s1 health down");
    health.store(503, Ordering::SeqCst);
    eventually("a failed check", || (site.stat("web", "s1").get("check_code") == "503").then_some(()));
    health.store(200, Ordering::SeqCst);
    site.order("set server web/s1 state ready");
    let before = origin.requests().len();
    go_through(&site, names, &["DOWN", "DOWN 1/3", "DOWN 2/3", "UP"]);
    assert!(origin.requests().len() >= before + 2, "one of the three may have been under way");
    // C: only the flag goes.
    site.order("set server web/s1 state drain");
    go_through(&site, names, &["DRAIN"]);
    site.order("set server web/s1 state ready");
    go_through(&site, names, &["UP"]);
    site.order("set server web/s1 state maint");
    assert_eq!((site.status("s1"), site.status("s2")), ("MAINT".into(), "MAINT (via web/s1)".into()));
    assert_eq!(site.stat("web", "s2").get("tracked"), "web/s1");
    assert_eq!(site.get("/").status(), 503);
    site.order("set server web/s1 state ready");
    go_through(&site, names, &["UP 1/3", "UP"]);
    let reply = site.admin("set server web/s2 health down");
    assert_eq!(reply, "cannot change health on a tracking server.\n");
    for line in [
        "<133>",
        "Server web/s2 is DOWN via web/s1. 0 active",
        "Server web/s2 is DOWN (leaving drain) via web/s1.",
        "Server web/s2 is UP via web/s1. 2 active",
        "Server web/s2 is going DOWN for maintenance via web/s1. 0 active",
        "Server web/s2 is UP/READY (leaving maintenance).",
        "Health check for server web/s1 succeeded, reason: Layer7 check passed, code: 200, check duration: ",
        "status: 2/3 DOWN.",
    ] {
        site.logs.line_with(line);
    }
    // A 404 lets it finish what it has.
    health.store(404, Ordering::SeqCst);
    watch(&site, names, "NOLB");
    let row = site.stat("web", "s1");
    let columns = ["check_status", "check_code", "check_desc"].map(|name| row.get(name).trim_start_matches("* "));
    assert_eq!(columns, ["L7OKC", "404", "Layer7 check conditionally passed"]);
    health.store(200, Ordering::SeqCst);
    watch(&site, names, "UP");
}

#[test]
fn agents_are_heard() {
    let origin = Origin::named("s1");
    let (program, line) = agent("up\n");
    let port = program.addr().port();
    let site = Site::of(&[&origin])
        .backend(format!("agent: {{ port: {port}, address: 127.0.0.1, send: \"hi\\n\", interval: 50ms }}"))
        .server(origin.addr(), "agent: off")
        .start();
    let column = |name: &str| site.stat("web", "s1").get(name).to_owned();
    let say = |text: &str, column_name: &str, value: &str| {
        *line.lock().unwrap() = text.to_owned();
        eventually(text, || (column(column_name).trim_start_matches("* ") == value).then_some(()));
    };
    say("up\n", "last_agt", "via agent : up");
    assert_eq!(site.status("s1"), "no check");
    let columns = ["agent_code", "agent_desc", "agent_rise", "agent_fall", "agent_health"].map(column);
    assert_eq!(columns, ["0", "Layer7 check passed", "1", "1", "1"]);
    assert_eq!(site.stat("web", "s2").get("agent_status"), "", "the other has none");
    say("down # broken disk\n", "status", "DOWN (agent)");
    assert_eq!((column("last_agt"), column("agent_health")), ("via agent : down (broken disk)".into(), "0".into()));
    let text = "Server web/s1 is DOWN, reason: Layer7 wrong status, code: 0, info: \"via agent : down (broken disk)\"";
    site.logs.line_with(text);
    say("up drain\n", "status", "DRAIN (agent)");
    say("ready 50% maxconn:7\n", "slim", "7");
    assert_eq!(site.status("s1"), "no check");
    say("maint\n", "status", "MAINT");
    say("ready\n", "status", "no check");
    let state = site.admin("show servers state web");
    let fields: Vec<&str> = state.lines().nth(2).unwrap().split(' ').collect();
    assert!(["22", "23"].contains(&fields[14]), "{state}");
    assert_eq!((fields[23], fields[24]), ("127.0.0.1", port.to_string().as_str()), "{state}");
    assert!(program.received_by_connection().iter().any(|heard| heard == b"hi\n"));

    site.order("set server web/s1 agent down");
    assert_eq!(site.status("s1"), "DOWN (agent)");
    say("up\n", "status", "no check");
    // An agent that is not there says nothing.
    program.stop();
    eventually("the agent to be missed", || (column("agent_status").trim_start_matches("* ") == "L4CON").then_some(()));
    assert_eq!((site.status("s1").as_str(), site.get("/").status()), ("no check", 200));
    site.order("disable agent web/s1");
    assert_eq!(column("agent_status"), "");
    let refused = site.admin("set server web/s1 agent up; enable agent web/s2; set server web/s2 agent-port 1");
    assert_eq!(
        refused,
        "agent checks are not enabled on this server.\n\nAgent was not configured on this server, cannot enable.\n\n\
         agent checks are not enabled on this server\n"
    );
}

#[test]
fn checks_can_be_sent_elsewhere() {
    let (origin, _) = switchable();
    let (other, health) = switchable();
    health.store(503, Ordering::SeqCst);
    let site = Site::of(&[&origin]).backend(LIKE_HAPROXY).start();
    eventually("a check", || (site.status("s1") == "UP").then_some(()));
    let port = other.addr().port();
    site.order(&format!("set server web/s1 check-addr {} port {port}", other.addr().ip()));
    eventually("checks of the other", || (site.status("s1") == "DOWN").then_some(()));
    let state = site.admin("show servers state web");
    let fields: Vec<&str> = state.lines().nth(2).unwrap().split(' ').collect();
    assert_eq!((fields[21], fields[22]), (port.to_string().as_str(), other.addr().ip().to_string().as_str()));
    site.order(&format!("set server web/s1 check-addr {} port 0", origin.addr().ip()));
    eventually("checks of itself", || (site.status("s1") == "UP").then_some(()));
}
