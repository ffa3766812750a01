//! The dates in log lines, written from microseconds since the Unix epoch in a given time zone.
//!
//! A busy worker writes the same second thousands of times, so the text of a second is kept, and the zone is asked for
//! its offset once a minute. Which zone that is, the caller says: nothing here looks at the machine.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The last second of the year 9999, less a day for the zone's offset: later times are written as this one.
const LAST_SECOND: i64 = 253_402_214_400;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Writes dates in one time zone and remembers what it wrote last. One per thread.
#[derive(Debug)]
pub struct DateCache {
    zone: TimeZone,
    /// Offsets of the minutes asked for last, found by the minute's low bits.
    offsets: [MinuteOffset; 4],
    access: Text<20>,
    syslog: Text<15>,
    iso: Text<19>,
}

#[derive(Debug, Clone, Copy)]
struct MinuteOffset {
    minute: i64,
    seconds: i64,
}

/// The text of one second.
#[derive(Debug)]
struct Text<const N: usize> {
    second: i64,
    text: [u8; N],
}

impl<const N: usize> Text<N> {
    fn empty() -> Text<N> {
        Text { second: i64::MIN, text: [0; N] }
    }
}

impl DateCache {
    /// Nothing remembered yet. Lines are written in `zone`, as HAProxy writes them in the machine's.
    pub fn new(zone: TimeZone) -> DateCache {
        DateCache {
            zone,
            offsets: [MinuteOffset { minute: i64::MIN, seconds: 0 }; 4],
            access: Text::empty(),
            syslog: Text::empty(),
            iso: Text::empty(),
        }
    }

    /// The accept date of httplog: `21/Nov/2026:19:46:18.187`.
    pub fn push_access(&mut self, epoch_us: u64, out: &mut Vec<u8>) {
        let (second, micros) = split(epoch_us);
        if self.access.second != second {
            let civil = Civil::at(second + self.offset(second));
            let text = &mut self.access.text;
            two(&mut text[0..2], civil.day);
            text[2] = b'/';
            text[3..6].copy_from_slice(civil.month_name());
            text[6] = b'/';
            four(&mut text[7..11], civil.year);
            text[11] = b':';
            clock(&mut text[12..20], &civil);
            self.access.second = second;
        }
        out.extend_from_slice(&self.access.text);
        push_fraction(micros / 1000, 3, out);
    }

    /// The date of Apache's logs, `21/Nov/2026:19:46:19 +0000`: in this zone, or in GMT.
    pub fn push_zoned(&mut self, epoch_us: u64, local: bool, out: &mut Vec<u8>) {
        let (second, _) = split(epoch_us);
        let offset = if local { self.offset(second) } else { 0 };
        let civil = Civil::at(second + offset);
        let mut text = *b"00/Jan/0000:00:00:00 +0000";
        two(&mut text[0..2], civil.day);
        text[3..6].copy_from_slice(civil.month_name());
        four(&mut text[7..11], civil.year);
        clock(&mut text[12..20], &civil);
        let minutes = u32::try_from(offset.unsigned_abs() / 60).unwrap_or(0);
        if offset < 0 {
            text[21] = b'-';
        }
        two(&mut text[22..24], minutes / 60);
        two(&mut text[24..26], minutes % 60);
        out.extend_from_slice(&text);
    }

    /// The date of RFC 3164: `Nov 21 19:46:16`, the day padded with a blank.
    pub fn push_syslog(&mut self, epoch_us: u64, out: &mut Vec<u8>) {
        let (second, _) = split(epoch_us);
        if self.syslog.second != second {
            let civil = Civil::at(second + self.offset(second));
            let text = &mut self.syslog.text;
            text[0..3].copy_from_slice(civil.month_name());
            text[3] = b' ';
            two(&mut text[4..6], civil.day);
            if text[4] == b'0' {
                text[4] = b' ';
            }
            text[6] = b' ';
            clock(&mut text[7..15], &civil);
            self.syslog.second = second;
        }
        out.extend_from_slice(&self.syslog.text);
    }

    /// The date of RFC 3339 with microseconds and offset: `2026-11-21T19:46:16.123456+01:00`.
    pub fn push_iso(&mut self, epoch_us: u64, out: &mut Vec<u8>) {
        let (second, micros) = split(epoch_us);
        let offset = self.offset(second);
        if self.iso.second != second {
            let civil = Civil::at(second + offset);
            let text = &mut self.iso.text;
            four(&mut text[0..4], civil.year);
            text[4] = b'-';
            two(&mut text[5..7], civil.month);
            text[7] = b'-';
            two(&mut text[8..10], civil.day);
            text[10] = b'T';
            clock(&mut text[11..19], &civil);
            self.iso.second = second;
        }
        out.extend_from_slice(&self.iso.text);
        push_fraction(micros, 6, out);
        let minutes = u32::try_from(offset.unsigned_abs() / 60).unwrap_or(0);
        let mut text = *b"+00:00";
        if offset < 0 {
            text[0] = b'-';
        }
        two(&mut text[1..3], minutes / 60);
        two(&mut text[4..6], minutes % 60);
        out.extend_from_slice(&text);
    }

