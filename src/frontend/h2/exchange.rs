//! One request and its answer as HTTP/2 carries them: a stream's client side.

use std::cell::Ref;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use http::request::Parts;

use super::link::Link;
use super::websocket;
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::Head;
use crate::core::http::h1::{Reject, RequestFraming};
use crate::core::http::h2 as format;
use crate::core::termination::Cause;
use crate::listener::ClientIo;

/// A stream of an HTTP/2 connection, or no stream at all: the connection itself between requests.
#[derive(Debug)]
pub struct Exchange {
    link: Rc<Link>,
    request: Option<Box<Parts>>,
    /// The answer's head can still be sent with it.
    respond: Option<SendResponse<Bytes>>,
    /// The answer's body goes out by it.
    send: Option<SendStream<Bytes>>,
    recv: Option<RecvStream>,
    /// Received of the body and not yet taken.
    piece: Bytes,
    /// The request's body was read to its end.
    received: bool,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The answer was handed over to its end.
    sent: bool,
    /// Nothing more is to be said.
    over: bool,
    /// The key sent to the server, of a websocket.
    key: Option<websocket::Key>,
}

/// What a request's head came to.
#[derive(Debug)]
pub struct Received {
    /// How it is framed.
    pub framing: RequestFraming,
    /// What it counts for in statistics.
    pub bytes: u64,
}

impl Exchange {
    /// No stream.
    pub(super) fn none(link: Rc<Link>) -> Exchange {
        Exchange {
            link,
            request: None,
            respond: None,
            send: None,
            recv: None,
            piece: Bytes::new(),
            received: true,
            trailers: Vec::new(),
            sent: true,
            over: true,
            key: None,
        }
    }

    /// A request that has arrived.
    pub(super) fn new(link: Rc<Link>, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Exchange {
        let (parts, recv) = request.into_parts();
        Exchange {
            request: Some(Box::new(parts)),
            respond: Some(respond),
            recv: Some(recv),
            received: false,
            sent: false,
            over: false,
            ..Exchange::none(link)
        }
    }

    /// The transport below.
    pub(crate) fn transport(&self) -> Ref<'_, ClientIo> {
        self.link.io()
    }

    /// Whether the answer was handed over to its end.
    pub fn is_answered(&self) -> bool {
        self.sent
    }

    /// Puts the request's head into `head`, once.
    pub fn take_head(&mut self, head: &mut Head, limits: &HttpLimits) -> Result<Received, Reject> {
        let Some(request) = self.request.take() else {
            return Err(Reject::request(crate::core::http::h1::RejectReason::TargetMissing, 0));
        };
        let ended = self.recv.as_ref().is_none_or(RecvStream::is_end_stream);
        let protocol = request.extensions.get::<Protocol>().map(Protocol::as_str);
        match format::request::fill(head, &request, protocol, ended, limits) {
            Ok(framing) => {
                let bytes = head.arena().len() + 4 * head.field_count();
                Ok(Received { framing, bytes: bytes as u64 })
            }
            Err(reject) => {
                self.link.glitch();
                Err(reject)
            }
        }
    }

    /// A websocket's key for the server, made when first asked for.
    pub fn websocket_key(&mut self, rng: &mut fastrand::Rng) -> &websocket::Key {
        self.key.get_or_insert_with(|| websocket::key(rng))
    }

    /// Whether the server's 101 proves that it has seen the key.
    pub fn is_websocket_accepted(&self, head: &Head) -> bool {
        let answer = head.get(b"sec-websocket-accept").unwrap_or_default();
        self.key.as_ref().is_some_and(|key| websocket::is_accepted(key, answer))
    }

