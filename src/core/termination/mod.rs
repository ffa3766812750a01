//! What an end does: status, log flags and counters, in one table. Whether it is tried again is in [`retry`].
//!
//! HAProxy configuration manual, 8.5 "Session state at disconnection".

pub mod retry;

/// How far a request had come. The second letter of the termination state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// `R`: its head was not complete.
    Request,
    /// `Q`: it waited for a server.
    Queue,
    /// `C`: a connection was being made.
    Connect,
    /// `H`: it was (being) sent, the answer's head was awaited.
    Headers,
    /// `D`: the answer's body was on its way.
    Data,
}

impl Phase {
    fn letter(self) -> u8 {
        match self {
            Phase::Request => b'R',
            Phase::Queue => b'Q',
            Phase::Connect => b'C',
            Phase::Headers => b'H',
            Phase::Data => b'D',
        }
    }
}

/// What put an end to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Everything was sent.
    Done,
    /// The client closed.
    ClientClosed,
    /// The client's connection broke (reset).
    ClientReset,
    /// The client was too slow.
    ClientTimeout,
    /// The client sent what is not HTTP, with the status that says so.
    BadRequest(u16),
    /// A rule or limit refused it, with the status it gives.
    Denied(u16),
    /// Held back, then refused.
    Tarpitted,
    /// Answered here by a rule: redirects, fixed answers, no route.
    Local(u16),
    /// No server is usable, or the backend is in maintenance.
    NoServer,
    /// Too many wait already.
    QueueFull,
    /// It waited too long for a server.
    QueueTimeout,
    /// The server refused the connection.
    ServerRefused,
    /// The TLS handshake with the server failed.
    ServerTls,
    /// The server did not take the connection in time.
    ConnectTimeout,
    /// The server closed or reset before the end of what it owed.
    ServerClosed,
    /// The server was too slow.
    ServerTimeout,
    /// The server sent what is not HTTP.
    BadAnswer,
    /// The server went down and its requests were ended.
    ServerDown,
    /// An operator ended it.
    Killed,
    /// This process is stopping.
    Stopping,
    /// Out of descriptors, ports or memory.
    Exhausted,
    /// A fault of our own.
    Internal,
}

/// What follows from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination {
    /// Status for the client, if none was sent yet; `None`: it gets nothing and the log shows -1.
    pub status: Option<u16>,
    /// Whether the client is still there to be told.
    pub answer: bool,
    /// First two letters of the termination state.
    pub flags: [u8; 2],
}

/// The table.
pub fn judge(cause: Cause, phase: Phase) -> Termination {
    let p = phase.letter();
    let end = |status: u16, flags: [u8; 2]| Termination { status: Some(status), answer: true, flags };
    let gone = |status: Option<u16>, flags: [u8; 2]| Termination { status, answer: false, flags };
    match (cause, phase) {
        (Cause::Done, _) => Termination { status: None, answer: false, flags: *b"--" },
        (Cause::ClientClosed, Phase::Queue) => gone(None, *b"CQ"),
        (Cause::ClientClosed, Phase::Request | Phase::Connect | Phase::Headers) => gone(Some(400), [b'C', p]),
        (Cause::ClientClosed, Phase::Data) => gone(Some(400), *b"CD"),
        (Cause::ClientReset, Phase::Queue) => gone(None, *b"CQ"),
        (Cause::ClientReset, Phase::Request) => gone(Some(400), *b"CR"),
        (Cause::ClientReset, Phase::Connect) => gone(Some(400), *b"CC"),
        (Cause::ClientReset, Phase::Headers | Phase::Data) => gone(Some(400), *b"CD"),
        (Cause::ClientTimeout, Phase::Request) => end(408, *b"cR"),
        (Cause::ClientTimeout, Phase::Headers) => end(400, *b"cH"),
        (Cause::ClientTimeout, Phase::Queue | Phase::Connect | Phase::Data) => gone(Some(408), [b'c', p]),
        (Cause::BadRequest(status), _) => end(status, *b"PR"),
        (Cause::Denied(status), _) => end(status, *b"PR"),
        (Cause::Tarpitted, _) => end(500, *b"PR"),
        (Cause::Local(status), _) => end(status, *b"LR"),
        (Cause::NoServer, _) => end(503, *b"SC"),
        (Cause::QueueFull, _) => end(503, *b"SQ"),
        (Cause::QueueTimeout, _) => end(503, *b"sQ"),
        (Cause::ServerRefused | Cause::ServerTls, _) => end(503, *b"SC"),
        (Cause::ConnectTimeout, _) => end(503, *b"sC"),
        (Cause::ServerClosed, _) => end(502, [b'S', p]),
        (Cause::ServerTimeout, _) => end(504, [b's', p]),
        (Cause::BadAnswer, _) => end(502, [b'P', p]),
        (Cause::ServerDown, _) => end(502, [b'D', p]),
        (Cause::Killed, _) => end(502, [b'K', p]),
        (Cause::Stopping, _) => end(503, [b'K', p]),
        (Cause::Exhausted, _) => end(503, [b'R', p]),
        (Cause::Internal, _) => end(500, [b'I', p]),
    }
}

