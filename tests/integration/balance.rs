//! Who gets the next request.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{ports, until};

fn three() -> [Origin; 3] {
    ["s1", "s2", "s3"].map(Origin::named)
}

fn counts(names: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn roundrobin_takes_turns() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: roundrobin").start();
    assert_eq!(site.served_by(9), ["s1", "s2", "s3"].repeat(3));
    // The order is the backend's, not a connection's.
    let singly: Vec<String> = (0..6).map(|_| site.get("/").text()).collect();
    assert_eq!(singly, ["s1", "s2", "s3"].repeat(2));
}

#[test]
fn roundrobin_is_exact_over_several_workers() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).global("threads", "3").backend("balance: roundrobin").start();
    let singly: Vec<String> = (0..30).map(|_| site.get("/").text()).collect();
    assert_eq!(singly, ["s1", "s2", "s3"].repeat(10));
}

#[test]
fn roundrobin_spreads_weights_smoothly() {
    let [a, b, c] = three();
    let site = Site::new()
        .server(a.addr(), "weight: 4")
        .server(b.addr(), "weight: 2")
        .server(c.addr(), "weight: 1")
        .backend("balance: roundrobin")
        .start();
    let names = site.served_by(70);
    assert_eq!(counts(&names), BTreeMap::from([("s1", 40), ("s2", 20), ("s3", 10)]));
    for turn in names.chunks(7) {
        assert_eq!(counts(turn), BTreeMap::from([("s1", 4), ("s2", 2), ("s3", 1)]), "{names:?}");
    }
    assert!(!names.windows(2).any(|pair| pair == ["s2", "s2"]), "{names:?}");
    assert!(!names.windows(3).any(|three| three == ["s1", "s1", "s1"]), "{names:?}");
}

#[test]
fn weights_change_while_running() {
    let [a, b, c] = three();
    let site = Site::new()
        .server(a.addr(), "weight: 10")
        .server(b.addr(), "weight: 10")
        .server(c.addr(), "weight: 10")
        .backend("balance: roundrobin")
        .start();
    site.order("set weight web/s1 0");
    assert_eq!(site.admin("get weight web/s1").trim(), "0 (initial 10)");
    assert_eq!(counts(&site.served_by(20)), BTreeMap::from([("s2", 10), ("s3", 10)]));
    assert_eq!(site.status("s1"), "no check", "weight 0 is no state");
    site.order("set weight web/s1 50%");
    assert_eq!(counts(&site.served_by(25)), BTreeMap::from([("s1", 5), ("s2", 10), ("s3", 10)]));
    site.order("set server web/s1 weight 256");
    assert_eq!(site.stat("web", "s1").number("weight"), 256);
    assert_eq!(counts(&site.served_by(276))["s1"], 256);
    assert_eq!(site.admin("set weight web/s1 257").trim(), "Absolute weight can only be between 0 and 256 inclusive.");
}

/// Servers that hold every request to `/hold` until the gate opens.
fn holding(name: &'static str, gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::answering(move |request| {
        if request.target() == "/hold" {
            gate.pass();
        }
        Reply::ok(name)
    })
}

fn hold(site: &Running, held: &mut Vec<RawClient>, origins: &[&Origin]) {
    let before: usize = origins.iter().map(|o| o.requests().len()).sum();
    let mut client = site.client();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    held.push(client);
    until("the request to reach a server", || origins.iter().map(|o| o.requests().len()).sum::<usize>() > before);
}

#[test]
fn leastconn_prefers_the_idle() {
    let gate = Gate::new();
    let [a, b, c] = ["s1", "s2", "s3"].map(|name| holding(name, &gate));
    let site = Site::of(&[&a, &b, &c]).backend("balance: leastconn").start();
    let mut held = Vec::new();
    for _ in 0..3 {
        hold(&site, &mut held, &[&a, &b, &c]);
    }
    assert_eq!([&a, &b, &c].map(|o| o.requests().len()), [1, 1, 1], "one each");
    hold(&site, &mut held, &[&a, &b, &c]);
    hold(&site, &mut held, &[&a, &b, &c]);
    // Two servers hold two requests now: everything else goes to the third.
    let idle = [("s1", &a), ("s2", &b), ("s3", &c)].into_iter().find(|(_, o)| o.requests().len() == 1).unwrap().0;
    for _ in 0..6 {
        assert_eq!(site.get("/").text(), idle);
    }
    gate.open_for_good();
    for client in &mut held {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn leastconn_weighs() {
    let gate = Gate::new();
    let [a, b] = ["s1", "s2"].map(|name| holding(name, &gate));
    let site =
        Site::new().server(a.addr(), "weight: 3").server(b.addr(), "weight: 1").backend("balance: leastconn").start();
    let mut held = Vec::new();
    for _ in 0..8 {
        hold(&site, &mut held, &[&a, &b]);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (6, 2));
    gate.open_for_good();
}

#[test]
fn leastconn_spreads_idle_servers() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: leastconn").start();
    assert_eq!(counts(&site.served_by(30)).len(), 3, "ties take turns");
}

#[test]
fn random_uses_all_and_first_uses_one() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: random").start();
    assert_eq!(counts(&site.served_by(60)).len(), 3);

    let gate = Gate::new();
    let [a, b] = ["s1", "s2"].map(|name| holding(name, &gate));
    let site =
        Site::new().server(a.addr(), "maxconn: 1").server(b.addr(), "maxconn: 1").backend("balance: first").start();
    assert_eq!(counts(&site.served_by(10)), BTreeMap::from([("s1", 10)]));
    let mut held = Vec::new();
    hold(&site, &mut held, &[&a, &b]);
    assert_eq!(site.get("/").text(), "s2", "the first is full");
    gate.open_for_good();
}

