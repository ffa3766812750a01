//! The live parts that workers touch: atomics found through the snapshot, kept over a reload by name.
//!
//! Not here: anything the control task decides (that is in [`super::Fleet`] and reaches workers in a
//! [`super::snapshot::Snapshot`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use parking_lot::Mutex;

use crate::core::queue::Queue;
use crate::core::stats::Counters;
use crate::core::stats::counters::Gauge;

/// Of a server.
#[derive(Debug)]
pub struct ServerLive {
    /// Requests in flight (`scur`, `smax`); leases hold it.
    pub inflight: Gauge,
    /// Requests waiting for this very server (`qcur`, `qmax`).
    pub queued: Gauge,
    /// Idle connections kept by all workers (`srv_icur`).
    pub idle: Gauge,
    /// Upgraded connections open now.
    pub upgraded: Gauge,
    /// Errors in a row seen by passive observation; a success sets it to 0.
    pub observed_errors: AtomicU32,
    /// Milliseconds since process start of the last request given to it; -1 = never (`lastsess`).
    pub last_session_ms: AtomicI64,
    /// Counters.
    pub counters: Counters,
}

/// Of a backend.
#[derive(Debug)]
pub struct BackendLive {
    /// Requests in the backend (`scur`, `smax`).
    pub sessions: Gauge,
    /// Requests waiting for any server (`qcur`, `qmax`).
    pub queued: Gauge,
    /// Requests waiting for any server or for a certain one; lets `queue::dispatch` see at once that nobody does.
    pub waiting: Gauge,
    /// Waiting requests, of the backend and of its servers.
    pub queue: Mutex<Queue>,
    /// Position in the round-robin schedule, shared by all workers so that the order is exact.
    pub cursor: AtomicU64,
    /// Milliseconds since process start of the last request; -1 = never.
    pub last_session_ms: AtomicI64,
    /// Counters.
    pub counters: Counters,
}

/// Of a frontend.
#[derive(Debug)]
pub struct FrontendLive {
    /// Connections now (`scur`, `smax`).
    pub connections: Gauge,
    /// Log lines so far, counted when a log format shows them (`%lc`).
    pub log_lines: AtomicU32,
    /// Counters.
    pub counters: Counters,
}

/// Of the process.
#[derive(Debug)]
pub struct ProcessLive {
    /// Client connections now (`CurrConns`).
    pub connections: Gauge,
    /// TLS connections now (`CurrSslConns`).
    pub tls_connections: Gauge,
    /// Log lines lost (`DroppedLogs`).
    pub lost_log_lines: AtomicU64,
    /// Requests so far, counted when a log format shows their number (`%rt`).
    pub numbered_requests: AtomicU32,
    /// Admin connections so far.
    pub admin_connections: AtomicU64,
    /// Times a connection had to wait for a place under a `maxconn` (`MaxconnReached`).
    pub maxconn_reached: AtomicU64,
}

impl ServerLive {
    /// Nothing yet.
    pub fn new(shards: usize) -> Arc<ServerLive> {
        Arc::new(ServerLive {
            inflight: Gauge::default(),
            queued: Gauge::default(),
            idle: Gauge::default(),
            upgraded: Gauge::default(),
            observed_errors: AtomicU32::new(0),
            last_session_ms: AtomicI64::new(-1),
            counters: Counters::new(shards),
        })
    }
}

impl BackendLive {
    /// Nothing yet.
    pub fn new(shards: usize) -> Arc<BackendLive> {
        Arc::new(BackendLive {
            sessions: Gauge::default(),
            queued: Gauge::default(),
            waiting: Gauge::default(),
            queue: Mutex::new(Queue::default()),
            cursor: AtomicU64::new(0),
            last_session_ms: AtomicI64::new(-1),
            counters: Counters::new(shards),
        })
    }
}

impl FrontendLive {
    /// Nothing yet.
    pub fn new(shards: usize) -> Arc<FrontendLive> {
        Arc::new(FrontendLive {
            connections: Gauge::default(),
            log_lines: AtomicU32::new(0),
            counters: Counters::new(shards),
        })
    }
}

impl ProcessLive {
    /// Nothing yet.
    pub fn new() -> Arc<ProcessLive> {
        Arc::new(ProcessLive {
            connections: Gauge::default(),
            tls_connections: Gauge::default(),
            lost_log_lines: AtomicU64::new(0),
            numbered_requests: AtomicU32::new(0),
            admin_connections: AtomicU64::new(0),
            maxconn_reached: AtomicU64::new(0),
        })
    }
}