/// What went wrong, in words, for the JSON log.
pub fn reason(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Done => return None,
        Cause::ClientClosed => "client closed",
        Cause::ClientReset => "client reset the connection",
        Cause::ClientTimeout => "client timeout",
        Cause::BadRequest(_) => "bad request",
        Cause::Denied(_) => "denied",
        Cause::Tarpitted => "tarpitted",
        Cause::Local(_) => return None,
        Cause::NoServer => "no server is usable",
        Cause::QueueFull => "queue full",
        Cause::QueueTimeout => "queue timeout",
        Cause::ServerRefused => "server refused the connection",
        Cause::ServerTls => "TLS handshake with the server failed",
        Cause::ConnectTimeout => "connect timeout",
        Cause::ServerClosed => "server closed the connection",
        Cause::ServerTimeout => "server timeout",
        Cause::BadAnswer => "bad answer from the server",
        Cause::ServerDown => "server went down",
        Cause::Killed => "ended by an operator",
        Cause::Stopping => "stopping",
        Cause::Exhausted => "out of resources",
        Cause::Internal => "internal error",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of HAProxy's own log, recorded from 2.8.
    #[test]
    fn ends_are_logged_as_haproxy_logs_them() {
        let check = |cause, phase, status: Option<u16>, flags: &str| {
            let t = judge(cause, phase);
            assert_eq!((t.status, std::str::from_utf8(&t.flags)), (status, Ok(flags)), "{cause:?} in {phase:?}");
        };
        check(Cause::ClientClosed, Phase::Request, Some(400), "CR");
        check(Cause::ClientTimeout, Phase::Request, Some(408), "cR");
        check(Cause::ClientReset, Phase::Headers, Some(400), "CD");
        check(Cause::ClientClosed, Phase::Headers, Some(400), "CH");
        check(Cause::ClientTimeout, Phase::Headers, Some(400), "cH");
        check(Cause::ServerClosed, Phase::Headers, Some(502), "SH");
        check(Cause::ServerClosed, Phase::Data, Some(502), "SD");
        check(Cause::ServerTimeout, Phase::Headers, Some(504), "sH");
        check(Cause::ServerTimeout, Phase::Data, Some(504), "sD");
        check(Cause::BadAnswer, Phase::Headers, Some(502), "PH");
        check(Cause::ServerRefused, Phase::Connect, Some(503), "SC");
        check(Cause::ServerTls, Phase::Connect, Some(503), "SC");
        check(Cause::ConnectTimeout, Phase::Connect, Some(503), "sC");
        check(Cause::QueueTimeout, Phase::Queue, Some(503), "sQ");
        check(Cause::ClientClosed, Phase::Queue, None, "CQ");
        check(Cause::Denied(429), Phase::Request, Some(429), "PR");
        check(Cause::Tarpitted, Phase::Request, Some(500), "PR");
        check(Cause::NoServer, Phase::Queue, Some(503), "SC");
        check(Cause::BadRequest(400), Phase::Request, Some(400), "PR");
        check(Cause::Local(302), Phase::Request, Some(302), "LR");
        check(Cause::Killed, Phase::Headers, Some(502), "KH");
        check(Cause::ServerDown, Phase::Headers, Some(502), "DH");
    }
}
