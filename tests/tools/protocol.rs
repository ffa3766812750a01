//! How a connection to the admin socket behaves, case by case as it was recorded (`tests/lab/protocol-2.8.txt`).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::support::eventually;
use crate::support::lab::Lab;

/// What a case found: bytes, and whether the connection was closed.
type Found = (String, bool);

/// The recorded outcome of the case that begins like this: `LABEL: (b'…', 'EOF after 0.00s')`.
fn recorded(label: &str) -> Found {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/protocol-2.8.txt");
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with(label));
    let line = line.unwrap_or_else(|| panic!("no recorded case {label:?}"));
    let begin = line.rfind("b'").map(|at| at + 2).unwrap_or_else(|| panic!("{line}"));
    let (bytes, end) = line[begin..].split_once("', '").unwrap_or_else(|| panic!("{line}"));
    (bytes.replace("\\n", "\n"), end.starts_with("EOF"))
}

struct Talk(UnixStream);

impl Talk {
    fn to(lab: &Lab) -> Talk {
        Talk(UnixStream::connect(lab.socket("admin")).unwrap())
    }

    fn say(&mut self, text: &str) -> &mut Talk {
        // A connection that was closed meanwhile is seen when reading.
        let _ = self.0.write_all(text.as_bytes());
        self
    }

