//! Look-ups against plain readings of the same lists, and lists under arbitrary sequences of commands.

use std::net::IpAddr;

use proptest::prelude::*;

use super::file::{FileError, parse as parse_file};
use super::lists::{ListError, Which};
use super::*;

fn lookup(matching: Matching, keys: &[&str]) -> Lookup {
    let mut lookup = Lookup::new(matching);
    for (id, key) in keys.iter().enumerate() {
        let pattern = Pattern::parse(matching, key, "").unwrap();
        lookup.insert(std::sync::Arc::new(Entry { id: id as u64, pattern, backend: None }));
    }
    lookup
}

#[track_caller]
fn check(matching: Matching, keys: &[&str], samples: &[(&str, Option<&str>)]) {
    let lookup = lookup(matching, keys);
    for (sample, expected) in samples {
        assert_eq!(lookup.find(sample).map(|entry| entry.pattern.key()), *expected, "{sample}");
    }
}

#[test]
fn the_narrowest_network_is_found() {
    let keys = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "192.168.7.9/24",
        "172.16.0.0/255.240.0.0",
        "2001:db8::/32",
        "::ffff:1.2.3.4",
    ];
    check(
        Matching::Network,
        &keys,
        &[
            ("10.9.9.9", Some("10.0.0.0/8")),
            ("10.1.9.9", Some("10.1.0.0/16")),
            ("10.1.2.3", Some("10.1.2.3")),
            ("::ffff:10.1.2.3", Some("10.1.2.3")),
            ("11.0.0.0", None),
            ("192.168.7.200", Some("192.168.7.9/24")),
            ("172.31.255.255", Some("172.16.0.0/255.240.0.0")),
            ("172.32.0.0", None),
            ("2001:db8:ffff::1", Some("2001:db8::/32")),
            ("2001:db9::", None),
            ("1.2.3.4", Some("::ffff:1.2.3.4")),
            ("nonsense", None),
        ],
    );
    check(Matching::Network, &["0.0.0.0/0"], &[("1.2.3.4", Some("0.0.0.0/0")), ("::1", None)]);
}

#[test]
fn a_hosts_own_entry_goes_before_wildcards() {
    let keys = ["www.example.test", "*.example.test", "*.deep.example.test", "WWW.Other.Test.", "[2001:DB8::1]"];
    check(
        Matching::Host,
        &keys,
        &[
            ("www.example.test", Some("www.example.test")),
            ("api.example.test", Some("*.example.test")),
            ("a.deep.example.test", Some("*.deep.example.test")),
            ("deep.example.test", Some("*.example.test")),
            ("example.test", None),
            ("www.other.test", Some("www.other.test")),
            ("WWW.OTHER.TEST", None),
            ("[2001:db8::1]", Some("[2001:db8::1]")),
            ("", None),
        ],
    );
}

#[test]
fn paths_cover_whole_segments() {
    let keys = ["/admin", "/admin/public/", "/a/b/c"];
    check(
        Matching::Path,
        &keys,
        &[
            ("/admin", Some("/admin")),
            ("/admin/", Some("/admin")),
            ("/admin/x/y", Some("/admin")),
            ("/admin/public", Some("/admin/public/")),
            ("/admin/public/z", Some("/admin/public/")),
            ("/administrator", None),
            ("/a/b", None),
            ("/a/b/c/d/e/f/g", Some("/a/b/c")),
            ("/", None),
            ("*", None),
        ],
    );
    check(Matching::Path, &["/"], &[("/", Some("/")), ("/x/y", Some("/")), ("/////", Some("/")), ("*", None)]);
    check(Matching::Text, &["bad bot"], &[("bad bot", Some("bad bot")), ("bad", None)]);
}

