//! Counters, and the texts made of them.
//!
//! [`counters`] holds what workers count and [`rates`] turns totals into per-second values. [`columns`] is the one table
//! of everything `show stat` tells; [`mod@render`] walks it and writes CSV, typed lines or JSON. [`info`] is the same for
//! `show info`, and [`schema`] describes the JSON of both. [`histogram`] is what times and captured numbers are spread
//! over; [`prometheus`] writes everything as metrics.
//!
//! Not here: who may ask, and the other replies of the admin socket ([`crate::core::admin`]).

pub mod columns;
pub mod counters;
pub mod histogram;
pub mod info;
pub mod prometheus;
pub mod rates;
pub mod render;
pub mod rows;
pub mod schema;
pub mod value;

pub use counters::{Counter, Counters};
pub use info::ProcessFacts;
pub use rates::Rates;
pub use render::{Format, Query, render};
pub use rows::View;
pub use value::Value;

/// What `show version` answers. Tools read its first two numbers as HAProxy's version; the product's own name and
/// version stand behind the third.
pub const VERSION: &str = concat!("2.8.0-lockgate-", env!("CARGO_PKG_VERSION"));

/// `Release_date` of `show info`.
pub const RELEASE_DATE: &str = "2026/11/21";
