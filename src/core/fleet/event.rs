//! What can happen to a fleet, and what it then asks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::frontends::{FrontendOrder, FrontendStatus};
use super::snapshot::ConnectTo;
use super::spec::{BackendIndex, FrontendIndex, ServerId, ServerSpec};
use crate::core::health::agent::AgentOutcome;
use crate::core::health::{CheckOutcome, CheckSpec};
use crate::core::limit::process::ProcessLimit;
use crate::core::server::AdminState;

/// Who asked, kept with the state and written to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// By which way.
    pub way: Way,
    /// Who, as far as known: a user name or the peer's uid.
    pub who: Box<str>,
    /// When.
    pub at: SystemTime,
}

/// By which way an order came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The admin socket: HAProxy logs "changed from CLI".
    Cli,
    /// The stats page: "changed from Web interface".
    Web,
    /// The server's agent.
    Agent,
    /// The state file, at start.
    StateFile,
}

/// One thing that happened. `Fleet::apply` changes state by it and returns [`Effect`]s.
#[derive(Debug, Clone)]
pub enum Event {
    /// `set server B/S state …`, `enable|disable server`.
    SetAdminState {
        /// Which.
        server: ServerId,
        /// To what.
        state: AdminState,
        /// By whom.
        by: Origin,
    },
    /// `set server B/S health …`
    SetHealth {
        /// Which.
        server: ServerId,
        /// To what.
        health: ForcedHealth,
        /// By whom.
        by: Origin,
    },
    /// `set server B/S weight …`, `set weight B/S …`
    SetWeight {
        /// Which.
        server: ServerId,
        /// To what.
        weight: WeightChange,
        /// By whom.
        by: Origin,
    },
    /// `set server B/S addr A [port P]`
    SetAddress {
        /// Which.
        server: ServerId,
        /// The new address, if given.
        ip: Option<IpAddr>,
        /// The new port, if given.
        port: Option<u16>,
        /// By whom.
        by: Origin,
    },
    /// `set maxconn server B/S N`
    SetMaxconn {
        /// Which.
        server: ServerId,
        /// 0 lifts the limit.
        maxconn: u32,
    },
    /// `enable|disable health B/S`
    SetChecks {
        /// Which.
        server: ServerId,
        /// On or off.
        enabled: bool,
    },
    /// `set server B/S check-addr A [port P]`, `set server B/S check-port P`
    SetCheckTarget {
        /// Which.
        server: ServerId,
        /// The new address, if given.
        ip: Option<IpAddr>,
        /// The new port, if given; 0 is the server's own.
        port: Option<u16>,
    },
    /// `set server B/S fqdn N`
    SetName {
        /// Which.
        server: ServerId,
        /// The new name.
        name: Box<str>,
        /// By whom.
        by: Origin,
    },
    /// `set server B/S ssl on|off`
    SetTls {
        /// Which.
        server: ServerId,
        /// On or off.
        on: bool,
        /// By whom.
        by: Origin,
    },
    /// What an operator says about a server's agent.
    OrderAgent {
        /// Whose.
        server: ServerId,
        /// What.
        order: AgentOrder,
    },
    /// An agent that an [`Effect::AskAgent`] asked answered, or did not.
    AgentAnswered {
        /// Whose.
        server: ServerId,
        /// From the effect; answers to an older one are dropped.
        ticket: u64,
        /// What came of it.
        outcome: AgentOutcome,
        /// When, for what the agent changes.
        at: SystemTime,
    },
    /// Switches a whole backend to or from maintenance.
    SetMaintenance {
        /// Which.
        backend: BackendIndex,
        /// On or off.
        on: bool,
    },
    /// `add server B/S …`: a new server, in MAINT and with its checks off.
    AddServer {
        /// To which backend.
        backend: BackendIndex,
        /// What it is.
        spec: Arc<ServerSpec>,
        /// Its number, or the lowest free one.
        sid: Option<u32>,
    },
    /// `del server B/S`
    DeleteServer {
        /// Which.
        server: ServerId,
    },
    /// `enable|disable|shutdown frontend F`
    OrderFrontend {
        /// Which.
        frontend: FrontendIndex,
        /// What it is to do.
        order: FrontendOrder,
    },
    /// `set maxconn frontend F N`
    SetFrontendMaxconn {
        /// Which.
        frontend: FrontendIndex,
        /// Connections at once; with 0 nobody gets in.
        maxconn: u32,
    },
    /// `set maxconn global N`, `set rate-limit … global N`
    SetProcessLimit {
        /// Which.
        limit: ProcessLimit,
        /// Its new value; 0 lifts a rate and takes `maxconn` back to its start value.
        to: u32,
    },
    /// A probe that an [`Effect::Probe`] asked for came to an end.
    Checked {
        /// Which.
        server: ServerId,
        /// From the effect; results of an older one are dropped.
        ticket: u64,
        /// What came of it.
        outcome: CheckOutcome,
    },
    /// A look-up that an [`Effect::Resolve`] asked for came to an end.
    Resolved {
        /// Which.
        server: ServerId,
        /// The addresses, or why there are none.
        answer: Result<Vec<IpAddr>, Box<str>>,
        /// How long the answer holds.
        ttl: Duration,
    },
    /// A worker saw so many errors in a row on live traffic that `error_limit` was reached.
    Observed {
        /// Which.
        server: ServerId,
        /// What the last one was.
        text: Box<str>,
    },
}

