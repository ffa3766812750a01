//! `show fd`: the open descriptors of the process, with what each is.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// Descriptors shown at most; half a million of them would be a reply of fifty megabytes.
pub const SHOWN_MAX: usize = 20_000;

/// Which descriptors `show fd` is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescriptorQuery {
    /// Only this one.
    pub number: Option<u32>,
    /// Letters of the kinds wanted: `l` listeners, `c` connections, `f` from clients, `b` to servers, `p` pipes, `d`
    /// datagrams, `s` everything that was there from the start. Empty: all.
    pub kinds: String,
    /// `!`: all but those.
    pub inverted: bool,
}

impl DescriptorQuery {
    /// What follows `show fd`.
    pub(super) fn parse(words: &[&str]) -> DescriptorQuery {
        let mut query = DescriptorQuery::default();
        for word in words {
            if let Some(flags) = word.strip_prefix('-') {
                query.inverted |= flags.contains('!');
                query.kinds.extend(flags.chars().filter(char::is_ascii_lowercase).take(16));
            } else if query.number.is_none() {
                query.number = word.parse().ok();
            }
        }
        query
    }

    fn wants(&self, descriptor: &DescriptorView, binds: &[(Box<str>, SocketAddr)]) -> bool {
        if self.number.is_some_and(|number| number != descriptor.number) {
            return false;
        }
        let named = self.kinds.chars().any(|kind| descriptor.kind.letters(binds).contains(kind));
        self.kinds.is_empty() || named != self.inverted
    }
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorView {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: DescriptorKind,
}

/// What a descriptor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DescriptorKind {
    /// A listening TCP socket.
    Listener {
        /// Where.
        local: SocketAddr,
    },
    /// A TCP connection.
    Connection {
        /// Our end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// The kernel's word: `ESTABLISHED`, `CLOSE_WAIT`, …
        state: &'static str,
    },
    /// A UDP socket.
    Datagram {
        /// Our end.
        local: SocketAddr,
    },
    /// A unix socket.
    Unix {
        /// Its path, if it has one.
        path: Box<str>,
        /// It listens.
        listening: bool,
    },
    /// A socket the kernel's tables do not list (any more).
    Socket,
    /// A pipe.
    Pipe,
    /// A file, a terminal, or something of the kernel's: what `/proc/self/fd` says.
    Other(Box<str>),
}

impl DescriptorKind {
    /// The letters of [`DescriptorQuery::kinds`] it goes by.
    fn letters(&self, binds: &[(Box<str>, SocketAddr)]) -> &'static str {
        match self {
            DescriptorKind::Listener { .. } => "ls",
            DescriptorKind::Unix { listening: true, .. } => "ls",
            DescriptorKind::Unix { .. } => "cf",
            DescriptorKind::Connection { local, .. } if frontend(binds, *local).is_some() => "cf",
            DescriptorKind::Connection { .. } => "cb",
            DescriptorKind::Datagram { .. } => "d",
            DescriptorKind::Socket => "c",
            DescriptorKind::Pipe => "p",
            DescriptorKind::Other(_) => "s",
        }
    }
}

/// The reply to `show fd`. `binds` names the frontend of a listening address, `servers` the `B/S` of an address.
pub fn render(
    query: &DescriptorQuery,
    descriptors: &[DescriptorView],
    binds: &[(Box<str>, SocketAddr)],
    servers: &[(Box<str>, SocketAddr)],
) -> String {
    let mut out = String::new();
    let mut wanted = descriptors.iter().filter(|descriptor| query.wants(descriptor, binds));
    for descriptor in wanted.by_ref().take(SHOWN_MAX) {
        let _ = write!(out, "{:>7} : ", descriptor.number);
        write_kind(&mut out, &descriptor.kind, binds, servers);
        out.push('\n');
    }
    let left = wanted.count();
    if left > 0 {
        let _ = writeln!(out, "# {left} more are not shown");
    }
    out
}

