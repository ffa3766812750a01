//! `lockgate hash-password`: what stands in a configuration instead of a password.

use std::borrow::Cow;
use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result, bail};
use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, Editor, Helper};

use crate::core::web::password::{PASSWORD_MAX_BYTES, PasswordHash};

/// Asks for a password, twice on a terminal, once otherwise, and prints its hash.
pub fn run() -> Result<()> {
    let password = if std::io::stdin().is_terminal() { ask()? } else { first_line()? };
    if password.is_empty() || password.len() > PASSWORD_MAX_BYTES {
        bail!("a password has 1 to {PASSWORD_MAX_BYTES} bytes");
    }
    let mut salt = [0; 12];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    println!("{}", PasswordHash::make(&password, salt).as_str());
    Ok(())
}

fn first_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask() -> Result<String> {
    // The questions go to the terminal itself: standard output is for the hash, and often a file.
    let config = rustyline::Config::builder().behavior(Behavior::PreferTerm).build();
    let mut editor = Editor::<Silent, _>::with_config(config).context("cannot use the terminal")?;
    editor.set_helper(Some(Silent));
    editor.set_color_mode(ColorMode::Forced);
    editor.set_auto_add_history(false);
    let mut read = |prompt| match editor.readline(prompt) {
        Err(ReadlineError::Interrupted | ReadlineError::Eof) => bail!("no password was given"),
        other => other.context("cannot read the password"),
    };
    let password = read("Password: ")?;
    if read("Once more: ")? != password {
        bail!("these two differ");
    }
    Ok(password)
}

/// Shows nothing of what is typed.
struct Silent;

impl Highlighter for Silent {
    fn highlight<'l>(&self, _: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Borrowed("")
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Completer for Silent {
    type Candidate = String;
}

impl Hinter for Silent {
    type Hint = String;
}

impl Validator for Silent {}

impl Helper for Silent {}
