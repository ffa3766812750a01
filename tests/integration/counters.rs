//! Which counters move when: HAProxy's own experiments made again, and nothing lost under load.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::gate::Gate;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::stats::StatRow;
use crate::support::{PATIENCE, eventually_or, ports};

/// The columns whose movements were recorded.
const RECORDED: &[&str] = &[
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "lbtot",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "conn_tot",
    "intercepted",
];

/// Where lockgate counts otherwise on purpose: docs/HAPROXY_COMPAT.md, "Counters".
const OTHERWISE: &[(&str, &str, &str, i64)] = &[
    ("server closes early", "web1", "eresp", 1),
    ("server closes early", "BACKEND", "eresp", 1),
    ("redirect", "FRONTEND", "hrsp_3xx", 1),
];

type Movements = BTreeMap<String, BTreeMap<String, i64>>;

/// What moved in HAProxy: by row (`FRONTEND`, a server, `BACKEND`), by column.
fn recorded(experiment: &str) -> Movements {
    let golden = include_str!("../compat/golden/counters-2.8.txt");
    let section = golden.split("## ").find(|s| s.lines().next() == Some(experiment));
    let section = section.unwrap_or_else(|| panic!("no experiment {experiment:?} was recorded"));
    let mut movements: Movements = section
        .lines()
        .skip(1)
        .map(|line| {
            let (row, counted) = line.trim().split_once(' ').expect("a row and what moved");
            let counted = counted.trim_matches(['{', '}']).split(", ").filter_map(|c| c.split_once(": "));
            let counted = counted.map(|(name, n)| (name.trim_matches('\'').to_owned(), n.parse().expect("a number")));
            (row.split('/').nth(1).expect("proxy/name").to_owned(), counted.collect())
        })
        .collect();
    for (of, row, column, ours) in OTHERWISE {
        if *of == experiment {
            movements.entry((*row).to_owned()).or_default().insert((*column).to_owned(), *ours);
        }
    }
    movements
}

/// What has moved here since the start. `names` gives HAProxy's names of the servers, in order.
fn moved(site: &Running, names: &[&str]) -> Movements {
    let mut movements = Movements::new();
    for row in site.stats() {
        let name = match row.get("svname") {
            name @ ("FRONTEND" | "BACKEND") => name.to_owned(),
            server => {
                let number: usize = server.trim_start_matches('s').parse().expect("servers are called s1, s2, …");
                names[number - 1].to_owned()
            }
        };
        let numbers = RECORDED.iter().map(|column| ((*column).to_owned(), row.number(column)));
        let numbers: BTreeMap<_, _> = numbers.filter(|(_, n)| *n != 0).collect();
        if !numbers.is_empty() {
            movements.insert(name, numbers);
        }
    }
    movements
}

/// Sends bytes, reads to the end; how many each way.
fn exchange(to: SocketAddr, bytes: &str) -> (i64, i64) {
    let mut tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    (bytes.len() as i64, answer.len() as i64)
}

