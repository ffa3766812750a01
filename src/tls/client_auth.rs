//! Certificates of clients: which are asked for and taken, and what OpenSSL would call the outcome.
//!
//! A chain is verified up to a certificate of the CA file. With revocation lists every certificate of the chain must be
//! covered by one that has not expired, as with HAProxy's `crl-file`. What is resumed is not verified again; so the
//! files' contents are part of the context that sessions are bound to, and a new revocation list ends them all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;
use super::store::read_up_to;
use crate::config::model::{ClientAuth, ClientAuthMode};

/// Largest file of revocation lists that is read, in bytes.
pub const CRL_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why clients' certificates cannot be verified as configured. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} cannot be used: {reason}", path = .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How certificates of clients are taken at a bind.
#[derive(Debug, Clone)]
pub(super) struct ClientVerifier {
    /// What the handshake asks.
    pub handshake: Arc<dyn ClientCertVerifier>,
    /// What tells afterwards what came of it, where the handshake takes anything.
    pub afterwards: Option<Afterwards>,
    /// The settings and contents of the files, for the context of sessions.
    pub identity: Vec<u8>,
}

/// Verification that is done after the handshake and refuses nothing.
#[derive(Debug, Clone)]
pub(super) struct Afterwards(Option<Arc<dyn ClientCertVerifier>>);

impl ClientVerifier {
    /// Reads the files and makes what the configuration asks for.
    pub fn load(spec: &ClientAuth) -> Result<ClientVerifier, ClientAuthError> {
        let mut identity = format!("{:?}", spec.mode).into_bytes();
        let mut keep = |bytes: &[u8]| {
            identity.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            identity.extend_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
        };
        let verifier = match &spec.ca_file {
            None => None,
            Some(path) => {
                let pem = read(path, super::store::FILE_MAX_BYTES)?;
                keep(&pem);
                let roots = roots(path, &pem)?;
                let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                if let Some(path) = &spec.crl_file {
                    let pem = read(path, CRL_FILE_MAX_BYTES)?;
                    keep(&pem);
                    builder = builder.with_crls(revocation_lists(path, &pem)?).enforce_revocation_expiration();
                }
                if spec.mode != ClientAuthMode::Required {
                    builder = builder.allow_unauthenticated();
                }
                let at_fault = spec.crl_file.as_ref().unwrap_or(path);
                let unusable = |error: rustls::server::VerifierBuilderError| ClientAuthError::Unusable {
                    path: at_fault.clone(),
                    reason: error.to_string(),
                };
                Some(builder.build().map_err(unusable)?)
            }
        };
        Ok(match (spec.mode, verifier) {
            (ClientAuthMode::Any, verifier) => {
                let any = AnyCertificate { algorithms: provider().signature_verification_algorithms };
                ClientVerifier { handshake: Arc::new(any), afterwards: Some(Afterwards(verifier)), identity }
            }
            (_, Some(verifier)) => ClientVerifier { handshake: verifier, afterwards: None, identity },
            // The configuration asks for a CA file with these modes.
            (_, None) => {
                ClientVerifier { handshake: WebPkiClientVerifier::no_client_auth(), afterwards: None, identity }
            }
        })
    }
}

impl Afterwards {
    /// OpenSSL's number for what came of verifying a chain, the client's own certificate first; 0 is well.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> u32 {
        let Some((leaf, further)) = chain.split_first() else { return 0 };
        match &self.0 {
            None => unknown_issuer(leaf),
            Some(verifier) => match verifier.verify_client_cert(leaf, further, now) {
                Ok(_) => 0,
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => unknown_issuer(leaf),
                Err(error) => verify_code(&error),
            },
        }
    }
}

/// A certificate that nobody known has issued may have issued itself.
fn unknown_issuer(leaf: &CertificateDer<'_>) -> u32 {
    match X509Certificate::from_der(leaf) {
        Ok((_, parsed)) if parsed.subject().as_raw() == parsed.issuer().as_raw() => DEPTH_ZERO_SELF_SIGNED_CERT,
        _ => UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    }
}

const UNSPECIFIED: u32 = 1;
const UNABLE_TO_GET_CRL: u32 = 3;
const CERT_SIGNATURE_FAILURE: u32 = 7;
const CERT_NOT_YET_VALID: u32 = 9;
const CERT_HAS_EXPIRED: u32 = 10;
const CRL_HAS_EXPIRED: u32 = 12;
const DEPTH_ZERO_SELF_SIGNED_CERT: u32 = 18;
const UNABLE_TO_GET_ISSUER_CERT_LOCALLY: u32 = 20;
const CERT_REVOKED: u32 = 23;
const INVALID_PURPOSE: u32 = 26;
const UNHANDLED_CRITICAL_EXTENSION: u32 = 34;

/// OpenSSL's number (`X509_V_ERR_…` of its `x509_vfy.h`) for an error of verification.
fn verify_code(error: &Error) -> u32 {
    let Error::InvalidCertificate(error) = error else { return UNSPECIFIED };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CERT_HAS_EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CERT_NOT_YET_VALID,
        CertificateError::Revoked => CERT_REVOKED,
        CertificateError::UnknownIssuer => UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        CertificateError::UnknownRevocationStatus => UNABLE_TO_GET_CRL,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            CRL_HAS_EXPIRED
        }
        CertificateError::BadSignature => CERT_SIGNATURE_FAILURE,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => INVALID_PURPOSE,
        CertificateError::UnhandledCriticalExtension => UNHANDLED_CRITICAL_EXTENSION,
        _ => UNSPECIFIED,
    }
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ClientAuthError> {
    read_up_to(path, max_bytes).map_err(|error| ClientAuthError::Unreadable { path: path.to_owned(), error })
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, ClientAuthError> {
    let unusable = |reason: String| ClientAuthError::Unusable { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn revocation_lists(path: &Path, pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, ClientAuthError> {
    let unusable = |reason: String| ClientAuthError::Unusable { path: path.to_owned(), reason };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if lists.is_empty() { Err(unusable("it holds no revocation list".to_owned())) } else { Ok(lists) }
}

/// Takes any certificate, but still has the client prove that it holds its key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Were some named, clients would keep back the very certificates that are to be seen here.
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
