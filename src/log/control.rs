//! The control thread's end of the log: state changes, starts and stops.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::{LogClock, Message, Shared};

/// One event on its way to the writer.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) severity: u8,
    pub(super) at_us: u64,
    pub(super) text: Box<str>,
}

/// Writes events to every target whose level takes them.
#[derive(Clone)]
pub struct ControlLog {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    clock: LogClock,
}

impl ControlLog {
    pub(super) fn new(shared: Arc<Shared>, sender: SyncSender<Message>, clock: LogClock) -> ControlLog {
        ControlLog { shared, sender, clock }
    }

    /// Writes one line, dated now, with this syslog severity ([`crate::core::log::severity`]). Never blocks; a writer
    /// too far behind loses it, which is counted.
    pub fn event(&self, severity: u8, text: &str) {
        if !self.shared.targets.iter().any(|target| target.takes(severity)) {
            return;
        }
        let event = Event { severity, at_us: self.clock.epoch_us(), text: text.into() };
        if self.sender.try_send(Message::Event(event)).is_err() {
            for (index, target) in self.shared.targets.iter().enumerate() {
                if target.takes(severity) {
                    self.shared.count_lost(index, 1);
                }
            }
        }
    }
}
