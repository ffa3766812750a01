//! What is written as `#XX` in a line, so that no value can be taken for what stands around it (HAProxy configuration
//! manual, 8.6 "Non-printable characters").

/// Escaped in captured values: what could be taken for the end of a value or a block.
pub(super) const IN_CAPTURE: u8 = 1;
/// Escaped in the request line: what could be taken for its end.
pub(super) const IN_REQUEST: u8 = 2;
/// Escaped in cookies, which stand between blanks.
pub(super) const IN_COOKIE: u8 = 4;
/// Escaped in free text: what is not printable.
pub(super) const IN_TEXT: u8 = 8;
/// The quote, for texts that stand between quotes.
pub(super) const QUOTE: u8 = 16;
/// What the `E` flag puts a backslash before.
const BACKSLASHED: u8 = 32;

/// For every byte, where it is escaped.
static ESCAPED: [u8; 256] = escaped();

const fn escaped() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte < 0x20 || byte >= 0x7f {
            table[byte] = IN_CAPTURE | IN_REQUEST | IN_COOKIE | IN_TEXT;
        }
        byte += 1;
    }
    table[b'"' as usize] = IN_CAPTURE | IN_REQUEST | QUOTE | BACKSLASHED;
    table[b'\\' as usize] = BACKSLASHED;
    table[b']' as usize] = BACKSLASHED;
    table[b'#' as usize] = IN_CAPTURE | IN_REQUEST | IN_COOKIE;
    table[b'{' as usize] = IN_CAPTURE;
    table[b'|' as usize] = IN_CAPTURE;
    table[b'}' as usize] = IN_CAPTURE;
    table[b' ' as usize] = IN_COOKIE;
    table
}

pub(super) const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends bytes, those of the class as `#XX`, with `backslash` some others behind one. Stretches that need neither are
/// copied at once.
#[inline]
pub(super) fn push_escaped(bytes: &[u8], class: u8, backslash: bool, out: &mut Vec<u8>) {
    let special = if backslash { class | BACKSLASHED } else { class };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| ESCAPED[usize::from(*byte)] & special != 0) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((byte, after)) = from.split_first() {
            if ESCAPED[usize::from(*byte)] & class != 0 {
                out.extend_from_slice(&[b'#', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            } else {
                out.extend_from_slice(&[b'\\', *byte]);
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
}
