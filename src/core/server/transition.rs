//! What one call of the state machine changed, and the questions others ask about it.

use super::{AdminState, OperationalState};

/// Where a server stands, as far as others must act on a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What a person said.
    pub admin: AdminState,
    /// What checks found.
    pub operational: OperationalState,
    /// No check has come back yet.
    pub awaiting: bool,
    /// The name has no address.
    pub unresolved: bool,
    /// MAINT comes from the server it tracks.
    pub inherits_maint: bool,
    /// DRAIN comes from the server it tracks.
    pub inherits_drain: bool,
}

impl Standing {
    /// MAINT, by order or from the server it tracks.
    pub fn is_held(&self) -> bool {
        self.admin == AdminState::Maint || self.inherits_maint
    }

    /// DRAIN, by order or from the server it tracks, whether or not MAINT stands before it.
    pub fn is_drained(&self) -> bool {
        self.admin == AdminState::Drain || self.inherits_drain
    }
}

/// What one call changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Transition {
    /// Before the call.
    pub before: Standing,
    /// After it.
    pub after: Standing,
    /// A failed check counted (`chkfail`).
    pub failure_counted: bool,
}

impl Transition {
    /// Up, or stopping, before and down now; or the first check failed. Counts as `chkdown`.
    pub fn went_down(&self) -> bool {
        let first_check_failed = self.before.awaiting
            && !self.after.awaiting
            && self.before.admin == self.after.admin
            && self.before.inherits_maint == self.after.inherits_maint
            && self.before.inherits_drain == self.after.inherits_drain
            && !self.after.unresolved;
        self.after.operational == OperationalState::Stopped
            && (self.before.operational != OperationalState::Stopped || first_check_failed)
    }

    /// Down or stopping before and up now, or the ramp came to its end.
    pub fn came_up(&self) -> bool {
        self.after.operational.is_up() && self.before.operational != self.after.operational
    }

    /// Became `NOLB`.
    pub fn became_stopping(&self) -> bool {
        self.after.operational == OperationalState::Stopping && self.before.operational != OperationalState::Stopping
    }

    /// MAINT began, by order or from the server it tracks.
    pub fn entered_maint(&self) -> bool {
        !self.before.is_held() && self.after.is_held()
    }

    /// MAINT was lifted, the last of the two.
    pub fn left_maint(&self) -> bool {
        self.before.is_held() && !self.after.is_held()
    }

    /// DRAIN began, from READY.
    pub fn entered_drain(&self) -> bool {
        !self.before.is_drained() && !self.before.is_held() && self.after.is_drained() && !self.after.is_held()
    }

    /// DRAIN was lifted, to READY.
    pub fn left_drain(&self) -> bool {
        self.before.is_drained() && !self.before.is_held() && !self.after.is_drained() && !self.after.is_held()
    }

    /// MAINT or DRAIN is given by others than before: by order, or by the server it tracks.
    pub fn given_otherwise(&self) -> bool {
        self.before.admin != self.after.admin
            || self.before.inherits_maint != self.after.inherits_maint
            || self.before.inherits_drain != self.after.inherits_drain
    }

    /// The admin or the operational axis moved (`lastchg` starts anew).
    pub fn moved(&self) -> bool {
        self.given_otherwise()
            || self.before.operational != self.after.operational
            || self.before.unresolved != self.after.unresolved
            || self.went_down()
    }
}
