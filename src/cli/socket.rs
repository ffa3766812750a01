//! The admin socket of a running lockgate, seen from outside: one exchange, and what to do when nobody answers.
//!
//! What is said and what replies mean is the business of the sub-commands ([`super::ctl`], [`super::status`],
//! [`super::order`]).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the admin socket is unless said otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lockgate/admin.sock";

/// Exit code when nobody answered, or the command line makes no sense.
pub const UNREACHABLE: u8 = 2;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which running lockgate is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArg {
    /// The admin socket: a path, or IP:PORT.
    #[arg(long, env = "LOCKGATE_SOCKET", default_value = DEFAULT_SOCKET, value_name = "SOCKET")]
    pub socket: PathBuf,
}

impl SocketArg {
    /// The same by its address, for tests.
    pub fn at(socket: impl Into<PathBuf>) -> SocketArg {
        SocketArg { socket: socket.into() }
    }

    /// Sends a line (and its payload, if it has one) and returns everything that is replied.
    ///
    /// # Errors
    /// The socket cannot be reached, or nothing came in time.
    pub fn ask(&self, line: &str) -> io::Result<String> {
        self.ask_within(line, PATIENCE)
    }

    /// [`SocketArg::ask`] with its own patience.
    ///
    /// # Errors
    /// As there.
    pub fn ask_within(&self, line: &str, patience: Duration) -> io::Result<String> {
        let mut reply = Vec::new();
        match self.socket.to_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
            Some(address) => {
                let mut stream = TcpStream::connect_timeout(&address, patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                stream.write_all(line.as_bytes())?;
                stream.read_to_end(&mut reply)?;
            }
            None => {
                let mut stream = UnixStream::connect(&self.socket)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                stream.write_all(line.as_bytes())?;
                stream.shutdown(Shutdown::Write)?;
                stream.read_to_end(&mut reply)?;
            }
        }
        match reply.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed without a reply")),
            false => Ok(String::from_utf8_lossy(&reply).into_owned()),
        }
    }

    /// What went wrong and what to do about it, in one line.
    pub fn complaint(&self, error: &io::Error) -> String {
        format!("{}: {error}{}", self.socket.display(), remedy(&self.socket, error))
    }
}

/// What to do when nobody could be asked.
fn remedy(socket: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "; does lockgate run, and is this the `socket` of its `global.admin`? \
                                    --socket or LOCKGATE_SOCKET names another"
            .to_owned(),
        io::ErrorKind::ConnectionRefused => "; lockgate does not run, or listens elsewhere (`global.admin`)".to_owned(),
        io::ErrorKind::PermissionDenied => match group_of(socket) {
            Some(group) if group != "root" => format!(
                "; the socket is for the group `{group}`: `usermod -aG {group} USER` adds a user, from the next login \
                 on; root always may"
            ),
            _ => "; `mode` and `group` of the socket (`global.admin`) say who may use it; root always may".to_owned(),
        },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; no reply came in time".to_owned(),
        _ => String::new(),
    }
}

/// The group that may use a socket, when it is to be seen.
fn group_of(socket: &Path) -> Option<String> {
    let gid = std::fs::metadata(socket).ok()?.gid();
    Some(nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok()??.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_order_from_arriving_comes_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let asked = |path: PathBuf| {
            let socket = SocketArg::at(path);
            let error = socket.ask("show info\n").unwrap_err();
            socket.complaint(&error)
        };
        let nowhere = asked(dir.path().join("none.sock"));
        assert!(nowhere.contains("LOCKGATE_SOCKET"), "{nowhere}");
        let path = dir.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let refused = asked(path.clone());
        assert!(refused.contains("does not run"), "{refused}");
        let denied = remedy(&path, &io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("group") && denied.contains("root always may"), "{denied}");
    }

    #[test]
    fn a_group_is_named_when_it_can_be_seen() {
        let dir = tempfile::tempdir().unwrap();
        let gid = std::fs::metadata(dir.path()).unwrap().gid();
        let expected = nix::unistd::Group::from_gid(gid.into()).unwrap().map(|g| g.name);
        assert_eq!(group_of(dir.path()), expected);
        assert_eq!(group_of(&dir.path().join("none")), None);
    }
}
