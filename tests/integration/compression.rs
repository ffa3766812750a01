//! Compression of answers: whoever asks for it gets the same bytes in fewer, at the time they would have come.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::client::RawClient;
use crate::support::gate::Gate;
use crate::support::h2::{H2Client, request};
use crate::support::h2_origin::H2Origin;
use crate::support::message::{Message, Role};
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::{tools, until};

const ON: &str = "compression: { min_bytes: 0B }";

/// Text that compresses about as pages do.
fn page(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    let words = ["<td class=\"n\">", "</td>\n", "lorem", " ipsum", " 42", "&nbsp;", " dolor sit", "é"];
    let mut out = Vec::with_capacity(length + 32);
    while out.len() < length {
        out.extend_from_slice(words[random.usize(..words.len())].as_bytes());
    }
    out.truncate(length);
    out
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(11);
    (0..length).map(|_| random.u8(..)).collect()
}

/// What can be decoded of it, and whether that was all: a body that was cut off decodes to its beginning.
fn decode(coding: &str, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        other => panic!("no decoder of {other:?}"),
    };
    let (mut out, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return (out, true),
            Ok(n) => out.extend_from_slice(&piece[..n]),
            Err(_) => return (out, false),
        }
    }
}

#[track_caller]
fn decoded(answer: &Message) -> Vec<u8> {
    let coding = answer.field("content-encoding").unwrap_or_else(|| panic!("not compressed: {:?}", answer.fields));
    let (body, whole) = decode(coding, &answer.body);
    assert!(answer.whole && whole, "{coding} is cut short: {:?}", answer.fields);
    body
}

fn get(client: &mut RawClient, target: &str, more: &str) -> Message {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"))
}

/// Answers with a page of the length in the path, framed as the path says: `/chunked/1000`.
fn pages() -> Origin {
    Origin::script(|conn| {
        while let Some(request) = conn.request()? {
            let (framing, length) = request.target()[1..].split_once('/').unwrap_or(("length", "5000"));
            let body = page(length.parse().unwrap_or(5000));
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n";
            match framing {
                "chunked" => {
                    conn.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"))?;
                    for piece in body.chunks(7777) {
                        conn.send(format!("{:x}\r\n", piece.len()))?;
                        conn.send(piece)?;
                        conn.send("\r\n")?;
                    }
                    conn.send("0\r\nX-Sum: 42\r\n\r\n")?;
                }
                "close" => {
                    conn.send(format!("{head}Connection: close\r\n\r\n"))?;
                    conn.send(&body)?;
                    return Ok(());
                }
                _ => {
                    conn.send(format!("{head}Content-Length: {}\r\n\r\n", body.len()))?;
                    conn.send(&body)?;
                }
            }
        }
        Ok(())
    })
}

fn site_of(origin: &Origin, compression: &str) -> Running {
    Site::of(&[origin]).frontend(compression).start()
}

#[test]
fn every_coding_framing_and_size_comes_back() {
    let origin = pages();
    let site = site_of(&origin, ON);
    for coding in ["gzip", "br", "zstd"] {
        let mut client = site.client();
        for framing in ["length", "chunked", "close"] {
            for length in [0usize, 1, 100, 16 * 1024, 65_537, 5 << 20] {
                let what = format!("{coding}, {framing}, {length}");
                let answer =
                    get(&mut client, &format!("/{framing}/{length}"), &format!("Accept-Encoding: {coding}\r\n"));
                if framing == "length" && length == 0 {
                    assert_eq!((answer.field("content-encoding"), answer.body.len()), (None, 0), "{what}");
                    continue;
                }
                assert!(decoded(&answer) == page(length), "{what}");
                assert!(length < 1000 || answer.body.len() * 2 < length, "{what}: {} bytes", answer.body.len());
                assert_eq!(answer.field("content-encoding"), Some(coding), "{what}");
                assert_eq!(answer.field("transfer-encoding"), Some("chunked"), "{what}");
                assert_eq!(answer.field("content-length"), None, "{what}");
                assert_eq!(answer.field("etag"), Some("W/\"v1\""), "{what}");
                assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{what}");
                assert_eq!(answer.field("accept-ranges"), None, "{what}");
                let sum = if framing == "chunked" { vec![("X-Sum".to_owned(), "42".to_owned())] } else { Vec::new() };
                assert_eq!(answer.trailers, sum, "{what}");
            }
        }
    }
}

