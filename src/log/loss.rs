//! Lines a target did not get: counted where they are lost, told to the target when it takes lines again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::Takes;
use crate::config::model::{LogDestination, LogTarget};

/// One target as all threads see it.
#[derive(Debug)]
pub(super) struct TargetLoss {
    /// As it is written in the configuration.
    pub(super) name: Box<str>,
    /// Which layout its lines have.
    pub(super) layout: usize,
    level: u8,
    requests: bool,
    lost: AtomicU64,
    /// The part of `lost` that the target has been told.
    told: AtomicU64,
}

impl TargetLoss {
    pub(super) fn new(target: &LogTarget, layout: usize) -> TargetLoss {
        TargetLoss {
            name: name(&target.to),
            layout,
            level: target.level,
            requests: Takes::of(target) != Takes::None,
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// Whether lines of requests go there.
    pub(super) fn wants_requests(&self) -> bool {
        self.requests
    }

    /// Whether lines of this severity go there.
    pub(super) fn takes(&self, severity: u8) -> bool {
        severity <= self.level
    }

    /// Counts lines lost.
    pub(super) fn count(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lines lost that the target was not told yet.
    pub(super) fn untold(&self) -> u64 {
        self.lost().saturating_sub(self.told.load(Ordering::Relaxed))
    }

    /// Notes that it was told so many.
    pub(super) fn tell(&self, lines: u64) {
        self.told.fetch_add(lines, Ordering::Relaxed);
    }
}

fn name(destination: &LogDestination) -> Box<str> {
    match destination {
        LogDestination::Udp(address) => format!("udp://{address}").into(),
        LogDestination::Tcp(address) => format!("tcp://{address}").into(),
        LogDestination::UnixDatagram(path) => format!("unix://{}", path.display()).into(),
        LogDestination::Stdout => "stdout".into(),
        LogDestination::File(path) => format!("file://{}", path.display()).into(),
    }
}
