//! What stands before a line: the syslog header of RFC 3164 or RFC 5424, or nothing.

use super::date::DateCache;

/// A prepared header: all that does not change from line to line is laid out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    form: Form,
    facility: u8,
    /// What stands between the date and the message.
    after_date: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Rfc3164,
    Rfc5424,
    Raw,
}

impl Envelope {
    /// `<134>Nov 21 19:46:16 haproxy[6775]: `, HAProxy's own form: RFC 3164 with a host only if one is given
    /// (`log-send-hostname`).
    pub fn rfc3164(facility: u8, hostname: Option<&str>, tag: &str, pid: u32) -> Envelope {
        let host = hostname.map(|name| format!("{name} ")).unwrap_or_default();
        let after_date = format!(" {host}{tag}[{pid}]: ").into_bytes().into();
        Envelope { form: Form::Rfc3164, facility, after_date }
    }

    /// `<134>1 2026-11-21T19:46:16.123456+00:00 host haproxy 6775 - - ` (RFC 5424, 6): no message id, no structured
    /// data.
    pub fn rfc5424(facility: u8, hostname: &str, tag: &str, pid: u32) -> Envelope {
        let after_date = format!(" {hostname} {tag} {pid} - - ").into_bytes().into();
        Envelope { form: Form::Rfc5424, facility, after_date }
    }

    /// Nothing: the line alone.
    pub fn raw() -> Envelope {
        Envelope { form: Form::Raw, facility: 0, after_date: Box::default() }
    }

    /// Writes the header of a line of this severity that is written at `epoch_us`. The message follows.
    pub fn render(&self, severity: u8, epoch_us: u64, dates: &mut DateCache, out: &mut Vec<u8>) {
        if self.form == Form::Raw {
            return;
        }
        let priority = u16::from(self.facility) * 8 + u16::from(severity & 7);
        out.push(b'<');
        out.extend_from_slice(itoa::Buffer::new().format(priority).as_bytes());
        match self.form {
            Form::Rfc3164 => {
                out.push(b'>');
                dates.push_syslog(epoch_us, out);
            }
            Form::Rfc5424 | Form::Raw => {
                out.extend_from_slice(b">1 ");
                dates.push_iso(epoch_us, out);
            }
        }
        out.extend_from_slice(&self.after_date);
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const AT: u64 = 1_795_290_376_123_456; // 2026-11-21 19:46:16 UTC

    #[track_caller]
    fn check(envelope: &Envelope, severity: u8, expected: &str) {
        let mut out = Vec::new();
        envelope.render(severity, AT, &mut DateCache::new(TimeZone::UTC), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn each_form() {
        check(&Envelope::rfc3164(16, None, "haproxy", 6775), 6, "<134>Nov 21 19:46:16 haproxy[6775]: ");
        check(&Envelope::rfc3164(16, Some("lb1"), "haproxy", 6775), 1, "<129>Nov 21 19:46:16 lb1 haproxy[6775]: ");
        check(&Envelope::rfc3164(17, None, "edge", 1), 3, "<139>Nov 21 19:46:16 edge[1]: ");
        check(&Envelope::rfc3164(0, None, "edge", 1), 0, "<0>Nov 21 19:46:16 edge[1]: ");
        check(
            &Envelope::rfc5424(16, "lb1", "haproxy", 6775),
            6,
            "<134>1 2026-11-21T19:46:16.123456+00:00 lb1 haproxy 6775 - - ",
        );
        check(&Envelope::raw(), 6, "");
    }
}
