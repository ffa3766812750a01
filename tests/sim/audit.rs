//! What must hold after every step: slots and places are all accounted for, and nobody waits who need not.

use std::collections::BTreeMap;

use lockgate::core::fleet::spec::ServerId;

use crate::traffic::Phase;
use crate::world::World;

impl World {
    /// Panics when a promise is broken.
    pub fn audit(&self) {
        self.fleet.check_invariants();
        let mut inflight: BTreeMap<ServerId, u32> = BTreeMap::new();
        let mut waiting: BTreeMap<u32, usize> = BTreeMap::new();
        for request in self.requests.values() {
            let backend = request.view.index;
            let slot = match &request.phase {
                Phase::Running(index) => Some(*index),
                Phase::Waiting { granted, .. } => *granted,
            };
            match slot {
                Some(index) => *inflight.entry(ServerId { backend, index }).or_default() += 1,
                None => *waiting.entry(backend.0).or_default() += 1,
            }
        }
        for view in &self.published.backends {
            let queue = view.live.queue.lock();
            let expected = waiting.get(&view.index.0).copied().unwrap_or(0);
            assert_eq!(queue.total(), expected, "someone waits who is not in the queue, or the other way round");
            assert_eq!(view.live.waiting.now() as usize, expected);
            assert_eq!(view.live.queued.now(), queue.len(None), "the gauge of the backend's line is wrong");
            let common = queue.len(None);
            for (server, index) in view.servers.iter().zip(0..) {
                let live = &server.live;
                let running = inflight.get(&server.id).copied().unwrap_or(0);
                assert_eq!(
                    live.inflight.now(),
                    running,
                    "{:?} has a slot nobody holds, or the other way round",
                    server.id
                );
                assert_eq!(live.queued.now(), queue.len(Some(index)), "the gauge of a server's line is wrong");
                let full = live.inflight.now() >= server.maxconn;
                if queue.len(Some(index)) > 0 {
                    assert!(server.accepts_persistent && full, "{:?} has room, but somebody waits for it", server.id);
                }
                if common > 0 && view.picker.is_candidate(index as usize) {
                    assert!(full, "{:?} has room, but somebody waits", server.id);
                }
            }
        }
    }
}
