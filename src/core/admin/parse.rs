//! From words to an [`Order`]. Words after a complete command are ignored, as HAProxy does.

use std::net::IpAddr;
use std::time::Duration;

use super::Level;
use super::command::{Command, ErrorQuery, Order, ServerChange, StreamQuery, TableQuery};
use super::new_server::NewServer;
use super::table::{TableFilter, TableValues};
use super::{certificates, diagnosis, limits, modes, patterns, texts};
use crate::core::fleet::event::{ForcedHealth, WeightChange};
use crate::core::fleet::frontends::FrontendOrder;
use crate::core::server::AdminState;
use crate::core::stats::info::InfoQuery;
use crate::core::stats::render::{Only, leading_number};
use crate::core::stats::{Format, Query};

/// What one command's words order, and the level that is needed for it.
pub fn parse(words: &[String]) -> Order {
    parse_with(words, None)
}

/// [`parse`] for a command with a payload ([`super::Line::payload`]).
pub fn parse_with(words: &[String], payload: Option<&str>) -> Order {
    use Level::{Admin, Operator, User};
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if patterns::is_one(&words) {
        return patterns::parse(&words, payload);
    }
    let elsewhere = certificates::parse(&words).or_else(|| diagnosis::parse(&words)).or_else(|| modes::parse(&words));
    if let Some(order) = elsewhere {
        return order;
    }
    let (level, command) = match words.as_slice() {
        [] => (User, Command::Nothing),
        ["help", rest @ ..] => (User, Command::Help(rest.iter().map(|w| (*w).to_owned()).collect())),
        ["prompt", ..] => (User, Command::Prompt),
        ["quit", ..] => (User, Command::Quit),
        ["operator", ..] => (Operator, Command::Lower(Operator)),
        ["user", ..] => (User, Command::Lower(User)),

        ["show", "version", ..] => (User, Command::ShowVersion),
        ["show", "cli", "level", ..] => (User, Command::ShowLevel),
        ["show", "cli", "sockets", ..] => (User, Command::ShowSockets),
        ["show", "info", rest @ ..] => (User, Command::ShowInfo(info_query(rest))),
        ["show", "stat", rest @ ..] => (User, show_stat(rest)),
        ["show", "schema", "json", ..] => (User, Command::ShowSchema),
        ["show", "backend", ..] => (User, Command::ShowBackends),
        ["show", "servers", "state", rest @ ..] => (User, Command::ShowServersState(first(rest))),
        ["show", "servers", "conn", rest @ ..] => (User, Command::ShowServersConn(first(rest))),
        ["show", "servers", "checks", rest @ ..] => (User, Command::ShowServersChecks(first(rest))),
        ["show", "sess", rest @ ..] => (Operator, show_sess(rest)),
        ["show", "errors", rest @ ..] => (Operator, Command::ShowErrors(error_query(rest))),
        ["show", "table"] => (User, Command::ShowTables),
        ["show", "table", name, rest @ ..] => (User, Command::ShowTable(table_query(name, rest, false))),
        ["get", "weight", rest @ ..] => (User, Command::GetWeight(first(rest).unwrap_or_default())),

        ["clear", "counters", "all", ..] => (Admin, Command::ClearCounters { all: true }),
        ["clear", "counters", ..] => (Operator, Command::ClearCounters { all: false }),
        ["clear", "table", name, rest @ ..] => (Admin, Command::ClearTable(table_query(name, rest, true))),
        ["clear", "table"] => (Admin, Command::Refused(texts::NO_SUCH_TABLE.into())),
        ["set", "table", table, rest @ ..] => {
            (Operator, Command::SetTable { table: (*table).to_owned(), values: TableValues::parse(rest) })
        }
        ["set", "table"] => (Operator, Command::Refused(texts::NO_SUCH_TABLE.into())),

        ["set", "timeout", rest @ ..] => (User, set_timeout(rest)),
        ["set", "server", server, rest @ ..] => (Admin, change(server, set_server(rest))),
        ["set", "weight", server, rest @ ..] => (Admin, change(server, weight(word(rest, 0)))),
        ["set", "maxconn", "server", server, rest @ ..] => (Admin, change(server, maxconn(word(rest, 0)))),
        ["set", "server"] | ["set", "weight"] | ["set", "maxconn", "server"] => {
            (Admin, change("", Ok(ServerChange::Nothing)))
        }
        ["set", "maxconn", "frontend", rest @ ..] => (Admin, limits::frontend_maxconn(rest)),
        ["set", "maxconn", "global", rest @ ..] => (Admin, limits::process_maxconn(word(rest, 0))),
        ["set", "rate-limit", rest @ ..] => (Admin, limits::rate_limit(rest)),
        ["set", "backend", backend, rest @ ..] => (Admin, set_backend(backend, rest)),
        ["set", "backend"] => (Admin, Command::Refused(texts::SET_BACKEND_USAGE.into())),
        ["enable", "server", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Admin(AdminState::Ready)))),
        ["disable", "server", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Admin(AdminState::Maint)))),
        ["enable", "health", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Checks(true)))),
        ["disable", "health", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Checks(false)))),
        ["enable", "agent", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Agent(true)))),
        ["disable", "agent", rest @ ..] => (Admin, change(word(rest, 0), Ok(ServerChange::Agent(false)))),

        ["enable", "frontend", rest @ ..] => (Admin, limits::frontend(rest, FrontendOrder::Enable)),
        ["disable", "frontend", rest @ ..] => (Admin, limits::frontend(rest, FrontendOrder::Disable)),
        ["shutdown", "frontend", rest @ ..] => (Admin, limits::frontend(rest, FrontendOrder::Shutdown)),
        ["add", "server", rest @ ..] => (Admin, add_server(rest)),
        ["del", "server", rest @ ..] => (Admin, Command::DeleteServer(first(rest).unwrap_or_default())),

        ["shutdown", "sessions", "server", rest @ ..] => {
            (Admin, Command::KillServerStreams(first(rest).unwrap_or_default()))
        }
        ["shutdown", "session", rest @ ..] => (Admin, shutdown_session(rest)),
        unknown => (User, Command::Unknown(unknown.iter().map(|w| (*w).to_owned()).collect())),
    };
    Order { level, command }
}

