//! The ramp of a server that came back: how much of its weight and of its `maxconn` it gets, and when that changes.
//!
//! The arithmetic is HAProxy's, in sixteenths and whole seconds, so that its `throttle` column reads the same.

use std::time::{Duration, Instant};

/// The parts a ramp is counted in. HAProxy: `BE_WEIGHT_SCALE`.
const PARTS: u64 = 16;

/// A running ramp (`slowstart`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    since: Instant,
    length_s: u64,
    parts: u64,
    next_step: Instant,
}

impl Ramp {
    /// Begins at `now`; lasts `length`, rounded up to whole seconds.
    pub fn new(length: Duration, now: Instant) -> Ramp {
        let length_s = (length.as_secs() + u64::from(length.subsec_nanos() > 0)).max(1);
        let mut ramp = Ramp { since: now, length_s, parts: 0, next_step: now };
        ramp.step(now);
        ramp
    }

    /// When the next step is due.
    pub fn next_step(&self) -> Instant {
        self.next_step
    }

    /// Takes the step that is due at `now`; true when the ramp is over.
    pub fn step(&mut self, now: Instant) -> bool {
        let elapsed_s = now.saturating_duration_since(self.since).as_secs();
        if elapsed_s >= self.length_s {
            self.parts = PARTS;
            return true;
        }
        self.parts = ((PARTS * elapsed_s + self.length_s) / self.length_s).min(PARTS);
        let step_s = (self.length_s / 20).max(1);
        let next_s = ((elapsed_s / step_s + 1) * step_s).min(self.length_s);
        self.next_step = self.since + Duration::from_secs(next_s);
        false
    }

    /// HAProxy's `throttle` column (29): percent of the weight given now.
    pub fn percent(&self) -> u32 {
        (100 * self.parts).div_ceil(PARTS) as u32
    }

    /// `full` scaled by the ramp, rounded up as HAProxy does: 0 only if `full` is.
    pub fn scale(&self, full: u32) -> u32 {
        let scaled = (u64::from(full) * self.parts).div_ceil(PARTS);
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}
