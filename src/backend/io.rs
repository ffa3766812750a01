//! The server's transport: plain or TLS, under one type that can be polled.
//!
//! How a connection comes about is in `connect` and `handshake`; where it waits between requests in `pool`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::core::tls::{ServerTls, Sni};
use crate::runtime::socket::Socket;
use crate::tls::connector;

/// A connection to a server.
#[derive(Debug)]
pub enum ServerIo {
    /// Clear text.
    Plain(Socket),
    /// TLS, handshake done.
    Tls(Box<TlsIo>),
}

/// A TLS connection to a server, and what it was made for.
#[derive(Debug)]
pub struct TlsIo {
    stream: TlsStream<Socket>,
    settings: Arc<ServerTls>,
    /// The request's host that it was named after, if it was.
    host: Option<Box<str>>,
    /// What reading came to, if it was an error of TLS.
    refusal: Option<rustls::Error>,
}

/// Whether a kept connection may carry a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It may.
    Yes,
    /// It was named after another request's host, and may carry requests for that.
    OtherHost,
    /// The server is spoken to otherwise now.
    No,
}

impl TlsIo {
    /// A connection whose handshake is done, made as `settings` say. `host` is the request's host that it was named after,
    /// where the settings ask for that.
    pub fn new(stream: TlsStream<Socket>, settings: Arc<ServerTls>, host: Option<Box<str>>) -> TlsIo {
        TlsIo { stream, settings, host, refusal: None }
    }

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        connector::is_resumed(&self.stream)
    }

    /// What it was made from.
    pub fn settings(&self) -> &Arc<ServerTls> {
        &self.settings
    }

    /// The state of the protocol: version, suite, what was agreed on.
    pub fn session(&self) -> &rustls::ClientConnection {
        self.stream.get_ref().1
    }

    /// The error of TLS that reading came to, for instance an alert of the server. Under TLS 1.3 a server refuses our
    /// certificate only after the handshake has ended for us.
    pub fn refusal(&self) -> Option<&rustls::Error> {
        self.refusal.as_ref()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &polled
            && let Some(refusal) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            self.refusal = Some(refusal.clone());
        }
        polled
    }

    /// Says that nothing more will be written, as far as that is possible without waiting.
    fn say_farewell(&mut self) {
        let (socket, session) = self.stream.get_mut();
        session.send_close_notify();
        while session.wants_write() {
            match session.write_tls(&mut Hurried(socket)) {
                Ok(1..) => {}
                _ => return,
            }
        }
    }
}

/// Writes what the kernel takes at once.
struct Hurried<'a>(&'a Socket);

impl io::Write for Hurried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ServerIo {
    /// Reads into `room`; 0 is the end of the stream. A TLS server that closes without saying so is an error
    /// (`UnexpectedEof`): what it had begun to say may be cut short.
    #[inline]
    pub fn poll_read_slice(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            ServerIo::Plain(s) => s.poll_read_slice(cx, room),
            ServerIo::Tls(s) => {
                let mut buf = ReadBuf::new(room);
                match s.poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// Writes some of `bytes`. With TLS they may still be in this process afterwards: see [`ServerIo::poll_flush`].
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            ServerIo::Plain(s) => Pin::new(s).poll_write(cx, bytes),
            ServerIo::Tls(s) => Pin::new(&mut s.stream).poll_write(cx, bytes),
        }
    }

    /// Sees to it that what was written has left this process.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ServerIo::Plain(_) => Poll::Ready(Ok(())),
            ServerIo::Tls(s) => Pin::new(&mut s.stream).poll_flush(cx),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ServerIo::Plain(s) => Pin::new(s).poll_shutdown(cx),
            ServerIo::Tls(s) => Pin::new(&mut s.stream).poll_shutdown(cx),
        }
    }

    /// Whether nothing has arrived on it and it is still open, as far as the kernel has said. For kept connections.
    /// Session tickets that have arrived by now are taken in.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            ServerIo::Plain(s) => s.is_quiet(),
            ServerIo::Tls(s) => {
                let mut byte = [0u8; 1];
                s.poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    /// Whether a request for `host` may be sent on it to a server that is now spoken to as `settings` say.
    #[inline]
    pub fn fit(&self, settings: Option<&Arc<ServerTls>>, host: Option<&str>) -> Fit {
        match (self, settings) {
            (ServerIo::Plain(_), None) => Fit::Yes,
            (ServerIo::Tls(s), Some(settings)) if Arc::ptr_eq(&s.settings, settings) || s.settings == *settings => {
                let by_host = settings.sni == Sni::RequestHost;
                if !by_host || s.host.as_deref() == host { Fit::Yes } else { Fit::OtherHost }
            }
            _ => Fit::No,
        }
    }

    /// Closes it with a farewell to a TLS server (`close_notify`), so that it takes nothing for cut short. Not for
    /// connections on which something was.
    pub fn close(mut self) {
        if let ServerIo::Tls(s) = &mut self {
            s.say_farewell();
        }
    }

    /// TLS; `None` in clear text.
    pub fn tls(&self) -> Option<&TlsIo> {
        match self {
            ServerIo::Plain(_) => None,
            ServerIo::Tls(s) => Some(s),
        }
    }

    /// The protocol that was agreed on (ALPN), if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls()?.session().alpn_protocol()
    }

    /// The socket underneath.
    pub fn socket(&self) -> &Socket {
        match self {
            ServerIo::Plain(s) => s,
            ServerIo::Tls(s) => s.stream.get_ref().0,
        }
    }

    /// Our own address; `None` on unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket().local_addr()
    }
}

impl From<Socket> for ServerIo {
    fn from(socket: Socket) -> ServerIo {
        ServerIo::Plain(socket)
    }
}

impl AsyncRead for ServerIo {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ServerIo::Plain(s) => Pin::new(s).poll_read(cx, buf),
            ServerIo::Tls(s) => s.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerIo {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ServerIo::poll_write(self.get_mut(), cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ServerIo::Plain(s) => Pin::new(s).poll_write_vectored(cx, slices),
            ServerIo::Tls(s) => Pin::new(&mut s.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerIo::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ServerIo::poll_shutdown(self.get_mut(), cx)
    }
}
