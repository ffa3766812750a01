//! Header rules on requests and responses.

use crate::support::origin::{Origin, Reply};
use crate::support::site::Site;

#[test]
fn set_add_delete_replace_on_requests() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "request_headers:\n  \
             - { set: { X-Set: \"new\" } }\n  \
             - { add: { X-Add: \"second\" } }\n  \
             - { delete: X-Delete }\n  \
             - { replace: { header: X-Replace, pattern: \"([a-z]+)=([0-9]+)\", with: \"$2=$1\" } }",
        )
        .start();
    let answer = site.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nx-set: older\r\nX-Add: first\r\nX-Delete: 1\r\nX-DELETE: 2\r\n\
         X-Replace: a=1, b=2\r\nX-Replace: c=3\r\nX-Other: kept\r\n\r\n",
    );
    assert_eq!(answer.status(), 200);
    let seen = &origin.requests()[0];
    assert_eq!(seen.all("x-set"), ["new"]);
    assert_eq!(seen.all("x-add"), ["first", "second"]);
    assert_eq!(seen.all("x-delete"), [""; 0]);
    assert_eq!(seen.all("x-replace"), ["1=a, 2=b", "3=c"]);
    assert_eq!(seen.all("x-other"), ["kept"]);
}

#[test]
fn set_add_delete_replace_on_responses() {
    let origin = Origin::answering(|_| {
        Reply::ok("x")
            .field("Server", "secret/1.0")
            .field("X-Set", "old")
            .field("X-Add", "first")
            .field("X-Path", "/in/a")
    });
    let site = Site::of(&[&origin])
        .frontend(
            "response_headers:\n  \
             - { set: { X-Set: \"new\" } }\n  \
             - { add: { X-Add: \"second\" } }\n  \
             - { delete: Server }\n  \
             - { replace: { header: X-Path, pattern: \"^/in/\", with: \"/out/\" } }",
        )
        .start();
    let answer = site.get("/");
    assert_eq!(answer.all("x-set"), ["new"]);
    assert_eq!(answer.all("x-add"), ["first", "second"]);
    assert_eq!(answer.field("server"), None);
    assert_eq!(answer.field("x-path"), Some("/out/a"));
}

#[test]
fn rules_of_frontend_route_and_backend_apply_in_order() {
    let origin = Origin::answering(|_| Reply::ok("x"));
    let site = Site::of(&[&origin])
        .frontend(
            "request_headers: [ { add: { X-Order: frontend } } ]\n\
             response_headers: [ { add: { X-Order: frontend } } ]\n\
             routes:\n  \
             - { path: /special/, backend: web, request_headers: [ { add: { X-Order: route } } ], \
                 response_headers: [ { add: { X-Order: route } } ] }\n  \
             - { backend: web }",
        )
        .backend(
            "request_headers: [ { add: { X-Order: backend } } ]\nresponse_headers: [ { add: { X-Order: backend } } ]",
        )
        .start();
    let special = site.get("/special/");
    assert_eq!(special.all("x-order"), ["backend", "route", "frontend"]);
    let usual = site.get("/");
    assert_eq!(usual.all("x-order"), ["backend", "frontend"]);
    let seen = origin.requests();
    assert_eq!(seen[0].all("x-order"), ["frontend", "route", "backend"]);
    assert_eq!(seen[1].all("x-order"), ["frontend", "backend"]);
}

#[test]
fn values_may_name_what_is_known_of_the_request() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "request_headers:\n  \
             - { set: { X-All: \"%[client_ip] %[frontend] %[scheme] %[host] %[path] %[query] %[method] %[header(X-In)]\" } }\n\
             response_headers:\n  \
             - { set: { X-Served: \"%[backend]/%[server]\" } }",
        )
        .start();
    let answer = site.ask("GET /p?q=1 HTTP/1.1\r\nHost: WWW.a.test:80\r\nX-In: inside\r\n\r\n");
    assert_eq!(answer.field("x-served"), Some("web/s1"));
    assert_eq!(origin.requests()[0].field("x-all"), Some("127.0.0.1 fe http www.a.test /p q=1 GET inside"));
}

#[test]
fn framing_cannot_be_broken_by_rules() {
    let origin = Origin::answering(|request| Reply::ok(request.text()));
    let site = Site::of(&[&origin])
        .frontend(
            "request_headers: [ { delete: X-None } ]\nresponse_headers: [ { set: { X-Echo: \"%[header(X-In)]\" } } ]",
        )
        .start();
    let mut client = site.client();
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nX-In: a\tb\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((answer.text().as_str(), answer.field("x-echo")), ("body", Some("a\tb")));
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn rules_reach_answers_made_here_too() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "response_headers: [ { set: { Strict-Transport-Security: max-age=9 } } ]\n\
             routes: [ { path: /go/, redirect: { location: /there, status: 302 } }, { backend: web } ]",
        )
        .start();
    assert_eq!(site.get("/go/").field("strict-transport-security"), Some("max-age=9"));
    assert_eq!(site.get("/").field("strict-transport-security"), Some("max-age=9"));
}
