//! What was configured, validated: the frontends, backends and servers a fleet is built of.
//!
//! Built only by `config::lower`; every name has become an index, every default is filled in, every regex compiled.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::core::balance::Algorithm;
use crate::core::filter::{CaptureSpec, HeaderRule};
use crate::core::health::CheckSpec;
use crate::core::health::agent::AgentSpec;
use crate::core::http::h2::Http2Limits;
use crate::core::limit::RateLimitSpec;
use crate::core::log::format::LogFormat;
use crate::core::pattern::DenyRule;
use crate::core::route::{FixedAnswer, Route};
use crate::core::web::PageSpec;

pub use crate::core::tls::TlsUse;

/// Position of a frontend in [`FleetSpec::frontends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendIndex(pub u32);

/// Position of a backend in [`FleetSpec::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendIndex(pub u32);

/// One server: its backend and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// The backend.
    pub backend: BackendIndex,
    /// Position in [`BackendSpec::servers`], and behind those for servers added at run time. It is not the number that
    /// people see (`sid`), and it is given to another server only when nobody can mean the former one any more.
    pub index: u32,
}

/// Everything a fleet is made of.
#[derive(Debug, Clone, Default)]
pub struct FleetSpec {
    /// In configuration order.
    pub frontends: Vec<Arc<FrontendSpec>>,
    /// In configuration order.
    pub backends: Vec<Arc<BackendSpec>>,
}

/// A frontend: what clients connect to. Its listening sockets are in `config::model::Model::binds`.
#[derive(Debug, Clone)]
pub struct FrontendSpec {
    /// Its name.
    pub name: Box<str>,
    /// The CSV's `iid`; frontends first, then backends, from 2 on.
    pub iid: u32,
    /// Connections at once; further ones wait in the kernel's queue. HAProxy: `maxconn`.
    pub maxconn: u32,
    /// Connections at once from one source address; further ones are closed and counted. Off when absent.
    pub maxconn_per_source: Option<u32>,
    /// Connections let in per second; further ones wait. Off when absent. HAProxy: `rate-limit sessions`.
    pub session_rate: Option<u32>,
    /// Waits on the client side.
    pub timeouts: ClientTimeouts,
    /// Limits on what a client may send.
    pub limits: HttpLimits,
    /// Limits on HTTP/2 connections.
    pub http2: Http2Limits,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and request ids are believed. Empty by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Which forwarding fields are sent to servers.
    pub forward: ForwardFields,
    /// Request ids.
    pub request_id: RequestIdSpec,
    /// Fields and cookie captured for the log.
    pub capture: CaptureSpec,
    /// Denials, checked in order before the rate limits.
    pub deny: Vec<DenyRule>,
    /// Rate limits, checked in order.
    pub rate_limits: Vec<Arc<RateLimitSpec>>,
    /// Header rules on every request.
    pub request_rules: Vec<HeaderRule>,
    /// Header rules on every response.
    pub response_rules: Vec<HeaderRule>,
    /// Routes, first match wins.
    pub routes: Vec<Route>,
    /// What a request gets that no route matched; counted per frontend.
    pub no_route: FixedAnswer,
    /// Whether connections that close without a byte are logged too. Off by default, as HAProxy's `option dontlognull`.
    pub log_null: bool,
    /// How its requests are logged.
    pub log: FrontendLog,
    /// Its listening sockets in order, when they are counted one by one (`socket_stats`); else empty.
    pub listeners: Vec<ListenerSpec>,
    /// Its stats page.
    pub stats: Option<Arc<PageSpec>>,
}

/// How a frontend's requests are logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontendLog {
    /// Not at all (`log: off`).
    pub off: bool,
    /// In this format, whatever the targets say (`log`). HAProxy: `log-format` of a frontend.
    pub format: Option<LogFormat>,
    /// As soon as the answer's head goes out (`logasap`). HAProxy: `option logasap`.
    pub asap: bool,
    /// Lines of requests that went wrong have level `err` (`log_separate_errors`). HAProxy: `option
    /// log-separate-errors`.
    pub separate_errors: bool,
}

