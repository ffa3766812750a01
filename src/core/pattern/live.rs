//! What workers read: the version in force of every list, each behind its atomic pointer.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{Lookup, PatternId};
use crate::core::fleet::spec::BackendIndex;

/// Every list of the process.
#[derive(Debug, Default)]
pub struct LivePatterns {
    lists: Box<[ArcSwap<Lookup>]>,
}

impl LivePatterns {
    pub(super) fn new(lists: impl Iterator<Item = Lookup>) -> LivePatterns {
        LivePatterns { lists: lists.map(ArcSwap::from_pointee).collect() }
    }

    /// The version in force. To be held for a look-up, not over a wait.
    #[inline]
    pub fn list(&self, id: PatternId) -> Option<Guard<Arc<Lookup>>> {
        self.lists.get(id.0 as usize).map(ArcSwap::load)
    }

    /// Whether an address is in one of these lists.
    pub fn holds_client(&self, lists: &[PatternId], client: IpAddr) -> bool {
        self.any(lists, |list| list.find_client(client).is_some())
    }

    /// The backend that a map names for a host.
    pub fn backend_for(&self, map: PatternId, host: &str) -> Option<BackendIndex> {
        self.list(map)?.find_host(host)?.backend
    }

    #[inline]
    pub(super) fn any(&self, lists: &[PatternId], matches: impl Fn(&Lookup) -> bool) -> bool {
        lists.iter().any(|id| self.list(*id).is_some_and(|list| matches(&list)))
    }

    /// Puts another version in force and gives back the one before.
    pub(super) fn publish(&self, id: PatternId, version: Lookup) -> Option<Arc<Lookup>> {
        Some(self.lists.get(id.0 as usize)?.swap(Arc::new(version)))
    }
}
