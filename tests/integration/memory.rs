//! Big bodies pass through little memory.

use std::io;
use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::until;
use crate::support::wire::Wire;

const GIB: u64 = 1 << 30;
const LIMIT_KIB: u64 = 50 * 1024;
const PIECE: usize = 1 << 17;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

impl Framing {
    fn field(self) -> String {
        match self {
            Framing::Length => format!("Content-Length: {GIB}"),
            Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        }
    }
}

fn send_body(wire: &mut Wire, framing: Framing) -> io::Result<()> {
    let mut piece = Vec::new();
    if framing == Framing::Chunked {
        piece.extend(format!("{PIECE:x}\r\n").bytes());
    }
    piece.extend(vec![b'm'; PIECE]);
    if framing == Framing::Chunked {
        piece.extend(b"\r\n");
    }
    for _ in 0..GIB / PIECE as u64 {
        wire.send(&piece)?;
    }
    if framing == Framing::Chunked { wire.send("0\r\n\r\n") } else { Ok(()) }
}

fn receive_body(wire: &mut Wire, head: &Message) -> io::Result<u64> {
    if let Some(length) = head.field("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        wire.skip(length)?;
        return Ok(length);
    }
    let mut total = 0;
    loop {
        let line = wire.take_until(b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = std::str::from_utf8(&line[..line.len() - 2]).map_err(io::Error::other)?;
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        wire.skip(size + 2)?;
        total += size;
        if size == 0 {
            return Ok(total);
        }
    }
}

/// Takes any upload and answers its size; sends a GiB to `GET /length` and `GET /chunked`.
fn origin() -> Origin {
    Origin::script(|conn| {
        while let Some(request) = conn.request_head()? {
            if request.method() == "POST" {
                let total = receive_body(&mut conn.wire, &request)?.to_string();
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{total}", total.len()))?;
                continue;
            }
            let framing = if request.target() == "/chunked" { Framing::Chunked } else { Framing::Length };
            conn.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing.field()))?;
            send_body(&mut conn.wire, framing)?;
        }
        Ok(())
    })
}

fn up_and_down(site: &Running, client: &mut RawClient) {
    for framing in [Framing::Length, Framing::Chunked] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{}\r\n\r\n", framing.field()));
        send_body(&mut client.wire, framing).unwrap();
        assert_eq!(client.answer().text(), GIB.to_string(), "upload, {framing:?}");
        let target = if framing == Framing::Chunked { "/chunked" } else { "/length" };
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let head = client.head();
        assert_eq!(receive_body(&mut client.wire, &head).unwrap(), GIB, "download, {framing:?}");
        let peak = site.memory_kib("VmHWM");
        assert!(peak < LIMIT_KIB, "{peak} KiB after {framing:?}");
    }
}

#[test]
fn a_gib_each_way_in_plain() {
    let origin = origin();
    let site = Site::of(&[&origin]).start();
    up_and_down(&site, &mut site.client());
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_gib_each_way_over_tls() {
    let authority = Authority::new();
    let origin = origin();
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let bind =
        format!("bind: [ {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }} ]", site.address(), file.display());
    let site = site.frontend(bind).start();
    up_and_down(&site, &mut authority.connect(site.address, "a.test"));
}

#[test]
fn slow_readers_hold_little() {
    let origin = origin();
    let site = Site::of(&[&origin]).start();
    // A thousand bytes a second each, from a server that could send at once.
    let mut clients: Vec<RawClient> = (0..20)
        .map(|_| {
            let mut client = RawClient::connect_narrow(site.address);
            client.send("GET /length HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.head().status(), 200);
            client
        })
        .collect();
    until("every server connection", || origin.connections() == 20);
    let at_first = site.memory_kib("VmRSS");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        for client in &mut clients {
            client.wire.skip(50).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let later = site.memory_kib("VmRSS");
    assert!(later < at_first + 4 * 1024, "grew from {at_first} to {later} KiB");
    assert!(later < LIMIT_KIB);
}

/// What each of `n` more clients costs, in bytes, once `warm` have shown the process what it needs anyway.
fn cost_of_each(site: &Running, warm: usize, n: u64, mut open: impl FnMut() -> RawClient) -> u64 {
    let mut clients: Vec<RawClient> = (0..warm).map(|_| open()).collect();
    let before = site.memory_kib("RssAnon");
    clients.extend((0..n).map(|_| open()));
    site.memory_kib("RssAnon").saturating_sub(before) * 1024 / n
}

#[test]
fn idle_connections_hold_little() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let each = cost_of_each(&site, 200, 1000, || {
        let mut client = site.client();
        assert_eq!(client.get("/").status(), 200);
        client
    });
    assert!(each < 2 * 1024, "{each} bytes per idle connection");
}

#[test]
fn idle_tunnels_hold_little() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let each = cost_of_each(&site, 50, 300, || {
        let mut client = site.client();
        let asked = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(client.ask(asked).status(), 101);
        client
    });
    assert!(each < 5 * 1024, "{each} bytes per idle tunnel");
}
