//! A server that tracks another one: it has no checks of its own and follows the other's (`track`).
//!
//! The followed server is the lead. MAINT and DRAIN of the lead are inherited and go again with it; orders to the
//! follower itself are kept beside them. Up, down and NOLB are the lead's, except in the follower's own MAINT. Leads may
//! follow others; what a status word counts is then read off the first of the chain, as HAProxy does.

use super::{AdminState, OperationalState, ServerState, Transition};

/// What a follower knows of its lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// In MAINT: by order, inherited, or without an address.
    pub maint: bool,
    /// In DRAIN: by order or inherited, in MAINT too.
    pub drain: bool,
    /// Up or down.
    pub operational: OperationalState,
    /// No check of it has come back yet.
    pub awaiting: bool,
    /// What the status word counts.
    pub tally: Tally,
}

/// What the status word of a server counts: its own, or those of the first server of the chain it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Up or down.
    pub operational: OperationalState,
    /// The health counter.
    pub health: u32,
    /// The configured `rise`.
    pub rise: u32,
    /// The configured `fall`.
    pub fall: u32,
    /// Checks exist and are on.
    pub checked: bool,
    /// What its agent has it at, if one is asked.
    pub agent_up: Option<bool>,
}

impl Tally {
    /// `2/3`: passes of `rise` while down, else failures left of `fall`.
    pub(super) fn fraction(&self) -> String {
        if self.operational == OperationalState::Stopped {
            format!("{}/{}", self.health, self.rise)
        } else {
            format!("{}/{}", (self.health + 1).saturating_sub(self.rise), self.fall)
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.health >= self.rise + self.fall - 1
    }
}

impl ServerState {
    /// What followers of this server are to know.
    pub fn as_lead(&self) -> Lead {
        Lead {
            maint: self.is_in_maintenance(),
            drain: self.admin == AdminState::Drain || self.inherits_drain(),
            operational: self.operational,
            awaiting: self.awaiting_first_check,
            tally: self.tally(),
        }
    }

    /// The lead is now so. HAProxy: what `srv_set_admin_flag` and `srv_set_running` pass on to trackers.
    pub fn follow(&mut self, lead: Lead) -> Transition {
        self.transition(|s| {
            let was_held = s.is_in_maintenance();
            let judged_first = s.awaiting_first_check && !lead.awaiting;
            s.lead = Some(lead);
            if !s.is_in_maintenance() {
                s.keep_step(lead, judged_first);
            } else if !was_held {
                s.stop();
            }
            false
        })
    }

    /// MAINT that comes from the lead (admin flag 2).
    pub fn inherits_maint(&self) -> bool {
        self.lead.is_some_and(|lead| lead.maint)
    }

    /// DRAIN that comes from the lead (admin flag 16).
    pub fn inherits_drain(&self) -> bool {
        self.lead.is_some_and(|lead| lead.drain)
    }

    /// What its status word counts.
    pub fn tally(&self) -> Tally {
        let own = || Tally {
            operational: self.operational,
            health: self.health,
            rise: self.rise,
            fall: self.fall,
            checked: self.has_checks(),
            agent_up: self.agent.filter(|a| a.enabled).map(|a| a.up),
        };
        self.lead.map_or_else(own, |lead| lead.tally)
    }

    /// Up, down or stopping as the lead. A first check of the lead that passes is no return: there is no ramp.
    pub(super) fn keep_step(&mut self, lead: Lead, judged_first: bool) {
        self.awaiting_first_check = lead.awaiting;
        match lead.operational {
            OperationalState::Stopped | OperationalState::Stopping => self.operational = lead.operational,
            _ if self.operational.is_up() => {}
            _ if judged_first => self.operational = OperationalState::Running,
            _ => self.operational = self.up(),
        }
    }
}