#[test]
fn answers_of_http2_servers_are_compressed_too() {
    let origin = H2Origin::answering(|call| async move {
        let length = call.request.uri().path().rsplit('/').next().unwrap().parse().unwrap();
        let text = String::from_utf8_lossy(&page(length)).into_owned();
        call.answer(200, &[("content-type", "text/html")], &text);
    });
    let site = Site::new().server(origin.addr(), "proto: h2").frontend(ON).start();
    let mut client = site.client();
    for coding in ["gzip", "br", "zstd"] {
        for target in ["/1000", "/40000", "/3000000"] {
            let answer = get(&mut client, target, &format!("Accept-Encoding: {coding}\r\n"));
            let length = target.rsplit('/').next().unwrap().parse().unwrap();
            assert!(decoded(&answer) == String::from_utf8_lossy(&page(length)).as_bytes(), "{coding} {target}");
            assert_eq!(answer.field("content-encoding"), Some(coding), "{target}");
        }
    }
    assert_eq!(site.stat("web", "BACKEND").number("comp_rsp"), 9);
    let plain = get(&mut client, "/3000", "");
    assert_eq!(
        (plain.field("content-encoding"), plain.text()),
        (None, String::from_utf8_lossy(&page(3000)).into_owned())
    );
}

#[test]
fn an_empty_answer_is_not_said_to_be_compressed() {
    let origin = H2Origin::answering(|mut call| async move {
        let head = crate::support::h2_origin::head(200, &[("content-type", "text/html")]);
        let _ = call.respond.send_response(head, true);
    });
    let site = Site::new().server(origin.addr(), "proto: h2");
    let bind = format!("bind: [ {{ address: \"{}\", proto: h2 }} ]", site.address());
    let site = site.frontend(bind).frontend(ON).start();
    let mut client = H2Client::connect(site.address);
    let asked = request(http::Method::GET, "/", &[("accept-encoding", "gzip")]);
    let answer = client.ask(asked, b"");
    assert_eq!((answer.head.headers().get("content-encoding"), answer.body.len()), (None, 0));
}

/// A site that speaks both versions on one port without TLS.
fn both_versions(origin: &Origin) -> Running {
    let site = Site::of(&[origin]);
    let bind = format!("bind: [ {{ address: \"{}\", proto: auto }} ]", site.address());
    site.frontend(bind).frontend(ON).start()
}

#[test]
fn curl_reads_each_of_them_over_either_version() {
    let origin = pages();
    let site = both_versions(&origin);
    let curl = tools::need("curl", "curl");
    let wishes = [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("deflate, gzip, br, zstd", "zstd")];
    for (accept, coding) in wishes {
        for target in ["length/300000", "chunked/300000", "close/300000", "length/1"] {
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                let headers = site.config().with_extension("headers");
                let mut command = Command::new(&curl);
                command.args([
                    "-sS",
                    "--fail",
                    "--compressed",
                    version,
                    "-H",
                    &format!("Accept-Encoding: {accept}"),
                    "-D",
                ]);
                command.arg(&headers).arg(format!("http://{}/{target}", site.address));
                let output = command.output().unwrap();
                let what = format!("{version} {coding} {target}");
                assert!(output.status.success(), "{what}: {}", tools::text(&output));
                let length = target.split_once('/').unwrap().1.parse().unwrap();
                assert!(output.stdout == page(length), "{what}");
                let headers = std::fs::read_to_string(&headers).unwrap().to_ascii_lowercase();
                assert!(headers.contains(&format!("content-encoding: {coding}\r\n")), "{headers}");
                assert!(headers.contains("etag: w/\"v1\"\r\n"), "{headers}");
                assert!(!headers.contains("content-length"), "{headers}");
            }
        }
    }
    assert_eq!(site.stat("fe", "FRONTEND").number("comp_rsp"), 32);
}

