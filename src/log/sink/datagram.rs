//! Lines as datagrams, to UDP or to a unix socket such as `/dev/log`: many to a system call.
//!
//! A unix receiver that does not read fast enough blocks its senders, so lines are held back and sent when it has room. A
//! UDP receiver blocks nobody and says nothing, except that a closed port on the way answers with an ICMP error: each of
//! those is one line known to be lost.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Held, Sink};
use crate::core::log::format::cut;
use crate::log::backlog::Backlog;
use crate::log::batch::Lines;

/// Datagrams sent with one system call.
const GROUP: usize = 64;
/// How long to wait for a receiver that is slow before looking at the other targets again.
const WAIT: Duration = Duration::from_millis(5);
/// How often to try again when that wait was in vain.
const STALLED_RETRY: Duration = Duration::from_millis(50);
/// How often to look for a receiver that is gone.
const RECONNECT: Duration = Duration::from_secs(1);
/// So many refusals among the lines of one call, and the rest is taken for lost without trying.
const MAX_REFUSED: u32 = 4;
/// Kernel buffer asked for on UDP sockets.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// What is left of a line that is too long for a datagram, against all expectation.
const CUT_BYTES: usize = 1024;

/// Datagrams to one address.
pub(super) struct DatagramSink {
    link: Link,
    backlog: Backlog,
    /// After a wait in vain: when to try again.
    stalled_until: Option<Instant>,
}

/// The socket, which comes and goes.
struct Link {
    /// The address, or why there is none: then nothing can ever be sent.
    address: Option<SockAddr>,
    domain: Domain,
    socket: Option<Socket>,
    /// Not before then is another one made.
    retry_at: Option<Instant>,
    headers: MultiHeaders<()>,
}

/// How far sending came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Lines that are no longer to be sent: on their way, or given up.
    done: usize,
    /// Lines lost, those of earlier calls included that are known only now.
    lost: u64,
}

impl DatagramSink {
    pub(super) fn udp(address: SocketAddr) -> DatagramSink {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        DatagramSink::new(Some(address.into()), domain)
    }

    pub(super) fn unix(path: &Path) -> DatagramSink {
        // Only a path too long for an address fails, and then there is no such socket.
        DatagramSink::new(SockAddr::unix(path).ok(), Domain::UNIX)
    }

    fn new(address: Option<SockAddr>, domain: Domain) -> DatagramSink {
        let headers = MultiHeaders::preallocate(GROUP, None);
        let link = Link { address, domain, socket: None, retry_at: None, headers };
        DatagramSink { link, backlog: Backlog::default(), stalled_until: None }
    }

    /// Notes what was sent of the backlog.
    fn sent(&mut self, progress: &Progress, now: Instant) {
        self.backlog.pop(progress.done);
        if progress.done > 0 || self.backlog.is_empty() {
            self.stalled_until = None;
        } else if self.stalled_until.is_some() {
            self.stalled_until = Some(now + STALLED_RETRY);
        }
    }
}

impl Sink for DatagramSink {
    fn write(&mut self, lines: &Lines, now: Instant) -> u64 {
        let was_empty = self.backlog.is_empty();
        let progress = if was_empty {
            self.link.send((0..lines.count()).map(|index| lines.line(index)), now)
        } else {
            Progress::default()
        };
        let mut lost = progress.lost;
        for index in progress.done..lines.count() {
            lost += u64::from(!self.backlog.push(&[lines.line(index)]));
        }
        if was_empty { lost } else { lost + self.pump(now) }
    }

    fn pump(&mut self, now: Instant) -> u64 {
        if self.backlog.is_empty() || self.stalled_until.is_some_and(|until| now < until) {
            return 0;
        }
        let progress = self.link.send(self.backlog.frames(), now);
        self.sent(&progress, now);
        progress.lost
    }

