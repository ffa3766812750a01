//! How a client behaves on its HTTP/2 connection, and when that is enough.
//!
//! Nothing counted here is forbidden taken one by one. Each costs us work or memory that it does not cost the client:
//! requests called off as soon as they were made (CVE-2023-44487), frames that move nothing on (CVE-2019-9512, -9515,
//! -9518). What was asked for and served pays for it, so a busy connection may do more of it than an idle one.

use std::time::{Duration, Instant};

use super::{Http2Limits, Seen};

/// How many seconds' worth of control frames may come at once.
const BURST_SECONDS: u32 = 10;
/// Control frames that one request pays for: its priority, its window.
const PAID_BY_REQUEST: u32 = 8;
/// Control frames that one DATA frame sent pays for. Clients that read in pieces of 4 KiB open two windows after each.
const PAID_BY_DATA: u32 = 16;
/// Control frames paid for and not come yet; a client whose window holds 16 MiB is owed as many as this at once.
const PAID_MAX: u32 = 32 * 1024;

/// What a client did too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// It called off too many requests.
    Resets,
    /// It sent too many frames that move nothing on.
    ControlFrames,
    /// It made too many mistakes.
    Glitches,
}

impl Offence {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Offence::Resets => "too many requests called off",
            Offence::ControlFrames => "too many frames that move nothing on",
            Offence::Glitches => "too many mistakes",
        }
    }
}

/// One connection's account.
#[derive(Debug)]
pub struct Conduct {
    limits: Http2Limits,
    /// Requests answered to the end.
    served: u32,
    resets: u32,
    glitches: u32,
    /// Control frames that were paid for.
    paid: u32,
    /// Control frames that may still come besides, in thousandths of one.
    credit: u64,
    credited_at: Instant,
}

impl Conduct {
    /// A connection that begins at `now`.
    pub fn new(limits: Http2Limits, now: Instant) -> Conduct {
        let mut conduct = Conduct { limits, served: 0, resets: 0, glitches: 0, paid: 0, credit: 0, credited_at: now };
        conduct.credit = conduct.credit_max();
        conduct
    }

    fn credit_max(&self) -> u64 {
        u64::from(self.limits.max_control_frames) * u64::from(BURST_SECONDS) * 1000
    }

    /// A request was answered to the end.
    pub fn served(&mut self) {
        self.served = self.served.saturating_add(1);
    }

    /// The client did something it should not have done, and nothing was harmed.
    pub fn glitch(&mut self) {
        self.glitches = self.glitches.saturating_add(1);
    }

    /// Mistakes so far. HAProxy: `fc_glitches`.
    pub fn glitches(&self) -> u32 {
        self.glitches
    }

    /// Frames came from the client. `now` is asked for only if it matters.
    pub fn received(&mut self, seen: &Seen, now: impl FnOnce() -> Instant) -> Option<Offence> {
        self.resets = self.resets.saturating_add(seen.resets);
        if seen.headers > 0 {
            self.pay(seen.headers, PAID_BY_REQUEST);
        }
        if seen.control > 0 {
            let paid = seen.control.min(self.paid);
            self.paid -= paid;
            let owed = u64::from(seen.control - paid) * 1000;
            if owed > self.credit {
                self.refill(now());
            }
            if owed > self.credit {
                return Some(Offence::ControlFrames);
            }
            self.credit -= owed;
        }
        self.verdict()
    }

    /// Frames went to the client.
    pub fn sent(&mut self, seen: &Seen) {
        if seen.data > 0 {
            self.pay(seen.data, PAID_BY_DATA);
        }
        self.glitches = self.glitches.saturating_add(seen.complaints);
    }

    /// Whether it is enough.
    pub fn verdict(&self) -> Option<Offence> {
        if self.resets > self.limits.max_resets.saturating_add(self.served) {
            Some(Offence::Resets)
        } else if self.glitches > self.limits.max_glitches {
            Some(Offence::Glitches)
        } else {
            None
        }
    }

    fn pay(&mut self, events: u32, each: u32) {
        self.paid = self.paid.saturating_add(events.saturating_mul(each)).min(PAID_MAX);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.credited_at).min(Duration::from_secs(3600));
        self.credited_at = now;
        let grown = u64::from(self.limits.max_control_frames) * u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        self.credit = self.credit.saturating_add(grown).min(self.credit_max());
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn conduct() -> (Conduct, Instant) {
        let now = Instant::now();
        let limits = Http2Limits { max_resets: 10, max_control_frames: 5, max_glitches: 3, ..Http2Limits::default() };
        (Conduct::new(limits, now), now)
    }

    #[test]
    fn requests_called_off_are_measured_by_those_served() {
        let (mut conduct, now) = conduct();
        let one = Seen { headers: 1, resets: 1, ..Seen::default() };
        for n in 0..10 {
            assert_eq!(conduct.received(&one, || now), None, "{n}");
        }
        conduct.served();
        assert_eq!(conduct.received(&one, || now), None);
        assert_eq!(conduct.received(&one, || now), Some(Offence::Resets));
    }

    #[test]
    fn control_frames_have_a_burst_and_a_rate() {
        let (mut conduct, now) = conduct();
        let one = Seen { control: 1, ..Seen::default() };
        for n in 0..50 {
            assert_eq!(conduct.received(&one, || now), None, "{n}");
        }
        assert_eq!(conduct.received(&one, || now), Some(Offence::ControlFrames));
        let later = now + Duration::from_secs(1);
        for n in 0..5 {
            assert_eq!(conduct.received(&one, || later), None, "{n}");
        }
        assert_eq!(conduct.received(&one, || later), Some(Offence::ControlFrames));
        // What was sent and what was asked pays for frames that say so.
        conduct.sent(&Seen { data: 1, ..Seen::default() });
        for n in 0..16 {
            assert_eq!(conduct.received(&one, || later), None, "{n}");
        }
        assert_eq!(conduct.received(&one, || later), Some(Offence::ControlFrames));
    }

    #[test]
    fn mistakes_add_up() {
        let (mut conduct, _) = conduct();
        conduct.sent(&Seen { complaints: 2, ..Seen::default() });
        conduct.glitch();
        assert_eq!((conduct.glitches(), conduct.verdict()), (3, None));
        conduct.glitch();
        assert_eq!(conduct.verdict(), Some(Offence::Glitches));
    }
}
