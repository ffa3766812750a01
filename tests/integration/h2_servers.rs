//! Servers that speak HTTP/2 (`proto: h2`), in clear text: what they are asked, what comes back, and what happens when
//! they refuse, leave or break off.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Method;

use crate::support::certificates::{Authority, Key};
use crate::support::h2::{H2Client, get, request};
use crate::support::h2_origin::{Call, H2Origin, head, headers};
use crate::support::message::{Message, Role};
use crate::support::origin::Origin;
use crate::support::site::{Running, Site};
use crate::support::{tools, until};

fn site(origin: &H2Origin) -> Site {
    Site::new().server(origin.addr(), "proto: h2")
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_request_becomes_one_of_http2_and_its_answer_one_of_http1() {
    let origin = H2Origin::answering(|call| async move {
        call.answer(200, &[("x-served-by", "h2"), ("x-twice", "1"), ("x-twice", "2")], "hello");
    });
    let site = site(&origin).start();
    let answer = site.ask(
        "GET /a/../b?c=d HTTP/1.1\r\nHost: shop.example:81\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
         Upgrade: foo\r\nX-Mixed-Case: Kept\r\nCookie: a=1; b=2\r\nTE: gzip\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.field("content-length"), Some("5"));
    assert_eq!((answer.field("x-served-by"), answer.all("x-twice")), (Some("h2"), vec!["1", "2"]));
    assert_eq!(answer.field("connection"), None);
    let seen = &origin.seen()[0];
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("GET", "http://shop.example:81/b?c=d"));
    let field = |name: &str| seen.fields.get(name).map(|v| v.to_str().unwrap());
    assert_eq!(
        (field("x-mixed-case"), field("cookie"), field("x-forwarded-for")),
        (Some("Kept"), Some("a=1; b=2"), Some("127.0.0.1"))
    );
    for gone in ["host", "connection", "x-hop", "upgrade", "te", "transfer-encoding"] {
        assert_eq!(field(gone), None, "{gone}");
    }
    let row = site.logs.row_of("/a/../b?c=d");
    assert_eq!((row.status, row.server.as_str(), row.termination.as_str()), (200, "s1", "----"));
    assert!(row.timers.iter().all(|t| *t >= 0), "{:?}", row.timers);
}

#[test]
fn requests_of_many_clients_share_a_connection() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let (body, _) = call.body().await;
        call.answer(200, &[], &String::from_utf8(body).unwrap());
    });
    let site = site(&origin).start();
    let mut clients: Vec<_> = (0..10).map(|_| site.client()).collect();
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(post("/", &format!("{round}-{n}")));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.next_answer(Role::Answer).text(), format!("{round}-{n}"));
        }
    }
    assert_eq!(origin.connections(), 1);
    let stat = site.stat("web", "s1");
    assert_eq!((stat.number("connect"), stat.number("reuse"), stat.number("stot")), (1, 29, 30));
}

#[test]
fn a_connection_takes_no_more_than_it_may() {
    let origin = H2Origin::answering(|call| async move { call.until_reset().await });
    let site = site(&origin).backend("http2: { max_streams: 2 }").start();
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let mut client = site.client();
            client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client
        })
        .collect();
    until("four requests at the server", || origin.seen().len() == 4);
    assert_eq!(origin.connections(), 2);
    drop(clients);
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let (body, trailers) = call.body().await;
        let mut send = call.respond.send_response(head(200, &[("trailer", "x-sum")]), false).unwrap();
        send.send_data(Bytes::from(body), false).unwrap();
        let sum = trailers.get("x-sum").map_or("none", |v| v.to_str().unwrap()).to_owned();
        send.send_trailers(headers(&[("x-sum", &sum), ("content-length", "9")])).unwrap();
    });
    let site = site(&origin).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n");
    let raw = client.next_answer(Role::Answer);
    assert_eq!((raw.field("transfer-encoding"), raw.text().as_str()), (Some("chunked"), "hello world"));
    assert_eq!(raw.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    assert_eq!(origin.seen()[0].fields.get("transfer-encoding"), None);
    // The connection is good for more.
    let answer = client.ask(post("/", "again"));
    assert_eq!(answer.text(), "again");
    // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
    let answer = site.ask("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nold");
    assert_eq!((answer.field("transfer-encoding"), answer.text().as_str()), (None, "old"));
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let status = call.request.uri().path()[1..].parse().unwrap();
        let fields: &[(&str, &str)] = if status == 200 { &[("content-length", "5")] } else { &[] };
        let head_only = call.request.method() == "HEAD" || status != 200;
        let mut send = call.respond.send_response(head(status, fields), head_only).unwrap();
        if !head_only {
            send.send_data(Bytes::from_static(b"hello"), true).unwrap();
        }
    });
    let site = site(&origin).start();
    let mut client = site.client();
    client.send("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.head_answer();
    assert_eq!((answer.status(), answer.field("content-length")), (200, Some("5")));
    for (status, length) in [(204, None), (304, None), (404, Some("0"))] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.field("content-length"), answer.body.len()), (status, length, 0));
    }
    assert_eq!(client.get("/200").text(), "hello");
}

