//! Health checks as values: what to ask a server, and what came of asking.
//!
//! How a result moves a server's state lives in [`crate::core::server`]; when the next check is due is decided by
//! [`crate::core::fleet`]; the sockets are in `crate::health`. Agents, which are asked how a server wants to be treated,
//! are in [`agent`], the messages of gRPC checks in [`grpc`].

pub mod agent;
pub mod grpc;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::core::tls::ServerTls;

/// One server's health check, as configured (`health_check`). HAProxy: `option httpchk`, `check`, `inter`, `rise`, `fall`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// What is asked.
    pub kind: CheckKind,
    /// Time between two checks of a server whose state is settled and up.
    pub interval: Duration,
    /// Time between checks while a server is on its way up or down.
    pub fastinter: Duration,
    /// Time between checks of a server that is down.
    pub downinter: Duration,
    /// The longest a whole check may take, connect included.
    pub timeout: Duration,
    /// Passes in a row that bring a server up.
    pub rise: u32,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// Checked at this address instead of the server's.
    pub address: Option<IpAddr>,
    /// Checked at this port instead of the server's.
    pub port: Option<u16>,
    /// Checked over TLS: as the server is spoken to, or otherwise.
    pub tls: Option<Arc<ServerTls>>,
}

impl CheckSpec {
    /// Has it made in what is spoken to the server: its HTTP request, and what is offered in TLS.
    pub fn speak(&mut self, h2: bool) {
        let over_h2 = match &mut self.kind {
            CheckKind::Tcp => h2,
            CheckKind::Http(request) => {
                request.h2 = h2;
                h2
            }
            CheckKind::Grpc(_) => true,
        };
        if let Some(tls) = &mut self.tls {
            ServerTls::offer_h2(tls, over_h2);
        }
    }
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// The connection (and the TLS handshake, if any) succeeding is enough.
    Tcp,
    /// One HTTP request; redirects are never followed.
    Http(HttpCheck),
    /// One call of `grpc.health.v1.Health/Check` over HTTP/2; only `SERVING` passes.
    Grpc(GrpcCheck),
}

/// The request of an HTTP check and what its answer must be.
#[derive(Debug, Clone)]
pub struct HttpCheck {
    /// Request method; `HEAD` by default.
    pub method: Box<str>,
    /// Origin-form request target; `/` by default.
    pub path: Box<str>,
    /// The `Host` field; the server's address when absent.
    pub host: Option<Box<str>>,
    /// Further request fields.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Status codes that pass, as inclusive ranges; exactly 200 by default.
    pub expect: Vec<(u16, u16)>,
    /// The body must contain a match of this.
    pub body: Option<regex::bytes::Regex>,
    /// A 404 from a server that is up takes it out of load balancing instead of failing the check (`NOLB`). HAProxy:
    /// `http-check disable-on-404`.
    pub disable_on_404: bool,
    /// It is sent over HTTP/2, as requests to that server are (`proto`).
    pub h2: bool,
}

/// The call of a gRPC check (`health_check.grpc`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The service asked for; empty for the server as a whole.
    pub service: Box<str>,
    /// The `:authority`; the server's address when absent.
    pub host: Option<Box<str>>,
}

impl PartialEq for HttpCheck {
    fn eq(&self, other: &Self) -> bool {
        self.method == other.method
            && self.path == other.path
            && self.host == other.host
            && self.headers == other.headers
            && self.expect == other.expect
            && self.disable_on_404 == other.disable_on_404
            && self.h2 == other.h2
            && self.body.as_ref().map(|r| r.as_str()) == other.body.as_ref().map(|r| r.as_str())
    }
}

/// What became of one check. HAProxy: `check_status`, `check_code`, `check_duration`, `last_chk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    /// The class of result; decides pass or fail.
    pub status: CheckStatus,
    /// HTTP status, when layer 7 was reached.
    pub code: Option<u16>,
    /// How long the check took.
    pub duration: Duration,
    /// Why, in words: a reason phrase, an operating-system error, what did not match. Empty when passed.
    pub text: Box<str>,
}

