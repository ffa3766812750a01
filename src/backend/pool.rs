//! Idle connections to servers, kept by one worker. Only connections proved clean come here.

use std::time::Instant;

use super::ServerIo;
use super::h2::Connections;
use super::io::Fit;
use crate::core::fleet::snapshot::{ConnectTo, ServerView};
use crate::core::fleet::spec::{PoolSpec, ServerId};

/// A kept connection.
#[derive(Debug)]
struct Idle {
    io: ServerIo,
    to: ConnectTo,
    until: Instant,
}

/// The idle connections of one server.
#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Idle>,
    gauge: Option<std::sync::Arc<crate::core::fleet::live::ServerLive>>,
}

impl Shelf {
    /// A place is given to another server once the former one was deleted; what was kept for that one goes.
    fn belong_to(&mut self, server: &ServerView) {
        if self.gauge.as_ref().is_some_and(|own| !std::sync::Arc::ptr_eq(own, &server.live)) {
            self.clear();
        }
    }

    /// Closes everything, and lets go of the gauge: a deleted server is forgotten when nobody holds it.
    fn clear(&mut self) {
        while !self.idle.is_empty() {
            self.drop_at(0);
        }
        self.gauge = None;
    }

    fn drop_at(&mut self, position: usize) {
        self.idle.swap_remove(position).io.close();
        self.fell();
    }

    fn fell(&self) {
        if let Some(live) = &self.gauge {
            live.idle.fall();
        }
    }
}

/// All idle connections of one worker, by backend and server.
#[derive(Debug, Default)]
pub struct Pool {
    shelves: Vec<Vec<Shelf>>,
    /// Connections that carry many requests.
    pub h2: Connections,
}

impl Pool {
    fn shelf(&mut self, id: ServerId) -> &mut Shelf {
        let (backend, server) = (id.backend.0 as usize, id.index as usize);
        if self.shelves.len() <= backend {
            self.shelves.resize_with(backend + 1, Vec::new);
        }
        let servers = &mut self.shelves[backend];
        if servers.len() <= server {
            servers.resize_with(server + 1, Shelf::default);
        }
        &mut servers[server]
    }

    /// The connection used last that is still open, leads to where the server is now and may carry a request for `host`.
    pub fn take(&mut self, server: &ServerView, host: Option<&str>, now: Instant) -> Option<ServerIo> {
        let to = server.address.as_ref()?;
        let shelf = self.shelf(server.id);
        shelf.belong_to(server);
        for at in (0..shelf.idle.len()).rev() {
            let idle = &mut shelf.idle[at];
            let leads_there = idle.until > now && idle.to == *to;
            let fit = if leads_there { idle.io.fit(server.tls.as_ref(), host) } else { Fit::No };
            match fit {
                Fit::Yes if idle.io.is_quiet() => {
                    shelf.fell();
                    return Some(shelf.idle.swap_remove(at).io);
                }
                Fit::OtherHost => {}
                _ => shelf.drop_at(at),
            }
        }
        None
    }

    /// Keeps a clean connection, unless there are enough.
    pub fn keep(&mut self, server: &ServerView, to: &ConnectTo, io: ServerIo, spec: PoolSpec, now: Instant) {
        let fits = server.address.as_ref() == Some(to) && io.fit(server.tls.as_ref(), None) != Fit::No;
        if !fits || !server.accepts_persistent {
            return io.close();
        }
        let shelf = self.shelf(server.id);
        shelf.belong_to(server);
        if shelf.idle.len() >= spec.max_idle as usize {
            return io.close();
        }
        if shelf.gauge.is_none() {
            shelf.gauge = Some(server.live.clone());
        }
        server.live.idle.rise();
        shelf.idle.push(Idle { io, to: to.clone(), until: now + spec.idle_timeout });
    }

    /// Closes what is over its time, and what the server has closed.
    pub fn sweep(&mut self, now: Instant) {
        self.h2.sweep(now);
        for shelf in self.shelves.iter_mut().flatten() {
            let mut i = 0;
            while i < shelf.idle.len() {
                if shelf.idle[i].until <= now || !shelf.idle[i].io.is_quiet() {
                    shelf.drop_at(i);
                } else {
                    i += 1;
                }
            }
        }
    }

    /// Closes all connections kept to a server.
    pub fn close(&mut self, id: ServerId) {
        let shelf = self.shelf(id);
        shelf.clear();
        self.h2.close(id);
    }
}
