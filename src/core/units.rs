//! Written units: durations, sizes and rates as people write them in the configuration.
//!
//! A unit is always written, so `5` is never a guess between seconds and milliseconds. `parse` and `render`
//! (`Display`, or [`render_duration`]) are inverse to each other. Which values make sense where is decided by
//! `config::lower`, not here.

use std::fmt;
use std::time::Duration;

/// The forms of a duration, for error messages.
pub const DURATION_FORMS: &str = "`500ms`, `5s`, `1m30s`, `2h` or `1d`";
/// The forms of a size, for error messages.
pub const SIZE_FORMS: &str = "`512B`, `64KiB`, `16MiB`, `1GiB` or `10MB`";
/// The forms of a rate, for error messages.
pub const RATE_FORMS: &str = "`100/s`, `600/m`, `1000/h` or `10/100ms`";

/// Units of time, largest first, in microseconds.
const TIME_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of size; the binary ones first because they are preferred when rendering.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a written unit was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A bare number.
    #[error("`{0}` has no unit")]
    NoUnit(Box<str>),
    /// A unit that does not exist.
    #[error("`{0}` is not a unit")]
    UnknownUnit(Box<str>),
    /// `1s1m`: units must fall, each at most once.
    #[error("units go from large to small, each once")]
    Order,
    /// It does not begin with a number.
    #[error("a whole number must stand in front of the unit")]
    NoNumber,
    /// More than 64 bits can count.
    #[error("the number is too large")]
    TooLarge,
    /// A rate without `/`.
    #[error("a rate is written count/period")]
    NoPeriod,
    /// A rate per nothing.
    #[error("the period must be longer than zero")]
    ZeroPeriod,
}

/// A number of bytes, written `16KiB`, `1MB`, `512B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Reads one number and one unit; letter case does not matter.
    pub fn parse(text: &str) -> Result<ByteSize, UnitError> {
        let (number, unit) = leading_number(text.trim())?;
        if unit.is_empty() {
            return Err(UnitError::NoUnit(text.trim().into()));
        }
        let factor = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(|| UnitError::UnknownUnit(unit.into()))?
            .1;
        number.checked_mul(factor).map(ByteSize).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = SIZE_UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (name, factor) = fitting.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// So many per so long, written `100/s`, `600/m`, `10/100ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events allowed per `period`.
    pub count: u32,
    /// The period.
    pub period: Duration,
}

impl Rate {
    /// Reads `count/unit` or `count/duration`.
    pub fn parse(text: &str) -> Result<Rate, UnitError> {
        let (count, period) = text.split_once('/').ok_or(UnitError::NoPeriod)?;
        let (count, rest) = leading_number(count.trim())?;
        if !rest.is_empty() {
            return Err(UnitError::UnknownUnit(rest.into()));
        }
        let period = period.trim();
        let period = match TIME_UNITS.iter().find(|(name, _)| *name == period) {
            Some((_, micros)) => Duration::from_micros(*micros),
            None if period.starts_with(|c: char| c.is_ascii_digit()) => parse_duration(period)?,
            None => return Err(UnitError::UnknownUnit(period.into())),
        };
        if period.is_zero() {
            return Err(UnitError::ZeroPeriod);
        }
        Ok(Rate { count: u32::try_from(count).map_err(|_| UnitError::TooLarge)?, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TIME_UNITS.iter().find(|(_, micros)| Duration::from_micros(*micros) == self.period) {
            Some((name, _)) => write!(f, "{}/{name}", self.count),
            None => write!(f, "{}/{}", self.count, render_duration(self.period)),
        }
    }
}

/// Reads a duration: numbers with units `d h m s ms us`, from large to small.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    loop {
        let (number, after) = leading_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Err(UnitError::NoUnit(text.into()));
        }
        let micros =
            TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| UnitError::UnknownUnit(unit.into()))?.1;
        if micros >= smallest {
            return Err(UnitError::Order);
        }
        smallest = micros;
        total = number.checked_mul(micros).and_then(|n| total.checked_add(n)).ok_or(UnitError::TooLarge)?;
        rest = next;
        if rest.is_empty() {
            return Ok(Duration::from_micros(total));
        }
    }
}

