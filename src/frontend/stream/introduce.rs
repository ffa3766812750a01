//! What a server is told of the client at the beginning of a connection (`send_proxy`).

use super::Stream;
use crate::core::fleet::snapshot::ServerView;
use crate::core::proxy_protocol::{Outgoing, OutgoingCertificate, OutgoingTls, tlv};
use crate::frontend::connection::Connection;

impl Stream<'_> {
    /// The PROXY header for a fresh connection to that server; empty when it is told nothing.
    pub(super) fn introduction(&self, server: &ServerView) -> Vec<u8> {
        introduction(self.connection, server, &self.e.scratch.id, None)
    }

    /// Whose connections to that server this request may use: those of all clients (`None`), or of its own client alone,
    /// because the server takes them for its.
    pub(super) fn owner(&self, server: &ServerView) -> Option<u64> {
        server.spec.send_proxy.map(|_| self.connection.owner)
    }
}

/// The PROXY header for a fresh connection of a client to that server; empty when it is told nothing. `id` is the
/// request's, `asked_for` the server name in a ClientHello that is passed on.
pub(in crate::frontend) fn introduction(
    connection: &Connection,
    server: &ServerView,
    id: &[u8],
    asked_for: Option<&str>,
) -> Vec<u8> {
    let Some(spec) = server.spec.send_proxy else { return Vec::new() };
    let tls = connection.io.tls_facts();
    let tls = tls.as_deref();
    let asked_for = tls.and_then(|tls| tls.server_name.as_deref()).or(asked_for).map(str::as_bytes);
    let agreed_on = tls.and_then(|tls| tls.alpn.as_deref()).map(str::as_bytes);
    let told = connection.tlvs();
    let outgoing = Outgoing {
        addresses: connection.peer.zip(connection.destination()),
        alpn: agreed_on.or_else(|| told.and_then(|told| told.get(tlv::ALPN))),
        authority: asked_for.or_else(|| told.and_then(|told| told.authority())),
        unique_id: (!id.is_empty()).then_some(id),
        tls: tls.map(|tls| OutgoingTls {
            version: tls.version,
            cipher: tls.cipher,
            certificate: tls
                .client
                .as_deref()
                .map(|shown| OutgoingCertificate { verify: shown.verify, common_name: shown.subject.get("CN") }),
            resumed: tls.resumed,
        }),
    };
    let mut header = Vec::with_capacity(256);
    outgoing.write(spec, &mut header);
    header
}
