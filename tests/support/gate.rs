//! A gate that holds a scripted server until the test lets it go on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Counts how many may pass; clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Shut.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets `n` pass, now or later.
    pub fn open(&self, n: usize) {
        let (permits, changed) = &*self.0;
        let mut permits = permits.lock().unwrap_or_else(PoisonError::into_inner);
        *permits = permits.saturating_add(n);
        changed.notify_all();
    }

    /// Lets everyone pass from now on.
    pub fn open_for_good(&self) {
        self.open(usize::MAX);
    }

    /// Waits to be let through.
    pub fn pass(&self) {
        let (permits, changed) = &*self.0;
        let mut permits = permits.lock().unwrap_or_else(PoisonError::into_inner);
        while *permits == 0 {
            permits = changed.wait(permits).unwrap_or_else(PoisonError::into_inner);
        }
        if *permits != usize::MAX {
            *permits -= 1;
        }
    }
}
