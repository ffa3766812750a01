//! What version 2 says besides addresses: values with a type and a length (specification, 2.2).
//!
//! They are checked once, when a header is read, and looked up in place from then on. Types of cloud vendors and others
//! are passed over, and can be asked for by their number.

use super::Malformed;

/// The protocol agreed on in TLS (ALPN).
pub const ALPN: u8 = 0x01;
/// The host name the client asked for (SNI).
pub const AUTHORITY: u8 = 0x02;
/// A checksum of the header.
pub const CRC32C: u8 = 0x03;
/// Nothing; room.
pub const NOOP: u8 = 0x04;
/// An id of the connection.
pub const UNIQUE_ID: u8 = 0x05;
/// What is known of the client's TLS.
pub const SSL: u8 = 0x20;
/// The name of a network namespace.
pub const NETNS: u8 = 0x30;

/// Inside [`SSL`]: the version of TLS.
pub const SSL_VERSION: u8 = 0x21;
/// Inside [`SSL`]: the common name of the client's certificate.
pub const SSL_CN: u8 = 0x22;
/// Inside [`SSL`]: the cipher.
pub const SSL_CIPHER: u8 = 0x23;
/// Inside [`SSL`]: how our certificate is signed.
pub const SSL_SIG_ALG: u8 = 0x24;
/// Inside [`SSL`]: the kind of our certificate's key.
pub const SSL_KEY_ALG: u8 = 0x25;

/// In [`SSL`]'s flags: the client spoke TLS.
pub const CLIENT_SSL: u8 = 0x01;
/// In [`SSL`]'s flags: it showed a certificate on this connection.
pub const CLIENT_CERT_CONN: u8 = 0x02;
/// In [`SSL`]'s flags: it showed a certificate in this session.
pub const CLIENT_CERT_SESS: u8 = 0x04;

/// Bytes of a checksum.
pub(super) const CRC32C_BYTES: usize = 4;
/// Bytes of an authority, at most: a host name. HAProxy has the same limit.
pub const AUTHORITY_MAX_BYTES: usize = 255;
/// Bytes of an id, at most (specification, 2.2.6).
pub const UNIQUE_ID_MAX_BYTES: usize = 128;
/// Bytes before [`SSL`]'s own TLVs: flags, and the outcome of verifying the client's certificate.
const SSL_FIXED_BYTES: usize = 5;

/// Types that two of would mean two things.
const SINGLE: [u8; 6] = [ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL, NETNS];

/// The TLVs of a header, every length of them checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tlvs(Box<[u8]>);

/// One TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
    /// Where its value begins.
    pub value_at: usize,
}

/// One TLV after another; an error ends it.
pub(super) fn walk(bytes: &[u8]) -> impl Iterator<Item = Result<Found<'_>, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first()?;
        let at = bytes.len() - after.len();
        let found = after.split_first_chunk::<2>().and_then(|(len, after)| {
            let (value, behind) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            rest = behind;
            Some(Found { kind: *kind, value, value_at: at + 2 })
        });
        if found.is_none() {
            rest = &[];
        }
        Some(found.ok_or(Malformed::Tlv))
    })
}

fn find(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    walk(bytes).flatten().find(|found| found.kind == kind).map(|found| found.value)
}

impl Tlvs {
    /// Checks and keeps them.
    pub(super) fn read(bytes: &[u8]) -> Result<Tlvs, Malformed> {
        let mut seen = [false; SINGLE.len()];
        for found in walk(bytes) {
            let Found { kind, value, .. } = found?;
            if let Some(seen) = SINGLE.iter().position(|single| *single == kind).and_then(|at| seen.get_mut(at))
                && std::mem::replace(seen, true)
            {
                return Err(Malformed::Tlv);
            }
            let fits = match kind {
                CRC32C => value.len() == CRC32C_BYTES,
                AUTHORITY => value.len() <= AUTHORITY_MAX_BYTES,
                UNIQUE_ID => value.len() <= UNIQUE_ID_MAX_BYTES,
                SSL => value.get(SSL_FIXED_BYTES..).is_some_and(|inner| walk(inner).all(|found| found.is_ok())),
                _ => true,
            };
            if !fits {
                return Err(Malformed::Tlv);
            }
        }
        Ok(Tlvs(bytes.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value of the first of that type.
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        find(&self.0, kind)
    }

    /// The host name the client asked for. HAProxy: `fc_pp_authority`.
    pub fn authority(&self) -> Option<&[u8]> {
        self.get(AUTHORITY)
    }

    /// The id of the connection. HAProxy: `fc_pp_unique_id`.
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.get(UNIQUE_ID)
    }

    /// What is known of the client's TLS.
    pub fn tls(&self) -> Option<Tls<'_>> {
        let ([client, verify @ ..], inner) = self.get(SSL)?.split_first_chunk::<SSL_FIXED_BYTES>()?;
        Some(Tls { client: *client, verify: u32::from_be_bytes(*verify), inner })
    }
}

/// What a header says of the client's TLS (specification, 2.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls<'a> {
    client: u8,
    verify: u32,
    inner: &'a [u8],
}

impl<'a> Tls<'a> {
    /// The client spoke TLS with the sender.
    pub fn is_used(&self) -> bool {
        self.client & CLIENT_SSL != 0
    }

    /// It showed a certificate, in this session or the one it resumed.
    pub fn has_certificate(&self) -> bool {
        self.client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0
    }

    /// It showed a certificate, and the sender found it good.
    pub fn is_verified(&self) -> bool {
        self.has_certificate() && self.verify == 0
    }

    /// One of its own TLVs: [`SSL_VERSION`], [`SSL_CN`], [`SSL_CIPHER`], [`SSL_SIG_ALG`], [`SSL_KEY_ALG`].
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        find(self.inner, kind)
    }
}
