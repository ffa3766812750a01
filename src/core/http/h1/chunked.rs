//! The chunked coding: bytes in, pieces of body out (RFC 9112 section 7.1).
//!
//! The decoder holds no body: it says which part of the input is body. Chunk extensions are read over and dropped;
//! trailers are parsed like head fields and filtered. Not here: when to send which piece.

use super::line::{Line, field_line};
use super::reject::{BAD_GATEWAY, Reject, RejectReason};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::grammar::{hex_digit, is_value_byte};
use crate::core::http::head::Known;

/// What the decoder found at the start of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkEvent {
    /// All of the input was framing, or none was left; give it what follows these `consumed` bytes.
    NeedMore {
        /// The input's length.
        consumed: usize,
    },
    /// A piece of body: `input[consumed_before..consumed_before + len]`. Go on behind it.
    Data {
        /// Framing in front of the piece.
        consumed_before: usize,
        /// Length of the piece; never 0.
        len: usize,
    },
    /// The body is over; what follows these `consumed` bytes is not part of the message.
    End {
        /// Framing at the end.
        consumed: usize,
    },
}

/// A chunked body being read.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    /// Bytes of the chunk-size line so far, or digits' value and bytes of data to come.
    line_bytes: usize,
    digits: u8,
    remaining: u64,
    /// Body bytes so far.
    total: u64,
    /// Bytes of trailers so far, dropped ones included.
    trailer_bytes: usize,
    trailer_fields: usize,
    /// The trailer line being read.
    line: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Offset of the next input byte in the body as sent, for refusals.
    at: usize,
    status_on_error: u16,
    line_max: usize,
    head_max: usize,
    fields_max: usize,
    body_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    End,
}

impl ChunkDecoder {
    /// A body from its first byte on. `status_on_error` is 400 in a request, where `body_max_bytes` holds and some
    /// rules have a status of their own (413, 431), and 502 in an answer.
    pub fn new(limits: &HttpLimits, status_on_error: u16) -> ChunkDecoder {
        let body_max = if status_on_error == BAD_GATEWAY { None } else { limits.body_max_bytes };
        ChunkDecoder {
            state: State::Size,
            line_bytes: 0,
            digits: 0,
            remaining: 0,
            total: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            line: Vec::new(),
            trailers: Vec::new(),
            at: 0,
            status_on_error,
            line_max: limits.chunk_line_max_bytes,
            head_max: limits.head_max_bytes,
            fields_max: limits.fields_max,
            body_max: body_max.unwrap_or(u64::MAX),
        }
    }

    /// Reads on. Framing is consumed up to the next piece of body, the end, or the end of the input. After an error or
    /// the end the decoder is of no more use.
    pub fn decode(&mut self, input: &[u8]) -> Result<ChunkEvent, Reject> {
        let mut used = 0;
        let result = self.run(input, &mut used);
        let base = self.at;
        self.at = self.at.saturating_add(used);
        match result {
            Ok(event) => {
                if let ChunkEvent::Data { len, .. } = event {
                    self.at = self.at.saturating_add(len);
                }
                Ok(event)
            }
            Err(reason) => {
                let at = base.saturating_add(used);
                if self.status_on_error == BAD_GATEWAY {
                    Err(Reject::response(reason, at))
                } else {
                    Err(Reject::request(reason, at))
                }
            }
        }
    }

    /// The trailers that may be passed on; complete once [`ChunkEvent::End`] came.
    pub fn trailers(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.trailers
    }

    /// Whether the body is over.
    pub fn is_ended(&self) -> bool {
        self.state == State::End
    }

