//! `backends.NAME.servers.NAME`.

use std::sync::Arc;
use std::time::Duration;

use super::bind::unix_path;
use super::route::is_host_name;
use super::server_tls::Whose;
use super::{Lowering, first, server_http2};
use crate::config::document::NodeId;
use crate::config::foreign;
use crate::config::raw::backend::{ObserveChoice, ObserveLayer, ServerChoice};
use crate::config::raw::check::CheckChoice;
use crate::config::raw::{At, backend as raw};
use crate::config::shape::shorten;
use crate::core::fleet::spec::{
    InitialState, ObserveSpec, OnError, ReturnFromDrain, ReturnFromMaint, ServerAddress, ServerDefaults,
    ServerProtocol, ServerSpec, TlsUse,
};
use crate::core::health::CheckSpec;

/// What can be said of servers in `defaults`, in a backend and of one server.
#[derive(Debug)]
pub(super) struct Tuning {
    protocol: ServerProtocol,
    observe: Option<ObserveSpec>,
    slowstart: Option<Duration>,
    initial: InitialState,
    return_from_drain: ReturnFromDrain,
    return_from_maint: ReturnFromMaint,
    on_marked_down_shutdown: bool,
}

impl Tuning {
    /// What a server is like that says nothing of itself.
    pub fn defaults(self, check: Option<Arc<CheckSpec>>, tls: TlsUse) -> ServerDefaults {
        ServerDefaults {
            protocol: self.protocol,
            check,
            observe: self.observe,
            slowstart: self.slowstart,
            initial: self.initial,
            return_from_drain: self.return_from_drain,
            return_from_maint: self.return_from_maint,
            on_marked_down_shutdown: self.on_marked_down_shutdown,
            tls,
        }
    }
}

