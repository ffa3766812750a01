//! Which connection takes a request: one with room, else one that is being opened, else a new one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Place};
use super::opening::{self, Opening, Waiting, Wanted};
use crate::core::fleet::live::ServerLive;
use crate::core::fleet::snapshot::ServerView;
use crate::core::fleet::spec::{BackendSpec, PoolSpec, ServerId};
use crate::core::tls::Sni;

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

/// What a place is asked by.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The server's backend.
    pub spec: &'a BackendSpec,
    /// The request's host.
    pub host: Option<&'a str>,
    /// The client, when the server takes a connection for that client's alone.
    pub owner: Option<u64>,
    /// When older connections failed the request.
    pub newer_than: Option<Instant>,
}

/// All connections of one worker, by backend and server.
#[derive(Debug, Default)]
pub struct Connections {
    servers: Vec<Vec<Rc<OfServer>>>,
    /// Some of them serve, or served, one client alone.
    owned: bool,
}

/// The connections to one server.
#[derive(Debug, Default)]
struct OfServer {
    standing: RefCell<Vec<Rc<Connection>>>,
    opening: RefCell<Vec<Rc<Opening>>>,
    live: RefCell<Option<Arc<ServerLive>>>,
    keeping: Cell<Option<PoolSpec>>,
    /// Requests at once on the connection that was opened last; so many may wait for the next.
    most: Cell<Option<u32>>,
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

    /// A place on a connection to the server that is `wanted`, or one to wait for. With `newer_than` only on connections
    /// that were opened after that: older ones have failed this request. Runs on a worker: opening is a task of it.
    pub fn ask(&mut self, wanted: impl FnOnce() -> Wanted, server: &ServerView, whose: Whose<'_>) -> Asked {
        self.owned |= whose.owner.is_some();
        let of = self.of(server.id);
        of.belong_to(server);
        of.keeping.set(Some(whose.spec.pool));
        of.forget_leaving(server);
        let recent = |c: &Connection| whose.newer_than.is_none_or(|since| c.opened() >= since);
        let fits = |c: &Rc<Connection>| recent(c) && c.is_for(whose.host, whose.owner);
        let place = of.standing.borrow().iter().filter(|c| fits(c)).find_map(|c| c.place());
        if let Some(place) = place {
            return Asked::Place(place);
        }
        let most = of.most.get().unwrap_or(u32::MAX).min(whose.spec.http2.max_streams);
        let by_host = server.tls.as_ref().is_some_and(|tls| tls.sni == Sni::RequestHost);
        let fits = |o: &Opening| o.owner == whose.owner && (!by_host || o.host.as_deref() == whose.host);
        if let Some(opening) = of.opening.borrow().iter().find(|o| o.has_room(most) && fits(o)) {
            return Asked::Wait { waiting: opening.wait(), fresh: false };
        }
        let host = whose.host.filter(|_| by_host).map(Box::from);
        let opening = Rc::new(Opening::new(host, whose.owner));
        let waiting = opening.wait();
        of.opening.borrow_mut().push(opening.clone());
        tokio::task::spawn_local(OfServer::open(of.clone(), opening, wanted()));
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

    /// Closes the connections of a client that has gone.
    pub fn forget(&mut self, owner: u64) {
        if !self.owned {
            return;
        }
        for of in self.servers.iter().flatten() {
            of.standing.borrow_mut().retain(|connection| {
                let goes = connection.owner() == Some(owner);
                if goes {
                    connection.leave();
                }
                !goes
            });
        }
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
            over || c.is_leaving() || !c.leads_to(server)
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

    async fn open(of: Rc<OfServer>, opening: Rc<Opening>, wanted: Wanted) {
        let outcome = opening::open(wanted).await;
        of.opening.borrow_mut().retain(|known| !Rc::ptr_eq(known, &opening));
        if let Ok(connection) = &outcome {
            of.most.set(Some(connection.most()));
        }
        if let (Ok(connection), false) = (&outcome, opening.is_unwanted()) {
            of.standing.borrow_mut().push(connection.clone());
        }
        opening.finish(outcome);
    }
}
