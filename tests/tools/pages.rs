//! Tools that read and post to the stats page.
//!
//! [`every_tool`] is what each of them asks and how it judges the answer, for any page: lockgate's, and that of Debian's
//! haproxy, which proves the checks. Collectors that read Prometheus' format instead are in [`crate::pollers`], too.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use base64::Engine as _;

use crate::automation::exported;
use crate::pollers::{datadog_uptime, datadog_v2, netdata, netdata_go, opserver, telegraf};
use crate::python::{must_work, program};
use crate::support::client::RawClient;
use crate::support::lab::Lab;
use crate::support::message::Message;
use crate::support::tools::{Running, need};
use crate::support::{ports, until};

/// A stats page with its twins, as in the lab.
pub struct Pages {
    /// Where actions are allowed without a password, at [`PATH`].
    pub open: SocketAddr,
    /// The same behind a password.
    pub guarded: SocketAddr,
    /// Read only, mounted at `/`.
    pub root: SocketAddr,
    /// The proxies that stand on it with their servers.
    pub backend: &'static str,
    /// Its servers.
    pub servers: &'static [&'static str],
}

/// Where the pages are mounted.
pub const PATH: &str = "/haproxy";
/// Who may change something.
const USER: &str = "admin";
const PASSWORD: &str = "secret";

/// Drives every tool that speaks HTTP.
pub fn every_tool(pages: &Pages) {
    exporter(pages);
    stats_and_top(pages);
    opserver_polls_and_posts(pages);
    collectors(pages);
}

fn exporter(pages: &Pages) {
    exported(&format!("http://{}{PATH};csv", pages.open));
    exported(&format!("http://{USER}:{PASSWORD}@{}{PATH};csv", pages.guarded));
}

fn stats_and_top(pages: &Pages) {
    let root = pages.root.to_string();
    must_work("haproxy_stats.py", &[&[root.as_str(), pages.backend], pages.servers].concat());
    must_work("haproxy_top.py", &[&root, pages.backend, &program("haproxy-top").display().to_string()]);
}

/// Always with a password, never following a redirect; any 303 is success.
fn opserver_polls_and_posts(pages: &Pages) {
    let server = pages.servers[0];
    let poll = || opserver(&ask(pages.guarded, "GET", &format!("{PATH};csv"), "").text()).unwrap();
    let status = |server: &str| {
        let name = format!("{}/{server}", pages.backend);
        poll().into_iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no {name}")).1
    };
    let post = |action: &str| {
        let body = format!("s={server}&action={action}&b={}", pages.backend);
        let answer = ask(pages.guarded, "POST", PATH, &body);
        assert_eq!(answer.status(), 303, "{action}: {answer:?}");
    };
    for (action, expected) in
        [("drain", "drain"), ("ready", "good"), ("maint", "maintenance"), ("ready", "warning"), ("hdown", "critical")]
    {
        post(action);
        let found = status(server);
        assert!(found == expected || (expected == "warning" && found == "good"), "{action}: {found}");
    }
    until("three passes after hdown", || status(server) == "good");
    // What changes nothing is a 303 as well.
    for action in ["dagent", "arunn", "shutdown", "nonsense"] {
        post(action);
    }
    let stranger = RawClient::connect(pages.guarded).get(&format!("{PATH};csv"));
    assert_eq!(stranger.status(), 401);
    assert!(stranger.field("WWW-Authenticate").unwrap().starts_with("Basic realm="));
}

fn collectors(pages: &Pages) {
    for path in [format!("{PATH};csv"), format!("{PATH}/;csv"), format!("{PATH};csv;norefresh")] {
        let csv = RawClient::connect(pages.open).get(&path).text();
        telegraf(&csv).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(netdata(&csv, pages.backend), (pages.servers.len(), 0), "{path}");
    }
    let html = RawClient::connect(pages.open).get(PATH).text();
    let idle = regex::Regex::new(r"idle = \d+ %").unwrap();
    assert!(idle.is_match(&html), "Netdata looks for the idle time");
    assert!(datadog_uptime(&html), "Datadog looks for the uptime");
    assert!(regex::Regex::new(r"HAProxy version [^,]+, released ").unwrap().is_match(&html), "and for the version");
}

fn ask(to: SocketAddr, method: &str, path: &str, body: &str) -> Message {
    let secret = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    RawClient::connect(to).ask(format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Basic {secret}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn lockgate_passes() {
    let lab = Lab::start();
    let (open, guarded, root) = (lab.stats, lab.stats_auth, lab.stats_ro);
    every_tool(&Pages { open, guarded, root, backend: "be_web", servers: &["web1", "web2", "web3"] });
}

#[test]
fn collectors_of_prometheus_metrics_find_what_they_ask_for() {
    let lab = Lab::start();
    let mut client = RawClient::connect(lab.main);
    for _ in 0..9 {
        assert_eq!(client.get("/").status(), 200);
    }
    let answer = RawClient::connect(lab.stats).get("/metrics");
    assert_eq!(answer.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let metrics = answer.text();
    datadog_v2(&metrics).unwrap();
    let backends = netdata_go(&metrics).unwrap();
    let found: Vec<(&str, f64)> = backends.iter().map(|(name, ok)| (name.as_str(), *ok)).collect();
    assert_eq!(found, [("be_api", 0.0), ("be_web", 9.0)], "the backends and their answers of class 2xx");
    // Both can be told to send a password instead.
    assert_eq!(RawClient::connect(lab.stats_auth).get(PATH).status(), 401);
}

#[test]
fn haproxy_itself_passes() {
    let haproxy = need("haproxy", "haproxy");
    let dir = tempfile::tempdir().unwrap();
    let origin = crate::support::origin::Origin::named("w");
    let [open, guarded, root] = [ports::address(), ports::address(), ports::address()];
    let page =
        |name: &str, bind: SocketAddr, lines: &str| format!("listen {name}\n bind {bind}\n stats enable\n{lines}\n");
    let config = format!(
        "global\n maxconn 200\ndefaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 10s\n\
         frontend fe\n bind {}\n default_backend be_web\nbackend be_web\n option httpchk GET /health\n \
         default-server inter 200 fall 3 rise 3\n server web1 {a} check\n server web2 {a} check\n\
         backend be_api\n server api3 {a} check inter 200\n{}{}{}",
        ports::address(),
        page("stats", open, " stats uri /haproxy\n stats admin if TRUE"),
        page("stats_auth", guarded, " stats uri /haproxy\n stats auth admin:secret\n stats admin if TRUE"),
        page("stats_ro", root, " stats uri /"),
        a = origin.addr(),
    );
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(haproxy);
    let _running = Running::start(command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()));
    until("haproxy to listen", || std::net::TcpStream::connect(root).is_ok());
    until("its servers to be up", || RawClient::connect(root).get("/;csv").text().matches(",L7OK,").count() == 2);
    every_tool(&Pages { open, guarded, root, backend: "be_web", servers: &["web1", "web2"] });
}
