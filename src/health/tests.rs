//! Probes against servers that answer from a script, byte by byte.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::config::model::{BindTls, TlsGlobal};
use crate::core::health::HttpCheck;
use crate::core::tls::Verify;
use crate::tls::selfsigned::{DEMO_NAMES, self_signed};
use crate::tls::tickets::KeySource;
use crate::tls::{CertificateStore, Clocks, Resumption, server_config};

/// Probes with connectors of its own.
async fn probe(check: &CheckSpec, to: &ConnectTo) -> CheckOutcome {
    super::probe(check, to, &Connectors::new()).await
}

fn tls(name: Option<&str>, verify: Verify) -> Arc<ServerTls> {
    Arc::new(ServerTls { verify, ..ServerTls::strict("web/s1", name.map(Into::into)) })
}

/// What a scripted server does once it has read a request's head.
#[derive(Clone, Copy)]
enum Script {
    /// Sends these bytes and closes.
    Answer(&'static [u8]),
    /// Sends these bytes and stays silent.
    Stall(&'static [u8]),
    /// Sends these bytes and resets the connection.
    Reset(&'static [u8]),
}

fn tcp() -> CheckSpec {
    CheckSpec {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(2),
        fastinter: Duration::from_secs(2),
        downinter: Duration::from_secs(2),
        timeout: Duration::from_secs(10),
        rise: 3,
        fall: 3,
        address: None,
        port: None,
        send_proxy: None,
        tls: None,
    }
}

fn http() -> HttpCheck {
    HttpCheck {
        method: "HEAD".into(),
        path: "/".into(),
        host: None,
        headers: Vec::new(),
        expect: vec![(200, 200)],
        body: None,
        disable_on_404: false,
        h2: false,
    }
}

fn http_check(request: HttpCheck) -> CheckSpec {
    CheckSpec { kind: CheckKind::Http(request), ..tcp() }
}

fn get_with_body(pattern: &str) -> CheckSpec {
    let body = Some(regex::bytes::Regex::new(pattern).unwrap());
    http_check(HttpCheck { method: "GET".into(), body, ..http() })
}

async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return head,
        }
    }
    let (Script::Answer(bytes) | Script::Stall(bytes) | Script::Reset(bytes)) = script;
    let _ = stream.write_all(bytes).await;
    if let Script::Stall(_) = script {
        // Until the prober goes away.
        let _ = stream.read_u8().await;
    }
    head
}

/// Probes a server that plays `script` on its first connection; the outcome and the head the server read.
async fn probe_script(check: &CheckSpec, script: Script) -> (CheckOutcome, SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        if let Script::Reset(_) = script {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        play(stream, script).await
    };
    let to = ConnectTo::Ip(address);
    let (head, outcome) = tokio::join!(server, probe(check, &to));
    (outcome, address, String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn each_answer_has_its_word_and_its_text() {
    let plain = || http_check(http());
    let wide = || http_check(HttpCheck { expect: vec![(200, 299), (404, 404)], ..http() });
    let rows: &[(CheckSpec, Script, &str, Option<u16>, &str)] = &[
        (plain(), Script::Answer(b"HTTP/1.1 200 OK\r\n\r\n"), "L7OK", Some(200), ""),
        (plain(), Script::Answer(b"HTTP/1.0 200 Fine\r\nContent-Length: 100\r\n\r\n"), "L7OK", Some(200), ""),
        (plain(), Script::Answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "L7OK", Some(200), ""),
        // The head is enough: what comes after it is not waited for.
        (plain(), Script::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "L7OK", Some(200), ""),
        (plain(), Script::Answer(b"HTTP/1.1 302 Found\r\nLocation: /e\r\n\r\n"), "L7STS", Some(302), "Found"),
        (plain(), Script::Answer(b"HTTP/1.1 204 No Content\r\n\r\n"), "L7STS", Some(204), "No Content"),
        (
            plain(),
            Script::Answer(b"HTTP/1.1 500 Internal Server Error\r\n\r\n"),
            "L7STS",
            Some(500),
            "Internal Server Error",
        ),
        (plain(), Script::Answer(b"HTTP/1.1 503 Warming up\r\n\r\n"), "L7STS", Some(503), "Warming up"),
        (plain(), Script::Answer(b"HTTP/1.1 503 \r\n\r\n"), "L7STS", Some(503), ""),
        (wide(), Script::Answer(b"HTTP/1.1 204 No Content\r\n\r\n"), "L7OK", Some(204), ""),
        (wide(), Script::Answer(b"HTTP/1.1 404 Not Found\r\n\r\n"), "L7OK", Some(404), ""),
        (wide(), Script::Answer(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"), "L7STS", Some(405), "Method Not Allowed"),
        (plain(), Script::Answer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "L7RSP", None, "Not an HTTP/1 response"),
        (plain(), Script::Answer(b"HTTP/1.1 2x0 OK\r\n\r\n"), "L7RSP", None, "Not an HTTP/1 response"),
        (plain(), Script::Answer(b""), "L7RSP", None, "Connection closed without a response"),
        (
            plain(),
            Script::Answer(b"HTTP/1.1 200 OK\r\nContent-"),
            "L7RSP",
            None,
            "Connection closed before the end of the response",
        ),
        (plain(), Script::Reset(b""), "L7RSP", None, "Connection reset by peer"),
        (
            get_with_body("all is w.ll"),
            Script::Answer(b"HTTP/1.1 200 OK\r\n\r\nsay: all is well!"),
            "L7OK",
            Some(200),
            "",
        ),
        (
            get_with_body("all is well"),
            Script::Answer(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nall is \r\n4\r\nwell\r\n0\r\n\r\n",
            ),
            "L7OK",
            Some(200),
            "",
        ),
        (
            get_with_body("all is well"),
            Script::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalas!"),
            "L7STS",
            Some(200),
            "HTTP content check did not match",
        ),
        (
            get_with_body("all is well"),
            Script::Answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 11\r\n\r\nall is well"),
            "L7STS",
            Some(500),
            "Oops",
        ),
        (
            get_with_body("all is well"),
            Script::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is"),
            "L7RSP",
            Some(200),
            "Connection closed before the end of the response",
        ),
    ];
    for (row, (check, script, word, code, text)) in rows.iter().enumerate() {
        let (outcome, _, _) = probe_script(check, *script).await;
        let got = (outcome.status.word(), outcome.code, &*outcome.text);
        assert_eq!(got, (*word, *code, *text), "row {row}");
        assert!(outcome.duration < Duration::from_secs(10), "row {row}");
    }
}

#[tokio::test]
async fn a_large_body_is_searched_up_to_its_limit() {
    static EARLY: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| [&b"HTTP/1.1 200 OK\r\n\r\nmark"[..], &[b'x'; 300_000]].concat());
    static LATE: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 300_000], b"mark"].concat());
    assert!(probe_script(&get_with_body("mark"), Script::Answer(&EARLY)).await.0.status.passed());
    assert_eq!(probe_script(&get_with_body("mark"), Script::Answer(&LATE)).await.0.status, CheckStatus::L7Status);
}

