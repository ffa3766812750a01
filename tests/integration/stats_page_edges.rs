//! The stats page where it meets everything else: passwords asked for, crowds, paused frontends, header rules, odd
//! targets and odd clients.

use std::net::SocketAddr;

use base64::Engine as _;

use crate::support::client::RawClient;
use crate::support::message::{Message, Role};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::until;

/// `openssl passwd -6 example`
const HASH: &str =
    "$6$lockgateexample$b/Q5BCYzpftFsFsMABBMb0gOrG268/b9a4NYRFnddH1s6qZgTTAmEcEGMTtyRfxLhTOYjSD60PDmR.VEZKz8p1";

/// A page at `/haproxy` in front of one server.
fn site_with(stats: &str, more: &str) -> (Running, Origin) {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin])
        .frontend(format!("stats: {{ path: /haproxy, {stats} }}"))
        .frontend(more.to_owned())
        .start();
    (site, origin)
}

fn users() -> String {
    format!("users: {{ ops: {{ hash: \"{HASH}\", level: operator }} }}")
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: lb.test\r\n{fields}\r\n")
}

fn post(to: SocketAddr, fields: &str) -> Message {
    let body = "s=s1&action=drain&b=web";
    let fields = format!("{fields}Content-Length: {}\r\n", body.len());
    RawClient::connect(to).ask(request("POST", "/haproxy", &fields) + body)
}

fn basic(name: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

/// HAProxy takes the 401 for an answer of its own, not for a denial.
#[test]
fn asking_for_a_password_is_logged_and_counted_as_haproxy_does() {
    let (site, _origin) = site_with(&users(), "");
    for fields in [String::new(), basic("ops", "wrong")] {
        assert_eq!(site.ask(request("GET", "/haproxy;csv", &fields)).status(), 401);
    }
    until("both to be counted", || site.stat("fe", "FRONTEND").number("req_tot") == 2);
    let row = site.stat("fe", "FRONTEND");
    assert_eq!(["intercepted", "dreq", "hrsp_4xx"].map(|c| row.number(c)), [2, 0, 2]);
    let line = site.logs.line_with(" 401 ");
    assert!(line.contains(" fe/<STATS> ") && line.contains("/0/0/-1/") && line.contains(" LR-- "), "{line}");
}

/// A dashboard that opens a dozen connections when lockgate has just started.
#[test]
fn a_crowd_with_the_right_password_is_let_in_at_once() {
    let (site, _origin) = site_with(&users(), "");
    let ask = request("GET", "/haproxy;csv", &basic("ops", "example"));
    let mut crowd: Vec<RawClient> = (0..40).map(|_| site.client()).collect();
    for client in &mut crowd {
        client.send(&ask);
    }
    let statuses: Vec<u16> = crowd.iter_mut().map(|client| client.answer().status()).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // Nor do they use up what is allowed to others who come from there.
    assert_eq!(site.ask(request("GET", "/haproxy;csv", &basic("ops", "wrong"))).status(), 401);
}

/// The same guess made many times at once is one guess: it is not checked forty times.
#[test]
fn a_crowd_with_a_wrong_password_is_refused_and_slowed_down() {
    let (site, _origin) = site_with(&users(), "");
    let mut crowd: Vec<RawClient> = (0..40).map(|_| site.client()).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        client.send(request("GET", "/haproxy;csv", &basic("ops", &format!("guess {n}"))));
    }
    let statuses: Vec<u16> = crowd.iter_mut().map(|client| client.answer().status()).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 401).count(), 10, "{statuses:?}");
    assert!(statuses.iter().all(|s| matches!(s, 401 | 429)), "{statuses:?}");
}

