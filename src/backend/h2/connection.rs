//! One connection that stands: how it begins, the task that moves its bytes, and the places on it.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::{Exchange, Fault};
use crate::core::fleet::live::ServerLive;
use crate::core::fleet::snapshot::{ConnectTo, ServerView};
use crate::core::fleet::spec::{Http2ToServers, HttpLimits};
use crate::core::tls::{ServerTls, Sni};
use crate::runtime::clock;
use crate::runtime::deadline::Deadline;

/// Bytes of one request's body that may wait for the socket.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The largest window there is (RFC 9113 section 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Streams we ended that are remembered, so that what the server still sends on them is no offence of its.
const RESETS_REMEMBERED: usize = 1024;
/// Bookkeeping bytes that HTTP/2 counts for each field of a head (RFC 7541 section 4.1).
const FIELD_OVERHEAD: usize = 32;

/// A connection, as everybody who is on it or may get on it sees it. It ends by itself when nobody holds it.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    to: ConnectTo,
    /// What was asked for in TLS.
    tls: Option<Arc<ServerTls>>,
    /// The request's host that it was named after, if it was: it carries requests for no other.
    host: Option<Box<str>>,
    /// Whose it is, if it may serve one client alone.
    owner: Option<u64>,
    local: Option<SocketAddr>,
    opened: Instant,
    /// Requests at once, by configuration.
    most: u32,
    /// Requests on it now.
    taken: Cell<u32>,
    /// It carried a request before.
    used: Cell<bool>,
    /// It takes no more requests: the server said so, it broke, or it is not wanted any more.
    leaving: Cell<bool>,
    idle_since: Cell<Instant>,
    live: Arc<ServerLive>,
    /// It is in the gauge of idle connections.
    counted_idle: Cell<bool>,
}

impl Connection {
    /// Requests at once, by configuration and by the server's word.
    pub(super) fn most(&self) -> u32 {
        u32::try_from(self.sender.current_max_send_streams()).unwrap_or(u32::MAX).min(self.most)
    }

    /// Whether it may take one more request now.
    fn has_room(&self) -> bool {
        !self.leaving.get() && self.taken.get() < self.most()
    }

    /// A place on it, if there is one.
    pub(super) fn place(self: &Rc<Self>) -> Option<Place> {
        if !self.has_room() {
            return None;
        }
        self.count_idle(false);
        self.taken.set(self.taken.get() + 1);
        let reused = self.used.replace(true);
        Some(Place { connection: self.clone(), reused })
    }

    /// Whether it leads to where the server is, and is spoken to as the server is now.
    pub(super) fn leads_to(&self, server: &ServerView) -> bool {
        let same = match (&self.tls, &server.tls) {
            (None, None) => true,
            (Some(own), Some(asked)) => Arc::ptr_eq(own, asked) || own == asked,
            _ => false,
        };
        same && server.address.as_ref() == Some(&self.to)
    }

    /// Whether requests for that host may be sent on it.
    pub(super) fn is_for(&self, host: Option<&str>, owner: Option<u64>) -> bool {
        let by_host = self.tls.as_ref().is_some_and(|tls| tls.sni == Sni::RequestHost);
        self.owner == owner && (!by_host || self.host.as_deref() == host)
    }

    /// Whose it is, if it may serve one client alone.
    pub(super) fn owner(&self) -> Option<u64> {
        self.owner
    }

    /// When it stood.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Takes no more requests; those on it go on.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
        self.count_idle(false);
    }

    /// Whether it is not to be kept.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Whether it ever carried a request.
    pub(super) fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Since when nothing is on it; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.taken.get() == 0).then(|| self.idle_since.get())
    }

    fn count_idle(&self, idle: bool) {
        if self.counted_idle.replace(idle) != idle {
            match idle {
                true => self.live.idle.rise(),
                false => self.live.idle.fall(),
            };
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count_idle(false);
    }
}

/// The right to have one request on a connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    connection: Rc<Connection>,
    reused: bool,
}

impl Place {
    /// Sends the head of a request. `ended`: nothing follows it. `Err(Fault::Unprocessed)` when the connection turned
    /// out to take no more; it is then not asked again.
    pub fn start(self, request: Request<()>, ended: bool) -> Result<Exchange, Fault> {
        let mut sender = self.connection.sender.clone();
        match sender.send_request(request, ended) {
            Ok((answer, send)) => Ok(Exchange::new(answer, send, ended, self)),
            Err(error) => {
                self.connection.leave();
                Err(Fault::before_sending(&error))
            }
        }
    }

