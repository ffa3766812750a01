//! `health_check`: of `defaults`, a backend or a server; each adds to the one before, key by key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::frontend::OffWord;
use super::text::{Duration, FilePath, Ip, Pattern, Statuses, Text};
use super::{Named, OneOrMany, Opt};

/// `off`, or a check.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum CheckChoice {
    Off(OffWord),
    On(Box<HealthCheck>),
}

/// A health check.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HealthCheck {
    /// `http` sends a request, `tcp` only connects. Default: http.
    #[serde(rename = "type")]
    pub kind: Opt<CheckType>,
    /// Request method. Default: HEAD, or GET when `body` is given.
    pub method: Opt<Text>,
    /// Request target. Default: /.
    pub path: Opt<Text>,
    /// `Host` field. Default: the server's address.
    pub host: Opt<Text>,
    /// Further request fields by name.
    pub headers: Opt<Named<Text>>,
    /// Status codes that pass: `200`, `200-299` or a list; redirects are never followed. Default: 200.
    pub expect: Opt<OneOrMany<Statuses>>,
    /// A 404 from a server that is up lets it finish what it has instead of failing the check (`NOLB`). Default: false.
    pub disable_on_404: Opt<bool>,
    /// The body must contain a match of this.
    pub body: Opt<Pattern>,
    /// Asks gRPC's own health service (`grpc.health.v1.Health`) over HTTP/2 instead; only `SERVING` passes.
    pub grpc: Opt<GrpcCheck>,
    /// Time between two checks. Default: 2s.
    pub interval: Opt<Duration>,
    /// Time between checks of a server on its way up or down. Default: `interval`.
    pub fastinter: Opt<Duration>,
    /// Time between checks of a server that is down. Default: `interval`.
    pub downinter: Opt<Duration>,
    /// The longest a check may take, connect included. Default: 1s, or the shortest interval when that is shorter.
    pub timeout: Opt<Duration>,
    /// Passes in a row that bring a server up. Default: 3.
    #[schemars(range(min = 1, max = 1000))]
    pub rise: Opt<u32>,
    /// Failures in a row that take it down. Default: 3.
    #[schemars(range(min = 1, max = 1000))]
    pub fall: Opt<u32>,
    /// Checked at this address. Default: the server's.
    pub address: Opt<Ip>,
    /// Checked at this port. Default: the server's.
    #[schemars(range(min = 1))]
    pub port: Opt<u16>,
    /// Checked over TLS: `true`, `false` or how. Default: as the server is spoken to, unless `address` or `port` say that
    /// it is checked elsewhere.
    pub tls: Opt<CheckTlsChoice>,
}

/// What a check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum CheckType {
    Http,
    Tcp,
}

/// A call of gRPC's health service.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct GrpcCheck {
    /// The service asked for, as `package.Service`. Default: the server as a whole.
    pub service: Opt<Text>,
}

/// `true`, `false`, or how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum CheckTlsChoice {
    Plain(bool),
    Full(CheckTls),
}

/// TLS of a check.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CheckTls {
    /// Whether the certificate must be valid. Default: as for the server's own `tls`, or true.
    pub verify: Opt<bool>,
    /// Name sent, and expected in the certificate. Default: as for the server's own `tls`, or `host` of the check.
    pub server_name: Opt<Text>,
    /// PEM file of trusted roots. Default: as for the server's own `tls`, or the system's.
    pub ca_file: Opt<FilePath>,
}
