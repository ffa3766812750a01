//! Bytes both ways between a client and a server, until both have ended, one has failed, or one was silent too long.
//!
//! Nothing is read while something waits to be written, so who is slow holds back the other side and not our memory. A
//! session that moves much between two sockets in clear text moves it inside the kernel ([`crate::runtime::splice`]);
//! one that rests holds neither a buffer nor a pipe.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::backend::ServerIo;
use crate::core::termination::Cause;
use crate::frontend::client::Client;
use crate::frontend::registry::StreamEntry;
use crate::frontend::tunnel::End;
use crate::listener::ClientIo;
use crate::runtime::buffer::{BUFFER_BYTES, Buffer, BufferShelf};
use crate::runtime::clock;
use crate::runtime::deadline::Deadline;
use crate::runtime::socket::Socket;
use crate::runtime::splice::{PipeLease, PipeShelf};

/// Bytes a direction has moved before it may ask for a pipe: short sessions never do.
const SPLICE_AFTER_BYTES: u64 = 64 * 1024;
/// Rounds of reading and writing before the worker's other connections get their turn.
const ROUNDS: usize = 16;
/// How often the bytes moved are added to the counters while they flow.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// One end of a session.
pub(super) trait Side: End {
    /// The socket, if what is read from and written to it is what goes over the wire.
    fn plain(&self) -> Option<&Socket>;
    /// Asks for a reset when it is closed.
    fn reset_on_close(&self);
}

impl Side for Client {
    fn plain(&self) -> Option<&Socket> {
        match self {
            Client::H1(ClientIo::Plain(socket)) => Some(socket),
            Client::H1(ClientIo::Tls(_)) | Client::H2(_) => None,
        }
    }
    fn reset_on_close(&self) {
        Client::reset_on_close(self);
    }
}

impl Side for ServerIo {
    fn plain(&self) -> Option<&Socket> {
        match self {
            ServerIo::Plain(socket) => Some(socket),
            ServerIo::Tls(_) => None,
        }
    }
    fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }
}

/// Where a session gets its memory from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Supplies<'a> {
    pub buffers: &'a BufferShelf,
    pub pipes: &'a Rc<PipeShelf>,
}

/// How long each side may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// With the client.
    pub client: Duration,
    /// With the server.
    pub server: Duration,
    /// With the client, once it was told that the server has ended.
    pub client_fin: Option<Duration>,
    /// With the server, once it was told that the client has ended.
    pub server_fin: Option<Duration>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RelayEnd {
    /// Why.
    pub cause: Cause,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// What a direction cannot go on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    Reading,
    Writing,
}

/// Which side of a direction failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Reading,
    Writing,
}

/// One direction.
#[derive(Debug)]
struct Direction {
    buffer: Buffer,
    pipe: Option<PipeLease>,
    /// The kernel cannot splice these two.
    copies_only: bool,
    /// The reading side has ended.
    ended: bool,
    /// The writing side was told so.
    shut: bool,
    /// The writing side takes nothing any more.
    broken: bool,
    waits: Waits,
    read: u64,
    written: u64,
    /// Bytes read since the reading side last had nothing, and in the run before that.
    burst: usize,
    last_burst: usize,
}

