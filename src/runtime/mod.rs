//! The operating system: clocks, timers, buffers, descriptors, signals, and what all threads share.
//!
//! Nothing here knows HTTP. Reading order: [`shared`], [`worker`], [`deadline`], [`buffer`].

pub mod buffer;
pub mod clock;
pub mod compression;
pub mod deadline;
pub mod gate;
pub mod limits;
pub mod notify;
pub mod page;
pub mod proc;
pub mod shared;
pub mod socket;
pub mod splice;
pub mod throttle;
pub mod worker;
