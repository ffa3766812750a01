//! Whole lines against HAProxy 2.8's own, recorded from a running one, and the properties of each format.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::date::DateCache;
use super::envelope::Envelope;
use super::httplog::FailedConnection;
use super::record::{CapturedValue, ConnectionCounts, Record, RequestLine, Timers};
use super::{httplog, json, severity};
use crate::core::filter::{CaptureSpec, HeaderCapture};
use crate::core::fleet::mode::Mode;

pub(super) fn dates() -> DateCache {
    DateCache::new(TimeZone::UTC)
}

pub(super) fn microseconds(rfc3339: &str) -> u64 {
    u64::try_from(rfc3339.parse::<Timestamp>().unwrap().as_microsecond()).unwrap()
}

pub(super) fn values(texts: &[&[u8]]) -> Vec<CapturedValue> {
    texts.iter().map(|text| CapturedValue::from_slice(text)).collect()
}

pub(super) fn get(target: &str) -> Option<RequestLine<'_>> {
    Some(RequestLine { method: b"GET", target: target.as_bytes(), version: "HTTP/1.1" })
}

pub(super) fn timers(request: i64, queue: i64, connect: i64, response: i64, active: u32) -> Timers {
    let or_none = |value: i64| u32::try_from(value).ok();
    Timers {
        handshake: Some(0),
        idle: Some(0),
        request: or_none(request),
        queue: or_none(queue),
        connect: or_none(connect),
        response: or_none(response),
        active,
    }
}

static NO_CAPTURES: CaptureSpec = CaptureSpec { request: Vec::new(), response: Vec::new(), cookie: None };

/// `02-normal` without captures, on port 1.
pub(super) fn plain() -> Record<'static> {
    Record {
        mode: Mode::Http,
        client: Some("127.0.0.1:1".parse().unwrap()),
        accepted_us: microseconds("2026-11-21T19:46:18.187Z"),
        frontend: "fe_http",
        tls: false,
        backend: Some("be_web"),
        server: Some("web1"),
        timers: timers(0, 0, 0, 0, 0),
        status: Some(200),
        bytes_out: 185,
        bytes_in: 60,
        request_cookie: None,
        response_cookie: None,
        termination: *b"----",
        connections: ConnectionCounts { process: 1, frontend: 1, backend: 0, server: 0 },
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        request_captures: None,
        response_captures: None,
        capture_names: &NO_CAPTURES,
        request: get("/"),
        request_id: None,
        reason: None,
        limited_by: None,
        peer: None,
        severity: severity::INFO,
        format: None,
        asap: false,
        announced: None,
        tls_session: None,
        frontend_address: None,
        server_source: None,
        server_address: None,
        request_counter: 0,
        log_counter: 0,
    }
}

