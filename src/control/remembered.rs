//! What is remembered for `show events` and `show startup-logs`.

use std::collections::VecDeque;

use super::Control;
use crate::core::admin::diagnosis::{PastEvent, Remembered};
use crate::runtime::clock;

/// Events kept; older ones are forgotten.
pub const EVENTS_MAX: usize = 1024;

/// The last state changes, starts and stops.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<PastEvent>,
    forgotten: u64,
}

impl Events {
    fn keep(&mut self, event: PastEvent) {
        if self.kept.len() == EVENTS_MAX {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(event);
    }
}

impl Control {
    /// Logs an event and keeps it for `show events`.
    pub(super) fn log_event(&mut self, severity: u8, text: &str) {
        self.events.keep(PastEvent { at: clock::wall(), severity, text: text.into() });
        self.log.event(severity, text);
    }

    pub(super) fn remembered(&self) -> Remembered {
        Remembered {
            startup: self.startup.clone(),
            events: self.events.kept.iter().cloned().collect(),
            events_forgotten: self.events.forgotten,
            lookups: self.lookup.counts(),
            name_servers: self.lookup.name_servers().to_vec(),
            binds: self.binds.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_oldest_events_are_forgotten_and_counted() {
        let mut events = Events::default();
        for n in 0..EVENTS_MAX + 3 {
            events.keep(PastEvent { at: SystemTime::UNIX_EPOCH, severity: 5, text: n.to_string().into() });
        }
        assert_eq!((events.kept.len(), events.forgotten), (EVENTS_MAX, 3));
        assert_eq!(events.kept.front().map(|event| &*event.text), Some("3"));
    }
}
