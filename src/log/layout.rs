//! What a line looks like for a target: format, envelope, longest length. Targets that want the same share one layout,
//! and a request is laid out once for all of them.

use std::path::Path;

use crate::config::model::{Envelope as EnvelopeKind, LogDestination, LogFormat, LogTarget};
use crate::core::fleet::mode::Mode;
use crate::core::log::date::DateCache;
use crate::core::log::envelope::Envelope;
use crate::core::log::format::variable::Wants;
use crate::core::log::format::{Surroundings, tcplog};
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
    takes: Takes,
    surroundings: Surroundings,
}

/// Which lines of requests are important enough for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// None.
    None,
    /// Those of requests that went wrong, where a frontend tells them apart (`log_separate_errors`).
    Errors,
    /// All.
    All,
}

impl Takes {
    /// By the target's level.
    pub(super) fn of(target: &LogTarget) -> Takes {
        match target.level {
            severity::INFO.. => Takes::All,
            severity::ERROR.. => Takes::Errors,
            _ => Takes::None,
        }
    }

    /// Whether a line of this severity is wanted.
    pub(super) fn line(self, severity: u8) -> bool {
        match self {
            Takes::None => false,
            Takes::Errors => severity <= severity::ERROR,
            Takes::All => true,
        }
    }
}

/// The different layouts of these targets, and which one each target has.
pub(super) fn plan(targets: &[LogTarget], pid: u32) -> (Vec<Layout>, Vec<usize>) {
    let mut layouts: Vec<Layout> = Vec::new();
    let mut of_target = Vec::new();
    for target in targets {
        let layout = Layout::of(target, pid);
        let index = match layouts.iter().position(|other| *other == layout) {
            Some(index) => index,
            None => {
                layouts.push(layout);
                layouts.len() - 1
            }
        };
        of_target.push(index);
    }
    (layouts, of_target)
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
        let hostname = target.hostname.clone().unwrap_or_else(machine_name);
        let surroundings = Surroundings { hostname, pid };
        Layout { envelope, format: target.format.clone(), max_bytes, takes: Takes::of(target), surroundings }
    }

    /// Whether a line of a request of this severity goes to targets with this layout.
    pub(super) fn takes(&self, severity: u8) -> bool {
        self.takes.line(severity)
    }

    /// What the format shows that has to be found out for it.
    pub(super) fn wants(&self) -> Wants {
        if self.takes == Takes::None { Wants::default() } else { self.format.wants() }
    }

    /// Appends the line of a request, without a line end. The envelope's date is that of the request's end.
    pub(super) fn request(&self, record: &Record<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        let ended_us = record.accepted_us.saturating_add(u64::from(record.timers.active) * 1000);
        self.envelope.render(record.severity, ended_us, dates, out);
        let max_bytes = self.left(start, out);
        match record.format.unwrap_or(&self.format) {
            LogFormat::Httplog if record.mode == Mode::Tcp => {
                tcplog().render(record, &self.surroundings, dates, max_bytes, out);
            }
            LogFormat::Httplog => httplog::render(record, dates, max_bytes, out),
            LogFormat::Json => json::render(record, dates, max_bytes, out),
            LogFormat::Line(line) => line.render(record, &self.surroundings, dates, max_bytes, out),
        }
    }

    /// Appends the line of a connection that failed before its first request, without a line end.
    pub(super) fn failed(&self, failed: &FailedConnection<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        self.envelope.render(failed.severity, failed.ended_us, dates, out);
        let max_bytes = self.left(start, out);
        match failed.format.unwrap_or(&self.format) {
            LogFormat::Httplog | LogFormat::Line(_) => httplog::render_failed(failed, dates, max_bytes, out),
            LogFormat::Json => json::render_failed(failed, dates, out),
        }
    }

    /// Appends the line of an event, without a line end.
    pub(super) fn event(&self, severity: u8, text: &str, at_us: u64, dates: &mut DateCache, out: &mut Vec<u8>) {
        let start = out.len();
        self.envelope.render(severity, at_us, dates, out);
        let max_bytes = self.left(start, out);
        match self.format {
            LogFormat::Httplog | LogFormat::Line(_) => httplog::render_text(text, max_bytes, out),
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
        assert_eq!(of_target, [0, 1, 2, 3, 0], "the one that takes errors alone has lines of its own");
        assert_eq!(layouts[3].max_bytes, DATAGRAM_MAX_BYTES);
        for (level, info, error) in [(7, true, true), (6, true, true), (5, false, true), (3, false, true)] {
            let (layouts, _) = plan(&[target(LogDestination::Stdout, level)], 1);
            assert_eq!((layouts[0].takes(6), layouts[0].takes(3)), (info, error), "level {level}");
        }
        let (layouts, _) = plan(&[target(LogDestination::Stdout, 2)], 1);
        assert!(!layouts[0].takes(3));
    }
}
