//! One client connection: handshake, then one request after another, then an orderly end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::announced::{self, Announced};
use super::client::Client;
use super::h2;
use super::registry::{Doing, Registered};
use super::stream::{self, Next};
use super::tcp;
use super::worker::{BindContext, BindProtocol, Counted, Worker};
use crate::core::fleet::mode::Mode;
use crate::core::fleet::snapshot::FrontendView;
use crate::core::http::h2::PREFACE;
use crate::core::log::httplog::FailedConnection;
use crate::core::log::severity;
use crate::core::proxy_protocol::Tlvs;
use crate::core::stats::counters::Counter;
use crate::core::termination::Cause;
use crate::listener::ClientIo;
use crate::listener::per_source::SourcePlace;
use crate::runtime::buffer::{Buffer, BufferShelf};
use crate::runtime::clock;
use crate::runtime::deadline::Deadline;
use crate::runtime::gate::Place;
use crate::runtime::socket::Socket;
use crate::tls;
use crate::tls::BindAcceptor;
use crate::tls::acceptor::{Accepted, HandshakeError, Opening};
use crate::tls::failure::FIRST_BYTES;

/// How long an ended connection is read from, so that the client gets our last bytes before a reset.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Bytes read and thrown away in that time.
pub(super) const LINGER_MAX_BYTES: usize = 4 << 20;

/// An accepted socket.
#[derive(Debug)]
pub struct Arrival {
    /// Which bind.
    pub bind: usize,
    /// The socket.
    pub socket: Socket,
    /// The client; `None` on unix sockets.
    pub peer: Option<SocketAddr>,
    /// What its PROXY header said, if there was one.
    pub announced: Option<Rc<Announced>>,
    /// Its places under the process's and the frontend's `maxconn`.
    pub places: (Place, Place),
}

/// A client connection; in HTTP/2 one stream of it, which is a connection of its own to what serves it.
#[derive(Debug)]
pub struct Connection {
    /// The client.
    pub io: Client,
    /// Bytes read and not yet used: of the connection in HTTP/1, of the body in HTTP/2.
    pub buffer: Buffer,
    /// The one timer.
    pub deadline: Deadline,
    /// Its place in the registry.
    pub place: Registered,
    /// What it came in by.
    pub bind: Rc<BindContext>,
    /// The client; `None` on unix sockets.
    pub peer: Option<SocketAddr>,
    /// What its PROXY header said, if there was one.
    pub announced: Option<Rc<Announced>>,
    /// What connections to servers go by that are this client's alone.
    pub owner: u64,
    /// When it was accepted.
    pub accepted: Instant,
    /// How long handshakes took, in ms.
    pub handshake_ms: u32,
    /// End of the last answer (or of the handshake).
    pub idle_since: Instant,
    /// Requests so far.
    pub requests: u32,
    /// The client has closed its sending half.
    pub client_ended: bool,
    /// Its places under the process's and the frontend's `maxconn`; a stream of many has none.
    pub places: Option<(Place, Place)>,
}

impl Connection {
    /// The address the client connected to, which a PROXY header may have told; `None` on unix sockets.
    pub fn destination(&self) -> Option<SocketAddr> {
        let told = self.announced.as_ref().and_then(|announced| announced.addresses);
        told.map_or_else(|| self.io.local_addr(), |(_, destination)| Some(destination))
    }

    /// The peer of the socket itself, whoever it speaks for; `None` on unix sockets.
    pub fn carrier(&self) -> Option<SocketAddr> {
        self.announced.as_ref().map_or(self.peer, |announced| announced.sender)
    }

    /// What its PROXY header said besides addresses.
    pub fn tlvs(&self) -> Option<&Tlvs> {
        self.announced.as_ref().map(|announced| &announced.tlvs)
    }

    /// The port of [`Connection::destination`], without a system call.
    pub fn destination_port(&self) -> Option<u16> {
        let told = self.announced.as_ref().and_then(|announced| announced.addresses);
        told.map(|(_, destination)| destination).or(self.bind.address).map(|address| address.port())
    }

