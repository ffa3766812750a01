//! The table of states: what ready, drain, maint and health by hand do to traffic and to checks.

use std::time::{Duration, Instant};

use crate::support::gate::Gate;
use crate::support::message::Message;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{eventually, holds_for, until};

fn checked(origins: &[&Origin], extra: &str) -> Running {
    Site::of(origins)
        .backend(format!(
            "health_check: {{ path: /health, interval: 400ms, timeout: 400ms, rise: 3, fall: 3 }}\n{extra}"
        ))
        .start()
}

fn checks_since(requests: &[Message], from: usize) -> usize {
    requests[from..].iter().take_while(|request| request.target() == "/health").count()
}

#[test]
fn drain_lets_nothing_new_in_and_goes_on_checking() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = checked(&[&a, &b], "balance: roundrobin");
    site.order("set server web/s1 state drain");
    assert_eq!(site.status("s1"), "DRAIN");
    let before = a.requests().len();
    for _ in 0..10 {
        assert_eq!(site.get("/").text(), "s2");
    }
    until("checks of the drained server", || a.requests().len() >= before + 2);
    assert_eq!(a.requests_other_than("/health"), 0);
    assert!(site.logs.line_with("Server web/s1 enters drain state.").starts_with("<133>"));
}

#[test]
fn drain_lets_running_requests_finish() {
    let gate = Gate::new();
    let held = gate.clone();
    let a = Origin::answering(move |request| {
        if request.target() == "/hold" {
            held.pass();
        }
        Reply::ok("s1")
    });
    let site = checked(&[&a], "");
    let mut client = site.client();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || a.requests_other_than("/health") == 1);
    site.order("set server web/s1 state drain");
    assert_eq!(site.stat("web", "s1").number("scur"), 1);
    assert_eq!(site.get("/").status(), 503, "the only server is drained");
    gate.open_for_good();
    assert_eq!(client.answer().text(), "s1");
    until("no current sessions", || site.stat("web", "s1").number("scur") == 0);
}

#[test]
fn after_drain_three_passes_come_before_the_first_request() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = checked(&[&a, &b], "balance: roundrobin");
    site.order("set server web/s1 state drain");
    site.wait_status("s1", "DRAIN");
    let from = a.requests().len();
    site.order("set server web/s1 state ready");
    assert!(site.status("s1").starts_with("DOWN"), "{}", site.status("s1"));
    let mut client = site.client();
    eventually("the server to be back", || (client.get("/").text() == "s1").then_some(()));
    assert!(checks_since(&a.requests(), from) >= 3, "{:?}", a.requests());
    assert_eq!(site.status("s1"), "UP");
}

#[test]
fn what_passed_before_ready_does_not_count() {
    let a = Origin::named("s1");
    let site = checked(&[&a], "");
    site.order("set server web/s1 state drain");
    let before = a.requests().len();
    until("passes while drained", || a.requests().len() >= before + 4);
    let from = a.requests().len();
    site.order("set server web/s1 state ready");
    eventually("an answer", || (site.get("/").status() == 200).then_some(()));
    assert!(checks_since(&a.requests(), from) >= 3);
}

#[test]
fn haproxys_way_out_of_drain_can_be_chosen() {
    let a = Origin::named("s1");
    let site = checked(&[&a], "return_from_drain: keep");
    site.order("set server web/s1 state drain; set server web/s1 state ready");
    assert_eq!((site.status("s1").as_str(), site.get("/").status()), ("UP", 200));
}

#[test]
fn maint_stops_checks_and_traffic() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = checked(&[&a, &b], "balance: roundrobin");
    site.order("set server web/s1 state maint");
    assert_eq!(site.status("s1"), "MAINT");
    until("a running check to end", || a.open_connections() == 0);
    let before = a.requests().len();
    holds_for(Duration::from_millis(900), "no request of any kind", || a.requests().len() == before);
    assert_eq!(site.get("/").text(), "s2");
    let row = site.stat("web", "s1");
    assert_eq!((row.get("check_status"), row.get("last_chk")), ("", ""));
    assert!(site.logs.line_with("Server web/s1 is going DOWN for maintenance.").starts_with("<129>"));
}

#[test]
fn after_maint_traffic_comes_at_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let a = Origin::answering(move |request| {
        if request.target() == "/health" {
            held.pass();
        }
        Reply::ok("s1")
    });
    gate.open(1);
    let site = Site::of(&[&a]).backend("health_check: { path: /health, interval: 10s, timeout: 9s }").start();
    site.order("set server web/s1 state maint");
    assert_eq!(site.get("/").status(), 503);
    site.order("set server web/s1 state ready");
    // No check can have passed: the gate is shut.
    assert_eq!(site.status("s1"), "UP 1/3");
    assert_eq!(site.get("/").status(), 200);
    gate.open_for_good();
}

