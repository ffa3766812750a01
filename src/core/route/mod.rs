//! Where a request goes: conditions in order, first match wins.
//!
//! Here stand the types a configuration is lowered to, and the plain reading of them. [`index`] finds the same route
//! faster among many hosts; [`redirect`] writes where a redirect leads. Not here: what happens at the destination.

pub mod index;
pub mod redirect;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::core::compress::CompressionChoice;
use crate::core::filter::{HeaderRule, Template};
use crate::core::fleet::spec::BackendIndex;
use crate::core::http::Head;
use crate::core::pattern::{LivePatterns, PatternId};
use crate::core::tls::{TlsFacts, TlsSample};

pub use index::RouteIndex;
pub use redirect::render_redirect;

/// One route (`routes`): every kind of condition that is given must hold; within a kind one of its patterns is enough.
#[derive(Debug, Clone)]
pub struct Route {
    /// Host patterns; any host when empty.
    pub hosts: Vec<HostPattern>,
    /// Path patterns; any path when empty.
    pub paths: Vec<PathPattern>,
    /// Methods, exact and case-sensitive; any when empty.
    pub methods: Vec<Box<str>>,
    /// Header conditions, all must hold.
    pub headers: Vec<ValueCondition>,
    /// Query-parameter conditions, all must hold.
    pub query: Vec<ValueCondition>,
    /// Schemes: `Some(true)` only requests that came over TLS, `Some(false)` only plain ones.
    pub tls: Option<bool>,
    /// Conditions on the client's TLS, all must hold.
    pub samples: Vec<(TlsSample, ValueTest)>,
    /// Lists of networks the client must be in one of; any client when empty.
    pub clients: Vec<PatternId>,
    /// What happens.
    pub action: RouteAction,
    /// Header rules on requests of this route, after the frontend's.
    pub request_rules: Vec<HeaderRule>,
    /// Header rules on responses of this route, before the frontend's.
    pub response_rules: Vec<HeaderRule>,
    /// Compression of answers, in place of the backend's and the frontend's.
    pub compression: Option<CompressionChoice>,
}

/// A host to match, lower case, without port and trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// That host.
    Exact(Box<str>),
    /// `*.example.com` as `.example.com`: one or more labels in front.
    Suffix(Box<str>),
    /// `*`
    Any,
}

/// A path to match, against the normalised path without query.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// `= /exact`
    Exact(Box<str>),
    /// `/api/`: that path and everything below it (`/api` and `/api/…`, never `/apix`).
    Prefix(Box<str>),
    /// `~ regex`, anchored nowhere.
    Regex(Regex),
}

/// A condition on a named value.
#[derive(Debug, Clone)]
pub struct ValueCondition {
    /// Field or parameter name.
    pub name: Box<str>,
    /// What its value must be.
    pub test: ValueTest,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub enum ValueTest {
    /// It is there at all.
    Present,
    /// It is not there.
    Absent,
    /// It is exactly this.
    Exact(Box<str>),
    /// It matches this.
    Regex(Regex),
}

/// What happens to a request that matched.
#[derive(Debug, Clone)]
pub enum RouteAction {
    /// It goes to a backend.
    Backend(BackendIndex),
    /// It goes to the backend that a map names for its host. HAProxy: `use_backend %[req.hdr(host),lower,map(…)]`.
    HostMap(HostMap),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here.
    Respond(FixedAnswer),
}

/// A choice of the backend by host (`host_map`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMap {
    /// The map.
    pub map: PatternId,
    /// Where hosts go that it names no backend for; without it the route does not take them.
    pub default: Option<BackendIndex>,
    /// The backends it named at the start.
    pub named: Vec<BackendIndex>,
}

