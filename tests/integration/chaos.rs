//! Clients and servers that misbehave in every way at once: nobody gets another's answer, and nothing is left behind.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::message::{Message, Role};
use crate::support::origin::{Origin, OriginConn};
use crate::support::site::Site;
use crate::support::{ports, until};

const CLIENTS: u64 = 8;
const ROUNDS: usize = 120;

/// What a server does; the request's target names it: `/<manner>/<id>`.
const MANNERS: [&str; 16] = [
    "length",
    "chunked",
    "until-close",
    "cut",
    "reset",
    "empty",
    "garbage",
    "leaves",
    "stalls",
    "early",
    "slow",
    "interim",
    "refuses",
    "stray",
    "half-head",
    "large",
];

fn behave(conn: &mut OriginConn) -> io::Result<()> {
    loop {
        let Some(mut request) = Message::read_head(&mut conn.wire)? else { return Ok(()) };
        let target = request.target().to_owned();
        let mut parts = target.split('/').skip(1);
        let (manner, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_owned());
        let length = id.len();
        let head_only = request.method() == "HEAD";
        let body = if head_only { "" } else { &id };
        if request.field("upgrade").is_some() && manner != "refuses" {
            conn.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{id}"
            ))?;
            return conn.stall();
        }
        if manner == "early" {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))?;
            request.read_body(&mut conn.wire, Role::Request)?;
            continue;
        }
        if request.field("expect").is_some() {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.read_body(&mut conn.wire, Role::Request)?;
        match manner {
            "chunked" if !head_only => conn.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{id}\r\n0\r\n\r\n"
            ))?,
            "until-close" => return conn.send(format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
            "cut" => return conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", length + 5)),
            "reset" => {
                conn.reset_at_end();
                return Ok(());
            }
            "empty" => return Ok(()),
            "garbage" => return conn.send("no answer at all\r\n\r\n"),
            "leaves" => return conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")),
            "stalls" => return conn.stall(),
            "slow" => {
                conn.send("HTTP/1.1 200 OK\r\nContent-")?;
                std::thread::sleep(Duration::from_millis(10));
                conn.send(format!("Length: {length}\r\n\r\n{body}"))?;
            }
            "interim" => conn.send(format!(
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            ))?,
            "refuses" => conn.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")?,
            "stray" => conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
            ))?,
            "half-head" => return conn.send("HTTP/1.1 200 OK\r\nConte"),
            "large" if !head_only => {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n")?;
                conn.send(id.repeat(400_000 / length + 1).get(..400_000).unwrap_or_default())?;
            }
            _ => conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))?,
        }
    }
}