#[test]
fn events_arrive_over_http2_when_they_happen() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for n in 0..3 {
            conn.send(format!("9\r\ndata: {n}\n\n\r\n"))?;
            held.pass();
        }
        conn.send("0\r\n\r\n")
    });
    let site = both_versions(&origin);
    let mut command = Command::new(tools::need("curl", "curl"));
    command.args(["-sSN", "--fail", "--compressed", "--http2-prior-knowledge"]);
    command.arg(format!("http://{}/", site.address)).stdout(Stdio::piped());
    let mut curl = tools::Running::start(&mut command);
    let mut events = curl.child().stdout.take().unwrap();
    for n in 0..3 {
        let mut event = [0; 9];
        events.read_exact(&mut event).unwrap();
        assert_eq!(event, format!("data: {n}\n\n").as_bytes());
        gate.open(1);
    }
    assert!(curl.finish().success());
}

#[test]
fn who_does_not_ask_gets_the_servers_bytes() {
    let origin = pages();
    let site = site_of(&origin, ON);
    let mut client = site.client();
    for accept in [
        "",
        "Accept-Encoding: deflate\r\n",
        "Accept-Encoding: gzip;q=0\r\n",
        "Cache-Control: no-transform\r\n\
                    Accept-Encoding: gzip\r\n",
    ] {
        let answer = get(&mut client, "/length/5000", accept);
        assert!(answer.body == page(5000), "{accept:?}");
        assert_eq!(answer.field("content-encoding"), None, "{accept:?}");
        assert_eq!(answer.field("content-length"), Some("5000"), "{accept:?}");
        assert_eq!(answer.field("etag"), Some("\"v1\""), "{accept:?}");
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "another client would get it compressed");
    }
    let answer = site.ask("GET /chunked/5000 HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(answer.body == page(5000), "HTTP/1.0 knows no chunks");
    assert_eq!(answer.field("content-encoding"), None);

    let row = site.stat("fe", "FRONTEND");
    assert_eq!(["comp_in", "comp_out", "comp_byp", "comp_rsp"].map(|c| row.number(c)), [0; 4]);
}

#[test]
fn answers_that_are_not_fit_pass_untouched() {
    let body = "text ".repeat(600);
    let text = body.clone();
    let origin = Origin::answering(move |request| {
        let reply = Reply::ok(&text).field("ETag", "\"v1\"");
        let html = |reply: Reply| reply.field("Content-Type", "text/html");
        match request.target() {
            "/png" => reply.field("Content-Type", "image/png"),
            "/untyped" => reply,
            "/small" => html(Reply::ok("tiny").field("ETag", "\"v1\"")),
            "/encoded" => html(reply).field("Content-Encoding", "br"),
            "/fixed" => html(reply).field("Cache-Control", "public, no-transform"),
            "/summed" => html(reply).field("Content-Digest", "sha-256=:AAAA:"),
            "/part" => html(Reply::status(206)).field("Content-Range", "bytes 0-0/9").field("ETag", "\"v1\""),
            "/gone" => html(Reply::status(404)).field("ETag", "\"v1\""),
            other => panic!("{other}"),
        }
    });
    let site = site_of(&origin, "compression: { min_bytes: 1KiB }");
    let mut client = site.client();
    for target in ["/png", "/untyped", "/small", "/encoded", "/fixed", "/summed", "/part", "/gone"] {
        let answer = get(&mut client, target, "Accept-Encoding: gzip, br, zstd\r\n");
        let encoded = (target == "/encoded").then_some("br");
        assert_eq!(answer.field("content-encoding"), encoded, "{target}");
        assert_eq!((answer.field("etag"), answer.field("vary")), (Some("\"v1\""), None), "{target}");
        assert!(answer.field("content-length").is_some(), "{target}");
        if !["/small", "/part", "/gone"].contains(&target) {
            assert!(answer.text() == body, "{target}");
        }
    }
}

