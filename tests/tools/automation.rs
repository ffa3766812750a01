//! Libraries, command lines and playbooks that read and change servers over the admin socket.

use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use crate::python::{drive, home, program};
use crate::support::client::RawClient;
use crate::support::lab::Lab;
use crate::support::tools::{self, Running, need};
use crate::support::{ports, until};

#[test]
fn haproxyadmin_reads_and_writes_everything() {
    let lab = Lab::start();
    let [socket, map] = [lab.socket("admin"), lab.proxy.dir.path().join("maps/hosts.map")];
    let [socket, map] = [socket.display().to_string(), map.display().to_string()];
    let output = drive("haproxyadmin_everything.py", &[&socket, "be_web", "web1", "fe_main", &map]);
    assert!(output.status.success(), "{}", tools::text(&output));
    // Each line is something that does not work.
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "");
}

#[test]
fn haproxytool_switches_servers_and_tells_their_status() {
    let lab = Lab::start();
    let socket = lab.socket("admin").display().to_string();
    let tool = |arguments: &[&str]| -> String {
        let (verb, rest) = arguments.split_first().unwrap();
        let output = tools::run(Command::new(program("haproxytool")).arg(verb).args(["-F", &socket]).args(rest), "");
        assert!(output.status.success(), "{arguments:?}: {}", tools::text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(tool(&["server", "-l"]).contains("web1"));
    assert!(tool(&["frontend", "-l"]).contains("fe_main"));
    assert!(tool(&["backend", "-s"]).contains("be_web UP"));
    for (flag, said, status) in [
        ("-n", "web3 set to drain in be_web backend", "DRAIN"),
        ("-R", "web3 set to ready in be_web backend", "UP"),
        ("-t", "web3 set to maintenance in be_web backend", "MAINT"),
        ("-e", "web3 enabled in be_web backend", "UP"),
        ("-d", "web3 disabled in be_web backend", "MAINT"),
        ("-R", "web3 set to ready in be_web backend", "UP"),
    ] {
        assert_eq!(tool(&["server", flag, "--backend=be_web", "web3"]).trim(), said, "{flag}");
        lab.wait_status("be_web/web3", status);
        let shown = tool(&["server", "-s", "--backend=be_web", "web3"]);
        assert!(shown.contains(status), "{flag}: {shown}");
    }
    assert!(tool(&["haproxy", "-i"]).contains("Name: HAProxy"), "the process's facts");
    assert!(tool(&["haproxy", "-c", "show version"]).contains("lockgate"));
}

#[test]
fn haproxyctl_lists_weighs_and_switches() {
    let lab = Lab::start();
    let socket = lab.socket("admin").display().to_string();
    let script = home().join("sources/haproxyctl-0.3.1/haproxyctl.py");
    let ctl = |arguments: &[&str]| -> String {
        let mut command = Command::new(program("python"));
        let output = tools::run(command.arg("-B").arg(&script).args(["-k", &socket]).args(arguments), "");
        assert!(output.status.success(), "{arguments:?}: {}", tools::text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let server = ["-b", "be_web", "-s", "web1"];
    let with = |command: &'static str| [&["-c", command], &server[..]].concat();
    assert!(ctl(&["-c", "info"]).contains("Name: HAProxy"));
    assert!(ctl(&["-c", "frontends"]).lines().any(|line| line == "fe_main"));
    assert!(ctl(&["-c", "backends"]).lines().any(|line| line == "be_api"));
    let servers = ctl(&["-c", "servers", "-b", "be_web"]);
    assert!(servers.contains("Name: web1 Status: UP Weight: 10 bIn: "), "{servers}");
    assert!(ctl(&with("get-weight")).contains("10 (initial 10)"));
    assert_eq!(ctl(&[&with("set-weight")[..], &["-w", "7"]].concat()).trim(), "");
    assert!(ctl(&with("get-weight")).contains("7 (initial 10)"));
    assert_eq!(ctl(&with("disable")).trim(), "");
    assert_eq!(lab.status("be_web/web1"), "MAINT");
    assert_eq!(ctl(&with("enable")).trim(), "");
    lab.wait_status("be_web/web1", "UP");
}

#[test]
fn ansible_switches_servers_and_waits_for_them() {
    let lab = Lab::start();
    let socket = lab.socket("admin").display().to_string();
    let module = |arguments: &str| -> Output {
        let mut command = Command::new(program("ansible"));
        command
            .args(["localhost", "-c", "local", "-m", "community.general.haproxy", "-a"])
            .arg(format!("socket={socket} {arguments}"))
            .env("ANSIBLE_COLLECTIONS_PATH", home().join("sources/collections"))
            .env("ANSIBLE_HOME", lab.proxy.dir.path().join("ansible"))
            .env("ANSIBLE_PYTHON_INTERPRETER", program("python"))
            .env("ANSIBLE_LOCALHOST_WARNING", "false")
            .env("ANSIBLE_INVENTORY_UNPARSED_WARNING", "false")
            .env("ANSIBLE_NOCOLOR", "1")
            .env("LC_ALL", "C.UTF-8");
        tools::run(&mut command, "")
    };
    let waiting = "wait=yes wait_interval=1 wait_retries=10";
    for (arguments, status) in [
        (format!("host=web1 backend=be_web state=disabled {waiting}"), "MAINT"),
        (format!("host=web1 backend=be_web state=enabled {waiting}"), "UP"),
        (format!("host=web1 backend=be_web state=drain {waiting}"), "DRAIN"),
        ("host=web1 backend=be_web state=enabled".to_owned(), "UP"),
        (format!("host=web1 backend=be_web state=disabled drain=yes {waiting}"), "MAINT"),
        (format!("host=web1 backend=be_web state=enabled weight=5 {waiting}"), "UP"),
        ("host=web1 backend=be_web state=disabled shutdown_sessions=yes health=yes".to_owned(), "MAINT"),
        ("host=web1 backend=be_web state=enabled health=yes agent=yes".to_owned(), "UP"),
        ("host=web1 state=disabled".to_owned(), "MAINT"),
        ("host=web1 state=enabled".to_owned(), "UP"),
    ] {
        let output = module(&arguments);
        let text = tools::text(&output);
        assert!(output.status.success() && text.contains("CHANGED"), "{arguments}: {text}");
        lab.wait_status("be_web/web1", status);
        if arguments.contains("weight=5") {
            assert_eq!(lab.proxy.admin("get weight be_web/web1").trim(), "5 (initial 10)");
        }
    }
    let nope = module("host=nope backend=be_web state=enabled fail_on_not_found=yes");
    assert!(!nope.status.success(), "{}", tools::text(&nope));
}

#[test]
fn the_prometheus_exporter_scrapes_the_socket() {
    let lab = Lab::start();
    let metrics = exported(&format!("unix:{}", lab.socket("user").display()));
    assert!(metrics.contains("\nhaproxy_version_info{release_date=\"2"), "{metrics}");
}

/// What the exporter exports for an address, checked.
pub fn exported(uri: &str) -> String {
    let exporter = need("prometheus-haproxy-exporter", "prometheus-haproxy-exporter");
    let address = ports::address();
    let _running = Running::start(
        Command::new(exporter)
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--haproxy.scrape-uri={uri}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    until("the exporter to listen", || TcpStream::connect(address).is_ok());
    let metrics = RawClient::connect(address).get("/metrics").text();
    for line in ["haproxy_up 1", "haproxy_exporter_csv_parse_failures_total 0"] {
        assert!(metrics.lines().any(|l| l == line), "{line} is missing for {uri}:\n{metrics}");
    }
    for start in [
        "haproxy_frontend_http_requests_total{",
        "haproxy_frontend_connections_total{",
        "haproxy_backend_up{backend=\"be_web\"} 1",
        "haproxy_server_up{backend=\"be_api\",server=\"api3\"} 1",
        "haproxy_server_check_duration_seconds{",
        "haproxy_server_http_total_time_average_seconds{",
    ] {
        assert!(metrics.lines().any(|l| l.starts_with(start)), "{start} is missing for {uri}:\n{metrics}");
    }
    metrics
}
