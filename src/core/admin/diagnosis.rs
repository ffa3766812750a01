//! Commands that only look: the process's environment, descriptors, threads, memory, look-ups, events, warnings.
//!
//! Their shapes are HAProxy 2.8's as far as the same thing exists here; no tool parses them. Threads and memory are
//! rendered in [`super::threads`], descriptors in [`super::descriptors`].

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::Level;
use super::command::{Command, Order};
use super::descriptors::DescriptorQuery;
use super::texts;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// `show env [NAME]`
    Environment(Option<String>),
    /// `show fd [-FILTER] [N]`
    Descriptors(DescriptorQuery),
    /// `show activity`
    Activity,
    /// `show pools`
    Pools,
    /// `show threads`
    Threads,
    /// `show tasks`
    Tasks,
    /// `show profiling`
    Profiling,
    /// `show libs`
    Libraries,
    /// `show resolvers [ID]`
    Resolvers(Option<String>),
    /// `show events`: the sinks there are.
    Sinks,
    /// `show events SINK [-n]`
    Events {
        /// The sink.
        sink: String,
        /// `-n`: nothing that happened before.
        only_new: bool,
    },
    /// `show startup-logs`
    StartupLogs,
    /// `show peers`, `show cache`: there are none.
    Nothing,
    /// `show tls-keys [ID|*]`
    TlsKeys {
        /// `*`: with the keys, in HAProxy. Here there is never one to show.
        secrets: bool,
    },
    /// `show trace`
    Trace,
}

/// The order these words give, if they ask for one of these.
pub(super) fn parse(words: &[&str]) -> Option<Order> {
    use Diagnosis as D;
    let ["show", what, rest @ ..] = words else { return None };
    let first = rest.first().map(|word| (*word).to_owned());
    let refused = |text: &str| Command::Refused(text.to_owned());
    let (level, command) = match *what {
        "env" => (Level::Operator, Command::Diagnose(D::Environment(first))),
        "fd" => (Level::Operator, Command::Diagnose(D::Descriptors(DescriptorQuery::parse(rest)))),
        "activity" => (Level::Operator, Command::Diagnose(D::Activity)),
        "startup-logs" => (Level::Operator, Command::Diagnose(D::StartupLogs)),
        "pools" => (Level::User, Command::Diagnose(D::Pools)),
        "threads" => (Level::User, Command::Diagnose(D::Threads)),
        "tasks" => (Level::User, Command::Diagnose(D::Tasks)),
        "profiling" => (Level::User, Command::Diagnose(D::Profiling)),
        "libs" => (Level::Operator, Command::Diagnose(D::Libraries)),
        "resolvers" => (Level::User, Command::Diagnose(D::Resolvers(first))),
        "events" => (Level::User, Command::Diagnose(events(rest))),
        "peers" if first.is_some() => (Level::User, refused(texts::NO_PEERS)),
        "peers" | "cache" => (Level::User, Command::Diagnose(D::Nothing)),
        "tls-keys" => match first.as_deref() {
            None => (Level::User, Command::Diagnose(D::TlsKeys { secrets: false })),
            Some("*") => (Level::User, Command::Diagnose(D::TlsKeys { secrets: true })),
            Some(_) => (Level::User, refused(texts::NO_TLS_KEYS)),
        },
        "trace" if first.is_some() => (Level::User, refused(texts::NO_TRACE_SOURCE)),
        "trace" => (Level::User, Command::Diagnose(D::Trace)),
        _ => return None,
    };
    Some(Order { level, command })
}

fn events(words: &[&str]) -> Diagnosis {
    let Some(sink) = words.iter().find(|word| !word.starts_with('-')) else { return Diagnosis::Sinks };
    let only_new = words.iter().any(|word| word.strip_prefix('-').is_some_and(|flags| flags.contains('n')));
    Diagnosis::Events { sink: (*sink).to_owned(), only_new }
}

/// What the process remembers and counts for these commands.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// What was said at the start: each line's severity word (`NOTICE`, `WARNING`) and text.
    pub startup: Vec<(&'static str, Box<str>)>,
    /// State changes and the like, oldest first.
    pub events: Vec<PastEvent>,
    /// Events that were forgotten because newer ones came.
    pub events_forgotten: u64,
    /// Look-ups of names.
    pub lookups: LookupCounts,
    /// The name servers that are asked, as addresses with ports.
    pub name_servers: Vec<Box<str>>,
    /// Each bind on an address: its frontend, and where it really listens.
    pub binds: Vec<(Box<str>, SocketAddr)>,
}

/// Something that was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEvent {
    /// When.
    pub at: SystemTime,
    /// Syslog's number.
    pub severity: u8,
    /// What.
    pub text: Box<str>,
}

/// How look-ups of names ended. HAProxy: `show resolvers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LookupCounts {
    /// Names asked for.
    pub sent: u64,
    /// Answered with an address.
    pub valid: u64,
    /// The name does not exist.
    pub nx: u64,
    /// Nobody answered in time.
    pub timeout: u64,
    /// The name server refused.
    pub refused: u64,
    /// Everything else: no address of either kind, server failure, no network.
    pub other: u64,
}

/// The reply to `show env`. `None` when the variable does not exist.
pub fn environment(wanted: Option<&str>, variables: &[(String, String)]) -> Option<String> {
    let mut out = String::new();
    for (name, value) in variables.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name)) {
        let value: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let _ = writeln!(out, "{name}={value}");
    }
    (wanted.is_none() || !out.is_empty()).then_some(out)
}

