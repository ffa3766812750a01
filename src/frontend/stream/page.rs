//! Requests for a stats page: the form is read, the control thread is asked, its answer is framed and sent.

use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use super::upload::reframe;
use super::{End, Stream};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::Version;
use crate::core::http::h1::{self, Body, ChunkDecoder};
use crate::core::termination::{Cause, Phase};
use crate::core::web::Page;
use crate::frontend::answer::reason_phrase;
use crate::runtime::clock;
use crate::runtime::page::{FORM_MAX_BYTES, PageAnswer, PageFields, PageRequest};

/// How long the control thread may take; a slow password hash included.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a chunk.
const CHUNK_BYTES: usize = 16 * 1024;

impl Stream<'_> {
    /// Answers from a stats page. HAProxy: `stats enable`.
    pub(super) async fn serve_page(&mut self, page: Page) -> Result<End, End> {
        let snapshot = self.e.snapshot.clone();
        let Some(spec) = snapshot.frontends[self.e.frontend].spec.stats.clone() else {
            return Err(End::new(Cause::Internal, Phase::Request));
        };
        let posts = self.e.scratch.request.method() == b"POST";
        let body = if posts { self.read_form().await? } else { Some(Vec::new()) };
        self.settle_unread_body();
        let (reply, answer) = oneshot::channel();
        let request = &self.e.scratch.request;
        let field = |name: &[u8]| request.get(name).map(Box::from);
        let asked = PageRequest {
            spec,
            page,
            posts,
            target: request.target().into(),
            client: self.client_ip(),
            fields: PageFields {
                host: field(b"host").unwrap_or_default(),
                authorization: field(b"authorization"),
                accept: field(b"accept"),
                fetch_site: field(b"sec-fetch-site"),
                origin: field(b"origin"),
                referer: field(b"referer"),
            },
            body,
            reply,
        };
        if self.worker.shared.to_pages.try_send(asked).is_err() {
            return Err(End::new(Cause::Exhausted, Phase::Request));
        }
        let answer = self.await_answer(answer).await?;
        self.e.latest = clock::now();
        self.e.page = true;
        let timers = &mut self.e.timers;
        // HAProxy shows no response time where it asked for a password.
        (timers.queue, timers.connect, timers.response) = (Some(0), Some(0), (answer.status != 401).then_some(0));
        let PageAnswer { status, refused, .. } = answer;
        self.write_answer(&answer);
        // It is framed in the scratch; a slow client need not hold it twice.
        drop(answer);
        self.apply_rules_to_own_answer();
        self.e.status = Some(status);
        self.write_out(Phase::Request).await?;
        let cause = if refused { Cause::Denied(status) } else { Cause::Local(status) };
        Ok(End::new(cause, Phase::Request))
    }

    async fn await_answer(&mut self, answer: oneshot::Receiver<PageAnswer>) -> Result<PageAnswer, End> {
        let connection = &mut *self.connection;
        connection.deadline.set(clock::now() + ANSWER_WAIT);
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Err(End::new(cause, Phase::Request)));
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                Poll::Ready(Err(_)) => Poll::Ready(Err(End::new(Cause::Exhausted, Phase::Request))),
                Poll::Pending => {
                    connection.deadline.poll_passed(cx).map(|()| Err(End::new(Cause::Exhausted, Phase::Request)))
                }
            }
        })
        .await
    }

    /// Reads the form to its end; `None` when it is too large.
    async fn read_form(&mut self) -> Result<Option<Vec<u8>>, End> {
        let mut form = Vec::new();
        let limits = self.e.frontend().spec.limits;
        let mut reader = match self.framing.body {
            Body::Empty | Body::UntilClose | Body::Length(0) => return Ok(Some(form)),
            Body::Length(n) => match usize::try_from(n).ok().filter(|n| *n <= FORM_MAX_BYTES) {
                Some(n) => FormReader::Length(n),
                None => return Ok(None),
            },
            Body::Chunked if self.e.http2 => FormReader::Unframed,
            Body::Chunked => FormReader::Chunked(Box::new(ChunkDecoder::new(&limits, 400))),
        };
        if self.framing.expect_continue && self.connection.buffer.is_empty() {
            self.e.scratch.out.clear();
            self.e.scratch.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.write_out(Phase::Request).await?;
        }
        let timeout = self.e.frontend().spec.timeouts.client;
        loop {
            let before = self.connection.buffer.len();
            let ended = match &mut reader {
                FormReader::Length(left) => {
                    let take = (*left).min(before);
                    form.extend_from_slice(&self.connection.buffer.filled()[..take]);
                    self.connection.buffer.consume(take);
                    *left -= take;
                    *left == 0
                }
                FormReader::Unframed => {
                    form.extend_from_slice(self.connection.buffer.filled());
                    self.connection.buffer.consume(before);
                    self.connection.client_ended
                }
                FormReader::Chunked(decoder) => match reframe(decoder, &mut self.connection.buffer, &mut form, false) {
                    Ok(ended) => ended,
                    Err(reject) => return Err(self.bad_request(&reject)),
                },
            };
            self.e.bytes_in += (before - self.connection.buffer.len()) as u64;
            self.upload.consumed = true;
            if form.len() > FORM_MAX_BYTES {
                self.close = true;
                return Ok(None);
            }
            if ended {
                self.upload = super::upload::Upload::new(Body::Empty, &HttpLimits::default());
                return Ok(Some(form));
            }
            self.connection.deadline.set(clock::now() + timeout);
            if let Err(end) = self.read_more().await {
                if matches!(reader, FormReader::Unframed) && self.connection.client_ended {
                    // That is how such a body ends.
                    continue;
                }
                self.close = true;
                return Err(end);
            }
        }
    }

    /// Frames an answer into the scratch's `out`.
    fn write_answer(&mut self, answer: &PageAnswer) {
        let manner = self.manner();
        let old = self.e.scratch.request.version() == Version::Http10;
        let out = &mut self.e.scratch.out;
        out.clear();
        // Writing into a vector cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", answer.status, reason_phrase(answer.status));
        for (name, value) in &answer.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        let chunked = !answer.sized && !old && !self.e.http2;
        if !chunked {
            let _ = write!(out, "content-length: {}\r\n", answer.body.len());
        } else if !manner.head_only {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        if manner.close {
            out.extend_from_slice(b"connection: close\r\n");
        } else if manner.keep_alive_10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if manner.head_only {
            return;
        }
        if !chunked {
            out.extend_from_slice(&answer.body);
            return;
        }
        for piece in answer.body.chunks(CHUNK_BYTES) {
            h1::write_chunk_head(out, piece.len());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

enum FormReader {
    /// Bytes still to come.
    Length(usize),
    /// Everything until the client's end.
    Unframed,
    Chunked(Box<ChunkDecoder>),
}
