//! What is known of a session, and what is told about it in the end: counters and the log line.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{End, Patience};
use crate::backend::Lease;
use crate::core::fleet::mode::Mode;
use crate::core::fleet::snapshot::{BackendView, FrontendView, ServerView};
use crate::core::limit::{RateLimitSpec, RequestEnd, RowPlace};
use crate::core::log::record::{ConnectionCounts, Record, Timers};
use crate::core::log::severity;
use crate::core::stats::Counters;
use crate::core::stats::counters::{Counter, Shard};
use crate::core::termination::{Cause, Phase, reason, tcp_flags};
use crate::frontend::connection::{Connection, micros, millis};
use crate::frontend::stream::{BackendPlace, next_number};
use crate::frontend::worker::{BindContext, Pinned, Worker};
use crate::runtime::clock;

/// Everything the counters and the log line need.
#[derive(Debug)]
pub(super) struct Books {
    /// The picture the session began with.
    pub snapshot: Rc<Pinned>,
    pub frontend: usize,
    pub backend: Option<usize>,
    pub server: Option<usize>,
    /// The picture in which `server` was chosen, if it is newer than `snapshot`.
    pub newer: Option<Arc<BackendView>>,
    pub lease: Option<Lease>,
    pub sessions: Option<BackendPlace>,
    /// Its parts in the tables of limits.
    pub row_places: SmallVec<[RowPlace; 2]>,
    pub timers: Timers,
    pub retries: u32,
    pub redispatched: bool,
    pub server_queue: u32,
    pub backend_queue: u32,
    pub limited_by: Option<Arc<RateLimitSpec>>,
    /// The server name the client asked for, in lower case; empty when there is none.
    pub server_name: String,
    /// No route took it.
    pub no_route: bool,
    /// Our address and the server's, if a log format shows them.
    pub server_side: (Option<SocketAddr>, Option<SocketAddr>),
    client: Option<SocketAddr>,
    /// When it was accepted, by both clocks.
    accepted: Instant,
    accepted_us: u64,
    /// How long it was queued and connecting, for histograms; the latter once it was connected.
    queue_time: Duration,
    connect_time: Option<Duration>,
    /// Bytes from and to the client, as far as they were counted.
    bytes_in: u64,
    bytes_out: u64,
    /// Its line is written already (`logasap`).
    logged: bool,
}

impl Books {
    /// Those of a connection that has come in.
    pub fn open(worker: &Worker, connection: &Connection) -> Books {
        let now = clock::now();
        let since = now.saturating_duration_since(connection.accepted);
        let since_us = micros(since);
        Books {
            snapshot: worker.snapshot(),
            frontend: connection.bind.frontend,
            backend: None,
            server: None,
            newer: None,
            lease: None,
            sessions: None,
            row_places: SmallVec::new(),
            timers: Timers { handshake: Some(connection.handshake_ms), idle: Some(0), ..Timers::default() },
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
            limited_by: None,
            server_name: String::new(),
            no_route: false,
            server_side: (None, None),
            client: connection.peer,
            accepted: connection.accepted,
            accepted_us: clock::wall_us().saturating_sub(since_us),
            queue_time: Duration::ZERO,
            connect_time: None,
            bytes_in: 0,
            bytes_out: 0,
            logged: false,
        }
    }

    /// The frontend.
    pub fn frontend(&self) -> &Arc<FrontendView> {
        &self.snapshot.frontends[self.frontend]
    }

    /// The backend, once one was chosen.
    pub fn backend(&self) -> Option<&Arc<BackendView>> {
        self.snapshot.backends.get(self.backend?)
    }

    /// The server the session is at, or was at last.
    pub fn server(&self) -> Option<&ServerView> {
        self.newer.as_ref().or(self.backend())?.servers.get(self.server?)
    }

    /// The client as it counts for limits, lists and hashing.
    pub fn client_ip(&self) -> IpAddr {
        self.client.map_or(IpAddr::from([127, 0, 0, 1]), |a| a.ip())
    }

    /// How long each side may be silent once both are connected.
    pub fn patience(&self) -> Patience {
        let frontend = &self.frontend().spec;
        let backend = self.newer.as_ref().or(self.backend()).map(|view| &view.spec);
        let tcp = backend.and_then(|spec| spec.tcp);
        let tunnel = tcp.and_then(|tcp| tcp.tunnel);
        let client = frontend.timeouts.client;
        Patience {
            client: tunnel.unwrap_or(client),
            server: tunnel.or(backend.map(|spec| spec.timeouts.server)).unwrap_or(client),
            client_fin: frontend.tcp.and_then(|tcp| tcp.client_fin),
            server_fin: tcp.and_then(|tcp| tcp.server_fin),
        }
    }

