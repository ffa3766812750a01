//! What sessions share with requests: servers, places, limits, states, counters, orders. And how they end.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::peer::{Peer, reset};
use super::{Tcp, folder};
use crate::support::{PATIENCE, holds_for, ports, until};

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn say(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(line.as_bytes()).unwrap();
    let mut got = [0; 1024];
    let n = stream.read(&mut got).unwrap();
    String::from_utf8_lossy(&got[..n]).into_owned()
}

fn rest(mut stream: TcpStream) -> std::io::Result<String> {
    let mut all = String::new();
    stream.read_to_string(&mut all).map(|_| all)
}

/// One frontend `fe` and one backend `web`.
fn site(peers: &[&Peer], frontend: &str, backend: &str) -> (Tcp, SocketAddr) {
    let address = ports::address();
    let servers: Vec<_> =
        peers.iter().enumerate().map(|(n, p)| format!("s{}: {{ address: \"{}\" }}", n + 1, p.addr())).collect();
    let sections = format!(
        "defaults: {{ health_check: off }}\nfrontends:\n  fe: {{ mode: tcp, bind: \"{address}\", {frontend} routes: [ {{ backend: web }} ] }}\nbackends:\n  web: {{ mode: tcp, {backend} servers: {{ {} }} }}\n",
        servers.join(", ")
    );
    (Tcp::start(folder(), &sections), address)
}

#[test]
fn each_side_may_end_before_the_other() {
    let peer = Peer::new();
    let (tcp, address) = site(&[&peer], "", "");
    let mut client = connect(address);
    assert_eq!(say(&mut client, "one\n"), "echo one\n");
    client.write_all(b"two\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client).unwrap(), "echo two\nbye\n");
    let mut client = connect(address);
    assert_eq!(say(&mut client, "half\n"), "half\n");
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the server has ended");
    // What is sent now still arrives: the server is alone in having ended.
    until("a session that is open one way", || peer.open() == 1);
    client.write_all(b"unheard\n").unwrap();
    holds_for(std::time::Duration::from_millis(100), "the session is open", || peer.open() == 1);
    drop(client);
    until("both to have ended", || peer.open() == 0);
    let flags: Vec<_> = tcp.rows("fe", 2).into_iter().map(|row| row.flags).collect();
    assert_eq!(flags[0], "--");
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let peer = Peer::new();
    let (tcp, address) = site(&[&peer], "", "");
    let mut client = connect(address);
    client.write_all(b"rst\n").unwrap();
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut client = connect(address);
    say(&mut client, "a\n");
    reset(client);
    until("the server to hear of it", || peer.open() == 0);
    let flags: Vec<_> = tcp.rows("fe", 2).into_iter().map(|row| row.flags).collect();
    assert_eq!(flags, ["SD", "CD"]);
    let (server, backend) = (tcp.proxy.stat("web", "s1"), tcp.proxy.stat("web", "BACKEND"));
    for row in [server, backend] {
        assert_eq!(["cli_abrt", "srv_abrt", "eresp", "econ"].map(|c| row.get(c).to_owned()), ["1", "1", "1", "0"]);
    }
}

#[test]
fn rows_are_those_of_tcp_mode() {
    let peer = Peer::new();
    let (tcp, address) = site(&[&peer], "socket_stats: true,", "");
    let mut client = connect(address);
    assert_eq!(say(&mut client, "hello\n"), "echo hello\n");
    // Counted while it runs: bytes after a second at the latest, places at once.
    assert_eq!(tcp.proxy.stat("web", "s1").get("scur"), "1");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client).unwrap(), "bye\n");
    tcp.rows("fe", 1);
    for (proxy, name) in [("fe", "FRONTEND"), ("fe", "sock-1"), ("web", "s1"), ("web", "BACKEND")] {
        let row = tcp.proxy.stat(proxy, name);
        assert_eq!((row.get("mode"), row.get("stot")), ("tcp", "1"), "{name}");
        assert_eq!((row.get("bin"), row.get("bout")), ("6", "15"), "{name}");
        let empty =
            ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other", "intercepted", "cache_hits"];
        assert!(empty.iter().all(|column| row.get(column).is_empty()), "{name}");
    }
    let frontend = tcp.proxy.stat("fe", "FRONTEND");
    assert_eq!(
        ["req_tot", "req_rate", "sess_other", "h1sess"].map(|c| frontend.get(c).to_owned()),
        ["0", "0", "1", "0"]
    );
    let server = tcp.proxy.stat("web", "s1");
    assert_eq!(["req_tot", "lbtot", "connect", "reuse"].map(|c| server.get(c).to_owned()), ["", "1", "1", "0"]);
}

#[test]
fn show_sess_tells_of_sessions_and_shutdown_ends_one() {
    let peer = Peer::new();
    let (tcp, address) = site(&[&peer], "", "");
    let mut client = connect(address);
    say(&mut client, "a\n");
    let list = tcp.proxy.admin("show sess");
    let line = list.lines().find(|l| l.contains("fe=fe ")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains(" be=web srv=s1 "), "{line}");
    let full = tcp.proxy.admin("show sess all");
    assert!(full.contains("frontend=fe (id=2 mode=tcp)") && full.contains("backend=web (id=3 mode=tcp)"), "{full}");
    assert!(full.contains("mux=PASS") && !full.contains("txn="), "{full}");
    let id = line.split(':').next().unwrap();
    tcp.proxy.order(&format!("shutdown session {id}"));
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(tcp.rows("fe", 1)[0].flags, "K-");
    until("the server to hear of it", || peer.open() == 0);
}

