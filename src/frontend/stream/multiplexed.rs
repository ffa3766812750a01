//! What differs for a client that speaks HTTP/2: its head has been read already, and answers made here are not bytes.

use std::future::poll_fn;
use std::task::Poll;

use super::{End, Stream};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::Known;
use crate::core::http::h1::{self, Body, Parsed};
use crate::core::termination::{Cause, Phase};
use crate::frontend::connection::millis;
use crate::frontend::registry::RequestText;

/// Longest body that is waited for, in no time at all, to travel with the head.
const PREFETCH_MAX_BYTES: u64 = 8192;

impl Stream<'_> {
    /// Takes the head that came with the stream.
    pub(super) async fn take_head(&mut self) -> Result<(), End> {
        let limits = self.e.frontend().spec.limits;
        let Some(exchange) = self.connection.io.h2() else {
            return Err(End::new(Cause::Internal, Phase::Request));
        };
        let received = match exchange.take_head(&mut self.e.scratch.request, &limits) {
            Ok(received) => received,
            Err(reject) => return Err(self.bad_request(&reject)),
        };
        self.framing = received.framing;
        self.e.bytes_in += received.bytes;
        let head = &self.e.scratch.request;
        self.takes_trailers = head.known(Known::Te).is_some();
        self.connection.place.entry.request.set(RequestText::new(head.method(), head.target()));
        self.e.timers.request = Some(millis(self.e.latest.saturating_duration_since(self.e.first_byte)));
        if poll_fn(|cx| Poll::Ready(exchange.poll_left(cx))).await {
            // Called off before anybody looked at it: no server is to be troubled.
            return Err(End::new(Cause::ClientReset, Phase::Request));
        }
        if matches!(self.framing.body, Body::Length(n) if n <= PREFETCH_MAX_BYTES) {
            self.prefetch().await;
        }
        Ok(())
    }

    /// Puts what has come of the body into the buffer, where a small one is taken whole.
    async fn prefetch(&mut self) {
        let connection = &mut *self.connection;
        let shelf = &self.worker.shelf;
        poll_fn(|cx| {
            shelf.equip(&mut connection.buffer);
            match connection.io.poll_read(cx, connection.buffer.room()) {
                Poll::Ready(Ok(n @ 1..)) => connection.buffer.filled_by(n),
                // Whatever else it is comes up again when the body is wanted.
                _ => shelf.shelve(&mut connection.buffer),
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Sends the head of an answer that stands in `out` as HTTP/1 and says where its body begins there.
    pub(super) fn send_own_head(&mut self, out: &[u8], phase: Phase) -> Result<usize, End> {
        let broken = End::new(Cause::ClientReset, phase);
        let Some(exchange) = self.connection.io.h2() else { return Ok(0) };
        if out.is_empty() {
            return Ok(0);
        }
        let limits = HttpLimits { head_max_bytes: usize::MAX, fields_max: usize::MAX, ..HttpLimits::default() };
        let response = &mut self.e.scratch.response;
        let Ok(Parsed::Complete { consumed }) = h1::parse_response(out, response, &limits) else {
            return Err(End::new(Cause::Internal, phase));
        };
        let sent = if response.status() < 200 {
            exchange.send_interim(response)
        } else {
            exchange.send_head(response, consumed == out.len(), false)
        };
        self.e.bytes_out += sent.map_err(|_| broken)?;
        Ok(consumed)
    }
}
