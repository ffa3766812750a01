//! A stats page as configured (`stats` of a frontend).

use std::time::Duration;

use super::password::PasswordHash;

/// What someone may do on a stats page. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Reads.
    Viewer,
    /// Also changes states, health and checks of servers; sees addresses and cookies.
    Operator,
    /// Also ends servers' sessions.
    Admin,
}

impl AccessLevel {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            AccessLevel::Viewer => "viewer",
            AccessLevel::Operator => "operator",
            AccessLevel::Admin => "admin",
        }
    }
}

/// Someone who may sign in. HAProxy: `stats auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The name.
    pub name: Box<str>,
    /// The password, hashed.
    pub password: PasswordHash,
    /// What the user may do.
    pub level: AccessLevel,
}

/// A frontend's stats page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSpec {
    /// Where it is: begins with `/`. HAProxy: `stats uri`.
    pub path: Box<str>,
    /// Where the counters are for Prometheus.
    pub metrics: Option<Box<str>>,
    /// How often browsers load it anew. HAProxy: `stats refresh`.
    pub refresh: Option<Duration>,
    /// The realm of the password prompt. HAProxy: `stats realm`.
    pub realm: Box<str>,
    /// The heading of the page.
    pub title: Option<Box<str>>,
    /// Whether the version is told. HAProxy: the opposite of `stats hide-version`.
    pub show_version: bool,
    /// Whether addresses and cookies are told to everybody. HAProxy: `stats show-legends`.
    pub show_legends: bool,
    /// Whether the machine's name is told. HAProxy: `stats show-node`.
    pub show_node: bool,
    /// Who may sign in; nobody needs to when empty.
    pub users: Vec<UserSpec>,
    /// What everybody may do while there are no users.
    pub level: AccessLevel,
    /// Names of the only frontends and backends it tells of; all when empty. HAProxy: `stats scope`.
    pub scope: Vec<Box<str>>,
}

impl PageSpec {
    /// Whether it tells of this frontend or backend.
    pub fn covers(&self, proxy: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|name| **name == *proxy)
    }
}
