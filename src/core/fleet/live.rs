//! The live parts that workers touch: atomics found through the snapshot, kept over a reload by name.
//!
//! Not here: anything the control task decides (that is in [`super::Fleet`] and reaches workers in a
//! [`super::snapshot::Snapshot`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::frontends::FrontendStatus;
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
    /// Counters.
    pub counters: Counters,
    /// A [`FrontendStatus`]; only the fleet sets it.
    status: AtomicU8,
    /// Connections let in at once; only the fleet sets it.
    maxconn: AtomicU32,
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
            counters: Counters::new(shards),
            status: AtomicU8::new(FrontendStatus::Open as u8),
            maxconn: AtomicU32::new(u32::MAX),
        })
    }

    /// Whether it listens.
    #[inline]
    pub fn status(&self) -> FrontendStatus {
        FrontendStatus::of_number(self.status.load(Ordering::Relaxed))
    }

    /// Connections let in at once (`slim`).
    pub fn maxconn(&self) -> u32 {
        self.maxconn.load(Ordering::Relaxed)
    }

    pub(super) fn set_status(&self, status: FrontendStatus) {
        self.status.store(status as u8, Ordering::Relaxed);
    }

    pub(super) fn set_maxconn(&self, maxconn: u32) {
        self.maxconn.store(maxconn, Ordering::Relaxed);
    }
}

impl ProcessLive {
    /// Nothing yet.
    pub fn new() -> Arc<ProcessLive> {
        Arc::new(ProcessLive {
            connections: Gauge::default(),
            tls_connections: Gauge::default(),
            lost_log_lines: AtomicU64::new(0),
            admin_connections: AtomicU64::new(0),
            maxconn_reached: AtomicU64::new(0),
        })
    }
}
