//! Which certificate a client gets: by the server name it asked for, then by the signatures it understands.
//!
//! A name is looked for exactly, then as `*.` for its first label (one label, RFC 6125 section 6.4.3). A client that
//! sent no name, or one nobody has a certificate for, gets the default: the first certificate loaded, and those that
//! share a name with it (its other key type). Of several, ECDSA goes before RSA when the client can verify it, because
//! it costs the server less; of two with the same kind of key the one loaded first.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::store::{Certificate, CertificateStore};

/// Chooses certificates of one bind by server name.
#[derive(Debug)]
pub struct CertificateResolver {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl CertificateResolver {
    /// Arranges the certificates of `store` by name.
    pub fn new(store: &CertificateStore) -> CertificateResolver {
        CertificateResolver::arrange(&store.certificates().iter().collect::<Vec<_>>())
    }

    /// Arranges these certificates by name; the first is the default.
    pub fn arrange(certificates: &[&Certificate]) -> CertificateResolver {
        let mut resolver = CertificateResolver { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        let first_names = certificates.first().map(|first| first.names.as_slice()).unwrap_or_default();
        for (position, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names {
                match name.strip_prefix("*.") {
                    Some(parent) => resolver.wildcard.entry(parent.into()).or_default().push(certificate.key.clone()),
                    None => resolver.exact.entry(name.clone()).or_default().push(certificate.key.clone()),
                }
            }
            if position == 0 || certificate.names.iter().any(|name| first_names.contains(name)) {
                resolver.default.push(certificate.key.clone());
            }
        }
        for group in resolver.exact.values_mut().chain(resolver.wildcard.values_mut()).chain([&mut resolver.default]) {
            // Stable: of equals the one loaded first stays first.
            group.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        }
        resolver
    }

    /// The certificate for a client that asked for `name` and can verify `schemes`.
    ///
    /// When no certificate for the name suits the client, the first for it is returned all the same: the handshake
    /// then fails with the alert that says so (`handshake_failure`).
    pub fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let group = name.and_then(|name| self.group(name)).unwrap_or(&self.default);
        group.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or_else(|| group.first()).cloned()
    }

    fn group(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(group) = self.exact.get(name.as_str()) {
            return Some(group);
        }
        let (_, parent) = name.split_once('.')?;
        self.wildcard.get(parent).map(Vec::as_slice)
    }
}

/// A bind's [`CertificateResolver`], which may be replaced at any time: the next handshake on any worker uses the new one.
/// Looking into it takes no lock.
#[derive(Debug)]
pub struct LiveResolver(ArcSwap<CertificateResolver>);

impl LiveResolver {
    /// Begins with this one.
    pub fn new(resolver: CertificateResolver) -> Arc<LiveResolver> {
        Arc::new(LiveResolver(ArcSwap::from_pointee(resolver)))
    }

    /// [`CertificateResolver::pick`] of the one in force.
    pub fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.load().pick(name, schemes)
    }

    /// Takes this one from now on. Handshakes that have chosen already go on with what they chose.
    pub fn replace(&self, resolver: CertificateResolver) {
        self.0.store(Arc::new(resolver));
    }
}

impl From<&CertificateStore> for Arc<LiveResolver> {
    fn from(store: &CertificateStore) -> Arc<LiveResolver> {
        LiveResolver::new(CertificateResolver::new(store))
    }
}

impl ResolvesServerCert for LiveResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
    }
}
