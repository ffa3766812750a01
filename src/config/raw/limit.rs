//! `rate_limits`: requests per client, host, path or header.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{Duration, KeyPart, Network, Rate, Text};
use super::{Named, OneOrMany, Opt};

/// A limit: `rate`, `concurrent` or both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateLimit {
    /// Its name, and its table's; unique in the file. Required.
    pub name: Opt<Text>,
    /// What is counted apart: `client_ip`, `host`, `path`, `header(NAME)`, `ja4` or another sample of the client's TLS,
    /// or a list of these. Default: client_ip.
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
    /// and logs, `track` limits nothing and only keeps the numbers of `store`. Default: deny.
    pub action: Opt<Action>,
    /// What is kept of each key and shown by `show table`: `gpt0`, `gpc0`, `gpc1`, `conn_cnt`, `conn_rate(10s)`,
    /// `conn_cur`, `sess_cnt`, `http_req_rate(10s)`, `bytes_out_cnt`, … Default: what costs nothing.
    pub store: Opt<OneOrMany<Text>>,
    /// Requests of a key are denied once one of these numbers is reached: `{ gpt0: 1, http_err_rate: 100 }`.
    pub deny_if: Opt<Named<u64>>,
    /// Status code of the answer to those. Default: 403.
    #[schemars(range(min = 400, max = 599))]
    pub deny_status: Opt<u16>,
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
    Track,
}