#[tokio::test]
async fn the_request_is_the_one_configured() {
    let ok = Script::Answer(b"HTTP/1.1 200 OK\r\n\r\n");
    let (_, address, head) = probe_script(&http_check(http()), ok).await;
    let expected =
        format!("HEAD / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: lockgate-health-check\r\nConnection: close\r\n\r\n");
    assert_eq!(head, expected);

    let custom = HttpCheck {
        method: "OPTIONS".into(),
        path: "/up?deep=1".into(),
        host: Some("example.com".into()),
        headers: vec![("X-Check".into(), "bär".into()), ("User-Agent".into(), "ours".into())],
        ..http()
    };
    let (_, _, head) = probe_script(&http_check(custom), ok).await;
    let expected = "OPTIONS /up?deep=1 HTTP/1.1\r\nX-Check: bär\r\nUser-Agent: ours\r\nHost: example.com\r\n\
                    Connection: close\r\n\r\n";
    assert_eq!(head, expected);
}

#[tokio::test]
async fn a_check_may_go_to_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path: Arc<Path> = folder.path().join("app.sock").into();
    let to = ConnectTo::Unix(path.clone());
    assert_eq!(&*probe(&tcp(), &to).await.text, "No such file or directory");

    let listener = UnixListener::bind(&path).unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        play(stream, Script::Answer(b"HTTP/1.1 200 OK\r\n\r\n")).await
    };
    let check = http_check(http());
    let (head, outcome) = tokio::join!(server, probe(&check, &to));
    assert_eq!(outcome.status, CheckStatus::L7Ok);
    assert!(String::from_utf8(head).unwrap().contains("\r\nHost: localhost\r\n"));
}

