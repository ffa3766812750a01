//! One JSON object per request, for log stores that want fields rather than a line to take apart.
//!
//! Every key is always there, `null` when there is nothing to say, save `truncated`, and the order is fixed:
//!
//! | key | value |
//! |---|---|
//! | `time` | first byte of the request, RFC 3339 with microseconds |
//! | `client`, `client_port` | the client as logged; `null` on unix sockets |
//! | `peer`, `peer_port` | the other end of the connection, if a trusted proxy named another client |
//! | `frontend`, `tls`, `backend`, `server` | who took it, over TLS or not, who answered |
//! | `timers_ms` | `handshake`, `idle`, `request`, `queue`, `connect`, `response`, `active`: HAProxy's Th, Ti, TR, Tw, Tc, Tr, Ta; `null` for -1 |
//! | `status`, `bytes_in`, `bytes_out` | sent to the client; bytes with heads |
//! | `request_cookie`, `response_cookie` | captured cookies |
//! | `termination` | the four letters |
//! | `connections` | `process`, `frontend`, `backend`, `server` |
//! | `retries`, `redispatched`, `server_queue`, `backend_queue` | |
//! | `captures` | `request` and `response`: an object by field name, `null` without captures |
//! | `method`, `target`, `version` | the request line; `null` for one that was none |
//! | `request_id`, `reason`, `limited_by` | |
//! | `truncated` | `true` on lines cut to the longest line: texts are shortened, the object stays whole |
//!
//! The output is JSON for any bytes: UTF-8 is kept; a byte `b` that is not part of valid UTF-8 is written `\uefbb`
//! (`bb` its two hex digits), a private character. Characters U+EF80 to U+EFFF of the input are written byte by byte
//! the same way, so that nothing else looks like it and every input can be told from every other.

use std::net::SocketAddr;

use super::date::DateCache;
use super::httplog::FailedConnection;
use super::record::{CapturedValue, Record};
use crate::core::filter::HeaderCapture;
use crate::core::text::{IpText, push_number};

/// Appends the object, without a line end. One longer than `max_bytes` gets its texts shortened, again and again by
/// half, until it fits or only its frame is left (some 700 bytes and the names of captures, which always stay).
pub fn render(record: &Record<'_>, dates: &mut DateCache, max_bytes: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let mut text_max = usize::MAX;
    loop {
        out.truncate(start);
        object(record, dates, text_max, out);
        if out.len() - start <= max_bytes || text_max == 0 {
            return;
        }
        text_max = if text_max == usize::MAX { max_bytes / 2 } else { text_max / 2 };
    }
}

/// Appends the object of a connection that failed before its first request: `time`, `client`, `client_port`,
/// `frontend`, `bind`, `reason`.
pub fn render_failed(failed: &FailedConnection<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
    let mut fields = Fields { out, text_max: usize::MAX };
    fields.out.extend_from_slice(b"{\"time\":\"");
    dates.push_iso(failed.accepted_us, fields.out);
    fields.out.push(b'"');
    fields.address("client", failed.client);
    fields.text("frontend", Some(failed.frontend.as_bytes()));
    fields.text("bind", Some(failed.bind.as_bytes()));
    fields.text("reason", Some(failed.reason.as_bytes()));
    fields.out.push(b'}');
}

/// Appends the object of a state change, a start or a stop: `time`, `severity` (syslog's number), `event`.
pub fn render_event(severity: u8, text: &str, epoch_us: u64, dates: &mut DateCache, out: &mut Vec<u8>) {
    let mut fields = Fields { out, text_max: usize::MAX };
    fields.out.extend_from_slice(b"{\"time\":\"");
    dates.push_iso(epoch_us, fields.out);
    fields.out.push(b'"');
    fields.number("severity", Some(severity));
    fields.text("event", Some(text.as_bytes()));
    fields.out.push(b'}');
}