/// A listening socket that is counted by itself. HAProxy: `option socket-stats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSpec {
    /// Its name; `sock-1`, `sock-2` and so on where none was given.
    pub name: Box<str>,
    /// Address and port, or `unix` (`addr`).
    pub address: Box<str>,
    /// `tcpv4`, `tcpv6` or `unix_stream` (`proto`).
    pub protocol: &'static str,
}

/// Waits on the client side of a stream. HAProxy: `timeout http-request`, `http-keep-alive`, `client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a request (or the connection's start) to the end of its head.
    pub request: Duration,
    /// Idle between two requests of a connection.
    pub keepalive: Duration,
    /// Inactivity of a client that is to send a body or to take an answer.
    pub client: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// How long a tarpitted request is held.
    pub tarpit: Duration,
}

/// Waits on the server side. HAProxy: `timeout queue`, `connect`, `server`, `tunnel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// In the backend's or a server's queue.
    pub queue: Duration,
    /// For a connection to a server.
    pub connect: Duration,
    /// For the TLS handshake on it. HAProxy has it within `timeout connect`.
    pub handshake: Duration,
    /// Inactivity of a server that is to answer.
    pub server: Duration,
    /// Inactivity of an upgraded connection, both directions.
    pub tunnel: Duration,
}

/// Limits on messages, each with a default (`limits`). They hold for requests and, where it applies, answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes of a head, start line included (`head`, default 32 KiB); beyond it 431, or 502 for an answer.
    pub head_max_bytes: usize,
    /// Fields of a head (`fields`, default 100).
    pub fields_max: usize,
    /// Bytes of a request target (`uri`, default 8 KiB); beyond it 414.
    pub uri_max_bytes: usize,
    /// Bytes of one chunk-size line, extensions included (`chunk_line`, default 256).
    pub chunk_line_max_bytes: usize,
    /// Bytes of a request body (`body`, off by default); beyond it 413.
    pub body_max_bytes: Option<u64>,
    /// Requests served on one connection before it is closed (`requests_per_connection`, off by default).
    pub requests_per_connection: Option<u32>,
    /// Bytes of further requests read ahead while one is being answered (`pipeline`, default 16 KiB).
    pub pipeline_max_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            head_max_bytes: 32 * 1024,
            fields_max: 100,
            uri_max_bytes: 8 * 1024,
            chunk_line_max_bytes: 256,
            body_max_bytes: None,
            requests_per_connection: None,
            pipeline_max_bytes: 16 * 1024,
        }
    }
}

/// Forwarding fields set on requests (`forwarded`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardFields {
    /// `X-Forwarded-For`, on by default.
    pub x_for: bool,
    /// `X-Forwarded-Proto`, on by default.
    pub x_proto: bool,
    /// `X-Forwarded-Port`, on by default.
    pub x_port: bool,
    /// `Forwarded` (RFC 7239), off by default.
    pub forwarded: bool,
}

/// How request ids are made and passed on (`request_id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdSpec {
    /// Field that carries it to the server; `X-Request-Id` by default. `None` switches ids off.
    pub header: Option<Box<str>>,
    /// Whether the client gets it too.
    pub respond: bool,
}

