//! One row per request: each way a request can end, and what its row says of it.

use std::time::Duration;

use crate::support::client::RawClient;
use crate::support::message::Role;
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{ports, until};

const CAPTURES: &str = "capture:\n  \
    request: [ { header: Host, max: 64 }, { header: User-Agent, max: 16 } ]\n  \
    response: [ { header: X-Time-Ms, max: 6, strip: true }, { header: X-Route, max: 20, strip: true } ]";

fn timed() -> Origin {
    Origin::answering(|request| match request.target() {
        "/404" => Reply::status(404),
        "/none" => Reply::ok("no timing"),
        _ => Reply::ok("hello").field("X-Time-Ms", "12").field("X-Route", "Questions/Show"),
    })
}

#[test]
fn a_row_says_what_both_ends_saw() {
    let origin = timed();
    let site = Site::of(&[&origin]).frontend(CAPTURES).start();
    let mut client = site.client();
    let answer = client.ask("GET /q/1?tab=votes HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: curl/8.5.0\r\n\r\n");
    let row = site.logs.row_of("/q/1?tab=votes");
    assert_eq!(row.priority, Some(134));
    assert_eq!(row.client, client.local_addr().to_string());
    assert_eq!((row.frontend.as_str(), row.place().as_str()), ("fe", "web/s1"));
    assert_eq!((row.status, row.bytes), (200, (answer.head_bytes + answer.body.len()) as u64));
    assert_eq!((row.request_cookie.as_str(), row.response_cookie.as_str()), ("-", "-"));
    assert_eq!((row.termination.as_str(), row.connections), ("----", [1, 1, 0, 0]));
    assert_eq!((row.retries, row.redispatched, row.server_queue, row.backend_queue), (0, false, 0, 0));
    assert_eq!(row.request_captures.as_deref(), Some(&["www.example.test".to_owned(), "curl/8.5.0".to_owned()][..]));
    assert_eq!(row.response_captures.as_deref(), Some(&["12".to_owned(), "Questions/Show".to_owned()][..]));
    assert_eq!(row.request, "GET /q/1?tab=votes HTTP/1.1");
    assert!(row.timers.iter().all(|t| (0..1000).contains(t)), "{row:?}");
    for stripped in ["x-time-ms", "x-route"] {
        assert_eq!(answer.field(stripped), None);
    }
}

