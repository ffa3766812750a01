//! Every command in one table: what `help` lists, and what is proposed for a word nobody knows.

use super::Level;

struct Entry {
    usage: &'static str,
    text: &'static str,
    level: Level,
}

const fn entry(usage: &'static str, text: &'static str, level: Level) -> Entry {
    Entry { usage, text, level }
}

static COMMANDS: &[Entry] = &[
    entry("clear counters [all]", "reset the maxima of all counters, or all counters", Level::Operator),
    entry("clear table <table> [<filter>]*", "remove entries from a table (filter: data/key)", Level::Admin),
    entry("disable agent <backend>/<server>", "ask a server's agent no more", Level::Admin),
    entry("disable health <backend>/<server>", "stop checking a server", Level::Admin),
    entry("disable server <backend>/<server>", "put a server into maintenance", Level::Admin),
    entry("enable agent <backend>/<server>", "ask a server's agent again", Level::Admin),
    entry("enable health <backend>/<server>", "check a server again", Level::Admin),
    entry("enable server <backend>/<server>", "make a server ready: ends maintenance and drain", Level::Admin),
    entry("get weight <backend>/<server>", "show a server's weight, now and as configured", Level::User),
    entry("operator", "lower this connection's level to operator", Level::Operator),
    entry(
        "set backend <backend> maintenance on|off",
        "answer a backend's requests with its maintenance page",
        Level::Admin,
    ),
    entry("set maxconn server <backend>/<server> <n>", "limit a server's requests in flight, 0 lifts it", Level::Admin),
    entry(
        "set server <backend>/<server> <what> ...",
        "change state, health, weight, addr, check-addr, agent, fqdn, ...",
        Level::Admin,
    ),
    entry("set timeout cli <time>", "close this connection after so long without a command", Level::User),
    entry("set weight <backend>/<server> <n>[%]", "change a server's weight", Level::Admin),
    entry("show backend", "list the backends", Level::User),
    entry("show cli level", "show this connection's level", Level::User),
    entry("show cli sockets", "list the admin sockets", Level::User),
    entry("show errors [<proxy>] [request|response]", "show the last broken requests and responses", Level::Operator),
    entry("show info [desc|json|typed|float]*", "show the process's state", Level::User),
    entry("show schema json", "show the schema of the JSON output", Level::User),
    entry("show servers conn [<backend>]", "show the servers' connections", Level::User),
    entry("show servers state [<backend>]", "show the servers' states", Level::User),
    entry("show sess [<id>|all]", "list the streams, or show one or all of them in full", Level::Operator),
    entry(
        "show stat [desc|json|no-maint|typed|up]*",
        "show the counters of every frontend, backend and server",
        Level::User,
    ),
    entry(
        "show table [<table> [<filter>]*]",
        "list the tables, or show a table's entries (filter: data/key)",
        Level::User,
    ),
    entry("show version", "show the version", Level::User),
    entry("shutdown session <id>", "end a stream", Level::Admin),
    entry("shutdown sessions server <backend>/<server>", "end every stream of a server", Level::Admin),
    entry("user", "lower this connection's level to user", Level::User),
];

/// Always listed last.
static CLOSING: &[Entry] = &[
    entry("help [<command>]", "list matching or all commands", Level::User),
    entry("prompt [timed]", "switch interactive mode on or off", Level::User),
    entry("quit", "close the connection", Level::User),
];

/// Near commands proposed for one that is not known, at most.
const PROPOSALS_MAX: usize = 5;

/// The reply to `help`: every command that `level` may give and that begins with these words, or every one if none
/// does.
pub fn help(words: &[String], level: Level) -> String {
    let mut out = String::from("The following commands are valid at this level:\n");
    let allowed = || COMMANDS.iter().filter(|e| e.level <= level);
    let matching: Vec<&Entry> = allowed().filter(|e| begins_with(e, words)).collect();
    let listed: Vec<&Entry> = if matching.is_empty() { allowed().collect() } else { matching };
    write_entries(listed.into_iter(), &mut out);
    out
}

/// The reply to words that begin no command.
pub fn unknown(words: &[String], level: Level) -> String {
    let first = words.first().map_or("", String::as_str);
    let mut out = format!(
        "Unknown command: '{}', but maybe one of the following ones is a better match:\n",
        super::parse::shown(first)
    );
    write_entries(nearest(words, level).into_iter(), &mut out);
    out
}

