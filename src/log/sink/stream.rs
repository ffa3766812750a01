//! Lines over TCP, framed by octet counting (RFC 6587, 3.4.1): `LENGTH SP LINE`.
//!
//! The connection is made in the background and again when it breaks; meanwhile lines are held back. A line of which
//! only a part was sent when a connection broke is sent whole on the next one. What the kernel had taken and the receiver
//! had not read by then is lost, and nobody can count it.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, TcpKeepalive, Type};

use super::{Held, Sink};
use crate::log::backlog::Backlog;
use crate::log::batch::Lines;

/// Between two connections that did not hold.
const RECONNECT: Duration = Duration::from_secs(1);
/// Given up when nothing was sent on a new connection for so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a connection that takes nothing now.
const BLOCKED_RETRY: Duration = Duration::from_millis(2);
/// A receiver that acknowledges nothing for so long is gone.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection to a receiver.
pub(super) struct StreamSink {
    address: SocketAddr,
    connection: Option<Connection>,
    /// Not before then is another one made.
    retry_at: Option<Instant>,
    /// It took nothing when tried last; when to try again.
    blocked_until: Option<Instant>,
    backlog: Backlog,
    /// Bytes of the first frame that were sent.
    sent_of_front: usize,
}

struct Connection {
    socket: Socket,
    since: Instant,
    /// Something was sent, so it stands.
    is_confirmed: bool,
}

impl StreamSink {
    pub(super) fn new(address: SocketAddr) -> StreamSink {
        StreamSink {
            address,
            connection: None,
            retry_at: None,
            blocked_until: None,
            backlog: Backlog::default(),
            sent_of_front: 0,
        }
    }

    /// Begins a connection if there is none and it is time to.
    fn connect(&mut self, now: Instant) {
        if self.connection.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match connect(self.address) {
            Ok(socket) => self.connection = Some(Connection { socket, since: now, is_confirmed: false }),
            Err(_) => self.retry_at = Some(now + RECONNECT),
        }
    }

    /// Forgets the connection. One that held for a while is replaced at once.
    fn broken(&mut self, now: Instant) {
        let held_long = self
            .connection
            .take()
            .is_some_and(|connection| connection.is_confirmed && now >= connection.since + RECONNECT);
        self.retry_at = (!held_long).then(|| now + RECONNECT);
        self.blocked_until = None;
        self.sent_of_front = 0;
    }
}

impl Sink for StreamSink {
    fn write(&mut self, lines: &Lines, now: Instant) -> u64 {
        let mut lost = 0;
        for index in 0..lines.count() {
            let line = lines.line(index);
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let mut length = itoa::Buffer::new();
            lost += u64::from(!self.backlog.push(&[length.format(line.len()).as_bytes(), b" ", line]));
        }
        lost + self.pump(now)
    }

    fn pump(&mut self, now: Instant) -> u64 {
        if self.blocked_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.blocked_until = None;
        while !self.backlog.is_empty() {
            let sent_of_front = self.sent_of_front;
            self.connect(now);
            let Some(connection) = self.connection.as_mut() else { return 0 };
            if !connection.is_open() {
                self.broken(now);
                continue;
            }
            let bytes = self.backlog.bytes().get(sent_of_front..).unwrap_or_default();
            match connection.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
                Ok(sent) => {
                    connection.is_confirmed = true;
                    self.sent_of_front = self.backlog.pop_bytes(sent_of_front + sent);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !connection.is_confirmed && now >= connection.since + CONNECT_TIMEOUT {
                        self.broken(now);
                    } else {
                        self.blocked_until = Some(now + BLOCKED_RETRY);
                        return 0;
                    }
                }
                Err(_) => self.broken(now),
            }
        }
        0
    }

    fn wait(&mut self, _now: Instant) {}

    fn held(&self) -> Held {
        if self.backlog.is_empty() {
            return Held::Nothing;
        }
        match (self.connection.is_some(), self.blocked_until, self.retry_at) {
            (true, Some(at), _) | (false, _, Some(at)) => Held::Until(at),
            _ => Held::Slow,
        }
    }

    fn held_lines(&self) -> usize {
        self.backlog.count()
    }

    fn reopen(&mut self) {}
}

impl Connection {
    /// Whether the receiver has not closed it: the first line sent after that would be lost without an error. What
    /// receivers say is not listened to.
    fn is_open(&self) -> bool {
        let mut unread = [MaybeUninit::uninit(); 256];
        loop {
            match self.socket.recv(&mut unread) {
                Ok(0) => return false,
                Ok(_) => {}
                // Not yet connected, or nothing to read. Whatever else is wrong shows when sending.
                Err(_) => return true,
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNACKNOWLEDGED_TIMEOUT))?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
