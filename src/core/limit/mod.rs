//! Rate and concurrency limits per key, in bounded tables.
//!
//! [`pace`] and [`process`] are about the process as a whole; the rest is per key. [`key`] makes the key of a request, [`table`] holds what is known of each key, [`bucket`] decides about one. What
//! happens to a request over the limit is the frontend's business.

pub mod bucket;
pub mod key;
pub mod pace;
pub mod process;
mod shard;
pub mod table;

pub use key::{KeyFacts, build_key, is_exempt};
pub use table::{ConcurrencyPermit, RateTable, TableRow, Verdict};

use std::time::Duration;

use ipnet::IpNet;

use crate::core::units::Rate;

/// One limit (`rate_limits`).
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimitSpec {
    /// Its name, and its table's.
    pub name: Box<str>,
    /// What is counted apart; several parts form one key.
    pub key: Vec<KeyPart>,
    /// Requests per interval.
    pub rate: Option<Rate>,
    /// Requests allowed at once, the size of the bucket ([`bucket`]); `rate.count` by default.
    pub burst: u32,
    /// Requests in flight at once.
    pub concurrent: Option<u32>,
    /// What happens to a request over the limit.
    pub action: LimitAction,
    /// Networks that are never limited.
    pub except: Vec<IpNet>,
    /// Keys kept at once; the least recently used goes first.
    pub table_size: usize,
    /// How long an untouched key is kept.
    pub expire: Duration,
}

/// A part of a limit's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address; IPv6 cut to so many bits.
    ClientIp {
        /// 64 by default.
        ipv6_prefix: u8,
    },
    /// A request field; requests without it are not limited by this limit.
    Header(Box<str>),
    /// The request's host.
    Host,
    /// The request's path.
    Path,
}

/// What happens over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitAction {
    /// 429 with `Retry-After`.
    Deny,
    /// Held for the tarpit time, then 500 as HAProxy gives it.
    Tarpit,
    /// Counted and logged only: a dry run.
    LogOnly,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests;
