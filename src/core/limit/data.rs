//! The numbers a limit's table may store of each key (`store`). HAProxy: the data types of stick tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::shard::Window;

macro_rules! types {
    ($($(#[doc = $doc:literal])* $variant:ident = $word:literal,)*) => {
        /// A number kept of each key, in HAProxy's order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DataType { $($(#[doc = $doc])* $variant,)* }

        impl DataType {
            /// All that can be stored, in the order in which `show table` writes them.
            pub const ALL: &'static [DataType] = &[$(DataType::$variant,)*];

            /// HAProxy's name for it.
            pub fn word(self) -> &'static str {
                match self { $(DataType::$variant => $word,)* }
            }
        }
    };
}

types! {
    /// A mark that an operator sets; nothing counts it.
    Gpt0 = "gpt0",
    /// Requests over the limit, or what an operator set.
    Gpc0 = "gpc0",
    /// Requests. HAProxy counts streams, which for `http-request track-sc` are the same.
    ConnCnt = "conn_cnt",
    /// Requests in a period.
    ConnRate = "conn_rate",
    /// Requests in flight.
    ConnCur = "conn_cur",
    /// Client connections, each counted with its first request.
    SessCnt = "sess_cnt",
    /// Client connections in a period.
    SessRate = "sess_rate",
    /// Requests.
    HttpReqCnt = "http_req_cnt",
    /// Requests in a period.
    HttpReqRate = "http_req_rate",
    /// Requests answered with 4xx, denied or tarpitted.
    HttpErrCnt = "http_err_cnt",
    /// The same in a period.
    HttpErrRate = "http_err_rate",
    /// Bytes from the client, counted at a request's end.
    BytesInCnt = "bytes_in_cnt",
    /// The same in a period.
    BytesInRate = "bytes_in_rate",
    /// Bytes to the client, counted at a request's end.
    BytesOutCnt = "bytes_out_cnt",
    /// The same in a period.
    BytesOutRate = "bytes_out_rate",
    /// A second counter that only an operator sets.
    Gpc1 = "gpc1",
    /// Requests answered with 5xx other than 501 and 505.
    HttpFailCnt = "http_fail_cnt",
    /// The same in a period.
    HttpFailRate = "http_fail_rate",
}

/// Data types HAProxy knows and no table here stores.
const FOREIGN: &[&str] = &["server_id", "gpc0_rate", "gpc1_rate", "server_key", "gpt", "gpc", "gpc_rate"];

impl DataType {
    /// By its name.
    pub fn parse(word: &str) -> Option<DataType> {
        DataType::ALL.iter().copied().find(|what| what.word() == word)
    }

    /// Whether HAProxy knows a data type of this name.
    pub fn is_known(word: &str) -> bool {
        DataType::parse(word).is_some() || FOREIGN.contains(&word)
    }

    /// Whether it is counted over a period.
    pub fn is_rate(self) -> bool {
        self.word().ends_with("_rate")
    }
}

/// A number that a table stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub what: DataType,
    /// Over how long, for rates.
    pub period: Option<Duration>,
}

/// `deny_if`: a stored number from which on requests are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Which number.
    pub what: DataType,
    /// Denied from here on.
    pub least: u64,
}

/// How a request ended, for the numbers that are known only then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestEnd {
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// The client's fault: 4xx, denied, tarpitted.
    pub error: bool,
    /// A server's fault: 5xx other than 501 and 505.
    pub failure: bool,
}

/// The numbers of one row that the row itself does not keep. A short lock: workers serving the same key take turns.
#[derive(Debug)]
pub(super) struct Numbers {
    stored: Arc<[Stored]>,
    cells: Mutex<Box<[Cell]>>,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Count(u64),
    Rate(Window),
}

impl Numbers {
    pub fn new(stored: &Arc<[Stored]>, now: Instant) -> Numbers {
        let cell = |stored: &Stored| match stored.period {
            Some(_) => Cell::Rate(Window::starting(now)),
            None => Cell::Count(0),
        };
        Numbers { stored: stored.clone(), cells: Mutex::new(stored.iter().map(cell).collect()) }
    }

    /// Whether these are the numbers of that list.
    pub fn are_of(&self, stored: &Arc<[Stored]>) -> bool {
        self.stored == *stored
    }

    /// Counts a request that begins.
    pub fn begin(&self, first_of_connection: bool, now: Instant) {
        self.count(now, |what| match what {
            DataType::ConnCnt | DataType::ConnRate | DataType::HttpReqRate => 1,
            DataType::SessCnt | DataType::SessRate => u64::from(first_of_connection),
            _ => 0,
        });
    }

    /// Counts a request that is over.
    pub fn end(&self, end: &RequestEnd, now: Instant) {
        self.count(now, |what| match what {
            DataType::HttpErrCnt | DataType::HttpErrRate => u64::from(end.error),
            DataType::HttpFailCnt | DataType::HttpFailRate => u64::from(end.failure),
            DataType::BytesInCnt | DataType::BytesInRate => end.bytes_in,
            DataType::BytesOutCnt | DataType::BytesOutRate => end.bytes_out,
            _ => 0,
        });
    }

    fn count(&self, now: Instant, by: impl Fn(DataType) -> u64) {
        let mut cells = self.cells.lock();
        for (stored, cell) in self.stored.iter().zip(cells.iter_mut()) {
            let by = by(stored.what);
            if by == 0 {
                continue;
            }
            match (cell, stored.period) {
                (Cell::Count(count), _) => *count = count.saturating_add(by),
                (Cell::Rate(window), Some(period)) => window.count(by, period, now),
                (Cell::Rate(_), None) => {}
            }
        }
    }

    /// The number of that type, if it is kept here.
    pub fn get(&self, what: DataType, now: Instant) -> Option<u64> {
        let at = self.stored.iter().position(|stored| stored.what == what)?;
        match (self.cells.lock().get(at)?, self.stored[at].period) {
            (Cell::Count(count), _) => Some(*count),
            (Cell::Rate(window), Some(period)) => Some(window.estimate(period, now)),
            (Cell::Rate(_), None) => None,
        }
    }

    /// Sets a number; a rate then stands for a period and fades out over the next, as in HAProxy.
    pub fn set(&self, what: DataType, value: u64, now: Instant) {
        let Some(at) = self.stored.iter().position(|stored| stored.what == what) else { return };
        match self.cells.lock().get_mut(at) {
            Some(Cell::Count(count)) => *count = value,
            Some(Cell::Rate(window)) => *window = Window::holding(value, now),
            None => {}
        }
    }
}
