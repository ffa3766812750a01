//! An answer's [`Head`] as a field list, and trailers both ways (RFC 9113 sections 8.1 and 8.3.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::core::http::h1::chunked::may_be_trailer;
use crate::core::http::head::{Head, Known};

/// The answer in `head` for an HTTP/2 client. With `switching` it is the 200 that an extended CONNECT is granted with
/// (RFC 8441 section 5), whatever status `head` has.
///
/// `None` when something in it cannot be said in HTTP/2; nothing a parser or a header rule lets through is.
pub fn render(head: &Head, switching: bool) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = if switching { StatusCode::OK } else { StatusCode::from_u16(head.status()).ok()? };
    let mut fields = HeaderMap::try_with_capacity(head.field_count()).ok()?;
    // One copy for all values; each is a part of it.
    let arena = Bytes::copy_from_slice(head.arena());
    for (known, name, value) in head.fields() {
        let goes = match known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Te
            | Known::Http2Settings => false,
            Known::ContentLength => !switching,
            Known::Other => !(switching && name.eq_ignore_ascii_case(b"sec-websocket-accept")),
            _ => true,
        };
        if !goes {
            continue;
        }
        let name = HeaderName::from_bytes(name).ok()?;
        let at = head.offset_of(value);
        let value = HeaderValue::from_maybe_shared(arena.slice(at..(at + value.len()).min(arena.len()))).ok()?;
        fields.try_append(name, value).ok()?;
    }
    *response.headers_mut() = fields;
    Some(response)
}

/// How much an answer's head counts for in statistics: what it would take in HTTP/1.
pub fn size(response: &Response<()>) -> u64 {
    let fields: usize = response.headers().iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    fields as u64 + 19
}

/// Trailers of an answer whose names may be trailers at all.
pub fn trailers(fields: &[(Vec<u8>, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            let _ = map.try_append(name, value);
        }
    }
    map
}

/// Trailers of a request as the chunked coding carries them; those that mean something only in a head are left out.
pub fn trailers_of_request(fields: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .filter(|(name, _)| may_be_trailer(name.as_str().as_bytes()))
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::Version;

    fn rendered(status: u16, fields: &[(&str, &str)], switching: bool) -> String {
        let mut head = Head::new();
        let none = head.store(b"");
        head.set_status_line(status, none, Version::Http11);
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        let response = render(&head, switching).unwrap();
        let fields = response.headers().iter().map(|(n, v)| format!("{n}: {}|", String::from_utf8_lossy(v.as_bytes())));
        format!("{}|{}", response.status().as_u16(), fields.collect::<String>())
    }

    #[test]
    fn heads_become_field_lists() {
        let fields = [
            ("Content-Type", "text/plain"),
            ("X-A", "1"),
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "x"),
            ("Keep-Alive", "x"),
            ("x-a", "2"),
        ];
        assert_eq!(rendered(200, &fields, false), "200|content-type: text/plain|x-a: 1|x-a: 2|");
        assert_eq!(rendered(103, &[("Link", "</a>")], false), "103|link: </a>|");
    }

    #[test]
    fn a_granted_websocket_is_a_200() {
        let fields = [("Upgrade", "websocket"), ("Sec-WebSocket-Accept", "x"), ("Sec-WebSocket-Protocol", "chat")];
        assert_eq!(rendered(101, &fields, true), "200|sec-websocket-protocol: chat|");
    }

    #[test]
    fn trailers_that_belong_in_a_head_are_left_out() {
        let mut map = HeaderMap::new();
        for (name, value) in [("x-sum", "1"), ("content-length", "5"), ("host", "b"), ("x-forwarded-for", "c")] {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(trailers_of_request(&map), [(b"x-sum".to_vec(), b"1".to_vec())]);
    }
}