/// Compares what moved with what was recorded. Bytes are those of this exchange, wherever HAProxy counted any.
#[track_caller]
fn compare(experiment: &str, site: &Running, names: &[&str], (sent, received): (i64, i64)) {
    let mut expected = recorded(experiment);
    for counted in expected.values_mut() {
        for (column, bytes) in [("bin", sent), ("bout", received)] {
            if let Some(n) = counted.get_mut(column) {
                *n = bytes;
            }
        }
    }
    let mut last = Movements::new();
    let same = eventually_or(PATIENCE, || {
        last = moved(site, names);
        (last == expected).then_some(())
    });
    assert!(same.is_some(), "{experiment}\nHAProxy: {expected:#?}\nlockgate: {last:#?}");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[test]
fn two_requests_on_one_connection() {
    let origin = Origin::named("one");
    let site = Site::of(&[&origin]).start();
    let bytes = exchange(site.address, &format!("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n{GET}"));
    compare("2 keep-alive requests", &site, &["web1"], bytes);
}

#[test]
fn denied_by_a_limit() {
    let origin = Origin::named("one");
    let site = Site::of(&[&origin]).frontend("rate_limits: [ { name: pair, rate: 1/h, burst: 2 } ]").start();
    let all: Vec<_> = (0..4).map(|_| exchange(site.address, GET)).collect();
    let mut expected = recorded("4 requests, 2 denied 429");
    let sum = |some: &[(i64, i64)]| some.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let (passed, all) = (sum(&all[..2]), sum(&all));
    for (row, counted) in &mut expected {
        let (sent, received) = if row == "FRONTEND" { all } else { passed };
        counted.insert("bin".into(), sent);
        counted.insert("bout".into(), received);
    }
    let same = eventually_or(PATIENCE, || (moved(&site, &["web1"]) == expected).then_some(()));
    assert!(same.is_some(), "HAProxy: {expected:#?}\nlockgate: {:#?}", moved(&site, &["web1"]));
}

#[test]
fn a_broken_request() {
    let origin = Origin::named("one");
    let site = Site::of(&[&origin]).start();
    let bytes = exchange(site.address, "GET / HTTP/1.1\r\nHo st: a\r\n\r\n");
    compare("bad request", &site, &["web1"], bytes);
}

#[test]
fn a_connection_without_a_request() {
    let origin = Origin::named("one");
    let site = Site::of(&[&origin]).start();
    TcpStream::connect(site.address).unwrap().shutdown(Shutdown::Both).unwrap();
    compare("connect+close", &site, &["web1"], (0, 0));
}

#[test]
fn refused_by_the_only_server() {
    let site =
        Site::new().server(ports::address(), "").defaults("timeouts: { connect: 50ms }").backend("retries: 3").start();
    let bytes = exchange(site.address, GET);
    compare("refused, 3 retries", &site, &["r1"], bytes);
}

#[test]
fn refused_and_redispatched() {
    let origin = Origin::named("ok");
    let site = Site::new().server(ports::address(), "").server(origin.addr(), "").backend("balance: first").start();
    let bytes = exchange(site.address, GET);
    compare("redispatch", &site, &["r1", "ok"], bytes);
}

#[test]
fn no_server() {
    let site = Site::new().server(ports::address(), "disabled: true").start();
    let bytes = exchange(site.address, GET);
    compare("no server (down)", &site, &["web1"], bytes);
}

#[test]
fn a_server_that_closes_early() {
    let origin = Origin::script(|conn| conn.request().map(drop));
    let site = Site::of(&[&origin]).backend("retry_on: []").start();
    let bytes = exchange(site.address, GET);
    compare("server closes early", &site, &["web1"], bytes);
}

#[test]
fn a_server_that_closes_mid_body() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
    });
    let site = Site::of(&[&origin]).start();
    let bytes = exchange(site.address, GET);
    compare("server closes mid body", &site, &["web1"], bytes);
}

#[test]
fn a_redirect() {
    let origin = Origin::named("one");
    let site =
        Site::of(&[&origin]).frontend("routes: [ { redirect: { to: \"https://b.example\", status: 302 } } ]").start();
    let bytes = exchange(site.address, GET);
    compare("redirect", &site, &["web1"], bytes);
}

#[test]
fn health_checks_count_nothing() {
    let origin = Origin::named("one");
    let site = Site::of(&[&origin]).backend("health_check: { interval: 50ms }").start();
    crate::support::until("ten checks", || origin.requests().len() >= 10);
    compare("1 s of checks only", &site, &["web1"], (0, 0));
}

