//! The writer thread: takes batches and events from the channel and gives every target its lines.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::batch::{Batch, Lines};
use super::control::Event;
use super::sink::{Held, Opened, Sink};
use super::{LogClock, Message, SHUTDOWN_DEADLINE, Shared};
use crate::core::log::date::DateCache;
use crate::core::log::severity;

/// A target is told of its losses at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The operational log likewise, for all targets together.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at targets that still hold lines when the process stops.
const LAST_LINES_PAUSE: Duration = Duration::from_millis(2);

/// What the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    receiver: Receiver<Message>,
    targets: Vec<Target>,
    dates: DateCache,
    clock: LogClock,
    /// The line of an event or of a loss, for one target at a time.
    single: Lines,
    next_warning: Option<Instant>,
}

struct Target {
    sink: Box<dyn Sink>,
    /// Not before then is it told again of losses.
    next_tell: Option<Instant>,
    /// Losses that the operational log knows of.
    warned: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        receiver: Receiver<Message>,
        opened: Vec<Opened>,
        zone: TimeZone,
        clock: LogClock,
    ) -> Writer {
        let targets =
            opened.into_iter().map(|opened| Target { sink: opened.into_sink(), next_tell: None, warned: 0 }).collect();
        let dates = DateCache::new(zone);
        Writer { shared, receiver, targets, dates, clock, single: Lines::default(), next_warning: None }
    }

    /// Works until it is told to stop or nobody is left who could log.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.receiver.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if self.shared.stop.load(Ordering::Acquire) => break,
                Err(TryRecvError::Empty) => self.pause(),
            };
            let now = (self.clock.monotonic)();
            match message {
                Message::Lines(batch) => self.write_batch(batch, now),
                Message::Event(event) => self.write_event(&event, now),
                Message::Wake => {}
            }
            self.attend(now);
        }
        self.finish();
    }

    /// Waits for the next message, no longer than until some target wants attention.
    fn pause(&mut self) -> Message {
        let now = (self.clock.monotonic)();
        let mut until: Option<Instant> = None;
        let mut is_slow = false;
        for index in 0..self.targets.len() {
            let sink = &mut self.targets[index].sink;
            match sink.held() {
                Held::Nothing => {}
                Held::Slow => {
                    sink.wait(now);
                    let lost = sink.pump(now);
                    self.after_write(index, lost, now);
                    is_slow = true;
                }
                Held::Until(at) => until = Some(until.map_or(at, |until| until.min(at))),
            }
        }
        if is_slow {
            return Message::Wake;
        }
        let message = match until {
            Some(until) => self.receiver.recv_timeout(until.saturating_duration_since(now)).ok(),
            None => self.receiver.recv().ok(),
        };
        // When everybody is gone, the next look at the channel says so.
        message.unwrap_or(Message::Wake)
    }

    fn write_batch(&mut self, batch: Batch, now: Instant) {
        for index in 0..self.targets.len() {
            let seen = &self.shared.targets[index];
            let lines = batch.lines(seen.layout);
            if seen.wants_requests() && lines.count() > 0 {
                let lost = self.targets[index].sink.write(lines, now);
                self.after_write(index, lost, now);
            }
        }
        self.shared.pool.give_back(batch);
    }

    fn write_event(&mut self, event: &Event, now: Instant) {
        for index in 0..self.targets.len() {
            if self.shared.targets[index].takes(event.severity) {
                self.render(index, event.severity, &event.text, event.at_us);
                let lost = self.targets[index].sink.write(&self.single, now);
                self.after_write(index, lost, now);
            }
        }
    }

    /// Tries again what targets hold back, opens files anew if asked to, and reports losses.
    fn attend(&mut self, now: Instant) {
        if self.shared.reopen.swap(false, Ordering::AcqRel) {
            self.targets.iter_mut().for_each(|target| target.sink.reopen());
        }
        for index in 0..self.targets.len() {
            let due = match self.targets[index].sink.held() {
                Held::Nothing => false,
                Held::Slow => true,
                Held::Until(at) => at <= now,
            };
            if due {
                let lost = self.targets[index].sink.pump(now);
                self.after_write(index, lost, now);
            }
        }
        self.warn(now);
    }

    /// Counts what was lost; if nothing was and all is well, tells the target what it missed before.
    fn after_write(&mut self, index: usize, lost: u64, now: Instant) {
        if lost > 0 {
            self.shared.count_lost(index, lost);
            return;
        }
        let untold = self.shared.targets[index].untold();
        let target = &self.targets[index];
        if untold == 0
            || target.next_tell.is_some_and(|at| now < at)
            || target.sink.held() != Held::Nothing
            || !self.shared.targets[index].takes(severity::WARNING)
        {
            return;
        }
        self.render(
            index,
            severity::WARNING,
            &format!("lockgate: {untold} log lines were lost"),
            self.clock.epoch_us(),
        );
        let target = &mut self.targets[index];
        target.next_tell = Some(now + TELL_EVERY);
        if target.sink.write(&self.single, now) == 0 {
            self.shared.targets[index].tell(untold);
        }
    }

    /// Lays out one line of text for a target.
    fn render(&mut self, index: usize, severity: u8, text: &str, at_us: u64) {
        let layout = &self.shared.layouts[self.shared.targets[index].layout];
        self.single.clear();
        self.single.add(|out| layout.event(severity, text, at_us, &mut self.dates, out));
    }

    /// Says in the operational log which targets lost lines.
    fn warn(&mut self, now: Instant) {
        if self.next_warning.is_some_and(|at| now < at) {
            return;
        }
        for (target, seen) in self.targets.iter_mut().zip(&self.shared.targets) {
            let lost = seen.lost();
            if lost > target.warned {
                tracing::warn!(to = %seen.name, lines = lost - target.warned, "log lines lost");
                target.warned = lost;
                self.next_warning = Some(now + WARN_EVERY);
            }
        }
    }

    /// Gives held lines a last time to leave, and counts what remains.
    fn finish(&mut self) {
        let deadline = (self.clock.monotonic)() + SHUTDOWN_DEADLINE;
        loop {
            let now = (self.clock.monotonic)();
            let mut is_done = true;
            for index in 0..self.targets.len() {
                let target = &mut self.targets[index];
                target.sink.wait(now);
                let lost = target.sink.pump(now);
                is_done &= target.sink.held() == Held::Nothing;
                self.after_write(index, lost, now);
            }
            if is_done || now >= deadline {
                break;
            }
            std::thread::sleep(LAST_LINES_PAUSE);
        }
        for index in 0..self.targets.len() {
            let left = self.targets[index].sink.held_lines() as u64;
            self.shared.count_lost(index, left);
        }
        self.next_warning = None;
        self.warn((self.clock.monotonic)());
    }
}
