//! Checks over HTTP/2: the request of an HTTP check, and a call of gRPC's health service.
//!
//! One request on a connection of its own, as over HTTP/1; what passes is judged by the same rules (`super::http`).

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};

use bytes::Bytes;
use h2::client::{self, Connection};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use http::uri::{Parts, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};

use super::http::{BODY_MAX_BYTES, HEAD_MAX_BYTES, authority, closed, judge, judge_body, set_fields};
use super::{Transport, Verdict, phrase};
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::health::grpc::{self, Serving};
use crate::core::health::{CheckStatus, GrpcCheck, HttpCheck};

/// Sends the request of `check` and judges the answer. `code` is set as soon as a status was read.
pub(super) async fn exchange(
    check: &HttpCheck,
    over_tls: bool,
    to: &ConnectTo,
    transport: Box<dyn Transport>,
    code: &Cell<Option<u16>>,
) -> Verdict {
    let host = check.host.as_deref().map_or_else(|| authority(over_tls, to), str::to_owned);
    let request = Method::from_bytes(check.method.as_bytes()).map_err(http::Error::from).and_then(|method| {
        let mut request = request(method, over_tls, &host, &check.path)?;
        set_fields(request.headers_mut(), &check.headers)?;
        Ok(request)
    });
    let request = match request {
        Ok(request) => request,
        Err(error) => return unsendable(&error),
    };
    let (mut call, answer) = match Call::begin(transport, request, Bytes::new()).await {
        Ok(begun) => begun,
        Err(error) => return bad(&error, code),
    };
    let status = answer.status();
    code.set(Some(status.as_u16()));
    let expected = match judge(check, status.as_u16(), status.canonical_reason().unwrap_or_default()) {
        Ok(None) => return judge_body(None, status.as_u16(), &[]),
        Ok(expected) => expected,
        Err(verdict) => return verdict,
    };
    match call.read(answer.into_body(), BODY_MAX_BYTES).await {
        Ok((body, _)) => judge_body(expected, status.as_u16(), &body),
        Err(error) => bad(&error, code),
    }
}

/// Calls the health service and judges what it says.
pub(super) async fn call_health(
    check: &GrpcCheck,
    over_tls: bool,
    to: &ConnectTo,
    transport: Box<dyn Transport>,
    code: &Cell<Option<u16>>,
) -> Verdict {
    let host = check.host.as_deref().map_or_else(|| authority(over_tls, to), str::to_owned);
    let request = request(Method::POST, over_tls, &host, "/grpc.health.v1.Health/Check").map(|mut request| {
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        request
    });
    let request = match request {
        Ok(request) => request,
        Err(error) => return unsendable(&error),
    };
    let (mut call, answer) = match Call::begin(transport, request, grpc::request(&check.service).into()).await {
        Ok(begun) => begun,
        Err(error) => return bad(&error, code),
    };
    let status = answer.status().as_u16();
    code.set(Some(status));
    let verdict = |kind, text: &str| Verdict { code: Some(status), ..Verdict::new(kind, text) };
    if status != 200 {
        return verdict(CheckStatus::L7Status, answer.status().canonical_reason().unwrap_or_default());
    }
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if !answer.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        return verdict(CheckStatus::L7Response, "Not a gRPC response");
    }
    let (head, body) = answer.into_parts();
    let (message, trailers) = match call.read(body, grpc::ANSWER_MAX_BYTES).await {
        Ok(read) => read,
        Err(error) => return bad(&error, code),
    };
    // Without a message the status stands in the head (gRPC's trailers-only answers).
    let said = trailers.get("grpc-status").map(|status| (status, trailers.get("grpc-message")));
    let said = said.or_else(|| head.headers.get("grpc-status").map(|s| (s, head.headers.get("grpc-message"))));
    let Some((said, message_of)) = said else {
        return verdict(CheckStatus::L7Response, "No grpc-status in the response");
    };
    match said.to_str().ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(0) => match grpc::answer(&message) {
            Some(Serving::Serving) => verdict(CheckStatus::L7Ok, ""),
            Some(other) => verdict(CheckStatus::L7Status, other.word()),
            None => verdict(CheckStatus::L7Response, "Not a response of the health service"),
        },
        Some(number) => {
            let why = message_of.map(|m| String::from_utf8_lossy(m.as_bytes()).into_owned());
            let why = why.filter(|why| !why.is_empty()).map_or_else(String::new, |why| format!(": {why}"));
            verdict(CheckStatus::L7Status, &format!("grpc-status {number} {}{why}", grpc::status_name(number)))
        }
        None => verdict(CheckStatus::L7Response, "grpc-status is not a number"),
    }
}

