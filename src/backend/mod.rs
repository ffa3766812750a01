//! The server side: picking a server and holding a place on it, connecting, keeping connections.
//!
//! Reading order: [`checkout`] (→ [`Lease`]), [`connect`] and [`handshake`] (→ [`ServerIo`]), [`io`], [`pool`], [`h2`]
//! (connections that carry many requests). What is said on the connection is `frontend`'s
//! business.

pub mod checkout;
pub mod connect;
pub mod h2;
pub mod handshake;
pub mod io;
pub mod pool;

pub use checkout::Lease;
pub use io::ServerIo;