#[test]
fn a_head_looks_like_the_get() {
    let origin = Origin::answering(|request| match request.target() {
        "/304" => Reply::status(304).field("ETag", "\"v1\""),
        _ => Reply::ok("text ".repeat(1000)).field("Content-Type", "text/plain").field("ETag", "\"v1\""),
    });
    let site = site_of(&origin, ON);
    let mut client = site.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head_answer();
    assert_eq!(head.field("content-encoding"), Some("gzip"));
    assert_eq!((head.field("etag"), head.field("content-length")), (Some("W/\"v1\""), None));
    // The connection goes on in step, and a revalidation knows the tag the client was given.
    client.send("GET /304 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nIf-None-Match: W/\"v1\"\r\n\r\n");
    let revalidated = client.next_answer(Role::Answer);
    assert_eq!((revalidated.status(), revalidated.field("etag")), (304, Some("W/\"v1\"")));
    assert!(decoded(&get(&mut client, "/", "Accept-Encoding: gzip\r\n")) == "text ".repeat(1000).into_bytes());
}

#[test]
fn the_narrowest_place_decides_and_offload_hides_the_wish() {
    let origin = Origin::answering(|_| Reply::ok("text ".repeat(1000)).field("Content-Type", "text/plain"));
    let site = Site::of(&[&origin])
        .frontend("compression: { algorithms: gzip, offload: true }")
        .frontend(
            "routes:\n  - { path: /off/, backend: web, compression: off }\n  - { path: /br/, backend: web, \
                   compression: { algorithms: [br], levels: { br: 1 } } }\n  - { path: /plain/, backend: plain }\n  \
                   - { backend: web }",
        )
        .more(
            "backends",
            format!("plain:\n  health_check: off\n  compression: off\n  servers: {{ s: \"{}\" }}", origin.addr()),
        )
        .start();
    let mut client = site.client();
    for (target, coding) in [("/", Some("gzip")), ("/off/", None), ("/br/", Some("br")), ("/plain/", None)] {
        let answer = get(&mut client, target, "Accept-Encoding: gzip, br\r\n");
        assert_eq!(answer.field("content-encoding"), coding, "{target}");
    }
    let told: Vec<_> = origin.requests().iter().map(|r| r.field("accept-encoding").map(str::to_owned)).collect();
    let all = Some("gzip, br".to_owned());
    assert_eq!(told, [None, all.clone(), all.clone(), all], "only the frontend's hides it");
}

#[test]
fn response_rules_come_first() {
    let origin = Origin::answering(|_| Reply::ok("x".repeat(5000)).field("Content-Type", "application/octet-stream"));
    let site = Site::of(&[&origin])
        .frontend(ON)
        .frontend(
            "response_headers:\n  - set: { Content-Type: text/plain, Vary: Origin }\nroutes:\n  - { path: /fixed, \
             backend: web, response_headers: [ { set: { Cache-Control: no-transform } } ] }\n  - { backend: web }",
        )
        .start();
    let mut client = site.client();
    let answer = get(&mut client, "/", "Accept-Encoding: gzip\r\n");
    assert_eq!(decoded(&answer).len(), 5000);
    assert_eq!(answer.field("vary"), Some("Origin, Accept-Encoding"));
    let answer = get(&mut client, "/fixed", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, Some("Origin")));
}