fn request(method: Method, over_tls: bool, host: &str, path: &str) -> Result<Request<()>, http::Error> {
    let mut parts = Parts::default();
    parts.scheme = Some(if over_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(host.parse()?);
    parts.path_and_query = Some(path.parse::<PathAndQuery>()?);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(parts)?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("lockgate-health-check"));
    Ok(request)
}

/// A request on its connection, which has to be kept going while anything is awaited.
struct Call {
    connection: Pin<Box<Connection<Box<dyn Transport>, Bytes>>>,
    over: bool,
}

impl Call {
    /// Sends a request with its body and waits for the head of the answer.
    async fn begin(
        transport: Box<dyn Transport>,
        request: Request<()>,
        body: Bytes,
    ) -> Result<(Call, Response<RecvStream>), h2::Error> {
        let (sender, connection) = client::Builder::new()
            .enable_push(false)
            .max_header_list_size(HEAD_MAX_BYTES as u32)
            .handshake::<_, Bytes>(transport)
            .await?;
        let mut call = Call { connection: Box::pin(connection), over: false };
        let mut sender = call.alongside(sender.ready()).await?;
        let (answer, mut send) = sender.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            // A few bytes: within every window, and kept by the library until they may go.
            send.send_data(body, true)?;
        }
        let answer = call.alongside(answer).await?;
        Ok((call, answer))
    }

    /// The body up to so many bytes, and the fields behind it.
    async fn read(&mut self, mut body: RecvStream, most: usize) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
        self.alongside(async move {
            let mut read = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    // The server has said all and asks for no more of the request (RFC 9113 section 8.1).
                    Err(error) if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) => break,
                    Err(error) => return Err(error),
                };
                let room = most - read.len();
                read.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                if read.len() == most {
                    return Ok((read, HeaderMap::new()));
                }
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let trailers = body.trailers().await?.unwrap_or_default();
            Ok((read, trailers))
        })
        .await
    }

    /// Waits for `work` while the connection does what it needs.
    async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = &mut self.connection, if !self.over => self.over = true,
            }
        }
    }
}

fn unsendable(error: &http::Error) -> Verdict {
    Verdict::new(CheckStatus::SocketError, &format!("the request cannot be built ({error})"))
}

fn bad(error: &h2::Error, code: &Cell<Option<u16>>) -> Verdict {
    let text = match (error.get_io(), error.reason()) {
        (Some(io), _) if io.raw_os_error().is_some() => phrase(io),
        (Some(_), _) => closed(code.get().is_some()).to_owned(),
        (None, Some(reason)) if error.is_remote() && error.is_go_away() => {
            format!("The server closed the connection ({})", name(reason))
        }
        (None, Some(reason)) if error.is_remote() => format!("The server reset the stream ({})", name(reason)),
        _ => "Not an HTTP/2 response".to_owned(),
    };
    Verdict { code: code.get(), ..Verdict::new(CheckStatus::L7Response, &text) }
}

/// A code's name in RFC 9113 section 7.
fn name(reason: Reason) -> String {
    let debug = format!("{reason:?}");
    if debug.starts_with("Reason(") { format!("code {}", u32::from(reason)) } else { debug }
}
