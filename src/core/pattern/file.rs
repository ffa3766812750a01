//! HAProxy's pattern files: one entry a line, `#` at the beginning of a line for comments, blank lines passed over.
//! In maps the key ends at the first blank and the rest is the value; in access lists the line is the key.

use super::entry::{Matching, Pattern, PatternError};
use super::{ENTRIES_MAX, ListKind};

/// Mistakes of one file that are told.
pub const MISTAKES_MAX: usize = 5;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1 on.
    pub line: u32,
    /// What is wrong.
    pub error: FileError,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The entry itself.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A key without a value.
    #[error("the key '{0}' has no value")]
    NoValue(Box<str>),
    /// Bytes that are no text.
    #[error("this line is not UTF-8")]
    NotText,
    /// More than [`ENTRIES_MAX`].
    #[error("there are more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// A file's patterns, each with its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternFile {
    /// In the order of the file.
    pub patterns: Vec<(u32, Pattern)>,
    /// The first [`MISTAKES_MAX`] lines that are wrong.
    pub mistakes: Vec<Mistake>,
}

/// Reads a file.
pub fn parse(kind: ListKind, matching: Matching, bytes: &[u8]) -> PatternFile {
    let mut file = PatternFile::default();
    for (line, text) in (1u32..).zip(bytes.split(|b| *b == b'\n')) {
        if file.mistakes.len() == MISTAKES_MAX {
            break;
        }
        match entry(kind, matching, text) {
            Ok(None) => {}
            Ok(Some(_)) if file.patterns.len() == ENTRIES_MAX => {
                file.mistakes.push(Mistake { line, error: FileError::TooMany });
                break;
            }
            Ok(Some(pattern)) => file.patterns.push((line, pattern)),
            Err(error) => file.mistakes.push(Mistake { line, error }),
        }
    }
    file
}

fn entry(kind: ListKind, matching: Matching, line: &[u8]) -> Result<Option<Pattern>, FileError> {
    if line.starts_with(b"#") {
        return Ok(None);
    }
    let text = std::str::from_utf8(line).map_err(|_| FileError::NotText)?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (key, value) = match kind {
        ListKind::Acl => (text, ""),
        ListKind::Map => match text.split_once([' ', '\t']) {
            Some((key, value)) => (key, value),
            None => return Err(FileError::NoValue(text.into())),
        },
    };
    Ok(Some(Pattern::parse(matching, key, value)?))
}
