//! HAProxy's tools, unchanged, on lockgate: each test drives a real tool against the lab and asserts what its user sees.
//!
//! Python tools live in one virtual environment that [`python`] makes (`tests/tools/setup`); what drives them is in
//! `drivers/`. Tools whose requests are known but which do not run here are imitated by their own rules in [`pollers`].
//! [`replay`] compares the admin socket with everything that was recorded from HAProxy. What lockgate's own commands
//! show is tested here, too, because it needs the same lab.

#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../compat/shape.rs"]
mod shape;

mod automation;
mod compat_page;
mod ctl;
mod grpc;
mod interop;
mod pages;
mod pollers;
mod protocol;
mod python;
mod replay;
mod screens;
mod status;
mod tls_scanners;
