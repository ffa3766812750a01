//! What the fuzz targets check: one function per target, so that a target has three lines.
//!
//! The HTTP functions are those the unit tests feed with mutated tables; they are included here, not written twice.

pub use lockgate::core;

#[path = "../../src/core/http/h1/tests/invariants.rs"]
pub mod http;

#[path = "../../src/core/proxy_protocol/tests/invariants.rs"]
pub mod proxy_protocol;
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

/// Any bytes a client may send first: in pieces they are read as they are whole, and everything in a hello can be asked
/// for.
pub fn client_hello(data: &[u8]) {
    use lockgate::core::tls::HelloReader;
    let whole = HelloReader::default().read(data);
    let mut reader = HelloReader::default();
    let mut ends = (0..data.len()).step_by(7).chain([data.len()]);
    let pieces = ends.find_map(|end| reader.read(&data[..end]).transpose()).transpose();
    match (&whole, &pieces) {
        // Limits and mistakes behind a hello may be seen sooner or later, but a hello is a hello.
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(_), Err(_)) => {}
        different => panic!("{different:?}"),
    }
    if let Ok(Some(hello)) = whole {
        let _ = (hello.server_name(), hello.alpn().count(), hello.ciphers().count(), hello.session_id());
        let _ = (hello.supported_versions().count(), hello.signature_algorithms().count());
        let _ = (hello.supported_groups().count(), hello.extensions().count());
    }
}