#[test]
fn events_arrive_when_they_happen() {
    for coding in ["gzip", "br", "zstd"] {
        for framing in ["Transfer-Encoding: chunked", "Connection: close"] {
            let gate = Gate::new();
            let held = gate.clone();
            let chunked = framing.starts_with('T');
            let origin = Origin::script(move |conn| {
                conn.request()?;
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n"))?;
                for n in 0..5 {
                    let event = format!("data: {n}\n\n");
                    if chunked {
                        conn.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
                    } else {
                        conn.send(event)?;
                    }
                    held.pass();
                }
                if chunked { conn.send("0\r\n\r\n") } else { Ok(()) }
            });
            let site = site_of(&origin, ON);
            let mut client = site.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
            assert_eq!(client.head().field("content-encoding"), Some(coding));
            let (mut body, mut expected) = (Vec::new(), String::new());
            for n in 0..5 {
                expected.push_str(&format!("data: {n}\n\n"));
                // The server says nothing more until this one was seen.
                while decode(coding, &body).0 != expected.as_bytes() {
                    body.extend(chunk(&mut client).expect("a chunk"));
                }
                gate.open(1);
            }
            while let Some(more) = chunk(&mut client) {
                body.extend(more);
            }
            assert_eq!(decode(coding, &body), (expected.into_bytes(), true), "{coding} {framing}");
        }
    }
}

/// The next chunk's bytes; `None` for the last one.
fn chunk(client: &mut RawClient) -> Option<Vec<u8>> {
    let line = client.wire.take_until(b"\r\n").unwrap().expect("a chunk's size");
    let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
    let mut bytes = client.wire.take(size + 2).unwrap();
    bytes.truncate(size);
    (size > 0).then_some(bytes)
}

#[test]
fn a_slow_client_holds_back_its_server_and_nobody_else() {
    let origin = Origin::script(|conn| {
        while let Some(request) = conn.request()? {
            let length = if request.target() == "/large" { 60 << 20 } else { 2000 };
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"))?;
            let piece = noise(1 << 20);
            let mut left = length;
            while left > 0 {
                let n = left.min(piece.len());
                conn.send(&piece[..n])?;
                left -= n;
            }
        }
        Ok(())
    });
    let site = site_of(&origin, ON);
    let mut slow = RawClient::connect_narrow(site.address);
    slow.send("GET /large HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(slow.head().field("content-encoding"), Some("gzip"));
    let mut quick = site.client();
    for _ in 0..50 {
        assert_eq!(decoded(&get(&mut quick, "/small", "Accept-Encoding: zstd\r\n")).len(), 2000);
    }
    let taken = site.stat("fe", "FRONTEND").number("comp_in");
    assert!(taken < 20 << 20, "{taken} bytes were read for a client that takes none");
    slow.wire.read_patience(crate::support::PATIENCE);
    let mut seen = 0;
    while seen < 200_000 {
        seen += chunk(&mut slow).expect("more of the body").len();
    }
}

#[test]
fn a_broken_server_is_seen_as_one() {
    let origin = Origin::script(|conn| {
        let Some(request) = conn.request()? else { return Ok(()) };
        let framing = match request.target() {
            "/length" => "Content-Length: 100000",
            _ => "Transfer-Encoding: chunked",
        };
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}\r\n\r\n"))?;
        match request.target() {
            "/length" => conn.send("some of it"),
            "/chunks" => conn.send("a\r\nsome of it\r\n"),
            _ => conn.send("a\r\nsome of it\r\nnonsense\r\n"),
        }
    });
    let site = site_of(&origin, ON);
    for target in ["/length", "/chunks", "/nonsense"] {
        let mut client = site.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"));
        match Message::read_head(&mut client.wire).unwrap() {
            // Nothing of it was sent before it turned out bad: the client is told.
            Some(head) if head.status() == 502 => assert_eq!(target, "/nonsense"),
            Some(mut answer) => {
                answer.read_body(&mut client.wire, Role::Answer).unwrap();
                assert!(!answer.whole, "{target} looks whole: {answer:?}");
            }
            None => panic!("{target}: no answer"),
        }
    }
    assert_eq!(site.stat("fe", "FRONTEND").number("comp_rsp"), 0);
    // What those left behind does no harm to the next.
    let fine = Origin::answering(|_| Reply::ok("fine").field("Content-Type", "text/plain"));
    assert_eq!(decoded(&get(&mut site_of(&fine, ON).client(), "/", "Accept-Encoding: gzip\r\n")), b"fine");
}

