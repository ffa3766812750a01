//! What is said to servers: a header for a client's connection, or for our own.

use std::net::SocketAddr;

use super::{Version, tlv, v1, v2};

/// How servers are told who connects (`send_proxy`). HAProxy: `send-proxy`, `send-proxy-v2`, `proxy-v2-options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendSpec {
    /// Which version.
    pub version: Version,
    /// What is said besides addresses; only version 2 can.
    pub tlvs: TlvChoice,
}

impl SendSpec {
    /// Addresses only.
    pub fn plain(version: Version) -> SendSpec {
        SendSpec { version, tlvs: TlvChoice::default() }
    }
}

/// What is said besides addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlvChoice {
    /// Whether the client spoke TLS, in which version, and whether its certificate was good.
    pub ssl: bool,
    /// With `ssl`: the common name of its certificate.
    pub cert_cn: bool,
    /// With `ssl`: the cipher.
    pub ssl_cipher: bool,
    /// The host name it asked for in its TLS handshake.
    pub authority: bool,
    /// The id of the request that the connection was opened for.
    pub unique_id: bool,
    /// A checksum.
    pub crc32c: bool,
}

/// A client's connection as a server is told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The client, and where it connected to; absent for unix sockets.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The protocol agreed on in TLS.
    pub alpn: Option<&'a [u8]>,
    /// The host name it asked for.
    pub authority: Option<&'a [u8]>,
    /// The id of the request.
    pub unique_id: Option<&'a [u8]>,
    /// Its TLS.
    pub tls: Option<OutgoingTls<'a>>,
}

/// A client's TLS as a server is told of it.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingTls<'a> {
    /// `TLSv1.3`
    pub version: &'a str,
    /// `TLS_AES_128_GCM_SHA256`
    pub cipher: &'a str,
    /// It resumed an earlier session.
    pub resumed: bool,
    /// The certificate it showed.
    pub certificate: Option<OutgoingCertificate<'a>>,
}

/// A client's certificate as a server is told of it.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingCertificate<'a> {
    /// OpenSSL's number for what came of its verification; 0 is well.
    pub verify: u32,
    /// The common name in it.
    pub common_name: Option<&'a str>,
}

impl Outgoing<'_> {
    /// Appends the header. What does not fit the protocol's limits is left out.
    pub fn write(&self, spec: SendSpec, out: &mut Vec<u8>) {
        match spec.version {
            Version::V1 => v1::write(self.addresses, out),
            Version::V2 => self.write_v2(spec.tlvs, out),
        }
    }

    fn write_v2(&self, choice: TlvChoice, out: &mut Vec<u8>) {
        let start = begin_v2(out);
        let (command, family) = match self.addresses {
            Some((source, destination)) => (v2::PROXY, v2::write_addresses(source, destination, out)),
            None => (v2::LOCAL, v2::UNSPECIFIED),
        };
        // In HAProxy's order.
        let sum_at = choice.crc32c.then(|| {
            put(tlv::CRC32C, &[0; tlv::CRC32C_BYTES], out);
            out.len() - tlv::CRC32C_BYTES
        });
        let texts = [
            (true, tlv::ALPN, self.alpn, usize::from(u8::MAX)),
            (choice.authority, tlv::AUTHORITY, self.authority, tlv::AUTHORITY_MAX_BYTES),
            (choice.unique_id, tlv::UNIQUE_ID, self.unique_id, tlv::UNIQUE_ID_MAX_BYTES),
        ];
        for (wanted, kind, value, max_bytes) in texts {
            if let Some(value) = value.filter(|value| wanted && !value.is_empty() && value.len() <= max_bytes) {
                put(kind, value, out);
            }
        }
        if choice.ssl {
            self.write_tls(choice, out);
        }
        end_v2(start, command, family, sum_at, out);
    }

    fn write_tls(&self, choice: TlvChoice, out: &mut Vec<u8>) {
        let (mut flags, mut verify) = (0, 0);
        let mut inner = Vec::new();
        if let Some(tls) = &self.tls {
            flags |= tlv::CLIENT_SSL;
            put_short(tlv::SSL_VERSION, tls.version, &mut inner);
            if let Some(certificate) = &tls.certificate {
                flags |= tlv::CLIENT_CERT_SESS;
                if !tls.resumed {
                    flags |= tlv::CLIENT_CERT_CONN;
                }
                verify = certificate.verify;
                if let Some(name) = certificate.common_name.filter(|_| choice.cert_cn) {
                    put_short(tlv::SSL_CN, name, &mut inner);
                }
            }
            if choice.ssl_cipher {
                put_short(tlv::SSL_CIPHER, tls.cipher, &mut inner);
            }
        }
        // Without a certificate it is OpenSSL's "ok" as well.
        let [a, b, c, d] = u32::to_be_bytes(verify);
        let mut value = vec![flags, a, b, c, d];
        value.append(&mut inner);
        put(tlv::SSL, &value, out);
    }
}

/// Appends the header of a connection that is our own, as health checks make them: `PROXY UNKNOWN`, or `LOCAL`.
pub fn write_local(version: Version, out: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::write(None, out),
        Version::V2 => {
            let start = begin_v2(out);
            end_v2(start, v2::LOCAL, v2::UNSPECIFIED, None, out);
        }
    }
}

/// Begins a header of version 2, and says where.
fn begin_v2(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&v2::SIGNATURE);
    out.resize(start + v2::FIXED_BYTES, 0);
    start
}

/// Fills in what is known only at the end: length and checksum.
fn end_v2(start: usize, command: u8, family: u8, sum_at: Option<usize>, out: &mut [u8]) {
    let header = out.get_mut(start..).unwrap_or_default();
    // Addresses and TLVs have limits that are far below.
    let body = u16::try_from(header.len().saturating_sub(v2::FIXED_BYTES)).expect("every part of a header is short");
    let [high, low] = body.to_be_bytes();
    if let Some(fixed) = header.get_mut(v2::SIGNATURE.len()..v2::FIXED_BYTES) {
        fixed.copy_from_slice(&[v2::VERSION | command, family, high, low]);
    }
    let sum = crc32c::crc32c(header).to_be_bytes();
    if let Some(place) = sum_at.and_then(|at| out.get_mut(at..)?.first_chunk_mut()) {
        *place = sum;
    }
}

/// Appends a TLV. Values have limits far below the protocol's 65,535 bytes.
fn put(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    let Ok(len) = u16::try_from(value.len()) else { return };
    out.push(kind);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

/// Appends a TLV of at most 255 bytes; a longer one is left out.
fn put_short(kind: u8, text: &str, out: &mut Vec<u8>) {
    if text.len() <= usize::from(u8::MAX) {
        put(kind, text.as_bytes(), out);
    }
}