#[test]
fn header_rules_that_fail_are_counted_where_the_request_has_been() {
    let long = "x".repeat(4000);
    let sent = long.clone();
    let origin = Origin::answering(move |_| Reply::ok("").field("X-Name", &sent));
    let twenty = "$0".repeat(20);
    let site = Site::of(&[&origin])
        .frontend("request_headers: [ { set: { Host: \"%[header(X-Host)]\" } } ]")
        .frontend(format!(
            "response_headers: [ {{ replace: {{ header: X-Name, pattern: \".+\", with: \"{twenty}\" }} }} ]"
        ))
        .start();
    let answer = site.ask("GET / HTTP/1.1\r\nHost: a.example\r\nX-Host: not a host\r\n\r\n");
    assert_eq!(answer.field("x-name"), Some(&*long), "the answer keeps what it had");
    assert_eq!(origin.requests()[0].field("host"), Some("a.example"), "and so does the request");
    crate::support::until("the request to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 1);
    let failed = |proxy: &str, name: &str| site.stat(proxy, name).number("wrew");
    assert_eq!((failed("fe", "FRONTEND"), failed("web", "BACKEND"), failed("web", "s1")), (2, 1, 1));
}

/// The server is one that the picture of the request's beginning does not have.
#[test]
fn header_rules_that_fail_are_counted_at_a_server_that_came_later() {
    let gate = Gate::new();
    let held = {
        let gate = gate.clone();
        Origin::answering(move |_| {
            gate.pass();
            Reply::ok("s1")
        })
    };
    let late = Origin::answering(|_| Reply::ok("late").field("X-Name", &"x".repeat(4000)));
    let twenty = "$0".repeat(20);
    let site = Site::new()
        .server(held.addr(), "maxconn: 1")
        .frontend(format!(
            "response_headers: [ {{ replace: {{ header: X-Name, pattern: \".+\", with: \"{twenty}\" }} }} ]"
        ))
        .start();
    let (mut first, mut second) = (site.client(), site.client());
    first.send(GET);
    crate::support::until("the first to be served", || held.requests().len() == 1);
    second.send(GET);
    crate::support::until("the second to wait", || site.stat("web", "BACKEND").number("qcur") == 1);
    site.admin(&format!("add server web/late {}", late.addr()));
    site.order("enable server web/late");
    assert_eq!(second.answer().text(), "late");
    gate.open(1);
    assert_eq!(first.answer().text(), "s1");
    crate::support::until("both to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 2);
    let failed = |proxy: &str, name: &str| site.stat(proxy, name).number("wrew");
    assert_eq!((failed("web", "late"), failed("web", "s1"), failed("web", "BACKEND")), (1, 0, 1));
}

#[test]
fn sockets_counted_one_by_one() {
    let origin = Origin::named("one");
    let (first, second) = (ports::address(), ports::address());
    let site = Site::of(&[&origin])
        .frontend(format!("bind: [ {{ address: \"{first}\", name: plain }}, \"{second}\" ]"))
        .frontend("socket_stats: true")
        .start();
    let (sent, received) = exchange(first, GET);
    exchange(second, "nonsense\r\n\r\n");
    crate::support::until("both to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 2);
    let (plain, other) = (site.stat("fe", "plain"), site.stat("fe", "sock-2"));
    let of = |row: &StatRow, columns: [&str; 5]| columns.map(|c| row.number(c));
    assert_eq!(of(&plain, ["stot", "bin", "bout", "ereq", "smax"]), [1, sent, received, 0, 1]);
    assert_eq!(of(&other, ["stot", "bin", "bout", "ereq", "smax"]), [1, 0, 0, 1, 1]);
    assert_eq!([plain.get("type"), plain.get("sid"), other.get("sid")], ["3", "1", "2"]);
    assert_eq!([plain.get("addr"), plain.get("proto"), plain.get("status")], [&first.to_string(), "tcpv4", "OPEN"]);
    let order: Vec<_> = site.stats().iter().map(|row| row.get("svname").to_owned()).collect();
    assert_eq!(order, ["FRONTEND", "plain", "sock-2", "s1", "BACKEND"]);
    assert_eq!(site.admin("show stat -1 8 2").lines().count(), 2, "a header and one row");
    site.order("clear counters all");
    assert_eq!(site.stat("fe", "plain").number("stot"), 0);
}

/// Every request is counted once at its frontend, its backend and one server, byte by byte, whoever looks on meanwhile.
///
/// `LOAD_REQUESTS` makes it more than the suite can afford.
#[test]
fn sums_are_exact_under_load() {
    const CLIENTS: i64 = 8;
    let wanted: i64 = std::env::var("LOAD_REQUESTS").map_or(40_000, |n| n.parse().expect("LOAD_REQUESTS is a number"));
    let each = wanted / CLIENTS;
    let origins: Vec<_> = (0..4).map(|n| Origin::answering(move |_| Reply::ok("x".repeat(n + 1)))).collect();
    let site = Site::of(&origins.iter().collect::<Vec<_>>()).global("threads", "2").start();
    let over = AtomicBool::new(false);
    let (polls, (sent, received)) = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut before = Vec::<i64>::new();
            let mut polls = 0;
            while !over.load(Ordering::Relaxed) {
                let seen = site.stats().iter().flat_map(|r| COUNTED.map(|c| r.number(c))).collect::<Vec<_>>();
                let fell = before.iter().zip(&seen).any(|(before, now)| now < before);
                assert!(!fell, "a counter went backwards: {before:?} then {seen:?}");
                before = seen;
                polls += 1;
                // Not a wait for anything: the pace of an exporter gone mad.
                std::thread::sleep(Duration::from_millis(20));
            }
            polls
        });
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| keep_asking(site.address, each))).collect();
        let ended: Vec<_> = clients.into_iter().map(|c| c.join()).collect();
        over.store(true, Ordering::Relaxed);
        let bytes = ended.into_iter().map(|c| c.expect("a client failed")).reduce(|a, b| (a.0 + b.0, a.1 + b.1));
        (poller.join().expect("the poller saw nothing wrong"), bytes.unwrap())
    });
    assert!(polls > 5, "{polls}");
    let all = CLIENTS * each;
    crate::support::until("the last request to be counted", || site.stat("fe", "FRONTEND").number("req_tot") >= all);
    let rows = site.stats();
    let row = |name: &str| rows.iter().find(|r| r.get("svname") == name).unwrap();
    let servers = |column: &str| (1..=4).map(|n| row(&format!("s{n}")).number(column)).sum::<i64>();
    for column in ["req_tot", "hrsp_2xx", "lbtot", "stot"] {
        assert_eq!((servers(column), row("BACKEND").number(column)), (all, all), "{column}");
    }
    for column in ["req_tot", "hrsp_2xx", "h1req"] {
        assert_eq!(row("FRONTEND").number(column), all, "{column}");
    }
    for column in ["stot", "conn_tot", "h1sess"] {
        assert_eq!(row("FRONTEND").number(column), CLIENTS, "{column}");
    }
    for (column, seen) in [("bin", sent), ("bout", received)] {
        let counted = [row("FRONTEND").number(column), row("BACKEND").number(column), servers(column)];
        assert_eq!(counted, [seen; 3], "{column}");
    }
    assert_eq!(servers("connect") + servers("reuse"), all, "each was sent on a new connection or on a kept one");
    println!("{all} requests, {polls} polls, {sent} bytes in, {received} bytes out");
}

/// Asks `n` times on one connection; the bytes sent and received. Answers are read by their length alone: that is quick.
fn keep_asking(to: SocketAddr, n: i64) -> (i64, i64) {
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut received, mut buffer) = (0, [0; 4096]);
    for _ in 0..n {
        tcp.write_all(ASK).unwrap();
        let mut filled = 0;
        loop {
            let more = tcp.read(&mut buffer[filled..]).unwrap();
            assert_ne!(more, 0, "the connection was closed");
            filled += more;
            let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&buffer[..end]).unwrap().to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200 "), "{head}");
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).expect("a length");
            if filled >= end + 4 + length.parse::<usize>().unwrap() {
                break;
            }
        }
        received += filled as i64;
    }
    (n * ASK.len() as i64, received)
}

/// What only ever grows.
const COUNTED: [&str; 12] =
    ["stot", "bin", "bout", "req_tot", "hrsp_2xx", "lbtot", "conn_tot", "connect", "reuse", "h1req", "smax", "chkfail"];
