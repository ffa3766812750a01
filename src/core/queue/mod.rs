//! Requests that wait for a server: who is next, who gave up, how many may wait.
//!
//! One [`Queue`] per backend holds one line for the backend and one for each of its servers; a request stands in a
//! server's own line when persistence binds it there. Workers touch it through [`enter`], [`leave`] and [`dispatch()`],
//! which lock it shortly, keep the `queued` gauges and wake those who were given a slot. Waiting for the wake-up, and the
//! deadline of the wait, are the caller's.
//!
//! No slot is lost between "all servers are full" and "I wait now" if callers keep to this order:
//!
//! * who waits: `enter`, then `dispatch` with the newest snapshot, then poll the waiter;
//! * who frees a slot: `Gauge::fall` on `live.inflight`, then `dispatch`;
//! * who gives up: `Waiter::leave`; a slot it was given meanwhile is freed as above, else [`leave`].

mod dispatch;
#[cfg(test)]
mod tests;
mod waiter;

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

pub use dispatch::dispatch;
pub use waiter::Waiter;

use crate::core::fleet::live::{BackendLive, ServerLive};
use crate::core::fleet::snapshot::BackendView;

/// Dead places a line may hold beyond twice its living ones before it is swept.
const SLACK: usize = 32;

/// The waiting requests of one backend.
#[derive(Debug, Default)]
pub struct Queue {
    /// Everyone who waits, wherever.
    waiting: Slab<Standing>,
    /// The backend's line.
    common: Line,
    /// The servers' own lines, by position; grown when first used.
    own: Vec<Line>,
    /// Of the next who joins. Order of arrival decides everywhere.
    next_arrival: u64,
}

/// Someone who waits.
#[derive(Debug)]
struct Standing {
    waiter: Arc<Waiter>,
    arrival: u64,
    /// The server whose own line it stands in.
    server: Option<u32>,
}

/// One line, oldest first. Those who left are skipped when their turn comes.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
    len: u32,
}

/// Where a request waits: what [`Queue::leave`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    key: usize,
    arrival: u64,
}

/// As many requests wait as may (`queue_max`, `server_queue_max`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

impl Queue {
    /// Stands at the end of the backend's line, or of a server's own. Gauges are [`enter`]'s.
    pub fn join(&mut self, server: Option<u32>, waiter: Arc<Waiter>) -> Place {
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let key = self.waiting.insert(Standing { waiter, arrival, server });
        let place = Place { key, arrival };
        let line = self.line_mut(server);
        line.places.push_back(place);
        line.len += 1;
        place
    }

    /// Leaves the line; says in which one it stood (`Some(None)`: the backend's), or `None` when its turn had come.
    pub fn leave(&mut self, place: Place) -> Option<Option<u32>> {
        self.standing(place)?;
        let left = self.waiting.remove(place.key);
        let Queue { waiting, common, own, .. } = self;
        let line = match left.server {
            None => common,
            Some(s) => own.get_mut(s as usize)?,
        };
        line.len -= 1;
        line.sweep(waiting);
        Some(left.server)
    }

    /// Takes the oldest of the server's own line and the backend's.
    pub fn next_for(&mut self, server: u32) -> Option<Arc<Waiter>> {
        let line = self.older_line(server);
        self.take(line)
    }

    /// Requests in the backend's line (`None`) or a server's own.
    pub fn len(&self, server: Option<u32>) -> u32 {
        match server {
            None => self.common.len,
            Some(s) => self.own.get(s as usize).map_or(0, |l| l.len),
        }
    }

    /// Whether nobody waits anywhere.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Requests waiting anywhere in this backend.
    pub fn total(&self) -> usize {
        self.waiting.len()
    }

    /// How many of the same line came before. Costs a walk over the line.
    pub fn ahead(&self, place: Place) -> Option<u32> {
        let server = self.standing(place)?.server;
        let line = match server {
            None => &self.common,
            Some(s) => self.own.get(s as usize)?,
        };
        let before = line.places.iter().take_while(|p| **p != place);
        Some(before.filter(|p| is_alive(&self.waiting, **p)).count() as u32)
    }

    /// A server's own line joins the backend's, each by its time of arrival; returns how many moved.
    pub fn redistribute(&mut self, server: u32) -> u32 {
        let Some(line) = self.own.get_mut(server as usize) else { return 0 };
        let moved = std::mem::take(line);
        if moved.len == 0 {
            return 0;
        }
        for place in &moved.places {
            if let Some(standing) = self.waiting.get_mut(place.key).filter(|s| s.arrival == place.arrival) {
                standing.server = None;
            }
        }
        let waiting = &self.waiting;
        let alive = |places: VecDeque<Place>| places.into_iter().filter(|p| is_alive(waiting, *p));
        let mut common = alive(std::mem::take(&mut self.common.places)).peekable();
        let mut merged = VecDeque::with_capacity((self.common.len + moved.len) as usize);
        for place in alive(moved.places) {
            while let Some(older) = common.next_if(|c| c.arrival < place.arrival) {
                merged.push_back(older);
            }
            merged.push_back(place);
        }
        merged.extend(common);
        self.common = Line { len: merged.len() as u32, places: merged };
        moved.len
    }

