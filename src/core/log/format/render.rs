//! Writing lines by format strings.

use std::net::{IpAddr, SocketAddr};

use super::variable::{Flags, Variable};
use super::{LineFormat, Piece, cut};
use crate::core::log::date::DateCache;
use crate::core::log::escape::{self, HEX, push_escaped};
use crate::core::log::httplog::push_or_minus_one;
use crate::core::log::record::{CapturedValue, Record};
use crate::core::text::{IpText, push_number};
use crate::core::tls::{TlsFacts, TlsSample};

/// What a line says of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// `%H`
    pub hostname: Box<str>,
    /// `%pid`
    pub pid: u32,
}

impl LineFormat {
    /// Appends the line, without a line end and at most `max_bytes` long: see [`cut`].
    pub fn render(
        &self,
        record: &Record<'_>,
        surroundings: &Surroundings,
        dates: &mut DateCache,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let mut line = Line { record, surroundings, dates, out };
        // A line does not begin with a blank, and what shows nothing leaves no two of them.
        let mut after_blank = true;
        for piece in &self.pieces {
            match piece {
                Piece::Blank if after_blank => {}
                Piece::Blank => {
                    line.out.push(b' ');
                    after_blank = true;
                }
                Piece::Text(text) => {
                    line.out.extend_from_slice(text);
                    after_blank = false;
                }
                Piece::Variable(variable, flags) => after_blank &= !line.variable(*variable, *flags),
            }
        }
        cut(start, max_bytes, self.escapes, out);
    }
}

struct Line<'a, 'r> {
    record: &'a Record<'r>,
    surroundings: &'a Surroundings,
    dates: &'a mut DateCache,
    out: &'a mut Vec<u8>,
}

