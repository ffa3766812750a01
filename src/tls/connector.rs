//! The client side of a handshake, for checks over TLS and connections to servers.
//!
//! Nothing is cached here: whoever connects often keeps the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::provider;

/// What a server's certificate must show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing. HAProxy: `verify none`.
    Nothing,
    /// A chain to one of the system's roots.
    SystemRoots,
    /// A chain to a root in this PEM file. HAProxy: `verify required ca-file FILE`.
    Roots(PathBuf),
}

/// Why a client configuration cannot be made.
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
    /// The system has no roots.
    #[error("the system has no trusted certificates; install ca-certificates or name a ca_file")]
    NoSystemRoots,
    /// The library refused.
    #[error("TLS cannot be set up ({0})")]
    Refused(#[from] rustls::Error),
}

/// A client configuration without resumption and without ALPN.
pub fn client_config(verify: &Verify) -> Result<Arc<ClientConfig>, ConnectorError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match verify {
        Verify::Nothing => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { algorithms }))
        }
        Verify::SystemRoots => builder.with_root_certificates(system_roots()?),
        Verify::Roots(path) => builder.with_root_certificates(read_roots(path)?),
    }
    .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, ConnectorError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(ConnectorError::NoSystemRoots) } else { Ok(roots) }
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

/// Takes any certificate, but still has the server prove that it holds its key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
