//! What can be ordered on an admin socket.

use std::net::IpAddr;
use std::time::Duration;

use super::Level;
use super::table::TableFilter;
use crate::core::fleet::event::{ForcedHealth, WeightChange};
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
    /// `show version`
    ShowVersion,
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
