//! Cookies: reading pairs of `Cookie`, taking one out, rendering the persistence cookie (RFC 6265).
//!
//! Not here: which server a cookie value means; that is `crate::core::balance`'s caller.

use super::grammar::trim;
use super::head::{Edit, Head, Known};
use crate::core::fleet::spec::CookiePersistence;

/// The pairs of one `Cookie` value as (whole text, name, value), blanks around each trimmed. A piece without `=` has
/// an empty value; empty pieces are left out. Quotes belong to the value.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    value.split(|&b| b == b';').map(trim).filter(|piece| !piece.is_empty()).map(|piece| {
        match memchr::memchr(b'=', piece) {
            Some(at) => (piece, trim(&piece[..at]), trim(&piece[at + 1..])),
            None => (piece, piece, &piece[piece.len()..]),
        }
    })
}

/// The value of the first cookie of that name in a request. Names are case-sensitive.
pub fn find<'a>(head: &'a Head, name: &[u8]) -> Option<&'a [u8]> {
    head.known_all(Known::Cookie).flat_map(pairs).find(|(_, n, _)| *n == name).map(|(_, _, value)| value)
}

/// The first `name=value` text in a request that begins with `prefix`. HAProxy: `capture cookie`.
pub fn find_prefixed<'a>(head: &'a Head, prefix: &[u8]) -> Option<&'a [u8]> {
    head.known_all(Known::Cookie).flat_map(pairs).map(|(text, _, _)| text).find(|text| text.starts_with(prefix))
}

/// The `name=value` text of the last `Set-Cookie` of an answer that begins with `prefix`, attributes left out.
pub fn find_set_prefixed<'a>(head: &'a Head, prefix: &[u8]) -> Option<&'a [u8]> {
    head.known_all(Known::SetCookie)
        .filter_map(|value| pairs(value).next().map(|(text, _, _)| text))
        .filter(|text| text.starts_with(prefix))
        .last()
}

/// Takes all cookies of that name out of a request, and `Cookie` fields that held nothing else with them; the server
/// then never sees the persistence cookie. HAProxy: `indirect`. Gives how many were taken.
pub fn remove(head: &mut Head, name: &[u8]) -> usize {
    let mut removed = 0;
    head.edit_fields(|known, _, value| {
        if known != Known::Cookie {
            return Edit::Keep;
        }
        let here = pairs(value).filter(|(_, n, _)| *n == name).count();
        if here == 0 {
            return Edit::Keep;
        }
        removed += here;
        let mut kept = Vec::with_capacity(value.len());
        for (text, _, _) in pairs(value).filter(|(_, n, _)| *n != name) {
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(text);
        }
        if kept.is_empty() { Edit::Remove } else { Edit::Value(kept) }
    });
    removed
}

/// Writes the `Set-Cookie` value that binds a client to the server whose cookie value is given.
pub fn render_set_cookie(spec: &CookiePersistence, value: &str, out: &mut Vec<u8>) {
    let mut put = |text: &str| out.extend(text.bytes().filter(|b| !b.is_ascii_control()));
    put(&spec.name);
    put("=");
    put(value);
    if let Some(domain) = &spec.domain {
        put("; domain=");
        put(domain);
    }
    put("; path=");
    put(&spec.path);
    if spec.http_only {
        put("; HttpOnly");
    }
    if spec.secure {
        put("; Secure");
    }
    if let Some(same_site) = &spec.same_site {
        put("; SameSite=");
        put(same_site);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(values: &[&str]) -> Head {
        let mut head = Head::new();
        for value in values {
            head.add(b"Cookie", value.as_bytes());
        }
        head
    }

    #[test]
    fn finding() {
        let head = head(&["a=1; SRV=web1;b = 2 ;;c;d=x=y; e=\"q;\"", "SRV=other; f="]);
        for (name, expected) in
            [("a", Some("1")), ("SRV", Some("web1")), ("b", Some("2")), ("c", Some("")), ("d", Some("x=y"))]
        {
            assert_eq!(find(&head, name.as_bytes()), expected.map(str::as_bytes), "{name}");
        }
        assert_eq!(find(&head, b"f"), Some(&b""[..]));
        assert_eq!(find(&head, b"srv"), None);
        assert_eq!(find(&head, b""), None);
        assert_eq!(find_prefixed(&head, b"SR"), Some(&b"SRV=web1"[..]));
        assert_eq!(find_prefixed(&head, b"SRV=o"), Some(&b"SRV=other"[..]));
        assert_eq!(find_prefixed(&head, b"zz"), None);
    }

    #[test]
    fn taking_out() {
        for (before, after, count) in [
            ("SRV=1", "", 1),
            ("a=1; SRV=1; b=2", "Cookie: a=1; b=2\r\n", 1),
            ("SRV=1;SRV=2;a=1", "Cookie: a=1\r\n", 2),
            ("a=1;xSRV=1", "Cookie: a=1;xSRV=1\r\n", 0),
        ] {
            let mut head = head(&[before]);
            assert_eq!(remove(&mut head, b"SRV"), count, "{before}");
            let mut out = Vec::new();
            head.write_fields(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), after, "{before}");
        }
    }

    #[test]
    fn set_cookie() {
        let mut spec = CookiePersistence {
            name: "SRV".into(),
            secure: false,
            http_only: false,
            domain: None,
            path: "/".into(),
            same_site: None,
            nocache: true,
        };
        let render = |spec: &CookiePersistence, value: &str| {
            let mut out = Vec::new();
            render_set_cookie(spec, value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(render(&spec, "w1"), "SRV=w1; path=/");
        spec.secure = true;
        spec.http_only = true;
        spec.domain = Some("example.com".into());
        spec.same_site = Some("Lax".into());
        assert_eq!(render(&spec, "w\r\n1"), "SRV=w1; domain=example.com; path=/; HttpOnly; Secure; SameSite=Lax");

        let mut head = Head::new();
        head.add(b"Set-Cookie", b"sid=1; Path=/; sid2=x");
        head.add(b"Set-Cookie", b"sid=2");
        assert_eq!(find_set_prefixed(&head, b"sid="), Some(&b"sid=2"[..]));
        assert_eq!(find_set_prefixed(&head, b"sid2"), None);
    }
}
