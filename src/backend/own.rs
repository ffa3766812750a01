//! Idle connections to servers that serve one client alone, because the server was told that they are that client's
//! (`send_proxy`). They go with their client.

use std::collections::HashMap;
use std::time::Instant;

use super::pool::Shelf;
use crate::core::fleet::spec::ServerId;

/// The connections of each client, by server. Clients are few who have any, and each uses few servers.
#[derive(Debug, Default)]
pub(super) struct OwnShelves {
    clients: HashMap<u64, Vec<(ServerId, Shelf)>>,
}

impl OwnShelves {
    /// The connections to a server that are that client's.
    pub fn shelf(&mut self, owner: u64, id: ServerId) -> &mut Shelf {
        let shelves = self.clients.entry(owner).or_default();
        let at = shelves.iter().position(|(server, _)| *server == id).unwrap_or_else(|| {
            shelves.push((id, Shelf::default()));
            shelves.len() - 1
        });
        &mut shelves[at].1
    }

    /// Closes what is over its time, and what servers have closed.
    pub fn sweep(&mut self, now: Instant) {
        self.clients.retain(|_, shelves| {
            shelves.retain_mut(|(_, shelf)| {
                shelf.sweep(now);
                !shelf.is_empty()
            });
            !shelves.is_empty()
        });
    }

    /// Closes all connections to a server.
    pub fn close(&mut self, id: ServerId) {
        for (_, shelf) in self.clients.values_mut().flatten().filter(|(server, _)| *server == id) {
            shelf.clear();
        }
    }

    /// Closes all connections of a client.
    pub fn forget(&mut self, owner: u64) {
        if self.clients.is_empty() {
            return;
        }
        for (_, mut shelf) in self.clients.remove(&owner).into_iter().flatten() {
            shelf.clear();
        }
    }
}
