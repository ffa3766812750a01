//! From bytes to lines: what has arrived on a connection and was not yet carried out.
//!
//! A line that ends in ` <<` carries a payload: the lines behind it, up to an empty one.

/// The longest line without its payload, in bytes. HAProxy: its buffer (`tune.bufsize`).
pub const LINE_MAX_BYTES: usize = 16 * 1024;

/// The longest payload, in bytes: a certificate chain with its key, or some thousand lines of a map. HAProxy: the line's
/// own limit.
pub const PAYLOAD_MAX_BYTES: usize = 256 * 1024;

/// One line to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The commands, without the line end and without `<<`.
    pub text: String,
    /// The payload's lines, each with its `\n`.
    pub payload: Option<String>,
}

/// What [`Input::next`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A whole line.
    Line(Line),
    /// Not yet; more bytes are needed.
    More,
    /// The line is longer than [`LINE_MAX_BYTES`] or its payload longer than [`PAYLOAD_MAX_BYTES`]. Nothing more can be
    /// read from this input.
    TooBig,
}

/// Bytes that arrived and were not yet carried out.
#[derive(Debug, Default)]
pub struct Input {
    buffer: Vec<u8>,
    /// How much of the buffer was looked through already: a peer that sends byte by byte costs no more than another.
    looked: usize,
    /// The line whose payload is arriving; the payload begins at the start of the buffer.
    line: Option<String>,
    too_big: bool,
}

impl Input {
    /// Nothing yet.
    pub fn new() -> Input {
        Input::default()
    }