    /// Seconds to add to UTC at this second.
    fn offset(&mut self, second: i64) -> i64 {
        let minute = second.div_euclid(60);
        let kept = &mut self.offsets[(minute & 3) as usize];
        if kept.minute != minute {
            let seconds = match Timestamp::from_second(second) {
                Ok(at) => i64::from(self.zone.to_offset(at).seconds()),
                Err(_) => 0,
            };
            *kept = MinuteOffset { minute, seconds };
        }
        kept.seconds
    }
}

/// Seconds and microseconds, held inside the years that can be written with four digits.
fn split(epoch_us: u64) -> (i64, u32) {
    let second = i64::try_from(epoch_us / 1_000_000).unwrap_or(LAST_SECOND).min(LAST_SECOND);
    (second, (epoch_us % 1_000_000) as u32)
}

struct Civil {
    year: u32,
    /// 1 to 12.
    month: u32,
    day: u32,
    second_of_day: u32,
}

impl Civil {
    /// The proleptic Gregorian date of a count of local seconds; times before 1970 (a negative offset at the epoch)
    /// work as well.
    fn at(local_second: i64) -> Civil {
        let day = local_second.div_euclid(86_400);
        let second_of_day = local_second.rem_euclid(86_400) as u32;
        // Years are counted from March, so that the leap day is a year's last; 719,468 days lead from 0000-03-01 to
        // the epoch, and 146,097 days make a cycle of 400 years.
        let shifted = day + 719_468;
        let cycle = shifted.div_euclid(146_097);
        let day_of_cycle = shifted.rem_euclid(146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
        Civil { year: year as u32, month: month as u32, day: day_of_month as u32, second_of_day }
    }

    fn month_name(&self) -> &'static [u8; 3] {
        MONTHS[(self.month as usize).clamp(1, 12) - 1]
    }
}

/// `19:46:18` into eight bytes.
fn clock(into: &mut [u8], civil: &Civil) {
    two(&mut into[0..2], civil.second_of_day / 3600);
    into[2] = b':';
    two(&mut into[3..5], civil.second_of_day / 60 % 60);
    into[5] = b':';
    two(&mut into[6..8], civil.second_of_day % 60);
}

fn two(into: &mut [u8], value: u32) {
    into[0] = b'0' + (value / 10 % 10) as u8;
    into[1] = b'0' + (value % 10) as u8;
}

fn four(into: &mut [u8], value: u32) {
    two(&mut into[0..2], value / 100);
    two(&mut into[2..4], value % 100);
}

/// `.187`: the value with exactly so many digits.
fn push_fraction(mut value: u32, digits: usize, out: &mut Vec<u8>) {
    let mut text = *b".000000";
    for place in (1..=digits).rev() {
        text[place] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[..=digits]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(cache: &mut DateCache, us: u64) -> String {
        let mut out = Vec::new();
        cache.push_access(us, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_of_one_instant() {
        let mut cache = DateCache::new(TimeZone::UTC);
        let us = 1_795_290_378_187_654; // 2026-11-21 19:46:18 UTC
        assert_eq!(access(&mut cache, us), "21/Nov/2026:19:46:18.187");
        let mut out = Vec::new();
        cache.push_syslog(us, &mut out);
        out.push(b'|');
        cache.push_iso(us, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "Nov 21 19:46:18|2026-11-21T19:46:18.187654+00:00");
    }

    #[test]
    fn a_single_digit_day_is_padded_with_a_blank() {
        let mut cache = DateCache::new(TimeZone::UTC);
        let mut out = Vec::new();
        cache.push_syslog(1_786_060_805_000_000, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "Aug  7 00:00:05");
    }

    #[test]
    fn the_offset_changes_with_the_season_even_within_one_cache() {
        // Central Europe by rule, so that the test needs no time zone files.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut cache = DateCache::new(zone);
        // 2026-10-25 00:59:59 UTC is the last second of summer time.
        assert_eq!(access(&mut cache, 1_792_889_999_000_000), "25/Oct/2026:02:59:59.000");
        assert_eq!(access(&mut cache, 1_792_890_000_000_000), "25/Oct/2026:02:00:00.000");
        assert_eq!(access(&mut cache, 1_792_889_999_000_000), "25/Oct/2026:02:59:59.000");
        let mut out = Vec::new();
        cache.push_iso(1_792_889_999_000_000, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "2026-10-25T02:59:59.000000+02:00");
    }

    #[test]
    fn negative_and_half_hour_offsets() {
        let mut cache = DateCache::new(TimeZone::posix("NST3:30").unwrap());
        let mut out = Vec::new();
        cache.push_iso(0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "1969-12-31T20:30:00.000000-03:30");
    }

    #[test]
    fn agrees_with_the_calendar_on_any_day() {
        let mut cache = DateCache::new(TimeZone::UTC);
        for step in 0..40_000u64 {
            let second = step * 86_399 * 73 % 253_000_000_000;
            let expected = Timestamp::from_second(second as i64).unwrap().strftime("%d/%b/%Y:%H:%M:%S.000").to_string();
            assert_eq!(access(&mut cache, second * 1_000_000), expected);
        }
    }

    #[test]
    fn no_number_panics() {
        let mut cache = DateCache::new(TimeZone::UTC);
        assert!(access(&mut cache, u64::MAX).starts_with("31/Dec/9999"));
        assert_eq!(access(&mut cache, 0), "01/Jan/1970:00:00:00.000");
    }
}
