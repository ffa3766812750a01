//! TLS as values: the names of versions, cipher suites and groups ([`names`]).
//!
//! Cryptography and handshakes are in `crate::tls`.

pub mod names;
