//! Reading a request head.

use std::future::poll_fn;
use std::task::Poll;

use super::{End, Stream};
use crate::core::http::h1::{self, Parsed, Reject};
use crate::core::termination::{Cause, Phase};
use crate::frontend::connection::millis;
use crate::frontend::registry::RequestText;
use crate::runtime::clock;
use crate::runtime::shared::{BadMessage, WorkerReport};

/// Bytes of a refused message kept for `show errors`.
const KEPT_BYTES: usize = 2048;

impl Stream<'_> {
    /// Reads until the head is whole, and decides its framing.
    pub(super) async fn read_head(&mut self) -> Result<(), End> {
        if self.e.http2 {
            return self.take_head().await;
        }
        let limits = self.e.frontend().spec.limits;
        let request_timeout = self.e.frontend().spec.timeouts.request;
        let mut look = true;
        loop {
            if look {
                match h1::parse_request(self.connection.buffer.filled(), &mut self.e.scratch.request, &limits) {
                    Ok(Parsed::Complete { consumed }) => {
                        match h1::request_framing(&mut self.e.scratch.request) {
                            Ok(framing) => self.framing = framing,
                            Err(reject) => return Err(self.bad_request(&reject)),
                        }
                        let head = &self.e.scratch.request;
                        self.connection.place.entry.request.set(RequestText::new(head.method(), head.target()));
                        self.connection.buffer.consume(consumed);
                        self.e.bytes_in += consumed as u64;
                        let took = self.e.latest.saturating_duration_since(self.e.first_byte);
                        self.e.timers.request = Some(millis(took));
                        return Ok(());
                    }
                    Ok(Parsed::Partial) => {}
                    Err(reject) => return Err(self.bad_request(&reject)),
                }
                self.connection.deadline.set(self.e.first_byte + request_timeout);
                self.connection.place.entry.expires(true, self.e.first_byte + request_timeout);
            }
            if self.connection.buffer.room().is_empty() {
                let larger = (self.connection.buffer.capacity() * 2).min(limits.head_max_bytes + 1024);
                self.connection.buffer.grow(larger);
            }
            let before = self.connection.buffer.len();
            self.read_more().await?;
            self.e.latest = clock::now();
            let fresh = &self.connection.buffer.filled()[before..];
            // A head can only become whole with a line end; one that outgrows its limit is refused by the parser.
            look = memchr::memchr(b'\n', fresh).is_some()
                || self.connection.buffer.len() > limits.uri_max_bytes.min(limits.head_max_bytes)
                || before < 16;
        }
    }

    pub(super) async fn read_more(&mut self) -> Result<(), End> {
        let connection = &mut *self.connection;
        let shelf = &self.worker.shelf;
        let end = poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Some(cause));
            }
            shelf.equip(&mut connection.buffer);
            match connection.io.poll_read(cx, connection.buffer.room()) {
                Poll::Ready(Ok(0)) => {
                    connection.client_ended = true;
                    Poll::Ready(Some(Cause::ClientClosed))
                }
                Poll::Ready(Ok(n)) => {
                    connection.buffer.filled_by(n);
                    Poll::Ready(None)
                }
                Poll::Ready(Err(_)) => Poll::Ready(Some(Cause::ClientReset)),
                Poll::Pending => match connection.deadline.poll_passed(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Cause::ClientTimeout)),
                    Poll::Pending => Poll::Pending,
                },
            }
        })
        .await;
        match end {
            None => Ok(()),
            Some(cause) => Err(End::new(cause, Phase::Request)),
        }
    }

    /// A request that is not HTTP as we read it: kept for `show errors`, refused with the reject's status.
    pub(super) fn bad_request(&mut self, reject: &Reject) -> End {
        let bytes = self.connection.buffer.filled();
        let bad = BadMessage {
            at_us: self.e.accepted_us,
            frontend: self.e.frontend().spec.name.clone(),
            backend: None,
            client: self.connection.peer,
            bytes: bytes[..bytes.len().min(KEPT_BYTES)].to_vec(),
            position: reject.at,
            reason: reject.reason.to_string(),
        };
        self.worker.shared.report(WorkerReport::BadMessage(Box::new(bad)));
        self.e.understood = false;
        self.e.timers.request = None;
        self.close = true;
        End::new(Cause::BadRequest(reject.status), Phase::Request)
    }

    /// An answer that is not HTTP as we read it.
    pub(super) fn note_bad_answer(&self, reject: &Reject, bytes: &[u8]) {
        let names = self.e.backend().map(|b| {
            let server = self.e.server();
            (b.spec.name.clone(), server.map_or_else(Box::default, |s| s.spec.name.clone()))
        });
        let bad = BadMessage {
            at_us: clock::wall_us(),
            frontend: self.e.frontend().spec.name.clone(),
            backend: names,
            client: self.connection.peer,
            bytes: bytes[..bytes.len().min(KEPT_BYTES)].to_vec(),
            position: reject.at,
            reason: reject.reason.to_string(),
        };
        self.worker.shared.report(WorkerReport::BadMessage(Box::new(bad)));
    }
}
