//! PROXY headers from clients, raw byte by raw byte: who is believed, what is refused, and what a header changes.
//! `servers` has those to servers, `peers` real programs on both sides.

mod peers;
mod servers;

use std::time::Duration;

use crate::support::certificates::{self, Authority, Key};
use crate::support::client::RawClient;
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{holds_for, until};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n";
const GET: &str = "GET /asked HTTP/1.1\r\nHost: a.test\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// 192.0.2.7:4711 to 198.51.100.9:8443, and more behind it.
fn tcp4(tlvs: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&[192, 0, 2, 7, 198, 51, 100, 9, 0x12, 0x67, 0x20, 0xfb], tlvs].concat())
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A site whose bind takes headers as `rules` say; TLS keys and others behind a comma.
fn bind(site: Site, rules: &str) -> Site {
    let line = format!("bind: [ {{ address: \"{}\", proxy_protocol: {{ {rules} }} }} ]", site.address());
    site.frontend(line)
}

fn believing(origin: &Origin) -> Site {
    bind(Site::of(&[origin]), "from: 127.0.0.0/8")
}

/// How many headers came to that.
fn headers(site: &Running, result: &str) -> f64 {
    let page = RawClient::connect(site.address).send(LINE).ask("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").text();
    let series = format!("lockgate_frontend_proxy_headers_total{{proxy=\"fe\",result=\"{result}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

#[test]
fn a_connection_is_from_whom_its_header_names() {
    let origin = Origin::named("s1");
    let site = believing(&origin).start();
    let v6 =
        [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1], &[0x20, 1, 0x0d, 0xb8], &[0; 11], &[2], &[0, 7, 0, 9]].concat();
    let with_tlvs = tcp4(&[tlv(4, b"room"), tlv(0xea, b"\x01vpce"), tlv(1, b"http/1.1")].concat());
    for (number, (header, client, port)) in [
        (LINE.into(), "192.0.2.7:4711", "8443"),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 7 9\r\n".into(), "2001:db8::1:7", "9"),
        ("PROXY TCP6 ::ffff:192.0.2.8 ::ffff:192.0.2.9 7 9\r\n".into(), "192.0.2.8:7", "9"),
        (tcp4(b""), "192.0.2.7:4711", "8443"),
        (with_tlvs, "192.0.2.7:4711", "8443"),
        (binary(0x21, 0x21, &v6), "2001:db8::1:7", "9"),
    ]
    .into_iter()
    .enumerate()
    {
        // Header and request in one segment; then a second request, which belongs to the same client.
        let mut connection = site.client();
        let target = format!("/{number}");
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(connection.ask([&header[..], request.as_bytes()].concat()).text(), "s1");
        assert_eq!(connection.get("/again").text(), "s1");
        let seen = origin.requests();
        let [.., first, second] = &seen[..] else { panic!("two requests") };
        let ip = client.rsplit_once(':').unwrap().0;
        for request in [first, second] {
            assert_eq!(request.all("x-forwarded-for"), [ip]);
            assert_eq!(request.all("x-forwarded-port"), [port]);
            assert_eq!(request.all("x-forwarded-proto"), ["http"]);
        }
        let line = site.logs.line_with(&format!("GET {target} "));
        assert!(line.contains(&format!(" {client} [")), "{line}");
        let sessions = site.admin("show sess");
        assert!(sessions.contains(&format!("src={client}")), "{sessions}");
    }
}

#[test]
fn senders_that_speak_for_nobody_keep_their_own_address() {
    let origin = Origin::named("s1");
    let site = believing(&origin).start();
    let tcp4_body = [192, 0, 2, 7, 198, 51, 100, 9, 0x12, 0x67, 0x20, 0xfb];
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.9 4711 8443\r\n".to_vec(),
        binary(0x20, 0, b""),
        binary(0x20, 0x11, &tcp4_body),
        binary(0x21, 0, b""),
        binary(0x21, 0x31, &[0; 216]),
    ] {
        let mut client = site.client();
        assert_eq!(client.ask([&header[..], GET.as_bytes()].concat()).text(), "s1");
        assert_eq!(origin.requests().last().unwrap().all("x-forwarded-for"), ["127.0.0.1"]);
        let line = format!(" {} [", client.local_addr());
        site.logs.line_with(&line);
    }
    // A health check: nothing behind the header.
    let lines = site.logs.lines().len();
    let mut check = site.client();
    check.send(binary(0x20, 0, b""));
    check.wire.half_close();
    check.expect_closed();
    holds_for(Duration::from_millis(100), "checks are not logged", || site.logs.lines().len() == lines);
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let origin = Origin::named("s1");
    let site = believing(&origin).start();
    for header in [LINE.as_bytes().to_vec(), tcp4(&tlv(2, b"a.example")), tcp4(&tlv(4, &[b'x'; 3000]))] {
        let mut client = site.client();
        let step = header.len().div_ceil(60);
        let bytes = [&header[..], GET.as_bytes()].concat();
        for piece in bytes.chunks(step) {
            client.send(piece);
            // Each is a segment of its own, and most are met alone.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.answer().text(), "s1");
        assert_eq!(origin.requests().last().unwrap().all("x-forwarded-for"), ["192.0.2.7"]);
    }
}

#[test]
fn malformed_headers_close_the_connection_and_are_logged_in_haproxys_words() {
    let origin = Origin::named("s1");
    let site = believing(&origin).frontend("stats: { path: /stats, metrics: /metrics }").start();
    let not_one = "Received something which does not look like a PROXY protocol header";
    let unhandled = "Received an unhandled protocol in the PROXY protocol header";
    let invalid = "Received an invalid PROXY protocol header";
    let truncated = "Truncated PROXY protocol header received";
    let unspecific_tlvs = |bytes: &[u8]| tcp4(bytes);
    let cases: Vec<(Vec<u8>, bool, &str)> = vec![
        (GET.into(), false, not_one),
        (b"PROXX".into(), false, not_one),
        (b"proxy TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n".into(), false, not_one),
        ([&SIGNATURE[..11], b"\r"].concat(), false, not_one),
        (binary(0x31, 0x11, &[0; 12]), false, not_one),
        (b"PROXY TCP5 192.0.2.7 198.51.100.9 4711 8443\r\n".into(), false, unhandled),
        (b"PROXY \r\n".into(), false, unhandled),
        (b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\n".into(), false, invalid),
        (b"PROXY TCP4 192.0.2 198.51.100.9 4711 8443\r\n".into(), false, invalid),
        (b"PROXY TCP4 192.0.2.7 198.51.100.9 70000 8443\r\n".into(), false, invalid),
        (b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443 \r\n".into(), false, invalid),
        (b"PROXY TCP6 192.0.2.7 198.51.100.9 4711 8443\r\n".into(), false, invalid),
        (format!("PROXY UNKNOWN {}\r\n", "a".repeat(120)).into(), false, invalid),
        (binary(0x22, 0x11, &[0; 12]), false, invalid),
        (binary(0x21, 0x12, &[0; 12]), false, invalid),
        (binary(0x21, 0x41, &[0; 12]), false, invalid),
        (binary(0x21, 0x11, &[0; 11]), false, invalid),
        (binary(0x21, 0x21, &[0; 12]), false, invalid),
        ([SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(), false, invalid),
        (unspecific_tlvs(&[2, 0, 50, b'a']), false, invalid),
        (unspecific_tlvs(&[2, 0]), false, invalid),
        (unspecific_tlvs(&tlv(3, b"abcd")), false, invalid),
        (unspecific_tlvs(&tlv(5, &[b'x'; 129])), false, invalid),
        (unspecific_tlvs(&tlv(0x20, b"ab")), false, invalid),
        (unspecific_tlvs(&[tlv(2, b"a.example"), tlv(2, b"b.example")].concat()), false, invalid),
        (LINE.as_bytes()[..20].into(), true, truncated),
        (tcp4(b"")[..20].into(), true, truncated),
        (b"P".into(), true, truncated),
    ];
    let before = site.stat("fe", "FRONTEND");
    for (bytes, ends, words) in &cases {
        let logged = site.logs.lines().len();
        let mut client = site.client();
        client.send(bytes);
        if *ends {
            client.wire.half_close();
        }
        client.expect_closed();
        let start = format!("{} [", client.local_addr());
        until("its line", || site.logs.lines().len() > logged);
        let line = site.logs.line_with(&start);
        assert!(line.trim_end().ends_with(&format!("] fe/1: {words}")), "{:?}: {line}", String::from_utf8_lossy(bytes));
    }
    // As HAProxy counts: connections, but no sessions and no requests.
    let after = site.stat("fe", "FRONTEND");
    let grown = |column: &str| after.number(column) - before.number(column);
    assert_eq!(grown("conn_tot"), cases.len() as i64);
    assert_eq!((grown("stot"), grown("req_tot"), grown("ereq")), (0, 0, 0));
    assert_eq!(headers(&site, "refused"), cases.len() as f64);
    assert_eq!(origin.connections(), 0);
    // Others are served as ever.
    assert_eq!(site.client().send(LINE).ask(GET).text(), "s1");
    assert!(headers(&site, "told") >= 2.0);
}

#[test]
fn a_header_has_its_time() {
    let origin = Origin::named("s1");
    let site = believing(&origin).frontend("timeouts: { proxy_header: 250ms, request: 20s }").start();
    let mut silent = site.client();
    let mut slow = site.client();
    slow.send(&LINE.as_bytes()[..30]);
    let (silent_addr, slow_addr) = (silent.local_addr(), slow.local_addr());
    silent.expect_closed();
    slow.expect_closed();
    let line = site.logs.line_with(&format!("{slow_addr} ["));
    assert!(line.trim_end().ends_with("fe/1: Timeout while waiting for PROXY protocol header"), "{line}");
    let lines = site.logs.lines();
    assert!(!lines.iter().any(|line| line.contains(&silent_addr.to_string())), "{lines:?}");
    // Behind the header the client has the time it has anywhere.
    let mut patient = site.client();
    patient.send(LINE);
    patient.expect_silence(Duration::from_millis(500));
    assert_eq!(patient.ask(GET).text(), "s1");
}

#[test]
fn silent_connections_are_logged_when_that_is_asked_for() {
    let origin = Origin::named("s1");
    let site = believing(&origin).frontend("timeouts: { proxy_header: 200ms }\nlog_null: true").start();
    let mut closing = site.client();
    let addr = closing.local_addr();
    closing.wire.half_close();
    closing.expect_closed();
    let line = site.logs.line_with(&format!("{addr} ["));
    assert!(line.trim_end().ends_with("fe/1: Connection closed while waiting for PROXY protocol header"), "{line}");
    let mut silent = site.client();
    silent.expect_closed();
    let line = site.logs.line_with(&format!("{} [", silent.local_addr()));
    assert!(line.trim_end().ends_with("fe/1: Timeout while waiting for PROXY protocol header"), "{line}");
}

#[test]
fn only_named_networks_are_believed() {
    let origin = Origin::named("s1");
    let required = bind(Site::of(&[&origin]), "from: [127.0.0.2, \"2001:db8::/32\"]").start();
    assert_eq!(RawClient::connect_from([127, 0, 0, 2], required.address).send(LINE).ask(GET).text(), "s1");
    for bytes in [LINE, GET] {
        // It is closed before it has said a word; what it says may meet a connection that is gone.
        let mut elsewhere = RawClient::connect_from([127, 0, 0, 3], required.address);
        let _ = elsewhere.wire.send(bytes);
        elsewhere.expect_closed();
        let line = required.logs.line_with(&format!("{} [", elsewhere.local_addr()));
        assert!(line.contains("an address that may not send a PROXY protocol header"), "{line}");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn where_headers_are_optional_others_are_served_as_they_come() {
    let origin = Origin::named("s1");
    let rules = "from: 127.0.0.2, required: false";
    let site = bind(Site::of(&[&origin]), rules).frontend("timeouts: { proxy_header: 300ms, request: 20s }").start();
    let named = || RawClient::connect_from([127, 0, 0, 2], site.address);
    let elsewhere = || RawClient::connect_from([127, 0, 0, 3], site.address);
    let client = || origin.requests().last().unwrap().field("x-forwarded-for").unwrap().to_owned();
    for (mut from, bytes, expected) in [
        (named(), [LINE, GET].concat(), "192.0.2.7"),
        (named(), GET.to_owned(), "127.0.0.2"),
        (named(), format!("\r\n{GET}"), "127.0.0.2"),
        (named(), GET.replace("GET", "PROPFIND"), "127.0.0.2"),
        (elsewhere(), GET.to_owned(), "127.0.0.3"),
    ] {
        assert_eq!(from.ask(&bytes).text(), "s1", "{bytes:?}");
        assert_eq!(client(), expected, "{bytes:?}");
    }
    // Who says nothing at first is no less welcome, and may still say it slowly.
    let mut late = named();
    late.expect_silence(Duration::from_millis(600));
    assert_eq!(late.ask(GET).text(), "s1");
    // From elsewhere a header is only a bad request.
    for header in [LINE.as_bytes().to_vec(), tcp4(b"")] {
        assert_eq!(elsewhere().ask([&header[..], GET.as_bytes()].concat()).status(), 400);
    }
    // A header that has begun must go on as one.
    let mut begun = named();
    begun.send("PROXY TCP4 1");
    begun.expect_closed();
    let mut bad = named();
    bad.send("PROXY TCP9\r\n");
    bad.expect_closed();
}

#[test]
fn limits_and_lists_go_by_the_client_that_was_named() {
    let origin = Origin::named("s1");
    let site = believing(&origin)
        .frontend("maxconn_per_source: 2\ndeny: [ { client_ip: 192.0.2.66 } ]\ntrusted_proxies: 198.51.100.0/24")
        .start();
    let from = |ip: &str| {
        let mut client = site.client();
        client.send(format!("PROXY TCP4 {ip} 198.51.100.9 4711 8443\r\n"));
        client
    };
    let mut first = from("192.0.2.1");
    let mut second = from("192.0.2.1");
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(GET).text(), "s1");
    }
    let mut third = from("192.0.2.1");
    third.expect_closed();
    assert_eq!(site.stat("fe", "FRONTEND").number("dcon"), 1);
    assert_eq!(from("192.0.2.2").ask(GET).text(), "s1", "another client has places of its own");
    drop(first);
    until("the place to be free", || site.stat("fe", "FRONTEND").number("scur") <= 1);
    assert_eq!(from("192.0.2.1").ask(GET).text(), "s1");
    assert_eq!(from("192.0.2.66").ask(GET).status(), 403);
    // The one who was named may be a proxy itself.
    let forwarded = "GET /f HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n";
    from("198.51.100.1").ask(forwarded);
    assert_eq!(origin.requests().last().unwrap().field("x-forwarded-for"), Some("203.0.113.5, 198.51.100.1"));
    from("192.0.2.9").ask(forwarded.replace("/f", "/g"));
    assert_eq!(origin.requests().last().unwrap().field("x-forwarded-for"), Some("192.0.2.9"));
}

#[test]
fn what_else_a_header_says_can_be_used() {
    let origin = Origin::named("s1");
    let variables = [
        "fc_pp_authority",
        "fc_pp_unique_id",
        "fc_pp_tls",
        "fc_pp_tls_version",
        "fc_pp_tls_cipher",
        "fc_pp_tls_cn",
        "fc_pp_tlv(0xEA)",
        "fc_pp_tlv(ALPN)",
    ];
    let written = variables.map(|name| format!("%[{name}]")).join("|");
    let site = believing(&origin)
        .frontend(format!("request_headers: [ {{ set: {{ X-Said: \"{written}\" }} }} ]"))
        .frontend(format!("log: \"%ci said {written} %fi:%fp\""))
        .frontend("routes: [ { tls: true, backend: web } ]")
        .start();
    let tls = [&[7, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3"), &tlv(0x23, b"AES"), &tlv(0x22, b"client one")].concat();
    let tlvs =
        [tlv(2, b"a.example"), tlv(5, b"id-1\r\nX-Evil: 1"), tlv(0xea, b"\x01vpce-1"), tlv(1, b"h2"), tlv(0x20, &tls)];
    let header = tcp4(&tlvs.concat());
    assert_eq!(site.client().ask([&header[..], GET.as_bytes()].concat()).text(), "s1");
    let seen = &origin.requests()[0];
    assert_eq!(seen.all("x-said"), ["a.example|id-1X-Evil: 1|1|TLSv1.3|AES|client one|vpce-1|h2"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"], "the client used TLS, though not with us");
    assert_eq!(seen.all("x-evil").len(), 0);
    let line = site.logs.line_with(" said ");
    let expected =
        "192.0.2.7 said a.example|id-1#0D#0AX-Evil:#201|1|TLSv1.3|AES|client#20one|#01vpce-1|h2 198.51.100.9:8443";
    assert!(line.trim_end().ends_with(expected), "{line}");
    // A name that was not verified is none, and a client without TLS has used none: no route takes it.
    let unverified = tcp4(&tlv(0x20, &[&[7, 0, 0, 0, 20][..], &tlv(0x22, b"mallory")].concat()));
    assert_eq!(site.client().ask([&unverified[..], GET.as_bytes()].concat()).text(), "s1");
    assert_eq!(origin.requests()[1].all("x-said"), ["||1|||||"]);
    let plain = tcp4(&tlv(0x20, &[0, 0, 0, 0, 0]));
    assert_eq!(site.client().ask([&plain[..], GET.as_bytes()].concat()).status(), 404);
}

#[test]
fn tls_begins_behind_the_header() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let bind = format!(
        "bind: [ {{ address: \"{}\", proxy_protocol: {{ from: 127.0.0.0/8 }}, tls: {{ certificates: {} }} }} ]",
        site.address(),
        file.display()
    );
    let site = site.frontend(bind).start();
    for header in [LINE.as_bytes().to_vec(), tcp4(&tlv(2, b"a.test"))] {
        let mut client = certificates::connect_behind(&authority.client(), site.address, "a.test", &header).unwrap();
        assert_eq!(client.get("/tls").text(), "s1");
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    }
    let row = site.logs.row_of("/tls");
    assert_eq!(row.frontend, "fe~");
    // Without a header a handshake is not even begun; with one, plain HTTP fails as TLS.
    assert!(certificates::connect(&authority.client(), site.address, "a.test").is_err());
    site.logs.line_with("does not look like a PROXY protocol header");
    let mut plain = site.client();
    plain.send([LINE, GET].concat());
    until("an alert or the end", || plain.wire.fill().is_ok_and(|n| n > 0) || plain.wire.fill().is_ok_and(|n| n == 0));
    let line = site.logs.line_with("http request");
    assert!(line.contains(" 192.0.2.7:4711 ["), "a failed handshake is its client's: {line}");
}

#[test]
fn unix_sockets_take_headers_from_whoever_may_connect() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let socket = site.path("http.sock");
    let bind = format!(
        "bind: [ \"{}\", {{ address: \"unix:{}\", proxy_protocol: {{ required: true }} }} ]",
        site.address(),
        socket.display()
    );
    let site = site.frontend(bind).start();
    for header in [LINE.as_bytes().to_vec(), tcp4(b"")] {
        let mut client = RawClient::connect_unix(&socket);
        assert_eq!(client.ask([&header[..], GET.as_bytes()].concat()).text(), "s1");
        assert_eq!(origin.requests().last().unwrap().all("x-forwarded-for"), ["192.0.2.7"]);
    }
    let mut bad = RawClient::connect_unix(&socket);
    bad.send(GET);
    bad.expect_closed();
    let line = site.logs.line_with("does not look like");
    assert!(line.contains(" unix:1 ["), "{line}");
}

#[test]
fn a_connection_without_its_header_can_be_ended_and_does_not_hold_up_the_end() {
    let origin = Origin::named("s1");
    let mut site = believing(&origin).frontend("timeouts: { proxy_header: 600s }").start();
    let mut client = site.client();
    client.send("PROX");
    let id = crate::support::eventually("the connection", || {
        let sessions = site.admin("show sess");
        sessions
            .lines()
            .next()
            .and_then(|line| line.split(':').next().map(str::to_owned))
            .filter(|id| id.starts_with("0x"))
    });
    site.order(&format!("shutdown session {id}"));
    client.expect_closed();
    let mut waiting = site.client();
    waiting.send("PROX");
    until("the connection", || site.admin("show sess").contains("0x"));
    site.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(site.wait_exit().success());
    waiting.expect_closed();
}
