//! `balance first`: the first server, in configuration order, that is not full.

use super::Field;

/// The first of the candidates with room.
pub(super) fn pick<F: Fn(usize) -> bool>(candidates: &[u32], field: &Field<'_, F>) -> Option<u32> {
    field.scan(candidates, 0)
}
