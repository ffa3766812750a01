//! TLS termination: certificates by name, versions, resumption across workers, and what goes wrong in handshakes.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::support::certificates::{self, Authority, Key};
use crate::support::client::RawClient;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{ports, tools, until};

fn tls_site(site: Site, certificates: &[&Path], more: &str) -> Running {
    let list: Vec<String> = certificates.iter().map(|path| path.display().to_string()).collect();
    let bind = format!(
        "bind: [ {{ address: \"{}\", tls: {{ certificates: [ {} ]{more} }} }} ]",
        site.address(),
        list.join(", ")
    );
    site.frontend(bind).start()
}

/// `openssl s_client` with one HTTP/1.0 request; its whole output.
fn s_client(site: &Running, arguments: &[&str]) -> String {
    let openssl = tools::need("openssl", "openssl");
    let mut command = Command::new(openssl);
    command.args(["s_client", "-ign_eof", "-connect", &site.address.to_string()]).args(arguments);
    tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"))
}

#[test]
fn requests_over_tls() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    let mut client = authority.connect(site.address, "a.test");
    for _ in 0..3 {
        assert_eq!(client.get("/secure").text(), "s1");
    }
    assert_eq!(origin.requests()[0].all("x-forwarded-proto"), ["https"]);
    let row = site.logs.row_of("/secure");
    assert_eq!((row.frontend.as_str(), row.place().as_str()), ("fe~", "web/s1"));
    assert_eq!(site.info("CurrSslConns"), "1");
}

#[test]
fn the_name_chooses_the_certificate() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let folder = site.path("certs");
    std::fs::create_dir(&folder).unwrap();
    let first = authority.write(&site.path("default.pem"), &["default.test"], Key::Ecdsa);
    authority.write(&folder.join("exact.pem"), &["www.a.test", "a.test"], Key::Ecdsa);
    authority.write(&folder.join("wild.pem"), &["*.a.test"], Key::Ecdsa);
    // A chain with its key beside it.
    let pem = authority.issue(&["split.test"], Key::Ecdsa);
    let key_at = pem.find("-----BEGIN PRIVATE KEY").unwrap();
    std::fs::write(folder.join("split.crt"), &pem[..key_at]).unwrap();
    std::fs::write(folder.join("split.key"), &pem[key_at..]).unwrap();
    let site = tls_site(site, &[&first, &folder], "");
    for (name, expected) in [
        ("a.test", "www.a.test"),
        ("WWW.A.test", "www.a.test"),
        ("x.a.test", "*.a.test"),
        ("split.test", "split.test"),
        ("default.test", "default.test"),
    ] {
        let client = authority.connect(site.address, name);
        assert_eq!(certificates::names_seen(&client)[0], expected, "{name}");
    }
    let root = authority.write_root(&site.dir.path().join("root.pem"));
    for (arguments, subject) in [
        (&["-noservername"][..], "CN = default.test"),
        (&["-servername", "unknown.test"][..], "CN = default.test"),
        (&["-servername", "a.b.a.test"][..], "CN = default.test"),
    ] {
        let output = s_client(&site, &[arguments, &["-CAfile", &root.display().to_string()]].concat());
        assert!(output.contains(subject) || output.contains(&subject.replace(" = ", "=")), "{arguments:?}: {output}");
    }
}

#[test]
fn rsa_and_ecdsa_side_by_side() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let ecdsa = authority.write(&site.path("ecdsa.pem"), &["a.test"], Key::Ecdsa);
    let rsa = authority.write(&site.path("rsa.pem"), &["a.test"], Key::Rsa);
    let site = tls_site(site, &[&ecdsa, &rsa], "");
    for version in ["-tls1_2", "-tls1_3"] {
        for (signatures, kind) in [("rsa_pss_rsae_sha256", "RSA-PSS"), ("ecdsa_secp256r1_sha256", "ECDSA")] {
            let output = s_client(&site, &[version, "-servername", "a.test", "-sigalgs", signatures]);
            assert!(output.contains(&format!("Peer signature type: {kind}")), "{version} {signatures}: {output}");
        }
    }
}

#[test]
fn versions() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let usual = tls_site(site, &[&file], "");
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output = s_client(&usual, &[version]);
        assert!(output.contains(&format!("New, {name}")) && output.contains("200 Said"), "{version}: {output}");
    }
    // Security level 0 lets openssl offer what nobody should take.
    let output = s_client(&usual, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    assert!(!output.contains("200 Said") && output.contains("alert"), "{output}");

    let modern = tls_site(Site::of(&[&origin]), &[&file], ", min_version: \"1.3\"");
    assert!(!s_client(&modern, &["-tls1_2"]).contains("200 Said"));
    assert!(s_client(&modern, &["-tls1_3"]).contains("200 Said"));
}

#[test]
fn alpn() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    assert!(s_client(&site, &["-alpn", "http/1.1"]).contains("ALPN protocol: http/1.1"));
    assert!(s_client(&site, &["-alpn", "http/1.1,h2"]).contains("ALPN protocol: h2"), "ours is the order that counts");
    assert!(!s_client(&site, &["-alpn", "imap"]).contains("200 Said"), "another protocol is not answered");
}

/// Resumes the same session often enough that some connections meet another worker than the first.
#[track_caller]
fn resumes(site: &Running, arguments: &[&str]) {
    let session = site.dir.path().join("session").display().to_string();
    let first = s_client(site, &[arguments, &["-servername", "a.test", "-sess_out", &session]].concat());
    assert!(first.contains("New, TLSv1") && first.contains("200 Said"), "{first}");
    for attempt in 0..16 {
        let again = s_client(site, &[arguments, &["-servername", "a.test", "-sess_in", &session]].concat());
        assert!(again.contains("Reused, TLSv1"), "{arguments:?}, attempt {attempt}: {again}");
        assert!(again.contains("200 Said"), "{again}");
    }
}

