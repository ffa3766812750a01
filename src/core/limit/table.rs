//! The table of one rate limit: every key's bucket and requests in flight, bounded in size.
//!
//! Workers ask it for every request of a frontend with that limit, so it is cut into shards that are locked apart, and
//! memory is allocated for a new key only. A key that asks for nothing is forgotten when it has expired, and never while
//! it still owes: `expire` is stretched to the time its bucket needs to refill. In a full table the least recently used
//! key goes, except those with requests in flight.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket::{Bucket, Flow};
use super::data::{Numbers, RequestEnd};
use super::key::{parse_key, render_key};
use super::shard::{Row, Shard, Window};
use super::{DataType, RateLimitSpec, Stored};

/// Most shards of a table.
const SHARDS: usize = 16;
/// Keys a shard holds at least, so that small tables are not cut to pieces that fill unevenly.
const SHARD_MIN_KEYS: usize = 64;
/// Rows of a shard that one sweep looks at.
const SWEEP_MAX_ROWS: usize = 2048;
/// Period of the rate shown for limits that have none of their own.
const DEFAULT_PERIOD: Duration = Duration::from_secs(10);
/// What a client over its concurrency is told to wait: nobody knows when one of its requests will end.
const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// The table of one limit, shared by all workers.
#[derive(Debug)]
pub struct RateTable {
    spec: Arc<RateLimitSpec>,
    flow: Option<Flow>,
    expire: Duration,
    period: Duration,
    /// What [`TableRow::values`] are.
    shown: Vec<Stored>,
    /// Requests in flight are counted.
    counts_in_flight: bool,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    refused: AtomicU64,
}

/// The answer to one request.
#[derive(Debug)]
pub enum Verdict {
    /// It may go on.
    Admitted {
        /// To be held while the request is in flight; `None` when the limit has nothing to count then.
        place: Option<RowPlace>,
    },
    /// It is over the limit. Nothing was taken from the key's allowance.
    Limited {
        /// How long until a request would be admitted, if no other came.
        retry_after: Duration,
        /// To be held to the request's end; it is not in flight.
        place: Option<RowPlace>,
    },
    /// One of the key's numbers has reached a threshold of `deny_if`.
    Denied {
        /// To be held to the request's end; it is not in flight.
        place: Option<RowPlace>,
    },
}

/// A request's part in the row of its key: it is in flight as long as this is held, and its end is counted through it.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct RowPlace {
    in_flight: Option<Arc<AtomicU32>>,
    numbers: Option<Arc<Numbers>>,
}

impl RowPlace {
    fn of(row: &Row, in_flight: bool) -> Option<RowPlace> {
        if in_flight {
            row.in_flight.fetch_add(1, Ordering::Relaxed);
        } else if row.numbers.is_none() {
            return None;
        }
        Some(RowPlace { in_flight: in_flight.then(|| row.in_flight.clone()), numbers: row.numbers.clone() })
    }

    /// Counts how the request ended.
    pub fn count_end(&self, end: &RequestEnd, now: Instant) {
        if let Some(numbers) = &self.numbers {
            numbers.end(end, now);
        }
    }
}

impl Drop for RowPlace {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Why an entry was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetError {
    /// The text is no key of this table.
    Key,
    /// The table does not store such a number.
    NotStored,
}

/// What `show table` shows of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// As people read it ([`render_key`]).
    pub key: String,
    /// References that keep the row from being forgotten (`use=`): its requests in flight.
    pub in_use: u32,
    /// When it is forgotten if nothing more comes (`exp=`).
    pub expires_in: Duration,
    /// Requests in the last [`RateTable::period`], limited ones included (`http_req_rate`).
    pub rate_count: u64,
    /// Requests in flight (`conn_cur`).
    pub in_flight: u32,
    /// Requests since the row was made, limited ones included (`http_req_cnt`).
    pub total: u64,
    /// Requests that were over the limit, or what an operator set (`gpc0`).
    pub limited: u64,
    /// What the table shows ([`RateLimitSpec::shown`]), in that order.
    pub values: Vec<u64>,
}

