//! Connections to servers that speak HTTP/2: many requests on each, kept by one worker.
//!
//! Reading order: [`pool`] (which connection takes a request), [`opening`] (a connection on its way, and who waits for
//! it), [`connection`] (one that stands: its task, its signs of life, its places), [`exchange`] (one request on it).
//!
//! Flow control runs from end to end: what a client has not taken is not given back to the server, and what a server does
//! not take is not read from the client. Not here: what a request and an answer look like (`core::http::h2_to_server`),
//! and what becomes of a failure (`core::termination`).

pub mod connection;
pub mod exchange;
pub mod opening;
pub mod pool;

#[cfg(test)]
mod tests;

pub use connection::Place;
pub use exchange::{Answer, Exchange, Fault, Piece};
pub use opening::{Waiting, Wanted};
pub use pool::{Asked, Connections, Whose};
