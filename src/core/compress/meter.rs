//! How many bytes went by in the last second. HAProxy: a frequency counter (`freq_ctr`), as its `maxcomprate` reads one.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes of the present second and the one before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    /// Since when `present` is counted.
    since: Option<Instant>,
    present: u64,
    before: u64,
}

impl Meter {
    /// So many bytes go by.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        self.turn_to(now);
        self.present = self.present.saturating_add(bytes);
    }

    /// Bytes per second: those of this second, and of the one before the part that is less than a second ago.
    pub fn read(&mut self, now: Instant) -> u64 {
        let left = SECOND.saturating_sub(self.turn_to(now));
        let rest = u128::from(self.before) * left.as_millis() / 1000;
        self.present.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX))
    }

    /// Goes on to the second that `now` lies in; returns how much of it has passed.
    fn turn_to(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed < SECOND {
            return passed;
        }
        self.before = if passed < 2 * SECOND { self.present } else { 0 };
        self.present = 0;
        let rest = Duration::from_nanos(u64::from(passed.subsec_nanos()));
        self.since = Some(now.checked_sub(rest).unwrap_or(now));
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_burst_is_seen_at_once_and_fades() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut meter = Meter::default();
        assert_eq!(meter.read(start), 0);
        meter.add(1000, start);
        assert_eq!(meter.read(start + ms(500)), 1000);
        meter.add(500, start + ms(999));
        assert_eq!(meter.read(start + ms(1000)), 1500);
        assert_eq!(meter.read(start + ms(1500)), 750, "half of the second before is left");
        meter.add(50, start + ms(1500));
        assert_eq!(meter.read(start + ms(1750)), 425);
        assert_eq!(meter.read(start + ms(10_000)), 0);
    }
}
