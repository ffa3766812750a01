//! Certificates that change on disk: replaced in place, by links, added and removed, broken, while clients come.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::certificates::{self, Authority, Key};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{eventually_within, until};

fn tls_site(site: Site, certificates: &Path) -> Running {
    let bind = format!(
        "bind: [ {{ address: \"{}\", tls: {{ certificates: [ {} ] }} }} ]",
        site.address(),
        certificates.display()
    );
    site.frontend(bind).start()
}

/// The last name in the certificate that clients get; tests tell versions of a certificate apart by it.
fn shown(authority: &Authority, site: &Running, name: &str) -> String {
    certificates::names_seen(&authority.connect(site.address, name)).pop().unwrap()
}

/// Writes a file as careful programs do: beside it, then renamed onto it.
fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[track_caller]
fn served_within_a_second(authority: &Authority, site: &Running, name: &str, expected: &str) {
    eventually_within(Duration::from_secs(1), expected, || (shown(authority, site, name) == expected).then_some(()));
}

#[test]
fn two_hundred_swaps_under_load() {
    let authority = Arc::new(Authority::new());
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2");
    let folder = site.path("certs");
    fs::create_dir(&folder).unwrap();
    let file = authority.write(&folder.join("a.pem"), &["a.test", "v0.test"], Key::Ecdsa);
    let site = tls_site(site, &folder);
    let (address, done, handshakes) = (site.address, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (config, done, handshakes) = (authority.client(), done.clone(), handshakes.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut client = certificates::connect(&config, address, "a.test").expect("no handshake fails");
                    assert_eq!(client.get("/").text(), "s1");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for version in 1..=200 {
        let name = format!("v{version}.test");
        let pem = authority.issue(&["a.test", &name], Key::Ecdsa);
        match version % 3 {
            0 => fs::write(&file, &pem).unwrap(),
            _ => write(&file, &pem),
        }
        let written = Instant::now();
        // Every tenth is waited for; those between come as fast as they can be made.
        if version % 10 == 0 {
            until("the newest certificate", || shown(&authority, &site, "a.test") == name);
            slowest = slowest.max(written.elapsed());
        }
    }
    done.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(handshakes.load(Ordering::Relaxed) > 100, "{handshakes:?}");
    assert_eq!(site.logs.lines().iter().filter(|line| line.contains("SSL handshake")).count(), 0);
    assert!(site.admin("show events buf0").contains("was replaced, changed on disk."));
}

#[test]
fn links_are_followed_however_they_are_swapped() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    // Kubernetes: tls.pem -> ..data/tls.pem, ..data -> a folder of its own.
    let mounted = site.path("mounted");
    let version = |number: u32| {
        let folder = mounted.join(format!("..2026_{number}"));
        fs::create_dir_all(&folder).unwrap();
        authority.write(&folder.join("tls.pem"), &["k8s.test", &format!("k{number}.test")], Key::Ecdsa);
        let beside = mounted.join("..data_tmp");
        symlink(folder.file_name().unwrap(), &beside).unwrap();
        fs::rename(&beside, mounted.join("..data")).unwrap();
    };
    version(1);
    symlink("..data/tls.pem", mounted.join("tls.pem")).unwrap();
    // certbot: live/site/full.pem -> ../../archive/site/full1.pem, with its key beside it.
    let (live, archive) = (site.path("live/site"), site.path("archive/site"));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&archive).unwrap();
    let renew = |number: u32| {
        let pem = authority.issue(&["acme.test", &format!("c{number}.test")], Key::Ecdsa);
        let key_at = pem.find("-----BEGIN PRIVATE KEY").unwrap();
        for (name, text) in [("full.key", &pem[key_at..]), ("full.pem", &pem[..key_at])] {
            let numbered = format!("{number}{name}");
            fs::write(archive.join(&numbered), text).unwrap();
            let _ = fs::remove_file(live.join(name));
            symlink(Path::new("../../archive/site").join(numbered), live.join(name)).unwrap();
        }
    };
    renew(1);
    // A folder that is a link itself.
    let release = |number: u32, site: &dyn Fn(&str) -> PathBuf| {
        let folder = site(&format!("release{number}"));
        fs::create_dir_all(&folder).unwrap();
        authority.write(&folder.join("r.pem"), &["rel.test", &format!("r{number}.test")], Key::Ecdsa);
        let beside = site("current_new");
        symlink(&folder, &beside).unwrap();
        fs::rename(&beside, site("current")).unwrap();
    };
    release(1, &|name| site.path(name));
    let list = format!(
        "{}, {}, {}",
        mounted.join("tls.pem").display(),
        live.join("full.pem").display(),
        site.path("current").display()
    );
    let dir = site.folder();
    let site = tls_site(site, Path::new(&list));
    for number in 2..5 {
        version(number);
        served_within_a_second(&authority, &site, "k8s.test", &format!("k{number}.test"));
        renew(number);
        served_within_a_second(&authority, &site, "acme.test", &format!("c{number}.test"));
        release(number, &|name| dir.path().join(name));
        served_within_a_second(&authority, &site, "rel.test", &format!("r{number}.test"));
    }
}

