//! Talking to a server: the request goes out, the answer comes back, whichever is ready first.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::download::{Download, DownloadError};
use super::upload::{self, Upload, UploadError};
use super::{End, Stream, download, numbers};
use crate::backend::ServerIo;
use crate::backend::io::TlsIo;
use crate::core::filter;
use crate::core::fleet::snapshot::{BackendView, ConnectTo, ServerView};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::h1::{self, Body, Parsed, Reject, ResponseFraming};
use crate::core::http::{Head, Version, cookie, hop};
use crate::core::stats::counters::Counter;
use crate::core::termination::retry::Failure;
use crate::core::termination::{Cause, Phase};
use crate::core::text;
use crate::frontend::answer::reason_phrase;
use crate::frontend::connection::{Connection, millis};
use crate::frontend::registry::Doing;
use crate::runtime::buffer::{Buffer, BufferShelf};
use crate::runtime::clock;
use crate::tls::verifier;

/// Interim (1xx) answers to one request; a server that sends more gets no further.
pub(super) const INTERIM_MAX: u32 = 16;

/// A connection to a server while a request is on it.
#[derive(Debug)]
pub(super) struct ServerSide {
    io: ServerIo,
    to: ConnectTo,
    buffer: Buffer,
    /// Whose it is, if it may serve one client alone.
    owner: Option<u64>,
    /// It carried requests before.
    reused: bool,
    /// Written of the head.
    sent: usize,
    /// Any byte of an answer came.
    answered: bool,
    /// It takes no more.
    refuses: bool,
}

impl ServerSide {
    /// A connection as it comes from `connect` or the pool.
    pub fn new(io: ServerIo, to: ConnectTo, owner: Option<u64>, reused: bool) -> ServerSide {
        ServerSide { io, to, buffer: Buffer::default(), owner, reused, sent: 0, answered: false, refuses: false }
    }

    /// Our address and the server's; unix sockets have none.
    pub fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let server = match &self.to {
            ConnectTo::Ip(address) => Some(*address),
            ConnectTo::Unix(_) => None,
        };
        (self.io.local_addr(), server)
    }

    /// Whether the server has said anything since its answer, or closed: then it has no use for more of the request.
    fn is_over(&mut self, cx: &mut Context<'_>, shelf: &BufferShelf) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        shelf.equip(&mut self.buffer);
        match self.io.poll_read_slice(cx, self.buffer.room()) {
            Poll::Ready(Ok(n @ 1..)) => {
                self.buffer.filled_by(n);
                true
            }
            Poll::Ready(_) => {
                self.refuses = true;
                true
            }
            Poll::Pending => {
                shelf.shelve(&mut self.buffer);
                false
            }
        }
    }
}

/// Why an attempt did not end in an answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The request is over.
    End(End),
    /// The attempt failed; `end` is how the request ends if it is not repeated.
    Attempt {
        /// How it failed.
        failure: Failure,
        /// What that means for the request.
        end: End,
    },
}

impl From<End> for Failed {
    fn from(end: End) -> Failed {
        Failed::End(end)
    }
}

/// What a connection to a server is good for after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Another request: everything owed on it was sent and read, to the byte.
    Clean,
    /// Nothing.
    Used,
    /// It is a tunnel now.
    Switched,
}

/// What came of waiting for an answer's head.
enum Heard {
    /// It is whole.
    Head,
    /// It is not HTTP as we read it.
    Bad(Reject),
    /// The server closed or broke.
    Gone,
    /// The request ends.
    End(End),
}

