//! `backends.NAME`: groups of servers, and the servers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::agent::AgentChoice;
use super::check::CheckChoice;
use super::compression::CompressionChoice;
use super::frontend::{HeaderRule, ModeWord, OffWord};
use super::proxy_protocol::SendProxyChoice;
use super::server_tls::ServerTlsChoice;
use super::text::{Address, Algorithm, Duration, FilePath, Ip, Size, Text};
use super::{AnswerLimits, At, Named, OneOrMany, Opt};

/// A group of servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Backend {
    /// What is understood of the bytes: `http`, or `tcp` for sessions of any protocol. Default: http.
    pub mode: Opt<ModeWord>,
    /// How requests are spread: `roundrobin`, `leastconn`, `random`, `first`, `source`, `uri` or `header(NAME)`.
    /// Default: roundrobin.
    pub balance: Opt<Algorithm>,
    /// Waits on the server side.
    pub timeouts: Opt<ServerTimeouts>,
    /// Limits on answers.
    pub limits: Opt<AnswerLimits>,
    /// Further attempts after a failed connection. Default: 3.
    #[schemars(range(max = 100))]
    pub retries: Opt<u32>,
    /// Whether an attempt may go to another server. Default: true.
    pub redispatch: Opt<bool>,
    /// What is retried besides failed connections, for requests that may be replayed: `empty-response`, `503`, or `none`.
    /// Default: empty-response.
    pub retry_on: Opt<OneOrMany<RetryWord>>,
    /// Cookie persistence.
    pub cookie: Opt<Cookie>,
    /// Requests waiting at once; beyond it 503. Default: 10000.
    pub queue_max: Opt<u32>,
    /// Requests waiting for one server they are bound to; further ones go to another. Default: no limit.
    #[schemars(range(min = 1))]
    pub server_queue_max: Opt<u32>,
    /// Switched to maintenance: every request gets the maintenance page. Default: false.
    pub maintenance: Opt<bool>,
    /// What clients get while no server is usable: a file, or a map. Default: a short text, 503, Retry-After 30.
    pub maintenance_page: Opt<PageChoice>,
    /// Idle connections to servers.
    pub pool: Opt<Pool>,
    /// `proto` of every server.
    pub proto: Opt<ServerProtocol>,
    /// Connections to servers that speak HTTP/2.
    pub http2: Opt<ServerHttp2>,
    /// Source addresses of connections to servers. Default: the kernel chooses.
    pub source: Opt<OneOrMany<Ip>>,
    /// `send_proxy` of every server.
    pub send_proxy: Opt<SendProxyChoice>,
    /// How servers are checked, or `off`: servers are then taken as up.
    pub health_check: Opt<CheckChoice>,
    /// Whether every check whose result is news is logged. Default: false.
    pub log_health_checks: Opt<bool>,
    /// The agent of every server, or `off`. Default: off.
    pub agent: Opt<AgentChoice>,
    /// `observe` of every server.
    pub observe: Opt<ObserveChoice>,
    /// `slowstart` of every server.
    pub slowstart: Opt<Duration>,
    /// `initial` of every server.
    pub initial: Opt<Initial>,
    /// `return_from_drain` of every server.
    pub return_from_drain: Opt<ReturnFromDrain>,
    /// `return_from_maint` of every server.
    pub return_from_maint: Opt<ReturnFromMaint>,
    /// `on_marked_down` of every server.
    pub on_marked_down: Opt<OnMarkedDown>,
    /// TLS to the servers: `true`, `false` or how. Default: false.
    pub tls: Opt<ServerTlsChoice>,
    /// Header rules on every request, in order, after those of frontend and route.
    pub request_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// Header rules on every response, in order, before those of route and frontend.
    pub response_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// How answers are compressed, or `off`. Default: as the frontend says.
    pub compression: Opt<CompressionChoice>,
    /// The servers, by name. Required.
    pub servers: Opt<Named<ServerChoice>>,
}

/// What is retried.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(in crate::config) enum RetryWord {
    None,
    EmptyResponse,
    #[serde(rename = "503")]
    Status503,
}

/// Waits on the server side.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerTimeouts {
    /// In the queue of the backend or a server; then 503. Default: 30s.
    pub queue: Opt<Duration>,
    /// For a connection to a server. Default: 5s.
    pub connect: Opt<Duration>,
    /// The TLS handshake with a server. Default: 5s.
    pub server_handshake: Opt<Duration>,
    /// Inactivity of a server that is to answer; then 504. Default: 30s.
    pub server: Opt<Duration>,
    /// Inactivity of an upgraded connection (websocket), both directions. Default: 1h. In TCP mode, inactivity of a
    /// session, in place of the client's and the server's; no default there.
    pub tunnel: Opt<Duration>,
    /// In TCP mode, inactivity of a server that the client has ended the session with. Default: as `server`.
    pub server_fin: Opt<Duration>,
}

/// Cookie persistence, insert mode.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cookie {
    /// Cookie name. Required.
    pub name: Opt<Text>,
    /// `Secure` attribute. Default: false.
    pub secure: Opt<bool>,
    /// `HttpOnly` attribute. Default: false.
    pub http_only: Opt<bool>,
    /// `Domain` attribute. Default: none.
    pub domain: Opt<Text>,
    /// `Path` attribute. Default: /.
    pub path: Opt<Text>,
    /// `SameSite` attribute. Default: none is sent.
    pub same_site: Opt<SameSite>,
    /// Whether `Cache-Control: private` is added when the cookie is set. Default: true.
    pub nocache: Opt<bool>,
}

/// Values of `SameSite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::config) enum SameSite {
    Strict,
    Lax,
    None,
}

