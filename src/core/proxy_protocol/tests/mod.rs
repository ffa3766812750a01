//! Headers read, refused and written; `ppp` is the second opinion.

mod invariants;

use std::net::SocketAddr;

use invariants::proxy_header;
use proptest::prelude::*;

use super::*;

fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// 192.0.2.7:4711 to 198.51.100.9:8443.
const TCP4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 9, 0x12, 0x67, 0x20, 0xfb];

fn whole(bytes: &[u8]) -> (Header, usize) {
    match proxy_header(bytes) {
        Ok(Parsed::Whole { header, len }) => (header, len),
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn lines_that_are_headers() {
    let tcp = |source: &str, destination: &str| Endpoints::Tcp {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443", tcp("192.0.2.7:4711", "198.51.100.9:8443")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", tcp("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 8443", tcp("[2001:db8::1]:4711", "[2001:db8::2]:8443")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2", tcp("[::ffff:192.0.2.7]:1", "[::1]:2")),
        ("PROXY UNKNOWN", Endpoints::Untold),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", Endpoints::Untold),
        ("PROXY UNKNOWN \r and anything \0 else", Endpoints::Untold),
    ] {
        let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
        assert_eq!(whole(bytes.as_bytes()), (Header::of(expected), line.len() + 2), "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "a".repeat(v1::LINE_MAX_BYTES - 16));
    assert_eq!(whole(longest.as_bytes()).1, v1::LINE_MAX_BYTES);
}

#[test]
fn lines_that_are_none() {
    use Malformed::{LineEnd, NotAHeader, UnknownProtocol, Words};
    let too_long = format!("PROXY UNKNOWN {}\r\n", "a".repeat(v1::LINE_MAX_BYTES - 15));
    let endless = "PROXY TCP4 ".to_owned() + &"1".repeat(v1::LINE_MAX_BYTES);
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\n", NotAHeader),
        ("PROXx", NotAHeader),
        ("proxy TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n", NotAHeader),
        (" PROXY", NotAHeader),
        ("PROXY\r\n", NotAHeader),
        ("PROXY \r\n", UnknownProtocol),
        ("PROXY TCP5 192.0.2.7 198.51.100.9 4711 8443\r\n", UnknownProtocol),
        ("PROXY UDP4 192.0.2.7 198.51.100.9 4711 8443\r\n", UnknownProtocol),
        ("PROXY UNKNOWNS\r\n", UnknownProtocol),
        ("PROXY  TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n", UnknownProtocol),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\n", LineEnd),
        ("PROXY TCP4\n", LineEnd),
        (&too_long, LineEnd),
        (&endless, LineEnd),
        ("PROXY TCP4\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443 1\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443 \r\n", Words),
        ("PROXY TCP4 192.0.2.7  198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7\t198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2 198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.256 198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.07 198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 0xc0.0.2.7 198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 4711 8443\r\n", Words),
        ("PROXY TCP6 192.0.2.7 198.51.100.9 4711 8443\r\n", Words),
        ("PROXY TCP6 fe80::1%eth0 ::1 4711 8443\r\n", Words),
        ("PROXY TCP6 [::1] [::1] 4711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 65536 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 04711 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 +471 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 -1 8443\r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 \r\n", Words),
        ("PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\r\r\n", Words),
    ] {
        assert_eq!(proxy_header(bytes.as_bytes()), Err(expected), "{bytes:?}");
    }
}

#[test]
fn binary_headers() {
    let (header, len) = whole(&[v2_header(0x21, 0x11, &TCP4), b"GET".to_vec()].concat());
    assert_eq!(len, 28);
    let addresses = ("192.0.2.7:4711".parse().unwrap(), "198.51.100.9:8443".parse().unwrap());
    assert_eq!(header.addresses(), Some(addresses));
    assert_eq!(header.tlvs, Tlvs::default());

    let mapped = ["::ffff:192.0.2.7", "2001:db8::2"].map(|ip| ip.parse::<std::net::Ipv6Addr>().unwrap().octets());
    let tcp6 = [&mapped[0][..], &mapped[1], &[0, 1, 0, 2]].concat();
    let expected = ("192.0.2.7:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
    assert_eq!(whole(&v2_header(0x21, 0x21, &tcp6)).0.addresses(), Some(expected), "a mapped address is IPv4");

    let mut paths = vec![0; 216];
    paths[..6].copy_from_slice(b"/a/b.s");
    paths[108..112].copy_from_slice(b"\0abs");
    let (unix, _) = whole(&v2_header(0x21, 0x31, &paths));
    assert_eq!(unix.endpoints, Endpoints::Unix { source: (*b"/a/b.s").into(), destination: (*b"\0abs").into() });
    assert_eq!(unix.addresses(), None);

    assert_eq!(whole(&v2_header(0x21, 0, b"")).0, Header::of(Endpoints::Untold));
    for (family, body) in [(0, &b""[..]), (0x11, &TCP4), (0x7f, b"whatever, it is passed over")] {
        let (local, len) = whole(&v2_header(0x20, family, body));
        assert_eq!(local, Header { local: true, ..Header::of(Endpoints::Untold) });
        assert_eq!((len, local.addresses()), (16 + body.len(), None));
    }
}

#[test]
fn binary_bytes_that_are_no_header() {
    use Malformed::{Checksum, Command, Family, NotAHeader, Tlv, TooLong, TooShort};
    let with = |tlvs: &[u8]| v2_header(0x21, 0x11, &[&TCP4[..], tlvs].concat());
    let mut other_signature = v2_header(0x21, 0x11, &TCP4);
    other_signature[4] = 1;
    let mut overlong = v2_header(0x21, 0x11, &TCP4);
    overlong[14] = 0x40;
    for (bytes, expected) in [
        (other_signature, NotAHeader),
        (v2_header(0x11, 0x11, &TCP4), NotAHeader),
        (v2_header(0x31, 0x11, &TCP4), NotAHeader),
        (v2_header(0x22, 0x11, &TCP4), Command),
        (v2_header(0x2f, 0x11, &TCP4), Command),
        (v2_header(0x21, 0x10, &TCP4), Family),
        (v2_header(0x21, 0x12, &TCP4), Family),
        (v2_header(0x21, 0x13, &TCP4), Family),
        (v2_header(0x21, 0x01, &TCP4), Family),
        (v2_header(0x21, 0x41, &TCP4), Family),
        (v2_header(0x21, 0x11, &TCP4[..11]), TooShort),
        (v2_header(0x21, 0x21, &TCP4), TooShort),
        (v2_header(0x21, 0x31, &[0; 215]), TooShort),
        (overlong, TooLong),
        (with(&[2]), Tlv),
        (with(&[2, 0]), Tlv),
        (with(&[2, 0, 4, b'a', b'b', b'c']), Tlv),
        (with(&[&tlv(4, b"")[..], &[0xea, 0xff, 0xff]].concat()), Tlv),
        (with(&tlv(tlv::AUTHORITY, &[b'a'; 256])), Tlv),
        (with(&tlv(tlv::UNIQUE_ID, &[b'a'; 129])), Tlv),
        (with(&[tlv(tlv::AUTHORITY, b"a.example"), tlv(tlv::AUTHORITY, b"b.example")].concat()), Tlv),
        (with(&tlv(tlv::SSL, &[1, 0, 0, 0])), Tlv),
        (with(&tlv(tlv::SSL, &[1, 0, 0, 0, 0, 0x22, 0, 9, b'a'])), Tlv),
        (with(&tlv(tlv::CRC32C, b"abc")), Tlv),
        (with(&tlv(tlv::CRC32C, b"abcd")), Checksum),
    ] {
        assert_eq!(proxy_header(&bytes), Err(expected), "{bytes:?}");
    }
}

#[test]
fn what_is_wrong_is_said_before_the_rest_has_come() {
    for (bytes, expected) in [
        (&b"PROXZ"[..], Malformed::NotAHeader),
        (b"\r\n\r\nG", Malformed::NotAHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x11", Malformed::NotAHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x2a", Malformed::Command),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", Malformed::TooLong),
    ] {
        assert_eq!(proxy_header(bytes), Err(expected), "{bytes:?}");
    }
    for (bytes, at_least) in [
        (&b""[..], 1),
        (b"P", 2),
        (b"PROXY TCP4 1", 13),
        (b"\r\n\r\n", 16),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x00", 272),
    ] {
        assert_eq!(proxy_header(bytes), Ok(Parsed::Partial { at_least }), "{bytes:?}");
    }
}

#[test]
fn what_is_said_besides_addresses() {
    let tls = [&[7, 0, 0, 0, 0][..], &tlv(tlv::SSL_VERSION, b"TLSv1.3"), &tlv(tlv::SSL_CN, b"client"), &tlv(0x7f, b"")];
    let tlvs = [
        tlv(tlv::NOOP, b"room"),
        tlv(tlv::NOOP, b"more room"),
        tlv(tlv::ALPN, b"h2"),
        tlv(tlv::AUTHORITY, b"a.example"),
        tlv(tlv::UNIQUE_ID, b"id-1"),
        tlv(tlv::NETNS, b"blue"),
        tlv(0xea, b"\x01vpce-1"),
        tlv(tlv::SSL, &tls.concat()),
    ];
    let (header, _) = whole(&v2_header(0x21, 0x11, &[&TCP4[..], &tlvs.concat()].concat()));
    let said = &header.tlvs;
    assert_eq!((said.authority(), said.unique_id()), (Some(&b"a.example"[..]), Some(&b"id-1"[..])));
    assert_eq!((said.get(tlv::ALPN), said.get(tlv::NETNS)), (Some(&b"h2"[..]), Some(&b"blue"[..])));
    assert_eq!((said.get(0xea), said.get(0xee)), (Some(&b"\x01vpce-1"[..]), None));
    let tls = said.tls().unwrap();
    assert!(tls.is_used() && tls.has_certificate() && tls.is_verified());
    assert_eq!((tls.get(tlv::SSL_VERSION), tls.get(tlv::SSL_CN)), (Some(&b"TLSv1.3"[..]), Some(&b"client"[..])));
    assert_eq!(tls.get(tlv::SSL_CIPHER), None);

    let of = |flags: u8, verify: u8| {
        let (header, _) =
            whole(&v2_header(0x21, 0x11, &[&TCP4[..], &tlv(tlv::SSL, &[flags, 0, 0, 0, verify])].concat()));
        header.tlvs.tls().map(|tls| (tls.is_used(), tls.has_certificate(), tls.is_verified())).unwrap()
    };
    assert_eq!(of(0, 0), (false, false, false));
    assert_eq!(of(1, 0), (true, false, false));
    assert_eq!(of(3, 0), (true, true, true));
    assert_eq!(of(5, 20), (true, true, false));
}

#[test]
fn headers_for_servers() {
    let v4: (SocketAddr, SocketAddr) = ("192.0.2.7:4711".parse().unwrap(), "198.51.100.9:8443".parse().unwrap());
    let v6: (SocketAddr, SocketAddr) = ("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
    let line = |addresses| {
        let mut out = Vec::new();
        Outgoing { addresses, ..Outgoing::default() }.write(SendSpec::plain(Version::V1), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(Some(v4)), "PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n");
    assert_eq!(line(Some(v6)), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
    assert_eq!(line(Some((v4.0, v6.1))), "PROXY UNKNOWN\r\n");
    assert_eq!(line(None), "PROXY UNKNOWN\r\n");
    let local = |version| {
        let mut out = Vec::new();
        write_local(version, &mut out);
        out
    };
    assert_eq!(local(Version::V1), b"PROXY UNKNOWN\r\n");
    assert_eq!(local(Version::V2), v2_header(0x20, 0, b""));

    let binary = |outgoing: Outgoing<'_>, tlvs| {
        // Headers are appended to what is there.
        let mut out = b"before".to_vec();
        outgoing.write(SendSpec { version: Version::V2, tlvs }, &mut out);
        out.split_off(6)
    };
    let nothing = TlvChoice::default();
    let tls_of_client = OutgoingTls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        resumed: true,
        certificate: Some(OutgoingCertificate { verify: 0, common_name: Some("client") }),
    };
    let full = Outgoing {
        addresses: Some(v4),
        alpn: Some(b"h2"),
        authority: Some(b"a.example"),
        unique_id: Some(b"id-1"),
        tls: Some(tls_of_client),
    };
    assert_eq!(binary(Outgoing { addresses: Some(v4), ..Outgoing::default() }, nothing), v2_header(0x21, 0x11, &TCP4));
    assert_eq!(binary(Outgoing::default(), nothing), v2_header(0x20, 0, b""));
    let with_alpn = v2_header(0x21, 0x11, &[&TCP4[..], &tlv(tlv::ALPN, b"h2")].concat());
    assert_eq!(binary(full, nothing), with_alpn, "what was not asked for is not said");
    let mixed = Outgoing { addresses: Some((v4.0, v6.1)), ..Outgoing::default() };
    assert_eq!(whole(&binary(mixed, nothing)).0.addresses(), Some((v4.0, v6.1)));

    let everything =
        TlvChoice { ssl: true, cert_cn: true, ssl_cipher: true, authority: true, unique_id: true, crc32c: true };
    let (header, _) = whole(&binary(full, everything));
    assert_eq!(header.addresses(), Some(v4));
    let said = &header.tlvs;
    assert_eq!((said.authority(), said.unique_id()), (Some(&b"a.example"[..]), Some(&b"id-1"[..])));
    assert!(said.get(tlv::CRC32C).is_some(), "and it was found right");
    let tls = said.tls().unwrap();
    assert!(tls.is_used() && tls.is_verified());
    assert_eq!(tls.get(tlv::SSL_CN), Some(&b"client"[..]));
    assert_eq!(tls.get(tlv::SSL_CIPHER), Some(&b"TLS_AES_128_GCM_SHA256"[..]));

    let certificate = Some(OutgoingCertificate { verify: 20, common_name: None });
    let unproved = Outgoing { tls: Some(OutgoingTls { certificate, resumed: false, ..tls_of_client }), ..full };
    let (header, _) = whole(&binary(unproved, everything));
    let tls = header.tlvs.tls().unwrap();
    assert_eq!((tls.has_certificate(), tls.is_verified(), tls.get(tlv::SSL_CN)), (true, false, None));
    assert_eq!(header.tlvs.get(tlv::SSL).unwrap()[..5], [7, 0, 0, 0, 20]);
    let clear = Outgoing { tls: None, ..full };
    assert!(!whole(&binary(clear, everything)).0.tlvs.tls().unwrap().is_used(), "a client without TLS is told as one");
    let long = [b'a'; 300];
    let too_long = Outgoing { authority: Some(&long), unique_id: Some(&long), ..full };
    let (header, _) = whole(&binary(too_long, everything));
    assert_eq!((header.tlvs.authority(), header.tlvs.unique_id()), (None, None), "what is too long is left out");
}

/// Headers of both versions, most of them good.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (TCP4|TCP6|UNKNOWN|UDP) (192\\.0\\.2\\.7|::1|0|1\\.2\\.3) (198\\.51\\.100\\.9|::) (0|4711|65535|65536|01) (80|\\+1|)\r?\n";
    let tlvs = proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..12)), 0..4);
    let binary = (any::<bool>(), prop_oneof![Just(0x11u8), Just(0x21), Just(0x31), Just(0), any::<u8>()], tlvs, 0..3u8)
        .prop_map(|(local, family, tlvs, cut)| {
            let addresses = match family >> 4 {
                1 => 12,
                2 => 36,
                3 => 216,
                _ => 0,
            };
            let mut body: Vec<u8> = (0..addresses).map(|n| n as u8).collect();
            for (kind, value) in tlvs {
                body.extend(tlv(kind, &value));
            }
            body.truncate(body.len().saturating_sub(usize::from(cut)));
            v2_header(if local { 0x20 } else { 0x21 }, family, &body)
        });
    let flip = (any::<prop::sample::Index>(), any::<u8>());
    (prop_oneof![line.prop_map(String::into_bytes), binary], proptest::option::weighted(0.3, flip)).prop_map(
        |(mut bytes, flip)| {
            if let Some((at, byte)) = flip {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

/// What another parser says of the addresses, if it takes the header at all.
fn second_opinion(bytes: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    match ppp::HeaderResult::parse(bytes) {
        ppp::HeaderResult::V1(read) => Some(match read.ok()?.addresses {
            ppp::v1::Addresses::Unknown => None,
            ppp::v1::Addresses::Tcp4(a) => {
                Some(((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into()))
            }
            ppp::v1::Addresses::Tcp6(a) => {
                Some(((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into()))
            }
        }),
        ppp::HeaderResult::V2(read) => {
            let read = read.ok()?;
            if read.command == ppp::v2::Command::Local {
                return Some(None);
            }
            Some(match read.addresses {
                ppp::v2::Addresses::IPv4(a) => {
                    Some(((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into()))
                }
                ppp::v2::Addresses::IPv6(a) => {
                    Some(((a.source_address, a.source_port).into(), (a.destination_address, a.destination_port).into()))
                }
                _ => None,
            })
        }
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_read_as_others_read_it(bytes in bytes()) {
        if let Ok(Parsed::Whole { header, .. }) = proxy_header(&bytes) {
            let ours = match header.endpoints {
                Endpoints::Tcp { source, destination } => Some((source, destination)),
                _ => None,
            };
            // `UNKNOWN` with anything behind it, and TLVs of LOCAL headers, are not every parser's.
            if let Some(theirs) = second_opinion(&bytes) {
                prop_assert_eq!(ours, theirs);
            } else {
                prop_assert!(ours.is_none(), "only we take {:?}", bytes);
            }
        }
    }

    #[test]
    fn anything_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..64), behind_signature: bool) {
        let _ = proxy_header(&bytes);
        if behind_signature {
            let _ = proxy_header(&[&v2::SIGNATURE[..], &[0x21], &bytes].concat());
            let _ = proxy_header(&[v1::PREFIX, &bytes].concat());
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        source: (std::net::IpAddr, u16),
        destination: (std::net::IpAddr, u16),
        authority in proptest::option::of("[a-z.]{1,300}"),
        id in proptest::option::of("[a-z]{1,200}"),
        crc32c: bool,
        version_2: bool,
    ) {
        let (source, destination) = (SocketAddr::from(source), SocketAddr::from(destination));
        let outgoing = Outgoing {
            addresses: Some((source, destination)),
            authority: authority.as_deref().map(str::as_bytes),
            unique_id: id.as_deref().map(str::as_bytes),
            ..Outgoing::default()
        };
        let tlvs = TlvChoice { authority: true, unique_id: true, crc32c, ..TlvChoice::default() };
        let version = if version_2 { Version::V2 } else { Version::V1 };
        let mut out = Vec::new();
        outgoing.write(SendSpec { version, tlvs }, &mut out);
        let end = out.len();
        out.extend(b"GET / HTTP/1.1\r\n");
        let (header, len) = whole(&out);
        prop_assert_eq!(len, end);
        if source.is_ipv4() == destination.is_ipv4() || version_2 {
            prop_assert_eq!(header.addresses(), Some((canonical(source), canonical(destination))));
        }
        if version_2 {
            let fits = |text: &Option<String>, max| text.clone().filter(|t| t.len() <= max).map(String::into_bytes);
            prop_assert_eq!(header.tlvs.authority().map(<[u8]>::to_vec), fits(&authority, 255));
            prop_assert_eq!(header.tlvs.unique_id().map(<[u8]>::to_vec), fits(&id, 128));
        }
    }

    #[test]
    fn a_checksum_finds_every_changed_byte(at: prop::sample::Index, change in 1u8..) {
        let addresses = Some(("192.0.2.7:4711".parse().unwrap(), "198.51.100.9:8443".parse().unwrap()));
        let mut out = Vec::new();
        let tlvs = TlvChoice { crc32c: true, authority: true, ..TlvChoice::default() };
        let outgoing = Outgoing { addresses, authority: Some(b"a.example"), ..Outgoing::default() };
        outgoing.write(SendSpec { version: Version::V2, tlvs }, &mut out);
        // Behind signature, version, family and length, and but for the type and length of the checksum itself.
        let places: Vec<usize> = (16..28).chain(31..out.len()).collect();
        out[places[at.index(places.len())]] ^= change;
        prop_assert!(proxy_header(&out).is_err(), "{:?}", out);
    }
}
