//! What can be known of a TLS connection without taking part in it: the client's first message.
//!
//! Handshakes and keys are not here: they are the business of the room `crate::tls`.

pub mod hello;

pub use hello::{ClientHello, HelloError, HelloReader};
