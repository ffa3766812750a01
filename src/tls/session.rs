//! What a handshake agreed on, in OpenSSL's words, which are what log readers know.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection};

use super::facts::client_certificate;
use crate::core::tls::TlsFacts;

/// What is known of a client's connection whose handshake is done; `verify` tells what came of verifying the client's
/// chain, if it showed one. Without fingerprint and time.
pub fn facts(connection: &ServerConnection, verify: impl FnOnce(&[CertificateDer<'_>]) -> u32) -> TlsFacts {
    let chain = connection.peer_certificates().unwrap_or_default();
    TlsFacts {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "-",
        },
        cipher: connection.negotiated_cipher_suite().map_or("-", |suite| cipher_name(suite.suite())),
        server_name: connection.server_name().map(Into::into),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        handshake_ms: 0,
        ja4: None,
        client: chain.first().and_then(|leaf| client_certificate(leaf, verify(chain))).map(Box::new),
    }
}

/// The suites offered here; those of TLS 1.2 have names of OpenSSL's own.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_offered_has_its_openssl_name() {
        for suite in &crate::tls::provider().cipher_suites {
            let name = cipher_name(suite.suite());
            let is_openssl = name.starts_with("TLS_") != name.contains('-') && !name.contains("WITH");
            assert!(is_openssl, "{:?} is shown as {name}", suite.suite());
        }
    }
}
