//! Header blocks (RFC 7541): every way to write a field, right or wrong, and a reader of what a server wrote.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

/// What a literal asks of the reader's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// To keep the field (section 6.2.1).
    Kept,
    /// Not to keep it (section 6.2.2).
    NotKept,
    /// Not to keep it, nor anybody further on (section 6.2.3).
    Secret,
}

/// The name of a literal.
#[derive(Debug, Clone, Copy)]
pub enum Name<'a> {
    /// That of an entry, static or kept.
    Of(usize),
    /// Spelled out.
    New(&'a str),
}

/// A block of plain literals that changes nobody's table: `[(":method", "GET"), …]`.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(Form::NotKept, Name::New(name), value, false)).collect()
}

/// A whole field by its place (section 6.1).
pub fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A literal field; `huffman` writes its strings in the compact code.
pub fn literal(form: Form, name: Name<'_>, value: &str, huffman: bool) -> Vec<u8> {
    let (pattern, bits) = match form {
        Form::Kept => (0x40, 6),
        Form::NotKept => (0x00, 4),
        Form::Secret => (0x10, 4),
    };
    let mut out = match name {
        Name::Of(index) => integer(pattern, bits, index),
        Name::New(name) => [integer(pattern, bits, 0), string(name, huffman)].concat(),
    };
    out.extend(string(value, huffman));
    out
}

/// A change of the table's size (section 6.3).
pub fn table_size(bytes: usize) -> Vec<u8> {
    integer(0x20, 5, bytes)
}

/// A number behind the upper bits of its first byte (section 5.1).
pub fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
    let full = (1usize << bits) - 1;
    if value < full {
        return vec![pattern | u8::try_from(value).expect("fewer than eight bits")];
    }
    let mut out = vec![pattern | u8::try_from(full).expect("at most eight bits")];
    let mut rest = value - full;
    while rest >= 128 {
        out.push(0x80 | u8::try_from(rest % 128).expect("seven bits"));
        rest /= 128;
    }
    out.push(u8::try_from(rest).expect("seven bits"));
    out
}

fn string(text: &str, huffman: bool) -> Vec<u8> {
    let (flag, bytes) = if huffman { (0x80, compact(text.as_bytes())) } else { (0, text.as_bytes().to_vec()) };
    [integer(flag, 7, bytes.len()), bytes].concat()
}

/// Reads blocks of one direction of a connection, in order.
#[derive(Debug)]
pub struct Reader {
    kept: VecDeque<(String, String)>,
    limit: usize,
}

impl Reader {
    /// With the table every connection starts with.
    pub fn new() -> Reader {
        Reader { kept: VecDeque::new(), limit: 4096 }
    }

    /// The fields of a block, each byte a character.
    ///
    /// # Panics
    /// When the block breaks a rule.
    #[track_caller]
    pub fn read(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let (mut at, mut fields) = (0, Vec::new());
        while let Some(&first) = block.get(at) {
            let take = |at: &mut usize, bits| take_integer(block, at, bits);
            if first & 0x80 != 0 {
                let index = take(&mut at, 7);
                fields.push(self.entry(index));
            } else if first & 0xe0 == 0x20 {
                assert!(fields.is_empty(), "a change of size behind a field");
                self.limit = take(&mut at, 5);
                assert!(self.limit <= 4096, "a table larger than allowed");
                self.evict();
            } else {
                let keeps = first & 0x40 != 0;
                let index = take(&mut at, if keeps { 6 } else { 4 });
                let name = if index == 0 { take_string(block, &mut at) } else { self.entry(index).0 };
                let field = (name, take_string(block, &mut at));
                fields.push(field.clone());
                if keeps {
                    self.kept.push_front(field);
                    self.evict();
                }
            }
        }
        fields
    }

    fn entry(&self, index: usize) -> (String, String) {
        assert!(index > 0, "entry 0");
        match STATIC.get(index - 1) {
            Some((name, value)) => ((*name).to_owned(), (*value).to_owned()),
            None => self.kept.get(index - 1 - STATIC.len()).unwrap_or_else(|| panic!("no entry {index}")).clone(),
        }
    }

    fn evict(&mut self) {
        let size = |kept: &VecDeque<(String, String)>| {
            kept.iter().map(|(n, v)| n.chars().count() + v.chars().count() + 32).sum::<usize>()
        };
        while size(&self.kept) > self.limit {
            self.kept.pop_back();
        }
    }
}

fn take_integer(block: &[u8], at: &mut usize, bits: u32) -> usize {
    let full = (1usize << bits) - 1;
    let mut value = usize::from(block[*at]) & full;
    *at += 1;
    if value < full {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = usize::from(block[*at]);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn take_string(block: &[u8], at: &mut usize) -> String {
    let huffman = block[*at] & 0x80 != 0;
    let length = take_integer(block, at, 7);
    let bytes = &block[*at..*at + length];
    *at += length;
    let bytes = if huffman { plain(bytes) } else { bytes.to_vec() };
    bytes.into_iter().map(char::from).collect()
}

/// Bits of each byte's code, then of the end's (RFC 7541, appendix B). Codes of one length follow each other in the order
/// of the bytes, shorter ones come first: the lengths are the whole code.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Code and length of every byte and of the end.
fn codes() -> &'static [(u32, u8)] {
    static CODES: OnceLock<Vec<(u32, u8)>> = OnceLock::new();
    CODES.get_or_init(|| {
        let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
        order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let (mut codes, mut next, mut length) = (vec![(0, 0); LENGTHS.len()], 0u32, 0u8);
        for symbol in order {
            next <<= LENGTHS[symbol] - length;
            length = LENGTHS[symbol];
            codes[symbol] = (next, length);
            next += 1;
        }
        codes
    })
}

/// The compact code of some bytes (section 5.2), filled up with ones.
pub fn compact(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0u64, 0u8);
    for byte in bytes {
        let (code, length) = codes()[usize::from(*byte)];
        held = held << length | u64::from(code);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    if bits > 0 {
        out.push(((held << (8 - bits)) as u8) | (0xff >> bits));
    }
    out
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    static SYMBOLS: OnceLock<HashMap<(u32, u8), usize>> = OnceLock::new();
    let symbols = SYMBOLS.get_or_init(|| codes().iter().enumerate().map(|(symbol, code)| (*code, symbol)).collect());
    let (mut out, mut code, mut length) = (Vec::new(), 0u32, 0u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)) {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        if let Some(symbol) = symbols.get(&(code, length)) {
            out.push(u8::try_from(*symbol).expect("a byte, not the end"));
            (code, length) = (0, 0);
        }
    }
    assert!(length < 8 && code + 1 == 1 << length, "filled up with ones, fewer than eight");
    out
}

/// The entries everybody knows (RFC 7541, appendix A), from 1.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];
