//! One waiting request, seen from both sides: the stream that waits and the queue that gives it a slot.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

/// A request that waits for a slot. The slot it is given is already counted in the server's `live.inflight`.
#[derive(Debug)]
pub struct Waiter {
    inner: Mutex<Inner>,
    hash: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Granted(u32),
    Left,
}

impl Waiter {
    /// One who goes to any server.
    pub fn new() -> Arc<Waiter> {
        Waiter::with_hash(None)
    }

    /// One whom a hashing algorithm places by this hash ([`crate::core::balance::hash_key`]).
    pub fn with_hash(hash: Option<u64>) -> Arc<Waiter> {
        Arc::new(Waiter { inner: Mutex::new(Inner { phase: Phase::Waiting, waker: None }), hash })
    }

    /// The position of the server that was granted, if one was; else `waker` is kept and woken on the grant.
    pub fn poll_granted(&self, waker: &Waker) -> Option<u32> {
        let mut inner = self.inner.lock();
        match inner.phase {
            Phase::Granted(server) => Some(server),
            Phase::Waiting | Phase::Left => {
                if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    inner.waker = Some(waker.clone());
                }
                None
            }
        }
    }

    /// Waits no longer. Returns the grant if one was given meanwhile: the caller must give that slot back.
    pub fn leave(&self) -> Option<u32> {
        let mut inner = self.inner.lock();
        inner.waker = None;
        match std::mem::replace(&mut inner.phase, Phase::Left) {
            Phase::Granted(server) => Some(server),
            Phase::Waiting | Phase::Left => None,
        }
    }

    /// Gives it a slot of this server; false if it left, and the slot is still the giver's.
    pub(super) fn grant(&self, server: u32) -> bool {
        let mut inner = self.inner.lock();
        let waiting = inner.phase == Phase::Waiting;
        if waiting {
            inner.phase = Phase::Granted(server);
        }
        waiting
    }

    /// Wakes the stream, after a grant and outside the queue's lock.
    pub(super) fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What a hashing algorithm places it by.
    pub(super) fn hash(&self) -> Option<u64> {
        self.hash
    }
}