impl Stream<'_> {
    /// One request and its answer on one connection.
    pub(super) async fn exchange(
        &mut self,
        view: &Arc<BackendView>,
        server: &ServerView,
        mut side: ServerSide,
    ) -> Result<End, Failed> {
        let outcome = self.converse(view, server, &mut side).await;
        if let Ok((_, After::Switched)) = outcome {
            self.switched = Some((side.io, side.buffer));
        } else {
            side.buffer.consume(usize::MAX);
            self.worker.shelf.shelve(&mut side.buffer);
            if let Ok((_, After::Clean)) = outcome {
                // By the newest state: the server may have gone into maintenance while it answered.
                let newest = self.worker.snapshot();
                let backend = newest.backends.get(server.id.backend.0 as usize);
                if let Some(server) = backend.and_then(|b| b.servers.get(server.id.index as usize))
                    && side.owner == self.owner(server)
                {
                    let mut pool = self.worker.pool.borrow_mut();
                    pool.keep(server, side.owner, &side.to, side.io, view.spec.pool, self.e.latest);
                }
            }
        }
        outcome.map(|(end, _)| end)
    }

    /// The conversation, and what the connection is good for afterwards.
    async fn converse(
        &mut self,
        view: &Arc<BackendView>,
        server: &ServerView,
        side: &mut ServerSide,
    ) -> Result<(End, After), Failed> {
        self.connection.place.entry.doing.set(Doing::Headers);
        let limits = view.spec.limits;
        let mut interim = 0;
        let framing = loop {
            match self.hear(view, side, &limits).await {
                Heard::Head => {}
                Heard::Bad(reject) => return Err(self.bad_answer(server, side, &reject).into()),
                Heard::Gone => return Err(self.server_gone(server, side)),
                Heard::End(end) => return Err(end.into()),
            }
            let response = &self.e.scratch.response;
            let upgrade_asked = self.framing.upgrade.is_some();
            match h1::response_framing(response, self.e.scratch.request.method(), upgrade_asked) {
                Ok(framing) if framing.interim => {
                    interim += 1;
                    if interim > INTERIM_MAX {
                        self.observe(server, Some("interim answers without end"));
                        return Err(End::new(Cause::BadAnswer, Phase::Headers).into());
                    }
                    self.continued |= response.status() == 100;
                    self.relay_interim().await?;
                    // A sign of life: the server's time begins anew.
                    self.e.latest = clock::now();
                }
                Ok(framing) => break framing,
                Err(reject) => return Err(self.bad_answer(server, side, &reject).into()),
            }
        };
        self.answer_began(server);
        if self.e.http2 && self.framing.upgrade.is_some() && !self.is_upgrade_answer(&framing) {
            self.observe(server, Some("bad websocket handshake"));
            return Err(End::new(Cause::BadAnswer, Phase::Headers).into());
        }
        if self.e.scratch.response.status() == 503 && self.may_repeat(view, Failure::Status503) {
            let end = End::new(Cause::ServerClosed, Phase::Headers);
            return Err(Failed::Attempt { failure: Failure::Status503, end });
        }
        if framing.switching && side.sent < self.e.scratch.to_server.len() {
            // What is left of the head would be the first bytes of the tunnel.
            self.observe(server, Some("upgraded before it was asked"));
            return Err(End::new(Cause::BadAnswer, Phase::Headers).into());
        }
        self.render_response(view, server, &framing);
        self.log_at_head(side.buffer.len());
        if framing.switching {
            self.write_out(Phase::Headers).await?;
            return Ok((End::new(Cause::Done, Phase::Data), After::Switched));
        }
        self.pass_body(view, side, &framing, &limits).await
    }

    /// Sends the request and waits for the head of an answer.
    async fn hear(&mut self, view: &BackendView, side: &mut ServerSide, limits: &HttpLimits) -> Heard {
        let connection = &mut *self.connection;
        let scratch = &mut *self.e.scratch;
        let upload = &mut self.upload;
        let shelf = &self.worker.shelf;
        let spec = &self.e.snapshot.frontends[self.e.frontend].spec;
        let waits = Waits { client: spec.timeouts.client, server: view.spec.timeouts.server };
        let ahead_max = spec.limits.pipeline_max_bytes;
        let bytes_in = &mut self.e.bytes_in;
        let expects = self.framing.expect_continue && !self.continued;
        let mut active = self.e.latest;
        let mut waited = false;
        let mut parsed_once = side.buffer.is_empty();
        poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Heard::End(End::new(cause, Phase::Headers)));
            }
            let mut moved = false;
            let uploading = match send(cx, side, &scratch.to_server, upload, connection, shelf, &mut moved, bytes_in) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(Heard::End(end)),
            };
            if !parsed_once {
                // Bytes behind an interim answer may hold the next head already.
                parsed_once = true;
                match take_head(side, &mut scratch.response, limits) {
                    Ok(true) => return Poll::Ready(Heard::Head),
                    Ok(false) => {}
                    Err(reject) => return Poll::Ready(Heard::Bad(reject)),
                }
            }
            loop {
                shelf.equip(&mut side.buffer);
                if side.buffer.room().is_empty() {
                    let larger = (side.buffer.capacity() * 2).min(limits.head_max_bytes + 1024);
                    side.buffer.grow(larger);
                }
                match side.io.poll_read_slice(cx, side.buffer.room()) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Heard::Gone),
                    Poll::Ready(Ok(n)) => {
                        side.buffer.filled_by(n);
                        side.answered = true;
                        moved = true;
                        match take_head(side, &mut scratch.response, limits) {
                            Ok(true) => return Poll::Ready(Heard::Head),
                            Ok(false) => {}
                            Err(reject) => return Poll::Ready(Heard::Bad(reject)),
                        }
                    }
                    Poll::Pending => {
                        shelf.shelve(&mut side.buffer);
                        break;
                    }
                }
            }
            if looks_for_client(uploading, connection)
                && let Some(Cause::ClientReset) = connection.poll_left(cx, shelf, ahead_max)
            {
                return Poll::Ready(Heard::End(End::new(Cause::ClientReset, Phase::Headers)));
            }
            if moved && waited {
                active = clock::now();
            }
            waited = true;
            // While the client is to send, it is the client that is waited for, unless it waits for a 100 itself.
            let on_client = uploading == upload::Progress::AwaitsClient && !(expects && upload.received == 0);
            let due = active + waits.on(on_client);
            connection.deadline.set(due);
            connection.place.entry.expires(on_client, due);
            match connection.deadline.poll_passed(cx) {
                Poll::Ready(()) if on_client => Poll::Ready(Heard::End(End::new(Cause::ClientTimeout, Phase::Headers))),
                Poll::Ready(()) => Poll::Ready(Heard::End(End::new(Cause::ServerTimeout, Phase::Headers))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// To an HTTP/2 client every 2xx grants the websocket it asked for: so none may reach it but for a handshake that
    /// the server completed. Refusals are passed on as they are.
    fn is_upgrade_answer(&mut self, framing: &ResponseFraming) -> bool {
        let response = &self.e.scratch.response;
        let Some(exchange) = self.connection.io.h2() else { return true };
        match framing.switching {
            true => exchange.is_websocket_accepted(response),
            false => !(200..300).contains(&response.status()),
        }
    }

    /// The server went away before its answer's head was whole.
    fn server_gone(&mut self, server: &ServerView, side: &ServerSide) -> Failed {
        let end = End::new(Cause::ServerClosed, Phase::Headers);
        if let Some(refusal) = side.io.tls().and_then(TlsIo::refusal).filter(|_| !side.answered && !side.reused)
            && verifier::refuses_identity(refusal)
        {
            // It has looked at nothing that was sent: as good as no connection.
            self.handshake_failed(server, &verifier::reason(refusal));
            self.observe(server, Some("TLS handshake failed"));
            let end = End::new(Cause::ServerTls, Phase::Connect);
            return Failed::Attempt { failure: Failure::Connect, end };
        }
        if side.answered {
            self.observe(server, Some("answer cut short"));
            return Failed::End(end);
        }
        let failure = if side.reused { Failure::DeadReused } else { Failure::EmptyResponse };
        if failure == Failure::EmptyResponse {
            self.observe(server, Some("empty answer"));
        }
        Failed::Attempt { failure, end }
    }

    fn bad_answer(&mut self, server: &ServerView, side: &ServerSide, reject: &Reject) -> End {
        self.note_bad_answer(reject, side.buffer.filled());
        self.observe(server, Some("bad answer"));
        End::new(Cause::BadAnswer, Phase::Headers)
    }

    /// Passes a 1xx on, if the client knows such answers.
    pub(super) async fn relay_interim(&mut self) -> Result<(), End> {
        if self.e.scratch.request.version() == Version::Http10 {
            return Ok(());
        }
        let scratch = &mut *self.e.scratch;
        hop::strip_hop_by_hop(&mut scratch.response, false);
        if let Some(exchange) = self.connection.io.h2() {
            let sent = exchange.send_interim(&scratch.response);
            self.e.bytes_out += sent.map_err(|_| End::new(Cause::ClientReset, Phase::Headers))?;
            self.e.frontend().live.counters.inc(self.worker.shard, Counter::Hrsp1xx);
            return Ok(());
        }
        let out = &mut scratch.out;
        out.clear();
        status_line(out, &scratch.response);
        scratch.response.write_fields(out);
        out.extend_from_slice(b"\r\n");
        self.e.frontend().live.counters.inc(self.worker.shard, Counter::Hrsp1xx);
        self.write_out(Phase::Headers).await
    }

    /// Notes that the head of the answer has come: timers, passive checks.
    pub(super) fn answer_began(&mut self, server: &ServerView) {
        let now = clock::now();
        self.e.latest = now;
        let since = self.e.connected.unwrap_or(self.e.first_byte);
        self.e.times.response = now.saturating_duration_since(since);
        self.e.timers.response = Some(millis(self.e.times.response));
        let status = self.e.scratch.response.status();
        let layer7 = server.spec.observe.is_some_and(|o| o.layer7);
        let is_error = layer7 && status >= 500 && status != 501 && status != 505;
        if server.spec.observe.is_some() {
            self.observe(server, is_error.then_some("bad status"));
        }
    }

    /// Writes the answer's head for the client.
    pub(super) fn render_response(&mut self, view: &BackendView, server: &ServerView, framing: &ResponseFraming) {
        let snapshot = self.e.snapshot.clone();
        let spec = &snapshot.frontends[self.e.frontend].spec;
        let scratch = &mut *self.e.scratch;
        let cut = filter::capture_response(&mut scratch.response, &spec.capture, &mut scratch.response_captures);
        if !scratch.response_captures.is_empty() {
            let live = &snapshot.frontends[self.e.frontend].live;
            numbers::observe(live, self.worker.shard, &spec.capture, &scratch.response_captures, cut);
        }
        if let Some(wanted) = &spec.capture.cookie {
            scratch.response_cookie = cookie::find_set_prefixed(&scratch.response, wanted.prefix.as_bytes())
                .map(|c| c[..c.len().min(wanted.max_bytes)].to_vec());
        }
        hop::strip_hop_by_hop(&mut scratch.response, framing.switching);
        if let (Some(cookie_spec), b'I') = (&view.spec.cookie, self.e.persistence[1]) {
            let value = server.spec.cookie.as_deref().unwrap_or(&server.spec.name);
            scratch.text.clear();
            cookie::render_set_cookie(cookie_spec, value, &mut scratch.text);
            scratch.response.add(b"Set-Cookie", &scratch.text);
            if cookie_spec.nocache {
                scratch.response.add(b"Cache-Control", b"private");
            }
        }
        if let (Some(header), true) = (&spec.request_id.header, spec.request_id.respond && !scratch.id.is_empty()) {
            scratch.response.set(header.as_bytes(), &scratch.id);
        }
        self.apply_response_rules(&view.spec.response_rules);
        if let Some(route) = self.e.route {
            self.apply_response_rules(&spec.routes[route].response_rules);
        }
        self.apply_response_rules(&spec.response_rules);
        // What the client gets; clients that know no chunks get nothing compressed.
        let body =
            if self.offer.is_some() && self.compress_answer(framing.body) { Body::Chunked } else { framing.body };
        let status = self.e.scratch.response.status();
        self.e.status = Some(status);
        let client_is_old = self.e.scratch.request.version() == Version::Http10;
        if body == Body::UntilClose || (body == Body::Chunked && client_is_old) {
            self.close = true;
        }
        if !self.upload.is_done() && self.upload_is_hopeless(framing) {
            self.close = true;
        }
        let draining = self.worker.is_leaving(&self.e.frontend().live);
        self.close |= draining;
        let scratch = &mut *self.e.scratch;
        let out = &mut scratch.out;
        out.clear();
        if let Some(exchange) = self.connection.io.h2() {
            let ends = framing.body == Body::Empty && !framing.switching;
            if framing.switching {
                self.e.status = Some(200);
            }
            // A stream that the client has called off takes no body either: that is where it comes up.
            self.e.bytes_out += exchange.send_head(&scratch.response, ends, framing.switching).unwrap_or(0);
            return;
        }
        status_line(out, &scratch.response);
        scratch.response.write_fields(out);
        if body == Body::Chunked && !client_is_old {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if framing.switching {
            out.extend_from_slice(b"Connection: upgrade\r\n");
        } else if self.close {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if client_is_old {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// An answer that comes before the request's body was read, with an error or an end of the connection, means that
    /// the server will not read the rest once it has said all: the client's connection cannot go on. Nor can it when the
    /// client was never told to send the body.
    pub(super) fn upload_is_hopeless(&self, framing: &ResponseFraming) -> bool {
        let unasked = self.framing.expect_continue && !self.continued && self.upload.received == 0;
        !framing.keep_alive || self.e.scratch.response.status() >= 300 || unasked
    }

    /// Moves the answer's body, and what is left of the request's: under the answer in any case, for a server may need
    /// the one to make the other; behind it as long as the server takes it.
    async fn pass_body(
        &mut self,
        view: &BackendView,
        side: &mut ServerSide,
        framing: &ResponseFraming,
        limits: &HttpLimits,
    ) -> Result<(End, After), Failed> {
        let client_is_old = self.e.scratch.request.version() == Version::Http10;
        let hopeless = self.upload_is_hopeless(framing);
        let encoding = self.encoding.take();
        let ends_with_close = encoding.is_none()
            && (framing.body == Body::UntilClose || (framing.body == Body::Chunked && client_is_old));
        let to_chunks = !client_is_old && !self.e.http2;
        let mut down = Download::new(framing.body, to_chunks, limits).encoded(encoding);
        let connection = &mut *self.connection;
        connection.place.entry.doing.set(Doing::Data);
        let scratch = &mut *self.e.scratch;
        let up = &mut self.upload;
        let shelf = &self.worker.shelf;
        let spec = &self.e.snapshot.frontends[self.e.frontend].spec;
        let waits = Waits { client: spec.timeouts.client, server: view.spec.timeouts.server };
        let ahead_max = spec.limits.pipeline_max_bytes;
        let bytes_in = &mut self.e.bytes_in;
        let bytes_out = &mut self.e.bytes_out;
        let mut active: Option<Instant> = None;
        let mut bad: Option<Reject> = None;
        let sent_before = *bytes_out;
        let head_bytes = scratch.out.len() as u64;
        let cause = poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(cause);
            }
            let mut moved = false;
            let uploading = match send(cx, side, &scratch.to_server, up, connection, shelf, &mut moved, bytes_in) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(end.cause),
            };
            let io = &mut connection.io;
            let polled =
                down.poll(cx, io, &mut side.io, &mut side.buffer, &mut scratch.out, shelf, bytes_out, &mut moved);
            let progress = match polled {
                Ok(download::Progress::Done)
                    if uploading == upload::Progress::Done || hopeless || side.refuses || side.is_over(cx, shelf) =>
                {
                    return Poll::Ready(Cause::Done);
                }
                Ok(progress) => progress,
                Err(DownloadError::ClientGone) => return Poll::Ready(Cause::ClientReset),
                Err(DownloadError::ServerClosed) => return Poll::Ready(Cause::ServerClosed),
                Err(DownloadError::Bad(reject)) => {
                    bad = Some(reject);
                    return Poll::Ready(Cause::BadAnswer);
                }
                Err(DownloadError::Encoder(error)) => {
                    tracing::error!(%error, "an answer cannot be compressed to its end");
                    return Poll::Ready(Cause::Internal);
                }
            };
            connection.place.entry.bytes_out.set(*bytes_out);
            if looks_for_client(uploading, connection)
                && progress == download::Progress::AwaitsServer
                && connection.poll_left(cx, shelf, ahead_max) == Some(Cause::ClientReset)
            {
                return Poll::Ready(Cause::ClientReset);
            }
            if moved || active.is_none() {
                active = Some(clock::now());
            }
            let owed = uploading == upload::Progress::AwaitsClient && !hopeless;
            let on_client = progress == download::Progress::AwaitsClient || owed;
            if let Some(active) = active {
                let due = active + waits.on(on_client);
                connection.deadline.set(due);
                connection.place.entry.expires(on_client, due);
            }
            match connection.deadline.poll_passed(cx) {
                Poll::Ready(()) if on_client => Poll::Ready(Cause::ClientTimeout),
                Poll::Ready(()) => Poll::Ready(Cause::ServerTimeout),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if active.is_some() {
            self.e.latest = clock::now();
        }
        if self.bypasses {
            self.count_bypassed((self.e.bytes_out - sent_before).saturating_sub(head_bytes));
        }
        if let Some(reject) = bad {
            self.note_bad_answer(&reject, side.buffer.filled());
        }
        if cause != Cause::Done {
            // A head for HTTP/2 has left already.
            if self.e.bytes_out == sent_before && cause == Cause::BadAnswer && !self.e.http2 {
                // The client has seen nothing of it: it can still be told.
                self.e.status = None;
                return Err(End::new(cause, Phase::Headers).into());
            }
            self.cut_visibly = ends_with_close;
            return Err(End::new(cause, Phase::Data).into());
        }
        if !self.upload.is_done() {
            self.close = true;
        }
        let sent = self.upload.is_done() && side.sent == self.e.scratch.to_server.len();
        let clean = framing.keep_alive && sent && side.buffer.is_empty() && !side.refuses;
        Ok((End::new(Cause::Done, Phase::Data), if clean { After::Clean } else { After::Used }))
    }
}

/// Sends the head and moves the body. A server that takes no more may still answer: that is no error here.
#[allow(clippy::too_many_arguments)]
fn send(
    cx: &mut Context<'_>,
    side: &mut ServerSide,
    head: &[u8],
    up: &mut Upload,
    connection: &mut Connection,
    shelf: &BufferShelf,
    moved: &mut bool,
    bytes_in: &mut u64,
) -> Result<upload::Progress, End> {
    while side.sent < head.len() && !side.refuses {
        match side.io.poll_write(cx, &head[side.sent..]) {
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => side.refuses = true,
            Poll::Ready(Ok(n)) => {
                side.sent += n;
                *moved = true;
            }
            Poll::Pending => return Ok(upload::Progress::AwaitsServer),
        }
    }
    if side.refuses {
        return Ok(upload::Progress::AwaitsServer);
    }
    let mut progress = upload::Progress::Done;
    if !up.is_done() {
        let before = up.received;
        let result = up.poll(cx, connection, &mut side.io, shelf, moved);
        *bytes_in += up.received - before;
        progress = match result {
            Ok(progress) => progress,
            Err(UploadError::ServerGone) => {
                side.refuses = true;
                return Ok(upload::Progress::AwaitsServer);
            }
            Err(UploadError::Malformed) => {
                let reject = Reject::request(h1::RejectReason::LengthMismatch, 0);
                return Err(End::new(Cause::BadRequest(reject.status), Phase::Headers));
            }
            Err(UploadError::ClientClosed) => return Err(End::new(Cause::ClientClosed, Phase::Headers)),
            Err(UploadError::ClientReset) => return Err(End::new(Cause::ClientReset, Phase::Headers)),
            Err(UploadError::Bad(reject)) => return Err(End::new(Cause::BadRequest(reject.status), Phase::Headers)),
            Err(UploadError::TooLarge) => return Err(End::new(Cause::BadRequest(413), Phase::Headers)),
        };
    }
    // With TLS, what was taken may not have left this process yet.
    match side.io.poll_flush(cx) {
        Poll::Ready(Ok(())) => Ok(progress),
        Poll::Ready(Err(_)) => {
            side.refuses = true;
            Ok(upload::Progress::AwaitsServer)
        }
        Poll::Pending if progress == upload::Progress::Done => Ok(upload::Progress::AwaitsServer),
        Poll::Pending => Ok(progress),
    }
}

/// Whether it must be asked if the client is still there: moving a body shows it by itself, save that a body which the
/// server does not take hides a reset of its stream.
pub(super) fn looks_for_client(uploading: upload::Progress, connection: &Connection) -> bool {
    match uploading {
        upload::Progress::Done => true,
        upload::Progress::AwaitsServer => connection.io.is_h2(),
        upload::Progress::AwaitsClient => false,
    }
}

/// Parses the head of an answer if it is whole.
fn take_head(side: &mut ServerSide, head: &mut Head, limits: &HttpLimits) -> Result<bool, Reject> {
    match h1::parse_response(side.buffer.filled(), head, limits)? {
        Parsed::Complete { consumed } => {
            side.buffer.consume(consumed);
            Ok(true)
        }
        Parsed::Partial => Ok(false),
    }
}

/// The status line of an answer to a client; it speaks our version of HTTP, whatever the server spoke.
pub(super) fn status_line(out: &mut Vec<u8>, head: &Head) {
    let status = head.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    text::push_status(status, out);
    out.push(b' ');
    match head.reason() {
        b"" => out.extend_from_slice(reason_phrase(status).as_bytes()),
        reason => out.extend_from_slice(reason),
    }
    out.extend_from_slice(b"\r\n");
}

/// How long each side may be still.
pub(super) struct Waits {
    pub client: Duration,
    pub server: Duration,
}

impl Waits {
    pub fn on(&self, client: bool) -> Duration {
        if client { self.client } else { self.server }
    }
}
