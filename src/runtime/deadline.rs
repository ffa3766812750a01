//! A deadline that moves with every byte without touching the timer wheel each time.
//!
//! Setting it later only stores the new time: the timer fires at the old one, sees that it is not due yet and is armed
//! again. So a busy connection re-arms its timer once per timeout, not once per request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// One per connection.
#[derive(Debug)]
pub struct Deadline {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
    due: Option<Instant>,
}

impl Deadline {
    /// Due at `due`.
    pub fn new(due: Instant) -> Deadline {
        Deadline { sleep: Box::pin(tokio::time::sleep_until(due.into())), armed: due, due: Some(due) }
    }

    /// Moves it.
    #[inline]
    pub fn set(&mut self, due: Instant) {
        self.due = Some(due);
        if due < self.armed {
            self.armed = due;
            self.sleep.as_mut().reset(due.into());
        }
    }

    /// Switches it off until it is set again.
    pub fn clear(&mut self) {
        self.due = None;
    }

    /// When it is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Ready once the deadline has passed; registers the task otherwise.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        loop {
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if super::clock::now() >= due {
                return Poll::Ready(());
            }
            self.armed = due;
            self.sleep.as_mut().reset(due.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_latest_time_set() {
        let start = super::super::clock::now();
        let mut d = Deadline::new(start + Duration::from_secs(1));
        d.set(start + Duration::from_secs(5));
        d.set(start + Duration::from_secs(3));
        poll_fn(|cx| d.poll_passed(cx)).await;
        let waited = super::super::clock::now() - start;
        assert!(waited >= Duration::from_secs(3) && waited < Duration::from_millis(3010), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_fires_earlier() {
        let start = super::super::clock::now();
        let mut d = Deadline::new(start + Duration::from_secs(60));
        d.set(start + Duration::from_secs(2));
        poll_fn(|cx| d.poll_passed(cx)).await;
        assert!(super::super::clock::now() - start < Duration::from_millis(2010));
    }

    #[tokio::test(start_paused = true)]
    async fn cleared_it_never_fires() {
        let mut d = Deadline::new(super::super::clock::now() + Duration::from_secs(1));
        d.clear();
        let fired = tokio::time::timeout(Duration::from_secs(10), poll_fn(|cx| d.poll_passed(cx))).await;
        assert!(fired.is_err());
    }
}
