//! `frontends.NAME`: what clients connect to, and where their requests go.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compression::CompressionChoice;
use super::http2::Http2;
use super::limit::RateLimit;
use super::pattern::{Deny, List};
use super::stats::StatsPage;
use super::text::{
    Address, BackendName, Duration, FieldName, FilePath, Host, LogFormat, Network, PathMatch, Pattern, Template, Text,
};
use super::{At, Limits, Named, OneOrMany, Opt};

/// What clients connect to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Frontend {
    /// What is understood of the bytes: `http`, or `tcp` for sessions of any protocol. Default: http.
    pub mode: Opt<ModeWord>,
    /// Where it listens. Required.
    pub bind: Opt<OneOrMany<BindChoice>>,
    /// Connections at once; further ones wait. Default: `global.maxconn`.
    #[schemars(range(min = 1))]
    pub maxconn: Opt<u32>,
    /// Connections at once from one address; further ones are closed and counted. Default: no limit.
    #[schemars(range(min = 1))]
    pub maxconn_per_source: Opt<u32>,
    /// Connections let in per second; further ones wait. Default: no limit.
    #[schemars(range(min = 1))]
    pub rate_limit_sessions: Opt<u32>,
    /// Waits on the client side.
    pub timeouts: Opt<ClientTimeouts>,
    /// Limits on what a client may send.
    pub limits: Opt<Limits>,
    /// Limits on HTTP/2 connections.
    pub http2: Opt<Http2>,
    /// Networks whose `X-Forwarded-*`, `Forwarded` and request ids are believed. Default: none.
    pub trusted_proxies: Opt<OneOrMany<Network>>,
    /// Which forwarding fields are sent to servers.
    pub forwarded: Opt<Forwarded>,
    /// Request ids, or `off`.
    pub request_id: Opt<RequestIdChoice>,
    /// What is captured for the log.
    pub capture: Opt<Capture>,
    /// Requests that are refused by lists, before rate limits are asked.
    pub deny: Option<At<Vec<At<Deny>>>>,
    /// Rate and concurrency limits, checked in order.
    pub rate_limits: Option<At<Vec<At<RateLimit>>>>,
    /// Header rules on every request, in order.
    pub request_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// Header rules on every response, in order.
    pub response_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// How answers are compressed, or `off`; backends and routes may say otherwise. Default: off.
    pub compression: Opt<CompressionChoice>,
    /// Where requests go; the first that matches wins. Required unless there is a stats page.
    pub routes: Option<At<Vec<At<Route>>>>,
    /// What a request gets that no route matched. Default: 404.
    pub no_route: Opt<Answer>,
    /// How its requests are logged, in place of the targets' `format`; or `off`: not at all. Default: as the targets
    /// say.
    pub log: Opt<LogFormat>,
    /// Whether connections that close without a byte are logged. Default: false.
    pub log_null: Opt<bool>,
    /// Whether a line is written as soon as the answer's head goes out; sums that still grow are marked `+`.
    /// Default: false.
    pub logasap: Opt<bool>,
    /// Whether lines of requests that went wrong have level `err`. Default: false.
    pub log_separate_errors: Opt<bool>,
    /// Whether each listening socket has a row of its own in the statistics. Default: false.
    pub socket_stats: Opt<bool>,
    /// A stats page on this frontend. Default: none.
    pub stats: Opt<StatsPage>,
}

/// What is understood of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ModeWord {
    Http,
    Tcp,
}

/// An address, or one with more to it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum BindChoice {
    Address(Address),
    Full(Box<Bind>),
}

/// A listening socket.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Bind {
    /// `0.0.0.0:80`, `[::]:80` or `unix:/path`. Required.
    pub address: Opt<Address>,
    /// Its name in logs and statistics. Default: its number among the frontend's binds.
    pub name: Opt<Text>,
    /// PROXY headers of load balancers in front, read before everything else. Default: none.
    pub proxy_protocol: Opt<BindProxyProtocol>,
    /// TLS. Default: plain.
    pub tls: Opt<BindTls>,
    /// The version of HTTP that is spoken without TLS: `h1`, `h2` (from the first byte on: "prior knowledge"), or `auto`
    /// for both. With TLS, `alpn` says it. Default: h1.
    pub proto: Opt<Proto>,
    /// Kernel accept queue. Default: 4096.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub backlog: Opt<u32>,
    /// Permission bits of a unix socket in octal.
    pub mode: Opt<Text>,
    /// Owner of a unix socket, by name or number.
    pub user: Opt<Text>,
    /// Group of a unix socket, by name or number.
    pub group: Opt<Text>,
}

/// PROXY headers, version 1 or 2.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BindProxyProtocol {
    /// Networks of those who may send one. Required, but for unix sockets, whose file says who may connect.
    pub from: Opt<OneOrMany<Network>>,
    /// Whether every connection must begin with one; others, and those from elsewhere, are closed. With `false` they are
    /// served as they come. Default: true.
    pub required: Opt<bool>,
}

/// Versions of HTTP of a bind.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Proto {
    H1,
    H2,
    Auto,
}

