//! What can be ordered on an admin socket.

use std::net::IpAddr;
use std::time::Duration;

use super::Level;
use super::certificates::CertificateOrder;
use super::diagnosis::Diagnosis;
use super::modes::{Mode, SeverityOutput};
use super::new_server::NewServer;
use super::patterns::PatternOrder;
use super::table::{TableFilter, TableValues};
use crate::core::fleet::event::{ForcedHealth, WeightChange};
use crate::core::fleet::frontends::FrontendOrder;
use crate::core::limit::process::ProcessLimit;
use crate::core::server::AdminState;
use crate::core::stats::Query;
use crate::core::stats::info::InfoQuery;

/// A command and the level it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The least level that may give it.
    pub level: Level,
    /// What is ordered.
    pub command: Command,
}

/// A command. Names of servers (`B/S`) are resolved when it is carried out; mistakes in what follows the name are kept
/// until then, because HAProxy names the unknown server first.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An empty command: an empty reply.
    Nothing,
    /// `help [words]`
    Help(Vec<String>),
    /// `prompt`: interactive mode on or off.
    Prompt,
    /// `quit`: no reply, the connection is closed.
    Quit,
    /// `operator` or `user`: this connection's level goes down.
    Lower(Level),
    /// `set timeout cli T`: this connection's idle timeout.
    SetTimeout(Duration),
    /// `set severity-output`: whether this connection's replies begin with their severity.
    SetSeverity(SeverityOutput),
    /// `expert-mode [on|off]`, `experimental-mode [on|off]`
    Mode {
        /// Which.
        mode: Mode,
        /// On or off; `None` asks which it is.
        on: Option<bool>,
    },
    /// `show version`
    ShowVersion,
    /// `show env`, `show fd`, `show threads`, …
    Diagnose(Diagnosis),
    /// `… ssl cert`, `… ssl crt-list`
    Certificates(CertificateOrder),
    /// `show cli level`
    ShowLevel,
    /// `show cli sockets`
    ShowSockets,
    /// `show info`
    ShowInfo(InfoQuery),
    /// `show stat`
    ShowStat(Query),
    /// `show schema json`
    ShowSchema,
    /// `show backend`
    ShowBackends,
    /// `show servers state [B]`
    ShowServersState(Option<String>),
    /// `show servers conn [B]`
    ShowServersConn(Option<String>),
    /// `show servers checks [backend]` (lockgate's own).
    ShowServersChecks(Option<String>),
    /// `show sess`
    ShowStreams(StreamQuery),
    /// `show errors`
    ShowErrors(ErrorQuery),
    /// `show table` without a name: every table's first line.
    ShowTables,
    /// `show table T …`
    ShowTable(TableQuery),
    /// `clear table T …`
    ClearTable(TableQuery),
    /// `set table T key K data.X V …`
    SetTable {
        /// The table's name.
        table: String,
        /// What is to be set, or what is wrong with that.
        values: Result<TableValues, String>,
    },
    /// `show map`, `add acl`, `commit map`, …
    Patterns(PatternOrder),
    /// `clear counters [all]`
    ClearCounters {
        /// Not only maxima.
        all: bool,
    },
    /// `get weight B/S`
    GetWeight(String),
    /// `set server B/S …`, `set weight`, `set maxconn server`, `enable|disable server|health|agent`
    ChangeServer {
        /// `B/S`, as written.
        server: String,
        /// What is to change, or what is wrong with that.
        change: Result<ServerChange, String>,
    },
    /// `add server B/S ADDRESS …`
    AddServer {
        /// `B/S`, as written.
        server: String,
        /// The server, or what is wrong with it.
        new: Result<Box<NewServer>, String>,
    },
    /// `del server B/S`
    DeleteServer(String),
    /// `enable|disable|shutdown frontend F`
    OrderFrontend {
        /// The frontend, as written.
        frontend: String,
        /// What it is to do.
        order: FrontendOrder,
    },
    /// `set maxconn frontend F N`
    SetFrontendMaxconn {
        /// The frontend, as written.
        frontend: String,
        /// Connections at once, or what is wrong with that.
        maxconn: Result<u32, &'static str>,
    },
    /// `set maxconn global N`, `set rate-limit … global N`
    SetProcessLimit {
        /// Which limit.
        limit: ProcessLimit,
        /// Its value.
        to: u32,
    },
    /// `set backend B maintenance on|off`
    SetMaintenance {
        /// The backend, as written.
        backend: String,
        /// On or off, or what is wrong with that.
        on: Result<bool, &'static str>,
    },
    /// `shutdown session X`
    KillStream(u64),
    /// `shutdown sessions server B/S`
    KillServerStreams(String),
    /// A command that is refused whatever the state is.
    Refused(String),
    /// No command begins like this.
    Unknown(Vec<String>),
}

/// A change to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerChange {
    /// `state`
    Admin(AdminState),
    /// `health`
    Health(ForcedHealth),
    /// `weight`
    Weight(WeightChange),
    /// `addr A [port P]`
    Address {
        /// The address.
        ip: IpAddr,
        /// The port, if it is to change too.
        port: Option<u16>,
    },
    /// `set maxconn server`; 0 lifts the limit.
    Maxconn(u32),
    /// `enable|disable health`
    Checks(bool),
    /// `check-addr A [port P]`, `check-port P`; port 0 is the server's own.
    CheckTarget {
        /// The address, if it is to change.
        ip: Option<IpAddr>,
        /// The port, if it is to change.
        port: Option<u16>,
    },
    /// `fqdn N`
    Name(String),
    /// `ssl on|off`; none for another word.
    Tls(Option<bool>),
    /// `agent-addr A [port P]`, `agent-port P`
    AgentTarget {
        /// The address, if it is to change.
        ip: Option<IpAddr>,
        /// The port, if it is to change.
        port: Option<u16>,
    },
    /// `agent up|down`: whether up.
    AgentHealth(bool),
    /// `agent-send TEXT`
    AgentSend(String),
    /// `enable|disable agent`
    Agent(bool),
    /// Nothing: only the server's name is looked at.
    Nothing,
}

/// What `show sess` is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamQuery {
    /// One line each.
    List,
    /// Everything of each (`all`).
    All,
    /// Everything of one.
    One(u64),
}

/// What `show errors` is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorQuery {
    /// Only of this frontend or backend: a name or `iid`.
    pub proxy: Option<String>,
    /// Only requests (`Some(true)`) or only responses.
    pub requests: Option<bool>,
}

/// Which rows of which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableQuery {
    /// The table's name.
    pub table: String,
    /// Which rows, or what is wrong with that.
    pub rows: Result<TableFilter, String>,
}