#[test]
fn a_frontend_is_shown_as_it_is_now() {
    let (site, _origin) = site_with("", "");
    let row = |site: &Running, client: &mut RawClient| {
        let html = client.get("/haproxy").text();
        let from = html.find("data-k=\"f2\"").unwrap_or_else(|| panic!("no row of the frontend in {html}"));
        assert!(site.admin("show version").contains("lockgate"));
        html[from..].split("</tr>").next().unwrap().to_owned()
    };
    let mut client = site.client();
    assert!(row(&site, &mut client).contains("OPEN"));
    site.order("set maxconn frontend fe 77");
    assert!(row(&site, &mut client).contains("of 77"), "{}", row(&site, &mut client));
    site.order("disable frontend fe");
    let paused = row(&site, &mut client);
    assert!(paused.contains("PAUSED") && !paused.contains("OPEN"), "{paused}");
    site.order("enable frontend fe");
    assert!(row(&site, &mut client).contains("OPEN"));
}

/// Header rules are for servers: what they remove is still seen by the page, which is asked before.
#[test]
fn header_rules_do_not_blind_the_page() {
    let rules = "request_headers: [ { delete: Authorization }, { delete: Origin }, { delete: Sec-Fetch-Site }, \
                 { delete: Referer } ]";
    let (site, _origin) = site_with(&users(), rules);
    let known = basic("ops", "example");
    assert_eq!(site.ask(request("GET", "/haproxy;csv", &known)).status(), 200);
    for from in ["Origin: http://evil.test", "Sec-Fetch-Site: cross-site", "Referer: http://evil.test/"] {
        assert_eq!(post(site.address, &format!("{known}{from}\r\n")).status(), 403, "{from}");
    }
    assert_eq!(site.status("s1"), "no check");
    assert_eq!(post(site.address, &format!("{known}Referer: http://lb.test/haproxy;csv\r\n")).status(), 303);
    assert_eq!(site.status("s1"), "DRAIN");
}

#[test]
fn other_paths_are_not_the_page() {
    let (site, _origin) = site_with("metrics: /metrics", "");
    let text = |target: &str| site.ask(request("GET", target, "")).text();
    for target in ["/haproxy/;csv?x", "/haproxy//;csv", "/haproxy?;csv;norefresh", "http://lb.test/haproxy;csv"] {
        assert!(text(target).starts_with("# pxname,"), "{target}");
    }
    for target in [
        "/haproxyfoo;csv",
        "/haproxy%3bcsv",
        "/haproxy%2f;csv",
        "//haproxy;csv",
        "/./haproxy;csv",
        "/x/../haproxy;csv",
        "/HAPROXY;csv",
        "/haproxy/metrics",
        "/metrics;csv",
        "/metrics/",
        "http://lb.test//haproxy",
    ] {
        assert_eq!(text(target), "s1", "{target}");
    }
    assert!(text("/metrics?scope=global").starts_with("# HELP haproxy_process_"));
    let html = text("/haproxy;st=<script>alert(1)</script>?scope=<b>\"'");
    assert!(!html.contains("<script>alert") && !html.contains("<b>\"") && html.contains("It is not known"), "{html}");
}

#[test]
fn requests_behind_each_other_are_answered_in_order() {
    let (site, _origin) = site_with("level: operator, metrics: /metrics", "");
    let body = "s=s1&action=drain&b=web";
    let all = [
        request("GET", "/haproxy;csv?scope=web", ""),
        request("POST", "/haproxy", &format!("Content-Length: {}\r\n", body.len())) + body,
        request("HEAD", "/metrics", ""),
        request("GET", "/haproxy;csv?scope=web", ""),
        request("GET", "/other", ""),
    ];
    let mut client = site.client();
    client.send(all.concat());
    assert!(client.answer().text().contains("web,s1,"));
    assert_eq!(client.answer().status(), 303);
    assert_eq!(client.head_answer().status(), 200);
    assert!(client.answer().text().contains(",DRAIN,"));
    assert_eq!(client.answer().status(), 503, "the only server is drained");
}

