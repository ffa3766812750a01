//! Moving bytes from one socket to another inside the kernel, through a pipe (`splice(2)`).
//!
//! A pipe is borrowed from the worker's [`PipeShelf`] for as long as bytes flow and goes back when it is empty: who is
//! idle has none. When all are lent, bytes are copied instead. When it pays to ask for one is not decided here.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{OFlag, SpliceFFlags, splice};
use tokio::io::Interest;

use super::socket::Socket;
pub use crate::config::model::PIPES_PER_WORKER as PIPES_MAX;

/// Bytes asked for at a time: what a pipe holds unless it was made larger or smaller (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct PipeShelf {
    waiting: RefCell<Vec<Pipe>>,
    open: Cell<usize>,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A borrowed pipe, and how many bytes are in it. Dropped empty it goes back to its shelf; with bytes in it, it is
/// closed, and they are lost.
#[derive(Debug)]
pub struct PipeLease {
    pipe: Option<Pipe>,
    held: usize,
    shelf: Rc<PipeShelf>,
}

impl PipeShelf {
    /// An empty pipe, unless as many as may be are open or there are no descriptors for one.
    pub fn take(self: &Rc<Self>) -> Option<PipeLease> {
        let waiting = self.waiting.borrow_mut().pop();
        let pipe = match waiting {
            Some(pipe) => pipe,
            None if self.open.get() >= PIPES_MAX => return None,
            None => {
                let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
                self.open.set(self.open.get() + 1);
                Pipe { reader, writer }
            }
        };
        Some(PipeLease { pipe: Some(pipe), held: 0, shelf: self.clone() })
    }

    /// How many are open, and how many of them wait to be lent.
    pub fn count(&self) -> (usize, usize) {
        (self.open.get(), self.waiting.borrow().len())
    }
}

impl PipeLease {
    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes bytes from a socket; 0 is its end. Call it on an empty pipe only: of a full one the kernel says the same as
    /// of a socket that has nothing.
    ///
    /// # Errors
    /// Those of reading the socket; `InvalidInput` when the kernel cannot do this with it.
    pub fn poll_fill(&mut self, from: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) };
        let filled = poll_move(from, Interest::READABLE, cx, |socket| move_bytes(socket, pipe.writer.as_fd()));
        if let Poll::Ready(Ok(n)) = &filled {
            self.held += n;
        }
        filled
    }

    /// Gives bytes to a socket.
    ///
    /// # Errors
    /// Those of writing to the socket.
    pub fn poll_drain(&mut self, to: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) };
        let drained = poll_move(to, Interest::WRITABLE, cx, |socket| move_bytes(pipe.reader.as_fd(), socket));
        if let Poll::Ready(Ok(n)) = &drained {
            self.held = self.held.saturating_sub(*n);
        }
        drained
    }
}

impl Drop for PipeLease {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        if self.held == 0 {
            self.shelf.waiting.borrow_mut().push(pipe);
        } else {
            self.shelf.open.set(self.shelf.open.get().saturating_sub(1));
        }
    }
}

fn move_bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    splice(from, None, to, None, PIPE_BYTES, flags).map_err(io::Error::from)
}

/// Does it once the socket is ready for it, and tells the runtime when it turns out not to be.
fn poll_move(
    socket: &Socket,
    interest: Interest,
    cx: &mut Context<'_>,
    mut bytes: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        let tried = match socket {
            Socket::Tcp(s) => {
                ready!(if interest.is_readable() { s.poll_read_ready(cx) } else { s.poll_write_ready(cx) })?;
                s.try_io(interest, || bytes(s.as_fd()))
            }
            Socket::Unix(s) => {
                ready!(if interest.is_readable() { s.poll_read_ready(cx) } else { s.poll_write_ready(cx) })?;
                s.try_io(interest, || bytes(s.as_fd()))
            }
        };
        match tried {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (far, Socket::Tcp(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn bytes_go_through_a_pipe_and_the_pipe_goes_back() {
        let shelf = Rc::new(PipeShelf::default());
        let ((mut client, from), (mut server, to)) = (pair().await, pair().await);
        client.write_all(b"hello").await.unwrap();
        let mut pipe = shelf.take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(&from, cx)).await.unwrap(), 5);
        assert_eq!(pipe.held(), 5);
        assert_eq!(poll_fn(|cx| pipe.poll_drain(&to, cx)).await.unwrap(), 5);
        let mut got = [0; 5];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
        client.shutdown().await.unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(&from, cx)).await.unwrap(), 0);
        drop(pipe);
        assert_eq!(shelf.count(), (1, 1));
        drop(shelf.take());
        assert_eq!(shelf.count(), (1, 1), "the same one is lent again");
    }

    #[tokio::test]
    async fn a_pipe_with_bytes_in_it_is_not_lent_again() {
        let shelf = Rc::new(PipeShelf::default());
        let (mut client, from) = pair().await;
        client.write_all(b"lost").await.unwrap();
        let mut pipe = shelf.take().unwrap();
        poll_fn(|cx| pipe.poll_fill(&from, cx)).await.unwrap();
        drop(pipe);
        assert_eq!(shelf.count(), (0, 0));
    }

    #[tokio::test]
    async fn no_more_are_opened_than_may_be() {
        let shelf = Rc::new(PipeShelf::default());
        let all: Vec<_> = (0..PIPES_MAX).map(|_| shelf.take().unwrap()).collect();
        assert!(shelf.take().is_none());
        drop(all);
        assert_eq!(shelf.count(), (PIPES_MAX, PIPES_MAX));
        assert!(shelf.take().is_some());
    }

    #[tokio::test]
    async fn a_socket_with_nothing_to_give_is_waited_for() {
        let shelf = Rc::new(PipeShelf::default());
        let (mut client, from) = pair().await;
        let mut pipe = shelf.take().unwrap();
        let first = poll_fn(|cx| Poll::Ready(pipe.poll_fill(&from, cx).is_pending())).await;
        assert!(first);
        client.write_all(b"x").await.unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(&from, cx)).await.unwrap(), 1);
        let (_, to) = pair().await;
        let _ = poll_fn(|cx| pipe.poll_drain(&to, cx)).await;
    }
}
