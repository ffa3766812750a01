//! Programs of Debian packages that some tests use.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Finds a program.
///
/// # Panics
/// When it is missing; the message names the Debian package. `scripts/test` installs them all.
#[track_caller]
pub fn need(program: &str, package: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin"]);
    let found = folders.map(|folder| Path::new(folder).join(program)).find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| panic!("this test needs {program}: run scripts/test, or apt-get install {package}"))
}

/// A child process that dies with its owner.
pub struct Running(Child);

impl Running {
    /// Starts it in the background.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|e| panic!("starting {command:?}: {e}")))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The process, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits for its end and its piped output.
    #[track_caller]
    pub fn finish(mut self) -> std::process::ExitStatus {
        self.0.wait().expect("our own child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command with `input` on its standard input.
#[track_caller]
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("starting {command:?}: {e}"));
    // A program may end before it has read everything.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("our own child can be waited for")
}

/// Standard output and error of a finished command, as text.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