    /// Whether the client came over TLS, to us or to the proxy that told of it.
    pub fn is_secure(&self) -> bool {
        self.io.is_tls() || self.announced.as_ref().is_some_and(|announced| announced.used_tls())
    }

    /// Reads ahead while a request is being served, to notice that the client has left: `Some(ClientClosed)` at its end
    /// of the stream, `Some(ClientReset)` when it broke. Bytes of further requests stay in the buffer, up to
    /// `ahead_max_bytes`; beyond that nothing is read and so nothing noticed. An HTTP/2 client leaves by a reset.
    pub fn poll_left(&mut self, cx: &mut Context<'_>, shelf: &BufferShelf, ahead_max_bytes: usize) -> Option<Cause> {
        if let Client::H2(exchange) = &mut self.io {
            return exchange.poll_left(cx).then_some(Cause::ClientReset);
        }
        while !self.client_ended && self.buffer.len() <= ahead_max_bytes {
            shelf.equip(&mut self.buffer);
            if self.buffer.room().is_empty() {
                return None;
            }
            match self.io.poll_read(cx, self.buffer.room()) {
                Poll::Ready(Ok(0)) => {
                    self.client_ended = true;
                    return Some(Cause::ClientClosed);
                }
                Poll::Ready(Ok(n)) => self.buffer.filled_by(n),
                Poll::Ready(Err(_)) => {
                    self.client_ended = true;
                    return Some(Cause::ClientReset);
                }
                Poll::Pending => {
                    shelf.shelve(&mut self.buffer);
                    return None;
                }
            }
        }
        None
    }
}

/// What a connection counts for, as long as it lives.
#[derive(Debug)]
pub struct Held {
    _counted: Counted,
    _source: Option<SourcePlace>,
    tls: Option<TlsPlace>,
}

impl Held {
    /// Its part in the gauges and its place among those of its source.
    pub fn new(counted: Counted, source: Option<SourcePlace>) -> Held {
        Held { _counted: counted, _source: source, tls: None }
    }

    /// Its place among those of its source, which was not known before.
    pub fn belongs_to(&mut self, source: Option<SourcePlace>) {
        self._source = source;
    }
}

/// Serves a connection to its end, in a task of its own.
pub fn start(worker: &Rc<Worker>, bind: Rc<BindContext>, arrival: Arrival, held: Held) {
    let Some(frontend) = worker.snapshot().frontends.get(bind.frontend).cloned() else { return };
    let accepted = clock::now();
    let place = worker.registry.enter(worker.index, &bind, arrival.peer, accepted, clock::wall());
    match bind.proxy_protocol {
        Some(_) => announced::start(worker, bind, frontend, arrival, held, accepted, place),
        None => begin(worker, bind, frontend, arrival, held, accepted, place),
    }
}