#[test]
fn after_maint_one_failure_is_enough() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&broken);
    let a = Origin::answering(move |request| {
        let fails = request.target() == "/health" && switch.load(std::sync::atomic::Ordering::SeqCst);
        Reply::status(if fails { 500 } else { 200 })
    });
    let site = checked(&[&a], "");
    site.order("set server web/s1 state maint");
    until("a running check to end", || a.open_connections() == 0);
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let from = a.requests().len();
    site.order("set server web/s1 state ready");
    site.wait_status("s1", "DOWN");
    assert_eq!(a.requests().len(), from + 1);
}

#[test]
fn passes_may_be_asked_for_after_maint() {
    let a = Origin::named("s1");
    let site = checked(&[&a], "return_from_maint: checks");
    site.order("set server web/s1 state maint");
    let from = a.requests().len();
    site.order("set server web/s1 state ready");
    assert!(site.status("s1").starts_with("DOWN"));
    eventually("an answer", || (site.get("/").status() == 200).then_some(()));
    assert!(checks_since(&a.requests(), from) >= 3);
}

#[test]
fn health_by_hand() {
    let a = Origin::named("s1");
    let site = Site::of(&[&a])
        .backend("health_check: { path: /health, interval: 60s, downinter: 60s, fastinter: 60s, timeout: 1s }")
        .start();
    site.order("set server web/s1 health down");
    assert_eq!((site.status("s1").as_str(), site.get("/").status()), ("DOWN", 503));
    assert!(site.logs.line_with("Server web/s1 is DOWN, changed from CLI.").starts_with("<129>"));
    site.order("set server web/s1 health up");
    assert_eq!((site.status("s1").as_str(), site.get("/").status()), ("UP", 200));
    site.order("set server web/s1 health stopping");
    assert_eq!(site.status("s1"), "NOLB");
    assert_eq!(site.get("/").status(), 503);
    site.order("disable health web/s1; set server web/s1 health up");
    assert_eq!(site.status("s1"), "no check");
    site.order("enable health web/s1");
    assert_eq!(site.status("s1"), "UP");
}

#[test]
fn enable_and_disable() {
    let a = Origin::named("s1");
    let site = checked(&[&a], "");
    site.order("disable server web/s1");
    assert_eq!(site.status("s1"), "MAINT");
    site.order("enable server web/s1");
    assert!(site.status("s1").starts_with("UP"));
}

#[test]
fn a_server_may_start_disabled() {
    let a = Origin::named("s1");
    let site = Site::new()
        .server(a.addr(), "disabled: true")
        .backend("health_check: { path: /health, interval: 400ms, timeout: 400ms }")
        .start();
    assert_eq!((site.status("s1").as_str(), a.connections()), ("MAINT", 0));
    site.order("set server web/s1 state ready");
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn a_returning_server_warms_up() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = Site::new()
        .server(a.addr(), "weight: 100, slowstart: 4s")
        .server(b.addr(), "weight: 100")
        .backend("health_check: { path: /health, interval: 1s, timeout: 1s, rise: 1 }")
        .start();
    site.order("set server web/s1 state maint");
    site.order("set server web/s1 state ready");
    let started = Instant::now();
    let throttle = site.stat("web", "s1").number("throttle");
    assert!((1..100).contains(&throttle), "{throttle}");
    let early = site.served_by(40).iter().filter(|name| *name == "s1").count();
    assert!(started.elapsed() > Duration::from_secs(2) || early < 18, "{early} of 40 went to a cold server");
    eventually("the ramp to end", || site.stat("web", "s1").get("throttle").is_empty().then_some(()));
    let late = site.served_by(40).iter().filter(|name| *name == "s1").count();
    assert_eq!(late, 20);
}

#[test]
fn sessions_of_a_server_can_be_ended() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /killed HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    site.order("shutdown sessions server web/s1");
    assert_eq!(client.answer().status(), 502);
    assert_eq!(site.logs.row_of("/killed").termination, "KH--");
}

#[test]
fn going_down_may_end_sessions() {
    let origin = Origin::script(|conn| {
        while let Some(request) = conn.request()? {
            if request.target() != "/health" {
                return conn.stall();
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
        Ok(())
    });
    let site = checked(&[&origin], "on_marked_down: shutdown-sessions");
    let mut client = site.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests_other_than("/health") == 1);
    site.order("set server web/s1 health down");
    assert_eq!(client.answer().status(), 502);
    assert_eq!(site.logs.row_of("/cut").termination, "DH--");
}

#[test]
fn operator_state_survives_a_restart() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let start = || Site::of(&[&a, &b]).global("state_file", state.display().to_string()).start();
    let mut site = start();
    site.order("set server web/s1 state maint; set weight web/s2 7");
    // Not even a kill loses it.
    until("the state to be written", || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        let saved: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        saved["backends"]["web"]["servers"]["s2"]["weight"] == 7
    });
    site.signal(nix::sys::signal::Signal::SIGKILL);
    site.wait_exit();
    let site = start();
    assert_eq!(site.status("s1"), "MAINT");
    assert_eq!(site.stat("web", "s2").number("weight"), 7);
    assert_eq!(site.get("/").text(), "s2");
}
