//! Looking server names up.
