//! `global`: the process.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compression::CompressionLimits;
use super::stats::StatsFrontend;
use super::text::{Address, Duration, FilePath, LogFormat, LogTargetUrl, Text};
use super::{At, Opt};

/// The process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Global {
    /// Worker threads, or `auto`: one per core this process may run on. Default: auto.
    pub threads: Opt<Threads>,
    /// Client connections at once; further ones wait. Each takes two descriptors.
    /// Default: 100000, or what the descriptor limit allows.
    #[schemars(range(min = 1))]
    pub maxconn: Opt<u32>,
    /// Connections let in per second; further ones wait. Default: no limit.
    #[schemars(range(min = 1))]
    pub maxconnrate: Opt<u32>,
    /// Sessions begun per second; further ones wait. Default: no limit.
    #[schemars(range(min = 1))]
    pub maxsessrate: Opt<u32>,
    /// TLS connections let in per second; further ones wait. Default: no limit.
    #[schemars(range(min = 1))]
    pub maxsslrate: Opt<u32>,
    /// Where operator state (drain, maint, weights) survives a restart. Default: nowhere.
    pub state_file: Opt<FilePath>,
    /// How long open requests may take to finish when stopping. Default: 30s.
    pub grace: Opt<Duration>,
    /// Admin sockets.
    pub admin: Option<At<Vec<At<Admin>>>>,
    /// Stats pages, each with a frontend of its own.
    pub stats: Option<At<Vec<At<StatsFrontend>>>>,
    /// Log targets; every line goes to each.
    pub logs: Option<At<Vec<At<Log>>>>,
    /// TLS resumption, shared by all workers.
    pub tls: Opt<TlsGlobal>,
    /// What compression may take of the process.
    pub compression: Opt<CompressionLimits>,
    /// `node` of `show info`. Default: the host name.
    pub node: Opt<Text>,
    /// `description` of `show info`.
    pub description: Opt<Text>,
}

/// `auto` or a number.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum Threads {
    Auto(AutoWord),
    Count(#[schemars(range(min = 1, max = 1024))] u32),
}

/// `auto`
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum AutoWord {
    Auto,
}

/// TLS resumption.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TlsGlobal {
    /// Sessions kept in memory for resumption by id; 0 switches it off. Default: 20000.
    #[schemars(range(max = 10_000_000))]
    pub session_cache: Opt<u32>,
    /// How often a new ticket key is made; old ones are accepted for two rotations more. Default: 12h.
    pub ticket_rotation: Opt<Duration>,
    /// Ticket keys that other machines have, too: one in base64 on each line (48 or 80 bytes), as HAProxy's
    /// `tls-ticket-keys`. The last three are accepted, the one before the last is used; read anew when it changes.
    /// Default: own keys, known to this process alone.
    pub ticket_keys_file: Opt<FilePath>,
    /// Whether that file holds one secret of at least 32 bytes, from which each rotation's key is derived, rather than
    /// the keys. Default: false.
    pub ticket_keys_derived: Opt<bool>,
}

/// An admin socket: `socket` or `bind`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Path of a unix socket.
    pub socket: Opt<FilePath>,
    /// A loopback TCP address instead of `socket`.
    pub bind: Opt<Address>,
    /// What its users may do. Default: operator.
    pub level: Opt<Level>,
    /// Permission bits of the socket in octal. Default: what the umask leaves.
    pub mode: Opt<Text>,
    /// Owner of the socket, by name or number.
    pub user: Opt<Text>,
    /// Group of the socket, by name or number.
    pub group: Opt<Text>,
    /// Idle connections are closed after this. Default: 10s.
    pub timeout: Opt<Duration>,
    /// Connections at once. Default: 10.
    #[schemars(range(min = 1, max = 10_000))]
    pub maxconn: Opt<u32>,
}

/// Levels of an admin socket.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Level {
    User,
    Operator,
    Admin,
}

/// A log target.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// `udp://IP:PORT`, `tcp://IP:PORT`, `unix:///dev/log`, `file:///path` or `stdout`. Required.
    pub target: Opt<LogTargetUrl>,
    /// What stands around a line. Default: rfc3164 for syslog, raw for stdout and files.
    pub syslog: Opt<Envelope>,
    /// Syslog facility. Default: local0.
    pub facility: Opt<Facility>,
    /// How a request is laid out: `httplog`, `httpslog`, `tcplog`, `clf`, `json`, or a string with HAProxy's `%`
    /// variables. Default: httplog.
    pub format: Opt<LogFormat>,
    /// Program name in the envelope. Default: haproxy, because tools look for it.
    pub tag: Opt<Text>,
    /// Host name in the envelope. Default: none for rfc3164, the machine's for rfc5424.
    pub hostname: Opt<Text>,
    /// Longest line. Default: 8KiB.
    pub max_line: Opt<super::text::Size>,
    /// Only lines of at least this importance. Default: debug, which is all.
    pub level: Opt<Severity>,
}

/// What stands around a log line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Envelope {
    Rfc3164,
    Rfc5424,
    Raw,
}

/// Syslog facilities in the order of their numbers (RFC 5424, section 6.2.1), named as HAProxy names them.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Facility {
    Kern,
    User,
    Mail,
    Daemon,
    Auth,
    Syslog,
    Lpr,
    News,
    Uucp,
    Cron,
    Auth2,
    Ftp,
    Ntp,
    Audit,
    Alert,
    Cron2,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// Syslog severities in the order of their numbers (RFC 5424, section 6.2.1).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Severity {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}
