//! The request body on its way to the server, as fast as the slower side allows.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::backend::ServerIo;
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::h1::{self, Body, ChunkDecoder, ChunkEvent, Reject};
use crate::frontend::connection::Connection;
use crate::runtime::buffer::{Buffer, BufferShelf, LARGE_BUFFER_BYTES};

/// Re-framed bytes gathered before they are written.
const GATHER_BYTES: usize = 32 * 1024;

/// The state of an upload.
#[derive(Debug)]
pub(super) struct Upload {
    kind: Kind,
    out: Vec<u8>,
    written: usize,
    /// Bytes of body received.
    pub received: u64,
    max: Option<u64>,
    /// Bytes have left the client's buffer, so the request cannot be repeated.
    pub consumed: bool,
    /// Fields behind a chunked body, once all of it was given out by [`Upload::poll_piece`].
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug)]
enum Kind {
    Done,
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    /// Without a length and without framing: what is in the buffer is body, and the client says where it ends.
    Unframed,
}

/// Whom an upload waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it was written.
    Done,
    /// For bytes from the client.
    AwaitsClient,
    /// For the server to take bytes.
    AwaitsServer,
}

/// Why an upload cannot go on.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client closed in the middle.
    ClientClosed,
    /// The client's connection broke, or it called the request off.
    ClientReset,
    /// The client sent what contradicts its request's head, and knows it already.
    Malformed,
    /// The body is framed badly.
    Bad(Reject),
    /// The body is larger than allowed.
    TooLarge,
    /// The server takes no more.
    ServerGone,
}

impl Upload {
    /// No body.
    pub fn none() -> Upload {
        Upload {
            kind: Kind::Done,
            out: Vec::new(),
            written: 0,
            received: 0,
            max: None,
            consumed: false,
            trailers: Vec::new(),
        }
    }

    /// A body framed as `body`.
    pub fn new(body: Body, limits: &HttpLimits) -> Upload {
        let kind = match body {
            Body::Empty | Body::UntilClose | Body::Length(0) => Kind::Done,
            Body::Length(n) => Kind::Length(n),
            Body::Chunked => Kind::Chunked(Box::new(ChunkDecoder::new(limits, 400))),
        };
        Upload { kind, max: limits.body_max_bytes, ..Upload::none() }
    }

    /// A body of unknown length whose end the client's side knows.
    pub fn unframed(limits: &HttpLimits) -> Upload {
        Upload { kind: Kind::Unframed, max: limits.body_max_bytes, ..Upload::none() }
    }

    /// Whether everything was written.
    pub fn is_done(&self) -> bool {
        matches!(self.kind, Kind::Done) && self.written == self.out.len()
    }

    /// Takes the whole body if it is already in the client's buffer and small: it then travels with the head, in one
    /// write, and can be sent again.
    pub fn take_whole(&mut self, buffer: &mut Buffer, to_server: &mut Vec<u8>) -> u64 {
        if let Kind::Length(n) = self.kind {
            let n = n as usize;
            if n <= 8192 && n <= buffer.len() {
                to_server.extend_from_slice(&buffer.filled()[..n]);
                buffer.consume(n);
                self.kind = Kind::Done;
                self.received = n as u64;
                return n as u64;
            }
        }
        0
    }

    /// Moves what can be moved now. Bytes read from the client are added to `bytes_in`; `moved` is set when any moved.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Connection,
        server: &mut ServerIo,
        shelf: &BufferShelf,
        moved: &mut bool,
    ) -> Result<Progress, UploadError> {
        loop {
            while self.written < self.out.len() {
                match server.poll_write(cx, &self.out[self.written..]) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(UploadError::ServerGone),
                    Poll::Ready(Ok(n)) => {
                        self.written += n;
                        *moved = true;
                    }
                    Poll::Pending => return Ok(Progress::AwaitsServer),
                }
            }
            self.out.clear();
            self.written = 0;
            match &mut self.kind {
                Kind::Done => return Ok(Progress::Done),
                Kind::Length(left) => {
                    let ready = (*left).min(client.buffer.len() as u64) as usize;
                    if ready > 0 {
                        match server.poll_write(cx, &client.buffer.filled()[..ready]) {
                            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(UploadError::ServerGone),
                            Poll::Ready(Ok(n)) => {
                                client.buffer.consume(n);
                                *left -= n as u64;
                                self.received += n as u64;
                                self.consumed = true;
                                *moved = true;
                                if *left == 0 {
                                    self.kind = Kind::Done;
                                }
                            }
                            Poll::Pending => return Ok(Progress::AwaitsServer),
                        }
                        continue;
                    }
                    if *left > LARGE_BUFFER_BYTES as u64 && self.consumed {
                        shelf.equip_large(&mut client.buffer);
                    }
                }
                Kind::Chunked(decoder) => {
                    let had = client.buffer.len();
                    let ended = reframe(decoder, &mut client.buffer, &mut self.out, true).map_err(UploadError::Bad)?;
                    self.received = decoder.total();
                    self.consumed |= client.buffer.len() < had;
                    if self.max.is_some_and(|max| self.received > max) {
                        return Err(UploadError::TooLarge);
                    }
                    if ended {
                        self.kind = Kind::Done;
                        continue;
                    }
                    if !self.out.is_empty() {
                        continue;
                    }
                }
                Kind::Unframed => {
                    let ready = client.buffer.len();
                    if ready > 0 {
                        h1::write_chunk_head(&mut self.out, ready);
                        self.out.extend_from_slice(client.buffer.filled());
                        self.out.extend_from_slice(b"\r\n");
                        client.buffer.consume(ready);
                        self.received += ready as u64;
                        self.consumed = true;
                        if self.max.is_some_and(|max| self.received > max) {
                            return Err(UploadError::TooLarge);
                        }
                        continue;
                    }
                    if client.client_ended {
                        h1::write_last_chunk(&mut self.out, client.io.h2().map_or(&[], |exchange| exchange.trailers()));
                        self.kind = Kind::Done;
                        continue;
                    }
                }
            }
            shelf.equip(&mut client.buffer);
            match client.io.poll_read(cx, client.buffer.room()) {
                Poll::Ready(Ok(0)) => {
                    client.client_ended = true;
                    if !matches!(self.kind, Kind::Unframed) {
                        return Err(UploadError::ClientClosed);
                    }
                }
                Poll::Ready(Ok(n)) => {
                    client.buffer.filled_by(n);
                    *moved = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(UploadError::Malformed);
                }
                Poll::Ready(Err(_)) => return Err(UploadError::ClientReset),
                Poll::Pending => {
                    shelf.shelve(&mut client.buffer);
                    return Ok(Progress::AwaitsClient);
                }
            }
        }
    }
}