/// Writes a duration as [`parse_duration`] reads it; what is finer than a microsecond is dropped.
pub fn render_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, micros) in TIME_UNITS {
        if rest >= micros {
            text.push_str(&format!("{}{name}", rest / micros));
            rest %= micros;
        }
    }
    text
}

/// Splits off the digits at the start.
fn leading_number(text: &str) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    Ok((digits.parse().map_err(|_| UnitError::TooLarge)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        let ok =
            |text: &str, micros: u64| assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        ok("5s", 5_000_000);
        ok("500ms", 500_000);
        ok(" 1m30s ", 90_000_000);
        ok("2h", 7_200_000_000);
        ok("1d1us", 86_400_000_001);
        ok("0s", 0);
        let bad = |text: &str, error: UnitError| assert_eq!(parse_duration(text), Err(error), "{text}");
        bad("5", UnitError::NoUnit("5".into()));
        bad("1m30", UnitError::NoUnit("1m30".into()));
        bad("5sec", UnitError::UnknownUnit("sec".into()));
        bad("1.5s", UnitError::UnknownUnit(".".into()));
        bad("1s1m", UnitError::Order);
        bad("1s1s", UnitError::Order);
        bad("", UnitError::NoNumber);
        bad("-1s", UnitError::NoNumber);
        bad("99999999999999999999s", UnitError::TooLarge);
        bad("18446744073709551615d", UnitError::TooLarge);
    }

    #[test]
    fn sizes() {
        let ok = |text: &str, bytes: u64| assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        ok("64KiB", 65_536);
        ok("1MB", 1_000_000);
        ok("512B", 512);
        ok("2gib", 2 << 30);
        let bad = |text: &str, error: UnitError| assert_eq!(ByteSize::parse(text), Err(error), "{text}");
        bad("1024", UnitError::NoUnit("1024".into()));
        bad("16k", UnitError::UnknownUnit("k".into()));
        bad("KiB", UnitError::NoNumber);
        bad("99999999TiB", UnitError::TooLarge);
    }

    #[test]
    fn rates() {
        let ok = |text: &str, count: u32, millis: u64| {
            assert_eq!(Rate::parse(text), Ok(Rate { count, period: Duration::from_millis(millis) }), "{text}");
        };
        ok("100/s", 100, 1_000);
        ok("600/m", 600, 60_000);
        ok("10/100ms", 10, 100);
        ok("3 / 1m30s", 3, 90_000);
        let bad = |text: &str, error: UnitError| assert_eq!(Rate::parse(text), Err(error), "{text}");
        bad("100", UnitError::NoPeriod);
        bad("100/", UnitError::UnknownUnit("".into()));
        bad("100/sec", UnitError::UnknownUnit("sec".into()));
        bad("/s", UnitError::NoNumber);
        bad("1/0s", UnitError::ZeroPeriod);
        bad("4294967296/s", UnitError::TooLarge);
        bad("10k/s", UnitError::UnknownUnit("k".into()));
    }

    proptest! {
        #[test]
        fn duration_round_trip(micros in any::<u64>()) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&render_duration(duration)), Ok(duration));
        }

        #[test]
        fn size_round_trip(mantissa in any::<u64>(), shift in 0u32..64) {
            let size = ByteSize(mantissa >> shift << (shift / 2));
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn rate_round_trip(count in any::<u32>(), micros in 1..u64::MAX) {
            let rate = Rate { count, period: Duration::from_micros(micros) };
            prop_assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
        }

        #[test]
        fn anything_is_survived(text in "\\PC{0,20}") {
            let _ = (parse_duration(&text), ByteSize::parse(&text), Rate::parse(&text));
        }
    }
}
