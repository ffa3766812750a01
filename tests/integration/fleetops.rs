//! Frontends, limits and servers changed while the process serves.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::holds_for;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::until;
use crate::support::wire::{Transport, Wire};

/// Clients that ask on without a pause until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// `keep` many requests on each connection; a connection that is refused is tried again.
    fn start(to: SocketAddr, clients: usize, keep: usize) -> Load {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..clients)
            .map(|_| {
                let (stop, served) = (stop.clone(), served.clone());
                std::thread::spawn(move || {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        if !ask(to, keep, &stop, &served, &mut answers) {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                    answers
                })
            })
            .collect();
        Load { stop, served, threads }
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn wait_for_more(&self, n: u64) {
        let goal = self.served() + n;
        until("more requests to be served", || self.served() >= goal);
    }

    /// Every answer there was.
    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    }
}

/// One connection; false when it was refused. What was accepted must be answered.
fn ask(to: SocketAddr, keep: usize, stop: &AtomicBool, served: &AtomicU64, answers: &mut Vec<String>) -> bool {
    let Ok(tcp) = TcpStream::connect(to) else { return false };
    let mut client = RawClient { wire: Wire::new(Transport::Tcp(tcp)) };
    for _ in 0..keep {
        let answer = client.get("/");
        answers.push(format!("{} {}", answer.status(), answer.text()));
        served.fetch_add(1, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    true
}

fn refused(to: SocketAddr) -> bool {
    matches!(TcpStream::connect(to), Err(e) if e.kind() == ErrorKind::ConnectionRefused)
}

fn frontend(site: &Running) -> String {
    site.stat("fe", "FRONTEND").get("status").to_owned()
}

#[test]
fn a_paused_frontend_refuses_and_comes_back_while_its_connections_go_on() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2").start();
    let mut kept = site.client();
    assert_eq!(kept.get("/").text(), "s1");
    for _ in 0..3 {
        assert_eq!(frontend(&site), "OPEN");
        site.order("disable frontend fe");
        assert_eq!(frontend(&site), "PAUSED");
        for _ in 0..8 {
            assert!(refused(site.address), "every worker refuses at once");
        }
        assert_eq!(kept.get("/").text(), "s1", "a connection that was there goes on");
        site.order("enable frontend fe");
        for _ in 0..8 {
            assert_eq!(site.get("/").text(), "s1", "every worker listens again");
        }
    }
    site.logs.line_with("Paused frontend fe.");
    site.logs.line_with("Resumed frontend fe.");
    assert_eq!(site.admin("enable frontend fe"), "All sockets are already enabled.\n");

    site.order("shutdown frontend fe");
    assert_eq!(frontend(&site), "STOP");
    assert!(refused(site.address));
    site.logs.line_with("Proxy fe stopped (cumulated conns: FE: 25, BE: 0).");
    assert_eq!(site.admin("enable frontend fe"), "Frontend was previously shut down, cannot enable.\n");
    until("the idle connection to be closed", || site.stat("fe", "FRONTEND").number("scur") == 0);
}

#[test]
fn pausing_under_load_loses_no_request() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2").start();
    // Connections that stay: not one of their requests may fail, whatever the frontend is told.
    let load = Load::start(site.address, 4, usize::MAX);
    load.wait_for_more(100);
    for _ in 0..5 {
        site.order("disable frontend fe");
        load.wait_for_more(50);
        assert!(refused(site.address));
        site.order("enable frontend fe");
        assert_eq!(site.get("/").text(), "s1");
    }
    let answers = load.finish();
    assert!(answers.iter().all(|a| a == "200 s1"), "{answers:?}");
    let counted = answers.len() as i64 + 5;
    until("all to be counted", || site.stat("fe", "FRONTEND").number("hrsp_2xx") == counted);
}

