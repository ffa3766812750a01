//! The stats page over the wire: HAProxy's transcripts, passwords and levels, forms of other sites, and how it is
//! logged and counted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::support::client::RawClient;
use crate::support::message::{Message, Role};
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{eventually, ports, until};

/// The three pages of the lab's `core.cfg`.
struct Pages {
    site: Running,
    page: SocketAddr,
    auth: SocketAddr,
    viewer: SocketAddr,
    _origins: Vec<Origin>,
}

fn pages() -> Pages {
    let (page, auth, viewer) = (ports::address(), ports::address(), ports::address());
    let origins: Vec<Origin> = (0..3).map(|_| Origin::named("web")).collect();
    let servers: String =
        origins.iter().enumerate().map(|(n, o)| format!("    web{}: \"{}\"\n", n + 1, o.addr())).collect();
    let stats = format!(
        "[ {{ bind: \"{page}\", path: /haproxy, refresh: 10s, show_legends: true, show_node: true, level: admin }}, \
           {{ bind: \"{auth}\", name: stats_auth, path: /haproxy, realm: Lab Stats, show_version: false, \
              users: {{ admin: {{ password: secret, level: admin }}, ops: {{ hash: \"{}\", level: operator }}, \
              eye: {{ hash: \"{}\" }} }} }}, \
           {{ bind: \"{viewer}\", name: stats_ro }} ]",
        // `openssl passwd -6 example`, and a vector of the authors of bcrypt, whose password is `U*U`.
        "$6$lockgateexample$b/Q5BCYzpftFsFsMABBMb0gOrG268/b9a4NYRFnddH1s6qZgTTAmEcEGMTtyRfxLhTOYjSD60PDmR.VEZKz8p1",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    );
    let backend = format!(
        "be_web:\n  health_check: {{ interval: 300ms, rise: 3, fall: 3 }}\n  initial: up\n  return_from_drain: keep\n  \
         servers:\n{servers}"
    );
    let site = Site::new()
        .global("stats", stats)
        .frontend("routes: [ { backend: be_web } ]")
        .more("backends", backend)
        .start();
    Pages { site, page, auth, viewer, _origins: origins }
}

impl Pages {
    fn status(&self, server: &str) -> String {
        self.site.stat("be_web", server).get("status").to_owned()
    }

