//! Opening listening sockets. Each worker gets its own TCP socket on the same address (`SO_REUSEPORT`); a unix socket is
//! one, shared.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, chown};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::config::model::{Bind, BindAddress, UnixSocket};

/// A listening socket, not yet registered with a runtime.
#[derive(Debug)]
pub enum OpenListener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix stream.
    Unix(StdUnixListener),
}

/// Why a bind could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address}{hint}", hint = tcp_hint(source))]
    Tcp {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket file cannot be had.
    #[error("cannot listen on {path}{hint}", hint = unix_hint(source))]
    Unix {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What to do; why it is so, stands in the source.
fn tcp_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (`ss -ltnp` tells which process does)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
        _ => "",
    }
}

fn unix_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (does its folder exist?)",
        io::ErrorKind::PermissionDenied => {
            " (the folder must be ours to write; only root can give a socket to another owner)"
        }
        _ => "",
    }
}

/// Opens one bind for `workers` workers: one listener each.
pub fn open(bind: &Bind, workers: usize) -> Result<Vec<OpenListener>, BindError> {
    match &bind.address {
        BindAddress::Tcp(address) => {
            let mut address = *address;
            refuse_if_taken(address).map_err(|source| BindError::Tcp { address, source })?;
            let fail = |source| BindError::Tcp { address, source };
            // Port 0 means "any". A socket that only draws it lets the others ask for it by its number: a port that was
            // not asked for is lost when a socket is paused.
            let drawn = if address.port() == 0 { Some(bind_tcp(address).map_err(fail)?) } else { None };
            if let Some(drawn) = &drawn {
                let got = drawn.local_addr().map_err(fail)?;
                address.set_port(got.as_socket().map_or(0, |a| a.port()));
            }
            let mut listeners = Vec::with_capacity(workers);
            for _ in 0..workers {
                let listener = open_tcp(address, bind.backlog).map_err(|source| BindError::Tcp { address, source })?;
                listeners.push(OpenListener::Tcp(listener));
            }
            Ok(listeners)
        }
        BindAddress::Unix(unix) => {
            let fail = |source| BindError::Unix { path: unix.path.display().to_string(), source };
            let first = open_unix(unix).map_err(fail)?;
            let mut listeners = Vec::with_capacity(workers);
            for _ in 1..workers {
                listeners.push(OpenListener::Unix(first.try_clone().map_err(fail)?));
            }
            listeners.push(OpenListener::Unix(first));
            Ok(listeners)
        }
    }
}

/// `SO_REUSEPORT` would let a second lockgate share the port in silence and take half its connections: so the port is
/// first asked for without it.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = RawSocket::new(domain, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

fn open_tcp(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let socket = bind_tcp(address)?;
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<RawSocket> {
    let domain = if address.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = RawSocket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it, which saves a system call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Opens a unix socket with its mode and owner. A file left behind by a dead process is replaced, a live one refused.
pub fn open_unix(unix: &UnixSocket) -> io::Result<StdUnixListener> {
    remove_stale(&unix.path)?;
    let listener = StdUnixListener::bind(&unix.path)?;
    listener.set_nonblocking(true)?;
    apply_ownership(unix)?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(meta) if !meta.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there; remove it"))
        }
        Ok(_) => match StdUnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "a running process answers there")),
            Err(_) => std::fs::remove_file(path),
        },
    }
}

fn apply_ownership(unix: &UnixSocket) -> io::Result<()> {
    if let Some(mode) = unix.mode {
        std::fs::set_permissions(&unix.path, std::fs::Permissions::from_mode(mode))?;
    }
    let user = unix.user.as_deref().map(user_id).transpose()?;
    let group = unix.group.as_deref().map(group_id).transpose()?;
    if user.is_some() || group.is_some() {
        chown(&unix.path, user, group)?;
    }
    Ok(())
}

fn user_id(name: &str) -> io::Result<Uid> {
    if let Ok(id) = name.parse() {
        return Ok(Uid::from_raw(id));
    }
    match User::from_name(name)? {
        Some(user) => Ok(user.uid),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{name}`"))),
    }
}

fn group_id(name: &str) -> io::Result<Gid> {
    if let Ok(id) = name.parse() {
        return Ok(Gid::from_raw(id));
    }
    match Group::from_name(name)? {
        Some(group) => Ok(group.gid),
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no group `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator reads: our words, then the cause, each once.
    fn told(error: BindError) -> String {
        format!("{:#}", anyhow::Error::from(error))
    }

    #[test]
    fn a_bind_that_fails_says_why_once_and_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let source = refuse_if_taken(address).unwrap_err();
        let text = told(BindError::Tcp { address, source });
        assert!(text.contains(&format!("{address} (`ss -ltnp`")), "{text}");
        assert_eq!(text.matches("in use").count(), 1, "{text}");

        let path = "/nonexistent/folder/http.sock";
        let unix = UnixSocket { path: path.into(), mode: None, user: None, group: None };
        let source = open_unix(&unix).unwrap_err();
        let text = told(BindError::Unix { path: path.into(), source });
        assert!(text.contains("does its folder exist?") && text.matches("No such file").count() == 1, "{text}");
    }
}
