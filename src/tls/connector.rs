//! The client side of a handshake, for traffic to servers and for their checks: what is asked of a server and shown to
//! it, put together from [`ServerTls`] and the files it names.
//!
//! Whoever connects often takes connectors from [`super::connectors`], which keeps them and reads files again that have
//! changed. Sockets and timeouts are the caller's.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::acceptor::HandshakeError;
use super::client_sessions::ClientSessions;
use super::offer::versions;
use super::provider;
use super::verifier::{AnyServer, NamedServer};
use crate::core::tls::names::{Cipher, TlsVersion};
use crate::core::tls::{Identity, ServerTls, Sni, Verify};

/// Why a connector cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The file of roots is missing, damaged or holds no usable certificate.
    #[error("no trusted certificate could be read from {path} ({reason})", path = .path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file of revocation lists is missing, damaged or empty.
    #[error("no revocation list could be read from {path} ({reason})", path = .path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no roots.
    #[error("the system has no trusted certificates; install ca-certificates or name a ca_file")]
    NoSystemRoots,
    /// The certificate to show, or its key, cannot be used.
    #[error("the certificate in {path} cannot be shown to servers ({reason})", path = .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A name that no certificate can be for.
    #[error("{0:?} is neither a host name nor an address; correct verify_host or sni")]
    Name(Box<str>),
    /// A certificate is to be verified, but not for which name.
    #[error("which name the server's certificate must carry is not known; add verify_host")]
    NoName,
    /// Versions, suites and groups leave nothing to offer.
    #[error("nothing is left to offer: {0}")]
    Nothing(&'static str),
    /// The library refused.
    #[error("TLS cannot be set up ({0})")]
    Refused(#[from] rustls::Error),
}

/// Does handshakes as one [`ServerTls`] says.
#[derive(Debug)]
pub struct Connector {
    settings: Arc<ServerTls>,
    config: Arc<ClientConfig>,
    /// The same without resumption: a check is to see the certificate.
    fresh: Arc<ClientConfig>,
    sessions: Arc<ClientSessions>,
    /// What is sent, unless it is the request's host.
    name: ServerName<'static>,
}

impl Connector {
    /// Reads the files and puts it together. Sessions of an earlier connector with the same settings may be given on if
    /// what it trusted and showed is the same: without its files having changed.
    pub fn new(settings: &Arc<ServerTls>) -> Result<Connector, ConnectorError> {
        let verified = settings.name.as_deref().map(server_name).transpose()?;
        if settings.lacks_name() {
            return Err(ConnectorError::NoName);
        }
        let sessions = Arc::new(ClientSessions::new(settings.sessions_max as usize));
        let config = client_config(settings, verified.clone(), &sessions)?;
        let mut fresh = config.clone();
        fresh.resumption = Resumption::disabled();
        let name = match &settings.sni {
            Sni::Fixed(name) => server_name(name)?,
            // Without a name an address is as good as any: none is sent.
            _ => verified.unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())),
        };
        Ok(Connector { settings: settings.clone(), config: Arc::new(config), fresh: Arc::new(fresh), sessions, name })
    }

    /// What it was made from.
    pub fn settings(&self) -> &Arc<ServerTls> {
        &self.settings
    }

    /// Sessions kept for resumption now.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The request's host if connections are named after it; such a connection serves requests for that host only.
    pub fn named_after<'h>(&self, host: Option<&'h str>) -> Option<&'h str> {
        host.filter(|_| self.settings.sni == Sni::RequestHost)
    }

    /// Does the handshake. `host` is the host of the request that the connection is made for. The caller bounds the time
    /// it takes.
    pub async fn connect<IO>(&self, host: Option<&str>, io: IO) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match self.named_after(host) {
            Some(host) => request_name(host).unwrap_or_else(|| self.name.clone()),
            None => self.name.clone(),
        };
        connect(&self.config, name, io).await
    }

    /// Does a complete handshake, for a check: the server shows its certificate each time.
    pub async fn connect_afresh<IO>(&self, io: IO) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        connect(&self.fresh, self.name.clone(), io).await
    }
}

async fn connect<IO>(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    io: IO,
) -> Result<TlsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    TlsConnector::from(config.clone()).connect(name, io).await.map_err(HandshakeError::from)
}

/// Whether a handshake with a server resumed an earlier session.
pub fn is_resumed<IO>(stream: &TlsStream<IO>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// A host name or an address.
fn server_name(name: &str) -> Result<ServerName<'static>, ConnectorError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ConnectorError::Name(name.into()))
}

/// The host of a request as it is routed by: IPv6 addresses stand in brackets.
fn request_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).ok()
}

