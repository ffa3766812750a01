//! `lockgate status`: how a running lockgate is, for a person, a script or a screen that is left on.
//!
//! Reading order: `rows` (the CSV read back), [`report`] (what is known, and what is a problem), [`table`] (as a
//! person reads it), [`style`] (colours, numbers, ages). The JSON form is the report's own shape.

pub mod report;
mod rows;
pub mod style;
pub mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use report::Report;
use style::Look;

use super::socket::{SocketArg, UNREACHABLE};
use crate::core::units::parse_duration;

/// Exit code when something that was asked about is down.
const SOMETHING_DOWN: u8 = 1;
/// Shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows how the frontends, backends and servers of a running lockgate are.
///
/// Exits with 0 when nothing is down (what is drained or in maintenance by somebody's wish is not), with 1 when a server
/// or a backend is, with 2 when no lockgate answered.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// Which lockgate.
    #[command(flatten)]
    pub socket: SocketArg,
    /// Only these backends.
    #[arg(value_name = "BACKEND")]
    pub backends: Vec<String>,
    /// What is down first, then what is changing, then what was set aside.
    #[arg(short, long)]
    pub problems: bool,
    /// As JSON, for scripts; the fields are described in docs/ADMIN.md.
    #[arg(long)]
    pub json: bool,
    /// Look again and again: every 2 s, or as often as said (500ms, 5s, 1m).
    #[arg(short, long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s",
          require_equals = true, value_parser = interval)]
    pub watch: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => parse_duration(text).map_err(|e| e.to_string())?,
    };
    if interval < INTERVAL_MIN { Err("at least 100ms".to_owned()) } else { Ok(interval) }
}

impl Status {
    /// Does it, on standard output.
    pub fn run(&self) -> ExitCode {
        let terminal = io::stdout().is_terminal();
        match self.watch {
            Some(interval) => self.watch(interval, terminal),
            None => self.once(terminal),
        }
    }

    fn once(&self, terminal: bool) -> ExitCode {
        match self.look() {
            Ok(report) => {
                let code = if report.down > 0 { ExitCode::from(SOMETHING_DOWN) } else { ExitCode::SUCCESS };
                // Who closed our output has read enough.
                let _ = io::stdout().lock().write_all(self.render(&report, terminal).as_bytes());
                code
            }
            Err(complaint) => {
                eprintln!("lockgate status: {complaint}");
                ExitCode::from(UNREACHABLE)
            }
        }
    }

    /// Until it is interrupted or its output is closed. A lockgate that does not answer is asked again.
    fn watch(&self, interval: Duration, terminal: bool) -> ExitCode {
        let redraws = terminal && !self.json;
        let mut out = io::stdout().lock();
        let mut last = String::new();
        if redraws {
            let _ = out.write_all(style::CLEAR.as_bytes());
        }
        loop {
            let text = match self.look() {
                Ok(report) => {
                    last = self.render(&report, terminal);
                    last.clone()
                }
                Err(complaint) if self.json => serde_json::json!({ "error": complaint }).to_string() + "\n",
                Err(complaint) if redraws => {
                    let when = if last.is_empty() { "" } else { " The last answer was:\n\n" };
                    format!("No answer, trying again: {complaint}.{when}{last}")
                }
                Err(complaint) => format!("No answer, trying again: {complaint}.\n"),
            };
            let frame =
                if redraws { style::in_place(&text, Look::of_terminal().height) } else { separated(text, self.json) };
            if out.write_all(frame.as_bytes()).and_then(|()| out.flush()).is_err() {
                return ExitCode::SUCCESS;
            }
            std::thread::sleep(interval);
        }
    }

    /// What lockgate says now.
    fn look(&self) -> Result<Report, String> {
        let replies = self.socket.ask_within(report::QUESTION, PATIENCE).map_err(|e| self.socket.complaint(&e))?;
        let mut report = Report::read(&replies).map_err(|e| format!("{}: {e}", self.socket.socket.display()))?;
        if !self.backends.is_empty() {
            report = report.only(&self.backends)?;
        }
        if self.problems {
            report.problems_first();
        }
        Ok(report)
    }

    fn render(&self, report: &Report, terminal: bool) -> String {
        match self.json {
            // One object a line while watching, for readers of lines.
            true if self.watch.is_some() => serde_json::to_string(report).unwrap_or_default() + "\n",
            true => serde_json::to_string_pretty(report).unwrap_or_default() + "\n",
            false => table::render(report, &if terminal { Look::of_terminal() } else { Look::plain() }),
        }
    }
}

fn separated(text: String, json: bool) -> String {
    if json { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, expected) in
            [("2", Ok(2000)), ("500ms", Ok(500)), ("1m", Ok(60_000)), ("10ms", Err(())), ("x", Err(()))]
        {
            assert_eq!(interval(text).map(|d| d.as_millis()).map_err(|_| ()), expected, "{text}");
        }
    }
}
