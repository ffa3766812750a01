//! What rules, limits, header values and logs may ask about a client's TLS, by HAProxy's names for samples
//! (configuration manual, 7.3.4 "Fetching samples at Layer 5").
//!
//! Binary values (`ssl_c_serial`, `ssl_c_sha1`) are always hexadecimal here, whether `,hex` follows or not: as they are
//! they could stand neither in a header field nor in a log.

use std::fmt;

use super::facts::{ClientCertificate, DistinguishedName, TlsFacts};

/// One thing to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSample {
    /// `ssl_fc`: 1 over TLS, 0 in clear text.
    Tls,
    /// `ssl_fc_protocol`: `TLSv1.3`
    Protocol,
    /// `ssl_fc_cipher`
    Cipher,
    /// `ssl_fc_sni`: the server name the client asked for.
    ServerName,
    /// `ssl_fc_alpn`: the protocol agreed on.
    Alpn,
    /// `ssl_fc_is_resumed`: 1 when a session was resumed.
    Resumed,
    /// `fc.timer.handshake`: how long the handshake took, in milliseconds.
    HandshakeTime,
    /// `ja4`: the fingerprint of the client's hello.
    Ja4,
    /// `ssl_c_used`: 1 when the client showed a certificate.
    ClientUsed,
    /// `ssl_c_verify`: OpenSSL's number for what came of its verification, 0 when it is valid.
    ClientVerify,
    /// `ssl_c_s_dn`, `ssl_c_s_dn(CN)`: its subject or one part of it.
    ClientSubject(Option<&'static str>),
    /// `ssl_c_i_dn`, `ssl_c_i_dn(CN)`: its issuer or one part of it.
    ClientIssuer(Option<&'static str>),
    /// `ssl_c_serial`
    ClientSerial,
    /// `ssl_c_sha1`
    ClientSha1,
    /// `ssl_c_sha256`. HAProxy: `ssl_c_der,sha2(256),hex`.
    ClientSha256,
    /// `ssl_c_notbefore`: `YYMMDDhhmmssZ`
    ClientNotBefore,
    /// `ssl_c_notafter`
    ClientNotAfter,
}

/// Every sample by its name.
const NAMES: [(&str, TlsSample); 17] = [
    ("ssl_fc", TlsSample::Tls),
    ("ssl_fc_protocol", TlsSample::Protocol),
    ("ssl_fc_cipher", TlsSample::Cipher),
    ("ssl_fc_sni", TlsSample::ServerName),
    ("ssl_fc_alpn", TlsSample::Alpn),
    ("ssl_fc_is_resumed", TlsSample::Resumed),
    ("fc.timer.handshake", TlsSample::HandshakeTime),
    ("ja4", TlsSample::Ja4),
    ("ssl_c_used", TlsSample::ClientUsed),
    ("ssl_c_verify", TlsSample::ClientVerify),
    ("ssl_c_s_dn", TlsSample::ClientSubject(None)),
    ("ssl_c_i_dn", TlsSample::ClientIssuer(None)),
    ("ssl_c_serial", TlsSample::ClientSerial),
    ("ssl_c_sha1", TlsSample::ClientSha1),
    ("ssl_c_sha256", TlsSample::ClientSha256),
    ("ssl_c_notbefore", TlsSample::ClientNotBefore),
    ("ssl_c_notafter", TlsSample::ClientNotAfter),
];

/// Other ways to write some of them.
const ALIASES: [(&str, TlsSample); 4] = [
    ("ssl_c_serial,hex", TlsSample::ClientSerial),
    ("ssl_c_sha1,hex", TlsSample::ClientSha1),
    ("ssl_c_sha256,hex", TlsSample::ClientSha256),
    ("ssl_c_der,sha2(256),hex", TlsSample::ClientSha256),
];

/// The parts of a distinguished name that can be asked for, by OpenSSL's short names.
const DN_PARTS: [&str; 17] = [
    "CN",
    "SN",
    "serialNumber",
    "C",
    "L",
    "ST",
    "street",
    "O",
    "OU",
    "title",
    "businessCategory",
    "postalCode",
    "GN",
    "organizationIdentifier",
    "emailAddress",
    "UID",
    "DC",
];

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleValue<'a> {
    /// Text; empty when there is none.
    Text(&'a str),
    /// A number.
    Number(u32),
}

impl SampleValue<'_> {
    /// Gives its text to `put`.
    pub fn write<T>(self, put: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            SampleValue::Text(text) => put(text.as_bytes()),
            SampleValue::Number(number) => put(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(self) -> bool {
        self == SampleValue::Text("")
    }
}

impl TlsSample {
    /// The sample of that name, its converters included: `ssl_c_sha1,hex`, `ssl_c_s_dn(CN)`.
    pub fn parse(text: &str) -> Option<TlsSample> {
        if let Some((_, sample)) = NAMES.iter().chain(&ALIASES).find(|(name, _)| *name == text) {
            return Some(*sample);
        }
        let (name, part) = text.strip_suffix(')')?.split_once('(')?;
        let part = DN_PARTS.iter().find(|known| **known == part)?;
        match name {
            "ssl_c_s_dn" => Some(TlsSample::ClientSubject(Some(part))),
            "ssl_c_i_dn" => Some(TlsSample::ClientIssuer(Some(part))),
            _ => None,
        }
    }

    /// Its name, without the part of a distinguished name.
    pub fn name(self) -> &'static str {
        let plain = match self {
            TlsSample::ClientSubject(_) => TlsSample::ClientSubject(None),
            TlsSample::ClientIssuer(_) => TlsSample::ClientIssuer(None),
            other => other,
        };
        NAMES.iter().find(|(_, sample)| *sample == plain).map_or("", |(name, _)| name)
    }

    /// The names of all, in the order they are listed to a reader.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Its value on a connection; `None` for `facts` is clear text.
    pub fn value(self, facts: Option<&TlsFacts>) -> SampleValue<'_> {
        use SampleValue::{Number, Text};
        let Some(facts) = facts else {
            return match self {
                TlsSample::Tls | TlsSample::Resumed | TlsSample::ClientUsed => Number(0),
                _ => Text(""),
            };
        };
        let client = facts.client.as_deref();
        let of_client = |get: fn(&ClientCertificate) -> &str| Text(client.map(get).unwrap_or_default());
        match self {
            TlsSample::Tls => Number(1),
            TlsSample::Protocol => Text(facts.version),
            TlsSample::Cipher => Text(facts.cipher),
            TlsSample::ServerName => Text(facts.server_name.as_deref().unwrap_or_default()),
            TlsSample::Alpn => Text(facts.alpn.as_deref().unwrap_or_default()),
            TlsSample::Resumed => Number(u32::from(facts.resumed)),
            TlsSample::HandshakeTime => Number(facts.handshake_ms),
            TlsSample::Ja4 => Text(facts.ja4.as_ref().map(|ja4| ja4.as_str()).unwrap_or_default()),
            TlsSample::ClientUsed => Number(u32::from(client.is_some())),
            TlsSample::ClientVerify => Number(client.map_or(0, |client| client.verify)),
            TlsSample::ClientSubject(part) => Text(client.map(|c| name(&c.subject, part)).unwrap_or_default()),
            TlsSample::ClientIssuer(part) => Text(client.map(|c| name(&c.issuer, part)).unwrap_or_default()),
            TlsSample::ClientSerial => of_client(|client| &client.serial),
            TlsSample::ClientSha1 => of_client(|client| &client.sha1),
            TlsSample::ClientSha256 => of_client(|client| &client.sha256),
            TlsSample::ClientNotBefore => of_client(|client| &client.not_before),
            TlsSample::ClientNotAfter => of_client(|client| &client.not_after),
        }
    }
}

