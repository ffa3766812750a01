//! The hosts file (`hosts(5)`), and `localhost`, which needs none (RFC 6761 section 6.3).

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Where the system keeps it.
pub(super) const SYSTEM: &str = "/etc/hosts";

/// Most of the file that is read.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The addresses `path` has for `host`; loopback for `localhost` when it has none. A file that cannot be read has
/// nothing in it.
pub(super) fn find(path: &Path, host: &str) -> Option<Vec<IpAddr>> {
    let host = host.trim_end_matches('.');
    let addresses = parse(&read(path).unwrap_or_default(), host);
    if !addresses.is_empty() {
        return Some(addresses);
    }
    let (_, top) = host.rsplit_once('.').unwrap_or(("", host));
    top.eq_ignore_ascii_case("localhost").then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// IPv4 before IPv6, each in the order of the file.
fn parse(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        let names_it = words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host));
        if names_it && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n\
        2001:db8::1 web.example web # first\n10.0.0.1 WEB.example\n10.0.0.1 web.example\n\
        nonsense web.example\n10.0.0.2 other.example # web.example\n10.0.0.3";

    #[test]
    fn names_are_found_as_the_system_finds_them() {
        let check = |host: &str, expected: &[&str]| {
            let found: Vec<String> = parse(TEXT, host).iter().map(IpAddr::to_string).collect();
            assert_eq!(found, expected, "{host}");
        };
        check("web.example", &["10.0.0.1", "2001:db8::1"]);
        check("Web", &["2001:db8::1"]);
        check("localhost", &["127.0.0.1", "::1"]);
        check("other.example", &["10.0.0.2"]);
        check("comment", &[]);
        check("10.0.0.3", &[]);
        check("", &[]);
    }

    #[test]
    fn localhost_needs_no_file() {
        let nowhere = Path::new("/nonexistent/hosts");
        let loopback: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for host in ["localhost", "LocalHost.", "app.localhost"] {
            assert_eq!(find(nowhere, host), Some(loopback.clone()), "{host}");
        }
        assert_eq!(find(nowhere, "localhost.example"), None);
        assert_eq!(find(nowhere, "mylocalhost"), None);
    }
}
