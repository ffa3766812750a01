//! Opening a connection to a server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, UnixStream};

use super::ServerIo;
use crate::core::fleet::snapshot::ConnectTo;
use crate::runtime::socket::Socket;
use crate::tls::HandshakeError;
use crate::tls::connector::ConnectorError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, reset.
    #[error("connection failed")]
    Refused(#[source] io::Error),
    /// Not in time.
    #[error("connection timed out")]
    Timeout,
    /// Out of descriptors or local ports.
    #[error("no local resources for a connection")]
    Exhausted(#[source] io::Error),
    /// The TLS connection stands, but HTTP/2 was not agreed on.
    #[error("the server does not offer HTTP/2 (ALPN `h2`)")]
    Alpn,
    /// It stands, but what the server says on it is not HTTP/2.
    #[error("the server does not speak HTTP/2 here")]
    Http2(#[source] ::h2::Error),
    /// The TLS handshake came to nothing, or took too long.
    #[error("TLS handshake failed")]
    Tls(#[source] HandshakeError),
    /// TLS cannot be spoken as configured: its files cannot be used any more.
    #[error("TLS cannot be set up")]
    Connector(#[source] ConnectorError),
}

/// Connects within `timeout`, from one of `sources` if there are any. The kernel chooses the local port as late as
/// `connect`, so that one source address serves tens of thousands of connections to each server.
pub async fn connect(
    to: &ConnectTo,
    sources: &[IpAddr],
    turn: usize,
    timeout: Duration,
) -> Result<ServerIo, ConnectError> {
    let attempt = async {
        match to {
            ConnectTo::Ip(address) => Ok(Socket::Tcp(tcp_socket(*address, sources, turn)?.connect(*address).await?)),
            ConnectTo::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(Ok(socket)) => Ok(ServerIo::Plain(socket)),
        Ok(Err(error)) => Err(classify(error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}

fn tcp_socket(to: SocketAddr, sources: &[IpAddr], turn: usize) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_nodelay(true)?;
    let fitting = || sources.iter().filter(|s| s.is_ipv6() == to.is_ipv6());
    let count = fitting().count();
    if let Some(source) = fitting().nth(turn.checked_rem(count).unwrap_or(0)) {
        bind_late(&socket)?;
        socket.bind(SocketAddr::new(*source, 0))?;
    }
    Ok(socket)
}

/// `IP_BIND_ADDRESS_NO_PORT`: the port is chosen by `connect`, which sees the whole four-tuple.
fn bind_late(socket: &TcpSocket) -> io::Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)
}

fn classify(error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL | libc::EADDRINUSE) => {
            ConnectError::Exhausted(error)
        }
        Some(libc::ETIMEDOUT) => ConnectError::Timeout,
        _ => ConnectError::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_source_address_makes_many_connections_with_late_ports() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = ConnectTo::Ip(listener.local_addr().unwrap());
        let sources = ["127.0.0.2".parse().unwrap(), "::1".parse().unwrap(), "127.0.0.3".parse().unwrap()];
        for (turn, expected) in [(0, "127.0.0.2"), (1, "127.0.0.3"), (2, "127.0.0.2")] {
            let _socket = connect(&to, &sources, turn, Duration::from_secs(2)).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = connect(&ConnectTo::Ip(closed), &[], 0, Duration::from_secs(2)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused(_)), "{error:?}");
    }
}
