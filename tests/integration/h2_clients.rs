//! HTTP/2 from clients: what reaches servers, what comes back, and what logs and counters say of it.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use h2::Reason;
use http::Method;

use crate::support::certificates::{Authority, Key};
use crate::support::h2::{FrameClient, H2Client, get, request};
use crate::support::message::{Message, Role};
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{tools, until};

/// Without TLS, with prior knowledge.
fn clear(site: Site) -> Running {
    clear_with(site, "h2")
}

fn clear_with(site: Site, proto: &str) -> Running {
    let bind = format!("bind: [ {{ address: \"{}\", proto: {proto} }} ]", site.address());
    site.frontend(bind).start()
}

#[test]
fn requests_reach_http1_servers() {
    let origin = Origin::named("s1");
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let asked =
        request(Method::GET, "/a?b=c", &[("cookie", "a=1"), ("cookie", "b=2"), ("x-one", "1"), ("te", "trailers")]);
    let answer = client.ask(asked, b"");
    assert_eq!((answer.status(), answer.text().as_str(), answer.field("x-served-by")), (200, "s1", "s1"));
    assert_eq!(answer.field("connection"), "");
    let seen = &origin.requests()[0];
    assert_eq!((seen.method(), seen.target()), ("GET", "/a?b=c"));
    assert_eq!(seen.all("host"), ["www.example.test"]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!((seen.field("te"), seen.field("connection")), (Some("trailers"), Some("TE")));

    let line = site.logs.line_with("/a?b=c");
    assert!(line.contains("\"GET http://www.example.test/a?b=c HTTP/2.0\""), "{line}");
    let row = site.stat("fe", "FRONTEND");
    assert_eq!(["h2sess", "h2req", "h1sess", "h1req"].map(|c| row.number(c)), [1, 1, 0, 0]);
    assert_eq!((row.number("sess_other"), row.number("req_other")), (0, 0));
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "s1");
    }
    assert_eq!(origin.connections(), 1, "connections to servers are kept");
}

#[test]
fn many_at_once_on_one_connection() {
    let origin = Origin::answering(|asked| Reply::ok(asked.target()).after(Duration::from_millis(100)));
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let streams: Vec<_> = (0..50).map(|n| client.start(get(&format!("/{n}")), true)).collect();
    for (n, stream) in streams.into_iter().enumerate() {
        assert_eq!(client.answer(stream).unwrap().text(), format!("/{n}"));
    }
    until("every stream to be counted", || site.stat("fe", "FRONTEND").number("h2req") == 50);
    assert_eq!(site.stat("fe", "FRONTEND").number("h2sess"), 1);
}

