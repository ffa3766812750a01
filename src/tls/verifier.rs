//! Whether a server is who it must be, and why not, in words.
//!
//! Chains and names are judged by webpki; what is added here is a name to go by other than the one that is sent, and
//! what an operator needs to know of a certificate that was not believed.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::acceptor::HandshakeError;
use super::facts::one_line;

/// Names of a certificate that are told when it is for none that was wanted.
const NAMES_TOLD: usize = 8;

/// Believes a chain to a trusted root that is for one name.
#[derive(Debug)]
pub struct NamedServer {
    chains: Arc<WebPkiServerVerifier>,
    /// The name it must be for; the one that is sent when absent.
    name: Option<ServerName<'static>>,
}

impl NamedServer {
    /// Goes by `name` where given, whatever name is sent.
    pub fn new(chains: Arc<WebPkiServerVerifier>, name: Option<ServerName<'static>>) -> NamedServer {
        NamedServer { chains, name }
    }
}

impl ServerCertVerifier for NamedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        let judged = self.chains.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        judged.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let last = intermediates.last().unwrap_or(end_entity);
                let issuer = issuer(last);
                let lone = intermediates.is_empty() && issuer.as_deref() != Some(ITSELF);
                let untrusted = Untrusted { issuer, lone };
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Takes any certificate, but still has the server prove that it holds its key.
#[derive(Debug)]
pub struct AnyServer {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyServer {
    /// With these algorithms for the proof.
    pub fn new(algorithms: WebPkiSupportedAlgorithms) -> AnyServer {
        AnyServer { algorithms }
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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

/// The issuer of a self-signed certificate.
const ITSELF: &str = "itself";

/// No trusted root signed the chain.
#[derive(Debug, thiserror::Error)]
#[error(
    "its certificate was issued by {}, which is not trusted{}",
    .issuer.as_deref().unwrap_or("someone"),
    if *.lone { ", and the server sent no further certificates" } else { "" }
)]
struct Untrusted {
    issuer: Option<String>,
    /// The server sent its own certificate and none of its issuers'.
    lone: bool,
}

/// Who issued a certificate, as `"/O=Some company/CN=Some CA"`; `itself` when it is self-signed.
fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.issuer() == parsed.subject() {
        return Some(ITSELF.to_owned());
    }
    Some(format!("\"{}\"", printable(&one_line(parsed.issuer()))))
}

/// Why a handshake with a server came to nothing: HAProxy's phrase, and the reason in words in parentheses.
pub fn sentence(error: &HandshakeError) -> String {
    match error {
        HandshakeError::Failure(failure) => format!("{} ({})", error.phrase(), reason(failure)),
        _ => error.phrase().to_owned(),
    }
}

/// An error of a handshake with a server in words.
pub fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(certificate) => distrust(certificate),
        Error::AlertReceived(AlertDescription::UnknownCA) => "the server refused: unknown CA".to_owned(),
        Error::AlertReceived(alert) => format!("the server refused: {}", words(&format!("{alert:?}"))),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        Error::NoApplicationProtocol => "the server speaks none of the protocols offered".to_owned(),
        Error::PeerIncompatible(_) => format!("nothing that both sides speak: {error}"),
        other => other.to_string(),
    }
}

fn distrust(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!("its certificate expired on {}", day(*not_after)),
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}", day(*not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let told: Vec<String> = presented.iter().take(NAMES_TOLD).map(|name| bare(name)).collect();
            let names = match presented.len().saturating_sub(NAMES_TOLD) {
                0 if told.is_empty() => "no name at all".to_owned(),
                0 => told.join(", "),
                more => format!("{} and {more} more", told.join(", ")),
            };
            format!("its certificate is for {names}, not for {}", expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::UnknownIssuer => "its certificate's issuer is not trusted".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::UnknownRevocationStatus => "no revocation list covers its certificate".to_owned(),
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            format!("the revocation list for its certificate expired on {}", day(*next_update))
        }
        CertificateError::BadSignature => {
            "its certificate was not signed by the trusted root of its issuer's name".to_owned()
        }
        CertificateError::BadEncoding => "its certificate cannot be read".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers".to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => other.to_string(),
    }
}

/// The name in `DnsName("a.test")`.
fn bare(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(shown);
    let inner = inner.trim_matches('"');
    // `0::1` is `::1`.
    inner.parse::<IpAddr>().map_or_else(|_| printable(inner), |address| address.to_string())
}

/// Fit for a log line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `CertificateRequired` as `certificate required`.
fn words(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_uppercase() && out.ends_with(|last: char| last.is_ascii_lowercase()) {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
        out
    })
}

/// `2024-01-31`
fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.strftime("%Y-%m-%d").to_string())
}

/// Whether an error of reading says that the server did not take our certificate, or its absence. Under TLS 1.3 that is
/// heard after the handshake; nothing that was sent behind it has been looked at.
pub fn refuses_identity(error: &Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        )
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reasons_are_words() {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(1_704_153_600));
        let expected = || ServerName::try_from("a.test").unwrap();
        for (error, words) in [
            (CertificateError::ExpiredContext { time: at, not_after: at }, "its certificate expired on 2024-01-02"),
            (
                CertificateError::NotValidYetContext { time: at, not_before: at },
                "its certificate is not valid before 2024-01-02",
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: expected(),
                    presented: vec!["DnsName(\"b.test\")".into(), "IpAddress(127.0.0.1)".into()],
                },
                "its certificate is for b.test, 127.0.0.1, not for a.test",
            ),
            (
                CertificateError::NotValidForNameContext { expected: expected(), presented: vec![] },
                "its certificate is for no name at all, not for a.test",
            ),
            (
                CertificateError::Other(OtherError(Arc::new(Untrusted { issuer: Some("itself".into()), lone: false }))),
                "its certificate was issued by itself, which is not trusted",
            ),
        ] {
            assert_eq!(reason(&Error::InvalidCertificate(error)), words);
        }
        let alert = Error::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(reason(&alert), "the server refused: certificate required");
        assert!(refuses_identity(&alert));
        assert!(!refuses_identity(&Error::AlertReceived(AlertDescription::InternalError)));
        let unknown = Error::AlertReceived(AlertDescription::UnknownCA);
        assert_eq!(
            sentence(&HandshakeError::Failure(unknown)),
            "SSL handshake failure (the server refused: unknown CA)"
        );
        assert_eq!(sentence(&HandshakeError::Closed), "Connection closed during SSL handshake");
    }
}