/// The reply to `show resolvers`. `None` when there is no section of that name.
pub fn resolvers(wanted: Option<&str>, remembered: &Remembered) -> Option<String> {
    if wanted.is_some_and(|wanted| wanted != "default") {
        return None;
    }
    let LookupCounts { sent, valid, nx, timeout, refused, other } = remembered.lookups;
    let servers = match remembered.name_servers.is_empty() {
        true => "none".to_owned(),
        false => remembered.name_servers.join(","),
    };
    let mut out = format!("Resolvers section default\n nameserver {servers}:\n");
    let rows = [
        ("sent", sent),
        ("snd_error", 0),
        ("valid", valid),
        ("update", 0),
        ("cname", 0),
        ("cname_error", 0),
        ("any_err", 0),
        ("nx", nx),
        ("timeout", timeout),
        ("refused", refused),
        ("other", other),
        ("invalid", 0),
        ("too_big", 0),
        ("truncated", 0),
        ("outdated", 0),
    ];
    for (name, count) in rows {
        let _ = writeln!(out, "  {:<13}{count}", format!("{name}:"));
    }
    Some(out)
}

/// The reply to `show events` without a sink.
pub fn sinks(remembered: &Remembered) -> String {
    format!(
        "Supported events sinks are listed below. Add -n(new).\n    \
         buf0       : type=buffer, {} dropped, in-memory ring buffer\n",
        remembered.events_forgotten
    )
}

/// The reply to `show events buf0`: one line per event, `<severity>date text`.
pub fn events_of(remembered: &Remembered, zone: &TimeZone) -> String {
    let mut out = String::new();
    for event in &remembered.events {
        let at = jiff::Timestamp::try_from(event.at).unwrap_or_default().to_zoned(zone.clone());
        let _ = writeln!(out, "<{}>{} {}", event.severity, at.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"), event.text);
    }
    out
}

/// The reply to `show startup-logs`.
pub fn startup(remembered: &Remembered, pid: u32) -> String {
    let mut out = String::new();
    for (severity, text) in &remembered.startup {
        let _ = writeln!(out, "{:<11}({pid}) : {text}", format!("[{severity}]"));
    }
    out
}

/// The reply to `show profiling`: lockgate leaves that to `perf`.
pub fn profiling() -> String {
    let row = |name: &str| format!("{name:<36}: off           # not in this program, use perf(1)\n");
    row("Per-task CPU profiling") + &row("Memory usage profiling")
}

/// The reply to `show trace`: there is no source.
pub fn trace() -> String {
    "Supported trace sources and states (.=stopped, w=waiting, R=running) :\n".to_owned()
}

/// The reply to `show tls-keys`. Keys of tickets are made here, changed often and never shown.
pub fn tls_keys(secrets: bool) -> String {
    if secrets { "# id secret\n".to_owned() } else { "# id (file)\n".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn orders() {
        let level = |line: &str| parse(&line.split(' ').collect::<Vec<_>>()).map(|order| order.level);
        for line in ["show env", "show fd", "show activity", "show startup-logs", "show libs"] {
            assert_eq!(level(line), Some(Level::Operator), "{line}");
        }
        for line in ["show pools", "show threads", "show events buf0", "show resolvers x", "show tls-keys"] {
            assert_eq!(level(line), Some(Level::User), "{line}");
        }
        assert_eq!(level("show nothing"), None);
        let events = |line: &str| match parse(&line.split(' ').collect::<Vec<_>>()).map(|order| order.command) {
            Some(Command::Diagnose(events)) => events,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(events("show events"), Diagnosis::Sinks);
        assert_eq!(events("show events -n"), Diagnosis::Sinks);
        assert_eq!(events("show events buf0"), Diagnosis::Events { sink: "buf0".into(), only_new: false });
        assert_eq!(events("show events buf0 -n"), Diagnosis::Events { sink: "buf0".into(), only_new: true });
    }

    #[test]
    fn one_variable_or_all() {
        let variables = [("A".to_owned(), "1\n2".to_owned()), ("B".to_owned(), "=x".to_owned())];
        assert_eq!(environment(None, &variables).as_deref(), Some("A=1?2\nB==x\n"));
        assert_eq!(environment(Some("B"), &variables).as_deref(), Some("B==x\n"));
        assert_eq!(environment(Some("C"), &variables), None);
    }

    #[test]
    fn what_is_remembered() {
        let remembered = Remembered {
            startup: vec![("NOTICE", "hello".into()), ("WARNING", "c.yaml:3:1: odd".into())],
            events: vec![PastEvent {
                at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_290_914_569_944),
                severity: 1,
                text: "Server a/b is DOWN.".into(),
            }],
            events_forgotten: 7,
            lookups: LookupCounts { sent: 3, valid: 2, nx: 1, ..LookupCounts::default() },
            name_servers: vec!["127.0.0.1:53".into()],
            binds: Vec::new(),
        };
        assert_eq!(startup(&remembered, 42), "[NOTICE]   (42) : hello\n[WARNING]  (42) : c.yaml:3:1: odd\n");
        assert_eq!(events_of(&remembered, &TimeZone::UTC), "<1>2026-11-21T19:55:14.569944+00:00 Server a/b is DOWN.\n");
        assert!(sinks(&remembered).contains("buf0       : type=buffer, 7 dropped"));
        let text = resolvers(None, &remembered).unwrap();
        assert!(text.starts_with("Resolvers section default\n nameserver 127.0.0.1:53:\n  sent:        3\n"), "{text}");
        assert!(text.contains("\n  nx:          1\n"), "{text}");
        assert_eq!(resolvers(Some("default"), &remembered), Some(text));
        assert_eq!(resolvers(Some("nope"), &remembered), None);
    }
}