#[test]
fn interim_answers_are_passed_on() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        assert_eq!(call.request.headers()["expect"], "100-continue");
        call.respond.send_informational(head(103, &[("link", "</a.css>; rel=preload")])).unwrap();
        call.respond.send_informational(head(100, &[])).unwrap();
        let (body, _) = call.body().await;
        call.answer(200, &[], &String::from_utf8(body).unwrap());
    });
    let site = site(&origin).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9000\r\n\r\n");
    let early = client.next_answer(Role::Answer);
    assert_eq!((early.status(), early.field("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(client.next_answer(Role::Answer).status(), 100);
    client.send("x".repeat(9000));
    assert_eq!(client.next_answer(Role::Answer).body.len(), 9000);
}

#[test]
fn large_bodies_go_through_small_windows() {
    let mut settings = h2::server::Builder::new();
    settings.initial_window_size(1000).initial_connection_window_size(70_000);
    let origin = H2Origin::with(settings, |mut call: Call| async move {
        let (body, _) = call.body().await;
        let mut send = call.respond.send_response(head(200, &[]), false).unwrap();
        let mut body = Bytes::from(body);
        while !body.is_empty() {
            send.reserve_capacity(body.len());
            let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            send.send_data(body.split_to(room.min(body.len())), body.is_empty()).unwrap();
        }
    });
    let site = site(&origin).backend("http2: { window: 16KiB }").start();
    let body: String = (0..300_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    for framing in ["Content-Length: 300000", "Transfer-Encoding: chunked"] {
        let chunked = framing.contains("chunked");
        let framed = if chunked { format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()) } else { body.clone() };
        let mut client = site.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{framed}"));
        assert!(client.next_answer(Role::Answer).text() == body, "{framing}");
    }
    let row = site.logs.row_of("/");
    assert!(row.bytes > 300_000);
}

#[test]
fn a_client_that_reads_nothing_holds_its_server_back_and_nobody_else() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = sent.clone();
    let origin = H2Origin::answering(move |mut call: Call| {
        let counting = counting.clone();
        async move {
            if call.request.uri().path() == "/small" {
                return call.answer(200, &[], "small");
            }
            let mut send = call.respond.send_response(head(200, &[]), false).unwrap();
            loop {
                send.reserve_capacity(16_384);
                let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                if send.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
                    return;
                }
                counting.fetch_add(room, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let site = site(&origin).start();
    let mut stalled = site.client();
    stalled.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let now = || sent.load(std::sync::atomic::Ordering::SeqCst);
    until("bytes from the server", || now() > 100_000);
    let mut last = now();
    until("the server to be held back", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, now()) == now()
    });
    assert!(now() < 32 << 20, "{} bytes", now());
    for _ in 0..20 {
        assert_eq!(site.get("/small").text(), "small");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn refused_requests_are_sent_again_whatever_their_method() {
    let refusing = H2Origin::answering(|call| async move { call.reset(Reason::REFUSED_STREAM) });
    let good = H2Origin::named("good");
    let site = Site::new()
        .server(refusing.addr(), "proto: h2")
        .server(good.addr(), "proto: h2")
        .backend("balance: first")
        .start();
    assert_eq!(site.ask(post("/order", "once")).text(), "good");
    assert_eq!((refusing.seen().len(), good.seen().len()), (1, 1));
    let row = site.logs.row_of("/order");
    assert_eq!((row.server.as_str(), row.retries, row.redispatched), ("s2", 1, true));
}

#[test]
fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    let breaking = H2Origin::answering(|call| async move { call.reset(Reason::INTERNAL_ERROR) });
    let good = H2Origin::named("good");
    let site = Site::new()
        .server(breaking.addr(), "proto: h2")
        .server(good.addr(), "proto: h2")
        .backend("balance: first")
        .start();
    assert_eq!(site.ask(post("/order", "once")).status(), 502);
    assert_eq!(good.seen().len(), 0);
    let row = site.logs.row_of("/order");
    assert_eq!((row.status, row.termination.as_str(), row.retries), (502, "SH--", 0));
}

/// The frame header of RFC 9113 section 4.1, and what follows.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn read_frame(socket: &mut impl Read) -> std::io::Result<(u8, u32)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head)?;
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    socket.read_exact(&mut vec![0; length])?;
    Ok((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

#[test]
fn requests_a_leaving_server_has_not_looked_at_move_to_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        // The first connection answers one request and looks at no other; the second answers all.
        for answers in [1, 2] {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(&frame(4, 0, 0, b"")).unwrap();
            socket.read_exact(&mut [0; 24]).unwrap();
            let mut answered = 0;
            while answered < answers {
                let (kind, stream) = read_frame(&mut socket).unwrap();
                if kind == 1 {
                    // :status: 200, END_STREAM
                    socket.write_all(&frame(1, 5, stream, &[0x88])).unwrap();
                    answered += 1;
                }
            }
            if answers == 1 {
                while read_frame(&mut socket).unwrap().0 != 1 {}
                socket.write_all(&frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).unwrap();
                let _ = socket.read_to_end(&mut Vec::new());
            }
        }
    });
    let site = Site::new().server(address, "proto: h2").start();
    let mut client = site.client();
    assert_eq!(client.get("/1").status(), 200);
    assert_eq!(client.ask(post("/2", "x")).status(), 200, "even a POST: nobody has looked at it");
    assert_eq!(client.get("/3").status(), 200);
    server.join().unwrap();
    let row = site.logs.row_of("/2");
    assert_eq!((row.retries, row.termination.as_str()), (0, "----"));
}

#[test]
fn a_lost_connection_is_replaced_for_requests_that_may_be_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for answers in [1, 1] {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(&frame(4, 0, 0, b"")).unwrap();
            socket.read_exact(&mut [0; 24]).unwrap();
            let mut asked = 0;
            while let Ok((kind, stream)) = read_frame(&mut socket) {
                if kind == 1 {
                    asked += 1;
                    if asked > answers {
                        break;
                    }
                    socket.write_all(&frame(1, 5, stream, &[0x88])).unwrap();
                }
            }
        }
    });
    let site = Site::new().server(address, "proto: h2").start();
    let mut client = site.client();
    assert_eq!(client.get("/1").status(), 200);
    assert_eq!(client.get("/2").status(), 200);
    assert_eq!(site.logs.row_of("/2").retries, 0);
    assert_eq!(client.ask(post("/3", "x")).status(), 502, "it may have been acted on");
    server.join().unwrap();
}

