//! What is known of clients by their TLS: certificates they show, and how they say hello, in rules, fields, limits, logs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::certificates::{Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{tools, until};

/// A site whose clients are asked for certificates of `clients`, with further lines of the frontend.
fn site(origin: &Origin, authority: &Authority, clients: &Authority, tls: &str, frontend: &str) -> Running {
    let site = Site::of(&[origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let root = clients.write_root(&site.path("clients.pem"));
    let bind = format!(
        "bind: [ {{ address: \"{}\", tls: {{ certificates: {}, ca_file: {}, {tls} }} }} ]",
        site.address(),
        file.display(),
        root.display()
    );
    site.frontend(bind).frontend(frontend).start()
}

fn write(site: &Running, name: &str, text: &str) -> PathBuf {
    let path = site.dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A request by `openssl s_client`, with a certificate if one is named; its whole output.
fn ask(site: &Running, certificate: Option<&PathBuf>, more: &[&str]) -> String {
    let openssl = tools::need("openssl", "openssl");
    let mut command = Command::new(openssl);
    command.args(["s_client", "-ign_eof", "-servername", "a.test", "-connect", &site.address.to_string()]).args(more);
    if let Some(path) = certificate {
        command.arg("-cert").arg(path).arg("-key").arg(path).arg("-cert_chain").arg(path);
    }
    tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"))
}

#[test]
fn certificates_are_required() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let fields = "request_headers: [ { set: { X-Who: \"%[ssl_c_s_dn(CN)]|%[ssl_c_i_dn]|%[ssl_c_serial,hex]|\
                  %[ssl_c_verify]|%[ssl_c_used]|%[ssl_c_notafter]\", X-Print: \"%[ssl_c_sha1,hex]\" } } ]\n\
                  log: \"%ci %[ssl_c_s_dn] %[ssl_fc_protocol] %[ssl_fc_is_resumed] %[ssl_c_sha256] %{+Q}r\"";
    let site = site(&origin, &authority, &clients, "client_auth: required", fields);
    let alice = clients.issue_with("alice", |params| {
        params.serial_number = Some(0x0a1b_u64.into());
        params.not_after = rcgen::date_time_ymd(2099, 12, 31);
    });
    let alice = write(&site, "alice.pem", &alice);
    let mallory = write(&site, "mallory.pem", &strangers.issue(&["mallory"], Key::Ecdsa));
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(ask(&site, Some(&alice), &[version]).contains("200 Said"), "{version}");
        for (who, alert) in [(None, "certificate required"), (Some(&mallory), "unknown ca")] {
            let output = ask(&site, who, &[version]);
            assert!(!output.contains("200 Said") && output.contains("alert"), "{version} {alert}: {output}");
        }
    }
    let request = origin.requests().remove(0);
    assert_eq!(request.all("x-who"), ["alice|/CN=test authority|0A1B|0|1|991231000000Z"]);
    assert_eq!(request.all("x-print")[0].len(), 40);
    let line = site.logs.line_with("GET / HTTP/1.0");
    assert!(line.contains("/CN=alice TLSv1.") && line.contains(" 0 "), "{line}");
}

#[test]
fn who_shows_none_is_told_apart_by_rules() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let rules = "routes:\n  - { sample: { ssl_c_used: \"1\", \"ssl_c_s_dn(CN)\": \"~ ^al\" }, backend: web }\n  \
                 - { sample: { \"ssl_c_s_dn(CN)\": { present: false } }, respond: { status: 401, body: anonymous } }\n  \
                 - { respond: { status: 418, body: somebody } }\n\
                 deny:\n  - { sample: { \"ssl_c_s_dn(CN)\": [ eve ] }, status: 410 }";
    let site = site(&origin, &authority, &clients, "client_auth: optional", rules);
    for (name, expected) in [("alice", "200 Said"), ("bob", "somebody"), ("eve", "410 ")] {
        let path = write(&site, &format!("{name}.pem"), &clients.issue(&[name], Key::Ecdsa));
        let output = ask(&site, Some(&path), &[]);
        assert!(output.contains(expected), "{name}: {output}");
    }
    assert!(ask(&site, None, &[]).contains("anonymous"));
    let stranger = write(&site, "x.pem", &Authority::new().issue(&["alice"], Key::Ecdsa));
    assert!(!ask(&site, Some(&stranger), &[]).contains("HTTP/1.1"), "one that is not valid ends the handshake");
}

fn self_signed(name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}

