//! What workers read: an immutable picture of every frontend, backend and server, replaced whole on each change.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::live::{BackendLive, FrontendLive, ServerLive};
use super::spec::{BackendIndex, BackendSpec, FrontendSpec, ServerId, ServerSpec};
use crate::core::balance::Picker;
use crate::core::tls::ServerTls;

/// Everything workers need to know to serve a request.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with each publication.
    pub generation: u64,
    /// By `FrontendIndex`.
    pub frontends: Vec<Arc<FrontendView>>,
    /// By `BackendIndex`. Backends that did not change keep their `Arc`.
    pub backends: Vec<Arc<BackendView>>,
}

/// A frontend as workers see it.
#[derive(Debug)]
pub struct FrontendView {
    /// Its configuration.
    pub spec: Arc<FrontendSpec>,
    /// Its atomics.
    pub live: Arc<FrontendLive>,
}

/// A backend as workers see it.
#[derive(Debug)]
pub struct BackendView {
    /// Its position.
    pub index: BackendIndex,
    /// Its configuration.
    pub spec: Arc<BackendSpec>,
    /// Its atomics and its queue.
    pub live: Arc<BackendLive>,
    /// By `ServerId::index`: the configured ones in their order, then those added at run time. A deleted server leaves its
    /// place empty for a while ([`ServerView::is_deleted`]).
    pub servers: Vec<ServerView>,
    /// The servers that may get new requests, arranged for the backend's algorithm. Backups are in it only while no
    /// other server is usable.
    pub picker: Picker,
    /// Whether some server has yet to answer its first check: requests that find no usable server then wait.
    pub awaiting_first_check: bool,
    /// Switched to maintenance, by configuration or by hand.
    pub maintenance: bool,
}

/// A server as workers see it.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its identity.
    pub id: ServerId,
    /// Its number (`sid`), from 1 on; 0 once it was deleted.
    pub sid: u32,
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Its atomics.
    pub live: Arc<ServerLive>,
    /// Where to connect; `None` while its name has no address.
    pub address: Option<ConnectTo>,
    /// May get new requests by load balancing.
    pub eligible: bool,
    /// How it is spoken to in TLS; `None`: in clear text.
    pub tls: Option<Arc<ServerTls>>,
    /// May get requests bound to it by persistence (also while draining).
    pub accepts_persistent: bool,
    /// Effective weight, 256 per unit of configured weight, scaled by slow start.
    pub weight: u32,
    /// Requests in flight at once; `u32::MAX` when unlimited. Scaled by slow start.
    pub maxconn: u32,
}

impl ServerView {
    /// Only the empty place of a server that was deleted: it gets nothing, and no name leads to it.
    pub fn is_deleted(&self) -> bool {
        self.sid == 0
    }
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectTo {
    /// TCP.
    Ip(SocketAddr),
    /// Unix stream socket.
    Unix(Arc<Path>),
}