#[test]
fn what_cannot_stand_in_a_list() {
    let wrong = |matching, key: &str| Pattern::parse(matching, key, "").unwrap_err().to_string();
    assert_eq!(wrong(Matching::Network, "not-an-ip"), "'not-an-ip' is not a valid IPv4 or IPv6 address");
    for network in ["10.0.0.0/33", "10.0.0.0/255.0.255.0", "10.0.0/8", "::/129"] {
        assert!(
            matches!(Pattern::parse(Matching::Network, network, ""), Err(PatternError::NotANetwork(_))),
            "{network}"
        );
    }
    for host in ["https://a.example", "a.example:80", "a b", "*", "*.*.example", "a..b"] {
        assert!(matches!(Pattern::parse(Matching::Host, host, ""), Err(PatternError::NotAHost(_))), "{host}");
    }
    assert_eq!(wrong(Matching::Path, "admin"), "'admin' is not a path: it begins with '/'");
    assert_eq!(wrong(Matching::Text, " "), "a key is missing");
    assert!(Pattern::parse(Matching::Text, &"x".repeat(4096), "").is_ok());
    assert_eq!(wrong(Matching::Text, &"x".repeat(4097)), "a key or value is longer than 4096 bytes");
}

#[test]
fn files_are_haproxys() {
    let text = b"# comment\n\n  a.example   web \nb.example\tapi\r\n # not at the beginning\n*.c.example web # kept\nd.example\n\xff x\n";
    let file = parse_file(ListKind::Map, Matching::Host, text);
    let entries: Vec<_> = file.patterns.iter().map(|(line, p)| (*line, p.key(), p.value())).collect();
    assert_eq!(entries, [(3, "a.example", "web"), (4, "b.example", "api"), (6, "*.c.example", "web # kept")]);
    let mistakes: Vec<_> = file.mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(mistakes, [5, 7, 8]);
    assert_eq!(file.mistakes[1].error, FileError::NoValue("d.example".into()));
    let many = parse_file(ListKind::Acl, Matching::Network, "x\n".repeat(100).as_bytes());
    assert_eq!(many.mistakes.len(), 5, "the first few are enough");
    let acl = parse_file(ListKind::Acl, Matching::Text, b"Mozilla/4.0 (bad bot) \n");
    assert_eq!(acl.patterns[0].1.key(), "Mozilla/4.0 (bad bot)");
}

fn map(entries: &[(&str, &str)]) -> Patterns {
    let patterns = entries.iter().map(|(key, value)| Pattern::parse(Matching::Host, key, value).unwrap()).collect();
    let spec = PatternSpec {
        kind: ListKind::Map,
        matching: Matching::Host,
        file: Some("/m".into()),
        sample: "req.hdr",
        uses: Vec::new(),
        patterns,
    };
    Patterns::new(vec![spec], ["web", "api"].into_iter())
}

const M: PatternId = PatternId(0);

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn backend(patterns: &Patterns, host: &str) -> Option<u32> {
    patterns.live().backend_for(M, host).map(|backend| backend.0)
}

