//! Heads on their way to and from servers that speak HTTP/2 (RFC 9113): a request's [`Head`] becomes pseudo-fields and
//! lower-case fields, an answer's fields become a [`Head`].
//!
//! The other direction, requests that clients send over HTTP/2, is not here. Framing of bodies and streams is the
//! library's; what a message means, and what HTTP/1 could not carry, is decided here.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response};

use super::grammar::{is_token, is_value_byte, parse_length};
use super::h1::{Body, Reject, RejectReason, ResponseFraming};
use super::head::{Head, Known, Version};
use crate::core::fleet::spec::HttpLimits;

/// Why a request cannot be said in HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// Its method is none that the library takes.
    #[error("the method cannot be sent over HTTP/2")]
    Method,
    /// Its host is no authority.
    #[error("the host cannot be sent over HTTP/2")]
    Authority,
    /// Its target is no path.
    #[error("the target cannot be sent over HTTP/2")]
    Target,
    /// A field that HTTP/2 has no form for.
    #[error("a field cannot be sent over HTTP/2")]
    Field,
}

/// What a request becomes: its hop-by-hop fields are gone already ([`super::hop`]). `Host` turns into `:authority`; where
/// a request has none (HTTP/1.0), `name` stands in. `Transfer-Encoding` and its kin have no place in HTTP/2; `TE` says
/// `trailers` if the client takes them, and nothing else (RFC 9113 section 8.2.2).
pub fn request(
    head: &Head,
    over_tls_from_client: bool,
    takes_trailers: bool,
    name: &str,
) -> Result<Request<()>, Unsayable> {
    let method = Method::from_bytes(head.method()).map_err(|_| Unsayable::Method)?;
    let authority = head.known(Known::Host).unwrap_or(name.as_bytes());
    let mut parts = Parts::default();
    parts.scheme = Some(if over_tls_from_client { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(authority).map_err(|_| Unsayable::Authority)?);
    parts.path_and_query = Some(path(head.forward_target())?);
    let uri = Uri::from_parts(parts).map_err(|_| Unsayable::Target)?;
    let mut fields = HeaderMap::with_capacity(head.field_count());
    for (known, name, value) in head.fields() {
        let sensitive = match known {
            Known::Host
            | Known::Connection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Http2Settings => continue,
            Known::Cookie => true,
            Known::Other => name.eq_ignore_ascii_case(b"authorization"),
            _ => false,
        };
        let name = HeaderName::from_bytes(name).map_err(|_| Unsayable::Field)?;
        let mut value = HeaderValue::from_bytes(value).map_err(|_| Unsayable::Field)?;
        // Never put into the compression table, which all clients of a connection share (RFC 7541 section 7.1).
        value.set_sensitive(sensitive);
        fields.append(name, value);
    }
    if takes_trailers {
        fields.insert(http::header::TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok(request)
}

/// A target as the library takes it. The few bytes that HTTP/1 lets pass and it does not are written as percent codes,
/// which mean the same.
fn path(target: &[u8]) -> Result<PathAndQuery, Unsayable> {
    if let Ok(path) = PathAndQuery::try_from(target) {
        return Ok(path);
    }
    let mut coded = Vec::with_capacity(target.len() + 16);
    for &b in target {
        if matches!(b, b'<' | b'>' | b'`' | b'"' | b'{' | b'}' | b'|' | b'^' | b'\\') {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            coded.extend([b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        } else {
            coded.push(b);
        }
    }
    PathAndQuery::try_from(coded).map_err(|_| Unsayable::Target)
}

/// Puts an answer's status and fields into `head`, which is cleared, and decides its framing for a request of that
/// method. `ended` is whether nothing follows the fields. An answer without a length whose end is not known yet has
/// [`Body::Chunked`]: HTTP/1 clients get it in chunks. Limits are those of HTTP/1 answers; every refusal is a 502.
pub fn response(
    answer: &Response<()>,
    ended: bool,
    request_method: &[u8],
    limits: &HttpLimits,
    head: &mut Head,
) -> Result<ResponseFraming, Reject> {
    fill(answer, limits, head).map_err(|reason| Reject::response(reason, 0))?;
    frame(head, ended, request_method).map_err(|reason| Reject::response(reason, 0))
}

fn fill(answer: &Response<()>, limits: &HttpLimits, head: &mut Head) -> Result<(), RejectReason> {
    head.clear();
    let fields = answer.headers();
    if fields.len() > limits.fields_max {
        return Err(RejectReason::TooManyFields);
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if fields.iter().map(size).sum::<usize>() > limits.head_max_bytes {
        return Err(RejectReason::HeadTooLarge);
    }
    let reason = head.store(b"");
    head.set_status_line(answer.status().as_u16(), reason, Version::Http11);
    for (name, value) in fields {
        let value = value.as_bytes();
        if !is_token(name.as_str().as_bytes()) {
            return Err(RejectReason::NameByte);
        }
        // HTTP/1 would end a line there (RFC 9113 sections 8.2.1 and 10.3).
        if !value.iter().all(|b| is_value_byte(*b)) {
            return Err(RejectReason::ControlByte);
        }
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
            return Err(RejectReason::ObsFold);
        }
        head.add(name.as_str().as_bytes(), value);
    }
    Ok(())
}

fn frame(head: &Head, ended: bool, request_method: &[u8]) -> Result<ResponseFraming, RejectReason> {
    let status = head.status();
    let mut length = None;
    for value in head.known_all(Known::ContentLength) {
        let bytes = parse_length(value).ok_or(RejectReason::LengthMalformed)?;
        if length.replace(bytes).is_some() {
            return Err(RejectReason::LengthRepeated);
        }
    }
    if head.known(Known::TransferEncoding).is_some() || head.known(Known::Connection).is_some() {
        return Err(RejectReason::EncodingUnsupported);
    }
    if status == 101 {
        // RFC 9113 section 8.6: HTTP/2 has no 101.
        return Err(RejectReason::SwitchUnasked);
    }
    let interim = status < 200;
    let bodiless = interim || status == 204;
    if bodiless && length.is_some_and(|n| n > 0) {
        return Err(RejectReason::BodyOnBodiless);
    }
    let without = bodiless || status == 304 || request_method == b"HEAD";
    let body = match length {
        _ if without => Body::Empty,
        Some(0) => Body::Empty,
        Some(n) => Body::Length(n),
        None if ended => Body::Empty,
        None => Body::Chunked,
    };
    Ok(ResponseFraming { body, keep_alive: true, interim, switching: false })
}

/// Whether an answer that ended with its head has to say so to a client of HTTP/1, by `Content-Length: 0`.
pub fn owes_length(head: &Head, request_method: &[u8]) -> bool {
    !matches!(head.status(), 204 | 304) && request_method != b"HEAD" && head.known(Known::ContentLength).is_none()
}

/// Trailers of an answer that may be passed on: no framing, no routing, no control of the connection (RFC 9110 section
/// 6.5.1), and nothing HTTP/1 could not carry.
pub fn trailers(fields: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let may_pass = |name: &HeaderName, value: &HeaderValue| {
        let known = Known::of(name.as_str().as_bytes());
        known == Known::Other && value.as_bytes().iter().all(|b| is_value_byte(*b))
    };
    let passed = fields.iter().filter(|(name, value)| may_pass(name, value));
    passed.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Trailers of a request for a server; those that HTTP/2 has no form for are left out.
pub fn request_trailers(trailers: &[(Vec<u8>, Vec<u8>)]) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            && Known::of(name.as_str().as_bytes()) == Known::Other
        {
            fields.append(name, value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::h1;
    use crate::core::http::hop;

    fn parsed(bytes: &str) -> Head {
        let mut head = Head::new();
        let limits = HttpLimits::default();
        assert!(matches!(h1::parse_request(bytes.as_bytes(), &mut head, &limits), Ok(h1::Parsed::Complete { .. })));
        h1::request_framing(&mut head).unwrap();
        hop::strip_hop_by_hop(&mut head, false);
        head
    }

    fn said(bytes: &str) -> String {
        let request = request(&parsed(bytes), true, false, "web").unwrap();
        let mut out = format!("{} {}", request.method(), request.uri());
        for (name, value) in request.headers() {
            out += &format!("|{name}: {}", value.to_str().unwrap());
            if value.is_sensitive() {
                out += " (never indexed)";
            }
        }
        out
    }

    #[test]
    fn requests_are_said_in_http2() {
        let rows = [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET https://a.example/"),
            ("GET /a?b=c HTTP/1.0\r\n\r\n", "GET https://web/a?b=c"),
            ("GET http://a.example:8080/x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "GET https://a.example:8080/x"),
            (
                "POST /u HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
                "POST https://[::1]:80/u|x-a: 1|x-a: 2",
            ),
            (
                "PUT /u HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-B\r\nKeep-Alive: 5\r\nX-B: 1\r\nContent-Length: 3\r\n\r\n",
                "PUT https://a/u|content-length: 3",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nAuthorization: Basic eA==\r\n\r\n",
                "GET https://a/|cookie: a=b (never indexed)|authorization: Basic eA== (never indexed)",
            ),
            ("PURGE /x`<>\"y?<z> HTTP/1.1\r\nHost: a\r\n\r\n", "PURGE https://a/x%60%3C%3E%22y?%3Cz%3E"),
        ];
        for (bytes, expected) in rows {
            assert_eq!(said(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn options_of_the_server_as_a_whole_keep_their_star() {
        let request = request(&parsed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), false, false, "web").unwrap();
        assert_eq!(request.uri().path_and_query().map(|p| p.as_str()), Some("*"));
        assert_eq!(request.uri().authority().map(|a| a.as_str()), Some("a"));
    }

    #[test]
    fn te_says_trailers_or_nothing() {
        let mut head = parsed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        head.add(b"TE", b"gzip, trailers");
        assert_eq!(request(&head, true, true, "web").unwrap().headers()["te"], "trailers");
        assert!(request(&head, true, false, "web").unwrap().headers().is_empty());
    }

    fn answer(status: u16, fields: &[(&str, &[u8])]) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            answer.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        answer
    }

    #[test]
    fn answers_are_framed_by_their_length_and_their_end() {
        let length = |n: &'static str| vec![("content-length", n.as_bytes())];
        let rows = [
            ("GET", answer(200, &length("5")), false, Body::Length(5)),
            ("GET", answer(200, &[]), false, Body::Chunked),
            ("GET", answer(200, &[]), true, Body::Empty),
            ("GET", answer(200, &length("0")), true, Body::Empty),
            ("HEAD", answer(200, &length("5")), true, Body::Empty),
            ("GET", answer(304, &length("5")), true, Body::Empty),
            ("GET", answer(204, &[]), true, Body::Empty),
        ];
        for (method, answer, ended, expected) in rows {
            let mut head = Head::new();
            let framing = response(&answer, ended, method.as_bytes(), &HttpLimits::default(), &mut head).unwrap();
            assert_eq!(framing.body, expected, "{method} {answer:?}");
            assert_eq!(head.status(), answer.status().as_u16());
        }
        for (method, status, fields, owed) in [
            ("GET", 200, vec![], true),
            ("GET", 200, length("0"), false),
            ("GET", 304, vec![], false),
            ("GET", 204, vec![], false),
            ("HEAD", 200, vec![], false),
        ] {
            let mut head = Head::new();
            let answer = answer(status, &fields);
            response(&answer, true, method.as_bytes(), &HttpLimits::default(), &mut head).unwrap();
            assert_eq!(owes_length(&head, method.as_bytes()), owed, "{method} {status} {fields:?}");
        }
    }

    #[test]
    fn answers_that_two_could_read_in_two_ways_are_refused() {
        let limits = HttpLimits { fields_max: 3, ..HttpLimits::default() };
        let many = [("a", &b"1"[..]), ("a", b"2"), ("b", b"3"), ("c", b"4")];
        let rows = [
            (answer(200, &[("content-length", b"5"), ("content-length", b"5")]), RejectReason::LengthRepeated),
            (answer(200, &[("content-length", b"5 ")]), RejectReason::ObsFold),
            (answer(200, &[("content-length", b"+5")]), RejectReason::LengthMalformed),
            (answer(204, &[("content-length", b"5")]), RejectReason::BodyOnBodiless),
            (answer(200, &[("transfer-encoding", b"chunked")]), RejectReason::EncodingUnsupported),
            (answer(200, &[("connection", b"close")]), RejectReason::EncodingUnsupported),
            (answer(101, &[]), RejectReason::SwitchUnasked),
            (answer(200, &[("x", b" a")]), RejectReason::ObsFold),
            (answer(200, &many), RejectReason::TooManyFields),
            (answer(200, &[("x", &[b'a'; 40_000])]), RejectReason::HeadTooLarge),
        ];
        for (answer, expected) in rows {
            let mut head = Head::new();
            let refused = response(&answer, false, b"GET", &limits, &mut head).unwrap_err();
            assert_eq!((refused.status, refused.reason), (502, expected), "{answer:?}");
        }
    }

    #[test]
    fn trailers_never_carry_framing() {
        let answer = answer(200, &[("grpc-status", b"0"), ("content-length", b"1"), ("transfer-encoding", b"x")]);
        assert_eq!(trailers(answer.headers()), [(b"grpc-status".to_vec(), b"0".to_vec())]);
        let back = request_trailers(&[(b"X-Sum".to_vec(), b"1".to_vec()), (b"Host".to_vec(), b"a".to_vec())]);
        assert_eq!(back.len(), 1);
        assert_eq!(back["x-sum"], "1");
    }
}
