//! `balance random`: two draws by weight, the less loaded of the two.

use super::Field;
use crate::core::fleet::snapshot::ServerView;

/// Draws made before the first candidate with room, from a random place on, is taken.
const ATTEMPTS: usize = 4;

/// Running sums of the weights: a number below the total falls on a server with the odds of its weight.
#[derive(Debug)]
pub(super) struct Draw {
    sums: Box<[u64]>,
}

impl Draw {
    /// Sums up the candidates' weights.
    pub(super) fn new(candidates: &[u32], servers: &[ServerView]) -> Draw {
        let mut total = 0;
        let sums = candidates.iter().map(|&i| {
            total += servers.get(i as usize).map_or(0, |s| u64::from(s.weight));
            total
        });
        Draw { sums: sums.collect() }
    }

    /// Two draws; the less loaded relative to its weight, if it has room.
    pub(super) fn pick<F: Fn(usize) -> bool>(
        &self,
        candidates: &[u32],
        field: &Field<'_, F>,
        rng: &mut fastrand::Rng,
    ) -> Option<u32> {
        for _ in 0..ATTEMPTS {
            let (a, b) = (self.draw(candidates, rng)?, self.draw(candidates, rng)?);
            let (less, more) = if field.load(b).is_less_than(field.load(a)) { (b, a) } else { (a, b) };
            if let Some(found) = [less, more].into_iter().find(|&i| field.has_room(i)) {
                return Some(found);
            }
        }
        field.scan(candidates, rng.usize(..candidates.len()))
    }

    fn draw(&self, candidates: &[u32], rng: &mut fastrand::Rng) -> Option<u32> {
        let total = *self.sums.last()?;
        let at = rng.u64(..total.max(1));
        candidates.get(self.sums.partition_point(|&sum| sum <= at)).copied()
    }
}