/// One request as bytes, and whether it is a `HEAD`.
fn request(random: &mut fastrand::Rng, id: &str) -> (String, bool) {
    let manner = MANNERS[random.usize(..MANNERS.len())];
    let target = format!("/{manner}/{id}");
    let cookie = if random.bool() { "Cookie: SRV=s1\r\n" } else { "" };
    let head = |method: &str, version: &str, fields: &str| {
        format!("{method} {target} HTTP/{version}\r\nHost: a\r\n{cookie}{fields}\r\n")
    };
    let text = match random.u8(..10) {
        0 => head("HEAD", "1.1", ""),
        1 => head("POST", "1.1", "Content-Length: 5\r\n") + "hello",
        2 => head("PUT", "1.1", "Content-Length: 90000\r\n") + &"u".repeat(90_000),
        3 => head("POST", "1.1", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        4 => head("PUT", "1.1", "Expect: 100-continue\r\nContent-Length: 5\r\n") + "hello",
        5 => head("GET", "1.1", "Connection: close\r\n"),
        6 => head("GET", "1.0", ""),
        7 => head("GET", "1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
        _ => head("GET", "1.1", ""),
    };
    let is_head = text.starts_with("HEAD");
    (text, is_head)
}

/// One connection of a client; every whole 200 must be the answer to its own request.
fn visit(mut client: RawClient, random: &mut fastrand::Rng, serial: &AtomicUsize) -> Result<(), String> {
    for _ in 0..random.usize(1..5) {
        let batch: Vec<_> = (0..if random.u8(..4) == 0 { 3 } else { 1 })
            .map(|_| {
                let id = format!("id{}x", serial.fetch_add(1, Ordering::Relaxed));
                let (text, is_head) = request(random, &id);
                (id, text, is_head)
            })
            .collect();
        let text: String = batch.iter().map(|(_, text, _)| text.as_str()).collect();
        let cut = random.usize(..text.len());
        let sent = match random.u8(..12) {
            0 => client.wire.send(&text.as_bytes()[..cut]).and(Err(io::ErrorKind::Other.into())),
            1 => client.wire.send("\u{1}garbage\r\n\r\n"),
            _ => client.wire.send(&text),
        };
        match random.u8(..16) {
            0 => {
                client.wire.reset();
                return Ok(());
            }
            1 => return Ok(()),
            2 => client.wire.half_close(),
            _ => {}
        }
        if sent.is_err() {
            return Ok(());
        }
        for (id, _, is_head) in &batch {
            let mut answer = loop {
                match Message::read_head(&mut client.wire) {
                    Ok(Some(answer)) if (100..200).contains(&answer.status()) && answer.status() != 101 => {}
                    Ok(Some(answer)) => break answer,
                    Ok(None) | Err(_) => return Ok(()),
                }
            };
            let role = if *is_head || answer.status() == 101 { Role::Bodiless } else { Role::Answer };
            if answer.read_body(&mut client.wire, role).is_err() {
                return Ok(());
            }
            let body = answer.text();
            // Of an answer that was cut even the first byte may be missing.
            let foreign = !body.starts_with(id.as_str()) && (answer.whole || !body.is_empty());
            if answer.status() == 200 && !is_head && foreign {
                return Err(format!("the answer to {id} is {answer:?}"));
            }
            if answer.status() == 101 {
                let first = client.wire.take(id.len()).unwrap_or_default();
                return if first == id.as_bytes() || first.is_empty() {
                    Ok(())
                } else {
                    Err(format!("the tunnel of {id} begins with {first:?}"))
                };
            }
        }
    }
    Ok(())
}

#[test]
fn nobody_gets_anothers_answer_and_nothing_is_left_behind() {
    let origins = [Origin::script(behave), Origin::script(behave)];
    let authority = Authority::new();
    let tls = ports::address();
    let site = Site::new();
    let file = authority.write(&site.path("a.pem"), &["a.test"], Key::Ecdsa);
    let bind = format!(
        "bind: [ \"{}\", {{ address: \"{tls}\", tls: {{ certificates: [ {} ] }} }} ]",
        site.address(),
        file.display()
    );
    let site = site
        .server(origins[0].addr(), "maxconn: 3")
        .server(origins[1].addr(), "maxconn: 3")
        .global("threads", "2")
        .defaults(
            "timeouts: { request: 400ms, keepalive: 400ms, client: 400ms, server: 300ms, queue: 2s, connect: 400ms, tunnel: 400ms }",
        )
        .frontend(bind)
        .frontend("rate_limits: [ { name: each, key: client_ip, concurrent: 100000, action: deny } ]")
        .backend("balance: leastconn\ncookie: { name: SRV }\nretries: 1\nretry_on: [ empty-response, \"503\" ]")
        .start();
    let serial = AtomicUsize::new(0);
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let visits = |n: u64| {
            let (site, serial, authority) = (&site, &serial, &authority);
            move || {
                let mut random = fastrand::Rng::with_seed(seed.wrapping_add(n));
                let visit = |_| {
                    let client = match random.u8(..4) {
                        0 => authority.connect(tls, "a.test"),
                        _ => RawClient::connect(site.address),
                    };
                    visit(client, &mut random, serial).err()
                };
                (0..ROUNDS).filter_map(visit).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(visits(n))).collect();
        // Meanwhile an operator has no steady hand.
        let mut random = fastrand::Rng::with_seed(seed);
        while threads.iter().any(|thread| !thread.is_finished()) {
            let server = random.u8(1..3);
            match random.u8(..4) {
                0 => site.order(&format!("shutdown sessions server web/s{server}")),
                1 => site.order(&format!("set server web/s{server} state maint")),
                2 => site.order(&format!("set server web/s{server} state drain")),
                _ => site.order(&format!("set maxconn server web/s{server} {}", random.u8(1..4))),
            }
            std::thread::sleep(Duration::from_millis(random.u64(..30)));
            site.order(&format!("set server web/s{server} state ready"));
            std::thread::sleep(Duration::from_millis(random.u64(..100)));
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "CHAOS_SEED={seed}: {wrong:#?}");
    for (name, column) in [
        ("FRONTEND", "scur"),
        ("BACKEND", "scur"),
        ("BACKEND", "qcur"),
        ("s1", "scur"),
        ("s1", "qcur"),
        ("s2", "scur"),
        ("s2", "qcur"),
    ] {
        let proxy = if name == "FRONTEND" { "fe" } else { "web" };
        until(&format!("{name} {column} to be 0 (CHAOS_SEED={seed})"), || site.stat(proxy, name).number(column) == 0);
    }
    assert_eq!(site.info("CurrConns"), "0");
    let (frontend, backend) = (site.stat("fe", "FRONTEND"), site.stat("web", "BACKEND"));
    let servers = [site.stat("web", "s1"), site.stat("web", "s2")];
    for column in ["srv_abrt", "eresp", "wretr", "wredis", "lbtot"] {
        let sum: i64 = servers.iter().map(|s| s.number(column)).sum();
        assert_eq!(sum, backend.number(column), "{column}, CHAOS_SEED={seed}");
    }
    for column in ["hrsp_2xx", "hrsp_5xx", "cli_abrt"] {
        // Some ends come before a server was found.
        let sum: i64 = servers.iter().map(|s| s.number(column)).sum();
        assert!(sum <= backend.number(column), "{column}, CHAOS_SEED={seed}");
        if column != "cli_abrt" {
            assert!(backend.number(column) <= frontend.number(column), "{column}, CHAOS_SEED={seed}");
        }
    }
    assert!(servers.iter().all(|s| s.number("smax") <= 3), "CHAOS_SEED={seed}");
    assert!(!site.output().contains("panicked"), "CHAOS_SEED={seed}: {}", site.output());
}
