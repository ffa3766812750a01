//! Counters, and the texts made of them.
//!
//! [`counters`] holds what workers count; the CSV, typed, JSON and `show info` renderers stand beside it.

pub mod counters;

pub use counters::{Counter, Counters};
