//! A request's field list as a [`Head`] (RFC 9113 section 8.3.1, RFC 8441).
//!
//! What comes in was decoded by the `h2` crate, which has refused upper-case names, misplaced and repeated
//! pseudo-header fields. Everything else that must hold before a request may be written as HTTP/1 is checked here, so
//! that this file alone vouches for it.

use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::core::fleet::spec::HttpLimits;
use crate::core::http::grammar::{is_field_value, is_token, parse_length};
use crate::core::http::h1::framing::reason_of;
use crate::core::http::h1::parse::METHOD_MAX_BYTES;
use crate::core::http::h1::{Body, Reject, RejectReason, RequestFraming, Upgrade};
use crate::core::http::head::{Head, Known, Version};
use crate::core::http::{host, uri};

/// Fills `head` from a request; `protocol` is its `:protocol`, and `ended` says that nothing follows the head.
///
/// Afterwards `head` holds what [`crate::core::http::h1::request_framing`] promises: exactly one valid `Host`, a
/// normalised forward target, at most one `Content-Length`. Cookie crumbs are joined (RFC 9113 section 8.2.3). An
/// extended CONNECT for a websocket becomes the `GET` with `Upgrade` that HTTP/1 servers know. A body without a length is
/// [`Body::Chunked`]: that is how HTTP/1 will carry it.
///
/// The target as received, which logs show, is the absolute form where there is an `:authority`, as in HAProxy.
///
/// # Errors
/// The status the client gets, and the rule. On an error `head` has the request line if there was one.
pub fn fill(
    head: &mut Head,
    request: &Parts,
    protocol: Option<&str>,
    ended: bool,
    limits: &HttpLimits,
) -> Result<RequestFraming, Reject> {
    head.clear();
    let refuse = |reason| Err(Reject::request(reason, 0));
    let websocket = match (protocol, &request.method) {
        (None, &Method::CONNECT) => return refuse(RejectReason::Connect),
        (None, _) => false,
        (Some(protocol), &Method::CONNECT) if protocol.eq_ignore_ascii_case("websocket") => true,
        (Some(_), _) => return refuse(RejectReason::ConnectProtocol),
    };
    let method = if websocket { "GET" } else { request.method.as_str() };
    if method.len() > METHOD_MAX_BYTES {
        return refuse(RejectReason::MethodTooLong);
    }
    if !is_token(method.as_bytes()) {
        return refuse(RejectReason::Method);
    }
    fill_target(head, request, method, limits).map_err(|reason| Reject::request(reason, 0))?;
    let authority = authority(request).map_err(|reason| Reject::request(reason, 0))?;
    head.add(b"host", authority);
    let facts = fill_fields(head, &request.headers, limits).map_err(|reason| Reject::request(reason, 0))?;
    let body = match (ended || websocket, facts.length) {
        (true, Some(1..)) => return refuse(RejectReason::LengthMismatch),
        (true, _) | (false, Some(0)) => Body::Empty,
        (false, Some(n)) => Body::Length(n),
        (false, None) => Body::Chunked,
    };
    if body != Body::Empty && method == "TRACE" {
        return refuse(RejectReason::BodyOnTrace);
    }
    if body == Body::Empty && facts.length.is_none() && matches!(method, "POST" | "PUT" | "PATCH") {
        // HTTP/1 servers ask for a length where a body was to be expected (RFC 9110 section 8.6).
        head.add(b"content-length", b"0");
    }
    if websocket {
        head.remove(b"sec-websocket-key");
        head.add(b"upgrade", b"websocket");
    }
    Ok(RequestFraming {
        body,
        keep_alive: true,
        expect_continue: facts.expects_continue && body != Body::Empty,
        upgrade: websocket.then_some(Upgrade { websocket: true }),
    })
}

fn fill_target(head: &mut Head, request: &Parts, method: &str, limits: &HttpLimits) -> Result<(), RejectReason> {
    let Some(path) = request.uri.path_and_query().map(|p| p.as_str().as_bytes()) else {
        return Err(RejectReason::TargetMissing);
    };
    if path.len() > limits.uri_max_bytes {
        return Err(RejectReason::TargetTooLong);
    }
    let method_span = head.store(method.as_bytes());
    let start = head.arena().len();
    if let (Some(scheme), Some(authority)) = (request.uri.scheme_str(), request.uri.authority()) {
        head.store(scheme.as_bytes());
        head.store(b"://");
        head.store(authority.as_str().as_bytes());
    }
    let path_start = head.arena().len();
    head.store(path);
    let end = head.arena().len();
    let target = head.span(start..end);
    head.set_request_line(method_span, target, Version::Http2);
    let forward = if path == b"*" && method == "OPTIONS" {
        head.span(path_start..end)
    } else {
        match uri::normalise(path).map_err(|(trouble, _)| reason_of(trouble))? {
            std::borrow::Cow::Borrowed(_) => head.span(path_start..end),
            std::borrow::Cow::Owned(normal) => head.store(&normal),
        }
    };
    head.set_forward_target(forward);
    Ok(())
}

