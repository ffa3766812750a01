//! What a server must take, whatever it thinks of it.

use super::cases::{self, Case, Peer, Then, block, case, get, hold, post, run};
use crate::support::h2_raw::{Course, Frame, H2Client, Heard, PREFACE, code, flag, kind, request, setting};
use crate::support::hpack::{self, Form, Name};

const TOKEN: [u8; 8] = *b"a token!";
const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

fn ping(client: &mut H2Client) {
    client.say(&[Frame::ping(TOKEN)]);
}

#[test]
fn the_first_frame_is_the_servers_settings() {
    let peer = Peer::start();
    for settings in [&[][..], &[(setting::INITIAL_WINDOW_SIZE, 65_535)]] {
        let mut client = H2Client::tcp(peer.address);
        client.send(PREFACE).say(&[Frame::settings(settings)]);
        match client.hear() {
            Heard::Frame(frame) => {
                assert!(frame.kind == kind::SETTINGS && !frame.has(flag::ACK) && frame.stream == 0, "{frame:?}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn everything_may_come_byte_by_byte() {
    let peer = Peer::start();
    let mut client = H2Client::tcp(peer.address);
    let bytes = [PREFACE.to_vec(), Frame::settings(&[]).encode(), get(1).encode()].concat();
    for byte in bytes {
        client.send([byte]);
    }
    assert_eq!(client.answer(1).course, Course::Whole);
}

#[test]
fn a_request_may_come_with_the_preface() {
    let peer = Peer::start();
    let mut client = H2Client::tcp(peer.address);
    let frames = [Frame::settings(&[]), get(1), post(3), Frame::data(3, flag::END_STREAM, "body")];
    client.send([PREFACE.to_vec(), frames.iter().flat_map(Frame::encode).collect()].concat());
    for stream in [1, 3] {
        assert_eq!(client.answer(stream).course, Course::Whole);
    }
}

#[test]
fn frames_of_every_kind() {
    run(FRAMES);
}

#[rustfmt::skip]
const FRAMES: &[Case] = &[
    case("4.1", "a frame of an unknown kind", |c| { c.say(&[Frame::new(0x16, 0, 0, [0; 8])]); ping(c); }, Then::Pinged(TOKEN)),
    case("4.1", "an unknown kind on a stream", |c| { c.say(&[Frame::new(0xfa, 0xff, 7, [1; 300])]); ping(c); }, Then::Pinged(TOKEN)),
    case("4.1", "undefined flags", |c| { c.say(&[Frame::new(kind::PING, 0x16, 0, TOKEN)]); }, Then::Pinged(TOKEN)),
    case("4.1", "the reserved bit of a stream's number", |c| { c.say(&[Frame::new(kind::PING, 0, 1 << 31, TOKEN)]); }, Then::Pinged(TOKEN)),
    case("4.2", "DATA as long as frames may be", |c| { let n = size(c); c.say(&[post(1), Frame::data(1, flag::END_STREAM, vec![b'x'; n])]); }, Then::Answered(1)),
    case("5.1", "PRIORITY on an idle stream", |c| { c.say(&[Frame::priority(1, 0, false, 256)]); ping(c); }, Then::Pinged(TOKEN)),
    case("5.1", "WINDOW_UPDATE on a half-closed stream", |c| { window(c, 0); c.say(&[get(1), Frame::window_update(1, 1)]); }, Then::Piece(1)),
    case("5.1", "PRIORITY on a half-closed stream", |c| { window(c, 0); c.say(&[get(1), Frame::priority(1, 0, false, 256), Frame::window_update(1, 1)]); }, Then::Piece(1)),
    case("5.1", "RST_STREAM on a half-closed stream", |c| { c.say(&[get(1), Frame::reset(1, code::CANCEL)]); ping(c); }, Then::PingedOrEnded(TOKEN)),
    case("5.1", "PRIORITY on a closed stream", |c| { c.say(&[get(1)]).answer(1); c.say(&[Frame::priority(1, 0, false, 256)]); ping(c); }, Then::Pinged(TOKEN)),
    case("5.1", "WINDOW_UPDATE on a closed stream", |c| { c.say(&[get(1)]).answer(1); c.say(&[Frame::window_update(1, 1)]); ping(c); }, Then::Pinged(TOKEN)),
    case("5.1", "RST_STREAM on a closed stream", |c| { c.say(&[get(1)]).answer(1); c.say(&[Frame::reset(1, code::NO_ERROR)]); ping(c); }, Then::Pinged(TOKEN)),
    case("5.1.1", "streams with gaps between their numbers", |c| { c.say(&[get(3), get(77), get(2_147_483_645)]); }, Then::Answered(2_147_483_645)),
    case("5.5", "an unknown extension", |c| { c.say(&[Frame::new(0x16, 0, 0, [0; 8])]); ping(c); }, Then::Pinged(TOKEN)),
    case("6.1", "DATA", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Answered(1)),
    case("6.1", "several DATA", |c| { c.say(&[post(1), Frame::data(1, 0, "test"), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Answered(1)),
    case("6.1", "an empty last DATA", |c| { c.say(&[post(1), Frame::data(1, 0, "test"), Frame::data(1, flag::END_STREAM, "")]); }, Then::Answered(1)),
    case("6.1", "DATA with padding", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "test").padded(5, 5)]); }, Then::Answered(1)),
    case("6.1", "DATA of nothing but padding", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "").padded(255, 255)]); }, Then::Answered(1)),
    case("6.2", "HEADERS", |c| { c.say(&[get(1)]); }, Then::Answered(1)),
    case("6.2", "HEADERS with padding", |c| { c.say(&[get(1).padded(5, 5)]); }, Then::Answered(1)),
    case("6.2", "HEADERS with a priority", |c| { c.say(&[get(1).prioritised(0, false, 256)]); }, Then::Answered(1)),
    case("6.2", "HEADERS with padding and a priority", |c| { c.say(&[get(1).prioritised(3, true, 1).padded(9, 9)]); }, Then::Answered(1)),
    case("6.3", "the lowest weight", |c| { c.say(&[Frame::priority(1, 0, false, 1), get(1)]); }, Then::Answered(1)),
    case("6.3", "the highest weight", |c| { c.say(&[Frame::priority(1, 0, false, 256), get(1)]); }, Then::Answered(1)),
    case("6.3", "a dependency", |c| { c.say(&[Frame::priority(3, 1, false, 256), get(1)]); }, Then::Answered(1)),
    case("6.3", "an exclusive dependency", |c| { c.say(&[Frame::priority(1, 5, true, 256), get(1)]); }, Then::Answered(1)),
    case("6.3", "PRIORITY for a later stream first", |c| { c.say(&[Frame::priority(3, 0, false, 256), get(1)]); }, Then::Answered(1)),
    case("6.4", "RST_STREAM", |c| { c.say(&[post(1), Frame::reset(1, code::CANCEL)]); ping(c); }, Then::PingedOrEnded(TOKEN)),
    case("6.5", "every setting", |c| { c.say(&[Frame::settings(&[
        (setting::HEADER_TABLE_SIZE, 4096), (setting::ENABLE_PUSH, 0), (setting::MAX_CONCURRENT_STREAMS, 100),
        (setting::INITIAL_WINDOW_SIZE, 65_535), (setting::MAX_FRAME_SIZE, 16_384), (setting::MAX_HEADER_LIST_SIZE, 100),
    ])]); }, Then::Acknowledged),
    case("6.5", "settings at their limits", |c| { c.say(&[Frame::settings(&[
        (setting::HEADER_TABLE_SIZE, u32::MAX), (setting::MAX_CONCURRENT_STREAMS, 0), (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
        (setting::MAX_FRAME_SIZE, 0xff_ffff), (setting::MAX_HEADER_LIST_SIZE, u32::MAX),
    ]), get(1)]); }, Then::Answered(1)),
    case("6.5.2", "a table of no size", |c| { c.say(&[Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]), get(1)]); }, Then::Answered(1)),
    case("6.5.2", "an unknown setting", |c| { c.say(&[Frame::settings(&[(0xff, 1)])]); ping(c); }, Then::Pinged(TOKEN)),
    case("6.5.3", "settings are acknowledged", |c| { c.say(&[Frame::settings(&[(setting::ENABLE_PUSH, 0)])]); }, Then::Acknowledged),
    case("6.5.3", "of two values the second counts", |c| {
        c.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 100), (setting::INITIAL_WINDOW_SIZE, 1)])]);
        c.settle();
        c.say(&[get(1)]);
    }, Then::Piece(1)),
    case("6.7", "a ping", ping, Then::Pinged(TOKEN)),
    case("6.7", "the answer to a ping nobody sent", |c| { c.say(&[Frame::new(kind::PING, flag::ACK, 0, *b"unasked!")]); ping(c); }, Then::Pinged(TOKEN)),
    case("6.8", "GOAWAY", |c| { c.say(&[Frame::goaway(0, code::NO_ERROR, b"bye")]); ping(c); }, Then::PingedOrEnded(TOKEN)),
    case("6.9", "WINDOW_UPDATE of the connection", |c| { c.say(&[Frame::window_update(0, 1)]); ping(c); }, Then::Pinged(TOKEN)),
    case("6.9", "WINDOW_UPDATE of a stream", |c| { c.say(&[get(1), Frame::window_update(1, 1)]); }, Then::Answered(1)),
    case("6.9.1", "a window of one byte", |c| { window(c, 1); c.say(&[get(1)]); }, Then::Piece(1)),
    case("6.9.2", "a window that grows with the settings", |c| { window(c, 0); c.say(&[get(1)]); window(c, 1); }, Then::Piece(1)),
    case("6.9.2", "a window below nothing", |c| {
        window(c, 3);
        c.consumes = false;
        c.say(&[get(1)]);
        c.until("the first piece", |frame| frame.kind == kind::DATA);
        // 3 were taken, so a window of 2 is 1 too few; 2 more leave room for 1.
        window(c, 2);
        c.say(&[Frame::window_update(1, 2)]);
    }, Then::Piece(1)),
    case("6.10", "CONTINUATION", |c| { let b = block("GET", &[]); c.say(&[Frame::headers(1, flag::END_STREAM, &b[..5]), Frame::continuation(1, flag::END_HEADERS, &b[5..])]); }, Then::Answered(1)),
    case("6.10", "several CONTINUATION", |c| { let b = block("GET", &[]); c.say(&[Frame::headers(1, flag::END_STREAM, &b[..5]), Frame::continuation(1, 0, &b[5..10]), Frame::continuation(1, flag::END_HEADERS, &b[10..])]); }, Then::Answered(1)),
    case("6.10", "an empty CONTINUATION", |c| { c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), Frame::continuation(1, flag::END_HEADERS, [])]); }, Then::Answered(1)),
    case("6.10", "fields in CONTINUATION of their own", |c| {
        let more = hpack::block(&[("x-more", "1")]);
        c.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[])), Frame::continuation(1, 0, &more), Frame::continuation(1, flag::END_HEADERS, &more)]);
    }, Then::Answered(1)),
    case("7", "GOAWAY with an unknown code", |c| { c.say(&[Frame::goaway(0, 0xff, b"")]); ping(c); }, Then::PingedOrEnded(TOKEN)),
    case("7", "RST_STREAM with an unknown code", |c| { c.say(&[post(1), Frame::reset(1, 0xff)]); ping(c); }, Then::PingedOrEnded(TOKEN)),
    case("8.1", "GET", |c| { c.say(&[get(1)]); }, Then::Answered(1)),
    case("8.1", "HEAD", |c| { c.say(&[Frame::headers(1, BOTH, block("HEAD", &[]))]); }, Then::Answered(1)),
    case("8.1", "POST", |c| { c.say(&[post(1), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Answered(1)),
    case("8.1", "POST with its length", |c| { c.say(&[Frame::headers(1, flag::END_HEADERS, block("POST", &[("content-length", "4")])), Frame::data(1, flag::END_STREAM, "test")]); }, Then::Answered(1)),
    case("8.1", "POST with trailers", |c| {
        let head = Frame::headers(1, flag::END_HEADERS, block("POST", &[("trailer", "x-test")]));
        c.say(&[head, Frame::data(1, 0, "test"), Frame::headers(1, BOTH, hpack::block(&[("x-test", "ok")]))]);
    }, Then::Answered(1)),
    case("8.2.2", "te: trailers", |c| { c.say(&[Frame::headers(1, BOTH, block("GET", &[("te", "trailers")]))]); }, Then::Answered(1)),
    case("8.3.1", "no :authority but a host", |c| {
        c.say(&[Frame::headers(1, BOTH, hpack::block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "www.example.test")]))]);
    }, Then::Answered(1)),
];

