//! HTTP messages: heads, framing and the fields that steer a proxy.
//!
//! Reading order: [`head`] (the arena every message ends up in), [`h1`] (bytes to heads and bodies, and every framing
//! rule), [`h2`] (HTTP/2 heads, and what its clients may do), [`host`] and [`uri`] (what is matched and sent on), [`hop`]
//! and [`forwarded`] (what is taken away and what is put in before a message goes on), [`cookie`], [`h2_to_server`] (heads as
//! HTTP/2 carries them to servers and back). [`grammar`] holds the byte classes they share.
//!
//! Not here: sockets and buffers (`frontend`, `backend`), and header rules of the operator (`crate::core::filter`).

pub mod cookie;
pub mod forwarded;
pub mod grammar;
pub mod h1;
pub mod h2;
pub mod h2_to_server;
pub mod head;
pub mod hop;
pub mod host;
pub mod uri;

pub use head::{Head, Known, Version};
