//! Routes: what each condition takes, that the index and the plain search agree, and where redirects lead.

use proptest::prelude::*;

use super::*;
use crate::core::filter::TemplateContext;
use crate::core::filter::template::tests::{context, request};

fn route() -> Route {
    Route {
        hosts: Vec::new(),
        paths: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        tls: None,
        samples: Vec::new(),
        clients: Vec::new(),
        action: RouteAction::Backend(BackendIndex(0)),
        request_rules: Vec::new(),
        response_rules: Vec::new(),
        compression: None,
    }
}

/// Facts of a process without lists.
fn facts<'a>(head: &'a Head, host: &'a str, tls: bool) -> RouteFacts<'a> {
    static NONE: std::sync::LazyLock<LivePatterns> = std::sync::LazyLock::new(LivePatterns::default);
    RouteFacts { head, host, tls, tls_facts: None, client: IpAddr::from([192, 0, 2, 1]), patterns: &NONE }
}

fn host(pattern: &str) -> HostPattern {
    match pattern.strip_prefix('*') {
        Some("") => HostPattern::Any,
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact(pattern.into()),
    }
}

fn takes(route: Route, method: &str, target: &str, fields: &[(&str, &str)], host: &str, tls: bool) -> bool {
    let head = request(method, target, fields);
    let facts = self::facts(&head, host, tls);
    let routes = [route];
    let found = find(&routes, &facts);
    assert_eq!(RouteIndex::new(&routes).find(&routes, &facts), found);
    found.is_some()
}

#[test]
fn hosts() {
    let is_for = |pattern: &str, name: &str| {
        takes(Route { hosts: vec![host(pattern)], ..route() }, "GET", "/", &[], name, false)
    };
    for (pattern, name, expected) in [
        ("a.example", "a.example", true),
        ("a.example", "b.a.example", false),
        ("a.example", "", false),
        ("*.a.example", "b.a.example", true),
        ("*.a.example", "c.b.a.example", true),
        ("*.a.example", "a.example", false),
        ("*.a.example", ".a.example", false),
        ("*.a.example", "xa.example", false),
        ("*", "", true),
        ("*", "anything", true),
        ("[2001:db8::1]", "[2001:db8::1]", true),
    ] {
        assert_eq!(is_for(pattern, name), expected, "{pattern} and {name}");
    }
}

#[test]
fn paths() {
    let is_for = |pattern: PathPattern, target: &str| {
        takes(Route { paths: vec![pattern], ..route() }, "GET", target, &[], "", false)
    };
    for (prefix, target, expected) in [
        ("/api/", "/api", true),
        ("/api/", "/api/", true),
        ("/api/", "/api/x?y", true),
        ("/api/", "/api?x=/", true),
        ("/api/", "/apix", false),
        ("/api/", "/API/", false),
        ("/api/", "/", false),
        ("/", "/", true),
        ("/", "/x", true),
        ("/", "*", false),
    ] {
        assert_eq!(is_for(PathPattern::Prefix(prefix.into()), target), expected, "{prefix} and {target}");
    }
    assert!(is_for(PathPattern::Exact("/a".into()), "/a?b"));
    assert!(!is_for(PathPattern::Exact("/a".into()), "/a/"));
    assert!(is_for(PathPattern::Regex(Regex::new(r"\.png$").unwrap()), "/x.png?.txt"));
    assert!(!is_for(PathPattern::Regex(Regex::new(r"\.png$").unwrap()), "/x?.png"));
}

