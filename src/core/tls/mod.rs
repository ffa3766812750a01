//! TLS as values: the names of versions, cipher suites and groups ([`names`]), and what can be known of a connection
//! without taking part in it: the client's first message ([`hello`]).
//!
//! Cryptography and handshakes are in `crate::tls`.

pub mod hello;
pub mod names;

pub use hello::{ClientHello, HelloError, HelloReader};
