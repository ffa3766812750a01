//! JA4, a fingerprint of how a client says hello (FoxIO, "JA4: TLS Client Fingerprinting").
//!
//! `t13d1516h2_8daaf6152771_e5627efa2ab1`: transport, newest version offered, whether a name was asked for, how many
//! cipher suites and extensions, the first protocol of ALPN; then a hash over the suites in numeric order; then one over
//! the extensions in numeric order, without name and ALPN, and the signature algorithms as the client ordered them.
//! GREASE values (RFC 8701) count nowhere. What changes with every connection of the same client is left out, so a
//! browser keeps its fingerprint until its TLS library changes.

use smallvec::SmallVec;

use super::facts::{FINGERPRINT_BYTES, Fingerprint};
use super::hello::{ClientHello, is_grease};

/// `server_name` (RFC 6066).
const SERVER_NAME: u16 = 0x0000;
/// `application_layer_protocol_negotiation` (RFC 7301).
const ALPN: u16 = 0x0010;
/// Hexadecimal digits kept of a hash.
const HASH_DIGITS: usize = 12;
/// Extensions, suites and algorithms that are looked at; no hello that a handshake takes has as many.
const VALUES_MAX: usize = 1024;

/// What of a hello goes into the fingerprint, GREASE included.
#[derive(Debug, Clone, Default)]
pub struct Offer<'a> {
    /// It came over QUIC.
    pub quic: bool,
    /// The version of its first lines, for clients without `supported_versions`.
    pub legacy_version: u16,
    /// `supported_versions` (RFC 8446, section 4.2.1); empty without.
    pub versions: &'a [u16],
    /// Cipher suites in order.
    pub ciphers: &'a [u16],
    /// Types of extensions in order.
    pub extensions: &'a [u16],
    /// `signature_algorithms` in order; empty without.
    pub signatures: &'a [u16],
    /// The first protocol of ALPN; `None` without.
    pub alpn: Option<&'a [u8]>,
}

/// The fingerprint of a client that came over TCP; `sha256` is the hash function.
pub fn of_hello(hello: &ClientHello, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Fingerprint {
    let versions: SmallVec<[u16; 8]> = hello.supported_versions().collect();
    let ciphers: SmallVec<[u16; 64]> = hello.ciphers().collect();
    let extensions: SmallVec<[u16; 32]> = hello.extensions().map(|(kind, _)| kind).collect();
    let signatures: SmallVec<[u16; 32]> = hello.signature_algorithms().collect();
    let offer = Offer {
        quic: false,
        legacy_version: hello.legacy_version(),
        versions: &versions,
        ciphers: &ciphers,
        extensions: &extensions,
        signatures: &signatures,
        alpn: hello.alpn().next(),
    };
    fingerprint(&offer, sha256)
}

/// The fingerprint of what a hello offers; `sha256` is the hash function.
pub fn fingerprint(hello: &Offer<'_>, sha256: impl Fn(&[u8]) -> [u8; 32]) -> Fingerprint {
    let mut ciphers = without_grease(hello.ciphers);
    let mut extensions = without_grease(hello.extensions);
    let mut out = [b'0'; FINGERPRINT_BYTES];
    out[0] = if hello.quic { b'q' } else { b't' };
    let offered = hello.versions.iter().copied().filter(|version| !is_grease(*version));
    out[1..3].copy_from_slice(version_digits(offered.max().unwrap_or(hello.legacy_version)));
    out[3] = if extensions.contains(&SERVER_NAME) { b'd' } else { b'i' };
    out[4..6].copy_from_slice(&two_digits(ciphers.len()));
    out[6..8].copy_from_slice(&two_digits(extensions.len()));
    out[8..10].copy_from_slice(&ends(hello.alpn.unwrap_or_default()));
    out[10] = b'_';
    let mut text = Vec::with_capacity(256);
    if !ciphers.is_empty() {
        ciphers.sort_unstable();
        push_list(&ciphers, &mut text);
        out[11..23].copy_from_slice(&digits(&sha256(&text)));
    }
    out[23] = b'_';
    extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    if !extensions.is_empty() {
        text.clear();
        extensions.sort_unstable();
        push_list(&extensions, &mut text);
        let signatures = without_grease(hello.signatures);
        if !signatures.is_empty() {
            text.push(b'_');
            push_list(&signatures, &mut text);
        }
        out[24..36].copy_from_slice(&digits(&sha256(&text)));
    }
    Fingerprint(out)
}

fn without_grease(values: &[u16]) -> SmallVec<[u16; 64]> {
    values.iter().copied().filter(|value| !is_grease(*value)).take(VALUES_MAX).collect()
}

fn version_digits(version: u16) -> &'static [u8; 2] {
    match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        _ => b"00",
    }
}

