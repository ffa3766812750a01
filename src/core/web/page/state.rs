//! How a server or backend stands, in a colour, a sign and a word.

use crate::core::fleet::ServerEntry;
use crate::core::server::OperationalState;

/// One row of the legend. Colours differ in brightness too, and each has its sign: nobody needs to tell red from green.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Up.
    Up,
    /// Up, with a share of its weight for now.
    Warming,
    /// Up; checks began to fail.
    Falling,
    /// Down; checks began to pass.
    Rising,
    /// Down.
    Down,
    /// Drained.
    Drain,
    /// In maintenance.
    Maint,
    /// Up for what is bound to it.
    Nolb,
    /// Not checked.
    Unchecked,
}

impl Mood {
    /// All of them, in the order of the legend.
    pub const ALL: [Mood; 9] = [
        Mood::Up,
        Mood::Warming,
        Mood::Falling,
        Mood::Rising,
        Mood::Down,
        Mood::Drain,
        Mood::Maint,
        Mood::Nolb,
        Mood::Unchecked,
    ];

    /// A server's.
    pub fn of(server: &ServerEntry) -> Mood {
        let state = &server.state;
        if state.is_in_maintenance() {
            return Mood::Maint;
        }
        // Its own checks and agent, or those of the server it follows.
        let tally = state.tally();
        let full = tally.health >= tally.rise + tally.fall.max(1) - 1;
        match state.operational {
            OperationalState::Stopped if tally.agent_up == Some(false) => Mood::Down,
            OperationalState::Stopped if tally.checked && tally.health > 0 => Mood::Rising,
            OperationalState::Stopped => Mood::Down,
            OperationalState::Stopping => Mood::Nolb,
            _ if state.is_draining() => Mood::Drain,
            _ if !tally.checked => Mood::Unchecked,
            _ if !full => Mood::Falling,
            OperationalState::Starting => Mood::Warming,
            OperationalState::Running => Mood::Up,
        }
    }

    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Mood::Up => "up",
            Mood::Warming => "warming",
            Mood::Falling => "falling",
            Mood::Rising => "rising",
            Mood::Down => "down",
            Mood::Drain => "drain",
            Mood::Maint => "maint",
            Mood::Nolb => "nolb",
            Mood::Unchecked => "nocheck",
        }
    }

    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Mood::Up => "✓",
            Mood::Warming => "◔",
            Mood::Falling => "▼",
            Mood::Rising => "▲",
            Mood::Down => "✕",
            Mood::Drain => "⇣",
            Mood::Maint => "■",
            Mood::Nolb => "◐",
            Mood::Unchecked => "○",
        }
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Mood::Up => "up",
            Mood::Warming => "up, warming up",
            Mood::Falling => "up, going down",
            Mood::Rising => "down, coming up",
            Mood::Down => "down",
            Mood::Drain => "drained",
            Mood::Maint => "maintenance",
            Mood::Nolb => "no new requests",
            Mood::Unchecked => "not checked",
        }
    }

    /// Whether someone should look at it.
    pub fn is_problem(self) -> bool {
        !matches!(self, Mood::Up | Mood::Warming | Mood::Unchecked)
    }
}
