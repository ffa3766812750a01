//! What the fuzz targets check: one function per target, so that a target has three lines.
//!
//! The HTTP functions are those the unit tests feed with mutated tables; they are included here, not written twice.

pub use lockgate::core;

#[path = "../../src/core/http/h1/tests/invariants.rs"]
pub mod http;

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
