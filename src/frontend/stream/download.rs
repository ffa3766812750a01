//! The answer's body on its way to the client, as fast as the slower side allows.

use std::io::IoSlice;
use std::task::{Context, Poll};

use super::upload::reframe;
use crate::backend::ServerIo;
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::h1::{Body, ChunkDecoder, Reject};
use crate::frontend::client::Client;
use crate::runtime::buffer::{Buffer, BufferShelf, LARGE_BUFFER_BYTES};

/// A piece of body up to this size is copied behind the head instead of written from where it is.
const COPIED_MAX_BYTES: usize = 4096;

/// The state of a download.
#[derive(Debug)]
pub(super) struct Download {
    kind: Kind,
    /// Written of `out`.
    written: usize,
    /// Bytes at the front of the server's buffer that may go to the client as they are.
    direct: usize,
    moved: u64,
    /// Trailers of a body that the client gets without chunks.
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body turned out broken behind what is still to be written.
    broken: Option<Reject>,
}

#[derive(Debug)]
enum Kind {
    Done,
    Length(u64),
    UntilClose,
    Chunked { decoder: Box<ChunkDecoder>, to_chunks: bool },
}

/// Whom a download waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client has everything.
    Done,
    /// For the client to take bytes.
    AwaitsClient,
    /// For bytes from the server.
    AwaitsServer,
}

/// Why a download cannot go on.
#[derive(Debug)]
pub(super) enum DownloadError {
    /// The client takes no more.
    ClientGone,
    /// The server closed before the end of what it owed.
    ServerClosed,
    /// The body is framed badly.
    Bad(Reject),
}

impl Download {
    /// A body framed as `body`; the client gets chunks only if it knows them.
    pub fn new(body: Body, to_chunks: bool, limits: &HttpLimits) -> Download {
        let kind = match body {
            Body::Empty | Body::Length(0) => Kind::Done,
            Body::Length(n) => Kind::Length(n),
            Body::UntilClose => Kind::UntilClose,
            Body::Chunked => Kind::Chunked { decoder: Box::new(ChunkDecoder::new(limits, 502)), to_chunks },
        };
        Download { kind, written: 0, direct: 0, moved: 0, trailers: Vec::new(), broken: None }
    }

    /// Moves what can be moved now: `out` (head and re-framed bytes) first, then bytes of the server's buffer.
    /// `bytes_out` grows by what the client took; `moved` is set when any byte moved.
    #[allow(clippy::too_many_arguments)]
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        server: &mut ServerIo,
        buffer: &mut Buffer,
        out: &mut Vec<u8>,
        shelf: &BufferShelf,
        bytes_out: &mut u64,
        moved: &mut bool,
    ) -> Result<Progress, DownloadError> {
        loop {
            self.decode(buffer, out)?;
            if self.direct > 0 && self.direct <= COPIED_MAX_BYTES && self.written < out.len() {
                // One slice costs the kernel less than two, and copying so little costs less than that.
                out.extend_from_slice(&buffer.filled()[..self.direct]);
                buffer.consume(self.direct);
                self.direct = 0;
            }
            while self.written < out.len() || self.direct > 0 {
                let head = &out[self.written..];
                let body = &buffer.filled()[..self.direct];
                let slices = [IoSlice::new(head), IoSlice::new(body)];
                let used = match (head.is_empty(), body.is_empty()) {
                    (true, _) => &slices[1..],
                    (_, true) => &slices[..1],
                    _ => &slices[..],
                };
                let last = matches!(self.kind, Kind::Done) && self.trailers.is_empty() && self.broken.is_none();
                match client.poll_write(cx, used, last) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(DownloadError::ClientGone),
                    Poll::Ready(Ok(n)) => {
                        *bytes_out += n as u64;
                        *moved = true;
                        let of_head = n.min(out.len() - self.written);
                        self.written += of_head;
                        buffer.consume(n - of_head);
                        self.direct -= n - of_head;
                        self.moved += n as u64;
                    }
                    Poll::Pending => return Ok(Progress::AwaitsClient),
                }
            }
            let reframed = !out.is_empty();
            out.clear();
            self.written = 0;
            if let Some(reject) = self.broken {
                return Err(DownloadError::Bad(reject));
            }
            if matches!(self.kind, Kind::Done) {
                if client.end_body(&self.trailers).is_err() {
                    return Err(DownloadError::ClientGone);
                }
                return match client.poll_flush(cx) {
                    Poll::Ready(Ok(())) => Ok(Progress::Done),
                    Poll::Ready(Err(_)) => Err(DownloadError::ClientGone),
                    Poll::Pending => Ok(Progress::AwaitsClient),
                };
            }
            if reframed && !buffer.is_empty() {
                continue;
            }
            if self.moved > LARGE_BUFFER_BYTES as u64 {
                shelf.equip_large(buffer);
            }
            shelf.equip(buffer);
            match server.poll_read_slice(cx, buffer.room()) {
                Poll::Ready(Ok(0)) => match self.kind {
                    Kind::UntilClose => self.kind = Kind::Done,
                    _ => return Err(DownloadError::ServerClosed),
                },
                Poll::Ready(Ok(n)) => {
                    buffer.filled_by(n);
                    *moved = true;
                }
                Poll::Ready(Err(_)) => return Err(DownloadError::ServerClosed),
                Poll::Pending => {
                    shelf.shelve(buffer);
                    return match client.poll_flush(cx) {
                        Poll::Ready(Err(_)) => Err(DownloadError::ClientGone),
                        _ => Ok(Progress::AwaitsServer),
                    };
                }
            }
        }
    }

    /// Says what of the server's buffer may go as it is, and re-frames what may not. A body that is broken from the
    /// start is an error before the client has seen anything; later, what was good goes out first.
    fn decode(&mut self, buffer: &mut Buffer, out: &mut Vec<u8>) -> Result<(), DownloadError> {
        match &mut self.kind {
            Kind::Done => {}
            Kind::Length(left) => {
                let fresh = (buffer.len() - self.direct).min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.direct += fresh;
                *left -= fresh as u64;
                if *left == 0 {
                    self.kind = Kind::Done;
                }
            }
            Kind::UntilClose => self.direct = buffer.len(),
            Kind::Chunked { decoder, to_chunks } => match reframe(decoder, buffer, out, *to_chunks) {
                Ok(true) => {
                    if !*to_chunks && !decoder.trailers().is_empty() {
                        self.trailers = decoder.trailers().to_vec();
                    }
                    self.kind = Kind::Done;
                }
                Ok(false) => {}
                Err(reject) if self.moved == 0 => return Err(DownloadError::Bad(reject)),
                Err(reject) => {
                    self.broken = Some(reject);
                    self.kind = Kind::Done;
                }
            },
        }
        Ok(())
    }
}
