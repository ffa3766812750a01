//! Getting a session to a server: a place on one, a connection, and another try where that is allowed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{End, Session, Waited, broke_off, left};
use crate::backend::checkout::{self, Checkout, Wish};
use crate::backend::connect::{self, ConnectError};
use crate::backend::handshake;
use crate::core::balance::{Algorithm, hash_key};
use crate::core::fleet::event::Event;
use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::stats::counters::Counter;
use crate::core::termination::retry::{self, Attempt, Failure, Verdict};
use crate::core::termination::{Cause, Phase};
use crate::frontend::connection::millis;
use crate::frontend::registry::Doing;
use crate::frontend::stream::BackendPlace;
use crate::frontend::stream::introduce::introduction;
use crate::runtime::clock;
use crate::runtime::shared::WorkerReport;
use crate::tls::{HandshakeError, verifier};

/// A connection to a server.
pub(super) type Server = crate::backend::ServerIo;

/// Pause before the same server is tried again after a failed connection. HAProxy: one second, or `timeout connect`.
const SAME_SERVER_PAUSE: Duration = Duration::from_secs(1);

/// How an attempt ended without a connection.
enum Failed {
    /// Another one may be made.
    Attempt(End),
    /// The session is over.
    Session(End),
}

impl Session {
    /// Connects to a server of the backend.
    pub(super) async fn reach(&mut self, backend: usize) -> Result<Server, End> {
        let snapshot = self.books.snapshot.clone();
        let Some(view) = snapshot.backends.get(backend) else {
            return Err(End::new(Cause::Internal, Phase::Request));
        };
        let now = clock::now();
        self.books.backend = Some(backend);
        self.books.sessions = Some(BackendPlace::new(&snapshot, backend));
        self.connection.place.entry.backend.set(Some(backend));
        view.live.counters.inc(self.worker.shard, Counter::Stot);
        view.live.last_session_ms.store(self.worker.shared.uptime_ms(now), Ordering::Relaxed);
        if view.maintenance {
            return Err(End::new(Cause::NoServer, Phase::Queue));
        }
        let mut wish = Wish { hash: self.hash(view), ..Wish::default() };
        loop {
            // Each attempt goes by the newest state: servers may have come and gone since the last one.
            let pinned = self.worker.snapshot();
            let Some(view) = pinned.backends.get(backend) else {
                return Err(End::new(Cause::NoServer, Phase::Queue));
            };
            self.lease(view, wish, now).await?;
            match self.connect().await {
                Ok(server) => return Ok(server),
                Err(Failed::Session(end)) => return Err(end),
                Err(Failed::Attempt(end)) => self.again(view, end, &mut wish).await?,
            }
        }
    }

    /// The hash that the backend's algorithm goes by.
    fn hash(&self, view: &BackendView) -> Option<u64> {
        match (&view.spec.algorithm, self.books.client_ip()) {
            (Algorithm::Source, std::net::IpAddr::V4(ip)) => Some(hash_key(&ip.octets())),
            (Algorithm::Source, std::net::IpAddr::V6(ip)) => Some(hash_key(&ip.octets())),
            _ => None,
        }
    }

