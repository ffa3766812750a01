//! The key a request is counted under: what a limit names, in bytes that cannot be confused and text to be shown.
//!
//! Each part is a letter and a value of known length, so that no text of a client's can look like two parts. Long texts
//! are kept by their beginning and a hash: a table's memory does not depend on what clients send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use xxhash_rust::xxh3::xxh3_128;

use super::{KeyPart, RateLimitSpec};
use crate::core::tls::TlsFacts;

/// Texts longer than this are kept by their beginning and a hash.
const TEXT_MAX_BYTES: usize = 96;

const IPV4: u8 = b'4';
const IPV6: u8 = b'6';
const TEXT: u8 = b't';
const LONG_TEXT: u8 = b'h';

/// What a key is made from.
pub struct KeyFacts<'a> {
    /// The client, after trusted forwarding fields were applied.
    pub client: IpAddr,
    /// The request's host, lower case, without port.
    pub host: &'a str,
    /// The request's path, without query.
    pub path: &'a [u8],
    /// Looks up a request field by name, in any case.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The client's TLS; `None` in clear text.
    pub tls: Option<&'a TlsFacts>,
}

/// Writes the key of a request into `out`, which is emptied first. `false`: the request lacks a field the limit names
/// and is not limited by it.
pub fn build_key(spec: &RateLimitSpec, facts: &KeyFacts<'_>, out: &mut Vec<u8>) -> bool {
    out.clear();
    for part in &spec.key {
        match part {
            KeyPart::ClientIp { ipv6_prefix } => push_ip(facts.client, *ipv6_prefix, out),
            KeyPart::Host => push_text(facts.host.as_bytes(), out),
            KeyPart::Path => push_text(facts.path, out),
            KeyPart::Header(name) => match (facts.header)(name) {
                Some(value) => push_text(value, out),
                None => return false,
            },
            KeyPart::Tls(sample) => match sample.value(facts.tls) {
                value if value.is_empty() => return false,
                value => value.write(|value| push_text(value, out)),
            },
        }
    }
    true
}

/// Whether this client is never limited by this limit (`except`). An IPv4 address in IPv6 clothes is the IPv4 address.
pub fn is_exempt(spec: &RateLimitSpec, client: IpAddr) -> bool {
    let client = client.to_canonical();
    spec.except.iter().any(|network: &IpNet| network.contains(&client))
}

/// A key as people read it in `show table`: parts joined by `|`, IPv6 networks with their length, bytes that are not
/// printable as `%XX`. `clear table … key` takes the same text.
pub fn render_key(key: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = key;
    while let Some((part, after)) = split_part(rest) {
        if !text.is_empty() {
            text.push('|');
        }
        render_part(&part, &mut text);
        rest = after;
    }
    text
}

/// The key that is shown as this text; `None` when no key of this limit is. An address stands for its network.
pub fn parse_key(spec: &RateLimitSpec, text: &str) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let mut parts = text.split('|');
    for kind in &spec.key {
        let part = parts.next()?;
        match kind {
            KeyPart::ClientIp { ipv6_prefix } => {
                let address = match part.split_once('/') {
                    Some((address, prefix)) if prefix.parse() == Ok(*ipv6_prefix) => address,
                    Some(_) => return None,
                    None => part,
                };
                push_ip(address.parse().ok()?, *ipv6_prefix, &mut key);
            }
            KeyPart::Host | KeyPart::Path | KeyPart::Header(_) | KeyPart::Tls(_) => {
                let bytes: Vec<u8> = percent_encoding::percent_decode_str(part).collect();
                match long_text(&bytes) {
                    Some(hash) => {
                        key.push(LONG_TEXT);
                        key.extend_from_slice(bytes.get(..TEXT_MAX_BYTES)?);
                        key.extend_from_slice(&hash.to_be_bytes());
                    }
                    None => push_text(&bytes, &mut key),
                }
            }
        }
    }
    parts.next().is_none().then_some(key)
}

/// The hash of a text that is shown by its beginning and its hash.
fn long_text(shown: &[u8]) -> Option<u128> {
    let hex = shown.get(TEXT_MAX_BYTES..)?.strip_prefix(b"...").filter(|hex| hex.len() == 32)?;
    u128::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

enum Part<'a> {
    Ip(IpAddr, u8),
    Text(&'a [u8], Option<&'a [u8]>),
}

