//! One request on a connection: its body goes out, its answer comes in. Dropping it before its end resets the stream
//! (`CANCEL`); the connection and what else is on it do not notice.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};

use super::connection::Place;

/// How a request on a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server refused it unread (`REFUSED_STREAM`): it may be sent again. RFC 9113 section 8.7.
    Refused,
    /// The connection was on its way out and the server has not looked at the request: it may be sent again.
    Unprocessed,
    /// The server gave it up.
    Reset(Reason),
    /// The connection broke.
    Lost,
    /// The server broke HTTP/2's rules.
    Broken,
}

impl Fault {
    /// An error of a request that was sent.
    fn of(error: &h2::Error) -> Fault {
        let reason = error.reason();
        if error.is_remote() && error.is_go_away() {
            Fault::Unprocessed
        } else if error.is_remote() && error.is_reset() {
            match reason {
                Some(Reason::REFUSED_STREAM) => Fault::Refused,
                reason => Fault::Reset(reason.unwrap_or(Reason::INTERNAL_ERROR)),
            }
        } else if error.is_io() {
            Fault::Lost
        } else {
            Fault::Broken
        }
    }

    /// An error before anything was sent: the connection takes no more, whatever ended it.
    pub(super) fn before_sending(error: &h2::Error) -> Fault {
        if error.is_go_away() || error.is_io() || error.is_reset() { Fault::Unprocessed } else { Fault::Broken }
    }

    /// In words, for logs.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Refused => "the server refused the stream",
            Fault::Unprocessed => "the server is closing the connection",
            Fault::Reset(_) => "the server reset the stream",
            Fault::Lost => "the connection broke",
            Fault::Broken => "the server broke the rules of HTTP/2",
        }
    }
}

/// The head of an answer.
#[derive(Debug)]
pub enum Answer {
    /// A 1xx: the real one is still to come.
    Interim(Response<()>),
    /// The real one.
    Final {
        /// Status and fields.
        head: Response<()>,
        /// Nothing follows.
        ended: bool,
    },
}

/// What comes behind the head.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the body. They count against the window until [`Exchange::release`].
    Data(Bytes),
    /// Fields behind the body; only the end follows.
    Trailers(HeaderMap),
    /// That was all.
    End,
}

/// One request on a connection.
#[derive(Debug)]
pub struct Exchange {
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    send: SendStream<Bytes>,
    /// The request is sent to its end, or the server takes no more.
    sent: bool,
    place: Place,
}

impl Exchange {
    pub(super) fn new(answer: ResponseFuture, send: SendStream<Bytes>, sent: bool, place: Place) -> Exchange {
        Exchange { answer: Some(answer), body: None, send, sent, place }
    }

    /// Its place on the connection.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The next head of an answer. Not to be asked again after the last.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Fault>> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        match ready!(answer.poll_informational(cx)) {
            Some(Ok(interim)) => return Poll::Ready(Ok(Answer::Interim(interim))),
            Some(Err(error)) => return Poll::Ready(Err(Fault::of(&error))),
            None => {}
        }
        match ready!(Pin::new(answer).poll(cx)) {
            Ok(answer) => {
                self.answer = None;
                let (parts, body) = answer.into_parts();
                let ended = body.is_end_stream();
                self.body = Some(body);
                Poll::Ready(Ok(Answer::Final { head: Response::from_parts(parts, ()), ended }))
            }
            Err(error) => Poll::Ready(Err(Fault::of(&error))),
        }
    }

    /// The next piece of the answer's body, once its head has come.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        let Some(body) = &mut self.body else { return Poll::Pending };
        loop {
            match ready!(body.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => return Poll::Ready(Ok(Piece::Data(data))),
                Some(Err(error)) => return Poll::Ready(Err(Fault::of(&error))),
                None => break,
            }
        }
        match ready!(body.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Ok(Piece::Trailers(trailers))),
            Ok(None) => Poll::Ready(Ok(Piece::End)),
            Err(error) => Poll::Ready(Err(Fault::of(&error))),
        }
    }

    /// Says that the client has taken so many bytes: the server may send as many more.
    pub fn release(&mut self, bytes: usize) {
        if let Some(body) = &mut self.body {
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }

    /// Sends from the front of `data` what the server takes now; `Ready` with how much. With `last` the request ends
    /// behind it. `Ready(None)`: the server takes no more of it.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes, last: bool) -> Poll<Option<usize>> {
        if self.sent {
            return Poll::Ready(None);
        }
        if data.is_empty() {
            return Poll::Ready(if last { self.end().then_some(0) } else { Some(0) });
        }
        self.send.reserve_capacity(data.len());
        let mut capacity = self.send.capacity();
        if capacity == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(n)) => capacity = n,
                Some(Err(_)) | None => {
                    self.sent = true;
                    return Poll::Ready(None);
                }
            }
        }
        let now = data.split_to(capacity.min(data.len()));
        let (bytes, ends) = (now.len(), last && data.is_empty());
        if self.send.send_data(now, ends).is_err() {
            self.sent = true;
            return Poll::Ready(None);
        }
        self.sent = ends;
        Poll::Ready(Some(bytes))
    }

    /// Ends the request where it is. False when the server takes no more of it.
    pub fn end(&mut self) -> bool {
        let good = !self.sent && self.send.send_data(Bytes::new(), true).is_ok();
        self.sent = true;
        good
    }

    /// Ends the request with fields behind its body.
    pub fn end_with(&mut self, trailers: HeaderMap) -> bool {
        let good = !self.sent && self.send.send_trailers(trailers).is_ok();
        self.sent = true;
        good
    }

    /// Ready once the server has ended the stream: it takes no more of the request.
    pub fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sent {
            return Poll::Ready(());
        }
        let _ = ready!(self.send.poll_reset(cx));
        self.sent = true;
        Poll::Ready(())
    }

    /// Whether the request is sent to its end, or the server takes no more of it.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Gives it up with this reason; dropping it does so with `CANCEL`.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }
}
