//! The client's transport: plain or TLS, under one type that can be polled.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::core::tls::TlsFacts;
use crate::runtime::socket::Socket;
use crate::tls::acceptor::Accepted;

/// A client's transport.
#[derive(Debug)]
pub enum ClientIo {
    /// Clear text.
    Plain(Socket),
    /// TLS, handshake done.
    Tls(Box<ClientTls>),
}

/// A client's TLS connection.
#[derive(Debug)]
pub struct ClientTls {
    stream: TlsStream<Socket>,
    facts: Rc<TlsFacts>,
}

impl ClientIo {
    /// A connection whose handshake is done, which took so many milliseconds since it was accepted.
    pub fn tls(accepted: Accepted<Socket>, handshake_ms: u32) -> ClientIo {
        let Accepted { stream, facts } = accepted;
        let facts = Rc::new(TlsFacts { handshake_ms, ..facts });
        ClientIo::Tls(Box::new(ClientTls { stream, facts }))
    }

    /// Whether it is TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, ClientIo::Tls(_))
    }

    /// Reads into `room`; 0 is the end of the stream.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            ClientIo::Plain(s) => s.poll_read_slice(cx, room),
            ClientIo::Tls(s) => {
                let mut buf = ReadBuf::new(room);
                match Pin::new(&mut s.stream).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
                    // A client that closes without close_notify is closed all the same; HTTP's own framing shows cuts.
                    Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// Reads into `buf`, whose room need not have been written to before; nothing is added at the end of the stream.
    pub fn poll_read_buf(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            ClientIo::Plain(s) => Pin::new(s).poll_read(cx, buf),
            ClientIo::Tls(s) => match Pin::new(&mut s.stream).poll_read(cx, buf) {
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }

    /// The protocol agreed on in the TLS handshake (RFC 7301), if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            ClientIo::Plain(_) => None,
            ClientIo::Tls(s) => s.stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Writes some of the slices, in order.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (ClientIo::Plain(s), [one]) => Pin::new(s).poll_write(cx, one),
            (ClientIo::Plain(s), _) => Pin::new(s).poll_write_vectored(cx, slices),
            (ClientIo::Tls(s), _) => Pin::new(&mut s.stream).poll_write_vectored(cx, slices),
        }
    }

    /// Sees to it that what was written has left this process.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ClientIo::Plain(_) => Poll::Ready(Ok(())),
            ClientIo::Tls(s) => Pin::new(&mut s.stream).poll_flush(cx),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ClientIo::Plain(s) => Pin::new(s).poll_shutdown(cx),
            ClientIo::Tls(s) => Pin::new(&mut s.stream).poll_shutdown(cx),
        }
    }

    /// The address the client connected to; `None` on unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            ClientIo::Plain(s) => s.local_addr(),
            ClientIo::Tls(s) => s.stream.get_ref().0.local_addr(),
        }
    }

    /// What is known of the client's TLS; `None` in clear text.
    #[inline]
    pub fn tls_facts(&self) -> Option<&Rc<TlsFacts>> {
        match self {
            ClientIo::Plain(_) => None,
            ClientIo::Tls(s) => Some(&s.facts),
        }
    }

    /// Asks for a reset when it is dropped, so that the client sees the answer as cut short.
    pub fn reset_on_close(&self) {
        match self {
            ClientIo::Plain(s) => s.reset_on_close(),
            ClientIo::Tls(s) => s.stream.get_ref().0.reset_on_close(),
        }
    }
}
