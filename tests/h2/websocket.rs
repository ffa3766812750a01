//! Websockets over HTTP/2 (RFC 8441): the same conversations, over DATA frames, with a server that speaks HTTP/1.

use super::cases;
use crate::support::h2_raw::{Answer, Course, Frame as H2Frame, H2Client, Heard, code, flag, kind, setting};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::until;
use crate::support::websocket::{self, Frame, bytes, key, said};

fn site(origin: &Origin) -> Running {
    cases::site(origin).start()
}

/// The opening of a websocket on a stream.
fn opening<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws"),
        (":authority", "www.example.test"),
        ("sec-websocket-version", "13"),
    ];
    [&fields[..], more].concat()
}

/// Opens one and waits for the server's yes.
#[track_caller]
fn open(client: &mut H2Client, stream: u32) {
    client.ask(stream, &opening(&[]), false);
    client.until("an answer", |frame| frame.kind == kind::HEADERS && frame.stream == stream);
    let answer = &client.answers[&stream];
    assert_eq!((answer.status, answer.course), (200, Course::Open), "{answer:?}");
}

/// Says all of it on one stream; what comes back until the server ends.
#[track_caller]
fn heard(client: &mut H2Client, stream: u32, bytes: &[u8]) -> Vec<u8> {
    open(client, stream);
    client.say_body(stream, bytes, false);
    let answer = client.answer(stream);
    assert_eq!(answer.course, Course::Whole, "ended in order");
    client.say(&[H2Frame::data(stream, flag::END_STREAM, "")]);
    answer.body
}

/// The same conversation with the server itself, over HTTP/1.
fn direct(origin: &Origin, bytes: &[u8]) -> Vec<u8> {
    let mut client = websocket::open(origin.addr(), "/ws");
    let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, bytes));
        client.wire.take_rest().unwrap()
    })
}

#[test]
fn it_is_announced() {
    let origin = Origin::script(websocket::messages);
    let site = site(&origin);
    let client = H2Client::connect(site.address);
    assert_eq!(client.settings.get(&setting::ENABLE_CONNECT_PROTOCOL), Some(&1));
}

#[test]
fn conversations() {
    let origin = Origin::script(websocket::messages);
    let site = site(&origin);
    // All on one connection, one after the other.
    let mut client = H2Client::connect(site.address);
    for (n, (name, conversation, answer)) in (0..).zip(websocket::conversations()) {
        let bytes = said(&conversation);
        let back = heard(&mut client, 2 * n + 1, &bytes);
        assert_eq!(websocket::summary(&Frame::parse_all(&back)), answer, "{name}");
        assert!(back == direct(&origin, &bytes), "{name}");
    }
    until("every tunnel to end", || site.stat("web", "s1").number("scur") == 0);
    let rows = site.logs.wait_rows(websocket::conversations().len());
    assert!(rows.iter().all(|row| row.termination == "----" && row.request.ends_with(" HTTP/2.0")), "{rows:#?}");
}

#[test]
fn frames_stay_as_they_were_cut() {
    let origin = Origin::script(websocket::frames);
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let mut frames = vec![Frame::binary(bytes(1000)).unfinished()];
    frames.extend((0..50).map(|n| Frame::new(websocket::opcode::CONTINUATION, bytes(n * 37)).unfinished()));
    frames.extend([Frame::new(websocket::opcode::CONTINUATION, "").reserved(5), Frame::close(1000, "")]);
    assert_eq!(Frame::parse_all(&heard(&mut client, 1, &said(&frames))), frames);
}

#[test]
fn sixteen_mebibytes() {
    let origin = Origin::script(websocket::messages);
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let message = Frame::binary(bytes(16 << 20));
    let back = Frame::parse_all(&heard(&mut client, 1, &said(std::slice::from_ref(&message))));
    assert!(back[0] == message && back.len() == 2, "{}", websocket::summary(&back));
}

#[test]
fn a_frame_may_be_split_at_every_byte() {
    let origin = Origin::script(websocket::frames);
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let frames = [
        Frame::text("split").unfinished(),
        Frame::new(websocket::opcode::CONTINUATION, "!"),
        Frame::close(1000, "bye"),
    ];
    let bytes = said(&frames);
    for (n, at) in (0..).zip(1..bytes.len()) {
        let stream = 2 * n + 1;
        open(&mut client, stream);
        let arrived = || origin.received_by_connection().last().unwrap().len();
        let head = arrived();
        client.say(&[H2Frame::data(stream, 0, &bytes[..at])]);
        until("the first part to reach the server", || arrived() == head + at);
        // Padding and empty frames are no part of it.
        client.say(&[H2Frame::data(stream, 0, "").padded(3, 3), H2Frame::data(stream, 0, &bytes[at..]).padded(7, 7)]);
        assert_eq!(Frame::parse_all(&client.answer(stream).body), frames, "split behind byte {at}");
        client.say(&[H2Frame::data(stream, flag::END_STREAM, "")]);
    }
}

