//! Every admin command that was recorded from HAProxy 2.8, sent to the real lab in the recorded order.
//!
//! Replies are compared by their shape: numbers, pointers, dates and versions are masked. What differs must stand in
//! `tests/lab/differences.txt` with its reason, and what stands there must differ: both ways are failures.
//! `UPDATE_GOLDEN=1` writes the file anew and keeps the reasons; a difference without a reason fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::shape::{Shape, masked};
use crate::support::client::RawClient;
use crate::support::lab::Lab;
use crate::support::until;

/// Stands where a reason has to be written.
const NO_REASON: &str = "?";

/// `tests/lab/differences.txt`: name of the recording, reason.
pub fn differences_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/differences.txt")
}

/// The recordings' differences and their reasons, as they are written down.
pub fn differences() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(differences_file()).unwrap_or_default();
    let entry = |line: &str| {
        let (name, reason) = line.split_once('\t').unwrap_or((line, NO_REASON));
        (name.trim().to_owned(), reason.trim().to_owned())
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(entry).collect()
}

/// A recording.
pub struct Recording {
    pub name: String,
    pub command: String,
    pub reply: String,
}

impl Recording {
    pub fn number(&self) -> u32 {
        self.name[..3].parse().unwrap()
    }

    /// Of the socket it was sent to.
    pub fn level(&self) -> &'static str {
        match self.number() {
            326..=372 => "operator",
            373..=419 => "user",
            _ => "admin",
        }
    }

    /// How it is compared.
    fn shape(&self) -> Shape {
        let words: Vec<&str> = self.command.split_whitespace().collect();
        let begin = self.reply.split('\n').next().unwrap_or_default();
        // Help is lockgate's own prose, and so is what no tool reads.
        let prose = begin.starts_with("Unknown command") || begin.starts_with("The following commands");
        let free = ["activity", "pools", "threads", "fd", "tasks", "libs", "profiling", "trace", "events", "env"];
        match words.as_slice() {
            _ if begin == "Permission denied" => Shape::Whole,
            ["prompt", ..] => Shape::WithoutLists,
            _ if prose => Shape::FirstLine,
            ["show", noun, ..] if free.contains(noun) => Shape::FirstLine,
            ["show", "startup-logs" | "resolvers", ..] | ["show", "schema", ..] => Shape::FirstLine,
            ["show", "info", ..] => Shape::Info,
            ["show", "stat", ..] if self.reply.starts_with('[') => Shape::Json,
            ["show", "stat", rest @ ..] if rest.contains(&"typed") => Shape::Typed,
            ["show", "stat", ..] if self.reply.starts_with("# pxname") => Shape::Csv,
            ["show", "sess"] => Shape::Sessions,
            ["show", "sess", ..] if begin.starts_with("0x") => Shape::FirstLine,
            ["show", "errors", ..] => Shape::Errors,
            ["show", "backend"] => Shape::Names,
            ["show", "acl"] => Shape::Files,
            _ => Shape::Whole,
        }
    }
}