#[test]
fn a_server_that_speaks_http1_only_is_named_in_the_log() {
    let origin = Origin::named("s1");
    let site = Site::new().server(origin.addr(), "proto: h2").backend("retries: 0").start();
    assert_eq!(site.get("/x").status(), 503);
    let row = site.logs.row_of("/x");
    assert_eq!((row.status, row.termination.as_str()), (503, "SC--"));
    until("a word in the program's log", || site.output().contains("does not speak HTTP/2"));
}

#[test]
fn a_server_that_is_silent_on_one_stream_goes_on_serving_the_others() {
    let origin = H2Origin::answering(|call| async move {
        match call.request.uri().path() {
            "/never" => call.until_reset().await,
            _ => call.answer(200, &[], "now"),
        }
    });
    let site = site(&origin).backend("timeouts: { server: 300ms }").start();
    let mut waiting = site.client();
    waiting.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request at the server", || origin.seen().len() == 1);
    assert_eq!(site.get("/soon").text(), "now");
    assert_eq!(waiting.next_answer(Role::Answer).status(), 504);
    let row = site.logs.row_of("/never");
    assert_eq!((row.status, row.termination.as_str()), (504, "sH--"));
    until("the stream to be called off", || origin.seen()[0].reset == Some(8));
    assert_eq!((site.get("/soon").text().as_str(), origin.connections()), ("now", 1));
}

#[test]
fn a_client_that_leaves_takes_its_stream_with_it() {
    let origin = H2Origin::answering(|call| async move {
        match call.request.uri().path() {
            "/never" => call.until_reset().await,
            _ => call.answer(200, &[], "now"),
        }
    });
    let site = site(&origin).start();
    let mut leaving = site.client();
    leaving.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the request at the server", || origin.seen().len() == 1);
    leaving.wire.reset();
    until("the stream to be called off", || origin.seen()[0].reset == Some(8));
    assert_eq!((site.get("/soon").text().as_str(), origin.connections()), ("now", 1));
    assert!(site.logs.row_of("/never").termination.starts_with('C'));
}

