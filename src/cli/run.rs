//! `lockgate run`: reads the configuration, says what is wrong with it, or serves.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::check;
use crate::app;
use crate::config::Report;
use crate::runtime::clock;

/// Exit code for a configuration that is wrong.
const BAD_CONFIG: u8 = 1;
/// Exit code for a start that failed for another reason.
const CANNOT_START: u8 = 2;

/// Serves until a signal.
pub fn run(file: &Path) -> ExitCode {
    let (model, report) = check::load(file, clock::wall());
    let color = std::io::stderr().is_terminal();
    // A closed standard error is no reason not to serve.
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(report.render(color).as_bytes());
    let Some(model) = model else {
        let _ = writeln!(stderr, "{}", check::verdict(None, &report));
        return ExitCode::from(BAD_CONFIG);
    };
    drop(stderr);
    serve(model, startup(&report), |listening| {
        for (_, address) in &listening.binds {
            tracing::info!(address = %app::shown(address), "listening");
        }
    })
}

/// What `show startup-logs` tells: who runs, and every warning.
fn startup(report: &Report) -> Vec<(&'static str, Box<str>)> {
    let executable = std::env::current_exe().map_or_else(|_| "unknown".to_owned(), |path| path.display().to_string());
    let mut lines = vec![
        ("NOTICE", format!("lockgate version is {}", env!("CARGO_PKG_VERSION")).into()),
        ("NOTICE", format!("path to executable is {executable}").into()),
    ];
    lines.extend(report.lines().map(|line| ("WARNING", format!("config : {line}").into())));
    lines
}

/// Runs a model to its end and turns a failure into an exit code.
pub fn serve(
    model: crate::config::model::Model,
    startup: Vec<(&'static str, Box<str>)>,
    on_listening: impl FnOnce(&app::Listening),
) -> ExitCode {
    match app::run(model, startup, on_listening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lockgate: {error:#}");
            ExitCode::from(CANNOT_START)
        }
    }
}
