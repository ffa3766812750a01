//! The streams of one worker, for `show sess` and for ending them. No other thread looks in here: it asks by message.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Instant, SystemTime};

use slab::Slab;

use super::worker::BindContext;
use crate::core::fleet::spec::ServerId;
use crate::core::termination::Cause;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// TLS handshake.
    Handshake,
    /// Between requests, or before the first.
    Idle,
    /// Reading a request head.
    Request,
    /// Held because of a limit.
    Tarpit,
    /// Waiting for a server.
    Queue,
    /// Connecting.
    Connect,
    /// Waiting for an answer.
    Headers,
    /// Moving a body.
    Data,
    /// Upgraded.
    Tunnel,
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A connection that serves one request at a time.
    Connection,
    /// An HTTP/2 connection, whose requests have entries of their own.
    Carrier,
    /// A request on an HTTP/2 connection.
    Carried,
}

/// When a wait is given up, and whose silence it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When.
    pub at: Instant,
    /// The client's, else the server's.
    pub on_client: bool,
}

/// Bytes of a request's method and target that are kept for `show sess`.
const REQUEST_BYTES: usize = 63;

/// The beginning of a request's method and target, in so little room that it can be noted for every request.
#[derive(Debug, Clone, Copy)]
pub struct RequestText {
    len: u8,
    bytes: [u8; REQUEST_BYTES],
}

impl Default for RequestText {
    fn default() -> RequestText {
        RequestText { len: 0, bytes: [0; REQUEST_BYTES] }
    }
}

impl RequestText {
    /// `GET /path`, cut where the room ends.
    #[inline]
    pub fn new(method: &[u8], target: &[u8]) -> RequestText {
        let mut text = RequestText::default();
        for part in [method, b" ", target] {
            let from = usize::from(text.len);
            let n = part.len().min(REQUEST_BYTES - from);
            text.bytes[from..from + n].copy_from_slice(&part[..n]);
            text.len += n as u8;
        }
        text
    }

    /// As text; bytes that are none become question marks.
    pub fn to_text(self) -> String {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        bytes.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' }).collect()
    }
}

/// One connection, or one request on an HTTP/2 connection, seen from outside.
#[derive(Debug)]
pub struct StreamEntry {
    /// Unique in the process.
    pub id: u64,
    /// Since when.
    pub since: Instant,
    /// The same by the wall clock.
    pub began_at: SystemTime,
    /// The client.
    pub peer: Option<SocketAddr>,
    /// Where it connected to.
    pub destination: Option<SocketAddr>,
    /// The client side is TLS.
    pub tls: bool,
    /// Position of its frontend.
    pub frontend: usize,
    /// What it stands for.
    pub role: Cell<Role>,
    /// Requests on an HTTP/2 connection that are being served.
    pub carried: Cell<u32>,
    /// Mistakes of the client on an HTTP/2 connection.
    pub glitches: Cell<u32>,
    /// What it is doing.
    pub doing: Cell<Doing>,
    /// Since when it is doing that request, if any.
    pub request_since: Cell<Option<Instant>>,
    /// The server it is at, or only the backend.
    pub backend: Cell<Option<usize>>,
    /// The server it is at.
    pub server: Cell<Option<ServerId>>,
    /// Requests so far.
    pub requests: Cell<u32>,
    /// Retries of the current request.
    pub retries: Cell<u32>,
    /// Bytes of the current request from the client.
    pub bytes_in: Cell<u64>,
    /// Bytes of the current answer to the client.
    pub bytes_out: Cell<u64>,
    /// When what it waits for now is given up.
    pub expiry: Cell<Option<Expiry>>,
    /// The request's method and target.
    pub request: Cell<RequestText>,
    /// Set from outside: why the connection is to end.
    pub kill: Cell<Option<Cause>>,
    waker: RefCell<Option<Waker>>,
}

impl StreamEntry {
    /// Notes that a wait for the client (or else the server) is given up at `at`.
    #[inline]
    pub fn expires(&self, on_client: bool, at: Instant) {
        self.expiry.set(Some(Expiry { at, on_client }));
    }

    /// Remembers how to wake the connection's task; it stays the same for the task's life.
    pub fn set_waker(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Makes the connection look around.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Orders the connection to end, and says why.
    pub fn end(&self, cause: Cause) {
        self.kill.set(Some(cause));
        self.wake();
    }
}

/// All connections of a worker.
#[derive(Debug, Default)]
pub struct Registry {
    entries: RefCell<Slab<Rc<StreamEntry>>>,
    next: Cell<u64>,
}

/// A connection's place in the registry; left when dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Rc<Registry>,
    key: usize,
    /// The entry.
    pub entry: Rc<StreamEntry>,
}

impl Registry {
    /// Enters a connection that came in by `bind` on the worker of that position.
    pub fn enter(
        self: &Rc<Self>,
        worker: usize,
        bind: &BindContext,
        peer: Option<SocketAddr>,
        now: Instant,
        began_at: SystemTime,
    ) -> Registered {
        let serial = self.next.get();
        self.next.set(serial.wrapping_add(1));
        let entry = Rc::new(StreamEntry {
            id: ((worker as u64 + 1) << 40) | (serial & 0xff_ffff_ffff),
            since: now,
            began_at,
            peer,
            destination: bind.address,
            tls: bind.tls.is_some(),
            frontend: bind.frontend,
            role: Cell::new(Role::Connection),
            carried: Cell::new(0),
            glitches: Cell::new(0),
            doing: Cell::new(Doing::Idle),
            request_since: Cell::new(None),
            backend: Cell::new(None),
            server: Cell::new(None),
            requests: Cell::new(0),
            retries: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            expiry: Cell::new(None),
            request: Cell::new(RequestText::default()),
            kill: Cell::new(None),
            waker: RefCell::new(None),
        });
        let key = self.entries.borrow_mut().insert(entry.clone());
        Registered { registry: self.clone(), key, entry }
    }

    /// Looks at every connection.
    pub fn for_each(&self, mut look: impl FnMut(&Rc<StreamEntry>)) {
        // The look may end connections' work but not run them: entries leave only when their task is polled.
        for (_, entry) in self.entries.borrow().iter() {
            look(entry);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut().remove(self.key);
    }
}
