//! PROXY headers to servers: what stands in them, in which connections, and what checks say.

use std::io;

use super::{GET, LINE, binary, tlv};
use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::origin::{Origin, OriginConn, Reply};
use crate::support::site::{Running, Site};
use crate::support::tools;
use crate::support::until;

/// The header that a connection began with: a line, or binary.
fn take_header(conn: &mut OriginConn) -> io::Result<Vec<u8>> {
    let mut header = conn.wire.take(1)?;
    if header == b"P" {
        let Some(rest) = conn.wire.take_until(b"\r\n")? else { return Ok(header) };
        header.extend(rest);
    } else {
        header.extend(conn.wire.take(15)?);
        let length = u16::from_be_bytes([header[14], header[15]]);
        header.extend(conn.wire.take(usize::from(length))?);
    }
    Ok(header)
}

/// A server that takes a header and answers every request with it, in hexadecimal, and with the number of the connection.
fn reading() -> Origin {
    Origin::script(|conn| {
        let header = take_header(conn)?;
        while conn.request()?.is_some() {
            let hex: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            let reply = Reply::ok(hex).field("X-Connection", &conn.index.to_string());
            reply.say(conn, false)?;
        }
        Ok(())
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The header that stood before a request of that client.
#[track_caller]
fn header_of(client: &mut RawClient) -> Vec<u8> {
    unhex(&client.get("/").text())
}

fn telling(origin: &Origin, send_proxy: &str) -> Site {
    Site::new().server(origin.addr(), &format!("send_proxy: {send_proxy}"))
}

#[test]
fn a_server_is_told_who_connects() {
    let origin = reading();
    for (send_proxy, backend) in [("v1", ""), ("v2", ""), ("v2", "send_proxy: v1")] {
        let mut site = telling(&origin, send_proxy);
        if !backend.is_empty() {
            site = site.backend(backend);
        }
        let site = site.start();
        let mut client = site.client();
        let (from, to) = (client.local_addr(), site.address);
        let header = header_of(&mut client);
        if send_proxy == "v1" {
            let expected = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            assert_eq!(String::from_utf8(header).unwrap(), expected);
        } else {
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            assert_eq!(header, binary(0x21, 0x11, &[&[127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat()));
        }
    }
}

#[test]
fn a_backend_speaks_for_its_servers() {
    let (first, second) = (reading(), Origin::named("plain"));
    let site =
        Site::new().backend("send_proxy: v1").server(first.addr(), "").server(second.addr(), "send_proxy: off").start();
    let answers: Vec<String> = (0..2).map(|_| site.get("/").text()).collect();
    assert!(unhex(&answers[0]).starts_with(b"PROXY TCP4 127.0.0.1 "), "{answers:?}");
    assert_eq!(answers[1], "plain");
}

#[test]
fn a_header_that_came_is_what_goes_on() {
    let origin = reading();
    let site = super::bind(telling(&origin, "v1"), "from: 127.0.0.0/8").start();
    let mut client = site.client();
    client.send(LINE);
    assert_eq!(header_of(&mut client), LINE.as_bytes());
    let mut unknown = site.client();
    unknown.send("PROXY UNKNOWN\r\n");
    let own = unknown.local_addr();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), site.address.port());
    assert_eq!(String::from_utf8(header_of(&mut unknown)).unwrap(), expected);
}

#[test]
fn clients_of_unix_sockets_have_no_address() {
    for (send_proxy, expected) in [("v1", b"PROXY UNKNOWN\r\n".to_vec()), ("v2", binary(0x20, 0, b""))] {
        let origin = reading();
        let site = telling(&origin, send_proxy);
        let socket = site.path("http.sock");
        let bind = format!("bind: [ \"{}\", \"unix:{}\" ]", site.address(), socket.display());
        let _site = site.frontend(bind).start();
        assert_eq!(header_of(&mut RawClient::connect_unix(&socket)), expected);
    }
}

fn connection_of(client: &mut RawClient) -> String {
    client.get("/").field("x-connection").unwrap().to_owned()
}

#[test]
fn such_connections_are_one_clients_alone() {
    let origin = reading();
    let site = telling(&origin, "v2").start();
    let (mut first, mut second) = (site.client(), site.client());
    let of_first = connection_of(&mut first);
    let of_second = connection_of(&mut second);
    assert_ne!(of_first, of_second);
    for _ in 0..3 {
        assert_eq!(connection_of(&mut first), of_first, "its own requests share it");
        assert_eq!(connection_of(&mut second), of_second);
    }
    assert_eq!(site.stat("web", "s1").number("reuse"), 6);
    // It goes with the client, not before: nobody else may have it.
    drop(first);
    until("the connection to be closed", || origin.open_connections() == 1);
    assert_eq!(connection_of(&mut second), of_second);
    let mut third = site.client();
    assert_ne!(connection_of(&mut third), of_second);
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_connection_that_died_is_replaced_by_one_with_a_header() {
    // Closes each connection after its second request, without a word.
    let origin = Origin::script(|conn| {
        let header = take_header(conn)?;
        for _ in 0..2 {
            if conn.request()?.is_none() {
                return Ok(());
            }
            let hex: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
            Reply::ok(hex).say(conn, false)?;
        }
        conn.request()?;
        Ok(())
    });
    let site = telling(&origin, "v1").start();
    let mut client = site.client();
    let first = header_of(&mut client);
    for _ in 0..6 {
        assert_eq!(header_of(&mut client), first);
    }
    assert!(origin.connections() >= 3);
}

#[test]
fn what_is_said_besides_addresses() {
    let authority = Authority::new();
    let origin = reading();
    let tlvs = "{ version: v2, tlvs: [ssl, ssl-cipher, cert-cn, authority, unique-id, crc32c] }";
    let site = telling(&origin, tlvs);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let tls = crate::support::ports::address();
    let bind = format!(
        "bind: [ \"{}\", {{ address: \"{tls}\", tls: {{ certificates: {} }} }} ]",
        site.address(),
        file.display()
    );
    let site = site.frontend(bind).frontend("trusted_proxies: 127.0.0.0/8").start();
    let asked = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: id-1\r\n\r\n";
    let mut client = authority.connect(tls, "a.test");
    let header = unhex(&client.ask(asked).text());
    let has = |header: &[u8], value: &[u8]| header.windows(value.len()).any(|window| window == value);
    assert!(has(&header, &tlv(2, b"a.test")), "{header:?}");
    assert!(has(&header, &tlv(5, b"id-1")), "{header:?}");
    assert!(has(&header, &tlv(0x21, b"TLSv1.3")) && has(&header, &[1, 0, 0, 0, 0, 0x21]), "{header:?}");
    assert!(has(&header, b"\x23\0\x16TLS_"), "the cipher: {header:?}");
    // The checksum, computed with zeros in its place.
    let at = 16 + 12 + 3;
    assert_eq!(header[at - 3..at], [3, 0, 4]);
    let mut blank = header.clone();
    blank[at..at + 4].fill(0);
    assert_eq!(header[at..at + 4], crc32c::crc32c(&blank).to_be_bytes());
    let clear = unhex(&site.client().ask(asked).text());
    assert!(has(&clear, &tlv(0x20, &[0; 5])) && !has(&clear, b"a.test"), "{clear:?}");
}

/// A server that keeps the headers of its checks.
fn checked(site: Site, origin: &Origin) -> (Running, Vec<u8>) {
    let site = site.start();
    until("a check", || !origin.received_by_connection().is_empty());
    site.wait_status("s1", "UP");
    let first = origin.received_by_connection().swap_remove(0);
    (site, first)
}

#[test]
fn checks_say_that_they_are_our_own() {
    for (keys, check, expected) in [
        ("send_proxy: v1", "", b"PROXY UNKNOWN\r\n".to_vec()),
        ("send_proxy: v2", "", binary(0x20, 0, b"")),
        ("send_proxy: v2", ", send_proxy: v1", b"PROXY UNKNOWN\r\n".to_vec()),
        ("weight: 1", ", send_proxy: v2", binary(0x20, 0, b"")),
    ] {
        let origin = reading();
        let check = format!("health_check: {{ interval: 100ms{check} }}");
        let site = Site::new().backend(check).server(origin.addr(), keys);
        let (_site, first) = checked(site, &origin);
        assert!(first.starts_with(&expected), "{keys}: {:?}", String::from_utf8_lossy(&first));
        assert!(first[expected.len()..].starts_with(b"HEAD / "), "{:?}", String::from_utf8_lossy(&first));
    }
}

#[test]
fn checks_of_other_ports_say_nothing() {
    let (origin, beside) = (reading(), Origin::named("check"));
    let check = format!("health_check: {{ interval: 100ms, port: {} }}", beside.addr().port());
    let site = Site::new().backend(check).server(origin.addr(), "send_proxy: v2");
    let (site, first) = checked(site, &beside);
    assert!(first.starts_with(b"HEAD / "), "{first:?}");
    assert!(unhex(&site.get("/").text()).starts_with(b"\r\n\r\n\0"));
}

#[test]
fn a_connection_that_is_only_a_check_brings_its_header_whole() {
    let origin = Origin::script(|conn| {
        take_header(conn)?;
        conn.stall()
    });
    let check = "health_check: { type: tcp, interval: 50ms }";
    let site = Site::new().backend(check).server(origin.addr(), "send_proxy: v2").start();
    site.wait_status("s1", "UP");
    until("checks", || origin.received_by_connection().len() > 3);
    until("whole headers", || {
        origin.received_by_connection().iter().take(3).all(|bytes| *bytes == binary(0x20, 0, b""))
    });
}

#[test]
fn servers_added_at_run_time() {
    let (first, second) = (Origin::named("first"), reading());
    let site = Site::of(&[&first]).backend("health_check: { interval: 100ms }").start();
    let added =
        site.admin(&format!("add server web/new {} send-proxy-v2 proxy-v2-options unique-id check", second.addr()));
    assert_eq!(added.trim(), "New server registered.");
    site.order("set server web/s1 state maint");
    site.order("enable health web/new");
    site.order("set server web/new state ready");
    site.wait_status("new", "UP");
    let header = unhex(&site.client().ask(GET).text());
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"), "{header:?}");
    assert!(header[28..].starts_with(&[5, 0, 32]), "the request's id: {header:?}");
    until("a check", || second.received_by_connection().iter().any(|bytes| bytes.starts_with(&binary(0x20, 0, b""))));
    let refused = site.admin(&format!("add server web/bad {} send-proxy-v2 proxy-v2-options sni", second.addr()));
    assert!(refused.contains("'proxy-v2-options' : option 'sni' not implemented."), "{refused}");
}

#[test]
fn a_server_is_told_of_the_clients_certificate() {
    let (authority, clients) = (Authority::new(), Authority::called("clients"));
    let origin = reading();
    let site = telling(&origin, "{ version: v2, tlvs: cert-cn }");
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let client = clients.write(&site.path("client.pem"), &["client one"], Key::Ecdsa);
    let root = clients.write_root(&site.path("clients.pem"));
    let bind = format!(
        "bind: [ {{ address: \"{}\", tls: {{ certificates: {}, client_auth: optional, ca_file: {} }} }} ]",
        site.address(),
        file.display(),
        root.display()
    );
    let site = site.frontend(bind).start();
    let header = |arguments: &[&str]| {
        let mut command = std::process::Command::new(tools::need("openssl", "openssl"));
        command.args(["s_client", "-quiet", "-ign_eof", "-connect", &site.address.to_string()]).args(arguments);
        let said = tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"));
        let hex = said.lines().find(|line| line.starts_with("0d0a0d0a00")).unwrap_or_else(|| panic!("{said}"));
        unhex(hex.trim())
    };
    let has = |header: &[u8], value: &[u8]| header.windows(value.len()).any(|window| window == value);
    let shown = client.display().to_string();
    let with = header(&["-cert", &shown, "-key", &shown]);
    assert!(has(&with, &[7, 0, 0, 0, 0]) && has(&with, &tlv(0x22, b"client one")), "{with:?}");
    let without = header(&[]);
    assert!(has(&without, &[1, 0, 0, 0, 0, 0x21]) && !has(&without, b"client one"), "{without:?}");
}