    fn post(&self, to: SocketAddr, fields: &str, body: &str) -> Message {
        let length = body.len();
        RawClient::connect(to)
            .ask(format!("POST /haproxy HTTP/1.1\r\nHost: {to}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
    }
}

fn get(to: SocketAddr, target: &str, fields: &str) -> Message {
    RawClient::connect(to).ask(format!("GET {target} HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n"))
}

fn basic(name: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

fn transcripts() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/compat/golden/http");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "req"));
    files.sort();
    files
}

/// Names of fields, without those that every answer of ours has more.
fn names(head: &str) -> Vec<String> {
    const OURS: &[&str] = &["content-security-policy", "referrer-policy", "x-content-type-options"];
    let lines = head.lines().skip(1).filter(|line| !line.is_empty());
    let mut names: Vec<String> =
        lines.map(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase()).collect();
    names.retain(|name| !OURS.contains(&&**name));
    names.sort();
    names
}

#[test]
fn recorded_requests_get_the_recorded_answers() {
    let pages = pages();
    let mut wrong = Vec::new();
    for file in transcripts() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let number: u32 = name.split('-').next().unwrap().parse().unwrap();
        let to = match number {
            22 | 23 | 68 => pages.viewer,
            77..=82 => pages.auth,
            _ => pages.page,
        };
        // The backend's number is another, because frontends come first.
        let request = String::from_utf8(std::fs::read(&file).unwrap()).unwrap().replace("b=%234", "b=%236");
        let recorded = std::fs::read_to_string(file.with_extension("head")).unwrap();
        let mut client = RawClient::connect(to);
        let (first, rest) = request.split_at(if number == 60 { request.len() - 10 } else { request.len() });
        client.send(first);
        if !rest.is_empty() {
            until("the first part to be read", || pages.site.stat("stats", "FRONTEND").number("scur") > 0);
            client.send(rest);
        }
        if number == 61 {
            client.wire.half_close();
            client.expect_closed();
            continue;
        }
        let head = client.next_answer(if number == 15 { Role::Bodiless } else { Role::Answer });
        let got = std::iter::once(format!("{}\r\n", head.first_line))
            .chain(head.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")))
            .collect::<String>();
        // What is not the page's goes to the routes; a section without servers gave 503.
        let expected_line = match number {
            18..=21 => "HTTP/1.1 404 Not Found",
            _ => recorded.lines().next().unwrap_or_default(),
        };
        let location = |text: &str| text.lines().find_map(|l| l.strip_prefix("location: ").map(str::to_owned));
        let mut expected_names = names(&recorded);
        if number == 16 {
            // HTTP/1.0 knows no chunks.
            expected_names.retain(|n| n != "transfer-encoding");
            expected_names.push("content-length".to_owned());
            expected_names.sort();
        }
        let same_names = matches!(number, 18..=21) || names(&got) == expected_names;
        if head.first_line != expected_line || location(&got) != location(&recorded) || !same_names {
            wrong.push(format!("--- {name}\nrecorded:\n{recorded}\ngot:\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn actions_change_states_before_they_are_answered() {
    let pages = pages();
    let check = |action: &str, code: &str, status: &str| {
        let answer = pages.post(pages.page, "", &format!("s=web1&action={action}&b=be_web"));
        assert_eq!(answer.status(), 303, "{action}");
        assert_eq!(answer.field("location"), Some(&*format!("/haproxy;st={code}")), "{action}");
        assert_eq!((answer.field("content-type"), answer.field("content-length")), (Some("text/plain"), Some("0")));
        let now = pages.status("web1");
        assert!(now.starts_with(status), "{action}: {now} instead of {status}");
        if status == "UP" {
            eventually("the server to be fully up", || (pages.status("web1") == "UP").then_some(()));
        }
    };
    check("drain", "DONE", "DRAIN");
    check("ready", "DONE", "UP");
    check("maint", "DONE", "MAINT");
    check("ready", "DONE", "UP");
    check("hdown", "DONE", "DOWN");
    check("hrunn", "DONE", "UP");
    check("dhlth", "DONE", "no check");
    check("ehlth", "DONE", "UP");
    for agent in ["adown", "arunn", "dagent", "eagent"] {
        check(agent, "NONE", "UP");
    }
    check("shutdown", "DONE", "UP");
    check("disable", "DONE", "MAINT");
    check("enable", "DONE", "UP");
    check("start", "NONE", "UP");
    check("stop", "DONE", "DRAIN");
    check("start", "DONE", "UP");
    check("bogus", "ERRP", "UP");
    // A passing check ends it, so it may be gone before it is seen.
    until("NOLB to be seen", || {
        let answer = pages.post(pages.page, "", "s=web1&action=hnolb&b=be_web");
        assert_eq!(answer.field("location"), Some("/haproxy;st=DONE"));
        pages.status("web1") == "NOLB"
    });
    let both = pages.post(pages.page, "", "s=web2&s=web3&action=drain&b=be_web");
    assert_eq!(both.field("location"), Some("/haproxy;st=DONE"));
    assert_eq!((pages.status("web2"), pages.status("web3")), ("DRAIN".into(), "DRAIN".into()));
    let line = pages.site.logs.line_with("Web interface");
    assert!(line.contains("be_web/"), "{line}");
}

#[test]
fn every_form_has_what_tools_look_for() {
    let pages = pages();
    let html = get(pages.page, "/haproxy", "").text();
    assert!(html.contains("HAProxy version 2.8.0-lockgate-") && html.contains(", released 2026/"), "{html}");
    let uptime = html.lines().find(|line| line.contains("uptime = ")).unwrap();
    assert!(uptime.contains("<b>uptime = </b> 0d 0h0"), "{uptime}");
    assert!(html.contains("idle = ") && html.contains(" %"));
    assert_eq!(html.matches("<form method=\"post\">").count(), 1);
    assert!(html.contains("<input type=\"hidden\" name=\"b\" value=\"#6\">"));
    for n in 1..=3 {
        assert!(html.contains(&format!("name=\"s\" value=\"web{n}\"")), "{html}");
    }
    let read_only = get(pages.viewer, "/", "").text();
    assert!(!read_only.contains("<select name=\"action\"") && read_only.contains("web1"), "no forms for viewers");
    let hidden = get(pages.auth, "/haproxy", &basic("admin", "secret")).text();
    assert!(!hidden.contains("HAProxy version") && hidden.contains("uptime = "));

    let csv = get(pages.page, "/haproxy;csv", "").text();
    let socket = pages.site.admin("show stat");
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first(&csv), first(&socket));
    assert!(csv.ends_with(",-,\n\n"), "{csv}");
    let columns = first(&csv).matches(',').count();
    assert!(csv.lines().filter(|l| !l.is_empty()).all(|l| l.matches(',').count() == columns), "{csv}");
    for target in ["/haproxy/;csv", "/haproxy?;csv", "/haproxy;csv;norefresh", "/haproxy;norefresh;csv"] {
        assert_eq!(first(&get(pages.page, target, "").text()), first(&csv), "{target}");
    }
    let scoped = get(pages.page, "/haproxy;csv?scope=be_", "").text();
    assert!(scoped.contains("be_web,BACKEND") && !scoped.contains("FRONTEND"), "{scoped}");
    pages.site.order("set server be_web/web2 state maint");
    let csv = get(pages.page, "/haproxy;no-maint;csv", "").text();
    assert!(csv.contains("be_web,web1,") && !csv.contains("be_web,web2,"), "{csv}");
    assert!(get(pages.page, "/haproxy;typed", "").text().starts_with("F.2.0.0.pxname.1:KNS:str:fe\n"));
    let json: serde_json::Value = serde_json::from_str(&get(pages.page, "/haproxy;json", "").text()).unwrap();
    assert!(json.is_array());
    let schema = get(pages.page, "/haproxy;json-schema", "");
    assert_eq!(schema.field("content-type"), Some("application/json"));
    assert!(schema.text().contains("\"$schema\""));

    let address = |to, target| get(to, target, "").text().contains("127.0.0.1:");
    assert!(address(pages.page, "/haproxy;csv") && !address(pages.viewer, "/;csv"), "only with legends");
}

#[test]
fn browsers_get_a_policy_and_no_refresh_that_throws_choices_away() {
    let pages = pages();
    assert_eq!(get(pages.page, "/haproxy", "").field("refresh"), Some("10"));
    assert_eq!(get(pages.page, "/haproxy;norefresh", "").field("refresh"), None);
    let answer = get(pages.page, "/haproxy", "Accept: text/html,*/*;q=0.8\r\n");
    assert_eq!(answer.field("refresh"), None);
    assert!(answer.text().contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"));
    let policy = answer.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn connections_are_kept_and_bodies_of_any_framing_are_read() {
    let pages = pages();
    let mut client = RawClient::connect(pages.page);
    for _ in 0..3 {
        client.send("HEAD /haproxy;csv HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head_answer().status(), 200);
        let body = "s=web1&action=drain&b=be_web";
        let answer = client.ask(format!(
            "POST /haproxy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            10,
            &body[..10],
            body.len() - 10,
            &body[10..]
        ));
        assert_eq!(answer.field("location"), Some("/haproxy;st=DONE"));
        assert_eq!(client.get("/haproxy;csv").status(), 200);
        assert_eq!(client.get("/nothing").status(), 404);
    }
    client.send("POST /haproxy HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n");
    assert_eq!(client.next_answer(Role::Bodiless).status(), 100);
    client.send("s=web1&action=ready&b=be_web\r\n");
    assert_eq!(client.answer().field("location"), Some("/haproxy;st=DONE"));

    let large = "x".repeat(20_000);
    let answer = pages.post(pages.page, "", &format!("s=web1&action=drain&b=be_web&x={large}"));
    assert_eq!(answer.field("location"), Some("/haproxy;st=EXCD"));
    let chunked = format!(
        "POST /haproxy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(RawClient::connect(pages.page).ask(chunked).field("location"), Some("/haproxy;st=EXCD"));
    assert_eq!(pages.status("web1"), "UP");

    let mut old = RawClient::connect(pages.page);
    old.send("GET /haproxy;csv HTTP/1.0\r\n\r\n");
    let answer = old.answer();
    assert!(answer.whole && answer.field("transfer-encoding").is_none(), "{:?}", answer.fields);
    old.expect_closed();
}

#[test]
fn passwords_and_levels_decide_who_may_what() {
    let pages = pages();
    let drain = "s=web1&action=drain&b=be_web";
    let location = |fields: &str, body: &str| {
        let answer = pages.post(pages.auth, fields, body);
        answer.field("location").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    for fields in [String::new(), basic("admin", "wrong"), basic("nobody", "secret"), "Authorization: x\r\n".into()] {
        let answer = get(pages.auth, "/haproxy;csv", &fields);
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.field("www-authenticate"), Some("Basic realm=\"Lab Stats\""));
        assert_eq!(pages.post(pages.auth, &fields, drain).status(), 401);
    }
    assert_eq!(pages.status("web1"), "UP");
    assert_eq!(location(&basic("eye", "U*U"), drain), "/haproxy;st=DENY");
    assert_eq!(pages.status("web1"), "UP");
    assert_eq!(location(&basic("ops", "example"), drain), "/haproxy;st=DONE");
    assert_eq!(location(&basic("ops", "example"), "s=web1&action=shutdown&b=be_web"), "/haproxy;st=DENY");
    assert_eq!(location(&basic("admin", "secret"), "s=web1&action=shutdown&b=be_web"), "/haproxy;st=DONE");
    let output = pages.site.output();
    assert!(output.contains("hash-password") && !output.contains("secret\""), "a plain password is warned about");
}

#[test]
fn guessing_is_slowed_down_and_does_not_lock_out_who_is_known() {
    let pages = pages();
    let known = basic("admin", "secret");
    assert_eq!(get(pages.auth, "/haproxy;csv", &known).status(), 200);
    let statuses: Vec<u16> =
        (0..14).map(|n| get(pages.auth, "/haproxy;csv", &basic("admin", &n.to_string())).status()).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 401).count(), 10, "{statuses:?}");
    let last = get(pages.auth, "/haproxy;csv", &basic("ops", "example"));
    assert_eq!(last.status(), 429, "also with a password that is right");
    assert!(last.field("retry-after").is_some());
    assert_eq!(get(pages.auth, "/haproxy;csv", &known).status(), 200);
    // A hundred polls of who is known cost no hundred slow hashes.
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(get(pages.auth, "/haproxy;csv", &known).status(), 200);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn forms_of_other_sites_are_refused_and_scripts_are_not() {
    let pages = pages();
    let drain = "s=web1&action=drain&b=be_web";
    let own = format!("Origin: http://{}\r\n", pages.page);
    let foreign = [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: http://other.test\r\n",
        "Origin: http://evil.test\r\n",
        "Origin: null\r\n",
        "Referer: http://evil.test/haproxy\r\n",
    ];
    for fields in foreign {
        assert_eq!(pages.post(pages.page, fields, drain).status(), 403, "{fields}");
        assert_eq!(pages.status("web1"), "UP", "{fields}");
    }
    let row = pages.site.stat("stats", "FRONTEND");
    assert_eq!((row.number("dreq"), row.number("hrsp_4xx")), (5, 5));
    let line = pages.site.logs.line_with(" 403 ");
    assert!(line.contains(" stats/<STATS> ") && line.contains(" PR-- "), "{line}");
    for fields in ["", &own, "Sec-Fetch-Site: same-origin\r\n", "Sec-Fetch-Site: none\r\n"] {
        assert_eq!(pages.post(pages.page, fields, drain).status(), 303, "{fields}");
    }
    assert_eq!(pages.status("web1"), "DRAIN");
}

#[test]
fn requests_are_logged_and_counted_like_any_other() {
    let pages = pages();
    get(pages.page, "/haproxy;csv", "");
    pages.post(pages.page, "", "s=web1&action=drain&b=be_web");
    let get_line = pages.site.logs.line_with("\"GET /haproxy;csv HTTP/1.1\"");
    let post_line = pages.site.logs.line_with("\"POST /haproxy HTTP/1.1\"");
    for (line, status) in [(get_line, " 200 "), (post_line, " 303 ")] {
        assert!(line.contains(" stats stats/<STATS> ") && line.contains(" LR-- "), "{line}");
        assert!(line.contains("/0/0/0/") && line.contains(status), "{line}");
    }
    let row = pages.site.stat("stats", "FRONTEND");
    assert_eq!((row.number("intercepted"), row.number("req_tot")), (2, 2));
    assert_eq!((row.number("hrsp_2xx"), row.number("hrsp_3xx")), (1, 1));
}

#[test]
fn a_page_beside_routes_takes_its_own_path_only() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("stats: { path: \"/haproxy?stats\", level: operator }").start();
    assert_eq!(site.get("/haproxy").text(), "s1");
    assert_eq!(site.get("/").text(), "s1");
    assert!(site.get("/haproxy?stats").text().contains("uptime = "));
    assert!(site.get("/haproxy?stats;csv").text().starts_with("# pxname,"));
    assert_eq!(site.get("/haproxy?statsx").text(), "s1");
    let put = site.ask("PUT /haproxy?stats HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(put.text(), "s1");
}

#[test]
fn a_page_of_a_thousand_servers_is_quick_and_shows_no_markup_of_strangers() {
    let servers: String = (0..1000).map(|n| format!("    s{n}: 127.0.0.1:{}\n", 20_000 + n)).collect();
    let page = ports::address();
    let site = Site::new()
        .global("stats", format!("[ {{ bind: \"{page}\", level: operator }} ]"))
        .global("description", "'<script>alert(1)</script> \"&'")
        .frontend("routes: [ { backend: big } ]")
        .more("backends", format!("big:\n  health_check: off\n  servers:\n{servers}"))
        .start();
    let html = get(page, "/?scope=%3Cscript%3E\"", "").text();
    assert!(!html.contains("<script>\""), "the scope is escaped");
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let html = get(page, "/", "").text();
        best = best.min(started.elapsed());
        assert_eq!(html.matches("name=\"s\"").count(), 1000);
    }
    // The release build takes a few milliseconds; this one is not optimised.
    println!("a page of 1000 servers: {best:?}");
    assert!(best < Duration::from_secs(2), "{best:?}");
    assert!(site.admin("show version").contains("lockgate"));
}

#[test]
fn a_hash_is_made_from_a_line() {
    let mut command = std::process::Command::new(crate::support::proxy::BINARY);
    let output = crate::support::tools::run(command.arg("hash-password"), "correct horse\n");
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && hash.starts_with("$6$rounds="), "{hash}");
    let origin = Origin::answering(|_| Reply::ok("s1"));
    let site = Site::of(&[&origin])
        .frontend(format!("stats: {{ users: {{ ops: {{ hash: \"{}\", level: admin }} }} }}", hash.trim()))
        .start();
    let ask = |password| get(site.address, "/haproxy;csv", &basic("ops", password)).status();
    assert_eq!((ask("correct horse"), ask("wrong horse")), (200, 401));
    assert!(!site.output().contains("hash-password"));
}
