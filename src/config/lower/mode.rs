//! `mode`: which keys mean something in which mode, and that both ends of a route are in the same.
//!
//! What `defaults` say is never refused here: it holds for those it means something for.

use std::time::Duration;

use super::{Lowering, first};
use crate::config::document::NodeId;
use crate::config::raw::backend::{ObserveChoice, ObserveLayer, ServerChoice};
use crate::config::raw::frontend::{BindChoice, ModeWord};
use crate::config::raw::limit::Action;
use crate::config::raw::{At, File, backend, frontend};
use crate::core::fleet::mode::{Mode, TcpBackend, TcpFrontend};
use crate::core::fleet::spec::{BackendIndex, FleetSpec};
use crate::core::route::RouteAction;

/// How long a ClientHello may take when nothing is said.
const HELLO_DEFAULT: Duration = Duration::from_secs(5);

/// A key with its place, if it is written.
macro_rules! key {
    ($section:ident.$key:ident) => {
        (stringify!($key), $section.$key.as_ref().map(At::id))
    };
}

impl Lowering<'_> {
    /// What a frontend in TCP mode is told; `None` in HTTP mode. What is lowered next is of that mode.
    pub fn tcp_frontend(&mut self, written: &frontend::Frontend) -> Option<TcpFrontend> {
        self.mode = mode(written.mode.as_deref());
        let timeouts = written.timeouts.as_deref();
        if self.mode == Mode::Http {
            if let Some(timeouts) = timeouts {
                self.tcp_only(&[key!(timeouts.hello), key!(timeouts.client_fin)]);
            }
            for route in written.routes.iter().flat_map(|routes| routes.iter()) {
                self.tcp_only(&[key!(route.sni)]);
            }
            return None;
        }
        self.http_only(&[
            key!(written.limits),
            key!(written.http2),
            key!(written.compression),
            key!(written.trusted_proxies),
            key!(written.forwarded),
            key!(written.request_id),
            key!(written.capture),
            key!(written.request_headers),
            key!(written.response_headers),
            key!(written.no_route),
            key!(written.stats),
        ]);
        if let Some(timeouts) = timeouts {
            self.http_only(&[key!(timeouts.request), key!(timeouts.keepalive), key!(timeouts.tarpit)]);
        }
        for (_, bind) in written.bind.iter().flat_map(|bind| bind.items()) {
            if let BindChoice::Full(bind) = bind {
                self.http_only(&[key!(bind.proto)]);
            }
        }
        for route in written.routes.iter().flat_map(|routes| routes.iter()) {
            if let Some(host) = &route.host {
                self.error(host.id(), "`host` has no meaning in `mode: tcp`: there are no requests")
                    .help("`sni` goes by the name that is asked for in the TLS handshake");
            }
            self.http_only(&[
                key!(route.path),
                key!(route.method),
                key!(route.header),
                key!(route.query),
                key!(route.host_map),
                key!(route.redirect),
                key!(route.respond),
                key!(route.compression),
                key!(route.request_headers),
                key!(route.response_headers),
            ]);
        }
        for deny in written.deny.iter().flat_map(|rules| rules.iter()) {
            self.http_only(&[key!(deny.host), key!(deny.path), key!(deny.header), key!(deny.status)]);
        }
        for limit in written.rate_limits.iter().flat_map(|limits| limits.iter()) {
            self.http_only(&[key!(limit.deny_status)]);
            let of_request = |part: &str| matches!(part, "host" | "path") || part.starts_with("header(");
            for (at, _) in limit.key.iter().flat_map(|k| k.items()).filter(|(_, part)| of_request(part.as_ref())) {
                self.error(at, "this part of the key is of requests, which `mode: tcp` does not see")
                    .help("use `client_ip`, or samples of TLS where it ends here");
            }
            if let Some(action) = limit.action.as_ref().filter(|action| matches!(***action, Action::Tarpit)) {
                self.error(action.id(), "`tarpit` has no meaning in `mode: tcp`")
                    .help("use `deny`: the session is closed");
            }
        }
        let defaults = self.defaults.and_then(|d| d.timeouts.as_deref());
        let hello = self.timeout(first!(hello in timeouts, defaults), HELLO_DEFAULT);
        let client_fin = first!(client_fin in timeouts, defaults);
        Some(TcpFrontend { hello, client_fin: client_fin.map(|fin| self.timeout(Some(fin), HELLO_DEFAULT)) })
    }

    /// What a backend in TCP mode is told; `None` in HTTP mode. What is lowered next is of that mode.
    pub fn tcp_backend(&mut self, written: &backend::Backend) -> Option<TcpBackend> {
        self.mode = mode(written.mode.as_deref());
        let timeouts = written.timeouts.as_deref();
        if self.mode == Mode::Http {
            if let Some(timeouts) = timeouts {
                self.tcp_only(&[key!(timeouts.server_fin)]);
            }
            return None;
        }
        self.http_only(&[
            key!(written.limits),
            key!(written.proto),
            key!(written.http2),
            key!(written.compression),
            key!(written.retry_on),
            key!(written.cookie),
            key!(written.maintenance_page),
            key!(written.pool),
            key!(written.request_headers),
            key!(written.response_headers),
        ]);
        self.only_connections_are_seen(written.observe.as_ref());
        for (_, server) in written.servers.iter().flat_map(|servers| servers.0.iter()) {
            if let ServerChoice::Full(server) = &**server {
                self.http_only(&[key!(server.cookie), key!(server.proto)]);
                self.only_connections_are_seen(server.observe.as_ref());
            }
        }
        let algorithm = first!(balance in Some(written), self.defaults);
        let by_request = |text: &str| text == "uri" || text.starts_with("header(") || text.starts_with("hdr(");
        if let Some(algorithm) = algorithm.filter(|algorithm| by_request((***algorithm).as_ref())) {
            let message = format!("`{}` goes by requests, which `mode: tcp` does not see", algorithm.as_ref());
            let diagnostic = self.error(algorithm.id(), message);
            if let (None, Some(mode)) = (&written.balance, &written.mode) {
                diagnostic.related(mode.id(), "the backend in TCP mode");
            }
            diagnostic.help("use `roundrobin`, `leastconn`, `random`, `first` or `source`");
        }
        let defaults = self.defaults.and_then(|d| d.timeouts.as_deref());
        let (tunnel, server_fin) = (first!(tunnel in timeouts, defaults), first!(server_fin in timeouts, defaults));
        Some(TcpBackend {
            tunnel: tunnel.map(|tunnel| self.timeout(Some(tunnel), HELLO_DEFAULT)),
            server_fin: server_fin.map(|fin| self.timeout(Some(fin), HELLO_DEFAULT)),
        })
    }

    /// Every route leads to a backend of its frontend's mode.
    pub fn modes_agree(&mut self, file: &File, fleet: &FleetSpec) {
        let written = file.frontends.iter().flat_map(|named| named.0.iter());
        for ((name, frontend), spec) in written.zip(&fleet.frontends) {
            for route in frontend.routes.iter().flat_map(|routes| routes.iter()) {
                let Some(backend) = &route.backend else { continue };
                let Some(index) = self.names.backends.get(backend.as_ref()).copied() else { continue };
                let Some(led_to) = fleet.backends.get(index as usize).map(|b| b.mode()) else { continue };
                if led_to != spec.mode() {
                    let (here, there) = (spec.mode().word(), led_to.word());
                    let message = format!(
                        "frontend `{}` is in mode {here}, but backend `{}` in mode {there}",
                        **name,
                        backend.as_ref()
                    );
                    self.error(backend.id(), message)
                        .help(format!("both need the same: give one of them `mode: {}`", here));
                }
            }
            let mapped = spec.routes.iter().filter_map(|route| match &route.action {
                RouteAction::HostMap(map) => Some(map),
                _ => None,
            });
            let in_tcp = |index: &&BackendIndex| {
                fleet.backends.get(index.0 as usize).is_some_and(|backend| backend.mode() == Mode::Tcp)
            };
            let named = mapped.flat_map(|map| map.named.iter()).find(in_tcp);
            let at = frontend.routes.iter().flat_map(|routes| routes.iter()).find_map(|route| route.host_map.as_ref());
            if let (Some(index), Some(at)) = (named, at) {
                let backend = fleet.backends.get(index.0 as usize).map_or("", |backend| &backend.name);
                self.error(at.id(), format!("the map names backend `{backend}`, which is in mode tcp"))
                    .help("hosts are known of requests only: name backends in mode http");
            }
        }
    }

    fn http_only(&mut self, keys: &[(&str, Option<NodeId>)]) {
        for (name, at) in keys {
            if let Some(at) = at {
                self.error(*at, format!("`{name}` has no meaning in `mode: tcp`: there are no requests"))
                    .help("remove it, or use `mode: http`");
            }
        }
    }

    fn tcp_only(&mut self, keys: &[(&str, Option<NodeId>)]) {
        for (name, at) in keys {
            if let Some(at) = at {
                self.error(*at, format!("`{name}` belongs to `mode: tcp`")).help("remove it, or add `mode: tcp`");
            }
        }
    }

    fn only_connections_are_seen(&mut self, written: Option<&At<ObserveChoice>>) {
        let Some(written) = written else { return };
        let layer7 = match &**written {
            ObserveChoice::Off(_) => false,
            ObserveChoice::Layer(layer) => *layer == ObserveLayer::Layer7,
            ObserveChoice::Full(full) => full.layer.as_deref().is_none_or(|layer| *layer == ObserveLayer::Layer7),
        };
        if layer7 {
            self.error(written.id(), "`layer7` sees answers, and `mode: tcp` knows none")
                .help("use `layer4`: it sees connections that fail");
        }
    }
}

fn mode(written: Option<&ModeWord>) -> Mode {
    match written {
        Some(ModeWord::Tcp) => Mode::Tcp,
        Some(ModeWord::Http) | None => Mode::Http,
    }
}
