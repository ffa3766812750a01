//! Odd answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cases::{Case, Verdict, read};
use super::{Record, Seen, expected_fields, fields, own_answer, run};
use crate::support::client::RawClient;
use crate::support::message::{Message, Role};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};

/// A server that answers `/case` with the bytes of the moment, and everything else properly.
fn scripted(record: &Record, current: &Arc<Mutex<Case>>) -> Origin {
    let (record, current) = (Arc::clone(record), Arc::clone(current));
    Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            let odd = request.target() == "/case";
            let number = {
                let mut record = record.lock().unwrap();
                record.push(Seen { request, connection: conn.index, complete: true });
                record.len() - 1
            };
            if !odd {
                conn.send(format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\nContent-Length: 3\r\n\r\nown"))?;
                continue;
            }
            let case = current.lock().unwrap().clone();
            conn.send(&case.input)?;
            if case.has("interim") {
                if case.rest.as_ref().is_some_and(|rest| rest.ends_with(b"\r\n\r\n")) {
                    // The case brings the final head itself; its body ends with the connection.
                    return conn.send("fin");
                }
                conn.send(format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\nContent-Length: 3\r\n\r\nfin"))?;
            }
            let ends = case.has("until-close") || case.has("short") || case.verdict == Verdict::Wait;
            if ends || matches!(case.verdict, Verdict::Abort(..)) {
                return Ok(());
            }
        }
        Ok(())
    })
}

#[test]
fn are_refused_or_have_one_reading() {
    let cases = read(include_str!("../../wire/responses.txt"));
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let (record, current) = (Record::default(), Arc::new(Mutex::new(Case::default())));
    let origin = scripted(&record, &current);
    let site = Site::of(&[&origin])
        .defaults("timeouts: { server: 3s, client: 3s, connect: 1s }\nretries: 0\nretry_on: none")
        .start();
    run(&site, &cases, |case| {
        *current.lock().unwrap() = case.clone();
        check(case, &site, &record)
    });
}

fn check(case: &Case, site: &Running, record: &Record) -> Result<(), String> {
    let before = record.lock().unwrap().len();
    let mut client = site.client();
    client.wire.read_patience(Duration::from_secs(8));
    let upgrade = if case.upgrade_asked {
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    } else {
        ""
    };
    client.send(format!("{} /case HTTP/1.1\r\nHost: own.test\r\n{upgrade}\r\n", case.request_method));
    let open = judge(case, &mut client)?;
    let used = record.lock().unwrap().get(before).map(|seen| seen.connection).ok_or("the server was not asked")?;
    if open {
        match own_answer(&mut client, record) {
            Err(e) if !e.contains("connection was closed") => return Err(format!("on the same connection: {e}")),
            _ => {}
        }
    }
    drop(client);
    let next = own_answer(&mut site.client(), record).map_err(|e| format!("on a fresh connection: {e}"))?;
    if case.has("close") && next.connection == used {
        return Err("the server's connection was used again".to_owned());
    }
    if case.has("reuse") && next.connection != used {
        return Err("the server's connection was not used again".to_owned());
    }
    Ok(())
}

/// Judges what the client got; gives whether its connection can go on.
fn judge(case: &Case, client: &mut RawClient) -> Result<bool, String> {
    let head = |client: &mut RawClient| -> Result<Message, String> {
        Message::read_head(&mut client.wire)
            .map_err(|e| format!("no answer: {e}"))?
            .ok_or("closed without an answer".to_owned())
    };
    let mut answer = head(client)?;
    let role = |answer: &Message| {
        let bodiless = case.request_method == "HEAD" || matches!(answer.status(), 100..200 | 204 | 304);
        if bodiless { Role::Bodiless } else { Role::Answer }
    };
    let status = |start: &[u8]| String::from_utf8_lossy(start).parse::<u16>().map_err(|e| e.to_string());
    match &case.verdict {
        Verdict::Refuse(expected) if answer.status() != *expected => {
            Err(format!("{}, expected {expected}", answer.first_line))
        }
        Verdict::Refuse(_) => {
            answer.read_body(&mut client.wire, role(&answer)).map_err(|e| e.to_string())?;
            let ends = answer.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
            Ok(answer.whole && !ends)
        }
        Verdict::Wait if answer.status() == 502 => Ok(false),
        Verdict::Wait => Err(format!("{}, expected 502", answer.first_line)),
        Verdict::Abort(error, start) => {
            if answer.status() == *error {
                return Ok(false);
            }
            if answer.status() != status(start)? {
                return Err(format!("{}, expected it to break off", answer.first_line));
            }
            match answer.read_body(&mut client.wire, role(&answer)) {
                Ok(()) if answer.whole => Err(format!("a broken answer looks whole: {answer:?}")),
                _ => Ok(false),
            }
        }
        Verdict::Forward(start) => {
            if answer.status() != status(start)? {
                return Err(format!("{}, expected it to be forwarded", answer.first_line));
            }
            let (got, expected) = (fields(&answer), expected_fields(&case.fields));
            if !expected.is_empty() && got != expected {
                return Err(format!("the client saw {got:?}, expected {expected:?}"));
            }
            if case.has("switching") {
                return Ok(false);
            }
            if case.has("interim") {
                let mut last = head(client)?;
                last.read_body(&mut client.wire, Role::Answer).map_err(|e| e.to_string())?;
                return if last.text() == "fin" {
                    Ok(last.whole)
                } else {
                    Err(format!("after the interim answer came {last:?}"))
                };
            }
            answer.read_body(&mut client.wire, role(&answer)).map_err(|e| format!("the body: {e}"))?;
            if case.body.as_ref().is_some_and(|body| *body != answer.body) {
                return Err(format!("the client saw the body {:?}", answer.text()));
            }
            let trailers: Vec<String> =
                answer.trailers.iter().map(|(n, v)| format!("{}: {v}", n.to_lowercase())).collect();
            if trailers != expected_fields(&case.trailers) {
                return Err(format!("the client saw the trailers {trailers:?}"));
            }
            if case.has("short") && answer.whole {
                return Err("a cut answer looks whole".to_owned());
            }
            Ok(answer.whole)
        }
    }
}
