//! The admin socket as scripts and tools use it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::origin::Origin;
use crate::support::proxy::exchange;
use crate::support::site::Site;
use crate::support::{ports, until};

fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let (mut text, mut byte) = (String::new(), [0u8; 1]);
    while !text.ends_with(end) {
        stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("{e} after {text:?}"));
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn what_every_tool_reads() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("node", "edge-7").start();
    let info = site.admin("show info");
    for line in ["Name: HAProxy", "node: edge-7", "Nbproc: 1", "Process_num: 1", &format!("Pid: {}", site.pid())] {
        assert!(info.lines().any(|l| l == line), "{line} is missing:\n{info}");
    }
    let version = site.info("Version");
    let mut numbers = version.split('.');
    assert!(
        numbers.next().unwrap().parse::<u32>().is_ok() && numbers.next().unwrap().parse::<u32>().is_ok(),
        "{version}"
    );
    for line in info.lines().take_while(|line| !line.starts_with("Uptime_sec")) {
        assert_eq!(line.matches(':').count(), 1, "{line}");
    }
    let stats = site.admin("show stat");
    assert!(stats.starts_with("# pxname,svname,"));
    assert!(stats.lines().filter(|l| !l.is_empty()).all(|line| line.ends_with(',')));
    let rows: Vec<(String, String)> =
        site.stats().iter().map(|r| (r.get("pxname").to_owned(), r.get("svname").to_owned())).collect();
    let expected = [("fe", "FRONTEND"), ("web", "s1"), ("web", "BACKEND")];
    assert_eq!(rows, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(site.admin("show backend").trim(), "# name\nweb");
}

#[test]
fn replies_end_with_an_empty_line_and_the_connection_closes() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let ask = |line: &str| exchange(site.admin_socket(), line).unwrap();
    assert_eq!(ask("set server web/s1 state ready\n"), "\n");
    assert!(ask("show info\n").ends_with("\n\n"));
    assert!(ask("show info\r\n").ends_with("\n\n"));
    assert_eq!(
        ask("set server web/s1 state sideways\n"),
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n"
    );
    assert_eq!(ask("set server web/nope state ready\n"), "No such server.\n\n");
    assert_eq!(ask("set server nope/s1 state ready\n"), "No such backend.\n\n");
    assert_eq!(ask("set server web state ready\n"), "Require 'backend/server'.\n\n");
    assert!(ask("frobnicate\n").starts_with("Unknown command: 'frobnicate'"));
    let mut unfinished = UnixStream::connect(site.admin_socket()).unwrap();
    unfinished.write_all(b"set server web/s1 state maint").unwrap();
    unfinished.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    unfinished.read_to_string(&mut reply).unwrap();
    assert_eq!((reply.as_str(), site.status("s1").as_str()), ("", "no check"), "a line without its end is no command");
}

#[test]
fn several_commands_on_a_line() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let reply = exchange(site.admin_socket(), "set weight web/s1 7; get weight web/s1;show version\n").unwrap();
    let blocks: Vec<&str> = reply.split("\n\n").collect();
    assert_eq!(blocks.len(), 3, "{reply:?}");
    assert_eq!(blocks[0], "\n7 (initial 1)");
    assert_eq!(blocks[1], site.info("Version"));
}

#[test]
fn the_prompt() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let dir = site.path("admin.sock");
    let running = site.start();
    let mut stream = UnixStream::connect(dir).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"prompt\n").unwrap();
    assert_eq!(read_until(&mut stream, "> "), "\n> ");
    stream.write_all(b"show version\n").unwrap();
    assert!(read_until(&mut stream, "\n\n> ").ends_with("\n\n> "));
    stream.write_all(b"set server web/s1 state ready\n").unwrap();
    assert_eq!(read_until(&mut stream, "> "), "\n> ");
    stream.write_all(b"set timeout cli 60\n").unwrap();
    assert_eq!(read_until(&mut stream, "> "), "\n> ");
    stream.write_all(b"quit\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    drop(running);
}

#[test]
fn levels() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let paths = ["user", "operator", "admin"].map(|level| site.path(&format!("level-{level}.sock")));
    let sockets: String = paths
        .iter()
        .zip(["user", "operator", "admin"])
        .map(|(path, level)| format!("{{ socket: {}, level: {level} }}, ", path.display()))
        .collect();
    let default = site.path("admin.sock");
    let site = site.global("admin", format!("[ {sockets} {{ socket: {} }} ]", default.display())).start();
    let denied =
        |path: &std::path::Path, line: &str| exchange(path, &format!("{line}\n")).unwrap() == "Permission denied\n\n";
    for (command, needed) in [
        ("show info", 0),
        ("show stat", 0),
        ("get weight web/s1", 0),
        ("show sess", 1),
        ("show errors", 1),
        ("clear counters", 1),
        ("set server web/s1 state ready", 2),
        ("set weight web/s1 1", 2),
        ("disable server web/s1; enable server web/s1", 2),
        ("shutdown sessions server web/s1", 2),
        ("clear counters all", 2),
        ("set backend web maintenance off", 2),
    ] {
        for (level, path) in paths.iter().enumerate() {
            let reply_denied = exchange(path, &format!("{command}\n")).unwrap().starts_with("Permission denied");
            assert_eq!(reply_denied, level < needed, "{command} at level {level}");
        }
    }
    assert!(denied(&default, "set server web/s1 state ready"), "operator is the default");
    // A connection may lower its level, never raise it.
    let reply = exchange(&paths[2], "user; set weight web/s1 2; show cli level\n").unwrap();
    assert_eq!(reply, "\nPermission denied\n\nuser\n\n");
    assert_eq!(site.stat("web", "s1").number("weight"), 1);
}

