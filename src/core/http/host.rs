//! Host names as requests carry them: `Host`, the authority of an absolute target, `:authority`.
//!
//! Accepted are names of letters, digits, hyphens, underscores and dots, IPv4 addresses and bracketed IPv6 addresses,
//! with a port or without. Not here: which host is whose (`crate::core::route`).

use std::net::Ipv6Addr;

use super::head::{Head, Known};

/// Longest name, in bytes, without its trailing dot (RFC 1035 section 2.3.4).
pub const NAME_MAX_BYTES: usize = 253;
/// Longest label, in bytes.
pub const LABEL_MAX_BYTES: usize = 63;

/// A valid host with its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// As written, without port; IPv6 with its brackets.
    pub host: &'a str,
    /// The port, if one was given.
    pub port: Option<u16>,
}

/// Reads a `Host` value or an authority without user name. `None` when it is not exactly one valid host.
pub fn parse(value: &[u8]) -> Option<Authority<'_>> {
    let (host, port) = match value.first()? {
        b'[' => {
            let close = memchr::memchr(b']', value)?;
            (&value[..=close], &value[close + 1..])
        }
        _ => value.split_at(memchr::memchr(b':', value).unwrap_or(value.len())),
    };
    let port = match port {
        [] => None,
        [b':', digits @ ..] if (1..=5).contains(&digits.len()) => {
            let number = digits.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')));
            Some(u16::try_from(number?).ok()?)
        }
        _ => return None,
    };
    let host = std::str::from_utf8(host).ok()?;
    (is_ipv6_literal(host) || is_name(host)).then_some(Authority { host, port })
}

fn is_ipv6_literal(host: &str) -> bool {
    ipv6(host).is_some()
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let mut label = 0;
    for &b in name {
        match b {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' if label < LABEL_MAX_BYTES => label += 1,
            _ => return false,
        }
    }
    label > 0 && name.len() <= NAME_MAX_BYTES
}

impl Authority<'_> {
    /// Writes the host as it is matched: lower case, no port, no trailing dot, IPv6 in its shortest form.
    pub fn write_normalised(&self, out: &mut String) {
        match ipv6(self.host) {
            Some(address) => {
                use std::fmt::Write;
                let _ = write!(out, "[{address}]");
            }
            None => {
                let start = out.len();
                out.push_str(self.host.strip_suffix('.').unwrap_or(self.host));
                out[start..].make_ascii_lowercase();
            }
        }
    }

    /// Whether both name the same place, a missing port being `default_port`.
    pub fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        let (mut mine, mut theirs) = (String::new(), String::new());
        self.write_normalised(&mut mine);
        other.write_normalised(&mut theirs);
        mine == theirs && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// Writes the request's host as it is matched into `out`, which is cleared first; it stays empty when there is none.
pub fn write_request_host(head: &Head, out: &mut String) {
    out.clear();
    if let Some(authority) = head.known(Known::Host).and_then(parse) {
        authority.write_normalised(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Option<(&str, Option<u16>)>) {
        let got = parse(value.as_bytes()).map(|authority| {
            let mut text = String::new();
            authority.write_normalised(&mut text);
            (text, authority.port)
        });
        assert_eq!(got, expected.map(|(host, port)| (host.to_owned(), port)), "{value:?}");
    }

    #[test]
    fn valid_hosts() {
        check("example.com", Some(("example.com", None)));
        check("EXAMPLE.com.:8080", Some(("example.com", Some(8080))));
        check("a_b-c.1", Some(("a_b-c.1", None)));
        check("192.0.2.1:0", Some(("192.0.2.1", Some(0))));
        check("x:65535", Some(("x", Some(65535))));
        check("[2001:DB8:0::1]:443", Some(("[2001:db8::1]", Some(443))));
        check("[::ffff:1.2.3.4]", Some(("[::ffff:1.2.3.4]", None)));
        check(&"a".repeat(63), Some((&"a".repeat(63), None)));
    }

    #[test]
    fn refused_hosts() {
        let long = ["a"; 128].join(".");
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a%41",
            "é",
            "a:",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a:000080",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]:",
            "[fe80::1%eth0]",
            "[v1.x]",
            "::1",
            "[1.2.3.4]",
            "a..",
            "a\t",
            &"a".repeat(64),
            &long,
            "a\0",
            "a#b",
            "a?b",
            "a\\b",
            "<script>",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn same_place() {
        let same = |a: &str, b: &str| parse(a.as_bytes()).unwrap().is_same(&parse(b.as_bytes()).unwrap(), 80);
        assert!(same("A.example", "a.example.:80"));
        assert!(same("[::1]", "[0:0::1]:80"));
        assert!(!same("a:81", "a"));
        assert!(!same("a", "b"));
    }
}