    fn wait(&mut self, now: Instant) {
        let (Some(socket), Some(frame)) = (&self.link.socket, self.backlog.frames().next()) else { return };
        match socket.send(frame) {
            Ok(_) => self.sent(&Progress { done: 1, lost: 0 }, now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.stalled_until = Some(now + STALLED_RETRY),
            // What is wrong shows again, and is dealt with, when the backlog is pumped.
            Err(_) => {}
        }
    }

    fn held(&self) -> Held {
        if self.backlog.is_empty() {
            return Held::Nothing;
        }
        match (&self.link.socket, self.link.retry_at, self.stalled_until) {
            (None, Some(at), _) | (Some(_), _, Some(at)) => Held::Until(at),
            _ => Held::Slow,
        }
    }

    fn held_lines(&self) -> usize {
        self.backlog.count()
    }

    fn reopen(&mut self) {}
}

impl Link {
    /// Sends lines from the first on until all are sent or one cannot be sent now.
    fn send<'f>(&mut self, mut lines: impl Iterator<Item = &'f [u8]>, now: Instant) -> Progress {
        let mut progress = Progress::default();
        let mut refused = 0;
        let mut came_back = false;
        let mut group = [&[][..]; GROUP];
        loop {
            let mut count = 0;
            for (place, line) in group.iter_mut().zip(lines.by_ref()) {
                *place = line;
                count += 1;
            }
            let mut next = 0;
            let mut short = false;
            while next < count {
                let Some(socket) = connected(&mut self.socket, &self.address, self.domain, &mut self.retry_at, now)
                else {
                    return progress;
                };
                match send_group(socket, &mut self.headers, &group[next..count]) {
                    Ok(sent) => {
                        next += sent;
                        progress.done += sent;
                        // The call before stopped at an error that was gone by now: somebody refused a datagram. The
                        // kernel does not hand that error out once a line of the same call was sent.
                        refused += u32::from(short);
                        progress.lost += u64::from(short);
                        short = next < count && self.domain != Domain::UNIX;
                    }
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN | Errno::ENOBUFS) => return progress,
                    Err(Errno::ECONNREFUSED) if self.domain != Domain::UNIX => {
                        refused += 1;
                        progress.lost += 1;
                        short = false;
                    }
                    Err(Errno::EMSGSIZE) => {
                        let was_sent = socket.send(&shortened(group[next])).is_ok();
                        progress.lost += u64::from(!was_sent);
                        progress.done += 1;
                        next += 1;
                    }
                    // The receiver went away; if it is back under the same address, this is not even noticed.
                    Err(_) => {
                        self.socket = None;
                        self.retry_at = came_back.then(|| now + RECONNECT);
                        came_back = true;
                    }
                }
                if refused >= MAX_REFUSED {
                    let rest = count - next + lines.count();
                    progress.done += rest;
                    progress.lost += rest as u64;
                    return progress;
                }
            }
            if count < GROUP {
                return progress;
            }
        }
    }
}

/// The socket, made and connected if it is time to.
fn connected<'s>(
    socket: &'s mut Option<Socket>,
    address: &Option<SockAddr>,
    domain: Domain,
    retry_at: &mut Option<Instant>,
    now: Instant,
) -> Option<&'s Socket> {
    if socket.is_none() {
        if retry_at.is_some_and(|at| now < at) {
            return None;
        }
        *socket = address.as_ref().and_then(|address| connect(address, domain).ok());
        *retry_at = if socket.is_some() { None } else { Some(now + RECONNECT) };
    }
    socket.as_ref()
}

fn connect(address: &SockAddr, domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    socket.connect(address)?;
    // Groups are sent without blocking; this is for `wait`.
    socket.set_write_timeout(Some(WAIT))?;
    if domain != Domain::UNIX {
        // A smaller buffer does as well.
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    }
    Ok(socket)
}

/// Sends up to [`GROUP`] datagrams and returns how many were; an error means the first one was not.
fn send_group(socket: &Socket, headers: &mut MultiHeaders<()>, lines: &[&[u8]]) -> Result<usize, Errno> {
    const CONNECTED: [Option<()>; GROUP] = [None; GROUP];
    let no_control: [ControlMessage<'_>; 0] = [];
    let mut slices = [[IoSlice::new(&[])]; GROUP];
    for (slice, line) in slices.iter_mut().zip(lines) {
        *slice = [IoSlice::new(line)];
    }
    let count = lines.len().min(GROUP);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = sendmmsg(socket.as_raw_fd(), headers, slices[..count].iter(), CONNECTED, no_control, flags)?;
    Ok(sent.count())
}

/// The beginning of a line, with its quotes closed.
fn shortened(line: &[u8]) -> Vec<u8> {
    let mut kept = line.trim_ascii_end().to_vec();
    cut(0, CUT_BYTES, false, &mut kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_keeps_its_quote() {
        let long = format!("x \"GET /{} HTTP/1.1\"\n", "a".repeat(5000));
        let kept = shortened(long.as_bytes());
        assert_eq!((kept.len(), kept.last()), (CUT_BYTES, Some(&b'"')));
        assert!(long.as_bytes().starts_with(&kept[..CUT_BYTES - 1]));
    }
}
