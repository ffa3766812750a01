//! Numbers as people read them at a glance. Exact ones are in the CSV.

use std::time::Duration;

/// `9999`, `12.3k`, `4.56M`
pub fn count(n: u64) -> String {
    if n < 10_000 {
        return n.to_string();
    }
    scaled(n, &["k", "M", "G", "T", "P", "E"])
}

/// `512 B`, `1.23 kB`, `45.6 GB`
pub fn bytes(n: u64) -> String {
    if n < 1000 {
        return format!("{n} B");
    }
    scaled(n, &[" kB", " MB", " GB", " TB", " PB", " EB"])
}

fn scaled(n: u64, units: &[&str]) -> String {
    let (mut divisor, mut unit) = (1000u64, 0);
    // 999,500 would be written 1000k.
    while u128::from(n) * 2 >= 1999 * u128::from(divisor) && unit + 1 < units.len() {
        divisor = divisor.saturating_mul(1000);
        unit += 1;
    }
    let value = n as f64 / divisor as f64;
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$}{}", units.get(unit).copied().unwrap_or_default())
}

/// `0s`, `59s`, `4m 10s`, `3h 05m`, `2d 4h`
pub fn age(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

/// `0d 0h00m12s`, as HAProxy writes it and tools read it.
pub fn uptime(uptime: Duration) -> String {
    let s = uptime.as_secs();
    format!("{}d {}h{:02}m{:02}s", s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_figures() {
        for (n, text) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10.0k"),
            (12_345, "12.3k"),
            (999_499, "999k"),
            (999_999, "1.00M"),
            (4_560_000, "4.56M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), text, "{n}");
        }
        for (n, text) in [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (1234, "1.23 kB"), (45_600_000_000, "45.6 GB")]
        {
            assert_eq!(bytes(n), text, "{n}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        for (s, text) in [(0, "0s"), (59, "59s"), (250, "4m 10s"), (11_100, "3h 05m"), (187_200, "2d 4h")] {
            assert_eq!(age(Duration::from_secs(s)), text);
        }
        assert_eq!(uptime(Duration::from_secs(90_061)), "1d 1h01m01s");
    }
}
