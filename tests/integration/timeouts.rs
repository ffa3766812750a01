//! Each wait of `timeouts` ends when it should, with the right status and the right log flags.

use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::message::Role;
use crate::support::origin::{Blackhole, Origin, Reply};
use crate::support::site::{Running, Site};

/// A site with one timeout set and the others long.
fn site_with(origin: &Origin, timeout: &str) -> Running {
    let mut timeouts =
        vec!["request: 50s", "keepalive: 50s", "client: 50s", "queue: 50s", "connect: 50s", "server: 50s"];
    timeouts.retain(|other| other.split(':').next() != timeout.split(':').next());
    Site::of(&[origin]).defaults(format!("timeouts: {{ {}, {timeout} }}", timeouts.join(", "))).start()
}

/// Checks that something took about as long as a timeout of 600 ms.
#[track_caller]
fn took_600ms(started: Instant) {
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(8), "took {took:?}");
}

#[test]
fn request_head() {
    let origin = Origin::named("s1");
    let site = site_with(&origin, "request: 600ms");
    let started = Instant::now();
    let mut client = site.client();
    client.send("GET /half HTTP/1.1\r\nHost:");
    assert_eq!(client.answer().status(), 408);
    took_600ms(started);
    client.expect_closed();
    let row = site.logs.wait_rows(1).remove(0);
    assert_eq!((row.status, row.termination.as_str(), row.place().as_str()), (408, "cR--", "fe/<NOSRV>"));
    assert_eq!((row.reached().as_str(), row.request.as_str()), ("----", "<BADREQ>"));
    assert!(row.timers[4] >= 550, "{row:?}");
    assert_eq!(site.stat("fe", "FRONTEND").number("ereq"), 1);
}

#[test]
fn request_head_by_drops() {
    let origin = Origin::named("s1");
    let site = site_with(&origin, "request: 600ms");
    let mut client = site.client();
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    client.wire.read_patience(Duration::from_millis(50));
    // One more field every 50 ms does not extend the time for the whole head.
    while client.wire.buffered().is_empty() && started.elapsed() < Duration::from_secs(5) {
        let _ = client.wire.send("X-Drop: 1\r\n");
        let _ = client.wire.fill();
    }
    assert_eq!(client.answer().status(), 408);
    took_600ms(started);
}

#[test]
fn a_silent_connection() {
    let origin = Origin::named("s1");
    let site = site_with(&origin, "request: 600ms");
    let started = Instant::now();
    let mut client = site.client();
    let _ = client.wire.take_rest();
    took_600ms(started);
}

#[test]
fn keepalive() {
    let origin = Origin::named("s1");
    let site = site_with(&origin, "keepalive: 600ms");
    let mut client = site.client();
    assert_eq!(client.get("/").status(), 200);
    let started = Instant::now();
    client.expect_closed();
    took_600ms(started);
    assert_eq!(site.logs.wait_rows(1).len(), 1, "the end of an idle connection is not a request");
}

#[test]
fn keepalive_does_not_count_while_a_request_runs() {
    let origin = Origin::answering(|_| Reply::ok("slow").after(Duration::from_millis(900)));
    let site = site_with(&origin, "keepalive: 300ms");
    let mut client = site.client();
    assert_eq!(client.get("/").text(), "slow");
    assert_eq!(client.get("/").text(), "slow");
}

#[test]
fn client_upload() {
    let origin = Origin::named("s1");
    let site = site_with(&origin, "client: 600ms");
    let mut client = site.client();
    let started = Instant::now();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this");
    assert_eq!(client.answer().status(), 400);
    took_600ms(started);
    client.expect_closed();
    let row = site.logs.row_of("/up");
    assert_eq!((row.termination.as_str(), row.place().as_str(), row.reached().as_str()), ("cH--", "web/s1", "+++-"));
}

#[test]
fn client_download() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        loop {
            conn.send([b'd'; 65536])?;
        }
    });
    let site = site_with(&origin, "client: 600ms");
    let mut client = RawClient::connect_narrow(site.address);
    client.send("GET /down HTTP/1.1\r\nHost: a\r\n\r\n");
    let row = site.logs.row_of("/down");
    assert_eq!((row.status, row.termination.as_str(), row.reached().as_str()), (200, "cD--", "++++"));
    assert!(row.timers[4] >= 550 && row.bytes < 100_000_000, "{row:?}");
}

#[test]
fn queue() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |_| {
        held.pass();
        Reply::ok("held")
    });
    let site = Site::new()
        .server(origin.addr(), "maxconn: 1")
        .defaults("timeouts: { queue: 600ms, server: 50s, client: 50s }")
        .start();
    let mut first = site.client();
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    crate::support::until("the first to hold the server", || origin.requests().len() == 1);
    let started = Instant::now();
    let answer = site.get("/second");
    assert_eq!(answer.status(), 503);
    took_600ms(started);
    let row = site.logs.row_of("/second");
    assert_eq!(
        (row.termination.as_str(), row.place().as_str(), row.reached().as_str()),
        ("sQ--", "web/<NOSRV>", "++--")
    );
    assert!(row.timers[1] >= 550, "{row:?}");
    gate.open_for_good();
    assert_eq!(first.answer().text(), "held");
}

