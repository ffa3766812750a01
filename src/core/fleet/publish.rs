//! Backends going up and down, and the snapshots made of them.

use std::sync::Arc;
use std::time::Instant;

use super::apply::Turn;
use super::event::Effect;
use super::snapshot::{BackendView, ServerView, Snapshot};
use super::spec::BackendIndex;
use super::{BackendEntry, Fleet, ServerEntry, sentence};
use crate::core::balance::Picker;

/// [`ServerView::weight`] of one unit of configured weight.
const WEIGHT_UNIT: u32 = 256;

impl Fleet {
    /// The first snapshot, and everything that is due at the start.
    pub(super) fn first_effects(&mut self, now: Instant) -> Vec<Effect> {
        let mut turn = Turn::new(now);
        for backend in &mut self.backends {
            backend.up = backend.is_up();
            backend.settled = !backend.is_awaited();
            for server in &mut backend.servers {
                server.down_since = server.state.counts_as_down().then_some(now);
                server.restart_checks(now);
                server.restart_agent(now);
                turn.due(server.id);
            }
        }
        let views = self.backends.iter().zip(0..).map(|(b, i)| Arc::new(b.view(BackendIndex(i)))).collect();
        self.snapshot = Arc::new(Snapshot { generation: 1, frontends: self.frontends.clone(), backends: views });
        let mut effects = vec![Effect::Publish];
        effects.extend(self.finish(turn));
        effects
    }

    /// A backend's own up and down.
    pub(super) fn account(&mut self, index: BackendIndex, turn: &mut Turn) {
        let Some(backend) = self.backends.get_mut(index.0 as usize) else { return };
        let up = backend.is_up();
        let first_verdict = !backend.settled && (up || !backend.is_awaited());
        backend.settled |= first_verdict;
        // At the start a backend is down without anyone having said so.
        let first_found_down = first_verdict && !up;
        if up == backend.up && !first_found_down {
            return;
        }
        if up {
            backend.downtime = backend.downtime_at(turn.now);
        } else {
            backend.down_count += 1;
            turn.log(sentence::EMERGENCY, sentence::no_server(&backend.spec.name));
        }
        backend.up = up;
        backend.changed_at = turn.now;
    }

    /// Renews a backend's view if workers would see a difference.
    pub(super) fn refresh_view(&mut self, index: BackendIndex) -> bool {
        let at = index.0 as usize;
        let (Some(backend), Some(old)) = (self.backends.get(at), self.snapshot.backends.get(at)) else { return false };
        if backend.looks_like(old) {
            return false;
        }
        let mut backends = self.snapshot.backends.clone();
        backends[at] = Arc::new(backend.view(index));
        self.snapshot = Arc::new(Snapshot {
            generation: self.snapshot.generation + 1,
            frontends: self.snapshot.frontends.clone(),
            backends,
        });
        true
    }
}

impl BackendEntry {
    /// HAProxy: a backend without servers reads UP.
    pub(super) fn is_up(&self) -> bool {
        self.servers.is_empty() || self.servers.iter().any(ServerEntry::is_usable)
    }

    /// Requests that find no usable server wait, because some server has yet to answer for the first time.
    pub(super) fn is_awaited(&self) -> bool {
        self.servers.iter().any(ServerEntry::is_awaited)
    }

    pub(super) fn looks_like(&self, view: &BackendView) -> bool {
        self.maintenance == view.maintenance
            && self.is_awaited() == view.awaiting_first_check
            && self.servers.len() + self.deleted.len() == view.servers.len()
            && self.deleted.iter().all(|d| view.servers.get(d.index as usize).is_some_and(ServerView::is_deleted))
            && self.servers.iter().all(|entry| {
                let Some(old) = view.servers.get(entry.id.index as usize) else { return false };
                Arc::ptr_eq(&entry.live, &old.live)
                    && !old.is_deleted()
                    && entry.is_usable() == old.eligible
                    && entry.accepts_persistent() == old.accepts_persistent
                    && entry.view_weight() == old.weight
                    && entry.view_maxconn() == old.maxconn
                    && entry.address == old.address
                    && entry.speaks_tls() == old.tls.is_some()
            })
    }

    fn view(&self, index: BackendIndex) -> BackendView {
        let mut servers: Vec<ServerView> = self.servers.iter().map(ServerEntry::view).collect();
        if !self.deleted.is_empty() {
            servers.extend(self.deleted.iter().map(|d| d.view(index)));
            servers.sort_unstable_by_key(|s| s.id.index);
        }
        BackendView {
            index,
            spec: self.spec.clone(),
            live: self.live.clone(),
            picker: Picker::new(&self.spec.algorithm, &servers),
            servers,
            awaiting_first_check: self.is_awaited(),
            maintenance: self.maintenance,
        }
    }
}

impl ServerEntry {
    fn view(&self) -> ServerView {
        ServerView {
            id: self.id,
            sid: self.sid,
            spec: self.spec.clone(),
            live: self.live.clone(),
            address: self.address.clone(),
            eligible: self.is_usable(),
            accepts_persistent: self.accepts_persistent(),
            tls: self.spec.tls.settings().filter(|_| self.speaks_tls()).cloned(),
            weight: self.view_weight(),
            maxconn: self.view_maxconn(),
        }
    }

    fn accepts_persistent(&self) -> bool {
        self.state.accepts_persistent() && self.address.is_some()
    }

    fn view_weight(&self) -> u32 {
        let full = self.weight * WEIGHT_UNIT;
        self.ramp.map_or(full, |r| r.scale(full))
    }

    fn view_maxconn(&self) -> u32 {
        match self.maxconn {
            Some(full) => self.ramp.map_or(full, |r| r.scale(full)),
            None => u32::MAX,
        }
    }
}
