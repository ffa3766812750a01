#![allow(clippy::indexing_slicing)]

use super::*;

/// What a hello is made of, to be taken apart again.
#[derive(Clone)]
struct Made {
    session_id: Vec<u8>,
    ciphers: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
    behind: Vec<u8>,
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn pairs(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn name(host: &str) -> Vec<u8> {
    long(&[&[0][..], &long(host.as_bytes())].concat())
}

fn browser() -> Made {
    Made {
        session_id: vec![7; 32],
        ciphers: vec![0x2a2a, 0x1301, 0x1302, 0xc02b],
        extensions: vec![
            (0x3a3a, vec![]),
            (extension::SERVER_NAME, name("www.Example.test")),
            (extension::SUPPORTED_GROUPS, long(&pairs(&[0x11ec, 29, 23]))),
            (extension::SIGNATURE_ALGORITHMS, long(&pairs(&[0x0403, 0x0804]))),
            (extension::ALPN, long(&[short(b"h2"), short(b"http/1.1")].concat())),
            (extension::SUPPORTED_VERSIONS, short(&pairs(&[0x4a4a, 0x0304, 0x0303]))),
            (21, vec![0; 30]),
        ],
        behind: vec![],
    }
}

impl Made {
    fn body(&self) -> Vec<u8> {
        let listed: Vec<u8> =
            self.extensions.iter().flat_map(|(n, b)| [&n.to_be_bytes()[..], &long(b)].concat()).collect();
        let extensions = if self.extensions.is_empty() { vec![] } else { long(&listed) };
        [
            &[3, 3][..],
            &[9; 32],
            &short(&self.session_id),
            &long(&pairs(&self.ciphers)),
            &short(&[0]),
            &extensions,
            &self.behind,
        ]
        .concat()
    }

    fn message(&self) -> Vec<u8> {
        let body = self.body();
        [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
    }
}

/// The message in records of at most so many bytes.
fn records(message: &[u8], each: usize) -> Vec<u8> {
    message.chunks(each).flat_map(|piece| [&[22, 3, 1][..], &long(piece)].concat()).collect()
}

fn read(wire: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    HelloReader::default().read(wire)
}

#[test]
fn everything_a_browser_says_is_found() {
    let hello = read(&records(&browser().message(), 1 << 14)).unwrap().unwrap();
    assert_eq!(hello.legacy_version(), 0x0303);
    assert_eq!(hello.session_id(), [7; 32]);
    assert_eq!(hello.ciphers().collect::<Vec<_>>(), [0x2a2a, 0x1301, 0x1302, 0xc02b]);
    assert_eq!(hello.extensions().map(|(n, _)| n).collect::<Vec<_>>(), [0x3a3a, 0, 10, 13, 16, 43, 21]);
    assert_eq!(hello.server_name(), Some("www.Example.test"));
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.supported_versions().collect::<Vec<_>>(), [0x4a4a, 0x0304, 0x0303]);
    assert_eq!(hello.signature_algorithms().collect::<Vec<_>>(), [0x0403, 0x0804]);
    assert_eq!(hello.supported_groups().collect::<Vec<_>>(), [0x11ec, 29, 23]);
    assert_eq!(hello.extension(21).map(<[u8]>::len), Some(30));
    assert!(is_grease(0x2a2a) && is_grease(0xfafa) && !is_grease(0x1301) && !is_grease(0x2a3a));
}

#[test]
fn it_is_the_same_in_whatever_pieces_it_comes() {
    let message = browser().message();
    let whole = read(&records(&message, 1 << 14)).unwrap();
    for each in [1, 2, 3, 7, 100] {
        let wire = records(&message, each);
        assert_eq!(read(&wire).unwrap(), whole, "records of {each}");
        let mut reader = HelloReader::default();
        for end in 0..wire.len() {
            assert_eq!(reader.read(&wire[..end]), Ok(None), "records of {each}, {end} bytes");
        }
        assert_eq!(reader.read(&wire).unwrap(), whole, "byte by byte, records of {each}");
    }
}

#[test]
fn what_comes_behind_it_is_left_alone() {
    let mut wire = records(&browser().message(), 1 << 14);
    wire.extend_from_slice(b"\x17\x03\x03\x00\x05early");
    assert_eq!(read(&wire).unwrap().unwrap().server_name(), Some("www.Example.test"));
}

#[test]
fn without_extensions_there_is_no_name() {
    let old = Made { extensions: vec![], ..browser() };
    let hello = read(&records(&old.message(), 1 << 14)).unwrap().unwrap();
    assert_eq!(hello.server_name(), None);
    assert_eq!(hello.supported_versions().collect::<Vec<_>>(), [0x0303]);
    assert_eq!(hello.alpn().count() + hello.supported_groups().count(), 0);
}

#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x80\x2e\x01", b"\x16\x02\x00", b"\x16\x03\x09\x00\x10", b"*1\r\n", b"\0"]
    {
        assert_eq!(read(bytes), Err(HelloError::NotTls), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x16", b"\x16\x03", b"\x16\x03\x01\x00"] {
        assert_eq!(read(bytes), Ok(None), "{bytes:?}");
    }
}

#[test]
fn what_is_broken_is_refused() {
    let with = |number: u16, bytes: Vec<u8>| {
        let mut made = browser();
        made.extensions.retain(|(n, _)| *n != number);
        made.extensions.push((number, bytes));
        records(&made.message(), 1 << 14)
    };
    let mut twice = browser();
    twice.extensions.push((21, vec![]));
    let mut many = browser();
    many.extensions = (1000..1000 + EXTENSIONS_MAX as u16 + 1).map(|n| (n, vec![])).collect();
    let message = |made: &Made| records(&made.message(), 1 << 14);
    let names = [name("a"), name("b")].map(|list| list[2..].to_vec()).concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another message", records(&[2, 0, 0, 1, 0], 100)),
        ("an empty record", b"\x16\x03\x01\x00\x00".to_vec()),
        ("a long record", b"\x16\x03\x01\x40\x01".to_vec()),
        ("an alert within", [&records(&browser().message()[..9], 9)[..], b"\x15\x03\x03\x00\x02"].concat()),
        ("bytes behind", message(&Made { behind: vec![0], ..browser() })),
        ("no ciphers", message(&Made { ciphers: vec![], ..browser() })),
        ("session id", message(&Made { session_id: vec![0; 33], ..browser() })),
        ("twice", message(&twice)),
        ("many", message(&many)),
        ("empty name", with(0, name(""))),
        ("name with a space", with(0, name("a b"))),
        ("name with a NUL", with(0, name("a\0b"))),
        ("name that is cut", with(0, long(&[0, 0, 9, b'a']))),
        ("no names", with(0, long(&[]))),
        ("two names", with(0, long(&names))),
        ("odd groups", with(10, long(&[0, 1, 2]))),
        ("no algorithms", with(13, long(&[]))),
        ("no protocols", with(16, long(&[]))),
        ("an empty protocol", with(16, long(&short(b"")))),
        ("odd versions", with(43, short(&[3]))),
        ("cut", records(&[&[1, 0, 0, 34][..], &[3; 34]].concat(), 100)),
    ];
    for (what, wire) in cases {
        assert!(matches!(read(&wire), Err(HelloError::Malformed(_))), "{what}: {:?}", read(&wire));
    }
}

#[test]
fn no_client_makes_us_keep_more_than_the_limit() {
    assert_eq!(read(&records(&[1, 0, 0x40, 1], 100)), Err(HelloError::TooLong));
    // Within the limit as a message, but in records of one byte.
    let mut big = browser();
    big.extensions.push((4000, vec![0; 12_000]));
    let wire = records(&big.message(), 1);
    let mut reader = HelloReader::default();
    let refused = (0..wire.len()).step_by(997).find_map(|end| reader.read(&wire[..end]).err().map(|e| (e, end)));
    let (error, end) = refused.expect("refused before the end");
    assert!(error == HelloError::TooLong && end < WIRE_MAX_BYTES + 1000, "{error:?} at {end}");
    assert!(read(&records(&big.message(), 1 << 14)).unwrap().is_some());
}
