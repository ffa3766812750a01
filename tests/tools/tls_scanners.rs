//! What people who judge TLS servers say of the default settings: openssl, sslscan and testssl.sh, none of which may find
//! anything weak.

use std::process::Command;

use serde_json::Value;

use crate::support::certificates::{Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::tools;

/// lockgate with a certificate of each kind and not one further TLS setting.
fn site(origin: &Origin) -> Running {
    let authority = Authority::new();
    let site = Site::of(&[origin]);
    let files =
        [Key::Ecdsa, Key::Rsa].map(|key| authority.write(&site.path(&format!("{key:?}.pem")), &["a.test"], key));
    authority.write_root(&site.path("root.pem"));
    let bind = format!(
        "bind: [ {{ address: \"{}\", tls: {{ certificates: [ {}, {} ] }} }} ]",
        site.address(),
        files[0].display(),
        files[1].display()
    );
    site.frontend(bind).start()
}

/// `openssl s_client` with one request; everything it prints.
fn s_client(site: &Running, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(tools::need("openssl", "openssl"));
    let root = site.dir.path().join("root.pem").display().to_string();
    command.args(["s_client", "-connect", &site.address.to_string(), "-servername", "a.test", "-CAfile", &root]);
    tools::text(&tools::run(command.args(arguments), input))
}

const REQUEST: &str = "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";

#[test]
fn openssl_finds_what_it_should() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    for version in ["-tls1_2", "-tls1_3"] {
        let seen = s_client(&site, &["-ign_eof", version], REQUEST);
        for expected in ["Verify return code: 0 (ok)", "Compression: NONE", "200 Said"] {
            assert!(seen.contains(expected), "{version}: no {expected:?} in {seen}");
        }
        assert!(
            seen.contains("Server Temp Key: X25519") || seen.contains("Negotiated TLS1.3 group"),
            "{version}: {seen}"
        );
    }
    let seen = s_client(&site, &["-ign_eof", "-tls1_2"], REQUEST);
    assert!(seen.contains("Secure Renegotiation IS supported"), "{seen}");
    // `R` asks for a new handshake on the same connection.
    let seen = s_client(&site, &["-tls1_2", "-legacy_renegotiation"], "R\nGET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert!(seen.contains("RENEGOTIATING") && !seen.contains("200 Said"), "a client may not renegotiate: {seen}");
    // What was forgotten for good reasons.
    for version in ["-tls1", "-tls1_1"] {
        let seen = s_client(&site, &["-ign_eof", version, "-cipher", "ALL:@SECLEVEL=0"], REQUEST);
        assert!(seen.contains("Cipher is (NONE)") && !seen.contains("200 Said"), "{version}: {seen}");
    }
}

#[test]
fn openssl_gets_no_weak_cipher() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    let listed = |arguments: &[&str]| {
        let mut command = Command::new(tools::need("openssl", "openssl"));
        let output = tools::run(command.arg("ciphers").args(arguments), "");
        String::from_utf8(output.stdout).unwrap().trim().split(':').map(str::to_owned).collect::<Vec<_>>()
    };
    let all = listed(&["-tls1_2", "-s", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
    assert!(all.len() > 50, "openssl knows many: {all:?}");
    let (mut taken, mut refused) = (Vec::new(), 0);
    for cipher in &all {
        let seen = s_client(&site, &["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")], "");
        if seen.contains(&format!("Cipher is {cipher}")) {
            taken.push(cipher.as_str());
        } else {
            assert!(seen.contains("Cipher is (NONE)"), "{cipher}: {seen}");
            refused += 1;
        }
    }
    taken.sort_unstable();
    let good = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    assert_eq!(taken, good, "an ephemeral exchange and an authenticated cipher, and nothing else");
    assert_eq!(refused, all.len() - good.len());
    for cipher in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        assert!(s_client(&site, &["-tls1_3", "-ciphersuites", cipher], "").contains(&format!("Cipher is {cipher}")));
    }
    let seen = s_client(&site, &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"], "");
    assert!(seen.contains("Cipher is (NONE)"), "{seen}");
}

#[test]
fn sslscan_finds_nothing_weak() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    let report = site.dir.path().join("sslscan.xml");
    let mut command = Command::new(tools::need("sslscan", "sslscan"));
    command.args(["--no-colour", "--show-certificate", "--ocsp", &format!("--xml={}", report.display())]);
    let output = tools::run(command.args(["--sni-name=a.test", &site.address.to_string()]), "");
    let text = tools::text(&output);
    assert!(output.status.success(), "{text}");
    let xml = std::fs::read_to_string(&report).unwrap();
    let elements = |name: &str| -> Vec<&str> {
        xml.lines().map(str::trim).filter(|line| line.starts_with(&format!("<{name} "))).collect()
    };
    for (version, enabled) in [("2", 0), ("3", 0)].into_iter().chain([("1.0", 0), ("1.1", 0), ("1.2", 1), ("1.3", 1)]) {
        let kind = if version.len() == 1 { "ssl" } else { "tls" };
        let line = format!("<protocol type=\"{kind}\" version=\"{version}\" enabled=\"{enabled}\" />");
        assert!(elements("protocol").contains(&line.as_str()), "no {line} in {:?}", elements("protocol"));
    }
    // Debian's sslscan cannot ask for compression; its word on renegotiation is about the client's wish for one.
    assert!(elements("compression").iter().all(|e| e.contains("supported=\"0\"")), "{xml}");
    assert!(elements("renegotiation").iter().all(|e| e.contains("supported=\"0\"")), "{xml}");
    let heartbleed = elements("heartbleed");
    assert!(!heartbleed.is_empty() && heartbleed.iter().all(|e| e.contains("vulnerable=\"0\"")), "{heartbleed:?}");
    let ciphers = elements("cipher");
    assert!(ciphers.len() >= 9, "{xml}");
    for cipher in ciphers {
        assert!(cipher.contains("strength=\"strong\"") || cipher.contains("strength=\"acceptable\""), "{cipher}");
        assert!(cipher.contains("GCM") || cipher.contains("POLY1305"), "{cipher}");
        assert!(cipher.contains("curve=\""), "{cipher} exchanges keys without a curve");
    }
    let groups = elements("group");
    assert!(!groups.is_empty() && groups.iter().all(|group| !group.contains("strength=\"weak\"")), "{groups:?}");
}

