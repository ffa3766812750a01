//! A person at a terminal: a line editor with history and completion round [`Session`].
//!
//! The history holds command lines only, never a payload: a certificate's key is typed or pasted there.

use std::path::PathBuf;
use std::process::ExitCode;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::complete::{QUESTION, Vocabulary};
use super::script;
use super::session::Session;
use crate::cli::socket::{SocketArg, UNREACHABLE};

/// Commands remembered.
const HISTORY_MAX: usize = 1000;
/// What a command is asked for with.
const PROMPT: &str = "lockgate> ";
/// What a payload line is asked for with.
const PAYLOAD_PROMPT: &str = "payload> ";

/// Completes from what the lockgate at this socket knows now.
struct Completion {
    socket: SocketArg,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        // Without an answer there is nothing to propose; the command itself will say what is wrong.
        let replies = self.socket.ask(QUESTION).unwrap_or_default();
        Ok(Vocabulary::read(&replies).candidates(line.get(..pos).unwrap_or_default()))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

type Terminal = Editor<Completion, FileHistory>;

/// Asks for commands until the end of input, `quit` or `exit`.
pub fn run(socket: &SocketArg) -> ExitCode {
    if let Err(error) = socket.ask("show version\n") {
        eprintln!("lockgate ctl: {}", socket.complaint(&error));
        return ExitCode::from(UNREACHABLE);
    }
    match talk(Session::new(socket.clone())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockgate ctl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn talk(mut session: Session) -> rustyline::Result<()> {
    let settings = Config::builder().completion_type(CompletionType::List).max_history_size(HISTORY_MAX)?;
    let mut terminal = Terminal::with_config(settings.build())?;
    terminal.set_helper(Some(Completion { socket: session.socket().clone() }));
    let history = history_file();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = terminal.load_history(file);
    }
    println!(
        "Connected to {}. `help` lists the commands, Tab completes, Ctrl-D ends.",
        session.socket().socket.display()
    );
    loop {
        let line = match terminal.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error),
        };
        // A terminal gives what was pasted as one text, which may be several commands with their payloads.
        for mut step in script::steps(&line) {
            if matches!(step.text.as_str(), "quit" | "exit") {
                return Ok(());
            }
            terminal.add_history_entry(&step.text)?;
            if let Some(file) = &history {
                // A history that cannot be written is no reason to stop working.
                let _ = terminal.save_history(file);
            }
            if step.payload.as_deref() == Some("") {
                match payload(&mut terminal)? {
                    Some(lines) => step.payload = Some(lines),
                    None => continue,
                }
            }
            match session.say(&step) {
                Ok(reply) => show(&reply),
                Err(error) => eprintln!("{}", session.socket().complaint(&error)),
            }
        }
    }
    Ok(())
}

/// Lines up to an empty one; nothing when it was given up with Ctrl-C.
fn payload(terminal: &mut Terminal) -> rustyline::Result<Option<String>> {
    println!("The payload, ended by an empty line; Ctrl-C gives it up.");
    let mut lines = String::new();
    loop {
        match terminal.readline(PAYLOAD_PROMPT) {
            Ok(line) if line.trim().is_empty() => return Ok(Some(lines)),
            // Pasted text may hold the empty line that would end it.
            Ok(line) => lines.push_str(&script::without_empty_lines(&line)),
            Err(ReadlineError::Eof) => return Ok(Some(lines)),
            Err(ReadlineError::Interrupted) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn show(reply: &str) {
    let shown = reply.trim_matches('\n');
    if !shown.is_empty() {
        println!("{shown}");
    }
}

/// `lockgate/history` below `XDG_STATE_HOME`, else `~/.local/state`. Its folder is made, for its owner alone.
fn history_file() -> Option<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let folder = state.join("lockgate");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("history"))
}