#[test]
fn any_certificate_and_what_came_of_it() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let fields = "request_headers: [ { set: { X-Verify: \"%[ssl_c_used] %[ssl_c_verify] %[ssl_c_s_dn(CN)]\" } } ]";
    let site = site(&origin, &authority, &clients, "client_auth: any", fields);
    let expired = clients.issue_with("old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let files = [
        Some(write(&site, "good.pem", &clients.issue(&["good"], Key::Ecdsa))),
        Some(write(&site, "old.pem", &expired)),
        // By an authority that has the same name and another key.
        Some(write(&site, "strange.pem", &strangers.issue(&["strange"], Key::Ecdsa))),
        Some(write(&site, "self.pem", &self_signed("self"))),
        None,
    ];
    for file in &files {
        assert!(ask(&site, file.as_ref(), &[]).contains("200 Said"), "{file:?}");
    }
    let seen: Vec<String> = origin.requests().iter().map(|request| request.all("x-verify")[0].to_owned()).collect();
    assert_eq!(seen, ["1 0 good", "1 10 old", "1 7 strange", "1 18 self", "0 0"]);
}

#[test]
fn what_is_revoked_is_refused_and_no_longer_resumed() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("revoked.pem");
    fs::write(&list, clients.revoke(1, &[7])).unwrap();
    let tls = format!("client_auth: required, crl_file: {}", list.display());
    let site = site(&origin, &authority, &clients, &tls, "");
    let of_serial = |serial: u64| clients.issue_with("client", |params| params.serial_number = Some(serial.into()));
    let (good, bad) = (write(&site, "8.pem", &of_serial(8)), write(&site, "7.pem", &of_serial(7)));
    let session = site.dir.path().join("session").display().to_string();
    assert!(ask(&site, Some(&good), &["-sess_out", &session]).contains("200 Said"));
    let again = ask(&site, Some(&good), &["-sess_in", &session]);
    assert!(again.contains("Reused, ") && again.contains("200 Said"), "{again}");
    let output = ask(&site, Some(&bad), &[]);
    assert!(!output.contains("200 Said") && output.contains("revoked"), "{output}");

    fs::write(&list, clients.revoke(2, &[7, 8])).unwrap();
    until("the new list", || !ask(&site, Some(&good), &[]).contains("200 Said"));
    assert!(!ask(&site, Some(&good), &["-sess_in", &session]).contains("200 Said"), "nor is its session resumed");
    site.logs.line_with("revoked.pem were read anew, changed on disk.");
}

#[test]
fn sessions_do_not_cross_from_open_binds_to_guarded_ones() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let root = clients.write_root(&site.path("clients.pem"));
    let guarded = crate::support::ports::address();
    let bind = format!(
        "bind:\n  - {{ address: \"{}\", tls: {{ certificates: {} }} }}\n  - {{ address: \"{guarded}\", tls: {{ \
         certificates: {}, client_auth: required, ca_file: {} }} }}",
        site.address(),
        file.display(),
        file.display(),
        root.display()
    );
    let mut site = site.frontend(bind).start();
    let session = site.dir.path().join("session").display().to_string();
    for form in [&["-tls1_2", "-no_ticket"][..], &["-tls1_2"], &["-tls1_3"]] {
        let open = site.address;
        assert!(ask(&site, None, &[form, &["-sess_out", &session]].concat()).contains("200 Said"));
        site.address = guarded;
        let output = ask(&site, None, &[form, &["-sess_in", &session]].concat());
        assert!(!output.contains("200 Said"), "{form:?}: {output}");
        site.address = open;
    }
}

#[test]
fn fingerprints_in_fields_limits_and_lists() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = Origin::named("s1");
    let more = "request_headers: [ { set: { X-Ja4: \"%[ja4]\" } } ]\n\
                rate_limits: [ { name: by-hello, key: ja4, rate: 2/h, action: deny } ]";
    let site = site(&origin, &authority, &clients, "client_auth: optional", more);
    let suites = |list: &str| ask(&site, None, &["-tls1_3", "-ciphersuites", list]);
    assert!(suites("TLS_AES_128_GCM_SHA256").contains("200 Said"));
    assert!(suites("TLS_AES_128_GCM_SHA256").contains("200 Said"));
    assert!(suites("TLS_AES_128_GCM_SHA256").contains("429 "), "the third of the same kind");
    assert!(suites("TLS_AES_256_GCM_SHA384").contains("200 Said"), "another kind of client");
    let seen: Vec<String> = origin.requests().iter().map(|request| request.all("x-ja4")[0].to_owned()).collect();
    assert_eq!(seen.len(), 3);
    assert!(seen[0] == seen[1] && seen[0] != seen[2], "{seen:?}");
    assert!(seen[0].starts_with("t13d0") && seen[0].len() == 36, "{seen:?}");
    assert!(site.admin("show table by-hello").contains(&seen[0]), "{}", site.admin("show table by-hello"));
}
