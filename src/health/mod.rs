//! Probing servers.