/// A form in chunks, byte by byte.
#[test]
fn a_form_may_come_in_crumbs() {
    let (site, _origin) = site_with("level: operator", "");
    let mut client = site.client();
    let head = request("POST", "/haproxy", "Transfer-Encoding: chunked\r\n");
    let body = "9;x=y\r\ns=s1&acti\r\ne\r\non=drain&b=web\r\n0\r\nTrailer: x\r\n\r\n";
    for byte in (head + body).as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.next_answer(Role::Answer).field("location"), Some("/haproxy;st=DONE"));
    assert_eq!(site.status("s1"), "DRAIN");
    assert!(client.get("/haproxy;csv").text().starts_with("# pxname,"), "and the connection goes on");
}

/// Whoever comes while the control thread is busy is answered or told to come back, and nothing is left behind.
#[test]
fn a_hundred_at_once() {
    let (site, _origin) = site_with("metrics: /metrics", "");
    let mut crowd: Vec<RawClient> = (0..100).map(|_| site.client()).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        client.send(request("GET", ["/metrics", "/haproxy", "/haproxy;json"][n % 3], ""));
    }
    let answers: Vec<Message> = crowd.iter_mut().map(RawClient::answer).collect();
    assert!(answers.iter().all(|a| a.whole && matches!(a.status(), 200 | 503)));
    assert!(answers.iter().filter(|a| a.status() == 200).count() >= 64);
    drop(crowd);
    until("all to have left", || site.stat("fe", "FRONTEND").number("scur") == 0);
    assert_eq!(site.get("/haproxy;csv").status(), 200);
}

/// What a server is down by is told: its agent, or the server it follows.
#[test]
fn agents_and_followed_servers_are_shown() {
    let (lead, follower) = (Origin::named("s1"), Origin::named("s2"));
    // An agent sends its word when it is connected to.
    let agent = Origin::script(|conn| conn.send("down#maintenance window\n"));
    let site = Site::new()
        .server(lead.addr(), "agent: off")
        .server(follower.addr(), "track: web/s1, agent: off")
        .server(follower.addr(), "")
        .backend("health_check: { interval: 100ms }")
        .backend(format!("agent: {{ port: {}, address: 127.0.0.1, interval: 50ms }}", agent.addr().port()))
        .frontend("stats: { path: /haproxy, metrics: /metrics }")
        .start();
    site.order("set server web/s1 state drain");
    site.wait_status("s2", "DRAIN");
    site.wait_status("s3", "DOWN (agent)");
    let html = site.get("/haproxy").text();
    let row = |number: u8| {
        let from =
            html.find(&format!("data-k=\"3/{number}/0\"")).unwrap_or_else(|| panic!("no server {number}: {html}"));
        let begin = html[..from].rfind("<tr").unwrap();
        html[begin..].split("</tr>").next().unwrap().to_owned()
    };
    assert!(row(2).contains("class=\"drain\"") && row(2).contains("as web/s1"), "{}", row(2));
    let third = row(3);
    assert!(
        third.contains("class=\"down\"") && third.contains("agent L7STS: via agent : down (maintenance window)"),
        "{third}"
    );
    let metrics = site.get("/metrics?metrics=haproxy_server_status").text();
    for (server, state) in [("s2", "DRAIN"), ("s3", "DOWN")] {
        let series = format!("haproxy_server_status{{proxy=\"web\",server=\"{server}\",state=\"{state}\"}} 1");
        assert!(metrics.contains(&series), "{metrics}");
    }
}

/// The page's script keeps what was chosen by a row's key: with the number of a deleted server comes no choice.
#[test]
fn a_server_with_a_deleted_ones_number_is_another_row() {
    let (site, origin) = site_with("level: operator", "");
    let added = |name: &str| {
        site.admin(&format!("add server web/{name} {}", origin.addr()));
        let html = site.get("/haproxy").text();
        let box_at = html.find(&format!("name=\"s\" value=\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {html}"));
        let key = html[..box_at].rsplit("data-k=\"").next().unwrap().split('"').next().unwrap().to_owned();
        (site.stat("web", name).number("sid"), key)
    };
    let old = added("old");
    assert_eq!(site.admin("del server web/old"), "Server deleted.\n");
    let new = added("new");
    assert_eq!(old.0, new.0, "the number comes again");
    assert_ne!(old.1, new.1);
}
