//! The descriptor limit: what it is, and raising it as far as allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors the process keeps for itself: listeners, logs, admin, checks.
pub const RESERVED_DESCRIPTORS: u64 = 128;

/// The limit on open descriptors as it may be raised to.
pub fn descriptor_ceiling() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard)
}

/// Descriptors that `maxconn` client connections need: one for the client, one for the server, and the reserve.
pub fn descriptors_needed(maxconn: u32) -> u64 {
    u64::from(maxconn) * 2 + RESERVED_DESCRIPTORS
}

/// Raises the soft limit as far as allowed, or as far as `wanted`; returns what holds now.
pub fn raise_descriptors(wanted: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let target = wanted.max(soft);
    if target > hard && setrlimit(Resource::RLIMIT_NOFILE, target, target).is_ok() {
        return target;
    }
    let target = target.min(hard);
    if setrlimit(Resource::RLIMIT_NOFILE, target, hard).is_ok() { target } else { soft }
}
