//! Listening sockets, accepting, and the client's side of a transport.
//!
//! What is said on an accepted connection is `frontend`'s business.

pub mod accept;
pub mod bind;
pub mod door;
pub mod io;
pub mod per_source;
pub mod proxy_protocol;

pub use io::ClientIo;
