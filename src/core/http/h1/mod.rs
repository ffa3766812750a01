//! HTTP/1.0 and 1.1 as bytes: strict heads in, one framing decision per message, chunked bodies, no I/O.
//!
//! Reading order: [`mod@line`] (one field line, the grammar heads and trailers share), [`mod@parse`] (whole heads), [`framing`]
//! (the decision table: how long is the body, may the connection live on), [`chunked`] (the chunked coding),
//! [`reject`] (every rule a message can break).
//!
//! Every rule refuses rather than repairs: bytes two parsers could read in two ways never get past this module. Not
//! here: what is removed from or added to a head that was accepted (`super::hop`, `super::forwarded`).

pub mod chunked;
pub mod framing;
pub mod line;
pub mod parse;
pub mod reject;

pub use chunked::{ChunkDecoder, ChunkEvent, write_chunk_head, write_last_chunk};
pub use framing::{Body, RequestFraming, ResponseFraming, Upgrade, request_framing, response_framing};
pub use parse::{Parsed, parse_request, parse_response};
pub use reject::{Reject, RejectReason};

#[cfg(test)]
mod tests;
