//! One field line, as heads and trailers hold it (RFC 9112 section 5).

use std::ops::Range;

use super::reject::RejectReason;
use crate::core::http::grammar::{skip_token, skip_value};

/// What stands at a place where a field line may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The line is not all there; nothing wrong so far.
    Partial,
    /// A field; offsets into the buffer, the value without the blanks around it.
    Field {
        /// The name.
        name: Range<usize>,
        /// The value.
        value: Range<usize>,
        /// Where the next line begins.
        next: usize,
    },
    /// The empty line.
    End {
        /// Where what follows begins.
        next: usize,
    },
}

/// Reads the field line at `at`. The error names the rule and the offset of the byte that breaks it, as soon as that
/// byte is there, whether or not the line is complete.
#[inline]
pub fn field_line(buf: &[u8], at: usize) -> Result<Line, (RejectReason, usize)> {
    let colon = skip_token(buf, at);
    match buf.get(colon) {
        None => return Ok(Line::Partial),
        Some(b':') if colon > at => {}
        Some(b'\r') if colon == at => {
            return Ok(match line_end(buf, at)? {
                None => Line::Partial,
                Some(next) => Line::End { next },
            });
        }
        Some(&b) => return Err((name_trouble(b, colon == at), colon)),
    }
    let mut start = colon + 1;
    while let Some(b' ' | b'\t') = buf.get(start) {
        start += 1;
    }
    let stop = skip_value(buf, start);
    let next = match line_end(buf, stop)? {
        None => return Ok(Line::Partial),
        Some(next) => next,
    };
    let mut end = stop;
    while end > start && matches!(buf.get(end - 1), Some(b' ' | b'\t')) {
        end -= 1;
    }
    Ok(Line::Field { name: at..colon, value: start..end, next })
}

/// Expects CRLF at `at`, where no text byte stands; gives what follows it, or `None` when it is not all there yet.
#[inline]
pub fn line_end(buf: &[u8], at: usize) -> Result<Option<usize>, (RejectReason, usize)> {
    match (buf.get(at), buf.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Some(at + 2)),
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(_)) => Err((RejectReason::BareCr, at)),
        (Some(&b), _) => Err((control_trouble(b), at)),
    }
}

/// Which rule a byte breaks that is neither text nor CR.
pub fn control_trouble(b: u8) -> RejectReason {
    match b {
        b'\n' => RejectReason::BareLf,
        b'\r' => RejectReason::BareCr,
        0 => RejectReason::Nul,
        _ => RejectReason::ControlByte,
    }
}

fn name_trouble(b: u8, first: bool) -> RejectReason {
    match b {
        b'\n' if first => RejectReason::BareLf,
        b' ' | b'\t' if first => RejectReason::ObsFold,
        b' ' | b'\t' => RejectReason::SpaceBeforeColon,
        b':' => RejectReason::EmptyName,
        b'\r' | b'\n' => RejectReason::NoColon,
        0 => RejectReason::Nul,
        _ => RejectReason::NameByte,
    }
}
