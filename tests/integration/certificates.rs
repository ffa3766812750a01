//! Certificates replaced, added and removed over the admin socket while clients come and go.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::certificates::{self, Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{ports, tools, until};

/// A frontend with two TLS binds: one names a file, the other the folder it is in.
fn two_binds(site: Site, file: &Path, folder: &Path) -> (Running, std::net::SocketAddr) {
    let other = ports::address();
    let bind = format!(
        "bind:\n  - {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }}\n  - {{ address: \"{other}\", tls: {{ \
         certificates: [ {} ] }} }}",
        site.address(),
        file.display(),
        folder.display()
    );
    (site.frontend(bind).start(), other)
}

/// A command with a payload, which may not hold an empty line: [`Proxy::admin`](crate::support::proxy::Proxy::admin)
/// sends the one that ends it.
fn with_payload(command: &str, payload: &str) -> String {
    let lines = payload.lines().filter(|line| !line.is_empty());
    lines.fold(format!("{command} <<\n"), |text, line| text + line + "\n")
}

#[test]
fn a_commit_takes_effect_on_the_next_handshake_and_fails_none() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2");
    let folder = site.path("certs");
    std::fs::create_dir(&folder).unwrap();
    let file = authority.write(&folder.join("site.pem"), &["a.test"], Key::Ecdsa);
    let (site, other) = two_binds(site, &file, &folder);
    let (stop, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let address = site.address;
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stop, handshakes, config) = (stop.clone(), handshakes.clone(), authority.client());
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match certificates::connect(&config, address, "a.test") {
                        Ok(mut client) => assert_eq!(client.get("/load").text(), "s1"),
                        Err(error) => failed.push(error.to_string()),
                    }
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        })
        .collect();
    let mut long_lived = authority.connect(site.address, "a.test");
    assert_eq!(long_lived.get("/before").text(), "s1");
    for round in 0..20 {
        let names = ["a.test".to_owned(), format!("round-{round}.test")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let key = if round % 5 == 4 { Key::Rsa } else { Key::Ecdsa };
        let set = site.admin(&with_payload(&format!("set ssl cert {}", file.display()), &authority.issue(&names, key)));
        assert_eq!(set, format!("Transaction created for certificate {}!\n", file.display()));
        let committed = site.admin(&format!("commit ssl cert {}", file.display()));
        assert_eq!(committed, format!("Committing {}..\nSuccess!\n", file.display()));
        // Whichever worker takes it, on both binds.
        for to in [site.address, other, site.address, other] {
            let client = authority.connect(to, names[1]);
            assert_eq!(certificates::names_seen(&client), names, "round {round}");
        }
    }
    let seen = handshakes.load(Ordering::Relaxed);
    until("more handshakes", || handshakes.load(Ordering::Relaxed) > seen + 20);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().unwrap(), [] as [String; 0], "no handshake failed");
    }
    assert_eq!(long_lived.get("/after").text(), "s1", "connections that are open stay open");
    let openssl = tools::need("openssl", "openssl");
    let mut command = Command::new(openssl);
    command.args(["s_client", "-ign_eof", "-servername", "a.test", "-connect", &site.address.to_string()]);
    let output = tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"));
    assert!(output.contains("200 Said") && output.contains("a.test"), "{output}");
    let event = format!(" Certificate {} was replaced, changed from CLI.", file.display());
    assert_eq!(site.admin("show events buf0").matches(&event).count(), 20);
    site.logs.line_with(event.trim());
}