    /// Panics when counts and lines disagree.
    pub fn check_invariants(&self) {
        let lines =
            std::iter::once((None, &self.common)).chain(self.own.iter().enumerate().map(|(i, l)| (Some(i as u32), l)));
        let mut total = 0;
        for (server, line) in lines {
            let alive: Vec<_> = line.places.iter().filter_map(|p| self.standing(*p)).collect();
            assert_eq!(alive.len(), line.len as usize, "a line miscounts its living places");
            assert!(alive.iter().all(|s| s.server == server), "someone stands in another line than noted");
            assert!(alive.windows(2).all(|w| w[0].arrival < w[1].arrival), "a line is out of order");
            assert!(line.places.len() <= 2 * line.len as usize + SLACK + 1, "a line keeps too many dead places");
            total += alive.len();
        }
        assert_eq!(total, self.waiting.len(), "someone waits in no line");
    }

    fn standing(&self, place: Place) -> Option<&Standing> {
        self.waiting.get(place.key).filter(|s| s.arrival == place.arrival)
    }

    fn line_mut(&mut self, server: Option<u32>) -> &mut Line {
        match server {
            None => &mut self.common,
            Some(s) => {
                let at = s as usize;
                if self.own.len() <= at {
                    self.own.resize_with(at + 1, Line::default);
                }
                &mut self.own[at]
            }
        }
    }

    /// The first living place of a line; dead ones before it are dropped.
    fn head(&mut self, server: Option<u32>) -> Option<Place> {
        let Queue { waiting, common, own, .. } = self;
        let line = match server {
            None => common,
            Some(s) => own.get_mut(s as usize)?,
        };
        line.head(waiting)
    }

    /// The line whose head came first: the server's own or the backend's.
    fn older_line(&mut self, server: u32) -> Option<u32> {
        let own = self.head(Some(server)).map(|p| p.arrival);
        let common = self.head(None).map(|p| p.arrival);
        match (own, common) {
            (Some(own), Some(common)) if common < own => None,
            (Some(_), _) => Some(server),
            (None, _) => None,
        }
    }

    fn take(&mut self, server: Option<u32>) -> Option<Arc<Waiter>> {
        let place = self.head(server)?;
        let line = self.line_mut(server);
        line.places.pop_front();
        line.len -= 1;
        Some(self.waiting.remove(place.key).waiter)
    }
}

impl Line {
    fn head(&mut self, waiting: &Slab<Standing>) -> Option<Place> {
        while let Some(place) = self.places.front().copied() {
            if is_alive(waiting, place) {
                return Some(place);
            }
            self.places.pop_front();
        }
        None
    }

    /// Drops dead places when they have become the most, so that leaving costs little on the whole.
    fn sweep(&mut self, waiting: &Slab<Standing>) {
        if self.places.len() > 2 * self.len as usize + SLACK {
            self.places.retain(|p| is_alive(waiting, *p));
        }
    }
}

fn is_alive(waiting: &Slab<Standing>, place: Place) -> bool {
    waiting.get(place.key).is_some_and(|s| s.arrival == place.arrival)
}

/// Waits in a backend's queue: `server` is the one persistence binds the request to. Refused when the limit of the
/// backend (`queue_max`) or of that server (`server_queue_max`) is reached. Follow with [`dispatch()`].
pub fn enter(view: &BackendView, server: Option<u32>, waiter: Arc<Waiter>) -> Result<Place, QueueFull> {
    let mut queue = view.live.queue.lock();
    if queue.total() >= view.spec.queue_max as usize
        || (server.is_some() && view.spec.server_queue_max.is_some_and(|max| queue.len(server) >= max))
    {
        return Err(QueueFull);
    }
    match server.and_then(|s| view.servers.get(s as usize)) {
        Some(s) => s.live.queued.rise(),
        None => view.live.queued.rise(),
    };
    view.live.waiting.rise();
    Ok(queue.join(server.filter(|s| (*s as usize) < view.servers.len()), waiter))
}

/// Gives up waiting. Nothing happens when the turn had come already.
pub fn leave(view: &BackendView, place: Place) {
    let mut queue = view.live.queue.lock();
    if let Some(line) = queue.leave(place) {
        fall(view, line);
    }
}

/// Moves a server's own line to the backend's, gauges too; returns how many moved. For a server that takes nobody.
pub fn redistribute(backend: &BackendLive, server: &ServerLive, index: u32) -> u32 {
    let mut queue = backend.queue.lock();
    let moved = queue.redistribute(index);
    // Still under the lock: whoever moved may leave the next moment, from the gauge it then stands in.
    for _ in 0..moved {
        server.queued.fall();
        backend.queued.rise();
    }
    moved
}

/// Someone of this line waits no longer.
fn fall(view: &BackendView, line: Option<u32>) {
    match line.and_then(|s| view.servers.get(s as usize)) {
        Some(s) => s.live.queued.fall(),
        None => view.live.queued.fall(),
    };
    view.live.waiting.fall();
}
