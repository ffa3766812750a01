//! Read buffers, and the per-worker shelf they come from. An idle connection holds none.

use std::cell::RefCell;

/// Bytes a buffer holds unless a head needs more.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of the buffers that long bodies are moved with.
pub const LARGE_BUFFER_BYTES: usize = 64 * 1024;
/// Buffers of each size a shelf keeps for reuse.
const SHELF_MAX: usize = 256;

/// Bytes read and not yet used: `start..end` of `bytes`.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not yet used.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How much of it there is.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first `n` bytes as used.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Room to read into; moves what is there to the front when the end is reached. Empty when the buffer is full.
    pub fn room(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `n` bytes were read into [`Buffer::room`].
    #[inline]
    pub fn filled_by(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Makes room for `capacity` bytes in all.
    pub fn grow(&mut self, capacity: usize) {
        if self.bytes.len() < capacity {
            self.bytes.resize(capacity, 0);
        }
    }

    /// Whether it has memory at all.
    pub fn has_memory(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// How many bytes fit in all.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// Buffers waiting to be used again, of one worker.
#[derive(Debug, Default)]
pub struct BufferShelf {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    texts: RefCell<Vec<Vec<u8>>>,
}

impl BufferShelf {
    /// How many wait: buffers of [`BUFFER_BYTES`], buffers of [`LARGE_BUFFER_BYTES`], and texts.
    pub fn kept(&self) -> [usize; 3] {
        [self.small.borrow().len(), self.large.borrow().len(), self.texts.borrow().len()]
    }

    /// Gives an empty-handed buffer its memory.
    pub fn equip(&self, buffer: &mut Buffer) {
        if !buffer.has_memory() {
            buffer.bytes = self.small.borrow_mut().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        }
    }

    /// Gives a buffer the memory for long bodies, keeping what it holds.
    pub fn equip_large(&self, buffer: &mut Buffer) {
        if buffer.bytes.len() >= LARGE_BUFFER_BYTES {
            return;
        }
        let mut bytes = self.large.borrow_mut().pop().unwrap_or_else(|| vec![0; LARGE_BUFFER_BYTES]);
        let held = buffer.len();
        bytes[..held].copy_from_slice(buffer.filled());
        self.take_back(std::mem::replace(&mut buffer.bytes, bytes));
        buffer.start = 0;
        buffer.end = held;
    }

    /// Takes a buffer's memory back if the buffer holds nothing.
    pub fn shelve(&self, buffer: &mut Buffer) {
        if buffer.is_empty() && buffer.has_memory() {
            self.take_back(std::mem::take(&mut buffer.bytes));
            buffer.start = 0;
            buffer.end = 0;
        }
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let shelf = match bytes.len() {
            BUFFER_BYTES => &self.small,
            LARGE_BUFFER_BYTES => &self.large,
            _ => return,
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < SHELF_MAX {
            shelf.push(bytes);
        }
    }

    /// An empty byte vector for output.
    pub fn text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(2048))
    }

    /// Takes an output vector back.
    pub fn shelve_text(&self, mut text: Vec<u8>) {
        let mut texts = self.texts.borrow_mut();
        if texts.len() < SHELF_MAX && text.capacity() <= LARGE_BUFFER_BYTES && text.capacity() > 0 {
            text.clear();
            texts.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let shelf = BufferShelf::default();
        let mut b = Buffer::default();
        shelf.equip(&mut b);
        b.room()[..5].copy_from_slice(b"hello");
        b.filled_by(5);
        b.consume(2);
        assert_eq!(b.filled(), b"llo");
        shelf.equip_large(&mut b);
        assert_eq!(b.filled(), b"llo");
        assert_eq!(b.room().len(), LARGE_BUFFER_BYTES - 3);
    }

    #[test]
    fn a_full_buffer_moves_its_bytes_to_the_front() {
        let shelf = BufferShelf::default();
        let mut b = Buffer::default();
        shelf.equip(&mut b);
        let n = b.room().len();
        b.room().fill(7);
        b.filled_by(n);
        assert!(b.room().is_empty());
        b.consume(n - 1);
        assert_eq!(b.room().len(), n - 1);
        assert_eq!(b.filled(), [7]);
    }

    #[test]
    fn a_buffer_that_holds_bytes_is_not_shelved() {
        let shelf = BufferShelf::default();
        let mut b = Buffer::default();
        shelf.equip(&mut b);
        b.room()[0] = 1;
        b.filled_by(1);
        shelf.shelve(&mut b);
        assert!(b.has_memory());
        b.consume(1);
        shelf.shelve(&mut b);
        assert!(!b.has_memory());
    }
}