#[test]
fn many_on_one_connection_between_requests() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        if request.target() != "/ws" {
            return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        conn.send(websocket::acceptance(&request, ""))?;
        while let Some(frame) = Frame::read(&mut conn.wire)? {
            conn.send(frame.bare())?;
        }
        websocket::end(conn)
    });
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let streams: Vec<u32> = (0..50).map(|n| 4 * n + 1).collect();
    for stream in &streams {
        open(&mut client, *stream);
        assert_eq!(client.get(stream + 2, "/").text(), "ok");
    }
    assert_eq!(site.stat("web", "s1").number("scur"), 50);
    for (n, stream) in streams.iter().enumerate() {
        client.say(&[H2Frame::data(*stream, flag::END_STREAM, Frame::text(format!("number {n}")).masked(key(n)))]);
    }
    for (n, stream) in streams.iter().enumerate() {
        let back = Frame::parse_all(&client.answer(*stream).body);
        assert_eq!(back, [Frame::text(format!("number {n}"))]);
    }
    until("every tunnel to end", || site.stat("web", "s1").number("scur") == 0);
}

#[test]
fn either_side_may_end_first() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send([websocket::acceptance(&request, "").as_bytes(), &Frame::close(1001, "").bare()].concat())?;
        websocket::end(conn)
    });
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    open(&mut client, 1);
    let answer = client.answer(1);
    assert_eq!(
        (answer.course, websocket::summary(&Frame::parse_all(&answer.body)).as_str()),
        (Course::Whole, "close 1001")
    );
    // The server ended; what the client says after that still arrives.
    let late = said(&[Frame::binary(bytes(30_000)), Frame::close(1001, "")]);
    client.say_body(1, &late, true);
    until("the client's last words to arrive", || origin.received_by_connection()[0].ends_with(&late));
    until("the connection to be gone", || origin.open_connections() == 0);

    let echo = Origin::script(websocket::frames);
    let site = self::site(&echo);
    let mut client = H2Client::connect(site.address);
    open(&mut client, 1);
    let frames: Vec<Frame> = (0..20).map(|n| Frame::binary(bytes(n * 5_000))).collect();
    let all: Vec<u8> = frames.iter().enumerate().flat_map(|(n, frame)| frame.masked(key(n))).collect();
    client.say_body(1, &all, true);
    let answer = client.answer(1);
    assert!(answer.course == Course::Whole && Frame::parse_all(&answer.body) == frames);
}

#[test]
fn either_side_may_vanish() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send(websocket::acceptance(&request, ""))?;
        conn.wire.take(1)?;
        conn.reset_at_end();
        Ok(())
    });
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    // The client gives up one stream, and the connection goes on.
    open(&mut client, 1);
    client.say(&[H2Frame::reset(1, code::CANCEL)]);
    until("the server's side to end", || origin.open_connections() == 0);
    // The server's connection breaks: that is no end in order.
    open(&mut client, 3);
    client.say(&[H2Frame::data(3, 0, "x")]);
    assert!(matches!(client.answer(3).course, Course::Reset(_)), "{:?}", client.answers[&3]);
    // The client's connection breaks.
    open(&mut client, 5);
    until("a connection", || origin.open_connections() == 1);
    client.wire.reset();
    until("the server's side to end", || origin.open_connections() == 0);
}

