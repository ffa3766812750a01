//! Bodies on their way to and from a server of HTTP/2. Each side's window moves only as the other side takes bytes.

use std::io::IoSlice;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;

use super::super::encode::Encoding;
use super::super::{End, download, upload};
use crate::backend::h2::{Exchange, Fault, Piece};
use crate::core::http::h1::{self, Body, Reject, RejectReason};
use crate::core::http::h2_to_server;
use crate::core::termination::{Cause, Phase};
use crate::frontend::client::Client;
use crate::frontend::connection::Connection;
use crate::runtime::buffer::BufferShelf;
use crate::runtime::compression::EncoderFailed;

/// Bytes written of the output before it is moved to the front.
const COMPACT_BYTES: usize = 64 * 1024;

/// The request's body on its way to the server.
#[derive(Debug)]
pub(super) struct Upload {
    /// Taken from the client, not yet by the server.
    pending: Bytes,
    /// Nothing comes behind `pending`.
    last: bool,
}

impl Upload {
    /// A body of which `whole` is there already, if it is a small one; the rest comes from `source`.
    pub fn new(whole: &[u8], source: &upload::Upload) -> Upload {
        Upload { pending: Bytes::copy_from_slice(whole), last: source.is_done() }
    }

    /// Whether there is no body at all.
    pub fn is_over(&self, source: &upload::Upload) -> bool {
        self.pending.is_empty() && source.is_done()
    }

    /// Moves what can be moved now.
    #[allow(clippy::too_many_arguments)]
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut upload::Upload,
        client: &mut Connection,
        exchange: &mut Exchange,
        shelf: &BufferShelf,
        moved: &mut bool,
        bytes_in: &mut u64,
    ) -> Result<upload::Progress, End> {
        let end = |cause| Err(End::new(cause, Phase::Headers));
        loop {
            if exchange.is_sent() {
                let done = source.is_done() && self.pending.is_empty();
                // A server that takes no more may still answer.
                return Ok(if done { upload::Progress::Done } else { upload::Progress::AwaitsServer });
            }
            if !self.pending.is_empty() {
                let ends = self.last && source.trailers.is_empty();
                match exchange.poll_send(cx, &mut self.pending, ends) {
                    Poll::Ready(Some(_)) => *moved = true,
                    Poll::Ready(None) => {}
                    Poll::Pending => return Ok(upload::Progress::AwaitsServer),
                }
                continue;
            }
            if self.last {
                match source.trailers.is_empty() {
                    true => exchange.end(),
                    false => exchange.end_with(h2_to_server::request_trailers(&source.trailers)),
                };
                continue;
            }
            let before = source.received;
            let piece = source.poll_piece(cx, client, shelf, moved);
            *bytes_in += source.received - before;
            match piece {
                Ok(upload::Piece::Data(data)) => {
                    self.pending = data;
                    self.last = source.is_done();
                }
                Ok(upload::Piece::End) => self.last = true,
                Ok(upload::Piece::AwaitsClient) => return Ok(upload::Progress::AwaitsClient),
                Err(upload::UploadError::ClientClosed) => return end(Cause::ClientClosed),
                Err(upload::UploadError::ClientReset | upload::UploadError::ServerGone) => {
                    return end(Cause::ClientReset);
                }
                Err(upload::UploadError::Bad(reject)) => return end(Cause::BadRequest(reject.status)),
                Err(upload::UploadError::TooLarge) => return end(Cause::BadRequest(413)),
                Err(upload::UploadError::Malformed) => {
                    let reject = Reject::request(RejectReason::LengthMismatch, 0);
                    return end(Cause::BadRequest(reject.status));
                }
            }
        }
    }
}

/// The answer's body on its way to the client.
#[derive(Debug)]
pub(super) struct Download {
    /// Bytes get a chunk's head for the client.
    chunked: bool,
    /// Bytes of body that may still come; unlimited when the answer has no length.
    left: Option<u64>,
    /// Came, not framed yet.
    fresh: Vec<u8>,
    /// Written of the output.
    written: usize,
    /// Came, not taken by the client yet.
    unreleased: usize,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// All came.
    ended: bool,
    /// The end is framed.
    closed: bool,
    /// What came before it is still good.
    fault: Option<Fault>,
    /// Stands before the framing if the client gets the body compressed.
    encoding: Option<Box<Encoding>>,
}

/// Why a download cannot go on.
#[derive(Debug)]
pub(super) enum DownloadError {
    /// The client takes no more.
    ClientGone,
    /// The server ended the stream before the end of what it owed.
    Server(Fault),
}

impl Download {
    /// A body framed as `body`; the client gets chunks only if it knows them.
    pub fn new(body: Body, knows_chunks: bool) -> Download {
        let left = match body {
            Body::Empty => Some(0),
            Body::Length(n) => Some(n),
            Body::Chunked | Body::UntilClose => None,
        };
        Download {
            chunked: left.is_none() && knows_chunks,
            left,
            fresh: Vec::new(),
            written: 0,
            unreleased: 0,
            trailers: Vec::new(),
            ended: left == Some(0),
            closed: false,
            fault: None,
            encoding: None,
        }
    }

