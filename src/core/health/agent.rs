//! Agent checks as values: what to ask an agent, what it answered, and what the words of its answer mean.
//!
//! An agent is a small program beside a server that is asked over TCP how the server wants to be treated. It answers one
//! line of words. The line is HAProxy's (configuration manual, `agent-check`). What the words do to a server is decided
//! by [`crate::core::fleet`] and [`crate::core::server`]; the socket is in `crate::health`.

use std::net::IpAddr;
use std::time::Duration;

use super::CheckStatus;
use crate::core::admin::texts;
use crate::core::fleet::event::WeightChange;
use crate::core::server::AdminState;

/// Longest line an agent may answer, in bytes.
pub const LINE_MAX: usize = 4096;

/// Longest text kept of an answer, in characters.
const TEXT_MAX_CHARS: usize = 120;

/// One server's agent check, as configured (`agent`). HAProxy: `agent-check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    /// Where the agent listens. HAProxy: `agent-port`.
    pub port: u16,
    /// At another address than the server's. HAProxy: `agent-addr`.
    pub address: Option<IpAddr>,
    /// What is sent to it first; nothing when empty. HAProxy: `agent-send`.
    pub send: Box<str>,
    /// Time between two questions. HAProxy: `agent-inter`.
    pub interval: Duration,
    /// The longest a question may take, connect included.
    pub timeout: Duration,
}

/// What came of asking an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOutcome {
    /// Its answer, or why there is none.
    pub answer: AgentAnswer,
    /// How long it took.
    pub duration: Duration,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAnswer {
    /// A line, without its end.
    Line(Box<str>),
    /// It closed, or said too much, before its line ended.
    Incomplete,
    /// It was not reached or did not answer: the class of failure, and why in words.
    Failed(CheckStatus, Box<str>),
}

/// What the words of a line say. Of words of one kind the last counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentReport {
    /// `up`, or `down`, `fail`, `stopped`.
    pub health: Option<AgentHealth>,
    /// `ready`, `drain` or `maint`.
    pub admin: Option<AdminState>,
    /// `75%`, of the configured weight.
    pub weight: Option<WeightChange>,
    /// `maxconn:30`; 0 lifts the limit.
    pub maxconn: Option<u32>,
    /// What follows `#`, then the first word that means nothing, then what is wrong with the others: as HAProxy shows it
    /// in `last_agt`. Empty when there is nothing to tell.
    pub text: Box<str>,
}

/// What an agent says of its server's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentHealth {
    /// `up`
    Up,
    /// `down`, `fail` or `stopped`
    Down,
}

impl AgentReport {
    /// HAProxy's result: `L7OK`, `L7STS`, or `CHECKED` when nothing was said of health.
    pub fn status(&self) -> CheckStatus {
        match self.health {
            Some(AgentHealth::Up) => CheckStatus::L7Ok,
            Some(AgentHealth::Down) => CheckStatus::L7Status,
            None => CheckStatus::Checked,
        }
    }
}

/// What an agent's line says. Words are parted by blanks, tabs and commas, in any case; after a `#` comes a description.
pub fn parse(line: &str) -> AgentReport {
    let (words, description) = line.split_once('#').unwrap_or((line, ""));
    let mut report = AgentReport::default();
    let mut health_word = "";
    let mut unknown = None;
    let (mut weight, mut maxconn) = (None, None);
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "up" => (report.health, health_word) = (Some(AgentHealth::Up), word),
            "down" | "fail" | "failed" | "stopped" => (report.health, health_word) = (Some(AgentHealth::Down), word),
            "ready" => report.admin = Some(AdminState::Ready),
            "drain" => report.admin = Some(AdminState::Drain),
            "maint" => report.admin = Some(AdminState::Maint),
            lower if lower.starts_with("maxconn:") => maxconn = word.get("maxconn:".len()..),
            _ if word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('%') => weight = Some(word),
            _ => unknown = unknown.or(Some(word)),
        }
    }
    let mut warning = None;
    match weight.map(parse_weight) {
        Some(Ok(change)) => report.weight = Some(change),
        Some(Err(text)) => warning = Some(text),
        None => {}
    }
    match maxconn.map(parse_maxconn) {
        Some(Ok(limit)) => report.maxconn = Some(limit),
        Some(Err(text)) => warning = warning.or(Some(text)),
        None => {}
    }
    report.text = printable(&tell(&report, health_word, description.trim(), unknown, warning));
    report
}

