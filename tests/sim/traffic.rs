//! Requests, as the data path treats them: pick, take a slot or wait for one, be served or leave, give the slot back.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use lockgate::core::balance::hash_key;
use lockgate::core::fleet::snapshot::{BackendView, ServerView};
use lockgate::core::fleet::spec::ServerId;
use lockgate::core::queue::{self, Place, Waiter};

use crate::world::{Happening, World};

pub type RequestId = u64;

/// A request under way.
#[derive(Debug)]
pub struct Request {
    /// The picture it was started with.
    pub view: Arc<BackendView>,
    pub phase: Phase,
}

#[derive(Debug)]
pub enum Phase {
    Running(u32),
    Waiting {
        waiter: Arc<Waiter>,
        place: Place,
        /// In whose line it stands, if in a server's own.
        line: Option<u32>,
        /// The grant, seen by the world before the stream wakes up.
        granted: Option<u32>,
    },
}

/// How a request came to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Balance,
    Persistence,
}

impl World {
    /// A client sends a request.
    pub fn request_arrives(&mut self) {
        let outdated = self.rng.u32(0..10) == 0;
        let picture = if outdated { &self.outdated } else { &self.published };
        let view = picture.backends[self.rng.usize(..picture.backends.len())].clone();
        let current = Arc::ptr_eq(&view, &self.published.backends[view.index.0 as usize]);
        self.tally.stale_pictures += u64::from(!current);
        self.tally.requests += 1;
        let id = self.next_request;
        self.next_request += 1;
        if view.maintenance {
            self.tally.refused += 1;
            return;
        }
        // The last server of a backend may have been deleted.
        let bound =
            (self.rng.u32(0..5) == 0 && !view.servers.is_empty()).then(|| self.rng.u32(..view.servers.len() as u32));
        let bound = bound.filter(|b| view.servers[*b as usize].accepts_persistent);
        let hash = self.rng.bool().then(|| hash_key(&self.rng.u32(0..50).to_be_bytes()));
        if let Some(index) = bound {
            self.tally.bound += 1;
            let server = &view.servers[index as usize];
            if server.live.inflight.try_rise(server.maxconn) {
                self.check_choice(&view, index, By::Persistence);
                return self.run(id, view, index);
            }
            return self.wait(id, view, bound, hash);
        }
        loop {
            let picked = view.picker.pick(&view.servers, &view.live.cursor, hash, &mut self.rng, |_| false);
            let Some(index) = picked else { break };
            let server = &view.servers[index];
            assert!(server.eligible && server.weight > 0, "picked although not eligible");
            if server.live.inflight.try_rise(server.maxconn) {
                self.check_choice(&view, index as u32, By::Balance);
                return self.run(id, view, index as u32);
            }
        }
        if view.picker.has_candidates() || view.awaiting_first_check {
            return self.wait(id, view, None, hash);
        }
        self.tally.refused += 1;
    }

    /// The promises about who is chosen hold when the picture was the newest.
    fn check_choice(&self, view: &Arc<BackendView>, index: u32, by: By) {
        if !Arc::ptr_eq(view, &self.published.backends[view.index.0 as usize]) {
            return;
        }
        let server = &view.servers[index as usize];
        let allowed = match by {
            By::Balance => self.oracle.may_pick(server.id),
            By::Persistence => self.oracle.may_bind(server.id),
        };
        if let Err(broken) = allowed {
            panic!("{broken}");
        }
        assert!(server.live.inflight.now() <= server.maxconn, "more requests than maxconn");
        let usable = |s: &&ServerView| s.eligible && s.weight > 0;
        if by == By::Balance && server.spec.backup {
            assert!(!view.servers.iter().any(|s| usable(&s) && !s.spec.backup), "a backup serves beside the others");
            let first = view.servers.iter().filter(usable).find(|s| s.spec.backup).map(|s| s.id);
            assert_eq!(first, Some(server.id), "another backup than the first");
        }
    }

    fn run(&mut self, id: RequestId, view: Arc<BackendView>, index: u32) {
        self.tally.followed += u64::from(view.servers[index as usize].spec.track.is_some());
        self.requests.insert(id, Request { view, phase: Phase::Running(index) });
        let mean = if self.rng.u32(0..8) == 0 { Duration::from_secs(4) } else { Duration::from_millis(150) };
        let wait = self.about(mean);
        self.later(wait, Happening::Departure(id));
        if self.rng.u32(0..10) == 0 {
            let wait = self.about(Duration::from_millis(200));
            self.later(wait, Happening::ClientLeaves(id));
        }
    }

