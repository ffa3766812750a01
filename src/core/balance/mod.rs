//! Choosing a server: the algorithms' names, and one file per algorithm.

/// How a backend spreads requests over its servers. HAProxy: `balance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin,
    /// The server with the fewest requests in flight relative to its weight.
    LeastConn,
    /// Two servers drawn by weight, the less loaded of the two.
    Random,
    /// The first server, in order, that is not full.
    First,
    /// Consistent hash of the client's address.
    Source,
    /// Consistent hash of the request path (no query).
    Uri,
    /// Consistent hash of a request field; round robin when it is absent.
    Header(Box<str>),
}

impl Algorithm {
    /// The name as configured and as the CSV's `algo` column says it.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::RoundRobin => "roundrobin",
            Algorithm::LeastConn => "leastconn",
            Algorithm::Random => "random",
            Algorithm::First => "first",
            Algorithm::Source => "source",
            Algorithm::Uri => "uri",
            Algorithm::Header(_) => "hdr",
        }
    }
}

/// The usable servers of a backend, arranged for its algorithm when the snapshot is built.
#[derive(Debug, Default)]
pub struct Picker {}
