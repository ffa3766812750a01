//! `/metrics` of the running program, as Prometheus scrapes it.

use base64::Engine as _;

use crate::support::certificates::{Authority, Key};
use crate::support::message::Message;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{ports, tools, until};

/// What Prometheus 2 sends.
const SCRAPE: &str =
    "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1\r\n";

fn scrape(site: &Running, query: &str, fields: &str) -> Message {
    site.ask(format!("GET /metrics{query} HTTP/1.1\r\nHost: lb.test\r\n{fields}\r\n"))
}

/// The value of a series, written as it stands on the page.
#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no series {series} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// One of everything that has metrics.
fn site() -> (Running, Origin, std::net::SocketAddr) {
    let authority = Authority::new();
    let origin = Origin::answering(|request| match request.target() {
        "/text" => Reply::ok("s1").field("X-Ms", "quick"),
        target => Reply::ok("s1").field("X-Ms", target.trim_start_matches('/')),
    });
    let site = Site::of(&[&origin]).global("threads", "2");
    let certificate = authority.write(&site.path("a.pem"), &["lb.test"], Key::Ecdsa);
    let tls = ports::address();
    let plain = site.address();
    let site = site
        .frontend(format!(
            "bind: [ \"{plain}\", {{ address: \"{tls}\", tls: {{ certificates: [ {} ] }} }} ]",
            certificate.display()
        ))
        .frontend("socket_stats: true")
        .frontend("stats: { path: /haproxy, metrics: /metrics }")
        .frontend("capture: { response: [ { header: X-Ms, max: 8 } ] }")
        .frontend(
            "rate_limits: [ { name: few, key: header(X-User), rate: 1/h, burst: 1 }, \
             { name: trial, key: header(X-User), rate: 1/h, burst: 1, action: log } ]",
        )
        .backend("health_check: { interval: 100ms }")
        .start();
    (site, origin, tls)
}