#[test]
fn connect() {
    let hole = Blackhole::new();
    let site =
        Site::new().server(hole.addr(), "").defaults("timeouts: { connect: 300ms }").backend("retries: 1").start();
    let started = Instant::now();
    assert_eq!(site.get("/nobody").status(), 503);
    took_600ms(started);
    let row = site.logs.row_of("/nobody");
    assert_eq!((row.termination.as_str(), row.place().as_str(), row.retries), ("sC--", "web/s1", 1));
    assert_eq!((row.timers[2], row.timers[3]), (-1, -1));
    assert_eq!(site.stat("web", "s1").number("econ"), 1);
}

#[test]
fn server_head() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.stall()
    });
    let site = site_with(&origin, "server: 600ms");
    let started = Instant::now();
    assert_eq!(site.get("/slow").status(), 504);
    took_600ms(started);
    let row = site.logs.row_of("/slow");
    assert_eq!((row.termination.as_str(), row.place().as_str(), row.reached().as_str()), ("sH--", "web/s1", "+++-"));
}

#[test]
fn server_body() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")?;
        conn.stall()
    });
    let site = site_with(&origin, "server: 600ms");
    let mut client = site.client();
    let started = Instant::now();
    client.send("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.next_answer(Role::Answer);
    took_600ms(started);
    assert_eq!((answer.status(), answer.whole, answer.text().as_str()), (200, false, "some"));
    let row = site.logs.row_of("/stall");
    assert_eq!((row.termination.as_str(), row.reached().as_str()), ("sD--", "++++"));
}

#[test]
fn the_server_may_take_its_time_while_the_body_uploads() {
    let origin = Origin::answering(|request| Reply::ok(request.body.len().to_string()));
    let site = site_with(&origin, "server: 600ms");
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    // The server has nothing to answer to yet: its silence does not count.
    for byte in 0..10 {
        std::thread::sleep(Duration::from_millis(150));
        client.send([b'0' + byte]);
    }
    assert_eq!(client.answer().text(), "10");
}

#[test]
fn an_interim_answer_is_a_sign_of_life() {
    let origin = Origin::script(|conn| {
        conn.request()?;
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(250));
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")?;
        }
        std::thread::sleep(Duration::from_millis(250));
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    });
    let site = site_with(&origin, "server: 600ms");
    assert_eq!(site.get("/").text(), "done");
}

#[test]
fn another_server_gets_the_whole_time() {
    let dying = Origin::script(|conn| {
        conn.request()?;
        std::thread::sleep(Duration::from_millis(350));
        Ok(())
    });
    let slow = Origin::answering(|_| Reply::ok("done").after(Duration::from_millis(350)));
    let site = Site::of(&[&dying, &slow])
        .backend("balance: roundrobin\nretry_on: [ empty-response ]")
        .defaults("timeouts: { server: 600ms }")
        .start();
    let mut client = site.client();
    // The second time, the other server has a kept connection.
    for target in ["/first", "/second"] {
        assert_eq!(client.get(target).text(), "done");
        assert_eq!(site.logs.row_of(target).retries, 1, "each began at the server that dies");
    }
}

#[test]
fn client_upload_under_an_answer() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
        conn.wire.take(100)?;
        conn.send("done")
    });
    let site = site_with(&origin, "client: 600ms");
    let mut client = site.client();
    let started = Instant::now();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this");
    assert_eq!(client.head().status(), 200);
    let _ = client.wire.take_rest();
    took_600ms(started);
    assert_eq!(site.logs.row_of("/up").termination, "cD--", "the server waits for the client");
}

#[test]
fn client_upload_after_a_100() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        conn.wire.take(100)?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    });
    let site = site_with(&origin, "client: 600ms");
    let mut client = site.client();
    let started = Instant::now();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n");
    assert_eq!(client.next_answer(Role::Answer).status(), 100);
    assert_eq!(client.next_answer(Role::Answer).status(), 400);
    took_600ms(started);
    assert_eq!(site.logs.row_of("/up").termination, "cH--");
}

#[test]
fn handshake() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).defaults("timeouts: { handshake: 600ms, request: 50s }");
    let file = authority.write(&site.path("cert.pem"), &["a.test"], Key::Ecdsa);
    let bind =
        format!("bind: [ {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }} ]", site.address(), file.display());
    let site = site.frontend(bind).start();
    let started = Instant::now();
    let mut client = site.client();
    let _ = client.wire.take_rest();
    took_600ms(started);
    assert_eq!(authority.connect(site.address, "a.test").get("/").text(), "s1");
}