    /// Notes how long it took from the first wish for a server to a place on one.
    pub fn queued_for(&mut self, time: Duration) {
        self.queue_time = time;
        self.timers.queue = Some(millis(time));
    }

    /// Notes that the connection to the server stands, and how long it took.
    pub fn connected_in(&mut self, time: Duration) {
        self.connect_time = Some(time);
        self.timers.connect = Some(millis(time));
    }

    /// Adds to the counters what has passed since they were told last.
    pub fn count_bytes(&mut self, worker: &Worker, bind: &BindContext, bytes_in: u64, bytes_out: u64) {
        let shard = worker.shard;
        let (more_in, more_out) = (bytes_in.saturating_sub(self.bytes_in), bytes_out.saturating_sub(self.bytes_out));
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
        bind.add(&self.frontend().live, shard, Counter::Bin, more_in);
        bind.add(&self.frontend().live, shard, Counter::Bout, more_out);
        let of_backend = self.backend().map(|b| &b.live.counters);
        let of_server = self.server().map(|s| &s.live.counters);
        for counters in of_backend.into_iter().chain(of_server) {
            counters.add(shard, Counter::Bin, more_in);
            counters.add(shard, Counter::Bout, more_out);
        }
    }

    /// Counts what a client said that never got to a server.
    pub fn count_early(&mut self, worker: &Worker, connection: &Connection) {
        self.count_bytes(worker, &connection.bind, connection.buffer.len() as u64, 0);
    }

    /// `logasap`: the line is written now that the connection to the server stands.
    pub fn log_at_connect(&mut self, worker: &Worker, connection: &Connection) {
        if self.frontend().spec.log.asap {
            self.timers.active = self.active_ms(clock::now());
            self.write_log(worker, connection, End::new(Cause::Done, Phase::Data));
            self.logged = true;
        }
    }

    /// The last of a session: counters, log line, and everything it held given back.
    pub fn close(mut self, worker: &Worker, connection: &Connection, end: End) {
        let now = clock::now();
        self.timers.active = self.active_ms(now);
        self.count(worker.shard, &connection.bind, end, now);
        // The log counts who is left, as HAProxy's does: a session that reached a server has left it by now.
        self.lease = None;
        if end.phase != Phase::Queue {
            self.sessions = None;
        }
        if !self.logged && self.is_worth_a_line(end) {
            self.write_log(worker, connection, end);
        }
        self.sessions = None;
        let ended = RequestEnd {
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            error: matches!(end.cause, Cause::Denied(_)),
            failure: false,
        };
        for place in self.row_places.drain(..) {
            place.count_end(&ended, now);
        }
    }

    /// From the end of the handshake on: what the log adds the handshake to.
    fn active_ms(&self, now: Instant) -> u32 {
        let total = millis(now.saturating_duration_since(self.accepted));
        total.saturating_sub(self.timers.handshake.unwrap_or(0))
    }

    /// Whether it is logged: with `log_null: false`, not when the client said nothing and left of itself. HAProxy: `option
    /// dontlognull`.
    fn is_worth_a_line(&self, end: End) -> bool {
        let by_client =
            matches!(end.cause, Cause::Done | Cause::ClientClosed | Cause::ClientReset | Cause::ClientTimeout);
        self.frontend().spec.log_null || self.bytes_in > 0 || !by_client
    }

    fn count(&self, shard: Shard, bind: &BindContext, end: End, now: Instant) {
        let live = &self.frontend().live;
        match end.cause {
            Cause::Denied(_) => bind.count(live, shard, Counter::Dreq),
            Cause::Internal => bind.count(live, shard, Counter::Eint),
            _ => {}
        }
        if self.no_route {
            live.counters.inc(shard, Counter::NoRoute);
        }
        let Some(backend) = self.backend() else { return };
        let of_backend = &backend.live.counters;
        let of_server = self.server().map(|s| &s.live.counters);
        let both = |counter| {
            of_backend.inc(shard, counter);
            if let Some(server) = of_server {
                server.inc(shard, counter);
            }
        };
        match end.cause {
            Cause::NoServer | Cause::QueueFull | Cause::QueueTimeout => of_backend.inc(shard, Counter::Econ),
            Cause::ClientClosed | Cause::ClientReset | Cause::ClientTimeout => both(Counter::CliAbrt),
            Cause::ServerClosed => {
                both(Counter::Eresp);
                both(Counter::SrvAbrt);
            }
            Cause::ServerTimeout => both(Counter::SrvAbrt),
            Cause::Internal => both(Counter::Eint),
            _ => {}
        }
        if let Some(connect) = self.connect_time {
            let total = now.saturating_duration_since(self.accepted);
            self.count_times(shard, of_backend);
            if let Some(server) = of_server {
                self.count_times(shard, server);
            }
            let times = &backend.live.times;
            times.queue.observe(shard, micros(self.queue_time));
            times.connect.observe(shard, micros(connect));
            times.total.observe(shard, micros(total));
        }
    }