/// The host asked for: `:authority`, or `Host`, and if both are there they must agree (RFC 9113 section 8.3.1).
fn authority(request: &Parts) -> Result<&[u8], RejectReason> {
    let mut fields = request.headers.get_all(header::HOST).iter().map(|value| value.as_bytes());
    let field = fields.next();
    if fields.next().is_some() {
        return Err(RejectReason::HostRepeated);
    }
    let pseudo = request.uri.authority().map(|a| a.as_str().as_bytes());
    let Some(chosen) = pseudo.or(field) else { return Err(RejectReason::HostMissing) };
    let Some(parsed) = host::parse(chosen) else { return Err(RejectReason::HostMalformed) };
    if let (Some(_), Some(field)) = (pseudo, field)
        && field != chosen
    {
        let default_port = if request.uri.scheme_str() == Some("http") { 80 } else { 443 };
        let Some(other) = host::parse(field) else { return Err(RejectReason::HostMalformed) };
        if !parsed.is_same(&other, default_port) {
            return Err(RejectReason::HostDisagrees);
        }
    }
    Ok(chosen)
}

/// What the fields say of the body.
#[derive(Debug, Default)]
struct Facts {
    length: Option<u64>,
    expects_continue: bool,
}

fn fill_fields(head: &mut Head, fields: &HeaderMap, limits: &HttpLimits) -> Result<Facts, RejectReason> {
    // Crumbs of cookies count one by one: each has cost what a field costs.
    if fields.len() > limits.fields_max {
        return Err(RejectReason::TooManyFields);
    }
    let mut facts = Facts::default();
    let mut cookies = false;
    for (name, value) in fields {
        let value = value.as_bytes();
        if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
            return Err(RejectReason::ValueBlanks);
        }
        if !is_field_value(value) {
            return Err(RejectReason::ControlByte);
        }
        let name = name.as_str().as_bytes();
        match Known::of(name) {
            Known::Host => continue,
            Known::Cookie => {
                if !std::mem::replace(&mut cookies, true) {
                    let crumbs = fields.get_all(header::COOKIE).iter().map(|crumb| crumb.as_bytes());
                    head.add_joined(b"cookie", crumbs, b"; ");
                }
                continue;
            }
            Known::ContentLength => {
                let length = parse_length(value).ok_or(RejectReason::LengthMalformed)?;
                if facts.length.replace(length).is_some() {
                    return Err(RejectReason::LengthRepeated);
                }
                head.add(name, itoa::Buffer::new().format(length).as_bytes());
                continue;
            }
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => {
                return Err(RejectReason::ConnectionField);
            }
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => return Err(RejectReason::ConnectionField),
            Known::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RejectReason::ExpectUnsupported);
                }
                facts.expects_continue = true;
            }
            _ => {}
        }
        head.add(name, value);
    }
    if head.arena().len() > limits.head_max_bytes {
        return Err(RejectReason::HeadTooLarge);
    }
    Ok(facts)
}

