//! HTTP/2 with the clients people use: curl, nghttp, h2load, httpx and Chromium, each against a frontend with one
//! bind in clear text and one with TLS.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::Value;

use crate::python;
use crate::support::certificates::{Authority, Key};
use crate::support::message::Role;
use crate::support::origin::{Origin, OriginConn, Reply};
use crate::support::site::{Running, Site};
use crate::support::webdriver::Browser;
use crate::support::{eventually, ports, tools, websocket};

/// A frontend for HTTP/2 and what clients need to know of it.
pub struct Door {
    pub site: Running,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    root: PathBuf,
}

impl Door {
    pub fn open(site: Site) -> Door {
        let authority = Authority::new();
        let file = authority.write(&site.path("a.pem"), &["a.test", "localhost", "127.0.0.1"], Key::Ecdsa);
        let root = authority.write_root(&site.path("root.pem"));
        let (plain, secure) = (site.address(), ports::address());
        let bind = format!(
            "bind:\n  - {{ address: \"{plain}\", proto: h2 }}\n  \
             - {{ address: \"{secure}\", tls: {{ certificates: [ {} ], alpn: [h2, http/1.1] }} }}",
            file.display()
        );
        Door { site: site.frontend(bind).start(), plain, secure, root }
    }

    pub fn root(&self) -> String {
        self.root.display().to_string()
    }

    /// curl on a path of `https://a.test`.
    fn curl(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new(tools::need("curl", "curl"));
        let port = self.secure.port();
        command.args(["-sS", "--http2", "--max-time", "20", "--cacert", &self.root()]);
        command.args(["--resolve", &format!("a.test:{port}:127.0.0.1")]).args(arguments);
        command.arg(format!("https://a.test:{port}{path}"));
        command
    }

    /// curl with prior knowledge.
    fn curl_plain(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = Command::new(tools::need("curl", "curl"));
        command.args(["-sS", "--http2-prior-knowledge", "--max-time", "20"]).args(arguments);
        command.arg(format!("http://{}{path}", self.plain));
        command
    }
}

/// A web server with something of everything.
fn web() -> Origin {
    Origin::script(|conn| {
        while let Some(head) = conn.request_head()? {
            if head.target() == "/ws" {
                conn.send(websocket::acceptance(&head, ""))?;
                while let Some(frame) = websocket::Frame::read(&mut conn.wire)? {
                    conn.send(frame.bare())?;
                    if frame.opcode == websocket::opcode::CLOSE {
                        break;
                    }
                }
                return websocket::end(conn);
            }
            if head.field("expect").is_some() {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let mut request = head.clone();
            request.read_body(&mut conn.wire, Role::Request)?;
            let path = head.target().split('?').next().unwrap_or_default();
            let reply = match path {
                "/echo" => Reply::ok(&request.body).field("X-Trailers", &format!("{:?}", request.trailers)),
                "/large" => Reply::ok(vec![b'x'; 8 << 20]),
                "/chunked" => Reply::ok(vec![b'y'; 300_000]).chunked(),
                "/cookies" => Reply::ok(head.all("cookie").join(" AND ")),
                "/empty" => Reply::status(204),
                "/missing" => Reply::status(404),
                "/site" => Reply::ok(PAGE).field("Content-Type", "text/html; charset=utf-8"),
                "/picture" => Reply::ok(PICTURE).field("Content-Type", "image/svg+xml"),
                "/hints" => {
                    conn.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")?;
                    Reply::ok("after the hints")
                }
                "/trailers" => {
                    conn.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
                    )?;
                    continue;
                }
                "/events" => {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    for n in 1..=3 {
                        let event = format!("id: {n}\ndata: event {n}\n\n");
                        conn.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
                    }
                    return conn.stall();
                }
                _ => Reply::ok("page"),
            };
            if !reply.say(conn, head.method() == "HEAD")? {
                return Ok(());
            }
        }
        Ok(())
    })
}

const PICTURE: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"><rect width=\"8\" height=\"8\"/></svg>";

