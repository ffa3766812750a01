//! The log lines of state changes, as HAProxy words them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::Usable;
use super::event::Way;
use crate::core::health::{CheckOutcome, CheckStatus};

/// Syslog severity 0.
pub(super) const EMERGENCY: u8 = 0;
/// Syslog severity 1.
pub(super) const ALERT: u8 = 1;
/// Syslog severity 4.
pub(super) const WARNING: u8 = 4;
/// Syslog severity 5.
pub(super) const NOTICE: u8 = 5;

/// Whom a line is about.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) backend: Box<str>,
    pub(super) server: Box<str>,
    pub(super) backup: bool,
    /// The server it tracks.
    pub(super) tracks: Option<Box<str>>,
}

impl Name {
    fn subject(&self) -> String {
        format!("{}Server {}/{}", if self.backup { "Backup " } else { "" }, self.backend, self.server)
    }

    /// ` via be/srv`, of a server that tracks one.
    pub(super) fn via(&self) -> String {
        self.tracks.as_ref().map_or_else(String::new, |lead| format!(" via {lead}"))
    }

    /// The same, unless the change was ordered of this very server.
    fn via_unless(&self, ordered: bool) -> String {
        if ordered { String::new() } else { self.via() }
    }
}

/// The numbers that end a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) usable: Usable,
    /// Requests the server is serving.
    pub(super) sessions: u32,
    /// Requests moved from its own line to the backend's.
    pub(super) requeued: u32,
    /// Requests waiting: for this server after it went down, for it or any other after it came up.
    pub(super) queued: u32,
}

impl Tally {
    fn servers(&self, word: &str) -> String {
        let Usable { active, backup } = self.usable;
        let on_backup = if active == 0 && backup > 0 { " Running on backup." } else { "" };
        format!(". {active} active and {backup} backup servers {word}.{on_backup}")
    }

    fn left(&self) -> String {
        let Tally { sessions, requeued, queued, .. } = self;
        let servers = self.servers("left");
        format!("{servers} {sessions} sessions active, {requeued} requeued, {queued} remaining in queue.")
    }

    fn online(&self) -> String {
        let Tally { requeued, queued, .. } = self;
        format!("{} {requeued} sessions requeued, {queued} total in queue.", self.servers("online"))
    }
}

/// `…is DOWN…`
pub(super) fn down(name: &Name, why: &str, tally: &Tally) -> String {
    format!("{} is DOWN{why}{}", name.subject(), tally.left())
}

/// `…is UP…`
pub(super) fn up(name: &Name, why: &str, tally: &Tally) -> String {
    format!("{} is UP{why}{}", name.subject(), tally.online())
}

/// `…is stopping…`
pub(super) fn stopping(name: &Name, why: &str, tally: &Tally) -> String {
    format!("{} is stopping{why}{}", name.subject(), tally.online())
}

/// MAINT began; `ordered` of this very server or inherited.
pub(super) fn enters_maint(name: &Name, was_down: bool, ordered: bool, tally: &Tally) -> String {
    let (subject, via) = (name.subject(), name.via_unless(ordered));
    if was_down {
        format!("{subject} was DOWN and now enters maintenance{via}.")
    } else {
        format!("{subject} is going DOWN for maintenance{via}{}", tally.left())
    }
}

/// MAINT was lifted, to READY or to DRAIN; it was `ordered` of this very server or inherited.
pub(super) fn leaves_maint(name: &Name, up: bool, drain: bool, ordered: bool) -> String {
    let (state, admin) = (if up { "UP" } else { "DOWN" }, if drain { "DRAIN" } else { "READY" });
    let forced = if ordered { "forced " } else { "" };
    format!("{} is {state}/{admin} (leaving {forced}maintenance).", name.subject())
}

/// An order of MAINT was lifted of a server that has no address, or that tracks one in MAINT.
pub(super) fn remains_in_maint(name: &Name) -> String {
    format!("{} is leaving forced maintenance but remains in maintenance{}.", name.subject(), name.via())
}

/// The tracked server left MAINT, but MAINT was ordered of this one too.
pub(super) fn remains_in_forced_maint(name: &Name) -> String {
    format!("{} remains in forced maintenance.", name.subject())
}

/// DRAIN goes on: after MAINT, or because it was both `ordered` and inherited.
pub(super) fn remains_in_drain(name: &Name, ordered: bool) -> String {
    let forced = if ordered { "forced " } else { "" };
    format!("{} remains in {forced}drain mode{}.", name.subject(), name.via_unless(ordered))
}