/// What an operator says about an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentOrder {
    /// `enable|disable agent B/S`
    Enable(bool),
    /// `set server B/S agent up|down`
    Health {
        /// Up or down.
        up: bool,
        /// By whom.
        by: Origin,
    },
    /// `set server B/S agent-addr A [port P]`, `set server B/S agent-port P`
    Target {
        /// The new address, if given.
        ip: Option<IpAddr>,
        /// The new port, if given.
        port: Option<u16>,
    },
    /// `set server B/S agent-send TEXT`
    Send(Box<str>),
}

/// Health set by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedHealth {
    /// `up`
    Up,
    /// `stopping`
    Stopping,
    /// `down`
    Down,
}

/// A change of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightChange {
    /// 0 to 256.
    Absolute(u32),
    /// Percent of the configured weight.
    Percent(u32),
}

/// What the fleet asks the control task to do, in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Workers shall read `Fleet::snapshot` from now on.
    Publish,
    /// Slots may have opened: waiting requests of this backend are to be looked at.
    Dispatch(BackendIndex),
    /// Check this server now; answer with `Event::Checked` and this ticket.
    Probe {
        /// Which.
        server: ServerId,
        /// To be handed back.
        ticket: u64,
        /// Where (check address and port already applied).
        to: ConnectTo,
        /// How.
        check: Arc<CheckSpec>,
    },
    /// Ask this server's agent now; answer with `Event::AgentAnswered` and this ticket.
    AskAgent {
        /// Whose.
        server: ServerId,
        /// To be handed back.
        ticket: u64,
        /// Where.
        to: SocketAddr,
        /// What to send first; nothing when empty.
        send: Box<str>,
        /// The longest it may take, connect included.
        timeout: Duration,
    },
    /// Look this name up; answer with `Event::Resolved`.
    Resolve {
        /// For which server.
        server: ServerId,
        /// The name.
        host: Box<str>,
    },
    /// A state-change line for the log targets.
    Log {
        /// Syslog severity: 0 emergency, 1 alert, 4 warning, 5 notice.
        severity: u8,
        /// HAProxy's sentence.
        text: String,
    },
    /// End the requests this server is serving; flags `D` (went down) or `K` (an operator's order).
    ShutdownSessions {
        /// Which.
        server: ServerId,
        /// The first termination flag.
        flag: char,
    },
    /// Drop the idle connections kept to this server.
    CloseIdle(ServerId),
    /// Listening sockets of this frontend are to do as its status says.
    SetListening {
        /// Whose.
        frontend: FrontendIndex,
        /// What they are to do.
        status: FrontendStatus,
    },
    /// So many connections at once are let into this frontend from now on.
    SetFrontendMaxconn {
        /// Which.
        frontend: FrontendIndex,
        /// Connections at once.
        maxconn: u32,
    },
    /// A limit of the process has a new value.
    SetProcessLimit {
        /// Which.
        limit: ProcessLimit,
        /// Its value; for rates 0 is none.
        to: u32,
    },
    /// Operator state changed: write the state file.
    Save,
    /// Every server has had its first check: the process is ready.
    Ready,
}
