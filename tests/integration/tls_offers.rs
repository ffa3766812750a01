//! What a bind offers to whom: suites, groups and versions, per bind and per certificate; strict names; stapling.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::certificates::{Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{tools, until};

fn tls_site(site: Site, tls: &str) -> Running {
    let bind = format!("bind: [ {{ address: \"{}\", tls: {{ {tls} }} }} ]", site.address());
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
fn suites_and_groups_by_either_name() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let tls = format!(
        "certificates: {}, ciphers: ECDHE-ECDSA-AES128-GCM-SHA256, cipher_suites: [ TLS_AES_128_GCM_SHA256 ], \
         groups: [ P-384, secp256r1 ]",
        file.display()
    );
    let site = tls_site(site, &tls);
    for (arguments, expected) in [
        (&["-tls1_3"][..], "TLS_AES_128_GCM_SHA256"),
        (&["-tls1_2"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&["-tls1_3", "-groups", "P-384"], "200 Said"),
        (&["-tls1_3", "-groups", "X25519:P-256"], "200 Said"),
    ] {
        let output = s_client(&site, arguments);
        assert!(output.contains(expected) && output.contains("200 Said"), "{arguments:?}: {output}");
    }
    for arguments in [
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        &["-tls1_3", "-groups", "X25519"],
    ] {
        assert!(!s_client(&site, arguments).contains("200 Said"), "{arguments:?}");
    }
}

#[test]
fn a_certificate_may_have_an_offer_of_its_own() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let usual = authority.write(&site.path("usual.pem"), &["usual.test"], Key::Ecdsa);
    let old = authority.write(&site.path("old.pem"), &["old.test"], Key::Rsa);
    let new = authority.write(&site.path("new.pem"), &["new.test"], Key::Ecdsa);
    let tls = format!(
        "certificates: [ {}, {{ path: {}, max_version: \"1.2\" }}, {{ path: {}, min_version: \"1.3\" }} ]",
        usual.display(),
        old.display(),
        new.display()
    );
    let site = tls_site(site, &tls);
    for (name, version, works) in [
        ("usual.test", "-tls1_2", true),
        ("usual.test", "-tls1_3", true),
        ("old.test", "-tls1_2", true),
        ("old.test", "-tls1_3", false),
        ("new.test", "-tls1_2", false),
        ("new.test", "-tls1_3", true),
        ("unknown.test", "-tls1_2", true),
    ] {
        let output = s_client(&site, &["-servername", name, version]);
        assert_eq!(output.contains("200 Said"), works, "{name} {version}: {output}");
    }
}

#[test]
fn strict_names() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test", "*.a.test"], Key::Ecdsa);
    let site = tls_site(site, &format!("certificates: {}, strict_sni: true", file.display()));
    for name in ["a.test", "x.a.test", "A.TEST"] {
        assert!(s_client(&site, &["-servername", name]).contains("200 Said"), "{name}");
    }
    for arguments in [&["-servername", "b.test"][..], &["-servername", "a.b.a.test"], &["-noservername"]] {
        for version in ["-tls1_2", "-tls1_3"] {
            let output = s_client(&site, &[arguments, &[version]].concat());
            assert!(output.contains("unrecognized name") && !output.contains("200 Said"), "{arguments:?}: {output}");
        }
    }
    site.logs.line_with("SSL handshake failure (no certificate for b.test)");
    site.logs.line_with("SSL handshake failure (no server name)");
    assert_eq!(site.stat("fe", "FRONTEND").get("sess_other").parse::<u32>().ok(), Some(6));
}

#[test]
fn the_hybrid_group_is_preferred() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &format!("certificates: {}", file.display()));
    let client = authority.connect(site.address, "a.test");
    let crate::support::wire::Transport::TlsClient(stream) = client.wire.transport() else { panic!("TLS") };
    let group = stream.conn.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

/// Has openssl sign an OCSP response for the certificate in `pem`, valid for so many days.
fn ocsp(folder: &Path, pem: &Path, authority_pem: &Path, days: &str, into: &Path) {
    let openssl = tools::need("openssl", "openssl");
    let serial = tools::run(Command::new(&openssl).args(["x509", "-noout", "-serial", "-in"]).arg(pem), "");
    let serial = tools::text(&serial).trim().trim_start_matches("serial=").to_owned();
    fs::write(folder.join("index.txt"), format!("V\t300101000000Z\t\t{serial}\tunknown\t/CN=a.test\n")).unwrap();
    let mut request = Command::new(&openssl);
    request.args(["ocsp", "-issuer"]).arg(authority_pem).arg("-cert").arg(pem);
    let output = tools::run(request.args(["-reqout"]).arg(folder.join("request.der")), "");
    assert!(output.status.success(), "{}", tools::text(&output));
    let mut respond = Command::new(&openssl);
    respond.args(["ocsp", "-index"]).arg(folder.join("index.txt")).arg("-rsigner").arg(authority_pem);
    respond.arg("-rkey").arg(authority_pem).arg("-CA").arg(authority_pem);
    respond.arg("-reqin").arg(folder.join("request.der")).args(["-ndays", days, "-respout"]).arg(into);
    let output = tools::run(&mut respond, "");
    assert!(output.status.success() && into.exists(), "{}", tools::text(&output));
}

#[test]
fn a_response_beside_the_certificate_is_stapled() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let root = site.path("root.pem");
    authority.write_root_and_key(&root);
    let made = site.path("made.ocsp");
    let dir = site.folder();
    let site = tls_site(site, &format!("certificates: {}", file.display()));
    let stapled = |version: &str| s_client(&site, &["-status", version]).contains("OCSP Response Status: successful");
    assert!(!stapled("-tls1_3"));
    ocsp(dir.path(), &file, &root, "7", &made);
    fs::rename(&made, dir.path().join("a.pem.ocsp")).unwrap();
    until("the response", || stapled("-tls1_3"));
    assert!(stapled("-tls1_2"));
    // A response about another certificate is worse than none.
    let other = authority.write(&dir.path().join("other.pem"), &["other.test"], Key::Ecdsa);
    ocsp(dir.path(), &other, &root, "7", &made);
    fs::rename(&made, dir.path().join("a.pem.ocsp")).unwrap();
    let line = site.logs.line_with("it is about another certificate");
    assert!(line.contains("OCSP response") && line.contains("is not sent"), "{line}");
    assert!(!stapled("-tls1_3"));
}
