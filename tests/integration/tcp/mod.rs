//! TCP mode: sessions of any protocol between raw sockets and real programs.

mod beyond;
mod bulk;
mod log_cases;
mod peer;
mod sessions;
mod sni;

use std::sync::Arc;

use tempfile::TempDir;

use crate::support::logs::LogReceiver;
use crate::support::proxy::Proxy;

/// A lockgate with frontends and backends of the test's own.
pub struct Tcp {
    pub proxy: Proxy,
    pub logs: LogReceiver,
}

/// A folder and a log receiver, for configurations that name them.
pub fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::Builder::new().prefix("lockgate-").tempdir().unwrap())
}

impl Tcp {
    /// Starts with the sections below `global`, written by the test.
    #[track_caller]
    pub fn start(dir: Arc<TempDir>, sections: &str) -> Tcp {
        Tcp::with_global(dir, "threads: 1", sections)
    }

    /// [`Tcp::start`] with a line of `global`.
    #[track_caller]
    pub fn with_global(dir: Arc<TempDir>, global: &str, sections: &str) -> Tcp {
        let logs = LogReceiver::udp();
        let admin = dir.path().join("admin.sock");
        let yaml = format!(
            "global:\n  {global}\n  grace: 5s\n  logs: [ {{ target: \"{}\", syslog: rfc3164 }} ]\n  admin: [ {{ socket: {}, level: admin, timeout: 60s }} ]\n{sections}",
            logs.target(),
            admin.display()
        );
        let mut proxy = Proxy::spawn(dir.clone(), &yaml, admin, &[]);
        proxy.wait_ready();
        Tcp { proxy, logs }
    }

    /// Waits for the `tcplog` lines of a frontend.
    #[track_caller]
    pub fn rows(&self, frontend: &str, n: usize) -> Vec<Row> {
        let found = crate::support::eventually_or(crate::support::PATIENCE, || {
            let rows: Vec<_> =
                self.logs.lines().iter().filter_map(|l| Row::parse(l)).filter(|r| r.frontend == frontend).collect();
            (rows.len() >= n).then_some(rows)
        });
        found.unwrap_or_else(|| panic!("fewer than {n} lines of {frontend}:\n{}", self.logs.lines().join("\n")))
    }
}

/// A line of `tcplog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub frontend: String,
    /// `backend/server`
    pub to: String,
    pub queue: i64,
    pub connect: i64,
    pub total: i64,
    pub bytes: u64,
    pub flags: String,
    pub retries: String,
    /// Places in the server's and the backend's queue.
    pub queues: String,
}

impl Row {
    pub fn parse(line: &str) -> Option<Row> {
        let (_, message) = line.split_once("]: ")?;
        let words: Vec<&str> = message.split_whitespace().collect();
        let [_, _, frontend, to, timers, bytes, flags, counts, queues] = words[..] else { return None };
        let timers: Vec<i64> =
            timers.split('/').map(|t| t.trim_start_matches('+').parse().ok()).collect::<Option<_>>()?;
        let [queue, connect, total] = timers[..] else { return None };
        Some(Row {
            frontend: frontend.trim_end_matches('~').to_owned(),
            to: to.to_owned(),
            queue,
            connect,
            total,
            bytes: bytes.trim_start_matches('+').parse().ok()?,
            flags: flags.to_owned(),
            retries: counts.rsplit('/').next()?.to_owned(),
            queues: queues.to_owned(),
        })
    }
}
