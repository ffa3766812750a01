//! `tls` of a backend or a server, `server_tls` of `defaults`; each adds to the one before, key by key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::frontend::TlsVersion;
use super::text::{FilePath, Text};
use super::{OneOrMany, Opt};

/// `true`, `false`, or how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum ServerTlsChoice {
    Plain(bool),
    Full(Box<ServerTls>),
}

/// TLS to a server.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerTls {
    /// Whether the server's certificate must be valid: `required`, or `none`: anyone is believed. Default: required.
    pub verify: Opt<VerifyWord>,
    /// PEM file of trusted roots. Default: the system's.
    pub ca_file: Opt<FilePath>,
    /// PEM file of revocation lists; each certificate of the server's chain must then be covered by one. Default: none.
    pub crl_file: Opt<FilePath>,
    /// The name (or IP address) the certificate must be for. Default: `sni`, or the name in the server's `address`.
    pub verify_host: Opt<Text>,
    /// The name sent: a name, `request_host` (the host of each request) or `off`. Default: the name that is verified.
    pub sni: Opt<Text>,
    /// PEM file of the certificate shown to a server that asks for one: chain and key, or the chain alone. Default: none.
    pub certificate: Opt<FilePath>,
    /// PEM file of its key. Default: the key in `certificate`.
    pub key: Opt<FilePath>,
    /// Oldest version offered. Default: 1.2.
    pub min_version: Opt<TlsVersion>,
    /// Newest version offered. Default: 1.3.
    pub max_version: Opt<TlsVersion>,
    /// Cipher suites offered, best first, in OpenSSL's or IANA's names; a version of which none is named keeps all of its
    /// own. Default: all there are.
    pub ciphers: Opt<OneOrMany<Text>>,
    /// Key-exchange groups offered, best first, in OpenSSL's or IANA's names. Default: X25519MLKEM768, X25519, P-256,
    /// P-384.
    pub groups: Opt<OneOrMany<Text>>,
    /// Protocols offered beside HTTP/2, which `proto: h2` asks for. Default: none is offered.
    pub alpn: Opt<OneOrMany<Text>>,
    /// Sessions kept for resumption; 0 makes every handshake a complete one. Default: 256.
    #[schemars(range(max = 1_000_000))]
    pub session_cache: Opt<u32>,
}

/// Whether a certificate must be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum VerifyWord {
    Required,
    None,
}
