//! Whether a form was sent by a page of another site (cross-site request forgery).
//!
//! Browsers say where a form comes from: `Sec-Fetch-Site` (W3C Fetch Metadata), else `Origin` (RFC 6454), else
//! `Referer`. Scripts and tools send none of these and are let through: a browser cannot be made to leave out all.

/// What a request says of the page that sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sender<'a> {
    /// `Sec-Fetch-Site`
    pub fetch_site: Option<&'a [u8]>,
    /// `Origin`
    pub origin: Option<&'a [u8]>,
    /// `Referer`
    pub referer: Option<&'a [u8]>,
    /// `Host`, or the authority of an absolute target.
    pub host: &'a [u8],
}

/// Whether the sender is this site itself, a person (address bar, bookmark) or no browser at all.
pub fn is_own(sender: &Sender<'_>) -> bool {
    if let Some(site) = sender.fetch_site {
        return matches!(site, b"same-origin" | b"none");
    }
    match sender.origin.or(sender.referer) {
        None => true,
        Some(from) => authority(from).is_some_and(|from| same(from, sender.host)),
    }
}

/// `scheme://authority` and what follows → the scheme's port and the authority.
fn authority(url: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let (port, rest): (&[u8], _) = match url {
        [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (b":80", rest),
        [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..] => (b":443", rest),
        _ => return None,
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    rest.get(..end).map(|a| (port, a))
}

fn same((port, from): (&[u8], &[u8]), host: &[u8]) -> bool {
    let bare = |a: &'_ [u8]| a.strip_suffix(port).map_or(a.len(), <[u8]>::len);
    let (a, b) = (from.get(..bare(from)), host.get(..bare(host)));
    a.zip(b).is_some_and(|(a, b)| !a.is_empty() && a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sites_are_told_from_our_own_and_from_scripts() {
        let check = |site: &str, origin: &str, referer: &str, own: bool| {
            let bytes = |s: &str| (!s.is_empty()).then(|| s.as_bytes().to_vec());
            let (s, o, r) = (bytes(site), bytes(origin), bytes(referer));
            let sender =
                Sender { fetch_site: s.as_deref(), origin: o.as_deref(), referer: r.as_deref(), host: b"lb.test:8404" };
            assert_eq!(is_own(&sender), own, "{site} {origin} {referer}");
        };
        check("", "", "", true);
        check("same-origin", "", "", true);
        check("none", "", "", true);
        check("same-origin", "http://behind.a.proxy", "", true);
        check("cross-site", "", "", false);
        check("same-site", "", "", false);
        check("same-site", "http://lb.test:8404", "", false);
        check("anything", "", "", false);
        check("", "http://lb.test:8404", "", true);
        check("", "http://LB.test:8404", "", true);
        check("", "http://evil.test", "", false);
        check("", "http://lb.test", "", false);
        check("", "http://lb.test:8404.evil.test", "", false);
        check("", "null", "", false);
        check("", "null", "http://lb.test:8404/haproxy", false);
        check("", "", "http://lb.test:8404/haproxy;up", true);
        check("", "", "http://evil.test/?http://lb.test:8404/", false);
        check("", "", "nonsense", false);
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        let check = |origin: &[u8], host: &[u8], own: bool| {
            let sender = Sender { origin: Some(origin), host, ..Sender::default() };
            assert_eq!(is_own(&sender), own, "{origin:?} {host:?}");
        };
        check(b"https://lb.test", b"lb.test", true);
        check(b"https://lb.test", b"lb.test:443", true);
        check(b"http://lb.test:80", b"lb.test", true);
        check(b"https://lb.test", b"lb.test:80", false);
        check(b"http://[::1]:8404", b"[::1]:8404", true);
        check(b"http://", b"", false);
    }
}
