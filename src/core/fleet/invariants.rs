//! What must hold between any two events.

use super::spec::{BackendIndex, ServerId};
use super::{BackendEntry, Fleet, ServerEntry};
use crate::core::server::OperationalState;

impl Fleet {
    /// Panics when the fleet contradicts itself or its snapshot. For tests, the simulation and fuzzing.
    pub fn check_invariants(&self) {
        assert_eq!(self.snapshot.backends.len(), self.backends.len(), "the snapshot lacks backends");
        for ((backend, view), index) in self.backends.iter().zip(&self.snapshot.backends).zip(0..) {
            assert_eq!(view.index, BackendIndex(index), "a view stands at the wrong place");
            assert!(backend.looks_like(view), "workers read an old picture of {}", backend.spec.name);
            backend.check_places(BackendIndex(index));
            for server in &backend.servers {
                server.check_invariants();
                let picked = view.picker.is_candidate(server.id.index as usize);
                assert!(!picked || server.is_usable(), "{} is picked but not usable", server.spec.name);
            }
            for deleted in &backend.deleted {
                assert!(!view.picker.is_candidate(deleted.index as usize), "a deleted server is picked");
            }
            assert_eq!(view.picker.has_candidates(), !backend.servers.is_empty() && backend.is_up());
            backend.check_invariants();
        }
        assert!(self.ready == self.is_ready() || self.ready, "every first check is in, but nobody was told");
    }
}

impl BackendEntry {
    /// Servers and the places of deleted ones make one row without gaps; names and numbers are unique.
    fn check_places(&self, backend: BackendIndex) {
        let mut places: Vec<u32> = self.servers.iter().map(|s| s.id.index).collect();
        assert!(places.is_sorted(), "servers are out of order");
        places.extend(self.deleted.iter().map(|d| d.index));
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..places.len() as u32), "the places of {} have gaps", self.spec.name);
        for (at, server) in self.servers.iter().enumerate() {
            assert_eq!(server.id, ServerId { backend, index: server.id.index });
            let others = self.servers.get(at + 1..).unwrap_or_default();
            let alike = |o: &ServerEntry| o.sid == server.sid || o.spec.name == server.spec.name;
            assert!(server.sid > 0 && !others.iter().any(alike), "{} is not the only one", server.spec.name);
        }
    }

    fn check_invariants(&self) {
        assert_eq!(self.up, self.is_up(), "{} is accounted wrongly", self.spec.name);
        assert!(self.settled || self.is_awaited(), "{} waits for a verdict that nobody will give", self.spec.name);
        self.live.queue.lock().check_invariants();
    }
}

impl ServerEntry {
    fn check_invariants(&self) {
        self.state.check_invariants();
        let name = &self.spec.name;
        assert_eq!(self.check_running, self.schedule.running.is_some(), "{name}: is a check running or not?");
        assert_eq!(
            self.ramp.is_some(),
            self.state.operational == OperationalState::Starting,
            "{name}: a ramp and STARTING go together"
        );
        assert_eq!(self.state.unresolved, self.address.is_none(), "{name}: unresolved and having an address differ");
        assert!(self.weight <= 256, "{name}: a weight beyond 256");
        assert_eq!(self.down_since.is_some(), self.state.counts_as_down(), "{name}: downtime is counted wrongly");
        let checks = self.schedule.running.is_some() || self.schedule.due.is_some();
        if self.state.is_in_maintenance() || !self.state.has_checks() {
            assert!(!checks, "{name}: checked although it must not be");
        } else {
            assert!(checks, "{name}: forgotten by its checks");
        }
    }
}
