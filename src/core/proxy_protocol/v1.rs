//! Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 40000 443` and CR LF.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Endpoints, Header, Malformed, Parsed};

/// What every header of version 1 begins with.
pub const PREFIX: &[u8] = b"PROXY ";

/// The longest header of version 1, CR LF included (specification, 2.1).
pub const LINE_MAX_BYTES: usize = 107;

/// Reads a line whose beginning is [`PREFIX`] as far as it goes.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let window = bytes.get(..LINE_MAX_BYTES).unwrap_or(bytes);
    let Some(feed) = memchr::memchr(b'\n', window) else {
        return match window.len() {
            LINE_MAX_BYTES => Err(Malformed::LineEnd),
            so_far => Ok(Parsed::Partial { at_least: so_far + 1 }),
        };
    };
    let line = window.get(..feed).and_then(|line| line.strip_suffix(b"\r")).ok_or(Malformed::LineEnd)?;
    let words = line.strip_prefix(PREFIX).ok_or(Malformed::Words)?;
    Ok(Parsed::Whole { header: Header::of(endpoints(words)?), len: feed + 1 })
}

fn endpoints(words: &[u8]) -> Result<Endpoints, Malformed> {
    let mut words = words.split(|byte| *byte == b' ');
    match words.next() {
        Some(b"TCP4") => tcp::<std::net::Ipv4Addr>(words),
        Some(b"TCP6") => tcp::<std::net::Ipv6Addr>(words),
        // Whatever stands behind it is to be passed over.
        Some(b"UNKNOWN") => Ok(Endpoints::Untold),
        _ => Err(Malformed::UnknownProtocol),
    }
}

/// Source, destination and their ports; exactly one blank between two words.
fn tcp<'a, A: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a [u8]>) -> Result<Endpoints, Malformed> {
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok()).ok_or(Malformed::Words);
    let (source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(Malformed::Words);
    }
    let address = |ip: &str, port: &str| {
        let ip: A = ip.parse().map_err(|_| Malformed::Words)?;
        Ok(SocketAddr::new(ip.into(), read_port(port).ok_or(Malformed::Words)?))
    };
    Ok(Endpoints::Tcp { source: address(source, source_port)?, destination: address(destination, destination_port)? })
}

/// A port in decimal, without a sign or zeros before it.
fn read_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Appends the header of a connection; `UNKNOWN` when its addresses are not known or not of one family.
pub fn write(endpoints: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let (protocol, source, destination) = match endpoints {
        Some((source, destination)) if source.is_ipv4() && destination.is_ipv4() => ("TCP4", source, destination),
        Some((source, destination)) if source.is_ipv6() && destination.is_ipv6() => ("TCP6", source, destination),
        _ => {
            out.extend_from_slice(b"PROXY UNKNOWN\r\n");
            return;
        }
    };
    let (ip, to_ip, port, to_port) = (source.ip(), destination.ip(), source.port(), destination.port());
    // Writing into a vector cannot fail.
    let _ = write!(out, "PROXY {protocol} {ip} {to_ip} {port} {to_port}\r\n");
}
