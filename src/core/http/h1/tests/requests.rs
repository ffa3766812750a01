//! Requests: `tests/wire/requests.txt`.

use super::*;
use crate::core::fleet::spec::ForwardFields;
use crate::core::http::forwarded::apply_forwarded;
use crate::core::http::h1::{Body, Parsed, RejectReason, RequestFraming, parse_request, request_framing};
use crate::core::http::hop::strip_hop_by_hop;

const TABLE: &str = include_str!("../../../../../tests/wire/requests.txt");

/// Offers the input in growing pieces, as a connection would.
fn parse_in_steps(input: &[u8], step: usize, head: &mut Head) -> Result<Parsed, Reject> {
    let mut end = 0;
    while end < input.len() {
        end = (end + step).min(input.len());
        match parse_request(&input[..end], head, &HttpLimits::default())? {
            Parsed::Partial => {}
            complete => return Ok(complete),
        }
    }
    Ok(Parsed::Partial)
}

fn check(case: &Case, step: usize) {
    let context = || format!("{:?} in pieces of {step}", case.name);
    let mut head = Head::new();
    let decided = parse_in_steps(&case.input, step, &mut head).and_then(|parsed| match parsed {
        Parsed::Partial => Ok(None),
        Parsed::Complete { consumed } => Ok(Some((consumed, request_framing(&mut head)?))),
    });
    let (consumed, framing) = match decided {
        Ok(None) => return assert_eq!(case.verdict, Verdict::Wait, "{}", context()),
        Err(reject) => {
            return assert_eq!(case.verdict, Verdict::Refuse(reject.status), "{}: {reject}", context());
        }
        Ok(Some(decided)) => decided,
    };
    strip_hop_by_hop(&mut head, framing.upgrade.is_some());
    let ours = ForwardFields { x_for: true, x_proto: true, x_port: true, forwarded: true };
    apply_forwarded(&mut head, "192.0.2.9".parse().unwrap(), false, false, 80, &ours);
    let start = [head.method(), b" ", head.forward_target()].concat();
    let input = &case.input[consumed..];
    let body = match framing.body {
        Body::Empty => Ok(take_length(input, 0)),
        Body::Length(length) => Ok(take_length(input, length)),
        Body::Chunked => decode_chunked(input, step, 400),
        Body::UntilClose => panic!("{}: requests are never close-delimited", context()),
    };
    match body {
        Err(reject) => assert_eq!(case.verdict, Verdict::Abort(reject.status, start), "{}: {reject}", context()),
        Ok(body) => {
            assert_eq!(case.verdict, Verdict::Forward(start), "{}", context());
            let fields: Vec<_> = listed_fields(&head);
            let text = |fields: &[Vec<u8>]| fields.iter().map(|f| f.escape_ascii().to_string()).collect::<Vec<_>>();
            assert_eq!(text(&fields), text(&case.fields), "{}", context());
            check_body(case, step, input, &body);
        }
    }
    check_flags(case, &head, framing);
}

fn check_flags(case: &Case, head: &Head, framing: RequestFraming) {
    for flag in &case.flags {
        let holds = match flag.as_str() {
            "keep" => framing.keep_alive,
            "close" => !framing.keep_alive,
            "expect" => framing.expect_continue,
            "no-expect" => !framing.expect_continue,
            "upgrade websocket" => framing.upgrade.is_some_and(|u| u.websocket),
            "upgrade other" => framing.upgrade.is_some_and(|u| !u.websocket),
            "no-upgrade" => framing.upgrade.is_none() && head.known(Known::Upgrade).is_none(),
            "short" => true,
            _ => panic!("{:?}: {flag:?} means nothing for a request", case.name),
        };
        assert!(holds, "{:?}: {flag}, but {framing:?}", case.name);
    }
    assert!(head.known_all(Known::XForwardedFor).eq([&b"192.0.2.9"[..]]), "{:?}", case.name);
}

#[test]
fn the_table_in_every_piece() {
    let cases = cases::read(TABLE);
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for case in &cases {
        for step in steps(case.input.len()) {
            check(case, step);
        }
    }
}

#[test]
fn mutations_of_the_table_hold_the_invariants() {
    let mut accepted = 0;
    mutations(TABLE, 1, |bytes| accepted += usize::from(invariants::request_head(bytes)));
    assert!(accepted > 1000, "only {accepted} of the mutations were accepted: they prove little");
}

