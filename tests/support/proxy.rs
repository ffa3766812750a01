//! The shipped binary, running with a configuration of the test's.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::stats::{self, StatRow};
use super::{PATIENCE, eventually, eventually_or};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_lockgate");

/// A running lockgate. Dropping it kills the process; a test that failed gets its configuration and output printed.
pub struct Proxy {
    child: Child,
    config: PathBuf,
    admin: PathBuf,
    output: Arc<Mutex<String>>,
    /// Sockets, configuration and everything else the process uses.
    pub dir: Arc<TempDir>,
}

impl Proxy {
    /// Writes the configuration and starts the binary with it; waits for nothing.
    ///
    /// `admin` is the path of the admin socket the configuration declares.
    pub fn spawn(dir: Arc<TempDir>, yaml: &str, admin: PathBuf, environment: &[(&str, String)]) -> Proxy {
        let config = dir.path().join("lockgate.yaml");
        std::fs::write(&config, yaml).expect("the test's own folder can be written");
        let mut child = Command::new(BINARY)
            .arg("run")
            .arg("-c")
            .arg(&config)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("starting {BINARY}: {e}"));
        let output: Arc<Mutex<String>> = Arc::default();
        collect(child.stdout.take().expect("stdout is piped"), &output);
        collect(child.stderr.take().expect("stderr is piped"), &output);
        Proxy { child, config, admin, output, dir }
    }

    /// Waits until the admin socket answers and every server had its first check.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_started();
        let found = eventually_or(PATIENCE, || {
            let rows = stats::parse(&self.admin("show stat -1 4 -1"));
            rows.iter().all(|row| !row.get("check_status").contains("INI")).then_some(())
        });
        assert!(found.is_some(), "a server had no first check: {}", self.admin("show stat"));
    }

    /// Waits until the admin socket answers.
    #[track_caller]
    pub fn wait_started(&mut self) {
        let started = eventually_or(PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("our own child can be waited for") {
                panic!("lockgate ended with {status} instead of starting:\n{}", self.output());
            }
            self.try_admin("show info").filter(|reply| reply.contains("Uptime_sec:"))
        });
        assert!(started.is_some(), "lockgate did not start:\n{}", self.output());
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The admin socket.
    pub fn admin_socket(&self) -> &Path {
        &self.admin
    }

    /// What it has written to stdout and stderr.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one line to the admin socket; the reply without its final empty line.
    #[track_caller]
    pub fn admin(&self, line: &str) -> String {
        self.try_admin(line).unwrap_or_else(|| panic!("the admin socket did not answer {line:?}:\n{}", self.output()))
    }

    /// [`Proxy::admin`] when the socket may be gone.
    pub fn try_admin(&self, line: &str) -> Option<String> {
        let reply = exchange(&self.admin, &format!("{line}\n")).ok()?;
        Some(reply.strip_suffix('\n').unwrap_or(&reply).to_owned())
    }

    /// Sends a command that succeeds silently.
    #[track_caller]
    pub fn order(&self, line: &str) {
        assert_eq!(self.admin(line).trim(), "", "the reply to {line:?}");
    }

    /// Every row of `show stat`.
    #[track_caller]
    pub fn stats(&self) -> Vec<StatRow> {
        stats::parse(&self.admin("show stat"))
    }

    /// One row of `show stat`; `name` may be `FRONTEND` or `BACKEND`.
    #[track_caller]
    pub fn stat(&self, proxy: &str, name: &str) -> StatRow {
        let found = self.stats().into_iter().find(|row| row.get("pxname") == proxy && row.get("svname") == name);
        found.unwrap_or_else(|| panic!("show stat has no row {proxy}/{name}"))
    }

    /// The status word of a server of backend `web`.
    #[track_caller]
    pub fn status(&self, server: &str) -> String {
        self.stat("web", server).get("status").to_owned()
    }

    /// Waits until a server of backend `web` has that status.
    #[track_caller]
    pub fn wait_status(&self, server: &str, status: &str) {
        let found = eventually_or(PATIENCE, || (self.status(server) == status).then_some(()));
        assert!(found.is_some(), "{server} is {:?}, not {status:?}", self.status(server));
    }

    /// One value of `show info`.
    #[track_caller]
    pub fn info(&self, key: &str) -> String {
        let info = self.admin("show info");
        let line = info.lines().find_map(|line| line.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")));
        line.unwrap_or_else(|| panic!("show info has no {key}:\n{info}")).to_owned()
    }

    /// A size of `/proc/PID/status` in KiB: `VmRSS` now, `VmHWM` the most there ever was.
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with(key)).expect("the kernel counts memory");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of kB")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("process ids are small"));
        kill(pid, signal).expect("our own child can be signalled");
    }

    /// Whether the process has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_none()
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        eventually("lockgate to end", || self.child.try_wait().expect("our own child can be waited for"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let config = std::fs::read_to_string(&self.config).unwrap_or_default();
            eprintln!("---- configuration\n{config}---- output of lockgate\n{}----", self.output());
        }
    }
}

/// Sends bytes to a unix socket, without closing that direction, and reads until the other side closes.
pub fn exchange(socket: &Path, bytes: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(bytes.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut chunk = [0u8; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            let text = String::from_utf8_lossy(&chunk[..n]).into_owned();
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    });
}
