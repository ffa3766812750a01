//! What workers count: one padded shard per worker, written by that worker alone and summed when shown.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which shard a writer owns: workers `0..n`, the control thread `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard(pub usize);

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A counter of a frontend, a backend or a server. The names are HAProxy's CSV columns (management guide 9.1).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter, in order.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];
        }
        const COUNT: usize = Counter::ALL.len();
    };
}

counters! {
    /// `stot`: sessions (frontend: connections; backend, server: requests sent on).
    Stot,
    /// `bin`: bytes from the client side.
    Bin,
    /// `bout`: bytes to the client side.
    Bout,
    /// `dreq`: requests denied by rules and limits.
    Dreq,
    /// `dresp`: responses denied.
    Dresp,
    /// `ereq`: broken requests.
    Ereq,
    /// `econ`: failed connections (backend: also "no server").
    Econ,
    /// `eresp`: broken or missing answers.
    Eresp,
    /// `wretr`: connection retries.
    Wretr,
    /// `wredis`: redispatches.
    Wredis,
    /// `lbtot`: times picked by the balancing algorithm.
    Lbtot,
    /// `hrsp_1xx`
    Hrsp1xx,
    /// `hrsp_2xx`
    Hrsp2xx,
    /// `hrsp_3xx`
    Hrsp3xx,
    /// `hrsp_4xx`
    Hrsp4xx,
    /// `hrsp_5xx`
    Hrsp5xx,
    /// `hrsp_other`
    HrspOther,
    /// `req_tot`: HTTP requests.
    ReqTot,
    /// `cli_abrt`: transfers the client broke off.
    CliAbrt,
    /// `srv_abrt`: transfers the server broke off.
    SrvAbrt,
    /// `hanafail`: errors seen by passive observation.
    Hanafail,
    /// `conn_tot`: connections accepted.
    ConnTot,
    /// `intercepted`: answered by lockgate itself (redirects, fixed answers).
    Intercepted,
    /// `dcon`: connections refused (per-source limit).
    Dcon,
    /// `wrew`: failed header rewrites.
    Wrew,
    /// `connect`: connection attempts.
    Connect,
    /// `reuse`: requests sent on a kept connection.
    Reuse,
    /// `eint`: internal errors.
    Eint,
    /// `h1sess`: connections that came to speak HTTP/1.
    H1Sess,
    /// `h1req`: requests on them.
    H1Req,
    /// `h2sess`: connections that came to speak HTTP/2.
    H2Sess,
    /// `h2req`: requests on them.
    H2Req,
    /// Mistakes of HTTP/2 clients. HAProxy: glitches.
    H2Glitches,
    /// HTTP/2 connections closed because of what their clients did.
    H2Expelled,
    /// Requests no route matched.
    NoRoute,
    /// Requests over a rate limit that was only logged.
    LimitDryRun,
    /// TLS handshakes that failed.
    TlsFailed,
    /// TLS handshakes that were complete ones.
    TlsFull,
    /// TLS handshakes that resumed a session.
    TlsResumed,
    /// Upgraded connections (websockets).
    Upgrades,
    /// Sum of queue times in ms.
    QueueMs,
    /// Sum of connect times in ms.
    ConnectMs,
    /// Sum of response times in ms.
    ResponseMs,
    /// Sum of total times in ms.
    TotalMs,
    /// Requests that the four sums cover.
    TimedRequests,
    /// `qtime` numerator: HAProxy's sliding sum over 1024 requests, kept per shard.
    QueueSlide,
    /// `ctime` numerator.
    ConnectSlide,
    /// `rtime` numerator.
    ResponseSlide,
    /// `ttime` numerator.
    TotalSlide,
    /// `qtime_max` in ms; written with [`Counters::raise`], read with [`Counters::highest`].
    QueueMaxMs,
    /// `ctime_max` in ms.
    ConnectMaxMs,
    /// `rtime_max` in ms.
    ResponseMaxMs,
    /// `ttime_max` in ms.
    TotalMaxMs,
}

#[repr(align(64))]
#[derive(Debug)]
struct ShardCells([AtomicU64; COUNT]);

/// The counters of one object.
#[derive(Debug)]
pub struct Counters {
    shards: Box<[ShardCells]>,
}

/// Requests that the sliding means of `qtime`, `ctime`, `rtime` and `ttime` look back on, per shard.
pub const SLIDING_WINDOW: u64 = 1024;