/// HAProxy's result words (`check_status`), and the one behind each in the CSV's `check_desc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// `UNK`
    Unknown,
    /// `INI`: no result yet.
    Initializing,
    /// `CHECKED`: an agent answered and said nothing of health.
    Checked,
    /// `SOCKERR`: the check could not be sent at all. Changes no state but that of a server that was never judged.
    SocketError,
    /// `L4OK`
    L4Ok,
    /// `L4TOUT`
    L4Timeout,
    /// `L4CON`
    L4Connect,
    /// `L6OK`
    L6Ok,
    /// `L6TOUT`
    L6Timeout,
    /// `L6RSP`
    L6Response,
    /// `L7TOUT`
    L7Timeout,
    /// `L7RSP`: not HTTP, or cut short.
    L7Response,
    /// `L7OK`
    L7Ok,
    /// `L7OKC`: a 404 that only asks for no new requests (`disable_on_404`).
    L7OkConditional,
    /// `L7STS`: a status (or body) that does not pass.
    L7Status,
    /// `HANA`: taken down by passive observation.
    Analyze,
}

impl CheckStatus {
    /// HAProxy's short word: CSV column 36, `check_status`.
    pub fn word(self) -> &'static str {
        match self {
            CheckStatus::Unknown => "UNK",
            CheckStatus::Initializing => "INI",
            CheckStatus::Checked => "CHECKED",
            CheckStatus::SocketError => "SOCKERR",
            CheckStatus::L4Ok => "L4OK",
            CheckStatus::L4Timeout => "L4TOUT",
            CheckStatus::L4Connect => "L4CON",
            CheckStatus::L6Ok => "L6OK",
            CheckStatus::L6Timeout => "L6TOUT",
            CheckStatus::L6Response => "L6RSP",
            CheckStatus::L7Timeout => "L7TOUT",
            CheckStatus::L7Response => "L7RSP",
            CheckStatus::L7Ok => "L7OK",
            CheckStatus::L7OkConditional => "L7OKC",
            CheckStatus::L7Status => "L7STS",
            CheckStatus::Analyze => "HANA",
        }
    }

    /// HAProxy's sentence: CSV column 65, `check_desc`, and the `reason` of its state-change log lines.
    pub fn description(self) -> &'static str {
        match self {
            CheckStatus::Unknown => "Unknown",
            CheckStatus::Initializing => "Initializing",
            CheckStatus::Checked => "No status change",
            CheckStatus::SocketError => "Socket error",
            CheckStatus::L4Ok => "Layer4 check passed",
            CheckStatus::L4Timeout => "Layer4 timeout",
            CheckStatus::L4Connect => "Layer4 connection problem",
            CheckStatus::L6Ok => "Layer6 check passed",
            CheckStatus::L6Timeout => "Layer6 timeout",
            CheckStatus::L6Response => "Layer6 invalid response",
            CheckStatus::L7Timeout => "Layer7 timeout",
            CheckStatus::L7Response => "Layer7 invalid response",
            CheckStatus::L7Ok => "Layer7 check passed",
            CheckStatus::L7OkConditional => "Layer7 check conditionally passed",
            CheckStatus::L7Status => "Layer7 wrong status",
            CheckStatus::Analyze => "Health analyze",
        }
    }

    /// HAProxy's number: `srv_check_status` of `show servers state`.
    pub fn number(self) -> u8 {
        match self {
            CheckStatus::Unknown => 0,
            CheckStatus::Initializing => 1,
            CheckStatus::Checked => 3,
            CheckStatus::Analyze => 4,
            CheckStatus::SocketError => 5,
            CheckStatus::L4Ok => 6,
            CheckStatus::L4Timeout => 7,
            CheckStatus::L4Connect => 8,
            CheckStatus::L6Ok => 9,
            CheckStatus::L6Timeout => 10,
            CheckStatus::L6Response => 11,
            CheckStatus::L7Timeout => 12,
            CheckStatus::L7Response => 13,
            CheckStatus::L7Ok => 15,
            CheckStatus::L7OkConditional => 16,
            CheckStatus::L7Status => 17,
        }
    }

    /// Whether a check that ended so says anything about the server. One that could not be sent, because this process
    /// is out of descriptors or the trusted roots cannot be read, must not take servers down. HAProxy: `CHK_RES_UNKNOWN`.
    pub fn is_verdict(self) -> bool {
        !matches!(
            self,
            CheckStatus::Unknown | CheckStatus::Initializing | CheckStatus::Checked | CheckStatus::SocketError
        )
    }

    /// Whether layer 7 answered: then a code is shown, 0 for an agent's answer. HAProxy: `HCHK_STATUS_L57DATA`.
    pub fn has_code(self) -> bool {
        matches!(self, CheckStatus::L7Ok | CheckStatus::L7OkConditional | CheckStatus::L7Status)
    }

    /// Whether a check that ended so counts as a pass.
    pub fn passed(self) -> bool {
        matches!(self, CheckStatus::L4Ok | CheckStatus::L6Ok | CheckStatus::L7Ok | CheckStatus::L7OkConditional)
    }
}
