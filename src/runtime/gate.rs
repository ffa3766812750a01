//! A gate that lets so many in at once, and whose limit can be changed while people are inside and before it.
//!
//! Who is let in holds a [`Place`] and gives it back by dropping it. Lowering the limit sends nobody out: nobody else
//! comes in until enough have left. Those before the gate go in by their time of arrival.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Lets a number in that can be changed.
#[derive(Debug)]
pub struct Gate {
    limit: AtomicU32,
    inside: AtomicU32,
    /// How many stand in `line`; lets those who leave see at once that nobody waits.
    waiting: AtomicU32,
    line: Mutex<VecDeque<Arc<Standing>>>,
}

/// Someone before the gate.
#[derive(Debug)]
struct Standing {
    /// It has a place already, counted in `inside`.
    let_in: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The right to be inside; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Gate>);

impl Gate {
    /// For `limit` at once.
    pub fn new(limit: u32) -> Arc<Gate> {
        Arc::new(Gate {
            limit: AtomicU32::new(limit),
            inside: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            line: Mutex::new(VecDeque::new()),
        })
    }

    /// Waits for a place. Dropping the future leaves the line.
    pub fn enter(self: &Arc<Gate>) -> Enter {
        Enter { gate: Some(self.clone()), standing: None }
    }

    /// Whether who comes now has to wait.
    pub fn is_full(&self) -> bool {
        self.inside.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        self.inside.load(Ordering::Relaxed)
    }

    /// Lets in so many at once from now on. With 0 nobody comes in.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
        self.admit();
    }

    fn try_take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let take = |n: u32| (n < limit).then(|| n + 1);
        self.inside.fetch_update(Ordering::SeqCst, Ordering::Relaxed, take).is_ok()
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.admit();
    }

    /// Gives free places to those who wait.
    fn admit(&self) {
        // Pairs with the joining of the line: either this sees who waits, or who waits sees the free place.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut line = self.line.lock();
        while !line.is_empty() && self.try_take() {
            let Some(first) = line.pop_front() else { break };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            first.let_in.store(true, Ordering::Release);
            let waker = first.waker.lock().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Waiting before a gate.
#[derive(Debug)]
pub struct Enter {
    /// `None` once inside.
    gate: Option<Arc<Gate>>,
    standing: Option<Arc<Standing>>,
}

impl Future for Enter {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        let this = &mut *self;
        let gate = this.gate.as_ref().expect("a future is not polled after it was ready");
        if let Some(standing) = &this.standing {
            *standing.waker.lock() = Some(cx.waker().clone());
            // After the waker is in place: either this sees the place, or the giver sees the waker.
            if !standing.let_in.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            this.standing = None;
        } else if gate.waiting.load(Ordering::Relaxed) > 0 || !gate.try_take() {
            let waker = Mutex::new(Some(cx.waker().clone()));
            let standing = Arc::new(Standing { let_in: AtomicBool::new(false), waker });
            {
                let mut line = gate.line.lock();
                line.push_back(standing.clone());
                gate.waiting.fetch_add(1, Ordering::SeqCst);
            }
            this.standing = Some(standing.clone());
            // A place may have become free before the line was joined.
            gate.admit();
            if !standing.let_in.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            this.standing = None;
        }
        let gate = this.gate.take().expect("it was there above");
        Poll::Ready(Place(gate))
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        let (Some(gate), Some(standing)) = (&self.gate, &self.standing) else { return };
        {
            let mut line = gate.line.lock();
            if let Some(at) = line.iter().position(|s| Arc::ptr_eq(s, standing)) {
                line.remove(at);
                gate.waiting.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
        // It was let in in the same instant.
        gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn poll(enter: &mut Enter) -> Option<Place> {
        match Pin::new(enter).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn so_many_are_let_in_and_the_rest_in_order() {
        let gate = Gate::new(2);
        let mut enters: Vec<Enter> = (0..4).map(|_| gate.enter()).collect();
        let mut places: Vec<Option<Place>> = enters.iter_mut().map(poll).collect();
        assert_eq!(places.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, false]);
        assert!(gate.is_full());
        places[0] = None;
        assert!(poll(&mut enters[3]).is_none(), "the other came first");
        assert!(poll(&mut enters[2]).is_some_and(|place| gate.inside() == 2 && {
            drop(place);
            true
        }));
        assert!(poll(&mut enters[3]).is_some());
    }

    #[test]
    fn a_lower_limit_sends_nobody_out_and_a_higher_one_lets_in_at_once() {
        let gate = Gate::new(3);
        let mut places: Vec<Place> = (0..3).filter_map(|_| poll(&mut gate.enter())).collect();
        gate.set_limit(1);
        let mut waiting = gate.enter();
        assert!(poll(&mut waiting).is_none());
        places.pop();
        places.pop();
        assert_eq!(gate.inside(), 1);
        assert!(poll(&mut waiting).is_none(), "the last one is still inside");
        gate.set_limit(2);
        let place = poll(&mut waiting).expect("the limit was raised");
        gate.set_limit(0);
        drop((place, places));
        assert!(poll(&mut gate.enter()).is_none());
        assert_eq!(gate.inside(), 0);
    }

    #[test]
    fn who_goes_away_takes_no_place_with_it() {
        let gate = Gate::new(1);
        let place = poll(&mut gate.enter());
        let mut first = gate.enter();
        let mut second = gate.enter();
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(place);
        // The first was let in, but goes away before it looks.
        drop(first);
        assert!(poll(&mut second).is_some());
        assert_eq!(gate.inside(), 0);
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_is_forgotten_between_threads() {
        let gate = Gate::new(2);
        let runs: Vec<_> = (0..4)
            .map(|n| {
                let gate = gate.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        for turn in 0..2000 {
                            let place = pin!(gate.enter()).await;
                            assert!(gate.inside() <= 3);
                            if (turn + n) % 100 == 0 {
                                gate.set_limit(1 + (turn as u32 / 100) % 3);
                            }
                            drop(place);
                        }
                    });
                })
            })
            .collect();
        for run in runs {
            run.join().unwrap();
        }
        assert_eq!((gate.inside(), gate.waiting.load(Ordering::Relaxed)), (0, 0));
    }
}
