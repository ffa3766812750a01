//! What a message leaves behind at this hop: fields between neighbours, and aliases nobody may smuggle.
//!
//! Runs after framing was decided and before anything is added, so a client cannot have our own fields removed by
//! naming them in `Connection`. Not here: which framing and `Connection` go out; the writer of a head puts those.

use super::grammar::{is_same_name, list};
use super::head::{Edit, Head, Known, is_alias};

/// Removes `Connection` and the fields it names, the other hop-by-hop fields (RFC 9110 section 7.6.1), credentials for
/// proxies, and underscore spellings of fields that steer a proxy. `keep_upgrade` leaves `Upgrade` in; the writer then
/// says `Connection: upgrade`. `Content-Length` stays, except on answers that have no body by their status (1xx, 204).
pub fn strip_hop_by_hop(head: &mut Head, keep_upgrade: bool) {
    if head.known_all(Known::Connection).any(names_fields) {
        remove_named_by_connection(head);
    }
    let no_length = matches!(head.status(), 100..=199 | 204);
    head.remove_where(|known| match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::ProxyAuthenticate
        | Known::ProxyAuthorization
        | Known::Te
        | Known::Trailer
        | Known::TransferEncoding
        | Known::Http2Settings
        | Known::Alias => true,
        Known::Upgrade => !keep_upgrade,
        Known::ContentLength => no_length,
        _ => false,
    });
}

/// Removes all fields of that name and all its underscore spellings; for fields whose name is configured, such as the
/// request id of a peer that is not trusted.
pub fn remove_with_aliases(head: &mut Head, name: &[u8]) {
    head.edit_fields(|_, field, _| if is_alias(field, name) { Edit::Remove } else { Edit::Keep });
}

/// Whether a `Connection` value holds more than the usual options, which name no field that is not removed anyway.
fn names_fields(value: &[u8]) -> bool {
    let usual = |option: &[u8]| [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|u| is_same_name(option, u));
    !usual(value) && list(value).any(|option| !usual(option))
}

fn remove_named_by_connection(head: &mut Head) {
    let mut named: Vec<u8> = Vec::new();
    for value in head.known_all(Known::Connection) {
        named.extend_from_slice(value);
        named.push(b',');
    }
    head.edit_fields(|known, name, _| {
        let protected = is_protected(known, name);
        if !protected && list(&named).any(|option| is_same_name(option, name)) { Edit::Remove } else { Edit::Keep }
    });
}

/// Fields that are end-to-end whatever `Connection` says: those this proxy sets, routes by or relies on, and those
/// whose absence would change who a request is from or what an answer means.
fn is_protected(known: Known, name: &[u8]) -> bool {
    const PROTECTED: [&[u8]; 15] = [
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"expires",
        b"location",
        b"origin",
        b"range",
        b"referer",
        b"user-agent",
        b"vary",
        b"www-authenticate",
        b"x-request-id",
        b"x-real-ip",
    ];
    match known {
        Known::Host
        | Known::ContentLength
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::Cookie
        | Known::SetCookie
        | Known::XForwardedFor
        | Known::XForwardedProto
        | Known::XForwardedPort
        | Known::XForwardedHost
        | Known::Forwarded
        | Known::Date
        | Known::Server
        | Known::Expect => true,
        Known::Other => PROTECTED.iter().any(|p| is_same_name(name, p)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&str, &str)], keep_upgrade: bool) -> String {
        let mut head = Head::new();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        strip_hop_by_hop(&mut head, keep_upgrade);
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn hop_by_hop_fields_go() {
        let all = [
            ("Connection", "keep-alive"),
            ("Keep-Alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("Proxy-Authorization", "Basic eA=="),
            ("Proxy-Authenticate", "Basic"),
            ("HTTP2-Settings", "AAA"),
            ("Content-Length", "5"),
            ("X", "y"),
        ];
        assert_eq!(stripped(&all, false), "Content-Length: 5|X: y|");
        assert_eq!(stripped(&all, true), "Upgrade: websocket|Content-Length: 5|X: y|");
    }

    #[test]
    fn connection_names_fields_but_not_ours() {
        assert_eq!(
            stripped(&[("Connection", "close, X-Hop , foo"), ("x-hop", "1"), ("Foo", "2"), ("Bar", "3")], false),
            "Bar: 3|"
        );
        let ours = [
            ("Connection", "host, cookie, x-forwarded-for, authorization, content-length, x-request-id, forwarded"),
            ("Connection", "X-Forwarded-Proto,content-type,upgrade"),
            ("Host", "a"),
            ("Cookie", "b"),
            ("X-Forwarded-For", "c"),
            ("Authorization", "d"),
            ("Content-Length", "3"),
            ("X-Request-Id", "e"),
            ("Forwarded", "for=f"),
            ("X-Forwarded-Proto", "g"),
            ("Content-Type", "h"),
        ];
        let kept = stripped(&ours, false);
        assert_eq!(kept.matches('|').count(), ours.len() - 2, "{kept}");
    }

    #[test]
    fn aliases_never_pass() {
        let aliases = [
            ("X_Forwarded_For", "1"),
            ("x-forwarded_for", "1"),
            ("CONTENT_LENGTH", "1"),
            ("Transfer_Encoding", "chunked"),
            ("X_Request_ID", "1"),
            ("x_y", "kept"),
        ];
        assert_eq!(stripped(&aliases, false), "x_y: kept|");
        let mut head = Head::new();
        head.add(b"X_Trace-Id", b"1");
        remove_with_aliases(&mut head, b"x-trace-id");
        assert_eq!(head.fields().count(), 0);
    }

    #[test]
    fn answers_without_a_body_lose_their_length() {
        for (status, kept) in [(204, 0), (103, 0), (304, 1), (200, 1)] {
            let mut head = Head::new();
            let none = head.store(b"");
            head.set_status_line(status, none, super::super::Version::Http11);
            head.add(b"Content-Length", b"0");
            strip_hop_by_hop(&mut head, false);
            assert_eq!(head.fields().count(), kept, "{status}");
        }
    }
}
