//! Names of TLS versions, cipher suites and key-exchange groups: IANA's, OpenSSL's, and other spellings people use.
//!
//! Only what exists here has a row: nothing below TLS 1.2, no CBC, no RSA key exchange. What the rows stand for is found
//! by their registered numbers, in `crate::tls`.

/// TLS versions that exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

impl TlsVersion {
    /// As OpenSSL and HAProxy write it: `TLSv1.2`, `TLSv1.3`.
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "TLSv1.2",
            TlsVersion::V1_3 => "TLSv1.3",
        }
    }

    /// Reads `1.2`, `TLSv1.2`.
    pub fn parse(text: &str) -> Option<TlsVersion> {
        match text.strip_prefix("TLSv").unwrap_or(text) {
            "1.2" => Some(TlsVersion::V1_2),
            "1.3" => Some(TlsVersion::V1_3),
            _ => None,
        }
    }
}

/// A cipher suite that can be offered (RFC 8446, B.4; RFC 5289; RFC 7905).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cipher {
    /// Its registered number.
    pub code: u16,
    /// The version it is for; no suite serves two.
    pub version: TlsVersion,
    /// IANA's name.
    pub iana: &'static str,
    /// OpenSSL's name.
    pub openssl: &'static str,
}

const fn cipher(code: u16, version: TlsVersion, iana: &'static str, openssl: &'static str) -> Cipher {
    Cipher { code, version, iana, openssl }
}

/// Every suite, the ones preferred by default first.
pub const CIPHERS: &[Cipher] = {
    use TlsVersion::{V1_2, V1_3};
    &[
        cipher(0x1302, V1_3, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        cipher(0x1301, V1_3, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        cipher(0x1303, V1_3, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        cipher(0xc02c, V1_2, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        cipher(0xc02b, V1_2, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        cipher(0xcca9, V1_2, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        cipher(0xc030, V1_2, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        cipher(0xc02f, V1_2, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        cipher(0xcca8, V1_2, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ]
};

impl Cipher {
    /// The suite of either name, in any case.
    pub fn parse(name: &str) -> Option<Cipher> {
        let is_it = |c: &&Cipher| c.iana.eq_ignore_ascii_case(name) || c.openssl.eq_ignore_ascii_case(name);
        CIPHERS.iter().find(is_it).copied()
    }

    /// The suite with this number.
    pub fn of_code(code: u16) -> Option<Cipher> {
        CIPHERS.iter().find(|c| c.code == code).copied()
    }
}

/// A key-exchange group that can be offered (RFC 8446, 4.2.7; draft-ietf-tls-ecdhe-mlkem).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its registered number.
    pub code: u16,
    /// IANA's name.
    pub iana: &'static str,
    /// OpenSSL's name.
    pub openssl: &'static str,
    /// What else it is called: NIST's and SEC's names, and OpenSSL's older ones.
    aliases: &'static [&'static str],
}

const fn group(code: u16, iana: &'static str, openssl: &'static str, aliases: &'static [&'static str]) -> Group {
    Group { code, iana, openssl, aliases }
}

/// Every group, the ones preferred by default first. The hybrids hold against a quantum computer as long as either part
/// holds.
pub const GROUPS: &[Group] = &[
    group(0x11ec, "X25519MLKEM768", "X25519MLKEM768", &[]),
    group(0x11eb, "SecP256r1MLKEM768", "SecP256r1MLKEM768", &[]),
    group(0x001d, "x25519", "X25519", &["curve25519"]),
    group(0x0017, "secp256r1", "prime256v1", &["P-256"]),
    group(0x0018, "secp384r1", "secp384r1", &["P-384"]),
    group(0x0201, "MLKEM768", "MLKEM768", &[]),
    group(0x0202, "MLKEM1024", "MLKEM1024", &[]),
];

/// [`GROUPS`] that are offered when nothing is said, in that order.
pub const DEFAULT_GROUPS: &[u16] = &[0x11ec, 0x001d, 0x0017, 0x0018];

impl Group {
    /// The group of any of its names, in any case.
    pub fn parse(name: &str) -> Option<Group> {
        let is_it = |g: &&Group| {
            let mut names = [g.iana, g.openssl].into_iter().chain(g.aliases.iter().copied());
            names.any(|n| n.eq_ignore_ascii_case(name))
        };
        GROUPS.iter().find(is_it).copied()
    }

    /// The group with this number.
    pub fn of_code(code: u16) -> Option<Group> {
        GROUPS.iter().find(|g| g.code == code).copied()
    }
}

/// The single names in a list as OpenSSL writes it, `A:B:C`. A leading `?` (OpenSSL 3.3: skip what is not known) is
/// dropped.
pub fn split_list(list: &str) -> impl Iterator<Item = &str> {
    list.split([':', ',', ' ']).map(|name| name.strip_prefix('?').unwrap_or(name)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_go_by_both_names() {
        for (name, code) in [
            ("ECDHE-RSA-AES128-GCM-SHA256", 0xc02f),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
            ("ecdhe-ecdsa-chacha20-poly1305", 0xcca9),
            ("TLS_AES_128_GCM_SHA256", 0x1301),
        ] {
            let cipher = Cipher::parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(cipher.code, code, "{name}");
            assert_eq!(Cipher::of_code(code), Some(cipher));
        }
        for weak in ["ECDHE-RSA-AES128-SHA", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "HIGH", "ALL", ""] {
            assert_eq!(Cipher::parse(weak), None, "{weak}");
        }
    }

    #[test]
    fn groups_go_by_all_their_names() {
        for (name, code) in [
            ("X25519MLKEM768", 0x11ec),
            ("x25519", 0x1d),
            ("P-256", 0x17),
            ("prime256v1", 0x17),
            ("secp256r1", 0x17),
            ("P-384", 0x18),
            ("SecP256r1MLKEM768", 0x11eb),
            ("mlkem1024", 0x202),
        ] {
            assert_eq!(Group::parse(name).map(|g| g.code), Some(code), "{name}");
        }
        for absent in ["ffdhe2048", "secp521r1", "P-521", ""] {
            assert_eq!(Group::parse(absent), None, "{absent}");
        }
        assert!(DEFAULT_GROUPS.iter().all(|code| Group::of_code(*code).is_some()));
    }

    #[test]
    fn a_list_may_be_pasted() {
        let names: Vec<_> = split_list("?X25519MLKEM768:x25519, P-256").collect();
        assert_eq!(names, ["X25519MLKEM768", "x25519", "P-256"]);
        assert_eq!(split_list("").count(), 0);
    }

    #[test]
    fn versions_are_written_with_and_without_their_word() {
        assert_eq!(TlsVersion::parse("TLSv1.2"), Some(TlsVersion::V1_2));
        assert_eq!(TlsVersion::parse("1.3"), Some(TlsVersion::V1_3));
        assert_eq!((TlsVersion::parse("1.1"), TlsVersion::parse("SSLv3")), (None, None));
        assert_eq!(TlsVersion::V1_3.name(), "TLSv1.3");
    }
}
