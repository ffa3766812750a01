//! Probing servers: one check asked over the wire, and what came of it as a value.
//!
//! [`probe`] connects, does the TLS handshake if the check asks for one, sends one HTTP request or gRPC call if the check
//! has one, and reads no more of the answer than it has to judge. It never follows a redirect and never reuses a
//! connection. [`agent`] asks an agent. When a check is due, and how results move a server's state, is decided in `core`; this room runs on the
//! control thread, where tasks are local.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, UnixStream};

use crate::core::fleet::snapshot::ConnectTo;
use crate::core::health::{CheckKind, CheckOutcome, CheckSpec, CheckStatus};
use crate::core::tls::ServerTls;
use crate::runtime::clock;
use crate::tls::{Connectors, verifier};

pub mod agent;
mod http;
mod http2;
pub mod hyper_io;

#[cfg(test)]
mod tests;

/// Longest text kept of a result, in characters.
const TEXT_MAX_CHARS: usize = 120;

/// Does one check of the server at `to` (check address and port already applied), within `check.timeout`.
pub async fn probe(check: &CheckSpec, to: &ConnectTo, connectors: &Connectors) -> CheckOutcome {
    let start = clock::now();
    let progress = Progress { layer: Cell::new(Layer::Connection), code: Cell::new(None) };
    let verdict = match tokio::time::timeout(check.timeout, attempt(check, to, connectors, &progress)).await {
        Ok(verdict) => verdict,
        Err(_) => progress.timed_out(),
    };
    CheckOutcome {
        status: verdict.status,
        code: verdict.code,
        duration: clock::now().saturating_duration_since(start),
        text: verdict.text,
    }
}

/// What a check came to; [`CheckOutcome`] without the time.
#[derive(Debug)]
struct Verdict {
    status: CheckStatus,
    code: Option<u16>,
    text: Box<str>,
}

/// How far a check has come, for the verdict when its time runs out.
struct Progress {
    layer: Cell<Layer>,
    code: Cell<Option<u16>>,
}

#[derive(Clone, Copy)]
enum Layer {
    Connection,
    Handshake,
    Exchange,
}

impl Verdict {
    fn new(status: CheckStatus, text: &str) -> Verdict {
        Verdict { status, code: None, text: printable(text) }
    }
}

impl Progress {
    fn timed_out(&self) -> Verdict {
        let status = match self.layer.get() {
            Layer::Connection => CheckStatus::L4Timeout,
            Layer::Handshake => CheckStatus::L6Timeout,
            Layer::Exchange => CheckStatus::L7Timeout,
        };
        Verdict { status, code: self.code.get(), text: "".into() }
    }
}

/// A connection to a server, whatever it is made of.
trait Transport: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

async fn attempt(check: &CheckSpec, to: &ConnectTo, connectors: &Connectors, progress: &Progress) -> Verdict {
    let mut transport = match connect(check, to).await {
        Ok(transport) => transport,
        Err(verdict) => return verdict,
    };
    if let Some(tls) = &check.tls {
        progress.layer.set(Layer::Handshake);
        transport = match shake_hands(tls, connectors, transport).await {
            Ok(transport) => transport,
            Err(verdict) => return verdict,
        };
    }
    match &check.kind {
        CheckKind::Tcp if check.tls.is_some() => Verdict::new(CheckStatus::L6Ok, ""),
        CheckKind::Tcp => Verdict::new(CheckStatus::L4Ok, ""),
        CheckKind::Http(request) => {
            progress.layer.set(Layer::Exchange);
            let over_tls = check.tls.is_some();
            match request.h2 {
                false => http::exchange(request, over_tls, to, transport, &progress.code).await,
                true => http2::exchange(request, over_tls, to, transport, &progress.code).await,
            }
        }
        CheckKind::Grpc(call) => {
            progress.layer.set(Layer::Exchange);
            http2::call_health(call, check.tls.is_some(), to, transport, &progress.code).await
        }
    }
}

async fn connect(check: &CheckSpec, to: &ConnectTo) -> Result<Box<dyn Transport>, Verdict> {
    let refused = |error: io::Error| {
        let status = if is_ours(&error) { CheckStatus::SocketError } else { CheckStatus::L4Connect };
        Verdict::new(status, &phrase(&error))
    };
    match to {
        ConnectTo::Ip(address) => {
            let socket = match address.ip() {
                IpAddr::V4(_) => TcpSocket::new_v4(),
                IpAddr::V6(_) => TcpSocket::new_v6(),
            };
            let stream = socket.map_err(refused)?.connect(*address).await.map_err(refused)?;
            if check.kind == CheckKind::Tcp {
                // Nothing was said, so nothing is lost by closing with a reset; it leaves no TIME_WAIT behind.
                // HAProxy does the same. Failing to set it changes nothing about the result.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
        ConnectTo::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(refused)?)),
    }
}

/// Whether this process lacks what it needs for a connection: descriptors, memory, local ports. The server is not to
/// blame.
fn is_ours(error: &io::Error) -> bool {
    let raw = error.raw_os_error();
    matches!(raw, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL))
}

async fn shake_hands(
    tls: &Arc<ServerTls>,
    connectors: &Connectors,
    transport: Box<dyn Transport>,
) -> Result<Box<dyn Transport>, Verdict> {
    let connector = connectors.get(tls, clock::now());
    let connector = connector.map_err(|error| Verdict::new(CheckStatus::SocketError, &error.to_string()))?;
    match connector.connect_afresh(transport).await {
        Ok(stream) if tls.speaks_h2() && stream.get_ref().1.alpn_protocol() != Some(b"h2") => {
            Err(Verdict::new(CheckStatus::L6Response, "the server does not offer HTTP/2 (ALPN `h2`)"))
        }
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Verdict::new(CheckStatus::L6Response, &verifier::sentence(&error))),
    }
}

/// The system's words for an error, without the number: `Connection refused`.
fn phrase(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((phrase, _)) if error.raw_os_error().is_some() => phrase.to_owned(),
        _ => text,
    }
}

/// Text fit for a log line and a CSV cell: no control characters, not overlong.
fn printable(text: &str) -> Box<str> {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX_CHARS).collect::<String>().into()
}
