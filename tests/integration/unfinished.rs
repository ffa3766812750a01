//! Connections on which something was left unfinished: what may follow on them, and what may not be lost by it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::message::Role;
use crate::support::origin::{Origin, Reply};
use crate::support::ports;
use crate::support::site::Site;
use crate::support::until;
use crate::support::wire::{Transport, Wire};

/// A server with room for very little, that answers each connection's first bytes at once and then reads to the end.
/// What each connection received is kept.
fn hasty_server() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>, Gate) {
    let address = ports::address();
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(2048).unwrap();
    listener.set_tcp_mss(536).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(16).unwrap();
    let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (records, reading) = (Arc::clone(&received), Gate::new());
    let gate = reading.clone();
    std::thread::spawn(move || {
        for tcp in TcpListener::from(listener).incoming() {
            let Ok(mut tcp) = tcp else { return };
            let (records, gate) = (Arc::clone(&records), gate.clone());
            std::thread::spawn(move || {
                let index = {
                    let mut all = records.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let mut piece = [0u8; 512];
                let mut answered = false;
                while let Ok(n @ 1..) = tcp.read(&mut piece) {
                    records.lock().unwrap()[index].extend_from_slice(&piece[..n]);
                    if !answered {
                        answered = true;
                        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                        if index == 0 {
                            gate.pass();
                        }
                    }
                }
            });
        }
    });
    (address, received, reading)
}

#[test]
fn a_head_that_was_not_sent_to_its_end_ends_its_connection() {
    let (address, received, reading) = hasty_server();
    let site =
        Site::new().server(address, "").frontend("limits: { head: 1MiB }").defaults("timeouts: { server: 3s }").start();
    // The server takes some of this head, answers, and seems to be done with it.
    let answer = site.ask(format!("GET /long HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "l".repeat(900_000)));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_eq!(site.get("/second").status(), 200);
    reading.open_for_good();
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2, "the second request went out on a connection that still owed bytes of the first");
    assert!(!String::from_utf8_lossy(&received[0]).contains("/second"));
}

/// A server that answers after the first five bytes of a body and sends the other four back.
fn echoing_early(head: &'static str) -> Origin {
    Origin::script(move |conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        if request.field("expect").is_some() {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        conn.wire.take(5)?;
        conn.send(format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 4\r\n\r\n"))?;
        let rest = conn.wire.take(4)?;
        conn.send(rest)
    })
}

#[test]
fn an_upload_goes_on_under_an_answer_even_if_the_connection_ends_after_it() {
    for (version, fields, of_answer) in [
        ("1.1", "Connection: close\r\n", ""),
        ("1.0", "", ""),
        ("1.1", "", "Connection: close\r\n"),
        ("1.1", "Expect: 100-continue\r\n", ""),
    ] {
        let origin = echoing_early(of_answer);
        let site = Site::of(&[&origin]).defaults("timeouts: { server: 3s, client: 3s }").start();
        let mut client = site.client();
        client.send(format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}Content-Length: 9\r\n\r\nfirst"));
        let case = format!("{version} {fields:?} {of_answer:?}");
        let mut head = client.head();
        if head.status() == 100 {
            head = client.head();
        }
        assert_eq!(head.status(), 200, "{case}");
        client.send("last");
        assert_eq!(client.wire.take(4).unwrap_or_default(), b"last", "{case}");
    }
}

#[test]
fn an_upload_goes_on_behind_a_whole_answer() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let origin = Origin::script(move |conn| {
        while let Some(request) = conn.request_head()? {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsoon")?;
            let length: usize = request.field("content-length").map_or(0, |v| v.parse().unwrap());
            let body = conn.wire.take(length)?;
            counter.fetch_add(body.len(), Ordering::SeqCst);
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    assert_eq!(client.answer().text(), "soon");
    client.send(vec![b'x'; 300_000]);
    until("the server to have the whole body", || taken.load(Ordering::SeqCst) == 300_000);
    assert_eq!(client.get("/next").text(), "soon");
    assert_eq!(origin.connections(), 1, "nothing was left unfinished");
    assert_eq!(site.logs.wait_rows(2)[0].termination, "----");
}

#[test]
fn an_upload_that_is_too_large_is_told_so_before_its_connection_ends() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("limits: { body: 1000B }").start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(client.next_answer(Role::Answer).status(), 413);
    // The client goes on for a while before it looks; a reset would take the answer from it.
    for _ in 0..20 {
        client.send([b'x'; 1000]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.wire.take_rest().unwrap(), b"");
}

#[test]
fn late_bytes_of_a_client_do_not_cost_it_the_rest_of_its_answer() {
    const LENGTH: u64 = 1_000_000;
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let page = site.path("page.txt");
    std::fs::write(&page, vec![b'p'; LENGTH as usize]).unwrap();
    let site =
        site.frontend(format!("routes: [ {{ respond: {{ status: 200, file: \"{}\" }} }} ]", page.display())).start();
    // So little fits on the way to this client that the answer must wait for it to read.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&site.address.into()).unwrap();
    let mut client = RawClient { wire: Wire::new(Transport::Tcp(socket.into())) };
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    // An old habit of clients: an empty line behind a request.
    client.send("\r\n");
    client.wire.skip(LENGTH).unwrap();
    client.expect_closed();
}

#[test]
fn an_answer_that_says_close_is_followed_by_a_close() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("routes: [ { respond: { status: 200, body: hello } } ]").start();
    let mut client = site.client();
    let answer = client
        .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n");
    let closing = answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    if closing {
        client.expect_closed();
    } else {
        assert_eq!(client.get("/").status(), 200);
    }
}

#[test]
fn a_close_that_follows_an_answer_was_said_in_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |_| {
        held.pass();
        Reply::ok("late")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /killed HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    site.order("shutdown sessions server web/s1");
    let answer = client.answer();
    assert_eq!(answer.status(), 502);
    assert!(answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")), "{answer:?}");
    client.expect_closed();
    gate.open_for_good();
}

#[test]
fn no_connection_is_kept_to_a_server_that_went_into_maintenance_meanwhile() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::answering(move |_| {
        held.pass();
        Reply::ok("done")
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to run", || origin.requests().len() == 1);
    site.order("set server web/s1 state maint");
    gate.open_for_good();
    assert_eq!(client.answer().text(), "done");
    // Shorter than any idle timeout: the application can be stopped without a connection being cut.
    let started = Instant::now();
    until("the connection to be closed", || origin.open_connections() == 0);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(site.stat("web", "s1").number("srv_icur"), 0);
}
