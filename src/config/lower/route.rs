//! `routes`: conditions and what happens.

use super::Lowering;
use super::rule::Side;
use crate::config::document::NodeId;
use crate::config::raw::frontend::{ConditionChoice, Scheme};
use crate::config::raw::{At, Named, frontend as raw};
use crate::config::shape::shorten;
use crate::core::filter::{Template, TemplatePiece};
use crate::core::route::{
    HostPattern, PathPattern, Redirect, RedirectTarget, Route, RouteAction, ValueCondition, ValueTest,
};

impl Lowering<'_> {
    pub fn routes(&mut self, frontend: &At<String>, written: &At<raw::Frontend>) -> Vec<Route> {
        let at = written.routes.as_ref().map_or(written.id(), At::id);
        let list = written.routes.as_deref();
        if list.is_none_or(Vec::is_empty) && written.stats.is_none() {
            self.missing(at, format!("frontend `{}` has no routes", **frontend))
                .help("add `routes: [ { backend: NAME } ]` to send everything to one backend");
        }
        let mut routes = Vec::new();
        let mut catch_all: Option<NodeId> = None;
        for route in list.into_iter().flatten() {
            if let Some(earlier) = catch_all {
                self.warning(route.id(), "this route is never reached")
                    .related(earlier, "this one takes every request")
                    .help("the first route that matches wins: move the general one to the end");
            }
            let lowered = self.route(route);
            if catch_all.is_none() && takes_everything(route) && !self.report.is_damaged(route.id()) {
                catch_all = Some(route.id());
            }
            routes.extend(lowered);
        }
        routes
    }

    fn route(&mut self, written: &At<raw::Route>) -> Option<Route> {
        let mut hosts = Vec::new();
        for (at, host) in written.host.iter().chain(&written.sni).flat_map(|hosts| hosts.items()) {
            hosts.extend(self.host_pattern(at, host.as_ref()));
        }
        let mut paths = Vec::new();
        for (at, path) in written.path.iter().flat_map(|paths| paths.items()) {
            paths.extend(self.path_pattern(at, path.as_ref()));
        }
        let mut methods = Vec::new();
        for (at, method) in written.method.iter().flat_map(|methods| methods.items()) {
            methods.extend(self.method(at, method.as_ref()));
        }
        // A list without items would match nothing, or everything: neither was said.
        let empty = [
            written.host.as_ref().filter(|l| l.items().is_empty()).map(At::id),
            written.sni.as_ref().filter(|l| l.items().is_empty()).map(At::id),
            written.path.as_ref().filter(|l| l.items().is_empty()).map(At::id),
            written.method.as_ref().filter(|l| l.items().is_empty()).map(At::id),
        ];
        for at in empty.into_iter().flatten() {
            self.missing(at, "this condition lists nothing")
                .help("name something, or remove the key to match everything");
        }
        let headers = self.conditions(written.header.as_ref(), true);
        let query = self.conditions(written.query.as_ref(), false);
        let mut samples = Vec::new();
        for (name, condition) in written.sample.iter().flat_map(|named| named.0.iter()) {
            let sample = self.tls_sample(name.id(), name);
            if let (Some(sample), Some(test)) = (sample, self.value_test(condition)) {
                samples.push((sample, test));
            }
        }
        let request_rules = self.header_rules(written.request_headers.as_deref(), Side::Request);
        let response_rules = self.header_rules(written.response_headers.as_deref(), Side::Response);
        let clients = self.client_lists(written.client_ip.as_ref());
        let compression = self.compression(written.compression.as_ref());
        let action = self.action(written)?;
        let tls = written.tls.as_deref().copied();
        if let (Some(at), RouteAction::Redirect(_) | RouteAction::Respond(_)) = (&written.compression, &action) {
            self.error(at.id(), "answers that are given here are not compressed")
                .help("remove `compression`, or lead the route to a backend");
        }
        Some(Route {
            hosts,
            paths,
            methods,
            headers,
            query,
            tls,
            samples,
            clients,
            action,
            request_rules,
            response_rules,
            compression,
        })
    }

    fn action(&mut self, written: &At<raw::Route>) -> Option<RouteAction> {
        let mut actions = Vec::new();
        if written.host_map.is_some() {
            actions.push(self.host_map(written).map(RouteAction::HostMap));
        } else if let Some(backend) = &written.backend {
            actions.push(self.backend_named(backend.id(), backend.as_ref()).map(RouteAction::Backend));
        }
        if let Some(redirect) = &written.redirect {
            actions.push(self.redirect(redirect).map(RouteAction::Redirect));
        }
        if let Some(respond) = &written.respond {
            actions.push(Some(RouteAction::Respond(self.answer(Some(respond), 200))));
        }
        match actions.len() {
            1 => actions.pop().flatten(),
            0 => {
                self.missing(written.id(), "this route leads nowhere")
                    .help("add one of `backend`, `host_map`, `redirect`, `respond`");
                None
            }
            _ => {
                self.error(written.id(), "this route does several things")
                    .help("a route has exactly one of `backend` (with or without `host_map`), `redirect`, `respond`");
                None
            }
        }
    }

    fn host_pattern(&mut self, at: NodeId, written: &str) -> Option<HostPattern> {
        if written == "*" {
            return Some(HostPattern::Any);
        }
        let host = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
        let (wildcard, name) = match host.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*host),
        };
        if is_host_name(name) || (!wildcard && is_ip_literal(name)) {
            return Some(match wildcard {
                true => HostPattern::Suffix(format!(".{name}").into()),
                false => HostPattern::Exact(name.into()),
            });
        }
        let diagnostic = self.error(at, format!("`{}` is not a host", shorten(written)));
        let without_scheme = host.split_once("://").map_or(&*host, |(_, rest)| rest);
        let bare = without_scheme.split('/').next().unwrap_or_default();
        let (bare, port) = bare.rsplit_once(':').unwrap_or((bare, ""));
        if without_scheme != host && is_host_name(bare) {
            diagnostic.label(format!("write `{bare}`, without the scheme"));
        } else if !port.is_empty() && is_host_name(bare) {
            diagnostic.label(format!("write `{bare}`: ports are not looked at"));
        } else if without_scheme.contains('/') && is_host_name(bare) {
            diagnostic.label(format!("write `{bare}`, and the rest under `path`"));
        } else if name.contains('*') {
            diagnostic.help("a wildcard stands alone in front: `*.example.com`");
        } else if !written.is_ascii() {
            diagnostic.help("write international names as they are sent: `xn--…`");
        }
        diagnostic.help("hosts are `example.com`, `*.example.com` or `*`");
        None
    }

    fn path_pattern(&mut self, at: NodeId, written: &str) -> Option<PathPattern> {
        if let Some(pattern) = written.strip_prefix('~') {
            return self.regex(at, pattern.trim_start()).map(PathPattern::Regex);
        }
        let (exact, path) = match written.strip_prefix('=') {
            Some(path) => (true, path.trim()),
            None => (false, written),
        };
        if !path.starts_with('/') {
            self.error(at, format!("`{}` is not a path", shorten(written)))
                .label(if path.contains("://") {
                    "only the path, without scheme and host"
                } else {
                    "a path begins with `/`"
                })
                .help(PATH_FORMS);
            return None;
        }
        if let Some(bad) = path.chars().find(|c| matches!(c, '?' | '#' | '\\') || c.is_whitespace() || c.is_control()) {
            let diagnostic =
                self.error(at, format!("this path never matches: {} is not part of a path", bad.escape_debug()));
            match bad {
                '?' => diagnostic.help("conditions on the query stand under `query`"),
                _ => diagnostic.help(PATH_FORMS),
            };
            return None;
        }
        if !exact && path.contains('*') {
            self.error(at, "a star has no meaning in a path")
                .label(format!("write `{}`: it covers everything below", path.trim_end_matches('*')))
                .help(PATH_FORMS);
            return None;
        }
        if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
            self.error(at, "this path never matches: requests are normalised first")
                .help("`//`, `/./` and `/../` are resolved before routes are looked at");
            return None;
        }
        Some(match exact {
            true => PathPattern::Exact(path.into()),
            false if path.ends_with('/') => PathPattern::Prefix(path.into()),
            false => PathPattern::Prefix(format!("{path}/").into()),
        })
    }

    /// A request method (RFC 9110, section 9.1).
    pub fn method(&mut self, at: NodeId, written: &str) -> Option<Box<str>> {
        let upper = written.to_ascii_uppercase();
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
        if written != upper && known.contains(&&*upper) {
            self.error(at, format!("methods are case-sensitive: `{}` is never sent", shorten(written)))
                .label(format!("did you mean `{upper}`?"));
            return None;
        }
        if written.is_empty()
            || written.len() > 32
            || !written.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            self.error(at, format!("`{}` is not a method", shorten(written))).help("as `GET` or `[GET, HEAD]`");
            return None;
        }
        Some(written.into())
    }

    fn conditions(&mut self, written: Option<&At<Named<ConditionChoice>>>, is_header: bool) -> Vec<ValueCondition> {
        let mut conditions = Vec::new();
        for (name, condition) in written.iter().flat_map(|named| named.0.iter()) {
            let name = match is_header {
                true => self.field_name(name.id(), name),
                false => Some(name.as_str().into()),
            };
            if let (Some(name), Some(test)) = (name, self.value_test(condition)) {
                conditions.push(ValueCondition { name, test });
            }
        }
        conditions
    }

    fn value_test(&mut self, written: &At<ConditionChoice>) -> Option<ValueTest> {
        let condition = match &**written {
            ConditionChoice::Value(text) => {
                let text = text.as_ref();
                return match (text.strip_prefix('~'), text.strip_prefix("= ")) {
                    (Some(pattern), _) => self.regex(written.id(), pattern.trim_start()).map(ValueTest::Regex),
                    (None, Some(exact)) => Some(ValueTest::Exact(exact.into())),
                    (None, None) => Some(ValueTest::Exact(text.into())),
                };
            }
            ConditionChoice::Full(condition) => condition,
        };
        match (condition.present.as_deref(), &condition.exact, &condition.regex) {
            (Some(true), None, None) => Some(ValueTest::Present),
            (Some(false), None, None) => Some(ValueTest::Absent),
            (None, Some(exact), None) => Some(ValueTest::Exact(exact.as_ref().into())),
            (None, None, Some(regex)) => self.regex(regex.id(), regex.as_ref()).map(ValueTest::Regex),
            _ => {
                self.missing(written.id(), "a condition has exactly one of `present`, `exact`, `regex`");
                None
            }
        }
    }

    fn redirect(&mut self, written: &At<raw::Redirect>) -> Option<Redirect> {
        let status = written.status.as_deref().copied().unwrap_or(301);
        if let (Some(at), false) = (&written.status, matches!(status, 301 | 302 | 303 | 307 | 308)) {
            self.error(at.id(), format!("{status} is not a redirect"))
                .help("301 or 308 are for good, 302 or 307 for now, 303 turns a POST into a GET");
        }
        if let (Some(port), None) = (&written.port, &written.scheme) {
            self.error(port.id(), "`port` belongs to `scheme`").help("write the port into the URL");
        }
        let to = match (&written.to, &written.location, &written.scheme) {
            (Some(to), None, None) => {
                let template = self.location(to.id(), to.as_ref())?;
                RedirectTarget::Prefix(without_final_slash(template))
            }
            (None, Some(location), None) => RedirectTarget::Location(self.location(location.id(), location.as_ref())?),
            (None, None, Some(scheme)) => RedirectTarget::Scheme {
                scheme: match **scheme {
                    Scheme::Http => "http".into(),
                    Scheme::Https => "https".into(),
                },
                port: written.port.as_deref().copied(),
            },
            _ => {
                self.missing(written.id(), "a redirect has exactly one of `to`, `location`, `scheme`")
                    .help("`to: https://example.com` keeps the path, `location: …` does not, `scheme: https` only changes the scheme");
                return None;
            }
        };
        Some(Redirect { to, status })
    }

    /// Where a redirect leads: an absolute URL or a path, perhaps with variables.
    fn location(&mut self, at: NodeId, written: &str) -> Option<Template> {
        let template = self.template(at, written)?;
        let lead = match template.pieces.first() {
            Some(TemplatePiece::Literal(text)) => &**text,
            Some(_) => "/",
            None => "",
        };
        if !(lead.starts_with('/') || lead.starts_with("http://") || lead.starts_with("https://")) {
            let diagnostic = self.error(at, format!("`{}` is not a place to send a client to", shorten(written)));
            if is_host_name(lead.split('/').next().unwrap_or_default()) {
                diagnostic.label(format!("did you mean `https://{}`?", shorten(written)));
            }
            diagnostic.help("it begins with `https://`, `http://` or `/`");
            return None;
        }
        if written.contains(char::is_whitespace) {
            self.error(at, "a URL contains no spaces").help("a space is written `%20`; with variables in it, `%%20`");
            return None;
        }
        Some(template)
    }
}

