//! One shard of a table: rows in slots, found by key, and the clock hand that chooses which one goes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::data::{Numbers, Stored};

/// Slots looked at for one that has expired before the least recently used one goes.
const LOOK_FOR_EXPIRED: usize = 16;

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Arc<[u8]>,
    pub(super) bucket: Bucket,
    pub(super) window: Window,
    /// Requests seen, limited ones included.
    pub(super) total: u64,
    /// Requests over the limit.
    pub(super) limited: u64,
    /// Permits out. Shared with them, so that they can be given back without the shard.
    pub(super) in_flight: Arc<AtomicU32>,
    /// What else is stored, if anything is. Shared with permits too.
    pub(super) numbers: Option<Arc<Numbers>>,
    pub(super) last_seen: Instant,
    /// Touched since the hand passed last.
    referenced: bool,
}

impl Row {
    pub(super) fn new(key: &[u8], store: &Arc<[Stored]>, now: Instant) -> Row {
        Row {
            numbers: (!store.is_empty()).then(|| Arc::new(Numbers::new(store, now))),
            key: key.into(),
            bucket: Bucket::default(),
            window: Window::starting(now),
            total: 0,
            limited: 0,
            in_flight: Arc::default(),
            last_seen: now,
            referenced: false,
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it may be forgotten: long untouched and not in use.
    pub(super) fn is_expired(&self, expire: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) >= expire && self.in_flight() == 0
    }

    /// Forgets everything but the requests in flight.
    fn reset(&mut self, store: &Arc<[Stored]>, now: Instant) {
        self.numbers = (!store.is_empty()).then(|| Arc::new(Numbers::new(store, now)));
        self.bucket = Bucket::default();
        self.window = Window::starting(now);
        self.total = 0;
        self.limited = 0;
        self.last_seen = now;
    }
}

/// Requests in the last period, estimated as HAProxy's rates are: those of the running period, and of the one before
/// the share that still lies within a period's length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    started: Instant,
    current: u64,
    previous: u64,
}

impl Window {
    pub(super) fn starting(now: Instant) -> Window {
        Window::holding(0, now)
    }

    /// So much in the running period.
    pub(super) fn holding(value: u64, now: Instant) -> Window {
        Window { started: now, current: value, previous: 0 }
    }

    pub(super) fn count(&mut self, by: u64, period: Duration, now: Instant) {
        self.turn(period, now);
        self.current = self.current.saturating_add(by);
    }

    pub(super) fn estimate(mut self, period: Duration, now: Instant) -> u64 {
        self.turn(period, now);
        let inside = now.saturating_duration_since(self.started).as_secs_f64() / period.as_secs_f64();
        let share = (1.0 - inside).clamp(0.0, 1.0);
        self.current.saturating_add((self.previous as f64 * share).round() as u64)
    }

    fn turn(&mut self, period: Duration, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        if elapsed < period {
            return;
        }
        // Two or more periods of silence: nothing is left of the one before.
        self.previous = if elapsed / 2 < period { self.current } else { 0 };
        self.current = 0;
        self.started = if self.previous > 0 { self.started + period } else { now };
    }
}

/// Rows of the keys that hash here.
#[derive(Debug)]
pub(super) struct Shard {
    capacity: usize,
    /// What is stored of each key besides what a row keeps anyway.
    store: Arc<[Stored]>,
    /// SipHash with keys of its own: clients choose what is hashed.
    slots_by_key: HashMap<Arc<[u8]>, usize, RandomState>,
    slots: Vec<Row>,
    hand: usize,
    /// Where the next sweep goes on.
    sweep: usize,
}

impl Shard {
    pub(super) fn new(capacity: usize, store: &Arc<[Stored]>) -> Shard {
        Shard {
            capacity: capacity.max(1),
            store: store.clone(),
            slots_by_key: HashMap::default(),
            slots: Vec::new(),
            hand: 0,
            sweep: 0,
        }
    }