impl Direction {
    fn new(buffer: Buffer, ended: bool) -> Direction {
        let read = buffer.len() as u64;
        Direction {
            buffer,
            pipe: None,
            copies_only: false,
            ended,
            shut: false,
            broken: false,
            waits: Waits::Nothing,
            read,
            written: 0,
            burst: 0,
            last_burst: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.shut || self.broken
    }

    /// Whether much is flowing.
    fn is_bulk(&self) -> bool {
        self.read >= SPLICE_AFTER_BYTES && self.burst.max(self.last_burst) >= BUFFER_BYTES
    }

    fn count_read(&mut self, n: usize) {
        self.read += n as u64;
        self.burst = self.burst.saturating_add(n);
    }

    /// Moves what can be moved now. Ready when this direction is over.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
        supplies: Supplies<'_>,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..ROUNDS {
            self.waits = Waits::Writing;
            match self.poll_write_out(cx, to) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Pending => return Poll::Pending,
            }
            if self.ended {
                return match to.poll_shutdown(cx) {
                    // That it fails says only that the other side knows already.
                    Poll::Ready(_) => {
                        self.shut = true;
                        self.rest(supplies);
                        Poll::Ready(Ok(()))
                    }
                    Poll::Pending => Poll::Pending,
                };
            }
            self.waits = Waits::Reading;
            match self.poll_read_in(cx, from, to, supplies) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(n)) => self.count_read(n),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reading)),
                Poll::Pending => {
                    self.last_burst = self.burst;
                    self.burst = 0;
                    self.rest(supplies);
                    return match to.poll_flush(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Broken::Writing)),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes everything that is held.
    fn poll_write_out(&mut self, cx: &mut Context<'_>, to: &mut impl Side) -> Poll<Result<(), Broken>> {
        loop {
            let wrote = match (&mut self.pipe, to.plain()) {
                (Some(pipe), Some(socket)) if pipe.held() > 0 => pipe.poll_drain(socket, cx),
                _ if self.buffer.is_empty() => return Poll::Ready(Ok(())),
                _ => match to.poll_write(cx, self.buffer.filled()) {
                    Poll::Ready(Ok(n)) => {
                        self.buffer.consume(n);
                        Poll::Ready(Ok(n))
                    }
                    other => other,
                },
            };
            match wrote {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Writing)),
                Poll::Ready(Ok(n)) => self.written += n as u64,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once, into a pipe or the buffer, both of which are empty.
    fn poll_read_in(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &impl Side,
        supplies: Supplies<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_bulk()
            && !self.copies_only
            && to.plain().is_some()
            && let Some(socket) = from.plain()
        {
            if self.pipe.is_none() {
                self.pipe = supplies.pipes.take();
            }
            if let Some(pipe) = &mut self.pipe {
                supplies.buffers.shelve(&mut self.buffer);
                match pipe.poll_fill(socket, cx) {
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                        self.copies_only = true;
                        self.pipe = None;
                    }
                    other => return other,
                }
            }
        }
        match self.is_bulk() {
            true => supplies.buffers.equip_large(&mut self.buffer),
            false => supplies.buffers.equip(&mut self.buffer),
        }
        let read = from.poll_read(cx, self.buffer.room());
        if let Poll::Ready(Ok(n)) = &read {
            self.buffer.filled_by(*n);
        }
        read
    }

    /// Gives back what is not needed while nothing flows.
    fn rest(&mut self, supplies: Supplies<'_>) {
        self.pipe = None;
        supplies.buffers.shelve(&mut self.buffer);
    }

    /// Takes it that nothing can be written any more.
    fn give_up(&mut self, supplies: Supplies<'_>) {
        self.broken = true;
        self.waits = Waits::Nothing;
        self.buffer.consume(usize::MAX);
        self.rest(supplies);
    }
}

/// When each side was last heard of, and until when it may be silent.
#[derive(Debug)]
struct Watch {
    patience: Patience,
    client_at: Instant,
    server_at: Instant,
    /// Bytes that had passed each side at those times.
    client_passed: u64,
    server_passed: u64,
}

impl Watch {
    fn new(patience: Patience, now: Instant) -> Watch {
        Watch { patience, client_at: now, server_at: now, client_passed: 0, server_passed: 0 }
    }

    /// Notes what has moved; whether anything has.
    fn note(&mut self, up: &Direction, down: &Direction, now: impl FnOnce() -> Instant) -> Option<Instant> {
        // Whatever a side gives or takes is a sign of life of that side.
        let (client, server) = (up.read + down.written, up.written + down.read);
        if (client, server) == (self.client_passed, self.server_passed) {
            return None;
        }
        let now = now();
        if client != self.client_passed {
            self.client_at = now;
        }
        if server != self.server_passed {
            self.server_at = now;
        }
        (self.client_passed, self.server_passed) = (client, server);
        Some(now)
    }

    /// Restarts a side's time: from now on it counts from its being told of the other one's end.
    fn restart(&mut self, client: bool, now: Instant) {
        if client {
            self.client_at = now;
        } else {
            self.server_at = now;
        }
    }