#[test]
fn an_answer_that_is_broken_off_looks_broken_off() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let path = call.request.uri().path().to_owned();
        let fields: &[(&str, &str)] = if path == "/length" { &[("content-length", "100")] } else { &[] };
        let mut send = call.respond.send_response(head(200, fields), false).unwrap();
        send.send_data(Bytes::from_static(b"some"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        send.send_reset(Reason::INTERNAL_ERROR);
    });
    let site = site(&origin).start();
    for path in ["/length", "/chunks"] {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let text = String::from_utf8(client.wire.take_rest().unwrap_or_default()).unwrap();
        assert!(text.contains("some") && !text.ends_with("0\r\n\r\n"), "{text}");
        let row = site.logs.row_of(path);
        assert_eq!((row.status, row.termination.as_str()), (200, "SD--"), "{path}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_early_answer_ends_the_upload_without_harm() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let mut send = call.respond.send_response(head(413, &[("content-length", "3")]), false).unwrap();
        // What is left of the request is not read: the library then asks for no more of it (NO_ERROR).
        send.send_data(Bytes::from_static(b"big"), true).unwrap();
    });
    let site = site(&origin).start();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun");
    let answer = client.next_answer(Role::Answer);
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
    assert_eq!(site.get("/").status(), 413);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn maxconn_counts_requests_and_the_rest_wait() {
    let origin = H2Origin::answering(|call| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        call.answer(200, &[], "done");
    });
    let site = Site::new().server(origin.addr(), "proto: h2, maxconn: 2").start();
    let mut clients: Vec<_> = (0..6).map(|_| site.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.next_answer(Role::Answer).text(), "done");
    }
    let stat = site.stat("web", "s1");
    assert_eq!(stat.number("smax"), 2);
    assert!(site.logs.wait_rows(6).iter().any(|row| row.timers[1] >= 50), "somebody waited");
}

#[test]
fn a_server_in_maintenance_loses_its_idle_connections() {
    let origin = H2Origin::named("s1");
    let site = site(&origin).start();
    assert_eq!(site.get("/").text(), "s1");
    until("one idle connection", || site.stat("web", "s1").number("safe_conn_cur") == 1);
    assert_eq!(origin.open_connections(), 1);
    site.order("set server web/s1 state maint");
    until("the connection to be closed", || origin.open_connections() == 0);
}

#[test]
fn checks_of_such_servers_are_made_over_http2() {
    let origin = H2Origin::answering(|call| async move {
        let status = if call.request.uri().path() == "/health" { 200 } else { 404 };
        call.answer(status, &[], "");
    });
    let site = site(&origin)
        .server(origin.addr(), "proto: h2, health_check: { path: /other }")
        .backend("health_check: { method: GET, path: /health, host: shop.example, interval: 50ms, rise: 1, fall: 1 }")
        .without_waiting_for_checks()
        .start();
    site.wait_status("s1", "UP");
    site.wait_status("s2", "DOWN");
    let (good, bad) = (site.stat("web", "s1"), site.stat("web", "s2"));
    assert_eq!((good.check_status(), good.number("check_code")), ("L7OK", 200));
    assert_eq!((bad.get("check_status").trim_start_matches("* "), bad.number("check_code")), ("L7STS", 404));
    let seen = origin.seen();
    assert_eq!(seen.iter().find(|s| s.uri.ends_with("/health")).unwrap().uri, "http://shop.example/health");
}

