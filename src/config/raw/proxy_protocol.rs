//! `send_proxy` of backends, servers and checks. That of binds stands with them, in `frontend`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::frontend::OffWord;
use super::{OneOrMany, Opt};

/// `off`, a version, or more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum SendProxyChoice {
    Off(OffWord),
    Version(ProxyVersion),
    Full(SendProxy),
}

/// A PROXY header at the beginning of each connection to a server.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SendProxy {
    /// `v1` or `v2`. Required.
    pub version: Opt<ProxyVersion>,
    /// What version 2 says besides addresses: `ssl`, `cert-cn`, `ssl-cipher`, `authority`, `unique-id`, `crc32c`.
    /// Default: nothing but the protocol agreed on in TLS.
    pub tlvs: Opt<OneOrMany<ProxyTlv>>,
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ProxyVersion {
    V1,
    V2,
}

/// What version 2 says besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(in crate::config) enum ProxyTlv {
    Ssl,
    CertCn,
    SslCipher,
    Authority,
    UniqueId,
    Crc32c,
}

/// How a check begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum CheckSendProxy {
    Off,
    V1,
    V2,
}
