//! Byte classes of HTTP, and the small scans built on them.
//!
//! Nothing here knows of messages; the parsers in `super::h1`, `super::uri` and `super::cookie` do.

/// May stand in a token: field names, methods, list members (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// May stand in a field value: HTAB, SP, visible ASCII and obs-text (RFC 9110 section 5.5).
const VALUE: u8 = 2;
/// May stand in a request target as we pass it: visible ASCII but `#` and `\`.
const TARGET: u8 = 4;
/// Unreserved in a URI (RFC 3986 section 2.3).
const UNRESERVED: u8 = 8;

const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        if b == b'\t' || (b >= 0x20 && b != 0x7f) {
            class |= VALUE;
        }
        if b > 0x20 && b < 0x7f && b != b'#' && b != b'\\' {
            class |= TARGET;
        }
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            class |= UNRESERVED;
        }
        table[i] = class;
        i += 1;
    }
    table
};

/// Whether the byte may stand in a token.
#[inline]
pub fn is_token_byte(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

/// Whether the byte may stand in a field value.
#[inline]
pub fn is_value_byte(b: u8) -> bool {
    CLASS[b as usize] & VALUE != 0
}

/// Whether the byte may stand in a request target.
#[inline]
pub fn is_target_byte(b: u8) -> bool {
    CLASS[b as usize] & TARGET != 0
}

/// Whether the byte is unreserved in a URI.
#[inline]
pub fn is_unreserved(b: u8) -> bool {
    CLASS[b as usize] & UNRESERVED != 0
}

/// Whether this is a token: at least one byte, all of the class.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token_byte(b))
}

/// Whether this may be a field value.
pub fn is_field_value(text: &[u8]) -> bool {
    skip_value(text, 0) == text.len()
}

/// Whether two field names, or options of `Connection`, are the same but for case. Eight bytes at a time: every field of
/// every message is compared with some name.
#[inline]
pub fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(first), Some(last)) = (one.first_chunk::<8>(), one.last_chunk::<8>()) else {
        return one.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b));
    };
    let (Some(other_first), Some(other_last)) = (other.first_chunk::<8>(), other.last_chunk::<8>()) else {
        return false;
    };
    // Both ends, which for names of up to 16 bytes is all of them.
    lower(*first) == lower(*other_first)
        && lower(*last) == lower(*other_last)
        && (one.len() <= 16 || one[8..].eq_ignore_ascii_case(&other[8..]))
}

/// Eight bytes, their letters in lower case.
#[inline]
fn lower(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    let word = u64::from_ne_bytes(bytes);
    let ascii = word & (ONES * 0x7f);
    // The high bit of each byte: set in the first from `A` on, in the second above `Z`.
    let from_a = ascii.wrapping_add(ONES * (0x80 - b'A' as u64));
    let above_z = ascii.wrapping_add(ONES * (0x7f - b'Z' as u64));
    let upper = (from_a ^ above_z) & !word & (ONES * 0x80);
    word | (upper >> 2)
}

/// Offset of the first byte from `at` on that is no token byte; the length when all are.
#[inline]
pub fn skip_token(buf: &[u8], at: usize) -> usize {
    buf.iter().skip(at).position(|&b| !is_token_byte(b)).map_or(buf.len().max(at), |n| at + n)
}

/// Offset of the first byte from `at` on that no field value may hold; the length when all may.
///
/// Eight bytes at a time: a word with a byte under 0x20 or equal to 0x7f is looked at byte by byte, any other passes.
#[inline]
pub fn skip_value(buf: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const SPACES: u64 = u64::from_ne_bytes([0x20; 8]);
    const DELS: u64 = u64::from_ne_bytes([0x7f; 8]);
    loop {
        let Some(eight) = buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return skip_value_bytes(buf, at, buf.len());
        };
        let word = u64::from_ne_bytes(*eight);
        let low = word.wrapping_sub(SPACES) & !word;
        let del = word ^ DELS;
        let is_del = del.wrapping_sub(ONES) & !del;
        if (low | is_del) & HIGH != 0 {
            let stop = skip_value_bytes(buf, at, at + 8);
            if stop < at + 8 {
                return stop;
            }
        }
        at += 8;
    }
}

#[inline]
fn skip_value_bytes(buf: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && buf.get(at).is_some_and(|&b| is_value_byte(b)) {
        at += 1;
    }
    at
}

/// Without the spaces and tabs at both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 section 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}

/// A decimal number of bytes: one to eighteen digits and nothing else, so it always fits.
pub fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

/// The value of a hexadecimal digit.
#[inline]
pub fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_whatever_their_case() {
        // Every byte at every place of names of every length, compared as the standard library does.
        for len in 1..=20 {
            for at in 0..len {
                for b in 0..=255 {
                    let mut one = vec![b'a'; len];
                    one[at] = b;
                    for other in [b, b ^ 0x20, b ^ 0x80, b.wrapping_add(1)] {
                        let mut two = vec![b'A'; len];
                        two[at] = other;
                        assert_eq!(is_same_name(&one, &two), one.eq_ignore_ascii_case(&two), "{one:?} {two:?}");
                    }
                }
            }
        }
        assert!(!is_same_name(b"host", b"hos"));
        assert!(is_same_name(b"", b""));
    }

    #[test]
    fn classes_follow_the_rfcs() {
        for b in 0..=255u8 {
            let delimiter = b"\"(),/:;<=>?@[\\]{}".contains(&b);
            assert_eq!(is_token_byte(b), b.is_ascii_graphic() && !delimiter, "token {b:#x}");
            assert_eq!(is_value_byte(b), b == b'\t' || b == b' ' || b.is_ascii_graphic() || b >= 0x80, "value {b:#x}");
            assert_eq!(is_target_byte(b), b.is_ascii_graphic() && b != b'#' && b != b'\\', "target {b:#x}");
        }
    }

    #[test]
    fn the_word_scan_stops_where_the_byte_scan_does() {
        for bad in 0..=255u8 {
            for at in 0..20 {
                for len in at + 1..24 {
                    let mut text = vec![b'a'; len];
                    text[at] = bad;
                    if len > at + 1 {
                        text[len - 1] = 0xff;
                    }
                    let expected = if is_value_byte(bad) { len } else { at };
                    assert_eq!(skip_value(&text, 0), expected, "byte {bad:#x} at {at} of {len}");
                }
            }
        }
        assert_eq!(skip_value(b"abc", 3), 3);
        assert_eq!(skip_token(b"abc:", 0), 3);
        assert_eq!(skip_token(b"abc", 1), 3);
    }

    #[test]
    fn lengths_are_digits_only() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"999999999999999999"), Some(999_999_999_999_999_999));
        for bad in ["", "+5", "-1", " 5", "5 ", "0x10", "1e3", "1,1", "1000000000000000000", "٣"] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_lose_blanks() {
        assert_eq!(list(b" a , ,b,\tc\t,").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(list(b"").count(), 0);
    }
}