#[test]
fn changes_are_seen_at_once_and_versions_when_committed() {
    let mut patterns = map(&[("a", "web")]);
    let key = |key: &str| Which::Key(key.to_owned());
    assert_eq!(backend(&patterns, "a"), Some(0));
    patterns.add(M, None, &[pair("b", "api")]).unwrap();
    assert_eq!(backend(&patterns, "b"), Some(1));
    patterns.set(M, None, &key("b"), "nobody").unwrap();
    assert_eq!(backend(&patterns, "b"), None, "a value that names no backend");
    patterns.delete(M, None, &key("a")).unwrap();
    assert_eq!(backend(&patterns, "a"), None);
    assert_eq!(patterns.delete(M, None, &key("a")), Err(ListError::NotFound));

    assert_eq!(patterns.prepare(M), Ok(1));
    assert_eq!(patterns.prepare(M), Ok(2));
    patterns.add(M, Some(1), &[pair("old", "web")]).unwrap();
    patterns.add(M, Some(2), &[pair("new", "api"), pair("new", "web")]).unwrap();
    assert_eq!(backend(&patterns, "new"), None, "not in force yet");
    assert_eq!(patterns.add(M, Some(3), &[pair("x", "web")]), Err(ListError::InTheFuture));
    patterns.commit(M, 2).unwrap();
    assert_eq!((backend(&patterns, "new"), backend(&patterns, "b")), (Some(1), None), "the older of two counts");
    assert_eq!(patterns.entries(M, Some(1)).count(), 0, "versions before it are gone");
    assert_eq!(patterns.commit(M, 1), Err(ListError::OutOfRange));
    assert_eq!(patterns.add(M, Some(1), &[]), Err(ListError::OutOfRange));
    patterns.delete(M, None, &key("new")).unwrap();
    assert_eq!(patterns.entries(M, None).count(), 0, "both went");
    patterns.prepare(M).unwrap();
    patterns.add(M, None, &[pair("z", "web")]).unwrap();
    patterns.commit(M, 3).unwrap();
    assert_eq!(backend(&patterns, "z"), None, "a prepared version that nothing was added to is empty");
}

#[test]
fn a_bad_addition_changes_nothing() {
    let mut patterns = map(&[("a", "web")]);
    let added = patterns.add(M, None, &[pair("b", "web"), pair("not/a/host", "web")]);
    assert!(matches!(added, Err(ListError::Pattern(PatternError::NotAHost(_)))));
    assert_eq!(patterns.entries(M, None).count(), 1);
}

#[test]
fn prepared_versions_and_entries_are_bounded() {
    let mut patterns = map(&[]);
    for version in 1..=VERSIONS_MAX as u32 {
        assert_eq!(patterns.prepare(M), Ok(version));
        patterns.add(M, Some(version), &[pair("a", "web")]).unwrap();
    }
    let next = patterns.prepare(M).unwrap();
    assert_eq!(patterns.add(M, Some(next), &[pair("a", "web")]), Err(ListError::TooManyVersions));
    patterns.commit(M, next - 1).unwrap();
    assert_eq!(patterns.add(M, Some(next), &[pair("a", "web")]), Ok(()));
    let many = vec![pair("a", "web"); ENTRIES_MAX];
    assert_eq!(patterns.add(M, None, &many), Err(ListError::Full));
}

#[test]
fn a_version_being_read_is_kept_until_it_is_not() {
    let mut patterns = map(&[("a", "web")]);
    let read = arc_swap::Guard::into_inner(patterns.live().list(M).unwrap());
    patterns.clear(M, None).unwrap();
    assert!(read.find_host("a").is_some(), "whoever holds it sees it whole");
    assert_eq!(backend(&patterns, "a"), None);
    assert_eq!(patterns.retired(), 1);
    drop(read);
    patterns.tidy();
    assert_eq!(patterns.retired(), 0);
}

