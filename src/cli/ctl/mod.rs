//! `lockgate ctl`: admin commands from the shell, one, a file of them, or at a prompt.
//!
//! Reading order: [`session`] (what one exchange is), [`script`] (a file of commands), `prompt` and [`complete`]
//! (a person at a terminal).

pub mod complete;
mod prompt;
pub mod script;
pub mod session;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use script::Step;
use session::Session;

use super::socket::{SocketArg, UNREACHABLE};
use crate::core::admin::texts;

/// Exit code when a command was refused.
const REFUSED: u8 = 1;

/// Says something to the admin socket of a running lockgate and prints the replies.
///
/// With no command and a terminal, a prompt with history and completion. Exits with 0, with 1 when a command was
/// refused, with 2 when no lockgate answered.
#[derive(Debug, Clone, clap::Args)]
pub struct Ctl {
    /// Which lockgate.
    #[command(flatten)]
    pub socket: SocketArg,
    /// Carry out the commands of a file, one a line; `-` is standard input. Lines that begin with `#` are comments.
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub file: Option<PathBuf>,
    /// With a file: go on after a command that was refused.
    #[arg(short, long)]
    pub keep_going: bool,
    /// The command, as one word or several; `;` parts commands. One that ends in `<<` takes standard input as payload.
    #[arg(num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

impl Ctl {
    /// One command.
    pub fn command(socket: SocketArg, line: &str) -> Ctl {
        Ctl { socket, file: None, keep_going: false, command: vec![line.to_owned()] }
    }

    /// Does it. Replies go to standard output, mistakes of our own to standard error.
    pub fn run(&self) -> ExitCode {
        let interactive = self.command.is_empty() && self.file.is_none() && io::stdin().is_terminal();
        match interactive {
            true => prompt::run(&self.socket),
            false => self.run_to(&mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock()),
        }
    }

    /// The same without a prompt, with its input, and where replies and complaints go.
    pub fn run_to(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
        let (origin, steps) = match self.steps(input) {
            Ok(read) => read,
            Err(complaint) => {
                let _ = writeln!(err, "lockgate ctl: {complaint}");
                return ExitCode::from(UNREACHABLE);
            }
        };
        let mut session = Session::new(self.socket.clone());
        let mut refused = false;
        for step in &steps {
            let reply = match session.say(step) {
                Ok(reply) => reply,
                Err(error) => {
                    let _ = writeln!(err, "lockgate ctl: {}", self.socket.complaint(&error));
                    return ExitCode::from(UNREACHABLE);
                }
            };
            let shown = reply.trim_matches('\n');
            if texts::is_refusal(&reply) {
                refused = true;
                if let Some(origin) = &origin {
                    let _ = writeln!(err, "{origin}:{}: {}", step.line, step.text);
                }
            }
            let written = match shown.is_empty() {
                true => Ok(()),
                false => writeln!(out, "{shown}").and_then(|()| out.flush()),
            };
            if written.is_err() || (refused && !self.keep_going) {
                return ExitCode::from(REFUSED);
            }
        }
        if refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
    }

    /// What is to be said, and the name of the file it comes from.
    fn steps(&self, input: &mut dyn Read) -> Result<(Option<String>, Vec<Step>), String> {
        if !self.command.is_empty() {
            let mut step = Step::new(1, &self.command.join(" ").replace(['\n', '\r'], " "));
            if step.wants_payload() {
                let mut payload = String::new();
                input.read_to_string(&mut payload).map_err(|e| format!("standard input: {e}"))?;
                step.payload = Some(script::without_empty_lines(&payload));
            }
            return Ok((None, vec![step]));
        }
        let mut text = String::new();
        let name = match self.file.as_deref() {
            Some(path) if path.as_os_str() != "-" => {
                text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                path.display().to_string()
            }
            _ => {
                input.read_to_string(&mut text).map_err(|e| format!("standard input: {e}"))?;
                "standard input".to_owned()
            }
        };
        Ok((Some(name), script::steps(&text)))
    }
}