fn word<'a>(words: &[&'a str], index: usize) -> &'a str {
    words.get(index).copied().unwrap_or("")
}

fn first(words: &[&str]) -> Option<String> {
    words.first().map(|w| (*w).to_owned())
}

fn change(server: &str, change: Result<ServerChange, String>) -> Command {
    Command::ChangeServer { server: server.to_owned(), change }
}

fn add_server(words: &[&str]) -> Command {
    let path = word(words, 0);
    let name = path.split_once('/').map_or("", |(_, name)| name);
    let new = NewServer::parse(name, words.get(1..).unwrap_or_default());
    Command::AddServer { server: path.to_owned(), new: new.map(Box::new) }
}

fn info_query(words: &[&str]) -> InfoQuery {
    let mut query = InfoQuery::default();
    for word in words {
        match *word {
            "typed" => query.format = Format::Typed,
            "json" => query.format = Format::Json,
            "desc" => query.describe = true,
            "float" => query.float = true,
            _ => {}
        }
    }
    query
}

/// With three words or more the first three are a filter, whatever they are; fewer can only be options.
fn show_stat(words: &[&str]) -> Command {
    let words = match words {
        ["domain", "proxy", rest @ ..] => rest,
        ["domain", ..] => return Command::Refused(texts::BAD_DOMAIN.into()),
        words => words,
    };
    let mut query = Query::default();
    let options = match words {
        [proxy, kinds, sid, rest @ ..] => {
            let (kinds, sid) = (leading_number(kinds), leading_number(sid));
            query.only = Some(Only { proxy: (*proxy).to_owned(), kinds, sid });
            rest
        }
        words => words,
    };
    for word in options {
        match *word {
            "typed" => query.format = Format::Typed,
            "json" => query.format = Format::Json,
            "desc" => query.describe = true,
            "up" => query.hide_down = true,
            "no-maint" => query.hide_maint = true,
            _ => {}
        }
    }
    Command::ShowStat(query)
}

fn show_sess(words: &[&str]) -> Command {
    match words {
        [] => Command::ShowStreams(StreamQuery::List),
        ["all", ..] => Command::ShowStreams(StreamQuery::All),
        [id, ..] => match pointer(id) {
            Some(id) => Command::ShowStreams(StreamQuery::One(id)),
            None => Command::Refused(texts::SESSION_NOT_FOUND.into()),
        },
    }
}

