//! Which connection takes a request: one with room, else one that is being opened, else a new one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Place};
use super::opening::{self, Opening, Waiting};
use crate::core::fleet::live::ServerLive;
use crate::core::fleet::snapshot::{BackendView, ServerView};
use crate::core::fleet::spec::{PoolSpec, ServerId};

/// What asking for a place came to.
#[derive(Debug)]
pub enum Asked {
    /// There is one.
    Place(Place),
    /// A connection is on its way.
    Wait {
        /// To wait for it.
        waiting: Waiting,
        /// It was begun just now.
        fresh: bool,
    },
}

/// All connections of one worker, by backend and server.
#[derive(Debug, Default)]
pub struct Connections {
    servers: Vec<Vec<Rc<OfServer>>>,
}

/// The connections to one server.
#[derive(Debug, Default)]
struct OfServer {
    standing: RefCell<Vec<Rc<Connection>>>,
    opening: RefCell<Vec<Rc<Opening>>>,
    live: RefCell<Option<Arc<ServerLive>>>,
    keeping: std::cell::Cell<Option<PoolSpec>>,
}

impl Connections {
    fn of(&mut self, id: ServerId) -> &Rc<OfServer> {
        let (backend, server) = (id.backend.0 as usize, id.index as usize);
        if self.servers.len() <= backend {
            self.servers.resize_with(backend + 1, Vec::new);
        }
        let servers = &mut self.servers[backend];
        if servers.len() <= server {
            servers.resize_with(server + 1, Rc::default);
        }
        &servers[server]
    }

    /// A place on a connection to a server of `view`, or one to wait for. With `newer_than` only on connections that
    /// were opened after that: older ones have failed this request. `turn` chooses the source address of a new one. Runs
    /// on a worker: opening is a task of it.
    pub fn ask(
        &mut self,
        view: &Arc<BackendView>,
        server: &ServerView,
        newer_than: Option<Instant>,
        turn: usize,
    ) -> Asked {
        let of = self.of(server.id);
        of.belong_to(server);
        of.keeping.set(Some(view.spec.pool));
        let recent = |c: &Connection| newer_than.is_none_or(|since| c.opened() >= since);
        of.forget_leaving(server);
        let place = of.standing.borrow().iter().filter(|c| recent(c)).find_map(|c| c.place());
        if let Some(place) = place {
            return Asked::Place(place);
        }
        let most = view.spec.http2.max_streams;
        if let Some(opening) = of.opening.borrow().iter().find(|o| o.has_room(most)) {
            return Asked::Wait { waiting: opening.wait(), fresh: false };
        }
        let opening = Rc::new(Opening::default());
        let waiting = opening.wait();
        of.opening.borrow_mut().push(opening.clone());
        tokio::task::spawn_local(OfServer::open(of.clone(), opening, view.clone(), server.clone(), turn));
        Asked::Wait { waiting, fresh: true }
    }

    /// Closes what was idle too long, and lets go of what ended.
    pub fn sweep(&mut self, now: Instant) {
        for of in self.servers.iter().flatten() {
            let Some(keeping) = of.keeping.get() else { continue };
            let mut idle = 0;
            of.standing.borrow_mut().retain(|connection| {
                let keep = match connection.idle_since() {
                    _ if connection.is_leaving() => false,
                    None => true,
                    Some(since) => {
                        idle += 1;
                        idle <= keeping.max_idle && since + keeping.idle_timeout > now
                    }
                };
                if !keep {
                    connection.leave();
                }
                keep
            });
        }
    }

    /// Closes all idle connections to a server; those with requests on them end with these.
    pub fn close(&mut self, id: ServerId) {
        self.of(id).close();
    }

    /// Connections that stand, for reports and tests.
    pub fn standing(&self) -> usize {
        self.servers.iter().flatten().map(|of| of.standing.borrow().len()).sum()
    }
}

impl OfServer {
    /// A place is given to another server once the former one was deleted; what was kept for that one goes.
    fn belong_to(&self, server: &ServerView) {
        let is_its = self.live.borrow().as_ref().is_some_and(|own| Arc::ptr_eq(own, &server.live));
        if !is_its {
            self.close();
            *self.live.borrow_mut() = Some(server.live.clone());
        }
    }

    /// Lets go of connections that take no more, or lead to where the server is no longer.
    fn forget_leaving(&self, server: &ServerView) {
        let mut standing = self.standing.borrow_mut();
        let kept = self.keeping.get().is_none_or(|keeping| keeping.max_idle > 0);
        let goes = |c: &Rc<Connection>| {
            let over = !kept && c.is_used() && c.idle_since().is_some();
            over || c.is_leaving() || server.address.as_ref() != Some(c.to())
        };
        if standing.iter().any(goes) {
            standing.retain(|c| {
                let goes = goes(c);
                if goes {
                    c.leave();
                }
                !goes
            });
        }
    }

    fn close(&self) {
        for connection in self.standing.borrow_mut().drain(..) {
            connection.leave();
        }
        for opening in self.opening.borrow_mut().drain(..) {
            opening.make_unwanted();
        }
        *self.live.borrow_mut() = None;
    }

    async fn open(of: Rc<OfServer>, opening: Rc<Opening>, view: Arc<BackendView>, server: ServerView, turn: usize) {
        let outcome = opening::open(view, server, turn).await;
        of.opening.borrow_mut().retain(|known| !Rc::ptr_eq(known, &opening));
        if let (Ok(connection), false) = (&outcome, opening.is_unwanted()) {
            of.standing.borrow_mut().push(connection.clone());
        }
        opening.finish(outcome);
    }
}
