//! What header rules and log formats can ask of a header, by HAProxy's names and, for TLS, some of our own.

use std::fmt;

use super::Tlvs;
use super::tlv;

/// One thing a header may say besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// `fc_pp_authority`: the host name the client asked for.
    Authority,
    /// `fc_pp_unique_id`: an id of the connection.
    UniqueId,
    /// `fc_pp_tlv(TYPE)`: the value of the first TLV of a type.
    Tlv(u8),
    /// `fc_pp_tls`: `1` when the client spoke TLS with the sender, `0` when not.
    Tls,
    /// `fc_pp_tls_version`: in which version.
    TlsVersion,
    /// `fc_pp_tls_cipher`: with which cipher.
    TlsCipher,
    /// `fc_pp_tls_cn`: the common name of the client's certificate, if the sender found it good.
    TlsCommonName,
}

/// Every sample without an argument, by its name.
pub const SAMPLES: [(&str, Sample); 6] = [
    ("fc_pp_authority", Sample::Authority),
    ("fc_pp_unique_id", Sample::UniqueId),
    ("fc_pp_tls", Sample::Tls),
    ("fc_pp_tls_version", Sample::TlsVersion),
    ("fc_pp_tls_cipher", Sample::TlsCipher),
    ("fc_pp_tls_cn", Sample::TlsCommonName),
];

/// Types of TLVs by HAProxy's names.
const TYPES: [(&str, u8); 7] = [
    ("ALPN", tlv::ALPN),
    ("AUTHORITY", tlv::AUTHORITY),
    ("CRC32C", tlv::CRC32C),
    ("NOOP", tlv::NOOP),
    ("UNIQUE_ID", tlv::UNIQUE_ID),
    ("SSL", tlv::SSL),
    ("NETNS", tlv::NETNS),
];

impl Sample {
    /// Reads a name, or `fc_pp_tlv(TYPE)` with a type's name or number: `fc_pp_tlv(0xEA)`.
    pub fn parse(text: &str) -> Option<Sample> {
        if let Some((_, sample)) = SAMPLES.iter().find(|(name, _)| *name == text) {
            return Some(*sample);
        }
        let kind = text.strip_prefix("fc_pp_tlv(")?.strip_suffix(')')?.trim();
        if let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == kind) {
            return Some(Sample::Tlv(*kind));
        }
        let number = match kind.strip_prefix("0x").or(kind.strip_prefix("0X")) {
            Some(digits) if !digits.starts_with('+') => u8::from_str_radix(digits, 16),
            _ => kind.parse(),
        };
        number.ok().map(Sample::Tlv)
    }

    /// Its value, if the header said it.
    pub fn of(self, tlvs: &Tlvs) -> Option<&[u8]> {
        let in_tls = |kind| tlvs.tls().filter(|tls| tls.is_used()).and_then(|tls| tls.get(kind));
        match self {
            Sample::Authority => tlvs.authority(),
            Sample::UniqueId => tlvs.unique_id(),
            Sample::Tlv(kind) => tlvs.get(kind),
            Sample::Tls => tlvs.tls().map(|tls| if tls.is_used() { &b"1"[..] } else { b"0" }),
            Sample::TlsVersion => in_tls(tlv::SSL_VERSION),
            Sample::TlsCipher => in_tls(tlv::SSL_CIPHER),
            Sample::TlsCommonName => tlvs.tls().filter(|tls| tls.is_verified()).and_then(|tls| tls.get(tlv::SSL_CN)),
        }
    }
}

impl fmt::Display for Sample {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, SAMPLES.iter().find(|(_, sample)| sample == self)) {
            (Sample::Tlv(kind), _) => write!(f, "fc_pp_tlv(0x{kind:02X})"),
            (_, Some((name, _))) => f.write_str(name),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, expected) in [
            ("fc_pp_authority", Some(Sample::Authority)),
            ("fc_pp_tlv(0xEA)", Some(Sample::Tlv(0xea))),
            ("fc_pp_tlv(234)", Some(Sample::Tlv(0xea))),
            ("fc_pp_tlv( NETNS )", Some(Sample::Tlv(tlv::NETNS))),
            ("fc_pp_tlv(256)", None),
            ("fc_pp_tlv(0x+1)", None),
            ("fc_pp_tlv()", None),
            ("fc_pp_tlv(0xEA", None),
            ("fc_pp_cn", None),
        ] {
            assert_eq!(Sample::parse(text), expected, "{text}");
        }
        for sample in SAMPLES.iter().map(|(_, sample)| *sample).chain([Sample::Tlv(3)]) {
            assert_eq!(Sample::parse(&sample.to_string()), Some(sample));
        }
    }

    #[test]
    fn values() {
        let tls = |flags: u8, verify: u8| {
            let inner = b"\x21\0\x07TLSv1.3\x22\0\x06client";
            let mut bytes = vec![tlv::SSL, 0, 5 + inner.len() as u8, flags, 0, 0, 0, verify];
            bytes.extend_from_slice(inner);
            Tlvs::read(&bytes).unwrap()
        };
        let of = |tlvs: &Tlvs, sample: Sample| sample.of(tlvs).map(|value| String::from_utf8_lossy(value).into_owned());
        let good = tls(7, 0);
        assert_eq!(of(&good, Sample::Tls).as_deref(), Some("1"));
        assert_eq!(of(&good, Sample::TlsVersion).as_deref(), Some("TLSv1.3"));
        assert_eq!(of(&good, Sample::TlsCommonName).as_deref(), Some("client"));
        assert_eq!(of(&good, Sample::TlsCipher), None);
        assert_eq!(of(&tls(7, 1), Sample::TlsCommonName), None, "a name that was not proved is none");
        assert_eq!(of(&tls(0, 0), Sample::Tls).as_deref(), Some("0"));
        assert_eq!(of(&Tlvs::default(), Sample::Tls), None);
    }
}
