//! Requests that are malformed (RFC 9113, section 8): none may reach a server.

use super::cases::{self, Case, Then, block, case, run};
use crate::support::h2_raw::{Course, Frame, H2Client, code, flag};
use crate::support::hpack;

const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;
const MALFORMED: Then = Then::Reset(&[code::PROTOCOL_ERROR]);

#[test]
fn malformed_requests() {
    run(MESSAGES);
}

/// A whole request of these fields alone.
fn only(client: &mut H2Client, fields: &[(&str, &str)]) {
    client.say(&[Frame::headers(1, BOTH, hpack::block(fields))]);
}

/// A whole `GET` with these fields behind.
fn with(client: &mut H2Client, fields: &[(&str, &str)]) {
    client.say(&[Frame::headers(1, BOTH, block("GET", fields))]);
}

#[rustfmt::skip]
const MESSAGES: &[Case] = &[
    case("8.1", "a second HEADERS that does not end the stream", |c| { c.say(&[post(&[]), Frame::data(1, 0, "test"), Frame::headers(1, flag::END_HEADERS, hpack::block(&[("x-test", "ok")]))]); }, MALFORMED),
    case("8.1", "a pseudo-field among trailers that do not end the stream", |c| { c.say(&[post(&[]), Frame::data(1, 0, "test"), Frame::headers(1, flag::END_HEADERS, hpack::block(&[(":method", "POST")]))]); }, MALFORMED),
    case("8.1.1", "a body longer than its length", |c| { c.say(&[post(&[("content-length", "1")]), Frame::data(1, flag::END_STREAM, "test")]); }, MALFORMED),
    case("8.1.1", "a body in pieces longer than its length", |c| { c.say(&[post(&[("content-length", "1")]), Frame::data(1, 0, "test"), Frame::data(1, flag::END_STREAM, "test")]); }, MALFORMED),
    case("8.1.1", "a body shorter than its length", |c| { c.say(&[post(&[("content-length", "5")]), Frame::data(1, flag::END_STREAM, "test")]); }, MALFORMED),
    case("8.2", "capitals in a name", |c| with(c, &[("X-TEST", "ok")]), MALFORMED),
    case("8.2.2", "connection", |c| with(c, &[("connection", "keep-alive")]), MALFORMED),
    case("8.2.2", "keep-alive", |c| with(c, &[("keep-alive", "timeout=5")]), MALFORMED),
    case("8.2.2", "proxy-connection", |c| with(c, &[("proxy-connection", "keep-alive")]), MALFORMED),
    case("8.2.2", "transfer-encoding", |c| with(c, &[("transfer-encoding", "chunked")]), MALFORMED),
    case("8.2.2", "upgrade", |c| with(c, &[("upgrade", "websocket")]), MALFORMED),
    case("8.2.2", "te with more than trailers", |c| with(c, &[("trailers", "test"), ("te", "trailers, deflate")]), MALFORMED),
    case("8.3", "an unknown pseudo-field", |c| with(c, &[(":test", "ok")]), MALFORMED),
    case("8.3", "a pseudo-field of answers", |c| with(c, &[(":status", "200")]), MALFORMED),
    case("8.3", "a pseudo-field behind a field", |c| only(c, &[("x-test", "ok"), (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]), MALFORMED),
    case("8.3.1", "an empty :path", |c| only(c, &[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a.test")]), MALFORMED),
    case("8.3.1", "no :method", |c| only(c, &[(":scheme", "http"), (":path", "/"), (":authority", "a.test")]), MALFORMED),
    case("8.3.1", "no :scheme", |c| only(c, &[(":method", "GET"), (":path", "/"), (":authority", "a.test")]), MALFORMED),
    case("8.3.1", "no :path", |c| only(c, &[(":method", "GET"), (":scheme", "http"), (":authority", "a.test")]), MALFORMED),
    case("8.3.1", "two :method", |c| with(c, &[(":method", "GET")]), MALFORMED),
    case("8.3.1", "two :scheme", |c| with(c, &[(":scheme", "http")]), MALFORMED),
    case("8.3.1", "two :path", |c| with(c, &[(":path", "/")]), MALFORMED),
    case("8.3.1", "two :authority", |c| with(c, &[(":authority", "www.example.test")]), MALFORMED),
    case("8.5", "CONNECT with a path", |c| only(c, &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a.test:443")]), MALFORMED),
];

fn post(fields: &[(&str, &str)]) -> Frame {
    Frame::headers(1, flag::END_HEADERS, block("POST", fields))
}

/// What could be read in two ways once it stands in an HTTP/1 head. A stream error or a 400 is the answer.
#[rustfmt::skip]
const DOUBTFUL: &[(&str, &[(&str, &str)])] = &[
    ("a line break in a value", &[("x-test", "a\r\nx-evil: 1")]),
    ("a bare CR in a value", &[("x-test", "a\rb")]),
    ("a bare LF in a value", &[("x-test", "a\nb")]),
    ("a NUL in a value", &[("x-test", "a\0b")]),
    ("a control character in a value", &[("x-test", "a\x07b")]),
    ("a line break in a name", &[("x-test\r\nx-evil", "1")]),
    ("a colon in a name", &[("x:test", "1")]),
    ("a blank in a name", &[("x test", "1")]),
    ("an empty name", &[("", "1")]),
    ("an empty pseudo-name", &[(":", "1")]),
    ("a slash in a name", &[("x/test", "1")]),
    ("two lengths", &[("content-length", "0"), ("content-length", "1")]),
    ("a length with a sign", &[("content-length", "+0")]),
    ("a list of lengths", &[("content-length", "0, 0")]),
    ("an empty length", &[("content-length", "")]),
    ("a length that is none", &[("content-length", "nil")]),
    ("a length beyond counting", &[("content-length", "99999999999999999999999")]),
    ("a length without a body", &[("content-length", "7")]),
    ("another host", &[("host", "evil.test")]),
    ("two hosts", &[("host", "www.example.test"), ("host", "www.example.test")]),
    ("settings for an upgrade", &[("http2-settings", "AAMAAABkAAQAAP__"), ("connection", "http2-settings")]),
];

/// Request lines that could be read in two ways.
#[rustfmt::skip]
const DOUBTFUL_LINES: &[(&str, [(&str, &str); 4])] = &[
    ("a blank in the method", [(":method", "GET /evil HTTP/1.1\r\nx:"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]),
    ("an empty method", [(":method", ""), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]),
    ("a blank in the path", [(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1"), (":authority", "a.test")]),
    ("a line break in the path", [(":method", "GET"), (":scheme", "http"), (":path", "/\r\nx-evil: 1"), (":authority", "a.test")]),
    ("a path without its slash", [(":method", "GET"), (":scheme", "http"), (":path", "evil"), (":authority", "a.test")]),
    ("a whole address as path", [(":method", "GET"), (":scheme", "http"), (":path", "http://evil.test/"), (":authority", "a.test")]),
    ("a star for GET", [(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a.test")]),
    ("a user in the authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "user@a.test")]),
    ("a blank in the authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a test")]),
    ("a line break in the authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test\r\nx-evil: 1")]),
    ("a path in the authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test/x")]),
    ("a port that is none", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test:99999")]),
    ("an empty authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "")]),
    ("a scheme that is none", [(":method", "GET"), (":scheme", "ht tp"), (":path", "/"), (":authority", "a.test")]),
    ("CONNECT", [(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]),
];

#[test]
fn nothing_ambiguous_reaches_a_server() {
    let origin = cases::origin();
    let site = cases::site(&origin).start();
    let mut failures = Vec::new();
    let blocks = DOUBTFUL.iter().map(|(what, fields)| (*what, block("GET", fields)));
    let lines = DOUBTFUL_LINES.iter().map(|(what, fields)| (*what, hpack::block(fields)));
    for (what, block) in blocks.chain(lines) {
        let mut client = H2Client::connect(site.address);
        let answer = client.say(&[Frame::headers(1, BOTH, block)]).answer(1);
        let refused =
            matches!(answer.course, Course::Reset(code::PROTOCOL_ERROR) | Course::Lost(Some(code::PROTOCOL_ERROR)))
                || (400..502).contains(&answer.status);
        if !refused {
            failures.push(format!("{what}: {} {:?}", answer.status, answer.course));
        }
        for request in origin.requests() {
            assert!(request.first_line.len() < 40 && request.field("x-evil").is_none(), "{what}: {request:?}");
        }
    }
    assert!(failures.is_empty(), "not refused:\n{}", failures.join("\n"));
    assert_eq!(origin.requests().len(), 0, "{:?}", origin.requests());
}

/// What the library leaves out before anybody sees it is not passed on either.
#[test]
fn fragments_and_pseudo_trailers_go_no_further() {
    let origin = cases::origin();
    let site = cases::site(&origin).start();
    let mut client = H2Client::connect(site.address);
    assert_eq!(client.get(1, "/a?b#c").status, 200);
    assert_eq!(origin.requests()[0].target(), "/a?b");
    let head = Frame::headers(3, flag::END_HEADERS, block("POST", &[]));
    let trailers = Frame::headers(3, BOTH, hpack::block(&[(":method", "PUT"), (":path", "/evil"), ("x-sum", "1")]));
    let answer = client.say(&[head, Frame::data(3, 0, "test"), trailers]).answer(3);
    if answer.course == Course::Whole {
        let bytes = String::from_utf8(origin.received_by_connection().concat()).unwrap();
        assert!(bytes.contains("POST / HTTP/1.1") && !bytes.contains("PUT") && !bytes.contains("/evil"), "{bytes}");
    }
}

#[test]
fn a_connection_without_tls_is_no_tunnel() {
    let origin = cases::origin();
    let site = cases::site(&origin).start();
    let mut client = H2Client::connect(site.address);
    client.ask(1, &[(":method", "CONNECT"), (":authority", "www.example.test:443")], false);
    let answer = client.answer(1);
    assert!((400..502).contains(&answer.status) || matches!(answer.course, Course::Reset(_)), "{answer:?}");
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(client.get(3, "/").status, 200);
}

#[test]
fn cookies_and_hosts_on_the_way_to_http_1() {
    let origin = cases::origin();
    let site = cases::site(&origin).start();
    let mut client = H2Client::connect(site.address);
    let fields = [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")];
    let answer = client.say(&[Frame::headers(1, BOTH, block("GET", &fields))]).answer(1);
    assert_eq!(answer.status, 200);
    let seen = origin.requests().pop().unwrap();
    assert_eq!(seen.all("cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(seen.all("host"), ["www.example.test"]);
    assert_eq!(seen.first_line, "GET / HTTP/1.1");
    assert!(seen.fields.iter().all(|(name, _)| !name.starts_with(':')), "{seen:?}");
    assert_eq!(site.logs.wait_rows(1)[0].request, "GET http://www.example.test/ HTTP/2.0");
}
