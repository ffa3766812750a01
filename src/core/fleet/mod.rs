//! The control state machine: every server's two-axis state, driven by events, read through snapshots.
//!
//! Reading order: [`spec`] (what was configured), [`event`] (what happens), [`snapshot`] (what workers read),
//! [`live`] (the atomics they touch).

pub mod event;
pub mod live;
pub mod snapshot;
pub mod spec;

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Effect, Event, Origin};
use live::{BackendLive, ServerLive};
use snapshot::{ConnectTo, FrontendView, Snapshot};
use spec::{BackendSpec, FleetSpec, ServerId, ServerSpec};

use crate::core::health::CheckOutcome;
use crate::core::server::ServerState;

/// Everything the control task knows of frontends, backends and servers.
#[derive(Debug)]
pub struct Fleet {
    frontends: Vec<Arc<FrontendView>>,
    backends: Vec<BackendEntry>,
    snapshot: Arc<Snapshot>,
}

/// A backend in the control task.
#[derive(Debug)]
pub struct BackendEntry {
    /// Its configuration.
    pub spec: Arc<BackendSpec>,
    /// Its atomics.
    pub live: Arc<BackendLive>,
    /// In configuration order.
    pub servers: Vec<ServerEntry>,
    /// Switched to maintenance, by configuration or by hand.
    pub maintenance: bool,
    /// Whether some server is usable (`status` UP or DOWN).
    pub up: bool,
    /// When `up` last changed.
    pub changed_at: Instant,
    /// Times it went down.
    pub down_count: u64,
    /// Time spent down before `changed_at`.
    pub downtime: Duration,
}

/// A server in the control task.
#[derive(Debug)]
pub struct ServerEntry {
    /// Its identity.
    pub id: ServerId,
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Its atomics.
    pub live: Arc<ServerLive>,
    /// The two-axis state with the health counter.
    pub state: ServerState,
    /// Where it is, as far as known.
    pub address: Option<ConnectTo>,
    /// Weight set by the operator or the configuration, 0 to 256.
    pub weight: u32,
    /// Requests in flight at once, if limited.
    pub maxconn: Option<u32>,
    /// The last finished check.
    pub last_check: Option<LastCheck>,
    /// A check is running now.
    pub check_running: bool,
    /// Who set the admin state last, if anyone did.
    pub changed_by: Option<Origin>,
    /// When the effective state last changed.
    pub changed_at: Instant,
    /// `chkfail`: failed checks while up.
    pub check_failures: u64,
    /// `chkdown`: times it went down.
    pub down_count: u64,
    /// Time spent down before `down_since`.
    pub downtime: Duration,
    /// Since when it is down, if it is.
    pub down_since: Option<Instant>,
}

/// The last finished check of a server.
#[derive(Debug, Clone)]
pub struct LastCheck {
    /// What came of it.
    pub outcome: CheckOutcome,
    /// When it ended.
    pub at: Instant,
}

/// Why an event changed nothing. `Display` is HAProxy's sentence for the admin socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);