    /// Adds what arrived. Callers take lines out before they add more, so that the buffer stays within the limit and one
    /// read.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.too_big {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes the next line out, if it is complete.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Next {
        if self.too_big {
            return Next::TooBig;
        }
        let found = self.find();
        match found {
            Next::TooBig => {
                self.too_big = true;
                self.line = None;
                self.buffer = Vec::new();
            }
            Next::More if self.buffer.capacity() > LINE_MAX_BYTES && self.buffer.len() < 1024 => {
                self.buffer.shrink_to_fit();
            }
            _ => {}
        }
        found
    }

    fn find(&mut self) -> Next {
        if self.line.is_some() {
            return self.find_payload();
        }
        let fresh = self.buffer.get(self.looked..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', fresh).map(|at| self.looked + at) else {
            self.looked = self.buffer.len();
            return if self.buffer.len() > LINE_MAX_BYTES { Next::TooBig } else { Next::More };
        };
        if end > LINE_MAX_BYTES {
            return Next::TooBig;
        }
        let text = String::from_utf8_lossy(without_cr(&self.buffer[..end])).into_owned();
        self.take(end + 1);
        match payload_follows(&text) {
            None => Next::Line(Line { text, payload: None }),
            Some(before) => {
                self.line = Some(before.to_owned());
                self.find_payload()
            }
        }
    }

    /// Looks for the empty line that ends a payload.
    fn find_payload(&mut self) -> Next {
        while let Some(fresh) = self.buffer.get(self.looked..)
            && let Some(length) = memchr::memchr(b'\n', fresh)
        {
            let end = self.looked;
            if end > PAYLOAD_MAX_BYTES {
                return Next::TooBig;
            }
            self.looked += length + 1;
            if without_cr(&fresh[..length]).is_empty() {
                let payload = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.take(self.looked);
                let text = self.line.take().unwrap_or_default();
                return Next::Line(Line { text, payload: Some(payload) });
            }
        }
        if self.buffer.len() > PAYLOAD_MAX_BYTES + 2 { Next::TooBig } else { Next::More }
    }

    /// Drops the first `n` bytes; what is left was not looked at.
    fn take(&mut self, n: usize) {
        self.buffer.drain(..n);
        self.looked = 0;
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The text before a closing `<<`.
fn payload_follows(text: &str) -> Option<&str> {
    let before = text.trim_end().strip_suffix("<<")?;
    (before.is_empty() || before.ends_with([' ', '\t'])).then(|| before.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Next {
        Next::Line(Line { text: text.into(), payload: None })
    }

    fn with_payload(text: &str, payload: &str) -> Next {
        Next::Line(Line { text: text.into(), payload: Some(payload.into()) })
    }

    fn read(bytes: &[u8]) -> Vec<Next> {
        let mut input = Input::new();
        input.push(bytes);
        let mut out = Vec::new();
        loop {
            out.push(input.next());
            if !matches!(out.last(), Some(Next::Line(_))) {
                return out;
            }
        }
    }

    #[test]
    fn lines_and_payloads() {
        use Next::More;
        let cases: &[(&[u8], Vec<Next>)] = &[
            (b"", vec![More]),
            (b"show version", vec![More]),
            (b"show version\n", vec![line("show version"), More]),
            (b"show version\r\n", vec![line("show version"), More]),
            (b"\n", vec![line(""), More]),
            (b"a\nb\nc", vec![line("a"), line("b"), More]),
            (b"add map x <<\nk v\nl w\n\nnext\n", vec![with_payload("add map x", "k v\nl w\n"), line("next"), More]),
            (b"set x <<\r\nk\r\n\r\n", vec![with_payload("set x", "k\r\n"), More]),
            (b"add map x <<\n\n", vec![with_payload("add map x", ""), More]),
            (b"add map x <<\nk v\n", vec![More]),
            (b"add map x <<%EOF%\n", vec![line("add map x <<%EOF%"), More]),
            (b"a<<\n", vec![line("a<<"), More]),
            (b"\xff\x00\n", vec![line("\u{fffd}\0"), More]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&read(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut input = Input::new();
        for byte in b"show info" {
            input.push(&[*byte]);
            assert_eq!(input.next(), Next::More);
        }
        input.push(b"\n");
        assert_eq!(input.next(), line("show info"));
        let mut found = Vec::new();
        for byte in b"add map x <<\r\nk v\r\n\r\nshow info\n" {
            input.push(&[*byte]);
            found.extend(Some(input.next()).filter(|next| *next != Next::More));
        }
        assert_eq!(found, [with_payload("add map x", "k v\r\n"), line("show info")]);
    }

    #[test]
    fn too_long_lines_end_the_input() {
        let longest = [vec![b'x'; LINE_MAX_BYTES], b"\n".to_vec()].concat();
        assert_eq!(read(&longest).len(), 2, "exactly the limit is a line");
        assert_eq!(read(&[vec![b'x'; LINE_MAX_BYTES + 1], b"\n".to_vec()].concat()), [Next::TooBig]);
        assert_eq!(read(&vec![b'x'; LINE_MAX_BYTES + 1]), [Next::TooBig], "no line end is needed to see it");
        let mut input = Input::new();
        input.push(&vec![b'y'; 10 << 20]);
        assert_eq!(input.next(), Next::TooBig);
        input.push(b"\nshow version\n");
        assert_eq!(input.next(), Next::TooBig, "nothing after it is carried out");
        assert!(input.buffer.capacity() < 1024, "and nothing of it is kept");
        let payload = |bytes: usize| [b"a <<\n".to_vec(), b"line\n".repeat(bytes / 5), b"\n".to_vec()].concat();
        assert_eq!(read(&payload(PAYLOAD_MAX_BYTES)).len(), 2, "a payload has a limit of its own");
        assert_eq!(read(&payload(PAYLOAD_MAX_BYTES + 10)), [Next::TooBig]);
        assert_eq!(read(&payload(10 << 20)), [Next::TooBig]);
        let endless = [b"a <<\n".to_vec(), vec![b'x'; PAYLOAD_MAX_BYTES + 3]].concat();
        assert_eq!(read(&endless), [Next::TooBig], "no line end is needed to see it");
    }
}