fn write_kind(
    out: &mut String,
    kind: &DescriptorKind,
    binds: &[(Box<str>, SocketAddr)],
    servers: &[(Box<str>, SocketAddr)],
) {
    let family = |address: &SocketAddr| if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let _ = match kind {
        DescriptorKind::Listener { local } => {
            let name = frontend(binds, *local).unwrap_or("GLOBAL");
            write!(out, "st=LISTEN l.st=RDY fe={name} fam={} lport={}", family(local), local.port())
        }
        DescriptorKind::Connection { local, remote, state } => {
            let _ = write!(
                out,
                "st={state} back={} fam={} lport={} rport={}",
                u8::from(frontend(binds, *local).is_none()),
                family(local),
                local.port(),
                remote.port()
            );
            match (frontend(binds, *local), servers.iter().find(|(_, address)| address == remote)) {
                (Some(name), _) => write!(out, " fe={name} src={remote}"),
                (None, Some((name, _))) => write!(out, " sv={name}"),
                (None, None) => write!(out, " dst={remote}"),
            }
        }
        DescriptorKind::Datagram { local } => write!(out, "st=DGRAM fam={} lport={}", family(local), local.port()),
        DescriptorKind::Unix { path, listening: true } => write!(out, "st=LISTEN l.st=RDY fe=GLOBAL fam=unix {path}"),
        DescriptorKind::Unix { path, listening: false } => write!(out, "st=UNIX fam=unix {path}"),
        DescriptorKind::Socket => write!(out, "st=SOCKET"),
        DescriptorKind::Pipe => write!(out, "st=PIPE"),
        DescriptorKind::Other(what) => write!(out, "st=FILE {what}"),
    };
    out.truncate(out.trim_end().len());
}

/// The frontend that listens at this address, or at its port on every address.
fn frontend(binds: &[(Box<str>, SocketAddr)], local: SocketAddr) -> Option<&str> {
    let matches =
        |bind: &SocketAddr| bind.port() == local.port() && (bind.ip() == local.ip() || bind.ip().is_unspecified());
    binds.iter().find(|(_, bind)| matches(bind)).map(|(name, _)| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors() -> Vec<DescriptorView> {
        let address = |text: &str| text.parse().unwrap();
        let kinds = [
            DescriptorKind::Listener { local: address("0.0.0.0:80") },
            DescriptorKind::Connection {
                local: address("10.0.0.1:80"),
                remote: address("10.9.9.9:4000"),
                state: "ESTABLISHED",
            },
            DescriptorKind::Connection {
                local: address("10.0.0.1:5000"),
                remote: address("10.0.0.11:8080"),
                state: "CLOSE_WAIT",
            },
            DescriptorKind::Unix { path: "/run/admin.sock".into(), listening: true },
            DescriptorKind::Other("anon_inode:[eventpoll]".into()),
        ];
        kinds.into_iter().zip(3..).map(|(kind, number)| DescriptorView { number, kind }).collect()
    }

    fn shown(words: &[&str]) -> Vec<String> {
        let binds = [("public".into(), "0.0.0.0:80".parse().unwrap())];
        let servers = [("web/a".into(), "10.0.0.11:8080".parse().unwrap())];
        let text = render(&DescriptorQuery::parse(words), &descriptors(), &binds, &servers);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_kind_is_named() {
        assert_eq!(
            shown(&[]),
            [
                "      3 : st=LISTEN l.st=RDY fe=public fam=ipv4 lport=80",
                "      4 : st=ESTABLISHED back=0 fam=ipv4 lport=80 rport=4000 fe=public src=10.9.9.9:4000",
                "      5 : st=CLOSE_WAIT back=1 fam=ipv4 lport=5000 rport=8080 sv=web/a",
                "      6 : st=LISTEN l.st=RDY fe=GLOBAL fam=unix /run/admin.sock",
                "      7 : st=FILE anon_inode:[eventpoll]",
            ]
        );
    }

    #[test]
    fn filters() {
        let numbers = |words: &[&str]| -> Vec<u32> {
            let number = |line: &String| line.split(" : ").next().and_then(|n| n.trim().parse().ok());
            shown(words).iter().filter_map(number).collect()
        };
        assert_eq!(numbers(&["5"]), [5]);
        assert_eq!(numbers(&["999"]), [] as [u32; 0]);
        assert_eq!(numbers(&["-l"]), [3, 6]);
        assert_eq!(numbers(&["-!l"]), [4, 5, 7]);
        assert_eq!(numbers(&["-c"]), [4, 5]);
        assert_eq!(numbers(&["-f"]), [4]);
        assert_eq!(numbers(&["-b"]), [5]);
    }

    #[test]
    fn the_reply_is_bounded() {
        let many: Vec<DescriptorView> =
            (0..SHOWN_MAX as u32 + 5).map(|number| DescriptorView { number, kind: DescriptorKind::Socket }).collect();
        let text = render(&DescriptorQuery::default(), &many, &[], &[]);
        assert_eq!(text.lines().count(), SHOWN_MAX + 1);
        assert!(text.ends_with("# 5 more are not shown\n"), "{}", &text[text.len() - 100..]);
    }
}