/// Loads forty pictures, then tries an upload, events and a websocket; what came of it stands in `window.found`.
const PAGE: &str = r#"<!doctype html><title>site</title><link rel="icon" href="data:,"><body><script>
window.found = {};
let left = 40;
for (let n = 0; n < 40; n++) {
  const picture = new Image();
  picture.onload = () => { if (--left === 0) found.pictures = 40; };
  picture.src = "/picture?" + n;
  document.body.append(picture);
}
fetch("/echo", { method: "POST", body: "x".repeat(500000) }).then(a => a.text()).then(t => found.upload = t.length);
const events = new EventSource("/events");
events.onmessage = e => { if (e.data === "event 3") { found.events = e.lastEventId; events.close(); } };
window.onload = () => {
  const socket = new WebSocket("wss://" + location.host + "/ws");
  socket.onopen = () => socket.send("grüße".repeat(30000));
  socket.onmessage = m => { found.socket = m.data.length; socket.close(1000, "done"); };
  socket.onclose = c => { found.closed = c.code; found.clean = c.wasClean; };
};
</script>"#;

fn says(command: &mut Command) -> String {
    let output = tools::run(command, "");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, tools::text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let upload = door.site.dir.path().join("upload");
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&upload, &body).unwrap();
    let upload = format!("@{}", upload.display());
    type Curl = fn(&Door, &[&str], &str) -> Command;
    let ways: [Curl; 2] = [Door::curl, Door::curl_plain];
    for curl in ways {
        assert_eq!(says(&mut curl(&door, &["-w", " %{http_version} %{http_code}"], "/page")), "page 2 200");
        assert_eq!(says(&mut curl(&door, &["-w", "%{http_code}"], "/missing")), "404");
        assert_eq!(says(&mut curl(&door, &["-w", "%{http_code}"], "/empty")), "204");
        let head = says(&mut curl(&door, &["-I"], "/page"));
        assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: 4"), "{head}");
        assert_eq!(
            says(&mut curl(&door, &["-w", "%{size_download}", "-o", "/dev/null"], "/large")),
            (8 << 20).to_string()
        );
        assert_eq!(says(&mut curl(&door, &["-w", "%{size_download}", "-o", "/dev/null"], "/chunked")), "300000");
        let sent = tools::run(&mut curl(&door, &["--data-binary", &upload], "/echo"), "");
        assert!(sent.stdout == body, "an upload with its length: {} bytes", sent.stdout.len());
        let sent = tools::run(
            &mut curl(&door, &["-T", &upload[1..], "-X", "POST", "-H", "Expect: 100-continue"], "/echo"),
            "",
        );
        assert!(sent.stdout == body, "an upload that waits to be asked for");
        let sent = tools::run(&mut curl(&door, &["-T", "-", "-X", "POST"], "/echo"), "from a pipe, without a length");
        assert_eq!(String::from_utf8_lossy(&sent.stdout), "from a pipe, without a length");
        assert_eq!(says(&mut curl(&door, &["-H", "Cookie: a=1; b=2"], "/cookies")), "a=1; b=2");
        let shown = says(&mut curl(&door, &["-i"], "/trailers"));
        assert!(shown.contains("body") && shown.to_lowercase().contains("x-sum: 42"), "{shown}");
        let shown = says(&mut curl(&door, &["-i"], "/hints"));
        assert!(shown.starts_with("HTTP/2 103") && shown.contains("after the hints"), "{shown}");
    }
    // Many at once on one connection.
    let shown = says(&mut door.curl(&["-Z", "-w", "%{http_version} ", "-o", "/dev/null"], "/picture?[1-100]"));
    assert_eq!(shown.matches("2 ").count(), 100, "{shown}");
    door.site.logs.row_where("curl's", |row| {
        row.request == format!("GET https://a.test:{}/missing HTTP/2.0", door.secure.port())
    });
    // Who does not know HTTP/2 is served as ever.
    assert_eq!(says(&mut door.curl(&["--http1.1", "-w", " %{http_version}"], "/page")), "page 1.1");
}