/// A count of two digits; from 99 on it is 99.
fn two_digits(count: usize) -> [u8; 2] {
    let count = count.min(99) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last letter of a protocol; of its hexadecimal digits when they are no letters.
fn ends(protocol: &[u8]) -> [u8; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return *b"00" };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last];
    }
    [hex(first >> 4), hex(last & 15)]
}

/// `1301,1302`
fn push_list(values: &[u16], out: &mut Vec<u8>) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend([12, 8, 4, 0].map(|shift| hex((value >> shift) as u8 & 15)));
    }
}

fn digits(hash: &[u8; 32]) -> [u8; HASH_DIGITS] {
    let mut out = [b'0'; HASH_DIGITS];
    for (pair, byte) in out.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
    }
    out
}

fn hex(nibble: u8) -> u8 {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    HEX[usize::from(nibble & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        hash.as_ref().try_into().unwrap()
    }

    #[track_caller]
    fn check(hello: &Offer<'_>, expected: &str) {
        assert_eq!(fingerprint(hello, sha256).as_str(), expected);
    }

    /// The example of the specification: Chrome, with GREASE where it puts it.
    const CIPHERS: [u16; 16] = [
        0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
        0x002f, 0x0035,
    ];
    const EXTENSIONS: [u16; 18] = [
        0xdada, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
        0x000b, 0x000a, 0x0015, 0xbaba,
    ];
    const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    fn chrome() -> Offer<'static> {
        Offer {
            quic: false,
            legacy_version: 0x0303,
            versions: &[0x6a6a, 0x0304, 0x0303],
            ciphers: &CIPHERS,
            extensions: &EXTENSIONS,
            signatures: &SIGNATURES,
            alpn: Some(b"h2"),
        }
    }

    #[test]
    fn the_specifications_example() {
        check(&chrome(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        check(&Offer { quic: true, alpn: Some(b"h3"), ..chrome() }, "q13d1516h3_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn what_is_left_out_has_no_influence() {
        let mut extensions = EXTENSIONS;
        extensions.reverse();
        let mut ciphers = CIPHERS;
        ciphers.reverse();
        let shuffled = Offer { ciphers: &ciphers, extensions: &extensions, ..chrome() };
        check(&shuffled, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn small_and_odd_hellos() {
        check(&Offer::default(), "t00i000000_000000000000_000000000000");
        let old = Offer { legacy_version: 0x0301, ciphers: &[0x0035], ..Offer::default() };
        assert!(fingerprint(&old, sha256).as_str().starts_with("t10i010000_"));
        // Without signature algorithms there is no underscore in what is hashed.
        let plain = Offer { extensions: &[0x000a], ..Offer::default() };
        let expected: String = sha256(b"000a").iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        check(&plain, &format!("t00i000100_000000000000_{expected}"));
        let many: Vec<u16> = (0x1000..0x1200).collect();
        assert!(fingerprint(&Offer { ciphers: &many, ..Offer::default() }, sha256).as_str().starts_with("t00i990000_"));
    }

    #[test]
    fn protocols_that_are_no_words() {
        for (alpn, expected) in [
            (&b"http/1.1"[..], b"h1"),
            (b"h", b"hh"),
            (b"", b"00"),
            (b"\xab", b"ab"),
            (b"\xab\xcd", b"ad"),
            (b"0\xab", b"3b"),
            (b"01\xab\xcd", b"3d"),
        ] {
            assert_eq!(&ends(alpn), expected, "{alpn:?}");
        }
    }
}
