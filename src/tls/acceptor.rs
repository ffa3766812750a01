//! The server side of a handshake: what a bind offers, and what a failed handshake is called in the log.
//!
//! TLS 1.2 and 1.3 with the provider's suites; older versions do not exist here. Resumption is by ticket (both
//! versions) and, for TLS 1.2 clients without tickets, by session id. Early data is never accepted: a request in it
//! could be replayed.

use std::io;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::provider;
use super::resolver::LiveResolver;
use super::resumption::Resumption;
use crate::config::model::{BindTls, TlsVersion};

/// What a bind offers cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// `min_version` is above `max_version`.
    #[error("no TLS version lies between min_version and max_version; swap them")]
    NoVersion,
    /// The library refused.
    #[error("TLS cannot be set up")]
    Refused(#[from] rustls::Error),
}

/// Puts together what a bind offers; all workers share the result.
///
/// `context` names the bind and should stay the same over reloads (its frontend and address): sessions and tickets of
/// one context are worth nothing in another. Certificates come from a store, or from a [`LiveResolver`] whose certificates
/// can be replaced later.
pub fn server_config(
    bind: &BindTls,
    context: &str,
    shared: &Arc<Resumption>,
    certificates: impl Into<Arc<LiveResolver>>,
) -> Result<Arc<ServerConfig>, AcceptorError> {
    let versions = versions(bind.min_version, bind.max_version);
    if versions.is_empty() {
        return Err(AcceptorError::NoVersion);
    }
    let resolver: Arc<LiveResolver> = certificates.into();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let resumption = shared.for_context(context);
    config.session_storage = resumption.clone();
    config.ticketer = resumption;
    config.send_tls13_tickets = 2;
    config.max_early_data_size = 0;
    config.alpn_protocols = bind.alpn.iter().map(|version| version.alpn().to_vec()).collect();
    // Every suite offered is sound; the client knows better than we do whether its processor has AES.
    config.ignore_client_order = false;
    Ok(Arc::new(config))
}

pub(super) fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::V1_3, &version::TLS13), (TlsVersion::V1_2, &version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, supported)| supported)
        .collect()
}

/// Does the handshake. The caller bounds the time it takes.
pub async fn accept<IO>(config: &Arc<ServerConfig>, io: IO) -> Result<TlsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    TlsAcceptor::from(config.clone()).accept(io).await.map_err(HandshakeError::from)
}

/// Whether the handshake of an accepted connection resumed an earlier session.
pub fn is_resumed<IO>(stream: &TlsStream<IO>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Why a handshake came to nothing. `Display` is HAProxy's phrase, with the library's words in parentheses.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peers did not agree, or what came was not TLS.
    #[error("SSL handshake failure ({0})")]
    Failure(rustls::Error),
    /// The peer went away before the end.
    #[error("Connection closed during SSL handshake")]
    Closed,
    /// It took longer than allowed. For callers, who hold the clock.
    #[error("Timeout during SSL handshake")]
    Timeout,
}

impl HandshakeError {
    /// HAProxy's phrase alone.
    pub fn phrase(&self) -> &'static str {
        match self {
            HandshakeError::Failure(_) => "SSL handshake failure",
            HandshakeError::Closed => "Connection closed during SSL handshake",
            HandshakeError::Timeout => "Timeout during SSL handshake",
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> HandshakeError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(refused) => HandshakeError::Failure(refused.clone()),
            // End of stream and every socket error: the peer is gone, whatever it said last.
            None => HandshakeError::Closed,
        }
    }
}
