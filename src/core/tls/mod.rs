//! TLS as values: the names of versions, cipher suites and groups ([`names`]), TLS to a server as configured ([`server`]),
//! and what a client says before it is encrypted ([`hello`]).
//!
//! Cryptography and handshakes are in `crate::tls`.

pub mod hello;
pub mod names;
pub mod server;

pub use hello::{ClientHello, HelloError, HelloReader};
pub use server::{Identity, ServerTls, Sni, TlsUse, Verify};