/// [`start`] of a connection that is known to be its peer's.
pub fn begin(
    worker: &Rc<Worker>,
    bind: Rc<BindContext>,
    frontend: Arc<FrontendView>,
    arrival: Arrival,
    mut held: Held,
    accepted: Instant,
    place: Registered,
) {
    let Arrival { socket, peer, announced, places, .. } = arrival;
    // A PROXY header takes its time as a handshake does.
    let ready = if announced.is_some() { clock::now() } else { accepted };
    let worker = worker.clone();
    let within = frontend.spec.timeouts.request;
    let is_tcp = frontend.spec.mode() == Mode::Tcp;
    let owner = place.entry.id;
    let connection = move |io, place, bind, now, handshake_ms| Connection {
        io: Client::H1(io),
        buffer: Buffer::default(),
        deadline: Deadline::new(now + within),
        place,
        bind,
        peer,
        announced,
        owner,
        accepted,
        handshake_ms,
        idle_since: now,
        requests: 0,
        client_ended: false,
        places: Some(places),
    };
    let Some(acceptor) = bind.tls.clone() else {
        if is_tcp {
            let connection = connection(ClientIo::Plain(socket), place, bind, ready, millis(ready - accepted));
            tokio::task::spawn_local(tcp::serve(worker, connection, held));
            return;
        }
        if bind.protocol == BindProtocol::Http1 {
            bind.count(&frontend.live, worker.shard, Counter::H1Sess);
        }
        let connection = connection(ClientIo::Plain(socket), place, bind, ready, millis(ready - accepted));
        tokio::task::spawn_local(serve(worker, connection, held, Spoken::Unsaid));
        return;
    };
    place.entry.doing.set(Doing::Handshake);
    held.tls = Some(TlsPlace::new(&worker));
    tokio::task::spawn_local(async move {
        let shaken = Box::pin(handshake(&worker, &bind, &frontend, &acceptor, socket, peer)).await;
        let Some(done) = shaken else { return };
        let now = clock::now();
        let handshake_ms = millis(now - accepted);
        let io = ClientIo::tls(done, handshake_ms);
        let spoken = if io.alpn() == Some(b"h2") { Spoken::Http2 } else { Spoken::Unsaid };
        if !is_tcp && spoken == Spoken::Unsaid && bind.protocol == BindProtocol::Http1 {
            bind.count(&frontend.live, worker.shard, Counter::H1Sess);
        }
        drop((frontend, acceptor));
        let connection = connection(io, place, bind, now, handshake_ms);
        match is_tcp {
            true => tcp::serve(worker, connection, held).await,
            false => serve(worker, connection, held, spoken).await,
        }
    });
}

/// Serves a connection that is ready for HTTP. Most connections are idle most of the time, so what an idle one keeps is
/// kept small: an `async fn` would keep its arguments twice.
#[allow(clippy::manual_async_fn, reason = "the block uses the arguments where they are")]
fn serve(worker: Rc<Worker>, mut connection: Connection, held: Held, spoken: Spoken) -> impl Future<Output = ()> {
    async move {
        poll_fn(|cx| {
            connection.place.entry.set_waker(cx.waker());
            Poll::Ready(())
        })
        .await;
        let after = match spoken {
            Spoken::Http2 => After::Http2,
            Spoken::Unsaid => requests(&worker, &mut connection).await,
        };
        if matches!(after, After::Http2) {
            let owner = connection.owner;
            Box::pin(h2::serve(&worker, connection)).await;
            worker.pool.borrow_mut().forget(owner);
            drop(held);
            return;
        }
        end(&worker, &mut connection, after).await;
        connection.buffer.consume(usize::MAX);
        worker.shelf.shelve(&mut connection.buffer);
        worker.pool.borrow_mut().forget(connection.owner);
        drop((connection, held));
    }
}