    /// Body bytes so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn run(&mut self, input: &[u8], used: &mut usize) -> Result<ChunkEvent, RejectReason> {
        loop {
            if self.state == State::End {
                return Ok(ChunkEvent::End { consumed: *used });
            }
            let Some(&b) = input.get(*used) else { return Ok(ChunkEvent::NeedMore { consumed: *used }) };
            if self.state == State::Data {
                let left = input.len() - *used;
                let len = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(left);
                self.remaining -= len as u64;
                self.total += len as u64;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
                return Ok(ChunkEvent::Data { consumed_before: *used, len });
            }
            self.framing_byte(b)?;
            *used += 1;
        }
    }

    fn framing_byte(&mut self, b: u8) -> Result<(), RejectReason> {
        match self.state {
            State::Size | State::Extension | State::SizeLf => {
                self.line_bytes += 1;
                if self.line_bytes > self.line_max {
                    return Err(RejectReason::ChunkLineTooLong);
                }
                self.size_line_byte(b)?;
            }
            State::DataCr if b == b'\r' => self.state = State::DataLf,
            State::DataLf if b == b'\n' => self.start_size_line(),
            State::DataCr | State::DataLf => return Err(RejectReason::ChunkEnd),
            State::Trailer => self.trailer_byte(b)?,
            State::Data | State::End => {}
        }
        Ok(())
    }

    fn start_size_line(&mut self) {
        self.state = State::Size;
        self.line_bytes = 0;
        self.digits = 0;
        self.remaining = 0;
    }

    fn size_line_byte(&mut self, b: u8) -> Result<(), RejectReason> {
        match (self.state, b) {
            (State::Size, _) => match (hex_digit(b), b) {
                (Some(_), _) if self.digits == 16 => return Err(RejectReason::ChunkSizeTooLarge),
                (Some(digit), _) => {
                    self.digits += 1;
                    self.remaining = self.remaining << 4 | u64::from(digit);
                }
                (None, b';') if self.digits > 0 => self.state = State::Extension,
                (None, b'\r') if self.digits > 0 => self.state = State::SizeLf,
                (None, b'\n') if self.digits > 0 => return Err(RejectReason::BareLf),
                _ => return Err(RejectReason::ChunkSize),
            },
            (State::Extension, b'\r') => self.state = State::SizeLf,
            (State::Extension, b'\n') => return Err(RejectReason::BareLf),
            (State::Extension, 0) => return Err(RejectReason::Nul),
            (State::Extension, b) if !is_value_byte(b) => return Err(RejectReason::ControlByte),
            (State::SizeLf, b'\n') => return self.end_size_line(),
            (State::SizeLf, _) => return Err(RejectReason::BareCr),
            _ => {}
        }
        Ok(())
    }

    fn end_size_line(&mut self) -> Result<(), RejectReason> {
        self.state = if self.remaining == 0 { State::Trailer } else { State::Data };
        // A total beyond u64 cannot be sent by anyone, but a chunk may claim it.
        let claimed = self.total.checked_add(self.remaining).ok_or(RejectReason::ChunkSizeTooLarge)?;
        if claimed > self.body_max { Err(RejectReason::BodyTooLarge) } else { Ok(()) }
    }

    fn trailer_byte(&mut self, b: u8) -> Result<(), RejectReason> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.head_max {
            return Err(RejectReason::TrailersTooLarge);
        }
        self.line.push(b);
        if b != b'\n' {
            // Most bytes of a line need no verdict before its end; a CR must be judged by what follows it.
            return match self.line.as_slice() {
                [.., b'\r', _] => Err(RejectReason::BareCr),
                _ => Ok(()),
            };
        }
        match field_line(&self.line, 0).map_err(|(reason, _)| reason)? {
            Line::End { .. } => self.state = State::End,
            Line::Field { name, value, .. } => {
                self.trailer_fields += 1;
                if self.trailer_fields > self.fields_max {
                    return Err(RejectReason::TrailersTooLarge);
                }
                if may_be_trailer(&self.line[name.clone()]) {
                    self.trailers.push((self.line[name].to_vec(), self.line[value].to_vec()));
                }
            }
            Line::Partial => return Err(RejectReason::NoColon),
        }
        self.line.clear();
        Ok(())
    }
}

/// Names that mean something only in a head, besides those [`Known`] names (RFC 9110 section 6.5.1). A server that
/// merges trailers into the head must not find any of them there.
const HEAD_ONLY: [&[u8]; 38] = [
    b"accept",
    b"accept-charset",
    b"accept-encoding",
    b"accept-language",
    b"access-control-request-headers",
    b"access-control-request-method",
    b"age",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"early-data",
    b"expires",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"proxy-authentication-info",
    b"range",
    b"referer",
    b"remote-user",
    b"retry-after",
    b"set-cookie2",
    b"strict-transport-security",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"user-agent",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-http-method-override",
    b"x-request-id",
    b"x-real-ip",
];

/// Whether a trailer of that name is passed on. Underscores are refused: servers that turn them into hyphens would see
/// one of the names above.
pub fn may_be_trailer(name: &[u8]) -> bool {
    let starts = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    Known::of(name) == Known::Other
        && !name.contains(&b'_')
        && ![&b"content-"[..], b"x-forwarded-", b"x-original-", b"x-rewrite-", b"x-auth", b"sec-", b"proxy-"]
            .iter()
            .any(|p| starts(p))
        && !HEAD_ONLY.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Writes the line in front of a chunk of `len` bytes, which must not be 0; CRLF goes behind the data.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for n in (0..digits).rev() {
        out.push(DIGITS[(len >> (4 * n)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body, behind the CRLF of its last chunk.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &[(Vec<u8>, Vec<u8>)]) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        for part in [name, &b": "[..], value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}
