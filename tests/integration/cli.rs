//! The command line: `check`, `schema`, `ctl`, `respond`, and what `run` says when it cannot.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use crate::support::client::RawClient;
use crate::support::origin::Origin;
use crate::support::proxy::BINARY;
use crate::support::site::Site;
use crate::support::tools;

fn lockgate(arguments: &[&str], input: &str) -> Output {
    tools::run(Command::new(BINARY).args(arguments), input)
}

#[test]
fn check_accepts_what_run_accepts() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let file = site.config().display().to_string();
    let output = lockgate(&["check", "-c", &file], "");
    assert!(output.status.success(), "{}", tools::text(&output));
    assert!(tools::text(&output).contains("ok, 1 frontend, 1 backend, 1 server"), "{}", tools::text(&output));
    // It took nothing from the running one: the same addresses are in use.
    assert_eq!(site.get("/").status(), 200);
    let text = std::fs::read_to_string(site.config()).unwrap();
    assert!(lockgate(&["check", "-c", "-"], &text).status.success());
}

#[test]
fn check_reports_every_mistake_with_its_place() {
    let broken = "frontends:\n  fe:\n    bind: [ \"127.0.0.1:99999\" ]\n    routes: [ { backend: wbe } ]\n\
                  backends:\n  web:\n    balanec: leastconn\n    servers: { s1: { address: \"127.0.0.1:80\", weight: 300 } }\n";
    let output = lockgate(&["check", "-c", "-"], broken);
    let text = tools::text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for needle in [":3:", ":4:", ":7:", ":8:", "99999", "did you mean", "web", "balance", "256"] {
        assert!(text.contains(needle), "{needle:?} is missing:\n{text}");
    }
}

#[test]
fn run_refuses_a_broken_file_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.yaml");
    std::fs::write(&file, "frontends: { fe: { bind: nowhere } }\n").unwrap();
    let output = lockgate(&["run", "-c", &file.display().to_string()], "");
    assert!(!output.status.success());
    assert!(tools::text(&output).contains("broken.yaml:1:"), "{}", tools::text(&output));
    let output = lockgate(&["run", "-c", "/nonexistent/lockgate.yaml"], "");
    assert!(!output.status.success());
    assert!(tools::text(&output).contains("/nonexistent/lockgate.yaml"), "{}", tools::text(&output));
}

#[test]
fn what_is_installed_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let output = tools::run(
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
            .env("DESTDIR", dir.path())
            .env("BINARY", BINARY)
            .env_remove("PREFIX")
            .env_remove("OWNER"),
        "",
    );
    assert!(output.status.success(), "{}", tools::text(&output));
    let docs = dir.path().join("usr/local/share/doc/lockgate");
    for file in [docs.join("example.yaml"), dir.path().join("etc/lockgate/lockgate.yaml")] {
        let output = lockgate(&["check", "-c", &file.display().to_string()], "");
        assert!(output.status.success(), "{}", tools::text(&output));
    }
    for manual in ["README.md", "CONFIG.md", "ADMIN.md", "METRICS.md", "HAPROXY_COMPAT.md"] {
        assert!(docs.join(manual).is_file(), "{manual}");
    }
}

#[test]
fn a_time_to_wait_that_stands_apart_is_pointed_out_and_nothing_is_ordered() {
    // Nobody listens there: had it asked, the exit code would be 2.
    let output = lockgate(&["drain", "--socket", "/nonexistent/admin.sock", "--wait", "5s", "web/web01"], "");
    assert_eq!(output.status.code(), Some(1), "{}", tools::text(&output));
    assert!(tools::text(&output).contains("`--wait=5s`"), "{}", tools::text(&output));
}

#[test]
fn the_hash_of_a_password_typed_at_a_terminal_goes_into_a_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ops.pw");
    let command = format!("{BINARY} hash-password > {}", file.display());
    let mut terminal = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of util-linux");
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = String::new();
    for prompt in ["Password:", "Once more:"] {
        while !shown.contains(prompt) {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "the end, without {prompt}: {shown}");
            shown.push(char::from(byte[0]));
        }
        keys.write_all(b"geheim\r").unwrap();
    }
    screen.read_to_string(&mut shown).unwrap();
    assert!(terminal.wait().unwrap().success(), "{shown}");
    assert!(!shown.contains("$6$") && !shown.contains("geheim"), "{shown}");
    let hash = std::fs::read_to_string(&file).unwrap();
    assert!(hash.starts_with("$6$") && hash.lines().count() == 1, "{hash:?}");
}

#[test]
fn schema_is_json() {
    let output = lockgate(&["schema"], "");
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema.to_string().contains("trusted_proxies"));
}

#[test]
fn ctl_talks_to_the_admin_socket() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let socket = site.admin_socket().display().to_string();
    let output = lockgate(&["ctl", "--socket", &socket, "show stat"], "");
    assert!(output.status.success());
    assert!(tools::text(&output).starts_with("# pxname,"));
    let output = lockgate(&["ctl", "--socket", &socket, "set server web/s1 state drain"], "");
    assert!(output.status.success());
    assert_eq!(site.status("s1"), "DRAIN");
    for wrong in ["set server web/nope state drain", "frobnicate", "set server web/s1 state sideways"] {
        let output = lockgate(&["ctl", "--socket", &socket, wrong], "");
        assert_eq!(output.status.code(), Some(1), "{wrong}: {}", tools::text(&output));
    }
    let output = lockgate(&["ctl", "--socket", "/nonexistent/admin.sock", "show info"], "");
    assert!(!output.status.success());
    assert!(tools::text(&output).contains("/nonexistent/admin.sock"));
}

#[test]
fn respond_is_a_server_to_try_things_on() {
    let mut process = tools::Running::start(
        Command::new(BINARY)
            .args(["respond", "--listen", "127.0.0.1:0", "--name", "toy", "--header", "X-Extra: 1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut line = String::new();
    BufReader::new(process.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.split_whitespace().find_map(|word| word.trim_start_matches("http://").trim_end_matches('/').parse().ok());
    let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
    let mut client = RawClient::connect(address);
    let answer = client.get("/");
    assert_eq!((answer.status(), answer.field("x-extra"), answer.field("x-served-by")), (200, Some("1"), Some("toy")));
    assert!(answer.field("x-sql-count").is_some());
    assert_eq!(client.get("/x?status=404").status(), 404);
    assert_eq!(client.get("/health").status(), 200);
    assert!(client.ask("POST /_respond?health=fail HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status() < 300);
    assert!(client.get("/health").status() >= 500);
}

#[test]
fn help_and_version() {
    let output = lockgate(&["--version"], "");
    assert!(output.status.success() && tools::text(&output).contains(env!("CARGO_PKG_VERSION")));
    let output = lockgate(&["--help"], "");
    for word in ["run", "check", "ctl", "respond", "demo", "schema"] {
        assert!(tools::text(&output).contains(word), "{word}");
    }
    assert!(!lockgate(&["frobnicate"], "").status.success());
}
