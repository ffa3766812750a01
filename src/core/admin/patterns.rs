//! `show|get|add|set|del|clear|prepare|commit` of maps and access lists: words to orders, and orders to replies.
//!
//! What the lists are is [`crate::core::pattern`]'s business. The sentences are HAProxy 2.8's.

use std::fmt::Write as _;

use super::Level;
use super::command::{Command, Order};
use crate::core::pattern::lists::{ListError, Which};
use crate::core::pattern::{ENTRIES_MAX, ListKind, PatternId, Patterns, VERSIONS_MAX};

/// An order about maps or access lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternOrder {
    /// Which of the two.
    pub kind: ListKind,
    /// What is to be done.
    pub act: PatternAct,
}

/// What is to be done with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternAct {
    /// `show map`: every list.
    List,
    /// `show map M`: its entries.
    Show(Target),
    /// `get map M sample`: the entry that matches.
    Get(Target, String),
    /// `add map M k v`, or a payload: pairs, or what is wrong with them.
    Add(Target, Result<Vec<(String, String)>, String>),
    /// `set map M k v`
    Set(Target, Which, String),
    /// `del map M k`
    Delete(Target, Which),
    /// `clear map M`
    Clear(Target),
    /// `prepare map M`
    Prepare(Target),
    /// `commit map @N M`
    Commit(Target),
}

/// A list and, after `@`, one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `#N` or a file, as written.
    pub list: String,
    /// The version, if one is named.
    pub version: Option<u32>,
}

/// Whether words begin with one of these commands.
pub(super) fn is_one(words: &[&str]) -> bool {
    matches!(
        words,
        ["show" | "get" | "add" | "del" | "clear" | "prepare" | "commit", "map" | "acl", ..] | ["set", "map", ..]
    )
}

/// Reads a command for which [`is_one`] holds.
pub(super) fn parse(words: &[&str], payload: Option<&str>) -> Order {
    let (verb, kind, rest) = match words {
        [verb, "acl", rest @ ..] => (*verb, ListKind::Acl, rest),
        [verb, _, rest @ ..] => (*verb, ListKind::Map, rest),
        _ => ("", ListKind::Map, words),
    };
    let level = if matches!(verb, "show" | "get") { Level::User } else { Level::Admin };
    let command = match act(verb, kind, rest, payload) {
        Ok(act) => Command::Patterns(PatternOrder { kind, act }),
        Err(text) => Command::Refused(text),
    };
    Order { level, command }
}

fn act(verb: &str, kind: ListKind, words: &[&str], payload: Option<&str>) -> Result<PatternAct, String> {
    let (version, words) = match words {
        [version, rest @ ..] if version.starts_with('@') => (Some(number(&version[1..])), rest),
        words => (None, words),
    };
    let target = |list: &str| Target { list: list.to_owned(), version };
    let name = if kind == ListKind::Map { "map" } else { "ACL" };
    match (verb, words) {
        ("show", []) => Ok(PatternAct::List),
        ("show", [list, ..]) => Ok(PatternAct::Show(target(list))),
        ("get", [list, sample, ..]) => Ok(PatternAct::Get(target(list), (*sample).to_owned())),
        ("get", _) => Err(format!("Missing {name} identifier and/or key.")),
        ("add", [list, rest @ ..]) => add(target(list), kind, rest, payload),
        ("add", []) => Err(add_usage(kind)),
        ("set", [list, which, value, ..]) => Ok(PatternAct::Set(target(list), entry(which)?, (*value).to_owned())),
        ("set", _) => Err("'set map' expects three parameters: map identifier, key and value.".to_owned()),
        ("del", [list, which, ..]) => Ok(PatternAct::Delete(target(list), entry(which)?)),
        ("del", _) => Err(format!("This command expects two parameters: {name} identifier and key.")),
        ("commit", _) if version.is_none() => Err("Missing version number.".to_owned()),
        ("clear", [list, ..]) => Ok(PatternAct::Clear(target(list))),
        ("prepare", [list, ..]) => Ok(PatternAct::Prepare(target(list))),
        ("commit", [list, ..]) => Ok(PatternAct::Commit(target(list))),
        _ => Err(format!("Missing {name} identifier.")),
    }
}

fn add(target: Target, kind: ListKind, words: &[&str], payload: Option<&str>) -> Result<PatternAct, String> {
    let pairs = match (kind, words, payload) {
        (ListKind::Map, _, Some(payload)) => pairs(payload),
        (ListKind::Acl, _, Some(payload)) => Ok(keys(payload)),
        (ListKind::Map, [key, value, ..], None) => Ok(vec![((*key).to_owned(), (*value).to_owned())]),
        (ListKind::Acl, [key, ..], None) => Ok(vec![((*key).to_owned(), String::new())]),
        _ => return Err(add_usage(kind)),
    };
    Ok(PatternAct::Add(target, pairs))
}

fn add_usage(kind: ListKind) -> String {
    match kind {
        ListKind::Map => {
            "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload"
        }
        ListKind::Acl => {
            "'add acl' expects two parameters: ACL identifier and pattern, or one parameter and a payload"
        }
    }
    .to_owned()
}

