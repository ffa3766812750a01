//! Rate limits: who is limited, who is not, and what the limited get.

use std::time::{Duration, Instant};

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::until;

fn limited(origin: &Origin, limit: &str) -> Running {
    Site::of(&[origin]).frontend(format!("rate_limits: [ {{ name: test, {limit} }} ]")).start()
}

fn statuses(client: &mut RawClient, n: usize) -> Vec<u16> {
    (0..n).map(|_| client.get("/").status()).collect()
}

#[test]
fn over_the_limit_is_429_and_others_are_untouched() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "key: client_ip, rate: 10/m, burst: 5");
    let mut greedy = RawClient::connect_from([127, 0, 2, 1], site.address);
    assert_eq!(statuses(&mut greedy, 8), [200, 200, 200, 200, 200, 429, 429, 429]);
    let refused = greedy.get("/refused");
    let wait: u64 = refused.field("retry-after").expect("a Retry-After").parse().expect("in seconds");
    assert!((1..=6).contains(&wait), "one request per 6 s is allowed, so not {wait}");
    assert!(!refused.body.is_empty());
    for last in 2..6 {
        let mut other = RawClient::connect_from([127, 0, 2, last], site.address);
        assert_eq!(statuses(&mut other, 5), [200; 5]);
    }
    assert_eq!(origin.requests().len(), 25, "a refused request reached the server");
    let row = site.logs.row_of("/refused");
    assert_eq!((row.place().as_str(), row.status, row.termination.as_str()), ("fe/<NOSRV>", 429, "PR--"));
    assert_eq!(row.reached(), "+---");
    assert_eq!(site.stat("fe", "FRONTEND").number("dreq"), 4);
}

#[test]
fn a_limit_follows_the_client_over_its_connections() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "key: client_ip, rate: 10/m, burst: 3");
    let seen: Vec<u16> = (0..5).map(|_| site.get("/").status()).collect();
    assert_eq!(seen, [200, 200, 200, 429, 429]);
}

#[test]
fn over_several_workers_nobody_gets_more() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .global("threads", "3")
        .frontend("rate_limits: [ { name: test, rate: 1/m, burst: 20 } ]")
        .start();
    let passed = (0..60).filter(|_| site.get("/").status() == 200).count();
    assert_eq!(passed, 20);
}

#[test]
fn tokens_come_back() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "rate: 5/s, burst: 1");
    let mut client = site.client();
    assert_eq!(statuses(&mut client, 2), [200, 429]);
    let started = Instant::now();
    until("the next token", || client.get("/").status() == 200);
    assert!((100..2000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[test]
fn a_dry_run_only_logs() {
    let origin = Origin::named("s1");
    let logs = crate::support::logs::LogReceiver::udp();
    let site = Site::of(&[&origin])
        .global("logs", format!("[ {{ target: \"{}\", syslog: raw, format: json }} ]", logs.target()))
        .frontend("rate_limits: [ { name: trial, rate: 1/m, burst: 2, action: log } ]")
        .start();
    let mut client = site.client();
    assert_eq!(statuses(&mut client, 6), [200; 6]);
    until("the rows", || logs.lines().iter().filter(|line| line.contains("\"trial\"")).count() == 4);
    assert_eq!(site.stat("fe", "FRONTEND").number("dreq"), 0);
}

#[test]
fn a_tarpit_holds_before_it_refuses() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .defaults("timeouts: { tarpit: 500ms }")
        .frontend("rate_limits: [ { name: pit, rate: 1/m, burst: 1, action: tarpit } ]")
        .start();
    assert_eq!(site.get("/").status(), 200);
    let started = Instant::now();
    assert_eq!(site.get("/pit").status(), 500);
    assert!(started.elapsed() >= Duration::from_millis(500));
    let row = site.logs.row_of("/pit");
    assert_eq!((row.place().as_str(), row.termination.as_str()), ("fe/<NOSRV>", "PR--"));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn exempt_networks() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "rate: 1/m, burst: 1, except: [ 127.0.3.0/24 ]");
    let mut exempt = RawClient::connect_from([127, 0, 3, 9], site.address);
    assert_eq!(statuses(&mut exempt, 5), [200; 5]);
    let mut other = RawClient::connect_from([127, 0, 4, 9], site.address);
    assert_eq!(statuses(&mut other, 3), [200, 429, 429]);
}

#[test]
fn other_keys() {
    let origin = Origin::named("s1");
    let ask = |site: &Running, target: &str, fields: &str| {
        site.ask(format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).status()
    };

    let site = limited(&origin, "key: header(X-Api-Key), rate: 1/m, burst: 2");
    let keyed = |key: &str| ask(&site, "/", &format!("Host: a\r\nX-Api-Key: {key}\r\n"));
    assert_eq!([keyed("one"), keyed("one"), keyed("one"), keyed("two")], [200, 200, 429, 200]);
    assert_eq!(
        [ask(&site, "/", "Host: a\r\n"), ask(&site, "/", "Host: a\r\n"), ask(&site, "/", "Host: a\r\n")],
        [200; 3]
    );

    let site = limited(&origin, "key: host, rate: 1/m, burst: 1");
    let hosted = |host: &str| ask(&site, "/", &format!("Host: {host}\r\n"));
    assert_eq!([hosted("a.test"), hosted("A.TEST:80"), hosted("b.test")], [200, 429, 200]);

    let site = limited(&origin, "key: path, rate: 1/m, burst: 1");
    let at = |target: &str| ask(&site, target, "Host: a\r\n");
    assert_eq!([at("/a"), at("/a?x=1"), at("/%61"), at("/b")], [200, 429, 429, 200]);

    let site = limited(&origin, "key: [ client_ip, path ], rate: 1/m, burst: 1");
    let at = |target: &str| ask(&site, target, "Host: a\r\n");
    assert_eq!([at("/a"), at("/b"), at("/a")], [200, 200, 429]);
    let mut other = RawClient::connect_from([127, 0, 5, 5], site.address);
    assert_eq!(other.get("/a").status(), 200);
}

