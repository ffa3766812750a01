//! Every log case that was recorded from HAProxy 2.8, done again: the line must say the same of who served the request,
//! which stages it reached, status, termination, retries, queues, captures and the request itself.
//!
//! Where lockgate says something else on purpose, the case names it; `docs/HAPROXY_COMPAT.md` gives the reasons.

mod lab;

use std::process::Command;

use crate::support::client::RawClient;
use crate::support::httplog::Row;
use crate::support::{tools, until};
use lab::Lab;

/// The recorded lines of a case.
fn recorded(name: &str) -> Vec<String> {
    let path = format!("{}/tests/compat/golden/logs-2.8/{name}.log", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What of a row does not depend on the machine and the moment.
fn said(row: &Row) -> String {
    let bytes = if row.bytes == 0 { "none" } else { "some" };
    let plus = if row.redispatched { "+" } else { "" };
    format!(
        "{:?} {} {} {} {} bytes:{bytes} {} {} {} {plus}{} {}/{} {:?} {:?} {}",
        row.priority,
        row.frontend,
        row.place(),
        row.reached(),
        row.status,
        row.request_cookie,
        row.response_cookie,
        row.termination,
        row.retries,
        row.server_queue,
        row.backend_queue,
        row.request_captures,
        row.response_captures,
        row.request
    )
}

/// Does a recorded case and compares its rows.
#[track_caller]
fn case(lab: &Lab, name: &str, run: impl FnOnce(&Lab)) {
    differing(lab, name, &[], run);
}

/// Likewise, where lockgate says other words on purpose: `(HAProxy's, ours)`.
#[track_caller]
fn differing(lab: &Lab, name: &str, differences: &[(&str, &str)], run: impl FnOnce(&Lab)) {
    let seen = lab.rows().len();
    run(lab);
    let mut expected: Vec<String> =
        recorded(name).iter().filter_map(|line| Row::parse(line)).map(|r| said(&r)).collect();
    for (theirs, ours) in differences {
        assert!(expected.iter().any(|row| row.contains(theirs)), "{name}: the recording does not say {theirs:?}");
        expected.iter_mut().for_each(|row| *row = row.replace(theirs, ours));
    }
    let rows = lab.logs.wait_rows(seen + expected.len());
    let mut rows: Vec<String> = rows[seen..].iter().map(said).collect();
    expected.sort();
    rows.sort();
    assert_eq!(rows, expected, "{name}");
}

/// A line without what changes from run to run: times, addresses, numbers. The priority stays.
fn shape(line: &str) -> String {
    let (priority, message) = match line.split_once('>') {
        Some((priority, rest)) if line.starts_with('<') => {
            (priority, rest.split_once("]: ").map_or(rest, |(_, message)| message))
        }
        _ => ("", line),
    };
    let mut out = format!("{priority}>");
    for byte in message.trim_end_matches('\n').chars() {
        match byte {
            '0'..='9' if out.ends_with('0') => {}
            '0'..='9' => out.push('0'),
            other => out.push(other),
        }
    }
    out
}

/// Does a recorded case and compares whole lines, numbers left aside.
#[track_caller]
fn lines(lab: &Lab, name: &str, frontend: (&str, &str), run: impl FnOnce(&Lab)) {
    let seen = lab.logs.lines().len();
    run(lab);
    let expected: Vec<String> = recorded(name).iter().map(|line| shape(line).replace(frontend.0, frontend.1)).collect();
    let got: Vec<String> = lab.lines_after(seen, expected.len(), |_| true).iter().map(|line| shape(line)).collect();
    assert_eq!(got, expected, "{name}");
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: www.example.test\r\n\r\n")
}

#[track_caller]
fn ask(lab: &Lab, frontend: &str, request: impl AsRef<[u8]>) -> u16 {
    lab.client(frontend).ask(request).status()
}

#[test]
fn requests_that_went_well() {
    let lab = Lab::start();
    case(&lab, "02-normal", |lab| assert_eq!(ask(lab, "fe_http", get("/questions/1?tab=votes")), 200));
    case(&lab, "03-captures", |lab| {
        let fields = "Host: www.example.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\nX-Forwarded-For: 203.0.113.9";
        ask(lab, "fe_http", format!("GET /q HTTP/1.1\r\n{fields}\r\n\r\n"));
    });
    case(&lab, "04-captures-escaped", |lab| {
        let agent = "a\"b{c}|d\u{80}#e";
        ask(
            lab,
            "fe_http",
            format!("GET /q?a=\"b\" HTTP/1.1\r\nHost: www.example.test\r\nUser-Agent: {agent}\r\n\r\n"),
        );
    });
    case(&lab, "05-no-captures-frontend", |lab| assert_eq!(ask(lab, "fe_plain", get("/q")), 200));
    case(&lab, "06-keepalive", |lab| {
        let mut client = lab.client("fe_http");
        for target in ["/one", "/two"] {
            client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
    });
    case(&lab, "07-pipelined", |lab| {
        let mut client = lab.client("fe_http");
        client.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n");
        client.answer();
        client.answer();
    });
    case(&lab, "08-http10", |lab| drop(lab.client("fe_http").ask("GET /old HTTP/1.0\r\n\r\n")));
    case(&lab, "09-head", |lab| {
        let mut client = lab.client("fe_http");
        client.send("HEAD /q HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head_answer();
    });
    case(&lab, "10-post", |lab| {
        ask(lab, "fe_http", "POST /q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1");
    });
    case(&lab, "11-status-404", |lab| assert_eq!(ask(lab, "fe_http", get("/status?c=404")), 404));
    case(&lab, "12-status-500", |lab| assert_eq!(ask(lab, "fe_http", get("/status?c=500")), 500));
    case(&lab, "50-redirect", |lab| assert_eq!(ask(lab, "fe_http", get("/redir")), 302));
    case(&lab, "51-http-return", |lab| assert_eq!(ask(lab, "fe_http", get("/ret")), 200));
}

#[test]
fn clients_that_fail() {
    let lab = Lab::start();
    case(&lab, "13-empty-connection", |lab| drop(lab.client("fe_http")));
    case(&lab, "15-client-abort-request", |lab| {
        lab.client("fe_http").send("GET /half HTT");
    });
    case(&lab, "16-client-timeout-request", |lab| {
        let mut client = lab.client("fe_http");
        client.send("GET /half HTT");
        assert_eq!(client.answer().status(), 408);
    });
    // Of an answer that nobody takes no byte is counted.
    let untold = [("400 bytes:some", "400 bytes:none")];
    differing(&lab, "17-client-abort-waiting", &untold, |lab| lab.asking(&get("/slow?ms=1500")).wire.reset());
    case(&lab, "18-client-abort-data", |lab| {
        let mut client = lab.asking("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head();
        client.wire.take(300).unwrap();
        client.wire.reset();
    });
    const UPLOAD: &str = "POST /q HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    case(&lab, "19-client-timeout-post", |lab| assert_eq!(lab.asking(UPLOAD).answer().status(), 400));
    differing(&lab, "20-client-abort-post", &untold, |lab| drop(lab.asking(UPLOAD)));
    case(&lab, "21-client-not-reading", |lab| {
        let mut client = RawClient::connect_narrow(lab.at("fe_http"));
        client.send("GET /big?mb=20 HTTP/1.1\r\nHost: a\r\n\r\n");
        lab.logs.row_of("/big?mb=20");
    });
    case(&lab, "22-client-abort-download", |lab| {
        let mut client = lab.asking("GET /big?mb=20 HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head();
        client.wire.reset();
    });
    case(&lab, "24-client-timeout-upload", |lab| {
        let mut client = lab.client("fe_ctimeout");
        client.send("POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        assert_eq!(client.answer().status(), 400);
    });
}

#[test]
fn servers_that_fail() {
    let lab = Lab::start();
    case(&lab, "26-server-abort-headers", |lab| assert_eq!(ask(lab, "fe_http", get("/abort")), 502));
    for name in ["27-server-abort-data", "28-server-rst-data", "30-server-timeout-data"] {
        case(&lab, name, |lab| {
            let target =
                ["/partial", "/rst", "/stall"][["27", "28", "30"].iter().position(|n| name.starts_with(n)).unwrap()];
            let mut client = lab.client("fe_http");
            client.send(get(target));
            client.head();
            lab.logs.row_of(target);
        });
    }
    case(&lab, "29-server-timeout-headers", |lab| assert_eq!(ask(lab, "fe_http", get("/slow?ms=4000")), 504));
    case(&lab, "31-server-garbage", |lab| assert_eq!(ask(lab, "fe_http", get("/garbage")), 502));
    case(&lab, "32-connect-refused-retries", |lab| assert_eq!(ask(lab, "fe_http", get("/refuse")), 503));
    case(&lab, "33-redispatch", |lab| {
        assert_eq!((ask(lab, "fe_http", get("/redisp")), ask(lab, "fe_http", get("/redisp"))), (200, 200));
    });
    case(&lab, "34-connect-timeout", |lab| assert_eq!(ask(lab, "fe_http", get("/ctimeout")), 503));
    case(&lab, "42-no-server-down", |lab| assert_eq!(ask(lab, "fe_http", get("/down")), 503));
    case(&lab, "44-no-server-maint", |lab| assert_eq!(ask(lab, "fe_http", get("/maint")), 503));
}

#[test]
fn requests_that_wait() {
    let lab = Lab::start();
    let hold = || lab.asking("POST /queue/hold HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    let waits = || until("the second to wait", || lab.proxy.stat("be_queue", "BACKEND").number("qcur") == 1);
    let untold = [("400 bytes:some", "400 bytes:none")];
    differing(&lab, "35-queue-timeout", &untold, |lab| {
        let holder = hold();
        assert_eq!(ask(lab, "fe_http", get("/queue/second")), 503);
        drop(holder);
    });
    case(&lab, "36-queue-then-served", |lab| {
        let (mut holder, mut second) = (hold(), lab.client("fe_http"));
        second.send(get("/queue/second"));
        waits();
        holder.send("body");
        assert_eq!((holder.answer().status(), second.answer().status()), (200, 200));
    });
    differing(&lab, "37-client-abort-queue", &untold, |lab| {
        let (holder, mut second) = (hold(), lab.client("fe_http"));
        second.send(get("/queue/second"));
        waits();
        drop(second);
        until("it to leave", || lab.proxy.stat("be_queue", "BACKEND").number("qcur") == 0);
        drop(holder);
    });
}

#[test]
fn requests_that_are_refused() {
    let lab = Lab::start();
    case(&lab, "45-bad-request", |lab| assert_eq!(ask(lab, "fe_http", "GARBAGE\r\n\r\n"), 400));
    case(&lab, "46-bad-request-garbage", |lab| {
        assert_eq!(ask(lab, "fe_http", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), 400)
    });
    case(&lab, "47-bad-request-header", |lab| {
        assert_eq!(ask(lab, "fe_http", "GET / HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n"), 400);
    });
    // A status that says what was too long.
    differing(&lab, "48-bad-request-too-long", &[(" 400 ", " 431 ")], |lab| {
        let field = format!("X-Long: {}\r\n", "a".repeat(4000)).repeat(10);
        assert_eq!(ask(lab, "fe_http", format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")), 431);
    });
    let pit = "GET /tarpit HTTP/1.1\r\nHost: www.example.test\r\nX-Pit: 1\r\n\r\n";
    assert_eq!(ask(&lab, "fe_http", pit), 200, "the limit lets one through");
    lab.logs.row_of("/tarpit");
    case(&lab, "40-tarpit", |lab| assert_eq!(ask(lab, "fe_http", pit), 500));
    case(&lab, "41-rate-limited-429", |lab| {
        let statuses: Vec<u16> = (0..4).map(|_| ask(lab, "fe_rate", get("/r"))).collect();
        assert_eq!(statuses, [200, 200, 429, 429]);
    });
}

#[test]
fn websockets() {
    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let lab = Lab::start();
    case(&lab, "62-websocket", |lab| assert_eq!(ask(lab, "fe_http", UPGRADE), 101));
    case(&lab, "63-websocket-idle-timeout", |lab| {
        let mut client = lab.client("fe_http");
        assert_eq!(client.ask(UPGRADE).status(), 101);
        client.expect_closed();
    });
}

#[test]
fn persistence() {
    let lab = Lab::start();
    for (name, cookie) in [
        ("64-cookie-none", ""),
        ("65-cookie-valid", "Cookie: SRV=c2\r\n"),
        ("66-cookie-invalid", "Cookie: SRV=nobody\r\n"),
        ("67-cookie-down-server", "Cookie: SRV=c3\r\n"),
    ] {
        case(&lab, name, |lab| {
            ask(lab, "fe_http", format!("GET /cookie HTTP/1.1\r\nHost: www.example.test\r\n{cookie}\r\n"));
        });
    }
}

#[test]
fn sessions_that_are_ended() {
    const UPLOAD: &str = "POST /kill HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    let lab = Lab::start();
    case(&lab, "68-killed-by-admin", |lab| {
        let mut client = lab.asking(UPLOAD);
        lab.proxy.order("shutdown sessions server be_kill/k1");
        assert_eq!(client.answer().status(), 502);
    });
    let seen = lab.logs.lines().len();
    case(&lab, "69-server-marked-down", |lab| {
        let mut client = lab.asking(UPLOAD);
        lab.proxy.order("set server be_kill/k1 health down");
        assert_eq!(client.answer().status(), 502);
    });
    let changes = lab.lines_after(seen, 2, |line| Row::parse(line).is_none());
    let theirs: Vec<String> = recorded("69-server-marked-down").iter().take(2).map(|line| shape(line)).collect();
    assert_eq!(changes.iter().map(|line| shape(line)).collect::<Vec<_>>(), theirs);
}

#[test]
fn state_changes() {
    let lab = Lab::start();
    lines(&lab, "78-server-admin", ("", ""), |lab| {
        for state in ["drain", "ready", "maint", "ready"] {
            lab.proxy.order(&format!("set server be_web/web1 state {state}"));
        }
    });
}

#[test]
fn formats() {
    let lab = Lab::start();
    lines(&lab, "70-clf", ("", ""), |lab| assert_eq!(ask(lab, "fe_clf", get("/clf")), 200));
    lines(&lab, "71-logasap", ("fe_nullog", "fe_asap"), |lab| assert_eq!(ask(lab, "fe_asap", get("/asap")), 200));
    let seen = lab.logs.lines().len();
    let mut client = lab.client("fe_custom");
    for target in ["/one?x=1", "/slow?ms=150"] {
        client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let got = lab.lines_after(seen, 2, |_| true);
    for (line, theirs) in got.iter().zip(recorded("73-custom-log-format")) {
        let words = theirs.split(' ').filter(|word| !word.starts_with("ID=") && !word.starts_with("H="));
        assert_eq!(shape(line), shape(&words.collect::<Vec<_>>().join(" ")));
    }
    let value = |line: &str, name: &str| {
        let word = line.split([' ', '\n']).find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
        word.parse::<u64>().unwrap_or_else(|e| panic!("{name}{word}: {e}"))
    };
    assert_eq!((value(&got[0], "lc="), value(&got[1], "lc=")), (0, 1), "every line of the frontend is counted");
    assert_eq!(value(&got[1], "pid="), u64::from(lab.proxy.pid()));
    assert!(got[1].contains(&format!("fi={} ", lab.at("fe_custom"))), "{}", got[1]);
    let (total, idle, user) = (value(&got[1], "Tt="), value(&got[1], "Ti="), value(&got[1], "Tu="));
    assert!(total == idle + user && user >= 150, "{}", got[1]);
}

#[test]
fn a_line_before_the_answers_end() {
    let lab = Lab::start();
    let mut client = lab.client("fe_asap");
    client.send(get("/stall"));
    client.head();
    let line = lab.logs.line_with("GET /stall");
    assert!(line.contains("/+") && line.contains(" 200 +") && line.contains(" ---- "), "{line}");
    drop(client);
    until("the request to end", || lab.proxy.stat("be_web", "BACKEND").number("scur") == 0);
    assert_eq!(ask(&lab, "fe_asap", get("/next")), 200);
    lab.logs.row_of("/next");
    assert_eq!(lab.rows().iter().filter(|row| row.target() == "/stall").count(), 1, "one line per request");
}

#[test]
fn errors_have_their_own_level() {
    let lab = Lab::start();
    ask(&lab, "fe_errlog", get("/status?c=200"));
    ask(&lab, "fe_errlog", get("/abort"));
    let rows = lab.logs.wait_rows(2);
    let mut theirs: Vec<Row> = recorded("72-log-separate-errors").iter().filter_map(|line| Row::parse(line)).collect();
    theirs.retain(|row| row.priority.is_some_and(|priority| priority < 136));
    assert_eq!(rows.iter().map(said).collect::<Vec<_>>(), theirs.iter().map(said).collect::<Vec<_>>());
    ask(&lab, "fe_errlog", get("/status?c=500"));
    ask(&lab, "fe_plain", get("/status?c=503"));
    let levels: Vec<_> = lab.logs.wait_rows(4)[2..].iter().map(|row| row.priority).collect();
    assert_eq!(levels, [Some(131), Some(134)]);
}

#[test]
fn handshakes() {
    let lab = Lab::start();
    let one = |name: &str, run: &dyn Fn()| lines(&lab, name, ("", ""), |_| run());
    one("54-tls-handshake-plaintext", &|| {
        drop(lab.client("tls").send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wire.take_rest())
    });
    one("55-tls-handshake-client-rejects-cert", &|| {
        let mut openssl = Command::new(tools::need("openssl", "openssl"));
        openssl.args(["s_client", "-verify_return_error", "-connect", &lab.at("tls").to_string()]);
        tools::run(&mut openssl, "");
    });
    one("56-tls-connect-close", &|| drop(lab.client("tls")));
    one("61-httpslog-handshake-failure", &|| {
        drop(lab.client("fe_httpslog").send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wire.take_rest());
    });
    one("60-httpslog", &|| {
        let mut client = lab.authority.connect(lab.at("fe_httpslog"), "127.0.0.1");
        client.get("/over-http1.1");
    });
    let mut client = lab.authority.connect(lab.at("fe_httpslog"), "a.test");
    client.get("/named");
    let line = lab.logs.line_with("GET /named");
    assert!(line.trim_end().ends_with("\" 0/0000000000000000/0/0/0 a.test/TLSv1.3/TLS_AES_256_GCM_SHA384"), "{line}");

    for (bytes, sentence) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSL handshake failure (error:0A00010B:SSL routines::wrong version number)"),
        ("CONNECT a:443 HTTP/1.1\r\n\r\n", "SSL handshake failure (error:0A00009B:SSL routines::https proxy request)"),
        ("\x16\x03\x01", "Connection closed during SSL handshake"),
    ] {
        let seen = lab.logs.lines().len();
        let mut client = lab.client("tls");
        client.send(bytes);
        client.wire.half_close();
        let _ = client.wire.take_rest();
        let line = lab.lines_after(seen, 1, |_| true).remove(0);
        assert!(line.trim_end().ends_with(&format!("fe_http/tls: {sentence}")), "{line}");
    }
}

#[test]
fn frontends_without_a_log() {
    use crate::support::origin::Origin;
    use crate::support::site::Site;
    let origin = Origin::named("s1");
    let second = crate::support::ports::address();
    let site = Site::of(&[&origin])
        .frontend("log: off")
        .more(
            "frontends",
            format!("loud: {{ bind: \"{second}\", log: \"%HM %HU %ST\", routes: [ {{ backend: web }} ] }}"),
        )
        .start();
    assert_eq!(site.get("/quiet").status(), 200);
    assert_eq!(RawClient::connect(second).get("/loud").status(), 200);
    assert!(site.logs.line_with("GET /loud").trim_end().ends_with("]: GET /loud 200"));
    assert!(!site.logs.lines().iter().any(|line| line.contains("/quiet")));
}

#[test]
fn targets_that_take_only_errors() {
    use crate::support::logs::LogReceiver;
    use crate::support::origin::{Origin, Reply};
    use crate::support::site::Site;
    let origin = Origin::answering(|request| Reply::status(request.target()[1..].parse().unwrap_or(200)));
    let (all, errors) = (LogReceiver::udp(), LogReceiver::udp());
    let site = Site::of(&[&origin])
        .frontend("log_separate_errors: true")
        .global(
            "logs",
            format!("[ {{ target: \"{}\" }}, {{ target: \"{}\", level: err }} ]", all.target(), errors.target()),
        )
        .start();
    for target in ["/200", "/404", "/500", "/201"] {
        site.get(target);
    }
    assert_eq!(all.wait_rows(4).len(), 4);
    errors.row_of("/500");
    assert_eq!(errors.rows().len(), 1);
}
