//! `global`: the process, its admin sockets and log targets.

use std::net::SocketAddr;
use std::time::Duration;

use super::Lowering;
use super::bind::ListenAddress;
use super::value::{DURATION_MAX, TIMEOUT_MIN};
use crate::config::document::NodeId;
use crate::config::model::{
    AdminAddress, AdminSocket, DESCRIPTORS_RESERVED, Envelope, Global, Level, LogDestination, LogFormat, LogTarget,
    Model, ProcessLimits, TlsGlobal,
};
use crate::config::raw::{self, At, global::Threads};
use crate::config::shape::shorten;

/// Connections when nothing is said and descriptors allow it.
const MAXCONN_DEFAULT: u64 = 100_000;

impl Lowering<'_> {
    pub fn global(&mut self, written: Option<&At<raw::global::Global>>) -> Global {
        let written = written.map(|w| &**w);
        let fitting = self.env.fd_limit().saturating_sub(DESCRIPTORS_RESERVED) / 2;
        let default = u32::try_from(fitting.clamp(1, MAXCONN_DEFAULT)).unwrap_or(1);
        let threads = match written.and_then(|w| w.threads.as_deref()) {
            None | Some(Threads::Auto(_)) => self.env.cores(),
            Some(Threads::Count(count)) => *count as usize,
        };
        let mut admin = Vec::new();
        for socket in written.and_then(|w| w.admin.as_deref()).into_iter().flatten() {
            admin.extend(self.admin_socket(socket));
        }
        let mut logs = Vec::new();
        for target in written.and_then(|w| w.logs.as_deref()).into_iter().flatten() {
            logs.extend(self.log_target(target));
        }
        let grace = written.and_then(|w| w.grace.as_ref());
        let maxconn = written.and_then(|w| w.maxconn.as_deref()).copied().unwrap_or(default);
        let rate = |key: Option<&At<u32>>| key.map_or(0, |n| **n);
        Global {
            threads,
            maxconn,
            limits: ProcessLimits {
                maxconn,
                maxconn_highest: maxconn,
                connection_rate: rate(written.and_then(|w| w.maxconnrate.as_ref())),
                session_rate: rate(written.and_then(|w| w.maxsessrate.as_ref())),
                tls_rate: rate(written.and_then(|w| w.maxsslrate.as_ref())),
                compression_rate: self.compression_rate(written.and_then(|w| w.compression.as_deref())),
            },
            state_file: written.and_then(|w| w.state_file.as_ref()).map(|path| self.path(path.as_ref())),
            grace: self.duration(grace, Duration::from_secs(30), Duration::ZERO, DURATION_MAX),
            admin,
            logs,
            tls: self.tls_global(written.and_then(|w| w.tls.as_deref())),
            compression: self.compression_limits(written.and_then(|w| w.compression.as_deref())),
            node: written.and_then(|w| w.node.as_ref()).and_then(|text| self.shown_line(text, "node")),
            description: written
                .and_then(|w| w.description.as_ref())
                .and_then(|text| self.shown_line(text, "description")),
        }
    }

    fn tls_global(&mut self, written: Option<&raw::global::TlsGlobal>) -> TlsGlobal {
        let rotation = written.and_then(|w| w.ticket_rotation.as_ref());
        TlsGlobal {
            session_cache: written.and_then(|w| w.session_cache.as_deref()).map_or(20_000, |n| *n as usize),
            ticket_rotation: self.duration(
                rotation,
                Duration::from_secs(12 * 3600),
                Duration::from_secs(60),
                // RFC 8446, section 4.6.1: a ticket lives seven days at most, and keys live for three rotations.
                Duration::from_secs(7 * 24 * 3600 / 3),
            ),
            ticket_keys: self.ticket_keys(written),
        }
    }

    fn admin_socket(&mut self, written: &At<raw::global::Admin>) -> Option<AdminSocket> {
        let timeout = self.duration(written.timeout.as_ref(), Duration::from_secs(10), TIMEOUT_MIN, DURATION_MAX);
        let address = match (&written.socket, &written.bind) {
            (Some(socket), None) => {
                let path = socket.as_ref();
                let unix = self.unix_socket(socket.id(), path, &written.mode, &written.user, &written.group);
                if let Some(unix) = &unix {
                    self.listen(socket.id(), ListenAddress::Unix(unix.path.clone()));
                }
                AdminAddress::Unix(unix?)
            }
            (None, Some(bind)) => {
                for option in [&written.mode, &written.user, &written.group].into_iter().flatten() {
                    self.error(option.id(), "a TCP socket has no file to own").help("use `socket`, or remove the key");
                }
                let address = self.socket_addr(bind.id(), bind.as_ref(), "`127.0.0.1:9999`")?;
                if !address.ip().is_loopback() {
                    self.error(bind.id(), format!("an admin socket cannot be reached from outside: {address}"))
                        .label("only loopback addresses")
                        .help("whoever reaches it rules the servers: use 127.0.0.1 or [::1], or a unix `socket`");
                    return None;
                }
                self.listen(bind.id(), ListenAddress::Tcp(address));
                AdminAddress::Tcp(address)
            }
            (Some(_), Some(bind)) => {
                self.error(bind.id(), "an admin socket has either `socket` or `bind`").help("make two of it");
                return None;
            }
            (None, None) => {
                self.missing(written.id(), "this admin socket has no address")
                    .help("add `socket: /run/lockgate/admin.sock` or `bind: 127.0.0.1:9999`");
                return None;
            }
        };
        Some(AdminSocket {
            address,
            level: match written.level.as_deref() {
                Some(raw::global::Level::User) => Level::User,
                None | Some(raw::global::Level::Operator) => Level::Operator,
                Some(raw::global::Level::Admin) => Level::Admin,
            },
            timeout,
            maxconn: written.maxconn.as_deref().copied().unwrap_or(10),
        })
    }

    fn log_target(&mut self, written: &At<raw::global::Log>) -> Option<LogTarget> {
        let tag = match &written.tag {
            Some(tag) => self.envelope_word(tag, "tag"),
            None => "haproxy".into(),
        };
        let hostname = written.hostname.as_ref().map(|name| self.envelope_word(name, "host name"));
        let max_line_bytes = written.max_line.as_ref().and_then(|size| self.size(size, 256, 64 * 1024)).unwrap_or(8192);
        let Some(target) = &written.target else {
            self.missing(written.id(), "this log has no `target`").help(TARGET_FORMS);
            return None;
        };
        let to = self.log_destination(target.id(), target.as_ref())?;
        let bare = matches!(to, LogDestination::Stdout | LogDestination::File(_));
        let envelope = match written.syslog.as_deref() {
            None if bare => Envelope::Raw,
            None | Some(raw::global::Envelope::Rfc3164) => Envelope::Rfc3164,
            Some(raw::global::Envelope::Rfc5424) => Envelope::Rfc5424,
            Some(raw::global::Envelope::Raw) => Envelope::Raw,
        };
        let of_header = [
            ("facility", written.facility.as_ref().map(At::id)),
            ("tag", written.tag.as_ref().map(At::id)),
            ("hostname", written.hostname.as_ref().map(At::id)),
        ];
        for (name, at) in of_header.into_iter().filter(|_| envelope == Envelope::Raw) {
            if let Some(at) = at {
                self.warning(at, format!("`{name}` stands in syslog headers, and these lines have none"))
                    .help("add `syslog: rfc3164`, or remove it");
            }
        }
        Some(LogTarget {
            to,
            envelope,
            facility: written.facility.as_deref().map_or(16, |f| *f as u8),
            format: written.format.as_ref().and_then(|f| self.log_format(f)).unwrap_or(LogFormat::Httplog),
            tag,
            hostname,
            max_line_bytes: usize::try_from(max_line_bytes).unwrap_or(8192),
            level: written.level.as_deref().map_or(7, |l| *l as u8),
        })
    }

    /// A text that `show info` shows on a line of its own; tools give up on an empty one.
    pub fn shown_line(&mut self, written: &At<raw::text::Text>, what: &str) -> Option<Box<str>> {
        let text = written.as_ref();
        if text.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            self.error(written.id(), format!("`{}` cannot be the {what}", shorten(text)))
                .help("one line of 1 to 256 bytes; remove the key for the default");
            return None;
        }
        Some(text.into())
    }

    /// A word that stands between spaces in every log line.
    pub fn envelope_word(&mut self, written: &At<raw::text::Text>, what: &str) -> Box<str> {
        let text = written.as_ref();
        if text.is_empty() || text.len() > 64 || !text.chars().all(|c| c.is_ascii_graphic() && !"[]:".contains(c)) {
            self.error(written.id(), format!("`{}` cannot be a {what} in log lines", shorten(text)))
                .help("1 to 64 printable characters without spaces, colons and brackets");
        }
        text.into()
    }

    fn log_destination(&mut self, at: NodeId, target: &str) -> Option<LogDestination> {
        let address = |cx: &mut Self, rest: &str| -> Option<SocketAddr> {
            let address = cx.socket_addr(at, rest, "`udp://127.0.0.1:514`")?;
            if address.port() == 0 {
                cx.error(at, "port 0 cannot be sent to").help("syslog listens on 514");
                return None;
            }
            Some(address)
        };
        match target.split_once("://") {
            _ if target == "stdout" => Some(LogDestination::Stdout),
            Some(("udp", rest)) => address(self, rest).map(LogDestination::Udp),
            Some(("tcp", rest)) => address(self, rest).map(LogDestination::Tcp),
            Some(("unix", path)) if path.starts_with('/') => Some(LogDestination::UnixDatagram(path.into())),
            Some(("file", path)) if path.starts_with('/') => Some(LogDestination::File(path.into())),
            Some(("unix" | "file", _)) => {
                self.error(at, "the path of a log target must be absolute").help(TARGET_FORMS);
                None
            }
            _ => {
                let diagnostic = self.error(at, format!("`{}` is not a log target", shorten(target)));
                if target.starts_with('/') {
                    diagnostic.label(format!("write `unix://{0}` or `file://{0}`", shorten(target)));
                } else if let Some((scheme, _)) = target.split_once("://") {
                    diagnostic.did_you_mean(scheme, ["udp", "tcp", "unix", "file"]);
                } else if target.parse::<SocketAddr>().is_ok() {
                    diagnostic.label(format!("did you mean `udp://{target}`?"));
                } else {
                    diagnostic.did_you_mean(target, ["stdout"]);
                }
                diagnostic.help(TARGET_FORMS);
                None
            }
        }
    }

    /// Warns when the connections asked for cannot get their descriptors.
    pub fn descriptors(&mut self, written: Option<&At<raw::global::Global>>, model: &Model) {
        let Some(maxconn) = written.and_then(|w| w.maxconn.as_ref()) else { return };
        let (reserved, needed) = (model.descriptors_reserved(), model.descriptors_needed());
        let limit = self.env.fd_limit();
        if needed > limit {
            self.warning(
                maxconn.id(),
                format!("{} connections need {needed} descriptors, {limit} are allowed", **maxconn),
            )
            .label(format!("{} fit", limit.saturating_sub(reserved) / 2))
            .help(format!("each takes two, and {reserved} are kept for the rest"))
            .help("raise the limit (`LimitNOFILE=` of the systemd unit, `ulimit -n`) or lower `maxconn`");
        }
    }
}

const TARGET_FORMS: &str = "targets are `udp://127.0.0.1:514`, `tcp://127.0.0.1:601`, `unix:///dev/log`, `file:///var/log/lockgate.log`, `stdout`";
