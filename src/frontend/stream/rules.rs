//! Understanding a request: who asks, for what, whether it may, and where it goes.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use super::{End, Stream};
use crate::core::filter::{self, TemplateContext};
use crate::core::fleet::mode::Mode;
use crate::core::fleet::spec::RequestIdSpec;
use crate::core::http::h1::Body;
use crate::core::http::{Head, cookie, forwarded, hop, host};
use crate::core::limit::{self, KeyFacts, LimitAction, Verdict};
use crate::core::pattern::RequestFacts;
use crate::core::route::{self, FixedAnswer, RouteAction, RouteFacts};
use crate::core::stats::counters::Counter;
use crate::core::termination::{Cause, Phase};
use crate::core::text;
use crate::core::tls::TlsFacts;
use crate::core::web::{Page, target};
use crate::frontend::connection::{Connection, millis};
use crate::frontend::registry::Doing;
use crate::runtime::clock;

/// Longest request id taken from a trusted peer.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Decision {
    /// To a backend.
    Backend(usize),
    /// Nowhere: it is answered here.
    Local(Local),
    /// To a stats page.
    Page(Page),
}

/// What is answered here.
#[derive(Debug)]
pub(super) enum Local {
    /// A configured answer.
    Fixed(FixedAnswer),
    /// A redirect; the location is in the scratch text.
    Redirect(u16),
}

