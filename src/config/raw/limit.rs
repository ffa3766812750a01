//! `rate_limits`: requests per client, host, path or header.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{Duration, KeyPart, Network, Rate, Text};
use super::{OneOrMany, Opt};

/// A limit: `rate`, `concurrent` or both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateLimit {
    /// Its name, and its table's; unique in the file. Required.
    pub name: Opt<Text>,
    /// What is counted apart: `client_ip`, `host`, `path`, `header(NAME)`, or a list of these. Default: client_ip.
    pub key: Opt<OneOrMany<KeyPart>>,
    /// Bits of an IPv6 address that make a client. Default: 64.
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix: Opt<u8>,
    /// Requests per interval.
    pub rate: Opt<Rate>,
    /// Requests allowed at once beyond the even flow. Default: the count of `rate`.
    #[schemars(range(min = 1))]
    pub burst: Opt<u32>,
    /// Requests in flight at once.
    #[schemars(range(min = 1))]
    pub concurrent: Opt<u32>,
    /// What happens over the limit: `deny` answers 429, `tarpit` holds the request and answers 500, `log` only counts
    /// and logs. Default: deny.
    pub action: Opt<Action>,
    /// Networks that are never limited. Default: none.
    pub except: Opt<OneOrMany<Network>>,
    /// Keys kept at once; the least recently used goes first. Default: 100000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub table_size: Opt<u32>,
    /// How long an untouched key is kept. Default: 10m, or the period of `rate` when that is longer.
    pub expire: Opt<Duration>,
}

/// What happens over a limit.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Action {
    Deny,
    Tarpit,
    Log,
}
