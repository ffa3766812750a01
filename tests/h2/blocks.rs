//! Header blocks that cannot be read (RFC 7541): each ends the connection, because its two tables differ from then on.

use super::cases::{Case, LIBRARY, Then, block, case, run};
use crate::support::h2_raw::{Frame, H2Client, code, flag, setting};
use crate::support::hpack::{self, Form, Name};

const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

/// What RFC 9113 asks for in section 4.3.
const UNREADABLE: Then = Then::Gone(&[code::COMPRESSION_ERROR, LIBRARY]);

#[test]
fn unreadable_blocks() {
    run(BLOCKS);
}

#[rustfmt::skip]
const BLOCKS: &[Case] = &[
    case("RFC 9113, 4.3", "a block that ends inside a field", |c| { c.say(&[Frame::headers(1, BOTH, [0x40])]); }, UNREADABLE),
    case("2.3.3", "a place behind the table's end", |c| behind(c, &[0xc6]), UNREADABLE),
    case("2.3.3", "a place far behind the table's end", |c| behind(c, &hpack::indexed(1 << 30)), UNREADABLE),
    case("2.3.3", "a name from behind the table's end", |c| behind(c, &[0x7f, 0x07, 0x00]), UNREADABLE),
    case("4.2", "a new size of the table at the end", |c| behind(c, &hpack::table_size(32)), UNREADABLE),
    case("4.2", "a new size of the table between fields", |c| behind(c, &[hpack::table_size(32), hpack::indexed(16)].concat()), UNREADABLE),
    case("5.1", "a number without an end", |c| behind(c, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), UNREADABLE),
    case("5.2", "a string longer than the block", |c| behind(c, &[0x00, 0x01, b'x', 0x7f, 0xff, 0x7f, b'y']), UNREADABLE),
    case("5.2", "compact code filled up with more than seven bits", |c| compact(c, &[0xff]), UNREADABLE),
    case("5.2", "compact code filled up with zeros", |c| { let mut bytes = hpack::compact(b"test"); *bytes.last_mut().unwrap() &= 0xf0; raw(c, &bytes); }, UNREADABLE),
    case("5.2", "compact code with the end in it", |c| compact(c, &[0xff, 0xff, 0xff, 0xff]), UNREADABLE),
    case("6.1", "place 0", |c| behind(c, &[0x80]), UNREADABLE),
    case("6.3", "a table larger than allowed", |c| {
        let limit = c.settings.get(&setting::HEADER_TABLE_SIZE).map_or(4096, |limit| usize::try_from(*limit).unwrap());
        c.say(&[Frame::headers(1, BOTH, [hpack::table_size(limit + 1), block("GET", &[])].concat())]);
    }, UNREADABLE),
    case("6.3", "a table larger than anything", |c| { c.say(&[Frame::headers(1, BOTH, [hpack::table_size(usize::try_from(u32::MAX).unwrap()), block("GET", &[])].concat())]); }, UNREADABLE),
    case("2.3.2", "an entry that has been evicted", |c| {
        let keep = hpack::literal(Form::Kept, Name::New("x-kept"), "once", false);
        c.say(&[Frame::headers(1, BOTH, [block("GET", &[]), keep].concat())]).answer(1);
        c.say(&[Frame::headers(3, BOTH, [hpack::table_size(0), block("GET", &[]), hpack::indexed(62)].concat())]);
    }, UNREADABLE),
];

/// A request with these bytes behind its fields.
fn behind(client: &mut H2Client, bytes: &[u8]) {
    client.say(&[Frame::headers(1, BOTH, [block("GET", &[]), bytes.to_vec()].concat())]);
}

/// A request with a field whose value is `test` in compact code with these bytes behind.
fn compact(client: &mut H2Client, more: &[u8]) {
    raw(client, &[hpack::compact(b"test"), more.to_vec()].concat());
}

/// A request with a field whose value is these bytes, said to be compact code.
fn raw(client: &mut H2Client, value: &[u8]) {
    let name = [vec![0x00], hpack::integer(0, 7, 6), b"x-test".to_vec()].concat();
    behind(client, &[name, hpack::integer(0x80, 7, value.len()), value.to_vec()].concat());
}