#[test]
fn the_client_is_the_one_a_trusted_proxy_names() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend("trusted_proxies: [ 127.0.0.1/32 ]\nrate_limits: [ { name: test, rate: 1/m, burst: 1 } ]")
        .start();
    let ask =
        |client: &str| site.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n")).status();
    assert_eq!([ask("203.0.113.1"), ask("203.0.113.1"), ask("203.0.113.2")], [200, 429, 200]);
    // All of an IPv6 network of 64 bits is one client.
    assert_eq!([ask("2001:db8::1"), ask("2001:db8::ffff:1"), ask("2001:db8:0:1::1")], [200, 429, 200]);
    // A stranger cannot choose whom to be.
    let mut stranger = RawClient::connect_from([127, 0, 6, 1], site.address);
    let mut lies =
        |n: u8| stranger.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.{n}\r\n\r\n")).status();
    assert_eq!([lies(1), lies(2)], [200, 429]);
}

#[test]
fn concurrent_requests() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/hold" {
            held.pass();
        }
        Reply::ok("ok")
    });
    let site = limited(&origin, "concurrent: 2");
    let mut clients: Vec<RawClient> = (1..=2)
        .map(|n| {
            let mut client = site.client();
            client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
            until("the request to run", || origin.requests().len() == n);
            client
        })
        .collect();
    assert_eq!(site.get("/").status(), 429);
    assert_eq!(RawClient::connect_from([127, 0, 7, 1], site.address).get("/").status(), 200);
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    for _ in 0..5 {
        assert_eq!(site.get("/").status(), 200, "a finished request is no longer counted");
    }
}

#[test]
fn a_client_that_leaves_is_no_longer_counted() {
    let origin = Origin::script(|conn| {
        if conn.request()?.is_some_and(|r| r.target() == "/hang") {
            return conn.stall();
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let site = limited(&origin, "concurrent: 1");
    let mut client = site.client();
    client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    client.wire.reset();
    until("room again", || site.get("/").status() == 200);
}

#[test]
fn tables_are_shown_and_cleared() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "rate: 100/m, burst: 2, table_size: 500");
    let mut one = RawClient::connect_from([127, 0, 8, 1], site.address);
    assert_eq!(statuses(&mut one, 4), [200, 200, 429, 429]);
    let mut two = RawClient::connect_from([127, 0, 8, 2], site.address);
    assert_eq!(statuses(&mut two, 1), [200]);

    let tables = site.admin("show table");
    assert!(tables.contains("# table: test, type: ip, size:500, used:2"), "{tables}");
    let table = site.admin("show table test");
    let row = table.lines().find(|line| line.contains("key=127.0.8.1 ")).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("http_req_cnt=4") && row.contains("gpc0=2"), "{row}");
    assert!(site.admin("show table test key 127.0.8.2").contains("http_req_cnt=1"));
    assert!(!site.admin("show table test data.gpc0 gt 0").contains("127.0.8.2"));

    site.order("clear table test key 127.0.8.1");
    assert_eq!(statuses(&mut one, 1), [200], "forgotten");
    site.order("clear table test");
    assert!(site.admin("show table test").contains("used:0"));
    assert_eq!(site.admin("show table nope").trim(), "No such table");
}

#[test]
fn a_table_has_an_end() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend("rate_limits: [ { name: test, key: header(X-Key), rate: 1/m, table_size: 100 } ]")
        .start();
    let mut client = site.client();
    for n in 0..1000 {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: key-{n}\r\n\r\n");
        assert_eq!(client.ask(text).status(), 200, "key {n}");
    }
    let tables = site.admin("show table");
    let used: u32 = tables.split("used:").nth(1).unwrap().trim().parse().unwrap();
    assert!(used <= 100, "{tables}");
}

#[test]
fn limits_are_checked_in_order() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "rate_limits:\n  - { name: trial, rate: 1/m, burst: 1, action: log }\n  \
             - { name: firm, rate: 1/m, burst: 3, action: deny }",
        )
        .start();
    let mut client = site.client();
    assert_eq!(statuses(&mut client, 5), [200, 200, 200, 429, 429]);
}

#[test]
fn a_table_nobody_asks_forgets_what_has_expired() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "key: client_ip, rate: 100/s, expire: 1s");
    assert_eq!(site.get("/").status(), 200);
    until("the expired key to be forgotten", || site.admin("show table").contains("used:0"));
}

#[test]
fn many_rows_are_cleared_by_a_condition_at_once() {
    let origin = Origin::named("s1");
    let site = limited(&origin, "key: path, rate: 1/m, burst: 1");
    let mut client = RawClient::connect(site.address);
    for n in 0..300 {
        assert_eq!(client.get(&format!("/{n}")).status(), 200);
    }
    assert_eq!(client.get("/299").status(), 429);
    site.admin("clear table test data.gpc0 eq 0");
    assert!(site.admin("show table").contains("used:1"), "{}", site.admin("show table"));
    assert_eq!(client.get("/299").status(), 429, "the row that was not meant stays");
    assert_eq!(client.get("/0").status(), 200);
}
