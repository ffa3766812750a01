//! `backends.NAME`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::rule::Side;
use super::{Lowering, first};
use crate::config::document::NodeId;
use crate::config::foreign;
use crate::config::raw::backend::{ObserveChoice, RetryWord, SameSite};
use crate::config::raw::{At, OneOrMany, backend as raw, text};
use crate::config::shape::shorten;
use crate::core::balance::Algorithm;
use crate::core::fleet::spec::{BackendSpec, CookiePersistence, PoolSpec, RetryOn, ServerSpec, ServerTimeouts};

impl Lowering<'_> {
    pub fn backend(&mut self, iid: u32, name: &At<String>, written: &At<raw::Backend>) -> BackendSpec {
        let layer = Some(&**written);
        let retries = first!(retries in layer, self.defaults).map_or(3, |n| **n);
        let redispatch = first!(redispatch in layer, self.defaults).is_none_or(|on| **on);
        let retry_on = first!(retry_on in layer, self.defaults);
        let queue_max = first!(queue_max in layer, self.defaults).map_or(10_000, |n| **n);
        let algorithm = first!(balance in layer, self.defaults);
        let mut source = Vec::new();
        for (at, address) in written.source.iter().flat_map(|source| source.items()) {
            source.extend(self.ip(at, address.as_ref()));
        }
        self.server_tls_alone(written.tls.as_ref());
        let tls = self.server_tls(&[self.defaults.and_then(|d| d.server_tls.as_ref()), written.tls.as_ref()], None);
        // Looked at by itself, so that it is checked even when every server says otherwise.
        let check = self.check(
            &[self.defaults.and_then(|d| d.health_check.as_ref()), written.health_check.as_ref()],
            super::Completeness::Partial,
            &tls,
        );
        self.agent_alone(written.agent.as_ref());
        let observed = written.observe.as_ref().filter(|o| !matches!(***o, ObserveChoice::Off(_)));
        if let (Some(observe), None) = (observed, &check) {
            self.observe_without_check(observe.id());
        }
        let tuning = self.tuning(None, Some(&**written), check.is_some());
        BackendSpec {
            name: self.name(name.id(), name, "backend"),
            iid,
            algorithm: self.balance(algorithm),
            timeouts: self.server_timeouts(written.timeouts.as_deref()),
            limits: self.answer_limits(written.limits.as_deref()),
            retries,
            redispatch,
            retry_on: self.retry_on(retry_on),
            cookie: written.cookie.as_ref().and_then(|cookie| self.cookie(cookie)),
            queue_max,
            server_queue_max: written.server_queue_max.as_deref().copied(),
            maintenance: written.maintenance.as_deref().copied().unwrap_or(false),
            maintenance_answer: self.maintenance_answer(written.maintenance_page.as_ref()),
            pool: self.pool(written.pool.as_deref()),
            http2: self.http2_to_servers(written),
            source,
            log_health_checks: first!(log_health_checks in layer, self.defaults).is_some_and(|on| **on),
            request_rules: self.header_rules(written.request_headers.as_deref(), Side::Request),
            response_rules: self.header_rules(written.response_headers.as_deref(), Side::Response),
            servers: self.servers(name, written),
            server_defaults: tuning.defaults(check.map(Into::into), tls),
        }
    }

    fn servers(&mut self, name: &At<String>, written: &At<raw::Backend>) -> Vec<Arc<ServerSpec>> {
        let maintenance = written.maintenance.as_deref().copied().unwrap_or(false);
        let mut servers = Vec::new();
        for (server_name, server) in written.servers.iter().flat_map(|servers| servers.0.iter()) {
            servers.extend(self.server(name, server_name, server, written).map(Arc::new));
        }
        let listed = written.servers.as_ref().map_or(0, |servers| servers.0.len());
        if listed == 0 && !maintenance {
            let at = written.servers.as_ref().map_or(written.id(), At::id);
            self.missing(at, format!("backend `{}` has no servers", **name))
                .help("add `servers: { NAME: 10.0.0.1:80 }`; for a page alone, `maintenance: true`");
        }
        if servers.len() == listed && listed > 0 && servers.iter().all(|server| server.weight == 0) {
            self.warning(name.id(), format!("every server of backend `{}` has weight 0", **name))
                .help("only requests bound to a server by its cookie get through");
        }
        self.without_persistence(written, &servers);
        self.same_places(written, &servers);
        self.same_cookies(written, &servers);
        servers
    }

    /// Warns of what only means something where clients are bound to servers.
    fn without_persistence(&mut self, written: &raw::Backend, servers: &[Arc<ServerSpec>]) {
        if written.cookie.is_some() {
            return;
        }
        let remedy = "add `cookie: { name: SERVERID }` to the backend, or remove it";
        if let Some(max) = &written.server_queue_max {
            self.warning(max.id(), "nobody waits for one certain server: this backend has no `cookie`").help(remedy);
        }
        for server in servers.iter().filter(|server| server.cookie.is_some()) {
            let Some(at) = place_of(written, &server.name) else { continue };
            self.warning(at, format!("server `{}` has a cookie value, but its backend no `cookie`", server.name))
                .help(remedy);
        }
    }

    /// Warns of two servers at one address: a name was changed and the address was not.
    fn same_places(&mut self, written: &raw::Backend, servers: &[Arc<ServerSpec>]) {
        let mut seen: HashMap<String, NodeId> = HashMap::new();
        for server in servers {
            let Some(at) = place_of(written, &server.name) else { continue };
            match seen.get(&format!("{:?}", server.address)) {
                Some(first) => {
                    self.warning(at, format!("server `{}` has the address of another", server.name))
                        .related(*first, "the same address")
                        .help("it gets twice the requests, and twice the checks; `weight` does the first alone");
                }
                None => {
                    seen.insert(format!("{:?}", server.address), at);
                }
            }
        }
    }

    /// Two servers with one cookie value would take each other's clients.
    fn same_cookies(&mut self, written: &raw::Backend, servers: &[Arc<ServerSpec>]) {
        let mut seen: HashMap<&str, NodeId> = HashMap::new();
        for server in servers {
            let Some(at) = place_of(written, &server.name) else { continue };
            let value = server.cookie.as_deref().unwrap_or(&server.name);
            if let Some(first) = seen.insert(value, at) {
                self.error(at, format!("two servers have the cookie value `{}`", shorten(value)))
                    .related(first, "the other")
                    .help("clients are bound to one server by it: give each its own");
            }
        }
    }

    pub fn balance(&mut self, written: Option<&At<text::Algorithm>>) -> Algorithm {
        let Some(written) = written else { return Algorithm::RoundRobin };
        let words = [
            ("roundrobin", Algorithm::RoundRobin),
            ("leastconn", Algorithm::LeastConn),
            ("random", Algorithm::Random),
            ("first", Algorithm::First),
            ("source", Algorithm::Source),
            ("uri", Algorithm::Uri),
        ];
        let text = written.as_ref();
        if let Some((_, algorithm)) = words.iter().find(|(word, _)| *word == text) {
            return algorithm.clone();
        }
        let header = text.strip_prefix("header(").or_else(|| text.strip_prefix("hdr("));
        if let Some(name) = header.and_then(|rest| rest.strip_suffix(')')) {
            return self.field_name(written.id(), name).map_or(Algorithm::RoundRobin, Algorithm::Header);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let diagnostic = self.error(written.id(), format!("`{}` is not a balancing algorithm", shorten(text)));
        match foreign::algorithm(text) {
            Some(word) => diagnostic.label(format!("did you mean `{word}`?")),
            None => diagnostic.did_you_mean(text, words.iter().map(|(word, _)| *word)),
        };
        diagnostic.help(format!("allowed: {}, `header(NAME)`", known.join(", ")));
        Algorithm::RoundRobin
    }

    pub fn server_timeouts(&mut self, written: Option<&raw::ServerTimeouts>) -> ServerTimeouts {
        let defaults = self.defaults.and_then(|d| d.timeouts.as_deref());
        let seconds = Duration::from_secs;
        ServerTimeouts {
            queue: self.timeout(first!(queue in written, defaults), seconds(30)),
            connect: self.timeout(first!(connect in written, defaults), seconds(5)),
            handshake: self.timeout(first!(server_handshake in written, defaults), seconds(5)),
            server: self.timeout(first!(server in written, defaults), seconds(30)),
            tunnel: self.timeout(first!(tunnel in written, defaults), seconds(3600)),
        }
    }

    pub fn pool(&mut self, written: Option<&raw::Pool>) -> PoolSpec {
        let defaults = self.defaults.and_then(|d| d.pool.as_deref());
        PoolSpec {
            max_idle: first!(max_idle in written, defaults).map_or(64, |n| **n),
            idle_timeout: self.timeout(first!(idle_timeout in written, defaults), Duration::from_secs(30)),
        }
    }

    pub fn retry_on(&mut self, written: Option<&At<OneOrMany<RetryWord>>>) -> RetryOn {
        let Some(written) = written else { return RetryOn { empty_response: true, status_503: false } };
        let mut retry_on = RetryOn { empty_response: false, status_503: false };
        let items = written.items();
        for (at, word) in &items {
            match word {
                RetryWord::EmptyResponse => retry_on.empty_response = true,
                RetryWord::Status503 => retry_on.status_503 = true,
                RetryWord::None if items.len() > 1 => {
                    self.error(*at, "`none` stands alone").help("remove it, or everything else");
                }
                RetryWord::None => {}
            }
        }
        retry_on
    }

    fn cookie(&mut self, written: &At<raw::Cookie>) -> Option<CookiePersistence> {
        let domain = written.domain.as_ref().and_then(|domain| self.cookie_attribute(domain, "domain"));
        let path = written.path.as_ref().and_then(|path| self.cookie_attribute(path, "path"));
        let same_site = written.same_site.as_ref();
        let secure = written.secure.as_deref().copied().unwrap_or(false);
        if let Some(same_site) = same_site.filter(|s| ***s == SameSite::None && !secure) {
            self.error(same_site.id(), "browsers drop a cookie with `SameSite=None` that is not secure")
                .help("add `secure: true`");
        }
        let Some(name) = &written.name else {
            self.missing(written.id(), "the cookie has no `name`").help("add `name: SERVERID`");
            return None;
        };
        if !super::value::is_token(name.as_ref()) {
            self.error(name.id(), format!("`{}` cannot be the name of a cookie", shorten(name.as_ref())))
                .help("letters, digits, `-` and `_`, without spaces");
        }
        Some(CookiePersistence {
            name: name.as_ref().into(),
            secure,
            http_only: written.http_only.as_deref().copied().unwrap_or(false),
            domain,
            path: path.unwrap_or_else(|| "/".into()),
            same_site: same_site.map(|s| match **s {
                SameSite::Strict => "Strict".into(),
                SameSite::Lax => "Lax".into(),
                SameSite::None => "None".into(),
            }),
            nocache: written.nocache.as_deref().copied().unwrap_or(true),
        })
    }

    fn cookie_attribute(&mut self, written: &At<text::Text>, what: &str) -> Option<Box<str>> {
        let text = written.as_ref();
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() && c != ';' && c != ',') {
            self.error(written.id(), format!("`{}` cannot be the {what} of a cookie", shorten(text)))
                .help("printable characters without spaces, `;` and `,`");
            return None;
        }
        Some(text.into())
    }

    pub fn observe_without_check(&mut self, at: NodeId) {
        self.error(at, "`observe` without a health check: nothing would bring a server back")
            .help("remove `observe`, or `health_check: off`");
    }
}

/// The place of a server's value by its name.
fn place_of(written: &raw::Backend, name: &str) -> Option<NodeId> {
    let servers = written.servers.as_ref()?;
    servers.0.iter().find(|(known, _)| known.as_str() == name).map(|(_, server)| server.id())
}
