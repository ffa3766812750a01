//! `lockgate run`: reads the configuration, says what is wrong with it, or serves.

use std::io::IsTerminal;
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
    eprint!("{}", report.render(color));
    let Some(model) = model else {
        eprintln!("{}", check::verdict(None, &report));
        return ExitCode::from(BAD_CONFIG);
    };
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
            eprintln!("lockgate: {error:#}");
            ExitCode::from(CANNOT_START)
        }
    }
}
