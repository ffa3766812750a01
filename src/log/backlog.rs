//! Lines held back for a target that cannot take them now: bounded, in order, given out from the front.

use std::collections::VecDeque;

/// Most bytes held back for one target.
pub(super) const BACKLOG_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Bytes given out are moved away when there are so many of them.
const COMPACT_BYTES: usize = 256 * 1024;

/// Frames (a line with all that its transport puts around it) waiting to be sent.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// Where the first frame begins.
    front: usize,
    lengths: VecDeque<usize>,
}

impl Backlog {
    /// Adds a frame given in pieces, unless that would be too much.
    pub(super) fn push(&mut self, pieces: &[&[u8]]) -> bool {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.bytes.len() - self.front + length > BACKLOG_MAX_BYTES {
            return false;
        }
        if self.front == self.bytes.len() || self.front >= COMPACT_BYTES && self.front * 2 >= self.bytes.len() {
            self.bytes.drain(..self.front);
            self.front = 0;
        }
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        self.lengths.push_back(length);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Frames held.
    pub(super) fn count(&self) -> usize {
        self.lengths.len()
    }

    /// All that is held, as one stretch.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.front..).unwrap_or_default()
    }

    /// The first frames, one by one.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes();
        self.lengths.iter().map_while(move |length| {
            let (frame, after) = rest.split_at_checked(*length)?;
            rest = after;
            Some(frame)
        })
    }

    /// Takes the first so many frames away. Gives room back after a bad time is over.
    pub(super) fn pop(&mut self, frames: usize) {
        for length in self.lengths.drain(..frames.min(self.lengths.len())) {
            self.front += length;
        }
        if self.lengths.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(COMPACT_BYTES);
            self.front = 0;
        }
    }

    /// Takes away the frames that lie wholly in the first so many bytes and returns what is left of those bytes: how
    /// much of the frame that is now the first has been sent.
    pub(super) fn pop_bytes(&mut self, mut bytes: usize) -> usize {
        let mut whole = 0;
        for length in &self.lengths {
            match bytes.checked_sub(*length) {
                Some(left) => bytes = left,
                None => break,
            }
            whole += 1;
        }
        self.pop(whole);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_order() {
        let mut backlog = Backlog::default();
        for text in ["one", "two", "three"] {
            assert!(backlog.push(&[b"<", text.as_bytes(), b">"]));
        }
        assert_eq!(backlog.frames().collect::<Vec<_>>(), [&b"<one>"[..], b"<two>", b"<three>"]);
        assert_eq!(backlog.pop_bytes(7), 2);
        assert_eq!(backlog.bytes(), b"<two><three>");
        backlog.pop(1);
        assert_eq!((backlog.count(), backlog.bytes()), (1, &b"<three>"[..]));
        assert_eq!(backlog.pop_bytes(7), 0);
        assert!(backlog.is_empty());
    }

    #[test]
    fn it_is_bounded_and_moves_on_forever() {
        let mut backlog = Backlog::default();
        let line = [b'x'; 1000];
        let mut held = 0;
        while backlog.push(&[&line]) {
            held += 1;
        }
        assert_eq!(held, BACKLOG_MAX_BYTES / 1000);
        for _ in 0..20_000 {
            backlog.pop(1);
            assert!(backlog.push(&[&line]));
        }
        assert_eq!(backlog.count(), held);
        assert!(backlog.bytes.len() <= 2 * BACKLOG_MAX_BYTES + COMPACT_BYTES);
        backlog.pop(held);
        assert!(backlog.bytes.capacity() <= COMPACT_BYTES);
    }
}
