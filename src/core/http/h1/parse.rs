//! Whole heads: a request line or status line, field lines, the empty line.
//!
//! One strict pass finds a head's parts and judges every byte it has seen, whether the head is complete or not. A call
//! that ends in the middle leaves the lines it has read in the [`Head`]; the next call with the same bytes and more
//! goes on behind them. Whether the bytes are the same is compared, so a head can never mix two messages.
//!
//! Not here: what the fields mean. That is `super::framing`.

use super::line::{Line, control_trouble, field_line, line_end};
use super::reject::{Reject, RejectReason};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::grammar::{is_target_byte, skip_token, skip_value};
use crate::core::http::head::{Head, MessageKind, Version};

/// Longest method passed on, in bytes.
pub const METHOD_MAX_BYTES: usize = 32;

/// How far a parser got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing wrong so far; more bytes are needed. Call again with the same bytes and more, and the same head.
    Partial,
    /// The head is in the [`Head`].
    Complete {
        /// Its length in the buffer; what follows is body, or the next message.
        consumed: usize,
    },
}

/// Parses one request head from the start of `buf` into `head`, which is cleared and filled. One empty line in front is
/// skipped (RFC 9112 section 2.2). On a refusal `head` holds the lines that were still good.
pub fn parse_request(buf: &[u8], head: &mut Head, limits: &HttpLimits) -> Result<Parsed, Reject> {
    parse(buf, head, limits, MessageKind::Request).map_err(|(reason, at)| Reject::request(reason, at))
}

/// Parses one response head from the start of `buf` into `head`, which is cleared and filled. Every refusal is a 502.
pub fn parse_response(buf: &[u8], head: &mut Head, limits: &HttpLimits) -> Result<Parsed, Reject> {
    parse(buf, head, limits, MessageKind::Response).map_err(|(reason, at)| Reject::response(reason, at))
}

type Trouble = (RejectReason, usize);

fn parse(buf: &[u8], head: &mut Head, limits: &HttpLimits, kind: MessageKind) -> Result<Parsed, Trouble> {
    let window = &buf[..buf.len().min(limits.head_max_bytes)];
    let mut at = head.resume(window, kind);
    let result = lines(window, &mut at, head, limits, kind);
    // Only now do the spans made above have their bytes; `at` is behind the last line that was read.
    head.adopt(&window[..at], kind, matches!(result, Ok(Parsed::Partial)));
    if result == Ok(Parsed::Partial) && buf.len() >= limits.head_max_bytes {
        let in_request_line = at == 0 && kind == MessageKind::Request;
        let reason = if in_request_line { RejectReason::TargetTooLong } else { RejectReason::HeadTooLarge };
        return Err((reason, limits.head_max_bytes));
    }
    result
}

fn lines(
    buf: &[u8],
    at: &mut usize,
    head: &mut Head,
    limits: &HttpLimits,
    kind: MessageKind,
) -> Result<Parsed, Trouble> {
    if *at == 0 {
        let first = match kind {
            MessageKind::Request => request_line(buf, head, limits)?,
            MessageKind::Response => status_line(buf, head)?,
        };
        match first {
            None => return Ok(Parsed::Partial),
            Some(next) => *at = next,
        }
    }
    loop {
        match field_line(buf, *at)? {
            Line::Partial => return Ok(Parsed::Partial),
            Line::End { next } => {
                *at = next;
                return Ok(Parsed::Complete { consumed: next });
            }
            Line::Field { name, value, next } => {
                if head.field_count() >= limits.fields_max {
                    return Err((RejectReason::TooManyFields, *at));
                }
                head.push_parsed(buf, name, value);
                *at = next;
            }
        }
    }
}

