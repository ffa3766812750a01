//! Flags and sub-commands.
