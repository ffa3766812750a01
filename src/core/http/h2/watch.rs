//! Which frames pass on a connection: their headers are read as the bytes go by, nothing is kept.
//!
//! The `h2` crate does not say how many PING, SETTINGS, PRIORITY or WINDOW_UPDATE frames it was sent, nor which streams
//! it reset by itself. Whether a frame is well-formed is its business; here they are only counted (RFC 9113 section 4.1).

use super::PREFACE;

/// Bytes of a frame header.
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames that passed in one piece of the byte stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// HEADERS.
    pub headers: u32,
    /// DATA that carries something, or an end.
    pub data: u32,
    /// RST_STREAM.
    pub resets: u32,
    /// RST_STREAM and GOAWAY that complain of the other side.
    pub complaints: u32,
    /// Frames that move nothing on: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty and unknown ones.
    pub control: u32,
}

/// Reads the frame headers of one direction of a connection.
#[derive(Debug)]
pub struct FrameWatch {
    /// Bytes of the preface still to come.
    preface: usize,
    header: [u8; HEADER_BYTES],
    have: usize,
    /// Bytes of the frame still to come.
    left: u32,
    /// Where the error code of RST_STREAM and GOAWAY begins, counted in bytes still to come before it.
    code_in: Option<u32>,
    code: [u8; 4],
    code_have: usize,
    /// A field block has begun and its last frame is still to come.
    in_block: bool,
    /// The frame being read is part of a field block.
    in_head: bool,
    /// Frames so far, not counting those that only go on with a field block.
    frames: u64,
    /// Bytes so far.
    total: u64,
}

impl FrameWatch {
    /// What comes from a client, its preface first.
    pub fn of_client() -> FrameWatch {
        FrameWatch { preface: PREFACE.len(), ..FrameWatch::of_server() }
    }

    /// What goes to a client.
    pub fn of_server() -> FrameWatch {
        FrameWatch {
            preface: 0,
            header: [0; HEADER_BYTES],
            have: 0,
            left: 0,
            code_in: None,
            code: [0; 4],
            code_have: 0,
            in_block: false,
            in_head: false,
            frames: 0,
            total: 0,
        }
    }

    /// Whether a frame header or a field block has begun and is not all there.
    pub fn is_midway(&self) -> bool {
        self.in_block || (self.in_head && self.left > 0) || self.have > 0 || self.preface > 0
    }

    /// Frames that have begun, not counting those that only go on with a field block.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes that passed.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Reads on.
    pub fn observe(&mut self, mut bytes: &[u8], seen: &mut Seen) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = bytes.get(preface..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (payload, rest) = bytes.split_at(skipped);
                self.payload(payload, seen);
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at((HEADER_BYTES - self.have).min(bytes.len()));
            for (to, from) in self.header.iter_mut().skip(self.have).zip(part) {
                *to = *from;
            }
            self.have += part.len();
            bytes = rest;
            if self.have == HEADER_BYTES {
                self.have = 0;
                self.begin(seen);
            }
        }
    }

    /// A frame header is all there.
    fn begin(&mut self, seen: &mut Seen) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = u32::from_be_bytes([0, a, b, c]);
        self.code_in = None;
        self.in_head = matches!(kind, HEADERS | CONTINUATION);
        self.frames += u64::from(kind != CONTINUATION);
        match kind {
            DATA if self.left > 0 || flags & END_STREAM != 0 => seen.data += 1,
            HEADERS => {
                seen.headers += 1;
                self.in_block = flags & END_HEADERS == 0;
            }
            CONTINUATION => {
                self.in_block = flags & END_HEADERS == 0;
                if self.left == 0 {
                    seen.control += 1;
                }
            }
            RST_STREAM => {
                seen.resets += 1;
                self.code_in = Some(0);
            }
            GOAWAY => self.code_in = Some(4),
            // An answer to ours costs us nothing that we did not ask for.
            PING | SETTINGS if flags & ACK != 0 => {}
            _ => seen.control += 1,
        }
        self.code_have = 0;
    }

    fn payload(&mut self, bytes: &[u8], seen: &mut Seen) {
        self.left -= bytes.len() as u32;
        let Some(before) = &mut self.code_in else { return };
        for &byte in bytes {
            if *before > 0 {
                *before -= 1;
                continue;
            }
            let Some(place) = self.code.get_mut(self.code_have) else { return };
            *place = byte;
            self.code_have += 1;
            if self.code_have == self.code.len() && is_complaint(u32::from_be_bytes(self.code)) {
                seen.complaints += 1;
            }
        }
    }
}

/// PROTOCOL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR,
/// CONNECT_ERROR, ENHANCE_YOUR_CALM and what follows it, but not NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM and CANCEL.
fn is_complaint(code: u32) -> bool {
    !matches!(code, 0 | 2 | 7 | 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn conversation() -> Vec<u8> {
        [
            PREFACE.to_vec(),
            frame(SETTINGS, 0, &[0; 6]),
            frame(SETTINGS, ACK, b""),
            frame(HEADERS, 0, b"abc"),
            frame(CONTINUATION, END_HEADERS, b"def"),
            frame(DATA, 0, &[7; 1000]),
            frame(DATA, 0, b""),
            frame(DATA, END_STREAM, b""),
            frame(PING, 0, &[0; 8]),
            frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
            frame(2, 0, &[0; 5]),
            frame(99, 0, b"x"),
            frame(RST_STREAM, 0, &[0, 0, 0, 8]),
            frame(RST_STREAM, 0, &[0, 0, 0, 1]),
            frame(GOAWAY, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
            frame(GOAWAY, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'x']),
        ]
        .concat()
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let bytes = conversation();
        let expected = Seen { headers: 1, data: 2, resets: 2, complaints: 2, control: 6 };
        for size in [1, 2, 3, 7, 9, 10, 100, bytes.len()] {
            let (mut watch, mut seen) = (FrameWatch::of_client(), Seen::default());
            for piece in bytes.chunks(size) {
                watch.observe(piece, &mut seen);
            }
            assert_eq!(seen, expected, "in pieces of {size}");
            assert!(!watch.is_midway());
            assert_eq!(watch.total(), bytes.len() as u64);
        }
    }

    #[test]
    fn a_head_that_is_not_all_there_is_told() {
        let (mut watch, mut seen) = (FrameWatch::of_client(), Seen::default());
        assert!(watch.is_midway());
        watch.observe(PREFACE, &mut seen);
        assert!(!watch.is_midway());
        watch.observe(&frame(HEADERS, 0, b"abc"), &mut seen);
        assert!(watch.is_midway());
        watch.observe(&frame(CONTINUATION, END_HEADERS, b"abc"), &mut seen);
        assert!(!watch.is_midway());
        watch.observe(&[0, 0], &mut seen);
        assert!(watch.is_midway());
        let (mut watch, mut seen) = (FrameWatch::of_server(), Seen::default());
        let whole = frame(HEADERS, END_HEADERS, b"abc");
        watch.observe(&whole[..10], &mut seen);
        assert!(watch.is_midway());
        watch.observe(&whole[10..], &mut seen);
        assert!(!watch.is_midway() && watch.frames() == 1);
        watch.observe(&frame(DATA, 0, b"abc")[..10], &mut seen);
        assert!(!watch.is_midway(), "a body may take its time");
    }
}
