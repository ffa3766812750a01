//! The client side: one connection after another, one request after another.
//!
//! Reading order: [`worker`] (what a worker thread holds and does) with `report` (what it tells of itself),
//! `announced` (whose a connection is, if it says so first), [`connection`] (one client), [`h2`] (one client with many
//! requests at once), [`client`] (both as a request sees them), [`stream`] (one request in phases), [`tunnel`] (what an
//! upgrade leads to).

mod announced;
pub mod answer;
pub mod client;
pub mod connection;
pub mod h2;
pub mod registry;
mod report;
pub mod stream;
pub mod tcp;
pub mod tunnel;
pub mod worker;
