//! Health checks: what passes, what fails, and that `show stat` says why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::certificates::Authority;
use crate::support::origin::{Origin, OriginConn, Reply};
use crate::support::site::{Running, Site};
use crate::support::{eventually, holds_for, until};

const QUICK: &str = "interval: 300ms, timeout: 300ms";

fn checked(origin: &Origin, check: &str) -> Running {
    Site::of(&[origin]).backend(format!("health_check: {{ path: /health, {check} }}")).start()
}

/// A server that answers everything but its health path.
fn sick(health: impl Fn(&mut OriginConn) -> std::io::Result<()> + Send + Sync + 'static) -> Origin {
    Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            if request.target() == "/health" {
                return health(conn);
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    })
}

/// A server whose health path fails in some way is down, says why, and gets no request.
#[track_caller]
fn down(origin: &Origin, status: &str, code: &str, text: &str) {
    let site = checked(origin, QUICK);
    site.wait_status("s1", "DOWN");
    let row = eventually("a finished check", || {
        let row = site.stat("web", "s1");
        (!row.get("check_status").starts_with("* ")).then_some(row)
    });
    assert_eq!((row.get("check_status"), row.get("check_code")), (status, code), "{row:?}");
    assert!(row.get("last_chk").to_lowercase().contains(&text.to_lowercase()), "{:?}", row.get("last_chk"));
    assert_eq!(site.get("/app").status(), 503);
    assert_eq!(origin.requests_other_than("/health"), 0);
    let log = site.logs.row_of("/app");
    assert_eq!(
        (log.termination.as_str(), log.place().as_str(), log.reached().as_str()),
        ("SC--", "web/<NOSRV>", "+---")
    );
    assert_eq!(site.stat("web", "BACKEND").get("status"), "DOWN");
}

