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

/// A server's state. HAProxy management guide: `srv_admin_state`, `srv_op_state`, `srv_check_health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// What a person said.
    pub admin: AdminState,
    /// What checks found.
    pub operational: OperationalState,
    /// The health counter: 0 to `rise + fall - 1`; up from `rise` on.
    pub health: u32,
    /// The configured `rise`.
    pub rise: u32,
    /// The configured `fall`.
    pub fall: u32,
    /// Whether the server has checks at all.
    pub checked: bool,
    /// Whether they are switched on (`disable health` switches them off).
    pub checks_enabled: bool,
    /// No check has come back yet and requests wait for it (`initial: first`).
    pub awaiting_first_check: bool,
    /// The name has no address: MAINT by resolution, whatever was said.
    pub unresolved: bool,
    /// `disabled: true` stood in the configuration (admin flag 4 of `show servers state`).
    pub disabled_in_config: bool,
}
