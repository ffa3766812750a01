//! A certificate made on the spot, for `demo` and tests. Nobody trusts it, and it is kept in memory only.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// Names and addresses a demonstration is reached by.
pub const DEMO_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate could not be made ({0})")]
pub struct SelfSignError(#[from] rcgen::Error);

/// A self-signed certificate (ECDSA P-256) and its key for `names` (host names or addresses), as PEM blocks that
/// [`super::CertificateStore::from_pem`] and every PEM file take.
pub fn self_signed(names: &[&str]) -> Result<String, SelfSignError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("lockgate"));
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}
