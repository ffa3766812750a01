//! Getting a place on a server: pick, or wait in the queue; the place is a [`Lease`], given back when dropped.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::{Context, Poll};

use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::queue::{self, Place, Waiter};
use crate::runtime::shared::Shared;

/// The right to send one request to one server. Dropping it frees the place and wakes whoever waits for one.
#[derive(Debug)]
pub struct Lease {
    view: Arc<BackendView>,
    server: usize,
    shared: Arc<Shared>,
}

impl Lease {
    /// The server.
    pub fn server(&self) -> &ServerView {
        &self.view.servers[self.server]
    }

    /// The backend as it was when the place was given.
    pub fn view(&self) -> &Arc<BackendView> {
        &self.view
    }

    /// Its position in the backend.
    pub fn index(&self) -> usize {
        self.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.view.servers[self.server].live.inflight.fall();
        wake_waiting(&self.shared, &self.view);
    }
}

/// Gives free places to waiting requests, by the newest snapshot. Costs one load when nobody waits.
fn wake_waiting(shared: &Shared, view: &BackendView) {
    // Pairs with the gauge that was moved just before: either this sees who waits, or who waits sees the free place.
    fence(Ordering::SeqCst);
    if view.live.waiting.now() == 0 {
        return;
    }
    let snapshot = shared.snapshot.load();
    if let Some(newest) = snapshot.backends.get(view.index.0 as usize) {
        queue::dispatch(newest);
    }
}

/// What asking for a server came to.
#[derive(Debug)]
pub enum Checkout {
    /// A place.
    Leased(Lease),
    /// Everyone is full: wait.
    Wait(Waiting),
    /// Nobody is usable, and nobody is expected.
    NoServer,
    /// Too many wait.
    QueueFull,
}

/// What a checkout goes by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// Hash for the algorithms that need one.
    pub hash: Option<u64>,
    /// The server that persistence binds the request to.
    pub bound_to: Option<usize>,
    /// A server that just failed this request.
    pub avoid: Option<usize>,
}

/// Asks for a place on a server of `view`.
pub fn checkout(shared: &Arc<Shared>, view: &Arc<BackendView>, wish: Wish, rng: &mut fastrand::Rng) -> Checkout {
    // Since the request was bound to it, the server may have gone.
    let takes = |s: &usize| view.servers.get(*s).is_some_and(|s| s.accepts_persistent);
    if let Some(bound) = wish.bound_to.filter(takes) {
        return checkout_bound(shared, view, bound);
    }
    // Another worker may take the last place between the pick and the claim: then pick again.
    for _ in 0..=view.servers.len() {
        let skip = |i: usize| wish.avoid == Some(i);
        let picked = view.picker.pick(&view.servers, &view.live.cursor, wish.hash, rng, skip);
        let Some(picked) = picked else { break };
        if claim(view, picked) {
            return Checkout::Leased(Lease { view: view.clone(), server: picked, shared: shared.clone() });
        }
    }
    if !view.picker.has_candidates() && !view.awaiting_first_check {
        return Checkout::NoServer;
    }
    join(shared, view, None, wish.hash)
}

fn checkout_bound(shared: &Arc<Shared>, view: &Arc<BackendView>, bound: usize) -> Checkout {
    if claim(view, bound) {
        return Checkout::Leased(Lease { view: view.clone(), server: bound, shared: shared.clone() });
    }
    join(shared, view, Some(bound), None)
}

fn claim(view: &BackendView, server: usize) -> bool {
    view.servers.get(server).is_some_and(|s| s.live.inflight.try_rise(s.maxconn))
}

fn join(shared: &Arc<Shared>, view: &Arc<BackendView>, server: Option<usize>, hash: Option<u64>) -> Checkout {
    let waiter = Waiter::with_hash(hash);
    let bound = server.map(|s| s as u32);
    let Ok(place) = queue::enter(view, bound, waiter.clone()) else { return Checkout::QueueFull };
    let line = match server.and_then(|s| view.servers.get(s)) {
        Some(s) => s.live.queued.now(),
        None => view.live.queued.now(),
    };
    let waiting = Waiting {
        view: view.clone(),
        shared: shared.clone(),
        waiter,
        place: Some(place),
        bound: server.is_some(),
        position: line,
    };
    // A place may have been freed between the failed claim and the joining; nobody would tell us.
    wake_waiting(shared, view);
    Checkout::Wait(waiting)
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
pub struct Waiting {
    view: Arc<BackendView>,
    shared: Arc<Shared>,
    waiter: Arc<Waiter>,
    place: Option<Place>,
    bound: bool,
    position: u32,
}

impl Waiting {
    /// The place in the server's queue and in the backend's, counted from 1; 0 in the other one.
    pub fn position(&self) -> (u32, u32) {
        if self.bound { (self.position, 0) } else { (0, self.position) }
    }

    /// Ready with a lease once a place was given.
    pub fn poll_lease(&mut self, cx: &mut Context<'_>) -> Poll<Lease> {
        match self.waiter.poll_granted(cx.waker()) {
            None => Poll::Pending,
            Some(server) => {
                self.place = None;
                Poll::Ready(Lease { view: self.newest_view(), server: server as usize, shared: self.shared.clone() })
            }
        }
    }

    /// The grant may come from a newer snapshot than the one the request began with.
    fn newest_view(&self) -> Arc<BackendView> {
        let snapshot = self.shared.snapshot.load();
        snapshot.backends.get(self.view.index.0 as usize).cloned().unwrap_or_else(|| self.view.clone())
    }
}

impl Future for Waiting {
    type Output = Lease;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lease> {
        self.poll_lease(cx)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let granted = self.waiter.leave();
            queue::leave(&self.view, place);
            if let Some(server) = granted {
                // The place was given in the same instant: it goes back like any other.
                drop(Lease { view: self.newest_view(), server: server as usize, shared: self.shared.clone() });
            }
        }
    }
}
