//! `lockgate status` as people and scripts see it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::support::eventually;
use crate::support::lab::Lab;
use crate::support::proxy::{BINARY, Proxy};
use crate::support::tools::{self, Running};

fn status(lab: &Lab, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    tools::run(command.arg("status").args(arguments).env("LOCKGATE_SOCKET", lab.socket("user")), "")
}

#[test]
fn a_table_for_people() {
    let lab = Lab::start();
    let fine = status(&lab, &[]);
    let text = tools::text(&fine);
    assert_eq!(fine.status.code(), Some(0), "{text}");
    assert!(text.starts_with("lockgate ") && text.contains(" on lab1, pid "), "{text}");
    assert!(text.contains("\nall fine: 5 frontends, 2 backends, 6 servers\n"), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");
    let line = text.lines().find(|line| line.trim_start().starts_with("web1")).unwrap();
    for part in ["UP", "0/50", "L7OK 200", " ago"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(text.contains("  api3 (backup)  UP"), "{text}");
    assert!(text.contains("2 of 3 usable"), "the backup is not used: {text}");

    lab.proxy.order("set server be_web/web2 state drain");
    let aside = status(&lab, &[]);
    assert_eq!(aside.status.code(), Some(0), "somebody wished it");
    assert!(tools::text(&aside).contains("\n1 set aside: be_web/web2 for "), "{}", tools::text(&aside));
    lab.origins[4].stop();
    lab.wait_status("be_api/api2", "DOWN");
    let down = status(&lab, &["--problems"]);
    let text = tools::text(&down);
    assert_eq!(down.status.code(), Some(1), "{text}");
    assert!(text.contains("\n1 down: be_api/api2 for "), "{text}");
    let rows: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let at = |name: &str| rows.iter().position(|row| *row == name).unwrap();
    assert!(at("be_api") < at("be_web") && at("api2") < at("api1"), "{text}");
    let only = status(&lab, &["be_web"]);
    assert_eq!(only.status.code(), Some(0), "nothing is down in this one");
    assert!(!tools::text(&only).contains("be_api"));
    let nope = status(&lab, &["be_wep"]);
    assert_eq!(nope.status.code(), Some(2));
    assert!(tools::text(&nope).contains("there is no backend `be_wep`; there are: be_web, be_api"));
}

#[test]
fn json_for_scripts() {
    let lab = Lab::start();
    lab.proxy.order("disable server be_web/web3");
    let output = status(&lab, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["down"], 0);
    assert_eq!(report["process"]["node"], "lab1");
    assert_eq!(report["process"]["pid"], lab.proxy.pid());
    assert_eq!(report["frontends"][0]["name"], "fe_main");
    let web = &report["backends"][0];
    assert_eq!((&web["name"], &web["servers_usable"]), (&"be_web".into(), &2.into()));
    let (first, third) = (&web["servers"][0], &web["servers"][2]);
    assert_eq!((&first["status"], &first["condition"]), (&"UP".into(), &"fine".into()));
    assert_eq!((&first["check"]["status"], &first["check"]["code"]), (&"L7OK".into(), &200.into()));
    assert!(first["check"]["age_ms"].as_u64().unwrap() < 60_000);
    assert!(first.get("address").is_none(), "a user's socket does not tell addresses");
    assert_eq!((&third["status"], &third["condition"]), (&"MAINT".into(), &"set_aside".into()));
}

#[test]
fn watching_goes_on_over_a_restart() {
    let mut lab = Lab::start();
    let mut command = Command::new(BINARY);
    command.args(["status", "--json", "--watch=100ms", "--socket"]).arg(lab.socket("admin"));
    let mut watching = Running::start(command.stdout(Stdio::piped()));
    let mut lines = BufReader::new(watching.child().stdout.take().unwrap()).lines();
    let mut until = |what: &str, test: &dyn Fn(&serde_json::Value) -> bool| {
        eventually(what, || {
            let line = lines.next().unwrap().unwrap();
            test(&serde_json::from_str(&line).unwrap()).then_some(())
        });
    };
    let pid = u64::from(lab.proxy.pid());
    until("the first look", &|report| report["process"]["pid"] == pid);
    lab.proxy.signal(nix::sys::signal::Signal::SIGTERM);
    lab.proxy.wait_exit();
    until("the complaint", &|report| report["error"].as_str().is_some_and(|e| e.contains("does lockgate run")));
    let dir = std::sync::Arc::clone(&lab.proxy.dir);
    let yaml = std::fs::read_to_string(lab.proxy.config()).unwrap();
    let admin = lab.socket("admin");
    lab.proxy = Proxy::spawn(dir, &yaml, admin, &[]);
    lab.proxy.wait_started();
    let pid = u64::from(lab.proxy.pid());
    until("the new process", &|report| report["process"]["pid"] == pid);
}

#[test]
fn a_terminal_gets_colours_and_its_width() {
    let lab = Lab::start();
    lab.proxy.order("disable server be_web/web3");
    let socket = lab.socket("admin").display().to_string();
    crate::python::must_work("status.py", &[BINARY, &socket]);
}
