//! Websockets as raw bytes (RFC 6455): frames a client says, frames it hears, and servers that say everything back.
//!
//! [`messages`] is a real implementation and answers message by message; [`frames`] is ours and answers frame by frame,
//! fragments and all. Both end a connection so that nothing they said is lost.

use std::io;
use std::net::SocketAddr;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, accept_with_config};

use super::client::RawClient;
use super::message::Message as HttpMessage;
use super::origin::OriginConn;
use super::wire::Wire;

/// What kind of frame it is (RFC 6455, section 11.8).
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// The key of every handshake here: RFC 6455's own example.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub last: bool,
    /// The three reserved bits, 0 to 7.
    pub reserved: u8,
    /// One of [`opcode`].
    pub opcode: u8,
    /// Without the mask.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message or control frame.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { last: true, reserved: 0, opcode, payload: payload.as_ref().to_vec() }
    }

    /// A text message.
    pub fn text(text: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::TEXT, text)
    }

    /// A binary message.
    pub fn binary(bytes: impl AsRef<[u8]>) -> Frame {
        Frame::new(opcode::BINARY, bytes)
    }

    /// The end, with code and reason.
    pub fn close(code: u16, reason: &str) -> Frame {
        Frame::new(opcode::CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
    }

    /// The same frame with more of its message to come.
    pub fn unfinished(mut self) -> Frame {
        self.last = false;
        self
    }

    /// The same frame with reserved bits set.
    pub fn reserved(mut self, bits: u8) -> Frame {
        self.reserved = bits;
        self
    }

    /// As a server says it.
    pub fn bare(&self) -> Vec<u8> {
        let mut out = self.head(0);
        out.extend(&self.payload);
        out
    }

    /// As a client says it.
    pub fn masked(&self, key: [u8; 4]) -> Vec<u8> {
        let mut out = self.head(0x80);
        out.extend(key);
        out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn head(&self, mask: u8) -> Vec<u8> {
        let mut out = vec![u8::from(self.last) << 7 | self.reserved << 4 | self.opcode];
        let length = self.payload.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => out.push(mask | short),
            (_, Ok(medium)) => {
                out.push(mask | 126);
                out.extend(medium.to_be_bytes());
            }
            (_, Err(_)) => {
                out.push(mask | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out
    }

    /// The next frame, masked or not; `None` when the peer has ended its direction between two frames.
    pub fn read(wire: &mut Wire) -> io::Result<Option<Frame>> {
        if wire.buffered().is_empty() && wire.fill()? == 0 {
            return Ok(None);
        }
        let head = wire.take(2)?;
        let length = match head[1] & 0x7f {
            126 => wire.take(2)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
            127 => wire.take(8)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        let key = if head[1] & 0x80 == 0 { vec![0; 4] } else { wire.take(4)? };
        let mut payload = wire.take(length)?;
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Ok(Some(Frame { last: head[0] & 0x80 != 0, reserved: head[0] >> 4 & 7, opcode: head[0] & 0x0f, payload }))
    }

    /// Reads a recording to its end.
    ///
    /// # Panics
    /// When the bytes end inside a frame.
    #[track_caller]
    pub fn parse_all(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(2);
            let (extended, rest) = rest.split_at(match head[1] & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            });
            let length = match extended {
                [] => usize::from(head[1] & 0x7f),
                some => some.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
            };
            assert_eq!(head[1] & 0x80, 0, "servers do not mask");
            assert!(rest.len() >= length, "the connection ended inside a frame");
            let (payload, rest) = rest.split_at(length);
            let frame = Frame {
                last: head[0] & 0x80 != 0,
                reserved: head[0] >> 4 & 7,
                opcode: head[0] & 0x0f,
                payload: payload.to_vec(),
            };
            frames.push(frame);
            bytes = rest;
        }
        frames
    }

    /// In a few words: `text 5`, `close 1000`; `…` stands behind a frame with more of its message to come.
    pub fn summary(&self) -> String {
        let kind = match self.opcode {
            opcode::CONTINUATION => "more",
            opcode::TEXT => "text",
            opcode::BINARY => "binary",
            opcode::CLOSE => "close",
            opcode::PING => "ping",
            opcode::PONG => "pong",
            _ => "unknown",
        };
        let number = match (self.opcode, self.payload.first_chunk()) {
            (opcode::CLOSE, Some(code)) => usize::from(u16::from_be_bytes(*code)),
            _ => self.payload.len(),
        };
        format!("{kind} {number}{}", if self.last { "" } else { "…" })
    }
}

/// The summaries of several frames in one line.
pub fn summary(frames: &[Frame]) -> String {
    frames.iter().map(Frame::summary).collect::<Vec<_>>().join(", ")
}

/// An opening handshake, with further fields (`"Origin: x\r\n"`).
pub fn handshake(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: www.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// The answer that accepts a handshake, with further fields.
pub fn acceptance(request: &HttpMessage, fields: &str) -> String {
    let accept = derive_accept_key(request.field("sec-websocket-key").unwrap_or_default().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
}

/// A connection on which websocket frames may be said.
#[track_caller]
pub fn open(to: SocketAddr, target: &str) -> RawClient {
    opened(RawClient::connect(to), target)
}

/// [`open`] on a connection that exists, over TLS for instance.
#[track_caller]
pub fn opened(mut client: RawClient, target: &str) -> RawClient {
    let answer = client.ask(handshake(target, ""));
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client
}

/// A server that says every message back, as tungstenite does it: pings are answered, closes too, fragments joined.
pub fn messages(conn: &mut OriginConn) -> io::Result<()> {
    let tcp = conn.wire.transport().tcp().expect("a server without TLS").try_clone()?;
    let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let mut socket = accept_with_config(tcp, Some(config)).map_err(io::Error::other)?;
    loop {
        let done = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
            Ok(_) => socket.flush(),
            Err(Error::Protocol(_)) => {
                let frame = CloseFrame { code: CloseCode::Protocol, reason: "".into() };
                let _ = socket.close(Some(frame)).and_then(|()| socket.flush());
                break;
            }
            Err(Error::Utf8(_)) => {
                let frame = CloseFrame { code: CloseCode::Invalid, reason: "".into() };
                let _ = socket.close(Some(frame)).and_then(|()| socket.flush());
                break;
            }
            Err(_) => break,
        };
        if done.is_err() {
            break;
        }
    }
    end(conn)
}

/// A server that says every frame back as it came, and ends after a close or with the client.
pub fn frames(conn: &mut OriginConn) -> io::Result<()> {
    let Some(request) = conn.request_head()? else { return Ok(()) };
    conn.send(acceptance(&request, ""))?;
    while let Some(frame) = Frame::read(&mut conn.wire)? {
        conn.send(frame.bare())?;
        if frame.opcode == opcode::CLOSE {
            break;
        }
    }
    end(conn)
}

/// Closes our direction, then waits for the other: unread bytes would turn the end into a reset.
pub fn end(conn: &mut OriginConn) -> io::Result<()> {
    conn.wire.half_close();
    conn.stall()
}

/// Frames as a client says them; a close is added unless the last one ends the conversation.
pub fn said(frames: &[Frame]) -> Vec<u8> {
    let ends = frames.last().is_some_and(|frame| frame.opcode == opcode::CLOSE);
    let close = Frame::close(1000, "done");
    let all = frames.iter().chain((!ends).then_some(&close));
    all.enumerate().flat_map(|(n, frame)| frame.masked(key(n))).collect()
}

/// Some mask, the same for the same place.
pub fn key(n: usize) -> [u8; 4] {
    let n = u8::try_from(n % 200).expect("a small number");
    [0x9e ^ n, 0x37, n, 0xb9]
}

/// Some bytes, the same for the same length.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// Some text.
pub fn letters(length: usize) -> String {
    "the quick brown fox; ".chars().cycle().take(length).collect()
}

/// Conversations: what a client says, and what [`messages`] answers.
#[rustfmt::skip]
pub fn conversations() -> Vec<(&'static str, Vec<Frame>, &'static str)> {
    let more = |payload: &str| Frame::new(opcode::CONTINUATION, payload);
    let ping = |payload: &str| Frame::new(opcode::PING, payload);
    vec![
        ("nothing", vec![], "close 1000"),
        ("a text", vec![Frame::text("hello")], "text 5, close 1000"),
        ("an empty text", vec![Frame::text("")], "text 0, close 1000"),
        ("a text beyond ASCII", vec![Frame::text("grüße, 世界 🌍")], "text 20, close 1000"),
        ("several texts", vec![Frame::text("a"), Frame::text("bc"), Frame::text("def")], "text 1, text 2, text 3, close 1000"),
        ("binary", vec![Frame::binary([0, 255, 10, 13, 0])], "binary 5, close 1000"),
        ("an empty binary", vec![Frame::binary([])], "binary 0, close 1000"),
        ("the longest short length", vec![Frame::text(letters(125))], "text 125, close 1000"),
        ("the shortest medium length", vec![Frame::text(letters(126))], "text 126, close 1000"),
        ("the longest medium length", vec![Frame::binary(bytes(65_535))], "binary 65535, close 1000"),
        ("the shortest long length", vec![Frame::binary(bytes(65_536))], "binary 65536, close 1000"),
        ("a megabyte", vec![Frame::binary(bytes(1 << 20))], "binary 1048576, close 1000"),
        ("fragments", vec![Frame::text("one ").unfinished(), more("two ").unfinished(), more("three")], "text 13, close 1000"),
        ("empty fragments", vec![Frame::text("").unfinished(), more("").unfinished(), more("x").unfinished(), more("")], "text 1, close 1000"),
        ("a letter split between fragments", vec![Frame::text([0xc3]).unfinished(), Frame::new(opcode::CONTINUATION, [0xa4])], "text 2, close 1000"),
        ("pings", vec![ping(""), ping("are you there"), ping(&letters(125))], "pong 0, pong 13, pong 125, close 1000"),
        ("a ping between fragments", vec![Frame::text("one ").unfinished(), ping("?"), more("two")], "pong 1, text 7, close 1000"),
        ("pongs nobody asked for", vec![Frame::new(opcode::PONG, "!"), Frame::text("x")], "text 1, close 1000"),
        ("a close without a code", vec![Frame::new(opcode::CLOSE, "")], "close 0"),
        ("going away", vec![Frame::close(1001, "")], "close 1001"),
        ("a close with the longest reason", vec![Frame::close(1000, &letters(123))], "close 1000"),
        ("unsupported", vec![Frame::close(1003, "no")], "close 1003"),
        ("policy", vec![Frame::close(1008, "no")], "close 1008"),
        ("too big", vec![Frame::close(1009, "no")], "close 1009"),
        ("an error of the server's", vec![Frame::close(1011, "no")], "close 1011"),
        ("a library's code", vec![Frame::close(3000, "")], "close 3000"),
        ("an application's code", vec![Frame::close(4999, "")], "close 4999"),
        ("reserved bits", vec![Frame::text("x").reserved(4)], "close 1002"),
        ("an unknown opcode", vec![Frame::new(3, "x")], "close 1002"),
        ("a fragment of nothing", vec![more("x")], "close 1002"),
        ("a ping in fragments", vec![ping("x").unfinished()], "close 1002"),
        ("a ping too long", vec![ping(&letters(126))], "close 1002"),
        ("text that is none", vec![Frame::text([0xff, 0xfe])], "close 1007"),
    ]
}