impl Lowering<'_> {
    pub fn server(
        &mut self,
        of: &str,
        name: &At<String>,
        written: &At<ServerChoice>,
        backend: &raw::Backend,
    ) -> Option<ServerSpec> {
        let checked_name = self.name(name.id(), name, "server");
        if matches!(name.as_str(), "FRONTEND" | "BACKEND") {
            self.error(name.id(), format!("`{}` cannot be the name of a server", **name))
                .help("statistics call the whole frontend or backend so");
        }
        let empty = raw::Server::default();
        let (full, address) = match &**written {
            ServerChoice::Address(address) => (&empty, Some((written.id(), address))),
            ServerChoice::Full(full) => (&**full, full.address.as_ref().map(|a| (a.id(), &**a))),
        };
        let address = match address {
            Some((at, address)) => self.server_address(at, address.as_ref()),
            None => {
                self.missing(written.id(), format!("server `{}` has no `address`", **name))
                    .help("add `address: 10.0.0.1:80`");
                None
            }
        };
        let layers = [
            self.defaults.and_then(|d| d.health_check.as_ref()),
            backend.health_check.as_ref(),
            full.health_check.as_ref(),
        ];
        self.server_tls_alone(full.tls.as_ref());
        let owner = format!("{of}/{}", **name);
        let protocol = server_http2::protocol(first!(proto in Some(full), Some(backend)).map(|w| **w));
        let tls = match &address {
            None => TlsUse::Unset,
            Some(address) => {
                let layers =
                    [self.defaults.and_then(|d| d.server_tls.as_ref()), backend.tls.as_ref(), full.tls.as_ref()];
                self.server_tls(&layers, Some(Whose { owner: &owner, address, at: written.id() }))
            }
        };
        let tls = self.tls_for(protocol, tls, written.id());
        let mut check = self.check(&layers, super::Completeness::Whole, &tls);
        if let (Some(check), Some(address)) = (&mut check, &address) {
            let at = full.health_check.as_ref().or(backend.health_check.as_ref()).map_or(written.id(), At::id);
            self.check_of_address(at, check, address, &tls, &owner);
        }
        let tuning = self.tuning(Some(full), Some(backend), check.is_some());
        if let Some(check) = &mut check {
            check.speak(protocol == ServerProtocol::H2);
        }
        let mut agent = self.agent(backend.agent.as_ref(), full.agent.as_ref(), address.as_ref());
        if let Some(track) = &full.track {
            self.only_tracks(track.id(), full);
            (check, agent) = (None, None);
        }
        let observed = full.observe.as_ref().filter(|o| !matches!(***o, ObserveChoice::Off(_)));
        if let (Some(observe), None, None) = (observed, &check, &full.track) {
            self.observe_without_check(observe.id());
        }
        if let Some(cookie) = &full.cookie {
            let text = cookie.as_ref();
            if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() && !"\",;\\".contains(c)) {
                self.error(cookie.id(), format!("`{}` cannot be the value of a cookie", shorten(text)))
                    .help("printable characters without spaces, quotes, `,` `;` and `\\`");
            }
        }
        Some(ServerSpec {
            name: checked_name,
            address: address?,
            protocol,
            weight: full.weight.as_deref().copied().unwrap_or(1),
            maxconn: full.maxconn.as_deref().copied(),
            backup: full.backup.as_deref().copied().unwrap_or(false),
            disabled: full.disabled.as_deref().copied().unwrap_or(false),
            cookie: full.cookie.as_ref().map(|cookie| cookie.as_ref().into()),
            check: check.map(Into::into),
            track: full.track.as_ref().map(|track| track.as_ref().into()),
            agent: agent.map(Into::into),
            observe: tuning.observe,
            slowstart: tuning.slowstart,
            initial: tuning.initial,
            return_from_drain: tuning.return_from_drain,
            return_from_maint: tuning.return_from_maint,
            on_marked_down_shutdown: tuning.on_marked_down_shutdown,
            tls,
        })
    }

    /// A server that tracks another is not asked itself.
    fn only_tracks(&mut self, at: NodeId, server: &raw::Server) {
        let check = server.health_check.as_ref().filter(|check| matches!(***check, CheckChoice::On(_))).map(At::id);
        let agent = super::agent::place(server.agent.as_ref());
        let observe = server.observe.as_ref().filter(|o| !matches!(***o, ObserveChoice::Off(_))).map(At::id);
        for (what, own) in [("check", check), ("agent", agent), ("passive check", observe)] {
            if let Some(own) = own {
                self.error(own, format!("a server that tracks another has no {what} of its own"))
                    .related(at, "the server it tracks")
                    .help("remove one of them");
            }
        }
    }

    /// What the server says, else the backend, else the defaults.
    pub fn tuning(&mut self, server: Option<&raw::Server>, backend: Option<&raw::Backend>, checked: bool) -> Tuning {
        let defaults = self.defaults;
        let slowstart = first!(slowstart in server, backend, defaults);
        let slowstart = slowstart.and_then(|s| self.duration_in(s, Duration::ZERO, Duration::from_secs(24 * 3600)));
        let observe = first!(observe in server, backend, defaults);
        Tuning {
            protocol: server_http2::protocol(first!(proto in server, backend).map(|w| **w)),
            observe: observe.filter(|_| checked).and_then(|choice| observe_spec(choice)),
            slowstart: slowstart.filter(|s| !s.is_zero()),
            initial: match first!(initial in server, backend, defaults).map(|w| &**w) {
                None | Some(raw::Initial::First) => InitialState::First,
                Some(raw::Initial::Checks) => InitialState::Checks,
                Some(raw::Initial::Up) => InitialState::Up,
            },
            return_from_drain: match first!(return_from_drain in server, backend, defaults).map(|w| &**w) {
                None | Some(raw::ReturnFromDrain::Checks) => ReturnFromDrain::Checks,
                Some(raw::ReturnFromDrain::Keep) => ReturnFromDrain::Keep,
            },
            return_from_maint: match first!(return_from_maint in server, backend, defaults).map(|w| &**w) {
                None | Some(raw::ReturnFromMaint::Up) => ReturnFromMaint::Up,
                Some(raw::ReturnFromMaint::Checks) => ReturnFromMaint::Checks,
            },
            on_marked_down_shutdown: matches!(
                first!(on_marked_down in server, backend, defaults).map(|w| &**w),
                Some(raw::OnMarkedDown::ShutdownSessions)
            ),
        }
    }

    fn server_address(&mut self, at: NodeId, written: &str) -> Option<ServerAddress> {
        if let Some(path) = unix_path(written) {
            return self.unix_socket(at, path, &None, &None, &None).map(|socket| ServerAddress::Unix(socket.path));
        }
        if let Ok(address) = written.parse::<std::net::SocketAddr>() {
            if address.port() == 0 {
                self.error(at, "no server listens on port 0").help("give the port of the server");
                return None;
            }
            if address.ip().is_unspecified() {
                self.error(at, format!("`{}` is no server's address", address.ip())).label("did you mean 127.0.0.1?");
                return None;
            }
            return Some(ServerAddress::Ip(address));
        }
        let (host, port) = written.rsplit_once(':').unwrap_or((written, ""));
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        // A name that ends in digits would be taken for an IPv4 address by everyone else.
        let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if let (true, false, Ok(port @ 1..)) = (is_host_name(&name), numeric, port.parse::<u16>()) {
            return Some(ServerAddress::Name { host: name.into(), port });
        }
        let bare_v6 = written.parse::<std::net::Ipv6Addr>().is_ok();
        let diagnostic = self.error(at, format!("`{}` is not the address of a server", shorten(written)));
        if let Some((scheme, rest)) = written.split_once("://") {
            let host = rest.split('/').next().unwrap_or_default();
            let port = if host.contains(':') {
                ""
            } else if scheme.eq_ignore_ascii_case("https") {
                ":443"
            } else {
                ":80"
            };
            diagnostic.label(format!("write `{}{port}`, without the scheme", shorten(host)));
        } else if let (true, Some(here)) = (written.contains(' '), foreign::server_line(written)) {
            diagnostic.label(format!("write {here}"));
            if written.split_whitespace().any(|word| word == "check") {
                diagnostic
                    .help("servers are checked unless `health_check: off` says otherwise; how, says `health_check`");
            }
            if written.split_whitespace().any(|word| word == "ssl") {
                diagnostic
                    .help("`ssl` is `tls: true`; `ca-file`, `verify`, `sni`, `verifyhost` and `crt` are keys of `tls`");
            }
        } else if written.contains('/') {
            diagnostic.label("an address has no path");
        } else if written.parse::<u16>().is_ok() {
            diagnostic.label(format!("the host is missing: `127.0.0.1:{written}`?"));
        } else if bare_v6 {
            diagnostic.label(format!("write `[{written}]:80`"));
        } else if port.is_empty() {
            diagnostic.label(format!("the port is missing: `{}:80`?", shorten(host)));
        } else if port.parse::<u16>().map_or(true, |port| port == 0) {
            diagnostic.label("a port is a number from 1 to 65535");
        }
        diagnostic.help("it is written `10.0.0.1:80`, `[2001:db8::1]:80`, `name:80` or `unix:/path`");
        None
    }
}

fn observe_spec(choice: &ObserveChoice) -> Option<ObserveSpec> {
    let empty = raw::Observe::default();
    let (layer, full) = match choice {
        ObserveChoice::Off(_) => return None,
        ObserveChoice::Layer(layer) => (Some(*layer), &empty),
        ObserveChoice::Full(full) => (full.layer.as_deref().copied(), full),
    };
    Some(ObserveSpec {
        layer7: layer != Some(ObserveLayer::Layer4),
        error_limit: full.error_limit.as_deref().copied().unwrap_or(10),
        on_error: match full.on_error.as_deref() {
            Some(raw::OnError::Fastinter) => OnError::Fastinter,
            None | Some(raw::OnError::FailCheck) => OnError::FailCheck,
            Some(raw::OnError::SuddenDeath) => OnError::SuddenDeath,
            Some(raw::OnError::MarkDown) => OnError::MarkDown,
        },
    })
}