#[test]
fn the_socket_file() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let path = site.path("admin.sock");
    // What a crashed process left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let group = nix::unistd::Gid::effective();
    let mut site = site
        .global(
            "admin",
            format!("[ {{ socket: {}, level: admin, mode: \"640\", group: \"{group}\" }} ]", path.display()),
        )
        .start();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.gid()), (0o640, group.as_raw()));
    site.signal(nix::sys::signal::Signal::SIGTERM);
    site.wait_exit();
    assert!(!path.exists(), "the socket file is removed at the end");
}

#[test]
fn tcp_on_loopback() {
    let origin = Origin::named("s1");
    let address = ports::address();
    let site = Site::of(&[&origin]);
    let admin = site.path("admin.sock");
    let _site = site
        .global(
            "admin",
            format!("[ {{ socket: {}, level: admin }}, {{ bind: \"{address}\", level: user }} ]", admin.display()),
        )
        .start();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"show version\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("\n\n"), "{reply:?}");
}

#[test]
fn garbage_hurts_nobody() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    for bytes in
        [vec![0u8; 1000], vec![0xff; 40_000], b"\\".repeat(100_000), b";".repeat(100_000), vec![b'a'; 10_000_000]]
    {
        let mut stream = UnixStream::connect(site.admin_socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may be cut off while it still sends.
        let _ = stream.write_all(&bytes);
        let _ = stream.write_all(b"\n");
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
        assert_eq!(site.status("s1"), "no check", "still answers after {} bytes of {:?}", bytes.len(), bytes[0]);
    }
    assert!(site.memory_kib("VmRSS") < 60 * 1024);
}

#[test]
fn connections_are_limited_and_idle_ones_end() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let path = site.path("admin.sock");
    let site = site
        .global("admin", format!("[ {{ socket: {}, level: admin, timeout: 1s, maxconn: 3 }} ]", path.display()))
        .start();
    let idle: Vec<UnixStream> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let started = Instant::now();
    assert!(site.admin("show version").len() > 3, "it waits for a place");
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    drop(idle);
}

#[test]
fn sessions_are_shown_and_ended() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    let sessions = site.admin("show sess");
    let line =
        sessions.lines().find(|l| l.contains("fe=fe") && l.contains("be=web")).unwrap_or_else(|| panic!("{sessions}"));
    assert!(line.contains(&format!("src={}", client.local_addr())) && line.contains("srv=s1"), "{line}");
    let id = line.split(':').next().unwrap();
    assert!(site.admin(&format!("show sess {id}")).contains(id));
    site.order(&format!("shutdown session {id}"));
    let _ = client.wire.take_rest();
    until("the session to be gone", || !site.admin("show sess").contains(id));
    assert_eq!(site.admin("shutdown session 0xdead").trim(), "No such session (use 'show sess').");
}

#[test]
fn counters_are_cleared() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    site.get("/");
    site.logs.row_of("/");
    until("the request to be over", || {
        let server = site.stat("web", "s1");
        (server.number("stot"), server.number("scur")) == (1, 0)
    });
    site.order("clear counters");
    assert_eq!(site.stat("web", "s1").number("stot"), 1, "only maxima");
    assert_eq!(site.stat("web", "s1").number("smax"), 0);
    site.order("clear counters all");
    assert_eq!((site.stat("web", "s1").number("stot"), site.stat("fe", "FRONTEND").number("req_tot")), (0, 0));
}

#[test]
fn a_dump_is_read_slowly_while_others_go_on() {
    let origin = Origin::named("s1");
    let servers: String = (0..2000).map(|n| format!("    extra{n}: 127.0.0.1:9\n")).collect();
    let setup = Site::of(&[&origin]).more("backends", format!("many:\n  health_check: off\n  servers:\n{servers}"));
    let site = setup.start();
    let mut slow = UnixStream::connect(site.admin_socket()).unwrap();
    slow.write_all(b"show stat; show stat; show stat; show stat\n").unwrap();
    for _ in 0..20 {
        assert_eq!(site.stats().len(), 2000 + 1 + 3);
    }
    assert_eq!(site.get("/").status(), 200);
}
