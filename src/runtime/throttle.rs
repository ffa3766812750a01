//! A limit of events per second that all workers share and that can be changed. Over it one waits; nobody is refused.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::clock;
use crate::core::limit::pace::Pace;

/// So many events per second, over all workers.
#[derive(Debug)]
pub struct Throttle {
    /// 0 for any number.
    limit: AtomicU32,
    pace: Mutex<Pace>,
    changed: Notify,
}

/// The throttles of everything that comes in. HAProxy: `maxconnrate`, `maxsessrate`, `maxsslrate`, `rate-limit sessions`.
#[derive(Debug)]
pub struct Throttles {
    /// Connections of the process.
    pub connections: Throttle,
    /// Sessions of the process.
    pub sessions: Throttle,
    /// TLS handshakes of the process.
    pub tls: Throttle,
    /// Sessions of each frontend.
    pub frontends: Vec<Throttle>,
}

impl Throttle {
    /// With so many events per second; 0 is any number.
    pub fn new(limit: u32) -> Throttle {
        Throttle { limit: AtomicU32::new(limit), pace: Mutex::default(), changed: Notify::new() }
    }

    /// Changes the limit. Those who wait look again.
    pub fn set(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits for the turn of one event. Costs one load while there is no limit.
    #[inline]
    pub async fn pass(&self) {
        if self.limit.load(Ordering::Relaxed) > 0 {
            self.wait().await;
        }
    }

    #[cold]
    async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            let limit = self.limit.load(Ordering::Relaxed);
            if limit == 0 {
                return;
            }
            let taken = self.pace.lock().take(limit, clock::now());
            let Err(wait) = taken else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_waits_its_turn_and_goes_when_the_limit_does() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let throttle = Rc::new(Throttle::new(10));
                let passed = Rc::new(std::cell::Cell::new(0));
                for _ in 0..100 {
                    let (throttle, passed) = (throttle.clone(), passed.clone());
                    tokio::task::spawn_local(async move {
                        throttle.pass().await;
                        passed.set(passed.get() + 1);
                    });
                }
                tokio::time::sleep(Duration::from_millis(3500)).await;
                assert!((30..=41).contains(&passed.get()), "{}", passed.get());
                throttle.set(0);
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert_eq!(passed.get(), 100);
            })
            .await;
    }
}
