//! TLS: certificates, resumption, handshakes on the clients' side, and the client side for checks and servers.
//!
//! Reading order: [`store`] loads certificates, [`resolver`] chooses among them by server name, [`certificates`] changes
//! them while the process runs, with [`facts`] to show them and [`watch`] to see files change, [`client_auth`] is about
//! certificates of clients, [`resumption`] holds what lets clients come back cheaply ([`tickets`] with [`ticket_source`],
//! [`sessions`]), [`acceptor`] puts them together for a bind (with `offer`), [`session`] and [`failure`] say what came of
//! it, [`connector`] is the other direction, with [`connectors`] to keep them, [`client_sessions`] to resume and [`verifier`]
//! to judge servers, [`selfsigned`] makes a certificate on the spot.
//!
//! This is the only room that names rustls in what it asks of others: everything is built with the aws-lc-rs provider
//! of [`provider`], never with the process default. Sockets, timeouts and logging of handshakes are the listener's.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub mod acceptor;
pub mod certificates;
pub mod client_auth;
pub mod client_sessions;
pub mod connector;
pub mod connectors;
pub mod facts;
pub mod failure;
mod offer;
pub mod resolver;
pub mod resumption;
pub mod selfsigned;
pub mod session;
pub mod sessions;
pub mod store;
pub mod ticket_source;
pub mod tickets;
pub mod verifier;
pub mod watch;

#[cfg(test)]
mod tests;

pub use acceptor::{BindAcceptor, HandshakeError, accept, server_config};
pub use certificates::{CertificateRefusal, Certificates};
pub use connectors::Connectors;
pub use resumption::{Clocks, Resumption};
pub use store::{CertificateError, CertificateStore};

/// The one cryptography provider: aws-lc-rs with its default suites and groups, post-quantum X25519MLKEM768 first.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