#[test]
fn prometheus_takes_what_is_scraped() {
    let (site, _origin, _tls) = site();
    for target in ["/12", "/30.5", "/text"] {
        assert_eq!(site.get(target).status(), 200);
    }
    let statuses = [(); 3].map(|()| site.ask("GET /1 HTTP/1.1\r\nHost: a\r\nX-User: 1\r\n\r\n").status());
    assert_eq!(statuses, [200, 429, 429]);
    until("all to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 6);

    let answer = scrape(&site, "", "");
    assert_eq!((answer.status(), answer.whole), (200, true));
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = answer.text();
    let mut promtool = std::process::Command::new(tools::need("promtool", "prometheus"));
    let said = tools::run(promtool.args(["check", "metrics"]), &page);
    assert!(said.status.success() && tools::text(&said).is_empty(), "{}", tools::text(&said));

    let captured = "lockgate_frontend_captured_response";
    let of = |what: &str, more: &str| value(&page, &format!("{captured}{what}{{proxy=\"fe\",header=\"X-Ms\"{more}}}"));
    assert_eq!(of("_count", ""), 3.0, "what is no number is not counted");
    assert_eq!(of("_sum", ""), 43.5);
    assert_eq!(
        [of("_bucket", ",le=\"10.0\""), of("_bucket", ",le=\"20.0\""), of("_bucket", ",le=\"50.0\"")],
        [1., 2., 3.]
    );
    let limit = |name: &str, action: &str| {
        let labels = format!("{{proxy=\"fe\",limit=\"{name}\",action=\"{action}\"}}");
        value(&page, &format!("lockgate_frontend_rate_limit_exceeded_total{labels}"))
    };
    assert_eq!((limit("few", "deny"), limit("trial", "log")), (2.0, 0.0));
    assert_eq!(value(&page, "haproxy_frontend_requests_denied_total{proxy=\"fe\"}"), 2.0);
    assert_eq!(value(&page, "haproxy_server_http_responses_total{proxy=\"web\",server=\"s1\",code=\"2xx\"}"), 4.0);
    assert_eq!(value(&page, "haproxy_server_status{proxy=\"web\",server=\"s1\",state=\"UP\"}"), 1.0);
    assert_eq!(value(&page, "haproxy_listener_status{proxy=\"fe\",listener=\"sock-1\",state=\"OPEN\"}"), 1.0);
    assert_eq!(value(&page, "lockgate_backend_total_seconds_count{proxy=\"web\"}"), 4.0);
    assert!(value(&page, "lockgate_server_check_age_seconds{proxy=\"web\",server=\"s1\"}") < 60.0);
    let expiry = page.lines().find(|l| l.starts_with("lockgate_certificate_not_after_seconds{")).unwrap();
    let ends: u64 = expiry.rsplit(' ').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(expiry.contains("a.pem") && expiry.contains("name=\"lb.test\"") && ends > now, "{expiry}");
}

#[test]
fn the_format_follows_what_is_accepted() {
    let (site, _origin, _tls) = site();
    let open = scrape(&site, "", SCRAPE);
    assert_eq!(open.field("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let page = open.text();
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
    assert!(page.contains("# TYPE haproxy_frontend_http_requests counter\n"), "{page}");
    // No series twice, whatever stands beside what.
    let mut series: Vec<&str> =
        page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).map(|(s, _)| s).collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
    assert!(scrape(&site, "", "Accept: text/html\r\n").text().starts_with("# HELP "));

    let scoped = scrape(&site, "?scope=server&no-maint", "").text();
    assert!(scoped.lines().all(|l| l.contains("haproxy_server_")), "{scoped}");
    let bad = scrape(&site, "?scope=nothing", "");
    assert_eq!(bad.status(), 400);
    assert!(bad.text().contains("`nothing`"), "{}", bad.text());
    let head = {
        let mut client = site.client();
        client.send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head_answer()
    };
    assert_eq!(head.status(), 200);
    assert_eq!(site.ask("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text(), "s1");
}

#[test]
fn what_comes_and_goes_is_followed() {
    let (site, origin, _tls) = site();
    let mut early = site.client();
    assert_eq!(early.get("/metrics?scope=listener").status(), 200);
    site.order("disable frontend fe");
    let page = early.get("/metrics?scope=frontend&scope=listener").text();
    assert_eq!(value(&page, "haproxy_frontend_status{proxy=\"fe\",state=\"UP\"}"), 1.0, "paused is not stopped");
    assert_eq!(value(&page, "haproxy_listener_status{proxy=\"fe\",listener=\"sock-1\",state=\"OPEN\"}"), 1.0);
    site.order("enable frontend fe");
    let added = site.admin(&format!("add server web/dyn {}", origin.addr()));
    assert!(added.contains("New server registered"), "{added}");
    let page = scrape(&site, "", "").text();
    assert_eq!(value(&page, "haproxy_server_status{proxy=\"web\",server=\"dyn\",state=\"MAINT\"}"), 1.0);
    assert_eq!(value(&page, "haproxy_backend_agg_server_status{proxy=\"web\",state=\"MAINT\"}"), 1.0);
    assert!(!scrape(&site, "?no-maint", "").text().contains("\"dyn\""));
    until("the server to be deleted", || site.admin("del server web/dyn") == "Server deleted.\n");
    assert!(!scrape(&site, "", "").text().contains("\"dyn\""));

    site.get("/5");
    until("it to be counted", || site.stat("web", "BACKEND").number("req_tot") == 1);
    site.order("clear counters all");
    let page = scrape(&site, "", "").text();
    for series in [
        "lockgate_frontend_captured_response_count{proxy=\"fe\",header=\"X-Ms\"}",
        "lockgate_frontend_captured_response_sum{proxy=\"fe\",header=\"X-Ms\"}",
        "lockgate_backend_total_seconds_count{proxy=\"web\"}",
        "lockgate_backend_total_seconds_sum{proxy=\"web\"}",
        "haproxy_backend_http_requests_total{proxy=\"web\"}",
    ] {
        assert_eq!(value(&page, series), 0.0, "{series}");
    }
}

#[test]
fn who_may_not_see_the_page_may_not_scrape() {
    let origin = Origin::named("s1");
    // A vector of the authors of bcrypt; the password is `U*U`.
    let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let site = Site::of(&[&origin])
        .frontend(format!("stats: {{ metrics: /metrics, users: {{ prometheus: {{ hash: \"{hash}\" }} }} }}"))
        .start();
    let basic = |password: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("prometheus:{password}"));
        format!("Authorization: Basic {encoded}\r\n")
    };
    for fields in [String::new(), basic("wrong")] {
        let answer = scrape(&site, "", &fields);
        assert_eq!((answer.status(), answer.field("www-authenticate").is_some()), (401, true));
        assert!(!answer.text().contains("haproxy_"));
    }
    assert_eq!(scrape(&site, "", &basic("U*U")).status(), 200);
}
