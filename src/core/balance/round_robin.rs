//! `balance roundrobin`: a precomputed smooth schedule, walked by a cursor that all workers share.
//!
//! Each server has as many slots as its share of the weights. The `k`-th of a server with `w` slots belongs between
//! `k / w` and `(k + 1) / w` of the way; each slot goes to the server whose time has come and ends first. So a server's
//! turns are spread evenly, and no prefix of the schedule holds a whole turn too many or too few of any.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Field;
use crate::core::fleet::snapshot::ServerView;

/// Most slots of a schedule. Weights whose smallest common form needs more are rounded to fit.
const SLOTS_MAX: u64 = 16_384;

/// The order in which servers take turns.
#[derive(Debug)]
pub(super) struct Schedule {
    slots: Box<[u32]>,
}

impl Schedule {
    /// Lays out the turns of the candidates.
    pub(super) fn new(candidates: &[u32], servers: &[ServerView]) -> Schedule {
        let weights = candidates.iter().map(|&i| servers.get(i as usize).map_or(1, |s| u64::from(s.weight.max(1))));
        let shares = shares(&weights.collect::<Vec<_>>());
        let total: u64 = shares.iter().sum();
        let mut coming: BinaryHeap<Reverse<Moment>> = BinaryHeap::new();
        let mut open: BinaryHeap<Reverse<Moment>> =
            shares.iter().enumerate().map(|(order, &share)| Reverse(Moment { turn: 1, share, order })).collect();
        let mut slots = Vec::with_capacity(total as usize);
        for slot in 0..total {
            while coming.peek().is_some_and(|Reverse(m)| m.turn * total <= slot * m.share) {
                open.extend(coming.pop().map(|Reverse(m)| Reverse(Moment { turn: m.turn + 1, ..m })));
            }
            // The end of this turn is the beginning of the next.
            let Some(Reverse(moment)) = open.pop() else { break };
            slots.extend(candidates.get(moment.order));
            coming.push(Reverse(moment));
        }
        Schedule { slots: slots.into() }
    }

    /// The next turn; full and skipped servers are passed over, and the cursor goes with it, so that the server after a
    /// full one does not get its turns as well.
    pub(super) fn pick<F: Fn(usize) -> bool>(
        &self,
        candidates: &[u32],
        field: &Field<'_, F>,
        cursor: &AtomicU64,
    ) -> Option<u32> {
        let len = self.slots.len() as u64;
        if len == 0 {
            return None;
        }
        let at = cursor.fetch_add(1, Ordering::Relaxed);
        let steps = len.min(2 * candidates.len() as u64);
        for step in 0..steps {
            let slot = self.slots[(at.wrapping_add(step) % len) as usize];
            if field.has_room(slot) {
                if step > 0 {
                    cursor.fetch_add(step, Ordering::Relaxed);
                }
                return Some(slot);
            }
        }
        field.scan(candidates, (at % candidates.len() as u64) as usize)
    }
}

/// A point of time, `turn / share` of the way, at which a server's turn ends and its next begins. Of equal ones the
/// earlier server in the configuration comes first.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    turn: u64,
    share: u64,
    order: usize,
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let left = self.turn * other.share;
        let right = other.turn * self.share;
        left.cmp(&right).then(self.order.cmp(&other.order))
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Slots per candidate: the weights divided by their greatest common divisor, rounded down to [`SLOTS_MAX`] together.
fn shares(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|w| w / divisor).sum();
    weights
        .iter()
        .map(|w| {
            let share = w / divisor;
            if total > SLOTS_MAX { (share * SLOTS_MAX / total).max(1) } else { share.max(1) }
        })
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
