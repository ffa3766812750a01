//! The live parts that workers touch: atomics found through the snapshot, kept over a reload by name.
//!
//! Not here: anything the control task decides (that is in [`super::Fleet`] and reaches workers in a
//! [`super::snapshot::Snapshot`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::frontends::FrontendStatus;
use super::spec::FrontendSpec;
use crate::core::queue::Queue;
use crate::core::stats::Counters;
use crate::core::stats::counters::Gauge;
use crate::core::stats::histogram::{TimeHistogram, ValueHistogram};

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
    /// How long answered requests took.
    pub times: BackendTimes,
}

/// How long the stages of answered requests took, in microseconds.
#[derive(Debug)]
pub struct BackendTimes {
    /// In queues.
    pub queue: TimeHistogram,
    /// Connecting to the server; 0 on a kept connection.
    pub connect: TimeHistogram,
    /// From the connection to the end of the answer's head.
    pub response: TimeHistogram,
    /// From the first byte of the request to the last of the answer.
    pub total: TimeHistogram,
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
    /// What there is as much of as the configuration names.
    named: ArcSwap<Named>,
    shards: usize,
    /// A [`FrontendStatus`]; only the fleet sets it.
    status: AtomicU8,
    /// Connections let in at once; only the fleet sets it.
    maxconn: AtomicU32,
}

/// The live parts of a frontend that the configuration names.
#[derive(Debug, Default)]
pub struct Named {
    /// Numbers in captured response fields, in the order of the captures.
    pub captured: Vec<Arc<CapturedNumbers>>,
    /// Listening sockets that are counted one by one, in their order.
    pub listeners: Vec<Arc<ListenerLive>>,
}

/// The numbers seen in one captured response field.
#[derive(Debug)]
pub struct CapturedNumbers {
    /// Field name as configured.
    pub header: Box<str>,
    /// The values.
    pub values: ValueHistogram,
}

/// Of a listening socket.
#[derive(Debug)]
pub struct ListenerLive {
    /// Its name.
    pub name: Box<str>,
    /// Connections now (`scur`, `smax`).
    pub connections: Gauge,
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
            times: BackendTimes {
                queue: TimeHistogram::new(shards),
                connect: TimeHistogram::new(shards),
                response: TimeHistogram::new(shards),
                total: TimeHistogram::new(shards),
            },
        })
    }
}

impl BackendTimes {
    /// Forgets everything (`clear counters all`).
    pub fn clear(&self) {
        for histogram in [&self.queue, &self.connect, &self.response, &self.total] {
            histogram.clear();
        }
    }
}

impl FrontendLive {
    /// Nothing yet, with room for what `spec` names.
    pub fn new(spec: &FrontendSpec, shards: usize) -> Arc<FrontendLive> {
        let live = FrontendLive {
            connections: Gauge::default(),
            log_lines: AtomicU32::new(0),
            counters: Counters::new(shards),
            named: ArcSwap::default(),
            shards,
            status: AtomicU8::new(FrontendStatus::Open as u8),
            maxconn: AtomicU32::new(spec.maxconn),
        };
        live.fit(spec);
        Arc::new(live)
    }

    /// Makes room for what `spec` names. What had the same name before keeps what it counted: to be called when a
    /// reload changed the frontend.
    pub fn fit(&self, spec: &FrontendSpec) {
        let old = self.named.load();
        let captured = spec.capture.response.iter().map(|capture| {
            let kept = old.captured.iter().find(|c| c.header.eq_ignore_ascii_case(&capture.header));
            kept.cloned().unwrap_or_else(|| {
                let values = ValueHistogram::new(self.shards);
                Arc::new(CapturedNumbers { header: capture.header.clone(), values })
            })
        });
        let listeners = spec.listeners.iter().map(|listener| {
            let kept = old.listeners.iter().find(|l| l.name == listener.name);
            kept.cloned().unwrap_or_else(|| {
                let (connections, counters) = (Gauge::default(), Counters::new(self.shards));
                Arc::new(ListenerLive { name: listener.name.clone(), connections, counters })
            })
        });
        let named = Named { captured: captured.collect(), listeners: listeners.collect() };
        self.named.store(Arc::new(named));
    }

    /// What the configuration names. Costs no lock.
    pub fn named(&self) -> arc_swap::Guard<Arc<Named>> {
        self.named.load()
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
            numbered_requests: AtomicU32::new(0),
            admin_connections: AtomicU64::new(0),
            maxconn_reached: AtomicU64::new(0),
        })
    }
}