/// A payload's lines as keys and values.
fn pairs(payload: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for line in payload.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once([' ', '\t']) {
            Some((key, value)) => pairs.push((key.to_owned(), value.trim().to_owned())),
            None => return Err(format!("Missing value for key '{}'.", super::parse::shown(line))),
        }
    }
    Ok(pairs)
}

/// A payload's lines as keys.
fn keys(payload: &str) -> Vec<(String, String)> {
    let lines = payload.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| (line.to_owned(), String::new())).collect()
}

/// `#0x…` is an entry's id, anything else a key.
fn entry(word: &str) -> Result<Which, String> {
    match word.strip_prefix("#0x") {
        None => Ok(Which::Key(word.to_owned())),
        Some(hex) => match u64::from_str_radix(hex, 16) {
            Ok(id) => Ok(Which::Reference(id)),
            Err(_) => Err("Malformed identifier. Please use #<id> or <file>.".to_owned()),
        },
    }
}

/// The number at the start of a word, 0 without one, as HAProxy reads versions.
fn number(word: &str) -> u32 {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    word.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(if digits == 0 { 0 } else { u32::MAX })
}

/// Carries an order out. `Ok` is the reply, `Err` why nothing was changed.
pub fn carry_out(order: PatternOrder, patterns: &mut Patterns) -> Result<String, String> {
    let kind = order.kind;
    let find = |target: &Target, patterns: &Patterns| {
        patterns.find(kind, &target.list).ok_or_else(|| match kind {
            ListKind::Map => "Unknown map identifier. Please use #<id> or <file>.".to_owned(),
            ListKind::Acl => "Unknown ACL identifier. Please use #<id> or <file>.".to_owned(),
        })
    };
    let refused = |error: ListError, missing: &str| match error {
        // It may quote what was said.
        ListError::Pattern(error) => format!("{error}.").replace(char::is_control, "?"),
        ListError::NotFound => missing.to_owned(),
        ListError::Full => {
            format!("The list is full: {ENTRIES_MAX} entries at most, those of prepared versions included.")
        }
        ListError::TooManyVersions => format!("Too many versions are prepared: {VERSIONS_MAX} at once, commit one."),
        ListError::InTheFuture => {
            format!("Version number in the future, please use 'prepare {}' before.", kind.word())
        }
        ListError::OutOfRange => "Version number out of range.".to_owned(),
    };
    const GONE: &str = "Key not found.";
    let silent = |()| String::new();
    match order.act {
        PatternAct::List => {
            let mut out = String::from("# id (file) description\n");
            patterns.write_lists(kind, &mut out);
            Ok(out)
        }
        PatternAct::Show(target) => Ok(show(patterns, kind, find(&target, patterns)?, target.version)),
        PatternAct::Get(target, sample) => Ok(get(patterns, kind, find(&target, patterns)?, &sample)),
        PatternAct::Add(target, pairs) => {
            let id = find(&target, patterns)?;
            patterns.add(id, target.version, &pairs?).map(silent).map_err(|e| refused(e, GONE))
        }
        PatternAct::Set(target, which, value) => {
            let id = find(&target, patterns)?;
            patterns.set(id, target.version, &which, &value).map(silent).map_err(|e| refused(e, "entry not found."))
        }
        PatternAct::Delete(target, which) => {
            let id = find(&target, patterns)?;
            patterns.delete(id, target.version, &which).map(silent).map_err(|e| refused(e, GONE))
        }
        PatternAct::Clear(target) => {
            let id = find(&target, patterns)?;
            patterns.clear(id, target.version).map(silent).map_err(|e| refused(e, GONE))
        }
        PatternAct::Prepare(target) => {
            let id = find(&target, patterns)?;
            let version = patterns.prepare(id).map_err(|e| refused(e, GONE))?;
            Ok(format!("New version created: {version}\n"))
        }
        PatternAct::Commit(target) => {
            let id = find(&target, patterns)?;
            patterns.commit(id, target.version.unwrap_or(0)).map(silent).map_err(|e| refused(e, GONE))
        }
    }
}

fn show(patterns: &Patterns, kind: ListKind, id: PatternId, version: Option<u32>) -> String {
    let mut out = String::new();
    for entry in patterns.entries(id, version) {
        let _ = match kind {
            ListKind::Map => writeln!(out, "0x{:x} {} {}", entry.id, entry.pattern.key(), entry.pattern.value()),
            ListKind::Acl => writeln!(out, "0x{:x} {}", entry.id, entry.pattern.key()),
        };
    }
    out
}

