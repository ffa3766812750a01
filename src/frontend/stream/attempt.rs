//! Finding a server for a request, and trying again where that is allowed.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::exchange::{Failed, ServerSide};
use super::{BackendPlace, End, Stream};
use crate::backend::ServerIo;
use crate::backend::checkout::{self, Checkout, Waiting, Wish};
use crate::backend::connect::{self, ConnectError};
use crate::backend::handshake;
use crate::core::balance::{Algorithm, hash_key};
use crate::core::fleet::event::Event;
use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::fleet::spec::ServerProtocol;
use crate::core::http::cookie;
use crate::core::http::h1::Body;
use crate::core::stats::counters::Counter;
use crate::core::termination::retry::{self, Attempt, Failure, Verdict};
use crate::core::termination::{Cause, Phase};
use crate::frontend::connection::millis;
use crate::frontend::registry::Doing;
use crate::runtime::clock;
use crate::runtime::shared::WorkerReport;
use crate::tls::{HandshakeError, verifier};

/// Pause before the same server is tried again after a failed connection. HAProxy: one second, or `timeout connect`.
const SAME_SERVER_PAUSE: Duration = Duration::from_secs(1);

impl Stream<'_> {
    /// Sends the request to a server of the backend and its answer to the client.
    pub(super) async fn proxy(&mut self, backend: usize) -> Result<End, End> {
        let snapshot = self.e.snapshot.clone();
        let Some(view) = snapshot.backends.get(backend) else {
            return Err(End::new(Cause::Internal, Phase::Request));
        };
        self.e.backend = Some(backend);
        self.e.sessions = Some(BackendPlace::new(&self.e.snapshot, backend));
        self.connection.place.entry.backend.set(Some(backend));
        let now_ms = self.worker.shared.uptime_ms(self.e.first_byte);
        view.live.last_session_ms.store(now_ms, Ordering::Relaxed);
        if view.maintenance {
            return Err(End::new(Cause::NoServer, Phase::Queue));
        }
        let mut wish = Wish { hash: self.hash(view), ..Wish::default() };
        wish.bound_to = self.persistence(view);
        self.settle_compression(view);
        self.apply_request_rules(&view.spec.request_rules);
        self.render_request(view);
        let queue_start = self.e.latest;
        loop {
            // Each attempt goes by the newest state: servers may have come and gone since the last one.
            let pinned = self.worker.snapshot();
            let Some(view) = pinned.backends.get(backend) else {
                return Err(End::new(Cause::NoServer, Phase::Queue));
            };
            self.lease(view, wish, queue_start).await?;
            match self.attempt(view).await {
                Ok(end) => return Ok(end),
                Err(Failed::End(end)) => return Err(end),
                Err(Failed::Attempt { failure, end }) => {
                    self.again(view, failure, end, &mut wish).await?;
                }
            }
        }
    }

    /// The hash that the backend's algorithm goes by.
    fn hash(&self, view: &BackendView) -> Option<u64> {
        match &view.spec.algorithm {
            Algorithm::Source => Some(match self.client_ip() {
                std::net::IpAddr::V4(ip) => hash_key(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash_key(&ip.octets()),
            }),
            Algorithm::Uri => Some(hash_key(self.e.scratch.request.path())),
            Algorithm::Header(name) => self.e.scratch.request.get(name.as_bytes()).map(hash_key),
            _ => None,
        }
    }

    /// The server that the persistence cookie names, if it may be used. Sets the log's third letter.
    fn persistence(&mut self, view: &BackendView) -> Option<usize> {
        let spec = view.spec.cookie.as_ref()?;
        let head = &mut self.e.scratch.request;
        let named = cookie::find(head, spec.name.as_bytes()).map(|value| {
            let is_its = |s: &ServerView| {
                !s.is_deleted() && s.spec.cookie.as_deref().unwrap_or(&s.spec.name).as_bytes() == value
            };
            view.servers.iter().position(is_its)
        });
        if named.is_some() {
            cookie::remove(head, spec.name.as_bytes());
        }
        let (letter, bound) = match named {
            None => (b'N', None),
            Some(None) => (b'I', None),
            Some(Some(i)) if view.servers[i].accepts_persistent => (b'V', Some(i)),
            Some(Some(_)) => (b'D', None),
        };
        self.e.persistence = [letter, if bound.is_some() { b'N' } else { b'I' }];
        bound
    }

    /// Writes the head for the server, with a small body that is already there behind it.
    fn render_request(&mut self, view: &BackendView) {
        let scratch = &mut *self.e.scratch;
        let out = &mut scratch.to_server;
        out.clear();
        out.extend_from_slice(scratch.request.method());
        out.push(b' ');
        out.extend_from_slice(scratch.request.forward_target());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if scratch.request.known(crate::core::http::Known::Host).is_none() {
            // HTTP/1.0 may come without; a server of HTTP/1.1 may not be left without.
            out.extend_from_slice(b"Host: ");
            out.extend_from_slice(view.spec.name.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        scratch.request.write_fields(out);
        if self.framing.body == Body::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if self.framing.upgrade.is_some() {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            if let Some(exchange) = self.connection.io.h2() {
                out.extend_from_slice(b"Sec-WebSocket-Key: ");
                out.extend_from_slice(exchange.websocket_key(&mut self.worker.rng.borrow_mut()));
                out.extend_from_slice(b"\r\n");
            }
        } else if self.takes_trailers {
            out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.head_end = out.len();
        self.e.bytes_in += self.upload.take_whole(&mut self.connection.buffer, out);
    }

    /// Gets a place on a server, waiting in the queue if need be.
    async fn lease(&mut self, view: &Arc<BackendView>, wish: Wish, queue_start: Instant) -> Result<(), End> {
        let asked = checkout::checkout(&self.worker.shared, view, wish, &mut self.worker.rng.borrow_mut());
        let lease = match asked {
            Checkout::Leased(lease) => lease,
            Checkout::NoServer => return Err(End::new(Cause::NoServer, Phase::Queue)),
            Checkout::QueueFull => return Err(End::new(Cause::QueueFull, Phase::Queue)),
            Checkout::Wait(waiting) => {
                let (server, backend) = waiting.position();
                self.e.server_queue = server;
                self.e.backend_queue = backend;
                let waited = self.wait_in_queue(waiting, view.spec.timeouts.queue).await;
                self.e.latest = clock::now();
                self.e.timers.queue = Some(millis(self.e.latest - queue_start));
                waited?
            }
        };
        let entry = &self.connection.place.entry;
        let server = lease.server();
        entry.server.set(Some(server.id));
        let shard = self.worker.shard;
        if std::mem::take(&mut self.replacing) {
            // A fresh connection in place of a dead kept one: nothing new happened as far as anyone counts.
        } else if self.e.retries == 0 || self.e.redispatched || self.e.server != Some(lease.index()) {
            server.live.counters.inc(shard, Counter::Stot);
            server.live.counters.inc(shard, Counter::Lbtot);
            view.live.counters.inc(shard, Counter::Lbtot);
        } else {
            server.live.counters.inc(shard, Counter::Stot);
        }
        let now = self.e.latest;
        server.live.last_session_ms.store(self.worker.shared.uptime_ms(now), Ordering::Relaxed);
        self.e.server = Some(lease.index());
        let known = self.e.backend().is_some_and(|own| Arc::ptr_eq(own, lease.view()));
        self.e.newer = (!known).then(|| lease.view().clone());
        self.e.times.queue = now.saturating_duration_since(queue_start);
        self.e.timers.queue = Some(millis(self.e.times.queue));
        self.e.lease = Some(lease);
        Ok(())
    }

    async fn wait_in_queue(&mut self, mut waiting: Waiting, timeout: Duration) -> Result<crate::backend::Lease, End> {
        let connection = &mut *self.connection;
        connection.place.entry.doing.set(Doing::Queue);
        let due = clock::now() + timeout;
        connection.deadline.set(due);
        connection.place.entry.expires(false, due);
        let ahead_max = self.e.snapshot.frontends[self.e.frontend].spec.limits.pipeline_max_bytes;
        let shelf = &self.worker.shelf;
        let watch = self.upload.is_done() || self.e.http2;
        poll_fn(|cx| {
            if let Poll::Ready(lease) = waiting.poll_lease(cx) {
                return Poll::Ready(Ok(lease));
            }
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Err(End::new(cause, Phase::Queue)));
            }
            if watch && let Some(cause) = connection.poll_left(cx, shelf, ahead_max) {
                return Poll::Ready(Err(End::new(cause, Phase::Queue)));
            }
            connection.deadline.poll_passed(cx).map(|()| Err(End::new(Cause::QueueTimeout, Phase::Queue)))
        })
        .await
    }

    /// One attempt on the leased server.
    async fn attempt(&mut self, view: &Arc<BackendView>) -> Result<End, Failed> {
        let Some(lease) = &self.e.lease else {
            return Err(Failed::End(End::new(Cause::Internal, Phase::Queue)));
        };
        let newest = lease.view().clone();
        let Some(server) = newest.servers.get(lease.index()) else {
            return Err(Failed::End(End::new(Cause::Internal, Phase::Queue)));
        };
        if server.spec.protocol == ServerProtocol::H2 {
            return self.attempt_over_h2(view, &newest, server).await;
        }
        let Some(to) = server.address.clone() else {
            return Err(Failed::End(End::new(Cause::NoServer, Phase::Queue)));
        };
        let owner = self.owner(server);
        let kept = match self.fresh_only {
            true => None,
            false => {
                let host = Some(self.e.scratch.host.as_str()).filter(|host| !host.is_empty());
                self.worker.pool.borrow_mut().take(server, owner, host, self.e.latest)
            }
        };
        let side = match kept {
            Some(io) => {
                server.live.counters.inc(self.worker.shard, Counter::Reuse);
                view.live.counters.inc(self.worker.shard, Counter::Reuse);
                self.e.timers.connect = Some(0);
                self.e.times.connect = Duration::ZERO;
                self.e.connected = Some(self.e.latest);
                ServerSide::new(io, to, owner, true)
            }
            None => {
                let io = self.connect(view, server, &to).await?;
                ServerSide::new(io, to, owner, false)
            }
        };
        self.note_addresses(&side);
        self.exchange(view, server, side).await
    }

    /// Notes both ends of the connection to the server for log formats that show them.
    fn note_addresses(&mut self, side: &ServerSide) {
        if self.worker.log_wants(&self.e.frontend().spec.log).server_side {
            self.e.server_side = side.addresses();
        }
    }

    async fn connect(
        &mut self,
        view: &BackendView,
        server: &ServerView,
        to: &crate::core::fleet::snapshot::ConnectTo,
    ) -> Result<ServerIo, Failed> {
        let shard = self.worker.shard;
        server.live.counters.inc(shard, Counter::Connect);
        view.live.counters.inc(shard, Counter::Connect);
        self.connection.place.entry.doing.set(Doing::Connect);
        let turn = self.worker.source_turn.get();
        self.worker.source_turn.set(turn.wrapping_add(1));
        let start = clock::now();
        let first = self.introduction(server);
        let timeouts = &view.spec.timeouts;
        self.connection.place.entry.expires(false, start + timeouts.connect);
        let host = Some(self.e.scratch.host.as_str()).filter(|host| !host.is_empty());
        let connectors = &self.worker.connectors;
        let mut connecting = Box::pin(async {
            let io = connect::connect(to, &view.spec.source, turn, &first, timeouts.connect).await?;
            match &server.tls {
                None => Ok(io),
                Some(tls) => {
                    let connector = connectors.get(tls, clock::now()).map_err(ConnectError::Connector)?;
                    handshake::secure(io, &connector, host, timeouts.handshake).await
                }
            }
        });
        let connection = &mut *self.connection;
        let shelf = &self.worker.shelf;
        let ahead_max = self.e.snapshot.frontends[self.e.frontend].spec.limits.pipeline_max_bytes;
        let watch = self.upload.is_done() || self.e.http2;
        let connected = poll_fn(|cx| {
            if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
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
        let now = clock::now();
        self.e.latest = now;
        match connected {
            Err(end) => Err(Failed::End(end)),
            Ok(Ok(io)) => {
                self.count_handshake(server, &io);
                self.e.times.connect = now.saturating_duration_since(start);
                self.e.timers.connect = Some(millis(self.e.times.connect));
                self.e.connected = Some(now);
                Ok(io)
            }
            Ok(Err(error)) => Err(self.cannot_connect(server, &error)),
        }
    }

    /// There is no connection to the server.
    pub(super) fn cannot_connect(&self, server: &ServerView, error: &ConnectError) -> Failed {
        let cause = match error {
            ConnectError::Refused(_) => Cause::ServerRefused,
            ConnectError::Timeout | ConnectError::Tls(HandshakeError::Timeout) => Cause::ConnectTimeout,
            ConnectError::Tls(_) | ConnectError::Connector(_) => Cause::ServerTls,
            ConnectError::Alpn => Cause::ServerTls,
            ConnectError::Http2(_) => Cause::ServerRefused,
            ConnectError::Exhausted(error) => {
                tracing::warn!(%error, "cannot connect to servers");
                Cause::Exhausted
            }
        };
        match error {
            ConnectError::Tls(error) => self.handshake_failed(server, &verifier::sentence(error)),
            ConnectError::Connector(error) => self.handshake_failed(server, &error.to_string()),
            ConnectError::Alpn => self.handshake_failed(server, &error.to_string()),
            ConnectError::Http2(cause) => self.not_http2(server, cause),
            _ => {}
        }
        self.observe(server, Some(&error.to_string()));
        Failed::Attempt { failure: Failure::Connect, end: End::new(cause, Phase::Connect) }
    }

    /// Says that a server does not speak what it is said to speak, if that is news.
    fn not_http2(&self, server: &ServerView, cause: &h2::Error) {
        let owner = format!("{}/{}", self.e.backend().map_or("", |b| &b.spec.name[..]), server.spec.name);
        if self.worker.connectors.is_news(&owner, "no HTTP/2", self.e.latest) {
            tracing::warn!(server = %owner, error = %cause, "a server with `proto: h2` does not speak HTTP/2");
        }
    }

    /// Counts a handshake that ended well.
    fn count_handshake(&self, server: &ServerView, io: &ServerIo) {
        if let Some(tls) = io.tls() {
            let counter = if tls.is_resumed() { Counter::TlsResumed } else { Counter::TlsFull };
            server.live.counters.inc(self.worker.shard, counter);
        }
    }

    /// Counts a handshake with a server that came to nothing, and says why if that is news.
    pub(super) fn handshake_failed(&self, server: &ServerView, why: &str) {
        server.live.counters.inc(self.worker.shard, Counter::TlsFailed);
        let Some(settings) = &server.tls else { return };
        if self.worker.connectors.is_news(&settings.owner, why, self.e.latest) {
            tracing::warn!(server = %settings.owner, error = %why, "no TLS with a server");
        }
    }

    fn verdict(&self, view: &BackendView, failure: Failure) -> Verdict {
        let attempt = Attempt {
            idempotent: retry::is_idempotent(self.e.scratch.request.method()),
            body_consumed: self.upload.consumed,
            sent: failure != Failure::Connect,
            retries: self.e.retries,
        };
        retry::decide(failure, attempt, view.spec.retries, view.spec.retry_on)
    }

    /// Whether the request would be made again after such a failure.
    pub(super) fn may_repeat(&self, view: &BackendView, failure: Failure) -> bool {
        self.verdict(view, failure) != Verdict::GiveUp
    }

    /// Prepares another attempt, or ends the request.
    async fn again(&mut self, view: &Arc<BackendView>, failure: Failure, end: End, wish: &mut Wish) -> Result<(), End> {
        let verdict = self.verdict(view, failure);
        let failed = self.e.server;
        let shard = self.worker.shard;
        let live = self.e.server().map(|s| s.live.clone());
        if verdict == Verdict::GiveUp {
            if failure == Failure::Connect {
                view.live.counters.inc(shard, Counter::Econ);
                if let Some(live) = &live {
                    live.counters.inc(shard, Counter::Econ);
                }
            }
            return Err(end);
        }
        if self.e.http2 && self.framing.body == Body::Chunked {
            // None of the body has come, but its end may have: it was said to the server that failed, and is owed to the
            // next one too.
            let limits = self.e.frontend().spec.limits;
            self.upload = super::upload::Upload::unframed(&limits);
        }
        // What the failed attempt got to is not what the next one will, nor is its time the next one's.
        self.e.latest = clock::now();
        self.e.connected = None;
        self.e.timers.connect = None;
        self.e.timers.response = None;
        if verdict == Verdict::Replace {
            // The same place, a fresh connection: the lease is asked for anew so that queues stay fair. Fresh for good:
            // it may be the request itself that connections die of, and it must not be tried on all that are kept.
            self.give_back_lease();
            wish.bound_to = failed;
            self.replacing = true;
            self.fresh_only = true;
            return Ok(());
        }
        self.e.retries += 1;
        self.connection.place.entry.retries.set(self.e.retries);
        let elsewhere = view.spec.redispatch
            && view.servers.iter().enumerate().any(|(i, s)| Some(i) != failed && s.eligible)
            && view.picker.has_candidates();
        if elsewhere {
            self.e.redispatched = true;
            view.live.counters.inc(shard, Counter::Wredis);
            if let Some(live) = &live {
                live.counters.inc(shard, Counter::Wredis);
            }
            if wish.bound_to.take().is_some() && self.e.persistence[0] == b'V' {
                // The server the client was bound to is as good as down: it is bound to another one.
                self.e.persistence = *b"DI";
            }
            wish.avoid = failed;
            self.give_back_lease();
        } else {
            view.live.counters.inc(shard, Counter::Wretr);
            if let Some(live) = &live {
                live.counters.inc(shard, Counter::Wretr);
            }
            self.give_back_lease();
            self.pause(SAME_SERVER_PAUSE.min(view.spec.timeouts.connect)).await?;
            self.e.latest = clock::now();
        }
        Ok(())
    }

    /// Gives the place back, keeping the name of the server for the log.
    pub(super) fn give_back_lease(&mut self) {
        self.e.lease = None;
        self.connection.place.entry.server.set(None);
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), End> {
        let connection = &mut *self.connection;
        connection.deadline.set(clock::now() + pause);
        let shelf = &self.worker.shelf;
        let watch = self.upload.is_done() || self.e.http2;
        poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Err(End::new(cause, Phase::Connect)));
            }
            match watch.then(|| connection.poll_left(cx, shelf, 0)).flatten() {
                Some(Cause::ClientReset) => Poll::Ready(Err(End::new(Cause::ClientReset, Phase::Connect))),
                _ => connection.deadline.poll_passed(cx).map(Ok),
            }
        })
        .await
    }

    /// Passive checks: tells what live traffic says about a server. HAProxy: `observe`.
    pub(super) fn observe(&self, server: &ServerView, trouble: Option<&str>) {
        let Some(spec) = server.spec.observe else { return };
        let errors = &server.live.observed_errors;
        match trouble {
            None => {
                if errors.load(Ordering::Relaxed) != 0 {
                    errors.store(0, Ordering::Relaxed);
                }
            }
            Some(text) => {
                if errors.fetch_add(1, Ordering::AcqRel) + 1 >= spec.error_limit {
                    errors.store(0, Ordering::Relaxed);
                    let event = Event::Observed { server: server.id, text: text.into() };
                    self.worker.shared.report(WorkerReport::Event(event));
                }
            }
        }
    }
}
