//! Which time zone the dates of log lines are in.

use std::path::Path;

use jiff::tz::TimeZone;

/// Where zone files are installed.
const ZONE_FILES: &str = "/usr/share/zoneinfo";

/// The machine's time zone, as HAProxy would use it: `TZ`, else `/etc/localtime`, else UTC.
pub fn system_zone() -> TimeZone {
    let named = std::env::var("TZ").ok().and_then(|name| named_zone(&name));
    named.unwrap_or_else(|| {
        let zone = TimeZone::system();
        if zone.is_unknown() { TimeZone::UTC } else { zone }
    })
}

/// A zone by the name of its file, `Europe/Paris`; `None` for anything else (rules, absolute paths), which the library
/// understands by itself.
fn named_zone(name: &str) -> Option<TimeZone> {
    let name = name.strip_prefix(':').unwrap_or(name);
    if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    let file = std::fs::read(Path::new(ZONE_FILES).join(name)).ok()?;
    TimeZone::tzif(name, &file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_nothing_else_is() {
        for name in ["", "/etc/localtime", "../zoneinfo/UTC", "No/Such", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            assert!(named_zone(name).is_none(), "{name}");
        }
        if Path::new(ZONE_FILES).join("Europe/Paris").exists() {
            let at = "2026-07-01T00:00:00Z".parse().unwrap();
            assert_eq!(named_zone(":Europe/Paris").unwrap().to_offset(at).seconds(), 7200);
        }
    }
}
