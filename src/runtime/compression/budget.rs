//! What compression may take of the process: memory of encoders, bytes per second, a share of the processors.
//!
//! Who is refused is not compressed and counted (`comp_byp`). What is under way goes on to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::core::compress::meter::Meter;

/// Limits of compression, shared by all workers (`global.compression`).
#[derive(Debug)]
pub struct Budget {
    memory_max: u64,
    memory: AtomicU64,
    /// Bytes per second that go in, 0 for any number.
    rate: AtomicU32,
    meter: Mutex<Meter>,
    /// Percentage of the processors' time beyond which nothing more is compressed.
    cpu_max: Option<u32>,
    too_busy: AtomicBool,
}

/// Memory of one encoder; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// `rate` 0 is any number of bytes per second.
    pub fn new(memory_max: u64, rate: u32, cpu_max: Option<u32>) -> Arc<Budget> {
        Arc::new(Budget {
            memory_max,
            memory: AtomicU64::new(0),
            rate: AtomicU32::new(rate),
            meter: Mutex::default(),
            cpu_max,
            too_busy: AtomicBool::new(false),
        })
    }

    /// Whether one more answer may be compressed, as far as speed goes.
    pub fn admits(&self, now: Instant) -> bool {
        if self.too_busy.load(Ordering::Relaxed) {
            return false;
        }
        let limit = self.rate.load(Ordering::Relaxed);
        limit == 0 || self.meter.lock().read(now) < u64::from(limit)
    }

    /// Sets the limit of bytes per second (`set rate-limit http-compression global`).
    pub fn set_rate(&self, limit: u32) {
        self.rate.store(limit, Ordering::Relaxed);
    }

    /// Whether bytes are counted: only while there is a limit of them.
    pub fn is_metered(&self) -> bool {
        self.rate.load(Ordering::Relaxed) > 0
    }

    /// Counts bytes that go in.
    pub fn spend(&self, bytes: u64, now: Instant) {
        self.meter.lock().add(bytes, now);
    }

    /// Hears once a second how much of the processors' time was not used.
    pub fn observe_idle(&self, percent: u32) {
        let busy = 100u32.saturating_sub(percent);
        self.too_busy.store(self.cpu_max.is_some_and(|max| busy > max), Ordering::Relaxed);
    }

    /// Takes memory, if there is so much left.
    pub fn reserve(self: &Arc<Budget>, bytes: u64) -> Option<Reservation> {
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.memory_max);
        self.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Bytes taken, encoders waiting for reuse included (`ZlibMemUsage`).
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Bytes that may be taken (`MaxZlibMemUsage`).
    pub fn memory_max(&self) -> u64 {
        self.memory_max
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.memory.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn memory_is_given_back() {
        let budget = Budget::new(100, 0, None);
        let first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40).unwrap();
        assert_eq!(budget.memory(), 100);
        drop(first);
        assert!(budget.reserve(60).is_some());
        drop(second);
        assert_eq!(budget.memory(), 0);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn speed_and_load_refuse() {
        let now = Instant::now();
        let budget = Budget::new(0, 1000, Some(80));
        assert!(budget.admits(now) && budget.is_metered());
        budget.spend(1000, now);
        assert!(!budget.admits(now));
        assert!(budget.admits(now + Duration::from_secs(3)));
        budget.set_rate(0);
        assert!(budget.admits(now));
        for (idle, admits) in [(100, true), (20, true), (19, false), (0, false), (50, true)] {
            budget.observe_idle(idle);
            assert_eq!(budget.admits(now), admits, "{idle} % idle");
        }
    }
}
