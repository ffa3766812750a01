//! When a name is looked up again, and which answer counts.
//!
//! The look-up itself is in `crate::discovery`; what a new address does to a server is decided by
//! [`crate::core::fleet`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Shortest time an answer is kept, whatever its TTL.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest time an answer is kept, whatever its TTL.
const TTL_MAX: Duration = Duration::from_secs(3600);
/// Wait after the first failure; doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A look-up without an answer for so long is taken as lost and started anew.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// The look-ups of one server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    host: Box<str>,
    next: Instant,
    failures: u32,
}

impl Resolution {
    /// Due at once.
    pub fn new(host: &str, now: Instant) -> Resolution {
        Resolution { host: host.into(), next: now, failures: 0 }
    }

    /// The name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// When the next look-up is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Look-ups in a row that gave no address.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A look-up was started.
    pub fn asked(&mut self, now: Instant) {
        self.next = now + LOST_AFTER;
    }

    /// There was an answer that holds for `ttl`.
    pub fn answered(&mut self, ttl: Duration, now: Instant) {
        self.failures = 0;
        self.next = now + ttl.clamp(TTL_MIN, TTL_MAX);
    }

    /// There was none; the wait doubles, spread by a fifth so that many names do not ask at once.
    pub fn failed(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.next = now + wait.mul_f64(0.8 + 0.4 * rng.f64());
    }
}

/// The address that counts: the one in use while the answer still holds it, else the first.
pub fn choose(current: Option<IpAddr>, answer: &[IpAddr]) -> Option<IpAddr> {
    current.filter(|ip| answer.contains(ip)).or_else(|| answer.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_in_use_is_kept_while_it_is_answered() {
        let check = |current: Option<&str>, answer: &[&str], expected: Option<&str>| {
            let answer: Vec<_> = answer.iter().map(|a| ip(a)).collect();
            assert_eq!(choose(current.map(ip), &answer), expected.map(ip), "{current:?} {answer:?}");
        };
        check(None, &["10.0.0.1", "10.0.0.2"], Some("10.0.0.1"));
        check(Some("10.0.0.2"), &["10.0.0.1", "10.0.0.2"], Some("10.0.0.2"));
        check(Some("10.0.0.3"), &["10.0.0.1", "10.0.0.2"], Some("10.0.0.1"));
        check(Some("10.0.0.3"), &[], None);
        check(None, &["2001:db8::1"], Some("2001:db8::1"));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn refresh_follows_the_ttl_within_bounds_and_failures_back_off() {
        let start = Instant::now();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut r = Resolution::new("app.internal", start);
        assert_eq!(r.next(), start, "the first look-up leaves at once");
        let ttl = |r: &mut Resolution, s| {
            r.answered(Duration::from_secs(s), start);
            r.next() - start
        };
        assert_eq!(ttl(&mut r, 0), Duration::from_secs(1));
        assert_eq!(ttl(&mut r, 30), Duration::from_secs(30));
        assert_eq!(ttl(&mut r, 86_400), Duration::from_secs(3600));
        for (n, seconds) in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0].into_iter().enumerate() {
            r.failed(start, &mut rng);
            let wait = (r.next() - start).as_secs_f64();
            assert!((0.8 * seconds..=1.2 * seconds).contains(&wait), "wait {n} is {wait}");
            assert_eq!(r.failures(), n as u32 + 1);
        }
        r.answered(Duration::from_secs(5), start);
        assert_eq!(r.failures(), 0);
    }
}