#[test]
fn grpc_checks_pass_only_what_serves() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        assert_eq!(call.request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(call.request.headers()["te"], "trailers");
        let (question, _) = call.body().await;
        let service = String::from_utf8(question.get(7..).unwrap_or_default().to_vec()).unwrap();
        let (serving, status) = match service.as_str() {
            "" | "shop.Orders" => (1, "0"),
            "shop.Down" => (2, "0"),
            _ => (0, "5"),
        };
        let fields = [("content-type", "application/grpc")];
        if status != "0" {
            let fields = [fields[0], ("grpc-status", status), ("grpc-message", "unknown service")];
            call.respond.send_response(head(200, &fields), true).unwrap();
            return;
        }
        let mut send = call.respond.send_response(head(200, &fields), false).unwrap();
        send.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, serving]), false).unwrap();
        send.send_trailers(headers(&[("grpc-status", status)])).unwrap();
    });
    let check = |service: &str| format!("proto: h2, health_check: {{ grpc: {{ service: {service} }} }}");
    let plain = Origin::named("web");
    let site = Site::new()
        .server(origin.addr(), "proto: h2")
        .server(origin.addr(), &check("shop.Orders"))
        .server(origin.addr(), &check("shop.Down"))
        .server(origin.addr(), &check("shop.None"))
        .server(plain.addr(), "")
        .backend("health_check: { grpc: {}, interval: 50ms, rise: 1, fall: 1 }")
        .without_waiting_for_checks()
        .start();
    for (server, status, word, text) in [
        ("s1", "UP", "L7OK", ""),
        ("s2", "UP", "L7OK", ""),
        ("s3", "DOWN", "L7STS", "NOT_SERVING"),
        ("s4", "DOWN", "L7STS", "grpc-status 5 NOT_FOUND: unknown service"),
        ("s5", "DOWN", "L7RSP", "Not an HTTP/2 response"),
    ] {
        site.wait_status(server, status);
        let stat = site.stat("web", server);
        assert_eq!((stat.check_status(), stat.get("last_chk")), (word, text), "{server}");
    }
}

#[test]
fn nghttpd_serves_files_and_takes_uploads() {
    let nghttpd = tools::need("nghttpd", "nghttp2-server");
    let folder = tempfile::tempdir().unwrap();
    let page: String = (0..200_000).map(|n| char::from(b' ' + (n % 90) as u8)).collect();
    std::fs::write(folder.path().join("page.txt"), &page).unwrap();
    let port = crate::support::ports::reserve();
    let _server = tools::Running::start(
        Command::new(nghttpd)
            .args(["--no-tls", "--address=127.0.0.1", "--htdocs"])
            .arg(folder.path())
            .args(["--echo-upload", &port.to_string()])
            .stdout(Stdio::null()),
    );
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let site = Site::new()
        .server(address, "proto: h2")
        .backend("health_check: { method: GET, path: /page.txt, interval: 50ms, rise: 1 }")
        .start();
    site.wait_status("s1", "UP");
    let mut client = site.client();
    for _ in 0..3 {
        let answer = client.get("/page.txt");
        assert_eq!((answer.status(), answer.field("content-length")), (200, Some("200000")));
        assert!(answer.text() == page);
    }
    assert_eq!(client.get("/none").status(), 404);
    let echoed: Message = client.ask(post("/", &page));
    assert!(echoed.text() == page, "{} bytes", echoed.body.len());
}

#[test]
fn over_tls_it_is_agreed_on_by_name() {
    let nghttpd = tools::need("nghttpd", "nghttp2-server");
    let authority = Authority::new();
    let site = Site::new();
    let folder = site.folder();
    let pem = authority.write(&folder.path().join("server.pem"), &["app.test"], Key::Ecdsa);
    let root = authority.write_root(&folder.path().join("root.pem"));
    std::fs::write(folder.path().join("page.txt"), "over TLS").unwrap();
    let port = crate::support::ports::reserve();
    let _server = tools::Running::start(
        Command::new(nghttpd)
            .args(["--address=127.0.0.1", "--htdocs"])
            .arg(folder.path())
            .arg(port.to_string())
            .args([&pem, &pem])
            .stdout(Stdio::null()),
    );
    let only_http1 = Origin::named("http/1.1 alone").with_tls(authority.server(&["app.test"]));
    let tls = format!("proto: h2, tls: {{ ca_file: {}, verify_host: app.test }}", root.display());
    let site = site
        .server(format!("127.0.0.1:{port}").parse().unwrap(), &tls)
        .server(only_http1.addr(), &tls)
        .backend("health_check: { method: GET, path: /page.txt, interval: 50ms, rise: 1, fall: 1 }")
        .without_waiting_for_checks()
        .start();
    site.wait_status("s1", "UP");
    site.wait_status("s2", "DOWN");
    let refused = site.stat("web", "s2");
    let expected = ("L6RSP", "the server does not offer HTTP/2 (ALPN `h2`)");
    assert_eq!((refused.get("check_status").trim_start_matches("* "), refused.get("last_chk")), expected);
    let mut client = site.client();
    for _ in 0..3 {
        assert_eq!(client.get("/page.txt").text(), "over TLS");
    }
    assert_eq!(site.stat("web", "s1").number("connect"), 1);
}