    fn count_times(&self, shard: Shard, counters: &Counters) {
        let ms = |v: Option<u32>| u64::from(v.unwrap_or(0));
        let (queue, connect, total) = (ms(self.timers.queue), ms(self.timers.connect), u64::from(self.timers.active));
        counters.inc(shard, Counter::TimedRequests);
        for (sum, slide, highest, value) in [
            (Counter::QueueMs, Counter::QueueSlide, Counter::QueueMaxMs, queue),
            (Counter::ConnectMs, Counter::ConnectSlide, Counter::ConnectMaxMs, connect),
            (Counter::TotalMs, Counter::TotalSlide, Counter::TotalMaxMs, total),
        ] {
            counters.add(shard, sum, value);
            counters.slide(shard, slide, value);
            counters.raise(shard, highest, value);
        }
        counters.slide(shard, Counter::ResponseSlide, 0);
    }

    fn write_log(&self, worker: &Worker, connection: &Connection, end: End) {
        let frontend = self.frontend();
        let spec = &frontend.spec;
        if spec.log.off {
            return;
        }
        let [first, second] = tcp_flags(end.cause, end.phase);
        let server = match end.cause {
            // The queue gave no server: the line says so even if an earlier attempt had one.
            Cause::NoServer | Cause::QueueFull | Cause::QueueTimeout => None,
            _ if end.phase == Phase::Queue => None,
            _ => self.server(),
        };
        let backend = self.backend();
        let wants = worker.log_wants(&spec.log);
        let went_wrong = self.redispatched || self.retries > 0 || end.cause != Cause::Done;
        let facts = if wants.tls { connection.io.tls_facts() } else { None };
        let record = Record {
            mode: Mode::Tcp,
            client: self.client,
            accepted_us: self.accepted_us,
            frontend: &spec.name,
            tls: connection.io.is_tls(),
            backend: backend.map(|b| &b.spec.name[..]),
            server: server.map(|s| &s.spec.name[..]),
            timers: self.timers,
            status: None,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            request_cookie: None,
            response_cookie: None,
            termination: [first, second, b'-', b'-'],
            connections: ConnectionCounts {
                process: worker.shared.process.connections.now(),
                frontend: frontend.live.connections.now(),
                backend: backend.map_or(0, |b| b.live.sessions.now()),
                server: server.map_or(0, |s| s.live.inflight.now()),
            },
            retries: self.retries,
            redispatched: self.redispatched,
            server_queue: self.server_queue,
            backend_queue: self.backend_queue,
            request_captures: None,
            response_captures: None,
            capture_names: &spec.capture,
            request: None,
            request_id: None,
            reason: match end.cause {
                Cause::BadRequest(_) => Some("broken ClientHello"),
                Cause::NoServer if self.no_route => Some("no route takes it"),
                cause => reason(cause),
            },
            limited_by: self.limited_by.as_ref().map(|l| &l.name[..]),
            peer: connection.carrier().filter(|carrier| self.client != Some(*carrier)),
            announced: connection.tlvs(),
            severity: if spec.log.separate_errors && went_wrong { severity::ERROR } else { severity::INFO },
            format: spec.log.format.as_ref(),
            asap: spec.log.asap,
            tls_session: facts.as_deref(),
            frontend_address: if wants.frontend_address { connection.destination() } else { None },
            server_source: self.server_side.0,
            server_address: self.server_side.1,
            request_counter: next_number(wants.request_counter, &worker.shared.process.numbered_requests),
            log_counter: next_number(wants.log_counter, &frontend.live.log_lines),
        };
        worker.with_log(|log| log.push(&record));
    }
}
