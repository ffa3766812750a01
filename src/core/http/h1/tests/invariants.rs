//! What must hold for any bytes at all. The unit tests feed these functions mutated tables; the fuzz targets, which
//! include this file, feed them everything else.

use crate::core::fleet::spec::HttpLimits;
use crate::core::http::h1::{
    Body, ChunkDecoder, ChunkEvent, Parsed, Reject, parse_request, parse_response, request_framing, response_framing,
};
use crate::core::http::head::{Head, Known};
use crate::core::http::hop::strip_hop_by_hop;
use crate::core::http::{cookie, host, uri};

type Parse = fn(&[u8], &mut Head, &HttpLimits) -> Result<Parsed, Reject>;

/// A request head: the same verdict however it arrives; httparse reads an accepted head alike; what is sent on reads
/// as what was decided. Gives whether it was accepted.
pub fn request_head(data: &[u8]) -> bool {
    let Some((mut head, consumed)) = parsed_alike(data, parse_request) else { return false };
    second_opinion_request(&data[..consumed], &head);
    let Ok(framing) = request_framing(&mut head) else { return false };
    strip_hop_by_hop(&mut head, framing.upgrade.is_some());

    let mut sent = Vec::new();
    for part in [head.method(), b" ", head.forward_target(), b" HTTP/1.1\r\n"] {
        sent.extend_from_slice(part);
    }
    head.write_fields(&mut sent);
    if head.known(Known::Host).is_none() {
        sent.extend_from_slice(b"Host: none.example\r\n");
        head.add(b"Host", b"none.example");
    }
    if framing.body == Body::Chunked {
        sent.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        head.add(b"Transfer-Encoding", b"chunked");
    }
    if framing.upgrade.is_some() {
        sent.extend_from_slice(b"Connection: upgrade\r\n");
        head.add(b"Connection", b"upgrade");
    }
    sent.extend_from_slice(b"\r\n");
    let roomy =
        HttpLimits { head_max_bytes: 1 << 20, fields_max: 1000, uri_max_bytes: 1 << 20, ..HttpLimits::default() };
    let mut again = Head::new();
    let parsed = parse_request(&sent, &mut again, &roomy);
    assert_eq!(parsed, Ok(Parsed::Complete { consumed: sent.len() }), "what is sent must be one head");
    let read = request_framing(&mut again).expect("what is sent must be acceptable");
    assert_eq!((read.body, read.upgrade), (framing.body, framing.upgrade));
    assert_eq!(again.forward_target(), head.forward_target());
    assert!(again.fields().eq(head.fields()), "fields change on the way");
    assert!(again.known_all(Known::Host).count() == 1 && again.known_all(Known::ContentLength).count() <= 1);
    true
}

/// A response head, likewise.
pub fn response_head(data: &[u8]) -> bool {
    let Some((mut head, consumed)) = parsed_alike(data, parse_response) else { return false };
    second_opinion_response(&data[..consumed], &head);
    let Ok(framing) = response_framing(&head, b"GET", true) else { return false };
    strip_hop_by_hop(&mut head, framing.switching);
    let mut sent = format!("HTTP/1.1 {} ", head.status()).into_bytes();
    sent.extend_from_slice(head.reason());
    sent.extend_from_slice(b"\r\n");
    head.write_fields(&mut sent);
    sent.extend_from_slice(b"\r\n");
    let roomy = HttpLimits { head_max_bytes: 1 << 20, fields_max: 1000, ..HttpLimits::default() };
    let mut again = Head::new();
    let parsed = parse_response(&sent, &mut again, &roomy);
    assert_eq!(parsed, Ok(Parsed::Complete { consumed: sent.len() }), "what is sent must be one head");
    assert!(again.fields().eq(head.fields()), "fields change on the way");
    assert_eq!((again.status(), again.reason()), (head.status(), head.reason()));
    true
}