    /// Until when the client and the server may be silent; `None` for a side that is not waited for.
    fn due(&self, up: &Direction, down: &Direction) -> (Option<Instant>, Option<Instant>) {
        let p = &self.patience;
        let client = if down.shut { p.client_fin.unwrap_or(p.client) } else { p.client };
        let server = if up.shut { p.server_fin.unwrap_or(p.server) } else { p.server };
        let waits_for_client = up.waits == Waits::Reading || down.waits == Waits::Writing;
        let waits_for_server = up.waits == Waits::Writing || down.waits == Waits::Reading;
        (waits_for_client.then(|| self.client_at + client), waits_for_server.then(|| self.server_at + server))
    }
}

/// Runs a session to its end. `early` came from the client before the server was reached; `client_ended`: nothing comes
/// behind it. `count` is told from time to time, and in the end, how many bytes came from and went to the client so far.
#[allow(clippy::too_many_arguments)]
pub(super) async fn run(
    client: &mut Client,
    server: &mut impl Side,
    early: Buffer,
    client_ended: bool,
    supplies: Supplies<'_>,
    deadline: &mut Deadline,
    patience: Patience,
    entry: &StreamEntry,
    mut count: impl FnMut(u64, u64),
) -> RelayEnd {
    let mut up = Direction::new(early, client_ended);
    let mut down = Direction::new(Buffer::default(), false);
    let began = clock::now();
    let mut watch = Watch::new(patience, began);
    let mut counted_at = began;
    let cause = poll_fn(|cx| {
        if let Some(cause) = entry.kill.get() {
            return Poll::Ready(cause);
        }
        let told = (up.shut, down.shut);
        if !up.is_over() {
            match up.poll(cx, client, server, supplies) {
                Poll::Ready(Err(Broken::Reading)) => return Poll::Ready(Cause::ClientReset),
                // What the server has still to say is passed on before the end.
                Poll::Ready(Err(Broken::Writing)) => up.give_up(supplies),
                Poll::Ready(Ok(())) => up.waits = Waits::Nothing,
                Poll::Pending => {}
            }
        }
        if !down.is_over() {
            match down.poll(cx, server, client, supplies) {
                Poll::Ready(Err(Broken::Reading)) => return Poll::Ready(Cause::ServerClosed),
                Poll::Ready(Err(Broken::Writing)) => return Poll::Ready(Cause::ClientReset),
                Poll::Ready(Ok(())) => down.waits = Waits::Nothing,
                Poll::Pending => {}
            }
        }
        if down.shut && up.broken {
            return Poll::Ready(Cause::ServerClosed);
        }
        if up.shut && down.shut {
            return Poll::Ready(Cause::Done);
        }
        if let Some(now) = watch.note(&up, &down, clock::now) {
            entry.bytes_in.set(up.read);
            entry.bytes_out.set(down.written);
            if now.saturating_duration_since(counted_at) >= COUNT_EVERY {
                counted_at = now;
                count(up.read, down.written);
            }
        }
        for (was, is, client) in [(told.0, up.shut, false), (told.1, down.shut, true)] {
            if was != is {
                watch.restart(client, clock::now());
            }
        }
        let (client_due, server_due) = watch.due(&up, &down);
        let Some(due) = [client_due, server_due].into_iter().flatten().min() else { return Poll::Pending };
        deadline.set(due);
        entry.expires(Some(due) == client_due, due);
        deadline.poll_passed(cx).map(|()| match Some(due) == client_due {
            true => Cause::ClientTimeout,
            false => Cause::ServerTimeout,
        })
    })
    .await;
    match cause {
        // A reset is passed on as one: the other side must not take what it got for all there was.
        Cause::ClientReset => server.reset_on_close(),
        Cause::ServerClosed => client.reset_on_close(),
        _ => {}
    }
    count(up.read, down.written);
    for direction in [&mut up, &mut down] {
        direction.buffer.consume(usize::MAX);
        direction.rest(supplies);
    }
    RelayEnd { cause, bytes_in: up.read, bytes_out: down.written }
}
