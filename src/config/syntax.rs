//! Text that is not YAML: the parser's words, and what is usually behind them (a tab, a missing quote, a colon without
//! its space, another program's file). The parser stops at its first mistake, and so does this.

use super::diagnostic::Report;
use super::foreign;
use super::shape::shorten;

const UNREAD: &str = "nothing behind this place was read";

/// Reports what the parser said at a byte of the text.
pub(super) fn explain(report: &mut Report, text: &str, at: usize, info: &str) {
    let _ = refuse_other_program(report, text)
        || refuse_tab(report, text, at)
        || refuse_tight_colon(report, text, at)
        || refuse_character(report, text, at, info);
}

/// Another program's configuration.
pub(super) fn refuse_other_program(report: &mut Report, text: &str) -> bool {
    let Some(program) = foreign::program(text) else { return false };
    report
        .file_error(format!("this is a configuration of {program}, lockgate reads YAML"))
        .help("the least that works is in conf/minimal.yaml, every key in conf/example.yaml");
    true
}

/// Where the line of a byte begins.
fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

/// The line that begins at a byte.
fn line(text: &str, start: usize) -> &str {
    text.get(start..).and_then(|rest| rest.split('\n').next()).unwrap_or_default()
}

/// A tab that indents; the parser may notice it in the line before.
fn refuse_tab(report: &mut Report, text: &str, at: usize) -> bool {
    let here = line_start(text, at);
    let next = here + line(text, here).len() + 1;
    for start in [here, next] {
        let line = line(text, start);
        let blank = line.len() - line.trim_start().len();
        if let Some(tab) = line.get(..blank).and_then(|blank| blank.find('\t')) {
            report
                .error_at(start + tab..start + blank, "this line is indented with a tab")
                .label("write spaces")
                .help("YAML indents with spaces only; an editor can be told to put them for the Tab key")
                .help(UNREAD);
            return true;
        }
    }
    false
}

/// `bind:0.0.0.0:80` is a piece of text and no key; the parser notices at the next line.
fn refuse_tight_colon(report: &mut Report, text: &str, at: usize) -> bool {
    let here = line_start(text, at);
    let before = line_start(text, here.saturating_sub(1));
    let written = line(text, before);
    let key = written.trim_start();
    let Some((name, value)) = key.split_once(':').filter(|_| before < here) else { return false };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !is_name || value.starts_with(char::is_whitespace) || value.is_empty() {
        return false;
    }
    let colon = before + written.len() - key.len() + name.len();
    report
        .error_at(colon..colon + 1, "this colon has no space behind it")
        .label(format!("write `{name}: {}`", shorten(value.trim_end())))
        .help(UNREAD);
    true
}

/// Anything else, judged by the character the parser stopped at.
fn refuse_character(report: &mut Report, text: &str, at: usize, info: &str) -> bool {
    // A lone star is noticed behind it.
    let behind_star = info.contains("alias") && text.get(..at).is_some_and(|before| before.ends_with('*'));
    let at = if behind_star { at - 1 } else { at };
    let rest = text.get(at..).unwrap_or_default();
    let word = rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).next().unwrap_or_default();
    let first = rest.chars().next();
    let message = match first {
        Some('*') => "this is not YAML: `*` begins the name of an alias".to_owned(),
        Some('"' | '\'') => "this is not YAML: this quote is not closed where it should be".to_owned(),
        _ => format!("this is not YAML: {info}"),
    };
    let diagnostic = report.error_at(at..at + word.len().max(1), message);
    match first {
        Some('*') => {
            diagnostic.label(format!("write `\"{}\"`", shorten(word)));
        }
        Some('%' | '@' | '`' | '&' | '!' | '|' | '>') => {
            diagnostic.label("put the text into quotes");
        }
        Some('"' | '\'') => {}
        _ => {
            diagnostic
                .help("keys of one map begin in the same column and end with a colon and a space")
                .help("if this line is right, look above it for a `[`, `{` or quote that is not closed");
        }
    }
    diagnostic.help(UNREAD);
    true
}
