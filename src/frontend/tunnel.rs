//! An upgraded connection: bytes both ways until both sides are done. An idle tunnel holds no buffer.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::Client;
use super::registry::StreamEntry;
use crate::backend::ServerIo;
use crate::core::termination::Cause;
use crate::runtime::buffer::{Buffer, BufferShelf};
use crate::runtime::clock;
use crate::runtime::deadline::Deadline;

/// One end of a tunnel or a session.
pub(super) trait End {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl End for Client {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Client::poll_read(self, cx, room)
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Client::poll_write(self, cx, &[IoSlice::new(bytes)], false)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Client::poll_flush(self, cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Client::poll_shutdown(self, cx)
    }
}

impl End for ServerIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.poll_read_slice(cx, room) {
            // Many TLS servers close without saying so (close_notify), and what is spoken here has ends of its own.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            polled => polled,
        }
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ServerIo::poll_write(self, cx, bytes)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerIo::poll_flush(self, cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerIo::poll_shutdown(self, cx)
    }
}

/// One direction.
#[derive(Debug)]
struct Direction {
    buffer: Buffer,
    ended: bool,
    shut: bool,
    moved: u64,
}

/// Which side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Reading,
    Writing,
}

impl Direction {
    fn new(buffer: Buffer) -> Direction {
        Direction { buffer, ended: false, shut: false, moved: 0 }
    }

    fn is_over(&self) -> bool {
        self.shut
    }

    /// Moves what can be moved now. Ready when this direction is over.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl End,
        to: &mut impl End,
        shelf: &BufferShelf,
    ) -> Poll<Result<(), Broken>> {
        // A tunnel that always has bytes must let the worker's other connections run: so many rounds, then a yield.
        for _ in 0..16 {
            while !self.buffer.is_empty() {
                match to.poll_write(cx, self.buffer.filled()) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Writing)),
                    Poll::Ready(Ok(n)) => {
                        self.buffer.consume(n);
                        self.moved += n as u64;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.ended {
                if self.shut {
                    return Poll::Ready(Ok(()));
                }
                return match to.poll_shutdown(cx) {
                    Poll::Ready(_) => {
                        self.shut = true;
                        shelf.shelve(&mut self.buffer);
                        Poll::Ready(Ok(()))
                    }
                    Poll::Pending => Poll::Pending,
                };
            }
            shelf.equip(&mut self.buffer);
            match from.poll_read(cx, self.buffer.room()) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(n)) => self.buffer.filled_by(n),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reading)),
                Poll::Pending => {
                    shelf.shelve(&mut self.buffer);
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
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelEnd {
    /// Why.
    pub cause: Cause,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// Runs a tunnel to its end. `early_client` and `early_server` are bytes that arrived behind the heads.
#[allow(clippy::too_many_arguments)]
pub async fn run(
    client: &mut Client,
    server: &mut ServerIo,
    early_client: Buffer,
    early_server: Buffer,
    shelf: &BufferShelf,
    deadline: &mut Deadline,
    idle: Duration,
    entry: &StreamEntry,
) -> TunnelEnd {
    let mut up = Direction::new(early_client);
    let mut down = Direction::new(early_server);
    let due = clock::now() + idle;
    deadline.set(due);
    entry.expires(true, due);
    let mut seen = 0;
    let cause = poll_fn(|cx| {
        if let Some(cause) = entry.kill.get() {
            return Poll::Ready(cause);
        }
        let over = |direction: Poll<Result<(), Broken>>, reads_client: bool| match direction {
            Poll::Ready(Err(broken)) => {
                let client_broke = (broken == Broken::Reading) == reads_client;
                Some(if client_broke { Cause::ClientReset } else { Cause::ServerClosed })
            }
            _ => None,
        };
        let upward = if up.is_over() { Poll::Ready(Ok(())) } else { up.poll(cx, client, server, shelf) };
        if let Some(cause) = over(upward, true) {
            return Poll::Ready(cause);
        }
        let downward = if down.is_over() { Poll::Ready(Ok(())) } else { down.poll(cx, server, client, shelf) };
        if let Some(cause) = over(downward, false) {
            return Poll::Ready(cause);
        }
        if up.is_over() && down.is_over() {
            return Poll::Ready(Cause::Done);
        }
        let moved = up.moved + down.moved;
        if moved != seen {
            seen = moved;
            entry.bytes_in.set(up.moved);
            entry.bytes_out.set(down.moved);
            let due = clock::now() + idle;
            deadline.set(due);
            entry.expires(true, due);
        }
        match deadline.poll_passed(cx) {
            Poll::Ready(()) => Poll::Ready(Cause::ClientTimeout),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let end = TunnelEnd { cause, bytes_in: up.moved, bytes_out: down.moved };
    for mut buffer in [up.buffer, down.buffer] {
        buffer.consume(usize::MAX);
        shelf.shelve(&mut buffer);
    }
    end
}
