//! Which route a request takes: host, path, method, header, query, in order, first match.

use crate::support::origin::Origin;
use crate::support::site::{Running, Site};

/// A site whose routes answer with fixed texts, so that a table can tell them apart.
fn site(routes: &[(&str, &str)]) -> Running {
    let routes: String = routes
        .iter()
        .map(|(conditions, text)| format!("  - {{ {conditions}, respond: {{ status: 200, body: \"{text}\" }} }}\n"))
        .collect();
    Site::new()
        .frontend(format!("routes:\n{routes}"))
        .more("backends", "unused: { servers: { s1: 127.0.0.1:9 } }")
        .start()
}

fn ask(site: &Running, method: &str, target: &str, fields: &str) -> String {
    let answer = site.ask(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"));
    match answer.status() {
        200 => answer.text(),
        status => status.to_string(),
    }
}

#[test]
fn hosts() {
    let site = site(&[
        ("host: www.example.com", "exact"),
        ("host: [ one.test, two.test ]", "list"),
        ("host: \"*.example.com\"", "wildcard"),
        ("host: \"*.deep.example.org\"", "deep"),
    ]);
    for (host, expected) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com:8080", "exact"),
        ("www.example.com.", "exact"),
        ("www.example.com.:80", "exact"),
        ("two.test", "list"),
        ("api.example.com", "wildcard"),
        ("a.b.example.com", "wildcard"),
        ("example.com", "404"),
        ("wwwexample.com", "404"),
        ("xexample.com", "404"),
        ("www.example.com.evil.test", "404"),
        ("a.deep.example.org", "deep"),
        ("deep.example.org", "404"),
        ("127.0.0.1", "404"),
        ("[::1]:80", "404"),
    ] {
        assert_eq!(ask(&site, "GET", "/", &format!("Host: {host}\r\n")), expected, "{host}");
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("routes: [ { host: www.example.com, backend: web } ]").start();
    assert_eq!(ask(&site, "GET", "http://www.example.com/a?b=c", "Host: www.example.com\r\n"), "s1");
    assert_eq!(ask(&site, "GET", "http://www.example.com/a", "Host: other.test\r\n"), "400");
    let seen = &origin.requests()[0];
    assert_eq!((seen.target(), seen.field("host")), ("/a?b=c", Some("www.example.com")));
}

#[test]
fn paths() {
    let site = site(&[
        ("path: \"= /exact\"", "exact"),
        ("path: /api/", "prefix"),
        ("path: \"~ ^/item/[0-9]+$\"", "regex"),
        ("path: [ /one/, \"= /two\" ]", "list"),
    ]);
    for (target, expected) in [
        ("/exact", "exact"),
        ("/exact?with=query", "exact"),
        ("/exact/", "404"),
        ("/Exact", "404"),
        ("/api/", "prefix"),
        ("/api/v1/x", "prefix"),
        ("/api", "prefix"),
        ("/apix", "404"),
        ("/item/42", "regex"),
        ("/item/42x", "404"),
        ("/one/more", "list"),
        ("/two", "list"),
        // What the server would take for the same path takes the same route.
        ("/%65xact", "exact"),
        ("/x/../exact", "exact"),
        ("/x/%2e%2e/exact", "exact"),
        ("/./exact", "exact"),
        ("/public/../api/secret", "prefix"),
    ] {
        assert_eq!(ask(&site, "GET", target, "Host: a\r\n"), expected, "{target}");
    }
}

#[test]
fn the_server_sees_the_path_that_was_routed() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    for (sent, seen) in [
        ("/a/../b", "/b"),
        ("/%7Euser/%2e/x%2fy", "/~user/x%2Fy"),
        ("/../../etc", "/etc"),
        ("/a//b", "/a//b"),
        ("/q?x=/../y", "/q?x=/../y"),
        ("/plain", "/plain"),
    ] {
        assert_eq!(ask(&site, "GET", sent, "Host: a\r\n"), "s1", "{sent}");
        assert_eq!(origin.requests().last().unwrap().target(), seen, "{sent}");
    }
    for refused in ["/a#b", "/%00", "/%zz", "/a\\b", "/%", "/\u{e9}"] {
        assert_eq!(ask(&site, "GET", refused, "Host: a\r\n"), "400", "{refused}");
    }
}

#[test]
fn methods_headers_and_query() {
    let site = site(&[
        ("method: [ PUT, DELETE ]", "writes"),
        ("header: { X-Beta: \"1\" }", "beta"),
        ("header: { User-Agent: \"~ (?i)bot\" }", "bot"),
        ("query: { debug: \"yes\" }", "debug"),
        ("query: { v: \"~ ^[23]$\" }", "version"),
        ("method: GET, path: /", "rest"),
    ]);
    for (method, target, fields, expected) in [
        ("PUT", "/", "", "writes"),
        ("DELETE", "/", "", "writes"),
        ("put", "/", "", "404"),
        ("GET", "/", "X-Beta: 1\r\n", "beta"),
        ("GET", "/", "x-beta: 1\r\n", "beta"),
        ("GET", "/", "X-Beta: 2\r\n", "rest"),
        ("GET", "/", "User-Agent: Some-BOT/1\r\n", "bot"),
        ("GET", "/?debug=yes", "", "debug"),
        ("GET", "/?a=b&debug=yes&c", "", "debug"),
        ("GET", "/?debug=no", "", "rest"),
        ("GET", "/?xdebug=yes", "", "rest"),
        ("GET", "/?v=3", "", "version"),
        ("GET", "/?v=33", "", "rest"),
        ("POST", "/", "", "404"),
    ] {
        let fields = format!("Host: a\r\n{fields}");
        assert_eq!(ask(&site, method, target, &fields), expected, "{method} {target} {fields}");
    }
}

