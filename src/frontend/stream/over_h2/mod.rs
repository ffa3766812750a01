//! Talking to a server over HTTP/2: the phases of `exchange`, on a stream of a connection that others are on too.
//!
//! What a request becomes and how an answer is understood is in `core::http::h2_to_server`; which connection takes it in
//! `backend::h2`; how bodies move in [`bodies`]. Everything about the client is as with a server of HTTP/1.

mod bodies;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use self::bodies::{Download, DownloadError, Upload};
use super::exchange::{Failed, INTERIM_MAX, Waits, looks_for_client};
use super::{End, Stream, download, upload};
use crate::backend::h2::{Answer, Asked, Exchange, Fault, Place, Waiting, Wanted, Whose};
use crate::core::fleet::snapshot::{BackendView, ConnectTo, ServerView};
use crate::core::http::h1::{Body, Reject, ResponseFraming};
use crate::core::http::{Version, h2_to_server};
use crate::core::stats::counters::Counter;
use crate::core::termination::retry::Failure;
use crate::core::termination::{Cause, Phase};
use crate::frontend::connection::millis;
use crate::frontend::registry::Doing;
use crate::runtime::clock;

/// Connections that may come to nothing for one attempt before it counts as failed.
const OPENINGS_MAX: u32 = 16;

/// What came of waiting for the head of an answer.
enum Heard {
    Answer(Answer),
    Fault(Fault),
    End(End),
}

