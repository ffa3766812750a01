//! HTTP/2 as raw frames (RFC 9113): a client that says exactly what it is told to, and hears every frame.
//!
//! Independent of the library under test: frames are bytes here, header blocks are written and read by [`super::hpack`].

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[allow(unused_imports, reason = "tests/h2 alone uses all of it")]
pub use super::h2_frame::{Frame, code, flag, kind, setting};
use super::hpack::{self, Reader};
use super::wire::{Transport, Wire};

/// What every client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Frame(Frame),
    /// The connection ended, in order or not.
    End,
    /// Nothing, for as long as was waited.
    Silence,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// More may come.
    Open,
    /// It is whole.
    Whole,
    /// The server gave the stream up.
    Reset(u32),
    /// The server gave the connection up; the code of its GOAWAY, if it sent one.
    Lost(Option<u32>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Statuses of 1xx before it.
    pub interim: Vec<u16>,
    /// Without `:status`.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub course: Course,
}

impl Answer {
    fn new() -> Answer {
        Answer {
            status: 0,
            interim: Vec::new(),
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            course: Course::Open,
        }
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        super::wire::lossy(&self.body)
    }
}

/// One connection.
pub struct H2Client {
    /// The connection's bytes.
    pub wire: Wire,
    /// The server's settings so far.
    pub settings: BTreeMap<u16, u32>,
    /// Whether windows are opened again as bodies arrive.
    pub consumes: bool,
    /// What came on each stream.
    pub answers: BTreeMap<u32, Answer>,
    /// Codes of GOAWAY frames.
    pub farewells: Vec<u32>,
    /// What may still be said in DATA frames: by stream, 0 the connection.
    windows: BTreeMap<u32, i64>,
    reader: Reader,
    block: Option<(Frame, Vec<u8>)>,
    settled: bool,
}

impl H2Client {
    /// A connection on which nothing has been said.
    pub fn silent(wire: Wire) -> H2Client {
        H2Client {
            wire,
            settings: BTreeMap::new(),
            consumes: true,
            answers: BTreeMap::new(),
            farewells: Vec::new(),
            windows: BTreeMap::from([(0, 65_535)]),
            reader: Reader::new(),
            block: None,
            settled: false,
        }
    }

    /// [`H2Client::silent`] over TCP.
    #[track_caller]
    pub fn tcp(to: SocketAddr) -> H2Client {
        let tcp = TcpStream::connect(to).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
        H2Client::silent(Wire::new(Transport::Tcp(tcp)))
    }

