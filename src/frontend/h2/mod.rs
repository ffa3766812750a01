//! HTTP/2 with clients.
//!
//! `connection` drives a connection and gives each request a task of its own, in which `super::stream` serves it like
//! one of HTTP/1; `exchange` is that task's end of the HTTP/2 stream; `link` is what all of them share;
//! `websocket` is what an upgrade needs that was not asked for by HTTP/1.
//!
//! A task per request, not one for all of a connection: what comes for a stream wakes that stream alone and not the
//! connection first, the requests of one read of the socket run one after the other before the connection's task writes
//! all of their answers at once, a panic ends one request only, and requests outlive their connection for as long as
//! their log lines take.

mod connection;
mod exchange;
mod link;
pub mod websocket;

pub use connection::serve;
pub use exchange::Exchange;
