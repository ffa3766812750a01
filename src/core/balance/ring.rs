//! `balance source`, `uri` and `header(NAME)`: a consistent hash ring.
//!
//! A server's points depend on its name and weight alone, not on its neighbours, address or position: when a server
//! comes or goes only the keys next to its points move. Point `k` of a server is the same at every weight; a change of
//! weight adds or removes the last ones.

use std::sync::atomic::AtomicU64;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Field;
use super::round_robin::Schedule;
use crate::core::fleet::snapshot::ServerView;

/// Seed of a server's first point: the bytes of `ringpnts`. Point `k` has this plus `k`.
const POINT_SEED: u64 = 0x7269_6e67_706e_7473;
/// Points of a server of weight 1 in a backend of light weights.
const POINTS_PER_WEIGHT: u64 = 128;
/// Most points of a ring; above it every server's points are halved until they fit.
const POINTS_MAX: u64 = 131_072;
/// [`ServerView::weight`] of one unit of configured weight.
const UNIT: u64 = 256;

/// Points on the circle of 64-bit numbers, in order, each with its server.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[(u64, u32)]>,
    /// For requests without a hash.
    turns: Schedule,
}

impl Ring {
    /// Puts the candidates' points on the ring.
    pub(super) fn new(candidates: &[u32], servers: &[ServerView]) -> Ring {
        let members: Vec<_> = candidates.iter().filter_map(|&i| Some((i, servers.get(i as usize)?))).collect();
        let full = |weight: u32| u64::from(weight) * POINTS_PER_WEIGHT / UNIT;
        let mut halvings = 0;
        while members.iter().map(|(_, s)| full(s.weight) >> halvings).sum::<u64>() > POINTS_MAX {
            halvings += 1;
        }
        let mut points = Vec::new();
        for (index, server) in members {
            let count = (full(server.weight) >> halvings).max(1);
            let name = server.spec.name.as_bytes();
            points.extend((0..count).map(|k| (xxh3_64_with_seed(name, POINT_SEED.wrapping_add(k)), index)));
        }
        points.sort_unstable();
        Ring { points: points.into(), turns: Schedule::new(candidates, servers) }
    }

    /// How many points there are.
    #[cfg(test)]
    pub(super) fn points(&self) -> usize {
        self.points.len()
    }

    /// The server of the first point at or after the hash; a full or skipped one passes the key on to the next.
    pub(super) fn pick<F: Fn(usize) -> bool>(
        &self,
        candidates: &[u32],
        field: &Field<'_, F>,
        cursor: &AtomicU64,
        hash: Option<u64>,
    ) -> Option<u32> {
        let Some(hash) = hash else {
            return self.turns.pick(candidates, field, cursor);
        };
        let start = self.points.partition_point(|&(at, _)| at < hash);
        let (before, from) = self.points.split_at(start);
        let steps = candidates.len() * 8;
        let near = from.iter().chain(before).take(steps).map(|&(_, i)| i).find(|&i| field.has_room(i));
        near.or_else(|| field.scan(candidates, (hash % candidates.len() as u64) as usize))
    }
}
