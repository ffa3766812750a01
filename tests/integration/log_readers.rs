//! Programs that read HAProxy's logs read ours: what lockgate sent, rsyslogd wrote, and the program understood.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::support::httplog::Row;
use crate::support::origin::{Origin, Reply};
use crate::support::rsyslog::{self, Rsyslog};
use crate::support::site::{Running, Site};
use crate::support::{ports, tools, until};

/// Requests to `/page`, each answered 200.
const GOOD: usize = 12;
/// Requests of all kinds.
const ALL: usize = GOOD + 4;

/// A file that rsyslogd wrote of a site's mixed traffic.
struct Written {
    file: PathBuf,
    dir: Arc<TempDir>,
    _site: Running,
    _rsyslog: Rsyslog,
    _origin: Origin,
}

impl Written {
    #[track_caller]
    fn new() -> Written {
        let origin = Origin::answering(|request| match request.target().split('?').next() {
            Some("/missing") => Reply::status(404),
            _ => Reply::ok("hello").field("X-Time-Ms", "12").field("X-Route", "Questions/Show"),
        });
        let site = Site::of(&[&origin]);
        let dir = site.folder();
        let rsyslog = Rsyslog::start(dir.path(), rsyslog::TRADITIONAL);
        let site = site
            .global("logs", format!("[ {{ target: \"{}\", syslog: rfc3164 }} ]", rsyslog.target()))
            .frontend(
                "capture:\n  request: [ { header: Host, max: 64 }, { header: User-Agent, max: 64 } ]\n  \
                 response: [ { header: X-Time-Ms, max: 6 }, { header: X-Route, max: 20 } ]\n\
                 routes: [ { path: \"= /closed\", backend: closed }, { backend: web } ]",
            )
            .more(
                "backends",
                format!(
                    "closed: {{ health_check: off, servers: {{ c1: {{ address: \"{}\", disabled: true }} }} }}",
                    ports::address()
                ),
            )
            .start();
        for n in 0..GOOD {
            let agent = "Mozilla/5.0 (X11; Linux) \"quoted\" {brace|d}";
            site.ask(format!("GET /page?n={n} HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: {agent}\r\n\r\n"));
        }
        site.get("/missing");
        site.get("/missing?again");
        site.get("/closed");
        site.ask("GARBAGE\r\n\r\n");
        let file = rsyslog.file().to_owned();
        let rows = || std::fs::read_to_string(&file).unwrap_or_default().lines().filter_map(Row::parse).count();
        until("every row to be written", || rows() == ALL);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().all(|line| line.contains(" lb1 haproxy[")), "{text}");
        // lnav takes a file for what its first lines are.
        let requests: String =
            text.lines().filter(|line| Row::parse(line).is_some()).map(|l| format!("{l}\n")).collect();
        let only_requests = dir.path().join("requests.log");
        std::fs::write(&only_requests, requests).unwrap();
        Written { file: only_requests, dir, _site: site, _rsyslog: rsyslog, _origin: origin }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }
}