/// A chunked body: the same bytes, trailers and end, or the same refusal, in one piece and in every two.
pub fn chunked_body(data: &[u8]) {
    let whole = dechunk(&[data]);
    for cut in 0..=data.len().min(64) {
        let (front, back) = data.split_at(cut);
        assert_eq!(dechunk(&[front, back]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(dechunk(&bytes), whole, "byte by byte");
}

/// Hosts and targets: a normal form is valid and its own normal form.
pub fn host_uri(data: &[u8]) {
    if let Some(authority) = host::parse(data) {
        let mut once = String::new();
        authority.write_normalised(&mut once);
        let again = host::parse(once.as_bytes()).expect("a normalised host is a host");
        let mut twice = String::new();
        again.write_normalised(&mut twice);
        assert_eq!(once, twice);
        assert!(again.port.is_none() && !once.bytes().any(|b| b.is_ascii_uppercase()));
    }
    if let Ok(once) = uri::normalise(data) {
        assert_eq!(uri::normalise(&once).as_deref(), Ok(&*once));
        let path = once.split(|&b| b == b'?').next().unwrap_or_default();
        assert!(path.split(|&b| b == b'/').all(|segment| segment != b"." && segment != b".."));
        assert!(once.len() <= data.len(), "normalising never makes a target longer");
    }
}

/// Cookies: one that was taken out is not there any more, and the others stay.
pub fn cookie(data: &[u8]) {
    let mut head = Head::new();
    head.add(b"Cookie", data);
    let others: Vec<Vec<u8>> =
        cookie::pairs(data).filter(|(_, name, _)| *name != b"SRV").map(|(text, _, _)| text.to_vec()).collect();
    let found = cookie::find(&head, b"SRV").is_some();
    assert_eq!(cookie::remove(&mut head, b"SRV") > 0, found);
    assert_eq!(cookie::find(&head, b"SRV"), None);
    let left: Vec<Vec<u8>> =
        head.known_all(Known::Cookie).flat_map(cookie::pairs).map(|(t, _, _)| t.to_vec()).collect();
    assert_eq!(left, others);
    cookie::find_prefixed(&head, b"SR");
}

/// Parses in one piece, byte by byte and after another message, which must all agree. Gives an accepted head.
fn parsed_alike(data: &[u8], parse: Parse) -> Option<(Head, usize)> {
    let limits = HttpLimits { head_max_bytes: 4096, uri_max_bytes: 1024, ..HttpLimits::default() };
    let mut head = Head::new();
    let whole = parse(data, &mut head, &limits);
    for step in [1, 5] {
        let mut grown = Head::new();
        let mut verdict = Ok(Parsed::Partial);
        let mut end = 0;
        while end < data.len() && verdict == Ok(Parsed::Partial) {
            end = (end + step).min(data.len());
            verdict = parse(&data[..end], &mut grown, &limits);
        }
        assert_eq!(verdict, whole, "in pieces of {step}");
        assert!(grown.fields().eq(head.fields()));
        assert_eq!((grown.method(), grown.target(), grown.status()), (head.method(), head.target(), head.status()));
    }
    match whole {
        Ok(Parsed::Complete { consumed }) => {
            assert!(data[..consumed].ends_with(b"\r\n\r\n"));
            Some((head, consumed))
        }
        _ => None,
    }
}

fn second_opinion_request(data: &[u8], head: &Head) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    assert_eq!(other.parse(data), Ok(httparse::Status::Complete(data.len())), "httparse refuses what we accept");
    assert_eq!(other.method.map(str::as_bytes), Some(head.method()));
    assert_eq!(other.path.map(str::as_bytes), Some(head.target()));
    assert_eq!(other.version.map(u16::from), Some(if head.version().as_str() == "HTTP/1.1" { 1 } else { 0 }));
    same_fields(other.headers, head);
}

fn second_opinion_response(data: &[u8], head: &Head) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Response::new(&mut fields);
    assert_eq!(other.parse(data), Ok(httparse::Status::Complete(data.len())), "httparse refuses what we accept");
    assert_eq!(other.code, Some(head.status()));
    same_fields(other.headers, head);
}

fn same_fields(theirs: &[httparse::Header<'_>], ours: &Head) {
    let theirs = theirs.iter().map(|h| (h.name.as_bytes(), h.value));
    assert!(theirs.eq(ours.fields().map(|(_, name, value)| (name, value))), "httparse reads other fields");
}

type Dechunked = Result<(Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, Option<usize>), Reject>;

/// Body, trailers, and the length of it all once it ended.
fn dechunk(pieces: &[&[u8]]) -> Dechunked {
    let limits = HttpLimits { head_max_bytes: 512, chunk_line_max_bytes: 32, ..HttpLimits::default() };
    let mut decoder = ChunkDecoder::new(&limits, 400);
    let mut body = Vec::new();
    let mut before = 0;
    for piece in pieces {
        let mut at = 0;
        loop {
            match decoder.decode(&piece[at..])? {
                ChunkEvent::NeedMore { consumed } => {
                    assert_eq!(at + consumed, piece.len());
                    break;
                }
                ChunkEvent::Data { consumed_before, len } => {
                    assert!(len > 0);
                    body.extend_from_slice(&piece[at + consumed_before..at + consumed_before + len]);
                    at += consumed_before + len;
                }
                ChunkEvent::End { consumed } => {
                    return Ok((body, decoder.trailers().to_vec(), Some(before + at + consumed)));
                }
            }
        }
        before += piece.len();
    }
    Ok((body, decoder.trailers().to_vec(), None))
}
