//! Servers that come and go at run time: `add server`, `del server`.
//!
//! A server's place (`ServerId::index`) and its number (`sid`) are two things. The number is what people see: the lowest
//! free one is given, as HAProxy does. The place is what workers hold in their hands while they serve a request by a
//! picture that may be a while old; it is given to another server only when no picture with the former one is left and
//! nothing that was said about it can still be on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apply::Turn;
use super::event::Effect;
use super::live::ServerLive;
use super::snapshot::ServerView;
use super::spec::{BackendIndex, ServerAddress, ServerId, ServerSpec};
use super::{BackendEntry, Fleet, Refusal, ServerEntry};
use crate::core::server::AdminState;

/// Answers of name servers and workers' reports of errors about a deleted server have arrived by then. They name its
/// place; results of checks and agents carry a ticket and need no rest.
const PLACE_RESTS: Duration = Duration::from_secs(60);

/// Servers of one backend at once, so that a script that only adds comes to an end.
pub(super) const SERVERS_MAX: usize = 10_000;

/// Places of one backend, those of deleted servers included that rest or that a worker still has in a picture.
const PLACES_MAX: usize = 2 * SERVERS_MAX;

/// The place of a server that was deleted.
#[derive(Debug)]
pub(super) struct Deleted {
    pub(super) index: u32,
    spec: Arc<ServerSpec>,
    live: Arc<ServerLive>,
    at: Instant,
}

/// Where the server with this place stands in the list.
pub(super) fn position(servers: &[ServerEntry], index: u32) -> Option<usize> {
    // Without gaps it stands at its own place.
    let at = index as usize;
    if servers.get(at).is_some_and(|s| s.id.index == index) {
        return Some(at);
    }
    servers.binary_search_by_key(&index, |s| s.id.index).ok()
}

impl Deleted {
    /// Nobody holds a picture of it any more but the newest one, which shows it as deleted, and nobody is on it.
    fn is_forgotten(&self, now: Instant) -> bool {
        let heard_of = matches!(self.spec.address, ServerAddress::Name { .. }) || self.spec.observe.is_some();
        (!heard_of || now.saturating_duration_since(self.at) >= PLACE_RESTS)
            && Arc::strong_count(&self.live) <= 2
            && self.live.inflight.now() == 0
            && self.live.queued.now() == 0
    }

    pub(super) fn view(&self, backend: BackendIndex) -> ServerView {
        ServerView {
            id: ServerId { backend, index: self.index },
            sid: 0,
            spec: self.spec.clone(),
            live: self.live.clone(),
            address: None,
            eligible: false,
            accepts_persistent: false,
            tls: None,
            weight: 0,
            maxconn: 0,
        }
    }
}

impl BackendEntry {
    /// Gives up places at the end that nobody will ask for any more.
    fn shed_places(&mut self, now: Instant) {
        while self.deleted.last().is_some_and(|last| {
            last.index as usize + 1 == self.servers.len() + self.deleted.len() && last.is_forgotten(now)
        }) {
            self.deleted.pop();
        }
    }

    /// A place for one more server: that of a deleted one, or a new one.
    fn take_place(&mut self, now: Instant) -> u32 {
        match self.deleted.iter().position(|d| d.is_forgotten(now)) {
            Some(at) => self.deleted.remove(at).index,
            None => u32::try_from(self.servers.len() + self.deleted.len()).unwrap_or(u32::MAX),
        }
    }

    fn lowest_free_sid(&self) -> u32 {
        let mut taken: Vec<u32> = self.servers.iter().map(|s| s.sid).collect();
        taken.sort_unstable();
        taken.into_iter().fold(1, |free, sid| if sid == free { free + 1 } else { free })
    }

    fn cookie_is_taken(&self, spec: &ServerSpec) -> bool {
        fn value(spec: &ServerSpec) -> &str {
            spec.cookie.as_deref().unwrap_or(&spec.name)
        }
        self.spec.cookie.is_some() && self.servers.iter().any(|s| value(&s.spec) == value(spec))
    }
}

