//! The client side: one connection after another, one request after another.
//!
//! Reading order: [`worker`] (what a worker thread holds and does), [`connection`] (one client), [`stream`] (one request
//! in phases), [`tunnel`] (what an upgrade leads to).

pub mod answer;
pub mod connection;
pub mod registry;
pub mod stream;
pub mod tunnel;
pub mod worker;
