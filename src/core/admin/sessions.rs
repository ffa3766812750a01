//! `show sess`: the streams that are being served, as lines like HAProxy's.
//!
//! What HAProxy tells of its inner flags, tasks and buffers stands here as constants: lockgate has none of them, and
//! scripts read the fields before them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use super::captured::stamp;
use super::command::StreamQuery;
use super::texts;
use crate::core::fleet::Refusal;

/// One stream, as its worker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    /// Its identity, unique in the process and not 0; shown as HAProxy shows a pointer.
    pub id: u64,
    /// When it began.
    pub began_at: SystemTime,
    /// How long ago that was.
    pub age: Duration,
    /// The client; `None` on a unix socket.
    pub source: Option<SocketAddr>,
    /// Where the client connected to; `None` on a unix socket.
    pub destination: Option<SocketAddr>,
    /// The client side is TLS.
    pub tls: bool,
    /// The client speaks HTTP/2.
    pub http2: bool,
    /// Mistakes of an HTTP/2 client on its connection.
    pub glitches: u32,
    /// The frontend and its `iid`.
    pub frontend: (Box<str>, u32),
    /// The backend and its `iid`, once one was chosen.
    pub backend: Option<(Box<str>, u32)>,
    /// The server and its `sid`, once one was chosen.
    pub server: Option<(Box<str>, u32)>,
    /// The server's address.
    pub server_address: Option<SocketAddr>,
    /// Requests on this connection so far.
    pub requests: u32,
    /// Connection retries so far.
    pub retries: u32,
    /// What it is doing.
    pub state: StreamState,
    /// Until the client side times out.
    pub client_expires_in: Option<Duration>,
    /// Until the server side times out.
    pub server_expires_in: Option<Duration>,
    /// Bytes from the client so far.
    pub bytes_in: u64,
    /// Bytes to the client so far.
    pub bytes_out: u64,
    /// Method and target, cut to a bearable length; empty before the head is read.
    pub request: Box<str>,
}

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// Waiting for a request's head.
    Request,
    /// Held because of a limit.
    Tarpit,
    /// Waiting for a server.
    Queue,
    /// Connecting to a server.
    Connect,
    /// Waiting for the answer's head.
    Response,
    /// Passing the answer on.
    Transfer,
    /// Upgraded: bytes in both directions.
    Tunnel,
}

impl StreamState {
    fn word(self) -> &'static str {
        match self {
            StreamState::Request => "request",
            StreamState::Tarpit => "tarpit",
            StreamState::Queue => "queue",
            StreamState::Connect => "connect",
            StreamState::Response => "response",
            StreamState::Transfer => "transfer",
            StreamState::Tunnel => "tunnel",
        }
    }
}

impl StreamState {
    /// HAProxy's words for how far the request and the response are.
    fn messages(self) -> (&'static str, &'static str) {
        match self {
            StreamState::Request => ("MSG_RQBEFORE", "MSG_RPBEFORE"),
            StreamState::Tarpit | StreamState::Queue | StreamState::Connect | StreamState::Response => {
                ("MSG_DONE", "MSG_RPBEFORE")
            }
            StreamState::Transfer => ("MSG_DONE", "MSG_DATA"),
            StreamState::Tunnel => ("MSG_TUNNEL", "MSG_TUNNEL"),
        }
    }
}

impl StreamRow {
    /// Until something times out.
    fn expires_in(&self) -> Option<Duration> {
        [self.client_expires_in, self.server_expires_in].into_iter().flatten().min()
    }

    /// Requests per second over the connection's life, which counts as at least a second.
    fn rate(&self) -> u64 {
        u64::from(self.requests) / self.age.as_secs().max(1)
    }
}