#[test]
fn timers_measure() {
    let origin = Origin::script(|conn| {
        while conn.request()?.is_some() {
            std::thread::sleep(Duration::from_millis(150));
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
            std::thread::sleep(Duration::from_millis(150));
            conn.send("done")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /t HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(150));
    client.send("Host: a\r\n\r\n");
    assert_eq!(client.answer().text(), "done");
    let [request, queue, connect, response, active] = site.logs.row_of("/t").timers;
    for (name, value, low) in [("TR", request, 150), ("Tr", response, 150), ("Ta", active, 450)] {
        assert!((low - 10..low + 400).contains(&value), "{name} is {value}");
    }
    assert!((0..100).contains(&queue) && (0..100).contains(&connect), "Tw {queue}, Tc {connect}");
    // On a kept connection the time between two requests is nobody's.
    std::thread::sleep(Duration::from_millis(300));
    client.get("/again");
    let again = site.logs.row_of("/again");
    assert!(again.timers[0] < 100 && again.timers[4] < 700, "{again:?}");
}

#[test]
fn captures_are_cut_escaped_and_the_last_one_counts() {
    let origin = Origin::answering(|_| {
        Reply::ok("x").field("X-Time-Ms", "123456789").field("X-Route", "first").field("X-Route", "a|b{c}\"#")
    });
    let site = Site::of(&[&origin]).frontend(CAPTURES).start();
    let mut client = site.client();
    client.send(
        b"GET /q?a=\"b\" HTTP/1.1\r\nHost: h\r\nUser-Agent: one\r\nUser-Agent: a\"b{c}d\x80e#f|ghijklmnop\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 200);
    let line = site.logs.line_with("GET /q?a=#22b#22 HTTP/1.1\"");
    assert!(line.contains(" {h|a#22b#7Bc#7Dd#80e#23f#7Cghij} {123456|a#7Cb#7Bc#7D#22#23} "), "{line}");
    assert!(line.trim_end_matches('\n').ends_with('"'));
}

#[test]
fn capture_blocks_are_there_or_not() {
    let origin = timed();
    let site = Site::of(&[&origin]).frontend(CAPTURES).start();
    site.get("/404");
    let row = site.logs.row_of("/404");
    assert_eq!(row.response_captures, Some(vec![String::new(), String::new()]));
    site.ask("BROKEN\r\n\r\n");
    let row = site.logs.row_where("broken", |row| row.request == "<BADREQ>");
    assert_eq!((row.request_captures, row.response_captures), (None, None));

    let site = Site::of(&[&origin]).start();
    site.get("/plain");
    let row = site.logs.row_of("/plain");
    assert_eq!((row.request_captures, row.response_captures), (None, None));
}

#[test]
fn cookies_are_captured() {
    let origin = Origin::answering(|_| Reply::ok("x").field("Set-Cookie", "prov=new-value; path=/"));
    let site = Site::of(&[&origin]).frontend("capture: { cookie: { prefix: \"prov=\", max: 12 } }").start();
    site.ask("GET /c HTTP/1.1\r\nHost: a\r\nCookie: a=1; prov=old-and-long; b=2\r\n\r\n");
    let row = site.logs.row_of("/c");
    assert_eq!((row.request_cookie.as_str(), row.response_cookie.as_str()), ("prov=old-and", "prov=new-val"));
}

#[test]
fn connections_are_counted() {
    let origin = timed();
    let site = Site::of(&[&origin]).start();
    let idle: Vec<RawClient> = (0..3).map(|_| site.client()).collect();
    until("the connections to be accepted", || site.stat("fe", "FRONTEND").number("scur") == 3);
    site.get("/counted");
    assert_eq!(site.logs.row_of("/counted").connections, [4, 4, 0, 0]);
    drop(idle);
}

/// place, reached timers, status, termination
#[track_caller]
fn says(site: &Running, target: &str, place: &str, reached: &str, status: i32, termination: &str) {
    let row = site.logs.row_of(target);
    assert_eq!(
        (row.place().as_str(), row.reached().as_str(), row.status, row.termination.as_str()),
        (place, reached, status, termination),
        "{row:?}"
    );
}

#[test]
fn clients_that_break_off() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request_head()? else { return Ok(()) };
        match request.target() {
            "/waiting" | "/upload" => {}
            "/download" => {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
                loop {
                    conn.send([0; 65536])?;
                }
            }
            _ => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")?,
        }
        conn.stall()
    });
    let site = Site::of(&[&origin]).start();

    let mut client = site.client();
    client.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request to reach the server", || origin.requests().len() == 1);
    client.wire.reset();
    says(&site, "/waiting", "web/s1", "+++-", 400, "CD--");

    let mut client = site.client();
    client.send("GET /data HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    client.wire.take(4).unwrap();
    client.wire.reset();
    says(&site, "/data", "web/s1", "++++", 200, "CD--");

    let mut client = RawClient::connect_narrow(site.address);
    client.send("GET /download HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    client.wire.reset();
    says(&site, "/download", "web/s1", "++++", 200, "CD--");

    let mut client = site.client();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    until("the request to reach the server", || origin.requests().len() == 4);
    drop(client);
    says(&site, "/upload", "web/s1", "+++-", 400, "CH--");

    assert_eq!(site.stat("web", "s1").number("cli_abrt"), 4);
}

#[test]
fn clients_that_never_finish_asking() {
    let origin = timed();
    let site = Site::of(&[&origin]).start();
    let mut client = site.client();
    client.send("GET /half HTT");
    client.wire.half_close();
    let _ = client.wire.take_rest();
    let row = site.logs.wait_rows(1).remove(0);
    assert_eq!((row.place().as_str(), row.reached().as_str(), row.status), ("fe/<NOSRV>", "----", 400));
    assert_eq!((row.termination.as_str(), row.request.as_str()), ("CR--", "<BADREQ>"));
}

#[test]
fn connections_without_a_byte() {
    let origin = timed();
    for (log_null, rows) in [("true", 1), ("false", 0)] {
        let site = Site::of(&[&origin]).frontend(format!("log_null: {log_null}")).start();
        drop(site.client());
        until("the connection to end", || {
            let row = site.stat("fe", "FRONTEND");
            row.number("conn_tot") == 1 && row.number("scur") == 0
        });
        site.get("/after");
        site.logs.row_of("/after");
        let null: Vec<_> = site.logs.rows().into_iter().filter(|row| row.request == "<BADREQ>").collect();
        assert_eq!(null.len(), rows, "log_null: {log_null}");
        assert!(
            null.iter().all(|row| (row.status, row.bytes, row.termination.as_str()) == (400, 0, "CR--")),
            "{null:?}"
        );
    }
}

#[test]
fn servers_that_break_off() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request()? else { return Ok(()) };
        match request.target() {
            "/cut" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"),
            "/rst" => {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")?;
                // The proxy has it when the next read ends.
                conn.wire.read_patience(Duration::from_millis(100));
                let _ = conn.wire.fill();
                conn.reset_at_end();
                Ok(())
            }
            _ => Ok(()),
        }
    });
    let site = Site::of(&[&origin]).backend("retry_on: none").start();
    for target in ["/cut", "/rst"] {
        let mut client = site.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.next_answer(Role::Answer);
        assert!(!answer.whole);
        says(&site, target, "web/s1", "++++", 200, "SD--");
    }
    assert_eq!(site.get("/nothing").status(), 502);
    says(&site, "/nothing", "web/s1", "+++-", 502, "SH--");
    assert_eq!(site.stat("web", "s1").number("srv_abrt"), 2);
}

