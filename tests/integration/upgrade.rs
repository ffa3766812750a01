//! Upgrades: websockets become tunnels, and only after the server said so.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::origin::{Origin, OriginConn, Reply};
use crate::support::site::Site;
use crate::support::{holds_for, until};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches and says everything back until the proxy closes.
fn echo(conn: &mut OriginConn) -> std::io::Result<()> {
    if conn.request_head()?.is_none() {
        return Ok(());
    }
    conn.send(SWITCHING)?;
    loop {
        let n = conn.wire.buffered().len();
        if n > 0 {
            let bytes = conn.wire.take(n)?;
            conn.send(bytes)?;
        } else if conn.wire.fill()? == 0 {
            return Ok(());
        }
    }
}

#[test]
fn a_websocket_becomes_a_tunnel() {
    let origin = Origin::script(echo);
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    let answer = client.ask(HANDSHAKE);
    assert_eq!((answer.status(), answer.field("upgrade")), (101, Some("websocket")));
    assert!(answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")));
    let seen = &origin.requests()[0];
    assert_eq!(seen.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.field("upgrade"), Some("websocket"));

    for length in [1usize, 100, 1_000_000] {
        let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
        let copy = bytes.clone();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &copy));
        assert!(client.wire.take(length).unwrap() == bytes);
        writing.join().unwrap().unwrap();
    }
    until("the tunnel to be counted", || site.stat("web", "s1").number("scur") == 1);
    assert!(site.logs.rows().is_empty(), "a tunnel is logged when it ends");
    drop(client);
    let row = site.logs.row_of("/ws");
    assert_eq!((row.status, row.termination.as_str(), row.reached().as_str()), (101, "----", "++++"));
    assert!(row.bytes > 1_000_101, "{row:?}");
    until("the tunnel to end", || site.stat("web", "s1").number("scur") == 0);
}

#[test]
fn nothing_passes_before_the_101() {
    let (early, seen_early) = mpsc::channel();
    let origin = Origin::script(move |conn| {
        conn.request_head()?;
        conn.wire.read_patience(Duration::from_millis(400));
        let silent = conn.wire.buffered().is_empty() && conn.wire.fill().is_err();
        let _ = early.send(silent);
        conn.wire.read_patience(Duration::from_secs(60));
        conn.send(SWITCHING)?;
        let bytes = conn.wire.take(5)?;
        conn.send(bytes)?;
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send(format!("{HANDSHAKE}EARLY"));
    assert!(seen_early.recv().unwrap(), "bytes behind an upgrade request reached the server before its 101");
    assert_eq!(client.answer().status(), 101);
    assert_eq!(client.wire.take(5).unwrap(), b"EARLY", "they are kept for the tunnel");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let origin = Origin::answering(|_| Reply::status(426).field("Upgrade", "websocket"));
    let site = Site::of(&[&origin]).start();
    assert_eq!(site.ask(HANDSHAKE).status(), 426);
    assert_eq!(site.get("/").status(), 426);
    assert_eq!(site.logs.row_of("/ws").status, 426);
}

#[test]
fn bytes_sent_with_a_refused_upgrade_never_reach_the_server_raw() {
    let origin = Origin::answering(|_| Reply::ok("plain"));
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send(format!("{HANDSHAKE}\u{1}\u{2}raw frame bytes\r\n\r\n"));
    assert_eq!(client.answer().status(), 200);
    let _ = client.wire.take_rest();
    for bytes in origin.received_by_connection() {
        assert!(!String::from_utf8_lossy(&bytes).contains("raw frame"));
    }
    assert_eq!(site.get("/").text(), "plain");
}

#[test]
fn an_upgrade_to_http_2_is_never_forwarded() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    for token in ["h2c", "H2C", "websocket, h2c"] {
        let answer = client.ask(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {token}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        ));
        assert_eq!(answer.status(), 200, "{token}");
    }
    for request in origin.requests() {
        assert_eq!(request.field("http2-settings"), None, "{request:?}");
        assert!(!request.all("upgrade").iter().any(|v| v.to_lowercase().contains("h2c")), "{request:?}");
    }
}

#[test]
fn a_101_nobody_asked_for_is_an_error() {
    let origin = Origin::script(|conn| {
        while conn.request()?.is_some() {
            conn.send(SWITCHING)?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    assert_eq!(client.get("/").status(), 502);
    assert_eq!(site.get("/").status(), 502);
}

#[test]
fn an_idle_tunnel_ends() {
    let origin = Origin::script(echo);
    let site = Site::of(&[&origin]).defaults("timeouts: { tunnel: 500ms }").start();
    let mut client = site.client();
    assert_eq!(client.ask(HANDSHAKE).status(), 101);
    let started = Instant::now();
    // Traffic keeps it open past the limit …
    while started.elapsed() < Duration::from_millis(900) {
        client.send("ping");
        assert_eq!(client.wire.take(4).unwrap(), b"ping");
        std::thread::sleep(Duration::from_millis(100));
    }
    // … silence ends it.
    client.expect_closed();
    assert!(started.elapsed() >= Duration::from_millis(1300));
    assert_eq!(site.logs.row_of("/ws").termination, "cD--");
}

#[test]
fn other_timeouts_do_not_touch_a_tunnel() {
    let origin = Origin::script(echo);
    let site = Site::of(&[&origin])
        .defaults("timeouts: { tunnel: 1m, client: 200ms, server: 200ms, keepalive: 200ms, request: 200ms }")
        .start();
    let mut client = site.client();
    assert_eq!(client.ask(HANDSHAKE).status(), 101);
    client.expect_silence(Duration::from_millis(700));
    client.send("still");
    assert_eq!(client.wire.take(5).unwrap(), b"still");
}

#[test]
fn each_direction_of_a_tunnel_ends_by_itself() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send(SWITCHING)?;
        let all = conn.wire.take_rest()?;
        conn.send(format!("got {}", all.len()))
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    assert_eq!(client.ask(HANDSHAKE).status(), 101);
    client.send("12345");
    client.wire.half_close();
    assert_eq!(client.wire.take_rest().unwrap(), b"got 5");
}

#[test]
fn tunnels_do_not_block_other_requests() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        if request.target() == "/ws" {
            conn.send(SWITCHING)?;
            return conn.stall();
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let site = Site::of(&[&origin]).start();
    let mut tunnels: Vec<_> = (0..20).map(|_| site.client()).collect();
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.ask(HANDSHAKE).status(), 101);
    }
    assert_eq!(site.get("/").text(), "ok");
    until("the tunnels alone to be counted", || site.stat("web", "s1").number("scur") == 20);
    let before = Instant::now();
    drop(tunnels);
    until("every tunnel to end", || site.stat("web", "s1").number("scur") == 0);
    assert!(before.elapsed() < Duration::from_secs(10));
    holds_for(Duration::from_millis(50), "the count stays", || site.stat("web", "s1").number("scur") == 0);
}
