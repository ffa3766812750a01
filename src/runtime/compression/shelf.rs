//! Encoders that wait for the next answer, of one worker.

use std::cell::RefCell;
use std::sync::Arc;

use super::budget::Budget;
use super::encoder::Encoder;
use crate::core::compress::Algorithm;

/// Encoders kept for reuse; more are given up with their memory.
const KEPT_MAX: usize = 8;

/// The shelf, and what limits the number of encoders.
#[derive(Debug)]
pub struct EncoderShelf {
    budget: Arc<Budget>,
    kept: RefCell<Vec<Encoder>>,
}

impl EncoderShelf {
    /// Empty.
    pub fn new(budget: Arc<Budget>) -> EncoderShelf {
        EncoderShelf { budget, kept: RefCell::new(Vec::new()) }
    }

    /// What limits it.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// An encoder for a new body; `None` when the memory of encoders is used up.
    pub fn take(&self, algorithm: Algorithm) -> Option<Encoder> {
        let mut kept = self.kept.borrow_mut();
        let encoder = match kept.iter().rposition(|e| e.algorithm() == algorithm) {
            Some(place) => {
                let mut encoder = kept.swap_remove(place);
                encoder.begin().ok()?;
                encoder
            }
            None => Encoder::new(algorithm, &self.budget).or_else(|| {
                // Those that wait here for other codings are worth less than this answer.
                kept.clear();
                Encoder::new(algorithm, &self.budget)
            })?,
        };
        Some(encoder)
    }

    /// Takes an encoder back that has finished its body. Others are to be dropped: zlib's reset leaves bits of an open block
    /// behind, and nothing of one answer may ever get into another.
    pub fn put_back(&self, encoder: Encoder) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX && encoder.is_worth_keeping() {
            kept.push(encoder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoder::memory_bytes;
    use super::*;
    use crate::core::compress::Coding;

    const GZIP: Algorithm = Algorithm { coding: Coding::Gzip, level: 1 };
    const ZSTD: Algorithm = Algorithm { coding: Coding::Zstd, level: 1 };

    #[test]
    fn what_waits_makes_room_for_what_is_needed() {
        let budget = Budget::new(memory_bytes(ZSTD), 0, None);
        let shelf = EncoderShelf::new(budget.clone());
        let mut gzip = shelf.take(GZIP).unwrap();
        gzip.finish(&mut Vec::new()).unwrap();
        assert!(shelf.take(ZSTD).is_none(), "a body under way keeps its memory");
        shelf.put_back(gzip);
        assert_eq!(budget.memory(), memory_bytes(GZIP), "it waits with its memory");
        let again = shelf.take(GZIP).unwrap();
        assert_eq!(budget.memory(), memory_bytes(GZIP));
        shelf.put_back(again);
        let zstd = shelf.take(ZSTD).unwrap();
        assert_eq!(budget.memory(), memory_bytes(ZSTD));
        drop(zstd);
        assert_eq!(budget.memory(), 0);
    }

    #[test]
    fn only_so_many_wait() {
        let shelf = EncoderShelf::new(Budget::new(u64::MAX, 0, None));
        let many: Vec<_> = (0..KEPT_MAX + 3).map(|_| shelf.take(GZIP).unwrap()).collect();
        many.into_iter().for_each(|e| shelf.put_back(e));
        assert_eq!(shelf.budget().memory(), KEPT_MAX as u64 * memory_bytes(GZIP));
    }
}
