//! Lists of patterns that operators change while traffic flows: maps (a key and a value) and access lists (a key).
//!
//! Reading order: [`entry`] (one pattern and what it matches), [`mod@file`] (HAProxy's file format), `index` and [`lookup`]
//! (finding the entry that matches), [`live`] (what workers read), [`lists`] (what the admin socket changes), [`rule`]
//! (denials). Lists are immutable versions behind atomic pointers: a worker never waits for a change.
//!
//! Not here: the words of the commands ([`crate::core::admin::patterns`]) and reading files (`config::lower`).

pub mod entry;
pub mod file;
mod index;
pub mod lists;
pub mod live;
pub mod lookup;
pub mod rule;

pub use entry::{Matching, Pattern, PatternError};
pub use lists::Patterns;
pub use live::LivePatterns;
pub use lookup::{Entry, Lookup};
pub use rule::{DenyRule, RequestFacts};

/// Entries of one list at most, those of its prepared versions included.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Versions of one list that may be prepared at once.
pub const VERSIONS_MAX: usize = 64;

/// Position of a list among all of the process; `#N` on the admin socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternId(pub u32);

/// Whether entries have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Keys with values. HAProxy: map.
    Map,
    /// Keys alone. HAProxy: acl.
    Acl,
}

impl ListKind {
    /// As commands and descriptions write it.
    pub fn word(self) -> &'static str {
        match self {
            ListKind::Map => "map",
            ListKind::Acl => "acl",
        }
    }
}

/// One list as configured.
#[derive(Debug, Clone)]
pub struct PatternSpec {
    /// Map or access list.
    pub kind: ListKind,
    /// How its keys are compared.
    pub matching: Matching,
    /// The file it was read from, which is its name; `None` for entries written into the configuration.
    pub file: Option<Box<str>>,
    /// What is looked up in it, as HAProxy calls it: `src`, `req.hdr`, `path`.
    pub sample: &'static str,
    /// Where it is used.
    pub uses: Vec<Use>,
    /// What stands in it at the start.
    pub patterns: Vec<Pattern>,
}

/// A place of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The configuration file.
    pub file: Box<str>,
    /// The line, from 1 on.
    pub line: u32,
}

impl PatternSpec {
    /// What `show map` and `show acl` tell of it.
    fn description(&self) -> String {
        let word = self.kind.word();
        let uses: Vec<String> = self.uses.iter().map(|u| format!("file '{}' line {}", u.file, u.line)).collect();
        match &self.file {
            Some(file) => {
                let uses: Vec<String> = uses.iter().map(|place| format!("by {word} at {place}")).collect();
                format!("pattern loaded from file '{file}' used {}", uses.join(", "))
            }
            None => format!("{word} '{}' {}", self.sample, uses.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