/// A redirect (`redirect`).
#[derive(Debug, Clone)]
pub struct Redirect {
    /// Where to.
    pub to: RedirectTarget,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Where a redirect points.
#[derive(Debug, Clone)]
pub enum RedirectTarget {
    /// `to: https://example.com`: the request's path and query are appended. HAProxy: `redirect prefix`.
    Prefix(Template),
    /// `location: …`: exactly this. HAProxy: `redirect location`.
    Location(Template),
    /// `scheme: https`: the same host and target under another scheme. HAProxy: `redirect scheme`.
    Scheme {
        /// `https` or `http`.
        scheme: Box<str>,
        /// Port put behind the host; none when absent.
        port: Option<u16>,
    },
}

/// An answer made by lockgate itself.
#[derive(Debug, Clone)]
pub struct FixedAnswer {
    /// Status code.
    pub status: u16,
    /// Fields besides length and date.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Body, held in memory.
    pub body: Arc<[u8]>,
}

/// What routes are matched against.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'a> {
    /// The request, normalised.
    pub head: &'a Head,
    /// Its host, normalised, without port; empty when there is none.
    pub host: &'a str,
    /// Whether it came over TLS.
    pub tls: bool,
    /// What is known of the client's TLS; `None` in clear text.
    pub tls_facts: Option<&'a TlsFacts>,
    /// The client, after trusted forwarding fields were applied.
    pub client: IpAddr,
    /// The lists in force.
    pub patterns: &'a LivePatterns,
}

/// The first route that takes the request, looked for one after the other.
pub fn find(routes: &[Route], facts: &RouteFacts<'_>) -> Option<usize> {
    routes.iter().position(|route| {
        (route.hosts.is_empty() || route.hosts.iter().any(|host| host.matches(facts.host))) && route.takes(facts)
    })
}

impl HostPattern {
    /// Whether a normalised host is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(exact) => host == &**exact,
            HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            HostPattern::Any => true,
        }
    }
}

impl PathPattern {
    /// Whether a normalised path is meant. A prefix covers whole segments only.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathPattern::Exact(exact) => path == exact.as_bytes(),
            PathPattern::Prefix(prefix) => {
                let stem = prefix.strip_suffix('/').unwrap_or(prefix).as_bytes();
                path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            PathPattern::Regex(regex) => regex.is_match(path),
        }
    }
}

impl Route {
    /// Whether every condition but the host's holds.
    fn takes(&self, facts: &RouteFacts<'_>) -> bool {
        let head = facts.head;
        self.tls.is_none_or(|tls| tls == facts.tls)
            && (self.clients.is_empty() || facts.patterns.holds_client(&self.clients, facts.client))
            && (self.methods.is_empty() || self.methods.iter().any(|method| method.as_bytes() == head.method()))
            && (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(head.path())))
            && self.samples.iter().all(|(sample, test)| {
                let value = sample.value(facts.tls_facts);
                value.write(|text| test.holds((!value.is_empty()).then_some(text).into_iter()))
            })
            && self.headers.iter().all(|condition| condition.test.holds(head.get_all(condition.name.as_bytes())))
            && self.query.iter().all(|condition| {
                let name = condition.name.as_bytes();
                let parameters = parameters(head.query().unwrap_or_default());
                condition.test.holds(parameters.filter(|(n, _)| **n == *name).map(|(_, value)| value))
            })
            && match &self.action {
                RouteAction::HostMap(map) => map.default.is_some() || map.backend(facts).is_some(),
                RouteAction::Backend(_) | RouteAction::Redirect(_) | RouteAction::Respond(_) => true,
            }
    }
}

impl HostMap {
    /// The backend for a request; `None` when there is neither an entry nor a default.
    pub fn backend(&self, facts: &RouteFacts<'_>) -> Option<BackendIndex> {
        facts.patterns.backend_for(self.map, facts.host).or(self.default)
    }
}

impl ValueTest {
    /// Whether it holds for the values a name has: one of them is enough, except that `Absent` wants none.
    fn holds<V: AsRef<[u8]>>(&self, mut values: impl Iterator<Item = V>) -> bool {
        match self {
            ValueTest::Present => values.next().is_some(),
            ValueTest::Absent => values.next().is_none(),
            ValueTest::Exact(exact) => values.any(|value| value.as_ref() == exact.as_bytes()),
            ValueTest::Regex(regex) => values.any(|value| regex.is_match(value.as_ref())),
        }
    }
}

/// The parameters of a query as (name, value), decoded as forms are: `%XX`, and `+` for a space.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split(|&b| b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = memchr::memchr(b'=', pair);
        let (name, value) = at.map_or((pair, &pair[pair.len()..]), |at| (&pair[..at], &pair[at + 1..]));
        (decode(name), decode(value))
    })
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests;
