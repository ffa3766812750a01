//! lockgate: a layer-7 load balancer and TLS terminator that speaks HAProxy's operational language.
//!
//! The rooms, from the bottom up (an import never points upwards; `tests/tidy.rs` checks it):
//!
//! * [`core`] decides: every policy and every byte format, without a socket, clock, file or thread.
//! * [`config`] reads what the operator wrote and lowers it to a model that cannot be wrong.
//! * [`runtime`] is the operating system: clocks, workers, signals, descriptors.
//! * [`tls`], [`listener`], [`backend`], [`log`] each move one kind of bytes.
//! * [`frontend`] serves one client connection after another.
//! * [`control`] is the one writer of state; [`health`], [`discovery`], [`admin`] and [`web`] feed it.
//! * [`app`] wires them together; [`cli`] holds the sub-commands.

pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod discovery;
pub mod frontend;
pub mod health;
pub mod listener;
pub mod log;
pub mod runtime;
pub mod tls;
pub mod web;
