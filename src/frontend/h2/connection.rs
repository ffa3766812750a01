//! Driving one HTTP/2 connection: requests come out of it, limits are kept, and it ends in good order.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::exchange::Exchange;
use super::link::{Link, Wire};
use crate::core::fleet::snapshot::FrontendView;
use crate::core::http::h2::{Http2Limits, Offence};
use crate::core::stats::counters::Counter;
use crate::core::termination::Cause;
use crate::frontend::client::Client;
use crate::frontend::connection::{Connection, LINGER, LINGER_MAX_BYTES};
use crate::frontend::registry::{Doing, Role};
use crate::frontend::stream::{self, Next};
use crate::frontend::worker::Worker;
use crate::runtime::buffer::Buffer;
use crate::runtime::clock;

/// Bytes of one answer that wait for the socket beyond what the client's windows let out.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// What small DATA frames that wait to be read may cost beyond their bytes: each is charged as if it held 256. A whole
/// stream window of messages of sixteen bytes fits; beyond it the connection is ended (ENHANCE_YOUR_CALM).
const SMALL_FRAMES_BYTES: usize = 2 * 1024 * 1024;
/// How long a client may take to confirm that it has heard of the end (RFC 9113 section 6.8), and how long its last
/// bytes may take to leave.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves a connection that turned out to be HTTP/2; what was read of it is in its buffer.
pub async fn serve(worker: &Rc<Worker>, connection: Connection) {
    let Connection {
        io,
        buffer,
        deadline,
        place,
        bind,
        peer,
        announced,
        owner,
        accepted,
        handshake_ms,
        idle_since,
        places,
        ..
    } = connection;
    let Client::H1(io) = io else { return };
    let Some(frontend) = worker.snapshot().frontends.get(bind.frontend).cloned() else { return };
    bind.count(&frontend.live, worker.shard, Counter::H2Sess);
    let limits = frontend.spec.http2;
    place.entry.role.set(Role::Carrier);
    place.entry.doing.set(Doing::Idle);
    let link = Link::new(io, buffer, limits, place.entry.clone(), idle_since);
    let mut connection = Connection {
        io: Client::H2(Box::new(Exchange::none(link.clone()))),
        buffer: Buffer::default(),
        deadline,
        place,
        bind,
        peer,
        announced,
        owner,
        accepted,
        handshake_ms,
        idle_since,
        requests: 0,
        client_ended: false,
        places,
    };
    connection.deadline.set(idle_since + frontend.spec.timeouts.request);
    let h2 = match shake_hands(&mut connection, &link, &limits, frontend.spec.limits.head_max_bytes).await {
        Ok(h2) => h2,
        Err(failed) => {
            if !link.has_spoken() {
                stream::ended_without_request(worker, &mut connection, failed == Failed::TooLate);
            }
            return;
        }
    };
    let mut driver = Driver {
        worker,
        frontend,
        link,
        h2,
        connection,
        closing: None,
        leaving: None,
        looked_at: idle_since,
        noted: 0,
    };
    poll_fn(|cx| driver.poll(cx)).await;
    driver.note_glitches();
    let Driver { link, mut connection, closing, h2, .. } = driver;
    drop(h2);
    if closing.is_some() {
        linger(&mut connection, &link).await;
    }
}

type H2 = h2::server::Connection<Wire, Bytes>;

/// Why a connection never came to be HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// The client went away, or does not speak it.
    Gone,
    /// It said too little in time.
    TooLate,
}

/// Reads the client's preface and says our settings.
async fn shake_hands(
    connection: &mut Connection,
    link: &Rc<Link>,
    limits: &Http2Limits,
    head_max: usize,
) -> Result<H2, Failed> {
    let mut builder = Builder::new();
    builder
        .initial_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.max_frame_bytes)
        .max_header_list_size(u32::try_from(head_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.max_streams)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .data_frame_budget(SMALL_FRAMES_BYTES)
        .max_pending_accept_reset_streams(limits.max_streams as usize)
        .enable_connect_protocol();
    let mut shaking = pin!(builder.handshake::<_, Bytes>(Wire(link.clone())));
    let entry = connection.place.entry.clone();
    let shaken = poll_fn(|cx| {
        if let Poll::Ready(shaken) = shaking.as_mut().poll(cx) {
            return Poll::Ready(shaken.map_err(|_| Failed::Gone));
        }
        if entry.kill.get().is_some() {
            return Poll::Ready(Err(Failed::Gone));
        }
        connection.deadline.poll_passed(cx).map(|()| Err(Failed::TooLate))
    });
    shaken.await
}

