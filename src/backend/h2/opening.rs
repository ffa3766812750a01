//! A connection on its way. It is opened by a task of its own: the request it was begun for may leave while others wait
//! for it too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::connection::{self, Connection, Place, Terms};
use crate::backend::connect::{self, ConnectError};
use crate::core::fleet::snapshot::{BackendView, ServerView};

/// A connection on its way, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Opening {
    outcome: RefCell<Option<Result<Rc<Connection>, Rc<ConnectError>>>>,
    wakers: RefCell<Vec<Waker>>,
    waiting: Cell<u32>,
    /// It is not to be kept: what it was begun for is over.
    unwanted: Cell<bool>,
}

impl Opening {
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

/// Opens a connection to a server, greeting included, within `timeouts.connect`.
pub(super) async fn open(
    view: Arc<BackendView>,
    server: ServerView,
    turn: usize,
) -> Result<Rc<Connection>, ConnectError> {
    let Some(to) = server.address.clone() else { return Err(ConnectError::Timeout) };
    let timeout = view.spec.timeouts.connect;
    let opened = tokio::time::timeout(timeout, async {
        let io = connect::connect(&to, &view.spec.source, turn, timeout).await?;
        let terms = Terms {
            local: io.local_addr(),
            to,
            http2: view.spec.http2,
            limits: view.spec.limits,
            live: server.live.clone(),
        };
        connection::begin(io, terms).await.map_err(ConnectError::Http2)
    });
    opened.await.unwrap_or(Err(ConnectError::Timeout))
}
