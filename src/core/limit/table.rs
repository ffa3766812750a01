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

use super::RateLimitSpec;
use super::bucket::{Bucket, Flow};
use super::key::render_key;
use super::shard::{Row, Shard};

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
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    refused: AtomicU64,
}

/// The answer to one request.
#[derive(Debug)]
pub enum Verdict {
    /// It may go on.
    Admitted {
        /// To be held while the request is in flight; `None` when the limit does not count those.
        permit: Option<ConcurrencyPermit>,
    },
    /// It is over the limit. Nothing was taken from the key's allowance.
    Limited {
        /// How long until a request would be admitted, if no other came.
        retry_after: Duration,
    },
}

/// One request in flight; dropping it gives the place back.
#[derive(Debug)]
#[must_use = "the place is given back when the permit is dropped"]
pub struct ConcurrencyPermit {
    in_flight: Arc<AtomicU32>,
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
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
    /// Requests that were over the limit.
    pub limited: u64,
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
            shards: (0..shards).map(|_| Mutex::new(Shard::new(size / shards))).collect(),
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
                let mut copy = Row::new(&row.key, row.last_seen);
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
    /// request refused for either takes nothing. A dry run asks the same way and lets the request pass without its
    /// permit: its numbers are then those the limit would have had.
    pub fn admit(&self, key: &[u8], now: Instant) -> Verdict {
        let mut shard = self.shard(key).lock();
        let row = shard.touch(key, self.expire, now);
        row.total = row.total.saturating_add(1);
        row.window.count(self.period, now);
        if let Some(concurrent) = self.spec.concurrent
            && row.in_flight() >= concurrent
        {
            row.limited = row.limited.saturating_add(1);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Limited { retry_after: CONCURRENCY_WAIT };
        }
        if let Some(flow) = &self.flow
            && let Err(retry_after) = row.bucket.take(flow, now)
        {
            row.limited = row.limited.saturating_add(1);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Limited { retry_after };
        }
        // Only ever raised under the shard's lock, so it cannot pass the limit looked at above.
        let permit = self.spec.concurrent.map(|_| {
            row.in_flight.fetch_add(1, Ordering::Relaxed);
            ConcurrencyPermit { in_flight: row.in_flight.clone() }
        });
        Verdict::Admitted { permit }
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
