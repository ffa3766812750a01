//! Listening sockets and accepting.