    /// Gets a place on a server, waiting in the queue if need be.
    async fn lease(&mut self, view: &Arc<BackendView>, wish: Wish, since: Instant) -> Result<(), End> {
        let asked = checkout::checkout(&self.worker.shared, view, wish, &mut self.worker.rng.borrow_mut());
        let lease = match asked {
            Checkout::Leased(lease) => lease,
            Checkout::NoServer => return Err(End::new(Cause::NoServer, Phase::Queue)),
            Checkout::QueueFull => return Err(End::new(Cause::QueueFull, Phase::Queue)),
            Checkout::Wait(mut waiting) => {
                (self.books.server_queue, self.books.backend_queue) = waiting.position();
                let due = clock::now() + view.spec.timeouts.queue;
                let entry = &self.connection.place.entry;
                entry.doing.set(Doing::Queue);
                entry.expires(false, due);
                let waited = self.wait(Some(due), |cx| waiting.poll_lease(cx), left).await;
                self.books.timers.queue = Some(millis(clock::now().saturating_duration_since(since)));
                match waited {
                    Ok(Waited::Came(lease)) => lease,
                    Ok(Waited::Passed) => return Err(End::new(Cause::QueueTimeout, Phase::Queue)),
                    Err(cause) => return Err(End::new(cause, Phase::Queue)),
                }
            }
        };
        let now = clock::now();
        let shard = self.worker.shard;
        let server = lease.server();
        self.connection.place.entry.server.set(Some(server.id));
        server.live.counters.inc(shard, Counter::Stot);
        if self.books.retries == 0 || self.books.redispatched || self.books.server != Some(lease.index()) {
            server.live.counters.inc(shard, Counter::Lbtot);
            view.live.counters.inc(shard, Counter::Lbtot);
        }
        server.live.last_session_ms.store(self.worker.shared.uptime_ms(now), Ordering::Relaxed);
        self.books.server = Some(lease.index());
        let known = self.books.backend().is_some_and(|own| Arc::ptr_eq(own, lease.view()));
        self.books.newer = (!known).then(|| lease.view().clone());
        self.books.queued_for(now.saturating_duration_since(since));
        self.books.lease = Some(lease);
        Ok(())
    }

    /// One attempt on the leased server.
    async fn connect(&mut self) -> Result<Server, Failed> {
        let broken = || Failed::Session(End::new(Cause::Internal, Phase::Queue));
        let lease = self.books.lease.as_ref().ok_or_else(broken)?;
        let view = lease.view().clone();
        let server = view.servers.get(lease.index()).ok_or_else(broken)?;
        let Some(to) = server.address.clone() else {
            return Err(Failed::Session(End::new(Cause::NoServer, Phase::Queue)));
        };
        let shard = self.worker.shard;
        server.live.counters.inc(shard, Counter::Connect);
        view.live.counters.inc(shard, Counter::Connect);
        let turn = self.worker.source_turn.get();
        self.worker.source_turn.set(turn.wrapping_add(1));
        let start = clock::now();
        let timeouts = &view.spec.timeouts;
        let entry = &self.connection.place.entry;
        entry.doing.set(Doing::Connect);
        entry.expires(false, start + timeouts.connect);
        let worker = self.worker.clone();
        let name = Some(self.books.server_name.clone()).filter(|name| !name.is_empty());
        let first = introduction(&self.connection, server, b"", name.as_deref());
        let mut connecting = Box::pin(async {
            let io = connect::connect(&to, &view.spec.source, turn, &first, timeouts.connect).await?;
            match &server.tls {
                None => Ok(io),
                Some(tls) => {
                    let connector = worker.connectors.get(tls, clock::now()).map_err(ConnectError::Connector)?;
                    handshake::secure(io, &connector, name.as_deref(), timeouts.handshake).await
                }
            }
        });
        let connected = self.wait(None, |cx| connecting.as_mut().poll(cx), broke_off).await;
        match connected {
            Ok(Waited::Came(Ok(io))) => {
                self.count_handshake(server, &io);
                self.observe(server, None);
                self.books.connected_in(clock::now().saturating_duration_since(start));
                self.note_addresses(&io, &to);
                self.books.log_at_connect(&self.worker, &self.connection);
                Ok(io)
            }
            Ok(Waited::Came(Err(error))) => {
                let cause = match &error {
                    ConnectError::Refused(_) => Cause::ServerRefused,
                    ConnectError::Timeout | ConnectError::Tls(HandshakeError::Timeout) => Cause::ConnectTimeout,
                    ConnectError::Tls(_) | ConnectError::Connector(_) | ConnectError::Alpn => Cause::ServerTls,
                    ConnectError::Http2(_) => Cause::ServerRefused,
                    ConnectError::Exhausted(error) => {
                        tracing::warn!(%error, "cannot connect to servers");
                        Cause::Exhausted
                    }
                };
                match &error {
                    ConnectError::Tls(error) => self.handshake_failed(server, &verifier::sentence(error)),
                    ConnectError::Connector(_) | ConnectError::Alpn => {
                        self.handshake_failed(server, &error.to_string())
                    }
                    _ => {}
                }
                self.observe(server, Some(&error.to_string()));
                Err(Failed::Attempt(End::new(cause, Phase::Connect)))
            }
            Ok(Waited::Passed) => Err(Failed::Attempt(End::new(Cause::ConnectTimeout, Phase::Connect))),
            Err(cause) => Err(Failed::Session(End::new(cause, Phase::Connect))),
        }
    }

