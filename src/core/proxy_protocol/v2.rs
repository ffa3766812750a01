//! Version 2: a signature, a command, a family, a length, then addresses and TLVs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::tlv::{self, Tlvs};
use super::{Endpoints, HEADER_MAX_BYTES, Header, Malformed, Parsed};

/// What every header of version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
pub(super) const FIXED_BYTES: usize = 16;
/// Length of a unix socket's path, zeros behind it included.
const PATH_BYTES: usize = 108;

/// The version, in the upper half of the byte behind the signature.
pub(super) const VERSION: u8 = 0x20;
/// The command of a sender that speaks for itself.
pub(super) const LOCAL: u8 = 0x00;
/// The command of a sender that speaks for somebody.
pub(super) const PROXY: u8 = 0x01;

/// Families with their transport: nothing said, and streams.
pub(super) const UNSPECIFIED: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;
pub(super) const UNIX: u8 = 0x31;

/// Reads a header whose beginning is [`SIGNATURE`] as far as it goes.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    // What is wrong is said as soon as it can be seen.
    let command = bytes.get(12).copied();
    if command.is_some_and(|byte| byte & 0xf0 != VERSION) {
        return Err(Malformed::NotAHeader);
    }
    if command.is_some_and(|byte| byte & 0x0f > PROXY) {
        return Err(Malformed::Command);
    }
    let Some((fixed, _)) = bytes.split_at_checked(FIXED_BYTES) else {
        return Ok(Parsed::Partial { at_least: FIXED_BYTES });
    };
    let [.., command, family, high, low] = fixed else { return Err(Malformed::NotAHeader) };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if len > HEADER_MAX_BYTES {
        return Err(Malformed::TooLong);
    }
    let Some(whole) = bytes.get(..len) else { return Ok(Parsed::Partial { at_least: len }) };
    let body = whole.get(FIXED_BYTES..).unwrap_or_default();
    if command & 0x0f == LOCAL {
        // Whatever follows, the family included, is to be passed over.
        let header = Header { local: true, ..Header::of(Endpoints::Untold) };
        return Ok(Parsed::Whole { header, len });
    }
    let (endpoints, tlvs) = endpoints(*family, body)?;
    let tlvs = Tlvs::read(tlvs)?;
    if let Some(sum) = tlvs.get(tlv::CRC32C) {
        check_sum(whole, tlvs.bytes().len(), sum)?;
    }
    Ok(Parsed::Whole { header: Header { local: false, endpoints, tlvs }, len })
}

/// The addresses, and what stands behind them.
fn endpoints(family: u8, body: &[u8]) -> Result<(Endpoints, &[u8]), Malformed> {
    let mut rest = body;
    let endpoints = match family {
        UNSPECIFIED => Endpoints::Untold,
        TCP4 => {
            let (source, destination): ([u8; 4], [u8; 4]) = (take(&mut rest)?, take(&mut rest)?);
            tcp(Ipv4Addr::from(source), Ipv4Addr::from(destination), &mut rest)?
        }
        TCP6 => {
            let (source, destination): ([u8; 16], [u8; 16]) = (take(&mut rest)?, take(&mut rest)?);
            tcp(Ipv6Addr::from(source), Ipv6Addr::from(destination), &mut rest)?
        }
        UNIX => {
            let (source, destination): ([u8; PATH_BYTES], [u8; PATH_BYTES]) = (take(&mut rest)?, take(&mut rest)?);
            Endpoints::Unix { source: path(&source), destination: path(&destination) }
        }
        _ => return Err(Malformed::Family),
    };
    Ok((endpoints, rest))
}

fn tcp(
    source: impl Into<std::net::IpAddr>,
    destination: impl Into<std::net::IpAddr>,
    rest: &mut &[u8],
) -> Result<Endpoints, Malformed> {
    let (source_port, destination_port) = (u16::from_be_bytes(take(rest)?), u16::from_be_bytes(take(rest)?));
    Ok(Endpoints::Tcp {
        source: SocketAddr::new(source.into(), source_port),
        destination: SocketAddr::new(destination.into(), destination_port),
    })
}

/// The next bytes of the addresses.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, behind) = rest.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
    *rest = behind;
    Ok(*taken)
}

/// A path without the zeros behind it. An abstract one begins with a zero and keeps it.
fn path(padded: &[u8]) -> Box<[u8]> {
    let end = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    padded.get(..end).unwrap_or_default().into()
}

/// Whether the checksum is that of the whole header with zeros in the checksum's place (specification, 2.2.4). The TLVs
/// are the last `tlv_bytes` of it.
fn check_sum(whole: &[u8], tlv_bytes: usize, sum: &[u8]) -> Result<(), Malformed> {
    let before = whole.len().checked_sub(tlv_bytes).ok_or(Malformed::Tlv)?;
    let (head, tlvs) = whole.split_at_checked(before).ok_or(Malformed::Tlv)?;
    let at = tlv::walk(tlvs).flatten().find(|found| found.kind == tlv::CRC32C).ok_or(Malformed::Tlv)?.value_at;
    let (front, rest) = tlvs.split_at_checked(at).ok_or(Malformed::Tlv)?;
    let back = rest.get(tlv::CRC32C_BYTES..).ok_or(Malformed::Tlv)?;
    let zeros = [0; tlv::CRC32C_BYTES];
    let computed =
        [front, &zeros, back].iter().fold(crc32c::crc32c(head), |sum, part| crc32c::crc32c_append(sum, part));
    if computed.to_be_bytes() == *sum { Ok(()) } else { Err(Malformed::Checksum) }
}

/// Appends addresses and returns the family they are of. Of two families both become IPv6.
pub(super) fn write_addresses(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) -> u8 {
    let family = match (source.ip(), destination.ip()) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            TCP4
        }
        (source, destination) => {
            out.extend_from_slice(&mapped(source));
            out.extend_from_slice(&mapped(destination));
            TCP6
        }
    };
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    family
}

fn mapped(ip: std::net::IpAddr) -> [u8; 16] {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    }
}
