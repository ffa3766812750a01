//! A worker's end of the log: lines are laid out into its own buffer and handed over many at a time.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use jiff::tz::TimeZone;

use super::batch::Batch;
use super::layout::Layout;
use super::{Message, Shared};
use crate::core::log::date::DateCache;
use crate::core::log::format::variable::Wants;
use crate::core::log::httplog::FailedConnection;
use crate::core::log::record::Record;

/// A batch of so many lines is handed over without being asked for. Larger ones would cost less, and overrun receivers
/// whose socket buffers have the usual size.
const BATCH_LINES: usize = 64;
/// Likewise one of so many bytes.
const BATCH_BYTES: usize = 32 * 1024;

/// One worker's log. Dropping it flushes it.
pub struct WorkerLog {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    dates: DateCache,
    /// Empty when nothing is pending, and not even taken from the pool then.
    batch: Option<Batch>,
    pending: usize,
    /// A worker's own; it may move to the worker's thread but is not shared.
    not_sync: PhantomData<Cell<()>>,
}

impl WorkerLog {
    pub(super) fn new(shared: Arc<Shared>, sender: SyncSender<Message>, zone: TimeZone) -> WorkerLog {
        WorkerLog { shared, sender, dates: DateCache::new(zone), batch: None, pending: 0, not_sync: PhantomData }
    }

    /// Lays out the line of a request for every target that takes one. Never blocks; a full batch is handed over.
    pub fn push(&mut self, record: &Record<'_>) {
        self.add(record.severity, |layout, dates, out| layout.request(record, dates, out));
    }

    /// Likewise the line of a connection that failed before its first request (TLS handshakes).
    pub fn push_failed(&mut self, failed: &FailedConnection<'_>) {
        self.add(failed.severity, |layout, dates, out| layout.failed(failed, dates, out));
    }

    /// Hands what is pending to the writer. Never blocks: when the writer is that far behind, the lines are dropped and
    /// counted.
    pub fn flush(&mut self) {
        self.pending = 0;
        let Some(batch) = self.batch.take() else { return };
        match self.sender.try_send(Message::Lines(batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::Lines(batch) = message {
                    self.shared.count_lost_batch(&batch);
                    self.shared.pool.give_back(batch);
                }
            }
        }
    }

    /// Lines laid out and not handed over yet: what the worker's timer asks before it flushes.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// What the targets' formats show that has to be found out for them.
    pub fn wants(&self) -> Wants {
        self.shared.layouts.iter().fold(Wants::default(), |wants, layout| wants.or(layout.wants()))
    }

    fn add(&mut self, severity: u8, render: impl Fn(&Layout, &mut DateCache, &mut Vec<u8>)) {
        if !self.shared.layouts.iter().any(|layout| layout.takes(severity)) {
            return;
        }
        let batch = self.batch.get_or_insert_with(|| self.shared.pool.take());
        for (index, layout) in self.shared.layouts.iter().enumerate().filter(|(_, layout)| layout.takes(severity)) {
            batch.lines_mut(index).add(|out| render(layout, &mut self.dates, out));
        }
        self.pending += 1;
        if self.pending >= BATCH_LINES || batch.len_bytes() >= BATCH_BYTES {
            self.flush();
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}
