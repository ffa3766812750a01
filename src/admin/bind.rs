//! Opening the admin sockets: stale files are replaced, live sockets are not, and nobody can connect before mode and
//! owner are set.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::model::{AdminAddress, AdminSocket, UnixSocket};
use crate::core::admin::Level;

/// Connections the kernel keeps waiting.
const BACKLOG: i32 = 128;

/// The admin sockets, bound and listening. Nobody is answered before [`AdminServer::serve`].
#[derive(Debug)]
pub struct AdminServer {
    pub(super) sockets: Vec<Bound>,
}

/// Why an admin socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("admin socket {0}: another process is listening there; stop it or choose another path")]
    InUse(String),
    /// Something else than a socket is there.
    #[error("admin socket {0}: the path exists and is not a socket; remove it or choose another path")]
    NotASocket(String),
    /// `user` is nobody.
    #[error("admin socket {path}: there is no user '{user}'")]
    NoSuchUser {
        /// The socket's path.
        path: String,
        /// As configured.
        user: String,
    },
    /// `group` is no group.
    #[error("admin socket {path}: there is no group '{group}'")]
    NoSuchGroup {
        /// The socket's path.
        path: String,
        /// As configured.
        group: String,
    },
    /// The system refused.
    #[error("admin socket {name}: cannot {step}")]
    Io {
        /// The socket.
        name: String,
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// One bound socket.
#[derive(Debug)]
pub(super) struct Bound {
    /// As `show cli sockets` and messages name it.
    pub name: String,
    pub level: Level,
    pub timeout: Duration,
    pub maxconn: u32,
    address: BoundAddress,
    socket: Socket,
    /// Held for its `Drop`.
    _file: Option<SocketFile>,
}

/// Where an admin socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// TCP, with the port the system chose if it was 0.
    Tcp(SocketAddr),
}

/// The file of a unix socket; removed when dropped, if it is still the same one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl AdminServer {
    /// Opens every socket, or none.
    pub fn bind(sockets: &[AdminSocket]) -> Result<AdminServer, BindError> {
        Ok(AdminServer { sockets: sockets.iter().map(Bound::new).collect::<Result<_, _>>()? })
    }

    /// Where the sockets listen, in the order given.
    pub fn addresses(&self) -> Vec<BoundAddress> {
        self.sockets.iter().map(|s| s.address.clone()).collect()
    }

    /// The lines of `show cli sockets`.
    pub(super) fn listed(&self) -> String {
        self.sockets.iter().map(|s| format!("{} {} all\n", s.name, s.level.word())).collect()
    }
}

impl Bound {
    fn new(spec: &AdminSocket) -> Result<Bound, BindError> {
        let (address, socket, file) = match &spec.address {
            AdminAddress::Unix(unix) => {
                let (socket, file) = bind_unix(unix)?;
                (BoundAddress::Unix(unix.path.clone()), socket, Some(file))
            }
            AdminAddress::Tcp(address) => {
                let (socket, address) = bind_tcp(*address)?;
                (BoundAddress::Tcp(address), socket, None)
            }
        };
        let name = match &address {
            BoundAddress::Unix(path) => format!("unix@{}", path.display()),
            BoundAddress::Tcp(address @ SocketAddr::V4(_)) => format!("ipv4@{address}"),
            BoundAddress::Tcp(address @ SocketAddr::V6(_)) => format!("ipv6@{address}"),
        };
        let level = spec.level;
        Ok(Bound { name, level, timeout: spec.timeout, maxconn: spec.maxconn, address, socket, _file: file })
    }

    /// The socket as the runtime takes it. The file stays with `self`.
    pub(super) fn listen(&self) -> io::Result<Listening> {
        let socket = self.socket.try_clone()?;
        Ok(match self.address {
            BoundAddress::Unix(_) => Listening::Unix(tokio::net::UnixListener::from_std(socket.into())?),
            BoundAddress::Tcp(_) => Listening::Tcp(tokio::net::TcpListener::from_std(socket.into())?),
        })
    }
}

/// A listening socket.
pub(super) enum Listening {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
}

