//! What a line looks like for a target: format, envelope, longest length. Targets that want the same share one layout,
//! and a request is laid out once for all of them.

use std::path::Path;

use crate::config::model::{Envelope as EnvelopeKind, LogDestination, LogFormat, LogTarget};
use crate::core::log::date::DateCache;
use crate::core::log::envelope::Envelope;
use crate::core::log::httplog::FailedConnection;
use crate::core::log::record::Record;
use crate::core::log::{httplog, json, severity};

/// Longest line that is put into one datagram, whatever the configuration says: UDP carries 65,507 bytes at most.
const DATAGRAM_MAX_BYTES: usize = 65_000;

/// A look of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    envelope: Envelope,
    format: LogFormat,
    max_bytes: usize,
    /// Whether any target with this layout takes lines of requests.
    pub(super) has_requests: bool,
}

/// The different layouts of these targets, and which one each target has.
pub(super) fn plan(targets: &[LogTarget], pid: u32) -> (Vec<Layout>, Vec<usize>) {
    let mut layouts: Vec<Layout> = Vec::new();
    let mut of_target = Vec::new();
    for target in targets {
        let layout = Layout::of(target, pid);
        let index = match layouts.iter().position(|other| other.is_same(&layout)) {
            Some(index) => index,
            None => {
                layouts.push(Layout { has_requests: false, ..layout });
                layouts.len() - 1
            }
        };
        layouts[index].has_requests |= takes_requests(target);
        of_target.push(index);
    }
    (layouts, of_target)
}

/// Whether lines of requests are important enough for this target.
pub(super) fn takes_requests(target: &LogTarget) -> bool {
    target.level >= severity::INFO
}

impl Layout {
    fn of(target: &LogTarget, pid: u32) -> Layout {
        let envelope = match target.envelope {
            EnvelopeKind::Rfc3164 => Envelope::rfc3164(target.facility, target.hostname.as_deref(), &target.tag, pid),
            EnvelopeKind::Rfc5424 => {
                let hostname = target.hostname.clone().unwrap_or_else(machine_name);
                Envelope::rfc5424(target.facility, &hostname, &target.tag, pid)
            }
            EnvelopeKind::Raw => Envelope::raw(),
        };
        let max_bytes = match target.to {
            LogDestination::Udp(_) | LogDestination::UnixDatagram(_) => target.max_line_bytes.min(DATAGRAM_MAX_BYTES),
            LogDestination::Tcp(_) | LogDestination::Stdout | LogDestination::File(_) => target.max_line_bytes,
        };
        Layout { envelope, format: target.format, max_bytes, has_requests: takes_requests(target) }
    }

    fn is_same(&self, other: &Layout) -> bool {
        self.envelope == other.envelope && self.format == other.format && self.max_bytes == other.max_bytes
    }

    /// Appends the line of a request, without a line end. The envelope's date is that of the request's end.
    pub(super) fn request(&self, record: &Record<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        let ended_us = record.accepted_us.saturating_add(u64::from(record.timers.active) * 1000);
        self.envelope.render(severity::INFO, ended_us, dates, out);
        let max_bytes = self.left(start, out);
        match self.format {
            LogFormat::Httplog => httplog::render(record, dates, max_bytes, out),
            LogFormat::Json => json::render(record, dates, max_bytes, out),
        }
    }

    /// Appends the line of a connection that failed before its first request, without a line end.
    pub(super) fn failed(&self, failed: &FailedConnection<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        self.envelope.render(severity::INFO, failed.ended_us, dates, out);
        let max_bytes = self.left(start, out);
        match self.format {
            LogFormat::Httplog => httplog::render_failed(failed, dates, max_bytes, out),
            LogFormat::Json => json::render_failed(failed, dates, out),
        }
    }

    /// Appends the line of an event, without a line end.
    pub(super) fn event(&self, severity: u8, text: &str, at_us: u64, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        self.envelope.render(severity, at_us, dates, out);
        let max_bytes = self.left(start, out);
        match self.format {
            LogFormat::Httplog => httplog::render_text(text, max_bytes, out),
            LogFormat::Json => json::render_event(severity, text, at_us, dates, out),
        }
    }

    fn left(&self, start: usize, out: &[u8]) -> usize {
        self.max_bytes.saturating_sub(out.len() - start)
    }
}

/// The machine's host name; `-`, which RFC 5424 has for unknown, if it has none that can be shown.
fn machine_name() -> Box<str> {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) { "-".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(to: LogDestination, level: u8) -> LogTarget {
        LogTarget {
            to,
            envelope: EnvelopeKind::Rfc3164,
            facility: 16,
            format: LogFormat::Httplog,
            tag: "haproxy".into(),
            hostname: None,
            max_line_bytes: 8192,
            level,
        }
    }

    #[test]
    fn targets_that_want_the_same_bytes_share_them() {
        let udp = LogDestination::Udp("127.0.0.1:514".parse().unwrap());
        let json = LogTarget { format: LogFormat::Json, ..target(LogDestination::Stdout, 7) };
        let long = LogTarget { max_line_bytes: 100_000, ..target(udp.clone(), 7) };
        let (layouts, of_target) = plan(
            &[target(udp, 4), target(LogDestination::Stdout, 7), json, long, target(LogDestination::Stdout, 5)],
            1,
        );
        assert_eq!(of_target, [0, 0, 1, 2, 0]);
        assert!(layouts[0].has_requests, "one of the three takes them");
        assert_eq!(layouts[2].max_bytes, DATAGRAM_MAX_BYTES);
        let (layouts, _) = plan(&[target(LogDestination::Stdout, 5)], 1);
        assert!(!layouts[0].has_requests);
    }
}