#[test]
fn a_certificate_that_does_not_fit_is_refused_and_the_old_one_serves_on() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let folder = site.path("certs");
    std::fs::create_dir(&folder).unwrap();
    let file = authority.write(&folder.join("site.pem"), &["a.test"], Key::Ecdsa);
    let (site, _) = two_binds(site, &file, &folder);
    let name = file.display();
    let (one, other) = (authority.issue(&["a.test"], Key::Ecdsa), authority.issue(&["a.test"], Key::Ecdsa));
    let at = |pem: &str| pem.find("-----BEGIN PRIVATE KEY").unwrap();
    let mixed = format!("{}{}", &one[..at(&one)], &other[at(&other)..]);
    site.admin(&with_payload(&format!("set ssl cert {name}"), &mixed));
    let refused = site.admin(&format!("commit ssl cert {name}"));
    assert_eq!(
        refused,
        format!("inconsistencies between private key and certificate loaded '{name}'.\nCan't commit {name}!\n")
    );
    assert_eq!(site.admin("show ssl cert").lines().nth(1), Some(format!("*{name}").as_str()));
    let client = authority.connect(site.address, "a.test");
    assert_eq!(certificates::names_seen(&client), ["a.test"]);
    assert_eq!(
        site.admin(&format!("abort ssl cert {name}")),
        format!("Transaction aborted for certificate '{name}'!\n")
    );
    // The key never reaches a log.
    let secret = one[at(&one)..].lines().nth(1).unwrap();
    assert!(!site.output().contains(secret) && site.output().contains("set ssl cert"), "{}", site.output());
    assert!(site.logs.lines().iter().all(|line| !line.contains(secret)));
}

#[test]
fn a_new_certificate_serves_once_its_folder_has_it() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let folder = site.path("certs");
    std::fs::create_dir(&folder).unwrap();
    let file = authority.write(&folder.join("a.pem"), &["a.test"], Key::Ecdsa);
    let (site, other) = two_binds(site, &file, &folder);
    let new = folder.join("b.pem").display().to_string();
    let list = folder.display().to_string();
    let served = |name: &str| {
        // Who is asked for a name it has no certificate for gives its default, which the client does not take.
        certificates::connect(&authority.client(), other, name).is_ok()
    };
    assert_eq!(site.admin(&format!("new ssl cert {new}")), format!("New empty certificate store '{new}'!\n"));
    site.admin(&with_payload(&format!("set ssl cert {new}"), &authority.issue(&["b.test"], Key::Rsa)));
    assert_eq!(site.admin(&format!("commit ssl cert {new}")), format!("Committing {new}\nSuccess!\n"));
    assert!(!served("b.test"));
    let added = site.admin(&format!("add ssl crt-list {list} {new}"));
    assert_eq!(added, format!("Inserting certificate '{new}' in crt-list '{list}'.\nSuccess!\n"));
    assert!(served("b.test") && served("a.test"));
    let facts = site.admin(&format!("show ssl cert {new}"));
    for line in ["Status: Used", "Algorithm: RSA2048", "Subject Alternative Name: DNS:b.test"] {
        assert!(facts.lines().any(|l| l == line), "{facts}");
    }
    assert_eq!(site.admin(&format!("show ssl crt-list {list}")), format!("# {list}\n{list}/a.pem\n{new}\n"));
    site.admin(&format!("del ssl crt-list {list} {new}"));
    assert!(!served("b.test"));
    assert_eq!(site.admin(&format!("del ssl cert {new}")), format!("Certificate '{new}' deleted!\n"));
}

#[test]
fn a_session_from_before_a_commit_still_resumes() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let folder = site.path("certs");
    std::fs::create_dir(&folder).unwrap();
    let file = authority.write(&folder.join("site.pem"), &["a.test"], Key::Ecdsa);
    let (site, _) = two_binds(site, &file, &folder);
    let session = site.dir.path().join("session").display().to_string();
    let openssl = tools::need("openssl", "openssl");
    let s_client = |arguments: &[&str]| {
        let mut command = Command::new(&openssl);
        let address = site.address.to_string();
        command.args(["s_client", "-ign_eof", "-servername", "a.test", "-connect", &address]).args(arguments);
        tools::text(&tools::run(&mut command, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"))
    };
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(s_client(&[version, "-sess_out", &session]).contains("200 Said"));
        let name = file.display();
        site.admin(&with_payload(&format!("set ssl cert {name}"), &authority.issue(&["a.test"], Key::Ecdsa)));
        site.admin(&format!("commit ssl cert {name}"));
        let again = s_client(&[version, "-sess_in", &session]);
        assert!(again.contains("Reused, TLSv1") && again.contains("200 Said"), "{version}: {again}");
    }
}