/// An accepted connection.
pub(super) type Stream = Pin<Box<dyn Duplex>>;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl Listening {
    /// The next connection, and who it is: the uid of a local peer, the address of another one.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Box<str>)> {
        match self {
            Listening::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let who =
                    stream.peer_cred().map_or_else(|_| "unknown".to_owned(), |peer| format!("uid {}", peer.uid()));
                Ok((Box::pin(stream), who.into()))
            }
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Box::pin(stream), peer.to_string().into()))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<(Socket, SocketAddr), BindError> {
    let failed = |step| {
        let name = address.to_string();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(name),
            _ => BindError::Io { name, step, source },
        }
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(failed("create it"))?;
    socket.set_reuse_address(true).map_err(failed("set it up"))?;
    socket.bind(&address.into()).map_err(failed("bind it"))?;
    socket.listen(BACKLOG).map_err(failed("listen on it"))?;
    socket.set_nonblocking(true).map_err(failed("set it up"))?;
    let bound = socket.local_addr().map_err(failed("read its address"))?;
    Ok((socket, bound.as_socket().unwrap_or(address)))
}

/// Binds beside the wanted path, sets mode and owner, and only then listens and moves the file into place: nobody can
/// connect with the wrong rights, and a crash leaves no half-made socket at the path.
fn bind_unix(spec: &UnixSocket) -> Result<(Socket, SocketFile), BindError> {
    let name = spec.path.display().to_string();
    let failed = |step| {
        let name = name.clone();
        move |source| BindError::Io { name, step, source }
    };
    let (user, group) = (owner(spec)?, owning_group(spec)?);
    SockAddr::unix(&spec.path).map_err(failed("use so long a path for it"))?;
    refuse_if_taken(&spec.path)?;
    let beside = beside(&spec.path);
    let _ = std::fs::remove_file(&beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("create it"))?;
    let address = SockAddr::unix(&beside).map_err(failed("use so long a path for it"))?;
    socket.bind(&address).map_err(failed("bind it"))?;
    let temporary = SocketFile::of(&beside).map_err(failed("look at it"))?;
    if let Some(mode) = spec.mode {
        let mode = std::fs::Permissions::from_mode(mode & 0o777);
        std::fs::set_permissions(&beside, mode).map_err(failed("set its mode"))?;
    }
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(&beside, user, group).map_err(failed("set its owner"))?;
    }
    socket.listen(BACKLOG).map_err(failed("listen on it"))?;
    socket.set_nonblocking(true).map_err(failed("set it up"))?;
    std::fs::rename(&beside, &spec.path).map_err(failed("move it into place"))?;
    let file = SocketFile { path: spec.path.clone(), identity: temporary.identity };
    Ok((socket, file))
}

/// A short name in the same folder, different for every socket of every process.
fn beside(path: &Path) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".lg{}-{number}", std::process::id()))
}

/// A file whose process is gone is no obstacle.
fn refuse_if_taken(path: &Path) -> Result<(), BindError> {
    let name = || path.display().to_string();
    let io_error = |step| move |source| BindError::Io { name: path.display().to_string(), step, source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at it")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(name())),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io_error("create it"))?;
    probe.set_nonblocking(true).map_err(io_error("set it up"))?;
    let address = SockAddr::unix(path).map_err(io_error("use so long a path for it"))?;
    match probe.connect(&address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) => Err(BindError::InUse(name())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse(name())),
        Err(error) => Err(io_error("see whether it is in use")(error)),
    }
}

fn owner(spec: &UnixSocket) -> Result<Option<u32>, BindError> {
    let Some(user) = spec.user.as_deref() else { return Ok(None) };
    let named = || nix::unistd::User::from_name(user).ok().flatten().map(|u| u.uid.as_raw());
    match user.parse().ok().or_else(named) {
        Some(uid) => Ok(Some(uid)),
        None => Err(BindError::NoSuchUser { path: spec.path.display().to_string(), user: user.to_owned() }),
    }
}

fn owning_group(spec: &UnixSocket) -> Result<Option<u32>, BindError> {
    let Some(group) = spec.group.as_deref() else { return Ok(None) };
    let named = || nix::unistd::Group::from_name(group).ok().flatten().map(|g| g.gid.as_raw());
    match group.parse().ok().or_else(named) {
        Some(gid) => Ok(Some(gid)),
        None => Err(BindError::NoSuchGroup { path: spec.path.display().to_string(), group: group.to_owned() }),
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

/// Device and inode: the same file, whatever its name.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
