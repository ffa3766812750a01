//! What all threads share: the snapshot behind its atomic pointer, process gauges, and the way to the control task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::gate::Gate;
use super::throttle::Throttles;

use crate::core::fleet::event::Event;
use crate::core::fleet::live::ProcessLive;
use crate::core::fleet::snapshot::Snapshot;
use crate::core::limit::RateTable;
use crate::core::pattern::LivePatterns;
use crate::core::route::RouteIndex;
use crate::runtime::page::PageRequest;

/// Messages to the control task that may wait; further ones are dropped (they are hints: observed errors, bad messages).
pub const CONTROL_BACKLOG: usize = 4096;

/// One per process.
#[derive(Debug)]
pub struct Shared {
    /// What workers read; replaced by control.
    pub snapshot: Published,
    /// Process gauges.
    pub process: Arc<ProcessLive>,
    /// Client connections allowed, process-wide.
    pub connections: Arc<Gate>,
    /// Client connections allowed per frontend.
    pub frontend_connections: Vec<Arc<Gate>>,
    /// Connections per second.
    pub throttles: Throttles,
    /// Rate-limit tables, by frontend and position.
    pub rate_tables: Vec<Vec<Arc<RateTable>>>,
    /// Maps and access lists.
    pub patterns: Arc<LivePatterns>,
    /// Routes arranged for look-up, by frontend.
    pub route_indexes: Vec<RouteIndex>,
    /// Connections per worker, for handing new ones to the least loaded.
    pub worker_load: Vec<AtomicU32>,
    /// No new connections, keep-alive ends.
    pub draining: AtomicBool,
    /// When the process started.
    pub started: Instant,
    /// To the control task.
    pub to_control: mpsc::Sender<WorkerReport>,
    /// To the stats pages' room.
    pub to_pages: mpsc::Sender<PageRequest>,
}

/// The newest snapshot.
#[derive(Debug)]
pub struct Published {
    current: ArcSwap<Snapshot>,
    /// Of a snapshot that is there to be loaded, or of one before it.
    generation: AtomicU64,
}

impl Published {
    /// The first.
    pub fn new(first: Arc<Snapshot>) -> Published {
        Published { generation: AtomicU64::new(first.generation), current: ArcSwap::new(first) }
    }

    /// Whether there may be a newer one than that of `generation`. Costs less than looking.
    #[inline]
    pub fn is_newer_than(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) != generation
    }

    /// The newest, for a moment.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The newest.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces it.
    pub fn publish(&self, newest: Arc<Snapshot>) {
        let generation = newest.generation;
        self.current.store(newest);
        self.generation.store(generation, Ordering::Release);
    }
}

impl Shared {
    /// Whether the process is on its way out.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Tells the control task something, if it has room to hear it.
    pub fn report(&self, report: WorkerReport) {
        let _ = self.to_control.try_send(report);
    }

    /// Milliseconds since the process started.
    pub fn uptime_ms(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.started).as_millis().min(i64::MAX as u128) as i64
    }
}

/// What workers tell the control task.
#[derive(Debug)]
pub enum WorkerReport {
    /// Something that may change the fleet.
    Event(Event),
    /// A message that was refused, for `show errors`.
    BadMessage(Box<BadMessage>),
}

/// A refused request or answer, kept for `show errors`.
#[derive(Debug, Clone)]
pub struct BadMessage {
    /// When, microseconds since the Unix epoch.
    pub at_us: u64,
    /// Frontend's name.
    pub frontend: Box<str>,
    /// Backend and server, for an answer.
    pub backend: Option<(Box<str>, Box<str>)>,
    /// The client.
    pub client: Option<std::net::SocketAddr>,
    /// The first bytes of it.
    pub bytes: Vec<u8>,
    /// Offset of what was wrong.
    pub position: usize,
    /// What was wrong.
    pub reason: String,
}
