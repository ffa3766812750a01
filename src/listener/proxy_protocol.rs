//! Reading the PROXY header that a connection begins with, before TLS and everything else.
//!
//! The bytes are looked at where the kernel keeps them, and only those of the header are taken: whoever reads next finds
//! the connection as if there had been none. What a header says, and which bytes are none, is decided in
//! `core::proxy_protocol`.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::config::model::ProxyProtocol;
use crate::core::proxy_protocol::{self, Header, Malformed, Parsed};
use crate::runtime::socket::Socket;

/// Room for a header at first: enough for any of version 1, and for most of version 2.
const ROOM_BYTES: usize = 256;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It comes from an address whose word is not taken, where a header is required.
    #[error("Received a connection from an address that may not send a PROXY protocol header")]
    Untrusted,
    /// It closed without a byte.
    #[error("Connection closed while waiting for PROXY protocol header")]
    Closed,
    /// It broke.
    #[error("Connection error while waiting for PROXY protocol header")]
    Broken,
    /// The header did not come in time; `any` of it may have.
    #[error("Timeout while waiting for PROXY protocol header")]
    Timeout {
        /// Some bytes of it came.
        any: bool,
    },
    /// It closed in the middle of the header.
    #[error("Truncated PROXY protocol header received")]
    Truncated,
    /// What came is not a header.
    #[error("{}", .0.phrase())]
    Malformed(Malformed),
}

impl Failure {
    /// Whether the client never sent a byte. HAProxy: `option dontlognull` keeps such connections out of the log.
    pub fn is_null(self) -> bool {
        matches!(self, Failure::Closed | Failure::Broken | Failure::Timeout { any: false })
    }
}

/// Takes the header of a fresh connection from `peer` (`None` on unix sockets, whose file says who may connect), within
/// `timeout`. `None` when there is none and there need not be one.
///
/// # Errors
/// The connection is to be closed.
pub async fn take(
    socket: &mut Socket,
    peer: Option<IpAddr>,
    expected: &ProxyProtocol,
    timeout: Duration,
) -> Result<Option<Header>, Failure> {
    if peer.is_some_and(|peer| !expected.from.iter().any(|network| network.contains(&peer))) {
        return if expected.required { Err(Failure::Untrusted) } else { Ok(None) };
    }
    let mut seen = Seen::default();
    let waited = tokio::time::timeout(timeout, wait(socket, &mut seen)).await;
    let (header, len) = match waited.unwrap_or(Err(Failure::Timeout { any: seen.any })) {
        Ok(found) => found,
        // As long as it may be something else, it may go on as that.
        Err(_) if !expected.required && !seen.begun => return Ok(None),
        Err(failure) => return Err(failure),
    };
    // They are there: this takes no time.
    match socket.read_exact(&mut vec![0; len]).await {
        Ok(_) => Ok(Some(header)),
        Err(_) => Err(Failure::Broken),
    }
}

/// What has been seen of a header.
#[derive(Debug, Default)]
struct Seen {
    /// Any byte.
    any: bool,
    /// Enough to know that it is meant to be one.
    begun: bool,
}

/// Waits for the whole header.
async fn wait(socket: &Socket, seen: &mut Seen) -> Result<(Header, usize), Failure> {
    let mut room = vec![0; ROOM_BYTES];
    loop {
        let ended = socket.readable().await.map_err(|_| Failure::Broken)?;
        let space = room.len();
        let judged = socket.look(&mut room, |bytes| {
            seen.any = !bytes.is_empty();
            seen.begun = proxy_protocol::begins(bytes);
            match proxy_protocol::parse(bytes) {
                _ if bytes.is_empty() => Some(Err(Failure::Closed)),
                Ok(Parsed::Whole { header, len }) => Some(Ok(Found::Header(header, len))),
                Ok(Parsed::Partial { at_least }) if at_least > space => Some(Ok(Found::TooLittleRoom(at_least))),
                Ok(Parsed::Partial { .. }) if ended => Some(Err(Failure::Truncated)),
                Ok(Parsed::Partial { .. }) => None,
                Err(malformed) => Some(Err(Failure::Malformed(malformed))),
            }
        });
        match judged {
            Ok(Ok(Found::Header(header, len))) => return Ok((header, len)),
            Ok(Ok(Found::TooLittleRoom(needed))) => room.resize(needed, 0),
            Ok(Err(failure)) => return Err(failure),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Failure::Broken),
        }
    }
}

