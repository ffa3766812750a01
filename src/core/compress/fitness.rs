//! Whether an answer may be compressed, and whether this client gets it so.
//!
//! An answer that is fit depends on `Accept-Encoding` even when one client gets it plain: caches must be told, so it gets
//! its `Vary` either way.

use super::{Algorithm, CompressionSpec};
use crate::core::http::grammar::{list, parse_length};
use crate::core::http::head::{Head, Known};

/// What is to be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Pass,
    /// It goes out as it is, but another client would get it compressed: it says so in `Vary`.
    Vary,
    /// It is encoded.
    Encode(Algorithm),
    /// A 304 about something that was sent compressed: its entity tag is the weak one that the client knows.
    Revalidate,
}

/// Whether a request forbids changing its answer (`Cache-Control: no-transform`, RFC 9111 section 5.2.1.6).
pub fn forbids_transform(head: &Head) -> bool {
    head.get_all(b"cache-control").any(says_no_transform)
}

/// Judges an answer whose rules were applied. `algorithm` is what the client gets, if it takes something that is offered
/// ([`super::negotiate::choose`]).
pub fn judge(spec: &CompressionSpec, algorithm: Option<Algorithm>, request: &Head, response: &Head) -> Verdict {
    match response.status() {
        // 205 has no body, 206 and 226 are made for a part or a difference of the plain form.
        204..=206 | 226 => return Verdict::Pass,
        200..=299 => {}
        304 if knows_weak_tag(request, response) => return Verdict::Revalidate,
        _ => return Verdict::Pass,
    }
    let facts = Facts::gather(response);
    let size = response.known(Known::ContentLength).and_then(parse_length);
    let large_enough = size.is_none_or(|size| size >= spec.min_bytes.max(1));
    let fit = large_enough && !facts.fixed && facts.content_type.is_some_and(|t| spec.covers(t));
    match algorithm {
        _ if !fit => Verdict::Pass,
        None => Verdict::Vary,
        Some(algorithm) => Verdict::Encode(algorithm),
    }
}

/// What the fields of an answer say, gathered in one walk.
#[derive(Debug, Default)]
struct Facts<'a> {
    content_type: Option<&'a [u8]>,
    /// It must stay as it is: it is encoded already, is a part, forbids changes, or carries a sum of its bytes.
    fixed: bool,
}

