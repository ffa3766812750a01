//! How a trial server behaves, and how that is written in flags and queries.

use std::fmt;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

/// Longest wait that can be asked for.
const DELAY_MAX: Duration = Duration::from_secs(3600);

/// How a trial server behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Told in `X-Served-By` and in bodies.
    pub name: String,
    /// Status of every answer, 200 to 599.
    pub status: u16,
    /// Added to every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Wait before every answer.
    pub delay: Duration,
    /// Bytes of every body; a line of text when absent.
    pub body_size: Option<u64>,
    /// Whether bodies are sent chunked.
    pub chunked: bool,
    /// Path that answers health checks; `HEAD /` answers as it does.
    pub health_path: String,
    /// How it answers at first.
    pub health: HealthMode,
    /// How long a slow health answer takes.
    pub slow: Duration,
}

impl Behaviour {
    /// A healthy server that answers 200 with a line of text.
    pub fn named(name: impl Into<String>) -> Behaviour {
        Behaviour {
            name: name.into(),
            status: 200,
            headers: Vec::new(),
            delay: Duration::ZERO,
            body_size: None,
            chunked: false,
            health_path: "/health".to_owned(),
            health: HealthMode::Ok,
            slow: Duration::from_secs(10),
        }
    }
}

/// How health checks are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HealthMode {
    /// 200.
    Ok,
    /// 500.
    Fail,
    /// 302 to `/error`.
    Redirect,
    /// 200, but late.
    Slow,
}

impl fmt::Display for HealthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HealthMode::Ok => "ok",
            HealthMode::Fail => "fail",
            HealthMode::Redirect => "redirect",
            HealthMode::Slow => "slow",
        })
    }
}

impl HealthMode {
    /// Reads `health=MODE`.
    pub(super) fn from_query(query: &str) -> Result<HealthMode, String> {
        match query.split('&').find_map(|part| part.strip_prefix("health=")) {
            Some("ok") => Ok(HealthMode::Ok),
            Some("fail") => Ok(HealthMode::Fail),
            Some("redirect") => Ok(HealthMode::Redirect),
            Some("slow") => Ok(HealthMode::Slow),
            _ => Err("say health=ok, health=fail, health=redirect or health=slow".to_owned()),
        }
    }
}

/// What one request asks to be different, by its query. Parameters of other names are nobody's business here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Override {
    /// `status=404`
    pub status: Option<u16>,
    /// `delay=50ms`
    pub delay: Option<Duration>,
    /// `size=1MiB`
    pub size: Option<u64>,
    /// `chunked=1`
    pub chunked: Option<bool>,
    /// `close=1`: the connection is closed after the answer.
    pub close: bool,
}

impl Override {
    pub(super) fn parse(query: &str) -> Result<Override, String> {
        let mut wanted = Override::default();
        for part in query.split('&') {
            let (key, value) = part.split_once('=').unwrap_or((part, "1"));
            match key {
                "status" => wanted.status = Some(parse_status(value)?),
                "delay" => wanted.delay = Some(parse_delay(value)?),
                "size" => wanted.size = Some(parse_size(value)?),
                "chunked" => wanted.chunked = Some(parse_switch(value)?),
                "close" => wanted.close = parse_switch(value)?,
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn parse_status(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(format!("{text:?} is not a status from 200 to 599")),
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither 1 nor 0")),
    }
}

/// Reads `50ms`, `2s` or `1m`.
pub(super) fn parse_delay(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time like 50ms, 2s or 1m, one hour at most");
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let delay = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wrong)?);
    if delay <= DELAY_MAX { Ok(delay) } else { Err(wrong()) }
}

/// Reads `512`, `512B`, `64KiB`, `10kB`, `1MiB`, `1GiB`; `1k`, `1m` and `1g` are the binary ones.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size like 512, 64KiB, 1MiB or 1GiB");
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_bytes).ok_or_else(wrong)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads `Name: value`.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("{text:?} is not a header like 'Name: value'");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_what_is_to_be_different() {
        let check = |query: &str, expected: Override| assert_eq!(Override::parse(query), Ok(expected), "{query}");
        check("", Override::default());
        check("a=b&x", Override::default());
        check("status=404", Override { status: Some(404), ..Override::default() });
        check(
            "delay=50ms&size=1m",
            Override { delay: Some(Duration::from_millis(50)), size: Some(1 << 20), ..Override::default() },
        );
        check("chunked&close=1", Override { chunked: Some(true), close: true, ..Override::default() });
        check("chunked=0", Override { chunked: Some(false), ..Override::default() });
        for wrong in [
            "status=99",
            "status=101",
            "status=600",
            "status=",
            "delay=5",
            "delay=2h",
            "delay=61m",
            "size=x",
            "size=99999999999GiB",
            "delay=99999999999999999999ms",
            "chunked=yes",
        ] {
            assert!(Override::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_headers_are_read() {
        for (text, bytes) in [("0", 0), ("512", 512), ("1kB", 1000), ("64KiB", 65_536), ("1g", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        let (name, value) = parse_header("X-One:  two: three ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-one", "two: three"));
        for wrong in ["X-One", "X One: 1", ": 1", "X: a\nb"] {
            assert!(parse_header(wrong).is_err(), "{wrong:?}");
        }
    }
}