/// TLS of a bind.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BindTls {
    /// PEM files and folders of them (`.pem`, `.crt`): chain and key in one file, or the key beside it as `.key`; an
    /// OCSP response beside it as `.ocsp`. The first is the default. They are read anew when they change. Required.
    pub certificates: Opt<OneOrMany<CertificateChoice>>,
    /// Oldest version offered. Default: 1.2.
    pub min_version: Opt<TlsVersion>,
    /// Newest version offered. Default: 1.3.
    pub max_version: Opt<TlsVersion>,
    /// Protocols offered, `h2` and `http/1.1`, the preferred one first. Default: [h2, http/1.1];
    /// none in TCP mode.
    pub alpn: Opt<OneOrMany<Text>>,
    /// Cipher suites of TLS 1.2 in OpenSSL's or IANA's names, in order of preference. Default: all that are sound.
    pub ciphers: Opt<OneOrMany<Text>>,
    /// Cipher suites of TLS 1.3, likewise.
    pub cipher_suites: Opt<OneOrMany<Text>>,
    /// Key-exchange groups in OpenSSL's or IANA's names; the client's order counts.
    /// Default: [X25519MLKEM768, x25519, secp256r1, secp384r1].
    pub groups: Opt<OneOrMany<Text>>,
    /// Whether clients are refused that ask for no name, or one there is no certificate for. Default: false, they get
    /// the first certificate.
    pub strict_sni: Opt<bool>,
    /// Certificates of clients: `required`, `optional` (a valid one or none), `any` (also one that cannot be verified:
    /// rules ask `ssl_c_verify`) or `off`. Default: off.
    pub client_auth: Opt<ClientAuthWord>,
    /// Whom clients' certificates must come from: a PEM file of certificates. Required with `required` and `optional`.
    pub ca_file: Opt<FilePath>,
    /// Which of them were revoked: a PEM file of revocation lists, one for each issuer. Default: none is looked at.
    pub crl_file: Opt<FilePath>,
}

/// A file or folder of certificates, or one with an offer of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum CertificateChoice {
    Path(FilePath),
    Full(Box<CertificateEntry>),
}

/// A file or folder of certificates with an offer of its own; what it does not say is as the bind has it.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateEntry {
    /// The file or folder. Required.
    pub path: Opt<FilePath>,
    /// Oldest version offered.
    pub min_version: Opt<TlsVersion>,
    /// Newest version offered.
    pub max_version: Opt<TlsVersion>,
    /// Protocols offered.
    pub alpn: Opt<OneOrMany<Text>>,
    /// Cipher suites of TLS 1.2.
    pub ciphers: Opt<OneOrMany<Text>>,
    /// Cipher suites of TLS 1.3.
    pub cipher_suites: Opt<OneOrMany<Text>>,
    /// Key-exchange groups.
    pub groups: Opt<OneOrMany<Text>>,
}

/// What is asked of clients.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum ClientAuthWord {
    Off,
    Required,
    Optional,
    Any,
}

/// TLS versions.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::config) enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Waits on the client side.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientTimeouts {
    /// From the first byte of a request to the end of its head; then 408. Default: 10s.
    pub request: Opt<Duration>,
    /// Idle between two requests of a connection. Default: 60s.
    pub keepalive: Opt<Duration>,
    /// Inactivity of a client that is to send a body or take an answer. Default: 30s.
    pub client: Opt<Duration>,
    /// The PROXY header, on binds that take one. Default: 5s.
    pub proxy_header: Opt<Duration>,
    /// The TLS handshake. Default: 10s.
    pub handshake: Opt<Duration>,
    /// How long a tarpitted request is held. Default: 10s.
    pub tarpit: Opt<Duration>,
    /// In TCP mode, for the ClientHello that says which server a client wants; then the client goes where one without a
    /// name goes. Default: 5s.
    pub hello: Opt<Duration>,
    /// In TCP mode, inactivity of a client that the server has ended the session with. Default: as `client`.
    pub client_fin: Opt<Duration>,
}

/// Forwarding fields set on requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Forwarded {
    /// `X-Forwarded-For`. Default: true.
    pub x_forwarded_for: Opt<bool>,
    /// `X-Forwarded-Proto`. Default: true.
    pub x_forwarded_proto: Opt<bool>,
    /// `X-Forwarded-Port`. Default: true.
    pub x_forwarded_port: Opt<bool>,
    /// `Forwarded` (RFC 7239). Default: false.
    pub forwarded: Opt<bool>,
}

/// `off`, or how request ids travel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum RequestIdChoice {
    Off(OffWord),
    On(RequestId),
}

/// `off`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum OffWord {
    Off,
}

/// Request ids.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequestId {
    /// Field that carries it to the server. Default: X-Request-Id.
    pub header: Opt<FieldName>,
    /// Whether the client gets it too. Default: false.
    pub respond: Opt<bool>,
}

/// What is captured for the log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Capture {
    /// Request fields, in the order of the log.
    pub request: Option<At<Vec<At<HeaderCapture>>>>,
    /// Response fields, in the order of the log.
    pub response: Option<At<Vec<At<HeaderCapture>>>>,
    /// A cookie.
    pub cookie: Opt<CookieCapture>,
}

