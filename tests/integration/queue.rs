//! Requests that wait for a server: fairly, not for ever, and not for clients that left.

use std::time::Duration;

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::until;

/// A server that holds each request until the gate lets one more through.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::answering(move |request| {
        gate.pass();
        Reply::ok(request.target())
    })
}

fn waiting(site: &Running) -> i64 {
    site.stat("web", "BACKEND").number("qcur")
}

/// Sends requests one after the other, each when the one before is seen to wait (or, the first, to be served).
fn line_up(site: &Running, origin: &Origin, n: i64) -> Vec<RawClient> {
    (0..n)
        .map(|i| {
            let mut client = site.client();
            client.send(format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
            until("the request to be served or to wait", || !origin.requests().is_empty() && waiting(site) == i);
            client
        })
        .collect()
}

#[test]
fn first_come_first_served() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").start();
    let mut clients = line_up(&site, &origin, 6);
    assert_eq!(origin.requests().len(), 1, "maxconn is kept");
    assert_eq!(site.stat("web", "s1").number("scur"), 1);
    for (i, client) in clients.iter_mut().enumerate() {
        gate.open(1);
        assert_eq!(client.answer().text(), format!("/{i}"));
    }
    let order: Vec<String> = origin.requests().iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    let row = site.logs.row_of("/1");
    assert_eq!((row.server_queue, row.backend_queue, row.termination.as_str()), (0, 1, "----"));
    assert_eq!(site.stat("web", "BACKEND").number("qmax"), 5);
    assert_eq!(waiting(&site), 0);
}

#[test]
fn waiting_is_timed() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").start();
    let mut clients = line_up(&site, &origin, 2);
    std::thread::sleep(Duration::from_millis(200));
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert!(site.logs.row_of("/0").timers[1] < 100);
    assert!(site.logs.row_of("/1").timers[1] >= 200);
}

#[test]
fn a_client_that_leaves_leaves_the_queue() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").start();
    let mut clients = line_up(&site, &origin, 4);
    drop(clients.remove(1));
    until("the place to be free", || waiting(&site) == 2);
    let row = site.logs.row_of("/1");
    assert_eq!((row.status, row.termination.as_str(), row.place().as_str()), (-1, "CQ--", "web/<NOSRV>"));
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    let order: Vec<String> = origin.requests().iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/2", "/3"]);
}

#[test]
fn the_queue_has_an_end() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").backend("queue_max: 2").start();
    let clients = line_up(&site, &origin, 3);
    let refused = site.get("/one-too-many");
    assert_eq!(refused.status(), 503);
    assert_eq!(waiting(&site), 2);
    gate.open_for_good();
    for mut client in clients {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn any_server_with_room_takes_the_oldest() {
    let (slow, quick) = (Gate::new(), Gate::new());
    let (a, b) = (gated(&slow), gated(&quick));
    let site = Site::new()
        .server(a.addr(), "maxconn: 1")
        .server(b.addr(), "maxconn: 1")
        .backend("balance: roundrobin")
        .start();
    let mut clients: Vec<RawClient> = Vec::new();
    for i in 0..5 {
        let mut client = site.client();
        client.send(format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
        until("it to be served or to wait", || {
            a.requests().len() + b.requests().len() == clients.len().min(1) + 1 || waiting(&site) == i - 1
        });
        clients.push(client);
    }
    quick.open_for_good();
    until("the quick server to take all that wait", || b.requests().len() == 4);
    slow.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    let order: Vec<String> = b.requests().iter().skip(1).map(|r| r.target().to_owned()).collect();
    assert_eq!(order, ["/2", "/3", "/4"]);
}

#[test]
fn waiting_requests_are_told_when_the_last_server_goes() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").defaults("timeouts: { queue: 1s }").start();
    let mut clients = line_up(&site, &origin, 2);
    site.order("set server web/s1 state maint");
    let answer = clients.pop().unwrap().answer();
    assert_eq!(answer.status(), 503);
    gate.open_for_good();
    assert_eq!(clients.pop().unwrap().answer().status(), 200, "what runs goes on");
}

#[test]
fn raising_the_limit_lets_waiters_in() {
    let gate = Gate::new();
    let origin = gated(&gate);
    let site = Site::new().server(origin.addr(), "maxconn: 1").start();
    let clients = line_up(&site, &origin, 4);
    site.order("set maxconn server web/s1 3");
    until("two more to be let in", || origin.requests().len() == 3);
    assert_eq!(waiting(&site), 1);
    gate.open_for_good();
    for mut client in clients {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn a_server_that_comes_back_empties_the_queue() {
    let gate = Gate::new();
    let (a, b) = (gated(&gate), Origin::named("s2"));
    let site = Site::new().server(a.addr(), "maxconn: 1").server(b.addr(), "maxconn: 1, disabled: true").start();
    let mut clients = line_up(&site, &a, 3);
    site.order("set server web/s2 state ready");
    for client in &mut clients[1..] {
        assert_eq!(client.answer().text(), "s2");
    }
    gate.open_for_good();
    assert_eq!(clients[0].answer().text(), "/0");
}

#[test]
fn many_waiters_over_several_workers_all_get_their_turn() {
    let origin = Origin::answering(|request| Reply::ok(request.target()).after(Duration::from_millis(2)));
    let site = Site::new().server(origin.addr(), "maxconn: 2").global("threads", "2").start();
    let address = site.address;
    let threads: Vec<_> = (0..40)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = RawClient::connect(address);
                (0..10).all(|i| client.get(&format!("/{n}/{i}")).text() == format!("/{n}/{i}"))
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert!(site.stat("web", "s1").number("smax") <= 2);
    assert_eq!((waiting(&site), site.stat("web", "s1").number("scur")), (0, 0));
    assert_eq!(site.logs.wait_rows(400).len(), 400);
}
