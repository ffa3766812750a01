//! What the streams of a connection share with the task that drives it: the transport, and the account of the client.

use std::cell::{Cell, Ref, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::http::h2::{Conduct, FrameWatch, Http2Limits, Offence, Seen};
use crate::frontend::registry::StreamEntry;
use crate::listener::ClientIo;
use crate::runtime::buffer::Buffer;
use crate::runtime::clock;
use crate::runtime::deadline::Deadline;

/// Deadlines kept for the connection's next streams.
const SPARES_MAX: usize = 32;

/// What the streams of a connection share.
#[derive(Debug)]
pub(super) struct Link {
    io: RefCell<ClientIo>,
    /// Bytes that were read before it was known that this is HTTP/2.
    early: RefCell<Buffer>,
    conduct: RefCell<Conduct>,
    from_client: RefCell<FrameWatch>,
    to_client: RefCell<FrameWatch>,
    offence: Cell<Option<Offence>>,
    /// Since when a head has been on its way, and how many frames had begun then.
    midway_since: Cell<Option<Instant>>,
    frames: Cell<u64>,
    /// The connection's entry, which knows how many streams are open.
    entry: Rc<StreamEntry>,
    /// When a stream last began or ended.
    pub latest: Cell<Instant>,
    /// A deadline costs a timer; one that was used by a stream before is still armed, and waits for the next.
    spares: RefCell<Vec<Deadline>>,
}

impl Link {
    /// A connection whose first bytes, if any were read, are in `early`.
    pub fn new(io: ClientIo, early: Buffer, limits: Http2Limits, entry: Rc<StreamEntry>, now: Instant) -> Rc<Link> {
        Rc::new(Link {
            io: RefCell::new(io),
            early: RefCell::new(early),
            conduct: RefCell::new(Conduct::new(limits, now)),
            from_client: RefCell::new(FrameWatch::of_client()),
            to_client: RefCell::new(FrameWatch::of_server()),
            offence: Cell::new(None),
            midway_since: Cell::new(None),
            frames: Cell::new(0),
            entry,
            latest: Cell::new(now),
            spares: RefCell::new(Vec::new()),
        })
    }

    /// The transport, for what is known of it.
    pub fn io(&self) -> Ref<'_, ClientIo> {
        self.io.borrow()
    }

    /// Reads and throws away, for after the end.
    pub fn poll_discard(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.borrow_mut().poll_read(cx, room)
    }

    /// Requests that are being served.
    pub fn open(&self) -> u32 {
        self.entry.carried.get()
    }

    /// What the client did too much of.
    pub fn offence(&self) -> Option<Offence> {
        self.offence.get()
    }

    /// Since when a head has been on its way.
    pub fn midway_since(&self) -> Option<Instant> {
        self.midway_since.get()
    }

    /// Whether the client has sent anything at all.
    pub fn has_spoken(&self) -> bool {
        self.from_client.borrow().total() > 0
    }

    /// Mistakes of the client so far.
    pub fn glitches(&self) -> u32 {
        self.conduct.borrow().glitches()
    }

    /// The client made a mistake that only its request showed.
    pub fn glitch(&self) {
        self.conduct.borrow_mut().glitch();
        self.judge();
    }

    /// A stream begins: its deadline, due at `due`.
    pub fn enter(&self, due: Instant) -> Deadline {
        self.entry.carried.set(self.open() + 1);
        match self.spares.borrow_mut().pop() {
            Some(mut deadline) => {
                deadline.set(due);
                deadline
            }
            None => Deadline::new(due),
        }
    }

    /// A stream is over.
    pub fn leave(&self, deadline: Option<Deadline>, served: bool, now: Instant) {
        self.entry.carried.set(self.open().saturating_sub(1));
        self.latest.set(now);
        if served {
            self.conduct.borrow_mut().served();
        }
        let mut spares = self.spares.borrow_mut();
        if let Some(deadline) = deadline
            && spares.len() < SPARES_MAX
        {
            spares.push(deadline);
        }
    }

    fn judge(&self) {
        if self.offence.get().is_none() {
            self.offence.set(self.conduct.borrow().verdict());
        }
    }

    fn observe_client(&self, bytes: &[u8]) {
        let mut seen = Seen::default();
        let mut watch = self.from_client.borrow_mut();
        watch.observe(bytes, &mut seen);
        match (watch.is_midway(), self.midway_since.get()) {
            (false, Some(_)) => self.midway_since.set(None),
            (true, None) => self.midway_since.set(Some(clock::now())),
            // Others have come since: a busy client is not a slow one.
            (true, Some(_)) if watch.frames() != self.frames.get() => self.midway_since.set(Some(clock::now())),
            _ => {}
        }
        self.frames.set(watch.frames());
        if seen != Seen::default()
            && let Some(offence) = self.conduct.borrow_mut().received(&seen, clock::now)
        {
            self.offence.set(Some(offence));
        }
    }

    fn observe_server(&self, bytes: &[u8], seen: &mut Seen) {
        self.to_client.borrow_mut().observe(bytes, seen);
    }

    fn account(&self, seen: &Seen) {
        if *seen != Seen::default() {
            self.conduct.borrow_mut().sent(seen);
            self.judge();
        }
    }
}

/// The transport as the `h2` crate drives it.
#[derive(Debug)]
pub(super) struct Wire(pub Rc<Link>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let link = &*self.0;
        if link.offence.get().is_some() {
            // Nothing more is read of a client that is on its way out. The connection's task looks at the offence as
            // soon as this call is over.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let mut early = link.early.borrow_mut();
        if early.is_empty() {
            match link.io.borrow_mut().poll_read_buf(cx, buf) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        } else {
            let n = early.len().min(buf.remaining());
            buf.put_slice(early.filled().get(..n).unwrap_or_default());
            early.consume(n);
            if early.is_empty() {
                *early = Buffer::default();
            }
        }
        link.observe_client(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &*self.0;
        let written = link.io.borrow_mut().poll_write(cx, slices);
        if let Poll::Ready(Ok(written)) = written {
            let mut left = written;
            let mut seen = Seen::default();
            for slice in slices {
                let n = left.min(slice.len());
                link.observe_server(slice.get(..n).unwrap_or_default(), &mut seen);
                left -= n;
            }
            link.account(&seen);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.borrow_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.borrow_mut().poll_shutdown(cx)
    }
}
