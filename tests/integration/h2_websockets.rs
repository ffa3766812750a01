//! Websockets by HTTP/2: extended CONNECT (RFC 8441) to servers that know upgrades.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};

use crate::support::h2::{H2Client, H2Stream};
use crate::support::origin::{Origin, OriginConn};
use crate::support::site::{Running, Site};
use crate::support::until;

fn start(site: Site) -> Running {
    let bind = format!("bind: [ {{ address: \"{}\", proto: h2 }} ]", site.address());
    site.frontend(bind).start()
}

fn accept(key: &str) -> String {
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes()))
}

/// Switches and says everything back until the proxy closes; then a last word.
fn echo(conn: &mut OriginConn) -> std::io::Result<()> {
    let Some(asked) = conn.request_head()? else { return Ok(()) };
    let accepted = accept(asked.field("sec-websocket-key").unwrap_or_default());
    conn.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accepted}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    ))?;
    loop {
        let n = conn.wire.buffered().len();
        if n > 0 {
            let bytes = conn.wire.take(n)?;
            conn.send(bytes)?;
        } else if conn.wire.fill()? == 0 {
            return conn.send("bye");
        }
    }
}

fn ask(protocol: &'static str) -> Request<()> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://www.example.test/ws")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static(protocol));
    request.body(()).unwrap()
}

/// Connects and waits for our settings, without which a client may not ask.
fn connect(site: &Running) -> H2Client {
    let mut client = H2Client::connect(site.address);
    let _ = client.get("/");
    client
}

async fn take(body: &mut h2::RecvStream, n: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < n {
        let piece = body.data().await.expect("more").expect("a sound stream");
        body.flow_control().release_capacity(piece.len()).unwrap();
        got.extend_from_slice(&piece);
    }
    got
}

fn open(client: &mut H2Client) -> (H2Stream, h2::RecvStream) {
    let mut stream = client.start(ask("websocket"), false);
    let (head, body) = client.head(&mut stream).unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers.get("sec-websocket-protocol").unwrap(), "chat");
    assert!(head.headers.get("sec-websocket-accept").is_none() && head.headers.get("upgrade").is_none());
    (stream, body)
}

fn echoing() -> Origin {
    Origin::script(|conn| {
        // The first connection answers the plain request that every test begins with.
        if conn.index == 0 {
            conn.request()?;
            return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        echo(conn)
    })
}

#[test]
fn a_websocket_over_http2_becomes_an_upgrade() {
    let origin = echoing();
    let site = start(Site::of(&[&origin]));
    let mut client = connect(&site);
    let (mut stream, mut body) = open(&mut client);
    let seen = &origin.requests()[1];
    assert_eq!((seen.method(), seen.target()), ("GET", "/ws"));
    assert_eq!((seen.field("upgrade"), seen.field("sec-websocket-version")), (Some("websocket"), Some("13")));
    assert_eq!(STANDARD.decode(seen.field("sec-websocket-key").unwrap()).unwrap().len(), 16);
    for n in [1usize, 100, 3_000_000] {
        let bytes: Vec<u8> = (0..n).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let copy = bytes.clone();
        let send = &mut stream.send;
        let came = client.wait("an echo", async {
            let sending = async {
                let mut left = &copy[..];
                while !left.is_empty() {
                    send.reserve_capacity(left.len());
                    let room = match send.capacity() {
                        0 => std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap(),
                        room => room,
                    };
                    let (now, later) = left.split_at(room.min(left.len()));
                    send.send_data(Bytes::copy_from_slice(now), false).unwrap();
                    left = later;
                }
            };
            tokio::join!(sending, take(&mut body, n)).1
        });
        assert!(came == bytes, "{n} bytes");
    }
    until("the tunnel to be counted", || site.stat("web", "s1").number("scur") == 1);
}

#[test]
fn halves_close_one_by_one() {
    let origin = echoing();
    let site = start(Site::of(&[&origin]));
    let mut client = connect(&site);
    let (mut stream, mut body) = open(&mut client);
    stream.send.send_data(Bytes::from_static(b"last words"), true).unwrap();
    let came = client.wait("the other half", async { take(&mut body, 13).await });
    assert_eq!(came, b"last wordsbye", "the server could still speak");
    // The end may come in a frame of its own.
    client.wait("the end", async {
        while let Some(piece) = body.data().await {
            assert!(piece.unwrap().is_empty(), "nothing behind the last word");
        }
    });
    let row = site.logs.row_where("the tunnel", |row| row.target().ends_with("/ws"));
    assert_eq!((row.status, row.termination.as_str()), (200, "----"));
    until("the tunnel to end", || site.stat("web", "s1").number("scur") == 0);
}

#[test]
fn a_client_that_resets_ends_its_tunnel_alone() {
    let origin = echoing();
    let site = start(Site::of(&[&origin]));
    let mut client = connect(&site);
    let (mut one, _body) = open(&mut client);
    let (mut other, mut body) = open(&mut client);
    one.send.send_reset(h2::Reason::CANCEL);
    client.is_open();
    until("one tunnel less", || site.stat("web", "s1").number("scur") == 1);
    other.send.send_data(Bytes::from_static(b"still"), false).unwrap();
    assert_eq!(client.wait("an echo", async { take(&mut body, 5).await }), b"still");
}

#[test]
fn a_silent_tunnel_is_ended_after_its_timeout() {
    let origin = echoing();
    let site = start(Site::of(&[&origin]).defaults("timeouts: { tunnel: 300ms }"));
    let mut client = connect(&site);
    let (_stream, mut body) = open(&mut client);
    let ended = client.wait("the end", async { body.data().await });
    assert_eq!(ended.unwrap().unwrap_err().reason(), Some(h2::Reason::CANCEL));
    let row = site.logs.row_where("the tunnel", |row| row.target().ends_with("/ws"));
    assert_eq!(row.termination, "cD--");
}

#[test]
fn servers_that_refuse_or_pretend() {
    for (says, status) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            502,
        ),
    ] {
        let origin = Origin::script(move |conn| {
            if conn.index == 0 {
                conn.request()?;
                return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            conn.request_head()?;
            conn.send(says)?;
            conn.wire.read_patience(Duration::from_secs(60));
            conn.stall()
        });
        let site = start(Site::of(&[&origin]));
        let mut client = connect(&site);
        let stream = client.start(ask("websocket"), false);
        assert_eq!(client.answer(stream).unwrap().status(), status, "{says}");
    }
}

#[test]
fn other_protocols_are_not_served() {
    let origin = echoing();
    let site = start(Site::of(&[&origin]));
    let mut client = connect(&site);
    let stream = client.start(ask("connect-udp"), false);
    assert_eq!(client.answer(stream).unwrap().status(), 501);
}