    /// The same, compressed on the way.
    pub fn encoded(mut self, encoding: Option<Box<Encoding>>) -> Download {
        if let Some(encoding) = &encoding {
            self.chunked = encoding.makes_chunks();
        }
        self.encoding = encoding;
        self
    }

    /// Moves what can be moved now: `out` (the head at first), then the body.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        exchange: &mut Exchange,
        out: &mut Vec<u8>,
        bytes_out: &mut u64,
        moved: &mut bool,
    ) -> Result<download::Progress, DownloadError> {
        self.gather(cx, exchange, moved);
        if self.encode(out).is_err() {
            self.fault = Some(Fault::Broken);
        }
        self.frame(out);
        while self.written < out.len() {
            let last = self.closed && self.trailers.is_empty();
            match client.poll_write(cx, &[IoSlice::new(&out[self.written..])], last) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(DownloadError::ClientGone),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    *bytes_out += n as u64;
                    *moved = true;
                    self.release(exchange, n);
                }
                Poll::Pending => {
                    if self.written > COMPACT_BYTES {
                        out.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(download::Progress::AwaitsClient);
                }
            }
        }
        out.clear();
        self.written = 0;
        self.release(exchange, usize::MAX);
        if self.closed && client.end_body(&self.trailers).is_err() {
            return Err(DownloadError::ClientGone);
        }
        if self.closed || self.fault.is_some() {
            return match (client.poll_flush(cx), self.fault) {
                (Poll::Ready(Err(_)), _) => Err(DownloadError::ClientGone),
                (Poll::Pending, _) => Ok(download::Progress::AwaitsClient),
                (Poll::Ready(Ok(())), Some(fault)) => Err(DownloadError::Server(fault)),
                (Poll::Ready(Ok(())), None) => Ok(download::Progress::Done),
            };
        }
        // Every wake-up was asked for when gathering ended without more.
        match client.poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(DownloadError::ClientGone),
            _ => Ok(download::Progress::AwaitsServer),
        }
    }

    /// Takes all that has come: many small frames must not lie about for a slow client. The server's window bounds it.
    fn gather(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange, moved: &mut bool) {
        while !self.ended && self.fault.is_none() {
            match exchange.poll_piece(cx) {
                Poll::Ready(Ok(Piece::Data(data))) => {
                    *moved = true;
                    self.unreleased += data.len();
                    match &mut self.left {
                        None => {}
                        Some(left) => match left.checked_sub(data.len() as u64) {
                            Some(rest) => *left = rest,
                            None => {
                                self.fault = Some(Fault::Broken);
                                return;
                            }
                        },
                    }
                    self.fresh.extend_from_slice(&data);
                }
                Poll::Ready(Ok(Piece::Trailers(trailers))) => {
                    *moved = true;
                    self.trailers = h2_to_server::trailers(&trailers);
                }
                Poll::Ready(Ok(Piece::End)) => self.end(),
                // Its length says that all has come, though its end was never said. (A reset behind the end is no fault.)
                Poll::Ready(Err(Fault::Reset(Reason::NO_ERROR))) if self.left == Some(0) => self.end(),
                Poll::Ready(Err(fault)) => self.fault = Some(fault),
                Poll::Pending => return,
            }
        }
    }

    fn end(&mut self) {
        match self.left {
            Some(1..) => self.fault = Some(Fault::Lost),
            _ => self.ended = true,
        }
    }

    /// Compresses what came. All of it comes out at once: the server has paused, or its window is used up.
    fn encode(&mut self, out: &mut Vec<u8>) -> Result<(), EncoderFailed> {
        let Some(encoding) = &mut self.encoding else { return Ok(()) };
        if !self.fresh.is_empty() {
            encoding.write(&self.fresh)?;
            self.fresh.clear();
        }
        match self.ended {
            true => encoding.finish()?,
            false => encoding.flush()?,
        }
        encoding.rest();
        encoding.frame(out);
        Ok(())
    }

    fn frame(&mut self, out: &mut Vec<u8>) {
        if !self.fresh.is_empty() {
            if self.chunked {
                h1::write_chunk_head(out, self.fresh.len());
            }
            out.append(&mut self.fresh);
            if self.chunked {
                out.extend_from_slice(b"\r\n");
            }
        }
        if self.ended && !self.closed {
            self.closed = true;
            if self.chunked {
                h1::write_last_chunk(out, &self.trailers);
            }
        }
    }

    /// The client took `bytes`, framing included.
    fn release(&mut self, exchange: &mut Exchange, bytes: usize) {
        let bytes = bytes.min(self.unreleased);
        if bytes > 0 {
            self.unreleased -= bytes;
            exchange.release(bytes);
        }
    }
}