    /// The row of a key, made if there is none. A row that has expired starts anew.
    pub(super) fn touch(&mut self, key: &[u8], expire: Duration, now: Instant) -> &mut Row {
        let slot = match self.slots_by_key.get(key) {
            Some(slot) => {
                let slot = *slot;
                let row = &mut self.slots[slot];
                row.referenced = true;
                if row.is_expired(expire, now) {
                    row.reset(&self.store, now);
                }
                slot
            }
            None => self.insert(Row::new(key, &self.store, now), expire, now),
        };
        let row = &mut self.slots[slot];
        row.last_seen = row.last_seen.max(now);
        row
    }

    /// Puts a row for a key that has none; in a full shard another one goes.
    pub(super) fn insert(&mut self, row: Row, expire: Duration, now: Instant) -> usize {
        let key = row.key.clone();
        let slot = if self.slots.len() < self.capacity {
            self.slots.push(row);
            self.slots.len() - 1
        } else {
            let slot = self.victim(expire, now);
            self.slots_by_key.remove(&self.slots[slot].key);
            self.slots[slot] = row;
            slot
        };
        self.slots_by_key.insert(key, slot);
        slot
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.slots
    }

    /// Forgets those of the next `max_rows` rows that have expired; at the end of the rows the next call begins anew.
    pub(super) fn drop_expired(&mut self, expire: Duration, max_rows: usize, now: Instant) -> usize {
        let before = self.slots.len();
        let mut slot = self.sweep;
        for _ in 0..max_rows {
            let Some(row) = self.slots.get(slot) else { break };
            if row.is_expired(expire, now) {
                self.remove(slot);
            } else {
                slot += 1;
            }
        }
        self.sweep = if slot < self.slots.len() { slot } else { 0 };
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * self.slots.len());
            self.slots_by_key.shrink_to(2 * self.slots.len());
        }
        before - self.slots.len()
    }

    /// Forgets the rows chosen; of those in use everything but the requests in flight.
    pub(super) fn clear(&mut self, mut chosen: impl FnMut(&Row) -> bool, now: Instant) -> usize {
        let mut cleared = 0;
        let mut slot = 0;
        while let Some(row) = self.slots.get_mut(slot) {
            if !chosen(row) {
                slot += 1;
                continue;
            }
            cleared += 1;
            if row.in_flight() == 0 {
                self.remove(slot);
            } else {
                row.reset(&self.store, now);
                slot += 1;
            }
        }
        cleared
    }

    fn remove(&mut self, slot: usize) {
        let row = self.slots.swap_remove(slot);
        self.slots_by_key.remove(&row.key);
        if let Some(moved) = self.slots.get(slot)
            && let Some(place) = self.slots_by_key.get_mut(&moved.key)
        {
            *place = slot;
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }

    /// The slot to reuse in a full shard: one near the hand that has expired, else the first the hand finds that was
    /// not touched since its last round and is not in use. When all are in use, the one at the hand goes: its permits
    /// stay valid and are given back to nobody, and the key is counted from 0 again. The table stays bounded.
    fn victim(&mut self, expire: Duration, now: Instant) -> usize {
        let count = self.slots.len();
        for step in 0..count.min(LOOK_FOR_EXPIRED) {
            let slot = (self.hand + step) % count;
            if self.slots[slot].is_expired(expire, now) {
                return slot;
            }
        }
        for _ in 0..2 * count {
            let slot = self.advance();
            let row = &mut self.slots[slot];
            if !row.referenced && row.in_flight() == 0 {
                return slot;
            }
            row.referenced = false;
        }
        self.advance()
    }

    fn advance(&mut self) -> usize {
        let slot = self.hand;
        self.hand = (self.hand + 1) % self.slots.len();
        slot
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert!(self.slots.len() <= self.capacity);
        assert_eq!(self.slots.len(), self.slots_by_key.len());
        assert!(self.hand == 0 || self.hand < self.slots.len());
        for (slot, row) in self.slots.iter().enumerate() {
            assert_eq!(self.slots_by_key.get(&row.key), Some(&slot));
        }
    }
}
