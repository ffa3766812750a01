//! One server's state: what a person said, what checks found, and what follows.

/// What a person said. HAProxy: `set server B/S state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// Takes traffic if it is up.
    Ready,
    /// No new requests except those bound to it; checks go on.
    Drain,
    /// No traffic, no checks.
    Maint,
}

/// What checks (or a hand) found. HAProxy: `srv_op_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationalState {
    /// Down.
    Stopped,
    /// Up, ramping up its weight (`slowstart`).
    Starting,
    /// Up.
    Running,
    /// Up for what is bound to it, nothing new (`NOLB`).
    Stopping,
}
