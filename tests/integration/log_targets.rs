//! Where lines go: every kind of target, and targets that are gone or slow.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::httplog::Row;
use crate::support::logs::LogReceiver;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::{ports, until};

#[test]
fn a_unix_datagram_socket() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let logs = LogReceiver::unix(&site.path("log.sock"));
    let site = site.global("logs", format!("[ {{ target: \"{}\" }} ]", logs.target())).start();
    site.get("/unix");
    assert_eq!(logs.row_of("/unix").priority, Some(134));
}

#[test]
fn tcp_with_octet_counting() {
    let origin = Origin::named("s1");
    let logs = LogReceiver::tcp();
    let site = Site::of(&[&origin])
        .global("logs", format!("[ {{ target: \"{}\", facility: local3 }} ]", logs.target()))
        .start();
    for n in 0..50 {
        site.get(&format!("/tcp/{n}"));
    }
    assert_eq!(logs.row_of("/tcp/49").priority, Some(19 * 8 + 6));
    assert_eq!(logs.wait_rows(50).len(), 50);
}

#[test]
fn rfc_5424() {
    let origin = Origin::named("s1");
    let logs = LogReceiver::udp();
    let site = Site::of(&[&origin])
        .global(
            "logs",
            format!("[ {{ target: \"{}\", syslog: rfc5424, hostname: edge1, tag: lockgate }} ]", logs.target()),
        )
        .start();
    site.get("/new");
    let line = logs.line_with("GET /new HTTP/1.1");
    let words: Vec<&str> = line.splitn(8, ' ').collect();
    assert_eq!((words[0], words[2], words[3], words[5], words[6]), ("<134>1", "edge1", "lockgate", "-", "-"), "{line}");
    let stamp: jiff::Timestamp = words[1].parse().expect("an RFC 3339 time stamp");
    assert!(stamp.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_secs(60));
    assert_eq!(words[4], site.pid().to_string());
    assert_eq!(Row::parse(words[7]).expect("an httplog row behind the envelope").target(), "/new");
}

#[test]
fn json() {
    let origin = Origin::named("s1");
    let logs = LogReceiver::udp();
    let site = Site::of(&[&origin])
        .frontend("capture: { request: [ { header: User-Agent, max: 64 } ] }")
        .global("logs", format!("[ {{ target: \"{}\", syslog: raw, format: json }} ]", logs.target()))
        .start();
    let mut client = site.client();
    client.send(b"GET /j?q=\"x\"\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: q\"uo\\te\xff\r\n\r\n");
    let _ = client.answer();
    site.get("/plain");
    let line = logs.line_with("/plain");
    let row: serde_json::Value = serde_json::from_str(line.trim()).expect("one JSON object");
    let text = row.to_string();
    for needle in ["\"fe\"", "\"web\"", "\"s1\"", "200", "----", "/plain", "127.0.0.1"] {
        assert!(text.contains(needle), "{needle} is missing: {text}");
    }
    for line in logs.lines() {
        serde_json::from_str::<serde_json::Value>(line.trim()).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
}

#[test]
fn a_file_and_stdout() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = site.path("requests.log");
    let site = site
        .global("logs", format!("[ {{ target: \"file://{}\" }}, {{ target: stdout, format: json }} ]", file.display()))
        .start();
    site.get("/one");
    let rows = |text: &str| text.lines().filter_map(Row::parse).count();
    until("the row in the file", || rows(&std::fs::read_to_string(&file).unwrap_or_default()) == 1);
    until("the row on stdout", || site.output().lines().any(|line| line.starts_with('{') && line.contains("/one")));

    // logrotate: the file is moved away, SIGUSR1 opens a new one.
    let moved = file.with_extension("1");
    std::fs::rename(&file, &moved).unwrap();
    site.signal(nix::sys::signal::Signal::SIGUSR1);
    until("the new file", || file.exists());
    site.get("/two");
    until("the row in the new file", || std::fs::read_to_string(&file).unwrap().contains("/two"));
    assert!(!std::fs::read_to_string(&moved).unwrap().contains("/two"));
}

#[test]
fn several_targets_with_levels() {
    let origin = Origin::named("s1");
    let (all, alerts) = (LogReceiver::udp(), LogReceiver::udp());
    let site = Site::of(&[&origin])
        .global(
            "logs",
            format!("[ {{ target: \"{}\" }}, {{ target: \"{}\", level: alert }} ]", all.target(), alerts.target()),
        )
        .start();
    site.get("/info");
    site.order("set server web/s1 state maint");
    all.row_of("/info");
    all.line_with("going DOWN for maintenance");
    alerts.line_with("going DOWN for maintenance");
    assert_eq!(alerts.rows().len(), 0);
}

#[test]
fn nobody_listens() {
    let origin = Origin::named("s1");
    let gone = ports::address();
    for target in [format!("udp://{gone}"), format!("tcp://{gone}"), "unix:///nonexistent/log".to_owned()] {
        let site = Site::of(&[&origin]).global("logs", format!("[ {{ target: \"{target}\" }} ]")).start();
        let started = Instant::now();
        let mut client = site.client();
        for n in 0..500 {
            assert_eq!(client.get(&format!("/{n}")).status(), 200);
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{target} slowed requests down");
        // A closed port says so; lines to the other two are held for a while.
        if target.starts_with("udp") {
            until(&format!("lost lines to {target} to be counted"), || {
                site.info("DroppedLogs").parse::<u64>().unwrap() > 0
            });
        }
    }
}

#[test]
fn a_receiver_that_does_not_read_blocks_nothing() {
    let origin = Origin::named("s1");
    let listener = TcpListener::bind(ports::address()).unwrap();
    let target = listener.local_addr().unwrap();
    let site = Site::of(&[&origin]).global("logs", format!("[ {{ target: \"tcp://{target}\" }} ]")).start();
    let (stalled, _) = listener.accept().unwrap();
    let mut client = site.client();
    let padding = "p".repeat(4000);
    let started = Instant::now();
    // About 40 MB of lines: more than sockets and the backlog hold.
    for n in 0..10_000 {
        assert_eq!(client.get(&format!("/{n}/{padding}")).status(), 200);
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    until("lost lines to be counted", || site.info("DroppedLogs").parse::<u64>().unwrap() > 0);
    assert!(site.memory_kib("VmRSS") < 60 * 1024, "{} KiB", site.memory_kib("VmRSS"));

    // When it reads again, the lines go on and the loss is told.
    let mut stalled = stalled;
    stalled.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut seen, mut chunk) = (String::new(), vec![0u8; 1 << 20]);
    until("word of the lost lines", || {
        site.get("/tick");
        if let Ok(n) = stalled.read(&mut chunk) {
            seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
            let keep = seen.len().saturating_sub(100_000);
            seen = seen.chars().skip(keep).collect();
        }
        seen.contains("log lines were lost")
    });
}

#[test]
fn a_receiver_that_comes_back_is_found_again() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let path = site.path("log.sock");
    let first = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    first.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let site = site.global("logs", format!("[ {{ target: \"unix://{}\" }} ]", path.display())).start();
    site.get("/before");
    let mut line = [0u8; 8192];
    while !String::from_utf8_lossy(&line).contains("/before") {
        first.recv(&mut line).unwrap();
    }
    drop(first);
    std::fs::remove_file(&path).unwrap();
    site.get("/between");
    let second = LogReceiver::unix(&path);
    second.row_of("/between");
    site.get("/after");
    second.row_of("/after");
}
