//! Bodies pass unchanged, unheld and at the pace of the slower side, whichever way they are framed.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::message::Role;
use crate::support::origin::{Origin, Reply};
use crate::support::site::Site;
use crate::support::{holds_for, until};

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..length).map(|_| random.u8(..)).collect()
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(piece) {
        out.extend(format!("{:X}\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[test]
fn both_framings_both_ways_are_byte_exact() {
    let body = Arc::new(noise(700_000));
    let expected = Arc::clone(&body);
    let origin = Origin::answering(move |request| {
        assert!(request.body == *expected, "the upload arrived changed");
        let reply = Reply::ok(&*expected);
        if request.target() == "/chunked" { reply.chunked() } else { reply }
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for target in ["/length", "/chunked"] {
        client.send(format!("PUT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&*body);
        assert!(client.answer().body == *body, "{target} after a length");
        client.send(format!("PUT {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send(chunked(&body, 7777));
        let answer = client.answer();
        assert!(answer.whole && answer.body == *body, "{target} after chunks");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn tiny_chunks_and_empty_bodies() {
    let origin = Origin::answering(|request| Reply::ok(&request.body).chunked());
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked(b"one byte a time", 1));
    assert_eq!(client.answer().text(), "one byte a time");
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!((answer.whole, answer.body.len()), (true, 0));
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.whole, answer.body.len()), (true, 0));
}

#[test]
fn trailers_pass_but_not_those_that_could_mislead() {
    let origin = Origin::script(|conn| {
        while conn.request()?.is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\
                 Content-Length: 7\r\nTransfer-Encoding: gzip\r\nSet-Cookie: a=b\r\n\r\n",
            )?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for _ in 0..2 {
        let answer = client.ask(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n2\r\nhi\r\n0\r\n\
             X-Check: 1\r\nHost: evil\r\nContent-Length: 5\r\nAuthorization: x\r\nX-Forwarded-For: 9.9.9.9\r\n\
             x_forwarded_for: 9.9.9.9\r\n\r\n",
        );
        assert_eq!(answer.trailers, [("X-Sum".to_owned(), "42".to_owned())], "{answer:?}");
    }
    for request in origin.requests() {
        assert_eq!(request.trailers, [("X-Check".to_owned(), "1".to_owned())], "{request:?}");
    }
}

#[test]
fn an_answer_streams() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        held.pass();
        conn.send("4\r\nlast\r\n0\r\n\r\n")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    assert!(client.wire.take_until(b"first").unwrap().is_some());
    gate.open(1);
    assert!(client.wire.take_until(b"last\r\n0\r\n\r\n").unwrap().is_some());
}

#[test]
fn an_upload_streams() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.wire.take(5)?;
        conn.send("HTTP/1.1 200 OK\r\nX-Early: yes\r\nContent-Length: 4\r\n\r\n")?;
        let rest = conn.wire.take(4)?;
        conn.send(rest)
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst");
    assert_eq!(
        client.head().field("x-early"),
        Some("yes"),
        "the head of the answer comes while the body still uploads"
    );
    client.send("last");
    assert_eq!(client.wire.take(4).unwrap(), b"last");
}

#[test]
fn an_early_answer_ends_an_upload_and_its_rest_is_no_request() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        if request.method() == "POST" {
            conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
            return Ok(());
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").send("x".repeat(1000));
    let answer = client.next_answer(Role::Answer);
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
    // Whatever of the body still comes must not be taken for a request.
    let _ = client.wire.send("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = client.wire.take_rest();
    assert_eq!(site.get("/fine").status(), 200);
    assert!(origin.requests().iter().all(|r| r.target() != "/evil"), "{:?}", origin.requests());
}

#[test]
fn an_early_answer_does_not_stop_an_upload_the_server_still_takes() {
    let origin = Origin::script(|conn| {
        while let Some(request) = conn.request_head()? {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsoon")?;
            let length = request.field("content-length").map_or(0, |v| v.parse().unwrap());
            conn.wire.skip(length)?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    assert_eq!(client.answer().text(), "soon");
    let sent = client.wire.send(vec![b'x'; 300_000]);
    // Either the upload goes on to its end, or the connection ends; a wrong answer is the one thing that may not be.
    if sent.is_ok() && client.wire.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() {
        match crate::support::message::Message::read_head(&mut client.wire) {
            Ok(Some(answer)) => assert_eq!(answer.status(), 200),
            Ok(None) => {}
            Err(e) => assert!(matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{e}"),
        }
    }
    assert_eq!(site.get("/again").status(), 200);
}

#[test]
fn an_answer_that_ends_with_its_connection() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    let answer = client.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "until the end"));
    client.expect_closed();
    assert_eq!(site.logs.row_of("/").termination, "----");
}

#[test]
fn a_cut_answer_is_seen_to_be_cut() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
        let origin = Origin::script(move |conn| {
            conn.request()?;
            conn.send(&text)
        });
        let site = Site::of(&[&origin]).start();
        let answer = site.get("/cut");
        assert_eq!(answer.status(), 200);
        assert!(!answer.whole, "{head}: {answer:?}");
        let row = site.logs.row_of("/cut");
        assert_eq!((row.termination.as_str(), row.status), ("SD--", 200), "{head}");
    }
}

#[test]
fn an_answer_without_a_length_that_is_reset_is_seen_to_be_cut() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\n\r\nuntil the reset")?;
        // The proxy has it when the next read ends.
        conn.wire.read_patience(Duration::from_millis(100));
        let _ = conn.wire.fill();
        conn.reset_at_end();
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    let end = client.wire.take_rest();
    assert!(end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "a plain close would look like the end");
    assert_eq!(site.logs.row_of("/reset").termination, "SD--");
}

/// Bytes that a 64 MiB sender gets rid of while the other end does not read.
const HELD_AT_MOST: u64 = 24 << 20;

#[test]
fn a_client_that_does_not_read_slows_the_server() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::script(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")?;
        for _ in 0..1024 {
            conn.send([b'd'; 65536])?;
            counter.fetch_add(65536, Ordering::SeqCst);
        }
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let mut client = RawClient::connect_narrow(site.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the first bytes", || sent.load(Ordering::SeqCst) > 0);
    holds_for(Duration::from_secs(1), "little is held", || sent.load(Ordering::SeqCst) < HELD_AT_MOST);
    assert_eq!(client.head().status(), 200);
    client.wire.skip(64 << 20).unwrap();
}

#[test]
fn a_server_that_does_not_read_slows_the_client() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |conn| {
        conn.request_head()?;
        held.pass();
        conn.wire.skip(64 << 20)?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let upload = std::thread::spawn(move || {
        for _ in 0..1024 {
            client.send([b'u'; 65536]);
            counter.fetch_add(65536, Ordering::SeqCst);
        }
        client.answer().status()
    });
    until("the first bytes", || sent.load(Ordering::SeqCst) > 0);
    holds_for(Duration::from_secs(1), "little is held", || sent.load(Ordering::SeqCst) < HELD_AT_MOST);
    gate.open(1);
    assert_eq!(upload.join().unwrap(), 200);
}