fn shutdown_session(words: &[&str]) -> Command {
    match pointer(word(words, 0)) {
        Some(id) => Command::KillStream(id),
        None => Command::Refused(texts::SESSION_EXPECTED.into()),
    }
}

/// `0x1f` or `31`, not 0.
fn pointer(word: &str) -> Option<u64> {
    let id = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => word.parse().ok()?,
    };
    (id != 0).then_some(id)
}

fn error_query(words: &[&str]) -> ErrorQuery {
    let (proxy, side) = match words {
        [side @ ("request" | "response"), ..] => (None, Some(*side)),
        words => (first(words), words.get(1).copied()),
    };
    let requests = match side {
        Some("request") => Some(true),
        Some("response") => Some(false),
        _ => None,
    };
    ErrorQuery { proxy, requests }
}

fn table_query(name: &str, words: &[&str], clearing: bool) -> TableQuery {
    TableQuery { table: name.to_owned(), rows: TableFilter::parse(words, clearing) }
}

fn set_timeout(words: &[&str]) -> Command {
    match words {
        ["cli", rest @ ..] => match timeout(word(rest, 0)) {
            Some(timeout) => Command::SetTimeout(timeout),
            None => Command::Refused(texts::BAD_TIMEOUT.into()),
        },
        _ => Command::Refused(texts::TIMEOUT_ONLY_CLI.into()),
    }
}

/// A number with `us`, `ms`, `s`, `m`, `h` or `d` behind it; seconds without. At least a millisecond, at most 24 days.
fn timeout(word: &str) -> Option<Duration> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "" | "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let timeout = Duration::from_micros(number.checked_mul(micros)?);
    let range = Duration::from_millis(1)..=Duration::from_secs(24 * 86_400);
    range.contains(&timeout).then_some(timeout)
}

fn set_server(words: &[&str]) -> Result<ServerChange, String> {
    let value = word(words, 1);
    match word(words, 0) {
        "weight" => weight(value),
        "state" => match value {
            "ready" => Ok(ServerChange::Admin(AdminState::Ready)),
            "drain" => Ok(ServerChange::Admin(AdminState::Drain)),
            "maint" => Ok(ServerChange::Admin(AdminState::Maint)),
            _ => Err(texts::STATE_EXPECTED.into()),
        },
        "health" => match value {
            "up" => Ok(ServerChange::Health(ForcedHealth::Up)),
            "stopping" => Ok(ServerChange::Health(ForcedHealth::Stopping)),
            "down" => Ok(ServerChange::Health(ForcedHealth::Down)),
            _ => Err(texts::HEALTH_EXPECTED.into()),
        },
        "addr" => address(words.get(1..).unwrap_or_default()),
        "agent" => match value {
            "up" => Ok(ServerChange::AgentHealth(true)),
            "down" => Ok(ServerChange::AgentHealth(false)),
            _ => Err(texts::AGENT_EXPECTED.into()),
        },
        "agent-send" => Ok(ServerChange::AgentSend(value.to_owned())),
        "agent-addr" => target(words.get(1..).unwrap_or_default(), texts::AGENT_ADDRESS_REQUIRED)
            .map(|(ip, port)| ServerChange::AgentTarget { ip, port }),
        "agent-port" => target_port(value, texts::AGENT_PORT_REQUIRED)
            .map(|port| ServerChange::AgentTarget { ip: None, port: Some(port) }),
        "check-addr" => target(words.get(1..).unwrap_or_default(), texts::CHECK_ADDRESS_REQUIRED)
            .map(|(ip, port)| ServerChange::CheckTarget { ip, port }),
        "check-port" => target_port(value, texts::CHECK_PORT_REQUIRED)
            .map(|port| ServerChange::CheckTarget { ip: None, port: Some(port) }),
        "fqdn" => name(value),
        "ssl" => Ok(ServerChange::Tls(match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })),
        _ => Err(texts::SET_SERVER_USAGE.into()),
    }
}