/// The reply to `show sess`.
pub fn render(query: StreamQuery, streams: &[StreamRow], zone: &TimeZone) -> Result<String, Refusal> {
    let mut out = String::new();
    match query {
        StreamQuery::List => streams.iter().try_for_each(|s| write_line(s, &mut out)),
        StreamQuery::All => streams.iter().try_for_each(|s| write_full(s, zone, &mut out)),
        StreamQuery::One(id) => match streams.iter().find(|s| s.id == id) {
            Some(stream) => write_full(stream, zone, &mut out),
            None => return Err(Refusal(texts::SESSION_NOT_FOUND.to_owned())),
        },
    }
    .expect("writing to a String cannot fail");
    Ok(out)
}

fn write_line(stream: &StreamRow, out: &mut String) -> std::fmt::Result {
    let name = |part: &Option<(Box<str>, u32)>, none: &str| part.as_ref().map_or(none.to_owned(), |p| p.0.to_string());
    let expires = stream.expires_in();
    let left = |time: Option<Duration>| time.map(human_time).unwrap_or_default();
    write!(out, "0x{:x}: proto={} src={} ", stream.id, protocol(stream.source), peer(stream.source))?;
    write!(out, "fe={} be={} ", stream.frontend.0, name(&stream.backend, "<NONE>"))?;
    write!(out, "srv={} ts=00 epoch=0 age={} ", name(&stream.server, "<none>"), human_time(stream.age))?;
    write!(out, "calls={} rate={} cpu=0 lat=0 ", stream.requests, stream.rate())?;
    write!(out, "rq[f=0h,i=0,an=00h,ax=] rp[f=0h,i=0,an=00h,ax=] ")?;
    write!(out, "scf=[8,0h,fd=-1,rex={},wex=] ", left(stream.client_expires_in))?;
    write!(out, "scb=[8,0h,fd=-1,rex={},wex=] ", left(stream.server_expires_in))?;
    writeln!(out, "exp={} rc={} c_exp=", left(expires), stream.retries)
}

fn write_full(stream: &StreamRow, zone: &TimeZone, out: &mut String) -> std::fmt::Result {
    let id = stream.id;
    write!(out, "0x{id:x}: [{}] id={} ", stamp(stream.began_at, zone, 6), id & 0xff_ffff_ffff)?;
    writeln!(out, "proto={} source={}", protocol(stream.source), peer(stream.source))?;
    writeln!(
        out,
        "  flags=0x0, conn_retries={}, conn_exp=<NEVER> conn_et=0x000 srv_conn={}, pend_pos=(nil) waiting={} epoch=0",
        stream.retries,
        if stream.server.is_some() { format!("0x{id:x}") } else { "(nil)".to_owned() },
        u32::from(stream.state == StreamState::Queue),
    )?;
    write_places(stream, out)?;
    let expires = stream.expires_in().map_or_else(|| "<NEVER>".to_owned(), human_time);
    write!(out, "  task=0x{id:x} (state=0x00 nice=0 calls={} rate={} ", stream.requests, stream.rate())?;
    writeln!(out, "exp={expires} tid={}(1/0) age={})", (id >> 40).saturating_sub(1), human_time(stream.age))?;
    if stream.backend.is_some() || !stream.request.is_empty() {
        let (request, response) = stream.state.messages();
        let method = method_number(stream.request.split(' ').next().unwrap_or_default());
        writeln!(
            out,
            "  txn=0x{id:x} flags=0x0 meth={method} status=-1 req.st={request} rsp.st={response} req.f=0x00 rsp.f=0x00"
        )?;
    }
    let mux = if stream.http2 { "H2" } else { "H1" };
    let client = (protocol(stream.source), if stream.tls { "SSL" } else { "RAW" }, mux);
    write_side(("scf", "co0", "LISTENER"), id, Some(client), stream.client_expires_in, out)?;
    let server = stream.server.as_ref().map(|_| (protocol(stream.server_address), "RAW", "H1"));
    write_side(("scb", "co1", "SERVER"), id, server, stream.server_expires_in, out)?;
    for (name, total) in [("req", stream.bytes_in), ("res", stream.bytes_out)] {
        writeln!(out, "  {name}=0x{id:x} (f=0x0 an=0x0 pipe=0 tofwd=0 total={total})")?;
        writeln!(out, "      an_exp=<NEVER> buf=0x{id:x} data=(nil) o=0 p=0 i=0 size=0")?;
    }
    let request: String = stream.request.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // What HAProxy does not tell, and what one most wants to know.
    write!(out, "  request=\"{request}\" doing={}", stream.state.word())?;
    if stream.glitches > 0 {
        write!(out, " glitches={}", stream.glitches)?;
    }
    writeln!(out)
}