#[track_caller]
fn check(record: &Record<'_>, expected: &str) {
    let mut out = Vec::new();
    let mut dates = dates();
    let ended_us = record.accepted_us + u64::from(record.timers.active) * 1000;
    Envelope::rfc3164(16, None, "haproxy", 6775).render(severity::INFO, ended_us, &mut dates, &mut out);
    httplog::render(record, &mut dates, 8192, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn golden_normal() {
    let request = values(&[b"www.example.test", b"", b""]);
    let response = values(&[b"1", b"Questions/Show", b"12"]);
    check(
        &Record {
            client: Some("127.0.0.1:39762".parse().unwrap()),
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: get("/questions/1?tab=votes"),
            ..plain()
        },
        "<134>Nov 21 19:46:18 haproxy[6775]: 127.0.0.1:39762 [21/Nov/2026:19:46:18.187] fe_http be_web/web1 \
         0/0/0/0/0 200 185 - - ---- 1/1/0/0/0 0/0 {www.example.test||} {1|Questions/Show|12} \
         \"GET /questions/1?tab=votes HTTP/1.1\"",
    );
}

#[test]
fn golden_captures_escaped() {
    let request = values(&[b"www.example.test", "a\"b{c}d\u{80}#e".as_bytes(), b""]);
    let response = values(&[b"1", b"Questions/Show", b"12"]);
    check(
        &Record {
            client: Some("127.0.0.1:39776".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:18.889Z"),
            bytes_out: 171,
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: get("/q?a=\"b\""),
            ..plain()
        },
        "<134>Nov 21 19:46:18 haproxy[6775]: 127.0.0.1:39776 [21/Nov/2026:19:46:18.889] fe_http be_web/web1 \
         0/0/0/0/0 200 171 - - ---- 1/1/0/0/0 0/0 {www.example.test|a#22b#7Bc#7Dd#C2#80#23e|} \
         {1|Questions/Show|12} \"GET /q?a=#22b#22 HTTP/1.1\"",
    );
}

#[test]
fn golden_no_captures() {
    check(
        &Record {
            client: Some("127.0.0.1:50134".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:19.241Z"),
            frontend: "fe_plain",
            bytes_out: 165,
            request: get("/q"),
            ..plain()
        },
        "<134>Nov 21 19:46:19 haproxy[6775]: 127.0.0.1:50134 [21/Nov/2026:19:46:19.241] fe_plain be_web/web1 \
         0/0/0/0/0 200 165 - - ---- 1/1/0/0/0 0/0 \"GET /q HTTP/1.1\"",
    );
}

#[test]
fn golden_no_answer_shows_an_empty_response_block() {
    let request = values(&[b"www.example.test", b"", b""]);
    let response = values(&[b"", b"", b""]);
    check(
        &Record {
            client: Some("127.0.0.1:44386".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:45.939Z"),
            timers: timers(0, 0, 0, -1, 0),
            status: Some(502),
            bytes_out: 209,
            termination: *b"SH--",
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: get("/abort"),
            ..plain()
        },
        "<134>Nov 21 19:46:45 haproxy[6775]: 127.0.0.1:44386 [21/Nov/2026:19:46:45.939] fe_http be_web/web1 \
         0/0/0/-1/0 502 209 - - SH-- 1/1/0/0/0 0/0 {www.example.test||} {||} \"GET /abort HTTP/1.1\"",
    );
}

#[test]
fn golden_bad_requests() {
    check(
        &Record {
            client: Some("127.0.0.1:57560".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:22.552Z"),
            backend: None,
            server: None,
            timers: timers(-1, -1, -1, -1, 100),
            status: Some(400),
            bytes_out: 0,
            termination: *b"CR--",
            request: None,
            ..plain()
        },
        "<134>Nov 21 19:46:22 haproxy[6775]: 127.0.0.1:57560 [21/Nov/2026:19:46:22.552] fe_http fe_http/<NOSRV> \
         -1/-1/-1/-1/100 400 0 - - CR-- 1/1/0/0/0 0/0 \"<BADREQ>\"",
    );
    check(
        &Record {
            client: Some("127.0.0.1:57570".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:24.005Z"),
            backend: None,
            server: None,
            timers: timers(-1, -1, -1, -1, 1001),
            status: Some(408),
            bytes_out: 0,
            termination: *b"cR--",
            request: None,
            ..plain()
        },
        "<134>Nov 21 19:46:25 haproxy[6775]: 127.0.0.1:57570 [21/Nov/2026:19:46:24.005] fe_http fe_http/<NOSRV> \
         -1/-1/-1/-1/1001 408 0 - - cR-- 1/1/0/0/0 0/0 \"<BADREQ>\"",
    );
}

#[test]
fn golden_queue_timeout_and_client_gone() {
    let request = values(&[b"www.example.test", b"", b""]);
    let response = values(&[b"", b"", b""]);
    let queued = Record {
        client: Some("127.0.0.1:41422".parse().unwrap()),
        accepted_us: microseconds("2026-11-21T19:46:56.722Z"),
        backend: Some("be_queue"),
        server: None,
        timers: timers(0, 501, -1, -1, 501),
        status: Some(503),
        bytes_out: 217,
        termination: *b"sQ--",
        connections: ConnectionCounts { process: 2, frontend: 2, backend: 1, server: 0 },
        backend_queue: 1,
        request_captures: Some(&request),
        response_captures: Some(&response),
        request: get("/queue/second"),
        ..plain()
    };
    check(
        &queued,
        "<134>Nov 21 19:46:57 haproxy[6775]: 127.0.0.1:41422 [21/Nov/2026:19:46:56.722] fe_http be_queue/<NOSRV> \
         0/501/-1/-1/501 503 217 - - sQ-- 2/2/1/0/0 0/1 {www.example.test||} {||} \"GET /queue/second HTTP/1.1\"",
    );
    check(
        &Record {
            client: Some("127.0.0.1:57522".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:59.128Z"),
            timers: timers(0, 150, -1, -1, 150),
            status: None,
            bytes_out: 0,
            termination: *b"CQ--",
            ..queued
        },
        "<134>Nov 21 19:46:59 haproxy[6775]: 127.0.0.1:57522 [21/Nov/2026:19:46:59.128] fe_http be_queue/<NOSRV> \
         0/150/-1/-1/150 -1 0 - - CQ-- 2/2/1/0/0 0/1 {www.example.test||} {||} \"GET /queue/second HTTP/1.1\"",
    );
}

#[test]
fn golden_retries_and_redispatch() {
    let request = values(&[b"www.example.test", b"", b""]);
    let response = values(&[b"1", b"Questions/Show", b"12"]);
    check(
        &Record {
            client: Some("127.0.0.1:41394".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:46:53.708Z"),
            backend: Some("be_redisp"),
            server: Some("ok"),
            bytes_out: 170,
            retries: 1,
            redispatched: true,
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: get("/redisp"),
            ..plain()
        },
        "<134>Nov 21 19:46:53 haproxy[6775]: 127.0.0.1:41394 [21/Nov/2026:19:46:53.708] fe_http be_redisp/ok \
         0/0/0/0/0 200 170 - - ---- 1/1/0/0/+1 0/0 {www.example.test||} {1|Questions/Show|12} \
         \"GET /redisp HTTP/1.1\"",
    );
}

#[test]
fn golden_tls_and_http2() {
    let request = values(&[b"127.0.0.1:18502", b"x", b""]);
    let response = values(&[b"1", b"Questions/Show", b"12"]);
    check(
        &Record {
            client: Some("127.0.0.1:48542".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:47:10.516Z"),
            tls: true,
            timers: timers(0, 0, 0, 1, 1),
            bytes_out: 174,
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: Some(RequestLine {
                method: b"GET",
                target: b"https://127.0.0.1:18502/over-http2",
                version: "HTTP/2.0",
            }),
            ..plain()
        },
        "<134>Nov 21 19:47:10 haproxy[6775]: 127.0.0.1:48542 [21/Nov/2026:19:47:10.516] fe_http~ be_web/web1 \
         0/0/0/1/1 200 174 - - ---- 1/1/0/0/0 0/0 {127.0.0.1:18502|x|} {1|Questions/Show|12} \
         \"GET https://127.0.0.1:18502/over-http2 HTTP/2.0\"",
    );
}

#[test]
fn golden_cookie_flags() {
    let request = values(&[b"www.example.test", b"", b""]);
    let response = values(&[b"1", b"Questions/Show", b"12"]);
    check(
        &Record {
            client: Some("127.0.0.1:45926".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:47:17.748Z"),
            backend: Some("be_cookie"),
            server: Some("c1"),
            bytes_out: 170,
            termination: *b"--DI",
            request_captures: Some(&request),
            response_captures: Some(&response),
            request: get("/cookie"),
            ..plain()
        },
        "<134>Nov 21 19:47:17 haproxy[6775]: 127.0.0.1:45926 [21/Nov/2026:19:47:17.748] fe_http be_cookie/c1 \
         0/0/0/0/0 200 170 - - --DI 1/1/0/0/0 0/0 {www.example.test||} {1|Questions/Show|12} \
         \"GET /cookie HTTP/1.1\"",
    );
}

#[test]
fn golden_tls_handshake_failure() {
    let failed = FailedConnection {
        client: Some("127.0.0.1:37274".parse().unwrap()),
        accepted_us: microseconds("2026-11-21T19:47:07.403Z"),
        ended_us: microseconds("2026-11-21T19:47:07.403Z"),
        frontend: "fe_http",
        bind: "tls",
        reason: "SSL handshake failure (error:0A00009C:SSL routines::http request)",
        severity: severity::INFO,
        format: None,
    };
    let mut out = Vec::new();
    let mut dates = dates();
    Envelope::rfc3164(16, None, "haproxy", 6775).render(severity::INFO, failed.ended_us, &mut dates, &mut out);
    httplog::render_failed(&failed, &mut dates, 8192, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<134>Nov 21 19:47:07 haproxy[6775]: 127.0.0.1:37274 [21/Nov/2026:19:47:07.403] fe_http/tls: \
         SSL handshake failure (error:0A00009C:SSL routines::http request)"
    );
}

fn line(record: &Record<'_>, max_bytes: usize) -> String {
    let mut out = b"before ".to_vec();
    httplog::render(record, &mut dates(), max_bytes, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
}

#[test]
fn other_addresses() {
    let v6 = Record { client: Some("[2001:db8::7]:443".parse().unwrap()), ..plain() };
    assert!(line(&v6, 8192).starts_with("2001:db8::7:443 ["));
    let unix = Record { client: None, ..plain() };
    assert!(line(&unix, 8192).starts_with("unix:1 ["));
}

#[test]
fn cookies_cannot_break_the_columns() {
    let record = Record { request_cookie: Some(b"SID=a b#\xff\""), response_cookie: Some(b""), ..plain() };
    assert!(line(&record, 8192).contains(" 200 185 SID=a#20b#23#FF\" - ---- "));
}

#[test]
fn no_byte_of_the_request_can_end_the_line() {
    let record = Record {
        request: Some(RequestLine { method: b"G\nT", target: b"/\r\n<0>forged \x7f{|}", version: "HTTP/1.1" }),
        ..plain()
    };
    assert!(line(&record, 8192).ends_with(" \"G#0AT /#0D#0A<0>forged #7F{|} HTTP/1.1\""));
}

#[test]
fn a_long_request_is_cut_before_its_quote_and_never_inside_an_escape() {
    let target = "/aaaa\u{fc}".repeat(300);
    let record = Record { request: get(&target), ..plain() };
    let whole = line(&record, 8192);
    for max in 120..whole.len() {
        let cut = line(&record, max);
        assert!(cut.len() <= max && cut.len() + 3 > max, "{max}: {}", cut.len());
        let text = cut.strip_suffix('"').unwrap();
        assert!(whole.starts_with(text));
        assert!(!text.ends_with('#') && text.as_bytes()[text.len() - 2] != b'#', "{max}: {text}");
    }
    assert_eq!(line(&record, whole.len()), whole);
    assert_eq!(line(&record, 1), "\"");
}

#[test]
fn free_text_stays_one_line() {
    let mut out = Vec::new();
    httplog::render_text("Server b/s is DOWN\n<0>forged", 8192, &mut out);
    assert_eq!(out, b"Server b/s is DOWN#0A<0>forged");
}

fn captured(names: &[&str]) -> Vec<HeaderCapture> {
    names.iter().map(|name| HeaderCapture { header: (*name).into(), max_bytes: 64, strip: false }).collect()
}

fn object(record: &Record<'_>, max_bytes: usize) -> (serde_json::Value, String) {
    let mut out = Vec::new();
    json::render(record, &mut dates(), max_bytes, &mut out);
    let text = String::from_utf8(out).unwrap();
    (serde_json::from_str(&text).unwrap(), text)
}

#[test]
fn json_has_every_field_under_its_name() {
    let request = values(&[b"www.example.test", b"x", b"again"]);
    let response = values(&[b"12"]);
    let spec = CaptureSpec {
        request: captured(&["Host", "X-\"Odd", "Host"]),
        response: captured(&["X-Sql-Count"]),
        cookie: None,
    };
    let record = Record {
        tls: true,
        peer: Some("[::1]:99".parse().unwrap()),
        timers: Timers { handshake: Some(3), idle: None, ..timers(1, 2, 4, -1, 9) },
        request_cookie: Some(b"SID=1"),
        request_captures: Some(&request),
        response_captures: Some(&response),
        capture_names: &spec,
        request_id: Some(b"abc"),
        limited_by: Some("per-client"),
        ..plain()
    };
    assert_eq!(
        object(&record, 8192).0,
        serde_json::json!({
            "time": "2026-11-21T19:46:18.187000+00:00",
            "client": "127.0.0.1", "client_port": 1, "peer": "::1", "peer_port": 99,
            "frontend": "fe_http", "tls": true, "backend": "be_web", "server": "web1",
            "timers_ms": {
                "handshake": 3, "idle": null, "request": 1, "queue": 2, "connect": 4, "response": null, "active": 9
            },
            "status": 200, "bytes_in": 60, "bytes_out": 185,
            "request_cookie": "SID=1", "response_cookie": null, "termination": "----",
            "connections": { "process": 1, "frontend": 1, "backend": 0, "server": 0 },
            "retries": 0, "redispatched": false, "server_queue": 0, "backend_queue": 0,
            "captures": {
                "request": { "Host": "www.example.test", "X-\"Odd": "x" },
                "response": { "X-Sql-Count": "12" }
            },
            "method": "GET", "target": "/", "version": "HTTP/1.1",
            "request_id": "abc", "reason": null, "limited_by": "per-client"
        })
    );
}

#[test]
fn json_of_a_bad_request_keeps_its_keys() {
    let record = Record { request: None, backend: None, server: None, status: None, client: None, ..plain() };
    let (value, _) = object(&record, 8192);
    for key in ["method", "target", "version", "backend", "server", "status", "client", "client_port", "peer"] {
        assert_eq!(value.get(key), Some(&serde_json::Value::Null), "{key}");
    }
    assert_eq!(value["captures"], serde_json::json!({ "request": null, "response": null }));
}

#[test]
fn json_shortens_texts_and_stays_whole() {
    let target = "/\u{e4}\u{1}".repeat(5000);
    let record = Record { request: get(&target), ..plain() };
    for max in [900, 1023, 4096, 8192] {
        let (value, text) = object(&record, max);
        assert!(text.len() <= max, "{max}: {}", text.len());
        assert_eq!(value["truncated"], true);
        assert!(!value["target"].as_str().unwrap().is_empty());
    }
    assert!(object(&record, 1_000_000).0.get("truncated").is_none());
    let (value, text) = object(&record, 10);
    assert!(text.len() < 800, "only the frame is left: {}", text.len());
    assert_eq!(value["target"], "");
}

#[test]
fn json_of_events_and_failed_connections() {
    let mut out = Vec::new();
    json::render_event(1, "Server \"b/s\" is DOWN", microseconds("2026-11-21T19:46:16Z"), &mut dates(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"time":"2026-11-21T19:46:16.000000+00:00","severity":1,"event":"Server \"b/s\" is DOWN"}"#
    );
    let failed = FailedConnection {
        client: None,
        accepted_us: 0,
        ended_us: 0,
        frontend: "f",
        bind: "1",
        reason: "SSL handshake failure",
        severity: severity::INFO,
        format: None,
    };
    let mut out = Vec::new();
    json::render_failed(&failed, &mut dates(), &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["bind"], "1");
    assert_eq!(value["client"], serde_json::Value::Null);
}

/// What a reader does to get the bytes back.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for character in text.chars() {
        match u32::from(character) {
            private @ 0xef80..=0xefff => bytes.push((private & 0xff) as u8),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn json_gives_back_every_byte(target in proptest::collection::vec(any::<u8>(), 0..200), odd in "\\PC{0,20}") {
        let mut target = target;
        target.extend_from_slice(odd.as_bytes());
        target.extend_from_slice("\u{ef80}\u{efff}\u{ee80}\u{f000}".as_bytes());
        let record = Record {
            request: Some(RequestLine { method: b"GET", target: &target, version: "HTTP/1.1" }),
            ..plain()
        };
        let (value, text) = object(&record, 100_000);
        prop_assert_eq!(unescape(value["target"].as_str().unwrap()), target);
        prop_assert!(!text.bytes().any(|byte| byte < 0x20));
    }

    #[test]
    fn httplog_is_printable_ascii_for_any_bytes(
        target in proptest::collection::vec(any::<u8>(), 0..200),
        capture in proptest::collection::vec(any::<u8>(), 0..40),
        max in 1usize..600,
    ) {
        let captures = values(&[&capture, b"second"]);
        let record = Record {
            request: Some(RequestLine { method: b"GET", target: &target, version: "HTTP/1.1" }),
            request_captures: Some(&captures),
            ..plain()
        };
        let line = line(&record, max);
        prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert!(line.len() <= max && line.ends_with('"'));
        if line.len() < max && max > 590 {
            let (block, _) = line.split_once('{').unwrap().1.split_once("} \"").unwrap();
            prop_assert_eq!(block.matches('|').count(), 1);
        }
    }
}
