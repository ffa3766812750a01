//! HAProxy's `option httplog`, byte for byte (configuration manual 8.2.3 and 8.6).
//!
//! `ci:cp [date] fe[~] be/srv TR/Tw/Tc/Tr/Ta ST B CC CS tsc ac/fc/bc/sc/[+]rc sq/bq {req} {resp} "METHOD URI VERSION"`
//!
//! One line per request is written on the hot path, so nothing here allocates or goes through a formatter, save an IPv6
//! address.

use std::net::SocketAddr;

use super::date::DateCache;
use super::escape::{IN_CAPTURE, IN_COOKIE, IN_REQUEST, IN_TEXT, push_escaped};
use super::format::{LogFormat, cut};
use super::record::{CapturedValue, Record};
use crate::core::text::{IpText, push_number};

/// Appends the line, without a line end and at most `max_bytes` long: a longer one loses the end of its request, never
/// the closing quote.
pub fn render(record: &Record<'_>, dates: &mut DateCache, max_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    push_client(record.client, out);
    out.extend_from_slice(b" [");
    dates.push_access(record.accepted_us, out);
    out.extend_from_slice(b"] ");
    push_route(record, out);
    push_timers(record, out);
    push_outcome(record, out);
    push_counts(record, out);
    push_captures(record.request_captures, out);
    push_captures(record.response_captures, out);
    push_request(record, out);
    cut(start, max_bytes, false, out);
}

/// A connection that ended before it was one, most often in its TLS handshake:
/// `ci:cp [date] fe/bind: SSL handshake failure (…)`.
#[derive(Debug, Clone)]
pub struct FailedConnection<'a> {
    /// The peer; `None` for unix sockets.
    pub client: Option<SocketAddr>,
    /// When it was accepted, microseconds since the Unix epoch.
    pub accepted_us: u64,
    /// When it ended, likewise.
    pub ended_us: u64,
    /// The frontend.
    pub frontend: &'a str,
    /// The bind's name, or its number counted from 1.
    pub bind: &'a str,
    /// What happened, in HAProxy's words: `SSL handshake failure`, `Connection closed during SSL handshake`, …
    pub reason: &'a str,
    /// Syslog severity of the line.
    pub severity: u8,
    /// The frontend's own format, if it has one; the target's otherwise.
    pub format: Option<&'a LogFormat>,
}

/// Appends the line of a connection that failed, without a line end.
pub fn render_failed(failed: &FailedConnection<'_>, dates: &mut DateCache, max_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    push_client(failed.client, out);
    out.extend_from_slice(b" [");
    dates.push_access(failed.accepted_us, out);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(failed.frontend.as_bytes());
    out.push(b'/');
    out.extend_from_slice(failed.bind.as_bytes());
    out.extend_from_slice(b": ");
    push_escaped(failed.reason.as_bytes(), IN_TEXT, false, out);
    out.truncate(start.saturating_add(max_bytes));
}

/// Appends a line of free text (a state change, a start), what is not printable written as `#XX` and without a line
/// end: no text can forge a second line.
pub fn render_text(text: &str, max_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    push_escaped(text.as_bytes(), IN_TEXT, false, out);
    out.truncate(start.saturating_add(max_bytes));
}

fn push_client(client: Option<SocketAddr>, out: &mut Vec<u8>) {
    // HAProxy shows a client on a unix socket as "unix" and the number of the listener.
    let Some(client) = client else {
        out.extend_from_slice(b"unix:1");
        return;
    };
    out.extend_from_slice(IpText::new(client.ip()).as_bytes());
    out.push(b':');
    push_number(client.port(), out);
}

fn push_route(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(record.frontend.as_bytes());
    if record.tls {
        out.push(b'~');
    }
    out.push(b' ');
    out.extend_from_slice(record.backend.unwrap_or(record.frontend).as_bytes());
    out.push(b'/');
    out.extend_from_slice(record.server.unwrap_or("<NOSRV>").as_bytes());
    out.push(b' ');
}

fn push_timers(record: &Record<'_>, out: &mut Vec<u8>) {
    let timers = &record.timers;
    for timer in [timers.request, timers.queue, timers.connect, timers.response] {
        push_or_minus_one(timer, out);
        out.push(b'/');
    }
    if record.asap {
        out.push(b'+');
    }
    push_number(timers.active, out);
    out.push(b' ');
}

fn push_outcome(record: &Record<'_>, out: &mut Vec<u8>) {
    push_or_minus_one(record.status, out);
    out.push(b' ');
    if record.asap {
        out.push(b'+');
    }
    push_number(record.bytes_out, out);
    out.push(b' ');
    for cookie in [record.request_cookie, record.response_cookie] {
        match cookie {
            Some(cookie) if !cookie.is_empty() => push_escaped(cookie, IN_COOKIE, false, out),
            _ => out.push(b'-'),
        }
        out.push(b' ');
    }
    out.extend_from_slice(&record.termination);
    out.push(b' ');
}

fn push_counts(record: &Record<'_>, out: &mut Vec<u8>) {
    let connections = &record.connections;
    for count in [connections.process, connections.frontend, connections.backend, connections.server] {
        push_number(count, out);
        out.push(b'/');
    }
    if record.redispatched {
        out.push(b'+');
    }
    push_number(record.retries, out);
    out.push(b' ');
    push_number(record.server_queue, out);
    out.push(b'/');
    push_number(record.backend_queue, out);
    out.push(b' ');
}

fn push_captures(captures: Option<&[CapturedValue]>, out: &mut Vec<u8>) {
    let Some(captures) = captures else { return };
    out.push(b'{');
    for (index, value) in captures.iter().enumerate() {
        if index > 0 {
            out.push(b'|');
        }
        push_escaped(value, IN_CAPTURE, false, out);
    }
    out.extend_from_slice(b"} ");
}

fn push_request(record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    match &record.request {
        None => out.extend_from_slice(b"<BADREQ>"),
        Some(line) => {
            push_escaped(line.method, IN_REQUEST, false, out);
            out.push(b' ');
            push_escaped(line.target, IN_REQUEST, false, out);
            out.push(b' ');
            push_escaped(line.version.as_bytes(), IN_REQUEST, false, out);
        }
    }
    out.push(b'"');
}

/// Appends a number, -1 for none.
pub(super) fn push_or_minus_one(value: Option<impl Into<u64>>, out: &mut Vec<u8>) {
    match value {
        Some(value) => push_number(value, out),
        None => out.extend_from_slice(b"-1"),
    }
}
