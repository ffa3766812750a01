//! Giving freed slots to those who wait.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use smallvec::SmallVec;

use super::{Queue, Waiter, fall};
use crate::core::fleet::snapshot::{BackendView, ServerView};

/// Those to be woken when the lock is free.
type Woken = SmallVec<[Arc<Waiter>; 8]>;

/// Gives freed slots to waiting requests, the oldest first.
///
/// Called by workers when a lease ends or after [`super::enter`], and by control on `Effect::Dispatch`, always with the
/// newest snapshot. Cheap while nobody waits. The own line of a server that takes nobody any more joins the backend's,
/// so nobody is forgotten who stood in it by an older snapshot. A backend in maintenance still serves who waits.
pub fn dispatch(view: &BackendView) {
    // Pairs with the gauge that was moved just before: either this sees who waits, or who waits sees the free slot.
    fence(Ordering::SeqCst);
    if view.live.waiting.now() == 0 {
        return;
    }
    let mut woken = Woken::new();
    {
        let mut queue = view.live.queue.lock();
        for (index, server) in view.servers.iter().enumerate() {
            serve_own_line(view, &mut queue, index as u32, server, &mut woken);
        }
        serve_common_line(view, &mut queue, &mut woken);
    }
    for waiter in woken {
        waiter.wake();
    }
}

/// Whoever waits for this very server; a slot goes to the backend's line when someone there came before.
fn serve_own_line(view: &BackendView, queue: &mut Queue, index: u32, server: &ServerView, woken: &mut Woken) {
    if queue.len(Some(index)) == 0 {
        return;
    }
    if !server.accepts_persistent {
        for _ in 0..queue.redistribute(index) {
            server.live.queued.fall();
            view.live.queued.rise();
        }
        return;
    }
    let shares = view.picker.is_candidate(index as usize);
    while queue.len(Some(index)) > 0 && server.live.inflight.try_rise(server.maxconn) {
        let line = if shares { queue.older_line(index) } else { Some(index) };
        if !grant(view, queue, line, index, woken) {
            server.live.inflight.fall();
        }
    }
}

/// Whoever waits for any server goes where the algorithm says.
fn serve_common_line(view: &BackendView, queue: &mut Queue, woken: &mut Woken) {
    let mut rng = fastrand::Rng::with_seed(view.live.cursor.load(Ordering::Relaxed) ^ view.live.queued.now() as u64);
    let mut raced = 0;
    while queue.len(None) > 0 {
        let hash = queue.head(None).and_then(|p| queue.standing(p)?.waiter.hash());
        let Some(index) = view.picker.pick(&view.servers, &view.live.cursor, hash, &mut rng, |_| false) else { return };
        let Some(server) = view.servers.get(index) else { return };
        if !server.live.inflight.try_rise(server.maxconn) {
            // A worker was faster. Whoever took the slot dispatches when it is done with it.
            raced += 1;
            if raced > 2 * view.servers.len() {
                return;
            }
            continue;
        }
        if !grant(view, queue, None, index as u32, woken) {
            server.live.inflight.fall();
        }
    }
}

/// Gives a slot of the server, already taken, to the first of the line that still waits.
fn grant(view: &BackendView, queue: &mut Queue, line: Option<u32>, server: u32, woken: &mut Woken) -> bool {
    while let Some(waiter) = queue.take(line) {
        fall(view, line);
        if waiter.grant(server) {
            woken.push(waiter);
            return true;
        }
    }
    false
}
