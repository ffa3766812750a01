//! Flags and sub-commands.

pub mod ctl;