/// A backend: a group of servers.
#[derive(Debug, Clone)]
pub struct BackendSpec {
    /// Its name.
    pub name: Box<str>,
    /// The CSV's `iid`.
    pub iid: u32,
    /// How requests are spread.
    pub algorithm: Algorithm,
    /// Waits on the server side.
    pub timeouts: ServerTimeouts,
    /// Limits on answers: those of heads and chunks. The others are about requests and keep their defaults here.
    pub limits: HttpLimits,
    /// Further attempts after a failed connection. HAProxy: `retries`, default 3.
    pub retries: u32,
    /// Whether an attempt may go to another server. HAProxy: `option redispatch`, on by default here.
    pub redispatch: bool,
    /// Beyond failed connections: what else is retried, for requests that may be replayed.
    pub retry_on: RetryOn,
    /// Cookie persistence.
    pub cookie: Option<CookiePersistence>,
    /// Requests waiting at once; beyond it 503. Default 10,000.
    pub queue_max: u32,
    /// Requests in one server's own (persistence) queue; HAProxy: `maxqueue`.
    pub server_queue_max: Option<u32>,
    /// Switched to maintenance by configuration.
    pub maintenance: bool,
    /// What clients get while there is no usable server or the backend is in maintenance.
    pub maintenance_answer: FixedAnswer,
    /// Keeping idle server connections.
    pub pool: PoolSpec,
    /// HTTP/2 to its servers.
    pub http2: Http2ToServers,
    /// Source addresses of connections to servers; empty lets the kernel choose.
    pub source: Vec<IpAddr>,
    /// Header rules on every request.
    pub request_rules: Vec<HeaderRule>,
    /// Header rules on every response.
    pub response_rules: Vec<HeaderRule>,
    /// Whether every check whose result is news is logged. HAProxy: `option log-health-checks`.
    pub log_health_checks: bool,
    /// In configuration order.
    pub servers: Vec<Arc<ServerSpec>>,
    /// What servers added at run time are like.
    pub server_defaults: ServerDefaults,
}

/// What a server is like that says nothing more of itself than its address: the backend's keys, and `defaults`. HAProxy:
/// `default-server`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerDefaults {
    /// What is spoken to it.
    pub protocol: ServerProtocol,
    /// Its check, if it asks for one and the backend has not switched them off.
    pub check: Option<Arc<CheckSpec>>,
    /// Passive checks, if it is checked.
    pub observe: Option<ObserveSpec>,
    /// Ramp after coming back up.
    pub slowstart: Option<Duration>,
    /// How it starts.
    pub initial: InitialState,
    /// What DRAIN to READY does.
    pub return_from_drain: ReturnFromDrain,
    /// What MAINT to READY does.
    pub return_from_maint: ReturnFromMaint,
    /// What happens to its sessions when it goes down.
    pub on_marked_down_shutdown: bool,
    /// Whether it is spoken to in TLS. Owner and name are each server's own.
    pub tls: TlsUse,
}

impl Default for ServerDefaults {
    fn default() -> ServerDefaults {
        ServerDefaults {
            protocol: ServerProtocol::H1,
            check: None,
            observe: None,
            slowstart: None,
            initial: InitialState::First,
            return_from_drain: ReturnFromDrain::Checks,
            return_from_maint: ReturnFromMaint::Up,
            on_marked_down_shutdown: false,
            tls: TlsUse::Unset,
        }
    }
}

/// What is retried besides failed connections. HAProxy: `retry-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn {
    /// The server closed without a byte of answer (`empty-response`).
    pub empty_response: bool,
    /// The server answered 503 (`503`): a refused answer.
    pub status_503: bool,
}

/// Cookie persistence, insert mode. HAProxy: `cookie NAME insert indirect nocache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePersistence {
    /// Cookie name.
    pub name: Box<str>,
    /// `Secure` attribute.
    pub secure: bool,
    /// `HttpOnly` attribute.
    pub http_only: bool,
    /// `Domain` attribute.
    pub domain: Option<Box<str>>,
    /// `Path` attribute; `/` by default.
    pub path: Box<str>,
    /// `SameSite` attribute.
    pub same_site: Option<Box<str>>,
    /// Whether `Cache-Control: private` is added when the cookie is set.
    pub nocache: bool,
}

/// Idle connections to servers, per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSpec {
    /// Idle connections kept per server and worker (`max_idle`, default 64); 0 switches reuse off.
    pub max_idle: u32,
    /// How long one may stay idle (`idle_timeout`, default 30 s).
    pub idle_timeout: Duration,
}

