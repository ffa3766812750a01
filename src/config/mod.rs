//! The configuration: written ([`raw`](self) text) → validated ([`model`]).

pub mod model;
