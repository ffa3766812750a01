//! What must hold of every request that HTTP/2 brings; unit tests and the fuzz target `h2_head` feed it.

use http::{HeaderName, HeaderValue, Request};

use crate::core::fleet::spec::HttpLimits;
use crate::core::http::Head;
use crate::core::http::h1::{self, Body, Parsed};
use crate::core::http::h2::request;

/// Makes a request of lines (method, target, protocol, then `name:value`), converts it, and holds what would be written
/// for a server against our own reader of HTTP/1: it must find one request that says the same. Gives whether the request
/// was taken at all.
pub fn request_head(data: &[u8]) -> bool {
    let mut lines = data.split(|&b| b == b'\n');
    let mut text = || lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let (method, uri, protocol) = (text(), text(), text());
    let Ok(request) = Request::builder().method(method).uri(uri).body(()) else { return false };
    let (mut parts, ()) = request.into_parts();
    for line in lines.take(200) {
        let at = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            parts.headers.append(name, value);
        }
    }
    let ended = data.len().is_multiple_of(2);
    let protocol = Some(protocol).filter(|p| !p.is_empty());
    let mut head = Head::new();
    let Ok(framing) = request::fill(&mut head, &parts, protocol, ended, &HttpLimits::default()) else { return false };
    let mut out = [head.method(), b" ", head.forward_target(), b" HTTP/1.1\r\n"].concat();
    head.write_fields(&mut out);
    if framing.body == Body::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if framing.upgrade.is_some() {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
    let limits =
        HttpLimits { head_max_bytes: 1 << 20, fields_max: 1000, uri_max_bytes: 1 << 20, ..HttpLimits::default() };
    let mut read = Head::new();
    let parsed = h1::parse_request(&out, &mut read, &limits).expect("what we write is HTTP/1");
    assert_eq!(parsed, Parsed::Complete { consumed: out.len() }, "one head and nothing behind it");
    let understood = h1::request_framing(&mut read).expect("what we write is understood");
    assert_eq!((understood.body, understood.upgrade), (framing.body, framing.upgrade));
    assert_eq!(read.method(), head.method());
    assert_eq!(read.forward_target(), head.forward_target(), "a normal form stays what it is");
    assert_eq!(read.get(b"host"), head.get(b"host"));
    true
}

#[cfg(test)]
mod tests {
    use super::request_head;

    const SEEDS: [&str; 6] = [
        "GET\nhttps://a.test/x?y\n\ncookie:a=1\ncookie:b=2\nte:trailers",
        "POST\nhttp://a.test/%2e%2E/%61\n\ncontent-length:5\nhost:a.test",
        "POST\n/\n\nhost:a\nexpect:100-continue\nx-forwarded-for:1.2.3.4",
        "OPTIONS\n*\n\nhost:a",
        "CONNECT\nhttps://a.test/chat\nwebsocket\nsec-websocket-version:13\nsec-websocket-key:x",
        "TRACE\nhttps://[::1]:8443/\n\nx_y:z\nhttp2-settings:AAA",
    ];

    #[test]
    fn what_is_taken_reads_the_same_as_http1() {
        let taken =
            SEEDS.iter().filter(|seed| request_head(seed.as_bytes()) | request_head(format!("{seed}\n").as_bytes()));
        assert_eq!(taken.count(), SEEDS.len());
    }

    #[test]
    fn mutations_never_break_it() {
        let mut rng = fastrand::Rng::with_seed(4);
        let bytes = b"\0\n\r\t :/?#%@[]*az09-_.;,=\x7f\x80";
        for _ in 0..20_000 {
            let mut data = SEEDS[rng.usize(..SEEDS.len())].as_bytes().to_vec();
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(..=data.len());
                let byte = bytes[rng.usize(..bytes.len())];
                match rng.u8(0..3) {
                    0 => data.insert(at, byte),
                    1 if at < data.len() => data[at] = byte,
                    _ if at < data.len() => {
                        data.remove(at);
                    }
                    _ => {}
                }
            }
            request_head(&data);
        }
    }
}
