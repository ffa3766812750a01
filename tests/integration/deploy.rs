//! A rolling deploy by a shell script through three nginx under constant load from wrk: nobody notices.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::nginx::Nginx;
use crate::support::proxy::BINARY;
use crate::support::site::Site;
use crate::support::{tools, until};

const SCRIPT: &str = include_str!("deploy.sh");

/// Deploys all three servers; gives each server's log of what came after its restart, without the script's own looks.
fn deploy(mode: &str) -> Vec<Vec<String>> {
    let wrk = tools::need("wrk", "wrk");
    tools::need("curl", "curl");
    let site = Site::new();
    let _until_the_servers_have_ended = site.folder();
    let apps = site.path("apps");
    let servers: Vec<Nginx> = ["s1", "s2", "s3"]
        .iter()
        .map(|name| {
            let nginx = Nginx::start(&apps, name, "location / { return 200 'new build'; }");
            std::fs::write(nginx.folder().join("address"), nginx.addr().to_string()).unwrap();
            nginx
        })
        .collect();
    let site = servers
        .iter()
        .fold(site, |site, nginx| site.server(nginx.addr(), ""))
        .backend("health_check: { path: /health, interval: 500ms, timeout: 500ms, rise: 3, fall: 3 }")
        .start();
    let script = site.dir.path().join("deploy.sh");
    std::fs::write(&script, SCRIPT).unwrap();

    let mut load = tools::Running::start(
        Command::new(wrk)
            .args(["-t", "1", "-c", "12", "-d", "180s", "--timeout", "10s", &format!("http://{}/", site.address)])
            .stdout(Stdio::piped()),
    );
    until("load on every server", || servers.iter().all(|nginx| nginx.access_log().len() > 200));

    let mut command = Command::new("sh");
    command.arg(script).arg(mode).args(["s1", "s2", "s3"]);
    command.env("LOCKGATE", BINARY).env("SOCKET", site.admin_socket()).env("APPS", &apps);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let output = tools::run(&mut command, "");
    assert!(output.status.success(), "{}", tools::text(&output));

    // wrk opens one connection at its start and closes it without a word; that counts as one 400.
    let frontend = site.stat("fe", "FRONTEND");
    assert_eq!(frontend.number("hrsp_5xx"), 0);
    assert!(frontend.number("hrsp_4xx") <= 1);
    assert!(frontend.number("hrsp_2xx") > 1000);

    // wrk sums up when it is interrupted.
    let mut report = load.child().stdout.take().unwrap();
    kill(Pid::from_raw(i32::try_from(load.pid()).unwrap()), Signal::SIGINT).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut report, &mut text).unwrap();
    load.finish();
    assert!(text.contains("requests in"), "{text}");
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests failed during the deploy:\n{text}");

    let after_start = |nginx: &Nginx| {
        let log = nginx.access_log();
        let start = log.iter().rposition(|line| line == "STARTED").expect("the script restarted it");
        log[start + 1..].iter().filter(|line| !line.contains("\"deploy\"")).cloned().collect()
    };
    servers.iter().map(after_start).collect()
}

fn checks_before_traffic(log: &[String]) -> usize {
    assert!(log.iter().any(|line| line.starts_with("GET / 200")), "no traffic came back: {log:?}");
    log.iter().take_while(|line| line.contains(" /health ")).count()
}

#[test]
fn with_drain_the_first_request_comes_after_the_third_pass() {
    for log in deploy("drain") {
        let checks = checks_before_traffic(&log);
        assert!(checks >= 3, "traffic after {checks} checks: {:?}", &log[..6.min(log.len())]);
        assert!(log.iter().take(3).all(|line| line.contains(" /health 200 ")), "{:?}", &log[..3]);
    }
}

#[test]
fn with_maint_traffic_comes_at_once() {
    for log in deploy("maint") {
        let checks = checks_before_traffic(&log);
        assert!(checks < 3, "traffic waited for {checks} checks");
    }
}
