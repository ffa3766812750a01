//! The client side: one connection after another, one request after another.