#[test]
fn source_sticks_to_the_clients_address() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: source").start();
    let mut seen = BTreeSet::new();
    for last in 1..30u8 {
        let served: BTreeSet<String> =
            (0..3).map(|_| RawClient::connect_from([127, 0, 1, last], site.address).get("/").text()).collect();
        assert_eq!(served.len(), 1, "127.0.1.{last} was given to {served:?}");
        seen.extend(served);
    }
    assert_eq!(seen.len(), 3, "some address goes to each");
}

#[test]
fn uri_sticks_to_the_path_and_moves_few() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: uri").start();
    let place = |client: &mut RawClient| -> Vec<String> {
        (0..90).map(|n| client.get(&format!("/page/{n}?ignored={}", fastrand::u32(..))).text()).collect()
    };
    let mut client = site.client();
    let before = place(&mut client);
    assert_eq!(before, place(&mut client));
    assert!(counts(&before).values().all(|&n| n >= 15), "{:?}", counts(&before));

    site.order("set server web/s2 state maint");
    for (old, new) in before.iter().zip(place(&mut client)) {
        assert!(*old == new || old == "s2", "a path of {old} moved to {new}");
        assert_ne!(new, "s2");
    }
    site.order("set server web/s2 state ready");
    assert_eq!(before, place(&mut client), "everything is back where it was");
}

#[test]
fn header_sticks_to_a_field() {
    let [a, b, c] = three();
    let site = Site::of(&[&a, &b, &c]).backend("balance: header(X-User)").start();
    let mut client = site.client();
    let mut ask = |user: &str| client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n")).text();
    let users: Vec<String> = (0..60).map(|n| format!("user{n}")).collect();
    let first: Vec<String> = users.iter().map(|u| ask(u)).collect();
    let second: Vec<String> = users.iter().map(|u| ask(u)).collect();
    assert_eq!(first, second);
    assert_eq!(counts(&first).len(), 3);
    assert_eq!(counts(&site.served_by(9)).len(), 3, "without the field they take turns");
}

#[test]
fn backups_serve_when_nobody_else_can() {
    let [a, b, c] = three();
    let site =
        Site::new().server(a.addr(), "").server(b.addr(), "backup: true").server(c.addr(), "backup: true").start();
    assert_eq!(counts(&site.served_by(6)), BTreeMap::from([("s1", 6)]));
    site.order("set server web/s1 state maint");
    assert_eq!(counts(&site.served_by(6)), BTreeMap::from([("s2", 6)]), "the first backup alone");
    site.order("set server web/s2 state maint");
    assert_eq!(counts(&site.served_by(6)), BTreeMap::from([("s3", 6)]));
    site.order("set server web/s1 state ready");
    assert_eq!(counts(&site.served_by(6)), BTreeMap::from([("s1", 6)]));
    assert_eq!((site.stat("web", "s1").number("act"), site.stat("web", "s2").number("bck")), (1, 1));
}

#[test]
fn a_source_address_may_be_chosen() {
    let peers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&peers);
    let origin = Origin::script(move |conn| {
        noted.lock().unwrap().push(conn.wire.transport().tcp().unwrap().peer_addr()?.ip().to_string());
        if conn.request()?.is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).backend("source: [ 127.0.0.11, 127.0.0.12 ]").start();
    for _ in 0..4 {
        assert_eq!(site.get("/").status(), 200);
    }
    let used: BTreeSet<String> = peers.lock().unwrap().iter().cloned().collect();
    assert_eq!(used, BTreeSet::from(["127.0.0.11".to_owned(), "127.0.0.12".to_owned()]));
}

#[test]
fn a_server_can_move_while_running() {
    let [a, b, _] = three();
    let site = Site::of(&[&a]).start();
    assert_eq!(site.get("/").text(), "s1");
    let (from, to) = (a.addr().port(), b.addr().port());
    assert_eq!(
        site.admin(&format!("set server web/s1 addr 127.0.0.1 port {to}")).trim(),
        format!("no need to change the addr, port changed from '{from}' to '{to}' by 'stats socket command'.")
            .trim_end_matches('.'),
    );
    assert_eq!(site.get("/").text(), "s2");
    assert_eq!(site.stat("web", "s1").get("addr"), format!("127.0.0.1:{to}"));
}

#[test]
fn a_server_may_be_a_name_or_a_unix_socket() {
    let origin = Origin::named("s1");
    let port = origin.addr().port();
    let site = Site::new()
        .frontend("routes: [ { backend: named } ]")
        .more("backends", format!("named:\n  health_check: off\n  servers: {{ s1: \"localhost:{port}\" }}"))
        .start();
    until("the name to be resolved", || site.get("/").status() == 200);
    assert_eq!(site.stat("named", "s1").get("addr"), format!("127.0.0.1:{port}"));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut wire = crate::support::wire::Wire::new(crate::support::wire::Transport::Unix(stream));
            while let Ok(Some(_)) = crate::support::message::Message::read_head(&mut wire) {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
            }
        }
    });
    let site = Site::new()
        .frontend("routes: [ { backend: local } ]")
        .more("backends", format!("local:\n  health_check: off\n  servers: {{ s1: \"unix:{}\" }}", path.display()))
        .start();
    assert_eq!(site.get("/").text(), "unix");
}

#[test]
fn reserved_ports_differ() {
    let ports: BTreeSet<u16> = (0..50).map(|_| ports::reserve()).collect();
    assert_eq!(ports.len(), 50);
}
