//! Sessions that travel: two machines with the same ticket keys, before and after a rotation; with the same secret.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;

use crate::support::certificates::{Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::tools;

/// One machine of a fleet: the same certificate and keys, another address.
fn machine(origin: &Origin, certificate: &Path, tls: &str) -> Running {
    let site = Site::of(&[origin]).global("tls", format!("{{ {tls} }}"));
    let bind =
        format!("bind: [ {{ address: \"{}\", tls: {{ certificates: {} }} }} ]", site.address(), certificate.display());
    site.frontend(bind).start()
}

fn s_client(site: &Running, arguments: &[&str]) -> String {
    let openssl = tools::need("openssl", "openssl");
    let mut command = Command::new(openssl);
    command.args(["s_client", "-ign_eof", "-servername", "a.test", "-connect", &site.address.to_string()]);
    tools::text(&tools::run(command.args(arguments), "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"))
}

fn resumes(site: &Running, version: &str, session: &Path) -> bool {
    let output = s_client(site, &[version, "-sess_in", &session.display().to_string()]);
    assert!(output.contains("200 Said"), "{output}");
    output.contains("Reused, TLSv1")
}

fn begin(site: &Running, version: &str, session: &Path) {
    let output = s_client(site, &[version, "-sess_out", &session.display().to_string()]);
    assert!(output.contains("New, TLSv1") && output.contains("200 Said"), "{output}");
}

fn keys(numbers: &[u8]) -> String {
    numbers.iter().map(|n| base64::engine::general_purpose::STANDARD.encode([*n; 80]) + "\n").collect()
}

#[test]
fn a_session_resumes_on_another_machine_before_and_after_a_rotation() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let folder = tempfile::tempdir().unwrap();
    let certificate = authority.write(&folder.path().join("a.pem"), &["a.test"], Key::Ecdsa);
    let file = folder.path().join("ticket.keys");
    let write = |numbers: &[u8]| {
        let beside = folder.path().join("new");
        fs::write(&beside, keys(numbers)).unwrap();
        fs::rename(&beside, &file).unwrap();
    };
    write(&[1, 2, 3]);
    let tls = format!("ticket_keys_file: {}", file.display());
    let (one, two) = (machine(&origin, &certificate, &tls), machine(&origin, &certificate, &tls));
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join(format!("session{version}"));
        begin(&one, version, &session);
        assert!(resumes(&two, version, &session), "{version}: on the other machine");
        assert!(resumes(&one, version, &session), "{version}");
    }
    // A key is appended: both read it, and the next one seals.
    write(&[1, 2, 3, 4]);
    for site in [&one, &two] {
        site.logs.line_with("Ticket keys were read anew from");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let old = folder.path().join(format!("session{version}"));
        assert!(resumes(&two, version, &old) && resumes(&one, version, &old), "{version}: from before the rotation");
        let new = folder.path().join(format!("new{version}"));
        begin(&two, version, &new);
        assert!(resumes(&one, version, &new), "{version}: from after the rotation");
    }
    assert!(one.info("SslFrontendSessionReuse_pct").parse::<u32>().unwrap() > 50);

    // Broken, the file changes nothing.
    fs::write(&file, "no keys\n").unwrap();
    let line = one.logs.line_with("Ticket keys were not read from disk, those in use stay");
    assert!(line.contains("line 1 is not base64"), "{line}");
    assert!(resumes(&one, "-tls1_3", &folder.path().join("new-tls1_3")));
    // Two keys later nobody takes the first sessions any more.
    write(&[1, 2, 3, 4, 5, 6]);
    crate::support::until("the end of old keys", || !resumes(&one, "-tls1_2", &folder.path().join("session-tls1_2")));
}

#[test]
fn a_secret_and_the_time_are_keys_too() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let folder = tempfile::tempdir().unwrap();
    let certificate = authority.write(&folder.path().join("a.pem"), &["a.test"], Key::Ecdsa);
    let secret = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("ticket_keys_file: {}, ticket_keys_derived: true, ticket_rotation: 1h", path.display())
    };
    let shared = secret("shared", "0123456789abcdef0123456789abcdef\n");
    let (one, two) = (machine(&origin, &certificate, &shared), machine(&origin, &certificate, &shared));
    let other = machine(&origin, &certificate, &secret("other", "another secret of thirty-two bytes or more"));
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join("session");
        begin(&one, version, &session);
        assert!(resumes(&two, version, &session), "{version}");
        assert!(!resumes(&other, version, &session), "{version}: another secret");
    }
}