impl Stream<'_> {
    /// Settles what the request's head means: client, host, id, body.
    pub(super) fn understand(&mut self) -> Result<(), End> {
        self.e.understood = true;
        self.close = !self.framing.keep_alive;
        let snapshot = self.e.snapshot.clone();
        let spec = &snapshot.frontends[self.e.frontend].spec;
        self.upload = match self.framing.body {
            Body::Chunked if self.e.http2 => super::upload::Upload::unframed(&spec.limits),
            body => super::upload::Upload::new(body, &spec.limits),
        };
        if let (Body::Length(n), Some(max)) = (self.framing.body, spec.limits.body_max_bytes)
            && n > max
        {
            self.close = true;
            return Err(End::new(Cause::BadRequest(413), Phase::Request));
        }
        if spec.limits.requests_per_connection.is_some_and(|max| self.connection.requests + 1 >= max) {
            self.close = true;
        }
        let scratch = &mut *self.e.scratch;
        host::write_request_host(&scratch.request, &mut scratch.host);
        let trusted = match self.connection.peer {
            Some(peer) if !spec.trusted_proxies.is_empty() => {
                let client = forwarded::client_from_forwarded(&scratch.request, peer.ip(), &spec.trusted_proxies);
                if client != peer.ip() {
                    self.e.client = Some(std::net::SocketAddr::new(client, peer.port()));
                }
                spec.trusted_proxies.iter().any(|n| n.contains(&peer.ip()))
            }
            _ => false,
        };
        take_or_make_id(&mut self.worker.rng.borrow_mut(), &spec.request_id, trusted, &mut self.e.scratch);
        // What a proxy passes on is settled here, before any rule adds to it.
        let scratch = &mut *self.e.scratch;
        capture(scratch, spec);
        filter::strip_captured_request(&mut scratch.request, &spec.capture);
        hop::strip_hop_by_hop(&mut scratch.request, self.framing.upgrade.is_some());
        let tls = self.connection.is_secure();
        let peer = self.connection.peer.map_or(IpAddr::from([127, 0, 0, 1]), |p| p.ip());
        let port = self.connection.destination_port().unwrap_or(0);
        forwarded::apply_forwarded(&mut scratch.request, peer, trusted, tls, port, &spec.forward);
        if let (Some(header), false) = (&spec.request_id.header, scratch.id.is_empty()) {
            hop::remove_with_aliases(&mut scratch.request, header.as_bytes());
            scratch.request.add(header.as_bytes(), &scratch.id);
        }
        Ok(())
    }

    /// The client's address as it counts for limits and hashing.
    pub(super) fn client_ip(&self) -> IpAddr {
        self.e.client.map_or(IpAddr::from([127, 0, 0, 1]), |a| a.ip())
    }

    /// Asks every list of the frontend's denials.
    pub(super) fn deny(&mut self) -> Result<(), End> {
        let snapshot = self.e.snapshot.clone();
        let rules = &snapshot.frontends[self.e.frontend].spec.deny;
        if rules.is_empty() {
            return Ok(());
        }
        let scratch = &self.e.scratch;
        let tls = self.connection.io.tls_facts();
        let client = self.client_ip();
        let facts = RequestFacts { client, host: &scratch.host, head: &scratch.request, tls: tls.as_deref() };
        match rules.iter().find(|rule| rule.denies(&facts, &self.worker.shared.patterns)) {
            None => Ok(()),
            Some(rule) => Err(self.denied(rule.status)),
        }
    }

    /// A refusal that waiting a little may or may not help.
    fn denied(&mut self, status: u16) -> End {
        self.retry_after(Duration::from_secs(1));
        End::new(Cause::Denied(status), Phase::Request)
    }

    /// Asks every rate limit of the frontend.
    pub(super) async fn limit(&mut self) -> Result<(), End> {
        let Some(tables) = self.worker.shared.rate_tables.get(self.e.frontend) else { return Ok(()) };
        if tables.is_empty() {
            return Ok(());
        }
        let client = self.client_ip();
        let tls = self.connection.io.tls_facts();
        let now = clock::now();
        let first = self.connection.requests == 0;
        let mut held = None;
        for table in tables {
            let spec = table.spec();
            if limit::is_exempt(spec, client) {
                continue;
            }
            let scratch = &mut *self.e.scratch;
            let request = &scratch.request;
            let facts = KeyFacts {
                client,
                host: &scratch.host,
                path: request.path(),
                header: &|name: &str| request.get(name.as_bytes()),
                tls: tls.as_deref(),
            };
            scratch.text.clear();
            if !limit::build_key(spec, &facts, &mut scratch.text) {
                continue;
            }
            match table.admit(&scratch.text, first, now) {
                Verdict::Admitted { place } => self.e.row_places.extend(place),
                Verdict::Denied { place } => {
                    self.e.row_places.extend(place);
                    self.e.limited_by = Some(spec.clone());
                    return Err(self.denied(spec.deny_status));
                }
                Verdict::Limited { retry_after, place } => {
                    self.e.row_places.extend(place);
                    self.e.limited_by = Some(spec.clone());
                    match spec.action {
                        LimitAction::LogOnly => {
                            let counters = &self.e.frontend().live.counters;
                            counters.inc(self.worker.shard, Counter::LimitDryRun);
                        }
                        action => {
                            held = Some((action, retry_after));
                            break;
                        }
                    }
                }
            }
        }
        match held {
            None => Ok(()),
            Some((LimitAction::Tarpit, _)) => {
                self.hold_in_tarpit().await;
                Err(End::new(Cause::Tarpitted, Phase::Request))
            }
            Some((_, retry_after)) => {
                self.retry_after(retry_after);
                Err(End::new(Cause::Denied(429), Phase::Request))
            }
        }
    }

    /// Puts the `Retry-After` of a refusal into the scratch text.
    fn retry_after(&mut self, wait: Duration) {
        let seconds = limit::bucket::retry_after_seconds(wait);
        self.e.scratch.text.clear();
        self.e.scratch.text.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    }

    /// Holds the request for the tarpit time, or until the client leaves.
    async fn hold_in_tarpit(&mut self) {
        let start = clock::now();
        let hold = self.e.frontend().spec.timeouts.tarpit;
        self.connection.deadline.set(start + hold);
        self.connection.place.entry.expires(true, start + hold);
        let connection = &mut *self.connection;
        connection.place.entry.doing.set(Doing::Tarpit);
        let shelf = &self.worker.shelf;
        poll_fn(|cx| {
            if connection.place.entry.kill.get().is_some() || connection.poll_left(cx, shelf, 0).is_some() {
                return Poll::Ready(());
            }
            connection.deadline.poll_passed(cx)
        })
        .await;
        self.e.timers.request = None;
        self.e.timers.queue = Some(millis(clock::now() - start));
        self.close = true;
    }

    /// Decides where the request goes and applies the header rules on the way.
    pub(super) fn route(&mut self) -> Decision {
        let snapshot = self.e.snapshot.clone();
        let spec = &snapshot.frontends[self.e.frontend].spec;
        // Header rules are for servers. A page needs what the client sent: who asks, and from which site.
        if let Some(stats) = &spec.stats
            && let Some(page) = target::page_of(stats, self.e.scratch.request.method(), self.e.scratch.request.target())
        {
            return Decision::Page(page);
        }
        self.apply_request_rules(&spec.request_rules);
        let tls_facts = self.connection.io.tls_facts();
        let facts = RouteFacts {
            head: &self.e.scratch.request,
            host: &self.e.scratch.host,
            tls: self.connection.is_secure(),
            tls_facts: tls_facts.as_deref(),
            client: self.client_ip(),
            patterns: &self.worker.shared.patterns,
        };
        let index = self.worker.shared.route_indexes.get(self.e.frontend);
        let found = match index {
            Some(index) => index.find(&spec.routes, &facts),
            None => route::find(&spec.routes, &facts),
        };
        let backend = found.and_then(|number| match &spec.routes[number].action {
            RouteAction::Backend(backend) => Some(*backend),
            // A map may name any backend later, also one that does not speak HTTP.
            RouteAction::HostMap(map) => map
                .backend(&facts)
                .filter(|index| snapshot.backends.get(index.0 as usize).is_some_and(|b| b.spec.mode() == Mode::Http)),
            RouteAction::Redirect(_) | RouteAction::Respond(_) => None,
        });
        let Some(number) = found else {
            self.e.no_route = true;
            return Decision::Local(Local::Fixed(spec.no_route.clone()));
        };
        self.e.route = Some(number);
        let route = &spec.routes[number];
        self.apply_request_rules(&route.request_rules);
        match &route.action {
            RouteAction::Backend(_) | RouteAction::HostMap(_) => match backend {
                Some(backend) => Decision::Backend(backend.0 as usize),
                // The entry that made the route take the request went at this very moment.
                None => {
                    self.e.no_route = true;
                    Decision::Local(Local::Fixed(spec.no_route.clone()))
                }
            },
            RouteAction::Respond(answer) => Decision::Local(Local::Fixed(answer.clone())),
            RouteAction::Redirect(redirect) => {
                let scratch = &mut *self.e.scratch;
                scratch.text.clear();
                let context = template_context(
                    self.connection,
                    self.e.client,
                    tls_facts.as_deref(),
                    (&spec.name, "", ""),
                    &scratch.id,
                    &scratch.host,
                    &scratch.request,
                );
                route::render_redirect(redirect, &context, &mut scratch.text);
                Decision::Local(Local::Redirect(redirect.status))
            }
        }
    }

    /// Applies header rules to the request.
    pub(super) fn apply_request_rules(&mut self, rules: &[filter::HeaderRule]) {
        if rules.is_empty() {
            return;
        }
        let snapshot = self.e.snapshot.clone();
        let frontend: &str = &snapshot.frontends[self.e.frontend].spec.name;
        let backend = self.e.backend.and_then(|i| snapshot.backends.get(i)).map_or("", |b| &b.spec.name);
        // A rule reads what the client sent, not what an earlier rule wrote.
        let reads = filter::reads_request(rules);
        let original = if reads { self.e.scratch.request.clone() } else { Head::new() };
        let scratch = &mut *self.e.scratch;
        let tls = self.connection.io.tls_facts();
        let names = (frontend, backend, "");
        let context = template_context(
            self.connection,
            self.e.client,
            tls.as_deref(),
            names,
            &scratch.id,
            &scratch.host,
            &original,
        );
        let refused = filter::apply_rules(&mut scratch.request, rules, &context);
        self.count_refused_rewrites(refused);
    }

    /// Applies header rules to the response.
    pub(super) fn apply_response_rules(&mut self, rules: &[filter::HeaderRule]) {
        if rules.is_empty() {
            return;
        }
        let snapshot = self.e.snapshot.clone();
        let frontend: &str = &snapshot.frontends[self.e.frontend].spec.name;
        let backend = self.e.backend.and_then(|i| snapshot.backends.get(i));
        let newer = self.e.newer.clone();
        let server = newer.as_ref().or(backend).zip(self.e.server).and_then(|(b, i)| b.servers.get(i));
        let names = (frontend, backend.map_or("", |b| &b.spec.name[..]), server.map_or("", |s| &s.spec.name[..]));
        let scratch = &mut *self.e.scratch;
        let tls = self.connection.io.tls_facts();
        let context = template_context(
            self.connection,
            self.e.client,
            tls.as_deref(),
            names,
            &scratch.id,
            &scratch.host,
            &scratch.request,
        );
        let refused = filter::apply_rules(&mut scratch.response, rules, &context);
        self.count_refused_rewrites(refused);
    }

    /// Header rules whose outcome was refused: counted everywhere the request has been. HAProxy: `wrew`.
    fn count_refused_rewrites(&self, refused: u64) {
        if refused == 0 {
            return;
        }
        let shard = self.worker.shard;
        self.connection.bind.add(&self.e.frontend().live, shard, Counter::Wrew, refused);
        if let Some(backend) = self.e.backend() {
            backend.live.counters.add(shard, Counter::Wrew, refused);
            if let Some(server) = self.e.server() {
                server.live.counters.add(shard, Counter::Wrew, refused);
            }
        }
    }
}

