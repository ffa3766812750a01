//! Each kind of frame where or how it must not be (RFC 9113, sections 6 and 7).

use super::cases::{Case, LIBRARY, Then, block, case, get, hold, post, run};
use crate::support::h2_raw::{Frame, code, flag, kind, setting};
use crate::support::hpack;

const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;
const MOST: u32 = 0x7fff_ffff;

#[test]
fn bodies_and_heads() {
    run(BODIES);
}

#[rustfmt::skip]
const BODIES: &[Case] = &[
    case("6.1", "DATA on stream 0", |c| { c.say(&[Frame::data(0, flag::END_STREAM, "test")]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.1", "DATA behind the end", |c| { c.say(&[hold(1), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Reset(&[code::STREAM_CLOSED, LIBRARY])),
    case("6.1", "DATA with more padding than bytes", |c| {
        c.say(&[Frame::headers(1, flag::END_HEADERS, block("POST", &[("content-length", "4")])), Frame::data(1, flag::END_STREAM, "Test").padded(6, 0)]);
    }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.1", "DATA with exactly as much padding as bytes, one too many", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "Test").padded(5, 0)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.1", "padded DATA without a length of padding", |c| { c.say(&[post(1), Frame::data(1, flag::PADDED, [])]); }, Then::Gone(&[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])),
    case("6.2", "HEADERS, then PRIORITY before the block has ended", |c| { c.say(&[Frame::headers(1, 0, block("GET", &[])), Frame::priority(1, 0, false, 256), end(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.2", "HEADERS, then HEADERS before the block has ended", |c| { c.say(&[Frame::headers(1, 0, block("GET", &[])), get(3), end(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.2", "HEADERS on stream 0", |c| { c.say(&[Frame { stream: 0, ..get(1) }]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.2", "HEADERS with more padding than bytes", |c| { let n = u8::try_from(block("GET", &[]).len()).unwrap(); c.say(&[get(1).padded(n + 2, 0)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.2", "HEADERS too short for a priority", |c| { c.say(&[Frame::headers(1, BOTH | flag::PRIORITY, [0; 4])]); }, Then::Gone(&[code::PROTOCOL_ERROR, code::FRAME_SIZE_ERROR])),
    case("6.3", "PRIORITY on stream 0", |c| { c.say(&[Frame::priority(0, 0, false, 256)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.3", "PRIORITY that is too short", |c| { c.say(&[hold(1), Frame::new(kind::PRIORITY, 0, 1, [0x80, 0, 0, 1])]); }, Then::Reset(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.4", "RST_STREAM on stream 0", |c| { c.say(&[Frame::reset(0, code::CANCEL)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.4", "RST_STREAM on an idle stream", |c| { c.say(&[Frame::reset(1, code::CANCEL)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.4", "RST_STREAM that is too short", |c| { c.say(&[hold(1), Frame::new(kind::RST_STREAM, 0, 1, [0; 3])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.4", "RST_STREAM that is too long", |c| { c.say(&[hold(1), Frame::new(kind::RST_STREAM, 0, 1, [0; 5])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.10", "DATA between CONTINUATION", |c| { c.say(&[Frame::headers(1, 0, block("POST", &[])), Frame::continuation(1, 0, more()), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.10", "CONTINUATION on stream 0", |c| { c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), end(0)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.10", "CONTINUATION on another stream", |c| { c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), end(3)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.10", "CONTINUATION behind a whole HEADERS", |c| { c.say(&[hold(1), end(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.10", "CONTINUATION behind the last CONTINUATION", |c| { c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), end(1), end(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.10", "CONTINUATION behind DATA", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "test"), Frame::continuation(1, 0, more()), end(1)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("8.4", "PUSH_PROMISE", |c| { c.say(&[Frame::push_promise(1, 3, &block("GET", &[]))]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("8.4", "PUSH_PROMISE on an open stream", |c| { c.say(&[post(1), Frame::push_promise(1, 2, &block("GET", &[]))]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
];

#[test]
fn frames_about_the_connection() {
    run(CONNECTION);
}

#[rustfmt::skip]
const CONNECTION: &[Case] = &[
    case("6.5", "an acknowledgement with settings", |c| { c.say(&[Frame::new(kind::SETTINGS, flag::ACK, 0, [0])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.5", "SETTINGS on a stream", |c| { c.say(&[Frame { stream: 1, ..Frame::settings(&[(setting::MAX_CONCURRENT_STREAMS, 100)]) }]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.5", "half a setting", |c| { c.say(&[Frame::new(kind::SETTINGS, 0, 0, [0, 3, 0])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR])),
    case("6.5.2", "ENABLE_PUSH of 2", |c| { c.say(&[Frame::settings(&[(setting::ENABLE_PUSH, 2)])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.5.2", "INITIAL_WINDOW_SIZE above the most", |c| { c.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, MOST + 1)])]); }, Then::Gone(&[code::FLOW_CONTROL_ERROR, LIBRARY])),
    case("6.5.2", "INITIAL_WINDOW_SIZE far above the most", |c| { c.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, u32::MAX)])]); }, Then::Gone(&[code::FLOW_CONTROL_ERROR, LIBRARY])),
    case("6.5.2", "MAX_FRAME_SIZE below the least", |c| { c.say(&[Frame::settings(&[(setting::MAX_FRAME_SIZE, 16_383)])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.5.2", "MAX_FRAME_SIZE above the most", |c| { c.say(&[Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("RFC 8441", "ENABLE_CONNECT_PROTOCOL of 2", |c| { c.say(&[Frame::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 2)])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.7", "a ping on a stream", |c| { c.say(&[Frame::new(kind::PING, 0, 1, [0; 8])]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.7", "a ping that is too short", |c| { c.say(&[Frame::new(kind::PING, 0, 0, [0; 6])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.7", "a ping that is too long", |c| { c.say(&[Frame::new(kind::PING, 0, 0, [0; 9])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.8", "GOAWAY on a stream", |c| { c.say(&[Frame { stream: 1, ..Frame::goaway(0, 0, b"") }]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.8", "GOAWAY that is too short", |c| { c.say(&[Frame::new(kind::GOAWAY, 0, 0, [0; 7])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR])),
    case("6.9", "WINDOW_UPDATE by nothing", |c| { c.say(&[Frame::window_update(0, 0)]); }, Then::Gone(&[code::PROTOCOL_ERROR])),
    case("6.9", "WINDOW_UPDATE of a stream by nothing", |c| { c.say(&[post(1), Frame::window_update(1, 0)]); }, Then::Reset(&[code::PROTOCOL_ERROR])),
    case("6.9", "WINDOW_UPDATE that is too short", |c| { c.say(&[Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 1])]); }, Then::Gone(&[code::FRAME_SIZE_ERROR, LIBRARY])),
    case("6.9.1", "a window beyond the most", |c| { c.say(&[Frame::window_update(0, MOST), Frame::window_update(0, MOST)]); }, Then::Gone(&[code::FLOW_CONTROL_ERROR])),
    case("6.9.1", "a stream's window beyond the most", |c| { c.say(&[post(1), Frame::window_update(1, MOST), Frame::window_update(1, MOST)]); }, Then::ResetOnly(code::FLOW_CONTROL_ERROR)),
    case("6.9.2", "settings that take a stream's window beyond the most", |c| {
        c.say(&[post(1), Frame::window_update(1, MOST - 65_535), Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, MOST)])]);
    }, Then::Gone(&[code::FLOW_CONTROL_ERROR])),
];

fn more() -> Vec<u8> {
    hpack::block(&[("x-more", "x")])
}

/// The end of a block.
fn end(stream: u32) -> Frame {
    Frame::continuation(stream, flag::END_HEADERS, more())
}