/// Runs a program and gives what it printed.
#[track_caller]
fn printed(command: &mut Command, input: &str) -> String {
    let output = tools::run(command, input);
    assert!(output.status.success(), "{command:?}: {}", tools::text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn halog() {
    let written = Written::new();
    let halog = |option: &[&str]| {
        let mut command = Command::new(tools::need("halog", "haproxy"));
        printed(command.arg("-q").args(option), &written.text())
    };
    let statuses: Vec<String> = halog(&["-H", "-st"]).lines().map(str::to_owned).collect();
    assert_eq!(statuses, [format!("200 {GOOD}"), "400 1".into(), "404 2".into(), "503 1".into()]);
    assert_eq!(halog(&["-H", "-tc"]), format!("-- {}\nPR 1\nSC 1\n", GOOD + 2));
    let servers = halog(&["-H", "-srv"]);
    assert!(servers.contains(&format!("web/s1 0 {GOOD} 0 2 0 0 {0} {0} 100.0", GOOD + 2)), "{servers}");
    assert!(servers.contains("closed/<NOSRV> 0 0 0 0 1 0 1 0 0.0"), "{servers}");
    let urls = halog(&["-H", "-uc"]);
    assert!(urls.lines().any(|line| line.starts_with(&format!("{GOOD} ")) && line.ends_with(" /page")), "{urls}");
    let routes = halog(&["-H", "-hdr", "2:2"]);
    assert_eq!(routes.lines().filter(|line| *line == "Questions/Show").count(), GOOD, "{routes}");
}

#[test]
fn lnav() {
    let written = Written::new();
    let mut command = Command::new(tools::need("lnav", "lnav"));
    command.env("HOME", written.dir.path()).env("TERM", "dumb").arg("-n");
    let query = ";SELECT status_code, backend_name, server_name, termination_state, count(*), \
                 max(captured_request_headers), max(http_method) FROM haproxy_log GROUP BY 1, 2, 3, 4 ORDER BY 1";
    let table = printed(command.args(["-c", query, "-c", ":write-csv-to -"]).arg(&written.file), "");
    let agent = "Mozilla/5.0 (X11; Linux) #22quoted#22 #7Bbrace#7Cd#7D";
    for row in [
        format!("200,web,s1,----,{GOOD},www.example.test|{agent},GET"),
        "404,web,s1,----,2,www.example.test|,GET".into(),
        "503,closed,<NOSRV>,SC--,1,www.example.test|,GET".into(),
    ] {
        assert!(table.lines().any(|line| line == row), "no {row} in\n{table}");
    }
}

/// Runs goaccess with a format; how many lines it took and how many it did not.
#[track_caller]
fn goaccess(folder: &Path, file: &Path, format: &str) -> (u64, u64) {
    let report = folder.join("goaccess.json");
    let mut command = Command::new(tools::need("goaccess", "goaccess"));
    command.env("HOME", folder).arg(file).args(["--no-global-config", "--no-progress", "-o"]).arg(&report);
    command.args(["--date-format=%d/%b/%Y", "--time-format=%H:%M:%S", &format!("--log-format={format}")]);
    printed(&mut command, "");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let number = |key: &str| report["general"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {report}"));
    (number("valid_requests"), number("failed_requests"))
}

#[test]
fn goaccess_reads_httplog() {
    const FORMAT: &str = r#"%^]:%^%h:%^ [%d:%t.%^] %^ %v/%^ %^/%^/%^/%^/%L %s %b %^ %^ %^ %^ %^ {%^} {%^} "%r""#;
    let written = Written::new();
    // A line without captures is not of that format.
    let text: String = written.text().lines().filter(|l| !l.contains("<BADREQ>")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&written.file, text).unwrap();
    assert_eq!(goaccess(written.dir.path(), &written.file, FORMAT), (ALL as u64 - 1, 0));
}

#[test]
fn goaccess_reads_clf() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let (folder, file) = (site.folder(), site.path("clf.log"));
    let site = site
        .global("logs", format!("[ {{ target: \"file://{}\", format: clf, level: info }} ]", file.display()))
        .start();
    for n in 0..GOOD {
        site.get(&format!("/page?n={n}"));
    }
    let requests = || std::fs::read_to_string(&file).unwrap_or_default().matches("GET /page").count();
    until("every row to be written", || requests() == GOOD);
    let text: String = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .filter(|l| l.contains("GET"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&file, text).unwrap();
    assert_eq!(goaccess(folder.path(), &file, r#"%h %^[%d:%t %^] "%r" %s %b "%R" "%u" %^"#), (GOOD as u64, 0));
}

/// A program of the Python environment that `tests/tools/setup` makes (`scripts/test` calls it).
#[track_caller]
fn python(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools-venv/bin").join(program);
    assert!(path.exists(), "this test needs {}: tests/tools/setup makes it", path.display());
    path
}

#[test]
fn haproxy_log_analysis() {
    let written = Written::new();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(python("haproxy_log_analysis"));
        printed(command.arg("-l").arg(&written.file).args(arguments), "")
    };
    let counts = run(&["-c", "counter,status_codes_counter,http_methods,server_load", "--json"]);
    let invalid = run(&["-c", "counter", "--invalid"]);
    assert!(!invalid.contains("haproxy["), "every line is understood: {invalid}");
    assert!(invalid.lines().any(|line| line.trim() == ALL.to_string()), "{invalid}");
    for needle in ["\"200\": 12", "\"404\": 2", "\"503\": 1", "\"GET\": 15", "\"s1\": 14"] {
        assert!(counts.contains(needle) || counts.contains(&needle.replace('"', "")), "no {needle} in {counts}");
    }
}

#[test]
fn grok() {
    const SCRIPT: &str = "import sys, pygrok\ngrok = pygrok.Grok('%{HAPROXYHTTP}')\nfor line in sys.stdin:\n    \
        m = grok.match(line.rstrip('\\n'))\n    \
        print('none' if m is None else ' '.join(str(m[k]) for k in ('http_status_code', 'backend_name', 'server_name', 'termination_state', 'captured_request_headers', 'http_request')))\n";
    let written = Written::new();
    let printed = printed(Command::new(python("python")).args(["-c", SCRIPT]), &written.text());
    let rows: Vec<&str> = printed.lines().collect();
    assert_eq!(rows.len(), ALL);
    assert_eq!(rows.iter().filter(|row| **row == "none").count(), 0, "{printed}");
    let first = "200 web s1 ---- www.example.test|Mozilla/5.0 (X11; Linux) #22quoted#22 #7Bbrace#7Cd#7D /page?n=0";
    assert!(rows.contains(&first), "{printed}");
}
