//! Request targets in one normal form: what is matched, logged and sent on is the same text (RFC 3986 section 6.2.2).
//!
//! In the path, percent-encoded unreserved characters are decoded, other triplets get upper-case digits, and dot
//! segments are resolved, written plainly or as `%2e`. `%2F` and `//` stay: to many servers they differ from `/`. The
//! query is passed as it came; only its bytes are checked. Not here: absolute targets (`super::h1::framing`).

use std::borrow::Cow;
use std::fmt;

use super::grammar::{hex_digit, is_target_byte, is_unreserved};

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriTrouble {
    /// It does not begin with a slash.
    NoPath,
    /// A control, a space, a backslash or a byte beyond ASCII.
    Byte,
    /// A `#`.
    Fragment,
    /// A percent sign without two hexadecimal digits behind it.
    Percent,
    /// `%00`.
    Nul,
}

impl fmt::Display for UriTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriTrouble::NoPath => "does not begin with a slash",
            UriTrouble::Byte => "holds a control, a space, a backslash or a byte beyond ASCII",
            UriTrouble::Fragment => "holds a fragment",
            UriTrouble::Percent => "holds a percent sign without two hexadecimal digits",
            UriTrouble::Nul => "holds an encoded NUL",
        })
    }
}

/// Checks an origin-form target (`/path?query`) and gives its normal form, borrowed when it already is. The error
/// carries the offset of the offending byte. Normalising twice changes nothing more.
pub fn normalise(target: &[u8]) -> Result<Cow<'_, [u8]>, (UriTrouble, usize)> {
    if target.first() != Some(&b'/') {
        return Err((UriTrouble::NoPath, 0));
    }
    if let Some(at) = target.iter().position(|&b| !is_target_byte(b)) {
        return Err((if target[at] == b'#' { UriTrouble::Fragment } else { UriTrouble::Byte }, at));
    }
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(path_end);
    if is_normal(path) {
        return Ok(Cow::Borrowed(target));
    }
    let decoded = decode_unreserved(path)?;
    let mut out = Vec::with_capacity(target.len());
    resolve_dots(&decoded, &mut out);
    out.extend_from_slice(query);
    Ok(if out == target { Cow::Borrowed(target) } else { Cow::Owned(out) })
}

/// Whether a path surely needs no work: no percent sign and no segment that begins with a dot.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    for &b in path {
        if b == b'%' || (b == b'.' && before == b'/') {
            return false;
        }
        before = b;
    }
    true
}

fn decode_unreserved(path: &[u8]) -> Result<Vec<u8>, (UriTrouble, usize)> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&b) = path.get(at) {
        if b != b'%' {
            out.push(b);
            at += 1;
            continue;
        }
        let digit = |n: usize| path.get(at + n).copied().and_then(hex_digit);
        let (Some(high), Some(low)) = (digit(1), digit(2)) else { return Err((UriTrouble::Percent, at)) };
        let byte = high << 4 | low;
        if byte == 0 {
            return Err((UriTrouble::Nul, at));
        } else if is_unreserved(byte) {
            out.push(byte);
        } else {
            const UPPER: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'%', UPPER[high as usize], UPPER[low as usize]]);
        }
        at += 3;
    }
    Ok(out)
}

/// Resolves `.` and `..` segments (RFC 3986 section 5.2.4) of a path that begins with a slash; above the root there is
/// the root.
fn resolve_dots(path: &[u8], out: &mut Vec<u8>) {
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
                }
                if last {
                    out.push(b'/');
                }
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(target: &str, expected: Result<&str, UriTrouble>) {
        let got = normalise(target.as_bytes());
        match expected {
            Ok(text) => assert_eq!(got.as_deref(), Ok(text.as_bytes()), "{target}"),
            Err(trouble) => assert_eq!(got.map_err(|(t, _)| t), Err(trouble), "{target}"),
        }
    }

    #[test]
    fn one_normal_form() {
        for same in
            ["/", "/a/b?c=../d", "//a//b", "/.well-known/x", "/a..b/...", "/%2F%5C%3F", "/?a=%zz", "/a{}|^`<>\"b"]
        {
            check(same, Ok(same));
            assert!(matches!(normalise(same.as_bytes()), Ok(Cow::Borrowed(_))), "{same} was copied");
        }
        check("/%61%7e%2D", Ok("/a~-"));
        check("/%2f%e4?%e4", Ok("/%2F%E4?%e4"));
        check("/a/./b/../c", Ok("/a/c"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e", Ok("/"));
        check("/../../x", Ok("/x"));
        check("/a/b/..", Ok("/a/"));
        check("/a/.", Ok("/a/"));
        check("/a//../b", Ok("/a/b"));
        check("/..//x", Ok("//x"));
        check("/%252e%252e/", Ok("/%252e%252e/"));
    }

    #[test]
    fn refused_targets() {
        check("", Err(UriTrouble::NoPath));
        check("a", Err(UriTrouble::NoPath));
        check("/a b", Err(UriTrouble::Byte));
        check("/a\\b", Err(UriTrouble::Byte));
        check("/ä", Err(UriTrouble::Byte));
        check("/a\x7f", Err(UriTrouble::Byte));
        check("/a\n", Err(UriTrouble::Byte));
        check("/a?b#c", Err(UriTrouble::Fragment));
        check("/%", Err(UriTrouble::Percent));
        check("/%4", Err(UriTrouble::Percent));
        check("/%g0", Err(UriTrouble::Percent));
        check("/%4?1", Err(UriTrouble::Percent));
        check("/a%00b", Err(UriTrouble::Nul));
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(target in "/([a.%/?]|%2e|%2F|%61|\\.\\./|\\./|%e4){0,24}") {
            if let Ok(once) = normalise(target.as_bytes()) {
                let twice = normalise(&once).expect("a normal form is valid");
                prop_assert_eq!(&once, &twice);
                let path = once.split(|&b| b == b'?').next().unwrap();
                prop_assert!(path.split(|&b| b == b'/').all(|s| s != b"." && s != b".."));
            }
        }
    }
}
