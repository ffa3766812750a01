//! Where a request goes: conditions in order, first match wins.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::core::filter::{HeaderRule, Template};
use crate::core::fleet::spec::BackendIndex;

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
    /// What happens.
    pub action: RouteAction,
    /// Header rules on requests of this route, after the frontend's.
    pub request_rules: Vec<HeaderRule>,
    /// Header rules on responses of this route, before the frontend's.
    pub response_rules: Vec<HeaderRule>,
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
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here.
    Respond(FixedAnswer),
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