fn size(client: &H2Client) -> usize {
    usize::try_from(client.settings[&setting::MAX_FRAME_SIZE]).unwrap()
}

/// Sets the window of every stream and waits until that is in force.
fn window(client: &mut H2Client, bytes: u32) {
    client.say(&[Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, bytes)])]);
    client.until("an acknowledgement", |frame| frame.kind == kind::SETTINGS && frame.has(flag::ACK));
}

/// The request line's fields by their places, and the name of the host in the form under test.
fn written(field: &[u8]) -> Frame {
    let head = [
        hpack::indexed(2),
        hpack::indexed(6),
        hpack::indexed(4),
        hpack::literal(Form::NotKept, Name::Of(1), "www.example.test", false),
    ];
    Frame::headers(1, BOTH, [head.concat(), field.to_vec()].concat())
}

#[test]
fn every_way_to_write_a_field() {
    let peer = Peer::start();
    type Row = (String, Vec<u8>, Option<(&'static str, &'static str)>);
    let mut rows: Vec<Row> = vec![
        ("by its place".to_owned(), hpack::indexed(16), Some(("accept-encoding", "gzip, deflate"))),
        ("a new size of the table".to_owned(), Vec::new(), None),
        ("two new sizes of the table".to_owned(), Vec::new(), None),
    ];
    for form in [Form::Kept, Form::NotKept, Form::Secret] {
        for (name, written) in [(Name::Of(58), "user-agent"), (Name::New("x-test"), "x-test")] {
            for huffman in [false, true] {
                let value = "~ Any value, {really}! \\ \u{7e}";
                let field = hpack::literal(form, name, value, huffman);
                rows.push((format!("{form:?} {name:?}, compact {huffman}"), field, Some((written, value.trim()))));
            }
        }
    }
    for (what, field, expected) in rows {
        let mut client = H2Client::connect(peer.address);
        let mut frame = written(&field);
        match what.as_str() {
            "a new size of the table" => frame.payload = [hpack::table_size(128), frame.payload].concat(),
            "two new sizes of the table" => {
                frame.payload = [hpack::table_size(128), hpack::table_size(4096), frame.payload].concat();
            }
            _ => {}
        }
        let answer = client.say(&[frame]).answer(1);
        assert_eq!(answer.course, Course::Whole, "{what}");
        if let (Some((_, origin)), Some((name, value))) = (&peer.lockgate, expected) {
            assert_eq!(origin.requests().last().unwrap().field(name), Some(value), "{what}");
        }
    }
}

