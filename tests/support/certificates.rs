//! Certificates made for a test, and TLS ends that use them.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, RsaKeySize};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::client::RawClient;
use super::wire::{Transport, Wire};

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: AtomicU8,
}

/// Serial numbers of an authority's certificates; they begin anew after that.
const SERIALS: u8 = 100;

/// What is out of the ordinary about a server.
#[derive(Clone, Copy, Default)]
pub struct ServerEnd<'a> {
    /// Its certificate has expired.
    pub expired: bool,
    /// It speaks nothing newer.
    pub tls12_alone: bool,
    /// Clients must show a certificate of this authority.
    pub clients: Option<&'a Authority>,
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
        Authority::called("test authority")
    }

    /// A new one with a name of its own.
    pub fn called(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        // It signs lists of revoked certificates, too.
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        Authority {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a valid certificate"),
            issued: AtomicU8::new(0),
        }
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
        let params = self.params(names);
        (params.signed_by(&key, &self.issuer).expect("a valid certificate"), key)
    }

    /// Chain and key of a certificate with whatever else `change` gives it, as one PEM text.
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a valid certificate");
        format!("{}{}{}", certificate.pem(), self.issuer.pem(), key.serialize_pem())
    }

    /// A revocation list with these serial numbers, valid until 2100, as PEM text.
    pub fn revoke(&self, number: u64, serials: &[u64]) -> String {
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a valid list").pem().expect("PEM")
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

    /// The same with its private key, for `openssl ocsp`.
    pub fn write_root_and_key(&self, path: &Path) {
        let text = self.issuer.pem() + &self.issuer.key().serialize_pem();
        std::fs::write(path, text).expect("the test's own folder can be written");
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

    /// A server's end that is out of the ordinary.
    pub fn server_end(&self, names: &[&str], end: ServerEnd<'_>) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = self.params(names);
        if end.expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a valid certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let versions: &[_] = if end.tls12_alone { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("the provider has both versions");
        let builder = match end.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.expect("a root is there"))
            }
        };
        let config = builder.with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.expect("key and certificate belong together"))
    }

    /// Writes a list of revoked certificates: none, or all that this authority has issued.
    pub fn write_revocations(&self, path: &Path, all: bool) {
        let revoked = |serial: &u8| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(vec![*serial]),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let issued: Vec<u8> = if all { (1..=SERIALS).collect() } else { Vec::new() };
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: rcgen::SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: issued.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.issuer).expect("a valid list").pem().expect("PEM");
        std::fs::write(path, pem).expect("the test's own folder can be written");
    }

    fn params(&self, names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names");
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0].as_str());
        let serial = self.issued.fetch_add(1, Ordering::Relaxed) % SERIALS + 1;
        params.serial_number = Some(rcgen::SerialNumber::from(vec![serial]));
        params
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a valid root");
        roots
    }

    /// A client that trusts this authority alone.
    pub fn client(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions")
            .with_root_certificates(self.roots())
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
