//! Encoders: bytes in, compressed bytes out, with the memory and the speed that all workers together may spend on it.
//!
//! Reading order: [`encoder`] (gzip, brotli and zstd under one type), [`budget`] (what limits them), [`shelf`] (those a
//! worker keeps for the next answer). Which answers are compressed is decided in `core::compress`.

pub mod budget;
pub mod encoder;
pub mod shelf;

pub use budget::Budget;
pub use encoder::{Encoder, EncoderFailed};
pub use shelf::EncoderShelf;
