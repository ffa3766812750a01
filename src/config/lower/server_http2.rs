//! `proto` of servers, and the `http2` of backends.

use std::time::Duration;

use super::Lowering;
use super::value::DURATION_MAX;
use crate::config::document::NodeId;
use crate::config::raw::At;
use crate::config::raw::backend::{self as raw, ServerProtocol as Word};
use crate::core::fleet::spec::{Http2ToServers, ServerProtocol};
use crate::core::tls::TlsUse;
use crate::core::units::render_duration;

/// A window smaller than one frame would only slow answers down.
const WINDOW_MIN: u64 = 16 * 1024;
/// Larger ones gain nothing on any network and cost memory.
const WINDOW_MAX: u64 = 16 * 1024 * 1024;
/// Asking for signs of life more often is load, not care.
const PING_MIN: Duration = Duration::from_secs(1);

/// What is spoken to a server.
pub(super) fn protocol(written: Option<Word>) -> ServerProtocol {
    match written {
        None | Some(Word::H1) => ServerProtocol::H1,
        Some(Word::H2) => ServerProtocol::H2,
    }
}

impl Lowering<'_> {
    /// What is offered in TLS to a server that is spoken to so.
    pub fn tls_for(&mut self, protocol: ServerProtocol, tls: TlsUse, at: NodeId) -> TlsUse {
        let h2 = protocol == ServerProtocol::H2;
        if h2 && tls.settings().is_some_and(|tls| !tls.alpn.is_empty()) {
            self.error(at, "`proto: h2` says what is offered in TLS").help("remove `alpn`");
        }
        tls.speaking_h2(h2)
    }

    /// The `http2` of a backend. It says nothing where no server speaks HTTP/2.
    pub fn http2_to_servers(&mut self, backend: &raw::Backend) -> Http2ToServers {
        let default = Http2ToServers::default();
        let Some(written) = &backend.http2 else { return default };
        if !speaks_h2(backend) {
            self.error(written.id(), "no server of this backend speaks HTTP/2")
                .help("add `proto: h2` to the backend or a server, or remove this");
        }
        let window = written.window.as_ref();
        let window = window.and_then(|size| self.size(size, WINDOW_MIN, WINDOW_MAX));
        let ping_interval =
            self.duration(written.ping_interval.as_ref(), default.ping_interval, PING_MIN, DURATION_MAX);
        let unless_said = default.ping_timeout.min(ping_interval);
        let ping_timeout = self.duration(written.ping_timeout.as_ref(), unless_said, PING_MIN, DURATION_MAX);
        if let (Some(at), true) =
            (written.ping_timeout.as_ref().or(written.ping_interval.as_ref()), ping_timeout > ping_interval)
        {
            let diagnostic = self.error(
                at.id(),
                format!(
                    "a ping may take {}, but the next one comes after {}",
                    render_duration(ping_timeout),
                    render_duration(ping_interval)
                ),
            );
            diagnostic.help("set `ping_timeout` to at most `ping_interval`");
        }
        Http2ToServers {
            max_streams: written.max_streams.as_deref().copied().unwrap_or(default.max_streams),
            window_bytes: window.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(default.window_bytes),
            ping_interval,
            ping_timeout,
        }
    }
}

fn speaks_h2(backend: &raw::Backend) -> bool {
    let is_h2 = |word: Option<&At<Word>>| word.is_some_and(|word| **word == Word::H2);
    let of_server = |server: &raw::ServerChoice| match server {
        raw::ServerChoice::Address(_) => false,
        raw::ServerChoice::Full(full) => is_h2(full.proto.as_ref()),
    };
    is_h2(backend.proto.as_ref())
        || backend.servers.iter().flat_map(|servers| servers.0.iter()).any(|(_, server)| of_server(server))
}