fn template_context<'a>(
    connection: &'a Connection,
    client: Option<std::net::SocketAddr>,
    tls_facts: Option<&'a TlsFacts>,
    (frontend, backend, server): (&'a str, &'a str, &'a str),
    id: &'a [u8],
    host: &'a str,
    request: &'a Head,
) -> TemplateContext<'a> {
    let (tls, announced) = (connection.is_secure(), connection.tlvs());
    TemplateContext { client, frontend, backend, server, request_id: id, tls, tls_facts, host, announced, request }
}

fn take_or_make_id(rng: &mut fastrand::Rng, spec: &RequestIdSpec, trusted: bool, scratch: &mut super::Scratch) {
    scratch.id.clear();
    let Some(header) = &spec.header else { return };
    if trusted && let Some(given) = scratch.request.get(header.as_bytes()) {
        let fits = !given.is_empty() && given.len() <= REQUEST_ID_MAX_BYTES && given.iter().all(u8::is_ascii_graphic);
        if fits {
            scratch.id.extend_from_slice(given);
            return;
        }
    }
    for word in [rng.u64(..), rng.u64(..)] {
        scratch.id.extend_from_slice(&text::hex(word));
    }
}

/// Captures for the log what the client sent, before anything is changed.
fn capture(scratch: &mut super::Scratch, spec: &crate::core::fleet::spec::FrontendSpec) {
    filter::capture_request(&scratch.request, &spec.capture, &mut scratch.request_captures);
    if let Some(wanted) = &spec.capture.cookie {
        scratch.request_cookie = cookie::find_prefixed(&scratch.request, wanted.prefix.as_bytes())
            .map(|c| c[..c.len().min(wanted.max_bytes)].to_vec());
    }
}
