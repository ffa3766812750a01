//! Several commands that feel like one connection.
//!
//! Every command travels on a connection of its own, so that a restart of lockgate between two of them is not noticed.
//! What a command changes on its connection (the level, the modes) is therefore said again before each later one.

use std::io;

use super::script::Step;
use crate::cli::socket::SocketArg;

/// How the commands begin whose effect ends with the connection.
const LASTING: &[&[&str]] =
    &[&["operator"], &["user"], &["expert-mode"], &["experimental-mode"], &["set", "severity-output"]];

/// A sequence of commands to one lockgate.
#[derive(Debug)]
pub struct Session {
    socket: SocketArg,
    lasting: Vec<String>,
}

impl Session {
    /// Nothing said yet.
    pub fn new(socket: SocketArg) -> Session {
        Session { socket, lasting: Vec::new() }
    }

    /// Says one command line and returns the replies to it.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn say(&mut self, step: &Step) -> io::Result<String> {
        if step.text.split_whitespace().eq(["prompt"]) {
            // The connection would wait for more commands; each has its own here.
            return Ok("\n".to_owned());
        }
        let before: String = self.lasting.iter().map(|command| format!("{command};")).collect();
        let reply = self.socket.ask(&format!("{before}{}", step.wire()))?;
        // Each of those was accepted once and answers with an empty line.
        let reply = self.lasting.iter().fold(reply.as_str(), |rest, _| rest.strip_prefix('\n').unwrap_or(rest));
        if reply == "\n" && lasts(&step.text) && !self.lasting.contains(&step.text) {
            self.lasting.push(step.text.clone());
        }
        Ok(reply.to_owned())
    }

    /// Where it is said.
    pub fn socket(&self) -> &SocketArg {
        &self.socket
    }
}

fn lasts(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    !text.contains(';') && LASTING.iter().any(|start| words.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outlives_a_command() {
        for text in ["user", " operator ", "expert-mode on", "set severity-output number"] {
            assert!(lasts(text), "{text}");
        }
        for text in ["set server a/b state ready", "show user", "user; show info", "set timeout cli 60"] {
            assert!(!lasts(text), "{text}");
        }
    }
}