/// Where it came in, and where it goes.
fn write_places(stream: &StreamRow, out: &mut String) -> std::fmt::Result {
    let (name, iid) = &stream.frontend;
    writeln!(out, "  frontend={name} (id={iid} mode=http), listener=? (id=1) addr={}", peer(stream.destination))?;
    match &stream.backend {
        Some((name, iid)) => writeln!(out, "  backend={name} (id={iid} mode=http)")?,
        None => writeln!(out, "  backend=<NONE> (id=-1 mode=-)")?,
    }
    match &stream.server {
        Some((name, sid)) => writeln!(out, "  server={name} (id={sid}) addr={}", peer(stream.server_address)),
        None => writeln!(out, "  server=<NONE> (id=-1)"),
    }
}

/// One end of a stream: its names, its protocol and transport if there is a connection, and when it times out.
fn write_side(
    (name, connection, target): (&str, &str, &str),
    id: u64,
    over: Option<(&str, &str, &str)>,
    expires: Option<Duration>,
    out: &mut String,
) -> std::fmt::Result {
    let expires = expires.map_or_else(|| "<NEVER>".to_owned(), human_time);
    let Some((protocol, transport, mux)) = over else {
        return writeln!(
            out,
            "  {name}=0x{id:x} flags=0x0 state=INI endp=NONE,(nil),0x0 sub=0 rex={expires} wex=<NEVER>"
        );
    };
    writeln!(out, "  {name}=0x{id:x} flags=0x0 state=EST endp=CONN,0x{id:x},0x0 sub=1 rex={expires} wex=<NEVER>")?;
    write!(out, "      {connection}=0x{id:x} ctrl={protocol} xprt={transport} mux={mux} data=STRM ")?;
    writeln!(out, "target={target}:0x{id:x}")?;
    writeln!(out, "      flags=0x0 fd=-1 fd.state=0 updt=0 fd.tmask=0x0")
}

/// HAProxy's number of a method (`meth=`).
fn method_number(method: &str) -> usize {
    let methods = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"];
    methods.iter().position(|m| *m == method).unwrap_or(methods.len())
}

fn protocol(address: Option<SocketAddr>) -> &'static str {
    match address {
        Some(SocketAddr::V4(_)) => "tcpv4",
        Some(SocketAddr::V6(_)) => "tcpv6",
        None => "unix_stream",
    }
}

/// `127.0.0.1:80`, `::1:80` or `unix:1`, as HAProxy writes them here.
pub(super) fn peer(address: Option<SocketAddr>) -> String {
    match address {
        Some(address) => format!("{}:{}", address.ip(), address.port()),
        None => "unix:1".to_owned(),
    }
}

/// The two largest units: `9s`, `1m`, `1m5s`, `2h30m`, `1d`.
fn human_time(time: Duration) -> String {
    let s = time.as_secs();
    let (large, small) = match s {
        86400.. => ((s / 86400, 'd'), (s / 3600 % 24, 'h')),
        3600.. => ((s / 3600, 'h'), (s / 60 % 60, 'm')),
        60.. => ((s / 60, 'm'), (s % 60, 's')),
        _ => ((s, 's'), (0, ' ')),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        n => format!("{}{}{n}{}", large.0, large.1, small.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (s, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (65, "1m5s"),
            (3600, "1h"),
            (9000, "2h30m"),
            (86400, "1d"),
            (90000, "1d1h"),
        ] {
            assert_eq!(human_time(Duration::from_secs(s)), text);
        }
    }
}