#[test]
fn a_drained_server_keeps_its_sessions_and_gets_no_new_ones() {
    let (one, two) = (Peer::new(), Peer::new());
    let (tcp, address) = site(&[&one, &two], "", "balance: leastconn,");
    let mut clients: Vec<_> = (0..2).map(|_| connect(address)).collect();
    for client in &mut clients {
        say(client, "a\n");
    }
    assert_eq!((one.open(), two.open()), (1, 1), "leastconn counts open sessions");
    tcp.proxy.order("set server web/s1 state drain");
    let mut more: Vec<_> = (0..3).map(|_| connect(address)).collect();
    for client in clients.iter_mut().chain(&mut more) {
        assert_eq!(say(client, "b\n"), "echo b\n");
    }
    assert_eq!((one.open(), two.open()), (1, 4));
    drop((clients, more));
    until("s1 to be empty", || tcp.proxy.stat("web", "s1").get("scur") == "0");
}

#[test]
fn sessions_of_one_client_stay_with_one_server_by_source() {
    let (one, two) = (Peer::new(), Peer::new());
    let (_tcp, address) = site(&[&one, &two], "", "balance: source,");
    for last in 1..=20 {
        let before = (one.seen(), two.seen());
        for _ in 0..2 {
            let mut client = crate::support::client::RawClient::connect_from([127, 0, 0, last], address);
            client.send("close\n");
            client.wire.take_rest().unwrap();
        }
        let after = (one.seen(), two.seen());
        assert!(after == (before.0 + 2, before.1) || after == (before.0, before.1 + 2), "127.0.0.{last}");
    }
    assert!(one.seen() > 0 && two.seen() > 0);
}

#[test]
fn limits_close_and_count() {
    let peer = Peer::new();
    let limit = "rate_limits: [ { name: clients, concurrent: 2 } ],";
    let (tcp, address) = site(&[&peer], limit, "");
    let mut two: Vec<_> = (0..2).map(|_| connect(address)).collect();
    for client in &mut two {
        say(client, "a\n");
    }
    assert_eq!(rest(connect(address)).unwrap_or_default(), "");
    let row = tcp.rows("fe", 1)[0].clone();
    assert_eq!((&*row.to, &*row.flags), ("fe/<NOSRV>", "PR"));
    assert_eq!(tcp.proxy.stat("fe", "FRONTEND").get("dreq"), "1");
    drop(two.pop());
    until("a place to be free", || say_or_closed(address));
}

fn say_or_closed(address: SocketAddr) -> bool {
    let mut client = connect(address);
    let mut got = [0; 8];
    client.write_all(b"x\n").is_ok() && client.read(&mut got).is_ok_and(|n| n > 0)
}

#[test]
fn nothing_is_logged_of_clients_that_say_nothing_unless_asked() {
    let peer = Peer::new();
    let (tcp, address) = site(&[&peer], "", "");
    drop(connect(address));
    until("the silent one to be over", || tcp.proxy.stat("fe", "FRONTEND").get("scur") == "0" && peer.open() == 0);
    let mut client = connect(address);
    client.write_all(b"close\n").unwrap();
    rest(client).unwrap();
    assert_eq!(tcp.rows("fe", 1)[0].bytes, 8);
}

#[test]
fn a_server_that_dies_in_mid_stream_takes_only_its_own_sessions() {
    let (one, two) = (Peer::new(), Peer::new());
    let (tcp, address) = site(&[&one, &two], "", "");
    let (mut first, mut second) = (connect(address), connect(address));
    say(&mut first, "a\n");
    say(&mut second, "a\n");
    first.write_all(b"datarst\n").unwrap();
    let mut got = Vec::new();
    let error = first.read_to_end(&mut got).unwrap_err();
    assert_eq!((got.len(), error.kind()), (1000, std::io::ErrorKind::ConnectionReset));
    assert_eq!(say(&mut second, "still here\n"), "echo still here\n");
    assert_eq!(tcp.rows("fe", 1)[0].flags, "SD");
}

#[test]
fn sessions_over_unix_sockets_and_a_stop_that_waits() {
    let peer = Peer::new();
    let dir = folder();
    let path = dir.path().join("fe.sock");
    let sections = format!(
        "defaults: {{ health_check: off }}\nfrontends:\n  fe: {{ mode: tcp, bind: \"unix:{}\", routes: [ {{ backend: web }} ] }}\nbackends:\n  web: {{ mode: tcp, servers: {{ s: \"{}\" }} }}\n",
        path.display(),
        peer.addr()
    );
    let mut tcp = Tcp::start(dir, &sections);
    let mut client = crate::support::client::RawClient::connect_unix(&path);
    client.send("a\n");
    assert_eq!(client.wire.take(7).unwrap(), b"echo a\n");
    tcp.proxy.signal(nix::sys::signal::Signal::SIGTERM);
    tcp.logs.line_with("is stopping");
    // Whoever is in finishes first.
    client.send("b\n");
    assert_eq!(client.wire.take(7).unwrap(), b"echo b\n");
    client.wire.half_close();
    assert_eq!(client.wire.take_rest().unwrap(), b"bye\n");
    assert!(tcp.proxy.wait_exit().success());
}
