//! `clear counters`: maxima, or everything that was counted.

use super::Fleet;

impl Fleet {
    /// Forgets the maxima of all gauges and times; with `all` every counter and histogram too, those of checks included.
    pub fn clear_counters(&mut self, all: bool) {
        for frontend in &self.frontends {
            frontend.live.connections.clear_max();
            frontend.live.counters.clear_maxima();
            let named = frontend.live.named();
            for listener in &named.listeners {
                listener.connections.clear_max();
            }
            if all {
                frontend.live.counters.clear();
                named.listeners.iter().for_each(|l| l.counters.clear());
                named.captured.iter().for_each(|c| c.values.clear());
            }
        }
        for backend in &mut self.backends {
            backend.live.sessions.clear_max();
            backend.live.queued.clear_max();
            backend.live.counters.clear_maxima();
            if all {
                backend.live.counters.clear();
                backend.live.times.clear();
                backend.down_count = 0;
            }
            for server in &mut backend.servers {
                server.live.inflight.clear_max();
                server.live.queued.clear_max();
                server.live.counters.clear_maxima();
                if all {
                    server.live.counters.clear();
                    server.check_failures = 0;
                    server.down_count = 0;
                }
            }
        }
    }
}