/// A file, or more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum PageChoice {
    File(FilePath),
    Full(Page),
}

/// A maintenance page.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Page {
    /// File with the body, read when the configuration is.
    pub file: Opt<FilePath>,
    /// The body itself, instead of `file`.
    pub body: Opt<Text>,
    /// Status code. Default: 503.
    #[schemars(range(min = 200, max = 599))]
    pub status: Opt<u16>,
    /// `Retry-After`; 0s sends none. Default: 30s.
    pub retry_after: Opt<Duration>,
    /// `Content-Type`. Default: by the file's ending, or text/html.
    pub content_type: Opt<Text>,
}

/// Idle connections to servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pool {
    /// Idle connections kept per server and worker; 0 switches reuse off. Default: 64.
    #[schemars(range(max = 100_000))]
    pub max_idle: Opt<u32>,
    /// How long one may stay idle. Default: 30s.
    pub idle_timeout: Opt<Duration>,
}

/// What is spoken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ServerProtocol {
    H1,
    H2,
}

/// Connections to servers that speak HTTP/2.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerHttp2 {
    /// Requests at once on one connection; the server may allow fewer. Default: 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams: Opt<u32>,
    /// Bytes of one answer's body that may wait for a slow client. Default: 128KiB.
    pub window: Opt<Size>,
    /// Time between two signs of life asked of a connection. Default: 30s.
    pub ping_interval: Opt<Duration>,
    /// How long a sign of life may take; then the connection counts as lost. Default: 10s, or `ping_interval` if that is
    /// shorter.
    pub ping_timeout: Opt<Duration>,
}

/// `off`, a layer, or more.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum ObserveChoice {
    Off(OffWord),
    Layer(ObserveLayer),
    Full(Observe),
}

/// Passive checks on live traffic.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Observe {
    /// `layer4` sees failed connections, `layer7` bad answers too. Default: layer7.
    pub layer: Opt<ObserveLayer>,
    /// Errors in a row that trigger `on_error`. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub error_limit: Opt<u32>,
    /// What is done then: `fastinter` hurries the next check, `fail-check` counts as a failed one, `sudden-death` leaves
    /// one more failure to DOWN, `mark-down` is DOWN. Default: fail-check.
    pub on_error: Opt<OnError>,
}

/// What is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ObserveLayer {
    Layer4,
    Layer7,
}

/// Reaction to observed errors.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(in crate::config) enum OnError {
    Fastinter,
    FailCheck,
    SuddenDeath,
    MarkDown,
}

/// What a server is before its first check.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Initial {
    First,
    Checks,
    Up,
}

/// What DRAIN to READY does.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ReturnFromDrain {
    Checks,
    Keep,
}

/// What MAINT to READY does.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ReturnFromMaint {
    Up,
    Checks,
}

/// What happens to the sessions of a server that goes down.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(in crate::config) enum OnMarkedDown {
    Keep,
    ShutdownSessions,
}

/// An address, or one with more to it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum ServerChoice {
    Address(Address),
    Full(Box<Server>),
}

/// A server.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Server {
    /// `10.0.0.1:80`, `[::1]:80`, `name:80` or `unix:/path`. Required.
    pub address: Opt<Address>,
    /// What is spoken to it: `h1` for HTTP/1.1, `h2` for HTTP/2. Default: h1.
    pub proto: Opt<ServerProtocol>,
    /// Its share of requests relative to the others; 0 gets none. Default: 1.
    #[schemars(range(max = 256))]
    pub weight: Opt<u32>,
    /// Requests in flight at once; further ones wait. Default: no limit.
    #[schemars(range(min = 1))]
    pub maxconn: Opt<u32>,
    /// Used only when no other server is usable. Default: false.
    pub backup: Opt<bool>,
    /// Starts in MAINT. Default: false.
    pub disabled: Opt<bool>,
    /// Its value of the persistence cookie. Default: its name.
    pub cookie: Opt<Text>,
    /// How it is told who connects: a PROXY header, `v1`, `v2` or a map, begins each connection to it, which then serves
    /// one client only; or `off`. Default: off.
    pub send_proxy: Opt<SendProxyChoice>,
    /// What differs from the backend's check, or `off`: the server is then taken as up.
    pub health_check: Opt<CheckChoice>,
    /// What differs from the backend's agent, or `off`: a program beside the server that says how it wants to be treated.
    /// Default: off.
    pub agent: Opt<AgentChoice>,
    /// Another server, as `BACKEND/SERVER`, whose state it takes over; it is then not checked itself. Default: none.
    pub track: Opt<Text>,
    /// Passive checks on live traffic: `off`, `layer4`, `layer7` or a map. Default: off.
    pub observe: Opt<ObserveChoice>,
    /// How long its weight ramps up after it came back; 0s not at all. Default: 0s.
    pub slowstart: Opt<Duration>,
    /// Before anything is known of it: `first` lets the first check decide, `checks` asks for `rise` passes, `up` takes
    /// it as up at once. Default: first.
    pub initial: Opt<Initial>,
    /// After a drain: `checks` asks for `rise` passes, `keep` only ends the drain. Default: checks.
    pub return_from_drain: Opt<ReturnFromDrain>,
    /// After maintenance: `up` at once, or `checks` asks for `rise` passes. Default: up.
    pub return_from_maint: Opt<ReturnFromMaint>,
    /// When it goes down: `keep` its open requests, or `shutdown-sessions`. Default: keep.
    pub on_marked_down: Opt<OnMarkedDown>,
    /// TLS to it, in what differs from the backend's: `true`, `false` or how. Default: false.
    pub tls: Opt<ServerTlsChoice>,
}
