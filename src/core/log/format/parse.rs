//! Reading format strings.

use std::fmt;

use super::variable::{EXPRESSIONS, Flags, VARIABLES, Variable, Wants};
use super::{LineFormat, Piece};
use crate::core::proxy_protocol::Sample;
use crate::core::tls::TlsSample;

/// Why a format cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub trouble: FormatTrouble,
}

/// What is wrong in a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatTrouble {
    /// It is neither a format's name nor has it a variable.
    UnknownName,
    /// No variable has that name.
    UnknownVariable(Box<str>),
    /// A `%` that no name follows.
    NoName,
    /// A flag that does not exist.
    UnknownFlag(Box<str>),
    /// `%{` or `%[` is not closed.
    Unclosed(char),
    /// A sample expression that is not known here.
    Expression(Box<str>),
    /// A control character, which would break lines.
    ControlByte,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trouble {
            FormatTrouble::UnknownName => f.write_str("this is neither the name of a log format nor has it variables"),
            FormatTrouble::UnknownVariable(name) => write!(f, "there is no log variable `%{name}`"),
            FormatTrouble::NoName => f.write_str("a `%` stands without the name of a variable behind it"),
            FormatTrouble::UnknownFlag(flag) => write!(f, "there is no flag `{flag}`"),
            FormatTrouble::Unclosed(bracket) => write!(f, "`%{bracket}` is not closed"),
            FormatTrouble::Expression(text) => write!(f, "sample expressions such as `%[{text}]` are not known here"),
            FormatTrouble::ControlByte => f.write_str("a control character cannot stand in a log line"),
        }
    }
}

impl std::error::Error for FormatError {}

impl LineFormat {
    /// Reads a format string. `%name` and `%{+Q}name` are variables, `%{+Q}o` sets flags for all that follow, `%%` is a
    /// percent sign; blanks in a row are one.
    pub fn parse(text: &str) -> Result<LineFormat, FormatError> {
        if let Some(at) = text.bytes().position(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(FormatError { at, trouble: FormatTrouble::ControlByte });
        }
        let mut reader = Reader { text, at: 0, pieces: Vec::new(), literal: Vec::new(), global: Flags::default() };
        while let Some(byte) = reader.peek() {
            match byte {
                b'%' => reader.variable()?,
                b' ' => {
                    reader.end_literal();
                    reader.at += 1;
                    if reader.pieces.last() != Some(&Piece::Blank) {
                        reader.pieces.push(Piece::Blank);
                    }
                }
                _ => {
                    reader.literal.push(byte);
                    reader.at += 1;
                }
            }
        }
        reader.end_literal();
        let variables = || {
            reader.pieces.iter().filter_map(|piece| match piece {
                Piece::Variable(variable, flags) => Some((*variable, *flags)),
                _ => None,
            })
        };
        let wants = variables().fold(Wants::default(), |wants, (variable, _)| wants.or(variable.wants()));
        let escapes = variables().any(|(_, flags)| flags.escape);
        Ok(LineFormat { wants, escapes, pieces: reader.pieces.into() })
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    pieces: Vec<Piece>,
    literal: Vec<u8>,
    /// Flags set by `%{…}o`.
    global: Flags,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.literal).into()));
        }
    }

    /// What begins with a percent sign.
    fn variable(&mut self) -> Result<(), FormatError> {
        let begin = self.at;
        self.at += 1;
        if self.peek() == Some(b'%') {
            self.literal.push(b'%');
            self.at += 1;
            return Ok(());
        }
        let mut flags = self.global;
        if self.peek() == Some(b'{') {
            let (inside, at) = self.bracketed(begin, '{', '}')?;
            read_flags(inside, at, &mut flags)?;
        }
        let variable = if self.peek() == Some(b'[') {
            let (inside, at) = self.bracketed(begin, '[', ']')?;
            let known = EXPRESSIONS.iter().find(|(name, _)| *name == inside);
            known
                .map(|(_, variable)| *variable)
                .or_else(|| Sample::parse(inside).map(Variable::Announced))
                .or_else(|| TlsSample::parse(inside).map(Variable::Tls))
                .ok_or_else(|| FormatError { at, trouble: FormatTrouble::Expression(inside.into()) })?
        } else {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let end = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() {
                return Err(FormatError { at: begin, trouble: FormatTrouble::NoName });
            }
            self.at += end;
            if name == "o" {
                self.global = flags;
                return Ok(());
            }
            named(name)
                .ok_or_else(|| FormatError { at: begin, trouble: FormatTrouble::UnknownVariable(name.into()) })?
        };
        self.end_literal();
        self.pieces.push(Piece::Variable(variable, flags));
        Ok(())
    }

    /// The text between brackets, and where it begins; goes on behind them. `begin` is the percent sign's place.
    fn bracketed(&mut self, begin: usize, open: char, close: char) -> Result<(&'t str, usize), FormatError> {
        let at = self.at + 1;
        let rest = self.text.get(at..).unwrap_or_default();
        let Some(end) = rest.find(close) else {
            return Err(FormatError { at: begin, trouble: FormatTrouble::Unclosed(open) });
        };
        self.at = at + end + 1;
        Ok((&rest[..end], at))
    }
}

fn named(name: &str) -> Option<Variable> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
}

/// `+Q,-E X`: a sign holds until the next one.
fn read_flags(text: &str, at: usize, flags: &mut Flags) -> Result<(), FormatError> {
    let mut on = true;
    for (offset, letter) in text.char_indices() {
        match letter {
            '+' => on = true,
            '-' => on = false,
            ',' | ' ' => {}
            'Q' => flags.quote = on,
            'E' => flags.escape = on,
            'X' => flags.hex = on,
            // Always so here: an absent value shows `-`.
            'M' => {}
            other => {
                return Err(FormatError {
                    at: at + offset,
                    trouble: FormatTrouble::UnknownFlag(other.to_string().into()),
                });
            }
        }
    }
    Ok(())
}
