//! The client's side of a stream: a connection of its own (HTTP/1), or one stream among others on a connection (HTTP/2).
//!
//! Both read and write alike. What is read is the connection's bytes in HTTP/1, where the body's framing is still to be
//! taken off, and the body alone in HTTP/2; what is written, likewise. Heads, ends and trailers, which HTTP/1 has in its
//! bytes, have methods of their own in [`Exchange`].

use std::cell::Ref;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::h2::Exchange;
use crate::core::tls::TlsFacts;
use crate::listener::ClientIo;

/// A client as a stream sees it.
#[derive(Debug)]
pub enum Client {
    /// The connection is the stream's alone as long as the request lasts.
    H1(ClientIo),
    /// One of many on its connection.
    H2(Box<Exchange>),
}

/// The transport below, for what is known of it.
#[derive(Debug)]
pub enum Transport<'a> {
    /// The stream's own.
    Own(&'a ClientIo),
    /// Shared with other streams. Not to be held over a wait.
    Shared(Ref<'a, ClientIo>),
}

impl Deref for Transport<'_> {
    type Target = ClientIo;

    fn deref(&self) -> &ClientIo {
        match self {
            Transport::Own(io) => io,
            Transport::Shared(io) => io,
        }
    }
}

impl Client {
    /// Whether it speaks HTTP/2.
    #[inline]
    pub fn is_h2(&self) -> bool {
        matches!(self, Client::H2(_))
    }

    /// The HTTP/2 stream, if it is one.
    #[inline]
    pub fn h2(&mut self) -> Option<&mut Exchange> {
        match self {
            Client::H1(_) => None,
            Client::H2(exchange) => Some(exchange),
        }
    }

    /// The transport below.
    pub fn transport(&self) -> Transport<'_> {
        match self {
            Client::H1(io) => Transport::Own(io),
            Client::H2(exchange) => Transport::Shared(exchange.transport()),
        }
    }

    /// Whether it is TLS.
    #[inline]
    pub fn is_tls(&self) -> bool {
        match self {
            Client::H1(io) => io.is_tls(),
            Client::H2(exchange) => exchange.transport().is_tls(),
        }
    }

    /// What is known of the client's TLS; `None` in clear text.
    #[inline]
    pub fn tls_facts(&self) -> Option<Rc<TlsFacts>> {
        match self {
            Client::H1(io) => io.tls_facts().cloned(),
            Client::H2(exchange) => exchange.transport().tls_facts().cloned(),
        }
    }

    /// The address the client connected to; `None` on unix sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.transport().local_addr()
    }

    /// Reads into `room`; 0 is the end: of the connection in HTTP/1, of the body in HTTP/2.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Client::H1(io) => io.poll_read(cx, room),
            Client::H2(exchange) => exchange.poll_read(cx, room),
        }
    }

    /// Writes some of the slices, in order. `last` says that the body ends with them; HTTP/1 does not care.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>], last: bool) -> Poll<io::Result<usize>> {
        match self {
            Client::H1(io) => io.poll_write(cx, slices),
            Client::H2(exchange) => exchange.poll_write(cx, slices, last),
        }
    }

    /// Sees to it that what was written has left this process; in HTTP/2 the connection's own task does.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Client::H1(io) => io.poll_flush(cx),
            Client::H2(_) => Poll::Ready(Ok(())),
        }
    }

    /// The body is over; trailers of HTTP/1 stand in the bytes written already.
    #[inline]
    pub fn end_body(&mut self, trailers: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        match self {
            Client::H1(_) => Ok(()),
            Client::H2(exchange) => exchange.end_body(trailers),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Client::H1(io) => io.poll_shutdown(cx),
            Client::H2(exchange) => Poll::Ready(exchange.end_body(&[])),
        }
    }

    /// Asks for a reset when it is dropped, so that the client sees the answer as cut short. An HTTP/2 stream that is
    /// not ended is reset in any case.
    pub fn reset_on_close(&self) {
        if let Client::H1(io) = self {
            io.reset_on_close();
        }
    }
}
