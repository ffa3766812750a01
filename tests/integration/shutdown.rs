//! Leaving: what runs is finished, nothing new is taken, and nobody waits longer than `grace`.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::gate::Gate;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{ports, until};

fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::answering(move |request| {
        if request.target() == "/hold" {
            gate.pass();
        }
        Reply::ok("finished")
    })
}

fn refuses(site: &Running) {
    until("no new connections", || TcpStream::connect(site.address).is_err());
}

#[test]
fn open_requests_are_finished() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let gate = Gate::new();
        let origin = gated(&gate);
        let mut site = Site::of(&[&origin]).global("grace", "20s").start();
        let (mut busy, mut idle) = (site.client(), site.client());
        assert_eq!(idle.get("/").status(), 200);
        busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        until("the request to run", || origin.requests().len() == 2);
        site.signal(signal);
        refuses(&site);
        idle.expect_closed();
        assert!(site.runs());
        gate.open_for_good();
        let answer = busy.answer();
        assert_eq!(answer.text(), "finished");
        assert!(answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")), "{answer:?}");
        busy.expect_closed();
        assert!(site.wait_exit().success(), "{signal}");
        assert_eq!(site.logs.row_of("/hold").termination, "----");
    }
}

#[test]
fn an_upload_is_finished_too() {
    let origin = Origin::answering(|request| Reply::ok(request.text()));
    let mut site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
    until("the request to run", || origin.connections() == 1);
    site.signal(Signal::SIGTERM);
    refuses(&site);
    client.send("-last");
    assert_eq!(client.answer().text(), "first-last");
    assert!(site.wait_exit().success());
}

#[test]
fn grace_ends() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let mut site = Site::of(&[&origin]).global("grace", "1s").start();
    let mut client = site.client();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    let started = Instant::now();
    site.signal(Signal::SIGTERM);
    site.wait_exit();
    assert!((900..8000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let _ = client.wire.take_rest();
    gate.open_for_good();
    let row = site.logs.row_of("/hold");
    assert_eq!((row.termination.as_str(), row.place().as_str()), ("KH--", "web/s1"), "what was cut is in the log");
}

#[test]
fn tunnels_that_are_cut_in_the_end_are_logged() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome")?;
        conn.stall()
    });
    let mut site = Site::of(&[&origin]).global("grace", "1s").start();
    let mut client = site.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    assert_eq!(client.wire.take(7).unwrap(), b"welcome");
    site.signal(Signal::SIGTERM);
    site.wait_exit();
    let row = site.logs.row_of("/ws");
    assert_eq!((row.status, row.termination.as_str()), (101, "KD--"));
    assert!(row.bytes > 7, "{row:?}");
}

#[test]
fn whoever_waits_for_a_rate_is_served_before_the_end() {
    let origin = Origin::named("s1");
    let mut site = Site::of(&[&origin]).global("grace", "20s").global("maxsessrate", "1").start();
    let mut clients: Vec<_> = (0..6).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    until("one to be let in", || origin.requests_other_than("/health") > 0);
    site.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert!(site.wait_exit().success());
}

#[test]
fn a_second_signal_leaves_at_once() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let mut site = Site::of(&[&origin]).global("grace", "60s").start();
    let mut client = site.client();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    site.signal(Signal::SIGTERM);
    refuses(&site);
    assert!(site.runs());
    let started = Instant::now();
    site.signal(Signal::SIGTERM);
    site.wait_exit();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    gate.open_for_good();
}

#[test]
fn nothing_to_finish_means_leaving_soon() {
    let origin = Origin::named("s1");
    let mut site = Site::of(&[&origin]).global("grace", "60s").global("threads", "2").start();
    let mut clients: Vec<_> = (0..20).map(|_| site.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    let started = Instant::now();
    site.signal(Signal::SIGTERM);
    assert!(site.wait_exit().success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn waiting_requests_are_served_before_leaving() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let mut site = Site::new().server(origin.addr(), "maxconn: 1").global("grace", "20s").start();
    let mut clients: Vec<_> = (0..3)
        .map(|n| {
            let mut client = site.client();
            client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
            until("it to be served or to wait", || {
                !origin.requests().is_empty() && site.stat("web", "BACKEND").number("qcur") == n
            });
            client
        })
        .collect();
    site.signal(Signal::SIGTERM);
    refuses(&site);
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().text(), "finished");
    }
    assert!(site.wait_exit().success());
}

#[test]
fn the_service_manager_is_told() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).backend("health_check: { path: /health, interval: 1s, timeout: 500ms }");
    let path = site.path("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut site = site.environment("NOTIFY_SOCKET", path.display().to_string()).start();
    let told = |needle: &str| {
        let mut buffer = [0u8; 4096];
        loop {
            let n = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("{needle} was never told: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.lines().any(|line| line.starts_with(needle)) {
                return text;
            }
        }
    };
    told("READY=1");
    told("STATUS=");
    site.signal(Signal::SIGTERM);
    told("STOPPING=1");
    assert!(site.wait_exit().success());
}

#[test]
fn a_server_that_hangs_does_not_hold_up_the_start_for_ever() {
    // A check that gets no answer is a failed check, and the process is then ready.
    let origin = Origin::script(|conn| conn.stall());
    let site = Site::of(&[&origin]).backend("health_check: { path: /health, interval: 300ms, timeout: 200ms }").start();
    assert_eq!(site.status("s1"), "DOWN");
}

#[test]
fn output_ends_cleanly() {
    let site = Site::new().server(ports::address(), "").start();
    let mut client = site.client();
    client.send("GET / HTT");
    let mut site = site;
    site.signal(Signal::SIGTERM);
    site.wait_exit();
    let mut rest = Vec::new();
    let _ = client.wire.transport().tcp().unwrap().try_clone().unwrap().read_to_end(&mut rest);
    assert!(!site.output().contains("panicked"), "{}", site.output());
}
