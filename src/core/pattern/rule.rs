//! Denials (`deny`): which requests a frontend refuses by its lists.

use std::net::IpAddr;

use super::{LivePatterns, PatternId};
use crate::core::http::Head;
use crate::core::tls::{TlsFacts, TlsSample};

/// One rule: every kind of list that is given must match; of a kind, one list is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenyRule {
    /// Networks of clients.
    pub clients: Vec<PatternId>,
    /// Hosts.
    pub hosts: Vec<PatternId>,
    /// Paths.
    pub paths: Vec<PatternId>,
    /// Values of request fields.
    pub headers: Vec<(Box<str>, Vec<PatternId>)>,
    /// Values of the client's TLS.
    pub samples: Vec<(TlsSample, Vec<PatternId>)>,
    /// Networks this rule never denies.
    pub except: Vec<PatternId>,
    /// The status of the answer.
    pub status: u16,
}

/// What rules are asked about.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The client, after trusted forwarding fields were applied.
    pub client: IpAddr,
    /// The request's host, normalised, without port.
    pub host: &'a str,
    /// The request, normalised.
    pub head: &'a Head,
    /// The client's TLS; `None` in clear text.
    pub tls: Option<&'a TlsFacts>,
}

impl DenyRule {
    /// Whether it denies a request.
    pub fn denies(&self, facts: &RequestFacts<'_>, patterns: &LivePatterns) -> bool {
        let head = facts.head;
        (self.clients.is_empty() || patterns.holds_client(&self.clients, facts.client))
            && (self.hosts.is_empty() || patterns.any(&self.hosts, |list| list.find_host(facts.host).is_some()))
            && (self.paths.is_empty() || patterns.any(&self.paths, |list| list.find_path(head.path()).is_some()))
            && self.headers.iter().all(|(name, lists)| {
                let mut values = head.get_all(name.as_bytes());
                values.any(|value| patterns.any(lists, |list| list.find_text(value).is_some()))
            })
            && self.samples.iter().all(|(sample, lists)| {
                sample.value(facts.tls).write(|value| patterns.any(lists, |list| list.find_text(value).is_some()))
            })
            && !patterns.holds_client(&self.except, facts.client)
    }
}
