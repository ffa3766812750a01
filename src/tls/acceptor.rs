//! The server side of a handshake: what a bind offers to whom, and what a failed handshake is called in the log.
//!
//! TLS 1.2 and 1.3 with the provider's suites; older versions do not exist here. The client's hello is read here first,
//! because the name it asks for decides what is offered, and because it is what a client is known by ([`ja4`]); then the
//! library gets the same bytes. Resumption is by ticket (both versions) and, for TLS 1.2 clients without tickets, by
//! session id. Early data is never accepted: a request in it could be replayed.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_auth::{Afterwards, ClientAuthError, ClientVerifier};
use super::offer::{provider_of, versions};
use super::resolver::LiveResolver;
use super::resumption::Resumption;
use super::session;
use crate::config::model::{BindTls, ClientAuth, TlsOffer};
use crate::core::tls::TlsFacts;
use crate::core::tls::hello::{ClientHello, HelloReader};
use crate::core::tls::ja4;

/// Bytes that are made room for at first; a hello with a post-quantum key share has 1700 to 2000.
const HELLO_ROOM_BYTES: usize = 2560;

/// A fatal alert `unrecognized_name` (RFC 6066, section 3) as a record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What a bind offers cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// `min_version` is above `max_version`.
    #[error("no TLS version lies between min_version and max_version; swap them")]
    NoVersion,
    /// Certificates of clients cannot be verified.
    #[error(transparent)]
    ClientAuth(#[from] ClientAuthError),
    /// The library refused.
    #[error("TLS cannot be set up")]
    Refused(#[from] rustls::Error),
}

/// What a bind offers; all workers share it. Its certificates are those of a [`LiveResolver`] and can be replaced at any
/// time; whom it trusts can be read anew.
#[derive(Debug)]
pub struct BindAcceptor {
    spec: BindTls,
    context: Box<str>,
    shared: Arc<Resumption>,
    resolver: Arc<LiveResolver>,
    offers: ArcSwap<Offers>,
}

/// What is offered: the bind's own offer, then those of its certificates that have their own.
#[derive(Debug)]
struct Offers {
    /// Each for a client that begins, and for one that comes back: that one has used one ticket and gets one.
    configs: Vec<[Arc<ServerConfig>; 2]>,
    afterwards: Option<Afterwards>,
    /// What the chain of a resumed session is verified with again: time has gone by since it was. `None` where
    /// `afterwards` does that.
    again: Option<Arc<dyn ClientCertVerifier>>,
    /// Whom clients' certificates must come from ([`ClientVerifier::identity`]).
    identity: Vec<u8>,
}

impl BindAcceptor {
    /// Puts together what a bind offers, from files that can be read now.
    ///
    /// `context` names the bind and should stay the same over reloads and on every machine that shares ticket keys (its
    /// frontend and place): sessions and tickets of one context are worth nothing in another.
    pub fn new(
        spec: &BindTls,
        context: &str,
        shared: &Arc<Resumption>,
        resolver: Arc<LiveResolver>,
    ) -> Result<Arc<BindAcceptor>, AcceptorError> {
        let offers = Offers::load(spec, context, shared, &resolver)?;
        Ok(Arc::new(BindAcceptor {
            spec: spec.clone(),
            context: context.into(),
            shared: shared.clone(),
            resolver,
            offers: ArcSwap::from_pointee(offers),
        }))
    }

    /// Whether it reads this file to know whom it trusts.
    pub fn trusts(&self, path: &std::path::Path) -> bool {
        let Some(auth) = &self.spec.client_auth else { return false };
        auth.ca_file.as_deref() == Some(path) || auth.crl_file.as_deref() == Some(path)
    }

    /// Certificates of clients, as configured.
    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.spec.client_auth.as_ref()
    }

    /// Reads whom it trusts anew; false when that is as before. Refused, everything stays as it was. Sessions that began
    /// when other clients were trusted are not resumed afterwards.
    pub fn renew(&self) -> Result<bool, AcceptorError> {
        let offers = Offers::load(&self.spec, &self.context, &self.shared, &self.resolver)?;
        if offers.identity == self.offers.load().identity {
            return Ok(false);
        }
        self.offers.store(Arc::new(offers));
        Ok(true)
    }

    /// Does the handshake on a fresh connection. What the client sends first is put into `opening`, where it can still
    /// be looked at when the handshake came to nothing. The caller bounds the time it takes.
    pub async fn accept<IO>(&self, mut io: IO, opening: &mut Opening) -> Result<Accepted<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = read_hello(&mut io, opening).await?;
        let name = hello.as_ref().and_then(ClientHello::server_name);
        let (config, afterwards, again) = {
            let offers = self.offers.load();
            let number = match (self.resolver.offer(name), &hello) {
                (Some(number), _) => number,
                // What is no hello at all is for the library to refuse.
                (None, None) => 0,
                (None, Some(_)) => {
                    let _ = io.write_all(&UNRECOGNIZED_NAME).await;
                    let _ = io.flush().await;
                    return Err(HandshakeError::UnknownName(name.map(Into::into)));
                }
            };
            let comes_back = hello.as_ref().is_some_and(|hello| hello.extension(PRE_SHARED_KEY).is_some());
            let pair = offers.configs.get(number).or_else(|| offers.configs.first());
            let config = pair.map(|[first, again]| if comes_back { again } else { first }).cloned();
            (config.ok_or(HandshakeError::Closed)?, offers.afterwards.clone(), offers.again.clone())
        };
        let stream = shake(config, io, &opening.bytes).await?;
        if hello.is_none() {
            // The library read what was not read here: nothing that goes by the hello would hold.
            return Err(HandshakeError::Failure(rustls::Error::PeerSentOversizedRecord));
        }
        let connection = stream.get_ref().1;
        if is_resumed(&stream)
            && let (Some(again), Some([leaf, further @ ..])) = (&again, connection.peer_certificates())
        {
            let verified = again.verify_client_cert(leaf, further, self.shared.unix_time());
            verified.map_err(HandshakeError::Failure)?;
        }
        let now = || self.shared.unix_time();
        let verify = |chain: &[CertificateDer<'_>]| afterwards.as_ref().map_or(0, |check| check.verify(chain, now()));
        let facts = TlsFacts {
            ja4: hello.as_ref().map(|hello| ja4::of_hello(hello, sha256)),
            ..session::facts(connection, verify)
        };
        Ok(Accepted { stream, facts })
    }
}

