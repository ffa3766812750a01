//! A trial server as raw clients see it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Runs `client` against a server of this behaviour.
async fn with_server<T>(behaviour: Behaviour, client: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    LocalSet::new()
        .run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::select! {
                () = serve(listener, behaviour) => unreachable!("it serves for ever"),
                done = client(address) => done,
            }
        })
        .await
}

/// Sends `request` on a connection of its own and reads to the end, lower-casing the head.
async fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    (head, answer[end..].to_vec())
}

async fn get(address: SocketAddr, target: &str) -> (String, Vec<u8>) {
    ask(address, &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn answers_carry_plausible_timings() {
    with_server(Behaviour::named("web1"), async |address| {
        for _ in 0..20 {
            let (head, body) = get(address, "/some/page?x=1&delay=1ms").await;
            assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
            assert_eq!(body, b"web1 answers GET /some/page\n");
            assert_eq!(field(&head, "content-length"), Some("28"));
            assert_eq!(field(&head, "x-served-by"), Some("web1"));
            assert_eq!(field(&head, "x-received-bytes"), None);
            let number = |name| field(&head, name).unwrap().parse::<u64>().unwrap();
            assert!(number("x-aspnet-duration-ms") >= number("x-sql-duration-ms") + number("x-redis-duration-ms"));
            assert!(number("x-sql-duration-ms") == 0 || number("x-sql-count") > 0);
            assert!(number("x-redis-duration-ms") == 0 || number("x-redis-count") > 0);
        }
    })
    .await;
}

#[tokio::test]
async fn flags_and_queries_shape_the_answer() {
    let behaviour = Behaviour {
        status: 201,
        headers: vec![parse_header("X-Own: a").unwrap(), parse_header("X-Own: b").unwrap()],
        body_size: Some(100_000),
        ..Behaviour::named("web1")
    };
    with_server(behaviour, async |address| {
        let (head, body) = get(address, "/").await;
        assert!(head.starts_with("http/1.1 201 created\r\n"));
        assert!(head.contains("x-own: a\r\nx-own: b\r\n"), "{head}");
        assert_eq!((field(&head, "content-length"), body.len()), (Some("100000"), 100_000));

        let (head, body) = get(address, "/?status=503&size=10").await;
        assert!(head.starts_with("http/1.1 503 "));
        assert_eq!(body, b"0123456789");

        let (head, body) = get(address, "/?size=70000&chunked=1").await;
        assert_eq!((field(&head, "content-length"), field(&head, "transfer-encoding")), (None, Some("chunked")));
        assert!(body.starts_with(b"10000\r\n0123"), "a piece of 64 KiB first");
        assert!(body.ends_with(b"\r\n0\r\n\r\n"));

        let (head, body) = get(address, "/?status=204").await;
        assert!(head.starts_with("http/1.1 204 no content\r\n"));
        assert_eq!((field(&head, "content-length"), body.len()), (None, 0));

        let (head, body) = get(address, "/?status=700").await;
        assert!(head.starts_with("http/1.1 400 "));
        assert_eq!(body, b"\"700\" is not a status from 200 to 599\n");

        let (head, body) = ask(address, "HEAD /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert_eq!((field(&head, "content-length"), body.len()), (Some("100000"), 0));

        let (head, _) = ask(address, "GET /?close=1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(field(&head, "connection"), Some("close"));
    })
    .await;
}

#[tokio::test]
async fn request_bodies_are_counted_and_the_connection_kept() {
    with_server(Behaviour::named("web1"), async |address| {
        let requests = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
                        PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n\
                        POST /_respond HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        let (head, rest) = ask(address, requests).await;
        assert_eq!(field(&head, "x-received-bytes"), Some("5"));
        let rest = String::from_utf8(rest).unwrap().to_ascii_lowercase();
        assert!(rest.starts_with("web1 answers post /a\n"), "{rest}");
        assert!(rest.contains("x-received-bytes: 7\r\n"), "{rest}");
        assert!(rest.contains("http/1.1 400 "), "an order without a value is refused: {rest}");
    })
    .await;
}

#[tokio::test]
async fn health_is_switched_at_run_time() {
    let behaviour = Behaviour { slow: Duration::from_millis(1), ..Behaviour::named("web1") };
    with_server(behaviour, async |address| {
        let order = async |query: &str| {
            let request = format!("PUT /_respond?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            ask(address, &request).await
        };
        for (mode, status) in [("ok", "200"), ("fail", "500"), ("redirect", "302"), ("slow", "200"), ("ok", "200")] {
            let (_, body) = order(&format!("health={mode}")).await;
            assert_eq!(body, format!("web1: health={mode}\n").as_bytes());
            let (check, _) = get(address, "/health").await;
            assert!(check.starts_with(&format!("http/1.1 {status} ")), "{mode}: {check}");
            let (check, _) = ask(address, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            assert!(check.starts_with(&format!("http/1.1 {status} ")), "{mode}: {check}");
            assert!(get(address, "/").await.0.starts_with("http/1.1 200 "), "pages are answered all the same");
        }
        order("health=redirect").await;
        assert_eq!(field(&get(address, "/health").await.0, "location"), Some("/error"));
        let (head, _) = order("health=ill").await;
        assert!(head.starts_with("http/1.1 400 "));
        assert_eq!(get(address, "/_respond").await.1, b"web1: health=redirect\n");
    })
    .await;
}

#[tokio::test]
async fn a_websocket_gets_back_what_it_sends() {
    with_server(Behaviour::named("web1"), async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly ";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nearly ") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert_eq!(field(&head, "sec-websocket-accept"), Some("s3pplmbitxaq9kygzzhzrbk+xoo="));
        stream.write_all(b"and late").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "and late");
    })
    .await;
}

#[test]
fn flags_have_working_defaults() {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: RespondArgs,
    }
    use clap::Parser;
    let args = Command::try_parse_from(["respond"]).unwrap().args;
    assert_eq!(args.listen, [SocketAddr::from(([127, 0, 0, 1], 0))]);
    let behaviour = args.behaviour("web1".to_owned());
    assert_eq!((behaviour.status, behaviour.delay, behaviour.body_size), (200, Duration::ZERO, None));
    assert_eq!((behaviour.health, &*behaviour.health_path), (HealthMode::Ok, "/health"));

    let flags = "respond --listen 127.0.0.1:1 --listen [::1]:2 --status 404 --delay 50ms --body-size 1KiB --chunked \
                 --health slow --slow 3s --health-path /up --name web";
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.extend(["--header", "A: b", "--header", "C: d"]);
    let args = Command::try_parse_from(flags).unwrap().args;
    assert_eq!((args.listen.len(), args.header.len(), args.body_size), (2, 2, Some(1024)));
    for wrong in [["--status", "100"], ["--delay", "5"], ["--header", "A"], ["--health", "ill"], ["--listen", "x"]] {
        assert!(Command::try_parse_from(["respond", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
    }
}
