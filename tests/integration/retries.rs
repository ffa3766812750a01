//! Failed attempts: what is tried again, where, and what never is.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::gate::Gate;
use crate::support::message::Message;
use crate::support::origin::{Origin, Reply};
use crate::support::ports;
use crate::support::site::Site;
use crate::support::until;

#[test]
fn a_refused_connection_goes_to_another_server() {
    let origin = Origin::named("s2");
    let site =
        Site::new().server(ports::address(), "").server(origin.addr(), "").backend("balance: roundrobin").start();
    for n in 0..4 {
        let answer = site.get(&format!("/{n}"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "s2"));
    }
    let row = site.logs.row_where("a redispatched request", |row| row.redispatched);
    assert_eq!((row.place().as_str(), row.retries, row.termination.as_str()), ("web/s2", 1, "----"));
    // Each turn of the second server is taken by a request that the first refused.
    assert_eq!(site.stat("web", "s1").number("wredis"), 4);
    assert_eq!(site.stat("web", "s1").number("econ"), 0);
    assert_eq!(site.stat("web", "BACKEND").number("hrsp_2xx"), 4);
}

#[test]
fn bodies_survive_a_redispatch() {
    let origin = Origin::answering(|request| Reply::ok(&request.body));
    let site =
        Site::new().server(ports::address(), "").server(origin.addr(), "").backend("balance: roundrobin").start();
    for body in ["a body", "another"] {
        let answer = site.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, body),
            "nothing was sent before the connection failed"
        );
    }
}

#[test]
fn refused_everywhere() {
    let site =
        Site::new().server(ports::address(), "").backend("retries: 3").defaults("timeouts: { connect: 100ms }").start();
    let started = Instant::now();
    let answer = site.get("/refused");
    assert_eq!(answer.status(), 503);
    assert!(started.elapsed() >= Duration::from_millis(280), "the same server is given time between attempts");
    let row = site.logs.row_of("/refused");
    assert_eq!((row.termination.as_str(), row.place().as_str(), row.retries), ("SC--", "web/s1", 3));
    assert_eq!(row.reached(), "++--");
    let server = site.stat("web", "s1");
    assert_eq!((server.number("wretr"), server.number("econ"), server.number("lbtot")), (3, 1, 1));
}

#[test]
fn redispatch_can_be_switched_off() {
    let origin = Origin::named("s2");
    let site = Site::new()
        .server(ports::address(), "")
        .server(origin.addr(), "")
        .backend("balance: first\nredispatch: false\nretries: 1")
        .defaults("timeouts: { connect: 100ms }")
        .start();
    assert_eq!(site.get("/").status(), 503);
    assert_eq!(origin.requests().len(), 0);
}

/// Answers one request per connection, then behaves as `after` says with the second.
fn fickle(after: fn(&mut crate::support::origin::OriginConn) -> std::io::Result<()>) -> Origin {
    Origin::script(move |conn| {
        if conn.request()?.is_none() {
            return Ok(());
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        after(conn)
    })
}

#[test]
fn a_kept_connection_that_died_is_not_noticed() {
    // Closes at once after its answer, without having said so.
    let closing = fickle(|_| Ok(()));
    // Closes, or resets, only when the next request arrives: the race that cannot be avoided.
    let late = fickle(|conn| conn.wire.fill().map(|_| ()));
    let resetting = fickle(|conn| {
        conn.wire.fill()?;
        conn.reset_at_end();
        Ok(())
    });
    for (name, origin) in [("closing", closing), ("late", late), ("resetting", resetting)] {
        let site = Site::of(&[&origin]).start();
        let mut client = site.client();
        for n in 0..10 {
            let answer = client.get(&format!("/{n}"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{name}, request {n}");
        }
        assert!(site.logs.wait_rows(10).iter().all(|row| row.termination == "----"), "{name}");
    }
}

/// A server that answers one request, and is gone, listener and all, as soon as the second one arrives.
fn gone_at_the_second() -> std::net::SocketAddr {
    let address = ports::address();
    let listener = std::net::TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        drop(listener);
        let mut bytes = [0u8; 4096];
        let _ = tcp.read(&mut bytes);
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = tcp.read(&mut bytes);
    });
    address
}

#[test]
fn a_kept_connection_that_died_leaves_no_trace_of_itself_in_the_log() {
    let site = Site::new().server(gone_at_the_second(), "").backend("retries: 0").start();
    let mut client = site.client();
    assert_eq!(client.get("/first").status(), 200);
    assert_eq!(client.get("/second").status(), 503);
    let row = site.logs.row_of("/second");
    assert_eq!((row.termination.as_str(), row.reached().as_str()), ("SC--", "++--"), "{row:?}");

    let other = Origin::named("s2");
    let site = Site::new()
        .server(gone_at_the_second(), "")
        .server(other.addr(), "")
        .backend("balance: first\ncookie: { name: SRV }")
        .start();
    let mut client = site.client();
    assert_eq!(client.get("/first").status(), 200);
    assert_eq!(client.get("/second").text(), "s2");
    assert_eq!(site.logs.row_of("/second").termination, "--NI", "the client brought no cookie");
}

#[test]
fn a_request_that_kills_its_connection_kills_no_more_than_that() {
    // A request the application dies of: it must not be tried on every connection that was kept.
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            if request.target() == "/deadly" {
                return Ok(());
            }
            held.pass();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).backend("retries: 0").start();
    let mut clients: Vec<_> = (0..5).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    until("five connections at once", || origin.connections() == 5);
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!(site.get("/deadly").status(), 502);
    let deadly = origin.requests().iter().filter(|r| r.target() == "/deadly").count();
    assert_eq!(deadly, 2, "once on a kept connection, once on a fresh one");
}

