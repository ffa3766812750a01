//! `agent`: of a backend or a server; the server's adds to the backend's, key by key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Opt;
use super::frontend::OffWord;
use super::text::{Duration, Ip, Text};

/// `off`, or an agent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum AgentChoice {
    Off(OffWord),
    On(Box<Agent>),
}

/// A program beside a server that says how the server wants to be treated.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Agent {
    /// Where it listens. Required, here or in the backend's.
    #[schemars(range(min = 1))]
    pub port: Opt<u16>,
    /// Its address. Default: the server's.
    pub address: Opt<Ip>,
    /// What is sent to it first. Default: nothing.
    pub send: Opt<Text>,
    /// Time between two questions. Default: 2s.
    pub interval: Opt<Duration>,
    /// The longest a question may take, connect included. Default: 1s, or `interval` when that is shorter.
    pub timeout: Opt<Duration>,
}
