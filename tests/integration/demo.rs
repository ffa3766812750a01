//! The demo: it starts, says what to try, and what it says works.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::proxy::BINARY;
use crate::support::{PATIENCE, eventually_or, tools, until};

/// A running demo, and what it has said.
struct Demo {
    process: tools::Running,
    output: Arc<Mutex<String>>,
}

impl Demo {
    fn start() -> Demo {
        let mut process = tools::Running::start(
            Command::new(BINARY).arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()),
        );
        let output: Arc<Mutex<String>> = Arc::default();
        let (stdout, stderr) = (process.child().stdout.take().unwrap(), process.child().stderr.take().unwrap());
        for pipe in [Box::new(stdout) as Box<dyn std::io::Read + Send>, Box::new(stderr)] {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    output.lock().unwrap().push_str(&format!("{line}\n"));
                }
            });
        }
        Demo { process, output }
    }

    fn text(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The commands it tells to try: `what it does   curl …   (a remark)`.
    fn commands(&self) -> Vec<String> {
        let text = self.text();
        let programs = ["curl ", BINARY];
        let command = |line: &str| {
            let at = programs.iter().filter_map(|program| line.find(&format!("  {program}"))).min()?;
            let command = line[at..].trim_start();
            Some(command.split("   (").next().unwrap_or(command).to_owned())
        };
        text.lines().filter_map(command).collect()
    }
}

fn shell(command: &str) -> (bool, String) {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = Path::new(BINARY).parent().unwrap().display().to_string();
    let output = tools::run(Command::new("sh").args(["-c", command]).env("PATH", format!("{own}:{path}")), "");
    (output.status.success(), tools::text(&output))
}

#[test]
fn what_it_tells_to_try_works() {
    tools::need("curl", "curl");
    let demo = Demo::start();
    until("something to try", || {
        let commands = demo.commands();
        ["curl ", "https://", " drain", " ready"].iter().all(|needle| commands.iter().any(|c| c.contains(needle)))
    });
    until("the end of the text", || demo.text().contains("Ctrl-C"));
    // A second one finds the usual ports taken, and takes others.
    let second = Demo::start();
    let found = eventually_or(PATIENCE, || second.commands().pop());
    assert!(found.is_some(), "a second demo does not start: {}", second.text());

    let commands = demo.commands();
    assert!(commands.len() >= 4, "{}", demo.text());
    for command in &commands {
        let (ok, text) = shell(command);
        assert!(ok, "{command}\n{text}\n---- demo\n{}", demo.text());
    }

    // The stats page is for a browser: its address stands alone.
    let text = demo.text();
    let page = text.lines().find_map(|line| line.strip_prefix("    http://")).expect("the page's address");
    let (ok, body) = shell(&format!("curl -sf http://{page}"));
    assert!(ok && body.contains("lockgate demo") && body.contains("web01"), "{body}");

    // The access line of a request is printed as it would reach syslog.
    let curl = commands.iter().find(|c| c.starts_with("curl ") && c.contains("http://")).expect("a plain curl");
    assert!(shell(curl).0);
    until("log lines", || demo.text().contains("HTTP/1.1\"") && demo.text().contains(" ---- "));

    kill(Pid::from_raw(i32::try_from(demo.process.pid()).unwrap()), Signal::SIGINT).unwrap();
    let output = Arc::clone(&demo.output);
    let status = demo.process.finish();
    assert!(status.success(), "{}", output.lock().unwrap());
}