impl Line<'_, '_> {
    /// Writes a value. False for blocks of captures that are not there: they leave no trace.
    fn variable(&mut self, variable: Variable, flags: Flags) -> bool {
        let record = self.record;
        let timers = &record.timers;
        let before = timers.handshake.unwrap_or(0).saturating_add(timers.idle.unwrap_or(0));
        match variable {
            Variable::ClientIp => self.ip(Some(record.client), flags),
            Variable::ClientPort => self.port(Some(record.client), flags),
            Variable::FrontendIp => self.ip(record.frontend_address.map(Some), flags),
            Variable::FrontendPort => self.port(record.frontend_address.map(Some), flags),
            Variable::SourceIp => self.ip(record.server_source.map(Some), flags),
            Variable::SourcePort => self.port(record.server_source.map(Some), flags),
            Variable::ServerIp => self.ip(record.server_address.map(Some), flags),
            Variable::ServerPort => self.port(record.server_address.map(Some), flags),
            Variable::Frontend => self.text(record.frontend.as_bytes(), escape::IN_TEXT, flags),
            Variable::FrontendTransport => self.quoted(flags, |out| {
                out.extend_from_slice(record.frontend.as_bytes());
                if record.tls {
                    out.push(b'~');
                }
            }),
            Variable::Backend => {
                self.text(record.backend.unwrap_or(record.frontend).as_bytes(), escape::IN_TEXT, flags);
            }
            Variable::Server => self.text(record.server.unwrap_or("<NOSRV>").as_bytes(), escape::IN_TEXT, flags),
            Variable::AcceptDate => self.dates.push_access(accept_us(record), self.out),
            Variable::AcceptDateGmt => self.dates.push_zoned(accept_us(record), false, self.out),
            Variable::AcceptDateLocal => self.dates.push_zoned(accept_us(record), true, self.out),
            Variable::AcceptSeconds => self.counter(accept_us(record) / 1_000_000, 4, flags),
            Variable::AcceptMillis => self.millis((accept_us(record) / 1000 % 1000) as u16, flags),
            Variable::RequestDate => self.dates.push_access(record.accepted_us, self.out),
            Variable::RequestDateGmt => self.dates.push_zoned(record.accepted_us, false, self.out),
            Variable::RequestDateLocal => self.dates.push_zoned(record.accepted_us, true, self.out),
            Variable::TimeHandshake => push_number(timers.handshake.unwrap_or(0), self.out),
            Variable::TimeIdle => push_number(timers.idle.unwrap_or(0), self.out),
            Variable::TimeRequest => push_or_minus_one(timers.request, self.out),
            Variable::TimeBeforeRequest => {
                push_or_minus_one(timers.request.map(|request| request.saturating_add(before)), self.out);
            }
            Variable::TimeQueue => push_or_minus_one(timers.queue, self.out),
            Variable::TimeConnect => push_or_minus_one(timers.connect, self.out),
            Variable::TimeResponse => push_or_minus_one(timers.response, self.out),
            Variable::TimeData => {
                let spent = [timers.request, timers.queue, timers.connect, timers.response];
                let spent = spent.iter().fold(0u32, |sum, timer| sum.saturating_add(timer.unwrap_or(0)));
                push_or_minus_one(timers.response.map(|_| timers.active.saturating_sub(spent)), self.out);
            }
            Variable::TimeActive => self.so_far(u64::from(timers.active)),
            Variable::TimeTotal => self.so_far(u64::from(timers.active.saturating_add(before))),
            Variable::TimeUser => self.so_far(u64::from(timers.active) + u64::from(timers.handshake.unwrap_or(0))),
            Variable::Status => push_or_minus_one(record.status, self.out),
            Variable::BytesOut => self.so_far(record.bytes_out),
            Variable::BytesIn => push_number(record.bytes_in, self.out),
            Variable::RequestCookie => self.cookie(record.request_cookie, flags),
            Variable::ResponseCookie => self.cookie(record.response_cookie, flags),
            Variable::TerminationShort => self.out.extend_from_slice(&record.termination[..2]),
            Variable::Termination => self.out.extend_from_slice(&record.termination),
            Variable::ProcessConnections => push_number(record.connections.process, self.out),
            Variable::FrontendConnections => push_number(record.connections.frontend, self.out),
            Variable::BackendConnections => push_number(record.connections.backend, self.out),
            Variable::ServerConnections => push_number(record.connections.server, self.out),
            Variable::Retries => {
                if record.redispatched {
                    self.out.push(b'+');
                }
                push_number(record.retries, self.out);
            }
            Variable::ServerQueue => push_number(record.server_queue, self.out),
            Variable::BackendQueue => push_number(record.backend_queue, self.out),
            Variable::RequestCaptures => return self.captures(record.request_captures, flags),
            Variable::ResponseCaptures => return self.captures(record.response_captures, flags),
            Variable::RequestCaptureList => return self.capture_list(record.request_captures, flags),
            Variable::ResponseCaptureList => return self.capture_list(record.response_captures, flags),
            Variable::RequestLine
            | Variable::Method
            | Variable::Uri
            | Variable::UriPath
            | Variable::Path
            | Variable::Query
            | Variable::Version => self.of_request(variable, flags),
            Variable::RequestId => {
                self.text(record.request_id.unwrap_or_default(), escape::IN_COOKIE | escape::IN_REQUEST, flags);
            }
            Variable::Hostname => self.text(self.surroundings.hostname.as_bytes(), escape::IN_TEXT, flags),
            Variable::ProcessId => self.counter(u64::from(self.surroundings.pid), 4, flags),
            Variable::RequestCounter => self.counter(u64::from(record.request_counter), 4, flags),
            Variable::LogCounter => self.counter(u64::from(record.log_counter), 4, flags),
            Variable::Tls(sample) => {
                let value = sample.value(record.tls_session);
                value.write(|value| self.text(value, escape::IN_COOKIE, flags));
            }
            Variable::TlsVersion => self.tls(|tls| tls.version, flags),
            Variable::TlsCipher => self.tls(|tls| tls.cipher, flags),
            Variable::ConnectionError => self.text(b"0", escape::IN_TEXT, flags),
            Variable::TlsError => self.tls(|_| "0000000000000000", flags),
            Variable::ClientCertificateError => match record.tls_session {
                None => self.text(b"", escape::IN_COOKIE, flags),
                tls => TlsSample::ClientVerify.value(tls).write(|value| self.text(value, escape::IN_COOKIE, flags)),
            },
            Variable::IssuerCertificateError => self.tls(|_| "0", flags),
            Variable::TlsResumed => {
                let resumed = record.tls_session.is_some_and(|tls| tls.resumed);
                self.text(if resumed { b"1" } else { b"0" }, escape::IN_TEXT, flags);
            }
            Variable::Announced(sample) => {
                let value = record.announced.and_then(|said| sample.of(said)).unwrap_or_default();
                self.text(value, escape::IN_COOKIE | escape::IN_REQUEST, flags);
            }
            Variable::TlsServerName => self.tls(|tls| tls.server_name.as_deref().unwrap_or_default(), flags),
        }
        true
    }

    fn quoted(&mut self, flags: Flags, write: impl FnOnce(&mut Vec<u8>)) {
        if flags.quote {
            self.out.push(b'"');
        }
        write(self.out);
        if flags.quote {
            self.out.push(b'"');
        }
    }

    /// A text; an absent one shows `-`, or nothing between quotes.
    fn text(&mut self, text: &[u8], class: u8, flags: Flags) {
        let class = if flags.quote && !flags.escape { class | escape::QUOTE } else { class };
        self.quoted(flags, |out| match text {
            [] if !flags.quote => out.push(b'-'),
            text => push_escaped(text, class, flags.escape, out),
        });
    }

    fn tls(&mut self, what: impl FnOnce(&TlsFacts) -> &str, flags: Flags) {
        let record = self.record;
        self.text(record.tls_session.map(what).unwrap_or_default().as_bytes(), escape::IN_COOKIE, flags);
    }

