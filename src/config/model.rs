//! The validated configuration: what `lower` builds and everything else is started from.
//!
//! What concerns requests is in [`FleetSpec`] (core); here stands what concerns the process and its sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::core::admin::Level;
use crate::core::fleet::spec::{FleetSpec, FrontendIndex};
pub use crate::core::limit::process::ProcessLimits;
pub use crate::core::log::format::LogFormat;
use crate::core::pattern::PatternSpec;
pub use crate::core::tls::names::TlsVersion;

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

impl Model {
    /// Descriptors kept back from client connections: the reserve, a listener per bind and worker, a check and an agent per server.
    pub fn descriptors_reserved(&self) -> u64 {
        let servers = || self.fleet.backends.iter().flat_map(|b| &b.servers);
        let checks = servers().count() + servers().filter(|s| s.agent.is_some()).count();
        DESCRIPTORS_RESERVED + (self.binds.len() * self.global.threads + checks) as u64
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
    /// `node` of `show info`; the host name by default.
    pub node: Option<Box<str>>,
    /// `description` of `show info`.
    pub description: Option<Box<str>>,
}

/// Resumption state shared by all workers (`global.tls`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsGlobal {
    /// Sessions kept in memory for resumption by id (`session_cache`, default 20,000).
    pub session_cache: usize,
    /// How often a new ticket key is made (`ticket_rotation`, default 12 h). Keys are accepted for two rotations more.
    pub ticket_rotation: Duration,
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

/// TLS of a bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindTls {
    /// PEM files (chain and key, or a chain with its key beside it as `.key`) and folders of them; the first is the
    /// default.
    pub certificates: Vec<PathBuf>,
    /// Oldest version offered; TLS 1.2 by default.
    pub min_version: TlsVersion,
    /// Newest version offered; TLS 1.3 by default.
    pub max_version: TlsVersion,
    /// Versions of HTTP offered, the preferred one first; HTTP/2 and HTTP/1.1 by default.
    pub alpn: Vec<HttpVersion>,
}