#[test]
fn handshakes_arrive_whole() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        let fields =
            "Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: a=b\r\n";
        conn.send(websocket::acceptance(&request, fields))?;
        websocket::end(conn)
    });
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let more = [
        ("origin", "https://www.example.test"),
        ("sec-websocket-protocol", "chat.v1, chat.v2"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    let answer = client.ask(1, &opening(&more), false).answer(1);
    assert_eq!(answer.status, 200);
    let has = |name: &str| answer.field(name).map(str::to_owned);
    assert_eq!(has("sec-websocket-protocol").as_deref(), Some("chat.v2"));
    assert_eq!(has("sec-websocket-extensions").as_deref(), Some("permessage-deflate"));
    assert_eq!(has("set-cookie").as_deref(), Some("a=b"));
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert_eq!(has(name), None, "{name}");
    }
    let seen = origin.requests().pop().unwrap();
    assert_eq!(seen.first_line, "GET /ws HTTP/1.1");
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert!(seen.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{seen:?}");
    assert_eq!(seen.field("sec-websocket-version"), Some("13"));
    assert_eq!(seen.field("sec-websocket-key").map(str::len), Some(24), "sixteen bytes in base64");
    for (name, value) in [("origin", "https://www.example.test"), ("cookie", "a=1; b=2"), ("host", "www.example.test")]
    {
        assert_eq!(seen.field(name), Some(value));
    }
    assert_eq!(seen.field("sec-websocket-protocol"), Some("chat.v1, chat.v2"));
}

#[test]
fn a_server_may_say_no() {
    let origin = Origin::saying("HTTP/1.1 403 No\r\nContent-Length: 7\r\nX-Why: so\r\n\r\nrefused");
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    let answer = client.ask(1, &opening(&[]), false).answer(1);
    assert_eq!((answer.status, answer.text().as_str(), answer.field("x-why")), (403, "refused", Some("so")));
    assert_eq!(client.get(3, "/").status, 403, "the connection goes on");
}

#[test]
fn a_server_that_accepts_wrongly_is_not_believed() {
    for accepting in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    ] {
        let origin = Origin::saying(accepting);
        let site = site(&origin);
        let answer: Answer = H2Client::connect(site.address).ask(1, &opening(&[]), false).answer(1);
        assert_eq!(answer.status, 502, "{accepting}");
    }
}

#[test]
fn openings_that_are_none() {
    let origin = Origin::script(websocket::messages);
    let site = site(&origin);
    let line = |method, protocol, path, authority| -> Vec<(&str, &str)> {
        let fields = [
            (":method", method),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", path),
            (":authority", authority),
        ];
        fields.into_iter().filter(|(_, value)| *value != "-").chain([("sec-websocket-version", "13")]).collect()
    };
    for (what, fields) in [
        ("GET with a protocol", line("GET", "websocket", "/ws", "a.test")),
        ("no path", line("CONNECT", "websocket", "-", "a.test")),
        ("no authority", line("CONNECT", "websocket", "/ws", "-")),
        ("a protocol nobody speaks", line("CONNECT", "carrier-pigeon", "/ws", "a.test")),
        ("an empty protocol", line("CONNECT", "", "/ws", "a.test")),
    ] {
        let answer = H2Client::connect(site.address).ask(1, &fields, false).answer(1);
        let refused = (400..502).contains(&answer.status)
            || matches!(answer.course, Course::Reset(code::PROTOCOL_ERROR) | Course::Lost(Some(code::PROTOCOL_ERROR)));
        assert!(refused, "{what}: {answer:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn an_idle_one_ends() {
    let origin = Origin::script(websocket::frames);
    let site: Site = cases::site(&origin).defaults("timeouts: { tunnel: 500ms, client: 200ms, server: 200ms }");
    let site = site.start();
    let mut client = H2Client::connect(site.address);
    open(&mut client, 1);
    for n in 0..6 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        let frame = Frame::text("still here");
        client.say(&[H2Frame::data(1, 0, frame.masked(key(n)))]);
        client.until("the echo", |frame| frame.kind == kind::DATA);
    }
    assert_ne!(client.answer(1).course, Course::Open, "silence ends it");
    until("the server's side to end", || origin.open_connections() == 0);
}

#[test]
fn a_client_that_does_not_listen_holds_its_server_back() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send(websocket::acceptance(&request, ""))?;
        let frame = Frame::binary(bytes(65_536)).bare();
        // As much as it takes until nobody can take more.
        loop {
            conn.send(&frame)?;
        }
    });
    let site = site(&origin);
    let mut client = H2Client::connect(site.address);
    client.consumes = false;
    let before = site.memory_kib("VmRSS");
    open(&mut client, 1);
    let mut received = 0;
    while let Heard::Frame(frame) = client.hear_within(std::time::Duration::from_secs(1)) {
        received += if frame.kind == kind::DATA { frame.payload.len() } else { 0 };
    }
    assert_eq!(received, 65_535, "the window is full");
    let after = site.memory_kib("VmRSS");
    assert!(after < before + 8_192, "memory went from {before} to {after} KiB");
    // Other streams of the connection need the connection's window alone.
    client.say(&[H2Frame::window_update(0, 1 << 20)]);
    open(&mut client, 3);
    client.until("a byte on another stream", |frame| frame.kind == kind::DATA && frame.stream == 3);
}