/// What a connection's deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The first request, or a head whose beginning has come.
    Head,
    /// A request after the last one.
    Idle,
    /// Nothing: requests are being served, and have deadlines of their own.
    Look,
    /// The client's confirmation that it has heard of the end.
    Farewell,
    /// The last bytes.
    Close,
}

/// A connection while it lives.
struct Driver<'w> {
    worker: &'w Rc<Worker>,
    frontend: Arc<FrontendView>,
    link: Rc<Link>,
    h2: H2,
    /// What stands for it in the registry, and what its streams are given.
    connection: Connection,
    /// Since when nothing more is taken and the last bytes are on their way.
    closing: Option<Instant>,
    /// Since when no new requests are wanted.
    leaving: Option<Instant>,
    /// When the deadline came for nothing.
    looked_at: Instant,
    /// Mistakes that were added to the frontend's counter.
    noted: u32,
}

impl Driver<'_> {
    /// Moves on. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.connection.place.entry.kill.take() {
            None => {}
            Some(Cause::Stopping) => self.leave(),
            Some(_) => self.close(Reason::CANCEL),
        }
        if self.leaving.is_none() && self.worker.is_leaving(&self.frontend.live) {
            self.leave();
        }
        loop {
            if self.advance(cx).is_ready() {
                return Poll::Ready(());
            }
            match self.link.offence() {
                Some(offence) if self.closing.is_none() => self.expel(offence),
                _ => break,
            }
        }
        self.note_glitches();
        loop {
            let (due, what) = self.due();
            self.connection.deadline.set(due);
            self.connection.place.entry.expires(true, due);
            if self.connection.deadline.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            match what {
                Due::Look => self.looked_at = clock::now(),
                Due::Close => return Poll::Ready(()),
                Due::Head | Due::Idle | Due::Farewell => {
                    if what == Due::Head && self.connection.requests == 0 && !self.link.has_spoken() {
                        stream::ended_without_request(self.worker, &mut self.connection, true);
                    }
                    self.close(Reason::NO_ERROR);
                    if self.advance(cx).is_ready() {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }

    /// Lets the library read and write, and starts what came of it. Ready when it says that the connection is over.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    if error.is_go_away() && error.is_library() && self.closing.is_none() {
                        self.closing = Some(clock::now());
                    }
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
            }
        }
    }

    /// What is waited for at most until when.
    fn due(&self) -> (Instant, Due) {
        let timeouts = &self.frontend.spec.timeouts;
        if let Some(closing) = self.closing {
            return (closing + PATIENCE, Due::Close);
        }
        let latest = self.link.latest.get();
        let (mut due, mut what) = match (self.link.open(), self.leaving) {
            (0, Some(leaving)) => (leaving.max(latest) + PATIENCE, Due::Farewell),
            (0, None) if self.connection.requests == 0 => (self.connection.idle_since + timeouts.request, Due::Head),
            (0, None) => (latest + timeouts.keepalive, Due::Idle),
            (1.., _) => (self.looked_at.max(latest) + timeouts.keepalive, Due::Look),
        };
        if let Some(since) = self.link.midway_since() {
            let late = since + timeouts.request;
            if late < due {
                (due, what) = (late, Due::Head);
            }
        }
        (due, what)
    }

    /// Wants no more requests: the client is told, and what it has sent by then is served.
    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(clock::now());
            self.h2.graceful_shutdown();
        }
    }

    /// Ends it. What is being served is broken off.
    fn close(&mut self, reason: Reason) {
        if self.closing.is_none() {
            self.closing = Some(clock::now());
            self.h2.abrupt_shutdown(reason);
        }
    }

    fn expel(&mut self, offence: Offence) {
        let frontend: &str = &self.frontend.spec.name;
        tracing::debug!(frontend, client = ?self.connection.peer, offence = offence.as_str(), "an HTTP/2 connection is closed");
        self.frontend.live.counters.inc(self.worker.shard, Counter::H2Expelled);
        self.close(Reason::ENHANCE_YOUR_CALM);
    }

    fn note_glitches(&mut self) {
        let glitches = self.link.glitches();
        let new = glitches.saturating_sub(self.noted);
        if new > 0 {
            self.noted = glitches;
            self.frontend.live.counters.add(self.worker.shard, Counter::H2Glitches, u64::from(new));
            self.connection.place.entry.glitches.set(glitches);
        }
    }

    /// Serves a request in a task of its own.
    fn open(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let worker = self.worker;
        let own = &mut self.connection;
        let now = clock::now();
        let place = worker.registry.enter(worker.index, &own.bind, own.peer, now, clock::wall());
        place.entry.destination.set(own.place.entry.destination.get());
        place.entry.role.set(Role::Carried);
        let deadline = self.link.enter(now + self.frontend.spec.timeouts.request);
        let connection = Connection {
            io: Client::H2(Box::new(Exchange::new(self.link.clone(), request, respond))),
            buffer: Buffer::default(),
            deadline,
            place,
            bind: own.bind.clone(),
            peer: own.peer,
            announced: own.announced.clone(),
            owner: own.owner,
            accepted: own.accepted,
            handshake_ms: own.handshake_ms,
            // HAProxy: with HTTP/2 the idle time counts from the request before.
            idle_since: if own.requests == 0 { own.idle_since } else { self.link.latest.get() },
            requests: own.requests,
            client_ended: false,
            places: None,
        };
        own.requests = own.requests.saturating_add(1);
        own.place.entry.requests.set(own.requests);
        self.link.latest.set(now);
        if self.frontend.spec.limits.requests_per_connection.is_some_and(|max| own.requests >= max) {
            self.leave();
        }
        let open =
            Open { link: self.link.clone(), worker: worker.clone(), frontend: self.frontend.clone(), closed: false };
        tokio::task::spawn_local(exchange(worker.clone(), connection, open));
    }
}