#[test]
fn methods_schemes_fields_and_parameters() {
    let get = |r: Route, target: &str, fields: &[(&str, &str)]| takes(r, "GET", target, fields, "", true);
    assert!(get(Route { methods: vec!["POST".into(), "GET".into()], ..route() }, "/", &[]));
    assert!(!get(Route { methods: vec!["get".into()], ..route() }, "/", &[]));
    assert!(get(Route { tls: Some(true), ..route() }, "/", &[]));
    assert!(!get(Route { tls: Some(false), ..route() }, "/", &[]));
    let header = |test: ValueTest| Route { headers: vec![ValueCondition { name: "X-A".into(), test }], ..route() };
    let query = |test: ValueTest| Route { query: vec![ValueCondition { name: "a b".into(), test }], ..route() };
    let fields = [("x-a", "1"), ("X-A", "2")];
    assert!(get(header(ValueTest::Present), "/", &fields) && !get(header(ValueTest::Present), "/", &[]));
    assert!(!get(header(ValueTest::Absent), "/", &fields) && get(header(ValueTest::Absent), "/", &[]));
    assert!(get(header(ValueTest::Exact("2".into())), "/", &fields), "any of the values counts");
    assert!(!get(header(ValueTest::Exact("12".into())), "/", &fields));
    assert!(get(header(ValueTest::Regex(Regex::new("^[12]$").unwrap())), "/", &fields));
    for target in ["/?x&a+b=c%64", "/?a%20b=cd&y", "/?%61+b=cd"] {
        assert!(get(query(ValueTest::Exact("cd".into())), target, &[]), "{target}");
    }
    assert!(get(query(ValueTest::Present), "/?a+b", &[]) && get(query(ValueTest::Absent), "/?ab=1", &[]));
    let both = Route { methods: vec!["GET".into()], tls: Some(false), ..route() };
    assert!(!get(both, "/", &[]), "all kinds of conditions must hold");
}

#[test]
fn ten_thousand_hosts() {
    let mut routes: Vec<Route> =
        (0..10_000).map(|n| Route { hosts: vec![host(&format!("h{n}.example"))], ..route() }).collect();
    routes.push(Route { hosts: vec![host("*.example")], ..route() });
    routes.push(route());
    let index = RouteIndex::new(&routes);
    let head = request("GET", "/", &[]);
    for (name, expected) in [("h0.example", 0), ("h9999.example", 9999), ("x.example", 10_000), ("other", 10_001)] {
        let facts = self::facts(&head, name, false);
        assert_eq!(index.find(&routes, &facts), Some(expected), "{name}");
        assert_eq!(find(&routes, &facts), Some(expected), "{name}");
    }
}

fn any_route() -> impl Strategy<Value = Route> {
    let pattern = prop_oneof!["[ab](\\.[ab]){0,2}", "\\*(\\.[ab]){1,2}", Just("*".to_owned())];
    let methods = proptest::sample::subsequence(vec!["GET", "POST"], 0..=1);
    (proptest::collection::vec(pattern, 0..4), methods, proptest::option::of(proptest::bool::ANY)).prop_map(
        |(hosts, methods, tls)| Route {
            hosts: hosts.iter().map(|p| host(p)).collect(),
            methods: methods.into_iter().map(Into::into).collect(),
            tls,
            ..route()
        },
    )
}

proptest! {
    #[test]
    fn index_and_plain_search_agree(
        routes in proptest::collection::vec(any_route(), 0..12),
        name in "([ab](\\.[ab]){0,3})?|\\.a|a\\.\\.b",
        tls: bool,
        post: bool,
    ) {
        let head = request(if post { "POST" } else { "GET" }, "/", &[]);
        let facts = self::facts(&head, &name, tls);
        prop_assert_eq!(RouteIndex::new(&routes).find(&routes, &facts), find(&routes, &facts));
    }
}

