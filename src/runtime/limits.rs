//! The descriptor limit: what it is, and raising it as far as allowed.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