    /// A connection in clear text whose settings have been exchanged.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> H2Client {
        H2Client::tcp(to).greet(&[])
    }

    /// Says the preface and these settings, and waits until both sides' settings are in force.
    #[track_caller]
    pub fn greet(mut self, settings: &[(u16, u32)]) -> H2Client {
        self.send(PREFACE).say(&[Frame::settings(settings)]);
        while !self.settled || self.settings.is_empty() {
            match self.step() {
                Heard::Frame(frame) if frame.kind == kind::GOAWAY => panic!("refused: {frame:?}"),
                Heard::Frame(_) => {}
                other => panic!("{other:?} instead of settings"),
            }
        }
        self
    }

    /// Says any bytes. A connection that is gone meanwhile is noticed by whoever listens next.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut H2Client {
        let _ = self.wire.send(bytes);
        self
    }

    /// Says frames, all in one write.
    pub fn say(&mut self, frames: &[Frame]) -> &mut H2Client {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.send(bytes)
    }

    /// Begins a request; with `last` it has no body.
    pub fn ask(&mut self, stream: u32, fields: &[(&str, &str)], last: bool) -> &mut H2Client {
        let flags = flag::END_HEADERS | if last { flag::END_STREAM } else { 0 };
        self.say(&[Frame::headers(stream, flags, hpack::block(fields))])
    }

    /// A whole `GET`.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) -> Answer {
        self.ask(stream, &request("GET", path), true).answer(stream)
    }

    /// Says a piece of body as fast as the server's windows allow.
    #[track_caller]
    pub fn say_body(&mut self, stream: u32, mut bytes: &[u8], last: bool) {
        let most = self.settings.get(&setting::MAX_FRAME_SIZE).map_or(16_384, |most| i64::from(*most));
        loop {
            let room = most.min(*self.window(0)).min(*self.window(stream));
            let (piece, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(0)));
            if piece.is_empty() && !bytes.is_empty() {
                match self.step() {
                    Heard::Frame(_) => continue,
                    other => panic!("{other:?} instead of room for {} bytes", bytes.len()),
                }
            }
            let flags = if last && rest.is_empty() { flag::END_STREAM } else { 0 };
            let length = i64::try_from(piece.len()).expect("short");
            *self.window(0) -= length;
            *self.window(stream) -= length;
            self.say(&[Frame::data(stream, flags, piece)]);
            bytes = rest;
            if bytes.is_empty() {
                return;
            }
        }
    }

    fn window(&mut self, stream: u32) -> &mut i64 {
        let first = self.settings.get(&setting::INITIAL_WINDOW_SIZE).map_or(65_535, |first| i64::from(*first));
        self.windows.entry(stream).or_insert(first)
    }

    /// What comes next, unless nothing does for that long.
    pub fn hear_within(&mut self, patience: Duration) -> Heard {
        self.wire.read_patience(patience);
        let heard = match self.read() {
            Ok(frame) => Heard::Frame(frame),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Heard::Silence,
            Err(_) => Heard::End,
        };
        self.wire.read_patience(super::PATIENCE);
        heard
    }

    /// [`H2Client::hear_within`] the usual patience.
    pub fn hear(&mut self) -> Heard {
        self.hear_within(super::PATIENCE)
    }

    fn read(&mut self) -> io::Result<Frame> {
        while self.wire.buffered().len() < 9 {
            if self.wire.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = &self.wire.buffered()[..9];
        let length = head[..3].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.wire.take(9 + length)?.split_off(9);
        Ok(Frame { kind, flags, stream, payload })
    }

    /// Hears one frame and does what a client owes: settings and pings are answered, windows opened, answers collected.
    #[track_caller]
    pub fn step(&mut self) -> Heard {
        let heard = self.hear();
        if let Heard::Frame(frame) = &heard {
            self.take_in(frame);
        }
        heard
    }

    /// What [`H2Client::step`] does with a frame.
    #[track_caller]
    pub fn take_in(&mut self, frame: &Frame) {
        match frame.kind {
            kind::SETTINGS if frame.has(flag::ACK) => self.settled = true,
            kind::SETTINGS => {
                for pair in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
                    let id = u16::from_be_bytes([pair[0], pair[1]]);
                    let before = self.settings.insert(id, value);
                    if id == setting::INITIAL_WINDOW_SIZE {
                        let change = i64::from(value) - i64::from(before.unwrap_or(65_535));
                        self.windows.iter_mut().filter(|(stream, _)| **stream != 0).for_each(|(_, w)| *w += change);
                    }
                }
                // Even settings without a value have been seen now.
                self.settings.entry(setting::MAX_FRAME_SIZE).or_insert(16_384);
                self.say(&[Frame::settings_ack()]);
            }
            kind::PING if !frame.has(flag::ACK) => {
                self.say(&[Frame::new(kind::PING, flag::ACK, 0, &frame.payload)]);
            }
            kind::WINDOW_UPDATE => *self.window(frame.stream) += i64::from(frame.number(4)),
            kind::GOAWAY => self.farewells.extend(frame.code()),
            kind::HEADERS => {
                assert!(self.block.is_none(), "a block inside a block");
                let block = unpadded(frame, if frame.has(flag::PRIORITY) { 5 } else { 0 });
                self.block_piece(frame.clone(), &block, frame.has(flag::END_HEADERS));
            }
            kind::CONTINUATION => {
                let (begin, block) = self.block.take().expect("a block that was begun");
                assert_eq!(begin.stream, frame.stream, "a block is not mixed with others");
                self.block_piece(begin, &[block, frame.payload.clone()].concat(), frame.has(flag::END_HEADERS));
            }
            kind::DATA => {
                let answer = self.answers.get_mut(&frame.stream).expect("DATA behind HEADERS");
                assert!(answer.status != 0 && answer.course == Course::Open, "DATA out of place: {answer:?}");
                answer.body.extend(unpadded(frame, 0));
                if frame.has(flag::END_STREAM) {
                    answer.course = Course::Whole;
                }
                let length = u32::try_from(frame.payload.len()).expect("frames are small");
                if self.consumes && length > 0 {
                    self.say(&[Frame::window_update(0, length), Frame::window_update(frame.stream, length)]);
                }
            }
            kind::RST_STREAM => {
                let answer = self.answers.entry(frame.stream).or_insert_with(Answer::new);
                // A whole answer stays whole: servers stop a request's body that way (RFC 9113, section 8.1).
                if answer.course == Course::Open {
                    answer.course = Course::Reset(frame.number(4));
                }
            }
            _ => {}
        }
    }

    fn block_piece(&mut self, begin: Frame, block: &[u8], whole: bool) {
        if !whole {
            self.block = Some((begin, block.to_vec()));
            return;
        }
        let fields = self.reader.read(block);
        let answer = self.answers.entry(begin.stream).or_insert_with(Answer::new);
        match fields.first() {
            Some((name, status)) if name == ":status" => {
                let status: u16 = status.parse().expect("a status");
                if (100..200).contains(&status) {
                    answer.interim.push(status);
                } else {
                    assert_eq!(answer.status, 0, "a second answer: {fields:?}");
                    answer.status = status;
                    answer.fields = fields[1..].to_vec();
                }
            }
            _ => {
                assert!(answer.status != 0 && begin.has(flag::END_STREAM), "trailers out of place: {fields:?}");
                answer.trailers = fields;
            }
        }
        if begin.has(flag::END_STREAM) {
            answer.course = Course::Whole;
        }
    }

    /// Steps until the answer on a stream has come as far as it will.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Answer {
        loop {
            if let Some(answer) = self.answers.get(&stream).filter(|answer| answer.course != Course::Open) {
                return answer.clone();
            }
            match self.step() {
                Heard::Frame(_) => {}
                Heard::End => {
                    let code = self.farewells.last().copied();
                    self.answers.entry(stream).or_insert_with(Answer::new).course = Course::Lost(code);
                }
                Heard::Silence => panic!("no end of the answer on stream {stream}: {:?}", self.answers.get(&stream)),
            }
        }
    }

    /// Steps until a frame is what is looked for.
    #[track_caller]
    pub fn until(&mut self, what: &str, test: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            match self.step() {
                Heard::Frame(frame) if test(&frame) => return frame,
                Heard::Frame(_) => {}
                other => panic!("{other:?} instead of {what}; GOAWAY codes: {:?}", self.farewells),
            }
        }
    }

    /// Steps until the connection has ended; the code of the last GOAWAY.
    #[track_caller]
    pub fn ended(&mut self) -> Option<u32> {
        loop {
            match self.step() {
                Heard::Frame(_) => {}
                Heard::End => return self.farewells.last().copied(),
                Heard::Silence => panic!("the connection goes on; GOAWAY codes: {:?}", self.farewells),
            }
        }
    }

    /// Asks and waits for the answer: everything said before has been read.
    #[track_caller]
    pub fn settle(&mut self) {
        let token = *b"settled?";
        self.say(&[Frame::ping(token)]);
        self.until("the answer to a ping", |frame| {
            frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == token
        });
    }
}

/// The fields of a request.
pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "www.example.test")]
}

fn unpadded(frame: &Frame, skip: usize) -> Vec<u8> {
    let (begin, padding) = if frame.has(flag::PADDED) { (1, usize::from(frame.payload[0])) } else { (0, 0) };
    frame.payload[begin + skip..frame.payload.len() - padding].to_vec()
}
