//! What is known of a client's TLS once its handshake is done.

use std::fmt;

/// What the client and we agreed on in the TLS handshake, in OpenSSL's words, and what else the handshake showed. Made
/// once per connection and shared by its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`
    pub cipher: &'static str,
    /// The server name the client asked for (RFC 6066, section 3).
    pub server_name: Option<Box<str>>,
    /// The protocol agreed on (RFC 7301).
    pub alpn: Option<Box<str>>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// How long the handshake took, in milliseconds.
    pub handshake_ms: u32,
    /// The client's fingerprint by how it said hello ([`super::ja4`]).
    pub ja4: Option<Fingerprint>,
    /// The client's certificate, if it showed one; also when the session was resumed.
    pub client: Option<Box<ClientCertificate>>,
}

/// A client's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// Its subject.
    pub subject: DistinguishedName,
    /// Who issued it.
    pub issuer: DistinguishedName,
    /// Serial number in upper-case hexadecimal.
    pub serial: Box<str>,
    /// SHA-1 of the certificate in upper-case hexadecimal.
    pub sha1: Box<str>,
    /// SHA-256 of the certificate in upper-case hexadecimal.
    pub sha256: Box<str>,
    /// When it begins to be valid: `YYMMDDhhmmssZ`, as HAProxy writes it.
    pub not_before: Box<str>,
    /// When it stops being valid, likewise.
    pub not_after: Box<str>,
    /// OpenSSL's number for what came of its verification; 0 is well (`X509_V_OK`).
    pub verify: u32,
}

/// A distinguished name: its attributes in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistinguishedName {
    /// Each attribute's short name (`CN`) and value.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// `/C=AT/O=Example/CN=a.example`. OpenSSL: `X509_NAME_oneline`.
    pub line: Box<str>,
}

impl DistinguishedName {
    /// The value of the first attribute of that short name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}

/// Length of a [`Fingerprint`] in bytes.
pub const FINGERPRINT_BYTES: usize = 36;

/// A JA4 fingerprint, `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(super) [u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    /// Its text.
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