/// HTTP/2 to servers, for those that speak it (`http2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2ToServers {
    /// Requests at once on one connection (`max_streams`, default 100); the server may allow fewer.
    pub max_streams: u32,
    /// Bytes of one answer's body that may wait for a slow client (`window`, default 128 KiB). A connection takes this
    /// much for each of its streams, so that none holds up another. RFC 9113 section 5.2.
    pub window_bytes: u32,
    /// Time between two signs of life asked of a connection (`ping_interval`, default 30 s).
    pub ping_interval: Duration,
    /// How long one may take (`ping_timeout`, default 10 s); then the connection counts as lost.
    pub ping_timeout: Duration,
}

impl Default for Http2ToServers {
    fn default() -> Self {
        Http2ToServers {
            max_streams: 100,
            window_bytes: 128 * 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// What is spoken to a server. HAProxy: `proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerProtocol {
    /// HTTP/1.1, one request at a time on a connection (`h1`). The default.
    #[default]
    H1,
    /// HTTP/2, many at a time (`h2`).
    H2,
}

/// A server.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    /// Its name.
    pub name: Box<str>,
    /// Where it is.
    pub address: ServerAddress,
    /// What is spoken to it.
    pub protocol: ServerProtocol,
    /// Weight 0 to 256, default 1. HAProxy: `weight`.
    pub weight: u32,
    /// Requests in flight at once; none when absent. HAProxy: `maxconn`.
    pub maxconn: Option<u32>,
    /// Used only when no other server is usable. HAProxy: `backup`.
    pub backup: bool,
    /// Starts in MAINT. HAProxy: `disabled`.
    pub disabled: bool,
    /// Value of the persistence cookie; its name when absent.
    pub cookie: Option<Box<str>>,
    /// Its check; `None` when it is not checked and taken as up.
    pub check: Option<Arc<CheckSpec>>,
    /// The server whose state it takes over instead of checks of its own, as `backend/server`. HAProxy: `track`.
    pub track: Option<Box<str>>,
    /// Its agent check. HAProxy: `agent-check`.
    pub agent: Option<Arc<AgentSpec>>,
    /// Passive checks. HAProxy: `observe layer7 error-limit N on-error …`.
    pub observe: Option<ObserveSpec>,
    /// Ramp after coming back up.
    pub slowstart: Option<Duration>,
    /// How it starts.
    pub initial: InitialState,
    /// What DRAIN to READY does.
    pub return_from_drain: ReturnFromDrain,
    /// What MAINT to READY does.
    pub return_from_maint: ReturnFromMaint,
    /// What happens to its sessions when it goes down. HAProxy: `on-marked-down shutdown-sessions`.
    pub on_marked_down_shutdown: bool,
    /// Whether it is spoken to in TLS. HAProxy: `ssl`.
    pub tls: TlsUse,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// An address.
    Ip(SocketAddr),
    /// A name, resolved at run time.
    Name {
        /// The host name.
        host: Box<str>,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// What a server is before anything is known about it (`initial`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// The first check decides alone; requests wait for it. The default.
    First,
    /// `rise` passes first.
    Checks,
    /// Up at once, as HAProxy.
    Up,
}

/// What DRAIN to READY does (`return_from_drain`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnFromDrain {
    /// Assumed down: `rise` passes, counted from the READY. The default.
    Checks,
    /// Only the drain flag is cleared, as HAProxy.
    Keep,
}

/// What MAINT to READY does (`return_from_maint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnFromMaint {
    /// Assumed up at once, as HAProxy. The default.
    Up,
    /// `rise` passes first.
    Checks,
}

/// Passive checks on live traffic (`observe`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserveSpec {
    /// Also bad answers (5xx other than 501 and 505, broken heads), not only failed connections. HAProxy: `layer7`.
    pub layer7: bool,
    /// Errors in a row that trigger `on_error`.
    pub error_limit: u32,
    /// What is done then.
    pub on_error: OnError,
}

/// Reaction to observed errors. HAProxy: `on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The next check comes at `fastinter`.
    Fastinter,
    /// Counts as one failed check.
    FailCheck,
    /// One more failed check takes it down.
    SuddenDeath,
    /// Down at once.
    MarkDown,
}