    fn half_close(&mut self) -> &mut Talk {
        self.0.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// As much as the recording has, then whether more comes, or the end.
    fn hears(&mut self, expected: &Found) -> Found {
        let (mut text, mut byte) = (String::new(), [0]);
        loop {
            // What should be closed is waited for; that nothing more comes is believed sooner.
            let whole = text.len() >= expected.0.len() && !expected.1;
            let patience = if whole { Duration::from_millis(150) } else { Duration::from_secs(10) };
            self.0.set_read_timeout(Some(patience)).unwrap();
            match self.0.read(&mut byte) {
                Ok(0) => return (text, true),
                Ok(_) => text.push(char::from(byte[0])),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return (text, true),
                Err(_) => return (text, false),
            }
        }
    }
}

fn masked(lab: &Lab, found: Found) -> Found {
    (found.0.replace(&lab.proxy.info("Version"), "VERSION"), found.1)
}

#[track_caller]
fn same(lab: &Lab, label: &str, talk: &mut Talk) {
    let mut golden = recorded(label);
    golden.0 = golden.0.replace("2.8.25-5cf5d0683", "VERSION");
    let expected = (golden.0.replace("VERSION", &lab.proxy.info("Version")), golden.1);
    let found = talk.hears(&expected);
    assert_eq!(masked(lab, found), golden, "{label}");
}

#[test]
fn one_command_a_connection() {
    let lab = Lab::start();
    same(&lab, "one line, write side left open", Talk::to(&lab).say("show version\n"));
    let mut pieces = Talk::to(&lab);
    pieces.say("show ver").say("sion\n");
    same(&lab, "line in two writes", &mut pieces);
    let mut late = Talk::to(&lab);
    late.say("show version\n");
    same(&lab, "second line 0.4s later", &mut late);
    late.say("show cli level\n");
    assert_eq!(late.hears(&(String::new(), true)), (String::new(), true), "it comes too late");
    same(&lab, "two lines in one write", Talk::to(&lab).say("show version\nshow cli level\n"));
    same(&lab, "no newline, write side open", Talk::to(&lab).say("show version"));
    same(&lab, "no newline, half close", Talk::to(&lab).say("show version").half_close());
}

#[test]
fn prompt_mode() {
    let lab = Lab::start();
    let mut talk = Talk::to(&lab);
    same(&lab, "prompt:", talk.say("prompt\n"));
    same(&lab, "show version:", talk.say("show version\n"));
    same(&lab, "empty line:", talk.say("\n"));
    same(&lab, "set server (no output):", talk.say("set server be_web/web1 state ready\n"));
    same(&lab, "two commands, one fails:", talk.say("get weight be_web/nope; show cli level\n"));
    same(&lab, "set timeout cli 1s:", talk.say("set timeout cli 1s\n"));
    same(&lab, "idle:", &mut talk);
    let mut talk = prompted(&lab);
    same(&lab, "prompt twice:", talk.say("prompt\n"));
    let mut talk = prompted(&lab);
    same(&lab, "quit in prompt:", talk.say("quit\n"));
    let mut talk = prompted(&lab);
    same(&lab, "prompt then half close:", talk.half_close());
}

/// A connection in prompt mode.
fn prompted(lab: &Lab) -> Talk {
    let mut talk = Talk::to(lab);
    let prompt = ("\n> ".to_owned(), false);
    assert_eq!(talk.say("prompt\n").hears(&prompt), prompt);
    talk
}

#[test]
fn ten_connections_at_once() {
    let lab = Lab::start();
    let mut talks: Vec<Talk> = (0..14).map(|_| Talk::to(&lab)).collect();
    let prompt = ("\n> ".to_owned(), false);
    for talk in &mut talks {
        talk.say("prompt\n");
    }
    for talk in &mut talks[..10] {
        assert_eq!(talk.hears(&prompt), prompt);
    }
    let mut waiting = talks.split_off(10);
    for talk in &mut waiting {
        assert_eq!(talk.hears(&(String::new(), false)), (String::new(), false), "it waits for a place");
    }
    drop(talks);
    for talk in &mut waiting {
        assert_eq!(talk.hears(&prompt), prompt, "places are free again");
    }
    drop(waiting);
    eventually("a free place", || (!lab.ask("admin", "show version\n").is_empty()).then_some(()));
}

#[test]
fn payloads() {
    let lab = Lab::start();
    let say = |payload: &str| {
        let mut talk = Talk::to(&lab);
        talk.say(&lab.translated(&format!("add map /lab/maps/hosts.map {payload}")));
        talk
    };
    same(
        &lab,
        "payload b'/lab/maps/hosts.map <<\\npay.example.test be_web\\n\\n'",
        &mut say("<<\npay.example.test be_web\n\n"),
    );
    let shown = lab.proxy.admin(&lab.translated("show map /lab/maps/hosts.map"));
    assert!(shown.contains(" pay.example.test be_web\n"), "{shown}");
    same(&lab, "payload b'lab/maps/hosts.map <<", &mut say("<<\npay.example.test be_web\n\nshow version\n"));
    same(&lab, "payload b'o/lab/maps/hosts.map <<", &mut say("<<\npay.example.test be_web\n"));
    // 2.8 knows no word behind the arrows: each line is a command. The lists of commands are HAProxy's own.
    let text = {
        let (mut talk, mut text) = (say("<<%EOF%\npay.example.test be_web\n%EOF%\n"), String::new());
        talk.0.read_to_string(&mut text).unwrap();
        text
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/protocol-2.8.txt");
    let golden = std::fs::read_to_string(file).unwrap();
    let golden = golden.lines().find(|line| line.starts_with("payload b'rk/")).and_then(|line| line.split_once("(b\""));
    let golden = golden.unwrap().1.split_once("\", 'EOF").unwrap().0.replace("\\n", "\n");
    let listed = |text: &str| text.lines().filter(|line| !line.starts_with("  ")).collect::<Vec<_>>().join("\n");
    assert_eq!(listed(&text), listed(&golden));
}

#[test]
fn an_unfinished_payload_waits() {
    let lab = Lab::start();
    let mut talk = Talk::to(&lab);
    talk.say("show cli level <<\nfirst\n");
    assert_eq!(talk.hears(&(String::new(), false)), (String::new(), false));
    assert_eq!(talk.say("\n").hears(&("admin\n\n".to_owned(), true)), ("admin\n\n".to_owned(), true));
}
