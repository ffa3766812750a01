//! Prefaces, frames as such, states of streams and the connection's end (RFC 9113, sections 3 to 5).

use super::cases::{Case, LIBRARY, Peer, Then, block, case, get, hold, post, run};
use crate::support::h2_raw::{Course, Frame, H2Client, Heard, code, flag, kind, request, setting};
use crate::support::hpack;

const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

#[test]
fn a_wrong_preface_ends_the_connection() {
    let peer = Peer::start();
    for (preface, is_http_1) in [
        ("INVALID CONNECTION PREFACE\r\n\r\n", false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", false),
        ("\0\0\0\u{4}\0\0\0\0\0 and some more bytes", false),
        ("PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", true),
    ] {
        let mut client = H2Client::tcp(peer.address);
        client.send(preface);
        loop {
            match client.hear() {
                Heard::Frame(frame) => {
                    assert!(frame.kind != kind::GOAWAY || frame.code() == Some(code::PROTOCOL_ERROR), "{frame:?}");
                }
                Heard::End => break,
                Heard::Silence => panic!("{preface:?} is waited behind"),
            }
        }
        // Who speaks HTTP/1 may be answered in HTTP/1; all others hear frames or nothing.
        assert!(is_http_1 || client.wire.buffered().is_empty(), "{preface:?}: {:?}", client.wire.buffered());
    }
    assert_eq!(H2Client::connect(peer.address).get(1, "/").course, Course::Whole);
}

#[test]
fn sizes_and_blocks() {
    run(SIZES);
}

#[rustfmt::skip]
const SIZES: &[Case] = &[
    case("4.2", "DATA longer than frames may be", |c| { let n = size(c); c.say(&[post(1), Frame::data(1, flag::END_STREAM, vec![0; n + 1])]); }, Then::Reset(&[code::FRAME_SIZE_ERROR])),
    case("4.2", "HEADERS longer than frames may be", |c| { let n = size(c); c.say(&[Frame::headers(1, BOTH, block("GET", &[("x-long", &"x".repeat(n))]))]); }, Then::Gone(&[code::FRAME_SIZE_ERROR])),
    case("4.2", "SETTINGS longer than frames may be", |c| { let n = size(c); c.say(&[Frame::new(kind::SETTINGS, 0, 0, vec![0; n / 6 * 6 + 6])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR])),
    case("4.2", "an unknown frame longer than frames may be", |c| { let n = size(c); c.say(&[Frame::new(0x55, 0, 0, vec![0; n + 1])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR])),
    case("4.3", "PRIORITY inside a block", |c| { c.say(&[Frame::headers(1, 0, block("GET", &[])), Frame::priority(1, 0, false, 256), rest(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("4.3", "HEADERS of another stream inside a block", |c| { c.say(&[Frame::headers(1, 0, block("GET", &[])), get(3), rest(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("4.3", "a ping inside a block", |c| { c.say(&[Frame::headers(1, 0, block("GET", &[])), Frame::ping([0; 8])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.5", "an unknown frame inside a block", |c| { c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), Frame::new(0x16, 0, 0, [0; 8])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.4.1", "an invalid frame ends the connection", |c| { c.say(&[Frame::new(kind::PING, 0, 3, [0; 8])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
];

#[test]
fn states_of_streams() {
    run(STATES);
}

#[rustfmt::skip]
const STATES: &[Case] = &[
    case("5.1 idle", "DATA", |c| { c.say(&[Frame::data(1, flag::END_STREAM, "test")]); }, Then::Gone(&[code::PROTOCOL_ERROR, code::STREAM_CLOSED])),
    case("5.1 idle", "RST_STREAM", |c| { c.say(&[Frame::reset(1, code::CANCEL)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.1 idle", "WINDOW_UPDATE", |c| { c.say(&[Frame::window_update(1, 100)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.1 idle", "CONTINUATION", |c| { c.say(&[Frame::continuation(1, flag::END_HEADERS, block("GET", &[]))]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.1 half-closed", "DATA", |c| { c.say(&[hold(1), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Reset(&[code::STREAM_CLOSED, LIBRARY])),
    case("5.1 half-closed", "HEADERS", |c| { c.say(&[hold(1), hold(1)]); }, Then::Reset(&[code::STREAM_CLOSED, LIBRARY])),
    case("5.1 half-closed", "CONTINUATION", |c| { c.say(&[hold(1), Frame::continuation(1, flag::END_HEADERS, block("GET", &[]))]); }, Then::Reset(&[code::STREAM_CLOSED, code::PROTOCOL_ERROR])),
    case("5.1 after a reset", "DATA", |c| { c.say(&[post(1), Frame::reset(1, code::CANCEL), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Reset(&[code::STREAM_CLOSED])),
    case("5.1 after a reset", "HEADERS", |c| { c.say(&[post(1), Frame::reset(1, code::CANCEL), get(1)]); }, Then::Reset(&[code::STREAM_CLOSED, LIBRARY])),
    case("5.1 after a reset", "CONTINUATION", |c| { c.say(&[post(1), Frame::reset(1, code::CANCEL), rest(1)]); }, Then::Reset(&[code::STREAM_CLOSED, code::PROTOCOL_ERROR])),
    case("5.1 closed", "DATA", |c| { c.say(&[get(1)]).answer(1); c.say(&[Frame::data(1, flag::END_STREAM, "test")]); }, Then::Reset(&[code::STREAM_CLOSED])),
    case("5.1 closed", "HEADERS", |c| { c.say(&[get(1)]).answer(1); c.say(&[get(1)]); }, Then::Gone(&[code::STREAM_CLOSED, LIBRARY])),
    case("5.1 closed", "CONTINUATION", |c| { c.say(&[get(1)]).answer(1); c.say(&[rest(1)]); }, Then::Gone(&[code::STREAM_CLOSED, code::PROTOCOL_ERROR])),
    case("5.1.1", "an even number", |c| { c.say(&[Frame { stream: 2, ..get(1) }]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("5.1.1", "a number below the last", |c| { c.say(&[get(5), get(3)]); }, Then::Gone(&[code::PROTOCOL_ERROR, code::STREAM_CLOSED])),
    case("5.3.1", "HEADERS that depend on themselves", |c| { c.say(&[get(1).prioritised(1, false, 256)]); }, Then::Reset(&[code::PROTOCOL_ERROR])),
    case("5.3.1", "PRIORITY that depends on itself", |c| { c.say(&[Frame::priority(1, 1, false, 256)]); }, Then::Reset(&[code::PROTOCOL_ERROR])),
];

fn size(client: &H2Client) -> usize {
    usize::try_from(client.settings[&setting::MAX_FRAME_SIZE]).unwrap()
}

/// The end of a block.
fn rest(stream: u32) -> Frame {
    Frame::continuation(stream, flag::END_HEADERS, hpack::block(&[("x-rest", "x")]))
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let peer = Peer::start();
    let mut client = H2Client::connect(peer.address);
    let limit = *client.settings.get(&setting::MAX_CONCURRENT_STREAMS).expect("a limit is announced");
    assert!((1..=1000).contains(&limit), "{limit}");
    client.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])]).settle();
    for n in 0..=limit {
        client.ask(2 * n + 1, &request("GET", "/hold"), true);
    }
    let refused = client.answer(2 * limit + 1).course;
    assert!(matches!(refused, Course::Reset(code::REFUSED_STREAM | code::PROTOCOL_ERROR)), "{refused:?}");
    // Room for one is room for one.
    client.say(&[Frame::reset(1, code::CANCEL)]);
    client.settle();
    client.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)])]);
    assert_eq!(client.get(2 * limit + 3, "/").course, Course::Whole);
}
