//! Answering a request here: errors, redirects, fixed answers. And writing bytes to a client at its own pace.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Poll;

use super::exchange::status_line;
use super::finish::end_closes;
use super::rules::Local;
use super::{End, Stream};
use crate::core::fleet::spec::HttpLimits;
use crate::core::http::Version;
use crate::core::http::h1::{self, Body, Parsed};
use crate::core::termination::{Cause, Phase, judge};
use crate::frontend::answer::{self, Manner};
use crate::runtime::clock;

impl Stream<'_> {
    /// Gives an answer of our own.
    pub(super) async fn answer_here(&mut self, local: Local) -> Result<End, End> {
        self.settle_unread_body();
        let manner = self.manner();
        let mut out = std::mem::take(&mut self.e.scratch.out);
        out.clear();
        let status = match &local {
            Local::Fixed(fixed) => {
                answer::fixed(&mut out, fixed, manner);
                fixed.status
            }
            Local::Redirect(status) => {
                answer::redirect(&mut out, *status, &self.e.scratch.text, manner);
                *status
            }
        };
        self.e.scratch.out = out;
        self.apply_rules_to_own_answer();
        self.e.status = Some(status);
        self.write_out(Phase::Request).await?;
        Ok(End::new(Cause::Local(status), Phase::Request))
    }

    /// Ends a request that cannot go on: tells the client, if it can still be told.
    pub(super) async fn refuse(&mut self, end: End) -> End {
        let termination = judge(end.cause, end.phase);
        // An order to end was heard; what follows it is not to be ended by the same order.
        self.connection.place.entry.kill.set(None);
        if self.e.status.is_some() {
            // Its answer has begun: all that is left is to cut it off.
            self.close = true;
            if self.cut_visibly {
                self.connection.io.reset_on_close();
            }
            self.cut_visibly = true;
            return end;
        }
        self.e.status = termination.status;
        let Some(status) = termination.status.filter(|_| termination.answer) else {
            self.close = true;
            return end;
        };
        self.close |= end_closes(end);
        self.settle_unread_body();
        let manner = self.manner();
        let mut out = std::mem::take(&mut self.e.scratch.out);
        out.clear();
        let page = match end.cause {
            Cause::NoServer => self.e.backend().map(|b| b.spec.maintenance_answer.clone()),
            _ => None,
        };
        match page {
            Some(page) => {
                self.e.status = Some(page.status);
                answer::fixed(&mut out, &page, manner);
            }
            None => {
                let text = std::mem::take(&mut self.e.scratch.text);
                let wait = std::str::from_utf8(&text).unwrap_or("1");
                let extra: &[(&str, &str)] = if status == 429 { &[("retry-after", wait)] } else { &[] };
                answer::error(&mut out, status, extra, manner);
                self.e.scratch.text = text;
            }
        }
        self.e.scratch.out = out;
        self.apply_rules_to_own_answer();
        // As HAProxy, no bytes are counted for what answers a request that could not be read.
        let before = self.e.bytes_out;
        let _ = self.write_out(end.phase).await;
        if !self.e.understood {
            self.e.bytes_out = before;
        }
        end
    }

    /// The frontend's response rules hold for answers made here too (HAProxy: `http-after-response`). The answer is in
    /// the scratch's `out`; a request that was not understood has none of the values rules may ask for.
    pub(super) fn apply_rules_to_own_answer(&mut self) {
        let snapshot = self.e.snapshot.clone();
        let spec = &snapshot.frontends[self.e.frontend].spec;
        if spec.response_rules.is_empty() || !self.e.understood {
            return;
        }
        let out = std::mem::take(&mut self.e.scratch.out);
        let limits = HttpLimits::default();
        let Ok(Parsed::Complete { consumed }) = h1::parse_response(&out, &mut self.e.scratch.response, &limits) else {
            self.e.scratch.out = out;
            return;
        };
        self.apply_response_rules(&spec.response_rules);
        let scratch = &mut *self.e.scratch;
        status_line(&mut scratch.out, &scratch.response);
        scratch.response.write_fields(&mut scratch.out);
        scratch.out.extend_from_slice(b"\r\n");
        scratch.out.extend_from_slice(&out[consumed..]);
    }

    /// A body that nobody will read: taken from the buffer if it is all there, else the connection cannot go on.
    pub(super) fn settle_unread_body(&mut self) {
        if self.upload.is_done() {
            return;
        }
        let whole = match self.framing.body {
            Body::Length(n) if !self.upload.consumed => {
                usize::try_from(n).ok().filter(|n| *n <= self.connection.buffer.len())
            }
            _ => None,
        };
        match whole {
            Some(n) => {
                self.connection.buffer.consume(n);
                self.e.bytes_in += n as u64;
                self.upload = super::upload::Upload::new(Body::Empty, &HttpLimits::default());
            }
            None => self.close = true,
        }
    }

    pub(super) fn manner(&mut self) -> Manner {
        // What follows a request to upgrade may be another protocol already.
        self.close |= self.framing.upgrade.is_some() || self.worker.is_leaving(&self.e.frontend().live);
        Manner {
            head_only: self.e.understood && self.e.scratch.request.method() == b"HEAD",
            close: self.close,
            keep_alive_10: self.e.understood && self.e.scratch.request.version() == Version::Http10,
        }
    }

    /// Writes all of the scratch's `out` to the client.
    pub(super) async fn write_out(&mut self, phase: Phase) -> Result<(), End> {
        let timeout = self.e.frontend().spec.timeouts.client;
        let out = std::mem::take(&mut self.e.scratch.out);
        let mut written = if self.e.http2 { self.send_own_head(&out, phase)? } else { 0 };
        let connection = &mut *self.connection;
        let bytes_out = &mut self.e.bytes_out;
        connection.deadline.set(clock::now() + timeout);
        let cause = poll_fn(|cx| {
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Some(cause));
            }
            while written < out.len() {
                match connection.io.poll_write(cx, &[IoSlice::new(&out[written..])], true) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Some(Cause::ClientReset)),
                    Poll::Ready(Ok(n)) => {
                        written += n;
                        *bytes_out += n as u64;
                        connection.deadline.set(clock::now() + timeout);
                    }
                    Poll::Pending => return connection.deadline.poll_passed(cx).map(|()| Some(Cause::ClientTimeout)),
                }
            }
            match connection.io.poll_flush(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(None),
                Poll::Ready(Err(_)) => Poll::Ready(Some(Cause::ClientReset)),
                Poll::Pending => connection.deadline.poll_passed(cx).map(|()| Some(Cause::ClientTimeout)),
            }
        })
        .await;
        self.e.scratch.out = out;
        self.e.scratch.out.clear();
        match cause {
            None => Ok(()),
            Some(cause) => {
                self.close = true;
                Err(End::new(cause, phase))
            }
        }
    }
}