impl Stream<'_> {
    /// One attempt on a leased server that speaks HTTP/2. `newest` is the picture the lease is from.
    pub(super) async fn attempt_over_h2(
        &mut self,
        view: &Arc<BackendView>,
        newest: &Arc<BackendView>,
        server: &ServerView,
    ) -> Result<End, Failed> {
        if self.framing.upgrade.is_some_and(|upgrade| upgrade.websocket) {
            return Err(Failed::End(self.no_websocket(server)));
        }
        let mut refused = 0;
        let (mut exchange, mut up) = loop {
            let place = self.place(newest, server).await?;
            self.note_place(&place);
            let (tls, trailers) = (self.connection.is_secure(), self.takes_trailers);
            let request = h2_to_server::request(&self.e.scratch.request, tls, trailers, &view.spec.name);
            let Ok(request) = request else {
                return Err(Failed::End(End::new(Cause::BadRequest(400), Phase::Headers)));
            };
            let up = Upload::new(&self.e.scratch.to_server[self.head_end..], &self.upload);
            match place.start(request, up.is_over(&self.upload)) {
                Ok(exchange) => break (exchange, up),
                // It has been told to take no more: another one will.
                Err(Fault::Unprocessed) if refused < OPENINGS_MAX => refused += 1,
                Err(Fault::Unprocessed) => return Err(self.turned_away(server)),
                Err(_) => return Err(Failed::End(End::new(Cause::Internal, Phase::Headers))),
            }
        };
        self.converse_over_h2(view, server, &mut exchange, &mut up).await
    }

    /// A websocket has no way through here; a plain answer to the request would be taken for one by some clients.
    fn no_websocket(&self, server: &ServerView) -> End {
        let owner = format!("{}/{}", self.e.backend().map_or("", |b| &b.spec.name[..]), server.spec.name);
        if self.worker.connectors.is_news(&owner, "websocket", self.e.latest) {
            tracing::warn!(server = %owner, "websockets are not passed to servers with `proto: h2`");
        }
        End::new(Cause::BadAnswer, Phase::Headers)
    }

    /// The server takes connections and then no request on them.
    fn turned_away(&self, server: &ServerView) -> Failed {
        self.observe(server, Some(Fault::Unprocessed.text()));
        Failed::Attempt { failure: Failure::Connect, end: End::new(Cause::ServerRefused, Phase::Connect) }
    }

    /// A place on a connection, waited for if need be.
    async fn place(&mut self, view: &Arc<BackendView>, server: &ServerView) -> Result<Place, Failed> {
        let shard = self.worker.shard;
        let start = self.e.latest;
        let (mut waited, mut rounds) = (false, 0);
        loop {
            let turn = self.worker.source_turn.get();
            let host = &self.e.scratch.host;
            let owner = self.owner(server);
            let wanted = || Wanted {
                view: view.clone(),
                server: server.clone(),
                host: host.as_str().into(),
                first: self.introduction(server),
                owner,
                connectors: self.worker.connectors.clone(),
                turn,
                shard,
            };
            let host = Some(host.as_str()).filter(|host| !host.is_empty());
            let whose = Whose { spec: &view.spec, host, owner, newer_than: self.failed_at };
            let asked = self.worker.pool.borrow_mut().h2.ask(wanted, server, whose);
            let place = match asked {
                Asked::Place(place) => Some(place),
                Asked::Wait { waiting, fresh } => {
                    if fresh {
                        self.worker.source_turn.set(turn.wrapping_add(1));
                        server.live.counters.inc(shard, Counter::Connect);
                        view.live.counters.inc(shard, Counter::Connect);
                    }
                    waited = true;
                    self.wait_for_place(view, server, waiting).await?
                }
            };
            let Some(place) = place else {
                // Others took all there was, or the server took it away again.
                rounds += 1;
                if rounds > OPENINGS_MAX {
                    return Err(self.turned_away(server));
                }
                continue;
            };
            if waited {
                self.e.latest = clock::now();
            }
            if place.is_reused() {
                server.live.counters.inc(shard, Counter::Reuse);
                view.live.counters.inc(shard, Counter::Reuse);
            }
            self.e.times.connect = self.e.latest.saturating_duration_since(start);
            self.e.timers.connect = Some(millis(self.e.times.connect));
            self.e.connected = Some(self.e.latest);
            return Ok(place);
        }
    }

    async fn wait_for_place(
        &mut self,
        view: &BackendView,
        server: &ServerView,
        mut waiting: Waiting,
    ) -> Result<Option<Place>, Failed> {
        let connection = &mut *self.connection;
        connection.place.entry.doing.set(Doing::Connect);
        connection.place.entry.expires(false, clock::now() + view.spec.timeouts.connect);
        let shelf = &self.worker.shelf;
        let ahead_max = self.e.snapshot.frontends[self.e.frontend].spec.limits.pipeline_max_bytes;
        let watch = self.upload.is_done() || self.e.http2;
        let come = poll_fn(|cx| {
            if let Poll::Ready(come) = waiting.poll_place(cx) {
                return Poll::Ready(Ok(come));
            }
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Err(End::new(cause, Phase::Connect)));
            }
            match watch.then(|| connection.poll_left(cx, shelf, ahead_max)).flatten() {
                Some(Cause::ClientReset) => Poll::Ready(Err(End::new(Cause::ClientReset, Phase::Connect))),
                _ => Poll::Pending,
            }
        })
        .await;
        match come? {
            Ok(place) => Ok(place),
            Err(error) => {
                self.e.latest = clock::now();
                Err(self.cannot_connect(server, &error))
            }
        }
    }

    /// Notes both ends of the connection for log formats that show them.
    fn note_place(&mut self, place: &Place) {
        if self.worker.log_wants(&self.e.frontend().spec.log).server_side {
            let server: Option<SocketAddr> = match place.to() {
                ConnectTo::Ip(address) => Some(*address),
                ConnectTo::Unix(_) => None,
            };
            self.e.server_side = (place.local_addr(), server);
        }
    }

    /// The conversation.
    async fn converse_over_h2(
        &mut self,
        view: &Arc<BackendView>,
        server: &ServerView,
        exchange: &mut Exchange,
        up: &mut Upload,
    ) -> Result<End, Failed> {
        self.connection.place.entry.doing.set(Doing::Headers);
        let limits = view.spec.limits;
        let mut interim = 0;
        let framing = loop {
            let (head, ended) = match self.hear_over_h2(view, exchange, up).await {
                Heard::Answer(Answer::Interim(head)) => (head, false),
                Heard::Answer(Answer::Final { head, ended }) => (head, ended),
                Heard::Fault(fault) => return Err(self.no_answer(server, exchange, fault)),
                Heard::End(end) => return Err(end.into()),
            };
            let scratch = &mut *self.e.scratch;
            let method = scratch.request.method();
            match h2_to_server::response(&head, ended, method, &limits, &mut scratch.response) {
                Ok(framing) if framing.interim => {
                    interim += 1;
                    if interim > INTERIM_MAX {
                        self.observe(server, Some("interim answers without end"));
                        return Err(End::new(Cause::BadAnswer, Phase::Headers).into());
                    }
                    self.continued |= head.status().as_u16() == 100;
                    self.relay_interim().await?;
                    // A sign of life: the server's time begins anew.
                    self.e.latest = clock::now();
                }
                Ok(framing) => {
                    if ended && !self.e.http2 && h2_to_server::owes_length(&scratch.response, scratch.request.method())
                    {
                        scratch.response.add(b"Content-Length", b"0");
                    }
                    break framing;
                }
                Err(reject) => return Err(self.bad_answer_over_h2(server, &reject).into()),
            }
        };
        self.answer_began(server);
        if self.e.scratch.response.status() == 503 && self.may_repeat(view, Failure::Status503) {
            let end = End::new(Cause::ServerClosed, Phase::Headers);
            return Err(Failed::Attempt { failure: Failure::Status503, end });
        }
        self.render_response(view, server, &framing);
        self.log_at_head(0);
        self.pass_body_over_h2(view, exchange, up, &framing).await
    }

    /// Sends the request's body and waits for the next head of an answer.
    async fn hear_over_h2(&mut self, view: &BackendView, exchange: &mut Exchange, up: &mut Upload) -> Heard {
        let connection = &mut *self.connection;
        let source = &mut self.upload;
        let shelf = &self.worker.shelf;
        let spec = &self.e.snapshot.frontends[self.e.frontend].spec;
        let waits = Waits { client: spec.timeouts.client, server: view.spec.timeouts.server };
        let ahead_max = spec.limits.pipeline_max_bytes;
        let bytes_in = &mut self.e.bytes_in;
        let expects = self.framing.expect_continue && !self.continued;
        let mut active = self.e.latest;
        let mut waited = false;
        poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Heard::End(End::new(cause, Phase::Headers)));
            }
            let mut moved = false;
            let uploading = match up.poll(cx, source, connection, exchange, shelf, &mut moved, bytes_in) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(Heard::End(end)),
            };
            match exchange.poll_answer(cx) {
                Poll::Ready(Ok(answer)) => return Poll::Ready(Heard::Answer(answer)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Heard::Fault(fault)),
                Poll::Pending => {}
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
            let on_client = uploading == upload::Progress::AwaitsClient && !(expects && source.received == 0);
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

    /// The stream ended before its answer's head came.
    fn no_answer(&mut self, server: &ServerView, exchange: &Exchange, fault: Fault) -> Failed {
        let end = End::new(Cause::ServerClosed, Phase::Headers);
        let now = clock::now();
        let failure = match fault {
            Fault::Refused => Failure::Refused,
            Fault::Unprocessed => {
                // Once it is replaced for nothing; a server that ends every connection so is refusing.
                exchange.place().leave_connection();
                if self.failed_at.replace(now).is_none() { Failure::Closing } else { Failure::Refused }
            }
            Fault::Lost => {
                exchange.place().leave_connection();
                let reused = exchange.place().is_reused() && self.failed_at.replace(now).is_none();
                if !reused {
                    self.observe(server, Some("empty answer"));
                }
                if reused { Failure::DeadReused } else { Failure::EmptyResponse }
            }
            Fault::Reset(_) => {
                self.observe(server, Some(fault.text()));
                return Failed::End(end);
            }
            Fault::Broken => {
                self.observe(server, Some(fault.text()));
                return Failed::End(End::new(Cause::BadAnswer, Phase::Headers));
            }
        };
        Failed::Attempt { failure, end }
    }

    fn bad_answer_over_h2(&mut self, server: &ServerView, reject: &Reject) -> End {
        let mut shown = Vec::new();
        super::exchange::status_line(&mut shown, &self.e.scratch.response);
        self.e.scratch.response.write_fields(&mut shown);
        self.note_bad_answer(reject, &shown);
        self.observe(server, Some("bad answer"));
        End::new(Cause::BadAnswer, Phase::Headers)
    }

    /// Moves the answer's body, and what is left of the request's.
    async fn pass_body_over_h2(
        &mut self,
        view: &BackendView,
        exchange: &mut Exchange,
        up: &mut Upload,
        framing: &ResponseFraming,
    ) -> Result<End, Failed> {
        let client_is_old = self.e.scratch.request.version() == Version::Http10;
        let hopeless = self.upload_is_hopeless(framing);
        let mut down = Download::new(framing.body, !client_is_old && !self.e.http2).encoded(self.encoding.take());
        let connection = &mut *self.connection;
        connection.place.entry.doing.set(Doing::Data);
        let scratch = &mut *self.e.scratch;
        let source = &mut self.upload;
        let shelf = &self.worker.shelf;
        let spec = &self.e.snapshot.frontends[self.e.frontend].spec;
        let waits = Waits { client: spec.timeouts.client, server: view.spec.timeouts.server };
        let ahead_max = spec.limits.pipeline_max_bytes;
        let bytes_in = &mut self.e.bytes_in;
        let bytes_out = &mut self.e.bytes_out;
        let mut active = None;
        let (sent_before, head_bytes) = (*bytes_out, scratch.out.len() as u64);
        let cause = poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(cause);
            }
            let mut moved = false;
            let uploading = match up.poll(cx, source, connection, exchange, shelf, &mut moved, bytes_in) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(end.cause),
            };
            let progress = match down.poll(cx, &mut connection.io, exchange, &mut scratch.out, bytes_out, &mut moved) {
                Ok(download::Progress::Done)
                    if uploading == upload::Progress::Done || hopeless || exchange.poll_refused(cx).is_ready() =>
                {
                    return Poll::Ready(Cause::Done);
                }
                Ok(progress) => progress,
                Err(DownloadError::ClientGone) => return Poll::Ready(Cause::ClientReset),
                Err(DownloadError::Server(Fault::Broken)) => return Poll::Ready(Cause::BadAnswer),
                Err(DownloadError::Server(_)) => return Poll::Ready(Cause::ServerClosed),
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
        if cause != Cause::Done {
            self.cut_visibly = framing.body == Body::Chunked && client_is_old;
            return Err(End::new(cause, Phase::Data).into());
        }
        if !self.upload.is_done() {
            self.close = true;
        }
        Ok(End::new(Cause::Done, Phase::Data))
    }
}
