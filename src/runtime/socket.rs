//! A connected stream socket, TCP or unix, under one type.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix stream.
    Unix(UnixStream),
}

macro_rules! each {
    ($self:expr, $s:ident => $e:expr) => {
        match $self {
            Socket::Tcp($s) => $e,
            Socket::Unix($s) => $e,
        }
    };
}

impl Socket {
    /// Reads into `room`; registers the task when nothing is there.
    #[inline]
    pub fn poll_read_slice(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(room);
        match Pin::new(self).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether nothing has arrived on it and it is still open, as far as the kernel has said. For kept connections.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let read = each!(self, s => s.try_read(&mut byte));
        matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes what the kernel takes at once.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, s => s.try_write(bytes))
    }

    /// Our own address; `None` on unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(s) => s.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Waits for more bytes, or for the end of those that come: then `true`.
    pub async fn readable(&self) -> io::Result<bool> {
        Ok(each!(self, s => s.ready(Interest::READABLE).await)?.is_read_closed())
    }

    /// Shows the bytes that have come so far and leaves them where they are; none is the end of the stream. Should they
    /// not be enough (`None`), [`Socket::readable`] waits for more.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there or it was not enough; the connection is broken.
    pub fn look<T>(&self, room: &mut [u8], judge: impl FnOnce(&[u8]) -> Option<T>) -> io::Result<T> {
        each!(self, s => s.try_io(Interest::READABLE, || {
            let count = recv(s.as_raw_fd(), room, MsgFlags::MSG_PEEK)?;
            judge(room.get(..count).unwrap_or_default()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        }))
    }

    /// Asks for a reset instead of an orderly close when it is dropped.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(s) = self {
            let _ = socket2::SockRef::from(s).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), s => Pin::new(s).poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), s => Pin::new(s).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), s => Pin::new(s).poll_shutdown(cx))
    }
}