#[test]
fn files_come_to_a_folder_and_go() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let folder = site.path("certs");
    fs::create_dir(&folder).unwrap();
    let first = authority.write(&folder.join("first.pem"), &["first.test"], Key::Ecdsa);
    let site = tls_site(site, &folder);
    write(&folder.join("more.pem"), &authority.issue(&["more.test"], Key::Ecdsa));
    until("the added certificate", || certificates::connect(&authority.client(), site.address, "more.test").is_ok());
    fs::remove_file(folder.join("more.pem")).unwrap();
    until("its removal", || certificates::connect(&authority.client(), site.address, "more.test").is_err());
    fs::remove_file(&first).unwrap();
    until("the refusal", || site.admin("show events buf0").contains("it is the last one of a bind"));
    assert_eq!(shown(&authority, &site, "first.test"), "first.test");
}

#[test]
fn what_cannot_be_used_is_refused_with_its_reason() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &file);
    let pem = authority.issue(&["a.test"], Key::Ecdsa);
    let other = authority.issue(&["a.test"], Key::Ecdsa);
    let key_at = pem.find("-----BEGIN PRIVATE KEY").unwrap();
    let other_key = &other[other.find("-----BEGIN PRIVATE KEY").unwrap()..];
    let expired = authority.issue_with("a.test", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for (text, reason) in [
        (format!("{}{other_key}", &pem[..key_at]), "does not belong to the first certificate"),
        (expired, "expired on 2021-01-01"),
        (pem[..key_at].to_owned(), "has no private key"),
        ("junk".to_owned(), "holds no certificate"),
    ] {
        write(&file, &text);
        let line = site.logs.line_with(reason);
        assert!(line.contains("a.pem was not read from disk, the certificate in use stays:"), "{line}");
        assert_eq!(shown(&authority, &site, "a.test"), "a.test");
    }
    fs::remove_file(&file).unwrap();
    site.logs.line_with("No such file or directory");
    assert_eq!(shown(&authority, &site, "a.test"), "a.test");
    // Mended, it is taken.
    write(&file, &authority.issue(&["a.test", "mended.test"], Key::Ecdsa));
    served_within_a_second(&authority, &site, "a.test", "mended.test");
}

#[test]
fn an_order_looks_at_once_and_tells() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let site = tls_site(site, &file);
    assert_eq!(site.admin("update ssl cert").trim(), "Nothing has changed.");
    write(&file, &authority.issue(&["a.test", "b.test"], Key::Ecdsa));
    // Either the order sees it, or the watch was faster.
    let reply = site.admin("update ssl cert");
    let told = reply.contains("was replaced, changed on disk.") || reply.contains("Nothing has changed.");
    assert!(told, "{reply}");
    assert_eq!(shown(&authority, &site, "a.test"), "b.test");
    write(&file, "junk");
    assert!(site.admin("update ssl cert").contains("holds no certificate"), "told without a second look");
}