fn address(words: &[&str]) -> Result<ServerChange, String> {
    let (address, port) = match words {
        [] => return Err(texts::ADDRESS_REQUIRED.into()),
        [address, "port", rest @ ..] => (*address, Some(word(rest, 0))),
        [address, ..] => (*address, None),
    };
    let ip: IpAddr = match address.parse() {
        Ok(ip) => ip,
        Err(_) => return Err(format!("Invalid addr '{}' by 'stats socket command'", shown(address))),
    };
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u64>() {
            Ok(number) => match u16::try_from(number) {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(format!("Invalid port '{number}' by 'stats socket command'")),
            },
            Err(_) => {
                return Err(format!("problem converting string '{}' to int by 'stats socket command'", shown(text)));
            }
        },
    };
    Ok(ServerChange::Address { ip, port })
}

/// Where checks or an agent are: `A` or `A port P`.
fn target(words: &[&str], missing: &str) -> Result<(Option<IpAddr>, Option<u16>), String> {
    let (address, port) = match words {
        [] => return Err(missing.into()),
        [address, "port", rest @ ..] => (*address, Some(word(rest, 0))),
        [address, ..] => (*address, None),
    };
    let ip = address.parse().map_err(|_| format!("invalid addr '{}'", shown(address)))?;
    let port = port.map(|port| target_port(port, texts::PORT_NO_INTEGER)).transpose()?;
    Ok((Some(ip), port))
}

/// 0 to 65535.
fn target_port(word: &str, missing: &str) -> Result<u16, String> {
    if word.is_empty() {
        return Err(missing.into());
    }
    let number: i64 = word.parse().map_err(|_| texts::PORT_NO_INTEGER)?;
    u16::try_from(number).map_err(|_| texts::PORT_INVALID.into())
}

/// A host name: labels of letters, digits, `-` and `_`.
fn name(word: &str) -> Result<ServerChange, String> {
    if word.is_empty() {
        return Err(texts::NAME_REQUIRED.into());
    }
    let lower = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
    let good = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if lower.len() > 253 || !lower.split('.').all(good) {
        return Err(format!("invalid fqdn '{}' by 'stats socket command'", shown(word)));
    }
    Ok(ServerChange::Name(lower))
}

/// A word for a reply: without control characters, and not endless.
pub(super) fn shown(word: &str) -> String {
    word.chars().map(|c| if c.is_control() { '?' } else { c }).take(256).collect()
}

/// The number at the start of a word and what follows it, as C's `strtol`.
pub(super) fn number(word: &str) -> Option<(i64, &str)> {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    let (number, rest) = word.split_at(word.len() - unsigned.len() + digits);
    Some((leading_number(number), rest))
}

fn weight(word: &str) -> Result<ServerChange, String> {
    if word.is_empty() {
        return Err(texts::WEIGHT_REQUIRED.into());
    }
    let change = match number(word) {
        None => return Err(texts::WEIGHT_GARBAGE.into()),
        Some((n, "%")) if n < 0 => return Err(texts::WEIGHT_NEGATIVE.into()),
        Some((n, "%")) => WeightChange::Percent(u32::try_from(n).unwrap_or(u32::MAX).min(25_600)),
        Some((n, _)) if !(0..=256).contains(&n) => return Err(texts::WEIGHT_RANGE.into()),
        Some((n, "")) => WeightChange::Absolute(u32::try_from(n).unwrap_or(0)),
        Some(_) => return Err(texts::WEIGHT_TRAILING.into()),
    };
    Ok(ServerChange::Weight(change))
}

fn maxconn(word: &str) -> Result<ServerChange, String> {
    if word.is_empty() {
        return Err(texts::MAXCONN_REQUIRED.into());
    }
    match number(word) {
        None => Err(texts::MAXCONN_GARBAGE.into()),
        Some((n, "")) => match u32::try_from(n) {
            Ok(n) => Ok(ServerChange::Maxconn(n)),
            Err(_) => Err(texts::OUT_OF_RANGE.into()),
        },
        Some(_) => Err(texts::MAXCONN_TRAILING.into()),
    }
}

fn set_backend(backend: &str, words: &[&str]) -> Command {
    let on = match words {
        ["maintenance", "on", ..] => Ok(true),
        ["maintenance", "off", ..] => Ok(false),
        ["maintenance", ..] => Err(texts::MAINTENANCE_EXPECTED),
        _ => Err(texts::SET_BACKEND_USAGE),
    };
    Command::SetMaintenance { backend: backend.to_owned(), on }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
