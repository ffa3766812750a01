//! `lockgate ctl`: one admin command from the shell.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::core::admin::texts;

/// Where the admin socket is unless said otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lockgate/admin.sock";

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a command to a running lockgate's admin socket and prints the reply.
///
/// Exits with 0, or with 1 when the command was refused or no lockgate answered.
#[derive(Debug, Clone, clap::Args)]
pub struct Ctl {
    /// The admin socket: a path, or IP:PORT.
    #[arg(long, env = "LOCKGATE_SOCKET", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// The command, as one word or several; commands are joined with `;`.
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl Ctl {
    /// Does it. The reply goes to standard output, mistakes of our own to standard error.
    pub fn run(&self) -> ExitCode {
        self.run_to(&mut io::stdout().lock())
    }

    /// The same, with the reply going to `out`.
    pub fn run_to(&self, out: &mut dyn Write) -> ExitCode {
        let reply = match self.ask() {
            Ok(reply) => reply,
            Err(error) => {
                eprintln!("lockgate ctl: {}: {error}{}", self.socket.display(), remedy(&error));
                return ExitCode::FAILURE;
            }
        };
        let shown = reply.trim_matches('\n');
        let written = match shown.is_empty() {
            true => Ok(()),
            false => writeln!(out, "{shown}").and_then(|()| out.flush()),
        };
        if texts::is_refusal(&reply) || written.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// The whole reply.
    ///
    /// # Errors
    /// The socket cannot be reached, or nothing came in time.
    pub fn ask(&self) -> io::Result<String> {
        let line = format!("{}\n", self.command.join(" ").replace(['\n', '\r'], " "));
        let mut reply = Vec::new();
        match self.socket.to_str().and_then(|text| text.parse::<SocketAddr>().ok()) {
            Some(address) => {
                let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(line.as_bytes())?;
                stream.read_to_end(&mut reply)?;
            }
            None => {
                let mut stream = UnixStream::connect(&self.socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
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
}

/// What to do when nobody could be asked.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; does lockgate run, and is this the `socket` of its `global.admin`? --socket or LOCKGATE_SOCKET names another"
        }
        io::ErrorKind::ConnectionRefused => "; lockgate does not run, or listens elsewhere (`global.admin`)",
        io::ErrorKind::PermissionDenied => "; `mode` and `group` of the socket say who may use it; root always may",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; no reply came in time",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_an_order_from_arriving_comes_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let ctl = |socket: PathBuf| Ctl { socket, command: vec!["show info".into()] };
        let nowhere = ctl(dir.path().join("none.sock")).ask().unwrap_err();
        assert!(remedy(&nowhere).contains("LOCKGATE_SOCKET"), "{nowhere}");
        let path = dir.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let refused = ctl(path).ask().unwrap_err();
        assert!(remedy(&refused).contains("does not run"), "{refused}");
    }
}