    /// Reads of the body; 0 is its end. What is read makes room for more of it to be sent.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if room.is_empty() {
            return Poll::Pending;
        }
        let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(0)) };
        while self.piece.is_empty() && !self.received {
            match recv.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => match recv.poll_trailers(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                    Poll::Ready(Ok(trailers)) => {
                        self.received = true;
                        if let Some(trailers) = trailers {
                            self.trailers = format::response::trailers_of_request(&trailers);
                        }
                    }
                },
            }
        }
        let n = self.piece.len().min(room.len());
        room[..n].copy_from_slice(&self.piece[..n]);
        self.piece.advance(n);
        if n > 0 {
            // It cannot be more than was received; and a stream that is over has no window left to care for.
            let _ = recv.flow_control().release_capacity(n);
        }
        Poll::Ready(Ok(n))
    }

    /// The request's trailers, once its body was read to its end.
    pub fn trailers(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.trailers
    }

    /// Says 1xx.
    pub fn send_interim(&mut self, head: &Head) -> io::Result<u64> {
        let (Some(respond), Some(response)) = (&mut self.respond, format::response::render(head, false)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let size = format::response::size(&response);
        respond.send_informational(response).map_err(|error| broken(&error))?;
        Ok(size)
    }

    /// Sends the answer's head. `ends` says that no body follows; `switching`, that a tunnel does. Says what it counts
    /// for in statistics.
    pub fn send_head(&mut self, head: &Head, ends: bool, switching: bool) -> io::Result<u64> {
        let Some(response) = format::response::render(head, switching) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let Some(mut respond) = self.respond.take() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let size = format::response::size(&response);
        match respond.send_response(response, ends) {
            Ok(send) => {
                self.send = Some(send);
                self.sent = ends;
                Ok(size)
            }
            Err(error) => {
                self.respond = Some(respond);
                Err(broken(&error))
            }
        }
    }

    /// Sends of the body as much as the client's windows and our own buffer have room for.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>], last: bool) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        send.reserve_capacity(total);
        let room = match send.capacity() {
            0 => match send.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(&error))),
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            },
            room => room,
        };
        let n = room.min(total);
        let mut data = Vec::with_capacity(n);
        for slice in slices {
            let part = (n - data.len()).min(slice.len());
            data.extend_from_slice(slice.get(..part).unwrap_or_default());
        }
        let ends = last && n == total;
        send.send_data(Bytes::from(data), ends).map_err(|error| broken(&error))?;
        self.sent |= ends;
        Poll::Ready(Ok(n))
    }

    /// The answer is over, unless the last piece said so already.
    pub fn end_body(&mut self, trailers: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        if self.sent {
            return Ok(());
        }
        let Some(send) = &mut self.send else { return Err(io::ErrorKind::NotConnected.into()) };
        let ended = match trailers {
            [] => send.send_data(Bytes::new(), true),
            trailers => send.send_trailers(format::response::trailers(trailers)),
        };
        ended.map_err(|error| broken(&error))?;
        self.sent = true;
        Ok(())
    }

    /// Whether the client has called the request off, or is gone.
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> bool {
        let reset = match (&mut self.send, &mut self.respond) {
            (Some(send), _) => send.poll_reset(cx),
            (None, Some(respond)) => respond.poll_reset(cx),
            (None, None) => return false,
        };
        match reset {
            Poll::Pending => false,
            // No more than that the client stopped listening for what is already sent.
            Poll::Ready(Ok(Reason::NO_ERROR)) if self.sent => false,
            Poll::Ready(_) => true,
        }
    }

    /// The request is over. An answer that is not is broken off, so that the client sees it.
    pub(crate) fn conclude(&mut self, cause: Cause) {
        if std::mem::replace(&mut self.over, true) || self.sent {
            return;
        }
        let reason = match cause {
            Cause::BadRequest(_) => Reason::PROTOCOL_ERROR,
            Cause::ClientClosed | Cause::ClientReset | Cause::ClientTimeout | Cause::Killed | Cause::Stopping => {
                Reason::CANCEL
            }
            _ => Reason::INTERNAL_ERROR,
        };
        match (&mut self.send, &mut self.respond) {
            (Some(send), _) => send.send_reset(reason),
            (None, Some(respond)) => respond.send_reset(reason),
            (None, None) => {}
        }
    }
}

/// What went wrong, as a stream tells client and transport apart by: `InvalidData` is the client's mistake.
fn broken(error: &h2::Error) -> io::Error {
    if error.is_reset() && error.is_library() {
        io::ErrorKind::InvalidData.into()
    } else {
        io::ErrorKind::ConnectionReset.into()
    }
}
