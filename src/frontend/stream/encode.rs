//! Compressing an answer's body on its way to the client.
//!
//! What the client takes is settled before the request goes to a server, whether the answer is compressed when its head
//! is there; [`Encoding`] then stands between the pieces of payload and their framing. Everything that came from the
//! server leaves at once when the server pauses, so that events of a stream arrive when they happen.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::Stream;
use crate::core::compress::fitness::{self, Verdict};
use crate::core::compress::{Algorithm, CompressionChoice, CompressionSpec, negotiate, rewrite};
use crate::core::fleet::snapshot::BackendView;
use crate::core::http::Version;
use crate::core::http::h1::{self, Body};
use crate::core::stats::counters::Counter;
use crate::frontend::worker::{Pinned, Worker};
use crate::runtime::clock;
use crate::runtime::compression::{Encoder, EncoderFailed};

/// Bytes that are encoded in one go before other connections of the worker get their turn.
const STREAK_MAX_BYTES: usize = 64 * 1024;

/// What was settled about a request whose answer may be compressed.
#[derive(Debug)]
pub(super) struct Offer {
    spec: Arc<CompressionSpec>,
    /// What the client gets, if it takes any.
    algorithm: Option<Algorithm>,
}

/// A body being compressed.
pub(super) struct Encoding {
    /// `None` once the body is finished and it went back to the worker's shelf.
    encoder: Option<Encoder>,
    worker: Rc<Worker>,
    snapshot: Rc<Pinned>,
    frontend: usize,
    backend: Option<usize>,
    /// The client gets chunks; HTTP/2 frames by itself.
    chunks: bool,
    /// What the encoder made and is not framed yet.
    made: Vec<u8>,
    /// The encoder may hold bytes that the client waits for.
    unflushed: bool,
    streak_bytes: usize,
}

impl Stream<'_> {
    /// Notes which coding the client would get, before the request's fields are changed for the server.
    #[inline]
    pub(super) fn settle_compression(&mut self, view: &BackendView) {
        let frontend = &self.e.snapshot.frontends[self.e.frontend].spec;
        let route = self.e.route.and_then(|route| frontend.routes[route].compression.as_ref());
        let places = [route, view.spec.compression.as_ref(), frontend.compression.as_ref()];
        if let Some(spec) = CompressionChoice::narrowest(places) {
            let spec = spec.clone();
            self.settle_offer(spec);
        }
    }

    #[cold]
    fn settle_offer(&mut self, spec: Arc<CompressionSpec>) {
        let request = &mut self.e.scratch.request;
        // A client of HTTP/1.0 knows no chunks, and the length is not known in time.
        let algorithm = match request.version() == Version::Http10 || fitness::forbids_transform(request) {
            true => None,
            false => negotiate::choose(request.get_all(b"accept-encoding"), &spec.algorithms),
        };
        if spec.offload {
            request.remove(b"Accept-Encoding");
        }
        self.offer = Some(Offer { spec, algorithm });
    }

    /// Compresses the answer whose head is in the scratch, if it is fit: its head is changed, and the body is to go
    /// through [`Stream::encoding`]. Says whether it will. `body` is how the server framed it.
    pub(super) fn compress_answer(&mut self, body: Body) -> bool {
        let Some(offer) = &self.offer else { return false };
        let scratch = &mut *self.e.scratch;
        let verdict = fitness::judge(&offer.spec, offer.algorithm, &scratch.request, &scratch.response);
        let response = &mut scratch.response;
        let algorithm = match verdict {
            Verdict::Pass => return false,
            Verdict::Vary => {
                rewrite::mark_varying(response);
                return false;
            }
            Verdict::Revalidate => {
                rewrite::mark_varying(response);
                rewrite::weaken_tag(response);
                return false;
            }
            Verdict::Encode(algorithm) => algorithm,
        };
        if body == Body::Empty {
            if scratch.request.method() == b"HEAD" {
                // It gets the fields that a `GET` would get (RFC 9110 section 9.3.2).
                rewrite::encode(response, algorithm.coding);
            }
            return false;
        }
        let encoders = &self.worker.encoders;
        let admitted = encoders.budget().admits(self.e.latest);
        let Some(encoder) = admitted.then(|| encoders.take(algorithm)).flatten() else {
            rewrite::mark_varying(response);
            self.bypasses = true;
            return false;
        };
        rewrite::encode(response, algorithm.coding);
        self.encoding = Some(Box::new(Encoding {
            encoder: Some(encoder),
            worker: self.worker.clone(),
            snapshot: self.e.snapshot.clone(),
            frontend: self.e.frontend,
            backend: self.e.backend,
            chunks: !self.e.http2,
            made: self.worker.shelf.text(),
            unflushed: false,
            streak_bytes: 0,
        }));
        true
    }

    /// Counts the body of an answer that a limit kept from being compressed.
    pub(super) fn count_bypassed(&mut self, bytes: u64) {
        if std::mem::take(&mut self.bypasses) {
            count(self.worker, &self.e.snapshot, (self.e.frontend, self.e.backend), Counter::CompByp, bytes);
        }
    }
}

