//! `lockgate check -c FILE`: every mistake of a configuration, without starting anything.
//!
//! Binds no port and resolves no name, so it gives the same answer on a build machine as in production.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::config::{self, Host, Model, Report, Source};

/// The longest file read; `config::load` says that a longer one is too long.
const READ_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Checks a file (`-` is standard input) and prints diagnostics and a verdict to standard error. Exit code 0 when it is
/// good, warnings or not; 1 when it is refused. `now` is the wall clock, to tell expired certificates.
pub fn run(file: &Path, now: SystemTime) -> ExitCode {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (model, report) = load(file, now);
    let text = format!("{}{}\n", report.render(color), verdict(model.as_ref(), &report));
    // Nobody is left to tell when standard error is closed.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Reads and lowers a file for this machine (`-` is standard input). A file that cannot be read is a report with one
/// error.
pub fn load(file: &Path, now: SystemTime) -> (Option<Model>, Report) {
    let standard_input = file == Path::new("-");
    let name = if standard_input { "<stdin>".to_owned() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = if standard_input {
        std::io::stdin().lock().take(READ_MAX_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(READ_MAX_BYTES).read_to_end(&mut bytes))
    };
    let text = read.and_then(|_| {
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            std::io::Error::other(format!("it is not UTF-8 text (byte {at})"))
        })
    });
    match text {
        Ok(text) => {
            let host = if standard_input { Host::new("", now) } else { Host::beside(file, now) };
            config::load(&Source { name, text }, &host)
        }
        Err(error) => (None, Report::unreadable(&name, &error)),
    }
}

/// `conf.yaml: ok, 2 frontends, 3 backends, 9 servers`, or `conf.yaml: 3 errors, 1 warning`.
pub fn verdict(model: Option<&Model>, report: &Report) -> String {
    let Some(model) = model else { return format!("{}: {}", report.file(), report.tally()) };
    let count = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let servers = model.fleet.backends.iter().map(|backend| backend.servers.len()).sum();
    let mut parts = vec![
        "ok".to_owned(),
        count(model.fleet.frontends.len(), "frontend"),
        count(model.fleet.backends.len(), "backend"),
        count(servers, "server"),
    ];
    parts.extend(Some(report.tally()).filter(|tally| !tally.is_empty()));
    format!("{}: {}", report.file(), parts.join(", "))
}