#[test]
fn a_server_that_does_not_offer_it_over_tls_gets_no_requests() {
    let authority = Authority::new();
    let origin = Origin::named("s1").with_tls(authority.server(&["app.test"]));
    let site = Site::new();
    let root = authority.write_root(&site.path("root.pem"));
    let keys = format!("proto: h2, tls: {{ ca_file: {}, verify_host: app.test }}", root.display());
    let site = site.server(origin.addr(), &keys).backend("retries: 0").start();
    assert_eq!(site.get("/x").status(), 503);
    assert_eq!(site.logs.row_of("/x").termination, "SC--");
    until("a word in the program's log", || site.output().contains("does not offer HTTP/2"));
}

/// A site that is spoken to over HTTP/2 too.
fn both_sides(origin: &H2Origin) -> Running {
    let site = site(origin);
    let bind = format!("bind: [ {{ address: \"{}\", proto: h2 }} ]", site.address());
    site.frontend(bind).start()
}

#[test]
fn a_call_of_grpc_goes_through_from_end_to_end() {
    let origin = H2Origin::answering(|mut call: Call| async move {
        let fields = [("content-type", "application/grpc")];
        if call.request.uri().path() == "/shop.Orders/None" {
            // Without a message: all in one head.
            let fields = [fields[0], ("grpc-status", "12")];
            call.respond.send_response(head(200, &fields), true).unwrap();
            return;
        }
        assert_eq!(call.request.headers()["te"], "trailers");
        let mut send = call.respond.send_response(head(200, &fields), false).unwrap();
        // Each message is answered before the next one comes.
        let body = call.request.body_mut();
        while let Some(Ok(piece)) = body.data().await {
            let _ = body.flow_control().release_capacity(piece.len());
            send.send_data(piece, false).unwrap();
        }
        send.send_trailers(headers(&[("grpc-status", "0"), ("x-cost", "7")])).unwrap();
    });
    let site = both_sides(&origin);
    let mut client = H2Client::connect(site.address);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut stream = client.start(request(Method::POST, "/shop.Orders/Watch", &fields), false);
    client.say(&mut stream, b"one", false);
    let mut body = client.head(&mut stream).unwrap().into_body();
    for message in ["one", "two", "three"] {
        if message != "one" {
            client.say(&mut stream, message.as_bytes(), false);
        }
        let echoed = client.wait("an answer to the message", body.data()).unwrap().unwrap();
        assert_eq!(echoed, message);
    }
    stream.send.send_data(Bytes::new(), true).unwrap();
    assert!(client.wait("the end", body.data()).is_none());
    let trailers = client.wait("the trailers", body.trailers()).unwrap().unwrap();
    assert_eq!((&trailers["grpc-status"], &trailers["x-cost"]), (&"0".parse().unwrap(), &"7".parse().unwrap()));

    let answer = client.ask(request(Method::POST, "/shop.Orders/None", &fields), b"x");
    assert_eq!((answer.status(), answer.field("grpc-status"), answer.field("content-length")), (200, "12", ""));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_call_that_is_called_off_is_called_off_at_the_server() {
    let origin = H2Origin::answering(|call| async move { call.until_reset().await });
    let site = both_sides(&origin);
    let mut client = H2Client::connect(site.address);
    let stream = client.start(get("/never"), true);
    until("the request at the server", || {
        client.is_open();
        origin.seen().len() == 1
    });
    drop(stream);
    until("the stream to be called off", || {
        client.is_open();
        origin.seen()[0].reset == Some(8)
    });
    assert_eq!(origin.open_connections(), 1);
}

#[test]
fn websockets_are_refused_and_said_to_be() {
    let origin = H2Origin::named("s1");
    let site = site(&origin).start();
    let answer = site.ask(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(answer.status(), 502);
    assert_eq!(origin.seen().len(), 0);
    until("a word in the program's log", || site.output().contains("websockets are not passed"));
}

#[test]
fn a_server_that_greets_and_leaves_is_not_asked_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (count, counted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let goaway = frame(7, 0, 0, &[0; 8]);
            let _ = socket.write_all(&[frame(4, 0, 0, b""), goaway].concat());
            if count.send(()).is_err() {
                return;
            }
        }
    });
    let site = Site::new().server(address, "proto: h2").backend("retries: 0").start();
    let status = site.get("/x").status();
    assert!(matches!(status, 502 | 503), "{status}");
    let row = site.logs.row_of("/x");
    assert!(matches!(row.termination.as_str(), "SC--" | "SH--"), "{}", row.termination);
    assert!(counted.try_iter().count() <= 40);
}