/// Everything recorded, in its order.
pub fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/golden");
    let mut all: Vec<Recording> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "cmd"))
        .map(|path| {
            let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Recording { name, command: read(&path), reply: read(&path.with_extension("out")) }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What was going on when a recording was made, and what is put right between two of them.
struct Stage<'a> {
    lab: &'a Lab,
    /// The one request in flight.
    slow: Option<RawClient>,
}

impl Stage<'_> {
    fn before(&mut self, recording: &Recording) {
        let lab = self.lab;
        match recording.number() {
            31 => self.traffic(),
            61 => {
                let mut client = RawClient::connect(lab.main);
                client.send("GET /slow?ms=20000 HTTP/1.1\r\nHost: x\r\n\r\n");
                until("the request in flight", || lab.proxy.admin("show sess").contains("srv=web"));
                self.slow = Some(client);
            }
            72 => {
                lab.ask("admin", "clear counters\n");
                RawClient::connect(lab.main).send("GET /bad\u{1}path HTTP/1.1\r\nHost: x\r\n\r\n").answer();
                RawClient::connect(lab.main).send("GET /garbage HTTP/1.1\r\nHost: x\r\n\r\n").answer();
                until("two captured messages", || lab.proxy.admin("show errors").contains("captured on"));
            }
            79 => self.traffic(),
            109 | 125 => self.ready("be_web/web1"),
            154 => self.ready("be_web/web2"),
            326 => {
                self.ready("be_web/web1");
                self.ready("be_web/web2");
            }
            _ => {}
        }
    }

    /// What a person would wait for before the next command.
    fn after(&mut self, recording: &Recording) {
        match recording.number() {
            66 => self.slow = None,
            102 => self.lab.wait_status("be_web/web1", "UP"),
            131 => self.ready("be_web/web1"),
            149 => self.lab.wait_status("be_web/web2", "UP"),
            _ => {}
        }
    }

    /// Sends it as it was sent: a few recordings are about closing one direction.
    fn say(&self, recording: &Recording, command: &str) -> String {
        if !recording.name.ends_with("-halfclose") {
            return self.lab.ask(recording.level(), command);
        }
        let mut stream = UnixStream::connect(self.lab.socket(recording.level())).unwrap();
        stream.write_all(command.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn traffic(&self) {
        let mut client = RawClient::connect(self.lab.main);
        for _ in 0..12 {
            assert_eq!(client.get("/").status(), 200);
        }
    }

    fn ready(&self, server: &str) {
        self.lab.proxy.admin(&format!("set server {server} state ready"));
        self.lab.wait_status(server, "UP");
    }

    /// The command with this process's ports, paths and stream id.
    fn command(&self, recording: &Recording) -> String {
        // Backends have other numbers here: all frontends are counted first.
        let number = self.lab.proxy.stat("be_web", "BACKEND").get("iid").to_owned();
        let text = self.lab.translated(&recording.command);
        let text = text.replace("#4/", &format!("#{number}/")).replace("show stat 4 ", &format!("show stat {number} "));
        if !text.contains("0x3a30dc10") {
            return text;
        }
        let streams = self.lab.proxy.admin("show sess");
        let id = streams.lines().find(|line| line.contains("srv=web")).and_then(|line| line.split(':').next());
        text.replace("0x3a30dc10", id.unwrap_or("0x3a30dc10"))
    }
}

#[test]
fn every_recorded_reply_has_the_same_shape_or_a_reason() {
    let lab = Lab::start();
    let mut stage = Stage { lab: &lab, slow: None };
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for recording in recordings() {
        stage.before(&recording);
        let command = stage.command(&recording);
        let reply = lab.as_recorded(&stage.say(&recording, &command));
        if let Some(difference) = compare(&recording, &reply) {
            found.insert(recording.name.clone(), difference);
        }
        stage.after(&recording);
    }
    judge(&found);
}

/// The first difference, if any.
fn compare(recording: &Recording, reply: &str) -> Option<String> {
    let shape = recording.shape();
    let parsable = |text: &str| shape != Shape::Json || serde_json::from_str::<serde_json::Value>(text).is_ok();
    if !parsable(reply) {
        return Some(format!("  golden: JSON\n  ours:   {:?}", first(reply)));
    }
    // How many checks have passed since the last command is a matter of the moment.
    static COUNTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r",(UP|DRAIN|NOLB|DOWN) N/N,").unwrap());
    let settled = |text: &str| COUNTED.replace_all(&masked(shape, text), ",$1,").into_owned();
    let (golden, ours) = (settled(&recording.reply), settled(reply));
    if golden == ours {
        return None;
    }
    let (mut a, mut b) = (golden.split('\n'), ours.split('\n'));
    loop {
        let (golden, ours) = (a.next(), b.next());
        if golden != ours {
            return Some(format!("  golden: {golden:?}\n  ours:   {ours:?}"));
        }
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Holds what was found against what is written down.
fn judge(found: &BTreeMap<String, String>) {
    let written = differences();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut text = String::from(
            "# Recorded replies of HAProxy 2.8 that lockgate's differ from, and why: NAME<tab>REASON.\n\
             # tests/tools/replay.rs holds this against a running lab; docs/HAPROXY_COMPAT.md is made from it.\n",
        );
        for name in found.keys() {
            let reason = written.get(name).map_or(NO_REASON, String::as_str);
            writeln!(text, "{name}\t{reason}").unwrap();
        }
        std::fs::write(differences_file(), text).unwrap();
    }
    let written = differences();
    let mut complaints = String::new();
    for (name, difference) in found {
        match written.get(name).map(String::as_str) {
            None => writeln!(complaints, "{name} differs:\n{difference}").unwrap(),
            Some(NO_REASON) => writeln!(complaints, "{name} needs a reason:\n{difference}").unwrap(),
            Some(_) => {}
        }
    }
    for name in written.keys().filter(|name| !found.contains_key(*name)) {
        writeln!(complaints, "{name} differs no more: take it out of tests/lab/differences.txt").unwrap();
    }
    assert!(complaints.is_empty(), "\n{complaints}(UPDATE_GOLDEN=1 writes the list anew)");
}