/// Ends a connection so that the client gets what it was sent.
async fn end(worker: &Worker, connection: &mut Connection, after: After) {
    match after {
        After::Lingering => Box::pin(linger(worker, connection)).await,
        After::Closed if has_unread(worker, connection).await => Box::pin(linger(worker, connection)).await,
        After::Closed if connection.io.is_tls() => {
            // A close_notify, if it can be written at once.
            poll_fn(|cx| {
                let _ = connection.io.poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
        }
        After::Closed | After::Cut | After::Http2 => {}
    }
}

/// How a connection is to be ended.
enum After {
    /// It can simply be closed.
    Closed,
    /// The client may still be sending.
    Lingering,
    /// The client must see that something is missing.
    Cut,
    /// Not at all: it speaks HTTP/2.
    Http2,
}

/// What is known of the version of HTTP before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// The handshake agreed on HTTP/2.
    Http2,
    /// Nothing was said; the bind's `protocol` decides.
    Unsaid,
}

/// One request after another.
async fn requests(worker: &Rc<Worker>, connection: &mut Connection) -> After {
    loop {
        match first_byte(worker, connection).await {
            First::Byte if connection.requests == 0 && connection.bind.protocol != BindProtocol::Http1 => {
                if is_preface(worker, connection).await {
                    return After::Http2;
                }
                if connection.bind.protocol == BindProtocol::Http2 {
                    Box::pin(stream::refuse_http1(worker, connection)).await;
                    return After::Lingering;
                }
                if let Some(frontend) = worker.snapshot().frontends.get(connection.bind.frontend) {
                    connection.bind.count(&frontend.live, worker.shard, Counter::H1Sess);
                }
            }
            First::Byte => {}
            First::Quiet => return After::Closed,
            First::Ended => {
                stream::ended_without_request(worker, connection, false);
                return After::Closed;
            }
            First::TooLate => {
                Box::pin(stream::answer_late(worker, connection)).await;
                return After::Lingering;
            }
        }
        // The busy part of a connection is large and short-lived, the idle part small and long-lived: so it is boxed.
        match Box::pin(stream::handle(worker, connection)).await {
            Next::KeepAlive => {
                connection.requests = connection.requests.saturating_add(1);
                worker.shelf.shelve(&mut connection.buffer);
            }
            Next::Close => return After::Closed,
            Next::Cut => return After::Cut,
            Next::Linger => return After::Lingering,
            Next::Tunnel(tunnel) => {
                Box::pin(stream::run_tunnel(worker, connection, tunnel)).await;
                return After::Closed;
            }
        }
    }
}

enum First {
    /// A request begins.
    Byte,
    /// The end came where it may come.
    Quiet,
    /// The client closed without ever sending a byte.
    Ended,
    /// The client never sent a byte in time.
    TooLate,
}

/// Waits for the first byte of a request.
async fn first_byte(worker: &Worker, connection: &mut Connection) -> First {
    if !connection.buffer.is_empty() {
        return First::Byte;
    }
    if connection.client_ended {
        return First::Quiet;
    }
    let is_first = connection.requests == 0;
    let entry = connection.place.entry.clone();
    entry.doing.set(Doing::Idle);
    if !is_first {
        let snapshot = worker.snapshot();
        let Some(frontend) = snapshot.frontends.get(connection.bind.frontend) else { return First::Quiet };
        connection.deadline.set(connection.idle_since + frontend.spec.timeouts.keepalive);
    }
    if let Some(due) = connection.deadline.due() {
        entry.expires(true, due);
    }
    poll_fn(|cx| {
        worker.shelf.equip(&mut connection.buffer);
        match connection.io.poll_read(cx, connection.buffer.room()) {
            Poll::Ready(Ok(0)) => {
                connection.client_ended = true;
                return Poll::Ready(if is_first { First::Ended } else { First::Quiet });
            }
            Poll::Ready(Ok(n)) => {
                connection.buffer.filled_by(n);
                return Poll::Ready(First::Byte);
            }
            Poll::Ready(Err(_)) => return Poll::Ready(if is_first { First::Ended } else { First::Quiet }),
            Poll::Pending => worker.shelf.shelve(&mut connection.buffer),
        }
        if entry.kill.get().is_some() || (!is_first && worker.shared.is_draining()) {
            return Poll::Ready(First::Quiet);
        }
        match connection.deadline.poll_passed(cx) {
            Poll::Ready(()) if is_first => Poll::Ready(First::TooLate),
            Poll::Ready(()) => Poll::Ready(First::Quiet),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether the client begins as HTTP/2 begins. Reads until that is certain.
async fn is_preface(worker: &Worker, connection: &mut Connection) -> bool {
    let entry = connection.place.entry.clone();
    poll_fn(|cx| {
        loop {
            let same = connection.buffer.filled().iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
            if same == PREFACE.len() {
                return Poll::Ready(true);
            }
            if same < connection.buffer.len() {
                return Poll::Ready(false);
            }
            worker.shelf.equip(&mut connection.buffer);
            match connection.io.poll_read(cx, connection.buffer.room()) {
                Poll::Ready(Ok(0)) => {
                    connection.client_ended = true;
                    return Poll::Ready(false);
                }
                Poll::Ready(Ok(n)) => connection.buffer.filled_by(n),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending if entry.kill.get().is_some() => return Poll::Ready(false),
                Poll::Pending => return connection.deadline.poll_passed(cx).map(|()| false),
            }
        }
    })
    .await
}

async fn handshake(
    worker: &Worker,
    bind: &BindContext,
    frontend: &FrontendView,
    acceptor: &BindAcceptor,
    socket: Socket,
    peer: Option<SocketAddr>,
) -> Option<Accepted<Socket>> {
    let counters = &frontend.live.counters;
    let accepted_us = clock::wall_us();
    let mut opening = Opening::default();
    let accepting = acceptor.accept(socket, &mut opening);
    let shaken = tokio::time::timeout(frontend.spec.timeouts.handshake, accepting).await;
    match shaken.unwrap_or(Err(HandshakeError::Timeout)) {
        Ok(accepted) => {
            let resumed = accepted.facts.resumed;
            counters.inc(worker.shard, if resumed { Counter::TlsResumed } else { Counter::TlsFull });
            Some(accepted)
        }
        Err(error) => {
            counters.inc(worker.shard, Counter::TlsFailed);
            let log = &frontend.spec.log;
            let is_null = opening.bytes.is_empty() && (opening.ended || matches!(error, HandshakeError::Timeout));
            let silent = is_null && !frontend.spec.log_null;
            if log.off || silent {
                return None;
            }
            let first = opening.bytes.get(..FIRST_BYTES).unwrap_or(&opening.bytes);
            let sentence = tls::failure::sentence(&error, first);
            let failed = FailedConnection {
                client: peer,
                accepted_us,
                ended_us: clock::wall_us(),
                frontend: &frontend.spec.name,
                bind: &bind.name,
                reason: &sentence,
                severity: if log.separate_errors { severity::ERROR } else { severity::INFO },
                format: log.format.as_ref(),
            };
            worker.with_log(|log| log.push_failed(&failed));
            None
        }
    }
}

/// Whether the client has sent what nobody read. A close would then be a reset, and destroy what of our last answer is
/// still on its way.
async fn has_unread(worker: &Worker, connection: &mut Connection) -> bool {
    poll_fn(|cx| {
        let _ = connection.poll_left(cx, &worker.shelf, 0);
        Poll::Ready(!connection.buffer.is_empty())
    })
    .await
}

/// Reads on for a while after our last byte, so that a reset does not destroy it on its way.
async fn linger(worker: &Worker, connection: &mut Connection) {
    connection.deadline.set(clock::now() + LINGER);
    let mut thrown = connection.buffer.len();
    connection.buffer.consume(usize::MAX);
    let mut shut = false;
    poll_fn(|cx| {
        if !shut && connection.io.poll_shutdown(cx).is_ready() {
            shut = true;
        }
        worker.shelf.equip(&mut connection.buffer);
        loop {
            match connection.io.poll_read(cx, connection.buffer.room()) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => {
                    thrown += n;
                    if thrown > LINGER_MAX_BYTES {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => break,
            }
        }
        worker.shelf.shelve(&mut connection.buffer);
        connection.deadline.poll_passed(cx)
    })
    .await;
}

/// A TLS connection's part in the process gauge.
#[derive(Debug)]
struct TlsPlace(std::sync::Arc<crate::runtime::shared::Shared>);

impl TlsPlace {
    fn new(worker: &Worker) -> TlsPlace {
        worker.shared.process.tls_connections.rise();
        TlsPlace(worker.shared.clone())
    }
}

impl Drop for TlsPlace {
    fn drop(&mut self) {
        self.0.process.tls_connections.fall();
    }
}

/// Whole milliseconds, as the log counts them.
pub fn millis(d: Duration) -> u32 {
    d.as_millis().min(u128::from(u32::MAX)) as u32
}

/// Whole microseconds, as histograms and wall clocks count them.
pub fn micros(d: Duration) -> u64 {
    d.as_micros().min(u128::from(u64::MAX)) as u64
}