fn push_ip(client: IpAddr, ipv6_prefix: u8, out: &mut Vec<u8>) {
    match client.to_canonical() {
        IpAddr::V4(ip) => {
            out.push(IPV4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            let prefix = ipv6_prefix.min(128);
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            out.extend_from_slice(&[IPV6, prefix]);
            out.extend_from_slice(&(u128::from(ip) & mask).to_be_bytes());
        }
    }
}

fn push_text(text: &[u8], out: &mut Vec<u8>) {
    match text.split_at_checked(TEXT_MAX_BYTES) {
        Some((beginning, rest)) if !rest.is_empty() => {
            out.push(LONG_TEXT);
            out.extend_from_slice(beginning);
            out.extend_from_slice(&xxh3_128(text).to_be_bytes());
        }
        _ => {
            // At most TEXT_MAX_BYTES, so that one byte holds the length.
            out.extend_from_slice(&[TEXT, text.len() as u8]);
            out.extend_from_slice(text);
        }
    }
}

/// The first part of a key and what follows; `None` at its end.
fn split_part(key: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (kind, rest) = key.split_first()?;
    match *kind {
        IPV4 => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            Some((Part::Ip(Ipv4Addr::from(*octets).into(), 32), rest))
        }
        IPV6 => {
            let (prefix, rest) = rest.split_first()?;
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            Some((Part::Ip(Ipv6Addr::from(*octets).into(), *prefix), rest))
        }
        LONG_TEXT => {
            let (beginning, rest) = rest.split_at_checked(TEXT_MAX_BYTES)?;
            let (hash, rest) = rest.split_at_checked(16)?;
            Some((Part::Text(beginning, Some(hash)), rest))
        }
        _ => {
            let (length, rest) = rest.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(*length))?;
            Some((Part::Text(text, None), rest))
        }
    }
}

fn render_part(part: &Part<'_>, text: &mut String) {
    match part {
        Part::Ip(IpAddr::V6(ip), prefix) if *prefix < 128 => {
            text.push_str(&ip.to_string());
            text.push('/');
            text.push_str(itoa::Buffer::new().format(*prefix));
        }
        Part::Ip(ip, _) => text.push_str(&ip.to_string()),
        Part::Text(bytes, hash) => {
            for byte in *bytes {
                match byte {
                    b'%' | b'|' | 0..=b' ' | 0x7f.. => push_hex("%", *byte, text),
                    _ => text.push(char::from(*byte)),
                }
            }
            if let Some(hash) = hash {
                text.push_str("...");
                hash.iter().for_each(|byte| push_hex("", *byte, text));
            }
        }
    }
}

