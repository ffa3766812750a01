//! Lines of format strings against HAProxy's own: recorded ones where the reference has them, else written by HAProxy
//! 2.6 for the same request.

use proptest::prelude::*;

use super::parse::{FormatError, FormatTrouble};
use super::{CLF, HTTPLOG, HTTPSLOG, LineFormat, LogFormat, Surroundings, TCPLOG, cut};
use crate::core::log::httplog;
use crate::core::log::record::{CapturedValue, ConnectionCounts, Record, RequestLine};
use crate::core::log::tests::{dates, get, microseconds, plain, timers, values};
use crate::core::tls::TlsFacts;

fn line_of(format: &str, record: &Record<'_>, max_bytes: usize) -> String {
    let format = LineFormat::parse(format).unwrap();
    let surroundings = Surroundings { hostname: "vm".into(), pid: 6775 };
    let mut out = b"before ".to_vec();
    format.render(record, &surroundings, &mut dates(), max_bytes, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
}

#[track_caller]
fn check(format: &str, record: &Record<'_>, expected: &str) {
    assert_eq!(line_of(format, record, 8192), expected, "{format}");
}

#[test]
fn golden_custom() {
    let captures = values(&[b"a"]);
    check(
        "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r \
         ID=%ID Th=%Th Ti=%Ti Tq=%Tq Tt=%Tt Tu=%Tu U=%U HM=%HM HP=%HP HQ=%HQ HV=%HV pid=%pid H=%H fi=%fi:%fp \
         bi=%bi:%bp si=%si:%sp rt=%rt lc=%lc",
        &Record {
            client: Some("127.0.0.1:54336".parse().unwrap()),
            accepted_us: microseconds("2026-11-21T19:47:21.367Z"),
            frontend: "fe_custom",
            timers: crate::core::log::record::Timers { idle: Some(499), ..timers(0, 0, 0, 151, 151) },
            bytes_out: 76,
            bytes_in: 49,
            request_captures: Some(&captures),
            request: get("/slow?ms=150"),
            request_id: Some(b"7F000001:D440_0051"),
            frontend_address: Some("127.0.0.1:18513".parse().unwrap()),
            server_source: Some("127.0.0.1:59816".parse().unwrap()),
            server_address: Some("127.0.0.1:18101".parse().unwrap()),
            request_counter: 81,
            log_counter: 1,
            ..plain()
        },
        "127.0.0.1:54336 [21/Nov/2026:19:47:21.367] fe_custom be_web/web1 0/0/0/151/151 200 76 - - ---- 1/1/0/0/0 0/0 {a} \
         \"GET /slow?ms=150 HTTP/1.1\" ID=7F000001:D440_0051 Th=0 Ti=499 Tq=499 Tt=650 Tu=151 U=49 HM=GET HP=/slow \
         HQ=?ms=150 HV=HTTP/1.1 pid=6775 H=vm fi=127.0.0.1:18513 bi=127.0.0.1:59816 si=127.0.0.1:18101 rt=81 lc=1",
    );
}

#[test]
fn golden_httpslog() {
    let session = TlsFacts { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", ..TlsFacts::default() };
    let record = Record {
        client: Some("127.0.0.1:45366".parse().unwrap()),
        accepted_us: microseconds("2026-11-21T19:47:10.883Z"),
        frontend: "fe_httpslog",
        tls: true,
        bytes_out: 176,
        request: get("/over-http1.1"),
        tls_session: Some(&session),
        ..plain()
    };
    let before = "127.0.0.1:45366 [21/Nov/2026:19:47:10.883] fe_httpslog~ be_web/web1 0/0/0/0/0 200 176 - - ---- 1/1/0/0/0 \
                  0/0 \"GET /over-http1.1 HTTP/1.1\"";
    check(HTTPSLOG, &record, &format!("{before} 0/0000000000000000/0/0/0 -/TLSv1.3/TLS_AES_256_GCM_SHA384"));
    let session = TlsFacts { server_name: Some("a.test".into()), resumed: true, ..session.clone() };
    check(
        HTTPSLOG,
        &Record { tls_session: Some(&session), ..record.clone() },
        &format!("{before} 0/0000000000000000/0/0/1 a.test/TLSv1.3/TLS_AES_256_GCM_SHA384"),
    );
    let clear = Record { tls_session: None, tls: false, ..record };
    check(HTTPSLOG, &clear, &format!("{} 0/-/-/-/0 -/-/-", before.replace('~', "")));
}

#[test]
fn the_clients_tls() {
    let facts = crate::core::tls::sample::tests::facts();
    let record = Record { tls: true, tls_session: Some(&facts), ..plain() };
    let format = "%[ssl_c_verify]/%[ssl_c_err]/%[ssl_c_ca_err] %{+Q}[ssl_c_s_dn(CN)] %[ssl_c_sha1,hex] %[ja4] \
                  %[fc.timer.handshake]";
    check(format, &record, "10/10/0 \"alice\" AA - 7");
    check(format, &Record { tls_session: None, ..record }, "-/-/- \"\" - - -");
}

#[test]
fn golden_clf() {
    let record = Record {
        client: Some("127.0.0.1:40440".parse().unwrap()),
        accepted_us: microseconds("2026-11-21T19:47:19.812Z"),
        frontend: "fe_clf",
        bytes_out: 167,
        request: get("/clf"),
        ..plain()
    };
    check(
        CLF,
        &record,
        "127.0.0.1 - - [21/Nov/2026:19:47:19 +0000] \"GET /clf HTTP/1.1\" 200 167 \"\" \"\" 40440 812 \"fe_clf\" \"be_web\" \
         \"web1\" 0 0 0 0 0 ---- 1 1 0 0 0 0 0 \"\" \"\" ",
    );
    let (request, response) = (values(&[b"127.0.0.1:19503"]), values(&[b"va\"l|b\\c", b""]));
    check(
        CLF,
        &Record {
            request_captures: Some(&request),
            response_captures: Some(&response),
            request_cookie: Some(b"SID=a\"b"),
            asap: true,
            ..record
        },
        "127.0.0.1 - - [21/Nov/2026:19:47:19 +0000] \"GET /clf HTTP/1.1\" 200 +167 \"\" \"\" 40440 812 \"fe_clf\" \
         \"be_web\" \"web1\" 0 0 0 0 +0 ---- 1 1 0 0 0 0 0 \"SID=a#22b\" \"\" \"127.0.0.1:19503\" \"va#22l#7Cb\\c\" \"\"",
    );
}

#[test]
fn tcplog() {
    let record = Record { timers: timers(0, 2, 3, 4, 20), ..plain() };
    check(TCPLOG, &record, "127.0.0.1:1 [21/Nov/2026:19:46:18.187] fe_http be_web/web1 2/3/20 185 -- 1/1/0/0/0 0/0");
}

#[test]
fn a_request_that_was_none() {
    let record = Record {
        backend: None,
        server: None,
        timers: timers(-1, -1, -1, -1, 0),
        status: Some(400),
        bytes_out: 0,
        termination: *b"PR--",
        request: None,
        ..plain()
    };
    check(
        "%hr%{+Q}hs %{+Q}r|%HM %HP %HPO %HU %HQ %HV",
        &record,
        "\"<BADREQ>\"|<BADREQ> <BADREQ> <BADREQ> <BADREQ> <BADREQ> <BADREQ>",
    );
    check("%Tq %Tt %Tu %Td %b/%s", &record, "-1 0 0 -1 fe_http/<NOSRV>");
    check("a %hr %hrl %hs %hsl b", &record, "a b");
    check("%bi:%bp %{+Q}si:%{+Q}sp %ID %{+Q}ID %sslv", &record, "-:- \"\":\"\" - \"\" -");
}

#[test]
fn flags() {
    let captures = values(&[b"a\"b\\c]|", b""]);
    let record = Record {
        client: Some("127.0.0.1:33150".parse().unwrap()),
        accepted_us: 1_795_307_254_733_000,
        request_captures: Some(&captures),
        request: get("/p]\\\""),
        request_counter: 80,
        ..plain()
    };
    for (format, expected) in [
        ("%{+X}ci:%{+X}cp %{+Q}ci:%{+Q}cp", "7F000001:817E \"127.0.0.1\":33150"),
        ("%{+X}pid %{+X}Ts %{+X}ms %Ts %ms %{+X}rt %{+X}lc", "1A77 6B0236F6 2DD 1795307254 733 0050 0000"),
        ("%{+Q}ST %{+Q}tsc %{+Q}Tw %{+X}B %{+X}ST", "200 ---- 0 185 200"),
        ("%hr %{+Q}hr %{+E}hr", "{a#22b\\c]#7C|} \"{a#22b\\c]#7C|}\" {a#22b\\\\c\\]#7C|}"),
        ("%hrl %{+Q}hrl", "a#22b\\c]#7C - \"a#22b\\c]#7C\" \"\""),
        ("%HU %{+Q,+E}HU", "/p]\\#22 \"/p\\]\\\\#22\""),
        ("%{+Q}o%f %{-Q}b %s %{-Q}o%b", "\"fe_http\" be_web \"web1\" be_web"),
        ("%{+X}o%ci:%cp_%rt", "7F000001:817E_0050"),
        ("  two   blanks %%  %hs  end ", "two blanks % end "),
    ] {
        check(format, &record, expected);
    }
}

#[test]
fn dates_of_accept_and_request() {
    let timers = crate::core::log::record::Timers { handshake: Some(1000), idle: Some(500), ..plain().timers };
    let record = Record { timers, ..plain() };
    check(
        "%t|%tr|%trg|%T|%Th|%Tt",
        &record,
        "21/Nov/2026:19:46:16.687|21/Nov/2026:19:46:18.187|21/Nov/2026:19:46:18 +0000|21/Nov/2026:19:46:16 +0000|1000|1500",
    );
    let format = LineFormat::parse("%trl %Tl").unwrap();
    let mut cache = crate::core::log::date::DateCache::new(jiff::tz::TimeZone::posix("NST3:30").unwrap());
    let mut out = Vec::new();
    format.render(&record, &Surroundings { hostname: "vm".into(), pid: 1 }, &mut cache, 100, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "21/Nov/2026:16:16:18 -0330 21/Nov/2026:16:16:16 -0330");
}

#[test]
fn targets_in_parts() {
    for (target, uri_path, path, query) in [
        ("/a/b?x=1?y", "/a/b", "/a/b", "?x=1?y"),
        ("http://h:80/a?x", "http://h:80/a", "/a", "?x"),
        ("http://h", "http://h", "/", ""),
        ("/go?to=http://x/y", "/go", "/go", "?to=http://x/y"),
        ("/http://x", "/http://x", "/http://x", ""),
        ("*", "*", "*", ""),
    ] {
        check("%HP|%HPO|%HQ|", &Record { request: get(target), ..plain() }, &format!("{uri_path}|{path}|{query}|"));
    }
}

#[test]
fn unix_clients() {
    let record = Record { client: None, ..plain() };
    check("%ci:%cp", &record, "unix:1");
}

#[test]
fn mistakes() {
    use FormatTrouble::*;
    for (text, at, trouble) in [
        ("httplogs", 0, UnknownName),
        ("a %Zz b", 2, UnknownVariable("Zz".into())),
        ("%ci:%cpx", 4, UnknownVariable("cpx".into())),
        ("100 %", 4, NoName),
        ("x % y", 2, NoName),
        ("%{+Z}r", 3, UnknownFlag("Z".into())),
        ("x %{+Q r", 2, Unclosed('{')),
        ("x %[src", 2, Unclosed('[')),
        ("%[src]", 2, Expression("src".into())),
        ("%ci\n%cp", 3, ControlByte),
    ] {
        assert_eq!(LogFormat::parse(text), Err(FormatError { at, trouble }), "{text:?}");
    }
    for name in LogFormat::NAMES {
        assert!(LogFormat::parse(name).is_ok(), "{name}");
    }
}

#[test]
fn only_what_is_shown_is_found_out() {
    let wants = |text: &str| LogFormat::parse(text).unwrap().wants();
    assert_eq!(wants(HTTPLOG), Default::default());
    assert!(wants("httpslog").tls && wants("%{+X}rt").request_counter && wants("%lc").log_counter);
    assert!(wants("%fi").frontend_address && wants("%bp").server_side && !wants("%cp").server_side);
}

#[test]
fn long_lines_keep_their_quotes_closed() {
    let target = format!("/{}", "a\"b".repeat(500));
    let agent = values(&[&[b'x'; 600], b"end"]);
    let record = Record { request: get(&target), request_captures: Some(&agent), ..plain() };
    for format in [HTTPLOG, HTTPSLOG, CLF, "%ci %{+Q}HU", "%ci %{+Q,+E}HU x", "%{+Q}hr", "%HU %{+Q}r"] {
        let whole = line_of(format, &record, 100_000);
        for max in [256, 300, 301, 302, 303, 700, 1023] {
            let cut = line_of(format, &record, max);
            assert!(cut.len() <= max && cut.len() + 4 >= max.min(whole.len()), "{format}: {} of {max}", cut.len());
            let closed = cut.bytes().filter(|byte| *byte == b'"').count() % 2 == 0;
            assert!(closed || (whole.ends_with('"') && cut.ends_with('"')), "{format}: {cut}");
            assert!(!whole.ends_with('"') || cut.ends_with('"'), "{format}: {cut}");
            for escape in cut.split('#').skip(1) {
                assert!(escape.starts_with("22") || escape.starts_with("7"), "{format}: a torn escape in {cut}");
            }
        }
    }
    let mut backslashed = br#"x "a\"b\\c" d"#.to_vec();
    cut(0, 6, true, &mut backslashed);
    assert_eq!(backslashed, br#"x "a""#);
}

proptest! {
    /// The fast renderer of httplog and its format string write the same.
    #[test]
    fn httplog_is_its_format_string(
        target in proptest::collection::vec(any::<u8>(), 0..40),
        cookie in proptest::option::of(proptest::collection::vec(1u8..255, 0..12)),
        captured in proptest::option::of(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 1..4)),
        times in (-1i64..5000, -1i64..5000, -1i64..5000, -1i64..5000, 0u32..90_000),
        numbers in (0u32..9, 0u32..9, 0u32..9, 0u32..9, 0u32..9),
        flags in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        max in 1usize..600,
    ) {
        let captured: Option<Vec<CapturedValue>> =
            captured.map(|values| values.iter().map(|value| CapturedValue::from_slice(value)).collect());
        let record = Record {
            timers: timers(times.0, times.1, times.2, times.3, times.4),
            request: flags.0.then_some(RequestLine { method: b"GET", target: &target, version: "HTTP/1.1" }),
            request_cookie: cookie.as_deref(),
            request_captures: captured.as_deref(),
            response_captures: if flags.1 { captured.as_deref() } else { None },
            redispatched: flags.2,
            asap: flags.3,
            tls: flags.1,
            status: flags.0.then_some(200),
            connections: ConnectionCounts { process: numbers.0, frontend: numbers.1, backend: numbers.2, server: numbers.3 },
            retries: numbers.4,
            ..plain()
        };
        let mut expected = Vec::new();
        httplog::render(&record, &mut dates(), max, &mut expected);
        prop_assert_eq!(line_of(HTTPLOG, &record, max), String::from_utf8(expected).unwrap());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,40}|(%|\\{|\\}|\\[|\\]|\\+|[A-Za-z]|é){0,30}") {
        if let Ok(LogFormat::Line(line)) = LogFormat::parse(&text) {
            let mut out = Vec::new();
            line.render(&plain(), &Surroundings { hostname: "vm".into(), pid: 1 }, &mut dates(), 50, &mut out);
            prop_assert!(out.len() <= 50);
        }
    }
}
