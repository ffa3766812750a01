//! Who the client is: the forwarding fields sent to servers, and the client's address behind trusted proxies.
//!
//! Nothing a peer says about forwarding is believed or passed on unless the peer is trusted. Not here: who is trusted
//! (`trusted_proxies` in the configuration).

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::grammar::trim;
use super::head::{Head, Known};
use crate::core::fleet::spec::ForwardFields;
use crate::core::text::IpText;

/// Addresses of `X-Forwarded-For` or elements of `Forwarded` looked at in one request; longer chains are cut there.
pub const HOPS_MAX: usize = 64;

/// Puts the forwarding fields on a request. From an untrusted peer all of them are dropped first; a trusted peer's
/// lists get one more member, and its `X-Forwarded-Proto` and `-Port` stay. `peer_ip` is the other end of the
/// connection (or of the PROXY header), never an address taken from these very fields. Call after
/// [`super::hop::strip_hop_by_hop`], which drops the underscore aliases.
pub fn apply_forwarded(
    head: &mut Head,
    peer_ip: IpAddr,
    peer_trusted: bool,
    tls: bool,
    local_port: u16,
    fields: &ForwardFields,
) {
    if !peer_trusted {
        head.remove_where(|known| {
            matches!(
                known,
                Known::XForwardedFor
                    | Known::XForwardedProto
                    | Known::XForwardedPort
                    | Known::XForwardedHost
                    | Known::Forwarded
                    | Known::Alias
            )
        });
    }
    let proto = if tls { "https" } else { "http" };
    let peer_ip = peer_ip.to_canonical();
    if fields.x_for {
        append(head, Known::XForwardedFor, b"X-Forwarded-For", IpText::new(peer_ip).as_bytes());
    }
    if fields.x_proto && head.known(Known::XForwardedProto).is_none() {
        head.add(b"X-Forwarded-Proto", proto.as_bytes());
    }
    if fields.x_port && head.known(Known::XForwardedPort).is_none() {
        head.add(b"X-Forwarded-Port", itoa::Buffer::new().format(local_port).as_bytes());
    }
    if fields.forwarded {
        let mut text = [0u8; 128];
        let own = match peer_ip {
            IpAddr::V4(ip) => written(&mut text, |out| write!(out, "for={ip};proto={proto}")),
            IpAddr::V6(ip) => written(&mut text, |out| write!(out, "for=\"[{ip}]\";proto={proto}")),
        };
        append(head, Known::Forwarded, b"Forwarded", own);
    }
}

/// The client's address: the rightmost of `X-Forwarded-For` (all its fields, in order) that is not trusted, or of
/// `Forwarded` where there is no `X-Forwarded-For`. An untrusted peer is itself the client. The walk ends at anything
/// that is no address, and at [`HOPS_MAX`]; the last good address is then the client.
pub fn client_from_forwarded(head: &Head, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let known = if head.known(Known::XForwardedFor).is_some() { Known::XForwardedFor } else { Known::Forwarded };
    let mut values: smallvec::SmallVec<[&[u8]; 4]> = head.known_all(known).collect();
    values.reverse();
    let hops = values.into_iter().flat_map(|value| value.rsplit(|&b| b == b',')).take(HOPS_MAX);
    for hop in hops {
        let address = match known {
            Known::XForwardedFor => parse_address(trim(hop)),
            _ => forwarded_for(hop).and_then(parse_address),
        };
        let Some(address) = address else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it: alone, or with a port, IPv6 in brackets or bare.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    if text.len() > 64 {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(SocketAddr::V4(with_port)) = text.parse() {
        return Some(IpAddr::V4(*with_port.ip()));
    }
    let (inside, port) = text.strip_prefix('[')?.split_once(']')?;
    let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    let ip: std::net::Ipv6Addr = inside.parse().ok()?;
    port_is_fine.then(|| IpAddr::V6(ip).to_canonical())
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 section 4), without its quotes. Escapes inside quotes
/// and commas within them make an element unreadable, which ends the walk; no address holds either.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    for pair in element.split(|&b| b == b';') {
        let (name, value) = trim(pair).split_at_checked(4)?;
        if name.eq_ignore_ascii_case(b"for=") {
            return match value {
                [b'"', inside @ .., b'"'] => Some(inside),
                [b'"', ..] => None,
                _ => Some(value),
            };
        }
    }
    None
}

fn append(head: &mut Head, known: Known, name: &[u8], own: &[u8]) {
    if head.known(known).is_none() {
        head.add(name, own);
        return;
    }
    let mut list: Vec<u8> = Vec::with_capacity(64);
    for value in head.known_all(known).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value);
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(own);
    head.set(name, &list);
}