impl Counters {
    /// Zeroes for `shards` writers.
    pub fn new(shards: usize) -> Counters {
        Counters {
            shards: (0..shards.max(1)).map(|_| ShardCells(std::array::from_fn(|_| AtomicU64::new(0)))).collect(),
        }
    }

    /// Adds `n`. Only the owner of `shard` may call this; a shard that does not exist counts nothing.
    #[inline]
    pub fn add(&self, shard: Shard, counter: Counter, n: u64) {
        if let Some(cells) = self.shards.get(shard.0) {
            let cell = &cells.0[counter as usize];
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self, shard: Shard, counter: Counter) {
        self.add(shard, counter, 1);
    }

    /// Feeds one value into a sliding sum (`*Slide`), as HAProxy's `swrate_add`.
    #[inline]
    pub fn slide(&self, shard: Shard, counter: Counter, value: u64) {
        if let Some(cells) = self.shards.get(shard.0) {
            let cell = &cells.0[counter as usize];
            let sum = cell.load(Ordering::Relaxed);
            cell.store(sum - sum.div_ceil(SLIDING_WINDOW) + value, Ordering::Relaxed);
        }
    }

    /// Keeps `value` if it is the highest so far (`*MaxMs`). Only the owner of `shard` may call this.
    #[inline]
    pub fn raise(&self, shard: Shard, counter: Counter, value: u64) {
        if let Some(cells) = self.shards.get(shard.0) {
            let cell = &cells.0[counter as usize];
            if value > cell.load(Ordering::Relaxed) {
                cell.store(value, Ordering::Relaxed);
            }
        }
    }

    /// The highest value over all shards (`*MaxMs`).
    pub fn highest(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|s| s.0[counter as usize].load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// Forgets the maxima (`clear counters`).
    pub fn clear_maxima(&self) {
        for counter in [Counter::QueueMaxMs, Counter::ConnectMaxMs, Counter::ResponseMaxMs, Counter::TotalMaxMs] {
            for s in &self.shards {
                s.0[counter as usize].store(0, Ordering::Relaxed);
            }
        }
    }

    /// What one shard counted.
    pub fn of(&self, shard: Shard, counter: Counter) -> u64 {
        self.shards.get(shard.0).map_or(0, |s| s.0[counter as usize].load(Ordering::Relaxed))
    }

    /// The sum over all shards.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|s| s.0[counter as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    /// The mean of a sliding sum over all shards, weighted by what each shard has seen (`TimedRequests`).
    pub fn sliding_mean(&self, counter: Counter) -> u64 {
        let (mut sum, mut seen) = (0u64, 0u64);
        for s in &self.shards {
            let n = s.0[Counter::TimedRequests as usize].load(Ordering::Relaxed).min(SLIDING_WINDOW);
            sum += s.0[counter as usize].load(Ordering::Relaxed);
            seen += n;
        }
        if seen == 0 { 0 } else { sum.div_ceil(seen) }
    }

    /// Sets everything to zero (`clear counters all`). Counts made by workers in the same instant may survive.
    pub fn clear(&self) {
        for s in &self.shards {
            for c in &s.0 {
                c.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// A gauge with its maximum: `scur`/`smax`, `qcur`/`qmax`. Several workers write it.
#[derive(Debug, Default)]
pub struct Gauge {
    now: std::sync::atomic::AtomicU32,
    max: std::sync::atomic::AtomicU32,
}

impl Gauge {
    /// One more; returns the new value.
    #[inline]
    pub fn rise(&self) -> u32 {
        let now = self.now.fetch_add(1, Ordering::AcqRel) + 1;
        if now > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(now, Ordering::Relaxed);
        }
        now
    }

    /// One less; returns the new value.
    #[inline]
    pub fn fall(&self) -> u32 {
        let before = self.now.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a gauge fell below zero");
        before.wrapping_sub(1)
    }

    /// One more, unless that would exceed `limit`.
    #[inline]
    pub fn try_rise(&self, limit: u32) -> bool {
        let mut now = self.now.load(Ordering::Acquire);
        loop {
            if now >= limit {
                return false;
            }
            match self.now.compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(seen) => now = seen,
            }
        }
        if now + 1 > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(now + 1, Ordering::Relaxed);
        }
        true
    }

    /// The value now.
    #[inline]
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Acquire)
    }

    /// The highest value since the last [`Gauge::clear_max`].
    pub fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Forgets the maximum (`clear counters`).
    pub fn clear_max(&self) {
        self.max.store(self.now(), Ordering::Relaxed);
    }
}