    /// It carried requests before this one.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Our address on it; unix sockets have none.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// Where it leads.
    pub fn to(&self) -> &ConnectTo {
        &self.connection.to
    }

    /// Whether the server lets websockets and the like be opened on it (RFC 8441 section 3).
    pub fn takes_extended_connect(&self) -> bool {
        self.connection.sender.is_extended_connect_protocol_enabled()
    }

    /// The server broke HTTP/2's rules or is not to be trusted with more: no further requests on this connection.
    pub fn leave_connection(&self) {
        self.connection.leave();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.taken.set(connection.taken.get().saturating_sub(1));
        if connection.taken.get() == 0 {
            connection.idle_since.set(clock::now());
            connection.count_idle(!connection.leaving.get());
        }
    }
}

/// What a new connection needs to know.
#[derive(Debug)]
pub(super) struct Terms {
    pub to: ConnectTo,
    pub tls: Option<Arc<ServerTls>>,
    pub host: Option<Box<str>>,
    /// Whose it is, if it may serve one client alone.
    pub owner: Option<u64>,
    pub local: Option<SocketAddr>,
    pub http2: Http2ToServers,
    pub limits: HttpLimits,
    pub live: Arc<ServerLive>,
}

/// Says hello and waits for the server's settings: they prove that it speaks HTTP/2, and say how many requests it takes.
pub(super) async fn begin<T>(io: T, terms: Terms) -> Result<Rc<Connection>, h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let window = terms.http2.window_bytes;
    let list = terms.limits.head_max_bytes + terms.limits.fields_max * FIELD_OVERHEAD;
    let (sender, mut driven) = client::Builder::new()
        .enable_push(false)
        // None before the server has said how many.
        .initial_max_send_streams(0)
        .initial_window_size(window)
        .initial_connection_window_size(window.saturating_mul(terms.http2.max_streams).clamp(window, WINDOW_MAX))
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .handshake::<T, Bytes>(io)
        .await?;
    poll_fn(|cx| match Pin::new(&mut driven).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) => Poll::Ready(Err(h2::Reason::REFUSED_STREAM.into())),
        Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let now = clock::now();
    let connection = Rc::new(Connection {
        sender,
        to: terms.to,
        tls: terms.tls,
        host: terms.host,
        owner: terms.owner,
        local: terms.local,
        opened: now,
        most: terms.http2.max_streams,
        taken: Cell::new(0),
        used: Cell::new(false),
        leaving: Cell::new(false),
        idle_since: Cell::new(now),
        live: terms.live,
        counted_idle: Cell::new(false),
    });
    tokio::task::spawn_local(drive(driven, Rc::downgrade(&connection), terms.http2));
    Ok(connection)
}

/// Moves a connection's bytes until it ends.
async fn drive<T>(mut driven: client::Connection<T, Bytes>, of: Weak<Connection>, http2: Http2ToServers)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut pulse = driven.ping_pong().map(|pings| Pulse::new(pings, &http2));
    let end = poll_fn(|cx| {
        if let Poll::Ready(end) = Pin::new(&mut driven).poll(cx) {
            return Poll::Ready(End::Over(end));
        }
        match pulse.as_mut().map(|pulse| pulse.poll_lost(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(End::Silent),
            _ => Poll::Pending,
        }
    })
    .await;
    if let Some(connection) = of.upgrade() {
        connection.leave();
        match end {
            End::Over(Ok(())) => {}
            End::Over(Err(error)) => {
                tracing::debug!(%error, to = ?connection.to, "a connection to a server ended");
            }
            End::Silent => {
                tracing::debug!(to = ?connection.to, "a server answers no pings; its connection is given up")
            }
        }
    }
    // What was on it learns now that it is over.
    drop(driven);
}

enum End {
    Over(Result<(), h2::Error>),
    Silent,
}

/// Signs of life: a ping now and then, and what it means when none comes back.
struct Pulse {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    asked: bool,
    due: Deadline,
}

impl Pulse {
    fn new(pings: PingPong, http2: &Http2ToServers) -> Pulse {
        let due = Deadline::new(clock::now() + http2.ping_interval);
        Pulse { pings, interval: http2.ping_interval, timeout: http2.ping_timeout, asked: false, due }
    }

    /// Ready when the server gave no sign of life in time.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.asked = false;
                        self.due.set(clock::now() + self.interval);
                        continue;
                    }
                    // The connection is over already, and says so itself.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => return self.due.poll_passed(cx),
                }
            }
            if self.due.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.asked = true;
            self.due.set(clock::now() + self.timeout);
        }
    }
}