/// Formats into a buffer on the stack. 128 bytes hold every address with the words around it.
fn written(buffer: &mut [u8; 128], write: impl FnOnce(&mut &mut [u8]) -> std::io::Result<()>) -> &[u8] {
    let mut rest = &mut buffer[..];
    let complete = write(&mut rest).is_ok();
    let left = rest.len();
    debug_assert!(complete, "an address is shorter than the buffer");
    &buffer[..128 - left]
}

/// The address used where a peer has none (unix sockets), so that fields and tables have something to say.
pub const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ForwardFields = ForwardFields { x_for: true, x_proto: true, x_port: true, forwarded: true };

    fn applied(fields: &[(&str, &str)], peer: &str, trusted: bool, wanted: ForwardFields) -> Vec<String> {
        let mut head = Head::new();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        apply_forwarded(&mut head, peer.parse().unwrap(), trusted, true, 443, &wanted);
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_untrusted_peer_is_not_quoted() {
        let claims = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-proto", "gopher"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-Host", "evil"),
            ("Forwarded", "for=1.1.1.1"),
            ("X_Forwarded_For", "2.2.2.2"),
        ];
        assert_eq!(
            applied(&claims, "192.0.2.7", false, ALL),
            [
                "X-Forwarded-For: 192.0.2.7",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Port: 443",
                "Forwarded: for=192.0.2.7;proto=https"
            ]
        );
        let none = ForwardFields { x_for: false, x_proto: false, x_port: false, forwarded: false };
        assert!(applied(&claims, "192.0.2.7", false, none).is_empty());
    }

    #[test]
    fn a_trusted_peer_is_quoted_and_named() {
        let claims = [
            ("X-Forwarded-For", "1.1.1.1, 2.2.2.2"),
            ("X-Forwarded-For", "3.3.3.3"),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", "for=1.1.1.1"),
        ];
        assert_eq!(
            applied(&claims, "2001:db8::1", true, ALL),
            [
                "X-Forwarded-Proto: http",
                "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 2001:db8::1",
                "X-Forwarded-Port: 443",
                "Forwarded: for=1.1.1.1, for=\"[2001:db8::1]\";proto=https"
            ]
        );
    }

    fn client(fields: &[(&str, &str)], peer: &str) -> String {
        let mut head = Head::new();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|n| n.parse().unwrap()).collect();
        client_from_forwarded(&head, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let xff = "X-Forwarded-For";
        assert_eq!(client(&[(xff, "9.9.9.9")], "192.0.2.1"), "192.0.2.1", "an untrusted peer is the client");
        assert_eq!(client(&[(xff, "9.9.9.9")], "10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[(xff, "9.9.9.9")], "::ffff:10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[(xff, "6.6.6.6, 9.9.9.9,10.0.0.2")], "10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[(xff, "9.9.9.9"), (xff, "10.0.0.2")], "10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[(xff, "10.0.0.3")], "10.0.0.1"), "10.0.0.3", "all trusted: the leftmost");
        assert_eq!(client(&[(xff, "9.9.9.9, unknown, 10.0.0.2")], "10.0.0.1"), "10.0.0.2", "garbage ends the walk");
        assert_eq!(client(&[(xff, "9.9.9.9,")], "10.0.0.1"), "10.0.0.1");
        assert_eq!(client(&[(xff, "[2001:db8::5]:99")], "fd00::1"), "2001:db8::5");
        assert_eq!(client(&[(xff, "9.9.9.9:1234")], "10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[], "10.0.0.1"), "10.0.0.1");
        assert_eq!(
            client(&[("Forwarded", "for=1.2.3.4, For=\"[2001:db8::9]:1\";proto=http")], "10.0.0.1"),
            "2001:db8::9"
        );
        assert_eq!(client(&[("Forwarded", "proto=http;for=9.9.9.9;by=x")], "10.0.0.1"), "9.9.9.9");
        assert_eq!(client(&[("Forwarded", "for=_hidden")], "10.0.0.1"), "10.0.0.1");
        assert_eq!(client(&[("Forwarded", "for=9.9.9.9"), (xff, "8.8.8.8")], "10.0.0.1"), "8.8.8.8");
        let long = ["10.0.0.2"; 10_000].join(",");
        assert_eq!(client(&[(xff, &format!("9.9.9.9,{long}"))], "10.0.0.1"), "10.0.0.2", "work is bounded");
    }
}
