//! `lockgate ctl`, `drain`, `ready` and `maint` as scripts and people use them.

use std::process::{Command, Output};

use crate::python::must_work;
use crate::support::client::RawClient;
use crate::support::lab::Lab;
use crate::support::proxy::BINARY;
use crate::support::{tools, until};

fn lockgate(lab: &Lab, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(BINARY);
    tools::run(command.args(arguments).env("LOCKGATE_SOCKET", lab.socket("admin")), input)
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_file_of_commands_stops_at_the_first_refusal() {
    let lab = Lab::start();
    let script = "# take two out\nset weight be_web/web1 3\n\nset weight be_web/nope 4\nset weight be_web/web2 5\n";
    let file = lab.proxy.dir.path().join("orders.txt");
    std::fs::write(&file, script).unwrap();
    let name = file.display().to_string();
    let (code, out, err) = said(&lockgate(&lab, &["ctl", "-f", &name], ""));
    assert_eq!((code, out.as_str()), (1, "No such server.\n"));
    assert_eq!(err, format!("{name}:4: set weight be_web/nope 4\n"));
    assert_eq!(lab.proxy.admin("get weight be_web/web1").trim(), "3 (initial 10)");
    assert_eq!(lab.proxy.admin("get weight be_web/web2").trim(), "10 (initial 10)");
    let (code, _, err) = said(&lockgate(&lab, &["ctl", "--keep-going", "-f", "-"], script));
    assert_eq!((code, err.as_str()), (1, "standard input:4: set weight be_web/nope 4\n"));
    assert_eq!(lab.proxy.admin("get weight be_web/web2").trim(), "5 (initial 10)");
    let (code, out, err) = said(&lockgate(&lab, &["ctl"], "get weight be_web/web2\nuser\nset weight be_web/web2 1\n"));
    assert_eq!((code, out.as_str()), (1, "5 (initial 10)\nPermission denied\n"), "{err}");
}

#[test]
fn nobody_there_is_an_exit_code_of_its_own() {
    for arguments in [&["ctl", "show info"][..], &["status"], &["drain", "be_web/web1"]] {
        let mut command = Command::new(BINARY);
        let output = tools::run(command.args(arguments).args(["--socket", "/nonexistent/admin.sock"]), "");
        let output = match arguments[0] {
            // Everything behind the command belongs to it.
            "ctl" => {
                let mut command = Command::new(BINARY);
                tools::run(command.args(["ctl", "--socket", "/nonexistent/admin.sock", "show info"]), "")
            }
            _ => output,
        };
        let (code, out, err) = said(&output);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains("/nonexistent/admin.sock") && err.contains("LOCKGATE_SOCKET"), "{err}");
    }
}

#[test]
fn payloads_come_from_standard_input() {
    let lab = Lab::start();
    let (code, out, _) = said(&lockgate(&lab, &["ctl", "show cli level <<"], "one\n\ntwo\n"));
    assert_eq!((code, out.as_str()), (0, "admin\n"));
}

#[test]
fn the_prompt_completes_remembers_and_keeps_no_secret() {
    let lab = Lab::start();
    let home = tempfile::tempdir().unwrap();
    let socket = lab.socket("admin").display().to_string();
    must_work("prompt.py", &[BINARY, &socket, "be_web", "web1", &home.path().display().to_string()]);
}

#[test]
fn servers_are_drained_and_readied_and_waited_for() {
    let lab = Lab::start();
    let mut slow = RawClient::connect(lab.main);
    slow.send("GET /slow?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n");
    let servers = ["be_web/web1", "be_web/web2", "be_web/web3"];
    until("the request in flight", || servers.iter().any(|s| busy(&lab, s)));
    let server = servers.into_iter().find(|s| busy(&lab, s)).unwrap();
    let (code, _, err) = said(&lockgate(&lab, &["drain", "--wait=100ms", server], ""));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(&format!("{server}: not yet: DRAIN, 1 requests in flight")), "{err}");
    assert_eq!(lockgate(&lab, &["drain", "--wait", server], "").status.code(), Some(0));
    assert!(!busy(&lab, server));
    assert_eq!(slow.answer().status(), 200);
    assert_eq!(lockgate(&lab, &["ready", "--wait", server], "").status.code(), Some(0));
    assert_eq!(lab.status(server), "UP");
    let (code, _, err) = said(&lockgate(&lab, &["maint", "be_web/nope", "be_web/web1"], ""));
    assert_eq!((code, err.trim()), (1, "lockgate maint: be_web/nope: No such server."));
    assert_eq!(lab.status("be_web/web1"), "MAINT", "the others are not forgotten");
}

fn busy(lab: &Lab, server: &str) -> bool {
    let (backend, name) = server.split_once('/').unwrap();
    lab.proxy.stat(backend, name).number("scur") > 0
}