/// Whether a request sent now is answered within a moment.
fn opens(site: &Running) -> RawClient {
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

#[test]
fn connections_wait_for_a_lower_maxconn_and_go_on_with_a_higher_one() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("maxconn", "100").start();
    let connections = || site.stat("fe", "FRONTEND").number("scur");
    for (lower, raise, slim) in [
        ("set maxconn frontend fe 2", "set maxconn frontend fe 50", Some("2")),
        ("set maxconn global 2", "set maxconn global 100", None),
    ] {
        let mut first: Vec<RawClient> = (0..3).map(|_| opens(&site)).collect();
        first.iter_mut().for_each(|c| assert_eq!(c.answer().text(), "s1"));
        site.order(lower);
        match slim {
            Some(slim) => assert_eq!(site.stat("fe", "FRONTEND").get("slim"), slim),
            None => assert_eq!((site.info("Maxconn"), site.info("Hard_maxconn")), ("2".into(), "100".into())),
        }
        assert_eq!(connections(), 3, "nobody is sent out");
        let mut late = opens(&site);
        holds_for(Duration::from_millis(100), "the fourth waits", || connections() == 3);
        first.pop();
        holds_for(Duration::from_millis(100), "two are as many as may be", || connections() <= 3 && connections() >= 2);
        first.pop();
        assert_eq!(late.answer().text(), "s1", "its turn has come");
        let mut later = opens(&site);
        holds_for(Duration::from_millis(100), "the next waits", || connections() == 2);
        site.order(raise);
        assert_eq!(later.answer().text(), "s1", "raising lets in at once");
        drop((first, late, later));
        until("all to leave", || connections() == 0);
    }
    assert_eq!(site.admin("set maxconn global 101"), "Value out of range.\n");
    assert_eq!(site.admin("set maxconn frontend nope 1"), "No such frontend.\n");
}

#[test]
fn connections_over_the_rate_wait_and_are_not_refused() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2").start();
    for what in ["connections", "sessions"] {
        site.order(&format!("set rate-limit {what} global 20"));
        let started = Instant::now();
        for _ in 0..50 {
            assert_eq!(site.get("/").text(), "s1");
        }
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(1100), "50 connections at 20 a second took {took:?} ({what})");
        assert!(took <= Duration::from_secs(10), "50 connections at 20 a second took {took:?} ({what})");
        // Lifted, nobody waits any more.
        site.order(&format!("set rate-limit {what} global 0"));
    }
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(site.get("/").text(), "s1");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    site.order("set rate-limit ssl-sessions global 7");
    site.order("set rate-limit http-compression global 3");
    let limits = ["ConnRateLimit", "SessRateLimit", "SslRateLimit", "CompressBpsRateLim"].map(|key| site.info(key));
    assert_eq!(limits, ["0", "0", "7", "3072"]);
}

#[test]
fn rates_have_start_values() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .global("maxconnrate", "500")
        .global("maxsessrate", "400")
        .global("maxsslrate", "300")
        .frontend("rate_limit_sessions: 10")
        .start();
    let limits = ["ConnRateLimit", "SessRateLimit", "SslRateLimit"].map(|key| site.info(key));
    assert_eq!(limits, ["500", "400", "300"]);
    assert_eq!(site.stat("fe", "FRONTEND").get("rate_lim"), "10");
    let started = Instant::now();
    for _ in 0..25 {
        assert_eq!(site.get("/").text(), "s1");
    }
    assert!(started.elapsed() >= Duration::from_millis(1000), "{:?}", started.elapsed());
}

#[test]
fn a_server_comes_serves_and_goes_under_load() {
    let (one, two) = (Origin::named("s1"), Origin::named("dyn"));
    let site = Site::of(&[&one]).global("threads", "2").backend("health_check: { type: tcp, interval: 100ms }").start();
    let load = Load::start(site.address, 4, 10);
    load.wait_for_more(50);
    for round in 0..3 {
        let add = format!("add server web/dyn {} check inter 100 weight 3", two.addr());
        assert_eq!(site.admin(&add), "New server registered.\n");
        assert_eq!((site.status("dyn"), site.stat("web", "dyn").number("sid")), ("MAINT".into(), 2));
        let before = two.requests().len();
        load.wait_for_more(20);
        assert_eq!(two.requests().len(), before, "nothing before it is enabled");
        site.order("enable health web/dyn");
        site.order("enable server web/dyn");
        until("traffic on the new server", || two.requests().len() > before + 20);
        site.wait_status("dyn", "UP");
        assert_eq!(site.stat("web", "dyn").number("srid"), i64::from(round));

        assert_eq!(site.admin("del server web/dyn"), "Only servers in maintenance mode can be deleted.\n");
        site.order("set server web/dyn state drain");
        until("the server to be empty", || site.stat("web", "dyn").number("scur") == 0);
        site.order("set server web/dyn state maint");
        until("the server to be deleted", || site.admin("del server web/dyn") == "Server deleted.\n");
        assert_eq!(site.admin("get weight web/dyn"), "No such server.\n");
        load.wait_for_more(20);
    }
    let answers = load.finish();
    let other: Vec<_> = answers.iter().filter(|a| !a.starts_with("200 ")).collect();
    assert!(other.is_empty(), "{other:?}");
    assert!(answers.iter().any(|a| a.ends_with(" dyn")) && answers.iter().any(|a| a.ends_with(" s1")));
    let (of_backend, of_server) = (site.stat("web", "BACKEND"), site.stat("web", "s1"));
    assert!(of_backend.number("hrsp_2xx") > of_server.number("hrsp_2xx"), "the backend keeps what was counted");
    assert_eq!(of_backend.number("hrsp_5xx"), 0);
}

