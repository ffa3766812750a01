//! Accepting, and what makes the kernel refuse or take in clients.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::bind::OpenListener;
use super::door::Arrived;
use crate::runtime::socket::Socket;

/// A listening socket on a worker's runtime.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream.
    Unix(UnixListener),
}

impl Acceptor {
    /// Registers an open listener with the runtime of the calling worker.
    pub fn register(listener: OpenListener) -> io::Result<Acceptor> {
        Ok(match listener {
            OpenListener::Tcp(l) => Acceptor::Tcp(TcpListener::from_std(l)?),
            OpenListener::Unix(l) => Acceptor::Unix(UnixListener::from_std(l)?),
        })
    }

    /// The next connection, or an error, which may be of that connection alone ([`is_of_one_connection`]).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arrived>> {
        Poll::Ready(match self {
            Acceptor::Tcp(l) => ready!(l.poll_accept(cx)).map(|(s, peer)| (Socket::Tcp(s), Some(canonical(peer)))),
            Acceptor::Unix(l) => ready!(l.poll_accept(cx)).map(|(s, _)| (Socket::Unix(s), None)),
        })
    }

    /// A connection that the kernel has already taken in; `WouldBlock` when there is none.
    pub fn accept_now(&self) -> io::Result<Arrived> {
        let (socket, peer) = self.raw().accept()?;
        socket.set_nonblocking(true)?;
        Ok(match self {
            Acceptor::Tcp(_) => (Socket::Tcp(TcpStream::from_std(socket.into())?), peer.as_socket().map(canonical)),
            Acceptor::Unix(_) => (Socket::Unix(UnixStream::from_std(socket.into())?), None),
        })
    }

    /// Makes the kernel take in as few as it can, so that [`Acceptor::accept_now`] comes to an end.
    pub fn hold_back(&self) -> io::Result<()> {
        match self {
            Acceptor::Tcp(_) => self.raw().listen(0),
            Acceptor::Unix(_) => Ok(()),
        }
    }

    /// Makes the kernel refuse clients; the address stays ours. On unix sockets nothing happens.
    pub fn refuse(&self) -> io::Result<()> {
        match self {
            Acceptor::Tcp(_) => self.raw().shutdown(Shutdown::Read),
            Acceptor::Unix(_) => Ok(()),
        }
    }

    /// Makes the kernel take in clients again.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        match self {
            Acceptor::Tcp(_) => self.raw().listen(backlog.min(i32::MAX as u32) as i32),
            Acceptor::Unix(_) => Ok(()),
        }
    }

    /// The same socket, registered anew. The runtime never forgets that a socket was shut down, though the kernel lets it
    /// listen again: it would be taken for ready for ever, and its worker would spin.
    pub fn renewed(&self) -> io::Result<Acceptor> {
        let socket = self.raw().try_clone()?;
        Acceptor::register(match self {
            Acceptor::Tcp(_) => OpenListener::Tcp(socket.into()),
            Acceptor::Unix(_) => OpenListener::Unix(socket.into()),
        })
    }

    fn raw(&self) -> SockRef<'_> {
        match self {
            Acceptor::Tcp(l) => SockRef::from(l),
            Acceptor::Unix(l) => SockRef::from(l),
        }
    }
}

fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Whether an error concerns the connection being accepted rather than this process.
pub fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || matches!(
            error.raw_os_error(),
            Some(
                libc::EPROTO | libc::EPERM | libc::ENETDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN
            )
        )
}
