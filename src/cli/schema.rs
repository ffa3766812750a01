//! `lockgate schema`: the JSON schema of a configuration file, for editors.

use std::io::Write;
use std::process::ExitCode;

/// Prints the schema to standard output.
pub fn run() -> ExitCode {
    let written = std::io::stdout().lock().write_all(render().as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The schema, indented, with a final line end.
pub fn render() -> String {
    format!("{:#}\n", crate::config::schema())
}