fn is_blank(b: &u8) -> bool {
    matches!(b, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(method: &str, uri: &str, fields: &[(&str, &str)], ended: bool) -> Result<(String, Body), String> {
        let mut head = Head::new();
        let limits = HttpLimits::default();
        match fill(&mut head, &parts(method, uri, fields), None, ended, &limits) {
            Ok(framing) => {
                let mut out = format!(
                    "{} {} {}|",
                    String::from_utf8_lossy(head.method()),
                    String::from_utf8_lossy(head.forward_target()),
                    head.version().as_str()
                )
                .into_bytes();
                head.write_fields(&mut out);
                Ok((String::from_utf8(out).unwrap().replace("\r\n", "|"), framing.body))
            }
            Err(reject) => Err(format!("{} {}", reject.status, reject.reason)),
        }
    }

    #[track_caller]
    fn accepts(method: &str, uri: &str, fields: &[(&str, &str)], ended: bool, expected: &str, body: Body) {
        assert_eq!(read(method, uri, fields, ended), Ok((expected.to_owned(), body)));
    }

    #[track_caller]
    fn refuses(method: &str, uri: &str, fields: &[(&str, &str)], expected: &str) {
        assert_eq!(read(method, uri, fields, true), Err(expected.to_owned()));
    }

    #[test]
    fn requests_become_heads() {
        accepts("GET", "https://a.test/x?y", &[], true, "GET /x?y HTTP/2.0|host: a.test|", Body::Empty);
        accepts(
            "GET",
            "https://a.test/%61/../b",
            &[("x", "1")],
            true,
            "GET /b HTTP/2.0|host: a.test|x: 1|",
            Body::Empty,
        );
        accepts("GET", "/", &[("host", "a.test:8080")], true, "GET / HTTP/2.0|host: a.test:8080|", Body::Empty);
        accepts("GET", "https://a.test/", &[("host", "A.test:443")], true, "GET / HTTP/2.0|host: a.test|", Body::Empty);
        let post = "POST / HTTP/2.0|host: a|";
        accepts("POST", "http://a/", &[], false, post, Body::Chunked);
        accepts("POST", "http://a/", &[], true, &format!("{post}content-length: 0|"), Body::Empty);
        let five = &[("content-length", "005")];
        accepts("POST", "http://a/", five, false, &format!("{post}content-length: 5|"), Body::Length(5));
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let crumbs = &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3; d=4")];
        let expected = "GET / HTTP/2.0|host: a|cookie: a=1; b=2; c=3; d=4|x: y|";
        accepts("GET", "http://a/", crumbs, true, expected, Body::Empty);
    }

    #[test]
    fn the_log_shows_the_absolute_target() {
        let mut head = Head::new();
        let request = parts("GET", "https://a.test/%61", &[]);
        fill(&mut head, &request, None, true, &HttpLimits::default()).unwrap();
        assert_eq!(head.target(), b"https://a.test/%61");
        assert_eq!(head.forward_target(), b"/a");
    }

    #[test]
    fn what_http1_could_read_in_two_ways_is_refused() {
        refuses("GET", "https://a.test/", &[("host", "b.test")], "400 Host and request target name different hosts");
        refuses("GET", "https://u@a.test/", &[], "400 malformed host");
        refuses("GET", "/", &[], "400 no Host");
        refuses("GET", "/", &[("host", "a"), ("host", "a")], "400 more than one Host");
        refuses("GET", "http://a/%00", &[], "400 encoded NUL in the path");
        refuses("GET", "http://a/", &[("x", " y")], "400 blank at an end of a field value");
        refuses("GET", "http://a/", &[("x", "y\t")], "400 blank at an end of a field value");
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            refuses("GET", "http://a/", &[(name, "x")], "400 connection-specific field in HTTP/2");
        }
        refuses("GET", "http://a/", &[("te", "gzip")], "400 connection-specific field in HTTP/2");
        refuses(
            "POST",
            "http://a/",
            &[("content-length", "1"), ("content-length", "1")],
            "400 more than one Content-Length",
        );
        refuses("POST", "http://a/", &[("content-length", "+1")], "400 malformed Content-Length");
        refuses("POST", "http://a/", &[("content-length", "1")], "400 body and Content-Length differ");
        refuses("POST", "http://a/", &[("expect", "x")], "417 unsupported expectation");
        refuses("CONNECT", "a.test:443", &[], "405 CONNECT");
        refuses("GET", &format!("http://a/{}", "x".repeat(9000)), &[], "414 request target too long");
        let many: Vec<(String, &str)> = (0..101).map(|n| (format!("x{n}"), "y")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        refuses("GET", "http://a/", &many, "431 too many fields");
    }

    #[test]
    fn a_websocket_becomes_an_upgrade() {
        let mut head = Head::new();
        let request =
            parts("CONNECT", "https://a.test/chat", &[("sec-websocket-version", "13"), ("sec-websocket-key", "x")]);
        let framing = fill(&mut head, &request, Some("websocket"), false, &HttpLimits::default()).unwrap();
        assert_eq!((framing.body, framing.upgrade), (Body::Empty, Some(Upgrade { websocket: true })));
        assert_eq!((head.method(), head.forward_target()), (&b"GET"[..], &b"/chat"[..]));
        assert_eq!(head.known(Known::Upgrade), Some(&b"websocket"[..]));
        assert_eq!(head.get(b"sec-websocket-key"), None);
        let reject = fill(&mut head, &request, Some("connect-udp"), false, &HttpLimits::default()).unwrap_err();
        assert_eq!(reject.status, 501);
    }
}
