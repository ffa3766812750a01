//! One key's allowance: a token bucket, kept as the time that is owed (GCRA, ITU-T I.371 Annex A).
//!
//! `rate: 10/s, burst: 20` means: the bucket holds 20 requests and is full at first, so up to 20 may come at once; it
//! refills by one every 100 ms. A denied request takes nothing: whoever goes on asking too fast still gets the ten per
//! second, and waiting `retry_after` always helps. In any stretch of time `t`, at most `burst + t × rate` requests are
//! admitted.

use std::time::{Duration, Instant};

use crate::core::units::Rate;

/// How full a bucket may be and how fast it refills; shared by all keys of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Time in which one request is refilled, rounded up to a nanosecond so that rounding never admits too much.
    interval: Duration,
    /// Time in which the whole bucket is.
    capacity: Duration,
}

impl Flow {
    /// A bucket of `burst` requests that refills at `rate`. A burst or a count of 0 is taken as 1: a limit that admits
    /// nothing is a rule, not a limit.
    pub fn new(rate: Rate, burst: u32) -> Flow {
        let nanos = rate.period.as_nanos().div_ceil(u128::from(rate.count.max(1))).max(1);
        let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Flow { interval, capacity: interval.saturating_mul(burst.max(1)) }
    }

    /// How long an empty bucket needs to be full.
    pub fn capacity(&self) -> Duration {
        self.capacity
    }

    /// The same share of a bucket of another flow, for a table whose rate was changed.
    pub fn convert(&self, owed: Duration, to: &Flow) -> Duration {
        let share = (owed.as_secs_f64() / self.capacity.as_secs_f64()).clamp(0.0, 1.0);
        Duration::try_from_secs_f64(share * to.capacity.as_secs_f64()).unwrap_or(to.capacity)
    }
}

/// One bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Time until it is full, counted from `at`.
    owed: Duration,
    /// When `owed` was true; `None` before the first request.
    at: Option<Instant>,
}

impl Bucket {
    /// A bucket in which so much is owed at that time.
    pub fn owing(owed: Duration, at: Instant) -> Bucket {
        Bucket { owed, at: Some(at) }
    }

    /// Time until it is full.
    pub fn owed(&self, now: Instant) -> Duration {
        match self.at {
            Some(at) => self.owed.saturating_sub(now.saturating_duration_since(at)),
            None => Duration::ZERO,
        }
    }

    /// Takes one request, or says how long to wait until there is one. A `now` before the last one (two workers read
    /// their clocks a moment apart) counts as the last one.
    pub fn take(&mut self, flow: &Flow, now: Instant) -> Result<(), Duration> {
        let after = self.owed(now).saturating_add(flow.interval);
        if after > flow.capacity {
            return Err(after - flow.capacity);
        }
        self.owed = after;
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        Ok(())
    }
}

/// The value of `Retry-After` (RFC 9110, 10.2.3): whole seconds, rounded up, at least 1.
pub fn retry_after_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(count: u32, period_ms: u64, burst: u32) -> Flow {
        Flow::new(Rate { count, period: Duration::from_millis(period_ms) }, burst)
    }

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn a_burst_then_the_even_flow() {
        let start = Instant::now();
        let flow = flow(10, 1000, 3);
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(&flow, start), Ok(()));
        }
        for (at, expected) in [
            (0, Err(ms(100))),
            (60, Err(ms(40))),
            (99, Err(ms(1))),
            (100, Ok(())),
            (100, Err(ms(100))),
            (350, Ok(())),
            (350, Ok(())),
            (350, Err(ms(50))),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Err(ms(100))),
        ] {
            assert_eq!(bucket.take(&flow, start + ms(at)), expected, "at {at} ms");
        }
    }

    #[test]
    fn denied_requests_cost_nothing() {
        let start = Instant::now();
        let flow = flow(1, 1000, 1);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&flow, start), Ok(()));
        for step in 1..1000 {
            assert!(bucket.take(&flow, start + ms(step)).is_err());
        }
        assert_eq!(bucket.take(&flow, start + ms(1000)), Ok(()));
    }

    #[test]
    fn a_clock_that_reads_earlier_gains_nothing() {
        let start = Instant::now();
        let flow = flow(1, 1000, 1);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&flow, start + ms(500)), Ok(()));
        assert_eq!(bucket.take(&flow, start), Err(ms(1000)));
        assert_eq!(bucket.take(&flow, start + ms(1499)), Err(ms(1)));
        assert_eq!(bucket.take(&flow, start + ms(1500)), Ok(()));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (wait, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_000, 59)] {
            assert_eq!(retry_after_seconds(ms(wait)), expected, "{wait} ms");
        }
        assert_eq!(retry_after_seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn absurd_numbers_do_not_panic() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let slow = Flow::new(Rate { count: 0, period: Duration::MAX }, u32::MAX);
        let _ = bucket.take(&slow, start);
        let _ = bucket.take(&slow, start);
        let mut bucket = Bucket::default();
        let fast = Flow::new(Rate { count: u32::MAX, period: Duration::ZERO }, 0);
        assert_eq!(bucket.take(&fast, start), Ok(()));
    }

    #[test]
    fn a_changed_rate_keeps_the_share_that_is_owed() {
        let old = flow(10, 1000, 10);
        let new = flow(100, 1000, 50);
        assert_eq!(old.convert(ms(500), &new), ms(250));
        assert_eq!(old.convert(ms(5000), &new), ms(500));
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_burst_and_rate(
            count in 1u32..50,
            period_ms in 1u64..5_000,
            burst in 1u32..30,
            steps in proptest::collection::vec(0u64..400_000, 1..300),
        ) {
            let start = Instant::now();
            let flow = flow(count, period_ms, burst);
            let mut bucket = Bucket::default();
            let mut at = Duration::ZERO;
            let mut admitted: Vec<Duration> = Vec::new();
            for step in steps {
                at += Duration::from_micros(step);
                match bucket.take(&flow, start + at) {
                    Ok(()) => admitted.push(at),
                    // The promise in the answer holds: exactly then there is one, and a moment before there is none.
                    Err(wait) => {
                        let (mut then, mut before) = (bucket, bucket);
                        prop_assert!(then.take(&flow, start + at + wait).is_ok());
                        prop_assert!(before.take(&flow, start + at + wait - Duration::from_nanos(1)).is_err());
                    }
                }
            }
            for first in 0..admitted.len() {
                for last in first..admitted.len() {
                    let window = (admitted[last] - admitted[first]).as_nanos();
                    let allowed = u128::from(burst)
                        + window * u128::from(count) / Duration::from_millis(period_ms).as_nanos();
                    prop_assert!((last - first + 1) as u128 <= allowed);
                }
            }
        }
    }
}