/// A captured field.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderCapture {
    /// Field name; its last occurrence counts. Required.
    pub header: Opt<FieldName>,
    /// Longest value kept, in bytes. Default: 64.
    #[schemars(range(min = 1, max = 8192))]
    pub max: Opt<u32>,
    /// Whether the field is removed before the message goes on. Default: false.
    pub strip: Opt<bool>,
}

/// A captured cookie.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CookieCapture {
    /// The first cookie whose `name=value` begins with this. Required.
    pub prefix: Opt<Text>,
    /// Longest text kept, in bytes. Default: 64.
    #[schemars(range(min = 1, max = 8192))]
    pub max: Opt<u32>,
}

/// One header rule: exactly one of its keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderRule {
    /// All fields of these names go, one with this value comes.
    pub set: Opt<Named<Template>>,
    /// One more field of each name.
    pub add: Opt<Named<Template>>,
    /// All fields of these names go.
    pub delete: Opt<OneOrMany<FieldName>>,
    /// Every match in the values of a field becomes something else.
    pub replace: Opt<Replace>,
}

/// Every match in the values of a field becomes something else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Replace {
    /// Field name. Required.
    pub header: Opt<FieldName>,
    /// What is looked for. Required.
    pub pattern: Opt<Pattern>,
    /// What it becomes; `$1` is the first group. Required.
    pub with: Opt<Text>,
}

/// A route: all conditions given must hold; then exactly one of `backend`, `redirect`, `respond`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Hosts: `example.com`, `*.example.com` or `*`. Default: any.
    pub host: Opt<OneOrMany<Host>>,
    /// In TCP mode, the server names clients ask for in their ClientHello (SNI), written as hosts. Default: any, also
    /// none at all.
    pub sni: Opt<OneOrMany<Host>>,
    /// Paths: `/api/` is that path and everything below, `= /x` exactly that, `~ regex` a match. Default: any.
    pub path: Opt<OneOrMany<PathMatch>>,
    /// Methods, as they are sent. Default: any.
    pub method: Opt<OneOrMany<Text>>,
    /// Header conditions by field name; all must hold.
    pub header: Opt<Named<ConditionChoice>>,
    /// Query conditions by parameter name; all must hold.
    pub query: Opt<Named<ConditionChoice>>,
    /// Only what came over TLS (`true`) or plain (`false`); a PROXY header that tells of TLS counts. Default: both.
    pub tls: Opt<bool>,
    /// Conditions on the client's TLS by HAProxy's names of samples (`ssl_c_verify`, `ssl_c_s_dn(CN)`, `ja4`, …); all
    /// must hold.
    pub sample: Opt<Named<ConditionChoice>>,
    /// Networks the client must be in, or files of them. Default: any.
    pub client_ip: Opt<List<Network>>,
    /// The backend that serves it; with `host_map` the one for hosts the map does not name.
    pub backend: Opt<BackendName>,
    /// File with a host and the name of its backend on each line, as HAProxy's maps. Without `backend` the route takes
    /// only hosts that stand in it.
    pub host_map: Opt<FilePath>,
    /// The client is sent elsewhere.
    pub redirect: Opt<Redirect>,
    /// The answer is given here.
    pub respond: Opt<Answer>,
    /// Header rules on requests of this route, after the frontend's.
    pub request_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// Header rules on responses of this route, before the frontend's.
    pub response_headers: Option<At<Vec<At<HeaderRule>>>>,
    /// How answers on this route are compressed, or `off`. Default: as the backend says.
    pub compression: Opt<CompressionChoice>,
}

/// A value (`~ regex` for a match), or one key of a map.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum ConditionChoice {
    Value(Text),
    Full(Condition),
}

/// A condition: exactly one of its keys.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Condition {
    /// Whether it is there at all.
    pub present: Opt<bool>,
    /// Exactly this value.
    pub exact: Opt<Text>,
    /// A value that matches.
    pub regex: Opt<Pattern>,
}

/// A redirect: exactly one of `to`, `location`, `scheme`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Redirect {
    /// The request's path and query are appended to this.
    pub to: Opt<Template>,
    /// Exactly this.
    pub location: Opt<Template>,
    /// The same host and path under another scheme.
    pub scheme: Opt<Scheme>,
    /// With `scheme`: the port put behind the host. Default: none.
    #[schemars(range(min = 1))]
    pub port: Opt<u16>,
    /// 301, 302, 303, 307 or 308. Default: 301.
    pub status: Opt<u16>,
}

/// Schemes of a redirect.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Scheme {
    Http,
    Https,
}

/// An answer made here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Answer {
    /// Status code. Default: 200 for `respond`, 404 for `no_route`.
    #[schemars(range(min = 200, max = 599))]
    pub status: Opt<u16>,
    /// Further fields by name.
    pub headers: Opt<Named<Text>>,
    /// Body text. Default: the status in words.
    pub body: Opt<Text>,
    /// File with the body, read when the configuration is, instead of `body`.
    pub file: Opt<FilePath>,
    /// `Content-Type` of the body. Default: by the file's ending, or text/plain.
    pub content_type: Opt<Text>,
}
