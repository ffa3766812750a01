//! `show errors`: the last requests and responses that were refused as broken, with their bytes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::command::ErrorQuery;
use super::sessions::peer;
use super::texts;
use crate::core::fleet::{Fleet, Refusal};
use crate::core::stats::render::leading_number;

/// Bytes of a broken message that are kept.
pub const KEPT_MAX_BYTES: usize = 16 * 1024;

/// Width of a line of bytes. HAProxy: `dump_text_line`.
const LINE_WIDTH: usize = 80;

/// A broken message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedError {
    /// Its number since the start, from 0 on.
    pub number: u64,
    /// When it came.
    pub at: SystemTime,
    /// It was a client's request; else a server's response.
    pub request: bool,
    /// The frontend and its `iid`.
    pub frontend: (Box<str>, u32),
    /// The backend and its `iid`, if one was chosen.
    pub backend: Option<(Box<str>, u32)>,
    /// The server and its `sid`, if one was chosen.
    pub server: Option<(Box<str>, u32)>,
    /// The client.
    pub source: Option<SocketAddr>,
    /// Its first bytes, at most [`KEPT_MAX_BYTES`].
    pub bytes: Box<[u8]>,
    /// Where in it the mistake is.
    pub position: usize,
    /// What the mistake is.
    pub reason: Box<str>,
}

/// The reply to `show errors`. `captured` counts all events since the start, kept or not.
pub fn render(
    query: &ErrorQuery,
    errors: &[CapturedError],
    captured: u64,
    fleet: &Fleet,
    now: SystemTime,
    zone: &TimeZone,
) -> Result<String, Refusal> {
    let iid = match &query.proxy {
        None => None,
        Some(proxy) => Some(find_iid(proxy, fleet)?),
    };
    let mut out = format!("Total events captured on [{}] : {captured}\n", stamp(now, zone, 3));
    for error in errors {
        let concerned = iid.is_none_or(|iid| error.concerns(iid));
        if concerned && query.requests.is_none_or(|requests| requests == error.request) {
            write_error(error, zone, &mut out).expect("writing to a String cannot fail");
        }
    }
    Ok(out)
}

impl CapturedError {
    fn concerns(&self, iid: u32) -> bool {
        self.frontend.1 == iid || self.backend.as_ref().is_some_and(|b| b.1 == iid)
    }

    fn name(part: Option<&(Box<str>, u32)>) -> (&str, i64) {
        part.map_or(("<NONE>", -1), |(name, id)| (name, i64::from(*id)))
    }
}

fn find_iid(proxy: &str, fleet: &Fleet) -> Result<u32, Refusal> {
    let named = (fleet.frontends().iter().map(|f| (&f.spec.name, f.spec.iid)))
        .chain(fleet.backends().iter().map(|b| (&b.spec.name, b.spec.iid)))
        .find(|(name, _)| ***name == *proxy)
        .map(|(_, iid)| iid);
    let numbered = || u32::try_from(leading_number(proxy.strip_prefix('#').unwrap_or(proxy))).ok().filter(|n| *n > 0);
    named.or_else(numbered).ok_or_else(|| Refusal(texts::NO_SUCH_PROXY.to_owned()))
}

fn write_error(error: &CapturedError, zone: &TimeZone, out: &mut String) -> std::fmt::Result {
    let frontend = CapturedError::name(Some(&error.frontend));
    let backend = CapturedError::name(error.backend.as_ref());
    let server = CapturedError::name(error.server.as_ref());
    let (side, own, other, kind) = match error.request {
        true => ("frontend", frontend, ("backend", backend), "request"),
        false => ("backend", backend, ("frontend", frontend), "response"),
    };
    writeln!(out, " \n[{}] {side} {} (#{}): invalid {kind}", stamp(error.at, zone, 3), own.0, own.1)?;
    let (word, (name, iid)) = other;
    write!(out, "  {word} {name} (#{iid}), server {} (#{}), ", server.0, server.1)?;
    writeln!(out, "event #{}, src {}", error.number, peer(error.source))?;
    let length = error.bytes.len();
    let position = error.position.min(length);
    writeln!(out, "  buffer starts at 0 (including 0 out), {} free,", KEPT_MAX_BYTES.saturating_sub(length))?;
    writeln!(out, "  len {length}, wraps at 16336, error at position {position}")?;
    writeln!(out, "  reason: {}", super::parse::shown(&error.reason))?;
    writeln!(out, "  H1 connection flags 0x00000000, H1 stream flags 0x00000000")?;
    let (state, number) = parser_state(error.request, &error.bytes[..position]);
    writeln!(out, "  H1 msg state {state}({number}), H1 msg flags 0x00000000")?;
    writeln!(out, "  H1 chunk len 0 bytes, H1 body len 0 bytes :\n  ")?;
    write_bytes(&error.bytes, out)
}