fn name<'a>(dn: &'a DistinguishedName, part: Option<&str>) -> &'a str {
    match part {
        None => &dn.line,
        Some(part) => dn.get(part).unwrap_or_default(),
    }
}

impl fmt::Display for TlsSample {
    /// As it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsSample::ClientSubject(Some(part)) | TlsSample::ClientIssuer(Some(part)) => {
                write!(f, "{}({part})", self.name())
            }
            plain => f.write_str(plain.name()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A connection with a client certificate.
    pub(crate) fn facts() -> TlsFacts {
        let dn = |cn: &str| DistinguishedName {
            attributes: vec![("O".into(), "Example".into()), ("CN".into(), cn.into())],
            line: format!("/O=Example/CN={cn}").into(),
        };
        TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            server_name: Some("a.test".into()),
            alpn: Some("http/1.1".into()),
            resumed: true,
            handshake_ms: 7,
            ja4: None,
            client: Some(Box::new(ClientCertificate {
                subject: dn("alice"),
                issuer: dn("Root"),
                serial: "0A1B".into(),
                sha1: "AA".into(),
                sha256: "BB".into(),
                not_before: "260101000000Z".into(),
                not_after: "270101000000Z".into(),
                verify: 10,
            })),
        }
    }

    fn text(sample: &str, facts: Option<&TlsFacts>) -> String {
        let sample = TlsSample::parse(sample).unwrap_or_else(|| panic!("{sample} is not known"));
        sample.value(facts).write(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn values() {
        let facts = facts();
        for (sample, expected, in_clear) in [
            ("ssl_fc", "1", "0"),
            ("ssl_fc_protocol", "TLSv1.3", ""),
            ("ssl_fc_cipher", "TLS_AES_256_GCM_SHA384", ""),
            ("ssl_fc_sni", "a.test", ""),
            ("ssl_fc_alpn", "http/1.1", ""),
            ("ssl_fc_is_resumed", "1", "0"),
            ("fc.timer.handshake", "7", ""),
            ("ja4", "", ""),
            ("ssl_c_used", "1", "0"),
            ("ssl_c_verify", "10", ""),
            ("ssl_c_s_dn", "/O=Example/CN=alice", ""),
            ("ssl_c_s_dn(CN)", "alice", ""),
            ("ssl_c_s_dn(OU)", "", ""),
            ("ssl_c_i_dn(CN)", "Root", ""),
            ("ssl_c_serial,hex", "0A1B", ""),
            ("ssl_c_sha1", "AA", ""),
            ("ssl_c_der,sha2(256),hex", "BB", ""),
            ("ssl_c_notbefore", "260101000000Z", ""),
            ("ssl_c_notafter", "270101000000Z", ""),
        ] {
            assert_eq!(text(sample, Some(&facts)), expected, "{sample}");
            assert_eq!(text(sample, None), in_clear, "{sample} in clear text");
        }
        let anonymous = TlsFacts { client: None, ..facts };
        for (sample, expected) in [("ssl_c_used", "0"), ("ssl_c_verify", "0"), ("ssl_c_s_dn", ""), ("ssl_c_sha1", "")] {
            assert_eq!(text(sample, Some(&anonymous)), expected, "{sample} without a certificate");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for sample in TlsSample::names().chain(["ssl_c_s_dn(CN)", "ssl_c_i_dn(emailAddress)"]) {
            assert_eq!(TlsSample::parse(sample).unwrap().to_string(), sample);
        }
        for wrong in ["ssl_c", "ssl_c_s_dn(XX)", "ssl_c_s_dn(CN", "ssl_fc(CN)", "ja4,hex", ""] {
            assert_eq!(TlsSample::parse(wrong), None, "{wrong}");
        }
    }
}
