//! Flags and sub-commands.

pub mod check;
pub mod schema;