/// The name got an address.
pub(super) fn resolves(name: &Name, host: &str, up: bool, drain: bool) -> String {
    let (state, admin) = (if up { "UP" } else { "DOWN" }, if drain { "DRAIN" } else { "READY" });
    format!("{} ('{host}') is {state}/{admin} (resolves again).", name.subject())
}

/// DRAIN began; `ordered` of this very server or inherited.
pub(super) fn enters_drain(name: &Name, up: bool, ordered: bool, tally: &Tally) -> String {
    let tally = if up { tally.online() } else { tally.left() };
    format!("{} enters drain state{}{tally}", name.subject(), name.via_unless(ordered))
}

/// DRAIN was lifted; it was `ordered` of this very server or inherited.
pub(super) fn leaves_drain(name: &Name, up: bool, ordered: bool) -> String {
    let (state, forced) = (if up { "UP" } else { "DOWN" }, if ordered { "forced " } else { "" });
    format!("{} is {state} (leaving {forced}drain){}.", name.subject(), name.via_unless(ordered))
}

/// What a health counter stands at, for [`checked`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    pub(super) health: u32,
    pub(super) rise: u32,
    pub(super) fall: u32,
    /// The server's weight is not 0.
    pub(super) weighs: bool,
}

/// A check whose result is news (`option log-health-checks`); `kind` is `Health` or `Agent`.
pub(super) fn checked(name: &Name, kind: &str, outcome: &CheckOutcome, score: Score) -> String {
    let Name { backend, server, backup, .. } = name;
    let backup = if *backup { "backup " } else { "" };
    let conditionally = if outcome.status == CheckStatus::L7OkConditional { "conditionally " } else { "" };
    let verdict = if outcome.status.passed() { "succeeded" } else { "failed" };
    let Score { health, rise, fall, weighs } = score;
    let (now, of, word) = match health.checked_sub(rise) {
        Some(above) if weighs => (above + 1, fall, "UP"),
        Some(above) => (above + 1, fall, "DRAIN"),
        None => (health, rise, "DOWN"),
    };
    let why = reason(outcome);
    format!(
        "{kind} check for {backup}server {backend}/{server} {conditionally}{verdict}{why}, status: {now}/{of} {word}."
    )
}

/// The last usable server is gone.
pub(super) fn no_server(backend: &str) -> String {
    format!("backend {backend} has no server available!")
}

/// Another address, or another port only.
pub(super) fn moved(name: &Name, from: Option<SocketAddr>, to: SocketAddr, updater: &str) -> String {
    let Name { backend, server, .. } = name;
    match from {
        Some(from) if from.ip() == to.ip() => {
            format!("{backend}/{server} changed its port from {} to {} by {updater}.", from.port(), to.port())
        }
        from => {
            let from = from.map_or_else(|| "(none)".to_owned(), |a| a.ip().to_string());
            format!("{backend}/{server} changed its IP from {from} to {} by {updater}.", to.ip())
        }
    }
}

/// The first of a row of look-ups that gave no address.
pub(super) fn look_up_failed(name: &Name, host: &str, why: &str, kept: Option<IpAddr>) -> String {
    let Name { backend, server, .. } = name;
    let kept = kept.map_or_else(|| "it has no address yet".to_owned(), |ip| format!("keeping {ip}"));
    format!("{backend}/{server} cannot resolve '{host}' ({}), {kept}.", quoted(why))
}

/// The first of a row of checks that could not be sent.
pub(super) fn check_not_sent(name: &Name, why: &str) -> String {
    let Name { backend, server, .. } = name;
    format!("Health check for server {backend}/{server} could not be sent: {}.", quoted(why))
}

/// `, changed from CLI`
pub(super) fn ordered(way: Way) -> &'static str {
    match way {
        Way::Cli | Way::StateFile | Way::Agent => ", changed from CLI",
        Way::Web => ", changed from Web interface",
    }
}

/// `, reason: Layer7 wrong status, code: 503, info: "Service Unavailable", check duration: 12ms`
pub(super) fn reason(outcome: &CheckOutcome) -> String {
    let mut text = format!(", reason: {}", outcome.status.description());
    if let Some(code) = outcome.code {
        let _ = write!(text, ", code: {code}");
    }
    if !outcome.text.is_empty() {
        let _ = write!(text, ", info: \"{}\"", quoted(&outcome.text));
    }
    if outcome.status != CheckStatus::Analyze {
        let _ = write!(text, ", check duration: {}ms", outcome.duration.as_millis());
    }
    text
}

/// Text from outside, made safe for one line: quotes escaped, control characters as `\xHH`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