fn location(to: RedirectTarget, target: &str, host: &str) -> String {
    let head = request("GET", target, &[("X", "a\r\nSet-Cookie: b"), ("Y", "//evil.example/")]);
    let context = TemplateContext { host, ..context(&head) };
    let mut out = b"kept".to_vec();
    render_redirect(&Redirect { to, status: 301 }, &context, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
    text.strip_prefix("kept").unwrap().to_owned()
}

#[test]
fn redirects() {
    let template = |text: &str| Template::parse(text).unwrap();
    let prefix = |text: &str| RedirectTarget::Prefix(template(text));
    let exact = |text: &str| RedirectTarget::Location(template(text));
    let scheme = |port| RedirectTarget::Scheme { scheme: "https".into(), port };
    for (to, target, expected) in [
        (prefix("https://b.example"), "/x?y=1", "https://b.example/x?y=1"),
        (prefix("https://b.example"), "*", "https://b.example/"),
        (prefix("https://b.example"), "//evil.example", "https://b.example//evil.example"),
        (prefix("https://www.%[host]"), "/x", "https://www.a.example/x"),
        (prefix(""), "//evil.example/x", "/evil.example/x"),
        (prefix(""), "///evil.example", "/evil.example"),
        (prefix("/new"), "//x", "/new//x"),
        (prefix(""), "/\"<x>", "/%22%3Cx%3E"),
        (exact("/login?from=%[path]#top"), "/x", "/login?from=/x#top"),
        (exact("/%[header(X)]"), "/", "/a%0D%0ASet-Cookie:%20b"),
        (exact("%[header(Y)]"), "/", "/evil.example/"),
        (exact("//cdn.example/x"), "/", "//cdn.example/x"),
        (scheme(None), "/x?y", "https://a.example/x?y"),
        (scheme(Some(8443)), "//x", "https://a.example:8443//x"),
    ] {
        assert_eq!(location(to.clone(), target, "a.example"), expected, "{to:?} {target}");
    }
    assert_eq!(location(scheme(None), "//evil.example", ""), "/evil.example", "no host, no other host either");
}

#[test]
fn lists_choose_routes_and_backends() {
    use crate::core::pattern::{ListKind, Matching, Pattern, PatternSpec, Patterns};
    let spec = |kind, matching, entries: &[(&str, &str)]| PatternSpec {
        kind,
        matching,
        file: None,
        sample: "src",
        uses: Vec::new(),
        patterns: entries.iter().map(|(key, value)| Pattern::parse(matching, key, value).unwrap()).collect(),
    };
    let specs = vec![
        spec(ListKind::Map, Matching::Host, &[("a.example", "api"), ("*.b.example", "web"), ("c.example", "gone")]),
        spec(ListKind::Acl, Matching::Network, &[("10.0.0.0/8", "")]),
    ];
    let patterns = Patterns::new(specs, ["web", "api"].into_iter());
    let map = |default| {
        RouteAction::HostMap(HostMap { map: PatternId(0), default, named: vec![BackendIndex(1), BackendIndex(0)] })
    };
    let office = Route { clients: vec![PatternId(1)], action: RouteAction::Backend(BackendIndex(7)), ..route() };
    let strict = Route { action: map(None), ..route() };
    let open = Route { action: map(Some(BackendIndex(5))), ..route() };
    let head = request("GET", "/", &[]);
    let goes = |routes: &[Route], host: &str, client: &str| {
        let facts =
            RouteFacts { client: client.parse().unwrap(), patterns: patterns.live(), ..facts(&head, host, false) };
        let found = find(routes, &facts)?;
        assert_eq!(RouteIndex::new(routes).find(routes, &facts), Some(found));
        match &routes[found].action {
            RouteAction::Backend(backend) => Some(backend.0),
            RouteAction::HostMap(map) => map.backend(&facts).map(|backend| backend.0),
            _ => None,
        }
    };
    let all = [office, open];
    for (host, client, expected) in [
        ("a.example", "10.1.2.3", 7),
        ("a.example", "11.1.2.3", 1),
        ("x.b.example", "11.1.2.3", 0),
        ("b.example", "11.1.2.3", 5),
        ("c.example", "11.1.2.3", 5),
        ("nowhere", "::1", 5),
    ] {
        assert_eq!(goes(&all, host, client), Some(expected), "{host} {client}");
    }
    let strict = [strict];
    assert_eq!(goes(&strict, "a.example", "::1"), Some(1));
    assert_eq!(goes(&strict, "nowhere", "::1"), None);
    assert_eq!(goes(&strict, "c.example", "::1"), None, "an entry that names no backend");
}
