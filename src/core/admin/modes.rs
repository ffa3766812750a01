//! What a connection can switch: expert and experimental mode, and whether replies begin with their severity.

use super::Level;
use super::certificates::CertificateOrder;
use super::command::{Command, Order, ServerChange};
use super::texts;

/// A mode of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `expert-mode`: HAProxy opens commands for debugging; lockgate has none.
    Expert,
    /// `experimental-mode`: likewise for commands that may still change.
    Experimental,
}

impl Mode {
    /// The command's word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Expert => "expert-mode",
            Mode::Experimental => "experimental-mode",
        }
    }
}

/// `set severity-output`: what stands before the text of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SeverityOutput {
    /// Nothing.
    #[default]
    None,
    /// `[3]: `, syslog's number.
    Number,
    /// `[err]: `
    Word,
}

impl SeverityOutput {
    /// What stands before a text of this severity.
    pub fn prefix(self, severity: u8) -> String {
        const WORDS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
        match self {
            SeverityOutput::None => String::new(),
            SeverityOutput::Number => format!("[{severity}]: "),
            SeverityOutput::Word => format!("[{}]: ", WORDS.get(usize::from(severity)).unwrap_or(&"debug")),
        }
    }
}

/// Severity of a refusal.
pub const REFUSED: u8 = 3;

/// The severity of what a command answers when it succeeds; `None` for tables and other things that are no message.
pub fn severity_of(command: &Command) -> Option<u8> {
    match command {
        Command::ShowVersion | Command::ShowLevel | Command::Mode { .. } => Some(6),
        Command::ChangeServer { change: Ok(ServerChange::Address { .. }), .. } => Some(4),
        Command::Certificates(
            CertificateOrder::Set(_)
            | CertificateOrder::New(_)
            | CertificateOrder::Abort(_)
            | CertificateOrder::Delete(_)
            | CertificateOrder::DeleteFromList { .. },
        ) => Some(5),
        _ => None,
    }
}

/// The order these words give, if they are about modes.
pub(super) fn parse(words: &[&str]) -> Option<Order> {
    let mode = |mode, rest: &[&str]| {
        let on = match rest {
            [] => None,
            [word, ..] => Some(*word == "on"),
        };
        Some(Order { level: Level::Admin, command: Command::Mode { mode, on } })
    };
    match words {
        ["expert-mode", rest @ ..] => mode(Mode::Expert, rest),
        ["experimental-mode", rest @ ..] => mode(Mode::Experimental, rest),
        ["set", "severity-output", rest @ ..] => {
            let command = match rest {
                ["none", ..] => Command::SetSeverity(SeverityOutput::None),
                ["number", ..] => Command::SetSeverity(SeverityOutput::Number),
                ["string", ..] => Command::SetSeverity(SeverityOutput::Word),
                _ => Command::Refused(texts::SEVERITY_EXPECTED.into()),
            };
            Some(Order { level: Level::User, command })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (output, expected) in
            [(SeverityOutput::None, ""), (SeverityOutput::Number, "[3]: "), (SeverityOutput::Word, "[err]: ")]
        {
            assert_eq!(output.prefix(REFUSED), expected);
        }
        assert_eq!(SeverityOutput::Word.prefix(200), "[debug]: ");
    }

    #[test]
    fn modes_are_asked_for_and_set() {
        let on = |words: &[&str]| match parse(words) {
            Some(Order { level: Level::Admin, command: Command::Mode { mode, on } }) => (mode, on),
            other => panic!("{words:?}: {other:?}"),
        };
        assert_eq!(on(&["expert-mode"]), (Mode::Expert, None));
        assert_eq!(on(&["expert-mode", "on"]), (Mode::Expert, Some(true)));
        assert_eq!(on(&["experimental-mode", "bogus"]), (Mode::Experimental, Some(false)));
        assert!(parse(&["mcli-debug-mode", "on"]).is_none());
    }
}
