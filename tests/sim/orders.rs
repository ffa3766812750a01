//! Operators, who say sensible and senseless things at any time.

use std::sync::Arc;
use std::time::SystemTime;

use lockgate::core::fleet::event::*;
use lockgate::core::fleet::spec::{BackendIndex, ServerId, ServerSpec};
use lockgate::core::server::AdminState;

use crate::map;
use crate::world::World;

impl World {
    fn operator(&self) -> Origin {
        let at = SystemTime::UNIX_EPOCH + (self.now - self.start);
        Origin { way: Way::Cli, who: "ops".into(), at }
    }

    /// One order, by chance.
    pub fn order(&mut self) {
        let server = self.any_server();
        let by = self.operator();
        self.tally.orders += 1;
        match self.rng.u32(0..24) {
            0..10 => {
                let state = match self.rng.u32(0..5) {
                    0 => AdminState::Maint,
                    1 => AdminState::Drain,
                    _ => AdminState::Ready,
                };
                self.oracle.admin(server, state);
                self.apply(Event::SetAdminState { server, state, by });
            }
            10..13 => {
                let health = match self.rng.u32(0..4) {
                    0 => ForcedHealth::Down,
                    1 => ForcedHealth::Stopping,
                    _ => ForcedHealth::Up,
                };
                let state = self.fleet.server(server).map(|s| (s.state.is_in_maintenance(), s.spec.track.is_some()));
                if state == Some((false, false)) {
                    self.oracle.health(server, health);
                }
                let follows = state.is_some_and(|(_, follows)| follows);
                assert_ne!(self.try_order(Event::SetHealth { server, health, by }), follows);
            }
            13..15 => {
                let weight = match self.rng.u32(0..3) {
                    0 => WeightChange::Percent(self.rng.u32(0..300)),
                    _ => WeightChange::Absolute(self.rng.u32(0..300)),
                };
                self.try_order(Event::SetWeight { server, weight, by });
            }
            15 => {
                let ip = self.rng.bool().then(|| map::ip(self.rng.u32(200..210)));
                let port = self.rng.bool().then(|| self.rng.u16(0..3));
                let first = self.fleet.server(server).is_some_and(|s| s.address.is_none());
                if first && ip.is_some() && port != Some(0) {
                    self.oracle.resolved(server);
                }
                self.try_order(Event::SetAddress { server, ip, port, by });
            }
            16..18 => {
                let maxconn = self.rng.u32(0..5);
                self.apply(Event::SetMaxconn { server, maxconn });
            }
            18 => {
                let enabled = self.rng.u32(0..4) > 0;
                let state = self.fleet.server(server).map(|s| (s.state.checked, s.state.checks_enabled));
                if state == Some((true, !enabled)) {
                    self.oracle.checks(server, enabled);
                }
                self.try_order(Event::SetChecks { server, enabled });
            }
            20 | 21 => self.add_server(server.backend),
            22 | 23 => self.delete_server(server),
            _ => {
                let on = self.rng.u32(0..3) == 0;
                self.apply(Event::SetMaintenance { backend: server.backend, on });
            }
        }
    }

    /// A new server, sometimes under a name that is or was another's.
    fn add_server(&mut self, backend: BackendIndex) {
        let number = self.rng.u32(0..9);
        let spec = Arc::new(ServerSpec { disabled: false, ..map::server(&mut self.rng, number, true) });
        let sid = (self.rng.u32(0..4) == 0).then(|| self.rng.u32(1..12));
        let known: Vec<ServerId> = self.fleet.servers().map(|s| s.id).collect();
        if !self.try_order(Event::AddServer { backend, spec: spec.clone(), sid }) {
            return;
        }
        let new = self.fleet.servers().find(|s| !known.contains(&s.id)).expect("it was added");
        assert_eq!((new.state.admin, new.state.checks_enabled), (AdminState::Maint, false));
        assert!(sid.is_none_or(|sid| sid == new.sid));
        let id = new.id;
        self.meet(id, &spec);
        self.tally.added += 1;
    }

    /// Refused unless the server is in maintenance, idle, and tracked by none.
    fn delete_server(&mut self, server: ServerId) {
        let lead = self.fleet.find_server("be0/s0").ok() == Some(server);
        let is_followed = lead && self.fleet.servers().any(|s| s.spec.track.is_some());
        let idle = !is_followed
            && self
                .fleet
                .server(server)
                .is_some_and(|s| s.state.is_in_maintenance() && s.live.inflight.now() == 0 && s.live.queued.now() == 0);
        if self.truth.len() == 1 {
            return;
        }
        assert_eq!(self.try_order(Event::DeleteServer { server }), idle, "{server:?} was deleted, or not, wrongly");
        if idle {
            self.truth.remove(&server);
            self.oracle.forget(server);
            self.tally.deleted += 1;
        }
    }

    /// An order that may be refused: then nothing has changed.
    fn try_order(&mut self, event: Event) -> bool {
        let before = (self.fleet.saved_state(), self.fleet.snapshot().generation, self.fleet.next_timeout());
        match self.fleet.apply(event, self.now) {
            Ok(effects) => {
                self.carry_out(effects);
                true
            }
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                let after = (self.fleet.saved_state(), self.fleet.snapshot().generation, self.fleet.next_timeout());
                assert_eq!(before, after, "a refused order changed something");
                self.tally.refused_orders += 1;
                false
            }
        }
    }
}
