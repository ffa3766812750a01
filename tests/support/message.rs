//! HTTP/1 messages as the two ends of a test see them: read with framing, kept with every field in order.
//!
//! A second, deliberately simple reading of HTTP, independent of the one under test.

use std::io;

use super::wire::{Wire, lossy};

/// A request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub first_line: String,
    /// In order, names as received.
    pub fields: Vec<(String, String)>,
    /// Without framing.
    pub body: Vec<u8>,
    /// Sizes of the chunks, if it was chunked.
    pub chunks: Vec<usize>,
    /// Behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Bytes of the head.
    pub head_bytes: usize,
    /// Whether the framing said the body was whole. A body that ends with the connection is never known to be.
    pub whole: bool,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No length means no body.
    Request,
    /// No length means until close.
    Answer,
    /// An answer that has no body whatever it says.
    Bodiless,
}

impl Message {
    /// Reads a head; `None` when the peer closed instead.
    pub fn read_head(wire: &mut Wire) -> io::Result<Option<Message>> {
        let Some(bytes) = wire.take_until(b"\r\n\r\n")? else { return Ok(None) };
        let text = latin1(&bytes[..bytes.len() - 4]);
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        Ok(Some(Message { first_line, fields: fields(lines)?, head_bytes: bytes.len(), ..Message::default() }))
    }

    /// Reads the body that belongs to this head.
    pub fn read_body(&mut self, wire: &mut Wire, role: Role) -> io::Result<()> {
        self.whole = true;
        if role == Role::Bodiless {
            return Ok(());
        }
        if self.field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks(wire);
        }
        if let Some(length) = self.field("content-length") {
            let length: usize = length.parse().map_err(|_| bad(format!("content-length {length:?}")))?;
            self.whole = false;
            self.body = take_some(wire, length)?;
            self.whole = self.body.len() == length;
        } else if role == Role::Answer {
            self.body = wire.take_rest()?;
            self.whole = false;
        }
        Ok(())
    }

    fn read_chunks(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.whole = false;
        loop {
            let Ok(Some(line)) = wire.take_until(b"\r\n") else { return Ok(()) };
            let line = latin1(&line[..line.len() - 2]);
            let size = usize::from_str_radix(&line, 16).map_err(|_| bad(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            self.chunks.push(size);
            let mut piece = take_some(wire, size + 2)?;
            if piece.len() < size + 2 {
                piece.truncate(size);
                self.body.extend(piece);
                return Ok(());
            }
            if &piece[size..] != b"\r\n" {
                return Err(bad("a chunk without its end".to_owned()));
            }
            self.body.extend_from_slice(&piece[..size]);
        }
        loop {
            let Some(line) = wire.take_until(b"\r\n")? else { return Ok(()) };
            if line == b"\r\n" {
                self.whole = true;
                return Ok(());
            }
            let line = latin1(&line[..line.len() - 2]);
            self.trailers.extend(fields(std::iter::once(line.as_str()))?);
        }
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| {
            panic!("{:?} is no status line", self.first_line);
        })
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.first_line.split(' ').next().unwrap_or_default()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        lossy(&self.body)
    }
}

/// Up to `n` bytes: fewer when the peer closes or resets before.
fn take_some(wire: &mut Wire, n: usize) -> io::Result<Vec<u8>> {
    while wire.buffered().len() < n {
        match wire.fill() {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
            other => other?,
        };
    }
    let n = n.min(wire.buffered().len());
    wire.take(n)
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<Vec<(String, String)>> {
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("field line {line:?}")))?;
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
