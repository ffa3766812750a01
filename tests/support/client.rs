//! A client that says exactly the bytes it is told to.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::message::{Message, Role};
use super::wire::{Transport, Wire, lossy};

/// One connection to the proxy. Its methods panic where a test would: on errors the test did not ask for.
pub struct RawClient {
    /// The connection, for what the methods do not cover.
    pub wire: Wire,
}

impl RawClient {
    /// Connects over TCP.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> RawClient {
        let tcp = TcpStream::connect(to).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
        RawClient { wire: Wire::new(Transport::Tcp(tcp)) }
    }

    /// Connects from a given loopback address (all of 127.0.0.0/8 is ours).
    #[track_caller]
    pub fn connect_from(source: [u8; 4], to: SocketAddr) -> RawClient {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("a loopback address can be bound");
        socket.connect(&to.into()).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
        RawClient { wire: Wire::new(Transport::Tcp(socket.into())) }
    }

    /// Connects with a small receive buffer: a client whose slowness is felt at once.
    #[track_caller]
    pub fn connect_narrow(to: SocketAddr) -> RawClient {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a receive buffer can be set");
        socket.connect(&to.into()).unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
        RawClient { wire: Wire::new(Transport::Tcp(socket.into())) }
    }

    /// Connects over a unix socket.
    #[track_caller]
    pub fn connect_unix(to: &Path) -> RawClient {
        let unix = UnixStream::connect(to).unwrap_or_else(|e| panic!("connecting to {}: {e}", to.display()));
        RawClient { wire: Wire::new(Transport::Unix(unix)) }
    }

    /// The address the proxy sees.
    pub fn local_addr(&self) -> SocketAddr {
        self.wire.transport().tcp().expect("asked of TCP clients only").local_addr().expect("a bound socket")
    }

    /// Says it.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut RawClient {
        self.wire.send(bytes).unwrap_or_else(|e| panic!("sending: {e}"));
        self
    }

    /// A `GET` with a `Host`.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Message {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: www.example.test\r\n\r\n"));
        self.answer()
    }

    /// A whole exchange with given bytes.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Message {
        self.send(bytes);
        self.answer()
    }

    /// The next answer, 1xx included, with its body.
    #[track_caller]
    pub fn next_answer(&mut self, role: Role) -> Message {
        let mut answer = self.head();
        let status = answer.status();
        let role = if (100..200).contains(&status) || status == 204 || status == 304 { Role::Bodiless } else { role };
        answer.read_body(&mut self.wire, role).unwrap_or_else(|e| panic!("the body of {answer:?}: {e}"));
        answer
    }

    /// The next final answer.
    #[track_caller]
    pub fn answer(&mut self) -> Message {
        loop {
            let answer = self.next_answer(Role::Answer);
            if answer.status() >= 200 || answer.status() == 101 {
                return answer;
            }
        }
    }

    /// The next final answer, to a `HEAD`.
    #[track_caller]
    pub fn head_answer(&mut self) -> Message {
        self.next_answer(Role::Bodiless)
    }

    /// The next head alone; its body stays on the wire.
    #[track_caller]
    pub fn head(&mut self) -> Message {
        Message::read_head(&mut self.wire)
            .unwrap_or_else(|e| panic!("reading an answer: {e}"))
            .unwrap_or_else(|| panic!("the connection was closed instead of an answer"))
    }

    /// The connection ends now, and nothing more comes before.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.wire.take_rest() {
            Ok(rest) => assert!(rest.is_empty(), "more bytes before the close: {:?}", lossy(&rest)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("not closed: {e}"),
        }
    }

    /// The connection is still open and silent.
    #[track_caller]
    pub fn expect_silence(&mut self, span: Duration) {
        assert!(self.wire.buffered().is_empty(), "unread bytes: {:?}", lossy(self.wire.buffered()));
        self.wire.read_patience(span);
        match self.wire.fill() {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Ok(0) => panic!("closed"),
            Ok(_) => panic!("not silent: {:?}", lossy(self.wire.buffered())),
            Err(e) => panic!("{e}"),
        }
        self.wire.read_patience(super::PATIENCE);
    }
}
