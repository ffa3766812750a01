//! What is changed or noted on a message that passes: header rules and captures.
//!
//! Here stand the types a configuration is lowered to. Reading order: [`template`] (values with variables), [`rules`]
//! (applying header rules), [`capture`] (noting values for the log). Not here: fields lockgate itself sets or removes
//! (`crate::core::http::hop`, `crate::core::http::forwarded`).

pub mod capture;
pub mod rules;
pub mod template;

use regex::bytes::Regex;

use crate::core::proxy_protocol::Sample;
use crate::core::tls::TlsSample;

pub use capture::{capture_request, capture_response, strip_captured_request};
pub use rules::{apply_rules, reads_request};
pub use template::{TemplateContext, TemplateError, TemplateTrouble};

/// One header rule (`request_headers`, `response_headers`). HAProxy: `http-request set-header` and friends.
#[derive(Debug, Clone)]
pub enum HeaderRule {
    /// All fields of that name go, one with this value comes.
    Set {
        /// Field name.
        name: Box<str>,
        /// Its value.
        value: Template,
    },
    /// One more field.
    Add {
        /// Field name.
        name: Box<str>,
        /// Its value.
        value: Template,
    },
    /// All fields of that name go.
    Delete {
        /// Field name.
        name: Box<str>,
    },
    /// In each value of that name, every match becomes the replacement (`$1` allowed).
    Replace {
        /// Field name.
        name: Box<str>,
        /// What is looked for.
        pattern: Regex,
        /// What it becomes.
        with: Box<str>,
    },
}

/// A value with variables: literal pieces and `%[name]` lookups, parsed when the configuration is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub pieces: Vec<TemplatePiece>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePiece {
    /// As it stands.
    Literal(Box<str>),
    /// `%[client_ip]`
    ClientIp,
    /// `%[client_port]`
    ClientPort,
    /// `%[frontend]`
    Frontend,
    /// `%[backend]`
    Backend,
    /// `%[server]`
    Server,
    /// `%[request_id]`
    RequestId,
    /// `%[scheme]`: `http` or `https`.
    Scheme,
    /// `%[host]`: the request's host without port.
    Host,
    /// `%[path]`
    Path,
    /// `%[query]`, without the question mark.
    Query,
    /// `%[method]`
    Method,
    /// `%[fc_pp_authority]` and its kin: what the connection's PROXY header said besides addresses.
    Announced(Sample),
    /// `%[header(NAME)]`: the request's field, empty when absent.
    Header(Box<str>),
    /// `%[ssl_c_s_dn]`, `%[ja4]`, …: something of the client's TLS, empty in clear text.
    Tls(TlsSample),
}

/// What is captured for the log (`capture`). HAProxy: `capture request header NAME len N`, `capture cookie`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureSpec {
    /// Request fields, in the order of the log block.
    pub request: Vec<HeaderCapture>,
    /// Response fields, in the order of the log block.
    pub response: Vec<HeaderCapture>,
    /// A cookie, by the start of its name.
    pub cookie: Option<CookieCapture>,
}

/// One captured field; its last occurrence counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCapture {
    /// Field name.
    pub header: Box<str>,
    /// Longest value kept, in bytes.
    pub max_bytes: usize,
    /// Whether the field is removed before the message goes on.
    pub strip: bool,
}

/// A captured cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieCapture {
    /// Cookies whose `name=value` text begins with this.
    pub prefix: Box<str>,
    /// Longest text kept, in bytes.
    pub max_bytes: usize,
}
