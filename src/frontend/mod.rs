//! The client side: one connection after another, one request after another.
//!
//! Reading order: [`worker`] (what a worker thread holds and does) with `report` (what it tells of itself),
//! [`connection`] (one client), [`h2`] (one client with many requests at once), [`client`] (both as a request sees them),
//! [`stream`] (one request in phases), [`tunnel`] (what an upgrade leads to).

pub mod answer;
pub mod client;
pub mod connection;
pub mod h2;
pub mod registry;
mod report;
pub mod stream;
pub mod tunnel;
pub mod worker;