fn get(patterns: &Patterns, kind: ListKind, id: PatternId, sample: &str) -> String {
    let Some(list) = patterns.in_force(id) else { return String::new() };
    let start = format!("type={}, case=sensitive", list.matching().word());
    let pattern = list.find(sample).map(|entry| &entry.pattern);
    match (kind, pattern) {
        (ListKind::Map, None) => format!("{start}, found=no\n"),
        (ListKind::Acl, None) => format!("{start}, match=no\n"),
        (ListKind::Map, Some(found)) => {
            let (key, value) = (found.key(), found.value());
            format!("{start}, found=yes, idx=tree, key=\"{key}\", value=\"{value}\", type=\"str\"\n")
        }
        (ListKind::Acl, Some(found)) => format!("{start}, match=yes, idx=tree, pattern=\"{}\"\n", found.key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::admin::parse::parse_with;
    use crate::core::admin::words::commands;
    use crate::core::pattern::{Matching, Pattern, PatternSpec, Use};

    fn lists() -> Patterns {
        let pattern = |matching, key, value| Pattern::parse(matching, key, value).unwrap();
        let at = |line| vec![Use { file: "/etc/lockgate.yaml".into(), line }];
        let map = PatternSpec {
            kind: ListKind::Map,
            matching: Matching::Host,
            file: Some("/m".into()),
            sample: "req.hdr",
            uses: at(7),
            patterns: vec![pattern(Matching::Host, "a.example", "web")],
        };
        let acl = PatternSpec {
            kind: ListKind::Acl,
            matching: Matching::Network,
            file: None,
            sample: "src",
            uses: at(5),
            patterns: vec![pattern(Matching::Network, "10.0.0.0/8", "")],
        };
        Patterns::new(vec![map, acl], ["web", "api"].into_iter())
    }

    fn say(patterns: &mut Patterns, line: &str, payload: Option<&str>) -> String {
        let words = commands(line).swap_remove(0);
        match parse_with(&words, payload).command {
            Command::Patterns(order) => carry_out(order, patterns).unwrap_or_else(|text| text),
            Command::Refused(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn replies_of_haproxy_that_were_not_recorded() {
        let mut patterns = lists();
        let mut check = |line: &str, payload: Option<&str>, expected: &str| {
            assert_eq!(say(&mut patterns, line, payload), expected, "{line}");
        };
        check(
            "add acl",
            None,
            "'add acl' expects two parameters: ACL identifier and pattern, or one parameter and a payload",
        );
        check("set map /m a.example", None, "'set map' expects three parameters: map identifier, key and value.");
        check("del map /m", None, "This command expects two parameters: map identifier and key.");
        check("del acl #1", None, "This command expects two parameters: ACL identifier and key.");
        check("get map /m", None, "Missing map identifier and/or key.");
        check("clear acl", None, "Missing ACL identifier.");
        check("prepare map", None, "Missing map identifier.");
        check("commit map /m", None, "Missing version number.");
        check("commit map @1 /m", None, "Version number out of range.");
        check("add map @1 /m k web", None, "Version number in the future, please use 'prepare map' before.");
        check("del map /m #0xzz", None, "Malformed identifier. Please use #<id> or <file>.");
        check("add map /m", Some("b.example\n"), "Missing value for key 'b.example'.");
        check(
            "add map /m",
            Some("b.example api\nc d:1 web\nnot/a/host web\n"),
            "'not/a/host' is not a host: as 'example.com' or '*.example.com', without a port.",
        );
        check("show map /m", None, "0x10000000 a.example web\n");
        check(
            "show map",
            None,
            "# id (file) description\n0 (/m) pattern loaded from file '/m' used by map at file '/etc/lockgate.yaml' line 7. curr_ver=0 next_ver=0 entry_cnt=1\n",
        );
        check(
            "show acl",
            None,
            "# id (file) description\n1 () acl 'src' file '/etc/lockgate.yaml' line 5. curr_ver=0 next_ver=0 entry_cnt=1\n",
        );
        check("add acl #1 1\u{1b}[2J", None, "'1?[2J' is not a valid IPv4 or IPv6 address.");
        check("show acl #0", None, "Unknown ACL identifier. Please use #<id> or <file>.");
        check("add acl #1 192.0.2.1", None, "");
        check("show acl #1", None, "0x10000010 10.0.0.0/8\n0x10000030 192.0.2.1\n");
        check("del acl #1 #0x10000010", None, "");
        check("get acl #1 10.0.0.1", None, "type=ip, case=sensitive, match=no\n");
        check("get acl #1 192.0.2.1", None, "type=ip, case=sensitive, match=yes, idx=tree, pattern=\"192.0.2.1\"\n");
        check("get acl #1 nonsense", None, "type=ip, case=sensitive, match=no\n");
    }

    #[test]
    fn writing_needs_an_admin() {
        for (line, level) in [
            ("show map", Level::User),
            ("get acl a b", Level::User),
            ("add map", Level::Admin),
            ("set map", Level::Admin),
            ("del acl", Level::Admin),
            ("clear map x", Level::Admin),
            ("prepare acl x", Level::Admin),
            ("commit map @1 x", Level::Admin),
        ] {
            assert_eq!(parse_with(&commands(line)[0], None).level, level, "{line}");
        }
        assert!(matches!(parse_with(&commands("set acl a b")[0], None).command, Command::Unknown(_)));
    }
}