impl Encoding {
    /// Takes a piece of body.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), EncoderFailed> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let before = self.made.len();
        encoder.write(piece, &mut self.made)?;
        self.unflushed = true;
        self.streak_bytes += piece.len();
        let budget = self.worker.encoders.budget();
        if budget.is_metered() {
            budget.spend(piece.len() as u64, clock::now());
        }
        self.count(Counter::CompIn, piece.len());
        self.count(Counter::CompOut, self.made.len() - before);
        Ok(())
    }

    /// Makes everything that was taken so far come out, unless it has.
    pub(super) fn flush(&mut self) -> Result<(), EncoderFailed> {
        let Some(encoder) = self.encoder.as_mut().filter(|_| self.unflushed) else { return Ok(()) };
        let before = self.made.len();
        encoder.flush(&mut self.made)?;
        self.unflushed = false;
        self.count(Counter::CompOut, self.made.len() - before);
        Ok(())
    }

    /// That was the whole body.
    pub(super) fn finish(&mut self) -> Result<(), EncoderFailed> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        let before = self.made.len();
        encoder.finish(&mut self.made)?;
        self.unflushed = false;
        self.worker.encoders.put_back(encoder);
        self.count(Counter::CompOut, self.made.len() - before);
        self.count(Counter::CompRsp, 1);
        Ok(())
    }

    /// What was made since the last call, framed for the client.
    pub(super) fn frame(&mut self, out: &mut Vec<u8>) {
        if self.made.is_empty() {
            return;
        }
        if self.chunks {
            h1::write_chunk_head(out, self.made.len());
        }
        out.extend_from_slice(&self.made);
        if self.chunks {
            out.extend_from_slice(b"\r\n");
        }
        self.made.clear();
    }

    /// Whether the body is framed in chunks, which have an end of their own.
    pub(super) fn makes_chunks(&self) -> bool {
        self.chunks
    }

    /// Whether so much was encoded that others should have their turn.
    pub(super) fn is_tired(&self) -> bool {
        self.streak_bytes >= STREAK_MAX_BYTES
    }

    /// Others had, or will have, their turn.
    pub(super) fn rest(&mut self) {
        self.streak_bytes = 0;
    }

    fn count(&self, counter: Counter, n: usize) {
        count(&self.worker, &self.snapshot, (self.frontend, self.backend), counter, n as u64);
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoding").field("encoder", &self.encoder).finish_non_exhaustive()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        self.worker.shelf.shelve_text(std::mem::take(&mut self.made));
    }
}

fn count(worker: &Worker, snapshot: &Pinned, places: (usize, Option<usize>), counter: Counter, n: u64) {
    if let Some(frontend) = snapshot.frontends.get(places.0) {
        frontend.live.counters.add(worker.shard, counter, n);
    }
    if let Some(backend) = places.1.and_then(|backend| snapshot.backends.get(backend)) {
        backend.live.counters.add(worker.shard, counter, n);
    }
}
