//! Servers that track others (`track`): who follows whom, and passing on what becomes of a server.

use super::Fleet;
use super::apply::Turn;
use super::consequence::Cause;
use super::spec::ServerId;

impl Fleet {
    /// Finds out who follows whom, and lets the followers start as what they follow is. Nothing is told of it.
    pub(super) fn tie_followers(&mut self) {
        let ties: Vec<(ServerId, ServerId)> =
            self.servers().filter_map(|s| Some((self.find_server(s.spec.track.as_deref()?).ok()?, s.id))).collect();
        for (lead, follower) in ties {
            if let Some(entry) = self.server_mut(lead) {
                entry.followers.push(follower);
            }
        }
        let first: Vec<ServerId> =
            self.servers().filter(|s| s.spec.track.is_none() && !s.followers.is_empty()).map(|s| s.id).collect();
        for id in first {
            self.lead_quietly(id);
        }
    }

    /// Passes on how a server is now to those that follow it.
    pub(super) fn lead(&mut self, id: ServerId, turn: &mut Turn) {
        self.pass_on(id, &mut |fleet, follower, transition| {
            // Which passes it on in turn.
            fleet.follow(follower, transition, &Cause::Lead, turn);
        });
    }

    fn lead_quietly(&mut self, id: ServerId) {
        self.pass_on(id, &mut |fleet, follower, _| fleet.lead_quietly(follower));
    }

    fn pass_on(&mut self, id: ServerId, then: &mut dyn FnMut(&mut Fleet, ServerId, crate::core::server::Transition)) {
        let Some(entry) = self.server(id).filter(|entry| !entry.followers.is_empty()) else { return };
        let (lead, awaited, followers) = (entry.state.as_lead(), entry.is_awaited(), entry.followers.clone());
        for follower in followers {
            if let Some(entry) = self.server_mut(follower) {
                entry.lead_awaited = awaited;
                let transition = entry.state.follow(lead);
                then(self, follower, transition);
            }
        }
    }
}
