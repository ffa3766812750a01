//! From a fresh connection to one that is spoken to in TLS.

use std::sync::Arc;
use std::time::Duration;

use super::ServerIo;
use super::connect::ConnectError;
use super::io::TlsIo;
use crate::runtime::socket::Socket;
use crate::tls::HandshakeError;
use crate::tls::connector::Connector;

/// Does the handshake on `io` within `timeout`. `host` is the host of the request that the connection is made for.
pub async fn secure(
    io: ServerIo,
    connector: &Arc<Connector>,
    host: Option<&str>,
    timeout: Duration,
) -> Result<ServerIo, ConnectError> {
    let ServerIo::Plain(socket) = io else { return Ok(io) };
    // Boxed: most connections are plain, and the state of a handshake is large.
    Box::pin(shake_hands(socket, connector, host, timeout)).await
}

async fn shake_hands(
    socket: Socket,
    connector: &Connector,
    host: Option<&str>,
    timeout: Duration,
) -> Result<ServerIo, ConnectError> {
    match tokio::time::timeout(timeout, connector.connect(host, socket)).await {
        Ok(Ok(stream)) => {
            let named_after = connector.named_after(host).map(Box::from);
            Ok(ServerIo::Tls(Box::new(TlsIo::new(stream, connector.settings().clone(), named_after))))
        }
        Ok(Err(error)) => Err(ConnectError::Tls(error)),
        Err(_) => Err(ConnectError::Tls(HandshakeError::Timeout)),
    }
}
