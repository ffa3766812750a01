//! Accepting: one connection after another, backing off when descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::bind::OpenListener;
use crate::runtime::socket::Socket;

/// Pause after an accept that failed for want of descriptors or memory.
const BACKOFF: Duration = Duration::from_millis(100);

/// A listening socket on a worker's runtime.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(TcpListener),
    /// Unix stream.
    Unix(UnixListener),
}

impl Acceptor {
    /// Registers an open listener with the runtime of the calling worker.
    pub fn register(listener: OpenListener) -> io::Result<Acceptor> {
        Ok(match listener {
            OpenListener::Tcp(l) => Acceptor::Tcp(TcpListener::from_std(l)?),
            OpenListener::Unix(l) => Acceptor::Unix(UnixListener::from_std(l)?),
        })
    }

    /// The next connection. Errors of a single connection are skipped; for want of descriptors it waits and tries again.
    pub async fn next(&self) -> (Socket, Option<SocketAddr>) {
        let mut warned = false;
        loop {
            let error = match self {
                Acceptor::Tcp(l) => match l.accept().await {
                    Ok((s, peer)) => {
                        return (Socket::Tcp(s), Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())));
                    }
                    Err(e) => e,
                },
                Acceptor::Unix(l) => match l.accept().await {
                    Ok((s, _)) => return (Socket::Unix(s), None),
                    Err(e) => e,
                },
            };
            if is_of_one_connection(&error) {
                continue;
            }
            if !warned {
                tracing::warn!(%error, "cannot accept, waiting for descriptors");
                warned = true;
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

/// Whether an error concerns the connection being accepted rather than this process.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || matches!(
            error.raw_os_error(),
            Some(
                libc::EPROTO | libc::EPERM | libc::ENETDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN
            )
        )
}
