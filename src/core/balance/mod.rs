//! Choosing a server: the algorithms' names, and one file per algorithm.
//!
//! A [`Picker`] is built whenever a snapshot is, from the servers as workers will see them, and is then only read. It
//! knows nothing of queues, leases or persistence: it names a server that has room, and the caller takes the room.
//!
//! Reading order: `round_robin`, `least_conn`, `random`, `first`, `ring` (source, uri and header).

mod first;
mod least_conn;
mod random;
mod ring;
mod round_robin;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::core::fleet::snapshot::ServerView;
use ring::Ring;
use round_robin::Schedule;

/// Seed of [`hash_key`]: the bytes of `lockgate`. Fixed, so that every lockgate places a key alike, after a restart too.
const KEY_SEED: u64 = 0x6c6f_636b_6761_7465;

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
pub struct Picker {
    /// Positions of the usable servers, in configuration order.
    candidates: Box<[u32]>,
    arranged: Arranged,
}

#[derive(Debug, Default)]
enum Arranged {
    RoundRobin(Schedule),
    LeastConn,
    Random(random::Draw),
    #[default]
    First,
    Ring(Ring),
}

/// What an algorithm may ask of the servers while picking.
struct Field<'a, F> {
    servers: &'a [ServerView],
    skip: F,
}

impl<F: Fn(usize) -> bool> Field<'_, F> {
    /// Whether the server at this position may be named: room, and not skipped.
    fn has_room(&self, index: u32) -> bool {
        let index = index as usize;
        self.servers.get(index).is_some_and(|s| s.live.inflight.now() < s.maxconn) && !(self.skip)(index)
    }

    /// Requests it has, waiting ones included, and its weight.
    fn load(&self, index: u32) -> Load {
        self.servers.get(index as usize).map_or(Load { requests: u64::MAX >> 32, weight: 1 }, |s| Load {
            requests: u64::from(s.live.inflight.now()) + u64::from(s.live.queued.now()),
            weight: u64::from(s.weight.max(1)),
        })
    }

    /// The first of `candidates` with room, from position `start` on, round the end.
    fn scan(&self, candidates: &[u32], start: usize) -> Option<u32> {
        let (before, from) = candidates.split_at(start.min(candidates.len()));
        from.iter().chain(before).copied().find(|&i| self.has_room(i))
    }
}

/// Requests against weight, compared without division.
#[derive(Debug, Clone, Copy)]
struct Load {
    requests: u64,
    weight: u64,
}

impl Load {
    fn is_less_than(self, other: Load) -> bool {
        self.requests * other.weight < other.requests * self.weight
    }
}

impl Picker {
    /// Arranges the servers that are eligible and have weight: all that are no backup or, if there is none, the first
    /// backup alone.
    pub fn new(algorithm: &Algorithm, servers: &[ServerView]) -> Picker {
        let usable = |s: &ServerView| s.eligible && s.weight > 0;
        let positions = |backup: bool| {
            servers.iter().enumerate().filter(move |(_, s)| usable(s) && s.spec.backup == backup).map(|(i, _)| i as u32)
        };
        let mut candidates: Box<[u32]> = positions(false).collect();
        if candidates.is_empty() {
            candidates = positions(true).take(1).collect();
        }
        let arranged = match algorithm {
            Algorithm::RoundRobin => Arranged::RoundRobin(Schedule::new(&candidates, servers)),
            Algorithm::LeastConn => Arranged::LeastConn,
            Algorithm::Random => Arranged::Random(random::Draw::new(&candidates, servers)),
            Algorithm::First => Arranged::First,
            Algorithm::Source | Algorithm::Uri | Algorithm::Header(_) => {
                Arranged::Ring(Ring::new(&candidates, servers))
            }
        };
        Picker { candidates, arranged }
    }

    /// The position in `servers` of a server that is usable, not full (`live.inflight` below `maxconn`) and not
    /// `skip`ped; `None` when there is none.
    ///
    /// `servers` must be the slice the picker was built from. `cursor` is the backend's
    /// ([`crate::core::fleet::live::BackendLive::cursor`]), shared by all workers. `hash` is [`hash_key`] of what the
    /// algorithm looks at; without one the hashing algorithms go round robin. The caller still has to take the room
    /// with `Gauge::try_rise`, since another worker may have been faster.
    pub fn pick(
        &self,
        servers: &[ServerView],
        cursor: &AtomicU64,
        hash: Option<u64>,
        rng: &mut fastrand::Rng,
        skip: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let field = Field { servers, skip };
        let candidates = &self.candidates[..];
        let picked = match &self.arranged {
            _ if candidates.is_empty() => None,
            Arranged::RoundRobin(schedule) => schedule.pick(candidates, &field, cursor),
            Arranged::LeastConn => least_conn::pick(candidates, &field, cursor),
            Arranged::Random(draw) => draw.pick(candidates, &field, rng),
            Arranged::First => first::pick(candidates, &field),
            Arranged::Ring(ring) => ring.pick(candidates, &field, cursor, hash),
        };
        picked.map(|i| i as usize)
    }

    /// Whether any server is usable at all, full or not.
    pub fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether the server at this position is among those picked from.
    pub fn is_candidate(&self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|i| self.candidates.binary_search(&i).is_ok())
    }

    /// Whether [`Picker::pick`] looks at `hash`.
    pub fn needs_hash(&self) -> bool {
        matches!(self.arranged, Arranged::Ring(_))
    }
}

/// The hash of what a hashing algorithm looks at: the address's octets, the path, the field's value. XXH3 with a fixed
/// seed.
pub fn hash_key(bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, KEY_SEED)
}
