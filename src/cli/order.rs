//! `lockgate drain`, `ready` and `maint`: one order for several servers, and waiting until it has come true.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use super::socket::{SocketArg, UNREACHABLE};
use super::status::report::{QUESTION, Report, Server};
use crate::core::admin::texts;
use crate::core::units::parse_duration;
use crate::runtime::clock;

/// Exit code when the order was refused or did not come true in time.
const NOT_DONE: u8 = 1;
/// How often is looked while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Gives an order to servers. Exits with 0 when it was carried out, with 1 when it was refused or (with --wait) did not
/// come true in time, with 2 when no lockgate answered.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// Which lockgate.
    #[command(flatten)]
    pub socket: SocketArg,
    /// The servers.
    #[arg(required = true, value_name = "BACKEND/SERVER")]
    pub servers: Vec<String>,
    /// Wait until it has come true, for a minute or as long as said (30s, 5m): a drained server or one in maintenance has
    /// no request left, a ready one is up.
    #[arg(short, long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "1m", require_equals = true,
          value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// What the servers shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// No new requests.
    Drain,
    /// In rotation.
    Ready,
    /// No traffic, no checks.
    Maint,
}

impl Wanted {
    fn word(self) -> &'static str {
        match self {
            Wanted::Drain => "drain",
            Wanted::Ready => "ready",
            Wanted::Maint => "maint",
        }
    }

    /// Whether a server is where it shall be.
    fn reached(self, server: &Server) -> bool {
        match self {
            Wanted::Drain | Wanted::Maint => server.traffic.sessions == 0 && server.traffic.queued == 0,
            // `UP 1/3` takes requests, but one failed check more and it would not.
            Wanted::Ready => matches!(server.status.as_str(), "UP" | "no check"),
        }
    }
}

impl Order {
    /// Gives the order and waits if asked to.
    pub fn run(&self, wanted: Wanted) -> ExitCode {
        match self.carry_out(wanted) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NOT_DONE),
            Err(error) => {
                eprintln!("lockgate {}: {}", wanted.word(), self.socket.complaint(&error));
                ExitCode::from(UNREACHABLE)
            }
        }
    }

    fn carry_out(&self, wanted: Wanted) -> io::Result<bool> {
        let word = wanted.word();
        if let Some(time) = self.servers.iter().find(|name| parse_duration(name).is_ok()) {
            eprintln!("lockgate {word}: `{time}` is no server; how long to wait is written `--wait={time}`");
            return Ok(false);
        }
        let mut done = true;
        for server in &self.servers {
            let server = server.replace([' ', '\t', '\n', ';', '\\'], "?");
            let reply = self.socket.ask(&format!("set server {server} state {word}\n"))?;
            if texts::is_refusal(&reply) {
                eprintln!("lockgate {word}: {server}: {}", reply.trim());
                done = false;
            }
        }
        match self.wait {
            Some(wait) if done => self.wait_for(wanted, wait),
            _ => Ok(done),
        }
    }

    fn wait_for(&self, wanted: Wanted, wait: Duration) -> io::Result<bool> {
        let began = clock::now();
        loop {
            let report = Report::read(&self.socket.ask(QUESTION)?).map_err(io::Error::other)?;
            let waiting: Vec<(&String, String)> = self
                .servers
                .iter()
                .filter_map(|name| Some((name, report.server(name)?)))
                .filter(|(_, server)| !wanted.reached(server))
                .map(|(name, server)| (name, now(server)))
                .collect();
            if waiting.is_empty() {
                return Ok(true);
            }
            if clock::now().saturating_duration_since(began) >= wait {
                for (name, how) in waiting {
                    eprintln!("lockgate {}: {name}: not yet: {how}", wanted.word());
                }
                return Ok(false);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn now(server: &Server) -> String {
    format!("{}, {} requests in flight, {} queued", server.status, server.traffic.sessions, server.traffic.queued)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::report::Condition;

    #[test]
    fn what_has_come_true() {
        let server = |status: &str, sessions| {
            let mut server = Server {
                name: "w1".into(),
                address: String::new(),
                status: status.into(),
                condition: Condition::Fine,
                changed_seconds: 0,
                weight: 1,
                backup: false,
                traffic: Default::default(),
                check: None,
            };
            server.traffic.sessions = sessions;
            server
        };
        for (wanted, status, sessions, expected) in [
            (Wanted::Drain, "DRAIN", 0, true),
            (Wanted::Drain, "DRAIN", 1, false),
            (Wanted::Maint, "MAINT", 2, false),
            (Wanted::Ready, "UP", 9, true),
            (Wanted::Ready, "no check", 0, true),
            (Wanted::Ready, "UP 1/3", 0, false),
            (Wanted::Ready, "DOWN 2/3", 0, false),
        ] {
            assert_eq!(wanted.reached(&server(status, sessions)), expected, "{wanted:?} {status} {sessions}");
        }
    }
}
