//! TLS as values: the names of versions, cipher suites and groups ([`names`]), and TLS to a server as configured
//! ([`server`]).
//!
//! Cryptography and handshakes are in `crate::tls`.

pub mod names;
pub mod server;

pub use server::{Identity, ServerTls, Sni, TlsUse, Verify};
