//! `balance leastconn`: the fewest requests relative to weight, ties in turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Field, Load};

/// The least loaded of the candidates with room. The look starts one further each time, so that equals take turns.
pub(super) fn pick<F: Fn(usize) -> bool>(candidates: &[u32], field: &Field<'_, F>, cursor: &AtomicU64) -> Option<u32> {
    let turn = cursor.fetch_add(1, Ordering::Relaxed) % candidates.len() as u64;
    let (before, from) = candidates.split_at(turn as usize);
    let mut best: Option<(u32, Load)> = None;
    for &index in from.iter().chain(before) {
        let load = field.load(index);
        if best.is_none_or(|(_, b)| load.is_less_than(b)) && field.has_room(index) {
            best = Some((index, load));
        }
    }
    best.map(|(index, _)| index)
}