fn client_config(
    settings: &ServerTls,
    verified: Option<ServerName<'static>>,
    sessions: &Arc<ClientSessions>,
) -> Result<ClientConfig, ConnectorError> {
    let provider = offered(settings)?;
    let algorithms = provider.signature_verification_algorithms;
    let versions = versions(settings.min_version, settings.max_version);
    if versions.is_empty() {
        return Err(ConnectorError::Nothing("min_version is newer than max_version"));
    }
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?.dangerous();
    let trusting = |roots: Arc<RootCertStore>| {
        let mut chains = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        if let Some(path) = &settings.crl_file {
            chains = chains.with_crls(read_crls(path)?).enforce_revocation_expiration();
        }
        let chains = chains.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok::<_, ConnectorError>(Arc::new(NamedServer::new(chains, verified.clone())))
    };
    let builder = match &settings.verify {
        Verify::Nothing => builder.with_custom_certificate_verifier(Arc::new(AnyServer::new(algorithms))),
        Verify::SystemRoots => builder.with_custom_certificate_verifier(trusting(system_roots()?)?),
        Verify::Roots(path) => builder.with_custom_certificate_verifier(trusting(Arc::new(read_roots(path)?))?),
    };
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            let refused = |error: rustls::Error| identity_error(&identity.certificate, error.to_string());
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    config.resumption = match settings.sessions_max {
        0 => Resumption::disabled(),
        _ => Resumption::store(sessions.clone()),
    };
    config.alpn_protocols = settings.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.enable_sni = settings.sni != Sni::Off;
    config.enable_early_data = false;
    Ok(config)
}

/// The provider with the suites and groups that the settings name.
fn offered(settings: &ServerTls) -> Result<Arc<CryptoProvider>, ConnectorError> {
    if settings.ciphers.is_empty() && settings.groups.is_empty() {
        return Ok(provider());
    }
    let mut chosen = CryptoProvider::clone(&provider());
    if !settings.ciphers.is_empty() {
        chosen.cipher_suites = suites(&settings.ciphers, &chosen.cipher_suites);
    }
    if !settings.groups.is_empty() {
        let all = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
        let of_code = |code: &u16| all.iter().find(|group| u16::from(group.name()) == *code).copied();
        chosen.kx_groups = settings.groups.iter().filter_map(of_code).collect();
        if chosen.kx_groups.is_empty() {
            return Err(ConnectorError::Nothing("none of the groups exists here"));
        }
    }
    Ok(Arc::new(chosen))
}

/// The suites with these numbers, in their order. A version of which none is named keeps all of its own.
fn suites(named: &[u16], all: &[rustls::SupportedCipherSuite]) -> Vec<rustls::SupportedCipherSuite> {
    let mut out = Vec::new();
    for version in [TlsVersion::V1_3, TlsVersion::V1_2] {
        let is_of = |code: &&u16| Cipher::of_code(**code).is_some_and(|cipher| cipher.version == version);
        let of_version: Vec<u16> = named.iter().filter(is_of).copied().collect();
        if of_version.is_empty() {
            let is_its =
                |suite: &&rustls::SupportedCipherSuite| suite.tls13().is_some() == (version == TlsVersion::V1_3);
            out.extend(all.iter().filter(is_its));
        } else {
            out.extend(of_version.iter().filter_map(|code| all.iter().find(|s| u16::from(s.suite()) == *code)));
        }
    }
    out
}

/// The system's roots, read once, when they are first needed.
fn system_roots() -> Result<Arc<RootCertStore>, ConnectorError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() { Err(ConnectorError::NoSystemRoots) } else { Ok(roots.clone()) }
}

fn read_roots(path: &Path) -> Result<RootCertStore, ConnectorError> {
    let failed = |reason: String| ConnectorError::Roots { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, ConnectorError> {
    let failed = |reason: String| ConnectorError::Revocations { path: path.to_owned(), reason };
    let lists = CertificateRevocationListDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let lists = lists.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
    if lists.is_empty() { Err(failed("it holds none".to_owned())) } else { Ok(lists) }
}

fn identity_error(path: &Path, reason: String) -> ConnectorError {
    ConnectorError::Identity { path: path.to_owned(), reason }
}

fn read_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConnectorError> {
    let read =
        |path: &Path| std::fs::read(path).map(Zeroizing::new).map_err(|error| identity_error(path, error.to_string()));
    let path = &identity.certificate;
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| identity_error(path, error.to_string()))?;
    if chain.is_empty() {
        return Err(identity_error(path, "it holds no certificate".to_owned()));
    }
    let key_path = identity.key.as_ref().unwrap_or(path);
    let key_pem = match &identity.key {
        Some(key) => read(key)?,
        None => pem,
    };
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| identity_error(key_path, error.to_string()))?;
    Ok((chain, key))
}
