//! Websockets: what a client hears through lockgate is, byte by byte, what it hears from the server itself.
//!
//! Every conversation is held twice, with the server and through lockgate, and both recordings are compared. Tunnels as
//! such (timeouts, refusals, counters) are in `upgrade`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;

use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::until;
use crate::support::websocket::{self, Frame, bytes, key, letters, opcode, said};

/// Says all of it, and gives everything that comes back until the connection ends in order.
#[track_caller]
fn heard(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = websocket::open(to, "/ws");
    let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
    std::thread::scope(|scope| {
        // A server that has seen a wrong frame may leave before it has heard the rest.
        scope.spawn(move || sender.write_all(bytes));
        client.wire.take_rest().unwrap()
    })
}

/// Holds a conversation with both and compares; what both heard.
#[track_caller]
fn same(name: &str, origin: &Origin, site: &Running, bytes: &[u8]) -> Vec<Frame> {
    let direct = heard(origin.addr(), bytes);
    let through = heard(site.address, bytes);
    assert!(
        direct == through,
        "{name}: directly {}, through lockgate {}",
        websocket::summary(&Frame::parse_all(&direct)),
        websocket::summary(&Frame::parse_all(&through)),
    );
    Frame::parse_all(&through)
}

#[test]
fn conversations() {
    let (origin, table) = (Origin::script(websocket::messages), websocket::conversations());
    let site = Site::of(&[&origin]).start();
    for (name, conversation, answer) in &table {
        let frames = same(name, &origin, &site, &said(conversation));
        assert_eq!(websocket::summary(&frames), *answer, "{name}");
    }
    until("every tunnel to end", || site.stat("web", "s1").number("scur") == 0);
    for row in site.logs.wait_rows(table.len()) {
        assert_eq!((row.status, row.termination.as_str()), (101, "----"), "{row:?}");
    }
}

#[test]
fn frames_stay_as_they_were_cut() {
    let origin = Origin::script(websocket::frames);
    let site = Site::of(&[&origin]).start();
    let mut frames = vec![Frame::binary(bytes(1000)).unfinished()];
    frames.extend((0..50).map(|n| Frame::new(opcode::CONTINUATION, bytes(n * 37)).unfinished()));
    frames.extend([Frame::new(opcode::PING, "?"), Frame::new(opcode::CONTINUATION, ""), Frame::close(1000, "")]);
    let back = same("fragments", &origin, &site, &said(&frames));
    assert_eq!(back, frames);
    // Bits and kinds nobody has defined yet are the ends' own business.
    let odd = [Frame::text("x").reserved(7), Frame::new(5, "y"), Frame::new(15, "z"), Frame::close(999, "odd")];
    assert_eq!(same("undefined frames", &origin, &site, &said(&odd)), odd);
}

#[test]
fn an_unmasked_frame_is_for_the_server_to_refuse() {
    let origin = Origin::script(websocket::messages);
    let site = Site::of(&[&origin]).start();
    let back = same("an unmasked frame", &origin, &site, &Frame::text("hello").bare());
    assert_eq!(websocket::summary(&back), "close 1002");
}

#[test]
fn sixteen_mebibytes() {
    let payload = bytes(16 << 20);
    let pieces = |size: usize| -> Vec<Frame> {
        let count = payload.len().div_ceil(size);
        let frame = |(n, piece): (usize, &[u8])| Frame {
            last: n + 1 == count,
            ..Frame::new(if n == 0 { opcode::BINARY } else { opcode::CONTINUATION }, piece)
        };
        payload.chunks(size).enumerate().map(frame).collect()
    };
    let messages = Origin::script(websocket::messages);
    let site = Site::of(&[&messages]).start();
    for (name, frames) in [("one frame", pieces(usize::MAX)), ("fragments", pieces(10_007))] {
        let back = same(name, &messages, &site, &said(&frames));
        assert_eq!(websocket::summary(&back), "binary 16777216, close 1000", "{name}");
        assert!(back[0].payload == payload, "{name}");
    }
    let text = Frame::text(letters(16 << 20));
    let back = same("text", &messages, &site, &said(std::slice::from_ref(&text)));
    assert!(back[0] == text && back.len() == 2);

    let echo = Origin::script(websocket::frames);
    let site = Site::of(&[&echo]).start();
    let frames = [pieces(10_007), vec![Frame::close(1000, "")]].concat();
    assert!(same("frame by frame", &echo, &site, &said(&frames)) == frames);
}