/// Findings of testssl.sh that are not about weak settings.
const NOT_WEAK: &[&str] = &[
    // The machine's own openssl.
    "engine_problem",
    // Nobody knows the test's authority, which publishes no lists, and its certificates hold for centuries.
    "cert_trust",
    "cert_chain_of_trust",
    "cert_validityPeriod",
    "cert_serialNumberLen",
    "cert_expirationStatus",
    "cert_extlifeSpan",
    "cert_revocation",
    // It has s_client end at once, often before a ticket of TLS 1.3 has arrived. Resumption has tests of its own.
    "sessionresumption_ticket",
    "sessionresumption_ID",
];

/// What testssl.sh has to say, by its own severities.
fn testssl(site: &Running, checks: &[&str]) -> Vec<(String, String, String)> {
    let report = site.dir.path().join("testssl.json");
    let mut command = Command::new(tools::need("testssl", "testssl.sh"));
    command.args(["--quiet", "--color=0", "--warnings=off", "--nodns=none", "--sneaky"]);
    command.arg("--jsonfile").arg(&report).args(checks).arg(site.address.to_string());
    let output = tools::run(command.env("HOME", site.dir.path()), "");
    let text = tools::text(&output);
    let json = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("{e}: {text}"));
    let found: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e} in {json}\n{text}"));
    let field = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let found: Vec<_> =
        found.as_array().unwrap().iter().map(|f| (field(f, "id"), field(f, "severity"), field(f, "finding"))).collect();
    assert!(found.len() > 5, "it looked at something: {text}");
    found
}

#[track_caller]
fn nothing_weak(found: &[(String, String, String)]) {
    let not_weak = |id: &str| NOT_WEAK.iter().any(|known| id == *known || id.starts_with(&format!("{known} ")));
    let weak: Vec<_> = found
        .iter()
        .filter(|(_, severity, _)| !matches!(severity.as_str(), "OK" | "INFO" | "DEBUG"))
        .filter(|(id, _, _)| !not_weak(id))
        .collect();
    assert!(weak.is_empty(), "{weak:#?}");
}

#[track_caller]
fn says(found: &[(String, String, String)], id: &str, words: &str) {
    let finding = found.iter().find(|(name, _, _)| name == id);
    assert!(finding.is_some_and(|(_, _, finding)| finding.contains(words)), "{id}: {finding:?} lacks {words:?}");
}

#[test]
fn testssl_finds_no_weak_protocol_or_cipher() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    let found = testssl(&site, &["--protocols", "--std", "--fs", "--preference"]);
    nothing_weak(&found);
    for (id, words) in [
        ("SSLv2", "not offered"),
        ("SSLv3", "not offered"),
        ("TLS1", "not offered"),
        ("TLS1_1", "not offered"),
        ("TLS1_2", "offered"),
        ("TLS1_3", "offered with final"),
        ("PFS", "offered"),
    ] {
        says(&found, id, words);
    }
}

#[test]
fn testssl_finds_no_known_hole() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    let found = testssl(&site, &["--vulnerable"]);
    nothing_weak(&found);
    for (id, words) in [
        ("heartbleed", "not vulnerable"),
        ("CCS", "not vulnerable"),
        ("ticketbleed", "not vulnerable"),
        ("ROBOT", "not vulnerable"),
        ("secure_renego", "supported"),
        ("secure_client_renego", "not vulnerable"),
        ("CRIME_TLS", "not vulnerable"),
        ("fallback_SCSV", "no protocol below TLS 1.2 offered"),
        ("SWEET32", "not vulnerable"),
        ("LUCKY13", "not vulnerable"),
        ("RC4", "not vulnerable"),
    ] {
        says(&found, id, words);
    }
}

#[test]
fn testssl_is_content_with_what_the_server_says_of_itself() {
    let origin = Origin::named("s1");
    let site = site(&origin);
    let found = testssl(&site, &["--server-defaults"]);
    nothing_weak(&found);
    says(&found, "TLS_session_ticket", "valid for");
    says(&found, "SSL_sessionID_support", "yes");
}