#[test]
fn bodies_with_and_without_a_length() {
    let origin = Origin::answering(|asked| {
        let framing = asked.field("content-length").map_or("chunked".to_owned(), |n| n.to_owned());
        Reply::ok(format!("{framing} {}", asked.body.len()))
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let big = vec![b'x'; 3_000_000];
    let sized = |n: &str| request(Method::POST, "/", &[("content-length", n)]);
    assert_eq!(client.ask(sized("5"), b"hello").text(), "5 5");
    assert_eq!(client.ask(sized("3000000"), &big).text(), "3000000 3000000");
    assert_eq!(client.ask(request(Method::POST, "/", &[]), b"hello").text(), "chunked 5");
    assert_eq!(client.ask(request(Method::POST, "/", &[]), &big).text(), "chunked 3000000");
    assert_eq!(client.ask(request(Method::POST, "/", &[]), b"").text(), "0 0");
    assert_eq!(client.ask(sized("0"), b"").text(), "0 0");
}

#[test]
fn many_small_pieces_in_one_go_are_taken() {
    let origin = Origin::answering(|asked| Reply::ok(asked.body.len().to_string()).after(Duration::from_millis(50)));
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let other = client.start(get("/other"), true);
    let mut stream = client.start(request(Method::POST, "/", &[]), false);
    stream.send.reserve_capacity(40_000);
    for n in 0..2000 {
        // Nothing is written before the client's task gets its turn: they leave together.
        stream.send.send_data(bytes::Bytes::from_static(&[b'x'; 20]), n == 1999).unwrap();
    }
    assert_eq!(client.answer(stream).unwrap().text(), "40000");
    assert_eq!(client.answer(other).unwrap().text(), "0", "what else is on the connection goes on");
    assert!(client.is_open());
}

#[test]
fn a_request_that_is_made_again_says_its_end_again() {
    // Keeps its connection after an answer, and leaves when it is asked again on it.
    let origin = Origin::script(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        conn.request().map(drop)
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    assert_eq!(client.get("/").text(), "ok");
    let mut stream = client.start(request(Method::PUT, "/", &[]), false);
    stream.send.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(client.answer(stream).unwrap().text(), "ok");
}

#[test]
fn answers_of_every_framing() {
    let large = "y".repeat(2_000_000);
    let body = large.clone();
    let origin = Origin::answering(move |asked| match asked.target() {
        "/chunked" => Reply::ok(&body).chunked(),
        "/close" => Reply::ok("until the end").closing(),
        "/204" => Reply::status(204),
        "/304" => Reply::status(304).field("ETag", "\"x\""),
        "/empty" => Reply::ok(""),
        _ => Reply::ok(&body),
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    assert!(client.get("/").text() == large);
    assert!(client.get("/chunked").text() == large);
    assert_eq!(client.get("/close").text(), "until the end");
    assert_eq!(client.get("/empty").text(), "");
    for status in [204, 304] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.body.len()), (status, 0));
    }
    let answer = client.ask(request(Method::HEAD, "/", &[]), b"");
    assert_eq!((answer.status(), answer.field("content-length"), answer.body.len()), (200, "2000000", 0));
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::script(|conn| {
        let Some(_) = conn.request_head()? else { return Ok(()) };
        let body = conn.wire.take_until(b"0\r\n")?.unwrap_or_default();
        let trailers = conn.wire.take_until(b"\r\n\r\n")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&trailers).trim().replace("\r\n", "|");
        assert!(!body.is_empty());
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Trailers: {text}\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n"
        ))
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let mut stream = client.start(request(Method::POST, "/", &[("te", "trailers")]), false);
    client.say(&mut stream, b"hello", false);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-check", "5".parse().unwrap());
    trailers.insert("content-length", "5".parse().unwrap());
    stream.send.send_trailers(trailers).unwrap();
    let answer = client.answer(stream).unwrap();
    assert_eq!(answer.field("x-trailers"), "x-check: 5", "what belongs in a head stays out of trailers");
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum").unwrap().as_bytes()), ("abc", &b"6"[..]));
}

#[test]
fn interim_answers_and_100_continue() {
    let origin = Origin::script(|conn| {
        while let Some(mut asked) = conn.request_head()? {
            if asked.field("expect").is_some() {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            asked.read_body(&mut conn.wire, Role::Request)?;
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", asked.body.len()))?;
            conn.send(&asked.body)?;
        }
        Ok(())
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let answer = client.get("/");
    assert_eq!((answer.interim.as_slice(), answer.status()), (&[103][..], 200));
    let expecting = request(Method::POST, "/", &[("expect", "100-continue"), ("content-length", "5")]);
    let answer = client.ask(expecting, b"hello");
    assert_eq!((answer.interim.as_slice(), answer.text().as_str()), (&[100, 103][..], "hello"));
}

#[test]
fn what_is_answered_here() {
    let origin = Origin::named("s1");
    let site = clear(
        Site::of(&[&origin])
            .frontend("response_headers: [ { set: { X-Rule: applied } } ]")
            .frontend("routes:\n  - { path: /gone/, respond: { status: 410, body: \"gone\" } }\n  - { path: /old/, redirect: { to: https://b.test } }\n  - { path: /ok/, backend: web }")
            .frontend("stats: { path: /stats }"),
    );
    let mut client = H2Client::connect(site.address);
    let answer = client.get("/gone/");
    assert_eq!((answer.status(), answer.text().as_str(), answer.field("x-rule")), (410, "gone", "applied"));
    let answer = client.get("/old/x?y");
    assert_eq!((answer.status(), answer.field("location")), (301, "https://b.test/old/x?y"));
    assert_eq!(client.get("/nowhere").status(), 404);
    assert_eq!(client.get("/ok/").status(), 200);
    let answer = client.get("/stats;csv");
    assert!(answer.text().starts_with("# pxname,svname"), "{}", answer.text());
    let answer = client.ask(request(Method::HEAD, "/gone/", &[]), b"");
    assert_eq!((answer.status(), answer.field("content-length"), answer.body.len()), (410, "4", 0));
}

#[test]
fn bad_requests_are_told_and_counted() {
    let origin = Origin::named("s1");
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    assert_eq!(client.ask(request(Method::GET, "/", &[("host", "other.test")]), b"").status(), 400);
    assert_eq!(client.ask(request(Method::GET, "/%00", &[]), b"").status(), 400);
    assert_eq!(client.ask(request(Method::GET, &format!("/{}", "x".repeat(9000)), &[]), b"").status(), 414);
    let connect = http::Request::builder().method(Method::CONNECT).uri("www.example.test:443");
    assert_eq!(client.ask(connect.body(()).unwrap(), b"").status(), 405);
    assert_eq!(client.get("/").text(), "s1", "the others go on");
    let line = site.logs.line_with(" 405 ");
    assert!(line.contains("<BADREQ>") && line.contains(" PR-- "), "{line}");
    assert_eq!(site.stat("fe", "FRONTEND").number("ereq"), 4);
    assert_eq!(origin.requests().len(), 1);
    let sessions = site.admin("show sess all");
    assert!(sessions.contains("mux=H2") && sessions.contains("glitches=4"), "{sessions}");
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_an_error_of_its_stream() {
    let origin = Origin::named("s1");
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    for body in [&b"four"[..], b"sixsix"] {
        let mut stream = client.start(request(Method::POST, "/", &[("content-length", "5")]), false);
        client.say(&mut stream, body, true);
        let error = client.answer(stream).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{}", body.len());
    }
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn an_answer_cut_short_is_seen_as_such() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf");
    let origin = Origin::script(move |conn| {
        let _ = &origin;
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let stream = client.start(get("/cut"), true);
    assert_eq!(client.answer(stream).unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(site.logs.row_where("the cut", |row| row.target().ends_with("/cut")).termination, "SD--");
    assert!(client.is_open());
}

#[test]
fn a_request_called_off_leaves_its_server_at_once() {
    let (asked, was_asked) = mpsc::channel();
    let origin = Origin::script(move |conn| {
        while conn.request()?.is_some() {
            let _ = asked.send(());
            conn.stall()?;
        }
        Ok(())
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let mut stream = client.start(get("/slow"), true);
    client.wait("the request", async {
        while was_asked.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    stream.send.send_reset(Reason::CANCEL);
    drop(stream);
    client.is_open();
    until("the server to be left", || origin.open_connections() == 0);
    let row = site.logs.row_where("the end", |row| row.target().ends_with("/slow"));
    assert_eq!(row.termination, "CD--");
    assert!(client.is_open());
}

#[test]
fn a_slow_client_holds_back_the_server() {
    let (said, sent) = mpsc::channel();
    let origin = Origin::script(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        let piece = vec![b'z'; 100_000];
        for _ in 0..1000 {
            conn.send(&piece)?;
            let _ = said.send(());
        }
        Ok(())
    });
    let site = clear(Site::of(&[&origin]));
    let before = site.memory_kib("VmRSS");
    let mut client = H2Client::connect(site.address);
    let mut stream = client.start(get("/large"), true);
    let (_, mut body) = client.head(&mut stream).unwrap().into_parts();
    // The window is 64 KiB and is not opened: what the server can say ends with what sockets and our buffers hold.
    let mut pieces = 0;
    while sent.recv_timeout(Duration::from_millis(500)).is_ok() {
        pieces += 1;
    }
    assert!(pieces < 400, "{pieces} pieces of 100 kB went out though nobody took them");
    assert!(site.memory_kib("VmRSS") < before + 4096, "they did not go into our memory");
    let total = client.wait("all of it", async {
        let mut total = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            total += piece.len();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        total
    });
    assert_eq!(total, 100_000_000);
}

#[test]
fn a_slow_server_holds_back_the_client() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::script(move |conn| {
        let Some(mut asked) = conn.request_head()? else { return Ok(()) };
        let _ = gone.lock().unwrap().recv();
        asked.read_body(&mut conn.wire, Role::Request)?;
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Got: {}\r\n\r\n", asked.body.len()))
    });
    let site = clear(Site::of(&[&origin]));
    let before = site.memory_kib("VmRSS");
    let mut client = H2Client::connect(site.address);
    let mut stream = client.start(request(Method::POST, "/", &[]), false);
    let body = vec![b'x'; 64_000_000];
    let mut sent = 0;
    let stuck = client.wait("the windows to shut", async {
        loop {
            stream.send.reserve_capacity(100_000);
            let room = std::future::poll_fn(|cx| stream.send.poll_capacity(cx));
            match tokio::time::timeout(Duration::from_millis(500), room).await {
                Err(_) => return sent,
                Ok(room) => {
                    let n = room.unwrap().unwrap();
                    stream.send.send_data(body[..n].to_vec().into(), false).unwrap();
                    sent += n;
                }
            }
        }
    });
    assert!(stuck < 20_000_000, "{stuck} bytes were taken though the server took none");
    assert!(site.memory_kib("VmRSS") < before + 4096, "they did not go into our memory");
    go.send(()).unwrap();
    client.say(&mut stream, &body[..1_000_000], true);
    assert_eq!(client.answer(stream).unwrap().field("x-got"), (stuck + 1_000_000).to_string());
}

#[test]
fn retries_and_queues_are_those_of_http1() {
    let dead = Origin::named("dead");
    dead.stop();
    let origin = Origin::named("s2");
    let site = clear(Site::of(&[&dead, &origin]).backend("balance: roundrobin"));
    let mut client = H2Client::connect(site.address);
    let streams: Vec<_> = (0..10).map(|_| client.start(get("/"), true)).collect();
    for stream in streams {
        assert_eq!(client.answer(stream).unwrap().text(), "s2");
    }
    assert_eq!(site.stat("web", "BACKEND").number("wredis"), 5);

    let origin = Origin::answering(|_| Reply::ok("late").after(Duration::from_millis(50)));
    let site = clear(Site::new().server(origin.addr(), "maxconn: 1"));
    let mut client = H2Client::connect(site.address);
    let streams: Vec<_> = (0..5).map(|_| client.start(get("/"), true)).collect();
    for stream in streams {
        assert_eq!(client.answer(stream).unwrap().text(), "late");
    }
    assert_eq!(site.stat("web", "BACKEND").number("qmax"), 4);
    assert_eq!(site.stat("web", "s1").number("smax"), 1);
}

#[test]
fn over_tls_by_alpn() {
    let curl = tools::need("curl", "curl");
    let authority = Authority::new();
    let origin = Origin::answering(|asked: &Message| Reply::ok(asked.field("x-forwarded-proto").unwrap_or("-")));
    let site = Site::of(&[&origin]);
    let root = authority.write_root(&site.path("root.pem"));
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let bind = format!("bind: [ {{ address: \"{}\", tls: {{ certificates: {} }} }} ]", site.address(), file.display());
    let site = site.frontend(bind).start();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(&curl);
        command.args(["-sS", "-w", " %{http_version} %{http_code}", "--cacert"]).arg(&root);
        command.args(["--resolve", &format!("a.test:{}:127.0.0.1", site.address.port())]).args(arguments);
        command.arg(format!("https://a.test:{}/x", site.address.port()));
        tools::text(&tools::run(&mut command, ""))
    };
    assert_eq!(ask(&["--http2"]), "https 2 200");
    assert_eq!(ask(&["--http1.1"]), "https 1.1 200");
    assert_eq!(ask(&["--no-alpn", "--http1.1"]), "https 1.1 200");
    let line = site.logs.line_with("HTTP/2.0");
    let port = site.address.port();
    assert!(line.contains(" fe~ ") && line.contains(&format!("\"GET https://a.test:{port}/x HTTP/2.0\"")), "{line}");
    let row = site.stat("fe", "FRONTEND");
    assert_eq!((row.number("h2sess"), row.number("h1sess")), (1, 2));
}

#[test]
fn curl_uploads_and_downloads() {
    let curl = tools::need("curl", "curl");
    let origin = Origin::answering(|asked: &Message| Reply::ok(&asked.body));
    let site = Site::of(&[&origin]);
    let path = site.path("body");
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::File::create(&path).unwrap().write_all(&body).unwrap();
    let site = clear(site);
    let mut command = Command::new(curl);
    command.args(["-sS", "--http2-prior-knowledge", "-T"]).arg(&path).arg(format!("http://{}/", site.address));
    let output = tools::run(&mut command, "");
    assert!(output.stdout == body, "{} of {} bytes came back", output.stdout.len(), body.len());
}

#[test]
fn http1_on_a_socket_for_http2_is_told_so() {
    let origin = Origin::named("s1");
    let site = clear(Site::of(&[&origin]));
    let answer = site.get("/");
    assert_eq!(answer.status(), 505);
    let line = site.logs.line_with(" 505 ");
    assert!(line.contains("<BADREQ>"), "{line}");
    // What is neither gets the answer of HTTP/2.
    let mut client = FrameClient { raw: site.client() };
    client.raw.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert_eq!(client.goaway(), 1);
}

#[test]
fn a_socket_for_both_tells_them_apart() {
    let origin = Origin::named("s1");
    let site = clear_with(Site::of(&[&origin]), "auto");
    assert_eq!(site.get("/one").text(), "s1");
    assert_eq!(H2Client::connect(site.address).get("/two").text(), "s1");
    // A preface in small pieces, and a method that begins like one.
    let mut slow = FrameClient { raw: site.client() };
    for piece in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".chunks(5) {
        slow.raw.send(piece);
        std::thread::yield_now();
    }
    slow.send(4, 0, 0, b"");
    slow.send(1, 5, 1, &FrameClient::get("/three"));
    while let Some((kind, ..)) = slow.next() {
        if kind == 0 {
            break;
        }
    }
    assert!(site.ask("PRINT / HTTP/1.1\r\nHost: a\r\n\r\n").status() == 200);
    let row = site.stat("fe", "FRONTEND");
    assert_eq!((row.number("h2sess"), row.number("h1sess"), row.number("sess_other")), (2, 2, 0));
}

#[test]
fn show_sess_has_a_row_for_each_request() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::script(move |conn| {
        conn.request()?;
        let _ = gone.lock().unwrap().recv();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    });
    let site = clear(Site::of(&[&origin]));
    let mut client = H2Client::connect(site.address);
    let streams: Vec<_> = (0..3).map(|n| client.start(get(&format!("/wait{n}")), true)).collect();
    client.is_open();
    until("three requests at the server", || {
        client.is_open();
        site.stat("web", "s1").number("scur") == 3
    });
    let rows: Vec<String> = site.admin("show sess").lines().map(str::to_owned).collect();
    assert_eq!(rows.iter().filter(|row| row.contains("be=web")).count(), 3, "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row.starts_with("0x")).count(), 3, "{rows:?}");
    // One of them is ended by hand, the others go on.
    let id = rows[0].split(':').next().unwrap();
    site.order(&format!("shutdown session {id}"));
    let mut statuses = Vec::new();
    // One for the ended request's thread too, whichever of them hears it.
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    for stream in streams {
        statuses.push(client.answer(stream).unwrap().status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502]);
}

#[test]
fn stopping_lets_what_runs_finish_and_says_goodbye() {
    let origin = Origin::answering(|_| Reply::ok("done").after(Duration::from_millis(300)));
    let mut site = clear(Site::of(&[&origin]));
    let mut idle = H2Client::connect(site.address);
    assert_eq!(idle.get("/").status(), 200);
    let mut client = H2Client::connect(site.address);
    let stream = client.start(get("/late"), true);
    client.is_open();
    until("the request at the server", || {
        client.is_open();
        site.stat("web", "s1").number("scur") == 1
    });
    site.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(client.answer(stream).unwrap().text(), "done");
    assert_eq!(client.ended(), None, "a GOAWAY without a complaint");
    assert_eq!(idle.ended(), None);
    assert!(site.wait_exit().success());
}
