//! The control state machine: every server's two-axis state, driven by events, read through snapshots.
//!
//! Reading order: [`spec`] (what was configured), [`event`] (what happens), [`snapshot`] (what workers read),
//! [`live`] (the atomics they touch).

pub mod event;
pub mod live;
pub mod snapshot;
pub mod spec;
