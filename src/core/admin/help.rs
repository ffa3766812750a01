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
    entry("abort ssl cert <certfile>", "forget what was set for a certificate", Level::Admin),
    entry("add acl [@<ver>] <acl> <pattern>", "add a pattern to an access list, or those of a payload", Level::Admin),
    entry("add map [@<ver>] <map> <key> <value>", "add an entry to a map, or those of a payload", Level::Admin),
    entry("add server <backend>/<server> <address> [<option>]*", "add a server, in maintenance", Level::Admin),
    entry("add ssl crt-list <list> <cert>", "have a folder's binds use one more certificate", Level::Admin),
    entry("clear acl [@<ver>] <acl>", "empty an access list", Level::Admin),
    entry("clear counters [all]", "reset the maxima of all counters, or all counters", Level::Operator),
    entry("clear map [@<ver>] <map>", "empty a map", Level::Admin),
    entry("clear table <table> [<filter>]*", "remove entries from a table (filter: data/key)", Level::Admin),
    entry("commit acl @<ver> <acl>", "put a prepared version of an access list in force", Level::Admin),
    entry("commit map @<ver> <map>", "put a prepared version of a map in force", Level::Admin),
    entry("commit ssl cert <certfile>", "put what was set for a certificate into effect", Level::Admin),
    entry("del acl [@<ver>] <acl> <pattern>|#<ref>", "remove a pattern from an access list", Level::Admin),
    entry("del map [@<ver>] <map> <key>|#<ref>", "remove a key from a map", Level::Admin),
    entry("del server <backend>/<server>", "delete a server that is in maintenance and idle", Level::Admin),
    entry("del ssl cert <certfile>", "forget a certificate that is not used", Level::Admin),
    entry("del ssl crt-list <list> <cert[:line]>", "have a folder's binds no longer use a certificate", Level::Admin),
    entry("disable agent <backend>/<server>", "ask a server's agent no more", Level::Admin),
    entry("disable frontend <frontend>", "refuse new connections for now", Level::Admin),
    entry("disable health <backend>/<server>", "stop checking a server", Level::Admin),
    entry("disable server <backend>/<server>", "put a server into maintenance", Level::Admin),
    entry("enable agent <backend>/<server>", "ask a server's agent again", Level::Admin),
    entry("enable frontend <frontend>", "accept connections again", Level::Admin),
    entry("enable health <backend>/<server>", "check a server again", Level::Admin),
    entry("enable server <backend>/<server>", "make a server ready: ends maintenance and drain", Level::Admin),
    entry("experimental-mode [on|off]", "accepted for scripts: there is nothing experimental", Level::Admin),
    entry("expert-mode [on|off]", "accepted for scripts: nothing is for experts only", Level::Admin),
    entry("get acl <acl> <sample>", "show what of an access list matches", Level::User),
    entry("get map <map> <sample>", "show what of a map matches", Level::User),
    entry("get weight <backend>/<server>", "show a server's weight, now and as configured", Level::User),
    entry("new ssl cert <certfile>", "make a name for a certificate to be set", Level::Admin),
    entry("operator", "lower this connection's level to operator", Level::Operator),
    entry("prepare acl <acl>", "open a new version of an access list", Level::Admin),
    entry("prepare map <map>", "open a new version of a map", Level::Admin),
    entry(
        "set backend <backend> maintenance on|off",
        "answer a backend's requests with its maintenance page",
        Level::Admin,
    ),
    entry("set map [@<ver>] <map> <key>|#<ref> <value>", "change the value of a map's entry", Level::Admin),
    entry("set maxconn frontend <frontend> <n>", "limit a frontend's connections", Level::Admin),
    entry("set maxconn global <n>", "limit the connections of the process, 0 as at the start", Level::Admin),
    entry("set maxconn server <backend>/<server> <n>", "limit a server's requests in flight, 0 lifts it", Level::Admin),
    entry("set rate-limit <what> global <n>", "limit connections, sessions, ssl-sessions per second", Level::Admin),
    entry(
        "set server <backend>/<server> <what> ...",
        "change state, health, weight, addr, check-addr, agent, fqdn, ...",
        Level::Admin,
    ),
    entry("set severity-output [none|number|string]", "begin messages with their severity", Level::User),
    entry("set ssl cert <certfile> <payload>", "prepare a certificate or its key (<certfile>.key)", Level::Admin),
    entry("set table <table> key <key> [data.<type> <value>]*", "set data of a table's entry", Level::Operator),
    entry("set timeout cli <time>", "close this connection after so long without a command", Level::User),
    entry("set weight <backend>/<server> <n>[%]", "change a server's weight", Level::Admin),
    entry("show acl [[@<ver>] <acl>]", "list the access lists, or show one's patterns", Level::User),
    entry("show activity", "show what each worker did", Level::Operator),
    entry("show backend", "list the backends", Level::User),
    entry("show cache", "nothing: there is no cache", Level::User),
    entry("show cli level", "show this connection's level", Level::User),
    entry("show cli sockets", "list the admin sockets", Level::User),
    entry("show env [<name>]", "show the environment of the process", Level::Operator),
    entry("show errors [<proxy>] [request|response]", "show the last broken requests and responses", Level::Operator),
    entry("show events [<sink>] [-n]", "list the sinks of events, or show one's events", Level::User),
    entry("show fd [-!plcfbsd]* [<n>]", "list the open descriptors", Level::Operator),
    entry("show info [desc|json|typed|float]*", "show the process's state", Level::User),
    entry("show libs", "list the object files in memory", Level::Operator),
    entry("show map [[@<ver>] <map>]", "list the maps, or show one's entries", Level::User),
    entry("show peers", "nothing: there are no peers", Level::User),
    entry("show pools", "show what workers keep for reuse", Level::User),
    entry("show profiling", "show that nothing is profiled", Level::User),
    entry("show resolvers [<id>]", "show how look-ups of names ended", Level::User),
    entry("show schema json", "show the schema of the JSON output", Level::User),
    entry("show servers checks [<backend>]", "show what the last health checks found, and when", Level::User),
    entry("show servers conn [<backend>]", "show the servers' connections", Level::User),
    entry("show servers state [<backend>]", "show the servers' states", Level::User),
    entry("show sess [<id>|all]", "list the streams, or show one or all of them in full", Level::Operator),
    entry("show ssl ca-file", "nothing: they stand in the configuration", Level::Operator),
    entry("show ssl cert [<certfile>]", "list the certificates, or show one (*: as set)", Level::Operator),
    entry("show ssl crl-file", "nothing: they stand in the configuration", Level::Operator),
    entry(
        "show ssl crt-list [-n] [<list>]",
        "list the folders of certificates, or one's certificates",
        Level::Operator,
    ),
    entry("show ssl ocsp-response", "nothing: responses lie beside their certificates", Level::Operator),
    entry("show ssl providers", "show which library does cryptography", Level::Operator),
    entry("show startup-logs", "show what was said at the start", Level::Operator),
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
    entry("show tasks", "count connections by what they are doing", Level::User),
    entry("show threads", "list the threads", Level::User),
    entry("show tls-keys [<id>|*]", "a heading: ticket keys are never shown", Level::User),
    entry("show trace", "a heading: nothing can be traced", Level::User),
    entry("show version", "show the version", Level::User),
    entry("shutdown frontend <frontend>", "close a frontend's sockets for good", Level::Admin),
    entry("shutdown session <id>", "end a stream", Level::Admin),
    entry("shutdown sessions server <backend>/<server>", "end every stream of a server", Level::Admin),
    entry("update ssl cert", "read certificates and the files about them anew from disk", Level::Admin),
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
        assert!(
            all.starts_with("The following commands are valid at this level:\n  abort ssl cert <certfile>   "),
            "{all}"
        );
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