#[test]
fn requests_that_are_refused() {
    let origin = timed();
    let site = Site::of(&[&origin]).start();
    for (n, bad) in ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nBad Header: 1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01"]
        .iter()
        .enumerate()
    {
        let answer = site.ask(bad);
        assert_eq!(answer.status(), 400);
        let row = site.logs.wait_rows(n + 1).remove(n);
        assert_eq!((row.place().as_str(), row.reached().as_str(), row.status), ("fe/<NOSRV>", "----", 400), "{bad:?}");
        assert_eq!((row.termination.as_str(), row.request.as_str()), ("PR--", "<BADREQ>"));
    }
    assert_eq!(site.stat("fe", "FRONTEND").number("ereq"), 3);
    let errors = site.admin("show errors");
    assert!(errors.contains("frontend fe") && errors.contains("invalid request"), "{errors}");
}

#[test]
fn backends_without_a_server() {
    let site = Site::new().server(ports::address(), "disabled: true").frontend(CAPTURES).start();
    assert_eq!(site.get("/maint").status(), 503);
    says(&site, "/maint", "web/<NOSRV>", "+---", 503, "SC--");
    assert_eq!(site.logs.row_of("/maint").response_captures, Some(vec![String::new(), String::new()]));
}

#[test]
fn a_long_request_line_is_cut_and_still_quoted() {
    let origin = timed();
    let logs = crate::support::logs::LogReceiver::udp();
    let site = Site::of(&[&origin])
        .global("logs", format!("[ {{ target: \"{}\", syslog: rfc3164, max_line: 1023B }} ]", logs.target()))
        .start();
    let target = format!("/{}", "a".repeat(3000));
    assert_eq!(site.get(&target).status(), 200);
    let line = logs.line_with("GET /aaaa");
    let line = line.trim_end_matches('\n');
    assert!(line.len() <= 1023 && line.len() > 1000 && line.ends_with("a\""), "{} bytes: {line}", line.len());
}

#[test]
fn a_thousand_requests_give_a_thousand_rows() {
    let origin = timed();
    let site = Site::of(&[&origin]).global("threads", "2").start();
    let address = site.address;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut client = RawClient::connect(address);
                for n in 0..250 {
                    assert_eq!(client.get(&format!("/{thread}/{n}")).status(), 200);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let rows = site.logs.wait_rows(1000);
    let targets: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.target()).collect();
    assert_eq!((rows.len(), targets.len()), (1000, 1000));
}

#[test]
fn starts_and_stops_are_logged() {
    let origin = timed();
    let mut site = Site::of(&[&origin]).start();
    site.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(site.wait_exit().success());
    let lines = site.logs.lines();
    assert!(lines.len() >= 2, "{lines:?}");
}
