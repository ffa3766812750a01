//! The body of a posted form (`application/x-www-form-urlencoded`): `s=web1&action=drain&b=%234`.

use std::borrow::Cow;

/// Servers that one form may name; more are not read.
const SERVERS_MAX: usize = 10_000;

/// What a form says. The content type is not looked at, as in HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    /// `s`, each time it stands there.
    pub servers: Vec<String>,
    /// `action`, the last one.
    pub action: Option<String>,
    /// `b`, the last one: a backend's name, or `#` and its `iid`.
    pub backend: Option<String>,
}

/// Reads a form; what it does not know it passes over.
pub fn parse(body: &[u8]) -> Order {
    let mut order = Order::default();
    let body = body.trim_ascii_end();
    for pair in body.split(|b| *b == b'&') {
        let Some(at) = memchr::memchr(b'=', pair) else { continue };
        let value = decode(pair.get(at + 1..).unwrap_or_default());
        match &*decode(pair.get(..at).unwrap_or_default()) {
            "s" if order.servers.len() < SERVERS_MAX => order.servers.push(value.into_owned()),
            "action" => order.action = Some(value.into_owned()),
            "b" => order.backend = Some(value.into_owned()),
            _ => {}
        }
    }
    order
}

fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let spaced: Cow<'_, [u8]> = match bytes.contains(&b'+') {
        true => bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect::<Vec<_>>().into(),
        false => bytes.into(),
    };
    let decoded = percent_encoding::percent_decode(&spaced).collect::<Vec<u8>>();
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_in_any_order() {
        let check = |body: &str, servers: &[&str], action: Option<&str>, backend: Option<&str>| {
            let order = parse(body.as_bytes());
            let got: Vec<&str> = order.servers.iter().map(String::as_str).collect();
            assert_eq!((&got[..], order.action.as_deref(), order.backend.as_deref()), (servers, action, backend));
        };
        check("s=web1&action=drain&b=be_web", &["web1"], Some("drain"), Some("be_web"));
        check("b=be_web&action=drain&s=web1", &["web1"], Some("drain"), Some("be_web"));
        check("s=web%31&action=dr%61in&b=be%5Fweb", &["web1"], Some("drain"), Some("be_web"));
        check("s=a&s=b&action=ready&b=%234", &["a", "b"], Some("ready"), Some("#4"));
        check("s=a+b&action=&b=x\r\n", &["a b"], Some(""), Some("x"));
        check("", &[], None, None);
        check("&&=&s&action", &[], None, None);
        check("s=%zz&s=%", &["%zz", "%"], None, None);
        assert_eq!(parse(b"s=\xff%ff").servers, ["\u{fffd}\u{fffd}"]);
    }
}
