//! Log lines: the record of one request, and the formats it is written in.

pub mod record;
