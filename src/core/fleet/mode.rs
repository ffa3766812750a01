//! What a frontend or backend understands of the bytes it moves, and what only those in TCP mode have to be told.
//!
//! That both sides of a route agree, and which keys mean nothing in which mode, is checked by `config::lower`.

use std::time::Duration;

use super::spec::{BackendSpec, FrontendSpec};

/// How much is understood of what passes through. HAProxy: `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Requests and answers.
    #[default]
    Http,
    /// Bytes.
    Tcp,
}

impl Mode {
    /// HAProxy's word: `http` or `tcp`.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
        }
    }
}

/// What only a frontend in TCP mode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFrontend {
    /// How long a client may take to say in its ClientHello which server it wants, when routes ask for that
    /// (`timeouts.hello`, default 5 s). HAProxy: `tcp-request inspect-delay`.
    pub hello: Duration,
    /// Inactivity of a client that is told of the server's end and has not ended itself (`timeouts.client_fin`); that of
    /// any client when absent. HAProxy: `timeout client-fin`.
    pub client_fin: Option<Duration>,
}

/// What only a backend in TCP mode has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpBackend {
    /// Inactivity of either side once both are connected, in place of the client's and the server's own timeouts
    /// (`timeouts.tunnel`, when it is written). HAProxy: `timeout tunnel`.
    pub tunnel: Option<Duration>,
    /// Inactivity of a server that is told of the client's end and has not ended itself (`timeouts.server_fin`); that of
    /// any server when absent. HAProxy: `timeout server-fin`.
    pub server_fin: Option<Duration>,
}

impl FrontendSpec {
    /// What it understands.
    pub fn mode(&self) -> Mode {
        if self.tcp.is_some() { Mode::Tcp } else { Mode::Http }
    }
}

impl BackendSpec {
    /// What it understands.
    pub fn mode(&self) -> Mode {
        if self.tcp.is_some() { Mode::Tcp } else { Mode::Http }
    }
}