/// What a client sent first.
#[derive(Debug, Default)]
pub struct Opening {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// It closed in the middle of them, in an orderly way.
    pub ended: bool,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// The connection.
    pub stream: TlsStream<IO>,
    /// What is known of it. How long it took is for the caller to add, who holds the clock.
    pub facts: TlsFacts,
}

impl Offers {
    fn load(
        spec: &BindTls,
        context: &str,
        shared: &Arc<Resumption>,
        resolver: &Arc<LiveResolver>,
    ) -> Result<Offers, AcceptorError> {
        let clients = spec.client_auth.as_ref().map(ClientVerifier::load).transpose()?;
        let of_certificates = spec.certificates.iter().filter_map(|source| source.offer.as_ref());
        let configs = std::iter::once(&spec.offer)
            .chain(of_certificates)
            .map(|offer| {
                let first = config(offer, clients.as_ref(), context, shared, resolver)?;
                let mut again = (*first).clone();
                again.send_tls13_tickets = 1;
                Ok([first, Arc::new(again)])
            })
            .collect::<Result<_, AcceptorError>>()?;
        let again = clients.as_ref().filter(|c| c.afterwards.is_none()).map(|c| c.handshake.clone());
        let (afterwards, identity) = clients.map(|clients| (clients.afterwards, clients.identity)).unwrap_or_default();
        Ok(Offers { configs, afterwards, again, identity })
    }
}

/// `pre_shared_key` (RFC 8446 section 4.2.11).
const PRE_SHARED_KEY: u16 = 41;

