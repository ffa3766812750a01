//! The end of a request: its counters, its log line, and what the connection does next.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{End, Epilogue, Next, Stream, Tunnel};
use crate::core::fleet::live::BackendTimes;
use crate::core::fleet::mode::Mode;
use crate::core::http::h1::{Reject, RejectReason};
use crate::core::http::h2::BAD_PREFACE;
use crate::core::limit::RequestEnd;
use crate::core::log::record::{ConnectionCounts, Record, RequestLine};
use crate::core::log::severity;
use crate::core::stats::Counters;
use crate::core::stats::counters::{Counter, Shard};
use crate::core::termination::{Cause, Phase, judge, reason};
use crate::frontend::answer::{self, Manner};
use crate::frontend::connection::{Connection, micros, millis};
use crate::frontend::registry::Doing;
use crate::frontend::tunnel;
use crate::frontend::worker::{BindContext, Worker};
use crate::runtime::clock;

impl Stream<'_> {
    /// `logasap`: writes the line now that the answer's head is about to go out, with `behind` bytes that came with it.
    pub(super) fn log_at_head(&mut self, behind: usize) {
        if !self.e.frontend().spec.log.asap {
            return;
        }
        let bytes_out = self.e.bytes_out;
        self.e.bytes_out += (self.e.scratch.out.len() + behind) as u64;
        self.e.timers.active = millis(self.e.latest.saturating_duration_since(self.e.first_byte));
        self.e.write_log(self.worker, self.connection, End::new(Cause::Done, Phase::Data));
        self.e.bytes_out = bytes_out;
        self.e.logged = true;
    }

    /// Counts and logs the request, and says what comes next.
    pub(super) fn finish(mut self, end: End) -> Next {
        if let Some((server, early)) = self.switched.take() {
            self.connection.place.entry.doing.set(Doing::Tunnel);
            return Next::Tunnel(Box::new(Tunnel { server, early, epilogue: self.e }));
        }
        if let Some(exchange) = self.connection.io.h2() {
            exchange.conclude(end.cause);
        }
        let draining = self.worker.is_leaving(&self.e.frontend().live);
        // Bytes behind an upgrade that was not granted belong to the protocol that was asked for, not to HTTP.
        let stray = self.framing.upgrade.is_some() && !self.connection.buffer.is_empty();
        let close = self.close || stray || draining || end_closes(end);
        let next = match (close, end.cause) {
            (_, _) if self.cut_visibly => Next::Cut,
            (false, _) => Next::KeepAlive,
            (true, Cause::ClientClosed | Cause::ClientReset) => Next::Close,
            // Nothing is on its way from the client: a plain close cannot turn into a reset.
            (true, _) if self.upload.is_done() && self.connection.buffer.is_empty() && !stray => Next::Close,
            (true, _) => Next::Linger,
        };
        let entry = &self.connection.place.entry;
        entry.server.set(None);
        entry.backend.set(None);
        entry.request_since.set(None);
        self.connection.idle_since = self.e.close_books(self.worker, self.connection, end);
        next
    }
}

/// Ends after which a connection cannot carry another request, whatever was agreed.
pub(super) fn end_closes(end: End) -> bool {
    !matches!(
        (end.cause, end.phase),
        (Cause::Done | Cause::Local(_) | Cause::Denied(_), _)
            | (
                Cause::NoServer
                    | Cause::QueueFull
                    | Cause::QueueTimeout
                    | Cause::ServerRefused
                    | Cause::ServerTls
                    | Cause::ConnectTimeout
                    | Cause::ServerClosed
                    | Cause::ServerTimeout
                    | Cause::BadAnswer,
                Phase::Request | Phase::Queue | Phase::Connect | Phase::Headers
            )
    )
}

impl Epilogue {
    /// The last of a request: counters, log line, and everything it held given back. Says when that was.
    fn close_books(mut self, worker: &Rc<Worker>, connection: &Connection, end: End) -> Instant {
        let now = clock::now();
        self.timers.active = millis(now.saturating_duration_since(self.first_byte));
        self.count(worker.shard, &connection.bind, end, now.saturating_duration_since(self.first_byte));
        // The log counts who is left, as HAProxy's does: a request that reached a server has left it by now.
        self.lease = None;
        if end.phase != Phase::Queue {
            self.sessions = None;
        }
        if !self.logged {
            self.write_log(worker, connection, end);
        }
        self.sessions = None;
        self.count_in_tables(end, now);
        worker.shelve_scratch(self.scratch);
        now
    }