#[test]
fn sessions_resume_on_any_worker() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2");
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    // By id: the session stays here. By ticket: it travels with the client.
    resumes(&site, &["-tls1_2", "-no_ticket"]);
    resumes(&site, &["-tls1_2"]);
    resumes(&site, &["-tls1_3"]);
}

#[test]
fn a_session_does_not_resume_at_another_bind() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let other = ports::address();
    let (one, two) = (
        authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa),
        authority.write(&site.path("b.pem"), &["b.test"], Key::Ecdsa),
    );
    let bind = format!(
        "bind:\n  - {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }}\n  - {{ address: \"{other}\", tls: {{ certificates: [ {} ] }} }}",
        site.address(),
        one.display(),
        two.display()
    );
    let site = site.frontend(bind).start();
    let session = site.dir.path().join("session").display().to_string();
    for arguments in [&["-tls1_2", "-no_ticket"][..], &["-tls1_2"], &["-tls1_3"]] {
        s_client(&site, &[arguments, &["-sess_out", &session]].concat());
        let openssl = tools::need("openssl", "openssl");
        let mut command = Command::new(openssl);
        command.args(["s_client", "-ign_eof", "-connect", &other.to_string(), "-sess_in", &session]).args(arguments);
        let output = tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\n\r\n"));
        assert!(!output.contains("Reused, "), "{arguments:?}: {output}");
    }
}

#[test]
fn plain_requests_are_sent_to_tls() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let plain = ports::address();
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let port = site.address().port();
    let site = site
        .frontend(format!(
            "bind:\n  - \"{plain}\"\n  - {{ address: \"127.0.0.1:{port}\", tls: {{ certificates: [ {} ] }} }}\n\
             routes:\n  - {{ tls: false, redirect: {{ scheme: https, port: {port}, status: 301 }} }}\n  - {{ backend: web }}",
            file.display()
        ))
        .start();
    let answer = RawClient::connect(plain).ask("GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((answer.status(), answer.field("location")), (301, Some(format!("https://a.test:{port}/x?y").as_str())));
    assert_eq!(authority.connect(site.address, "a.test").get("/").text(), "s1");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn failed_handshakes_are_logged() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");

    let mut plain = site.client();
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _ = plain.wire.take_rest();
    let line = site.logs.line_with("SSL handshake failure");
    assert!(line.contains(&format!("{} [", plain.local_addr())) && line.contains("] fe/"), "{line}");

    // A client that leaves without a byte is passed over in silence (`log_null`).
    drop(site.client());
    let mut begun = site.client();
    begun.send(b"\x16\x03\x01");
    begun.wire.half_close();
    let line = site.logs.line_with("Connection closed during SSL handshake");
    assert!(line.contains(&format!("{} [", begun.local_addr())), "{line}");

    // The client does not know the authority.
    let stranger = Authority::new();
    assert!(certificates::connect(&stranger.client(), site.address, "a.test").is_err());
    until("the second failure", || {
        site.logs.lines().iter().filter(|l| l.contains("SSL handshake failure")).count() == 2
    });
    assert_eq!(origin.connections(), 0);
    assert_eq!(site.logs.rows().len(), 0);
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut conn = rustls::ClientConnection::new(authority.client(), name).unwrap();
    let mut tcp = std::net::TcpStream::connect(site.address).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    while conn.is_handshaking() {
        let mut bytes = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut bytes).unwrap();
        }
        for byte in bytes {
            tcp.write_all(&[byte]).unwrap();
        }
        if conn.is_handshaking() {
            assert!(conn.read_tls(&mut tcp).unwrap() > 0);
            conn.process_new_packets().unwrap();
        }
    }
}

#[test]
fn bodies_over_tls() {
    let authority = Authority::new();
    let origin = Origin::answering(|request| Reply::ok(&request.body).chunked());
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    let mut client = authority.connect(site.address, "a.test");
    for length in [0usize, 1, 16_384, 300_000] {
        let body: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n")).send(&body);
        let answer = client.answer();
        assert!(answer.whole && answer.body == body, "{length}");
    }
}

#[test]
fn a_cut_answer_has_no_close_notify() {
    let authority = Authority::new();
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\n\r\nuntil the reset")?;
        conn.wire.read_patience(std::time::Duration::from_millis(100));
        let _ = conn.wire.fill();
        conn.reset_at_end();
        Ok(())
    });
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &[&file], "");
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let conn = rustls::ClientConnection::new(authority.client(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(conn, std::net::TcpStream::connect(site.address).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let end = std::io::Read::read_to_end(&mut stream, &mut text);
    assert!(end.is_err(), "an answer that ends with its connection was cut, and the cut looked like its end: {text:?}");
}

#[test]
fn curl_over_tls() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Rsa);
    let site = tls_site(site, &[&file], "");
    let root = authority.write_root(&site.dir.path().join("root.pem"));
    let mut command = Command::new(tools::need("curl", "curl"));
    let port = site.address.port();
    command.args(["-sS", "--cacert", &root.display().to_string(), "--resolve", &format!("a.test:{port}:127.0.0.1")]);
    let output = tools::run(command.arg(format!("https://a.test:{port}/")), "");
    assert_eq!(tools::text(&output), "s1");
}