/// `method SP target SP version CRLF`; gives where the first field line begins.
fn request_line(buf: &[u8], head: &mut Head, limits: &HttpLimits) -> Result<Option<usize>, Trouble> {
    let start = match buf.first() {
        Some(b'\r') => match line_end(buf, 0)? {
            None => return Ok(None),
            Some(next) => next,
        },
        _ => 0,
    };
    let method_end = skip_token(buf, start);
    if method_end == start && buf.get(start) == Some(&b'\n') {
        return Err((RejectReason::BareLf, start));
    }
    if method_end - start > METHOD_MAX_BYTES {
        return Err((RejectReason::MethodTooLong, start));
    }
    match buf.get(method_end) {
        None => return Ok(None),
        Some(b' ') if method_end > start => {}
        Some(b'\r' | b'\n') if method_end > start => return Err((RejectReason::TargetMissing, method_end)),
        Some(&b) => return Err((start_trouble(b, RejectReason::Method), method_end)),
    }
    let target = method_end + 1;
    let target_end = buf.iter().skip(target).position(|&b| !is_target_byte(b)).map_or(buf.len(), |n| target + n);
    if target_end.saturating_sub(target) > limits.uri_max_bytes {
        return Err((RejectReason::TargetTooLong, target + limits.uri_max_bytes));
    }
    match buf.get(target_end) {
        None => return Ok(None),
        Some(b' ') if target_end == target => return Err((RejectReason::TargetMissing, target)),
        Some(b' ') => {}
        Some(b'#') => return Err((RejectReason::TargetFragment, target_end)),
        Some(b'\r' | b'\n') => return Err((RejectReason::VersionMissing, target_end)),
        Some(&b) => return Err((start_trouble(b, RejectReason::TargetByte), target_end)),
    }
    let Some((version, version_end)) = version(buf, target_end + 1)? else { return Ok(None) };
    match buf.get(version_end) {
        None | Some(b'\r') => {}
        Some(b'\n') => return Err((RejectReason::BareLf, version_end)),
        Some(_) => return Err((RejectReason::VersionMalformed, version_end)),
    }
    let next = line_end(buf, version_end)?;
    if next.is_some() {
        head.set_request_line_at(start..method_end, target..target_end, version);
    }
    Ok(next)
}

/// `version SP status [SP reason] CRLF`; gives where the first field line begins.
fn status_line(buf: &[u8], head: &mut Head) -> Result<Option<usize>, Trouble> {
    let Some((version, version_end)) = version(buf, 0)? else { return Ok(None) };
    match buf.get(version_end) {
        None => return Ok(None),
        Some(b' ') => {}
        Some(_) => return Err((RejectReason::StatusLine, version_end)),
    }
    let digits = version_end + 1;
    let mut status = 0u16;
    for at in digits..digits + 3 {
        match buf.get(at) {
            None => return Ok(None),
            Some(b @ b'0'..=b'9') if at > digits || *b != b'0' => status = status * 10 + u16::from(b - b'0'),
            Some(_) => return Err((RejectReason::StatusCode, at)),
        }
    }
    let after = digits + 3;
    let (reason, end) = match buf.get(after) {
        None => return Ok(None),
        // RFC 9112 wants the space even before an empty reason; many servers leave it out.
        Some(b'\r' | b'\n') => (after, after),
        Some(b' ') => (after + 1, skip_value(buf, after + 1)),
        Some(_) => return Err((RejectReason::StatusCode, after)),
    };
    let next = line_end(buf, end)?;
    if next.is_some() {
        head.set_status_line_at(status, reason..end, version);
    }
    Ok(next)
}

/// `HTTP/1.0` or `HTTP/1.1` at `at`; gives what follows it. Judged byte by byte, so a wrong beginning never waits.
fn version(buf: &[u8], at: usize) -> Result<Option<(Version, usize)>, Trouble> {
    let text = &buf[at.min(buf.len())..];
    match text.first_chunk::<8>() {
        Some(b"HTTP/1.1") => return Ok(Some((Version::Http11, at + 8))),
        Some(b"HTTP/1.0") => return Ok(Some((Version::Http10, at + 8))),
        _ => {}
    }
    let shape = b"HTTP/1.1";
    for (n, (&b, &wanted)) in text.iter().zip(shape).enumerate() {
        let fits = if wanted == b'1' { b.is_ascii_digit() } else { b == wanted };
        if !fits {
            return Err((start_trouble(b, RejectReason::VersionMalformed), at + n));
        }
    }
    if text.len() >= shape.len() { Err((RejectReason::VersionUnsupported, at)) } else { Ok(None) }
}

/// The rule a byte of the start line breaks: controls by their own names, blanks, line ends and the rest by `otherwise`.
fn start_trouble(b: u8, otherwise: RejectReason) -> RejectReason {
    if b < 0x20 && !matches!(b, b'\t' | b'\r' | b'\n') { control_trouble(b) } else { otherwise }
}
