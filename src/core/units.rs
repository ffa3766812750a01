//! Written units: durations, sizes and rates as people write them in the configuration.

/// A number of bytes, written `16KiB`, `1MB`, `512B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// So many per so long, written `100/s`, `600/m`, `10/100ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events allowed per `period`.
    pub count: u32,
    /// The period.
    pub period: std::time::Duration,
}