    fn wait(&mut self, id: RequestId, view: Arc<BackendView>, line: Option<u32>, hash: Option<u64>) {
        let waiter = Waiter::with_hash(hash);
        let Ok(place) = queue::enter(&view, line, waiter.clone()) else {
            self.tally.refused += 1;
            return;
        };
        self.tally.waited += 1;
        let timeout = view.spec.timeouts.queue;
        let backend = view.index.0 as usize;
        self.requests.insert(id, Request { view, phase: Phase::Waiting { waiter, place, line, granted: None } });
        self.later(timeout, Happening::QueueTimeout(id));
        if self.rng.u32(0..5) == 0 {
            let wait = self.about(Duration::from_secs(1));
            self.later(wait, Happening::ClientLeaves(id));
        }
        queue::dispatch(&self.published.backends[backend]);
        self.collect_grants();
    }

    /// Sees who was given a slot by the last dispatch. Some streams wake up at once, some a little later.
    pub fn collect_grants(&mut self) {
        let mut new = vec![];
        for (id, request) in &mut self.requests {
            if let Phase::Waiting { waiter, line, granted, .. } = &mut request.phase
                && granted.is_none()
                && let Some(index) = waiter.poll_granted(Waker::noop())
            {
                *granted = Some(index);
                let by = if *line == Some(index) { By::Persistence } else { By::Balance };
                new.push((*id, index, by, request.view.index));
            }
        }
        for (id, index, by, backend) in new {
            let newest = self.published.backends[backend.0 as usize].clone();
            self.check_choice(&newest, index, by);
            let wait = if self.rng.bool() { Duration::ZERO } else { Duration::from_millis(self.rng.u64(1..500)) };
            self.later(wait, Happening::Woken(id));
        }
    }

    /// A stream that was given a slot wakes up.
    pub fn stream_wakes_up(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        let Phase::Waiting { granted: Some(index), .. } = request.phase else { panic!("woken without a grant") };
        // By the newest picture: the server may be younger than the request.
        let view = self.published.backends[request.view.index.0 as usize].clone();
        self.run(id, view, index);
    }

    /// An answer is complete.
    pub fn request_is_served(&mut self, id: RequestId) {
        if self.requests.contains_key(&id) {
            self.tally.served += 1;
            self.end(id);
        }
    }

    /// Nobody gave it a slot in time.
    pub fn request_times_out(&mut self, id: RequestId) {
        if matches!(self.requests.get(&id), Some(Request { phase: Phase::Waiting { .. }, .. })) {
            self.tally.timed_out += 1;
            self.end(id);
        }
    }

    /// The client has gone.
    pub fn client_leaves(&mut self, id: RequestId) {
        if self.requests.contains_key(&id) {
            self.tally.left += 1;
            self.end(id);
        }
    }

    /// The server went down and its sessions are to go with it.
    pub fn shut_down_sessions(&mut self, server: ServerId) {
        let on_it = |r: &Request| {
            r.view.index == server.backend && matches!(r.phase, Phase::Running(index) if index == server.index)
        };
        let ids: Vec<_> = self.requests.iter().filter(|(_, r)| on_it(r)).map(|(id, _)| *id).collect();
        for id in ids {
            self.tally.shut_down += 1;
            self.end(id);
        }
    }

    /// However it ends, it ends once and holds nothing afterwards.
    fn end(&mut self, id: RequestId) {
        let request = self.requests.remove(&id).expect("a request ends once");
        let mut view = request.view.clone();
        let slot = match request.phase {
            Phase::Running(index) => Some(index),
            Phase::Waiting { waiter, place, granted, .. } => {
                let slot = waiter.leave();
                assert_eq!(slot, granted, "a grant nobody saw");
                if slot.is_none() {
                    queue::leave(&request.view, place);
                } else {
                    view = self.published.backends[view.index.0 as usize].clone();
                }
                slot
            }
        };
        if let Some(index) = slot {
            view.servers[index as usize].live.inflight.fall();
            queue::dispatch(&self.published.backends[view.index.0 as usize]);
            self.collect_grants();
        }
    }
}