    /// Counts a handshake that ended well.
    fn count_handshake(&self, server: &ServerView, io: &Server) {
        if let Some(tls) = io.tls() {
            let counter = if tls.is_resumed() { Counter::TlsResumed } else { Counter::TlsFull };
            server.live.counters.inc(self.worker.shard, counter);
        }
    }

    /// Counts a handshake with a server that came to nothing, and says why if that is news.
    fn handshake_failed(&self, server: &ServerView, why: &str) {
        server.live.counters.inc(self.worker.shard, Counter::TlsFailed);
        let Some(settings) = &server.tls else { return };
        if self.worker.connectors.is_news(&settings.owner, why, clock::now()) {
            tracing::warn!(server = %settings.owner, error = why, "no TLS with a server");
        }
    }

    /// Notes both ends of the connection to the server for log formats that show them.
    fn note_addresses(&mut self, server: &Server, to: &crate::core::fleet::snapshot::ConnectTo) {
        if self.worker.log_wants(&self.books.frontend().spec.log).server_side {
            let there = match to {
                crate::core::fleet::snapshot::ConnectTo::Ip(address) => Some(*address),
                crate::core::fleet::snapshot::ConnectTo::Unix(_) => None,
            };
            self.books.server_side = (server.local_addr(), there);
        }
    }

    /// Prepares another attempt, or ends the session.
    async fn again(&mut self, view: &Arc<BackendView>, end: End, wish: &mut Wish) -> Result<(), End> {
        let shard = self.worker.shard;
        let live = self.books.server().map(|s| s.live.clone());
        let both = |counter| {
            view.live.counters.inc(shard, counter);
            if let Some(live) = &live {
                live.counters.inc(shard, counter);
            }
        };
        // What the client said is still in our hands: no attempt has given any of it away.
        let attempt = Attempt { idempotent: true, body_consumed: false, sent: false, retries: self.books.retries };
        let verdict = retry::decide(Failure::Connect, attempt, view.spec.retries, view.spec.retry_on);
        if verdict == Verdict::GiveUp {
            both(Counter::Econ);
            return Err(end);
        }
        let failed = self.books.server;
        self.books.retries += 1;
        self.connection.place.entry.retries.set(self.books.retries);
        let elsewhere = view.spec.redispatch
            && view.servers.iter().enumerate().any(|(i, s)| Some(i) != failed && s.eligible)
            && view.picker.has_candidates();
        self.books.lease = None;
        self.connection.place.entry.server.set(None);
        if elsewhere {
            self.books.redispatched = true;
            both(Counter::Wredis);
            wish.avoid = failed;
            return Ok(());
        }
        both(Counter::Wretr);
        let due = clock::now() + SAME_SERVER_PAUSE.min(view.spec.timeouts.connect);
        match self.wait(Some(due), |_| std::task::Poll::<()>::Pending, left).await {
            Ok(_) => Ok(()),
            Err(cause) => Err(End::new(cause, Phase::Connect)),
        }
    }

    /// Passive checks: tells how a connection came out. HAProxy: `observe layer4`.
    fn observe(&self, server: &ServerView, trouble: Option<&str>) {
        let Some(spec) = server.spec.observe else { return };
        let errors = &server.live.observed_errors;
        let Some(trouble) = trouble else { return errors.store(0, Ordering::Relaxed) };
        if errors.fetch_add(1, Ordering::AcqRel) + 1 >= spec.error_limit {
            errors.store(0, Ordering::Relaxed);
            let event = Event::Observed { server: server.id, text: trouble.into() };
            self.worker.shared.report(WorkerReport::Event(event));
        }
    }
}
