//! `health_check`: what `defaults`, a backend and a server say, put together key by key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::At;
use crate::config::raw::check::{CheckChoice, CheckTlsChoice, CheckType, HealthCheck};
use crate::config::shape::shorten;
use crate::core::fleet::spec::ServerAddress;
use crate::core::health::{CheckKind, CheckSpec, GrpcCheck, HttpCheck};
use crate::core::tls::{ServerTls, Sni, TlsUse, Verify};
use crate::core::units::render_duration;

const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Longest name of a gRPC service.
const SERVICE_MAX: usize = 256;

/// Whether more may be said of a check further in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    /// A server's check: what is not said has its default.
    Whole,
    /// The check of `defaults` or of a backend: only contradictions among what is said are mistakes.
    Partial,
}

/// The layers of a check that count, the outermost first.
struct Layers<'a>(Vec<&'a HealthCheck>);

impl<'a> Layers<'a> {
    /// What the innermost layer that says something says.
    fn pick<T>(&self, key: impl Fn(&'a HealthCheck) -> Option<&'a At<T>>) -> Option<&'a At<T>> {
        self.0.iter().rev().find_map(|layer| key(layer))
    }
}

impl Lowering<'_> {
    /// Puts the layers of a check together, the outermost first; `None` when it is off. Without any layer the default
    /// check is made. `server` is how the server itself is spoken to.
    pub fn check(
        &mut self,
        written: &[Option<&At<CheckChoice>>],
        completeness: Completeness,
        server: &TlsUse,
    ) -> Option<CheckSpec> {
        let mut layers = Vec::new();
        let mut off = false;
        for layer in written.iter().flatten() {
            match &***layer {
                CheckChoice::Off(_) => {
                    layers.clear();
                    off = true;
                }
                CheckChoice::On(check) => {
                    layers.push(&**check);
                    off = false;
                }
            }
        }
        if off {
            return None;
        }
        let layers = Layers(layers);
        let interval = self.interval(layers.pick(|c| c.interval.as_ref()), INTERVAL_DEFAULT);
        let fastinter = self.interval(layers.pick(|c| c.fastinter.as_ref()), interval);
        let downinter = self.interval(layers.pick(|c| c.downinter.as_ref()), interval);
        let timeout = self.check_timeout(&layers, [interval, fastinter, downinter], completeness);
        let address = layers.pick(|c| c.address.as_ref()).and_then(|a| self.ip(a.id(), a.as_ref()));
        if let Some(at) =
            layers.pick(|c| c.address.as_ref()).filter(|_| address.is_some_and(|ip: IpAddr| ip.is_unspecified()))
        {
            self.error(at.id(), "nothing can be checked at this address").help("remove it to check the server itself");
        }
        Some(CheckSpec {
            kind: self.check_kind(&layers),
            interval,
            fastinter,
            downinter,
            timeout,
            rise: layers.pick(|c| c.rise.as_ref()).map_or(3, |n| **n),
            fall: layers.pick(|c| c.fall.as_ref()).map_or(3, |n| **n),
            address,
            port: layers.pick(|c| c.port.as_ref()).map(|n| **n),
            tls: self.check_tls(&layers, server),
        })
    }

    fn interval(&mut self, written: Option<&At<crate::config::raw::text::Duration>>, default: Duration) -> Duration {
        self.duration(written, default, INTERVAL_MIN, DURATION_MAX)
    }

    /// A check must be over before the next one begins.
    fn check_timeout(&mut self, layers: &Layers<'_>, intervals: [Duration; 3], completeness: Completeness) -> Duration {
        let [interval, fastinter, downinter] = intervals;
        let shortest = interval.min(fastinter).min(downinter);
        let Some(written) = layers.pick(|c| c.timeout.as_ref()) else { return TIMEOUT_DEFAULT.min(shortest) };
        let timeout = self.timeout(Some(written), TIMEOUT_DEFAULT.min(shortest));
        let places = [
            ("interval", interval, layers.pick(|c| c.interval.as_ref()).map(At::id)),
            ("fastinter", fastinter, layers.pick(|c| c.fastinter.as_ref()).map(At::id)),
            ("downinter", downinter, layers.pick(|c| c.downinter.as_ref()).map(At::id)),
        ];
        let counts = |at: Option<NodeId>| at.is_some() || completeness == Completeness::Whole;
        let shorter = places.into_iter().find(|(_, length, at)| timeout > *length && counts(*at));
        if let Some((name, length, at)) = shorter {
            let length = render_duration(length);
            let diagnostic = self.error(
                written.id(),
                format!("a check may take {}, but the next one comes after {length}", render_duration(timeout)),
            );
            match at {
                Some(at) => diagnostic.related(at, format!("the {name}")),
                None => diagnostic.help(format!("`{name}` is {length} unless set")),
            };
            diagnostic.help(format!("set `timeout` to at most {length}, or check less often"));
        }
        timeout
    }

    fn check_kind(&mut self, layers: &Layers<'_>) -> CheckKind {
        // The innermost layer that says what kind of check it is.
        if layers.0.iter().rev().find(|l| l.kind.is_some() || l.grpc.is_some()).is_some_and(|l| l.grpc.is_some()) {
            return CheckKind::Grpc(self.grpc_check(layers));
        }
        if layers.pick(|c| c.kind.as_ref()).is_some_and(|kind| **kind == CheckType::Tcp) {
            for layer in layers.0.iter().filter(|layer| layer.kind.as_deref() == Some(&CheckType::Tcp)) {
                let meaningless = [
                    ("method", layer.method.as_ref().map(At::id)),
                    ("path", layer.path.as_ref().map(At::id)),
                    ("host", layer.host.as_ref().map(At::id)),
                    ("headers", layer.headers.as_ref().map(At::id)),
                    ("expect", layer.expect.as_ref().map(At::id)),
                    ("disable_on_404", layer.disable_on_404.as_ref().map(At::id)),
                    ("body", layer.body.as_ref().map(At::id)),
                ];
                for (name, at) in meaningless {
                    if let Some(at) = at {
                        self.error(at, format!("`{name}` has no meaning in a TCP check"))
                            .help("remove it, or use `type: http`");
                    }
                }
            }
            return CheckKind::Tcp;
        }
        CheckKind::Http(self.http_check(layers))
    }

    fn grpc_check(&mut self, layers: &Layers<'_>) -> GrpcCheck {
        for layer in layers.0.iter().filter(|layer| layer.grpc.is_some()) {
            let meaningless = [
                ("type", layer.kind.as_ref().map(At::id)),
                ("method", layer.method.as_ref().map(At::id)),
                ("path", layer.path.as_ref().map(At::id)),
                ("headers", layer.headers.as_ref().map(At::id)),
                ("expect", layer.expect.as_ref().map(At::id)),
                ("disable_on_404", layer.disable_on_404.as_ref().map(At::id)),
                ("body", layer.body.as_ref().map(At::id)),
            ];
            for (name, at) in meaningless {
                if let Some(at) = at {
                    self.error(at, format!("`{name}` has no meaning in a gRPC check"))
                        .help("remove it: the call and what passes are given by gRPC's health service");
                }
            }
        }
        let host = layers.pick(|c| c.host.as_ref()).and_then(|host| self.check_host(host.id(), host.as_ref()));
        let service = layers.pick(|c| c.grpc.as_ref()).and_then(|grpc| grpc.service.as_ref());
        if let Some(service) = service.filter(|s| s.as_ref().len() > SERVICE_MAX) {
            self.error(service.id(), "the name of the service is too long")
                .help(format!("at most {SERVICE_MAX} bytes, as `package.Service`"));
        }
        GrpcCheck { service: service.map_or_else(Box::default, |s| s.as_ref().into()), host }
    }

    fn http_check(&mut self, layers: &Layers<'_>) -> HttpCheck {
        let body = layers.pick(|c| c.body.as_ref());
        let method = layers.pick(|c| c.method.as_ref());
        if let (Some(at), Some(body)) = (method.filter(|m| (***m).as_ref() == "HEAD"), body) {
            self.error(at.id(), "an answer to HEAD has no body to look into")
                .related(body.id(), "the body looked for")
                .help("use `method: GET`");
        }
        if let Some(at) = method.filter(|m| (***m).as_ref() == "CONNECT") {
            self.error(at.id(), "`CONNECT` asks for a tunnel, not for an answer")
                .help("use `HEAD`, `GET` or `OPTIONS`");
        }
        let default_method = if body.is_some() { "GET" } else { "HEAD" };
        let method = method.and_then(|m| self.method(m.id(), m.as_ref()));
        let path = layers.pick(|c| c.path.as_ref()).and_then(|path| self.check_path(path.id(), path.as_ref()));
        let host = layers.pick(|c| c.host.as_ref()).and_then(|host| self.check_host(host.id(), host.as_ref()));
        let expect = layers.pick(|c| c.expect.as_ref());
        let mut ranges = Vec::new();
        for (at, codes) in expect.iter().flat_map(|expect| expect.items()) {
            ranges.extend(self.status_range(at, codes.as_ref()));
        }
        if let Some(expect) = expect.filter(|e| e.items().is_empty()) {
            self.missing(expect.id(), "no status would ever pass").help("add 200");
        }
        if ranges.is_empty() {
            ranges.push((200, 200));
        }
        let disable_on_404 = layers.pick(|c| c.disable_on_404.as_ref()).filter(|on| ***on);
        if let Some(on) = disable_on_404.filter(|_| ranges.iter().any(|(low, high)| (*low..=*high).contains(&404))) {
            let diagnostic = self.error(on.id(), "a 404 passes already");
            if let Some(expect) = expect {
                diagnostic.related(expect.id(), "the statuses that pass");
            }
            diagnostic.help("take 404 out of `expect`, or remove `disable_on_404`");
        }
        let mut headers = Vec::new();
        for (name, value) in layers.pick(|c| c.headers.as_ref()).iter().flat_map(|h| h.0.iter()) {
            let Some(field) = self.field_name(name.id(), name) else { continue };
            if field.eq_ignore_ascii_case("host") {
                self.error(name.id(), "the `Host` field has a key of its own").help("use `host`");
            } else if super::rule::is_framing(&field) {
                self.error(name.id(), format!("`{field}` is written by lockgate")).help("remove it");
            } else if let Some(value) = self.field_value(value.id(), (**value).as_ref()) {
                headers.push((field, value));
            }
        }
        HttpCheck {
            method: method.unwrap_or_else(|| default_method.into()),
            path: path.unwrap_or_else(|| "/".into()),
            host,
            headers,
            expect: ranges,
            body: body.and_then(|body| self.regex(body.id(), body.as_ref())),
            disable_on_404: disable_on_404.is_some(),
            h2: false,
        }
    }

    fn check_path(&mut self, at: NodeId, written: &str) -> Option<Box<str>> {
        // What the client of the checks does not send would fail every check.
        let sendable = || written.parse::<http::uri::PathAndQuery>().is_ok();
        let good = written == "*"
            || (written.starts_with('/') && written.bytes().all(|b| b.is_ascii_graphic() && b != b'#') && sendable());
        if !good {
            let diagnostic = self.error(at, format!("`{}` cannot be asked for", shorten(written)));
            if written.contains("://") {
                diagnostic.label("only the path; the host stands under `host`");
            }
            diagnostic.help("a path begins with `/` and has no spaces: `/health?deep=1`; write others as `%XX`");
            return None;
        }
        Some(written.into())
    }

    fn check_host(&mut self, at: NodeId, written: &str) -> Option<Box<str>> {
        let good = !written.is_empty() && written.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        if !good {
            let diagnostic = self.error(at, format!("`{}` is not a host", shorten(written)));
            if let Some((_, rest)) = written.split_once("://") {
                diagnostic.label(format!("write `{}`", shorten(rest.split('/').next().unwrap_or_default())));
            }
            diagnostic.help("as it stands in the `Host` field: `example.com` or `example.com:8080`");
            return None;
        }
        Some(written.into())
    }

    /// `200` or `200-299`.
    fn status_range(&mut self, at: NodeId, written: &str) -> Option<(u16, u16)> {
        let (first, last) = written.split_once('-').unwrap_or((written, written));
        let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => Some((first, last)),
            _ => {
                let diagnostic = self.error(at, format!("`{}` is not a status code", shorten(written)));
                if let [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = written.as_bytes() {
                    let class = char::from(*class);
                    diagnostic.label(format!("did you mean `{class}00-{class}99`?"));
                }
                diagnostic.help("it is written `200`, `200-299`, or as a list of these");
                None
            }
        }
    }

    /// TLS of a check: as the server is spoken to, with what the check says otherwise.
    fn check_tls(&mut self, layers: &Layers<'_>, server: &TlsUse) -> Option<Arc<ServerTls>> {
        let host = layers.pick(|c| c.host.as_ref()).map(|host| host.as_ref());
        // The host without its port.
        let host =
            host.map(|host| host.split(':').next().unwrap_or_default()).filter(|h| super::route::is_host_name(h));
        let base = || match server.settings() {
            Some(settings) => as_for_traffic(settings, host),
            None => Arc::new(ServerTls::strict("", host.map(Into::into))),
        };
        let full = match layers.pick(|c| c.tls.as_ref()).map(|written| &**written) {
            None => {
                let elsewhere =
                    layers.pick(|c| c.address.as_ref()).is_some() || layers.pick(|c| c.port.as_ref()).is_some();
                return (server.is_on() && !elsewhere).then(base);
            }
            Some(CheckTlsChoice::Plain(false)) => return None,
            Some(CheckTlsChoice::Plain(true)) => return Some(base()),
            Some(CheckTlsChoice::Full(full)) => full,
        };
        let mut tls = base();
        let changed = Arc::make_mut(&mut tls);
        let verify =
            full.verify.as_deref().copied().unwrap_or(changed.verify != Verify::Nothing || full.ca_file.is_some());
        match verify {
            false => changed.verify = Verify::Nothing,
            true if changed.verify == Verify::Nothing => changed.verify = Verify::SystemRoots,
            true => {}
        }
        if let Some(name) = full.server_name.as_ref() {
            if !super::route::is_host_name(name.as_ref()) {
                self.error(name.id(), format!("`{}` is not a host name", shorten(name.as_ref())))
                    .help("as `example.com`");
            }
            (changed.name, changed.sni) = (Some(name.as_ref().into()), Sni::Name);
        }
        if let Some(file) = &full.ca_file {
            if !verify {
                self.error(file.id(), "trusted roots are not used with `verify: false`").help("remove one of them");
            } else {
                changed.verify = Verify::Roots(self.path(file.as_ref()));
            }
            self.trusted_roots(file.id(), file.as_ref());
        }
        Some(tls)
    }

    /// What can only be said once the server's address is known.
    pub fn check_of_address(
        &mut self,
        at: NodeId,
        check: &mut CheckSpec,
        address: &ServerAddress,
        server: &TlsUse,
        owner: &str,
    ) {
        if matches!(address, ServerAddress::Unix(_)) && check.address.is_some() != check.port.is_some() {
            self.error(at, "a unix socket has no address and port of which one could be replaced")
                .help("give `address` and `port` to check elsewhere, or neither to check the socket itself");
        }
        let Some(tls) = &mut check.tls else { return };
        if tls.owner.is_empty() {
            Arc::make_mut(tls).owner = owner.into();
        }
        let inherited = server.settings().is_some_and(|own| Arc::ptr_eq(own, tls));
        if tls.name.is_some() || inherited {
            return;
        }
        if let ServerAddress::Name { host, .. } = address {
            Arc::make_mut(tls).name = Some(host.clone());
        } else if tls.verify != Verify::Nothing {
            self.error(at, "which name must the certificate of this server carry?")
                .help("add `tls: { server_name: NAME }` or `host: NAME` to the check, or `tls: { verify: false }`");
        }
    }
}

/// The server's own settings, unchanged where that is possible: then both go by one connector. A check has no request
/// whose host could be sent, only its own.
fn as_for_traffic(settings: &Arc<ServerTls>, host: Option<&str>) -> Arc<ServerTls> {
    let mut tls = settings.clone();
    if tls.sni == Sni::RequestHost {
        let own = Arc::make_mut(&mut tls);
        own.sni = host.map_or(Sni::Name, |host| Sni::Fixed(host.into()));
        own.name = own.name.take().or(host.map(Into::into));
    }
    tls
}
