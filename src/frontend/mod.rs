//! The client side: one connection after another, one request after another.
//!
//! Reading order: [`worker`] (what a worker thread holds and does) with `report` (what it tells of itself),
//! `announced` (whose a connection is, if it says so first), [`connection`] (one client), [`stream`] (one request in phases), [`tunnel`] (what an upgrade leads to).

mod announced;
pub mod answer;
pub mod connection;
pub mod registry;
mod report;
pub mod stream;
pub mod tcp;
pub mod tunnel;
pub mod worker;
