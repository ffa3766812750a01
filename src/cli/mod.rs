//! Flags and sub-commands.

pub mod respond;
