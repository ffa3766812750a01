//! Which certificate a client gets: by the server name it asked for, then by the signatures it understands.
//!
//! A name is looked for exactly, then as `*.` for its first label (one label, RFC 6125 section 6.4.3). A client that
//! sent no name, or one nobody has a certificate for, gets the default: the first certificate loaded, and those that
//! share a name with it (its other key type). With `strict_sni` it gets none. Of several, ECDSA goes before RSA when the client can verify it, because
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
    exact: HashMap<Box<str>, Group>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Group>,
    default: Group,
    /// Names nobody has a certificate for get none, not the default.
    strict: bool,
}

/// Certificates for the same name.
#[derive(Debug, Default)]
struct Group {
    keys: Vec<Arc<CertifiedKey>>,
    /// Which of the bind's offers a client gets that asks for the name: that of the certificate named first.
    offer: usize,
}

impl Group {
    fn add(&mut self, certificate: &Certificate, offer: usize) {
        if self.keys.is_empty() {
            self.offer = offer;
        }
        self.keys.push(certificate.key.clone());
    }
}

impl CertificateResolver {
    /// Arranges the certificates of `store` by name.
    pub fn new(store: &CertificateStore) -> CertificateResolver {
        let certificates: Vec<_> = store.certificates().iter().map(|certificate| (certificate, 0)).collect();
        CertificateResolver::arrange(&certificates, false)
    }

    /// Arranges these certificates by name, each with the number of its offer (0 is the bind's own); the first is the
    /// default. With `strict` clients that ask for no name or an unknown one get none.
    pub fn arrange(certificates: &[(&Certificate, usize)], strict: bool) -> CertificateResolver {
        let mut resolver =
            CertificateResolver { exact: HashMap::new(), wildcard: HashMap::new(), default: Group::default(), strict };
        let first_names = certificates.first().map(|(first, _)| first.names.as_slice()).unwrap_or_default();
        for (position, (certificate, offer)) in certificates.iter().enumerate() {
            for name in &certificate.names {
                let group = match name.strip_prefix("*.") {
                    Some(parent) => resolver.wildcard.entry(parent.into()).or_default(),
                    None => resolver.exact.entry(name.clone()).or_default(),
                };
                group.add(certificate, *offer);
            }
            if position == 0 || certificate.names.iter().any(|name| first_names.contains(name)) {
                resolver.default.add(certificate, *offer);
            }
        }
        for group in resolver.exact.values_mut().chain(resolver.wildcard.values_mut()).chain([&mut resolver.default]) {
            // Stable: of equals the one loaded first stays first.
            group.keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        }
        resolver
    }

    /// The certificate for a client that asked for `name` and can verify `schemes`.
    ///
    /// When no certificate for the name suits the client, the first for it is returned all the same: the handshake
    /// then fails with the alert that says so (`handshake_failure`).
    pub fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let keys = &self.group(name)?.keys;
        keys.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or_else(|| keys.first()).cloned()
    }

    /// Which of the bind's offers a client gets that asked for `name`; `None` when there is no certificate for it.
    pub fn offer(&self, name: Option<&str>) -> Option<usize> {
        self.group(name).map(|group| group.offer)
    }

    fn group(&self, name: Option<&str>) -> Option<&Group> {
        name.and_then(|name| self.named(name)).or_else(|| (!self.strict).then_some(&self.default))
    }

    fn named(&self, name: &str) -> Option<&Group> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(group) = self.exact.get(name.as_str()) {
            return Some(group);
        }
        let (_, parent) = name.split_once('.')?;
        self.wildcard.get(parent)
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

    /// [`CertificateResolver::offer`] of the one in force.
    pub fn offer(&self, name: Option<&str>) -> Option<usize> {
        self.0.load().offer(name)
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
