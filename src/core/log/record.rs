//! What is known of a request when it ends. The formats beside this file only lay it out.

use std::net::SocketAddr;

use super::format::LogFormat;
use crate::core::fleet::mode::Mode;
use crate::core::proxy_protocol::Tlvs;
use crate::core::tls::TlsFacts;

/// One finished request (or a connection that never became one, or a session in TCP mode). Borrowed: it lives for the
/// time of formatting.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// What the frontend understands: in TCP mode `httplog` is written as `tcplog`, as HAProxy does.
    pub mode: Mode,
    /// The client's address as logged (after trusted forwarding fields were applied). `None` for unix sockets.
    pub client: Option<SocketAddr>,
    /// First byte of the request (or accept, without one), microseconds since the Unix epoch.
    pub accepted_us: u64,
    /// The frontend.
    pub frontend: &'a str,
    /// Whether the client side was TLS: `~` behind the frontend's name.
    pub tls: bool,
    /// The backend; `None` before one was chosen (the frontend's name is shown then).
    pub backend: Option<&'a str>,
    /// The server; `None` shows `<NOSRV>`.
    pub server: Option<&'a str>,
    /// The timers.
    pub timers: Timers,
    /// Status sent to the client; `None` shows -1.
    pub status: Option<u16>,
    /// Bytes sent to the client, head included.
    pub bytes_out: u64,
    /// Bytes received from the client, head included.
    pub bytes_in: u64,
    /// Captured request cookie; `None` shows `-`.
    pub request_cookie: Option<&'a [u8]>,
    /// Captured response cookie; `None` shows `-`.
    pub response_cookie: Option<&'a [u8]>,
    /// Termination state and persistence flags, four letters.
    pub termination: [u8; 4],
    /// Connections: process, frontend, backend, server.
    pub connections: ConnectionCounts,
    /// Retries.
    pub retries: u32,
    /// Whether the request went to another server than first picked: `+` before the retries.
    pub redispatched: bool,
    /// Requests ahead in the server's queue when this one joined it.
    pub server_queue: u32,
    /// Requests ahead in the backend's queue when this one joined it.
    pub backend_queue: u32,
    /// Captured request fields in order; `None` leaves the block out. Values are already cut to their length.
    pub request_captures: Option<&'a [CapturedValue]>,
    /// Captured response fields in order; `None` leaves the block out.
    pub response_captures: Option<&'a [CapturedValue]>,
    /// Names of the captures, for formats that show them (JSON).
    pub capture_names: &'a crate::core::filter::CaptureSpec,
    /// The request line as received, or `None` for `<BADREQ>`.
    pub request: Option<RequestLine<'a>>,
    /// The request id, if there is one.
    pub request_id: Option<&'a [u8]>,
    /// Why the request ended as it did, in words, if not normally. For JSON only.
    pub reason: Option<&'a str>,
    /// The name of the rate limit that refused it or, in a dry run, would have.
    pub limited_by: Option<&'a str>,
    /// Client address of the connection itself, if a trusted proxy named another one.
    pub peer: Option<SocketAddr>,
    /// Syslog severity of the line.
    pub severity: u8,
    /// The frontend's own format, if it has one; the target's otherwise.
    pub format: Option<&'a LogFormat>,
    /// The line may be written before the answer's end: times and bytes that still grow are marked `+`.
    pub asap: bool,
    /// What the connection's PROXY header said besides addresses.
    pub announced: Option<&'a Tlvs>,
    /// The client's TLS, if the format wants to know.
    pub tls_session: Option<&'a TlsFacts>,
    /// The address the client connected to, if the format wants to know.
    pub frontend_address: Option<SocketAddr>,
    /// Our own address of the connection to the server, likewise.
    pub server_source: Option<SocketAddr>,
    /// The server's address, likewise.
    pub server_address: Option<SocketAddr>,
    /// The number of this request in the process, likewise.
    pub request_counter: u32,
    /// The number of this line in the frontend, likewise.
    pub log_counter: u32,
}

/// A captured value; empty when the field was absent.
pub type CapturedValue = smallvec::SmallVec<[u8; 32]>;

/// The request line's three parts, as received.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// `GET`
    pub method: &'a [u8],
    /// The request target.
    pub target: &'a [u8],
    /// `HTTP/1.1`
    pub version: &'a str,
}

/// HAProxy's timers in milliseconds; `None` (-1) when the stage was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// `Th`: accept to handshakes done; 0 from a connection's second request on.
    pub handshake: Option<u32>,
    /// `Ti`: idle before the request's first byte.
    pub idle: Option<u32>,
    /// `TR`: first byte to end of head.
    pub request: Option<u32>,
    /// `Tw`: in queues.
    pub queue: Option<u32>,
    /// `Tc`: connecting to the server.
    pub connect: Option<u32>,
    /// `Tr`: connected to end of the answer's head.
    pub response: Option<u32>,
    /// `Ta`: first byte of the request to last byte of the answer. Never absent.
    pub active: u32,
}

/// Connections at the end of the request, itself included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// In the process.
    pub process: u32,
    /// In the frontend.
    pub frontend: u32,
    /// In the backend.
    pub backend: u32,
    /// At the server.
    pub server: u32,
}