fn write_entries<'a>(entries: impl Iterator<Item = &'a Entry>, out: &mut String) {
    for entry in entries.chain(CLOSING) {
        out.push_str(&format!("  {:<40}: {}\n", entry.usage, entry.text));
    }
}

fn begins_with(entry: &Entry, words: &[String]) -> bool {
    words.iter().zip(entry.usage.split(' ')).all(|(word, own)| word == own || own.starts_with(['<', '[']))
}

/// All commands with the same first word when nothing else was said, else the most similar ones.
fn nearest(words: &[String], level: Level) -> Vec<&'static Entry> {
    let allowed = || COMMANDS.iter().filter(move |e| e.level <= level);
    let first = words.first().map_or("", String::as_str);
    let family: Vec<&Entry> = allowed().filter(|e| e.usage.split(' ').next() == Some(first)).collect();
    if !family.is_empty() && words.len() == 1 {
        return family;
    }
    let mut typed: String = words.join(" ").chars().take(64).collect();
    typed.make_ascii_lowercase();
    let pool: Vec<&Entry> = if family.is_empty() { allowed().collect() } else { family };
    let mut scored: Vec<(usize, &Entry)> =
        pool.into_iter().map(|e| (strsim::levenshtein(fixed_words(e.usage), &typed), e)).collect();
    scored.sort_by_key(|(distance, _)| *distance);
    let mut near: Vec<&Entry> = scored.into_iter().take(PROPOSALS_MAX).map(|(_, e)| e).collect();
    near.sort_by_key(|e| e.usage);
    near
}

/// A usage up to its first variable part.
fn fixed_words(usage: &str) -> &str {
    usage.split_once([' ', '[', '<']).map_or(usage, |_| usage.split(['<', '[']).next().unwrap_or(usage)).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::admin::command::Command;
    use crate::core::admin::parse;
    use crate::core::admin::words::commands;

    fn words(line: &str) -> Vec<String> {
        commands(line).swap_remove(0)
    }

    #[test]
    fn every_listed_command_is_known_and_has_the_listed_level() {
        for entry in COMMANDS.iter().chain(CLOSING) {
            let order = parse(&words(fixed_words(entry.usage)));
            assert!(!matches!(order.command, Command::Unknown(_)), "{}", entry.usage);
            assert_eq!(order.level, entry.level, "{}", entry.usage);
        }
        assert!(COMMANDS.is_sorted_by_key(|e| fixed_words(e.usage)));
    }

    #[test]
    fn help_is_filtered_by_words_and_level() {
        let all = help(&[], Level::Admin);
        assert!(all.starts_with("The following commands are valid at this level:\n  clear counters [all]   "), "{all}");
        assert!(all.contains("\n  set backend <backend> maintenance on|off: answer"), "{all}");
        assert_eq!(all.lines().count(), 1 + COMMANDS.len() + CLOSING.len());
        let some = help(&words("set server"), Level::Admin);
        assert_eq!(some.lines().count(), 1 + 1 + CLOSING.len(), "{some}");
        assert!(help(&words("zzz"), Level::Admin) == all, "without a match everything is listed");
        assert!(!help(&[], Level::User).contains("set server"));
        assert!(help(&[], Level::Operator).contains("show errors"));
    }

    #[test]
    fn near_commands_are_proposed() {
        let reply = unknown(&words("shwo stat"), Level::Admin);
        assert!(reply.starts_with("Unknown command: 'shwo', but maybe one of the following ones is a better match:\n"));
        assert!(reply.contains("\n  show stat ["), "{reply}");
        assert_eq!(reply.lines().count(), 1 + PROPOSALS_MAX + CLOSING.len(), "{reply}");
        let family = unknown(&words("show"), Level::Admin);
        assert!(family.lines().skip(1).take(3).all(|l| l.starts_with("  show ")), "{family}");
        assert!(family.contains("\n  quit                                    : close the connection\n"), "{family}");
        let odd = unknown(&words("a\u{7}b"), Level::User);
        assert!(odd.starts_with("Unknown command: 'a?b', "), "{odd}");
    }
}