#[test]
fn refusals_name_rule_and_place() {
    let mut head = Head::new();
    for (input, reason, at) in [
        (&b"GET / HTTP/1.1\r\nHost : a\r\n"[..], RejectReason::SpaceBeforeColon, 20),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b", RejectReason::ObsFold, 25),
        (b"GET / HTTP/1.1\r\nHost: a\n", RejectReason::BareLf, 23),
        (b"GET /#", RejectReason::TargetFragment, 5),
        (b"GET / HTTP/1.1\r\nX: \x07", RejectReason::ControlByte, 19),
        (b"GET / HTTP/2", RejectReason::VersionMalformed, 99),
    ] {
        match parse_request(input, &mut head, &HttpLimits::default()) {
            Err(reject) => assert_eq!((reject.reason, reject.at), (reason, at), "{}", input.escape_ascii()),
            // `HTTP/2` may still become `HTTP/2.0`, which has its own status.
            Ok(parsed) => assert_eq!((parsed, at), (Parsed::Partial, 99), "{}", input.escape_ascii()),
        }
    }
    let mut text = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\n".to_owned();
    assert!(matches!(parse_request(text.as_bytes(), &mut head, &HttpLimits::default()), Ok(Parsed::Complete { .. })));
    let reject = request_framing(&mut head).unwrap_err();
    assert_eq!((reject.reason, reject.at), (RejectReason::LengthMalformed, text.find("5x").unwrap()));
    assert_eq!(reject.to_string(), "malformed Content-Length at byte 41");
    text.clear();
}

#[test]
fn a_half_read_head_is_never_continued_by_another_message() {
    let limits = HttpLimits::default();
    let mut head = Head::new();
    let first = b"GET /first HTTP/1.1\r\nHost: a\r\nX: 1\r\n";
    assert_eq!(parse_request(first, &mut head, &limits), Ok(Parsed::Partial));
    let second = b"GET /other HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(parse_request(second, &mut head, &limits), Ok(Parsed::Complete { consumed: second.len() }));
    assert_eq!(head.target(), b"/other");
    assert_eq!(head.fields().count(), 1);
}

#[test]
fn limits_are_exact() {
    let limits = HttpLimits { head_max_bytes: 40, uri_max_bytes: 4, fields_max: 2, ..HttpLimits::default() };
    let mut head = Head::new();
    let mut verdict = |input: &str| match parse_request(input.as_bytes(), &mut head, &limits) {
        Ok(Parsed::Complete { .. }) => 200,
        Ok(Parsed::Partial) => 100,
        Err(reject) => reject.status,
    };
    let at_limit = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(14));
    assert_eq!(at_limit.len(), 40);
    assert_eq!(verdict(&at_limit), 200);
    assert_eq!(verdict(&format!("{at_limit}body")), 200);
    assert_eq!(verdict(&at_limit[..39]), 100);
    assert_eq!(verdict(&at_limit.replace("Host", "HostX")), 431);
    assert_eq!(verdict(&at_limit.replace("Host", "HostX")[..40]), 431, "no byte more can help");
    assert_eq!(verdict("GET /abc HTTP/1.1\r\n"), 100);
    assert_eq!(verdict("GET /abcd"), 414);
    assert_eq!(verdict("GET / HTTP/1.1\r\na:\r\nb:\r\n\r\n"), 200);
    assert_eq!(verdict("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n"), 431);
}

#[test]
fn a_body_over_its_limit_is_413() {
    let limits = HttpLimits { body_max_bytes: Some(6), ..HttpLimits::default() };
    let run = |input: &[u8], status| {
        let mut decoder = ChunkDecoder::new(&limits, status);
        let mut at = 0;
        loop {
            match decoder.decode(&input[at..]) {
                Ok(ChunkEvent::Data { consumed_before, len }) => at += consumed_before + len,
                Ok(ChunkEvent::End { .. }) => return 200,
                Ok(ChunkEvent::NeedMore { .. }) => return 100,
                Err(reject) => return reject.status,
            }
        }
    };
    assert_eq!(run(b"3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n", 400), 200);
    assert_eq!(run(b"3\r\nabc\r\n4\r\n", 400), 413);
    assert_eq!(run(b"3\r\nabc\r\n4\r\nabcd\r\n0\r\n\r\n", 502), 200, "an answer has no such limit");
}
