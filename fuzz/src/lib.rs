//! What the fuzz targets check: one function per target, so that a target has three lines.
//!
//! The HTTP functions are those the unit tests feed with mutated tables; they are included here, not written twice.

pub use lockgate::core;

#[path = "../../src/core/http/h1/tests/invariants.rs"]
pub mod http;

#[path = "../../src/core/http/h2/invariants.rs"]
pub mod http2;

/// Addresses as clients, peers and operators write them: hosts read the same once normalised, forwarding lists end in
/// an address whatever they hold, and a bind or server address is taken or refused.
pub fn addresses(data: &[u8]) {
    use lockgate::core::http::{Head, forwarded, host};
    if let Some(authority) = host::parse(data) {
        let mut once = String::new();
        authority.write_normalised(&mut once);
        let again = host::parse(once.as_bytes()).expect("a normalised host is a host");
        let mut twice = String::new();
        again.write_normalised(&mut twice);
        assert_eq!(once, twice);
    }
    if lockgate::core::http::grammar::is_field_value(data) {
        let trusted = ["127.0.0.0/8".parse().expect("a network"), "::/0".parse().expect("a network")];
        let peer = std::net::IpAddr::from([127, 0, 0, 1]);
        for name in ["X-Forwarded-For", "Forwarded"] {
            let mut head = Head::new();
            head.add(name.as_bytes(), data);
            let _ = forwarded::client_from_forwarded(&head, peer, &trusted);
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let quoted = text.replace(['"', '\\'], "");
        lockgate::config::fuzz_config(&format!(
            "frontends: {{ f: {{ bind: \"{quoted}\", routes: [{{ backend: b }}] }} }}\nbackends: {{ b: {{ servers: {{ s: \"{quoted}\" }} }} }}\n"
        ));
    }
}

/// Maps and access lists of any bytes: read without a panic, and each entry is found by what it says.
pub fn pattern_file(data: &[u8]) {
    use lockgate::core::pattern::{ListKind, Matching, Pattern, file};
    for matching in [Matching::Network, Matching::Host, Matching::Path, Matching::Text] {
        for kind in [ListKind::Map, ListKind::Acl] {
            for (_, pattern) in file::parse(kind, matching, data).patterns {
                let again = Pattern::parse(matching, pattern.key(), pattern.value());
                assert_eq!(again.as_ref(), Ok(&pattern), "what is shown is read the same");
            }
        }
    }
}