#[test]
fn a_request_that_waits_is_served_by_a_server_that_came_later() {
    let gate = Gate::new();
    let held = {
        let gate = gate.clone();
        Origin::answering(move |_| {
            gate.pass();
            Reply::ok("s1")
        })
    };
    let late = Origin::named("late");
    let site = Site::new().server(held.addr(), "maxconn: 1").start();
    let mut first = opens(&site);
    until("the first to be served", || held.requests().len() == 1);
    let mut second = opens(&site);
    until("the second to wait", || site.stat("web", "BACKEND").number("qcur") == 1);
    assert_eq!(site.admin(&format!("add server web/late {}", late.addr())), "New server registered.\n");
    site.order("enable server web/late");
    assert_eq!(second.answer().text(), "late");
    gate.open(1);
    assert_eq!(first.answer().text(), "s1");
    let row = site.logs.row_where("the second request", |row| row.server == "late");
    assert_eq!((row.status, row.termination.as_str()), (200, "----"));
    let counted = site.stat("web", "late");
    assert_eq!((counted.number("stot"), counted.number("hrsp_2xx")), (1, 1), "it is counted though it came later");
}

#[test]
fn a_busy_server_is_not_deleted() {
    let gate = Gate::new();
    let held = {
        let gate = gate.clone();
        Origin::answering(move |_| {
            gate.pass();
            Reply::ok("s1")
        })
    };
    let site = Site::of(&[&held]).start();
    let mut client = opens(&site);
    until("the request to be served", || held.requests().len() == 1);
    site.order("disable server web/s1");
    let busy = "Server still has connections attached to it, cannot remove it.\n";
    assert_eq!(site.admin("del server web/s1"), busy);
    gate.open(1);
    assert_eq!(client.answer().text(), "s1");
    until("the server to be deleted", || site.admin("del server web/s1") == "Server deleted.\n");
    assert_eq!(site.get("/").status(), 503);
}

#[test]
fn streams_tell_their_request_and_when_they_time_out() {
    let gate = Gate::new();
    let held = {
        let gate = gate.clone();
        Origin::answering(move |_| {
            gate.pass();
            Reply::ok("s1")
        })
    };
    let site = Site::of(&[&held]).defaults("timeouts: { server: 40s, keepalive: 50s }").start();
    let mut client = site.client();
    client.send("GET /held?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to be served", || held.requests().len() == 1);
    let line = site.admin("show sess");
    assert!(line.contains(" fe=fe be=web srv=s1 "), "{line}");
    assert!(line.contains("scb=[8,0h,fd=-1,rex=39s,wex=]") || line.contains("rex=40s,wex=]"), "{line}");
    assert!(line.contains(" exp=39s ") || line.contains(" exp=40s "), "{line}");
    let full = site.admin("show sess all");
    assert!(full.contains("GET /held?x=1"), "{full}");
    assert!(full.contains("  server=s1 (id=1) addr="), "{full}");
    gate.open(1);
    assert_eq!(client.answer().text(), "s1");
    until("the connection to be idle", || {
        let line = site.admin("show sess");
        line.contains(" srv=<none> ") && (line.contains("rex=49s") || line.contains("rex=50s"))
    });
}
