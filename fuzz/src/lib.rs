//! What the fuzz targets check: one function per target, so that a target has three lines.
//!
//! The HTTP functions are those the unit tests feed with mutated tables; they are included here, not written twice.

pub use lockgate::core;

#[path = "../../src/core/http/h1/tests/invariants.rs"]
pub mod http;