    fn cookie(&mut self, cookie: Option<&[u8]>, flags: Flags) {
        self.text(cookie.unwrap_or_default(), escape::IN_COOKIE, flags);
    }

    /// An address: `None` when there is none, `Some(None)` when it is a unix socket.
    fn ip(&mut self, address: Option<Option<SocketAddr>>, flags: Flags) {
        match address {
            None => self.text(b"", escape::IN_TEXT, flags),
            Some(None) => self.text(b"unix", escape::IN_TEXT, flags),
            Some(Some(address)) => self.quoted(flags, |out| match (flags.hex, address.ip()) {
                (false, ip) => out.extend_from_slice(IpText::new(ip).as_bytes()),
                (true, IpAddr::V4(ip)) => push_hex(&ip.octets(), out),
                (true, IpAddr::V6(ip)) => push_hex(&ip.octets(), out),
            }),
        }
    }

    /// Its port, which is never quoted.
    fn port(&mut self, address: Option<Option<SocketAddr>>, flags: Flags) {
        match address {
            None => self.text(b"", escape::IN_TEXT, flags),
            // HAProxy shows the number of the listener.
            Some(None) => self.out.push(b'1'),
            Some(Some(address)) if flags.hex => push_hex(&address.port().to_be_bytes(), self.out),
            Some(Some(address)) => push_number(address.port(), self.out),
        }
    }

    /// A number that hexadecimal is allowed for, with at least so many digits then.
    fn counter(&mut self, value: u64, least_digits: usize, flags: Flags) {
        if !flags.hex {
            return push_number(value, self.out);
        }
        let digits = (16 - value.leading_zeros() as usize / 4).max(least_digits);
        self.out.extend((0..digits).rev().map(|digit| HEX[(value >> (4 * digit)) as usize & 15]));
    }

    fn millis(&mut self, millis: u16, flags: Flags) {
        if flags.hex {
            return self.counter(u64::from(millis), 2, flags);
        }
        let digits = [millis / 100 % 10, millis / 10 % 10, millis % 10];
        self.out.extend(digits.iter().map(|digit| b'0' + *digit as u8));
    }

    /// A sum that still grows when the line is written before the end.
    fn so_far(&mut self, value: u64) {
        if self.record.asap {
            self.out.push(b'+');
        }
        push_number(value, self.out);
    }

    fn captures(&mut self, captures: Option<&[CapturedValue]>, flags: Flags) -> bool {
        let Some(captures) = captures else { return false };
        self.quoted(flags, |out| {
            out.push(b'{');
            for (index, value) in captures.iter().enumerate() {
                if index > 0 {
                    out.push(b'|');
                }
                push_escaped(value, escape::IN_CAPTURE, flags.escape, out);
            }
            out.push(b'}');
        });
        true
    }

    fn capture_list(&mut self, captures: Option<&[CapturedValue]>, flags: Flags) -> bool {
        let Some(captures) = captures.filter(|captures| !captures.is_empty()) else { return false };
        for (index, value) in captures.iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            self.text(value, escape::IN_CAPTURE, flags);
        }
        true
    }

    /// A part of the request line.
    fn of_request(&mut self, variable: Variable, flags: Flags) {
        let class = escape::IN_REQUEST;
        let line = self.record.request;
        self.quoted(flags, |out| {
            let Some(line) = line else {
                out.extend_from_slice(b"<BADREQ>");
                return;
            };
            let (before, query) = match memchr::memchr(b'?', line.target) {
                Some(at) => line.target.split_at(at),
                None => (line.target, &[][..]),
            };
            let part = match variable {
                Variable::Method => line.method,
                Variable::UriPath => before,
                Variable::Path => without_authority(before),
                Variable::Query => query,
                Variable::Version => line.version.as_bytes(),
                Variable::Uri => line.target,
                _ => {
                    push_escaped(line.method, class, flags.escape, out);
                    out.push(b' ');
                    push_escaped(line.target, class, flags.escape, out);
                    out.push(b' ');
                    line.version.as_bytes()
                }
            };
            push_escaped(part, class, flags.escape, out);
        });
    }
}

/// When the connection began to wait for the request: accepted, or done with the one before.
fn accept_us(record: &Record<'_>) -> u64 {
    let before = record.timers.handshake.unwrap_or(0).saturating_add(record.timers.idle.unwrap_or(0));
    record.accepted_us.saturating_sub(u64::from(before) * 1000)
}

/// The path of a target in absolute form (RFC 9112, 3.2.2), any other target as it is.
fn without_authority(target: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(target, b"://") else { return target };
    if target.first() == Some(&b'/') {
        return target;
    }
    let rest = target.get(at + 3..).unwrap_or_default();
    memchr::memchr(b'/', rest).and_then(|slash| rest.get(slash..)).unwrap_or(b"/")
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
}