fn push_hex(before: &str, byte: u8, text: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    text.push_str(before);
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::core::limit::LimitAction;
    use crate::core::tls::TlsSample;

    fn spec(key: Vec<KeyPart>) -> RateLimitSpec {
        RateLimitSpec {
            name: "test".into(),
            key,
            rate: None,
            burst: 1,
            concurrent: None,
            action: LimitAction::Deny,
            except: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()],
            table_size: 10,
            expire: Duration::from_secs(60),
            store: [].into(),
            deny_if: Vec::new(),
            deny_status: 403,
        }
    }

    fn key(parts: &[KeyPart], client: &str, host: &str, path: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
        let header = |name: &str| if name == "X-Key" { field } else { None };
        let facts = KeyFacts { client: client.parse().unwrap(), host, path, header: &header, tls: None };
        let mut out = b"left over".to_vec();
        build_key(&spec(parts.to_vec()), &facts, &mut out).then_some(out)
    }

    #[track_caller]
    fn check(parts: &[KeyPart], client: &str, expected: &str) {
        let key = key(parts, client, "www.example.test", b"/a b|c%", Some(b"v\xff")).unwrap();
        assert_eq!(render_key(&key), expected);
    }

    const V64: KeyPart = KeyPart::ClientIp { ipv6_prefix: 64 };

    #[test]
    fn what_is_shown() {
        check(&[V64], "203.0.113.9", "203.0.113.9");
        check(&[V64], "::ffff:203.0.113.9", "203.0.113.9");
        check(&[V64], "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
        check(&[KeyPart::ClientIp { ipv6_prefix: 56 }], "2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::/56");
        check(&[KeyPart::ClientIp { ipv6_prefix: 128 }], "2001:db8::1", "2001:db8::1");
        check(&[KeyPart::ClientIp { ipv6_prefix: 0 }], "2001:db8::1", "::/0");
        check(
            &[V64, KeyPart::Host, KeyPart::Path, KeyPart::Header("X-Key".into())],
            "203.0.113.9",
            "203.0.113.9|www.example.test|/a%20b%7Cc%25|v%FF",
        );
    }

    #[test]
    fn a_missing_field_is_not_limited_but_an_empty_one_is() {
        let parts = [KeyPart::Header("X-Key".into())];
        assert_eq!(key(&parts, "1.2.3.4", "h", b"/", None), None);
        assert!(key(&parts, "1.2.3.4", "h", b"/", Some(b"")).is_some());
    }

    #[test]
    fn a_clients_tls() {
        let facts = crate::core::tls::sample::tests::facts();
        let header = |_: &str| None;
        let of = |part: TlsSample, tls| {
            let facts = KeyFacts { client: [1, 2, 3, 4].into(), host: "h", path: b"/", header: &header, tls };
            let mut out = Vec::new();
            build_key(&spec(vec![KeyPart::Tls(part)]), &facts, &mut out).then(|| render_key(&out))
        };
        assert_eq!(of(TlsSample::ClientSha1, Some(&facts)).as_deref(), Some("AA"));
        assert_eq!(of(TlsSample::Ja4, Some(&facts)), None, "it has none");
        assert_eq!(of(TlsSample::ClientSha1, None), None, "in clear text");
    }

    #[test]
    fn parts_cannot_be_moved_into_each_other() {
        let parts = [KeyPart::Host, KeyPart::Path];
        let a = key(&parts, "1.2.3.4", "ab", b"/c", None);
        let b = key(&parts, "1.2.3.4", "a", b"b/c", None);
        assert_ne!(a, b);
    }

    #[test]
    fn long_texts_are_bounded_and_still_told_apart() {
        let parts = [KeyPart::Path];
        let long = vec![b'a'; 60_000];
        let mut other = long.clone();
        *other.last_mut().unwrap() = b'b';
        let a = key(&parts, "1.2.3.4", "h", &long, None).unwrap();
        let b = key(&parts, "1.2.3.4", "h", &other, None).unwrap();
        assert_ne!(a, b);
        assert!(a.len() < 128);
        assert!(render_key(&a).starts_with("aaaa"));
        assert_ne!(render_key(&a), render_key(&b));
    }

    #[test]
    fn keys_come_back_from_their_texts() {
        let parsed = |parts: &[KeyPart], text: &str| parse_key(&spec(parts.to_vec()), text).map(|key| render_key(&key));
        for (parts, text, expected) in [
            (&[V64][..], "10.0.0.7", Some("10.0.0.7")),
            (&[V64], "::ffff:10.0.0.7", Some("10.0.0.7")),
            (&[V64], "2001:db8::1", Some("2001:db8::/64")),
            (&[V64], "2001:db8::/64", Some("2001:db8::/64")),
            (&[V64], "2001:db8::/48", None),
            (&[V64], "notanip", None),
            (&[V64], "10.0.0.7|x", None),
            (&[V64, KeyPart::Host], "10.0.0.7|a.example", Some("10.0.0.7|a.example")),
            (&[V64, KeyPart::Host], "10.0.0.7", None),
            (&[KeyPart::Path], "/a%20b", Some("/a%20b")),
        ] {
            assert_eq!(parsed(parts, text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn exempt_networks() {
        let spec = spec(vec![V64]);
        for (client, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("2001:db8:1::5", true),
            ("2001:db8:2::5", false),
        ] {
            assert_eq!(is_exempt(&spec, client.parse().unwrap()), expected, "{client}");
        }
    }

    proptest! {
        #[test]
        fn different_facts_make_different_keys_and_texts(
            a in (any::<u32>(), "[ab|%]{0,3}", proptest::collection::vec(any::<u8>(), 0..120)),
            b in (any::<u32>(), "[ab|%]{0,3}", proptest::collection::vec(any::<u8>(), 0..120)),
        ) {
            let parts = [V64, KeyPart::Host, KeyPart::Path];
            let [one, two] = [&a, &b].map(|(ip, host, path)| {
                key(&parts, &Ipv4Addr::from(*ip).to_string(), host, path, None).unwrap()
            });
            prop_assert_eq!(a == b, one == two);
            prop_assert_eq!(a == b, render_key(&one) == render_key(&two));
            prop_assert_eq!(parse_key(&spec(parts.to_vec()), &render_key(&one)), Some(one));
        }

        #[test]
        fn any_bytes_can_be_rendered(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = render_key(&bytes);
        }
    }
}
