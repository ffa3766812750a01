//! Certificates made for a test, and TLS ends that use them.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, RsaKeySize};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::client::RawClient;
use super::wire::{Transport, Wire};

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Kind of a server's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Ecdsa,
    Rsa,
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key can be made");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a valid certificate") }
    }

    /// Chain and key of a certificate for these names, as one PEM text.
    pub fn issue(&self, names: &[&str], key: Key) -> String {
        let (certificate, key) = self.issue_der(names, key);
        format!("{}{}{}", certificate.pem(), self.issuer.pem(), key.serialize_pem())
    }

    fn issue_der(&self, names: &[&str], key: Key) -> (rcgen::Certificate, KeyPair) {
        let key = match key {
            Key::Ecdsa => KeyPair::generate(),
            Key::Rsa => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
        .expect("a key can be made");
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
        (params.signed_by(&key, &self.issuer).expect("a valid certificate"), key)
    }

    /// Writes [`Authority::issue`] to a file.
    pub fn write(&self, path: &Path, names: &[&str], key: Key) -> PathBuf {
        std::fs::write(path, self.issue(names, key)).expect("the test's own folder can be written");
        path.to_owned()
    }

    /// Writes the authority's own certificate, for `openssl -CAfile` and `curl --cacert`.
    pub fn write_root(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.issuer.pem()).expect("the test's own folder can be written");
        path.to_owned()
    }

    /// A server's end.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue_der(names, Key::Ecdsa);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("key and certificate belong together");
        Arc::new(config)
    }

    /// A client that trusts this authority alone.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a valid root");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// A TLS connection to the proxy, verified.
    #[track_caller]
    pub fn connect(&self, to: SocketAddr, name: &str) -> RawClient {
        connect(&self.client(), to, name).unwrap_or_else(|e| panic!("TLS to {to} as {name}: {e}"))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A TLS connection with its handshake done.
pub fn connect(config: &Arc<ClientConfig>, to: SocketAddr, name: &str) -> std::io::Result<RawClient> {
    connect_behind(config, to, name, b"")
}

/// [`connect`] behind what is said before TLS.
pub fn connect_behind(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    name: &str,
    first: &[u8],
) -> std::io::Result<RawClient> {
    let mut tcp = TcpStream::connect(to)?;
    std::io::Write::write_all(&mut tcp, first)?;
    tcp.set_read_timeout(Some(super::PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).expect("a valid name");
    let conn = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(conn, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(RawClient { wire: Wire::new(Transport::TlsClient(Box::new(stream))) })
}

/// The names in the certificate a TLS client was given.
pub fn names_seen(client: &RawClient) -> Vec<String> {
    let Transport::TlsClient(stream) = client.wire.transport() else { panic!("not a TLS client") };
    let leaf: &CertificateDer<'_> = &stream.conn.peer_certificates().expect("a server certificate")[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).expect("a valid certificate");
    let names = parsed.subject_alternative_name().expect("valid extensions").expect("names");
    let text = |name: &x509_parser::extensions::GeneralName<'_>| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}