#[test]
fn fields_are_kept_between_requests() {
    let peer = Peer::start();
    let mut client = H2Client::connect(peer.address);
    for (stream, value) in [(1, "one"), (3, "two"), (5, "three")] {
        let mut frame = written(&hpack::literal(Form::Kept, Name::New("x-kept"), value, true));
        frame.stream = stream;
        client.say(&[frame]);
        assert_eq!(client.answer(stream).course, Course::Whole);
    }
    // The newest is 62, older ones follow.
    for (stream, index, value) in [(7, 62, "three"), (9, 63, "two"), (11, 64, "one")] {
        let mut frame = written(&hpack::indexed(index));
        frame.stream = stream;
        assert_eq!(client.say(&[frame]).answer(stream).course, Course::Whole);
        if let Some((_, origin)) = &peer.lockgate {
            assert_eq!(origin.requests().last().unwrap().field("x-kept"), Some(value));
        }
    }
    // A table of size 0 forgets them; what is kept afterwards is 62 again.
    let mut frame = written(&hpack::literal(Form::Kept, Name::New("x-kept"), "four", false));
    frame.payload = [hpack::table_size(0), hpack::table_size(4096), frame.payload].concat();
    frame.stream = 13;
    assert_eq!(client.say(&[frame]).answer(13).course, Course::Whole);
    let mut frame = written(&hpack::indexed(62));
    frame.stream = 15;
    assert_eq!(client.say(&[frame]).answer(15).course, Course::Whole);
    if let Some((_, origin)) = &peer.lockgate {
        assert_eq!(origin.requests().last().unwrap().field("x-kept"), Some("four"));
    }
}

#[test]
fn answers_are_whole() {
    let peer = Peer::start();
    let Some((_site, _origin)) = &peer.lockgate else { return };
    let mut client = H2Client::connect(peer.address);
    let streams: Vec<u32> = (0..20).map(|n| 2 * n + 1).collect();
    for stream in &streams {
        let path = if stream % 4 == 1 { "/large" } else { "/" };
        client.ask(*stream, &request("GET", path), true);
    }
    client.say(&[hold(101)]);
    for stream in streams {
        let answer = client.answer(stream);
        let expected = if stream % 4 == 1 { 1 << 20 } else { cases::BODY.len() };
        assert_eq!((answer.status, answer.body.len(), answer.course), (200, expected, Course::Whole), "{stream}");
        assert_eq!(answer.field("content-length"), Some(expected.to_string().as_str()));
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert_eq!(answer.field(name), None);
        }
    }
}