    fn count(&self, shard: Shard, bind: &BindContext, end: End, took: Duration) {
        let live = &self.frontend().live;
        let frontend = &live.counters;
        let server = self.server();
        frontend.inc(shard, Counter::ReqTot);
        frontend.inc(shard, if self.http2 { Counter::H2Req } else { Counter::H1Req });
        bind.add(live, shard, Counter::Bin, self.bytes_in);
        bind.add(live, shard, Counter::Bout, self.bytes_out);
        count_status(shard, frontend, self.status);
        match end.cause {
            Cause::Denied(_) | Cause::Tarpitted => bind.count(live, shard, Counter::Dreq),
            Cause::BadRequest(_) => bind.count(live, shard, Counter::Ereq),
            Cause::ClientClosed | Cause::ClientReset | Cause::ClientTimeout if end.phase == Phase::Request => {
                bind.count(live, shard, Counter::Ereq);
            }
            Cause::Local(_) => frontend.inc(shard, Counter::Intercepted),
            Cause::Internal => bind.count(live, shard, Counter::Eint),
            _ => {}
        }
        if self.no_route {
            frontend.inc(shard, Counter::NoRoute);
        }
        let Some(backend) = self.backend() else { return };
        let of_backend = &backend.live.counters;
        let of_server = server.map(|s| &s.live.counters);
        of_backend.inc(shard, Counter::Stot);
        of_backend.inc(shard, Counter::ReqTot);
        self.count_bytes(shard, of_backend);
        count_status(shard, of_backend, self.status);
        let answered = self.timers.response.is_some();
        if let Some(server) = of_server {
            self.count_bytes(shard, server);
            if answered {
                server.inc(shard, Counter::ReqTot);
                count_status(shard, server, self.status);
            }
        }
        let both = |counter| {
            of_backend.inc(shard, counter);
            if let Some(server) = of_server {
                server.inc(shard, counter);
            }
        };
        match (end.cause, end.phase) {
            (Cause::NoServer | Cause::QueueFull, _) => of_backend.inc(shard, Counter::Econ),
            (Cause::ClientClosed | Cause::ClientReset | Cause::ClientTimeout, _) => both(Counter::CliAbrt),
            (Cause::ServerClosed, Phase::Data) => {
                both(Counter::Eresp);
                both(Counter::SrvAbrt);
            }
            (Cause::ServerTimeout, Phase::Data) => both(Counter::SrvAbrt),
            (Cause::ServerClosed | Cause::ServerTimeout | Cause::BadAnswer | Cause::ServerDown, _) => {
                both(Counter::Eresp);
            }
            (Cause::Internal, _) => both(Counter::Eint),
            _ => {}
        }
        if answered {
            self.count_times(shard, of_backend);
            self.observe_times(shard, &backend.live.times, took);
            if let Some(server) = of_server {
                self.count_times(shard, server);
            }
        }
    }

    /// Tells the tables of rate limits how the request ended, and leaves them.
    fn count_in_tables(&mut self, end: End, now: Instant) {
        if self.row_places.is_empty() {
            return;
        }
        let refused = matches!(end.cause, Cause::Denied(_) | Cause::Tarpitted);
        let ended = RequestEnd {
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            error: refused || matches!(self.status, Some(400..=499)),
            failure: !refused && matches!(self.status, Some(500 | 502..=504 | 506..=599)),
        };
        for place in self.row_places.drain(..) {
            place.count_end(&ended, now);
        }
    }

    fn count_bytes(&self, shard: Shard, counters: &Counters) {
        counters.add(shard, Counter::Bin, self.bytes_in);
        counters.add(shard, Counter::Bout, self.bytes_out);
    }

    fn count_times(&self, shard: Shard, counters: &Counters) {
        let t = &self.timers;
        let ms = |v: Option<u32>| u64::from(v.unwrap_or(0));
        counters.add(shard, Counter::QueueMs, ms(t.queue));
        counters.add(shard, Counter::ConnectMs, ms(t.connect));
        counters.add(shard, Counter::ResponseMs, ms(t.response));
        counters.add(shard, Counter::TotalMs, u64::from(t.active));
        counters.inc(shard, Counter::TimedRequests);
        counters.slide(shard, Counter::QueueSlide, ms(t.queue));
        counters.slide(shard, Counter::ConnectSlide, ms(t.connect));
        counters.slide(shard, Counter::ResponseSlide, ms(t.response));
        counters.slide(shard, Counter::TotalSlide, u64::from(t.active));
        counters.raise(shard, Counter::QueueMaxMs, ms(t.queue));
        counters.raise(shard, Counter::ConnectMaxMs, ms(t.connect));
        counters.raise(shard, Counter::ResponseMaxMs, ms(t.response));
        counters.raise(shard, Counter::TotalMaxMs, u64::from(t.active));
    }