#[test]
fn a_redirect_is_a_failure() {
    let elsewhere = Origin::named("elsewhere");
    let location = format!("http://{}/ok", elsewhere.addr());
    let origin =
        sick(move |conn| conn.send(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")));
    down(&origin, "L7STS", "302", "Found");
    assert_eq!(elsewhere.connections(), 0, "the redirect was followed");
}

#[test]
fn no_content_is_a_failure() {
    down(&sick(|conn| conn.send("HTTP/1.1 204 No Content\r\n\r\n")), "L7STS", "204", "No Content");
}

#[test]
fn an_error_is_a_failure() {
    let origin = sick(|conn| conn.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"));
    down(&origin, "L7STS", "500", "Internal Server Error");
}

#[test]
fn a_slow_200_is_a_failure() {
    let origin = sick(|conn| {
        std::thread::sleep(Duration::from_millis(900));
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    down(&origin, "L7TOUT", "", "");
}

#[test]
fn a_reset_is_a_failure() {
    let origin = sick(|conn| {
        conn.reset_at_end();
        Ok(())
    });
    down(&origin, "L7RSP", "", "reset");
}

#[test]
fn a_close_is_a_failure() {
    down(&sick(|_| Ok(())), "L7RSP", "", "");
}

#[test]
fn garbage_is_a_failure() {
    down(&sick(|conn| conn.send("SSH-2.0-OpenSSH_9.2\r\n\r\n")), "L7RSP", "", "");
}

#[test]
fn a_refused_connection_is_a_failure() {
    let origin = Origin::named("s1");
    origin.stop();
    down(&origin, "L4CON", "", "Connection refused");
}

#[test]
fn half_a_head_is_a_failure() {
    let origin = sick(|conn| {
        conn.send("HTTP/1.1 200 OK\r\nContent-")?;
        conn.stall()
    });
    down(&origin, "L7TOUT", "", "");
}

#[test]
fn an_exact_200_passes() {
    let origin = Origin::named("s1");
    let site = checked(&origin, QUICK);
    site.wait_status("s1", "UP");
    let row = site.stat("web", "s1");
    assert!(row.get("check_status").ends_with("L7OK"), "{row:?}");
    assert_eq!((row.get("check_desc"), row.get("last_chk")), ("Layer7 check passed", ""));
    let check = &origin.requests()[0];
    assert_eq!((check.method(), check.target()), ("HEAD", "/health"));
    assert_eq!(check.field("host"), Some(origin.addr().to_string().as_str()));
    assert_eq!(site.get("/").status(), 200);
    assert!(site.logs.wait_rows(1).iter().all(|row| row.target() == "/"), "checks are no requests");
}

#[test]
fn what_is_asked_and_what_passes_can_be_chosen() {
    let origin = Origin::answering(|_| Reply::status(204));
    let site = Site::of(&[&origin])
        .backend(format!(
            "health_check: {{ method: GET, path: \"/ready?x=1\", host: app.test, headers: {{ X-Check: \"1\" }}, \
             expect: [ 200, 204 ], {QUICK} }}"
        ))
        .start();
    site.wait_status("s1", "UP");
    let check = &origin.requests()[0];
    assert_eq!((check.method(), check.target()), ("GET", "/ready?x=1"));
    assert_eq!((check.all("host"), check.field("x-check")), (vec!["app.test"], Some("1")));
}

#[test]
fn a_body_may_be_looked_at() {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let origin =
        Origin::answering(move |_| Reply::ok(if switch.load(Ordering::SeqCst) { "all fine" } else { "database gone" }));
    let site = checked(&origin, &format!("method: GET, body: \"fine|well\", fall: 1, rise: 1, {QUICK}"));
    site.wait_status("s1", "UP");
    healthy.store(false, Ordering::SeqCst);
    site.wait_status("s1", "DOWN");
    assert!(site.stat("web", "s1").get("check_status").ends_with("L7STS"));
    healthy.store(true, Ordering::SeqCst);
    site.wait_status("s1", "UP");
}

#[test]
fn tcp_checks() {
    let origin = Origin::script(|conn| conn.stall());
    let site = Site::of(&[&origin]).backend(format!("health_check: {{ type: tcp, fall: 1, {QUICK} }}")).start();
    site.wait_status("s1", "UP");
    assert!(site.stat("web", "s1").get("check_status").ends_with("L4OK"));
    origin.stop();
    site.wait_status("s1", "DOWN");
}

#[test]
fn checks_over_tls() {
    let authority = Authority::new();
    let origin = Origin::named("s1").with_tls(authority.server(&["app.test"]));
    let dir = tempfile::tempdir().unwrap();
    let root = authority.write_root(&dir.path().join("root.pem"));
    let tls = |name: &str| format!("tls: {{ verify: true, server_name: {name}, ca_file: {} }}", root.display());
    let site = checked(&origin, &format!("interval: 500ms, timeout: 500ms, {}", tls("app.test")));
    assert_eq!(site.status("s1"), "UP");
    let site = checked(&origin, &format!("interval: 500ms, timeout: 500ms, {}", tls("other.test")));
    assert_eq!(site.status("s1"), "DOWN");
    assert!(site.stat("web", "s1").get("check_status").ends_with("L6RSP"));
}

#[test]
fn another_port_may_be_checked() {
    let (app, probe) = (Origin::named("app"), Origin::named("probe"));
    let site = checked(&app, &format!("port: {}, fall: 1, {QUICK}", probe.addr().port()));
    assert_eq!((app.connections(), site.status("s1").as_str()), (0, "UP"));
    assert_eq!(site.get("/").text(), "app");
    probe.stop();
    site.wait_status("s1", "DOWN");
}

/// A healthy server whose health path can be switched to 500.
fn switchable() -> (Origin, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let origin = Origin::answering(move |request| {
        if request.target() == "/health" && !switch.load(Ordering::SeqCst) {
            return Reply::status(500);
        }
        Reply::ok("ok")
    });
    (origin, healthy)
}

#[test]
fn rise_and_fall_count_in_a_row() {
    let passes = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&passes);
    // 1 pass (start), then two failures and a pass again and again: never three in a row.
    let origin = Origin::answering(move |request| {
        if request.target() != "/health" {
            return Reply::ok("ok");
        }
        let n = asked.fetch_add(1, Ordering::SeqCst);
        Reply::status(if n.is_multiple_of(3) { 200 } else { 500 })
    });
    let site = checked(&origin, "interval: 250ms, timeout: 250ms, rise: 3, fall: 3");
    until("several rounds", || passes.load(Ordering::SeqCst) > 12);
    assert_eq!(site.stat("web", "s1").number("chkdown"), 0);
    assert!(site.status("s1").starts_with("UP"));
    assert!(site.stat("web", "s1").number("chkfail") >= 6);
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn three_failures_take_a_server_down_and_three_passes_bring_it_back() {
    let (origin, healthy) = switchable();
    let site = checked(&origin, "interval: 250ms, timeout: 250ms, rise: 3, fall: 3");
    healthy.store(false, Ordering::SeqCst);
    site.wait_status("s1", "DOWN");
    assert_eq!(site.get("/").status(), 503);
    assert_eq!(site.stat("web", "s1").number("chkdown"), 1);
    let line = site.logs.line_with("Server web/s1 is DOWN");
    assert!(line.contains("reason: Layer7 wrong status, code: 500, info: \"Said\", check duration: "), "{line}");
    assert!(
        line.contains("0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."),
        "{line}"
    );
    assert!(line.starts_with("<129>"), "{line}");
    assert!(site.logs.line_with("backend web has no server available!").starts_with("<128>"));
    healthy.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    eventually("the server to come up", || {
        let status = site.status("s1");
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        (status == "UP").then_some(())
    });
    assert!(seen.iter().all(|s| ["DOWN", "DOWN 1/3", "DOWN 2/3", "UP"].contains(&s.as_str())), "{seen:?}");
    assert_eq!(site.get("/").status(), 200);
    site.logs.line_with("Server web/s1 is UP, reason: Layer7 check passed, code: 200, check duration: ");
}

#[test]
fn intervals_follow_the_state() {
    let (origin, healthy) = switchable();
    let site = checked(&origin, "interval: 2s, fastinter: 250ms, downinter: 600ms, timeout: 250ms, rise: 2, fall: 3");
    holds_for(Duration::from_millis(700), "a settled server is left in peace", || origin.requests().len() == 1);
    healthy.store(false, Ordering::SeqCst);
    until("the first failure", || origin.requests().len() == 2);
    let failing = Instant::now();
    site.wait_status("s1", "DOWN");
    assert!(failing.elapsed() < Duration::from_millis(1500), "two more at fastinter, but {:?}", failing.elapsed());
    let (down, before) = (Instant::now(), origin.requests().len());
    until("checks at downinter", || origin.requests().len() == before + 3);
    assert!((1200..3500).contains(&down.elapsed().as_millis()), "three at downinter took {:?}", down.elapsed());
    healthy.store(true, Ordering::SeqCst);
    site.wait_status("s1", "UP");
}

#[test]
fn a_request_waits_for_the_first_check() {
    let gate = crate::support::gate::Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/health" {
            held.pass();
        }
        Reply::ok("ok")
    });
    let site = Site::of(&[&origin])
        .backend("health_check: { path: /health, interval: 10s, timeout: 9s }")
        .without_waiting_for_checks()
        .start();
    let mut client = site.client();
    client.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to wait", || site.stat("web", "BACKEND").number("qcur") == 1);
    assert_eq!(origin.requests_other_than("/health"), 0);
    gate.open_for_good();
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(site.status("s1"), "UP", "one result decides at the start");
}

#[test]
fn initial_states() {
    let (origin, healthy) = switchable();
    let check = "health_check: { path: /health, interval: 400ms, timeout: 400ms, rise: 3 }";
    let site = Site::of(&[&origin]).backend(format!("{check}\ninitial: checks")).start();
    assert!(site.status("s1").starts_with("DOWN"), "{}", site.status("s1"));
    site.wait_status("s1", "UP");

    healthy.store(false, Ordering::SeqCst);
    let slow = "health_check: { path: /health, interval: 10s, timeout: 9s }";
    let gate = crate::support::gate::Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/health" {
            held.pass();
        }
        Reply::ok("ok")
    });
    let site = Site::of(&[&origin]).backend(format!("{slow}\ninitial: up")).without_waiting_for_checks().start();
    assert_eq!((site.status("s1").as_str(), site.get("/").text().as_str()), ("UP 1/3", "ok"));
    gate.open_for_good();
}

#[test]
fn live_traffic_may_be_observed() {
    let broken = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&broken);
    let origin = Origin::answering(move |request| {
        let fails = request.target() != "/health" && switch.load(Ordering::SeqCst);
        Reply::status(if fails { 500 } else { 200 })
    });
    let site = Site::of(&[&origin])
        .backend(
            "health_check: { path: /health, interval: 60s, timeout: 5s }\n\
             observe: { layer: layer7, error_limit: 5, on_error: mark-down }",
        )
        .start();
    broken.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(site.get("/").status(), 500);
    }
    site.wait_status("s1", "DOWN");
    assert_eq!(site.stat("web", "s1").number("hanafail"), 1, "counted when the limit is reached");
}
