//! TLS to a server, as configured: what it must prove, what is offered to it. For traffic and for checks alike.
//!
//! Files are named, not read: that is `crate::tls::connector`'s business.

use std::path::PathBuf;
use std::sync::Arc;

use super::names::TlsVersion;

/// TLS of a server (`tls`). HAProxy: `ssl` and what goes with it on a `server` line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// Whose it is, as `backend/server`. Sessions of one server are never offered to another.
    pub owner: Box<str>,
    /// What its certificate must show.
    pub verify: Verify,
    /// PEM file of revocation lists; every certificate of the chain must be covered by one. HAProxy: `crl-file`.
    pub crl_file: Option<PathBuf>,
    /// The name its certificate must carry: a host name or an IP address. Absent only where `sni` is the request's host,
    /// which is then the one, or where nothing is verified. HAProxy: `verifyhost`.
    pub name: Option<Box<str>>,
    /// The name that is sent. HAProxy: `sni`.
    pub sni: Sni,
    /// What is shown to a server that asks for a certificate. HAProxy: `crt`.
    pub identity: Option<Identity>,
    /// Oldest version offered; TLS 1.2 by default. HAProxy: `ssl-min-ver`.
    pub min_version: TlsVersion,
    /// Newest version offered; TLS 1.3 by default. HAProxy: `ssl-max-ver`.
    pub max_version: TlsVersion,
    /// Suites offered, by their registered numbers, best first. A version of which none is named keeps all of its own.
    /// HAProxy: `ciphers`, `ciphersuites`.
    pub ciphers: Vec<u16>,
    /// Groups offered, by their registered numbers, best first; the default ones when empty. HAProxy: `curves`.
    pub groups: Vec<u16>,
    /// Protocols offered (ALPN), best first; none when empty. HAProxy: `alpn`.
    pub alpn: Vec<Box<str>>,
    /// Sessions kept for resumption (`session_cache`, default 256); with 0 every handshake is a complete one.
    pub sessions_max: u32,
}

/// Sessions kept per server unless something else is said.
pub const SESSIONS_DEFAULT: u32 = 256;

impl ServerTls {
    /// Everything verified, against the system's roots and `name`; nothing special offered.
    pub fn strict(owner: impl Into<Box<str>>, name: Option<Box<str>>) -> ServerTls {
        ServerTls {
            owner: owner.into(),
            verify: Verify::SystemRoots,
            crl_file: None,
            name,
            sni: Sni::Name,
            identity: None,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            ciphers: Vec::new(),
            groups: Vec::new(),
            alpn: Vec::new(),
            sessions_max: SESSIONS_DEFAULT,
        }
    }

    /// Whether HTTP/2 is what is offered, and nothing else.
    pub fn speaks_h2(&self) -> bool {
        matches!(&self.alpn[..], [only] if &**only == "h2")
    }

    /// Offers HTTP/2 alone, which over TLS is agreed on by its name (RFC 9113 section 3.2), or no longer.
    pub fn offer_h2(settings: &mut Arc<ServerTls>, wanted: bool) {
        if settings.speaks_h2() != wanted {
            Arc::make_mut(settings).alpn = if wanted { vec!["h2".into()] } else { Vec::new() };
        }
    }

    /// A certificate is to be verified, and no name is known that it must carry.
    pub fn lacks_name(&self) -> bool {
        self.verify != Verify::Nothing && self.name.is_none() && self.sni != Sni::RequestHost
    }
}

/// Whether a server is spoken to in TLS. HAProxy: `ssl`, `no-ssl`, `set server B/S ssl on|off`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum TlsUse {
    /// In clear text, and how it would be in TLS is not known.
    #[default]
    Unset,
    /// In clear text (`tls: false`) until an operator says otherwise.
    Off(Arc<ServerTls>),
    /// In TLS.
    On(Arc<ServerTls>),
}

impl TlsUse {
    /// How it is, or would be, spoken to in TLS.
    pub fn settings(&self) -> Option<&Arc<ServerTls>> {
        match self {
            TlsUse::Unset => None,
            TlsUse::Off(settings) | TlsUse::On(settings) => Some(settings),
        }
    }

    /// The same with HTTP/2 offered alone, or not.
    pub fn speaking_h2(mut self, wanted: bool) -> TlsUse {
        match &mut self {
            TlsUse::Unset => {}
            TlsUse::Off(settings) | TlsUse::On(settings) => ServerTls::offer_h2(settings, wanted),
        }
        self
    }

    /// Whether it is spoken to in TLS.
    pub fn is_on(&self) -> bool {
        matches!(self, TlsUse::On(_))
    }
}

/// What a server's certificate must show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing. HAProxy: `verify none`.
    Nothing,
    /// A chain to one of the system's roots, and the name.
    SystemRoots,
    /// A chain to a root in this PEM file, and the name. HAProxy: `verify required ca-file FILE`.
    Roots(PathBuf),
}

/// The name that is sent to a server (RFC 6066, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sni {
    /// The name that is verified; none when that is an address, or when there is none.
    Name,
    /// This one.
    Fixed(Box<str>),
    /// The host of the request that the connection is made for; only requests for that host are sent on it.
    RequestHost,
    /// None.
    Off,
}

/// A certificate of ours and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// PEM file of the chain, our own certificate first.
    pub certificate: PathBuf,
    /// PEM file of the key; the key stands in the certificate's file when absent.
    pub key: Option<PathBuf>,
}
