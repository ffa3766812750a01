//! The only place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time. It is tokio's, so a test with paused time moves everything.
#[allow(clippy::disallowed_methods)]
#[inline]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time, for logs and certificates.
#[allow(clippy::disallowed_methods)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Wall-clock time in microseconds since the Unix epoch.
#[inline]
pub fn wall_us() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros().min(u128::from(u64::MAX)) as u64)
}
