//! The admin socket compared with replies recorded from HAProxy 2.8, and its transport.
//!
//! `golden/NNN-name.cmd` is what was sent to HAProxy, `.out` what it answered. Numbers, pointers, dates and versions
//! are masked; everything else is compared letter by letter.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod diagnosis;
mod golden;
mod lab;
mod metrics;
mod own;
mod shape;
mod timelines;
mod transport;
