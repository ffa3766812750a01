//! The HTTP exchange of a check: one request, and as much of the answer as is needed to judge it.

use std::cell::Cell;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use regex::bytes::Regex;

use super::hyper_io::HyperIo;
use super::{Transport, Verdict, phrase};
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::health::{CheckStatus, HttpCheck};

/// Most of an answer's head that is read.
pub(super) const HEAD_MAX_BYTES: usize = 64 * 1024;

/// Most of a body that is searched.
pub(super) const BODY_MAX_BYTES: usize = 64 * 1024;

/// HAProxy's words for a body without the expected text.
const BODY_MISMATCH: &str = "HTTP content check did not match";

/// Sends the request of `check` over `transport` and judges the answer. `code` is set as soon as a status was read.
pub(super) async fn exchange(
    check: &HttpCheck,
    over_tls: bool,
    to: &ConnectTo,
    transport: Box<dyn Transport>,
    code: &Cell<Option<u16>>,
) -> Verdict {
    let request = match request(check, over_tls, to) {
        Ok(request) => request,
        Err(error) => {
            return Verdict::new(CheckStatus::SocketError, &format!("the request cannot be built ({error})"));
        }
    };
    let io = HyperIo::new(transport);
    let received = io.received();
    let bad = |error: &hyper::Error| {
        let text = explain(error, received.load(Ordering::Relaxed) > 0);
        Verdict { code: code.get(), ..Verdict::new(CheckStatus::L7Response, &text) }
    };

    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX_BYTES).title_case_headers(true).handshake(io).await;
    let (mut sender, connection) = match handshake {
        Ok(pair) => pair,
        Err(error) => return bad(&error),
    };
    let mut connection = pin!(connection);
    let mut failure = None;
    let response = match alongside(connection.as_mut(), &mut failure, sender.send_request(request)).await {
        Ok(response) => response,
        // When the request was merely cancelled, the connection knows why.
        Err(error) => return bad(failure.as_ref().filter(|_| error.is_canceled()).unwrap_or(&error)),
    };

    let status = response.status().as_u16();
    code.set(Some(status));
    let expected = match judge(check, status, &reason(&response)) {
        Ok(None) => return judge_body(None, status, &[]),
        Ok(expected) => expected,
        Err(verdict) => return verdict,
    };
    match alongside(connection.as_mut(), &mut failure, read_body(response.into_body())).await {
        Ok(body) => judge_body(expected, status, &body),
        Err(error) => bad(&error),
    }
}

/// Judges a status. `Ok` when it passes, with what the body must contain.
pub(super) fn judge<'c>(check: &'c HttpCheck, status: u16, reason: &str) -> Result<Option<&'c Regex>, Verdict> {
    if check.expect.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
        return Ok(check.body.as_ref());
    }
    let kind = match check.disable_on_404 && status == 404 {
        true => CheckStatus::L7OkConditional,
        false => CheckStatus::L7Status,
    };
    Err(Verdict { code: Some(status), ..Verdict::new(kind, reason) })
}

/// Judges the body of an answer whose status passes.
pub(super) fn judge_body(expected: Option<&Regex>, status: u16, body: &[u8]) -> Verdict {
    let (kind, text) = match expected {
        Some(expected) if !expected.is_match(body) => (CheckStatus::L7Status, BODY_MISMATCH),
        _ => (CheckStatus::L7Ok, ""),
    };
    Verdict { code: Some(status), ..Verdict::new(kind, text) }
}

fn request(check: &HttpCheck, over_tls: bool, to: &ConnectTo) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder().method(&*check.method).uri(&*check.path).body(Empty::new())?;
    let fields = request.headers_mut();
    set_fields(fields, &check.headers)?;
    if !fields.contains_key(HOST) {
        let host = match &check.host {
            Some(host) => host.to_string(),
            None => authority(over_tls, to),
        };
        fields.insert(HOST, HeaderValue::from_str(&host)?);
    }
    fields.entry(USER_AGENT).or_insert(HeaderValue::from_static("lockgate-health-check"));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// Puts in the fields of a check; one that is there already gives way.
pub(super) fn set_fields(fields: &mut HeaderMap, of_check: &[(Box<str>, Box<str>)]) -> Result<(), http::Error> {
    for (name, _) in of_check {
        fields.remove(HeaderName::from_bytes(name.as_bytes())?);
    }
    for (name, value) in of_check {
        fields.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(())
}

/// The server's address as a `Host` field, without the port when it is the scheme's own.
pub(super) fn authority(over_tls: bool, to: &ConnectTo) -> String {
    let usual = if over_tls { 443 } else { 80 };
    match to {
        ConnectTo::Ip(address) if address.port() != usual => address.to_string(),
        ConnectTo::Ip(address) if address.is_ipv6() => format!("[{}]", address.ip()),
        ConnectTo::Ip(address) => address.ip().to_string(),
        ConnectTo::Unix(_) => "localhost".to_owned(),
    }
}

/// Waits for `work` while the connection does what it needs. The connection's error goes to `failure`.
async fn alongside<T>(
    mut connection: impl Future<Output = hyper::Result<()>> + Unpin,
    failure: &mut Option<hyper::Error>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut over = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            ended = &mut connection, if !over => {
                over = true;
                *failure = ended.err();
            }
        }
    }
}

async fn read_body(mut body: Incoming) -> hyper::Result<Vec<u8>> {
    let mut read = Vec::new();
    while read.len() < BODY_MAX_BYTES {
        match body.frame().await {
            Some(frame) => {
                if let Ok(piece) = frame?.into_data() {
                    let room = BODY_MAX_BYTES - read.len();
                    read.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                }
            }
            None => break,
        }
    }
    Ok(read)
}

fn reason(response: &Response<Incoming>) -> String {
    match response.extensions().get::<ReasonPhrase>() {
        Some(sent) => String::from_utf8_lossy(sent.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or_default().to_owned(),
    }
}

fn explain(error: &hyper::Error, something_came: bool) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            // Whether the reset is met while reading or while writing is a matter of microseconds.
            return match error.kind() {
                io::ErrorKind::BrokenPipe => "Connection reset by peer".to_owned(),
                io::ErrorKind::UnexpectedEof => closed(something_came).to_owned(),
                _ => phrase(error),
            };
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        closed(something_came).to_owned()
    } else if error.is_parse_too_large() {
        "The head of the response is too large".to_owned()
    } else {
        "Not an HTTP/1 response".to_owned()
    }
}

pub(super) fn closed(something_came: bool) -> &'static str {
    if something_came {
        "Connection closed before the end of the response"
    } else {
        "Connection closed without a response"
    }
}
