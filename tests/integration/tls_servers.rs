//! TLS to servers: who is believed, what is said when somebody is not, and that everything else works as in clear text.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::HandshakeKind;

use crate::support::certificates::{Authority, Key, ServerEnd};
use crate::support::message::Role;
use crate::support::nginx::Nginx;
use crate::support::origin::{Origin, OriginConn, Reply};
use crate::support::site::{Running, Site};
use crate::support::wire::Transport;
use crate::support::{ports, tools, until};

/// A server that speaks TLS with a certificate for `names`, and the site before it with `tls: { <keys> }`.
fn site(authority: &Authority, origin: &Origin, keys: &str) -> Site {
    let site = Site::new();
    let root = authority.write_root(&site.path("root.pem"));
    let comma = if keys.is_empty() { "" } else { ", " };
    site.server(origin.addr(), &format!("tls: {{ ca_file: {}{comma}{keys} }}", root.display()))
}

fn origin(authority: &Authority, name: &str) -> Origin {
    Origin::named("s1").with_tls(authority.server(&[name]))
}

/// What the connection of a script agreed on.
fn session(conn: &OriginConn) -> &rustls::ServerConnection {
    match conn.wire.transport() {
        Transport::TlsServer(stream) => &stream.conn,
        _ => panic!("not TLS"),
    }
}