/// A report that a server is down keeps its description; otherwise mistakes of the agent are told first.
fn tell(
    report: &AgentReport,
    health_word: &str,
    description: &str,
    unknown: Option<&str>,
    warning: Option<&str>,
) -> String {
    if report.health.is_none() {
        return match (unknown, warning) {
            (Some(word), _) => format!("agent reports an error : {word}"),
            (None, Some(warning)) => format!("agent warns : {warning}"),
            (None, None) => String::new(),
        };
    }
    let mistake = unknown.or(warning);
    let more = match report.health {
        Some(AgentHealth::Down) if !description.is_empty() => description,
        _ => mistake.unwrap_or(description),
    };
    if more.is_empty() { format!("via agent : {health_word}") } else { format!("via agent : {health_word} ({more})") }
}

/// `75%`: a number, a percent sign and nothing else.
fn parse_weight(word: &str) -> Result<WeightChange, &'static str> {
    let (number, rest) = word.split_at(word.bytes().take_while(u8::is_ascii_digit).count());
    let number = number.parse::<u32>().unwrap_or(u32::MAX);
    match rest {
        "%" => Ok(WeightChange::Percent(number)),
        _ if number > 256 => Err(texts::WEIGHT_RANGE),
        _ => Err(texts::WEIGHT_TRAILING),
    }
}

fn parse_maxconn(number: &str) -> Result<u32, &'static str> {
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        0 => Err(texts::MAXCONN_GARBAGE),
        n if n < number.len() => Err(texts::MAXCONN_TRAILING),
        _ => number.parse().map_err(|_| texts::OUT_OF_RANGE),
    }
}

/// Text fit for a log line and a CSV cell.
fn printable(text: &str) -> Box<str> {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX_CHARS).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(
        line: &str,
        expected: (Option<AgentHealth>, Option<AdminState>, Option<WeightChange>, Option<u32>),
        text: &str,
    ) {
        let report = parse(line);
        assert_eq!((report.health, report.admin, report.weight, report.maxconn), expected, "{line:?}");
        assert_eq!(&*report.text, text, "{line:?}");
    }

    #[test]
    fn words_say_what_they_say_to_haproxy() {
        use AgentHealth::{Down, Up};
        check("", (None, None, None, None), "");
        check(" \t, ", (None, None, None, None), "");
        check("50%", (None, None, Some(WeightChange::Percent(50)), None), "");
        check("0%,150%", (None, None, Some(WeightChange::Percent(150)), None), "");
        check(
            "drain,25% up",
            (Some(Up), Some(AdminState::Drain), Some(WeightChange::Percent(25)), None),
            "via agent : up",
        );
        check("READY Up\tmaxconn:30", (Some(Up), Some(AdminState::Ready), None, Some(30)), "via agent : Up");
        check("maint", (None, Some(AdminState::Maint), None, None), "");
        check("MaxConn:0", (None, None, None, Some(0)), "");
        check("up down", (Some(Down), None, None, None), "via agent : down");
        check("stopped", (Some(Down), None, None, None), "via agent : stopped");
        check("fail", (Some(Down), None, None, None), "via agent : fail");
    }

    #[test]
    fn descriptions_and_mistakes_are_told() {
        use AgentHealth::{Down, Up};
        check("down # broken disk ", (Some(Down), None, None, None), "via agent : down (broken disk)");
        check("down#full", (Some(Down), None, None, None), "via agent : down (full)");
        check("down foo #full", (Some(Down), None, None, None), "via agent : down (full)");
        check("stopped foo", (Some(Down), None, None, None), "via agent : stopped (foo)");
        check("up bogus #all good", (Some(Up), None, None, None), "via agent : up (bogus)");
        check("up #all good", (Some(Up), None, None, None), "via agent : up (all good)");
        check(
            "bogus 100% other",
            (None, None, Some(WeightChange::Percent(100)), None),
            "agent reports an error : bogus",
        );
        check("300000%x", (None, None, None, None), &format!("agent warns : {}", texts::WEIGHT_RANGE));
        check("50%x", (None, None, None, None), &format!("agent warns : {}", texts::WEIGHT_TRAILING));
        check("maxconn:", (None, None, None, None), &format!("agent warns : {}", texts::MAXCONN_GARBAGE));
        check("maxconn:5x", (None, None, None, None), &format!("agent warns : {}", texts::MAXCONN_TRAILING));
        check("maxconn:99999999999", (None, None, None, None), &format!("agent warns : {}", texts::OUT_OF_RANGE));
        check("99999999999%", (None, None, Some(WeightChange::Percent(u32::MAX)), None), "");
        check("down # a\u{7}b", (Some(Down), None, None, None), "via agent : down (a b)");
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "\\PC{0,300}|[a-z0-9%:#, ]{0,60}") {
            let report = parse(&line);
            prop_assert!(report.text.chars().count() <= TEXT_MAX_CHARS);
            prop_assert!(!report.text.chars().any(char::is_control));
        }
    }
}
