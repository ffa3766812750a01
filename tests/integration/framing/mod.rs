//! Odd bytes: every case of `tests/wire` sent raw to the shipped binary, between a recording server and a client.
//!
//! Each case is refused or normalised to one reading, and after each the next request on the same connection and on a
//! fresh one gets its own answer. The tables and their format are those of the codec's unit tests.

#[path = "../../wire/cases.rs"]
mod cases;
mod requests;
mod responses;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::client::RawClient;
use crate::support::message::{Message, Role};
use crate::support::site::Running;

/// What a recording server saw of one request.
#[derive(Debug, Clone)]
struct Seen {
    request: Message,
    /// On which connection.
    connection: usize,
    /// Whether its body came to an end.
    complete: bool,
}

/// Every request in order of arrival; the index of one stands in its answer's `X-Number`.
type Record = Arc<Mutex<Vec<Seen>>>;

/// Fields that lockgate handles itself; the tables say nothing of them.
const OWN_FIELDS: [&str; 9] = [
    "connection",
    "transfer-encoding",
    "expect",
    "date",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-request-id",
];

/// The fields the tables speak of, as `name: value` with the name in lower case.
fn fields(message: &Message) -> Vec<String> {
    let listed = message.fields.iter().map(|(name, value)| (name.to_lowercase(), value));
    listed.filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str())).map(|(n, v)| format!("{n}: {v}")).collect()
}

fn expected_fields(lines: &[Vec<u8>]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            let line: String = line.iter().map(|&b| char::from(b)).collect();
            let (name, value) = line.split_once(':').expect("the tables write NAME: VALUE");
            format!("{}: {}", name.to_lowercase(), value.trim_matches([' ', '\t']))
        })
        .collect()
}

static MARKERS: AtomicUsize = AtomicUsize::new(0);

/// Sends a request that no case could have made; says what is wrong with its answer, if anything.
fn own_answer(client: &mut RawClient, record: &Record) -> Result<Seen, String> {
    let target = format!("/own/{}", MARKERS.fetch_add(1, Ordering::SeqCst));
    let sent = client.wire.send(format!("GET {target} HTTP/1.1\r\nHost: own.test\r\n\r\n"));
    sent.map_err(|e| format!("the connection was closed: {e}"))?;
    let mut answer = match Message::read_head(&mut client.wire) {
        Ok(Some(answer)) => answer,
        Ok(None) => return Err("the connection was closed".to_owned()),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => return Err("the connection was closed".to_owned()),
        Err(e) => return Err(format!("no answer to the next request: {e}")),
    };
    answer.read_body(&mut client.wire, Role::Answer).map_err(|e| format!("the next answer's body: {e}"))?;
    let seen = entry(&answer, record).ok_or_else(|| format!("not the server's answer: {answer:?}"))?;
    if seen.request.target() != target || answer.text() != "own" {
        return Err(format!("{target} got somebody else's answer: {answer:?}"));
    }
    Ok(seen)
}

/// The request an answer belongs to.
fn entry(answer: &Message, record: &Record) -> Option<Seen> {
    let number: usize = answer.field("x-number")?.parse().ok()?;
    record.lock().unwrap().get(number).cloned()
}

/// Runs every case and fails once, with everything that went wrong.
fn run(site: &Running, cases: &[cases::Case], mut check: impl FnMut(&cases::Case) -> Result<(), String>) {
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(what) = check(case) {
            wrong.push(format!("= {}\n  {what}\n  sent: {:?}", case.name, shown(&case.input)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(!site.output().contains("panicked"), "{}", site.output());
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().count() > 400 {
        format!("{}…", text.chars().take(400).collect::<String>())
    } else {
        text.into_owned()
    }
}