impl Fleet {
    /// A new server: in MAINT, with its checks off.
    pub(super) fn add_server(
        &mut self,
        index: BackendIndex,
        spec: &Arc<ServerSpec>,
        sid: Option<u32>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let refuse = |text: String| Err(Refusal(text));
        let shards = self.shards;
        let turnover = self.turnover.next_multiple_of(2);
        let lead = spec.track.as_deref().map(|lead| self.lead_for(lead)).transpose()?;
        let backend = self.backends.get_mut(index.0 as usize).ok_or_else(|| Refusal("No such backend.".to_owned()))?;
        if backend.servers.iter().any(|s| s.spec.name == spec.name) {
            return refuse("Already exists a server with the same name in backend.".to_owned());
        }
        if backend.cookie_is_taken(spec) {
            return refuse("Already exists a server with the same cookie value in backend.".to_owned());
        }
        if let Some(sid) = sid
            && (sid == 0 || backend.servers.iter().any(|s| s.sid == sid))
        {
            return refuse(format!("'id' : custom id {sid} is already used in backend or is not a number from 1 on."));
        }
        if backend.servers.len() >= SERVERS_MAX {
            return refuse(format!("A backend has at most {SERVERS_MAX} servers."));
        }
        backend.shed_places(turn.now);
        if backend.servers.len() + backend.deleted.len() >= PLACES_MAX {
            return refuse("Too many servers were deleted within a minute, add this one later.".to_owned());
        }
        let sid = sid.unwrap_or_else(|| backend.lowest_free_sid());
        let id = ServerId { backend: index, index: backend.take_place(turn.now) };
        let mut entry = ServerEntry::new(spec, id, shards, turn.now);
        entry.sid = sid;
        entry.revision = turnover / 2;
        entry.dynamic = true;
        entry.state.begin(Some(AdminState::Maint), entry.state.unresolved, true);
        entry.down_since = Some(turn.now);
        let at = backend.servers.partition_point(|s| s.id.index < id.index);
        backend.servers.insert(at, entry);
        self.turnover = turnover;
        if let Some(lead) = lead {
            if let Some(entry) = self.server_mut(lead) {
                entry.followers.push(id);
            }
            self.lead(lead, turn);
        }
        turn.touch(index);
        turn.due(id);
        Ok(())
    }

    /// The server a new one is to track.
    fn lead_for(&self, name: &str) -> Result<ServerId, Refusal> {
        let unknown = || Refusal(format!("unable to find required server '{name}' for tracking."));
        let lead = self.find_server(name).map_err(|_| unknown())?;
        let entry = self.server(lead).ok_or_else(unknown)?;
        if entry.spec.check.is_none() && entry.spec.agent.is_none() && entry.spec.track.is_none() {
            let text = format!("unable to use {name} for tracking as it does not have any check nor agent enabled.");
            return Err(Refusal(text));
        }
        Ok(lead)
    }

    /// Takes a server out that nobody is on. Only its place stays, and only for a while.
    pub(super) fn delete_server(&mut self, id: ServerId, turn: &mut Turn) -> Result<(), Refusal> {
        let refuse = |text: &str| Err(Refusal(text.to_owned()));
        let entry = self.server(id).ok_or_else(|| Refusal("No such server.".to_owned()))?;
        if !entry.followers.is_empty() {
            return refuse(
                "This server cannot be removed at runtime due to other configuration elements pointing to it.",
            );
        }
        if !entry.state.is_in_maintenance() {
            return refuse("Only servers in maintenance mode can be deleted.");
        }
        if entry.live.inflight.now() > 0 || entry.live.queued.now() > 0 {
            return refuse("Server still has connections attached to it, cannot remove it.");
        }
        let Some(backend) = self.backends.get_mut(id.backend.0 as usize) else { return refuse("No such backend.") };
        let Some(at) = position(&backend.servers, id.index) else { return refuse("No such server.") };
        let entry = backend.servers.remove(at);
        let lead = entry.spec.track.as_deref().and_then(|lead| self.find_server(lead).ok());
        if let Some(lead) = lead.and_then(|lead| self.server_mut(lead)) {
            lead.followers.retain(|follower| *follower != id);
        }
        let Some(backend) = self.backends.get_mut(id.backend.0 as usize) else { return refuse("No such backend.") };
        let place = Deleted { index: id.index, spec: entry.spec, live: entry.live, at: turn.now };
        let at = backend.deleted.partition_point(|d| d.index < id.index);
        backend.deleted.insert(at, place);
        backend.shed_places(turn.now);
        self.turnover |= 1;
        turn.save = true;
        turn.later.push(Effect::CloseIdle(id));
        turn.touch(id.backend);
        Ok(())
    }
}
