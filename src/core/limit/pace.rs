//! So many events per second, and how long the next one has to wait. HAProxy: its frequency counters (`freq_ctr`).
//!
//! What happened in the second before counts with the part of it that is less than a second ago. So a crowd gets its
//! number at once when it was quiet before, and is let through evenly from then on.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Added to each wait, so that nobody asks again in vain because of a rounding.
const GRAIN: Duration = Duration::from_micros(10);

/// Events of the present second and the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Since when `now` is counted.
    since: Option<Instant>,
    now: u32,
    before: u32,
}

impl Pace {
    /// Takes one of `limit` events per second, or says how long to wait before asking again. `limit` must not be 0.
    pub fn take(&mut self, limit: u32, now: Instant) -> Result<(), Duration> {
        let limit = limit.max(1);
        let passed = self.turn_to(now);
        let left = SECOND.saturating_sub(passed);
        let weighed = f64::from(self.before) * left.as_secs_f64();
        if f64::from(self.now) + weighed < f64::from(limit) {
            self.now += 1;
            return Ok(());
        }
        Err(self.wait(limit, passed) + GRAIN)
    }

    /// Until one more event fits, or just before.
    fn wait(&self, limit: u32, passed: Duration) -> Duration {
        // What share of a second must pass until of `events` only so many count as there is room for.
        let share = |events: u32, room: u32| (1.0 - f64::from(room) / f64::from(events.max(1))).max(0.0);
        match limit.checked_sub(self.now) {
            Some(room @ 1..) => Duration::from_secs_f64(share(self.before, room)).saturating_sub(passed),
            _ => SECOND.saturating_sub(passed) + Duration::from_secs_f64(share(self.now, limit)),
        }
    }

    /// Goes on to the second that `now` lies in; returns how much of it has passed.
    fn turn_to(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed < SECOND {
            return passed;
        }
        self.before = if passed < 2 * SECOND { self.now } else { 0 };
        self.now = 0;
        let rest = Duration::from_nanos(u64::from(passed.subsec_nanos()));
        self.since = now.checked_sub(rest).or(Some(now));
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    /// The moments, in microseconds from the start, at which a crowd that never ends is let through.
    fn let_through(limit: u32, events: usize) -> Vec<u64> {
        let start = start();
        let (mut pace, mut now) = (Pace::default(), start);
        let mut at = Vec::new();
        while at.len() < events {
            match pace.take(limit, now) {
                Ok(()) => at.push((now - start).as_micros() as u64),
                Err(wait) => now += wait,
            }
        }
        at
    }

    #[test]
    fn a_crowd_is_let_through_at_the_limit() {
        for limit in [1, 2, 10, 1000] {
            let at = let_through(limit, 5 * limit as usize + 1);
            let seconds = at.last().unwrap().div_ceil(1_000_000);
            assert!((4..=6).contains(&seconds), "{limit} a second: {} events in {seconds} s", at.len());
        }
    }

    #[test]
    fn who_comes_seldom_never_waits() {
        let (mut pace, mut now) = (Pace::default(), start());
        for _ in 0..100 {
            assert_eq!(pace.take(2, now), Ok(()));
            now += Duration::from_millis(510);
        }
    }

    proptest! {
        #[test]
        fn no_second_holds_more_than_twice_the_limit(limit in 1u32..50) {
            let at = let_through(limit, 6 * limit as usize);
            for (n, from) in at.iter().enumerate() {
                let within = at[n..].iter().take_while(|t| **t < from + 1_000_000).count();
                prop_assert!(within <= 2 * limit as usize, "{} within a second of {}", within, from);
            }
        }

        #[test]
        fn a_wait_is_long_enough(limit in 1u32..200, gaps in proptest::collection::vec(0u64..30_000, 1..400)) {
            let (mut pace, mut now) = (Pace::default(), start());
            for gap in gaps {
                now += Duration::from_micros(gap);
                if let Err(wait) = pace.take(limit, now) {
                    prop_assert!(wait <= 2 * SECOND + GRAIN);
                    let mut later = pace;
                    prop_assert!(later.take(limit, now + wait).is_ok());
                }
            }
        }
    }
}
