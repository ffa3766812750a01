//! The head of an answer that is compressed, or that could be for another client.

use super::Coding;
use crate::core::http::grammar::list;
use crate::core::http::head::{Edit, Head, Known};

/// Says in `Vary` that the answer depends on `Accept-Encoding`, if it does not say so yet.
pub fn mark_varying(head: &mut Head) {
    let covered = |member: &[u8]| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding");
    if head.get_all(b"vary").flat_map(list).any(covered) {
        return;
    }
    let mut merged = false;
    head.edit_fields(|_, name, value| {
        if merged || !name.eq_ignore_ascii_case(b"vary") || list(value).next().is_none() {
            return Edit::Keep;
        }
        merged = true;
        Edit::Value([value, b", Accept-Encoding"].concat())
    });
    if !merged {
        head.set(b"Vary", b"Accept-Encoding");
    }
}

/// Makes the head that of the encoded body: without what is true of the plain bytes only. How the body is framed is for
/// the writer of the head.
pub fn encode(head: &mut Head, coding: Coding) {
    mark_varying(head);
    weaken_tag(head);
    head.remove_known(Known::ContentLength);
    head.remove(b"Accept-Ranges");
    head.set(b"Content-Encoding", coding.name().as_bytes());
}

/// Makes a strong entity tag weak: the encoded bytes are the same only in meaning (RFC 9110 section 8.8.1). What is no
/// entity tag goes.
pub fn weaken_tag(head: &mut Head) {
    head.edit_fields(|_, name, value| {
        if !name.eq_ignore_ascii_case(b"etag") || value.starts_with(b"W/\"") {
            Edit::Keep
        } else if value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"") {
            Edit::Value([b"W/", value].concat())
        } else {
            Edit::Remove
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        let mut head = Head::new();
        for field in fields.split('|').filter(|f| !f.is_empty()) {
            let (name, value) = field.split_once(": ").unwrap();
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn text(head: &Head) -> String {
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap().trim_end().replace("\r\n", "|")
    }

    #[test]
    fn vary_is_merged() {
        let cases = [
            ("", "Vary: Accept-Encoding"),
            ("Vary: Origin", "Vary: Origin, Accept-Encoding"),
            ("Vary: Origin|Vary: Cookie", "Vary: Origin, Accept-Encoding|Vary: Cookie"),
            ("Vary: Origin, accept-encoding", "Vary: Origin, accept-encoding"),
            ("Vary: Origin|Vary: Accept-Encoding", "Vary: Origin|Vary: Accept-Encoding"),
            ("Vary: *", "Vary: *"),
            ("Vary: ", "Vary: Accept-Encoding"),
        ];
        for (before, after) in cases {
            let mut head = head(before);
            mark_varying(&mut head);
            assert_eq!(text(&head), after, "{before}");
        }
    }

    #[test]
    fn what_was_true_of_the_plain_bytes_goes() {
        let mut head = head(
            "Content-Type: text/html|Content-Length: 9|ETag: \"a\"|Accept-Ranges: bytes|Content-Encoding: identity|X-A: 1",
        );
        encode(&mut head, Coding::Brotli);
        assert_eq!(
            text(&head),
            "Content-Type: text/html|ETag: W/\"a\"|X-A: 1|Vary: Accept-Encoding|Content-Encoding: br"
        );
    }

    #[test]
    fn tags_become_weak() {
        for (before, after) in [
            ("ETag: W/\"a\"", "ETag: W/\"a\""),
            ("ETag: \"\"", "ETag: W/\"\""),
            ("ETag: a", ""),
            ("ETag: \"", ""),
            ("ETag: w/\"a\"", ""),
        ] {
            let mut head = head(before);
            weaken_tag(&mut head);
            assert_eq!(text(&head), after, "{before}");
        }
    }
}