/// One request from its head to its end.
async fn exchange(worker: Rc<Worker>, mut connection: Connection, open: Open) {
    poll_fn(|cx| {
        connection.place.entry.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
    // Boxed so that what is left of it is small once it has become a tunnel.
    if let Next::Tunnel(tunnel) = Box::pin(stream::handle(&worker, &mut connection)).await {
        Box::pin(stream::run_tunnel(&worker, &mut connection, tunnel)).await;
    }
    connection.buffer.consume(usize::MAX);
    worker.shelf.shelve(&mut connection.buffer);
    open.close(connection);
}

/// A stream's part in its connection; leaves it when dropped.
struct Open {
    link: Rc<Link>,
    worker: Rc<Worker>,
    frontend: Arc<FrontendView>,
    closed: bool,
}

impl Open {
    /// The request is over: what it held goes back.
    fn close(mut self, connection: Connection) {
        let Connection { io, deadline, place, idle_since, .. } = connection;
        let served = matches!(&io, Client::H2(exchange) if exchange.is_answered());
        drop((io, place));
        self.link.leave(Some(deadline), served, idle_since);
        self.closed = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        self.link.leave(None, false, clock::now());
        if std::thread::panicking() {
            // Caught at the request's task: this one is lost, the others of its connection go on.
            self.frontend.live.counters.inc(self.worker.shard, Counter::Eint);
            tracing::error!(worker = self.worker.index, "a request ended in a panic");
        }
    }
}

/// Reads on for a while after our last byte, so that a reset does not destroy it on its way.
async fn linger(connection: &mut Connection, link: &Link) {
    connection.deadline.set(clock::now() + LINGER);
    let mut room = vec![0; 16 * 1024];
    let mut thrown = 0;
    poll_fn(|cx| {
        loop {
            match link.poll_discard(cx, &mut room) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => {
                    thrown += n;
                    if thrown > LINGER_MAX_BYTES {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => return connection.deadline.poll_passed(cx),
            }
        }
    })
    .await;
}
