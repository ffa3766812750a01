//! The harness of the integration tests: everything a test needs to stand between two ends of the shipped binary.
//!
//! Reading order: [`site`] (a whole set-up in a few lines), [`lab`] (the one HAProxy was recorded with), [`proxy`] (the
//! running binary), [`origin`] (scripted servers), [`h2_origin`] (the same over HTTP/2), [`client`] (raw clients), [`message`] (HTTP bytes as both read them),
//! [`logs`] and [`httplog`] (what reached syslog), [`rsyslog`] (a real receiver), [`stats`] (the CSV), [`certificates`],
//! [`tools`] (programs of Debian packages), [`webdriver`] (a browser), [`websocket`] and [`h2_raw`] (their
//! frames, byte by byte), [`ports`].
//!
//! Blocking sockets and threads throughout: a test reads from top to bottom. Nothing here waits a fixed time; every
//! wait is for a condition, under a deadline ([`eventually`]).

pub mod certificates;
pub mod client;
pub mod gate;
#[allow(dead_code, reason = "tests/integration alone uses it")]
pub mod h2;
#[allow(dead_code, reason = "tests/h2 alone uses it")]
pub mod h2_frame;
#[allow(dead_code, reason = "not every test target speaks HTTP/2 to servers")]
pub mod h2_origin;
#[allow(dead_code, reason = "tests/h2 alone uses it")]
pub mod h2_raw;
#[allow(dead_code, reason = "tests/h2 alone uses it")]
pub mod hpack;
pub mod httplog;
#[allow(dead_code, reason = "tests/tools alone uses it")]
pub mod lab;
pub mod logs;
pub mod message;
pub mod nginx;
pub mod origin;
pub mod ports;
pub mod proxy;
pub mod rsyslog;
pub mod site;
pub mod stats;
pub mod tools;
pub mod webdriver;
#[allow(dead_code, reason = "tests/integration alone uses all of it")]
pub mod websocket;
pub mod wire;

use std::time::{Duration, Instant};

/// How long a test waits for something that ought to happen soon.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` again and again until it gives a value.
///
/// # Panics
/// When [`PATIENCE`] has passed; the message says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// [`eventually`] with its own deadline.
#[track_caller]
pub fn eventually_within<T>(deadline: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_or(deadline, probe).unwrap_or_else(|| panic!("waited {deadline:?} in vain for {what}"))
}

/// [`eventually`] that leaves the complaint to the caller.
pub fn eventually_or<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let value = probe();
        if value.is_some() || started.elapsed() >= deadline {
            return value;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// [`eventually`] for a condition.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(()));
}

/// Checks a condition over a span of time: that something does *not* happen.
#[track_caller]
pub fn holds_for(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(condition(), "after {:?} no longer true: {what}", started.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
}
