//! `frontends.NAME`.

use std::time::Duration;

use super::{Lowering, first};
use crate::config::document::NodeId;
use crate::config::model::{Bind, BindAddress, Global};
use crate::config::raw::{At, frontend as raw, text};
use crate::core::filter::{CaptureSpec, CookieCapture, HeaderCapture};
use crate::core::fleet::spec::{
    ClientTimeouts, ForwardFields, FrontendIndex, FrontendSpec, HttpLimits, ListenerSpec, RequestIdSpec,
};

impl Lowering<'_> {
    /// Lowers a frontend; its sockets are added to `binds`.
    pub fn frontend(
        &mut self,
        index: u32,
        name: &At<String>,
        written: &At<raw::Frontend>,
        global: &Global,
        binds: &mut Vec<Bind>,
    ) -> FrontendSpec {
        let first_bind = binds.len();
        match &written.bind {
            None => {
                self.missing(written.id(), format!("frontend `{}` listens nowhere", **name))
                    .help("add `bind: 0.0.0.0:80`");
            }
            Some(bind) => {
                let items = bind.items();
                if items.is_empty() {
                    self.missing(bind.id(), format!("frontend `{}` listens nowhere", **name)).help("add `0.0.0.0:80`");
                }
                let first = binds.len();
                for (number, (at, item)) in items.into_iter().enumerate() {
                    let Some(bind) = self.bind(FrontendIndex(index), number + 1, at, item) else { continue };
                    let named = |other: &Bind| bind.name.is_some() && other.name == bind.name;
                    if let Some(name) = bind.name.as_deref().filter(|_| binds[first..].iter().any(named)) {
                        self.error(at, format!("two binds of this frontend are called `{name}`"))
                            .help("name each differently: statistics and logs tell them apart by it");
                    }
                    if bind.name.as_deref().is_some_and(|name| name.starts_with("sock-")) {
                        self.error(at, "names that begin with `sock-` are those of binds without a name")
                            .help("choose another one");
                    }
                    binds.push(bind);
                }
            }
        }
        let listeners = match written.socket_stats.as_deref() {
            Some(true) => listeners(binds, FrontendIndex(index)),
            _ => Vec::new(),
        };
        let maxconn = first!(maxconn in Some(&**written), self.defaults);
        let log_null = first!(log_null in Some(&**written), self.defaults);
        let own_binds = binds.get(first_bind..).unwrap_or_default();
        let stats = written.stats.as_ref().map(|page| self.stats_page(page, own_binds));
        FrontendSpec {
            name: self.name(name.id(), name, "frontend"),
            iid: index.saturating_add(2),
            maxconn: maxconn.map_or(global.maxconn, |n| **n),
            maxconn_per_source: written.maxconn_per_source.as_deref().copied(),
            session_rate: written.rate_limit_sessions.as_deref().copied(),
            timeouts: self.client_timeouts(written.timeouts.as_deref()),
            limits: self.limits(written.limits.as_deref()),
            http2: self.http2_limits(written.http2.as_deref()),
            trusted_proxies: self.networks(written.trusted_proxies.as_ref()),
            forward: self.forward_fields(written.forwarded.as_deref()),
            request_id: self.request_id(written.request_id.as_ref()),
            capture: self.capture(written.capture.as_deref()),
            deny: self.denials(written.deny.as_deref()),
            rate_limits: self.rate_limits(written.rate_limits.as_deref()),
            request_rules: self.header_rules(written.request_headers.as_deref(), super::rule::Side::Request),
            response_rules: self.header_rules(written.response_headers.as_deref(), super::rule::Side::Response),
            routes: self.routes(name, written),
            no_route: self.answer(written.no_route.as_ref(), 404),
            log_null: log_null.is_some_and(|on| **on),
            log: self.frontend_log(Some(&**written)),
            listeners,
            stats: stats.map(Into::into),
        }
    }

    pub fn client_timeouts(&mut self, written: Option<&raw::ClientTimeouts>) -> ClientTimeouts {
        let defaults = self.defaults.and_then(|d| d.timeouts.as_deref());
        let seconds = Duration::from_secs;
        ClientTimeouts {
            request: self.timeout(first!(request in written, defaults), seconds(10)),
            keepalive: self.timeout(first!(keepalive in written, defaults), seconds(60)),
            client: self.timeout(first!(client in written, defaults), seconds(30)),
            handshake: self.timeout(first!(handshake in written, defaults), seconds(10)),
            tarpit: self.timeout(first!(tarpit in written, defaults), seconds(10)),
        }
    }

    pub fn limits(&mut self, written: Option<&crate::config::raw::Limits>) -> HttpLimits {
        let defaults = self.defaults.and_then(|d| d.limits.as_deref());
        let standard = HttpLimits::default();
        let pipeline = first!(pipeline in written, defaults);
        let mut limits = HttpLimits {
            head_max_bytes: self.head_limit(first!(head in written, defaults)),
            fields_max: first!(fields in written, defaults).map_or(standard.fields_max, |n| **n as usize),
            uri_max_bytes: self.bytes(first!(uri in written, defaults), standard.uri_max_bytes, 64, 1 << 20),
            chunk_line_max_bytes: self.chunk_line_limit(first!(chunk_line in written, defaults)),
            body_max_bytes: None,
            requests_per_connection: first!(requests_per_connection in written, defaults).map(|n| **n),
            pipeline_max_bytes: self.bytes(pipeline, standard.pipeline_max_bytes, 0, 1 << 24),
        };
        if let Some(body) = first!(body in written, defaults).filter(|body| (**body).as_ref() != "off") {
            limits.body_max_bytes = self.size(body, 0, u64::MAX);
        }
        let explicit = first!(uri in written, defaults);
        if let Some(uri) = explicit.filter(|_| limits.uri_max_bytes > limits.head_max_bytes) {
            self.error(uri.id(), "a target cannot be longer than the head it stands in")
                .help(format!("`limits.head` is {}", crate::core::units::ByteSize(limits.head_max_bytes as u64)));
        }
        limits.uri_max_bytes = limits.uri_max_bytes.min(limits.head_max_bytes);
        limits
    }

    /// Limits on answers: those of `defaults` that mean something there, and the backend's own.
    pub fn answer_limits(&mut self, written: Option<&crate::config::raw::AnswerLimits>) -> HttpLimits {
        let defaults = self.defaults.and_then(|d| d.limits.as_deref());
        let standard = HttpLimits::default();
        HttpLimits {
            head_max_bytes: self.head_limit(first!(head in written, defaults)),
            fields_max: first!(fields in written, defaults).map_or(standard.fields_max, |n| **n as usize),
            chunk_line_max_bytes: self.chunk_line_limit(first!(chunk_line in written, defaults)),
            ..standard
        }
    }

    fn head_limit(&mut self, written: Option<&At<text::Size>>) -> usize {
        self.bytes(written, HttpLimits::default().head_max_bytes, 1 << 10, 1 << 20)
    }

    fn chunk_line_limit(&mut self, written: Option<&At<text::Size>>) -> usize {
        self.bytes(written, HttpLimits::default().chunk_line_max_bytes, 18, 1 << 16)
    }

    fn bytes(&mut self, written: Option<&At<text::Size>>, default: usize, least: u64, most: u64) -> usize {
        let bytes = written.and_then(|w| self.size(w, least, most)).and_then(|b| usize::try_from(b).ok());
        bytes.unwrap_or(default)
    }

    pub fn forward_fields(&mut self, written: Option<&raw::Forwarded>) -> ForwardFields {
        let defaults = self.defaults.and_then(|d| d.forwarded.as_deref());
        ForwardFields {
            x_for: first!(x_forwarded_for in written, defaults).is_none_or(|on| **on),
            x_proto: first!(x_forwarded_proto in written, defaults).is_none_or(|on| **on),
            x_port: first!(x_forwarded_port in written, defaults).is_none_or(|on| **on),
            forwarded: first!(forwarded in written, defaults).is_some_and(|on| **on),
        }
    }

    pub fn request_id(&mut self, written: Option<&At<raw::RequestIdChoice>>) -> RequestIdSpec {
        let choice = written.or_else(|| self.defaults.and_then(|d| d.request_id.as_ref()));
        let on = match choice.map(|c| &**c) {
            Some(raw::RequestIdChoice::Off(_)) => return RequestIdSpec { header: None, respond: false },
            Some(raw::RequestIdChoice::On(on)) => Some(on),
            None => None,
        };
        let header = on.and_then(|on| on.header.as_ref());
        let header = header.and_then(|header| self.request_field(header.id(), header.as_ref()));
        RequestIdSpec {
            header: Some(header.unwrap_or_else(|| "X-Request-Id".into())),
            respond: on.and_then(|on| on.respond.as_deref()).copied().unwrap_or(false),
        }
    }

    fn capture(&mut self, written: Option<&raw::Capture>) -> CaptureSpec {
        let Some(written) = written else { return CaptureSpec::default() };
        let cookie = written.cookie.as_ref().and_then(|cookie| match &cookie.prefix {
            Some(prefix) if !prefix.as_ref().is_empty() => {
                Some(CookieCapture { prefix: prefix.as_ref().into(), max_bytes: max_bytes(cookie.max.as_deref()) })
            }
            _ => {
                self.missing(cookie.id(), "which cookie?").help("add `prefix: SESSIONID=`");
                None
            }
        });
        CaptureSpec {
            request: self.header_captures(written.request.as_deref()),
            response: self.header_captures(written.response.as_deref()),
            cookie,
        }
    }

    fn header_captures(&mut self, written: Option<&Vec<At<raw::HeaderCapture>>>) -> Vec<HeaderCapture> {
        let mut seen: Vec<(NodeId, Box<str>)> = Vec::new();
        let mut captures = Vec::new();
        for capture in written.into_iter().flatten() {
            let Some(header) = &capture.header else {
                self.missing(capture.id(), "which field is captured?").help("add `header: NAME`");
                continue;
            };
            let Some(name) = self.field_name(header.id(), header.as_ref()) else { continue };
            let strip = capture.strip.as_deref().copied().unwrap_or(false);
            if strip && super::rule::is_framing(&name) {
                self.error(header.id(), format!("`{name}` cannot be stripped"))
                    .help("messages cannot be read without it");
            }
            if let Some((first, _)) = seen.iter().find(|(_, n)| n.eq_ignore_ascii_case(&name)) {
                let first = *first;
                self.error(header.id(), format!("`{name}` is captured twice")).related(first, "first here");
                continue;
            }
            seen.push((header.id(), name.clone()));
            captures.push(HeaderCapture { header: name, max_bytes: max_bytes(capture.max.as_deref()), strip });
        }
        captures
    }
}

/// The frontend's sockets as statistics show them.
fn listeners(binds: &[Bind], frontend: FrontendIndex) -> Vec<ListenerSpec> {
    let of_frontend = binds.iter().filter(|b| b.frontend == frontend);
    let listener = |bind: &Bind| {
        let (address, protocol) = match &bind.address {
            BindAddress::Tcp(address) => (address.to_string(), if address.is_ipv4() { "tcpv4" } else { "tcpv6" }),
            BindAddress::Unix(_) => ("unix".to_owned(), "unix_stream"),
        };
        let name = bind.name.clone().unwrap_or_else(|| format!("sock-{}", bind.number).into());
        ListenerSpec { name, address: address.into(), protocol }
    };
    of_frontend.map(listener).collect()
}

fn max_bytes(written: Option<&u32>) -> usize {
    written.map_or(64, |n| *n as usize)
}
