//! TLS as values: the names of versions, cipher suites and groups ([`names`]), what can be known of a connection without
//! taking part in it, the client's first message ([`hello`]) and fingerprints of it ([`ja4`]); what is known of a client's
//! TLS ([`facts`]) and what rules, limits and logs may ask of it ([`sample`]); responses to be stapled ([`ocsp`]), files of
//! ticket keys ([`ticket_keys`]); TLS to a server as configured ([`server`]).
//!
//! Cryptography and handshakes are in `crate::tls`.

pub mod facts;
pub mod hello;
pub mod ja4;
pub mod names;
pub mod ocsp;
pub mod sample;
pub mod server;
pub mod ticket_keys;

pub use facts::TlsFacts;
pub use hello::{ClientHello, HelloError, HelloReader};
pub use sample::TlsSample;
pub use server::{Identity, ServerTls, Sni, TlsUse, Verify};
