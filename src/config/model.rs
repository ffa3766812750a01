//! The validated configuration: what `lower` builds and everything else is started from.
//!
//! What concerns requests is in [`FleetSpec`] (core); here stands what concerns the process and its sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::core::admin::Level;
use crate::core::fleet::spec::{FleetSpec, FrontendIndex};
pub use crate::core::limit::process::ProcessLimits;
pub use crate::core::log::format::LogFormat;
use crate::core::pattern::PatternSpec;
pub use crate::core::tls::names::TlsVersion;
use crate::core::tls::names::{CIPHERS, DEFAULT_GROUPS};

/// A configuration that cannot be wrong.
#[derive(Debug, Clone)]
pub struct Model {
    /// The process.
    pub global: Global,
    /// Frontends, backends, servers.
    pub fleet: FleetSpec,
    /// Maps and access lists, by `PatternId`.
    pub patterns: Vec<PatternSpec>,
    /// Every listening socket of every frontend.
    pub binds: Vec<Bind>,
}

/// Descriptors kept for everything that is not a connection: files, epoll, timers, admin and log sockets.
pub const DESCRIPTORS_RESERVED: u64 = 256;
/// Pipes a worker may have open to move bytes of sessions in TCP mode inside the kernel; each takes two descriptors.
pub const PIPES_PER_WORKER: usize = 64;

impl Model {
    /// Descriptors kept back from client connections: the reserve, a listener per bind and worker, pipes for sessions in TCP
    /// mode, a check and an agent per server.
    pub fn descriptors_reserved(&self) -> u64 {
        let servers = || self.fleet.backends.iter().flat_map(|b| &b.servers);
        let checks = servers().count() + servers().filter(|s| s.agent.is_some()).count();
        let splices = self.fleet.frontends.iter().any(|f| f.tcp.is_some());
        let pipes = if splices { 2 * PIPES_PER_WORKER } else { 0 };
        DESCRIPTORS_RESERVED + ((self.binds.len() + pipes) * self.global.threads + checks) as u64
    }

    /// Descriptors that `maxconn` client connections need, two each, with the reserve.
    pub fn descriptors_needed(&self) -> u64 {
        2 * u64::from(self.global.maxconn) + self.descriptors_reserved()
    }
}

/// The `global` section.
#[derive(Debug, Clone)]
pub struct Global {
    /// Worker threads; `auto` is one per core this process may run on.
    pub threads: usize,
    /// Client connections at once; further ones wait.
    pub maxconn: u32,
    /// The same with the limits per second, as they are at the start.
    pub limits: ProcessLimits,
    /// Where operator state is kept.
    pub state_file: Option<PathBuf>,
    /// How long open requests may take to finish when stopping (`grace`, default 30 s).
    pub grace: Duration,
    /// Admin sockets.
    pub admin: Vec<AdminSocket>,
    /// Log targets.
    pub logs: Vec<LogTarget>,
    /// TLS resumption.
    pub tls: TlsGlobal,
    /// What compression may take; its limit of bytes per second is in `limits`.
    pub compression: CompressionLimits,
    /// `node` of `show info`; the host name by default.
    pub node: Option<Box<str>>,
    /// `description` of `show info`.
    pub description: Option<Box<str>>,
}

/// What compression may take of the process (`global.compression`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionLimits {
    /// Bytes of memory of all encoders together (`memory`, default 256 MiB). HAProxy: `maxzlibmem`.
    pub memory_bytes: u64,
    /// Percentage of the workers' time in use beyond which nothing more is compressed (`max_cpu`, off by default).
    /// HAProxy: `maxcompcpuusage`.
    pub cpu_max_percent: Option<u32>,
}

/// Resumption state shared by all workers (`global.tls`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsGlobal {
    /// Sessions kept in memory for resumption by id (`session_cache`, default 20,000).
    pub session_cache: usize,
    /// How often a new ticket key is made (`ticket_rotation`, default 12 h). Keys are accepted for two rotations more.
    pub ticket_rotation: Duration,
    /// Where ticket keys come from.
    pub ticket_keys: TicketKeysFrom,
}

/// Where ticket keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketKeysFrom {
    /// They are made here and known to nobody else.
    Own,
    /// A file of keys that other machines have, too (`ticket_keys_file`), as HAProxy's `tls-ticket-keys`.
    File(PathBuf),
    /// A secret that other machines have, too (`ticket_keys_derived`); each rotation has a key derived from it.
    Secret(PathBuf),
}

impl TlsGlobal {
    /// So many sessions and this rotation, with keys of its own.
    pub fn own(session_cache: usize, ticket_rotation: Duration) -> TlsGlobal {
        TlsGlobal { session_cache, ticket_rotation, ticket_keys: TicketKeysFrom::Own }
    }
}

/// An admin socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSocket {
    /// Where.
    pub address: AdminAddress,
    /// What its users may do.
    pub level: Level,
    /// Idle connections are closed after this (`timeout`, default 10 s).
    pub timeout: Duration,
    /// Connections at once (`maxconn`, default 10).
    pub maxconn: u32,
}

/// Where an admin socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// Unix stream socket.
    Unix(UnixSocket),
    /// TCP; only loopback addresses are accepted by `lower`.
    Tcp(SocketAddr),
}

/// A unix socket and who may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its path.
    pub path: PathBuf,
    /// Permission bits; the process's umask decides when absent.
    pub mode: Option<u32>,
    /// Owner, by name or number.
    pub user: Option<Box<str>>,
    /// Group, by name or number.
    pub group: Option<Box<str>>,
}

