//! Answers made here: error pages, fixed answers, redirects.

use std::io::Write;

use crate::core::route::FixedAnswer;

/// The reason phrase of a status (RFC 9110, 15).
pub fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown")
}

/// How an answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// The request was HEAD: no body is sent.
    pub head_only: bool,
    /// `Connection: close` goes with it.
    pub close: bool,
    /// The client speaks HTTP/1.0 and asked to keep the connection.
    pub keep_alive_10: bool,
}

fn start(out: &mut Vec<u8>, status: u16) {
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason_phrase(status));
}

fn finish(out: &mut Vec<u8>, body: &[u8], manner: Manner) {
    let _ = write!(out, "content-length: {}\r\n", body.len());
    if manner.close {
        out.extend_from_slice(b"connection: close\r\n");
    } else if manner.keep_alive_10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !manner.head_only {
        out.extend_from_slice(body);
    }
}

/// An error of our own, with a short page that says what it means.
pub fn error(out: &mut Vec<u8>, status: u16, extra: &[(&str, &str)], manner: Manner) {
    start(out, status);
    out.extend_from_slice(b"cache-control: no-cache\r\ncontent-type: text/html; charset=utf-8\r\n");
    for (name, value) in extra {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    let phrase = reason_phrase(status);
    let text = explanation(status);
    let page = format!("<!doctype html><title>{status} {phrase}</title><h1>{status} {phrase}</h1><p>{text}</p>\n");
    finish(out, page.as_bytes(), manner);
}

fn explanation(status: u16) -> &'static str {
    match status {
        400 => "The request could not be understood.",
        403 => "This request is not allowed.",
        405 => "This method is not allowed here.",
        408 => "The request did not arrive in time.",
        413 => "The request body is larger than this site accepts.",
        414 => "The address of this request is too long.",
        417 => "The expectation of this request cannot be met.",
        429 => "Too many requests. Please try again later.",
        431 => "The header fields of this request are too large.",
        500 => "Something went wrong here.",
        501 => "The request asks for something that is not supported.",
        502 => "The server behind this site gave no valid answer.",
        503 => "This site is not available at the moment.",
        504 => "The server behind this site did not answer in time.",
        505 => "This version of HTTP is not supported.",
        _ => "The request ended here.",
    }
}

/// A configured answer.
pub fn fixed(out: &mut Vec<u8>, answer: &FixedAnswer, manner: Manner) {
    start(out, answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    finish(out, &answer.body, manner);
}

/// A redirect to `location`, which must be free of control bytes.
pub fn redirect(out: &mut Vec<u8>, status: u16, location: &[u8], manner: Manner) {
    start(out, status);
    out.extend_from_slice(b"location: ");
    out.extend_from_slice(location);
    out.extend_from_slice(b"\r\ncache-control: no-cache\r\n");
    finish(out, b"", manner);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_page_has_its_length_and_says_whether_the_connection_closes() {
        let mut out = Vec::new();
        error(&mut out, 503, &[("retry-after", "5")], Manner { head_only: false, close: true, keep_alive_10: false });
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains("\r\nretry-after: 5\r\n") && head.contains("\r\nconnection: close"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }

    #[test]
    fn head_gets_the_length_but_no_body() {
        let mut out = Vec::new();
        error(&mut out, 404, &[], Manner { head_only: true, close: false, keep_alive_10: false });
        assert!(out.ends_with(b"\r\n\r\n") && !out.windows(18).any(|w| w == b"content-length: 0\r"));
    }
}
