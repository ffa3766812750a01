//! How long things took and how large numbers were, spread over fixed buckets: one padded shard per worker, written by
//! that worker alone and summed when shown.
//!
//! The bounds are log-linear: 1, 2, 3, 5 and 7 times each power of ten. They never change, so a histogram can be added
//! up over machines and years. How they are written down is the business of [`super::prometheus`].

use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Shard;

/// The upper bounds, inclusive, in the unit of what is observed.
pub const BOUNDS: [u64; 46] = bounds();

/// Seconds, observed in microseconds: from 0.1 ms to 100 s.
pub type TimeHistogram = Histogram<10, 31>;

/// Numbers without a unit, observed in thousandths: from 0.001 to 1,000,000.
pub type ValueHistogram = Histogram<0, 46>;

/// By the number of significant bits: the first bound that a value with so many can be under.
const START: [u8; 65] = start();

const fn bounds() -> [u64; 46] {
    let steps = [1, 2, 3, 5, 7];
    let mut bounds = [0; 46];
    let (mut i, mut power) = (0, 1);
    while i < bounds.len() {
        bounds[i] = steps[i % steps.len()] * power;
        i += 1;
        if i.is_multiple_of(steps.len()) {
            power *= 10;
        }
    }
    bounds
}

const fn start() -> [u8; 65] {
    let mut start = [0; 65];
    let (mut bits, mut bound) = (1, 0);
    while bits < start.len() {
        let least = 1u64 << (bits - 1);
        while bound < BOUNDS.len() && BOUNDS[bound] < least {
            bound += 1;
        }
        start[bits] = bound as u8;
        bits += 1;
    }
    start
}

/// Which bound a value is under: 46 when it is above the last.
#[inline]
fn bound_of(value: u64) -> usize {
    let mut bound = usize::from(START[(u64::BITS - value.leading_zeros()) as usize]);
    // At most three bounds share a number of bits.
    while bound < BOUNDS.len() && BOUNDS[bound] < value {
        bound += 1;
    }
    bound
}

/// A histogram of `N` buckets, the first of them up to `BOUNDS[FIRST]`, and one for everything above the last.
#[derive(Debug)]
pub struct Histogram<const FIRST: usize, const N: usize> {
    shards: Box<[Cells<N>]>,
}

#[repr(align(64))]
#[derive(Debug)]
struct Cells<const N: usize> {
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// A histogram added up over its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// How many values were under each bound, those under lower bounds included.
    pub cumulative: Vec<u64>,
    /// How many values there were.
    pub count: u64,
    /// Their sum, in the unit of what is observed.
    pub sum: u64,
}

impl<const FIRST: usize, const N: usize> Histogram<FIRST, N> {
    /// Nothing yet, for `shards` writers.
    pub fn new(shards: usize) -> Self {
        let cells = || Cells {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        };
        Histogram { shards: (0..shards.max(1)).map(|_| cells()).collect() }
    }

    /// The upper bounds of its buckets.
    pub fn bounds() -> &'static [u64] {
        &BOUNDS[FIRST..FIRST + N]
    }

    /// Notes a value. Only the owner of `shard` may call this; a shard that does not exist notes nothing.
    #[inline]
    pub fn observe(&self, shard: Shard, value: u64) {
        let Some(cells) = self.shards.get(shard.0) else { return };
        let bucket = bound_of(value).saturating_sub(FIRST);
        let cell = cells.buckets.get(bucket).unwrap_or(&cells.above);
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        cells.sum.store(cells.sum.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
    }

    /// The sum over all shards. Count and buckets agree with each other; a value noted in the same instant may be
    /// missing from the sum.
    pub fn distribution(&self) -> Distribution {
        let mut cumulative = vec![0u64; N];
        let (mut above, mut sum) = (0u64, 0u64);
        for cells in &self.shards {
            for (total, cell) in cumulative.iter_mut().zip(&cells.buckets) {
                *total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
            above = above.wrapping_add(cells.above.load(Ordering::Relaxed));
            sum = sum.wrapping_add(cells.sum.load(Ordering::Relaxed));
        }
        let mut count = 0u64;
        for total in &mut cumulative {
            count = count.wrapping_add(*total);
            *total = count;
        }
        Distribution { cumulative, count: count.wrapping_add(above), sum }
    }

    /// Forgets everything (`clear counters all`).
    pub fn clear(&self) {
        for cells in &self.shards {
            for cell in cells.buckets.iter().chain([&cells.above, &cells.sum]) {
                cell.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// A number as servers write it into a header, in thousandths: digits, perhaps with a point and more digits. `None` for
/// anything else, signs and exponents included. Further digits are cut off.
pub fn thousandths(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let mut number = 0u64;
    let mut digits = 0usize;
    // Digits behind the point, once there was one.
    let mut fraction: Option<usize> = None;
    for &b in text {
        match (b, &mut fraction) {
            (b'.', None) => fraction = Some(0),
            (b'0'..=b'9', Some(n)) if *n >= 3 => *n += 1,
            (b'0'..=b'9', _) => {
                number = number.saturating_mul(10).saturating_add(u64::from(b - b'0'));
                digits += 1;
                if let Some(n) = &mut fraction {
                    *n += 1;
                }
            }
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    Some(match fraction {
        None | Some(0) => number.saturating_mul(1000),
        Some(1) => number.saturating_mul(100),
        Some(2) => number.saturating_mul(10),
        Some(_) => number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_log_linear() {
        assert_eq!(&BOUNDS[..12], [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200]);
        assert_eq!(BOUNDS[45], 1_000_000_000);
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
        assert_eq!(TimeHistogram::bounds()[0], 100, "a tenth of a millisecond");
        assert_eq!(TimeHistogram::bounds()[30], 100_000_000, "a hundred seconds");
        assert_eq!(ValueHistogram::bounds().len(), 46);
    }

    #[test]
    fn every_value_falls_under_its_first_bound() {
        let near = BOUNDS.iter().flat_map(|b| [b - 1, *b, b + 1]).chain([u64::MAX, 1 << 40]);
        for value in near {
            let expected = BOUNDS.iter().position(|b| value <= *b).unwrap_or(BOUNDS.len());
            assert_eq!(bound_of(value), expected, "{value}");
        }
    }

    #[test]
    fn shards_add_up() {
        let times = TimeHistogram::new(2);
        for (shard, micros) in [(0, 0), (0, 100), (1, 101), (1, 7_000), (0, 100_000_000), (1, 100_000_001), (9, 5)] {
            times.observe(Shard(shard), micros);
        }
        let d = times.distribution();
        assert_eq!((d.count, d.sum), (6, 200_007_202));
        assert_eq!(d.cumulative[0], 2, "up to 0.1 ms");
        assert_eq!(d.cumulative[1], 3, "up to 0.2 ms");
        assert_eq!(d.cumulative[9], 4, "up to 7 ms");
        assert_eq!(d.cumulative[30], 5, "one took longer than a hundred seconds");
        times.clear();
        assert_eq!(times.distribution(), TimeHistogram::new(1).distribution());
    }

    #[test]
    fn numbers_in_headers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12_000)),
            (" 7 ", Some(7_000)),
            ("0.25", Some(250)),
            ("1.23456", Some(1_234)),
            (".5", Some(500)),
            ("3.", Some(3_000)),
            ("007", Some(7_000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            (".", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1,5", None),
            ("1.2.3", None),
            ("12ms", None),
            ("nan", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text:?}");
        }
    }
}
