//! Lines on their way to the writer, and the pool their buffers return to.

use parking_lot::Mutex;

/// Buffers larger than this are not kept for the next batch.
const KEPT_BYTES: usize = 256 * 1024;

/// Finished lines of one layout, one after the other, each followed by a line end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where each line ends, its line end included.
    ends: Vec<usize>,
}

impl Lines {
    /// Adds the line that `render` appends.
    pub(super) fn add(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        render(&mut self.bytes);
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    /// How many lines.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// All lines, with their line ends.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A line with its line end; empty past the last.
    pub(super) fn line(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Lines that lie wholly in the first so many bytes.
    pub(super) fn whole_in(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Lines of every layout.
#[derive(Debug)]
pub(super) struct Batch {
    layouts: Vec<Lines>,
}

impl Batch {
    fn new(layouts: usize) -> Batch {
        Batch { layouts: (0..layouts).map(|_| Lines::default()).collect() }
    }

    /// The lines of one layout.
    pub(super) fn lines(&self, layout: usize) -> &Lines {
        &self.layouts[layout]
    }

    /// Likewise, to add to.
    pub(super) fn lines_mut(&mut self, layout: usize) -> &mut Lines {
        &mut self.layouts[layout]
    }

    /// Bytes of all layouts.
    pub(super) fn len_bytes(&self) -> usize {
        self.layouts.iter().map(|lines| lines.bytes.len()).sum()
    }

    fn clear(&mut self) {
        self.layouts.iter_mut().for_each(Lines::clear);
    }
}

/// Empty batches with room in them, so that a steady flow of lines allocates nothing.
#[derive(Debug)]
pub(super) struct Pool {
    layouts: usize,
    max_batches: usize,
    free: Mutex<Vec<Batch>>,
}

impl Pool {
    pub(super) fn new(layouts: usize, max_batches: usize) -> Pool {
        Pool { layouts, max_batches, free: Mutex::new(Vec::new()) }
    }

    pub(super) fn take(&self) -> Batch {
        let free = self.free.lock().pop();
        free.unwrap_or_else(|| Batch::new(self.layouts))
    }

    pub(super) fn give_back(&self, mut batch: Batch) {
        if batch.layouts.iter().any(|lines| lines.bytes.capacity() > KEPT_BYTES) {
            return;
        }
        batch.clear();
        let mut free = self.free.lock();
        if free.len() < self.max_batches {
            free.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again() {
        let mut lines = Lines::default();
        for text in ["one", "", "three"] {
            lines.add(|out| out.extend_from_slice(text.as_bytes()));
        }
        assert_eq!(lines.bytes(), b"one\n\nthree\n");
        assert_eq!((0..4).map(|index| lines.line(index)).collect::<Vec<_>>(), [&b"one\n"[..], b"\n", b"three\n", b""]);
        for (bytes, whole) in [(0, 0), (3, 0), (4, 1), (5, 2), (10, 2), (11, 3)] {
            assert_eq!(lines.whole_in(bytes), whole, "{bytes}");
        }
    }

    #[test]
    fn buffers_come_back_empty_and_huge_ones_do_not() {
        let pool = Pool::new(1, 1);
        let mut batch = pool.take();
        batch.lines_mut(0).add(|out| out.extend_from_slice(&[b'x'; 1000]));
        pool.give_back(batch);
        let batch = pool.take();
        assert!(batch.len_bytes() == 0 && batch.layouts[0].bytes.capacity() >= 1000);
        let mut huge = pool.take();
        huge.lines_mut(0).add(|out| out.resize(KEPT_BYTES + 1, b'x'));
        pool.give_back(huge);
        assert_eq!(pool.free.lock().len(), 0);
        pool.give_back(batch);
        pool.give_back(Batch::new(1));
        assert_eq!(pool.free.lock().len(), 1);
    }
}
