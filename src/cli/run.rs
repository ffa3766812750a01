//! `lockgate run`: reads the configuration, says what is wrong with it, or serves.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use super::check;
use crate::app;
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
    serve(model, |listening| {
        for (_, address) in &listening.binds {
            tracing::info!(address = %app::shown(address), "listening");
        }
    })
}

/// Runs a model to its end and turns a failure into an exit code.
pub fn serve(model: crate::config::model::Model, on_listening: impl FnOnce(&app::Listening)) -> ExitCode {
    match app::run(model, on_listening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lockgate: {error:#}");
            ExitCode::from(CANNOT_START)
        }
    }
}