    fn observe_times(&self, shard: Shard, times: &BackendTimes, took: Duration) {
        times.queue.observe(shard, micros(self.times.queue));
        times.connect.observe(shard, micros(self.times.connect));
        times.response.observe(shard, micros(self.times.response));
        times.total.observe(shard, micros(took));
    }

    /// Whether HAProxy's `log-separate-errors` takes it for an error: all that did not end as it should, retries, and
    /// answers from 500 on.
    fn went_wrong(&self, end: End) -> bool {
        let retried = self.redispatched || (self.retries > 0 && end.cause == Cause::Done);
        retried
            || !matches!(end.cause, Cause::Done | Cause::Local(_))
            || self.status.is_some_and(|status| status >= 500)
    }

    fn write_log(&mut self, worker: &Worker, connection: &Connection, end: End) {
        let termination = judge(end.cause, end.phase);
        let flags = [termination.flags[0], termination.flags[1], self.persistence[0], self.persistence[1]];
        let snapshot = self.snapshot.clone();
        let frontend = &snapshot.frontends[self.frontend];
        let backend = self.backend.and_then(|i| snapshot.backends.get(i));
        let named = match end.cause {
            // The queue gave no server: the line says so even if an earlier attempt had one.
            Cause::NoServer | Cause::QueueFull | Cause::QueueTimeout => None,
            _ if end.phase == Phase::Queue => None,
            _ => self.server,
        };
        let newer = self.newer.clone();
        let server = newer.as_ref().or(backend).zip(named).and_then(|(b, i)| b.servers.get(i));
        let spec = &frontend.spec;
        if spec.log.off {
            return;
        }
        let wants = worker.log_wants(&spec.log);
        let is_error = spec.log.separate_errors && self.went_wrong(end);
        let scratch = &mut *self.scratch;
        if self.understood
            && backend.is_some() | matches!(end.cause, Cause::Local(_) | Cause::Denied(_) | Cause::Tarpitted)
        {
            // Both kinds declared: both blocks are shown, the response's with empty values when no answer came.
            scratch.response_captures.resize(spec.capture.response.len(), Default::default());
        }
        let has = |n: usize, wanted: usize| self.understood && wanted > 0 && n == wanted;
        let request_captures =
            has(scratch.request_captures.len(), spec.capture.request.len()).then_some(&scratch.request_captures[..]);
        let response_captures =
            has(scratch.response_captures.len(), spec.capture.response.len()).then_some(&scratch.response_captures[..]);
        let transport = connection.io.transport();
        let facts = if wants.tls { transport.tls_facts().cloned() } else { None };
        let record = Record {
            mode: Mode::Http,
            client: self.client,
            accepted_us: self.accepted_us,
            frontend: &spec.name,
            tls: transport.is_tls(),
            backend: backend.map(|b| &b.spec.name[..]),
            server: if self.page { Some("<STATS>") } else { server.map(|s| &s.spec.name[..]) },
            timers: self.timers,
            status: self.status,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            request_cookie: scratch.request_cookie.as_deref(),
            response_cookie: scratch.response_cookie.as_deref(),
            termination: flags,
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
            request_captures,
            response_captures,
            capture_names: &spec.capture,
            request: self.understood.then(|| RequestLine {
                method: scratch.request.method(),
                target: scratch.request.target(),
                version: scratch.request.version().as_str(),
            }),
            request_id: (!scratch.id.is_empty()).then_some(&scratch.id[..]),
            reason: reason(end.cause),
            limited_by: self.limited_by.as_ref().map(|l| &l.name[..]),
            peer: connection.carrier().filter(|carrier| self.client != Some(*carrier)),
            severity: if is_error { severity::ERROR } else { severity::INFO },
            format: spec.log.format.as_ref(),
            asap: spec.log.asap,
            announced: connection.tlvs(),
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

/// A counter's value, which is then one more; 0 for formats that do not show it.
pub(in crate::frontend) fn next_number(wanted: bool, counter: &AtomicU32) -> u32 {
    if wanted { counter.fetch_add(1, Ordering::Relaxed) } else { 0 }
}

fn count_status(shard: Shard, counters: &Counters, status: Option<u16>) {
    let counter = match status {
        None => return,
        Some(100..=199) => Counter::Hrsp1xx,
        Some(200..=299) => Counter::Hrsp2xx,
        Some(300..=399) => Counter::Hrsp3xx,
        Some(400..=499) => Counter::Hrsp4xx,
        Some(500..=599) => Counter::Hrsp5xx,
        Some(_) => Counter::HrspOther,
    };
    counters.inc(shard, counter);
}

/// Runs what an upgrade led to, and closes its books.
pub async fn run_tunnel(worker: &Rc<Worker>, connection: &mut Connection, tunnel: Box<Tunnel>) {
    // Moved out of its box, which goes: a tunnel lasts.
    let Tunnel { mut server, early, epilogue: mut e } = { *tunnel };
    e.scratch.shrink_for_tunnel();
    let idle = e.backend().map_or(std::time::Duration::from_secs(3600), |b| b.spec.timeouts.tunnel);
    let live = e.lease.as_ref().map(|l| l.server().live.clone());
    if let Some(live) = &live {
        live.upgraded.rise();
        live.counters.inc(worker.shard, Counter::Upgrades);
    }
    let early_client = std::mem::take(&mut connection.buffer);
    let entry = connection.place.entry.clone();
    let (io, deadline) = (&mut connection.io, &mut connection.deadline);
    let ended = tunnel::run(io, &mut server, early_client, early, &worker.shelf, deadline, idle, &entry).await;
    if let Some(live) = live {
        live.upgraded.fall();
    }
    e.bytes_in += ended.bytes_in;
    e.bytes_out += ended.bytes_out;
    if let Some(exchange) = connection.io.h2() {
        exchange.conclude(ended.cause);
    }
    e.close_books(worker, connection, End::new(ended.cause, Phase::Data));
}

/// A client that does not speak HTTP/2 where nothing else is spoken: if it speaks HTTP/1, it is told so in the language
/// it understands.
pub async fn refuse_http1(worker: &Rc<Worker>, connection: &mut Connection) {
    let mut stream = Stream::begin(worker, connection);
    let end = match stream.read_head().await {
        Ok(()) => {
            let end = stream.bad_request(&Reject::request(RejectReason::NotHttp2, 0));
            stream.refuse(end).await
        }
        Err(end) => {
            stream.e.status = judge(end.cause, end.phase).status;
            stream.e.scratch.out.extend_from_slice(BAD_PREFACE);
            let _ = stream.write_out(end.phase).await;
            end
        }
    };
    stream.finish(end);
}

/// A connection that closed before it sent a byte: counted as HAProxy counts it, and logged unless that is off.
pub fn ended_without_request(worker: &Rc<Worker>, connection: &mut Connection, late: bool) {
    let mut stream = Stream::begin(worker, connection);
    let log = stream.e.frontend().spec.log_null;
    let cause = if late { Cause::ClientTimeout } else { Cause::ClientClosed };
    let end = End::new(cause, Phase::Request);
    stream.e.first_byte = stream.connection.accepted;
    stream.e.accepted_us -= micros_since(stream.connection.accepted).min(stream.e.accepted_us);
    stream.e.status = judge(cause, Phase::Request).status;
    stream.e.timers.handshake = None;
    stream.e.timers.idle = None;
    if log {
        stream.finish(end);
    } else {
        let shard = stream.worker.shard;
        let bind = stream.connection.bind.clone();
        stream.e.count(shard, &bind, end, Duration::ZERO);
    }
}

/// A connection that sent nothing in time: 408, unless empty connections are to be passed over in silence.
pub async fn answer_late(worker: &Rc<Worker>, connection: &mut Connection) {
    let log = worker.snapshot().frontends.get(connection.bind.frontend).is_some_and(|f| f.spec.log_null);
    if log {
        let mut stream = Stream::begin(worker, connection);
        let mut out = std::mem::take(&mut stream.e.scratch.out);
        out.clear();
        answer::error(&mut out, 408, &[], Manner { head_only: false, close: true, keep_alive_10: false });
        stream.e.scratch.out = out;
        let _ = stream.write_out(Phase::Request).await;
        let Stream { e, .. } = stream;
        worker.shelve_scratch(e.scratch);
    }
    ended_without_request(worker, connection, true);
}

fn micros_since(start: Instant) -> u64 {
    micros(clock::now().saturating_duration_since(start))
}