fn object(record: &Record<'_>, dates: &mut DateCache, text_max: usize, out: &mut Vec<u8>) {
    let mut fields = Fields { out, text_max };
    fields.out.extend_from_slice(b"{\"time\":\"");
    dates.push_iso(record.accepted_us, fields.out);
    fields.out.push(b'"');
    fields.address("client", record.client);
    fields.address("peer", record.peer);
    fields.text("frontend", Some(record.frontend.as_bytes()));
    fields.flag("tls", record.tls);
    fields.text("backend", record.backend.map(str::as_bytes));
    fields.text("server", record.server.map(str::as_bytes));

    let timers = &record.timers;
    fields.open("timers_ms");
    fields.first_number("handshake", timers.handshake);
    fields.number("idle", timers.idle);
    fields.number("request", timers.request);
    fields.number("queue", timers.queue);
    fields.number("connect", timers.connect);
    fields.number("response", timers.response);
    fields.number("active", Some(timers.active));
    fields.close();

    fields.number("status", record.status);
    fields.number("bytes_in", Some(record.bytes_in));
    fields.number("bytes_out", Some(record.bytes_out));
    fields.text("request_cookie", record.request_cookie);
    fields.text("response_cookie", record.response_cookie);
    fields.text("termination", Some(&record.termination));

    let connections = &record.connections;
    fields.open("connections");
    fields.first_number("process", Some(connections.process));
    fields.number("frontend", Some(connections.frontend));
    fields.number("backend", Some(connections.backend));
    fields.number("server", Some(connections.server));
    fields.close();

    fields.number("retries", Some(record.retries));
    fields.flag("redispatched", record.redispatched);
    fields.number("server_queue", Some(record.server_queue));
    fields.number("backend_queue", Some(record.backend_queue));

    fields.open("captures");
    fields.captures("\"request\":", &record.capture_names.request, record.request_captures);
    fields.captures(",\"response\":", &record.capture_names.response, record.response_captures);
    fields.close();

    fields.text("method", record.request.map(|line| line.method));
    fields.text("target", record.request.map(|line| line.target));
    fields.text("version", record.request.map(|line| line.version.as_bytes()));
    fields.text("request_id", record.request_id);
    fields.text("reason", record.reason.map(str::as_bytes));
    fields.text("limited_by", record.limited_by.map(str::as_bytes));
    if text_max != usize::MAX {
        fields.out.extend_from_slice(b",\"truncated\":true");
    }
    fields.out.push(b'}');
}

/// Writes members of an object; keys are ours and need no escaping.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    /// Longest text value, in bytes of the input.
    text_max: usize,
}

impl Fields<'_> {
    fn key(&mut self, key: &str) {
        self.out.push(b',');
        self.first_key(key);
    }

    fn first_key(&mut self, key: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn open(&mut self, key: &str) {
        self.key(key);
        self.out.push(b'{');
    }

    fn close(&mut self) {
        self.out.push(b'}');
    }

    fn number(&mut self, key: &str, value: Option<impl Into<u64>>) {
        self.out.push(b',');
        self.first_number(key, value);
    }

    fn first_number(&mut self, key: &str, value: Option<impl Into<u64>>) {
        self.first_key(key);
        match value {
            Some(value) => push_number(value, self.out),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        self.key(key);
        match value {
            Some(value) => push_text(value, self.text_max, self.out),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn address(&mut self, key: &str, address: Option<SocketAddr>) {
        self.key(key);
        match address {
            Some(address) => {
                self.out.push(b'"');
                self.out.extend_from_slice(IpText::new(address.ip()).as_bytes());
                self.out.push(b'"');
            }
            None => self.out.extend_from_slice(b"null"),
        }
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"_port\":");
        match address {
            Some(address) => push_number(address.port(), self.out),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    /// A field that is captured twice is written once: an object must not have a key twice.
    fn captures(&mut self, key: &str, names: &[HeaderCapture], values: Option<&[CapturedValue]>) {
        self.out.extend_from_slice(key.as_bytes());
        let Some(values) = values else {
            self.out.extend_from_slice(b"null");
            return;
        };
        self.out.push(b'{');
        let mut first = true;
        for (index, (name, value)) in names.iter().zip(values).enumerate() {
            if names[..index].iter().any(|earlier| earlier.header == name.header) {
                continue;
            }
            if !first {
                self.out.push(b',');
            }
            first = false;
            push_text(name.header.as_bytes(), usize::MAX, self.out);
            self.out.push(b':');
            push_text(value, self.text_max, self.out);
        }
        self.out.push(b'}');
    }
}

/// Appends a string of at most `max` bytes of the input, in quotes.
fn push_text(bytes: &[u8], max: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.get(..max).unwrap_or(bytes).utf8_chunks() {
        push_valid(chunk.valid(), out);
        for byte in chunk.invalid() {
            push_private(*byte, out);
        }
    }
    out.push(b'"');
}

fn push_valid(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        // 0xEE 0xBE and 0xEE 0xBF begin U+EF80 to U+EFFF.
        let private = byte == 0xee && matches!(bytes.get(at + 1), Some(0xbe | 0xbf));
        let length = if private { 3 } else { 1 };
        if private || byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f {
            out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                _ if private => bytes.get(at..at + 3).unwrap_or_default().iter().for_each(|b| push_private(*b, out)),
                _ => push_unicode(b"00", byte, out),
            }
            copied = at + length;
        }
        at += length;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

fn push_private(byte: u8, out: &mut Vec<u8>) {
    push_unicode(b"ef", byte, out);
}

fn push_unicode(page: &[u8; 2], byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    out.extend_from_slice(page);
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}
