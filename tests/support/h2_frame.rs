//! Frames of HTTP/2 (RFC 9113, section 4 and 6), right or wrong, as bytes.

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    pub const ACK: u8 = 0x01;
    pub const END_STREAM: u8 = 0x01;
    pub const END_HEADERS: u8 = 0x04;
    pub const PADDED: u8 = 0x08;
    pub const PRIORITY: u8 = 0x20;
}

/// Settings (RFC 9113, section 6.5.2; the last of RFC 8441).
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Error codes (RFC 9113, section 7).
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const SETTINGS_TIMEOUT: u32 = 4;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// One frame, said or heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Frame {
        Frame { kind, flags, stream, payload: payload.as_ref().to_vec() }
    }

    /// A piece of a body.
    pub fn data(stream: u32, flags: u8, bytes: impl AsRef<[u8]>) -> Frame {
        Frame::new(kind::DATA, flags, stream, bytes)
    }

    /// A block, or the beginning of one.
    pub fn headers(stream: u32, flags: u8, block: impl AsRef<[u8]>) -> Frame {
        Frame::new(kind::HEADERS, flags, stream, block)
    }

    /// More of a block.
    pub fn continuation(stream: u32, flags: u8, block: impl AsRef<[u8]>) -> Frame {
        Frame::new(kind::CONTINUATION, flags, stream, block)
    }

    /// `weight` from 1 to 256.
    pub fn priority(stream: u32, depends_on: u32, exclusive: bool, weight: u16) -> Frame {
        Frame::new(kind::PRIORITY, 0, stream, priority_fields(depends_on, exclusive, weight))
    }

    /// The end of a stream by one side.
    pub fn reset(stream: u32, code: u32) -> Frame {
        Frame::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// Settings in this order.
    pub fn settings(values: &[(u16, u32)]) -> Frame {
        let bytes = values.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        Frame::new(kind::SETTINGS, 0, 0, bytes.collect::<Vec<u8>>())
    }

    /// The other side's settings are in force.
    pub fn settings_ack() -> Frame {
        Frame::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// A question that must be answered.
    pub fn ping(bytes: [u8; 8]) -> Frame {
        Frame::new(kind::PING, 0, 0, bytes)
    }

    /// The end of a connection.
    pub fn goaway(last: u32, code: u32, debug: &[u8]) -> Frame {
        Frame::new(kind::GOAWAY, 0, 0, [&last.to_be_bytes()[..], &code.to_be_bytes(), debug].concat())
    }

    /// Room for more bytes; stream 0 is the connection.
    pub fn window_update(stream: u32, bytes: u32) -> Frame {
        Frame::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    /// A promise, which only servers may give.
    pub fn push_promise(stream: u32, promised: u32, block: &[u8]) -> Frame {
        let payload = [&promised.to_be_bytes()[..], block].concat();
        Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, payload)
    }

    /// The same with padding; the payload says `padding` whatever stands behind it.
    pub fn padded(mut self, padding: u8, zeros: usize) -> Frame {
        self.flags |= flag::PADDED;
        self.payload.insert(0, padding);
        self.payload.resize(self.payload.len() + zeros, 0);
        self
    }

    /// A HEADERS frame with the five bytes of a priority.
    pub fn prioritised(mut self, depends_on: u32, exclusive: bool, weight: u16) -> Frame {
        self.flags |= flag::PRIORITY;
        self.payload = [priority_fields(depends_on, exclusive, weight).to_vec(), self.payload].concat();
        self
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a short payload").to_be_bytes();
        let mut out = length[1..].to_vec();
        out.extend([self.kind, self.flags]);
        out.extend(self.stream.to_be_bytes());
        out.extend(&self.payload);
        out
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number in the last four of the first `end` bytes.
    pub fn number(&self, end: usize) -> u32 {
        self.payload[..end].last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// The code of a reset or a GOAWAY.
    pub fn code(&self) -> Option<u32> {
        match self.kind {
            kind::RST_STREAM => Some(self.number(4)),
            kind::GOAWAY => Some(self.number(8)),
            _ => None,
        }
    }
}

fn priority_fields(depends_on: u32, exclusive: bool, weight: u16) -> [u8; 5] {
    let [a, b, c, d] = (depends_on | u32::from(exclusive) << 31).to_be_bytes();
    [a, b, c, d, u8::try_from(weight - 1).expect("a weight from 1 to 256")]
}
