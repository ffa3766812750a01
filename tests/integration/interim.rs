//! Answers before the answer (100, 103), and answers without a body (HEAD, 204, 304).

use crate::support::message::Role;
use crate::support::origin::{Origin, Reply};
use crate::support::site::Site;

#[test]
fn the_server_decides_when_a_client_may_continue() {
    let origin = Origin::script(|conn| {
        while let Some(request) = conn.request_head()? {
            assert_eq!(request.field("expect"), Some("100-continue"));
            assert!(conn.wire.buffered().is_empty(), "the body came before the 100");
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            let body = conn.wire.take(5)?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
            conn.send(body)?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(client.next_answer(Role::Answer).status(), 100);
        client.send("hello");
        let answer = client.next_answer(Role::Answer);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    }
}

#[test]
fn the_server_may_refuse_without_a_100() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")?;
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = client.next_answer(Role::Answer);
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // The body was never asked for and never came, so nothing else can come on this connection.
    client.expect_closed();
}

#[test]
fn an_impatient_client_may_send_its_body_at_once() {
    let origin = Origin::answering(|request| Reply::ok(&request.body));
    let site = Site::of(&[&origin]).start();
    let answer = site.ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
}

#[test]
fn other_expectations_fail() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    assert_eq!(site.ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\n\r\n").status(), 417);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn early_hints_reach_the_client() {
    let origin = Origin::saying(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b.js>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.next_answer(Role::Answer).status(), 102);
        assert_eq!(client.next_answer(Role::Answer).field("link"), Some("</a.css>; rel=preload"));
        assert_eq!(client.next_answer(Role::Answer).field("link"), Some("</b.js>; rel=preload"));
        assert_eq!(client.next_answer(Role::Answer).text(), "ok");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn http_1_0_clients_get_no_interim_answers() {
    let origin =
        Origin::saying("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.next_answer(Role::Answer).status(), 200);
}

#[test]
fn endless_interim_answers_are_cut() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        loop {
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")?;
        }
    });
    let site = Site::of(&[&origin]).defaults("timeouts: { server: 2s, client: 2s }").start();
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = client.next_answer(Role::Answer);
    let mut interim = 0;
    while answer.status() == 103 {
        interim += 1;
        assert!(interim < 100_000, "interim answers are passed on without an end");
        answer = client.next_answer(Role::Answer);
    }
    assert_eq!(answer.status(), 502);
}

#[test]
fn answers_without_a_body_keep_the_connection_in_step() {
    let origin = Origin::answering(|request| match request.target() {
        "/204" => Reply::status(204),
        "/304" => Reply::status(304).field("ETag", "\"x\"").field("Content-Length", "500"),
        "/chunked" => Reply::ok("12345").chunked(),
        _ => Reply::ok("12345"),
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.head_answer();
        assert_eq!((head.status(), head.field("content-length")), (200, Some("5")));
        client.send("HEAD /chunked HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head_answer().status(), 200);
        assert_eq!(client.get("/204").status(), 204);
        let not_modified = client.get("/304");
        assert_eq!((not_modified.status(), not_modified.field("etag")), (304, Some("\"x\"")));
        assert_eq!(client.get("/").text(), "12345");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_body_where_none_may_be_poisons_nobody() {
    // The server sends a body after HEAD and 304: those bytes must never become somebody's answer.
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let origin = Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            match request.target() {
                "/head" => conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{poison}", poison.len()))?,
                "/304" => conn.send(format!("HTTP/1.1 304 Not Modified\r\n\r\n{poison}"))?,
                "/extra" => conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{poison}"))?,
                _ => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean")?,
            }
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    for first in ["HEAD /head", "GET /304", "GET /extra"] {
        let mut client = site.client();
        client.send(format!("{first} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.next_answer(if first.starts_with("HEAD") { Role::Bodiless } else { Role::Answer });
        assert_eq!(client.get("/clean").text(), "clean", "after {first}");
        assert_eq!(site.get("/clean").text(), "clean", "after {first}, another client");
    }
}
