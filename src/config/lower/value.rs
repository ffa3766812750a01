//! Single values: units, addresses, networks, regexes, field names, octal modes, paths.
//!
//! Each reader returns `None` (or its default) after it has reported what is wrong and what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::model::UnixSocket;
use crate::config::raw::{At, OneOrMany, Opt, text};
use crate::config::shape::shorten;
use crate::core::units::{
    ByteSize, DURATION_FORMS, RATE_FORMS, Rate, SIZE_FORMS, UnitError, parse_duration, render_duration,
};

/// The longest duration that means anything here.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest wait a timeout can be.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(1);

impl Lowering<'_> {
    /// A duration between two limits, or a default.
    pub fn duration(
        &mut self,
        written: Option<&At<text::Duration>>,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        written.and_then(|written| self.duration_in(written, least, most)).unwrap_or(default)
    }

    /// A timeout: at least a millisecond.
    pub fn timeout(&mut self, written: Option<&At<text::Duration>>, default: Duration) -> Duration {
        self.duration(written, default, TIMEOUT_MIN, DURATION_MAX)
    }

    /// A duration between two limits.
    pub fn duration_in(&mut self, written: &At<text::Duration>, least: Duration, most: Duration) -> Option<Duration> {
        match parse_duration(written.as_ref()) {
            Err(error) => {
                self.unit_error(written.id(), "duration", written.as_ref(), error, DURATION_FORMS, &["s", "ms"]);
                None
            }
            Ok(duration) if duration < least => {
                self.error(written.id(), format!("{} is too short", written.as_ref()))
                    .help(format!("the shortest allowed is {}", render_duration(least)));
                None
            }
            Ok(duration) if duration > most => {
                self.error(written.id(), format!("{} is too long", written.as_ref()))
                    .help(format!("the longest allowed is {}", render_duration(most)));
                None
            }
            Ok(duration) => Some(duration),
        }
    }

    /// A size between two limits.
    pub fn size(&mut self, written: &At<text::Size>, least: u64, most: u64) -> Option<u64> {
        match ByteSize::parse(written.as_ref()) {
            Err(error) => {
                self.unit_error(written.id(), "size", written.as_ref(), error, SIZE_FORMS, &["B"]);
                None
            }
            Ok(ByteSize(bytes)) if bytes < least => {
                self.error(written.id(), format!("{} is too small", written.as_ref()))
                    .help(format!("the smallest allowed is {}", ByteSize(least)));
                None
            }
            Ok(ByteSize(bytes)) if bytes > most => {
                self.error(written.id(), format!("{} is too large", written.as_ref()))
                    .help(format!("the largest allowed is {}", ByteSize(most)));
                None
            }
            Ok(ByteSize(bytes)) => Some(bytes),
        }
    }

    /// A rate.
    pub fn rate(&mut self, written: &At<text::Rate>) -> Option<Rate> {
        match Rate::parse(written.as_ref()) {
            Err(error) => {
                self.unit_error(written.id(), "rate", written.as_ref(), error, RATE_FORMS, &["/s", "/m"]);
                None
            }
            Ok(rate) if rate.count == 0 => {
                self.error(written.id(), "a rate of 0 lets nothing through")
                    .help("the smallest count is 1; to refuse everything use a route with `respond`");
                None
            }
            Ok(rate) if rate.period > DURATION_MAX => {
                self.error(written.id(), "the period is too long").help("the longest allowed is 366d");
                None
            }
            Ok(rate) => Some(rate),
        }
    }

    fn unit_error(&mut self, at: NodeId, what: &str, written: &str, error: UnitError, forms: &str, bare: &[&str]) {
        let no_unit = match &error {
            UnitError::NoUnit(number) => Some(number.clone()),
            UnitError::NoPeriod if written.chars().all(|c| c.is_ascii_digit()) => Some(written.into()),
            _ => None,
        };
        let diagnostic = self.error(at, format!("`{}` is not a {what}: {error}", shorten(written)));
        if let Some(number) = no_unit.filter(|n| n.len() <= 20) {
            let mut choices: Vec<_> = bare.iter().map(|unit| format!("`{number}{unit}`")).collect();
            if let (Ok(bytes), "size") = (number.parse(), what) {
                choices.push(format!("`{}`", ByteSize(bytes)));
                choices.dedup();
            }
            diagnostic.label(format!("write {}", choices.join(" or ")));
        }
        diagnostic.help(format!("a {what} is written {forms}"));
    }

    /// Networks; a bare address is a network of one.
    pub fn networks(&mut self, written: Option<&At<OneOrMany<text::Network>>>) -> Vec<IpNet> {
        let items = written.into_iter().flat_map(|written| written.items());
        items.filter_map(|(at, network)| self.network(at, network.as_ref())).collect()
    }

    /// One network.
    pub fn network(&mut self, at: NodeId, network: &str) -> Option<IpNet> {
        if let Ok(address) = network.parse::<IpAddr>() {
            return Some(IpNet::from(address.to_canonical()));
        }
        match network.parse::<IpNet>() {
            Ok(parsed) if parsed.trunc() != parsed => {
                self.error(at, format!("`{network}` has bits set behind its prefix")).label(format!(
                    "did you mean `{}`, or `{}` alone?",
                    parsed.trunc(),
                    parsed.addr()
                ));
            }
            Ok(IpNet::V6(v6)) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
                let v4 = v6.addr().to_ipv4_mapped().map(|ip| format!("{ip}/{}", v6.prefix_len() - 96));
                self.error(at, "clients are never seen under IPv4 addresses in IPv6 clothes")
                    .label(format!("write `{}`", v4.unwrap_or_default()));
            }
            Ok(parsed) => return Some(parsed),
            Err(_) => {
                self.error(at, format!("`{}` is not a network", shorten(network)))
                    .help("networks are written `10.0.0.0/8`, `2001:db8::/32`, or as one address");
            }
        }
        None
    }

    /// An IP address.
    pub fn ip(&mut self, at: NodeId, written: &str) -> Option<IpAddr> {
        let parsed = written.parse().ok();
        if parsed.is_none() {
            self.error(at, format!("`{}` is not an IP address", shorten(written)))
                .help("addresses are written `10.0.0.1` or `2001:db8::1`, without a port");
        }
        parsed
    }

    /// A regular expression.
    pub fn regex(&mut self, at: NodeId, pattern: &str) -> Option<Regex> {
        match regex::bytes::RegexBuilder::new(pattern).size_limit(4 << 20).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                self.error(at, format!("this is not a regular expression: {reason}")).help(
                    "the syntax is that of Rust's regex crate: no back-references, no look-around; `\\.` is a dot",
                );
                None
            }
        }
    }

    /// A field name (RFC 9110, section 5.1).
    pub fn field_name(&mut self, at: NodeId, name: &str) -> Option<Box<str>> {
        if name.len() <= 256 && is_token(name) {
            return Some(name.into());
        }
        let diagnostic = self.error(at, format!("`{}` is not a field name", shorten(name)));
        if let Some(stem) = name.trim_end().strip_suffix(':') {
            diagnostic.label(format!("write `{stem}`, without the colon"));
        }
        diagnostic.help("field names are made of letters, digits and `-`; at most 256");
        None
    }

    /// A field value: no control characters, no space at its ends.
    pub fn field_value(&mut self, at: NodeId, value: &str) -> Option<Box<str>> {
        if let Some(bad) = value.chars().find(|c| c.is_control() && *c != '\t') {
            self.error(at, format!("a field value cannot contain {}", bad.escape_debug()))
                .help("line ends and control characters would end the field");
            return None;
        }
        Some(value.trim().into())
    }

    /// `"660"` → 0o660.
    pub fn mode(&mut self, written: &At<text::Text>) -> Option<u32> {
        let text = written.as_ref();
        match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
            Ok(mode) if mode <= 0o777 && mode > 0 => Some(mode),
            _ => {
                self.error(written.id(), format!("`{}` is not a file mode", shorten(text)))
                    .help("three octal digits, as \"660\": owner, group, others");
                None
            }
        }
    }

    /// A unix socket with its owner.
    pub fn unix_socket(
        &mut self,
        at: NodeId,
        path: &str,
        mode: &Opt<text::Text>,
        user: &Opt<text::Text>,
        group: &Opt<text::Text>,
    ) -> Option<UnixSocket> {
        let path = self.path(path);
        // sun_path holds 108 bytes, the last a zero.
        if path.as_os_str().len() > 107 {
            self.error(at, format!("this path is {} bytes long", path.as_os_str().len()))
                .help("a unix socket's path has 107 bytes at most");
            return None;
        }
        let user_known = |name: &str| name.parse::<u32>().is_ok() || self.env.user_exists(name);
        let group_known = |name: &str| name.parse::<u32>().is_ok() || self.env.group_exists(name);
        let bad_user = user.as_ref().filter(|u| !user_known((***u).as_ref()));
        let bad_group = group.as_ref().filter(|g| !group_known((***g).as_ref()));
        if let Some(user) = bad_user {
            self.error(user.id(), format!("there is no user `{}` on this machine", shorten(user.as_ref())))
                .help("create it (`useradd --system NAME`) or give a number");
        }
        if let Some(group) = bad_group {
            self.error(group.id(), format!("there is no group `{}` on this machine", shorten(group.as_ref())))
                .help("create it (`groupadd --system NAME`) or give a number");
        }
        let owned = |name: &Opt<text::Text>| name.as_ref().map(|n| Box::from(n.as_ref()));
        Some(UnixSocket {
            path,
            mode: mode.as_ref().and_then(|m| self.mode(m)),
            user: owned(user),
            group: owned(group),
        })
    }

    /// A path as written, from the folder of the file when it is relative.
    pub fn path(&self, written: &str) -> PathBuf {
        self.env.base().join(written)
    }

    /// Reads a file; what goes wrong is reported at the value that names it.
    pub fn read(&mut self, at: NodeId, written: &str) -> Option<Vec<u8>> {
        let path = self.path(written);
        match self.env.read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.unreadable(at, Path::new(written), &error);
                None
            }
        }
    }

    /// Reports a file that cannot be read.
    pub fn unreadable(&mut self, at: NodeId, path: &Path, error: &std::io::Error) {
        let (reason, remedy) = match error.kind() {
            std::io::ErrorKind::NotFound => ("there is no such file".to_owned(), "check the path, or create the file"),
            std::io::ErrorKind::PermissionDenied => {
                ("permission denied".to_owned(), "give the user that runs lockgate the right to read it")
            }
            _ => (error.to_string(), "give a readable file"),
        };
        self.error(at, format!("cannot read `{}`: {reason}", path.display())).help(remedy);
    }

    /// `IP:PORT`. Port 0 is left to the caller.
    pub fn socket_addr(&mut self, at: NodeId, written: &str, example: &str) -> Option<SocketAddr> {
        if let Ok(address) = written.parse() {
            return Some(address);
        }
        // `*:443 ssl crt /etc/x.pem`: what HAProxy and nginx write behind the address.
        if let Some((first, rest)) = written.trim().split_once(' ') {
            let word = |wanted: &str| rest.split_whitespace().any(|word| word == wanted);
            let first = match first.rsplit_once(':') {
                Some(("*" | "", port)) => format!("0.0.0.0:{port}"),
                None if first.parse::<u16>().is_ok() => format!("0.0.0.0:{first}"),
                _ => first.to_owned(),
            };
            let diagnostic = self.error(at, format!("`{}` is more than an address", shorten(written)));
            if word("ssl") {
                diagnostic.label(format!("write `{{ address: \"{first}\", tls: {{ certificates: [FILE] }} }}`"));
            } else {
                diagnostic.label(format!("write `{first}`"));
            }
            diagnostic.help(format!("it is written {example}; what else there is to say are keys beside `address`"));
            return None;
        }
        let message = format!("`{}` is not an address with a port", shorten(written));
        let (host, port) = written.rsplit_once(':').unwrap_or((written, ""));
        let label = if let Some(rest) = written.split_once("://").map(|(_, rest)| rest) {
            format!("write `{}`, without the scheme", shorten(rest.trim_end_matches('/')))
        } else if matches!(host, "*" | "") && !port.is_empty() {
            format!("write `0.0.0.0:{0}` (IPv4) or `[::]:{0}` (IPv6)", shorten(port))
        } else if written.parse::<u16>().is_ok() {
            format!("write `0.0.0.0:{written}` (IPv4) or `[::]:{written}` (IPv6)")
        } else if let Ok(IpAddr::V6(ip)) = written.parse() {
            format!("write `[{ip}]:PORT`")
        } else if written.parse::<IpAddr>().is_ok() {
            "the port is missing".to_owned()
        } else if host.parse::<IpAddr>().is_ok() || host.starts_with('[') {
            "a port is a number from 1 to 65535".to_owned()
        } else if !port.is_empty() && port.parse::<u16>().is_ok() {
            "a name is not accepted here: write its IP address".to_owned()
        } else {
            String::new()
        };
        self.error(at, message).label(label).help(format!("it is written {example}"));
        None
    }
}

/// A token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
