//! A connection on its way. It is opened by a task of its own: the request it was begun for may leave while others wait
//! for it too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::connection::{self, Connection, Place, Terms};
use crate::backend::connect::{self, ConnectError};
use crate::backend::handshake;
use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::stats::counters::{Counter, Shard};
use crate::runtime::clock;
use crate::tls::Connectors;

/// A connection on its way, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The host it will be named after, if it will.
    pub(super) host: Option<Box<str>>,
    outcome: RefCell<Option<Result<Rc<Connection>, Rc<ConnectError>>>>,
    wakers: RefCell<Vec<Waker>>,
    waiting: Cell<u32>,
    /// It is not to be kept: what it was begun for is over.
    unwanted: Cell<bool>,
}

impl Opening {
    /// Nobody waits for it yet. `host`: it will be named after that request's host, and be for no other.
    pub fn new(host: Option<Box<str>>) -> Opening {
        Opening { host, ..Opening::default() }
    }

    /// Whether one more may wait for it.
    pub fn has_room(&self, most: u32) -> bool {
        self.waiting.get() < most
    }

    /// Waits for it.
    pub fn wait(self: &Rc<Self>) -> Waiting {
        self.waiting.set(self.waiting.get() + 1);
        Waiting { opening: self.clone() }
    }

    /// The connection is for those who wait, and for nobody after them.
    pub fn is_unwanted(&self) -> bool {
        self.unwanted.get()
    }

    /// Says that it is not to be kept.
    pub fn make_unwanted(&self) {
        self.unwanted.set(true);
    }

    /// Tells those who wait.
    pub fn finish(&self, outcome: Result<Rc<Connection>, ConnectError>) {
        *self.outcome.borrow_mut() = Some(outcome.map_err(Rc::new));
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}

/// Waiting for a connection; given up when dropped.
#[derive(Debug)]
pub struct Waiting {
    opening: Rc<Opening>,
}

impl Waiting {
    /// A place on the connection; `None` when others took all there are: then ask anew.
    pub fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Place>, Rc<ConnectError>>> {
        match &*self.opening.outcome.borrow() {
            Some(Ok(connection)) => return Poll::Ready(Ok(connection.place())),
            Some(Err(error)) => return Poll::Ready(Err(error.clone())),
            None => {}
        }
        let mut wakers = self.opening.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.opening.waiting.set(self.opening.waiting.get().saturating_sub(1));
    }
}

/// What a connection is opened for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The server's backend.
    pub view: Arc<BackendView>,
    /// The server.
    pub server: ServerView,
    /// The host of the request that asks first; empty when it has none.
    pub host: Box<str>,
    /// What TLS is made from.
    pub connectors: Arc<Connectors>,
    /// Which of the source addresses has its turn.
    pub turn: usize,
    /// Whose counters handshakes go to.
    pub shard: Shard,
}

/// Opens a connection to a server, TLS and greeting included: the connection within `timeouts.connect`, TLS within
/// `timeouts.handshake`, the greeting within `timeouts.connect` again.
pub(super) async fn open(wanted: Wanted) -> Result<Rc<Connection>, ConnectError> {
    let Wanted { view, server, host, connectors, turn, shard } = wanted;
    let Some(to) = server.address.clone() else { return Err(ConnectError::Timeout) };
    let timeouts = view.spec.timeouts;
    let mut io = connect::connect(&to, &view.spec.source, turn, timeouts.connect).await?;
    let mut named_after = None;
    if let Some(tls) = &server.tls {
        let connector = connectors.get(tls, clock::now()).map_err(ConnectError::Connector)?;
        let host = Some(&*host).filter(|host| !host.is_empty());
        io = handshake::secure(io, &connector, host, timeouts.handshake).await?;
        let resumed = io.tls().is_some_and(|tls| tls.is_resumed());
        server.live.counters.inc(shard, if resumed { Counter::TlsResumed } else { Counter::TlsFull });
        if io.alpn() != Some(b"h2") {
            return Err(ConnectError::Alpn);
        }
        named_after = connector.named_after(host).map(Box::from);
    }
    let terms = Terms {
        local: io.local_addr(),
        to,
        tls: server.tls.clone(),
        host: named_after,
        http2: view.spec.http2,
        limits: view.spec.limits,
        live: server.live.clone(),
    };
    match tokio::time::timeout(timeouts.connect, connection::begin(io, terms)).await {
        Ok(begun) => begun.map_err(ConnectError::Http2),
        Err(_) => Err(ConnectError::Timeout),
    }
}