#[test]
fn every_condition_must_hold_and_the_first_route_wins() {
    let site = site(&[
        ("host: a.test, path: /api/, method: POST", "all three"),
        ("host: a.test, path: /api/", "two"),
        ("host: a.test", "host"),
        ("path: /api/", "path"),
        ("host: a.test, path: /never/", "shadowed"),
    ]);
    assert_eq!(ask(&site, "POST", "/api/x", "Host: a.test\r\nContent-Length: 0\r\n"), "all three");
    assert_eq!(ask(&site, "GET", "/api/x", "Host: a.test\r\n"), "two");
    assert_eq!(ask(&site, "GET", "/never/", "Host: a.test\r\n"), "host");
    assert_eq!(ask(&site, "GET", "/api/x", "Host: b.test\r\n"), "path");
    assert_eq!(ask(&site, "GET", "/", "Host: b.test\r\n"), "404");
}

#[test]
fn many_hosts() {
    let routes: String = (0..2000)
        .map(|n| format!("  - {{ host: h{n}.test, respond: {{ status: 200, body: \"host {n}\" }} }}\n"))
        .collect();
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend(format!("routes:\n{routes}  - {{ backend: web }}")).start();
    for n in [0, 1, 999, 1999] {
        assert_eq!(ask(&site, "GET", "/", &format!("Host: H{n}.test\r\n")), format!("host {n}"));
    }
    assert_eq!(ask(&site, "GET", "/", "Host: h2000.test\r\n"), "s1");
}

#[test]
fn redirects() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(
            "routes:\n  \
             - { host: old.test, redirect: { to: \"https://new.test\", status: 301 } }\n  \
             - { host: moved.test, redirect: { location: \"https://new.test/here\", status: 302 } }\n  \
             - { host: secure.test, redirect: { scheme: https, status: 308 } }\n  \
             - { host: ported.test, redirect: { scheme: https, port: 8443, status: 307 } }\n  \
             - { backend: web }",
        )
        .start();
    let mut client = site.client();
    for (host, status, location) in [
        ("old.test", 301, "https://new.test/a/b?c=d"),
        ("moved.test", 302, "https://new.test/here"),
        ("secure.test", 308, "https://secure.test/a/b?c=d"),
        ("secure.test:8080", 308, "https://secure.test/a/b?c=d"),
        ("ported.test", 307, "https://ported.test:8443/a/b?c=d"),
    ] {
        let answer = client.ask(format!("GET /a/b?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((answer.status(), answer.field("location")), (status, Some(location)), "{host}");
    }
    assert_eq!(origin.requests().len(), 0);
    let row = site.logs.row_where("a redirect", |row| row.status == 301);
    assert_eq!(
        (row.termination.as_str(), row.place().as_str(), row.reached().as_str()),
        ("LR--", "fe/<NOSRV>", "+---")
    );
    assert_eq!(site.stat("fe", "FRONTEND").number("intercepted"), 5);
}

#[test]
fn fixed_answers() {
    let site = Site::new()
        .frontend(
            "routes: [ { path: \"= /robots.txt\", respond: { status: 200, body: \"Disallow: /\", \
             content_type: text/plain, headers: { X-Fixed: \"1\" } } } ]",
        )
        .more("backends", "unused: { servers: { s1: 127.0.0.1:9 } }")
        .start();
    let mut client = site.client();
    let answer = client.get("/robots.txt");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "Disallow: /"));
    assert_eq!((answer.field("content-type"), answer.field("x-fixed")), (Some("text/plain"), Some("1")));
    client.send("HEAD /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head_answer().field("content-length"), Some("11"));
    assert_eq!(client.ask("POST /robots.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").status(), 200);
    assert_eq!(client.get("/robots.txt").status(), 200, "the unused body was taken off the connection");
}

#[test]
fn a_request_without_a_route_never_reaches_a_server() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("routes: [ { host: known.test, backend: web } ]").start();
    let answer = site.ask("GET /lost HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
    assert_eq!(answer.status(), 404);
    assert_eq!(origin.requests().len(), 0);
    let row = site.logs.row_of("/lost");
    assert_eq!((row.place().as_str(), row.status, row.termination.as_str()), ("fe/<NOSRV>", 404, "LR--"));
    assert_eq!(site.stat("fe", "FRONTEND").number("hrsp_4xx"), 1);
    // Without any Host an HTTP/1.0 request has no route either.
    assert_eq!(site.ask("GET / HTTP/1.0\r\n\r\n").status(), 404);
}

#[test]
fn the_answer_without_a_route_can_be_chosen() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend("routes: [ { host: known.test, backend: web } ]\nno_route: { status: 421, body: \"not here\" }")
        .start();
    let answer = site.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (421, "not here"));
}

#[test]
fn frontends_have_their_own_routes() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let other = crate::support::ports::address();
    let site = Site::of(&[&one])
        .more("frontends", format!("second:\n  bind: [ \"{other}\" ]\n  routes: [ {{ backend: other }} ]"))
        .more("backends", format!("other:\n  health_check: off\n  servers: {{ t1: \"{}\" }}", two.addr()))
        .start();
    assert_eq!(site.get("/").text(), "one");
    assert_eq!(crate::support::client::RawClient::connect(other).get("/").text(), "two");
    let row = site.logs.row_where("of the second frontend", |row| row.frontend == "second");
    assert_eq!(row.place(), "other/t1");
}