/// One log target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// Where lines go.
    pub to: LogDestination,
    /// What stands around a line.
    pub envelope: Envelope,
    /// Syslog facility number; `local0` is 16, the default.
    pub facility: u8,
    /// How a request is laid out, in frontends that do not say otherwise.
    pub format: LogFormat,
    /// Program name in the envelope; `haproxy` by default, because tools look for it.
    pub tag: Box<str>,
    /// Host name in the envelope; RFC 3164 lines carry none unless set, RFC 5424 lines the machine's.
    pub hostname: Option<Box<str>>,
    /// Longest line in bytes (`max_line`, default 8192); the closing quote is never lost.
    pub max_line_bytes: usize,
    /// Only lines of at least this importance (`level`: syslog severity, default 7 = all).
    pub level: u8,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogDestination {
    /// `udp://IP:PORT`
    Udp(SocketAddr),
    /// `tcp://IP:PORT`, lines framed by octet counting (RFC 6587).
    Tcp(SocketAddr),
    /// `unix:///dev/log`, a datagram socket.
    UnixDatagram(PathBuf),
    /// `stdout`
    Stdout,
    /// `file:///var/log/…`, appended, reopened on SIGUSR1.
    File(PathBuf),
}

/// What stands around a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// `<134>Nov 21 19:46:16 haproxy[6775]: …`
    Rfc3164,
    /// `<134>1 2026-11-21T19:46:16.123456+00:00 host haproxy 6775 - - …`
    Rfc5424,
    /// Nothing: the line alone. The default for stdout and files.
    Raw,
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Whose.
    pub frontend: FrontendIndex,
    /// Its place among the frontend's, counted from 1.
    pub number: usize,
    /// What logs and, with `socket_stats`, statistics call it; its number when absent.
    pub name: Option<Box<str>>,
    /// Where.
    pub address: BindAddress,
    /// PROXY headers before everything else; none when absent.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS; plain when absent.
    pub tls: Option<BindTls>,
    /// Which version of HTTP clients speak that did not agree on one in a TLS handshake (`proto`).
    pub protocol: BindProtocol,
    /// Kernel accept queue (`backlog`, default 4096).
    pub backlog: u32,
}

/// Which version of HTTP clients of a bind speak that did not agree on one in a TLS handshake. HAProxy: `proto` of a
/// bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindProtocol {
    /// HTTP/1.
    #[default]
    Http1,
    /// HTTP/2; anything else is refused.
    Http2,
    /// Either: the first bytes tell.
    Auto,
}

/// A version of HTTP that a TLS handshake can agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
}

impl HttpVersion {
    /// Its name in the handshake (RFC 7301).
    pub fn alpn(self) -> &'static [u8] {
        match self {
            HttpVersion::Http1 => b"http/1.1",
            HttpVersion::Http2 => b"h2",
        }
    }
}

/// Where a frontend listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix stream socket.
    Unix(UnixSocket),
}

/// Whose PROXY headers a bind takes. HAProxy: `accept-proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who may send one. Not asked on unix sockets, whose file says who may connect.
    pub from: Vec<IpNet>,
    /// Whether every connection must begin with one (the default); otherwise those from elsewhere are served as they
    /// come, and those from here with or without.
    pub required: bool,
}

/// TLS of a bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindTls {
    /// Where certificates come from; the first is the default.
    pub certificates: Vec<CertificateSource>,
    /// What is offered with certificates that say nothing else.
    pub offer: TlsOffer,
    /// Clients that ask for no name, or one there is no certificate for, are refused (`strict_sni`).
    pub strict_sni: bool,
    /// Certificates of clients; `None`: they are not asked for any.
    pub client_auth: Option<ClientAuth>,
}

impl BindTls {
    /// These files and folders, with everything else as it is when nothing is said.
    pub fn of(paths: &[PathBuf]) -> BindTls {
        let source = |path: &PathBuf| CertificateSource { path: path.clone(), offer: None };
        BindTls {
            certificates: paths.iter().map(source).collect(),
            offer: TlsOffer::default(),
            strict_sni: false,
            client_auth: None,
        }
    }
}

/// A file or folder of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSource {
    /// A PEM file (chain and key, or a chain with its key beside it as `.key`) or a folder of them.
    pub path: PathBuf,
    /// What is offered with these certificates in place of the bind's own offer.
    pub offer: Option<TlsOffer>,
}

/// What is offered to a client in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOffer {
    /// Oldest version; TLS 1.2 by default.
    pub min_version: TlsVersion,
    /// Newest version; TLS 1.3 by default.
    pub max_version: TlsVersion,
    /// Versions of HTTP, the preferred one first; HTTP/2 and HTTP/1.1 by default.
    pub alpn: Vec<HttpVersion>,
    /// Cipher suites of both versions by number, in order of preference.
    pub ciphers: Vec<u16>,
    /// Key-exchange groups by number, in order of preference.
    pub groups: Vec<u16>,
}

impl Default for TlsOffer {
    fn default() -> TlsOffer {
        TlsOffer {
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            alpn: vec![HttpVersion::Http2, HttpVersion::Http1],
            ciphers: CIPHERS.iter().map(|cipher| cipher.code).collect(),
            groups: DEFAULT_GROUPS.to_vec(),
        }
    }
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// What is asked of clients.
    pub mode: ClientAuthMode,
    /// Whom clients' certificates must come from; only [`ClientAuthMode::Any`] can do without.
    pub ca_file: Option<PathBuf>,
    /// Which of them were revoked.
    pub crl_file: Option<PathBuf>,
}

/// What is asked of clients (`client_auth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// A valid certificate. HAProxy: `verify required`.
    Required,
    /// A valid certificate or none. HAProxy: `verify optional`.
    Optional,
    /// Any certificate or none; whether it is valid is for rules to ask. HAProxy: `verify optional crt-ignore-err all
    /// ca-ignore-err all`.
    Any,
}
