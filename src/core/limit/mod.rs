//! Rate and concurrency limits per key, in bounded tables.
//!
//! [`pace`] and [`process`] are about the process as a whole; the rest is per key. [`key`] makes the key of a request,
//! [`table`] holds what is known of each key, [`bucket`] decides about one, [`data`] are the further numbers a table may
//! store. What happens to a request over the limit is the frontend's business.

pub mod bucket;
pub mod data;
pub mod key;
pub mod pace;
pub mod process;
mod shard;
pub mod table;

pub use data::{DataType, RequestEnd, Stored, Threshold};
pub use key::{KeyFacts, build_key, is_exempt};
pub use table::{RateTable, RowPlace, SetError, TableRow, Verdict};

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::core::tls::TlsSample;
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
    /// What is stored of each key, in HAProxy's order; empty for what a limit keeps anyway ([`Self::shown`]).
    pub store: Arc<[Stored]>,
    /// Numbers from which on requests are denied, whatever `action` says.
    pub deny_if: Vec<Threshold>,
    /// The status of those.
    pub deny_status: u16,
}

impl RateLimitSpec {
    /// What `show table` shows of each key, in its order: what is stored, or what every limit keeps.
    pub fn shown(&self) -> Vec<Stored> {
        if !self.store.is_empty() {
            return self.store.to_vec();
        }
        let count = |what| Stored { what, period: None };
        let mut shown = vec![count(DataType::Gpc0), count(DataType::ConnCur), count(DataType::HttpReqCnt)];
        shown.extend(self.rate.map(|rate| Stored { what: DataType::HttpReqRate, period: Some(rate.period) }));
        shown
    }

    /// Whether a number is among those.
    pub fn stores(&self, what: DataType) -> bool {
        self.shown().iter().any(|stored| stored.what == what)
    }
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
    /// Something of the client's TLS, its fingerprint (`ja4`) most often; connections without it are not limited by
    /// this limit.
    Tls(TlsSample),
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
    /// Nothing is over this limit: it only keeps numbers ([`RateLimitSpec::store`]).
    Track,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests;