/// Where in a message its parser stood after these bytes, in HAProxy's words.
fn parser_state(request: bool, before: &[u8]) -> (&'static str, u32) {
    let line = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let lines = before.iter().filter(|b| **b == b'\n').count();
    if lines > 0 {
        let head_ended = before.windows(4).any(|w| w == b"\r\n\r\n") || before.windows(2).any(|w| w == b"\n\n");
        return match (head_ended, line.contains(&b':')) {
            (true, _) => ("MSG_DATA", 27),
            (false, true) => ("MSG_HDR_VAL", 22),
            (false, false) => ("MSG_HDR_NAME", 17),
        };
    }
    let blanks = line.iter().filter(|b| **b == b' ').count();
    match (request, blanks) {
        (true, 0) => ("MSG_RQMETH", 2),
        (true, 1) => ("MSG_RQURI", 4),
        (true, _) => ("MSG_RQVER", 6),
        (false, 0) => ("MSG_RPVER", 10),
        (false, 1) => ("MSG_RPCODE", 12),
        (false, _) => ("MSG_RPREASON", 14),
    }
}

/// The bytes, a line for each line of theirs, cut at [`LINE_WIDTH`]; `+` behind the offset marks a line that goes on.
fn write_bytes(bytes: &[u8], out: &mut String) -> std::fmt::Result {
    let (mut at, mut begins) = (0, true);
    while at < bytes.len() {
        write!(out, "  {at:05}{} ", if begins { ' ' } else { '+' })?;
        let mut width = 9;
        begins = false;
        while let Some(byte) = bytes.get(at) {
            let text = shown_byte(*byte);
            if width + text.len() > LINE_WIDTH {
                break;
            }
            width += text.len();
            out.push_str(&text);
            at += 1;
            if *byte == b'\n' {
                begins = true;
                break;
            }
        }
        out.push('\n');
    }
    Ok(())
}

fn shown_byte(byte: u8) -> String {
    match byte {
        b'\t' => "\\t".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        0x1b => "\\e".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    }
}

/// `21/Nov/2026:19:55:14.990`, local time with so many digits behind the second.
pub(super) fn stamp(at: SystemTime, zone: &TimeZone, digits: usize) -> String {
    let Ok(time) = jiff::Timestamp::try_from(at) else { return "-".to_owned() };
    let time = time.to_zoned(zone.clone());
    let fraction = format!("{:09}", time.subsec_nanosecond());
    format!("{}.{}", time.strftime("%d/%b/%Y:%H:%M:%S"), fraction.get(..digits).unwrap_or(&fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_without_harm() {
        let check = |bytes: &[u8], expected: &str| {
            let mut out = String::new();
            write_bytes(bytes, &mut out).unwrap();
            assert_eq!(out, expected);
        };
        check(b"", "");
        check(
            b"GET /bad\x01path HTTP/1.1\r\nHost: x\r\n\r\n",
            "  00000  GET /bad\\x01path HTTP/1.1\\r\\n\n  00024  Host: x\\r\\n\n  00033  \\r\\n\n",
        );
        check(b"\x1b\\\xff", "  00000  \\e\\\\\\xFF\n");
        let long = vec![b'a'; 100];
        check(&long, &format!("  00000  {}\n  00071+ {}\n", "a".repeat(71), "a".repeat(29)));
    }

    #[test]
    fn the_parser_state_is_told() {
        for (request, before, state) in [
            (true, &b"GE"[..], "MSG_RQMETH"),
            (true, b"GET /a", "MSG_RQURI"),
            (true, b"GET / HT", "MSG_RQVER"),
            (true, b"GET / HTTP/1.1\r\nHo", "MSG_HDR_NAME"),
            (true, b"GET / HTTP/1.1\r\nHost: a", "MSG_HDR_VAL"),
            (true, b"GET / HTTP/1.1\r\n\r\nzz", "MSG_DATA"),
            (false, b"", "MSG_RPVER"),
            (false, b"HTTP/1.1 2", "MSG_RPCODE"),
            (false, b"HTTP/1.1 200 O", "MSG_RPREASON"),
        ] {
            assert_eq!(parser_state(request, before).0, state, "{:?}", String::from_utf8_lossy(before));
        }
    }

    #[test]
    fn stamps_are_local() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_795_290_914_990_123);
        assert_eq!(stamp(at, &TimeZone::UTC, 3), "21/Nov/2026:19:55:14.990");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(stamp(at, &zone, 6), "21/Nov/2026:20:55:14.990123");
    }
}