#[test]
fn requests_go_over_one_kept_connection() {
    let authority = Authority::new();
    let origin = origin(&authority, "a.test");
    let site = site(&authority, &origin, "verify_host: a.test").start();
    let mut client = site.client();
    for target in ["/1", "/2", "/3"] {
        assert_eq!(client.get(target).text(), "s1");
    }
    let answer = client.ask("POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((answer.status(), &origin.requests()[3].body[..]), (200, &b"hello"[..]));
    assert_eq!(origin.connections(), 1);
    let row = site.logs.row_of("/3");
    assert_eq!((row.termination.as_str(), row.place().as_str()), ("----", "web/s1"));
    assert_eq!(site.stat("web", "s1").number("reuse"), 3);
    let state = site.admin("show servers state web");
    let row = state.lines().find(|line| line.contains(" s1 ")).unwrap();
    assert_eq!(row.split(' ').nth(20), Some("1"), "srv_use_ssl: {row}");
}

#[test]
fn a_server_that_cannot_prove_itself_gets_no_request() {
    let authority = Authority::new();
    let (other, namesake) = (Authority::called("elsewhere"), Authority::new());
    let of = |end: ServerEnd<'_>| Origin::named("s1").with_tls(authority.server_end(&["a.test"], end));
    let plain = Origin::script(|conn| {
        conn.wire.fill()?;
        conn.send("HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let cases = [
        (of(ServerEnd::default()), "verify_host: b.test", "its certificate is for a.test, not for b.test"),
        (
            of(ServerEnd { expired: true, ..ServerEnd::default() }),
            "verify_host: a.test",
            "its certificate expired on 2021-",
        ),
        (
            Origin::named("s1").with_tls(other.server(&["a.test"])),
            "verify_host: a.test",
            "its certificate was issued by \"/CN=elsewhere\", which is not trusted",
        ),
        (
            Origin::named("s1").with_tls(namesake.server(&["a.test"])),
            "verify_host: a.test",
            "its certificate was not signed by the trusted root",
        ),
        (plain, "verify_host: a.test", "the server does not speak TLS on this port"),
        (
            of(ServerEnd { tls12_alone: true, ..ServerEnd::default() }),
            "verify_host: a.test, min_version: \"1.3\"",
            "SSL handshake failure",
        ),
    ];
    for (origin, keys, reason) in &cases {
        let site = site(&authority, origin, keys).backend("retries: 0").start();
        let answer = site.get("/refused");
        assert_eq!(answer.status(), 503, "{keys}");
        let row = site.logs.row_of("/refused");
        assert_eq!((row.status, row.termination.as_str()), (503, "SC--"), "{keys}");
        assert!(origin.requests().is_empty(), "{keys}");
        until("the reason to be told", || site.output().contains(reason));
        assert_eq!(site.stat("web", "s1").number("econ"), 1);
    }
}

#[test]
fn without_verification_anyone_is_believed() {
    let authority = Authority::new();
    let origin = Origin::named("s1")
        .with_tls(authority.server_end(&["a.test"], ServerEnd { expired: true, ..ServerEnd::default() }));
    let site = Site::new().server(origin.addr(), "tls: { verify: none }").start();
    assert_eq!(site.get("/").text(), "s1");
}

#[test]
fn failed_handshakes_are_tried_again_elsewhere() {
    let authority = Authority::new();
    let (bad, good) = (origin(&authority, "b.test"), origin(&authority, "a.test"));
    let site = Site::new();
    let root = authority.write_root(&site.path("root.pem"));
    let site = site
        .backend(format!("tls: {{ ca_file: {}, verify_host: a.test }}", root.display()))
        .server(bad.addr(), "")
        .server(good.addr(), "")
        .start();
    for _ in 0..4 {
        assert_eq!(site.get("/").text(), "s1");
    }
    assert!(bad.requests().is_empty());
    assert_eq!(good.requests().len(), 4);
}

#[test]
fn a_silent_server_runs_into_the_handshakes_own_timeout() {
    let origin = Origin::script(|conn| conn.stall());
    let site = Site::new()
        .server(origin.addr(), "tls: { verify: none }")
        .defaults("timeouts: { connect: 20s, server_handshake: 200ms }")
        .backend("retries: 0")
        .start();
    assert_eq!(site.get("/slow").status(), 503);
    assert_eq!(site.logs.row_of("/slow").termination, "sC--");
}

#[test]
fn our_certificate_is_shown_to_servers_that_ask() {
    let authority = Authority::new();
    let clients = Authority::new();
    for tls12_alone in [false, true] {
        let end = ServerEnd { clients: Some(&clients), tls12_alone, ..ServerEnd::default() };
        let origin = Origin::named("s1").with_tls(authority.server_end(&["a.test"], end));
        let folder = tempfile::tempdir().unwrap();
        let pem = clients.write(&folder.path().join("ours.pem"), &["lockgate"], Key::Ecdsa);
        let text = std::fs::read_to_string(&pem).unwrap();
        let key_at = text.find("-----BEGIN PRIVATE KEY").unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("ours.key"));
        std::fs::write(&chain, &text[..key_at]).unwrap();
        std::fs::write(&key, &text[key_at..]).unwrap();

        let with = format!("verify_host: a.test, certificate: {}", pem.display());
        assert_eq!(site(&authority, &origin, &with).start().get("/").text(), "s1");
        let apart = format!("verify_host: a.test, certificate: {}, key: {}", chain.display(), key.display());
        assert_eq!(site(&authority, &origin, &apart).start().get("/").text(), "s1");

        let without = site(&authority, &origin, "verify_host: a.test").backend("retries: 0").start();
        assert_eq!(without.get("/without").status(), 503, "TLS 1.2 alone: {tls12_alone}");
        assert_eq!(without.logs.row_of("/without").termination, "SC--");
        until("the reason to be told", || without.output().contains("the server refused: "));
        assert_eq!(origin.requests().len(), 2);
    }
}

#[test]
fn revoked_certificates_are_refused() {
    let authority = Authority::new();
    for (revoked, status) in [(false, 200), (true, 503)] {
        let origin = origin(&authority, "a.test");
        let site = site(&authority, &origin, "verify_host: a.test, crl_file: revoked.crl").backend("retries: 0");
        authority.write_revocations(&site.path("revoked.crl"), revoked);
        let site = site.start();
        assert_eq!(site.get("/").status(), status);
        if revoked {
            until("the reason to be told", || site.output().contains("its certificate was revoked"));
        }
    }
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    for tls12_alone in [false, true] {
        for (cache, expected) in [(256, HandshakeKind::Resumed), (0, HandshakeKind::Full)] {
            let kinds: Arc<Mutex<Vec<HandshakeKind>>> = Arc::default();
            let seen = Arc::clone(&kinds);
            let end = ServerEnd { tls12_alone, ..ServerEnd::default() };
            let origin = Origin::script(move |conn| {
                while conn.request()?.is_some() {
                    seen.lock().unwrap().push(session(conn).handshake_kind().unwrap());
                    Reply::ok("s1").say(conn, false)?;
                }
                Ok(())
            })
            .with_tls(authority.server_end(&["a.test"], end));
            let keys = format!("verify_host: a.test, session_cache: {cache}");
            let site = site(&authority, &origin, &keys).backend("pool: { max_idle: 0 }").start();
            for _ in 0..4 {
                assert_eq!(site.get("/").text(), "s1");
            }
            let kinds = kinds.lock().unwrap().clone();
            assert!(matches!(kinds[0], HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{kinds:?}");
            assert_eq!(kinds.len(), 4);
            let full = |kind: &HandshakeKind| *kind != HandshakeKind::Resumed;
            assert!(kinds[1..].iter().all(|kind| full(kind) == (expected != HandshakeKind::Resumed)), "{kinds:?}");
        }
    }
}

/// The name a server was called by, and on which connection.
type Seen = (Option<String>, usize);

#[test]
fn the_name_sent_is_the_one_asked_for() {
    let authority = Authority::new();
    let names: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let seen = Arc::clone(&names);
    let origin = Origin::script(move |conn| {
        while conn.request()?.is_some() {
            let name = session(conn).server_name().map(str::to_owned);
            seen.lock().unwrap().push((name, conn.index));
            Reply::ok("s1").say(conn, false)?;
        }
        Ok(())
    })
    .with_tls(authority.server(&["a.test", "b.test", "127.0.0.1"]));
    for (keys, expected) in [
        ("verify_host: a.test", Some("a.test")),
        ("sni: b.test", Some("b.test")),
        ("sni: x.test, verify_host: a.test", Some("x.test")),
        ("sni: \"off\", verify_host: a.test", None),
        ("verify_host: 127.0.0.1", None),
    ] {
        names.lock().unwrap().clear();
        let site = site(&authority, &origin, keys).start();
        assert_eq!(site.get("/").text(), "s1", "{keys}");
        assert_eq!(names.lock().unwrap()[0].0.as_deref(), expected, "{keys}");
    }

    // Each request's host, each on connections of its own.
    names.lock().unwrap().clear();
    let site = site(&authority, &origin, "sni: request_host").backend("retries: 0").start();
    let get = |host: &str| site.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status();
    for host in ["a.test", "b.test", "A.test:80", "b.test"] {
        assert_eq!(get(host), 200, "{host}");
    }
    assert_eq!(get("c.test"), 503, "the certificate is not for it");
    let names = names.lock().unwrap().clone();
    let of = |i: usize| (names[i].0.as_deref().unwrap(), names[i].1);
    assert_eq!((of(0).0, of(1).0), ("a.test", "b.test"));
    assert_eq!((of(2), of(3)), (of(0), of(1)), "the connection of the same host");
    assert_ne!(of(0).1, of(1).1);
}

#[test]
fn suites_and_groups_are_those_named() {
    let authority = Authority::new();
    let agreed: Arc<Mutex<String>> = Arc::default();
    let seen = Arc::clone(&agreed);
    let origin = Origin::script(move |conn| {
        while conn.request()?.is_some() {
            let session = session(conn);
            let suite = session.negotiated_cipher_suite().unwrap().suite();
            let group = session.negotiated_key_exchange_group().unwrap().name();
            *seen.lock().unwrap() = format!("{:?} {suite:?} {group:?}", session.protocol_version().unwrap());
            Reply::ok("s1").say(conn, false)?;
        }
        Ok(())
    })
    .with_tls(authority.server(&["a.test"]));
    for (keys, expected) in [
        ("", "TLSv1_3 TLS13_AES_256_GCM_SHA384 X25519MLKEM768"),
        ("ciphers: TLS_CHACHA20_POLY1305_SHA256, groups: P-384", "TLSv1_3 TLS13_CHACHA20_POLY1305_SHA256 secp384r1"),
        (
            "max_version: \"1.2\", ciphers: \"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256\", groups: X25519",
            "TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519",
        ),
    ] {
        let comma = if keys.is_empty() { "" } else { ", " };
        let site = site(&authority, &origin, &format!("verify_host: a.test{comma}{keys}")).start();
        assert_eq!(site.get("/").text(), "s1", "{keys}");
        assert_eq!(*agreed.lock().unwrap(), expected, "{keys}");
    }
}

#[test]
fn an_answer_without_length_is_whole_only_with_a_farewell() {
    let authority = Authority::new();
    for polite in [true, false] {
        let origin = Origin::script(move |conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\n\r\nall there is")?;
            if polite {
                conn.wire.half_close();
            }
            Ok(())
        })
        .with_tls(authority.server(&["a.test"]));
        let site = site(&authority, &origin, "verify_host: a.test").start();
        let mut client = site.client();
        client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.head();
        assert_eq!(head.status(), 200);
        let rest = client.wire.take_rest();
        let row = site.logs.row_of("/open");
        if polite {
            assert_eq!(rest.unwrap(), b"all there is");
            assert_eq!(row.termination, "----");
        } else {
            assert!(rest.is_err(), "the client must see that it was cut: {rest:?}");
            assert_eq!(row.termination, "SD--");
        }
    }
}

#[test]
fn large_bodies_both_ways() {
    const SIZE: usize = 8 << 20;
    let authority = Authority::new();
    let body: Vec<u8> = (0..SIZE).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let answer = body.clone();
    let origin = Origin::answering(move |request| match request.body.len() {
        SIZE => Reply::ok(&answer),
        n => Reply::ok(format!("got {n} bytes")),
    })
    .with_tls(authority.server(&["a.test"]));
    let site = site(&authority, &origin, "verify_host: a.test").start();
    for chunked in [false, true] {
        let mut client = site.client();
        let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
        let copy = body.clone();
        let writing = std::thread::spawn(move || {
            let framing =
                if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
            sender.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes())?;
            if !chunked {
                return sender.write_all(&copy);
            }
            for piece in copy.chunks(70_000) {
                sender.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                sender.write_all(piece)?;
                sender.write_all(b"\r\n")?;
            }
            sender.write_all(b"0\r\n\r\n")
        });
        let got = client.next_answer(Role::Answer);
        writing.join().unwrap().unwrap();
        assert!(got.body == body, "{} bytes, chunked: {chunked}", got.body.len());
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn websockets_over_tls() {
    let authority = Authority::new();
    let origin = Origin::script(|conn| {
        if conn.request_head()?.is_none() {
            return Ok(());
        }
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")?;
        loop {
            let n = conn.wire.buffered().len();
            if n > 0 {
                let bytes = conn.wire.take(n)?;
                conn.send(bytes)?;
            } else if conn.wire.fill()? == 0 {
                // The client has said everything; the server has not.
                conn.send("last words")?;
                conn.wire.half_close();
                return Ok(());
            }
        }
    })
    .with_tls(authority.server(&["a.test"]));
    let site = site(&authority, &origin, "verify_host: a.test").start();
    let mut client = site.client();
    let answer = client.ask("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(answer.status(), 101);
    assert_eq!(client.wire.take(5).unwrap(), b"early");
    for length in [1usize, 100, 1_000_000] {
        let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut sender = client.wire.transport().tcp().unwrap().try_clone().unwrap();
        let copy = bytes.clone();
        let writing = std::thread::spawn(move || sender.write_all(&copy));
        assert!(client.wire.take(length).unwrap() == bytes);
        writing.join().unwrap().unwrap();
    }
    client.wire.half_close();
    assert_eq!(client.wire.take_rest().unwrap(), b"last words");
    let row = site.logs.row_of("/ws");
    assert_eq!((row.status, row.termination.as_str()), (101, "----"));
}

#[test]
fn idle_connections_are_closed_with_a_farewell() {
    let authority = Authority::new();
    let ends: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&ends);
    let origin = Origin::script(move |conn| {
        conn.request()?;
        Reply::ok("s1").say(conn, false)?;
        let polite = conn.wire.ends_politely()?;
        seen.lock().unwrap().push(polite);
        Ok(())
    })
    .with_tls(authority.server(&["a.test"]));
    let site = site(&authority, &origin, "verify_host: a.test").backend("pool: { idle_timeout: 50ms }").start();
    assert_eq!(site.get("/").text(), "s1");
    until("the idle connection to be closed", || !ends.lock().unwrap().is_empty());
    assert_eq!(*ends.lock().unwrap(), [true]);
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced() {
    let authority = Authority::new();
    let origin = Origin::script(|conn| {
        conn.request()?;
        Reply::ok("s1").say(conn, false)?;
        conn.wire.half_close();
        Ok(())
    })
    .with_tls(authority.server(&["a.test"]));
    let site = site(&authority, &origin, "verify_host: a.test").start();
    let mut client = site.client();
    for i in 0..4 {
        // The close may be on its way still: what can be asked again is, and the client does not notice.
        assert_eq!(client.get(&format!("/{i}")).text(), "s1");
    }
    assert!(site.logs.wait_rows(4).iter().all(|row| row.termination == "----" && row.retries == 0));
}

#[test]
fn checks_go_by_the_servers_own_tls() {
    let authority = Authority::new();
    let origin = origin(&authority, "a.test");
    let check = |kind: &str| format!("health_check: {{ type: {kind}, interval: 100ms, rise: 1, fall: 1 }}");
    for (keys, kind, status, word) in [
        ("verify_host: a.test", "tcp", "UP", "L6OK"),
        ("verify_host: a.test", "http", "UP", "L7OK"),
        ("verify_host: b.test", "http", "DOWN", "L6RSP"),
    ] {
        let site = site(&authority, &origin, keys).backend(check(kind)).start();
        site.wait_status("s1", status);
        let row = site.stat("web", "s1");
        assert_eq!(row.check_status(), word, "{keys} {kind}");
        let expected =
            if word == "L6RSP" { "SSL handshake failure (its certificate is for a.test, not for b.test)" } else { "" };
        assert_eq!(row.get("last_chk"), expected);
    }
    // A check elsewhere is in clear text unless it says otherwise.
    let plain = Origin::named("check");
    let elsewhere = format!("health_check: {{ port: {}, interval: 100ms, rise: 1 }}", plain.addr().port());
    let site = site(&authority, &origin, "verify_host: a.test").backend(elsewhere).start();
    site.wait_status("s1", "UP");
    assert_eq!(site.stat("web", "s1").check_status(), "L7OK");
    assert!(!plain.requests().is_empty());
}

#[test]
fn tls_is_switched_off_and_on_while_it_runs() {
    let authority = Authority::new();
    let plain = Origin::named("plain");
    let site = site(&authority, &plain, "verify_host: a.test").backend("retries: 0");
    let state = site.path("state.json");
    let site = site.global("state_file", state.display().to_string()).start();
    let srv_use_ssl = |site: &Running| {
        let state = site.admin("show servers state web");
        let row = state.lines().find(|line| line.contains(" s1 ")).unwrap().to_owned();
        row.split(' ').nth(20).unwrap().to_owned()
    };
    assert_eq!((site.get("/").status(), srv_use_ssl(&site).as_str()), (503, "1"));
    assert_eq!(site.admin("set server web/s1 ssl bogus").trim(), "'set server <srv> ssl' expects 'on' or 'off'.");
    assert_eq!(site.admin("set server web/s1 ssl off").trim(), "server ssl setting updated.");
    until("clear text to be spoken", || site.get("/").status() == 200);
    assert_eq!(srv_use_ssl(&site), "0");
    until("the state file", || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"tls\":")));
    assert_eq!(site.admin("set server web/s1 ssl on").trim(), "server ssl setting updated.");
    until("TLS to be spoken", || site.get("/").status() == 503);
    assert_eq!(srv_use_ssl(&site), "1");
}

#[test]
fn servers_added_while_it_runs() {
    let authority = Authority::new();
    let (plain, tls) = (Origin::named("plain"), origin(&authority, "a.test"));
    let site = Site::new().server(plain.addr(), "");
    let root = authority.write_root(&site.path("root.pem")).display().to_string();
    let site = site.start();
    let address = tls.addr();
    let add =
        |name: &str, words: &str| site.admin(&format!("add server web/{name} {address} {words}")).trim().to_owned();
    for (words, said) in [
        ("ssl verify bogus", "'verify' : unknown verify method 'bogus', only 'none' and 'required' are supported."),
        ("ssl sni", "'sni' : missing sni expression."),
        ("ssl sni src", "'sni' : 'src' is neither 'str(NAME)' nor 'req.hdr(host)'."),
        ("ssl verify none ssl-min-ver bogus", "'bogus' : unknown ssl/tls version."),
        ("ssl verify none alpn h3", "'alpn' : 'h3' is not spoken here, only 'http/1.1'."),
        ("ssl verifyhost a.test ca-file /nowhere.pem", "no trusted certificate could be read from /nowhere.pem"),
        ("ssl", "verify is enabled by default but which name"),
    ] {
        let reply = add("x", words);
        assert!(reply.starts_with(said), "{words}: {reply}");
    }
    assert_eq!(
        add("d1", &format!("ssl verify required verifyhost a.test ca-file {root} check inter 100")),
        "New server registered."
    );
    assert_eq!(add("d2", "ssl verify none sni str(a.test)"), "New server registered.");
    assert_eq!(
        site.admin("set server web/d2 ssl off").trim(),
        "'set server <srv> ssl' not supported on dynamic servers"
    );
    assert_eq!(
        site.admin("set server web/s1 ssl on").trim(),
        "'set server <srv> ssl' cannot be set.  default-server should define ssl settings"
    );
    site.order("disable server web/s1");
    for name in ["d1", "d2"] {
        site.order(&format!("enable server web/{name}"));
        until("it to serve", || site.get("/").text() == "s1");
        if name == "d1" {
            site.order("enable health web/d1");
            until("its check", || site.stat("web", "d1").check_status() == "L6OK");
        }
        site.order(&format!("disable server web/{name}"));
    }
}

#[test]
fn files_are_read_again_when_they_changed() {
    let (first, second) = (Authority::new(), Authority::new());
    let origin = origin(&second, "a.test");
    let site = site(&first, &origin, "verify_host: a.test").backend("retries: 0");
    let root = site.path("root.pem");
    let site = site.start();
    assert_eq!(site.get("/").status(), 503);
    std::fs::write(&root, "nothing").unwrap();
    until("the damage to be told", || {
        site.get("/");
        site.output().contains("cannot be used")
    });
    second.write_root(&root);
    until("the new root to be trusted", || site.get("/").status() == 200);
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lockgate.yaml");
    let text = "frontends: { fe: { bind: \"127.0.0.1:0\", routes: [ { backend: web } ] } }\n\
                backends: { web: { servers: { s1: { address: \"127.0.0.1:1\", tls: { ca_file: absent.pem, verify_host: a.test } } } } }\n";
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(crate::support::proxy::BINARY);
    let output = tools::run(command.arg("run").arg("-c").arg(&config), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(tools::text(&output).contains("cannot read `absent.pem`"), "{}", tools::text(&output));
}

#[test]
fn openssl_is_a_server_like_any_other() {
    let authority = Authority::new();
    let site = Site::new();
    let pem = authority.write(&site.path("server.pem"), &["a.test"], Key::Rsa);
    let root = authority.write_root(&site.path("root.pem"));
    for version in ["-tls1_2", "-tls1_3"] {
        let address = ports::address();
        let openssl = tools::need("openssl", "openssl");
        let _server = tools::Running::start(
            Command::new(openssl)
                .args(["s_server", "-quiet", "-www", version, "-accept", &address.to_string(), "-cert"])
                .arg(&pem)
                .arg("-key")
                .arg(&pem)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        until("openssl to listen", || std::net::TcpStream::connect(address).is_ok());
        let site = Site::new().server(address, &format!("tls: {{ ca_file: {}, sni: a.test }}", root.display())).start();
        let fresh = session_line(&site);
        assert!(fresh.starts_with("New"), "{version}: {fresh}");
        let again = session_line(&site);
        assert!(again.starts_with("Reused"), "{version}: {again}");
    }
}

/// What `openssl s_server -www` says of the session: `New, TLSv1.3, Cipher is …`.
fn session_line(site: &Running) -> String {
    let mut client = site.client();
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let text = String::from_utf8_lossy(&client.wire.take_rest().unwrap()).into_owned();
    let line = text.lines().find(|line| line.contains("Cipher is"));
    line.unwrap_or_else(|| panic!("no session in {text}")).to_owned()
}

#[test]
fn nginx_is_a_server_like_any_other() {
    let authority = Authority::new();
    let site = Site::new();
    let pem = authority.write(&site.path("server.pem"), &["a.test"], Key::Ecdsa);
    let root = authority.write_root(&site.path("root.pem"));
    let (address, folder) = (ports::address(), site.folder());
    let pem = pem.display();
    let locations = format!(
        "listen {address} ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3; \
         location /hello {{ default_type text/plain; return 200 \"$ssl_protocol $ssl_server_name $connection_requests\"; }}"
    );
    let nginx = Nginx::start(folder.path(), "nginx", &locations);
    std::fs::write(nginx.folder().join("html/large"), vec![b'x'; 3 << 20]).unwrap();
    let site = site.server(address, &format!("tls: {{ ca_file: {}, verify_host: a.test }}", root.display())).start();
    let mut client = site.client();
    assert_eq!(client.get("/hello").text(), "TLSv1.3 a.test 1");
    assert_eq!(client.get("/hello").text(), "TLSv1.3 a.test 2");
    assert_eq!(client.get("/large").body.len(), 3 << 20);
    assert_eq!(client.get("/hello").text(), "TLSv1.3 a.test 4");
    let mut read = String::new();
    std::fs::File::open(nginx.folder().join("error.log")).unwrap().read_to_string(&mut read).unwrap();
    assert_eq!(read, "", "nginx has nothing to complain of");
}