#[test]
fn a_frame_may_be_split_at_every_byte() {
    let origin = Origin::script(websocket::frames);
    let site = Site::of(&[&origin]).start();
    let frames = [
        Frame::text(letters(130)).unfinished(),
        Frame::new(opcode::PING, "hm"),
        Frame::new(opcode::CONTINUATION, "!"),
        Frame::close(1000, "bye"),
    ];
    let bytes = said(&frames);
    for at in 1..bytes.len() {
        let mut client = websocket::open(site.address, "/ws");
        let arrived = || origin.received_by_connection().last().unwrap().len();
        let head = arrived();
        client.send(&bytes[..at]);
        until("the first part to reach the server", || arrived() == head + at);
        client.send(&bytes[at..]);
        let back = client.wire.take_rest().unwrap();
        assert_eq!(Frame::parse_all(&back), frames, "split behind byte {at}");
    }
}

#[test]
fn bytes_pass_one_by_one() {
    // Each side says its next byte only when the other's has come.
    let frame = Frame::text("no waiting for whole frames");
    let (question, answer) = (frame.masked(key(1)), frame.bare());
    let steps = question.len().min(answer.len());
    let reply = answer.clone();
    let origin = Origin::script(move |conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send(websocket::acceptance(&request, ""))?;
        for byte in &reply[..steps] {
            conn.wire.take(1)?;
            conn.send([*byte])?;
        }
        websocket::end(conn)
    });
    let site = Site::of(&[&origin]).start();
    let mut client = websocket::open(site.address, "/ws");
    let back: Vec<u8> = question[..steps].iter().flat_map(|byte| client.send([*byte]).wire.take(1).unwrap()).collect();
    assert_eq!(back, answer[..steps]);
    client.expect_closed();
}

#[test]
fn what_is_said_with_the_handshake_or_with_its_answer_is_not_lost() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        // The first frame in the same segment as the 101.
        conn.send([websocket::acceptance(&request, "").as_bytes(), &Frame::text("welcome").bare()].concat())?;
        while let Some(frame) = Frame::read(&mut conn.wire)? {
            conn.send(frame.bare())?;
        }
        websocket::end(conn)
    });
    let site = Site::of(&[&origin]).start();
    for to in [origin.addr(), site.address] {
        let mut client = RawClient::connect(to);
        client.send([websocket::handshake("/ws", "").as_bytes(), &Frame::text("impatient").masked(key(0))].concat());
        assert_eq!(client.head().status(), 101);
        client.wire.half_close();
        let back = Frame::parse_all(&client.wire.take_rest().unwrap());
        assert_eq!(back, [Frame::text("welcome"), Frame::text("impatient")]);
    }
}

#[test]
fn the_client_may_end_first() {
    let origin = Origin::script(websocket::frames);
    let site = Site::of(&[&origin]).start();
    let frames: Vec<Frame> = (0..20).map(|n| Frame::binary(bytes(n * 5_000))).collect();
    let bytes: Vec<u8> = frames.iter().enumerate().flat_map(|(n, frame)| frame.masked(key(n))).collect();
    for to in [origin.addr(), site.address] {
        let mut client = websocket::open(to, "/ws");
        let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
        let back = std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.write_all(&bytes).unwrap();
                sender.shutdown(std::net::Shutdown::Write).unwrap();
            });
            client.wire.take_rest().unwrap()
        });
        assert!(Frame::parse_all(&back) == frames, "everything said before the end comes back");
    }
}

#[test]
fn the_server_may_end_first() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send([websocket::acceptance(&request, "").as_bytes(), &Frame::close(1001, "").bare()].concat())?;
        websocket::end(conn)
    });
    let site = Site::of(&[&origin]).start();
    let late = said(&[Frame::binary(bytes(200_000)), Frame::close(1001, "")]);
    for to in [origin.addr(), site.address] {
        let mut client = websocket::open(to, "/ws");
        let back = Frame::parse_all(&client.wire.take_rest().unwrap());
        assert_eq!(websocket::summary(&back), "close 1001");
        // What the client says after that still arrives.
        client.send(&late);
        client.wire.half_close();
        until("the client's last words to arrive", || {
            origin.received_by_connection().last().is_some_and(|all| all.ends_with(&late))
        });
    }
    until("the connection to be gone", || origin.open_connections() == 0);
}

#[test]
fn either_end_may_vanish() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        conn.send(websocket::acceptance(&request, ""))?;
        if request.target() == "/reset" {
            conn.wire.take(1)?;
            conn.reset_at_end();
            return Ok(());
        }
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();
    let client = websocket::open(site.address, "/ws");
    assert_eq!(origin.open_connections(), 1);
    client.wire.reset();
    until("the server's side to end", || origin.open_connections() == 0);
    let row = site.logs.row_of("/ws");
    assert_eq!((row.status, row.termination.as_str()), (101, "CD--"), "{row:?}");

    let mut client = websocket::open(site.address, "/reset");
    client.send("x");
    client.expect_closed();
    let row = site.logs.row_of("/reset");
    assert_eq!((row.status, row.termination.as_str()), (101, "SD--"), "{row:?}");
}

