//! The file as it is written: one struct per section, every key optional, values as text, number, boolean or word.
//!
//! Nothing is decided here. The structs are the one list of keys: the JSON schema is derived from them, `shape` holds
//! a file against that schema, and `docs/CONFIG.md` is made of their comments. Ranges stand here as far as a plain
//! minimum and maximum can say them; everything that takes more than one value to judge is in `lower`.

pub(super) mod agent;
pub(super) mod at;
pub(super) mod backend;
pub(super) mod check;
pub(super) mod frontend;
pub(super) mod global;
pub(super) mod http2;
pub(super) mod limit;
pub(super) mod pattern;
pub(super) mod server_tls;
pub(super) mod stats;
pub(super) mod text;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use at::{At, Named, OneOrMany, Opt};
use backend::{Backend, Initial, ObserveChoice, OnMarkedDown, Pool, RetryWord, ReturnFromDrain, ReturnFromMaint};
use check::CheckChoice;
use frontend::{Forwarded, Frontend, RequestIdChoice};
use global::Global;
use server_tls::ServerTlsChoice;
use text::{Algorithm, Duration};

/// A lockgate configuration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The process: threads, limits, admin sockets, logs.
    pub global: Opt<Global>,
    /// What frontends, backends and servers start from; each may say otherwise.
    pub defaults: Opt<Defaults>,
    /// What clients connect to, by name.
    pub frontends: Opt<Named<Frontend>>,
    /// Groups of servers, by name.
    pub backends: Opt<Named<Backend>>,
}

/// Values for every frontend, backend and server that says nothing else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    /// Waits, of clients and servers alike.
    pub timeouts: Opt<Timeouts>,
    /// Limits on messages; backends take those of heads and chunks for answers.
    pub limits: Opt<Limits>,
    /// `maxconn` of frontends.
    #[schemars(range(min = 1))]
    pub maxconn: Opt<u32>,
    /// `forwarded` of frontends.
    pub forwarded: Opt<Forwarded>,
    /// `request_id` of frontends.
    pub request_id: Opt<RequestIdChoice>,
    /// `log` of frontends.
    pub log: Opt<text::LogFormat>,
    /// `log_null` of frontends.
    pub log_null: Opt<bool>,
    /// `logasap` of frontends.
    pub logasap: Opt<bool>,
    /// `log_separate_errors` of frontends.
    pub log_separate_errors: Opt<bool>,
    /// `balance` of backends.
    pub balance: Opt<Algorithm>,
    /// `retries` of backends.
    #[schemars(range(max = 100))]
    pub retries: Opt<u32>,
    /// `redispatch` of backends.
    pub redispatch: Opt<bool>,
    /// `retry_on` of backends.
    pub retry_on: Opt<OneOrMany<RetryWord>>,
    /// `queue_max` of backends.
    pub queue_max: Opt<u32>,
    /// `pool` of backends.
    pub pool: Opt<Pool>,
    /// `health_check` of backends and servers, key by key.
    pub health_check: Opt<CheckChoice>,
    /// `log_health_checks` of backends.
    pub log_health_checks: Opt<bool>,
    /// `observe` of servers.
    pub observe: Opt<ObserveChoice>,
    /// `slowstart` of servers.
    pub slowstart: Opt<Duration>,
    /// `initial` of servers.
    pub initial: Opt<Initial>,
    /// `return_from_drain` of servers.
    pub return_from_drain: Opt<ReturnFromDrain>,
    /// `return_from_maint` of servers.
    pub return_from_maint: Opt<ReturnFromMaint>,
    /// `on_marked_down` of servers.
    pub on_marked_down: Opt<OnMarkedDown>,
    /// `tls` of backends and servers, key by key.
    pub server_tls: Opt<ServerTlsChoice>,
}

/// Every wait there is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// From the first byte of a request to the end of its head; then 408. Default: 10s.
    pub request: Opt<Duration>,
    /// Idle between two requests of a client connection. Default: 60s.
    pub keepalive: Opt<Duration>,
    /// Inactivity of a client that is to send a body or take an answer. Default: 30s.
    pub client: Opt<Duration>,
    /// The TLS handshake of a client. Default: 10s.
    pub handshake: Opt<Duration>,
    /// How long a tarpitted request is held. Default: 10s.
    pub tarpit: Opt<Duration>,
    /// In the queue of a backend or server; then 503. Default: 30s.
    pub queue: Opt<Duration>,
    /// For a connection to a server. Default: 5s.
    pub connect: Opt<Duration>,
    /// The TLS handshake with a server. Default: 5s.
    pub server_handshake: Opt<Duration>,
    /// Inactivity of a server that is to answer; then 504. Default: 30s.
    pub server: Opt<Duration>,
    /// Inactivity of an upgraded connection (websocket), both directions. Default: 1h.
    pub tunnel: Opt<Duration>,
}

/// Limits on messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Bytes of a head, start line included (HTTP/2: of its field list); beyond it 431, or 502 for an answer. Default: 32KiB.
    pub head: Opt<text::Size>,
    /// Fields of a head. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    pub fields: Opt<u32>,
    /// Bytes of a request target; beyond it 414. Default: 8KiB.
    pub uri: Opt<text::Size>,
    /// Bytes of one chunk-size line, extensions included. Default: 256B.
    pub chunk_line: Opt<text::Size>,
    /// Bytes of a request body, or `off`; beyond it 413. Default: off.
    pub body: Opt<text::Size>,
    /// Requests served on one connection before it is closed. Default: no limit.
    #[schemars(range(min = 1))]
    pub requests_per_connection: Opt<u32>,
    /// Bytes of further requests read ahead while one is being answered. Default: 16KiB.
    pub pipeline: Opt<text::Size>,
}

/// Limits on HTTP/1 answers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerLimits {
    /// Bytes of a head, status line included; beyond it 502. Default: 32KiB.
    pub head: Opt<text::Size>,
    /// Fields of a head. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    pub fields: Opt<u32>,
    /// Bytes of one chunk-size line, extensions included. Default: 256B.
    pub chunk_line: Opt<text::Size>,
}
