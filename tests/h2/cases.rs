//! Rows of the tables: what a client does, and how the server must answer it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::h2_raw::{Course, Frame, H2Client, Heard, code, flag, kind, request};
use crate::support::hpack;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};

/// What every answer says: longer than any window the cases leave open.
pub const BODY: &str = "forty-two bytes of a body, neither more...";

/// What the h2 library says where RFC 9113 asks for a more exact code. The connection ends either way, which is all a
/// client can build on and all that h2spec looks at. Rows with it tell where the two differ.
pub const LIBRARY: u32 = code::PROTOCOL_ERROR;

/// How long a reaction may take.
const SOON: Duration = Duration::from_secs(5);

/// One row.
pub struct Case {
    /// Of RFC 9113, or of RFC 7541 where the table says so.
    pub section: &'static str,
    pub what: &'static str,
    pub play: fn(&mut H2Client),
    pub then: Then,
}

/// How the server must react.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// A whole answer with status 200 on this stream.
    Answered(u32),
    /// The answer to a ping with these bytes.
    Pinged([u8; 8]),
    /// That, or the end of the connection.
    PingedOrEnded([u8; 8]),
    /// Its acknowledgement of settings.
    Acknowledged,
    /// A next piece of body with this many bytes.
    Piece(usize),
    /// A connection error: GOAWAY with one of these codes, then the end.
    Gone(&'static [u32]),
    /// A stream error with one of these codes; a connection error will do, too.
    Reset(&'static [u32]),
    /// A stream error and no worse.
    ResetOnly(u32),
}

/// A row.
pub const fn case(section: &'static str, what: &'static str, play: fn(&mut H2Client), then: Then) -> Case {
    Case { section, what, play, then }
}

/// The server under test.
pub struct Peer {
    pub address: SocketAddr,
    pub lockgate: Option<(Running, Origin)>,
}

impl Peer {
    /// lockgate with a bind for HTTP/2 in clear text, or whoever `LOCKGATE_TEST_H2` names.
    #[track_caller]
    pub fn start() -> Peer {
        if let Ok(address) = std::env::var("LOCKGATE_TEST_H2") {
            return Peer {
                address: address.parse().expect("LOCKGATE_TEST_H2 is an address and a port"),
                lockgate: None,
            };
        }
        let origin = origin();
        let site = site(&origin).start();
        Peer { address: site.address, lockgate: Some((site, origin)) }
    }
}

/// A server that never answers `/hold`, says a megabyte on `/large` and [`BODY`] elsewhere.
pub fn origin() -> Origin {
    Origin::script(|conn| {
        while let Some(head) = conn.request_head()? {
            if head.target() == "/hold" {
                return conn.stall();
            }
            let mut request = head.clone();
            request.read_body(&mut conn.wire, crate::support::message::Role::Request)?;
            let body = if head.target() == "/large" { "x".repeat(1 << 20) } else { BODY.to_owned() };
            Reply::ok(body).say(conn, head.method() == "HEAD")?;
        }
        Ok(())
    })
}

/// A site whose frontend speaks HTTP/2 in clear text.
pub fn site(origin: &Origin) -> Site {
    let site = Site::of(&[origin]);
    let bind = format!("bind: [ {{ address: \"{}\", proto: h2 }} ]", site.address());
    site.frontend(bind)
}

/// Plays every row on a connection of its own; afterwards another client must still be served.
#[track_caller]
pub fn run(cases: &[Case]) {
    let peer = Peer::start();
    let mut failures = Vec::new();
    for case in cases {
        let mut client = H2Client::connect(peer.address);
        (case.play)(&mut client);
        if let Err(heard) = judge(&mut client, case.then) {
            failures.push(format!("{} {}: expected {}, heard {heard}", case.section, case.what, words(case.then)));
        }
    }
    let answer = H2Client::connect(peer.address).get(1, "/");
    assert_eq!(answer.course, Course::Whole, "others are served");
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn judge(client: &mut H2Client, then: Then) -> Result<(), String> {
    let mut heard = Vec::new();
    if let Then::Answered(stream) = then {
        let answer = client.answer(stream);
        let strict = std::env::var_os("LOCKGATE_TEST_H2").is_none();
        let good = answer.course == Course::Whole && (answer.status == 200 || !strict);
        return if good { Ok(()) } else { Err(format!("{answer:?}")) };
    }
    let mut gone = client.farewells.last().copied();
    loop {
        if let (Then::Gone(codes), Some(code)) = (then, gone)
            && !codes.contains(&code)
        {
            return Err(format!("GOAWAY {}", name(code)));
        }
        let frame = match client.hear_within(SOON) {
            Heard::Frame(frame) => frame,
            end @ (Heard::End | Heard::Silence) => {
                let ended = end == Heard::End;
                let good = match then {
                    Then::Gone(_) => ended && gone.is_some(),
                    Then::PingedOrEnded(_) => ended,
                    _ => false,
                };
                heard.push(if ended { "the end".to_owned() } else { "nothing more".to_owned() });
                return if good { Ok(()) } else { Err(heard.join(", ")) };
            }
        };
        heard.push(describe(&frame));
        if frame.kind == kind::GOAWAY {
            gone = frame.code();
        }
        let pong = |bytes: [u8; 8]| frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == bytes;
        let good = match then {
            Then::Pinged(bytes) | Then::PingedOrEnded(bytes) => pong(bytes),
            Then::Acknowledged => frame.kind == kind::SETTINGS && frame.has(flag::ACK) && frame.payload.is_empty(),
            Then::Piece(length) if frame.kind == kind::DATA => {
                return if frame.payload.len() == length { Ok(()) } else { Err(heard.join(", ")) };
            }
            Then::Reset(codes) => frame.code().is_some_and(|code| codes.contains(&code)),
            Then::ResetOnly(code) => frame.kind == kind::RST_STREAM && frame.code() == Some(code),
            _ => false,
        };
        if good {
            return Ok(());
        }
    }
}

fn describe(frame: &Frame) -> String {
    let kinds =
        ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE"];
    let kind = kinds.get(usize::from(frame.kind)).copied().unwrap_or("CONTINUATION");
    match frame.code() {
        Some(code) => format!("{kind} {}", name(code)),
        None => format!("{kind} ({}, flags {:#x}, stream {})", frame.payload.len(), frame.flags, frame.stream),
    }
}

fn words(then: Then) -> String {
    let list = |codes: &[u32]| codes.iter().map(|code| name(*code)).collect::<Vec<_>>().join(" or ");
    match then {
        Then::Gone(codes) => format!("GOAWAY {} and the end", list(codes)),
        Then::Reset(codes) => format!("RST_STREAM or GOAWAY {}", list(codes)),
        Then::ResetOnly(code) => format!("RST_STREAM {}", name(code)),
        other => format!("{other:?}"),
    }
}

/// What a code is called.
pub fn name(code: u32) -> String {
    let name = match code {
        code::NO_ERROR => "NO_ERROR",
        code::PROTOCOL_ERROR => "PROTOCOL_ERROR",
        code::INTERNAL_ERROR => "INTERNAL_ERROR",
        code::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
        code::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
        code::STREAM_CLOSED => "STREAM_CLOSED",
        code::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
        code::REFUSED_STREAM => "REFUSED_STREAM",
        code::CANCEL => "CANCEL",
        code::COMPRESSION_ERROR => "COMPRESSION_ERROR",
        code::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
        other => return format!("code {other}"),
    };
    name.to_owned()
}

/// The block of a request for `/` with further fields behind.
pub fn block(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    hpack::block(&[&request(method, "/")[..], more].concat())
}

/// A whole `GET /`.
pub fn get(stream: u32) -> Frame {
    Frame::headers(stream, flag::END_HEADERS | flag::END_STREAM, block("GET", &[]))
}

/// The head of a `POST /` whose body follows.
pub fn post(stream: u32) -> Frame {
    Frame::headers(stream, flag::END_HEADERS, block("POST", &[]))
}

/// A whole `GET` that is not answered.
pub fn hold(stream: u32) -> Frame {
    Frame::headers(stream, flag::END_HEADERS | flag::END_STREAM, hpack::block(&request("GET", "/hold")))
}
