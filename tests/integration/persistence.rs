//! Cookie persistence: a client stays with its server while it can.

use std::time::Duration;

use crate::support::message::Message;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};

fn site(origins: &[&Origin]) -> Running {
    Site::of(origins).backend("balance: roundrobin\ncookie: { name: SRV }").start()
}

fn ask(site: &Running, target: &str, cookie: &str) -> Message {
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    site.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n"))
}

fn flags(site: &Running, target: &str) -> String {
    site.logs.row_of(target).termination
}

#[test]
fn a_new_client_is_given_a_cookie() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    for (target, expected) in [("/one", "s1"), ("/two", "s2")] {
        let answer = ask(&site, target, "");
        assert_eq!(answer.text(), expected);
        let cookies = answer.all("set-cookie");
        assert_eq!(cookies.len(), 1, "{answer:?}");
        assert!(cookies[0].starts_with(&format!("SRV={expected};")), "{cookies:?}");
        assert!(cookies[0].to_lowercase().contains("path=/"), "{cookies:?}");
        assert_eq!(flags(&site, target), "--NI");
    }
}

#[test]
fn the_cookie_decides() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    for n in 0..6 {
        let answer = ask(&site, &format!("/{n}"), "x=1; SRV=s2; y=2");
        assert_eq!((answer.text().as_str(), answer.field("set-cookie")), ("s2", None));
        assert_eq!(flags(&site, &format!("/{n}")), "--VN");
    }
    // The server need not know: its own cookies are left as they were.
    for request in b.requests() {
        assert_eq!(request.all("cookie").join("; "), "x=1; y=2");
    }
    ask(&site, "/alone", "SRV=s2");
    assert_eq!(b.requests().last().unwrap().field("cookie"), None);
}

#[test]
fn an_unknown_cookie_is_replaced() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    let answer = ask(&site, "/unknown", "SRV=s99");
    assert!(answer.field("set-cookie").unwrap().starts_with(&format!("SRV={};", answer.text())));
    assert_eq!(flags(&site, "/unknown"), "--II");
}

#[test]
fn a_drained_server_keeps_its_clients() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    site.order("set server web/s2 state drain");
    for n in 0..4 {
        assert_eq!(ask(&site, &format!("/bound/{n}"), "SRV=s2").text(), "s2");
        assert_eq!(flags(&site, &format!("/bound/{n}")), "--VN");
        assert_eq!(ask(&site, &format!("/new/{n}"), "").text(), "s1");
    }
}

#[test]
fn a_server_in_maintenance_loses_them() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    site.order("set server web/s2 state maint");
    let answer = ask(&site, "/moved", "SRV=s2");
    assert_eq!(answer.text(), "s1");
    assert!(answer.field("set-cookie").unwrap().starts_with("SRV=s1;"));
    assert_eq!(flags(&site, "/moved"), "--DI");
}

#[test]
fn a_server_that_is_down_loses_them() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = site(&[&a, &b]);
    site.order("set server web/s2 health down");
    assert_eq!(ask(&site, "/down", "SRV=s2").text(), "s1");
    assert_eq!(flags(&site, "/down"), "--DI");
}

#[test]
fn a_bound_request_is_redispatched_when_its_server_refuses() {
    let (a, b) = (Origin::named("s1"), Origin::named("s2"));
    let site = Site::of(&[&a, &b]).backend("cookie: { name: SRV }").defaults("timeouts: { connect: 100ms }").start();
    b.stop();
    let answer = ask(&site, "/refused", "SRV=s2");
    assert_eq!(answer.text(), "s1");
    assert!(answer.field("set-cookie").unwrap().starts_with("SRV=s1;"));
    assert!(site.logs.row_of("/refused").redispatched);
}

#[test]
fn the_cookie_has_the_attributes_asked_for() {
    let a = Origin::answering(|_| Reply::ok("x").field("Cache-Control", "max-age=60").field("Set-Cookie", "own=1"));
    let site = Site::new()
        .server(a.addr(), "cookie: opaque42")
        .backend(
            "cookie: { name: SRV, secure: true, http_only: true, domain: a.test, path: /app, same_site: Lax, nocache: true }",
        )
        .start();
    let answer = ask(&site, "/", "");
    let cookies = answer.all("set-cookie");
    let ours = cookies.iter().find(|c| c.starts_with("SRV=")).unwrap();
    assert!(ours.starts_with("SRV=opaque42;"), "{ours}");
    for attribute in ["secure", "httponly", "domain=a.test", "path=/app", "samesite=lax"] {
        assert!(ours.to_lowercase().contains(attribute), "{ours}");
    }
    assert!(cookies.contains(&"own=1"), "the server's own cookie stays");
    assert!(answer.all("cache-control").join(",").contains("private"));
}

#[test]
fn a_bound_request_waits_for_its_own_server() {
    let gate = crate::support::gate::Gate::new();
    let held = gate.clone();
    let slow = Origin::answering(move |_| {
        held.pass();
        Reply::ok("s1")
    });
    let other = Origin::named("s2");
    let site =
        Site::new().server(slow.addr(), "maxconn: 1").server(other.addr(), "").backend("cookie: { name: SRV }").start();
    let mut clients: Vec<_> = (0..2)
        .map(|n| {
            let mut client = site.client();
            client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n"));
            crate::support::until("it to be served or to wait", || {
                slow.requests().len() == 1 && site.stat("web", "s1").number("qcur") == n
            });
            client
        })
        .collect();
    assert_eq!(ask(&site, "/free", "SRV=s2").text(), "s2");
    std::thread::sleep(Duration::from_millis(50));
    gate.open_for_good();
    for client in &mut clients {
        assert_eq!(client.answer().text(), "s1");
    }
    let row = site.logs.row_of("/1");
    assert_eq!((row.place().as_str(), row.server_queue), ("web/s1", 1));
}
