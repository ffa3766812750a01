//! The stats pages' room on the control thread: who asks, what is answered, what is ordered.
//!
//! Workers read requests and send answers; between the two stands a bounded channel ([`crate::runtime::page`]). Reading
//! order: [`PageServer`] takes one request after another, `guard` remembers who proved themselves and slows down who
//! guesses, `answer` renders, `order` carries a form out. How the page looks is in [`crate::core::web`].

mod answer;
mod guard;
mod order;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::admin::Orders;
use crate::core::web::{AccessLevel, PageSpec};
use crate::runtime::page::{PageAnswer, PageRequest};
use guard::{Claim, Guard, Mark};

/// Passwords checked at the same time, each on a thread of its own.
const CHECKS_AT_ONCE: usize = 2;
/// Passwords that may wait for a check; further requests are told to come back.
const CHECKS_WAITING: usize = 16;

/// Requests that may wait together for one check of the password they all bring.
const FOLLOWERS_MAX: usize = 256;

/// Answers requests for stats pages. Runs on the control thread.
pub struct PageServer {
    orders: Rc<dyn Orders>,
    guard: RefCell<Guard>,
    checking: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// The claims that are being checked; at most [`CHECKS_WAITING`].
    claims: RefCell<Vec<Pending>>,
}

/// A claim that is being checked, and who else waits for what comes of it.
struct Pending {
    mark: Mark,
    followers: Vec<(PageRequest, Option<usize>)>,
}

/// Who asks.
struct Visitor<'a> {
    /// The name, when the page has users.
    name: Option<&'a str>,
    level: AccessLevel,
}

impl PageServer {
    /// A server that looks at the process through `orders`.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn new(orders: Rc<dyn Orders>) -> std::io::Result<Rc<PageServer>> {
        Ok(Rc::new(PageServer {
            orders,
            guard: RefCell::new(Guard::new()?),
            checking: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(CHECKS_WAITING)),
            claims: RefCell::default(),
        }))
    }

    /// Answers until every sender is gone. Needs a `LocalRuntime` around it.
    pub async fn serve(self: Rc<Self>, mut requests: mpsc::Receiver<PageRequest>) {
        while let Some(request) = requests.recv().await {
            if request.spec.users.is_empty() {
                self.settle(request, None);
            } else {
                self.clone().identify(request);
            }
            // Rendering takes milliseconds; checks and orders of others come in between.
            tokio::task::yield_now().await;
        }
    }

    /// Finds out who asks: at once when they proved themselves before, else beside the control thread's work.
    fn identify(self: Rc<Self>, request: PageRequest) {
        let spec = request.spec.clone();
        let Some(claim) = Claim::read(request.fields.authorization.as_deref()) else {
            return reply(request, answer::unauthorized(&spec));
        };
        let found = spec.users.iter().position(|u| *u.name == *claim.name);
        if let Some(number) = found.filter(|n| self.guard.borrow().knows(&claim, &spec.users[*n])) {
            return self.settle(request, Some(number));
        }
        let mark = self.guard.borrow().mark(&claim, found.and_then(|n| spec.users.get(n)));
        // A dashboard's first dozen requests bring one password: it is checked once, and is one attempt.
        let mut claims = self.claims.borrow_mut();
        if let Some(pending) = claims.iter_mut().find(|p| p.mark == mark) {
            match pending.followers.len() < FOLLOWERS_MAX {
                true => pending.followers.push((request, found)),
                false => reply(request, answer::busy()),
            }
            return;
        }
        let allowed = self.guard.borrow_mut().may_try(request.client, self.orders.now());
        if let Err(wait) = allowed {
            tracing::warn!(client = %request.client, "too many failed logins at the stats page");
            return reply(request, answer::slow_down(wait));
        }
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return reply(request, answer::busy());
        };
        claims.push(Pending { mark, followers: Vec::new() });
        drop(claims);
        tokio::task::spawn_local(async move {
            let _place = place;
            let proved = self.check(&claim, found, &spec).await;
            let followers = self.claims_end(mark);
            if let Some(user) = found.and_then(|n| spec.users.get(n)).filter(|_| proved) {
                let mut guard = self.guard.borrow_mut();
                guard.remember(&claim, user);
                guard.succeeded(request.client);
            } else {
                tracing::warn!(client = %request.client, user = ?claim.name, "failed login at the stats page");
            }
            for (request, found) in std::iter::once((request, found)).chain(followers) {
                match found.filter(|_| proved) {
                    Some(number) => self.settle(request, Some(number)),
                    None => {
                        let refusal = answer::unauthorized(&request.spec);
                        reply(request, refusal);
                    }
                }
                // Rendering takes milliseconds; checks and orders of others come in between.
                tokio::task::yield_now().await;
            }
        });
    }

    /// The claim was checked: who waited for that.
    fn claims_end(&self, mark: Mark) -> Vec<(PageRequest, Option<usize>)> {
        let mut claims = self.claims.borrow_mut();
        let place = claims.iter().position(|p| p.mark == mark);
        place.map(|at| claims.swap_remove(at).followers).unwrap_or_default()
    }

    /// Whether the password is that of the user. A name nobody has takes as long.
    async fn check(&self, claim: &Claim, user: Option<usize>, spec: &PageSpec) -> bool {
        let stand_in = || self.guard.borrow().stand_in(&claim.name, spec.users.len());
        let Some(entry) = spec.users.get(user.unwrap_or_else(stand_in)) else { return false };
        let (hash, password) = (entry.password.clone(), claim.password.clone());
        let Ok(_turn) = self.checking.clone().acquire_owned().await else { return false };
        tokio::task::spawn_blocking(move || hash.is_of(&password)).await.unwrap_or(false)
    }

    fn settle(&self, request: PageRequest, user: Option<usize>) {
        let spec = request.spec.clone();
        let visitor = match user.and_then(|n| spec.users.get(n)) {
            Some(user) => Visitor { name: Some(&user.name), level: user.level },
            None => Visitor { name: None, level: spec.level },
        };
        let answer = match request.posts {
            true => order::carry_out(&*self.orders, &request, &visitor),
            false => answer::render(&*self.orders, &request, &visitor),
        };
        reply(request, answer);
    }
}

/// The client may have left meanwhile.
fn reply(request: PageRequest, answer: PageAnswer) {
    let _ = request.reply.send(answer);
}
