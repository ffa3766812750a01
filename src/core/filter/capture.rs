//! Noting values for the log. HAProxy: `capture request header`, `capture response header`.
//!
//! Not here: how they are laid out (`crate::core::log`), and cookies (`crate::core::http::cookie`).

use super::{CaptureSpec, HeaderCapture};
use crate::core::http::Head;
use crate::core::log::record::CapturedValue;

/// Notes the captured fields of a request, one value per configured capture, in order, empty where the field is absent.
/// Of several fields of a name the last counts. `out` is cleared first.
pub fn capture_request(head: &Head, spec: &CaptureSpec, out: &mut Vec<CapturedValue>) {
    note(head, &spec.request, out);
}

/// Notes the captured fields of an answer, as [`capture_request`] does, and removes every field marked `strip`, so that
/// it never reaches the client. Returns which values were cut, the first being the lowest bit.
pub fn capture_response(head: &mut Head, spec: &CaptureSpec, out: &mut Vec<CapturedValue>) -> u64 {
    let cut = note(head, &spec.response, out);
    strip(head, &spec.response);
    cut
}

/// Removes the request fields marked `strip`, so that they never reach a server. Captures must be taken before.
pub fn strip_captured_request(head: &mut Head, spec: &CaptureSpec) {
    strip(head, &spec.request);
}

fn note(head: &Head, wanted: &[HeaderCapture], out: &mut Vec<CapturedValue>) -> u64 {
    let mut cut = 0;
    out.clear();
    out.extend(wanted.iter().enumerate().map(|(n, capture)| {
        let value = head.get_last(capture.header.as_bytes()).unwrap_or_default();
        if value.len() > capture.max_bytes {
            cut |= 1u64.checked_shl(n as u32).unwrap_or(0);
        }
        CapturedValue::from_slice(&value[..value.len().min(capture.max_bytes)])
    }));
    cut
}

fn strip(head: &mut Head, wanted: &[HeaderCapture]) {
    for capture in wanted.iter().filter(|capture| capture.strip) {
        head.remove(capture.header.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(header: &str, max_bytes: usize, strip: bool) -> HeaderCapture {
        HeaderCapture { header: header.into(), max_bytes, strip }
    }

    #[test]
    fn last_value_cut_and_stripped() {
        let mut head = Head::new();
        for (name, value) in [("X-Ms", "1"), ("Server", "x"), ("x-ms", "12345"), ("X-Sql", "7"), ("X-Empty", "")] {
            head.add(name.as_bytes(), value.as_bytes());
        }
        let wanted = vec![
            capture("X-MS", 3, true),
            capture("X-None", 9, true),
            capture("x-sql", 9, false),
            capture("X-Empty", 9, true),
        ];
        let spec = CaptureSpec { request: wanted.clone(), response: wanted, cookie: None };
        let mut out = vec![CapturedValue::from_slice(b"left over")];
        let expected = [&b"123"[..], b"", b"7", b""];
        capture_request(&head, &spec, &mut out);
        assert!(out.iter().map(|v| v.as_slice()).eq(expected), "{out:?}");
        assert_eq!(head.fields().count(), 5, "a request keeps its fields until they are stripped");
        let mut request = head.clone();
        strip_captured_request(&mut request, &spec);
        assert_eq!(capture_response(&mut head, &spec, &mut out), 1, "only the first was too long");
        assert!(out.iter().map(|v| v.as_slice()).eq(expected), "{out:?}");
        for head in [request, head] {
            assert!(head.fields().map(|(_, name, _)| name).eq([&b"Server"[..], b"X-Sql"]));
        }
    }
}
