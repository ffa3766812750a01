//! What the server learns of the client, and whose word is taken for it.

use crate::support::client::RawClient;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};

fn seen(origin: &Origin, site: &Running, fields: &str) -> Message {
    assert_eq!(site.ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")).status(), 200, "{fields}");
    origin.requests().pop().unwrap()
}

#[test]
fn the_server_is_told_who_asks() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let request = seen(&origin, &site, "");
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.all("x-forwarded-port"), [site.address.port().to_string()]);
    assert_eq!(request.field("forwarded"), None);
    assert_eq!(request.field("host"), Some("a.test"));
}

#[test]
fn strangers_are_not_believed() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("forwarded: { forwarded: true }").start();
    let request = seen(
        &origin,
        &site,
        "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
         X-Forwarded-Host: evil.test\r\nForwarded: for=9.9.9.9\r\nX_Forwarded_For: 7.7.7.7\r\nX-Request-Id: mine\r\n",
    );
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.all("x-forwarded-host"), [""; 0]);
    assert_eq!(request.all("x_forwarded_for"), [""; 0]);
    assert_eq!(request.all("forwarded").len(), 1);
    assert!(request.field("forwarded").unwrap().contains("for=127.0.0.1"), "{request:?}");
    assert!(!request.field("forwarded").unwrap().contains("9.9.9.9"));
    assert_ne!(request.field("x-request-id"), Some("mine"));
    assert!(site.logs.row_of("/").client.starts_with("127.0.0.1:"));
}

#[test]
fn trusted_proxies_are_believed() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("trusted_proxies: [ 127.0.0.0/8, 10.0.0.0/8 ]").start();
    let request = seen(
        &origin,
        &site,
        "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.2.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
         X-Request-Id: from-the-edge\r\n",
    );
    let chain = request.all("x-forwarded-for").join(", ");
    assert_eq!(chain, "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1");
    assert_eq!(request.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.all("x-forwarded-port"), ["443"]);
    assert_eq!(request.all("x-request-id"), ["from-the-edge"]);
    // The client is the rightmost address that is no trusted proxy.
    let row = site.logs.row_of("/");
    assert!(row.client.starts_with("203.0.113.7:"), "{row:?}");
}

#[test]
fn garbage_from_a_trusted_proxy_ends_the_search() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("trusted_proxies: [ 127.0.0.0/8 ]").start();
    for (n, value) in ["unknown", "1.2.3.4, not-an-address", "", ",,,", "::gg"].iter().enumerate() {
        let target = format!("/{n}");
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {value}\r\n\r\n");
        assert_eq!(site.ask(text).status(), 200);
        let row = site.logs.row_of(&target);
        assert!(row.client.starts_with("127.0.0.1:"), "{value}: {row:?}");
    }
}

#[test]
fn forwarded_fields_can_be_switched() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "forwarded: { x_forwarded_for: false, x_forwarded_proto: false, x_forwarded_port: false, forwarded: true }",
        )
        .start();
    let request = seen(&origin, &site, "X-Forwarded-For: 9.9.9.9\r\n");
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"] {
        assert_eq!(request.field(name), None, "{request:?}");
    }
    let forwarded = request.field("forwarded").unwrap();
    for part in ["for=127.0.0.1", "proto=http"] {
        assert!(forwarded.contains(part), "{forwarded}");
    }
}

#[test]
fn connection_cannot_name_fields_that_are_relied_on() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let request = seen(
        &origin,
        &site,
        "Connection: close, X-Forwarded-For, X-Forwarded-Proto, X-Request-Id, Host, Cookie, Authorization\r\n\
         Cookie: a=b\r\nAuthorization: Basic eA==\r\n",
    );
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("host"), Some("a.test"));
    assert_eq!(request.field("cookie"), Some("a=b"));
    assert_eq!(request.field("authorization"), Some("Basic eA=="));
    assert!(request.field("x-request-id").is_some());
}

#[test]
fn every_request_has_an_id() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("request_id: { respond: true }").start();
    let mut client = site.client();
    let ids: Vec<String> = (0..3).map(|_| client.get("/").field("x-request-id").unwrap().to_owned()).collect();
    let seen: Vec<String> = origin.requests().iter().map(|r| r.field("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids, seen);
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0].len() >= 16, "{ids:?}");
}

#[test]
fn ids_have_another_field_or_none() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("request_id: { header: X-Trace }").start();
    let mut client = site.client();
    assert_eq!(client.get("/").field("x-trace"), None, "the client did not ask for it");
    assert!(origin.requests()[0].field("x-trace").is_some());

    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("request_id: off").start();
    site.get("/");
    assert_eq!(origin.requests()[0].field("x-request-id"), None);
}

#[test]
fn ipv6_clients() {
    let origin = Origin::named("s1");
    let port = crate::support::ports::reserve();
    let site =
        Site::of(&[&origin]).frontend(format!("bind: [ \"[::1]:{port}\" ]\nforwarded: {{ forwarded: true }}")).start();
    let mut client = RawClient::connect(format!("[::1]:{port}").parse().unwrap());
    assert_eq!(client.get("/six").status(), 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.field("x-forwarded-for"), Some("::1"));
    assert!(request.field("forwarded").unwrap().contains("for=\"[::1]\""), "{request:?}");
    assert!(site.logs.row_of("/six").client.starts_with("::1:"));
}