#[test]
fn handshakes_arrive_whole() {
    let seen: Mutex<Vec<Message>> = Mutex::default();
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        let fields = "Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Extensions: permessage-deflate; \
                      server_no_context_takeover\r\nSet-Cookie: a=b\r\nX-Odd: 1\r\nX-Odd: 2\r\n";
        conn.send(websocket::acceptance(&request, fields))?;
        websocket::end(conn)
    });
    let site = Site::of(&[&origin]).start();
    let asked = websocket::handshake(
        "/chat?room=1&x=%20",
        "Origin: https://www.example.test\r\nSec-WebSocket-Protocol: chat.v1, chat.v2\r\nSec-WebSocket-Protocol: super\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nCookie: session=1; b=2\r\n\
         User-Agent: a browser\r\nAuthorization: Basic eA==\r\n",
    );
    let answers = [origin.addr(), site.address].map(|to| {
        let answer = RawClient::connect(to).ask(&asked);
        seen.lock().unwrap().push(origin.requests().last().unwrap().clone());
        (answer.first_line.clone(), sorted(&answer))
    });
    assert_eq!(answers[0], answers[1], "the answer");
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0].first_line, seen[1].first_line);
    for field in sorted(&seen[0]) {
        assert!(sorted(&seen[1]).contains(&field), "{field:?} is missing in {:?}", seen[1]);
    }
}

/// Fields in an order and spelling that do not matter.
fn sorted(message: &Message) -> Vec<(String, String)> {
    let lower = |(name, value): &(String, String)| {
        let name = name.to_lowercase();
        let value = if name == "connection" { value.to_lowercase() } else { value.clone() };
        (name, value)
    };
    let mut fields: Vec<_> = message.fields.iter().map(lower).collect();
    fields.sort();
    fields
}

#[test]
fn over_tls() {
    let authority = Authority::new();
    let origin = Origin::script(websocket::messages);
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let bind =
        format!("bind: [ {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }} ]", site.address(), file.display());
    let site = site.frontend(bind).start();
    for (name, conversation, answer) in websocket::conversations() {
        let bytes = said(&conversation);
        if bytes.len() > 100_000 {
            continue;
        }
        let mut client = websocket::opened(authority.connect(site.address, "a.test"), "/ws");
        client.send(&bytes);
        let back = client.wire.take_rest().unwrap();
        assert_eq!(websocket::summary(&Frame::parse_all(&back)), answer, "{name}");
        assert!(back == heard(origin.addr(), &bytes), "{name}");
    }
    // Record by record, byte by byte.
    let mut client = websocket::opened(authority.connect(site.address, "a.test"), "/ws");
    for byte in said(&[Frame::text("slowly")]) {
        client.send([byte]);
    }
    assert_eq!(websocket::summary(&Frame::parse_all(&client.wire.take_rest().unwrap())), "text 6, close 1000");
}

#[test]
fn a_client_that_does_not_listen_holds_its_server_back() {
    let origin = Origin::script(websocket::frames);
    let site = Site::of(&[&origin]).start();
    let mut deaf = RawClient::connect_narrow(site.address);
    deaf.send(websocket::handshake("/deaf", ""));
    assert_eq!(deaf.head().status(), 101);
    let before = site.memory_kib("VmRSS");
    // As much as it takes until nobody can take more: the echo comes back and nobody reads it.
    let mut sender = deaf.wire.transport().tcp().unwrap().try_clone().unwrap();
    sender.set_write_timeout(Some(std::time::Duration::from_millis(700))).unwrap();
    let frame = Frame::binary(bytes(65_536)).masked(key(0));
    let mut sent = 0usize;
    while sent < 256 << 20 {
        match sender.write(&frame[sent % frame.len()..]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    assert!(sent < 256 << 20, "somebody takes everything");
    let after = site.memory_kib("VmRSS");
    assert!(after < before + 4_096, "{sent} bytes were sent, memory went from {before} to {after} KiB");
    // Others are served meanwhile, and nothing of it is lost for the one who starts to listen.
    assert_eq!(
        websocket::summary(&Frame::parse_all(&heard(site.address, &said(&[Frame::text("x")])))),
        "text 1, close 1000"
    );
    let whole = sent / frame.len();
    let expected = Frame::binary(bytes(65_536));
    let rest = frame.len() - sent % frame.len();
    let from = frame.len() - rest;
    sender.set_write_timeout(None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&frame[from..]).unwrap();
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        for n in 0..=whole {
            assert!(Frame::read(&mut deaf.wire).unwrap().as_ref() == Some(&expected), "frame {n} of {whole}");
        }
        assert_eq!(Frame::read(&mut deaf.wire).unwrap(), None);
    });
}
