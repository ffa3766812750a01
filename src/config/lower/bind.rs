//! Listening sockets, and clashes between them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Lowering;
use super::tls::Written;
use crate::config::document::NodeId;
use crate::config::model::{Bind, BindAddress, BindProtocol, BindTls, HttpVersion, TlsOffer};
use crate::config::raw::frontend::BindChoice;
use crate::config::raw::{At, frontend as raw, text};
use crate::core::fleet::mode::Mode;
use crate::core::fleet::spec::FrontendIndex;

/// The kernel's accept queue when nothing is said.
const BACKLOG_DEFAULT: u32 = 4096;

/// An address something listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One taken address.
#[derive(Debug)]
pub(super) struct Listening {
    address: ListenAddress,
    at: NodeId,
}

impl Lowering<'_> {
    /// One socket; `number` is its place among the frontend's, counted from 1.
    pub fn bind(&mut self, frontend: FrontendIndex, number: usize, at: NodeId, written: &BindChoice) -> Option<Bind> {
        let empty = raw::Bind::default();
        let (full, address) = match written {
            BindChoice::Address(address) => (&empty, Some((at, address))),
            BindChoice::Full(bind) => (&**bind, bind.address.as_ref().map(|a| (a.id(), &**a))),
        };
        let tls = full.tls.as_ref().and_then(|tls| self.bind_tls(tls));
        let proxy_protocol = full.proxy_protocol.as_ref();
        let name = full.name.as_ref().map(|name| self.name(name.id(), name.as_ref(), "bind"));
        let Some((at, address)) = address else {
            self.missing(at, "this bind has no `address`").help("add `address: 0.0.0.0:80`");
            return None;
        };
        let address = self.bind_address(at, address, full)?;
        match &address {
            BindAddress::Tcp(tcp) => self.listen(at, ListenAddress::Tcp(*tcp)),
            BindAddress::Unix(unix) => self.listen(at, ListenAddress::Unix(unix.path.clone())),
        }
        let protocol = self.bind_protocol(full, tls.as_ref());
        let backlog = full.backlog.as_deref().copied().unwrap_or(BACKLOG_DEFAULT);
        let proxy_protocol = proxy_protocol.and_then(|written| self.bind_proxy_protocol(written, &address));
        Some(Bind { frontend, number, name, address, proxy_protocol, tls, protocol, backlog })
    }

    fn bind_address(&mut self, at: NodeId, written: &text::Address, full: &raw::Bind) -> Option<BindAddress> {
        let written = written.as_ref();
        if let Some(path) = unix_path(written) {
            return self.unix_socket(at, path, &full.mode, &full.user, &full.group).map(BindAddress::Unix);
        }
        for option in [&full.mode, &full.user, &full.group].into_iter().flatten() {
            self.error(option.id(), "only a unix socket has an owner and a mode").help("remove the key");
        }
        self.socket_addr(at, written, "`0.0.0.0:80`, `[::]:443` or `unix:/run/lockgate/http.sock`")
            .map(BindAddress::Tcp)
    }

    fn bind_tls(&mut self, written: &At<raw::BindTls>) -> Option<BindTls> {
        let own = Written {
            min_version: &written.min_version,
            max_version: &written.max_version,
            ciphers: &written.ciphers,
            cipher_suites: &written.cipher_suites,
            groups: &written.groups,
        };
        let mut otherwise = TlsOffer::default();
        if self.mode == Mode::Tcp {
            // What is spoken in a session is between client and server: nothing is promised for the latter.
            otherwise.alpn.clear();
        }
        let mut offer = self.tls_offer(&own, &otherwise);
        if let Some(alpn) = &written.alpn {
            offer.alpn = self.offered_protocols(alpn);
        }
        let client_auth = self.client_auth(written);
        let Some(paths) = &written.certificates else {
            self.missing(written.id(), "TLS needs `certificates`")
                .help("name PEM files, or folders of them: `certificates: [/etc/lockgate/certs]`");
            return None;
        };
        let items = paths.items();
        if items.is_empty() {
            self.missing(paths.id(), "there is no certificate in this list").help("name a PEM file or a folder");
        }
        let mut certificates = Vec::new();
        for (at, item) in items {
            certificates.extend(self.certificate_source(at, item, &offer));
        }
        let strict_sni = written.strict_sni.as_deref().copied().unwrap_or(false);
        Some(BindTls { certificates, offer, strict_sni, client_auth })
    }

    /// What is spoken where no handshake says it: without TLS, and by TLS clients that know no ALPN.
    fn bind_protocol(&mut self, full: &raw::Bind, tls: Option<&BindTls>) -> BindProtocol {
        if let (Some(proto), Some(_)) = (&full.proto, &full.tls) {
            self.error(proto.id(), "with TLS the handshake chooses the version of HTTP")
                .help("say `alpn` in `tls` instead: `alpn: [h2, http/1.1]`");
        }
        match (tls, full.proto.as_deref()) {
            (Some(tls), _) if !tls.offer.alpn.contains(&HttpVersion::Http1) => BindProtocol::Http2,
            (None, Some(raw::Proto::H2)) => BindProtocol::Http2,
            (None, Some(raw::Proto::Auto)) => BindProtocol::Auto,
            _ => BindProtocol::Http1,
        }
    }

    /// Takes an address, and reports whom it clashes with.
    pub fn listen(&mut self, at: NodeId, address: ListenAddress) {
        let clash =
            self.listening.iter().find(|taken| clashes(&taken.address, &address)).map(|t| (t.at, t.address.clone()));
        if let Some((other, taken)) = clash {
            let (message, label) = if taken == address {
                ("this address is listened on twice", "first here")
            } else {
                ("this address is already covered by another bind", "the same port on all or one of the addresses")
            };
            self.error(at, message).related(other, label).help(
                "one socket belongs to one frontend: change the port, or put both into one frontend and use routes",
            );
        } else {
            self.listening.push(Listening { address, at });
        }
    }
}

/// The path in `unix:/path`, `unix:///path` or `/path`.
pub(super) fn unix_path(written: &str) -> Option<&str> {
    match written.strip_prefix("unix:") {
        Some(path) => Some(path.strip_prefix("//").unwrap_or(path)),
        None => written.starts_with('/').then_some(written),
    }
}

/// Whether two sockets would take each other's connections. IPv6 sockets here never take IPv4.
fn clashes(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Unix(a), ListenAddress::Unix(b)) => a == b,
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => {
            // The kernel gives every port 0 a port of its own.
            a.port() == b.port()
                && a.port() != 0
                && a.is_ipv4() == b.is_ipv4()
                && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
        }
        _ => false,
    }
}