#[test]
fn a_post_is_not_sent_twice() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&posts);
    let origin = Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            if request.method() == "POST" {
                counter.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin, &origin]).backend("retry_on: [ empty-response ]").start();
    let mut client = site.client();
    assert_eq!(client.get("/").status(), 200);
    let answer = client.ask("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nonce");
    assert_eq!(answer.status(), 502);
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    assert_eq!(site.logs.row_of("/once").termination, "SH--");
}

#[test]
fn an_empty_answer() {
    let silent = Origin::script(|conn| conn.request().map(|_| ()));
    let site = Site::of(&[&silent]).backend("retry_on: none").start();
    let answer = site.get("/empty");
    assert_eq!(answer.status(), 502);
    let row = site.logs.row_of("/empty");
    assert_eq!((row.termination.as_str(), row.place().as_str(), row.reached().as_str()), ("SH--", "web/s1", "+++-"));
    assert_eq!(silent.requests().len(), 1, "it was told not to retry");
    assert!(site.stat("web", "s1").number("eresp") >= 1);
}

#[test]
fn an_empty_answer_may_be_retried_elsewhere() {
    let silent = Origin::script(|conn| conn.request().map(|_| ()));
    let good = Origin::named("good");
    let site = Site::of(&[&silent, &good]).backend("balance: roundrobin").start();
    for _ in 0..4 {
        assert_eq!(site.get("/").text(), "good");
    }
    assert!(!silent.requests().is_empty());
    assert!(site.logs.wait_rows(4).iter().any(|row| row.retries > 0));
}

#[test]
fn a_refused_answer_may_be_retried_elsewhere() {
    let busy = Origin::answering(|_| Reply::status(503));
    let good = Origin::named("good");
    let site = Site::of(&[&busy, &good]).backend("balance: roundrobin\nretry_on: [ \"503\" ]").start();
    for _ in 0..4 {
        assert_eq!(site.get("/").text(), "good");
    }
    let posted = (0..2).map(|_| site.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").status());
    assert!(posted.collect::<Vec<_>>().contains(&503), "a POST that was answered is not sent again");

    let site = Site::of(&[&busy]).start();
    assert_eq!(site.get("/").status(), 503, "without the key a 503 is an answer like any other");
}

#[test]
fn an_answer_that_began_is_never_retried() {
    let cut = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-")
    });
    let good = Origin::named("good");
    let site = Site::of(&[&cut, &good]).backend("balance: first\nretry_on: [ empty-response ]").start();
    assert_eq!(site.get("/").status(), 502);
    assert_eq!(good.requests().len(), 0);
}

#[test]
fn garbage_is_no_answer() {
    for bytes in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "\0\0\0\r\n\r\n"]
    {
        let origin = Origin::saying(bytes);
        let site = Site::of(&[&origin]).start();
        assert_eq!(site.get("/garbage").status(), 502, "{bytes:?}");
        let row = site.logs.row_of("/garbage");
        assert_eq!((row.termination.as_str(), row.place().as_str()), ("PH--", "web/s1"), "{bytes:?}");
        assert_eq!(origin.requests().len(), 1);
    }
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).defaults("timeouts: { connect: 50ms }").backend("retries: 1").start();
    assert_eq!(site.get("/").status(), 200);
    origin.stop();
    assert_eq!(site.get("/").status(), 503);
    origin.start();
    assert_eq!(site.get("/").status(), 200);
}

#[test]
fn answers_of_lockgate_itself_are_whole() {
    let site = Site::new().server(ports::address(), "").backend("retries: 0").start();
    let mut client = site.client();
    for _ in 0..3 {
        let answer: Message = client.get("/");
        assert_eq!((answer.status(), answer.whole), (503, true));
        assert!(answer.field("content-type").is_some() && !answer.body.is_empty());
        assert_eq!(answer.field("cache-control"), Some("no-cache"));
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head_answer().status(), 503);
    assert_eq!(client.get("/").status(), 503, "the connection is still in step");
}