#[test]
fn events_arrive_one_by_one() {
    let (say, heard): (Sender<()>, Receiver<()>) = channel();
    let heard = Mutex::new(heard);
    let origin = Origin::script(move |conn: &mut OriginConn| {
        if conn.request()?.is_none() {
            return Ok(());
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for n in 0..5 {
            // The next event is made when the last one has arrived.
            let event = format!("data: {n}\n\n");
            conn.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
            let _ = heard.lock().unwrap().recv();
        }
        conn.send("0\r\n\r\n")
    });
    let door = Door::open(Site::of(&[&origin]));
    let mut curl = tools::Running::start(door.curl(&["-N"], "/events").stdout(Stdio::piped()));
    let mut lines = BufReader::new(curl.child().stdout.take().unwrap()).lines();
    for n in 0..5 {
        assert_eq!(lines.next().unwrap().unwrap(), format!("data: {n}"));
        assert_eq!(lines.next().unwrap().unwrap(), "");
        say.send(()).unwrap();
    }
    assert!(lines.next().is_none());
    assert!(curl.finish().success());
}

#[test]
fn nghttp() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let upload = door.site.dir.path().join("upload");
    std::fs::write(&upload, "z".repeat(700_000)).unwrap();
    let program = tools::need("nghttp", "nghttp2-client");
    for base in [format!("http://{}", door.plain), format!("https://{}", door.secure)] {
        let nghttp = |arguments: &[&str], path: &str| {
            let mut command = Command::new(&program);
            command.args(["--timeout=20", "--no-verify-peer"]).args(arguments).arg(format!("{base}{path}"));
            says(&mut command)
        };
        assert_eq!(nghttp(&[], "/page"), "page");
        assert_eq!(nghttp(&["--no-dep"], "/page"), "page");
        let shown = nghttp(&["-v", "-n"], "/page");
        assert!(shown.contains(":status: 200") && !shown.contains("RST_STREAM"), "{shown}");
        assert_eq!(nghttp(&["-d", &upload.display().to_string()], "/echo").len(), 700_000);
        let shown = nghttp(
            &["-v", "--no-content-length", "-d", &upload.display().to_string(), "-n", "--trailer", "x-sum: 7"],
            "/echo",
        );
        assert!(shown.contains("x-trailers: [(\"x-sum\", \"7\")]"), "trailers reach the server: {shown}");
        let shown = nghttp(&["-v"], "/trailers");
        assert!(shown.contains("x-sum: 42"), "trailers reach the client: {shown}");
        // Padded frames, a small window, a hundred at once.
        assert_eq!(nghttp(&["-b", "100", "-w", "14"], "/large").len(), 8 << 20);
        assert_eq!(nghttp(&["-m", "100"], "/page"), "page".repeat(100));
    }
}

#[test]
fn h2load() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let program = tools::need("h2load", "nghttp2-client");
    for base in [format!("http://{}", door.plain), format!("https://{}", door.secure)] {
        for arguments in [&["-n", "2000", "-c", "5", "-m", "100"][..], &["-n", "500", "-c", "50", "-m", "1"]] {
            let mut command = Command::new(&program);
            let shown = says(command.args(arguments).arg(format!("{base}/page")));
            let total = arguments[1];
            assert!(shown.contains(&format!("{total} succeeded, 0 failed, 0 errored, 0 timeout")), "{shown}");
            assert!(shown.contains(&format!("status codes: {total} 2xx")), "{shown}");
        }
        let mut command = Command::new(&program);
        let upload = door.site.dir.path().join("upload");
        std::fs::write(&upload, "z".repeat(100_000)).unwrap();
        let shown =
            says(command.args(["-n", "200", "-c", "2", "-m", "20", "-d"]).arg(upload).arg(format!("{base}/echo")));
        assert!(shown.contains("200 succeeded, 0 failed"), "{shown}");
    }
}

#[test]
fn httpx() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let secure = format!("localhost:{}", door.secure.port());
    python::must_work("h2_httpx.py", &[&door.plain.to_string(), &secure, &door.root()]);
}

#[test]
fn a_websocket_of_pythons_libraries() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let port = door.secure.port().to_string();
    python::must_work("h2_websocket.py", &["127.0.0.1", &port, &door.root(), "a.test"]);
}

#[test]
fn chromium() {
    let origin = web();
    let door = Door::open(Site::of(&[&origin]));
    let browser = Browser::open(800, 600);
    browser.go(&format!("https://localhost:{}/site", door.secure.port()));
    assert_eq!(browser.run("return document.title"), "site");
    let found =
        |name: &str| eventually(name, || Some(browser.run(&format!("return found.{name}"))).filter(|v| !v.is_null()));
    assert_eq!(found("pictures"), 40);
    assert_eq!(found("upload"), 500_000);
    assert_eq!(found("events"), "3");
    assert_eq!(found("socket"), 150_000);
    assert_eq!((found("closed"), found("clean")), (Value::from(1000), Value::from(true)));
    let protocols = browser.run(
        "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]\
         .filter(e => e.name.startsWith('https:')).map(e => e.nextHopProtocol).filter(p => p !== 'h2')",
    );
    assert_eq!(protocols, Value::Array(Vec::new()), "everything came over HTTP/2");
    let row = door.site.logs.row_where("the websocket's", |row| row.target().ends_with("/ws"));
    assert!(row.request.ends_with(" HTTP/2.0"), "the websocket, too: {row:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