impl<'a> Facts<'a> {
    fn gather(head: &'a Head) -> Facts<'a> {
        let mut facts = Facts::default();
        for (known, name, value) in head.fields() {
            if known != Known::Other {
                continue;
            }
            let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
            match name.len() {
                12 if is(b"content-type") => {
                    facts.content_type = facts.content_type.or(Some(value));
                    facts.fixed |= is_grpc(value);
                }
                16 if is(b"content-encoding") => {
                    facts.fixed |= list(value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
                }
                13 if is(b"cache-control") => facts.fixed |= says_no_transform(value),
                13 if is(b"content-range") => facts.fixed = true,
                // Sums over the bytes that are sent (RFC 9530; RFC 3230 and RFC 1864 before it).
                14 if is(b"content-digest") => facts.fixed = true,
                11 if is(b"repr-digest") || is(b"content-md5") => facts.fixed = true,
                6 if is(b"digest") => facts.fixed = true,
                _ => {}
            }
        }
        facts
    }
}

/// gRPC compresses its messages one by one, and its clients know no coding of the whole.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}

fn says_no_transform(value: &[u8]) -> bool {
    list(value).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether the client asked about `W/` and the tag that a server's 304 shows: it was given the compressed form.
fn knows_weak_tag(request: &Head, response: &Head) -> bool {
    let Some(tag) = response.get(b"etag").filter(|tag| tag.starts_with(b"\"")) else { return false };
    request.get_all(b"if-none-match").flat_map(list).any(|known| known.strip_prefix(b"W/") == Some(tag))
}

#[cfg(test)]
mod tests {
    use super::super::{Coding, MediaRange};
    use super::*;
    use crate::core::http::h1::{Parsed, parse_response};

    fn spec() -> CompressionSpec {
        CompressionSpec {
            algorithms: vec![GZIP],
            types: ["text/*", "application/json", "application/grpc", "application/*+json"]
                .map(|t| MediaRange::parse(t).unwrap())
                .into(),
            min_bytes: 1000,
            offload: false,
        }
    }

    const GZIP: Algorithm = Algorithm { coding: Coding::Gzip, level: 4 };

    fn answer(text: &str) -> Head {
        let bytes = format!("HTTP/1.1 {}\r\n\r\n", text.replace('|', "\r\n"));
        let mut head = Head::new();
        let parsed = parse_response(bytes.as_bytes(), &mut head, &Default::default());
        assert!(matches!(parsed, Ok(Parsed::Complete { .. })), "{text}");
        head
    }

    fn judged(text: &str, algorithm: Option<Algorithm>) -> Verdict {
        judge(&spec(), algorithm, &Head::new(), &answer(text))
    }

    #[test]
    fn answers_are_compressed_or_left_alone() {
        const HTML: &str = "200 OK|Content-Type: text/html; charset=utf-8";
        let fit = [
            HTML.to_owned(),
            format!("{HTML}|Content-Length: 1000"),
            format!("{HTML}|Content-Encoding: identity"),
            format!("{HTML}|Cache-Control: max-age=3, public"),
            "203 OK|Content-Type: application/json".to_owned(),
            "201 Created|content-type: TEXT/plain".to_owned(),
        ];
        for text in &fit {
            assert_eq!(judged(text, Some(GZIP)), Verdict::Encode(GZIP), "{text}");
            assert_eq!(judged(text, None), Verdict::Vary, "{text}");
        }
        let unfit = [
            "200 OK".to_owned(),
            "200 OK|Content-Type: image/png".to_owned(),
            "200 OK|Content-Type: text".to_owned(),
            format!("{HTML}|Content-Length: 999"),
            format!("{HTML}|Content-Length: 0"),
            format!("{HTML}|Content-Encoding: gzip"),
            format!("{HTML}|Content-Encoding: identity, br"),
            format!("{HTML}|Cache-Control: max-age=3, No-Transform"),
            format!("{HTML}|Cache-Control: public|Cache-Control: no-transform"),
            format!("{HTML}|Content-Range: bytes 0-5/9"),
            "200 OK|Content-Type: application/grpc".to_owned(),
            "200 OK|Content-Type: Application/gRPC+json".to_owned(),
            format!("{HTML}|Content-Digest: sha-256=:AA==:"),
            format!("{HTML}|Repr-Digest: sha-256=:AA==:"),
            format!("{HTML}|Digest: x"),
            format!("{HTML}|Content-MD5: x"),
            "204 No Content|Content-Type: text/html".to_owned(),
            "205 Reset|Content-Type: text/html".to_owned(),
            "206 Partial|Content-Type: text/html".to_owned(),
            "304 Not Modified|Content-Type: text/html".to_owned(),
            "301 Moved|Content-Type: text/html".to_owned(),
            "404 Not Found|Content-Type: text/html".to_owned(),
            "500 Oh|Content-Type: text/html".to_owned(),
        ];
        for text in &unfit {
            assert_eq!(judged(text, Some(GZIP)), Verdict::Pass, "{text}");
            assert_eq!(judged(text, None), Verdict::Pass, "{text}");
        }
    }

    #[test]
    fn an_empty_body_is_never_worth_it() {
        let spec = CompressionSpec { min_bytes: 0, ..spec() };
        let judged = |text: &str| judge(&spec, Some(GZIP), &Head::new(), &answer(text));
        assert_eq!(judged("200 OK|Content-Type: text/html|Content-Length: 0"), Verdict::Pass);
        assert_eq!(judged("200 OK|Content-Type: text/html|Content-Length: 1"), Verdict::Encode(GZIP));
    }

    #[test]
    fn revalidation_knows_what_was_sent() {
        let mut request = Head::new();
        request.add(b"If-None-Match", b"\"other\", W/\"x\"");
        let judged = |text: &str| judge(&spec(), Some(GZIP), &request, &answer(text));
        assert_eq!(judged("304 Not Modified|ETag: \"x\""), Verdict::Revalidate);
        assert_eq!(judged("304 Not Modified|ETag: \"other\""), Verdict::Pass);
        assert_eq!(judged("304 Not Modified|ETag: W/\"x\""), Verdict::Pass);
        assert_eq!(judged("304 Not Modified"), Verdict::Pass);
    }

    #[test]
    fn requests_may_forbid_it() {
        let mut request = Head::new();
        assert!(!forbids_transform(&request));
        request.add(b"Cache-Control", b"max-age=0 , NO-transform");
        assert!(forbids_transform(&request));
    }
}
