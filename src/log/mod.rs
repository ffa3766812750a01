//! Getting log lines out: per-worker batches, one writer, syslog transports.
//!
//! Each worker formats its lines into a buffer of its own ([`WorkerLog`]) and hands full buffers to one writer thread
//! ([`LogWriter`]) that owns every socket and file. Nothing a receiver does or leaves undone reaches a worker: between
//! them stands a channel of bounded length, and what does not fit is dropped and counted. Events of the control thread
//! (state changes, starts, stops) go the same way ([`ControlLog`]).
//!
//! Reading order: `layout` (targets that get the same bytes share them), `batch`, `worker`, `control`, `writer` (the
//! thread), `sink` (one file per transport), `backlog`, `loss`, `zone`.
//!
//! Not here: the formats (`core::log`), and lockgate's own operational log (`tracing`).

mod backlog;
mod batch;
mod control;
mod layout;
mod loss;
mod sink;
mod worker;
mod writer;
mod zone;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

use self::batch::{Batch, Pool};
use self::control::Event;
use self::layout::Layout;
use self::loss::TargetLoss;
use self::sink::Opened;
use self::writer::Writer;
use crate::config::model::LogTarget;
use crate::core::fleet::live::ProcessLive;

pub use self::control::ControlLog;
pub use self::worker::WorkerLog;
pub use self::zone::system_zone;

/// Batches that may wait for the writer, of all workers together.
const CHANNEL_BATCHES: usize = 512;
/// How long a stopping process waits for the last lines to leave.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// What the log needs from the process.
pub struct LogSetup {
    /// How many [`WorkerLog`]s are wanted.
    pub workers: usize,
    /// Where lost lines are counted.
    pub live: Arc<ProcessLive>,
    /// The process id shown in syslog headers.
    pub pid: u32,
    /// The time zone of the dates; see [`system_zone`].
    pub zone: TimeZone,
    /// The clocks of the writer thread and of events.
    pub clock: LogClock,
}

/// Where the log reads the time. `runtime` gives the real clocks, tests their own.
#[derive(Debug, Clone, Copy)]
pub struct LogClock {
    /// For waits.
    pub monotonic: fn() -> Instant,
    /// For dates of events.
    pub wall: fn() -> SystemTime,
}

impl LogClock {
    /// Microseconds since the Unix epoch.
    fn epoch_us(&self) -> u64 {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The writer thread of all log targets.
pub struct LogWriter {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

/// What workers, control and writer share.
struct Shared {
    /// One for each different look of a line.
    layouts: Vec<Layout>,
    /// In the order of the configuration.
    targets: Vec<TargetLoss>,
    live: Arc<ProcessLive>,
    pool: Pool,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    /// Counts lines that a target did not get.
    fn count_lost(&self, target: usize, lines: u64) {
        if let Some(target) = self.targets.get(target) {
            target.count(lines);
            self.live.lost_log_lines.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Counts the lines of a batch that did not reach the writer.
    fn count_lost_batch(&self, batch: &Batch) {
        for (index, target) in self.targets.iter().enumerate() {
            if target.wants_requests() {
                self.count_lost(index, batch.lines(target.layout).count() as u64);
            }
        }
    }
}

/// What reaches the writer.
enum Message {
    Lines(Batch),
    Event(Event),
    /// Look at the flags.
    Wake,
}

impl LogWriter {
    /// Opens the targets and starts the writer. Files are opened here, so that a path that cannot be written is an
    /// error at the start; sockets are connected by the thread and again whenever that is needed, so a receiver that is
    /// not there yet is none.
    pub fn start(targets: &[LogTarget], setup: LogSetup) -> io::Result<(LogWriter, Vec<WorkerLog>, ControlLog)> {
        let opened = targets.iter().map(Opened::open).collect::<io::Result<Vec<Opened>>>()?;
        let (layouts, of_target) = layout::plan(targets, setup.pid);
        let shared = Arc::new(Shared {
            targets: targets.iter().zip(of_target).map(|(target, layout)| TargetLoss::new(target, layout)).collect(),
            pool: Pool::new(layouts.len(), CHANNEL_BATCHES + setup.workers),
            layouts,
            live: setup.live,
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (sender, receiver) = sync_channel(CHANNEL_BATCHES);
        let (ended_sender, ended) = sync_channel(1);
        let thread = std::thread::Builder::new().name("log".into()).spawn({
            let (shared, zone) = (shared.clone(), setup.zone.clone());
            move || {
                Writer::new(shared, receiver, opened, zone, setup.clock).run();
                // Nobody waits any more when this fails.
                let _ = ended_sender.send(());
            }
        })?;
        let workers =
            (0..setup.workers).map(|_| WorkerLog::new(shared.clone(), sender.clone(), setup.zone.clone())).collect();
        let control = ControlLog::new(shared.clone(), sender.clone(), setup.clock);
        Ok((LogWriter { shared, sender, ended, thread }, workers, control))
    }

    /// Opens log files anew (SIGUSR1, after a rotation). A file that cannot be opened anew stays the old one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Lines lost so far, by target.
    pub fn lost(&self) -> Vec<(Box<str>, u64)> {
        self.shared.targets.iter().map(|target| (target.name.clone(), target.lost())).collect()
    }

    /// Writes out what has been handed over, waits for it no longer than two seconds, and ends. Lines left then are
    /// counted as lost. Flush or drop the [`WorkerLog`]s first.
    pub fn shutdown(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        // The writer keeps its own deadline; the second one here is for a file system that does not answer at all.
        if self.ended.recv_timeout(2 * SHUTDOWN_DEADLINE).is_ok() {
            // It has sent its last word, and a panic in it was already reported by the panic hook.
            let _ = self.thread.join();
        } else {
            tracing::warn!("log writer did not end in time, last lines may be missing");
        }
    }

    fn wake(&self) {
        // With a full channel the writer is awake and looks at the flags after the next message.
        let _ = self.sender.try_send(Message::Wake);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests of real sockets run in real time")]
mod tests;
