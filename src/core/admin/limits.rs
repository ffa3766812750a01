//! The words of `set maxconn frontend|global`, `set rate-limit` and `enable|disable|shutdown frontend`.

use super::command::Command;
use super::parse::number;
use super::texts;
use crate::core::fleet::frontends::FrontendOrder;
use crate::core::limit::process::ProcessLimit;

pub(super) fn frontend(words: &[&str], order: FrontendOrder) -> Command {
    let frontend = words.first().copied().unwrap_or_default().to_owned();
    Command::OrderFrontend { frontend, order }
}

pub(super) fn frontend_maxconn(words: &[&str]) -> Command {
    let maxconn = match words.get(1) {
        None => Err(texts::INTEGER_EXPECTED),
        Some(word) => whole_number(word, texts::INTEGER_EXPECTED),
    };
    Command::SetFrontendMaxconn { frontend: words.first().copied().unwrap_or_default().to_owned(), maxconn }
}

pub(super) fn process_maxconn(word: &str) -> Command {
    process_limit(ProcessLimit::Maxconn, word, 1)
}

pub(super) fn rate_limit(words: &[&str]) -> Command {
    let (limit, unit) = match words {
        ["connections", "global", ..] => (ProcessLimit::ConnectionRate, 1),
        ["sessions", "global", ..] => (ProcessLimit::SessionRate, 1),
        ["ssl-sessions", "global", ..] => (ProcessLimit::TlsRate, 1),
        // Said in kB, shown in bytes.
        ["http-compression", "global", ..] => (ProcessLimit::CompressionRate, 1024),
        _ => return Command::Refused(texts::RATE_LIMIT_USAGE.to_owned()),
    };
    process_limit(limit, words.get(2).copied().unwrap_or_default(), unit)
}

fn process_limit(limit: ProcessLimit, word: &str, unit: u32) -> Command {
    match whole_number(word, texts::EXPECTS_INTEGER) {
        Ok(n) => match n.checked_mul(unit) {
            Some(to) => Command::SetProcessLimit { limit, to },
            None => Command::Refused(texts::OUT_OF_RANGE.to_owned()),
        },
        Err(text) => Command::Refused(text.to_owned()),
    }
}

/// HAProxy takes words that are no numbers for 0; here they are refused, because 0 lifts a limit.
fn whole_number(word: &str, garbage: &'static str) -> Result<u32, &'static str> {
    match number(word) {
        Some((n, "")) => u32::try_from(n).map_err(|_| texts::OUT_OF_RANGE),
        _ => Err(garbage),
    }
}