/// The bind's own offer alone; see [`BindAcceptor::new`].
pub fn server_config(
    spec: &BindTls,
    context: &str,
    shared: &Arc<Resumption>,
    certificates: impl Into<Arc<LiveResolver>>,
) -> Result<Arc<ServerConfig>, AcceptorError> {
    let clients = spec.client_auth.as_ref().map(ClientVerifier::load).transpose()?;
    config(&spec.offer, clients.as_ref(), context, shared, &certificates.into())
}

fn config(
    offer: &TlsOffer,
    clients: Option<&ClientVerifier>,
    context: &str,
    shared: &Arc<Resumption>,
    resolver: &Arc<LiveResolver>,
) -> Result<Arc<ServerConfig>, AcceptorError> {
    let versions = versions(offer.min_version, offer.max_version);
    if versions.is_empty() {
        return Err(AcceptorError::NoVersion);
    }
    let builder = ServerConfig::builder_with_provider(provider_of(offer)).with_protocol_versions(&versions)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.handshake.clone()),
    };
    let mut config = builder.with_cert_resolver(resolver.clone());
    let mut bound_to = context.as_bytes().to_vec();
    bound_to.push(0);
    bound_to.extend_from_slice(clients.map(|clients| &clients.identity[..]).unwrap_or_default());
    let resumption = shared.for_context(&bound_to);
    config.session_storage = resumption.clone();
    config.ticketer = resumption;
    config.send_tls13_tickets = 2;
    config.max_early_data_size = 0;
    config.alpn_protocols = offer.alpn.iter().map(|version| version.alpn().to_vec()).collect();
    // As HAProxy does unless told `prefer-client-ciphers`: the order of the configuration is what an operator expects.
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// Reads until a hello is whole; `None` when what comes is none.
async fn read_hello<IO>(io: &mut IO, opening: &mut Opening) -> Result<Option<ClientHello>, HandshakeError>
where
    IO: AsyncRead + Unpin,
{
    opening.bytes.reserve(HELLO_ROOM_BYTES);
    let mut reader = HelloReader::default();
    loop {
        match io.read_buf(&mut opening.bytes).await {
            Ok(0) => {
                opening.ended = true;
                return Err(HandshakeError::Closed);
            }
            Ok(_) => {}
            Err(_) => return Err(HandshakeError::Closed),
        }
        match reader.read(&opening.bytes) {
            Ok(None) => {}
            Ok(Some(hello)) => return Ok(Some(hello)),
            Err(_) => return Ok(None),
        }
    }
}

/// Has the library do the handshake; `opening` is what was read of it so far.
async fn shake<IO>(config: Arc<ServerConfig>, io: IO, opening: &[u8]) -> Result<TlsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut fed = Ok(());
    let accepting = TlsAcceptor::from(config).accept_with(io, |connection| fed = feed(connection, opening));
    if let Err(error) = fed {
        // The alert that says why waits to be sent.
        let mut accepting = pin!(accepting);
        poll_fn(|cx| {
            let _ = accepting.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        return Err(HandshakeError::Failure(error));
    }
    accepting.await.map_err(HandshakeError::from)
}

fn feed(connection: &mut ServerConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        let taken = connection.read_tls(&mut bytes);
        connection.process_new_packets()?;
        if !matches!(taken, Ok(1..)) {
            return Err(rustls::Error::PeerSentOversizedRecord);
        }
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let hash = digest::digest(&digest::SHA256, bytes);
    out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Does the handshake with one offer, whatever name the client asks for. The caller bounds the time it takes.
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
    /// The client asked for no name, or one there is no certificate for, and the bind has `strict_sni`.
    #[error("SSL handshake failure ({})", unknown_name(.0.as_deref()))]
    UnknownName(Option<Box<str>>),
    /// The peer went away before the end.
    #[error("Connection closed during SSL handshake")]
    Closed,
    /// It took longer than allowed. For callers, who hold the clock.
    #[error("Timeout during SSL handshake")]
    Timeout,
}

fn unknown_name(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("no certificate for {name}"),
        None => "no server name".to_owned(),
    }
}

impl HandshakeError {
    /// HAProxy's phrase alone.
    pub fn phrase(&self) -> &'static str {
        match self {
            HandshakeError::Failure(_) | HandshakeError::UnknownName(_) => "SSL handshake failure",
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
