//! Connections that serve several requests: keep-alive, pipelining, HTTP/1.0, and when they end.

use std::time::Duration;

use crate::support::message::Role;
use crate::support::origin::{Origin, Reply};
use crate::support::site::Site;
use crate::support::until;

#[test]
fn both_sides_keep_their_connection() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for n in 0..5 {
        let answer = client.get(&format!("/{n}"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "s1"));
        assert_eq!(answer.field("connection"), None);
    }
    assert_eq!(origin.connections(), 1, "the server's connection was not reused");
    assert_eq!(site.stat("fe", "FRONTEND").number("conn_tot"), 1);
    until("five requests to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 5);
    assert_eq!(site.stat("web", "s1").number("reuse"), 4);
}

#[test]
fn a_server_connection_serves_many_clients() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    for _ in 0..4 {
        assert_eq!(site.get("/").status(), 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::answering(|request| {
        let slow = request.target() == "/0";
        Reply::ok(request.target()).after(Duration::from_millis(if slow { 100 } else { 0 }))
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    let all: String = (0..10).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..10 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
}

#[test]
fn a_pipelined_request_stands_behind_a_body() {
    let origin = Origin::answering(|request| Reply::ok(format!("{} {}", request.target(), request.text())));
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /\
         POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().text(), "/a GET /");
    assert_eq!(client.answer().text(), "/b abc");
    assert_eq!(client.answer().text(), "/c ");
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for byte in b"GET /slowly HTTP/1.1\r\nHost: www.example.test\r\nX-A: b\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status(), 200);
    assert_eq!(origin.requests()[0].field("x-a"), Some("b"));
}

#[test]
fn the_client_may_ask_for_the_end() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status(), 200);
    assert!(answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")));
    client.expect_closed();
    assert_eq!(site.get("/").status(), 200);
    assert_eq!(origin.connections(), 1, "the server's connection outlives the client's");
}

#[test]
fn the_server_may_end_its_connection_without_ending_the_clients() {
    let origin = Origin::answering(|_| Reply::ok("bye").closing());
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.field("connection")), (200, None));
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn http_1_0_closes_unless_asked_not_to() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();

    let mut client = site.client();
    assert_eq!(client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status(), 200);
    client.expect_closed();

    let mut client = site.client();
    let kept = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(kept.status(), 200);
    assert!(kept.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("keep-alive")), "{kept:?}");
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").status(), 200, "HTTP/1.0 needs no Host");
    client.expect_closed();
    assert!(origin.requests().iter().all(|r| r.first_line.ends_with("HTTP/1.1")));
}

#[test]
fn http_1_0_gets_no_chunks() {
    let origin = Origin::answering(|_| Reply::ok("x".repeat(2500)).chunked());
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    let answer = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.body.len(), 2500);
}

#[test]
fn hop_by_hop_fields_stay_on_their_side() {
    let origin = Origin::answering(|_| {
        Reply::ok("x")
            .field("Connection", "x-mine")
            .field("X-Mine", "1")
            .field("Keep-Alive", "timeout=9")
            .field("X-End", "2")
    });
    let site = Site::of(&[&origin]).start();
    let answer = site.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 3\r\nTE: gzip\r\n\
         Proxy-Connection: keep-alive\r\nX-End: 4\r\n\r\n",
    );
    for gone in ["x-mine", "keep-alive", "connection"] {
        assert_eq!(answer.field(gone), None, "{answer:?}");
    }
    assert_eq!(answer.field("x-end"), Some("2"));
    let seen = &origin.requests()[0];
    for gone in ["x-secret", "keep-alive", "te", "proxy-connection"] {
        assert_eq!(seen.field(gone), None, "{seen:?}");
    }
    assert_eq!(seen.field("x-end"), Some("4"));
}

#[test]
fn the_number_of_requests_per_connection_can_be_limited() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("limits: { requests_per_connection: 3 }").start();
    let mut client = site.client();
    for n in 1..=3 {
        let answer = client.get("/");
        let closing = answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        assert_eq!((answer.status(), closing), (200, n == 3));
    }
    client.expect_closed();
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let origin = Origin::answering(|_| Reply::ok("late").after(Duration::from_millis(100)));
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.wire.half_close();
    assert_eq!(client.answer().text(), "late");
    client.expect_closed();
}

#[test]
fn a_large_head_passes_up_to_the_limit() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("limits: { head: 16KiB, uri: 4KiB, fields: 50 }").start();
    let head = |padding: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Padding: {}\r\n\r\n", "p".repeat(padding));
    assert_eq!(site.ask(head(15_000)).status(), 200);
    assert_eq!(site.ask(head(17_000)).status(), 431);
    let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-F: 1\r\n".repeat(n));
    assert_eq!(site.ask(many(49)).status(), 200);
    assert_eq!(site.ask(many(60)).status(), 431);
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(n));
    assert_eq!(site.ask(target(4_000)).status(), 200);
    assert_eq!(site.ask(target(5_000)).status(), 414);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_body_over_its_limit_is_refused() {
    let origin = Origin::answering(|request| Reply::ok(request.body.len().to_string()));
    let site = Site::of(&[&origin]).frontend("limits: { body: 1000B }").start();
    let with_length = |n: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n{}", "b".repeat(n));
    assert_eq!(site.ask(with_length(1000)).text(), "1000");
    assert_eq!(site.ask(with_length(1001)).status(), 413);
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e8\r\n{}\r\n", "b".repeat(1000)));
    client.send("1\r\nb\r\n0\r\n\r\n");
    assert_eq!(client.next_answer(Role::Answer).status(), 413);
    client.expect_closed();
}