impl RateTable {
    /// An empty table. It never holds more than `spec.table_size` keys (at least one).
    pub fn new(spec: Arc<RateLimitSpec>) -> RateTable {
        let size = spec.table_size.max(1);
        let shards = (size / SHARD_MIN_KEYS).clamp(1, SHARDS);
        let flow = spec.rate.map(|rate| Flow::new(rate, spec.burst));
        let period = spec.rate.map_or(DEFAULT_PERIOD, |rate| rate.period).max(Duration::from_millis(1));
        RateTable {
            flow,
            expire: spec.expire.max(period).max(flow.map_or(Duration::ZERO, |flow| flow.capacity())),
            period,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(size / shards, &spec.store))).collect(),
            shown: spec.shown(),
            counts_in_flight: spec.concurrent.is_some() || spec.store.iter().any(|s| s.what == DataType::ConnCur),
            refused: AtomicU64::new(0),
            spec,
        }
    }

    /// The same limit under a changed spec, for a reload: every key keeps its counts, its requests in flight and the
    /// share of its bucket that it owes. If the key is made of other parts now, nothing can be kept.
    pub fn carry_over(&self, spec: Arc<RateLimitSpec>, now: Instant) -> RateTable {
        let mut next = RateTable::new(spec);
        next.refused = AtomicU64::new(self.refused());
        if next.spec.key != self.spec.key {
            return next;
        }
        for shard in &self.shards {
            for row in shard.lock().rows().iter().filter(|row| !row.is_expired(self.expire, now)) {
                let owed = row.bucket.owed(now);
                let bucket = match (&self.flow, &next.flow) {
                    (Some(old), Some(new)) => Bucket::owing(old.convert(owed, new), now),
                    _ => Bucket::default(),
                };
                let mut copy = Row::new(&row.key, &next.spec.store, row.last_seen);
                if let Some(numbers) = row.numbers.as_ref().filter(|numbers| numbers.are_of(&next.spec.store)) {
                    copy.numbers = Some(numbers.clone());
                }
                copy.bucket = bucket;
                copy.window = row.window;
                copy.total = row.total;
                copy.limited = row.limited;
                copy.in_flight = row.in_flight.clone();
                next.shard(&row.key).lock().insert(copy, next.expire, now);
            }
        }
        next
    }

    /// Counts a request under its key and says whether it may go on. Concurrency is looked at before the rate, so a
    /// request refused for either takes nothing. A dry run asks the same way and lets the request pass without being
    /// in flight: its numbers are then those the limit would have had. `first` says that it is the first request of
    /// its connection.
    pub fn admit(&self, key: &[u8], first: bool, now: Instant) -> Verdict {
        let mut shard = self.shard(key).lock();
        let row = shard.touch(key, self.expire, now);
        row.total = row.total.saturating_add(1);
        row.window.count(1, self.period, now);
        if let Some(numbers) = &row.numbers {
            numbers.begin(first, now);
        }
        if self.spec.deny_if.iter().any(|limit| self.value(row, limit.what, now) >= limit.least) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Denied { place: RowPlace::of(row, false) };
        }
        if let Some(concurrent) = self.spec.concurrent
            && row.in_flight() >= concurrent
        {
            row.limited = row.limited.saturating_add(1);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Limited { retry_after: CONCURRENCY_WAIT, place: RowPlace::of(row, false) };
        }
        if let Some(flow) = &self.flow
            && let Err(retry_after) = row.bucket.take(flow, now)
        {
            row.limited = row.limited.saturating_add(1);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Limited { retry_after, place: RowPlace::of(row, false) };
        }
        // Only ever raised under the shard's lock, so it cannot pass the limit looked at above.
        Verdict::Admitted { place: RowPlace::of(row, self.counts_in_flight) }
    }

    /// A number of a row; 0 for one that is not stored.
    fn value(&self, row: &Row, what: DataType, now: Instant) -> u64 {
        match what {
            DataType::Gpc0 => row.limited,
            DataType::ConnCur => u64::from(row.in_flight()),
            DataType::HttpReqCnt => row.total,
            // With a list of its own the table has a period of its own for it.
            DataType::HttpReqRate if row.numbers.is_none() => row.window.estimate(self.period, now),
            _ => row.numbers.as_ref().and_then(|numbers| numbers.get(what, now)).unwrap_or(0),
        }
    }

    /// Sets numbers of a key given as it is shown, which is made if there is none. All or none.
    pub fn set(&self, key: &str, values: &[(DataType, u64)], now: Instant) -> Result<(), SetError> {
        let key = parse_key(&self.spec, key).ok_or(SetError::Key)?;
        if values.iter().any(|(what, _)| !self.spec.stores(*what)) {
            return Err(SetError::NotStored);
        }
        let mut shard = self.shard(&key).lock();
        let row = shard.touch(&key, self.expire, now);
        for (what, value) in values {
            match what {
                DataType::Gpc0 => row.limited = *value,
                DataType::HttpReqCnt => row.total = *value,
                // Requests in flight are what they are.
                DataType::ConnCur => {}
                DataType::HttpReqRate if row.numbers.is_none() => row.window = Window::holding(*value, now),
                what => {
                    if let Some(numbers) = &row.numbers {
                        numbers.set(*what, *value, now);
                    }
                }
            }
        }
        Ok(())
    }

    /// Every key that has not expired, in no particular order.
    pub fn rows(&self, now: Instant) -> Vec<TableRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            rows.extend(shard.rows().iter().filter(|row| !row.is_expired(self.expire, now)).map(|row| {
                let in_flight = row.in_flight();
                TableRow {
                    key: render_key(&row.key),
                    in_use: in_flight,
                    expires_in: self.expire.saturating_sub(now.saturating_duration_since(row.last_seen)),
                    rate_count: row.window.estimate(self.period, now),
                    in_flight,
                    total: row.total,
                    limited: row.limited,
                    values: self.shown.iter().map(|stored| self.value(row, stored.what, now)).collect(),
                }
            }));
        }
        rows
    }

    /// Keys held (`used:`), those included that have expired and not yet been forgotten.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().rows().len()).sum()
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what has expired, so that a table that is asked for nothing gives its memory back. Returns how many.
    ///
    /// To be called now and then. Each call looks at `SWEEP_MAX_ROWS` rows of each shard at most and goes on where the
    /// last one stopped: workers wait for the shards meanwhile.
    pub fn drop_expired(&self, now: Instant) -> usize {
        self.shards.iter().map(|shard| shard.lock().drop_expired(self.expire, SWEEP_MAX_ROWS, now)).sum()
    }

    /// Forgets these keys, given as they are shown, or all of them. Keys with requests in flight keep those. Returns
    /// how many keys were meant.
    pub fn clear(&self, keys: Option<&HashSet<&str>>, now: Instant) -> usize {
        let chosen = |row: &Row| keys.is_none_or(|keys| keys.contains(&*render_key(&row.key)));
        self.shards.iter().map(|shard| shard.lock().clear(chosen, now)).sum()
    }

    /// Requests that were over the limit so far, whatever their key; those of a dry run included.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The limit it belongs to.
    pub fn spec(&self) -> &Arc<RateLimitSpec> {
        &self.spec
    }

    /// The period [`TableRow::rate_count`] counts over: the rate's, or ten seconds without one.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        &self.shards[(hash % self.shards.len() as u64) as usize]
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        for shard in &self.shards {
            shard.lock().check_invariants();
        }
        assert!(self.len() <= self.spec.table_size.max(1));
    }
}