const PATH_FORMS: &str = "paths are `/api/` (and everything below), `= /exact` or `~ regex`";

/// Whether a route has no condition that some request could fail.
fn takes_everything(route: &raw::Route) -> bool {
    let any_host = route.host.as_ref().is_none_or(|hosts| hosts.items().iter().any(|(_, host)| host.as_ref() == "*"));
    let any_name = route.sni.as_ref().is_none_or(|names| names.items().iter().any(|(_, name)| name.as_ref() == "*"));
    let any_path = route.path.as_ref().is_none_or(|paths| paths.items().iter().any(|(_, path)| path.as_ref() == "/"));
    let conditions = route.header.is_some()
        || route.query.is_some()
        || route.method.is_some()
        || route.tls.is_some()
        || route.sample.is_some();
    let some_hosts = route.host_map.is_some() && route.backend.is_none();
    any_host && any_name && any_path && !conditions && route.client_ip.is_none() && !some_hosts
}

/// `https://example.com/` would give `https://example.com//path`.
fn without_final_slash(mut template: Template) -> Template {
    if let Some(TemplatePiece::Literal(text)) = template.pieces.last_mut()
        && let Some(shorter) = text.strip_suffix('/')
    {
        *text = shorter.into();
    }
    template.pieces.retain(|piece| !matches!(piece, TemplatePiece::Literal(text) if text.is_empty()));
    template
}

/// Dot-separated labels of letters, digits, `-` and `_`.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    !name.is_empty() && name.len() <= 253 && name.split('.').all(label)
}

fn is_ip_literal(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
}