enum Found {
    Header(Header, usize),
    TooLittleRoom(usize),
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream as StdUnixStream;

    use tokio::net::UnixStream;

    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 8443\r\n";
    const PATIENCE: Duration = Duration::from_secs(5);

    fn expected(required: bool) -> ProxyProtocol {
        ProxyProtocol { from: vec!["192.0.2.0/24".parse().unwrap()], required }
    }

    fn pair() -> (StdUnixStream, Socket) {
        let (client, server) = StdUnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, Socket::Unix(UnixStream::from_std(server).unwrap()))
    }

    /// What is left for whoever reads next.
    async fn rest(mut socket: Socket, client: StdUnixStream) -> Vec<u8> {
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn bytes_behind_a_header_stay() {
        for required in [true, false] {
            let (mut client, mut socket) = pair();
            client.write_all(&[LINE, b"GET / HTTP/1.1\r\n"].concat()).unwrap();
            let header = take(&mut socket, None, &expected(required), PATIENCE).await.unwrap().unwrap();
            assert_eq!(header.addresses().unwrap().0.to_string(), "192.0.2.7:4711");
            assert_eq!(rest(socket, client).await, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_stays_where_none_is_needed() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROPFIND / HTTP/1.1\r\n", b"\r\n\r\nGET /", b"P", b""] {
            let (mut client, mut socket) = pair();
            client.write_all(bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(take(&mut socket, None, &expected(false), PATIENCE).await, Ok(None));
            assert_eq!(rest(socket, client).await, bytes);
        }
    }

    #[tokio::test]
    async fn a_header_may_come_byte_by_byte() {
        let long = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0b\xbb\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51\x04\x0b\xac",
            &[b'x'; 2988][..],
        ];
        for header in [LINE.to_vec(), long.concat()] {
            let (mut client, mut socket) = pair();
            let step = header.len().div_ceil(300);
            let local = tokio::task::LocalSet::new();
            let taken = local.run_until(async {
                tokio::task::spawn_local(async move {
                    for piece in header.chunks(step) {
                        client.write_all(piece).unwrap();
                        tokio::task::yield_now().await;
                    }
                    client.write_all(b"behind").unwrap();
                    client
                });
                take(&mut socket, None, &expected(true), PATIENCE).await
            });
            assert!(taken.await.unwrap().unwrap().addresses().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong() {
        for (bytes, closes, failure, optional) in [
            (&b""[..], true, Failure::Closed, None),
            (b"", false, Failure::Timeout { any: false }, None),
            (b"PRO", false, Failure::Timeout { any: true }, None),
            (b"PROXY ", false, Failure::Timeout { any: true }, Some(Failure::Timeout { any: true })),
            (b"PRO", true, Failure::Truncated, None),
            (&LINE[..20], true, Failure::Truncated, Some(Failure::Truncated)),
            (b"GET /", false, Failure::Malformed(Malformed::NotAHeader), None),
            (
                b"PROXY TCP5\r\n",
                false,
                Failure::Malformed(Malformed::UnknownProtocol),
                Some(Failure::Malformed(Malformed::UnknownProtocol)),
            ),
        ] {
            for (required, wanted) in [(true, Err(failure)), (false, optional.map_or(Ok(None), Err))] {
                let (mut client, mut socket) = pair();
                client.write_all(bytes).unwrap();
                if closes {
                    client.shutdown(Shutdown::Write).unwrap();
                }
                let taken = take(&mut socket, None, &expected(required), PATIENCE).await;
                assert_eq!(taken, wanted, "{:?}, required: {required}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[tokio::test]
    async fn only_named_networks_are_believed() {
        for (peer, required, wanted) in [
            ("192.0.2.1", true, Ok(true)),
            ("192.0.2.1", false, Ok(true)),
            ("192.0.3.1", true, Err(Failure::Untrusted)),
            ("192.0.3.1", false, Ok(false)),
        ] {
            let (mut client, mut socket) = pair();
            client.write_all(LINE).unwrap();
            let taken = take(&mut socket, Some(peer.parse().unwrap()), &expected(required), PATIENCE).await;
            assert_eq!(taken.map(|header| header.is_some()), wanted, "{peer}");
        }
    }
}
