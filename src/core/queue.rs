//! Requests that wait for a server: who is next, who gave up, how many may wait.

/// The waiting requests of one backend.
#[derive(Debug, Default)]
pub struct Queue {}