#[tokio::test]
async fn a_tcp_check_asks_for_the_connection_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = ConnectTo::Ip(listener.local_addr().unwrap());
    let outcome = probe(&tcp(), &to).await;
    assert_eq!((outcome.status.word(), outcome.code, &*outcome.text), ("L4OK", None, ""));
    drop(listener);
    for check in [tcp(), http_check(http())] {
        let outcome = probe(&check, &to).await;
        assert_eq!((outcome.status.word(), outcome.code, &*outcome.text), ("L4CON", None, "Connection refused"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_told_by_layer() {
    // With time paused, nothing but the timeout can happen once a peer is silent.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> = (0..4)
        .map(|_| {
            let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address.into());
            client
        })
        .collect();
    let outcome = probe(&tcp(), &ConnectTo::Ip(address)).await;
    assert_eq!((outcome.status.word(), &*outcome.text), ("L4TOUT", ""));
    assert_eq!(outcome.duration, Duration::from_secs(10));

    // Accepted by the kernel, served by nobody.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let tls = Some(tls(None, Verify::Nothing));
    let outcome = probe_when_connected(&CheckSpec { tls, ..tcp() }, address).await;
    assert_eq!((outcome.status.word(), outcome.code), ("L6TOUT", None));
    let outcome = probe_when_connected(&http_check(http()), address).await;
    assert_eq!((outcome.status.word(), outcome.code, &*outcome.text), ("L7TOUT", None, ""));
    assert_eq!(outcome.duration, Duration::from_secs(10));
}

/// A probe whose connection is up before paused time may run on: the runtime is kept busy until then.
async fn probe_when_connected(check: &CheckSpec, address: SocketAddr) -> CheckOutcome {
    let busy = async {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    };
    let to = ConnectTo::Ip(address);
    tokio::join!(busy, probe(check, &to)).1
}

#[tokio::test]
async fn a_slow_answer_times_out_with_the_status_it_got() {
    let quick = |check: CheckSpec| CheckSpec { timeout: Duration::from_millis(500), ..check };
    let (outcome, _, _) = probe_script(&quick(http_check(http())), Script::Stall(b"HTTP/1.1 200 ")).await;
    assert_eq!((outcome.status.word(), outcome.code), ("L7TOUT", None));
    assert!(outcome.duration >= Duration::from_millis(500));
    let head = Script::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall");
    let (outcome, _, _) = probe_script(&quick(get_with_body("all")), head).await;
    assert_eq!((outcome.status.word(), outcome.code), ("L7TOUT", Some(200)));
}

#[tokio::test]
async fn checks_over_tls_verify_what_they_are_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let pem = self_signed(&DEMO_NAMES).unwrap();
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, &pem).unwrap();
    let foreign = folder.path().join("foreign.pem");
    std::fs::write(&foreign, self_signed(&["other.example"]).unwrap()).unwrap();

    let spec = TlsGlobal::own(0, Duration::from_secs(3600));
    let clocks = Clocks { monotonic: Arc::new(|| Duration::ZERO), wall: Arc::new(|| Duration::ZERO) };
    let resumption = Resumption::new(&spec, &KeySource::Own, clocks).unwrap();
    let store = CertificateStore::from_pem(&trusted, pem.as_bytes()).unwrap();
    let bind = BindTls::of(&[]);
    let config = server_config(&bind, "bind", &resumption, &store).unwrap();
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let to = ConnectTo::Ip(listener.local_addr().unwrap());

    let any = tls(None, Verify::Nothing);
    let strict = |name| tls(Some(name), Verify::Roots(trusted.clone()));
    let over = |tls: &Arc<ServerTls>, check: CheckSpec| CheckSpec { tls: Some(tls.clone()), ..check };
    let rows = [
        (over(&any, http_check(http())), "L7OK", ""),
        (over(&any, tcp()), "L6OK", ""),
        (over(&strict("localhost"), http_check(http())), "L7OK", ""),
        (over(&strict("127.0.0.1"), http_check(http())), "L7OK", ""),
        (
            over(&strict("x.example"), http_check(http())),
            "L6RSP",
            "SSL handshake failure (its certificate is for localhost, 127.0.0.1, ::1, not for x.example)",
        ),
        (
            over(&tls(Some("localhost"), Verify::Roots(foreign)), http_check(http())),
            "L6RSP",
            "SSL handshake failure (its certificate was issued by itself, which is not trusted)",
        ),
        (
            over(&tls(Some("localhost"), Verify::Roots(folder.path().join("absent.pem"))), tcp()),
            "SOCKERR",
            "no trusted certificate could be read from",
        ),
    ];
    for (row, (check, word, text)) in rows.iter().enumerate() {
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = crate::tls::accept(&config, stream).await {
                play(stream, Script::Answer(b"HTTP/1.1 200 OK\r\n\r\n")).await;
            }
        };
        let ((), outcome) = tokio::join!(server, probe(check, &to));
        assert_eq!(outcome.status.word(), *word, "row {row}: {outcome:?}");
        assert!(outcome.text.starts_with(text), "row {row}: {outcome:?}");
    }

    // A server that does not speak TLS, and one that closes at once.
    for (answer, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "SSL handshake failure ("),
        (&b""[..], "Connection closed during SSL handshake"),
    ] {
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // All of the hello: closing with bytes unread would reset the connection and the answer with it.
            let _ = stream.read(&mut [0; 16 * 1024]).await;
            let _ = stream.write_all(answer).await;
        };
        let check = over(&any, http_check(http()));
        let ((), outcome) = tokio::join!(server, probe(&check, &to));
        assert_eq!(outcome.status.word(), "L6RSP");
        assert!(outcome.text.starts_with(text), "{outcome:?}");
    }
}

#[test]
fn what_this_process_lacks_is_no_fault_of_the_server() {
    for (code, ours) in [(libc::EMFILE, true), (libc::EADDRNOTAVAIL, true), (libc::ECONNREFUSED, false)] {
        assert_eq!(is_ours(&io::Error::from_raw_os_error(code)), ours, "{code}");
    }
}

#[test]
fn texts_are_fit_for_logs() {
    assert_eq!(&*printable("a\tb\r\nc"), "a b  c");
    assert_eq!(printable(&"ä".repeat(500)).chars().count(), TEXT_MAX_CHARS);
    assert_eq!(phrase(&io::Error::from_raw_os_error(111)), "Connection refused");
    assert_eq!(phrase(&io::Error::other("odd (os error x)")), "odd (os error x)");
}