#[test]
fn a_large_map_is_changed_fast() {
    let mut patterns = map(&[]);
    let pairs: Vec<_> = (0..100_000).map(|n| pair(&format!("h{n}.example.test"), "api")).collect();
    patterns.prepare(M).unwrap();
    for some in pairs.chunks(500) {
        patterns.add(M, Some(1), some).unwrap();
    }
    patterns.commit(M, 1).unwrap();
    assert_eq!(backend(&patterns, "h99999.example.test"), Some(1));
    // Each of these is published by itself: copying the whole list each time would take minutes.
    for n in 0..5_000 {
        patterns.set(M, None, &Which::Key(format!("h{n}.example.test")), "web").unwrap();
    }
    assert_eq!(
        (backend(&patterns, "h4999.example.test"), backend(&patterns, "h5000.example.test")),
        (Some(0), Some(1))
    );
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8, bool),
    Set(u8, bool),
    Delete(u8),
    Clear,
    Replace(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..20, any::<bool>()).prop_map(|(key, web)| Step::Add(key, web)),
        3 => (0u8..20, any::<bool>()).prop_map(|(key, web)| Step::Set(key, web)),
        3 => (0u8..20).prop_map(Step::Delete),
        1 => Just(Step::Clear),
        1 => proptest::collection::vec(0u8..20, 0..8).prop_map(Step::Replace),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// A plain list, gone through from the beginning, says the same.
    #[test]
    fn any_sequence_leaves_what_a_plain_list_would_hold(steps in steps()) {
        let mut patterns = map(&[]);
        let mut plain: Vec<(String, u32)> = Vec::new();
        let (name, value) = (|key: u8| format!("h{key}"), |web: bool| if web { "web" } else { "api" });
        for step in steps {
            match step {
                Step::Add(key, web) => {
                    patterns.add(M, None, &[pair(&name(key), value(web))]).unwrap();
                    plain.push((name(key), u32::from(!web)));
                }
                Step::Set(key, web) => {
                    let known = plain.iter().any(|(k, _)| *k == name(key));
                    prop_assert_eq!(patterns.set(M, None, &Which::Key(name(key)), value(web)).is_ok(), known);
                    plain.iter_mut().filter(|(k, _)| *k == name(key)).for_each(|(_, v)| *v = u32::from(!web));
                }
                Step::Delete(key) => {
                    let known = plain.iter().any(|(k, _)| *k == name(key));
                    prop_assert_eq!(patterns.delete(M, None, &Which::Key(name(key))).is_ok(), known);
                    plain.retain(|(k, _)| *k != name(key));
                }
                Step::Clear => {
                    patterns.clear(M, None).unwrap();
                    plain.clear();
                }
                Step::Replace(keys) => {
                    let version = patterns.prepare(M).unwrap();
                    let pairs: Vec<_> = keys.iter().map(|key| pair(&name(*key), "web")).collect();
                    patterns.add(M, Some(version), &pairs).unwrap();
                    patterns.commit(M, version).unwrap();
                    plain = keys.iter().map(|key| (name(*key), 0)).collect();
                }
            }
            let held: Vec<_> = patterns.entries(M, None).map(|e| e.pattern.key().to_owned()).collect();
            prop_assert_eq!(held, plain.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
            for key in 0..20 {
                let expected = plain.iter().find(|(k, _)| *k == name(key)).map(|(_, v)| *v);
                prop_assert_eq!(backend(&patterns, &name(key)), expected);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_and_what_was_read_is_read_again(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[-a-z0-9.*:/# \n]{0,120}") {
        for data in [&bytes[..], text.as_bytes()] {
            for matching in [Matching::Network, Matching::Host, Matching::Path, Matching::Text] {
                for (_, pattern) in parse_file(ListKind::Map, matching, data).patterns {
                    let again = Pattern::parse(matching, pattern.key(), pattern.value());
                    prop_assert_eq!(again.as_ref(), Ok(&pattern));
                }
            }
        }
    }

    #[test]
    fn networks_are_found_as_one_by_one(
        networks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..30),
        samples in proptest::collection::vec(any::<u32>(), 1..30),
    ) {
        let texts: Vec<String> = networks.iter().map(|(ip, prefix)| format!("{}/{prefix}", std::net::Ipv4Addr::from(*ip))).collect();
        let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
        let lookup = lookup(Matching::Network, &keys);
        // Addresses of the networks themselves, and others.
        for ip in samples.iter().copied().chain(networks.iter().map(|(ip, _)| *ip ^ 1)) {
            let ip = IpAddr::from(std::net::Ipv4Addr::from(ip));
            let longest = texts.iter().filter_map(|text| {
                let net: ipnet::IpNet = text.parse().unwrap();
                net.contains(&ip).then_some(net.prefix_len())
            }).max();
            let found = lookup.find_client(ip).and_then(|e| e.pattern.key().rsplit('/').next()?.parse().ok());
            prop_assert_eq!(found, longest);
        }
    }
}
