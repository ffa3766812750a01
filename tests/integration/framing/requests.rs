//! Odd requests.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::cases::{Case, Verdict, read};
use super::{Record, Seen, entry, expected_fields, fields, own_answer, run};
use crate::support::client::RawClient;
use crate::support::eventually_or;
use crate::support::message::{Message, Role};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};

/// A server that notes each request when its head is there and again when its body is, and answers `own`.
fn recording(record: &Record) -> Origin {
    let record = Arc::clone(record);
    Origin::script(move |conn| {
        while let Some(mut request) = conn.request_head()? {
            let number = {
                let mut record = record.lock().unwrap();
                record.push(Seen { request: request.clone(), connection: conn.index, complete: false });
                record.len() - 1
            };
            request.read_body(&mut conn.wire, Role::Request)?;
            if !request.whole {
                return Ok(());
            }
            let head = request.method() == "HEAD";
            record.lock().unwrap()[number] = Seen { request, connection: conn.index, complete: true };
            let body = if head { "" } else { "own" };
            conn.send(format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\nContent-Length: 3\r\n\r\n{body}"))?;
        }
        Ok(())
    })
}

#[test]
fn are_refused_or_have_one_reading() {
    let cases = read(include_str!("../../wire/requests.txt"));
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let record = Record::default();
    let origin = recording(&record);
    let site = Site::of(&[&origin]).defaults("timeouts: { request: 3s, client: 3s, keepalive: 3s }").start();
    run(&site, &cases, |case| check(case, &site, &record));
}

fn check(case: &Case, site: &Running, record: &Record) -> Result<(), String> {
    let before = record.lock().unwrap().len();
    let mut client = site.client();
    client.wire.read_patience(Duration::from_secs(8));
    // The proxy may refuse and close before it has read all of it.
    let _ = client.wire.send(&case.input);
    match &case.verdict {
        Verdict::Refuse(status) => refused(&mut client, *status)?,
        Verdict::Abort(status, _) => {
            refused(&mut client, *status)?;
            settle(record, before);
        }
        Verdict::Wait => silent(&mut client)?,
        Verdict::Forward(_) if case.has("short") => {
            client.wire.half_close();
            let _ = client.wire.take_rest();
            settle(record, before);
        }
        Verdict::Forward(start) => forwarded(case, start, &mut client, record)?,
    }
    drop(client);
    own_answer(&mut site.client(), record).map_err(|e| format!("on a fresh connection: {e}"))?;
    nothing_else(case, &record.lock().unwrap()[before..])
}

/// The server may still be about to note a head that broke off: it belongs to this case, not to the next.
fn settle(record: &Record, before: usize) {
    eventually_or(Duration::from_millis(100), || (record.lock().unwrap().len() > before).then_some(()));
}

fn refused(client: &mut RawClient, status: u16) -> Result<(), String> {
    let mut answer = Message::read_head(&mut client.wire)
        .map_err(|e| format!("no answer, expected {status}: {e}"))?
        .ok_or(format!("closed, expected {status}"))?;
    if answer.status() != status {
        return Err(format!("{}, expected {status}", answer.first_line));
    }
    answer.read_body(&mut client.wire, Role::Answer).map_err(|e| format!("the body of {status}: {e}"))?;
    match client.wire.take_rest() {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => Err(format!("after {status} came {:?}", String::from_utf8_lossy(&rest))),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(e) => Err(format!("the connection stays open after {status}: {e}")),
    }
}

fn silent(client: &mut RawClient) -> Result<(), String> {
    client.wire.read_patience(Duration::from_millis(60));
    match client.wire.fill() {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        other => Err(format!("{other:?} {:?}, expected silence", String::from_utf8_lossy(client.wire.buffered()))),
    }
}

fn forwarded(case: &Case, start: &[u8], client: &mut RawClient, record: &Record) -> Result<(), String> {
    let start: String = start.iter().map(|&b| char::from(b)).collect();
    let role = if start.starts_with("HEAD ") { Role::Bodiless } else { Role::Answer };
    let mut answer =
        Message::read_head(&mut client.wire).map_err(|e| e.to_string())?.ok_or("closed without an answer")?;
    if answer.status() != 200 {
        return Err(format!("{}, expected it to be forwarded", answer.first_line));
    }
    answer.read_body(&mut client.wire, role).map_err(|e| format!("the answer's body: {e}"))?;
    let seen = entry(&answer, record).ok_or("not the server's answer")?;
    let request = &seen.request;
    if request.first_line != format!("{start} HTTP/1.1") {
        return Err(format!("the server saw {:?}", request.first_line));
    }
    let (got, expected) = (fields(request), expected_fields(&case.fields));
    if !expected.is_empty() && got != expected {
        return Err(format!("the server saw {got:?}, expected {expected:?}"));
    }
    if case.body.as_ref().is_some_and(|body| *body != request.body) {
        return Err(format!("the server saw the body {:?}", request.text()));
    }
    let trailers: Vec<String> = request.trailers.iter().map(|(n, v)| format!("{}: {v}", n.to_lowercase())).collect();
    if trailers != expected_fields(&case.trailers) {
        return Err(format!("the server saw the trailers {trailers:?}"));
    }
    if case.has("no-upgrade") && request.field("upgrade").is_some() {
        return Err("the upgrade was passed on".to_owned());
    }
    same_connection(case, client, record)
}

/// What follows on the client's connection.
fn same_connection(case: &Case, client: &mut RawClient, record: &Record) -> Result<(), String> {
    if case.has("close") {
        return match client.wire.take_rest() {
            Ok(rest) if rest.is_empty() => Ok(()),
            other => Err(format!("not closed: {other:?}")),
        };
    }
    if case.rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
        return Ok(());
    }
    match own_answer(client, record) {
        Err(e) if !e.contains("connection was closed") || case.has("keep") => {
            Err(format!("on the same connection: {e}"))
        }
        _ => Ok(()),
    }
}

/// The server saw nothing that the case does not speak of.
fn nothing_else(case: &Case, seen: &[Seen]) -> Result<(), String> {
    let others: Vec<&Seen> = seen.iter().filter(|s| !s.request.target().starts_with("/own/")).collect();
    let (allowed, complete) = match &case.verdict {
        Verdict::Refuse(_) | Verdict::Wait => (0, false),
        Verdict::Abort(..) => (1, false),
        Verdict::Forward(_) if case.has("short") => (1, false),
        Verdict::Forward(_) => (1 + usize::from(case.rest.as_ref().is_some_and(|rest| !rest.is_empty())), true),
    };
    if others.len() > allowed || (!complete && others.iter().any(|s| s.complete)) {
        return Err(format!("the server saw {others:?}"));
    }
    Ok(())
}