#[test]
fn it_is_counted_where_haproxy_counts_it() {
    let origin = pages();
    let site = site_of(&origin, ON);
    let mut client = site.client();
    let mut sent = 0;
    for coding in ["gzip", "br", "zstd"] {
        sent += get(&mut client, "/length/100000", &format!("Accept-Encoding: {coding}\r\n")).body.len() as i64;
    }
    for (proxy, name) in [("fe", "FRONTEND"), ("web", "BACKEND")] {
        let row = site.stat(proxy, name);
        let counts = ["comp_in", "comp_out", "comp_byp", "comp_rsp"].map(|column| row.number(column));
        assert_eq!(counts, [300_000, sent, 0, 3], "{proxy}");
    }
    assert!(site.stat("fe", "FRONTEND").number("bout") < 100_000, "bytes as sent");
    let memory: u64 = site.info("ZlibMemUsage").parse().unwrap();
    assert!(memory > 0 && memory < 8 << 20, "{memory} bytes wait for reuse");
    assert_eq!(site.info("MaxZlibMemUsage"), (256 << 20).to_string());
}

#[test]
fn limits_let_answers_pass_as_they_are() {
    let origin = pages();
    let site = Site::of(&[&origin]).frontend(ON).global("compression", "{ max_rate: 1KiB, memory: 8MiB }").start();
    assert_eq!(site.info("CompressBpsRateLim"), "1024");
    let mut client = site.client();
    let coded = |client: &mut RawClient| {
        let answer = get(client, "/length/200000", "Accept-Encoding: gzip\r\n");
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
        match answer.field("content-encoding") {
            Some(_) => assert!(decoded(&answer) == page(200_000)),
            None => assert!(answer.body == page(200_000) && answer.field("etag") == Some("\"v1\"")),
        }
        answer.field("content-encoding").is_some()
    };
    assert!(coded(&mut client), "the first is within the limit");
    assert!(!coded(&mut client), "the next is not");
    let row = site.stat("web", "BACKEND");
    assert_eq!((row.number("comp_byp"), row.number("comp_rsp")), (200_000, 1));

    site.order("set rate-limit http-compression global 0");
    assert!(coded(&mut client));
    site.order("set rate-limit http-compression global 1");
    until("the limit to hold", || !coded(&mut client));
}

#[test]
fn memory_of_encoders_is_bounded() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::script(move |conn| {
        while let Some(request) = conn.request()? {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")?;
            if request.target() == "/held" {
                held.pass();
            }
            conn.send("0\r\n\r\n")?;
        }
        Ok(())
    });
    let site = Site::of(&[&origin]).frontend(ON).global("compression", "{ memory: 8MiB }").start();
    let hold = |site: &Running| {
        let mut client = site.client();
        client.send("GET /held HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n");
        let coded = client.head().field("content-encoding").is_some();
        (client, coded)
    };
    let holding: Vec<_> = (0..8).map(|_| hold(&site)).collect();
    let coded = holding.iter().filter(|(_, coded)| *coded).count();
    assert!((1..8).contains(&coded), "{coded} of 8 were compressed");
    assert!(holding[0].1 && !holding[7].1, "first come, first served");
    let memory: u64 = site.info("ZlibMemUsage").parse().unwrap();
    assert!(memory <= 8 << 20, "{memory}");
    gate.open_for_good();
    until("encoders to be free again", || {
        get(&mut site.client(), "/", "Accept-Encoding: zstd\r\n").field("content-encoding").is_some()
    });
}

#[test]
fn tunnels_are_left_alone() {
    let origin = Origin::script(|conn| {
        conn.request_head()?;
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Type: text/plain\r\n\r\n")?;
        let bytes = conn.wire.take(5)?;
        conn.send(bytes)
    });
    let site = site_of(&origin, ON);
    let mut client = site.client();
    let answer = client
        .ask("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!((answer.status(), answer.field("content-encoding")), (101, None));
    client.send("hello");
    assert_eq!(client.wire.take(5).unwrap(), b"hello");
}
