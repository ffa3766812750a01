//! The PROXY protocol, versions 1 and 2, both ways: who a connection is really from, said in its first bytes.
//!
//! [`parse`] reads a header that may still be incomplete, [`v1`] and [`v2`] hold one version each, [`tlv`] what version 2
//! may say besides addresses, [`sample`] by which names that is asked for, [`outgoing`] what we say to servers. Inner lengths are bounded by outer ones, and what is
//! written takes its lengths from what was written. Source: the specification in HAProxy's `doc/proxy-protocol.txt`.
//!
//! Whose headers are believed, and for how long one is waited for, is `listener`'s business.

pub mod outgoing;
pub mod sample;
pub mod tlv;
pub mod v1;
pub mod v2;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use outgoing::{Outgoing, OutgoingCertificate, OutgoingTls, SendSpec, TlvChoice, write_local};
pub use sample::Sample;
pub use tlv::{Tls, Tlvs};

/// The most bytes of a header that are read, of either version. HAProxy: `tune.bufsize`.
pub const HEADER_MAX_BYTES: usize = 16 * 1024;

/// The versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The sender speaks for itself: a health check. The connection's own addresses count.
    pub local: bool,
    /// Between whom the connection is.
    pub endpoints: Endpoints,
    /// What else is said; nothing in version 1.
    pub tlvs: Tlvs,
}

/// Between whom a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// A TCP connection over IPv4 or IPv6.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// A stream between unix sockets, by their paths without the zeros behind them.
    Unix {
        /// The client's, most often empty.
        source: Box<[u8]>,
        /// Where it connected to.
        destination: Box<[u8]>,
    },
    /// Not said: the connection's own addresses count.
    Untold,
}

impl Header {
    /// A header that says nothing but addresses.
    pub fn of(endpoints: Endpoints) -> Header {
        Header { local: false, endpoints, tlvs: Tlvs::default() }
    }

    /// The client and where it connected to, if both have addresses; IPv4 written as IPv6 is IPv4 again.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.endpoints {
            Endpoints::Tcp { source, destination } if !self.local => {
                Some((canonical(*source), canonical(*destination)))
            }
            _ => None,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How far a header has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// It is whole.
    Whole {
        /// What it says.
        header: Header,
        /// Its length; what stands behind it is the connection's.
        len: usize,
    },
    /// More is needed.
    Partial {
        /// So many bytes, those that are there included, before there can be more to say. At most [`HEADER_MAX_BYTES`].
        at_least: usize,
    },
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// They begin as no header does.
    NotAHeader,
    /// Version 1 names a protocol that does not exist.
    UnknownProtocol,
    /// Version 1: the line ends otherwise than in CR LF, or not within [`v1::LINE_MAX_BYTES`].
    LineEnd,
    /// Version 1: not four words behind the protocol, or one that is no address or port.
    Words,
    /// Version 2: a command that does not exist.
    Command,
    /// Version 2: a family or transport that does not exist, or not a stream.
    Family,
    /// Version 2: longer than anybody needs ([`HEADER_MAX_BYTES`]).
    TooLong,
    /// Version 2: shorter than its addresses.
    TooShort,
    /// Version 2: what is said besides addresses runs over the end, is said twice or cannot be.
    Tlv,
    /// Version 2: the checksum does not fit.
    Checksum,
}

impl Malformed {
    /// HAProxy's words for it in the line of a connection that failed.
    pub fn phrase(self) -> &'static str {
        match self {
            Malformed::NotAHeader => "Received something which does not look like a PROXY protocol header",
            Malformed::UnknownProtocol => "Received an unhandled protocol in the PROXY protocol header",
            _ => "Received an invalid PROXY protocol header",
        }
    }
}

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// What is there cannot become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if begins_like(bytes, v1::PREFIX) {
        v1::parse(bytes)
    } else if begins_like(bytes, &v2::SIGNATURE) {
        v2::parse(bytes)
    } else {
        Err(Malformed::NotAHeader)
    }
}

/// Whether `bytes` can only be meant as a header: they begin with the whole signature of one.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(v1::PREFIX) || bytes.starts_with(&v2::SIGNATURE)
}

/// Whether `bytes` and `signature` agree as far as both go.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(a, b)| a == b)
}