/// What an upload has for a server with a framing of its own.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// Nothing before the client sends more.
    AwaitsClient,
    /// That was all; the trailers are in [`Upload::trailers`].
    End,
}

impl Upload {
    /// The next piece of the bare body. `moved` is set when bytes came from the client.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Connection,
        shelf: &BufferShelf,
        moved: &mut bool,
    ) -> Result<Piece, UploadError> {
        loop {
            match &mut self.kind {
                Kind::Done => return Ok(Piece::End),
                Kind::Length(left) => {
                    let ready = (*left).min(client.buffer.len() as u64) as usize;
                    if ready > 0 {
                        let data = Bytes::copy_from_slice(&client.buffer.filled()[..ready]);
                        client.buffer.consume(ready);
                        *left -= ready as u64;
                        self.received += ready as u64;
                        self.consumed = true;
                        if *left == 0 {
                            self.kind = Kind::Done;
                        }
                        return Ok(Piece::Data(data));
                    }
                    if *left > LARGE_BUFFER_BYTES as u64 && self.consumed {
                        shelf.equip_large(&mut client.buffer);
                    }
                }
                Kind::Chunked(decoder) => {
                    let had = client.buffer.len();
                    let ended = reframe(decoder, &mut client.buffer, &mut self.out, false).map_err(UploadError::Bad)?;
                    self.received = decoder.total();
                    self.consumed |= client.buffer.len() < had;
                    if self.max.is_some_and(|max| self.received > max) {
                        return Err(UploadError::TooLarge);
                    }
                    if ended {
                        self.trailers = decoder.trailers().to_vec();
                        self.kind = Kind::Done;
                    }
                    if !self.out.is_empty() {
                        return Ok(Piece::Data(std::mem::take(&mut self.out).into()));
                    }
                    if ended {
                        continue;
                    }
                }
                Kind::Unframed => {
                    let ready = client.buffer.len();
                    if ready > 0 {
                        let data = Bytes::copy_from_slice(client.buffer.filled());
                        client.buffer.consume(ready);
                        self.received += ready as u64;
                        self.consumed = true;
                        if self.max.is_some_and(|max| self.received > max) {
                            return Err(UploadError::TooLarge);
                        }
                        return Ok(Piece::Data(data));
                    }
                    if client.client_ended {
                        self.trailers = client.io.h2().map_or_else(Vec::new, |exchange| exchange.trailers().to_vec());
                        self.kind = Kind::Done;
                        continue;
                    }
                }
            }
            match self.read_more(cx, client, shelf, moved)? {
                true => {}
                false => return Ok(Piece::AwaitsClient),
            }
        }
    }

    /// Reads from the client. False when nothing is there.
    fn read_more(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Connection,
        shelf: &BufferShelf,
        moved: &mut bool,
    ) -> Result<bool, UploadError> {
        shelf.equip(&mut client.buffer);
        match client.io.poll_read(cx, client.buffer.room()) {
            Poll::Ready(Ok(0)) => {
                client.client_ended = true;
                if matches!(self.kind, Kind::Unframed) { Ok(true) } else { Err(UploadError::ClientClosed) }
            }
            Poll::Ready(Ok(n)) => {
                client.buffer.filled_by(n);
                *moved = true;
                Ok(true)
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(UploadError::Malformed),
            Poll::Ready(Err(_)) => Err(UploadError::ClientReset),
            Poll::Pending => {
                shelf.shelve(&mut client.buffer);
                Ok(false)
            }
        }
    }
}

/// Decodes what `buffer` holds of a chunked body into `out`, framed anew (or bare, for receivers that know no chunks).
/// True once the body has ended; its trailers are then written.
pub(super) fn reframe(
    decoder: &mut ChunkDecoder,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
    chunked: bool,
) -> Result<bool, Reject> {
    while !buffer.is_empty() && out.len() < GATHER_BYTES {
        match decoder.decode(buffer.filled())? {
            ChunkEvent::NeedMore { consumed } => {
                buffer.consume(consumed);
                break;
            }
            ChunkEvent::Data { consumed_before, len } => {
                let data = &buffer.filled()[consumed_before..consumed_before + len];
                if chunked {
                    h1::write_chunk_head(out, len);
                    out.extend_from_slice(data);
                    out.extend_from_slice(b"\r\n");
                } else {
                    out.extend_from_slice(data);
                }
                buffer.consume(consumed_before + len);
            }
            ChunkEvent::End { consumed } => {
                buffer.consume(consumed);
                if chunked {
                    h1::write_last_chunk(out, decoder.trailers());
                }
                return Ok(true);
            }
        }
    }
    Ok(false)
}
