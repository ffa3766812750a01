//! Clients that want harm and keep the format of frames: each is held off, others go on being served at the usual speed,
//! and memory stays where it was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cases::{self, block, get, hold, name, post};
use crate::support::h2_raw::{Course, Frame, H2Client, Heard, PREFACE, code, flag, kind, request, setting};
use crate::support::hpack::{self, Form, Name};
use crate::support::site::{Running, Site};
use crate::support::until;

const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

/// How much more memory an attack may make the process need at its worst.
const MORE_MEMORY_KIB: u64 = 16 * 1024;

/// How long somebody else may have to wait for an answer meanwhile, on a machine that is busy with the attack, too.
const OTHERS_WAIT: Duration = Duration::from_secs(3);

/// Runs an attack while another client goes on asking, and looks at what it cost.
#[track_caller]
fn besiege(site: Site, attack: impl FnOnce(&Running)) {
    let site = site.start();
    // Everything that is made at the first request exists.
    for _ in 0..3 {
        assert_eq!(H2Client::connect(site.address).get(1, "/").status, 200);
    }
    let before = site.memory_kib("VmHWM");
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let bystander = {
        let (stop, served, address) = (Arc::clone(&stop), Arc::clone(&served), site.address);
        std::thread::spawn(move || bystander(address, &stop, &served))
    };
    until("the bystander to be served", || served.load(Ordering::SeqCst) > 0);
    attack(&site);
    let during = served.load(Ordering::SeqCst);
    until("the bystander to be served on", || served.load(Ordering::SeqCst) > during || bystander.is_finished());
    stop.store(true, Ordering::SeqCst);
    let longest = bystander.join().unwrap();
    assert!(longest < OTHERS_WAIT, "somebody waited {longest:?} for an answer");
    let after = site.memory_kib("VmHWM");
    assert!(after < before + MORE_MEMORY_KIB, "memory went from {before} to {after} KiB");
    assert_eq!(H2Client::connect(site.address).get(1, "/").status, 200);
}

/// Asks again and again, on new connections and old ones; the longest wait.
fn bystander(address: SocketAddr, stop: &AtomicBool, served: &AtomicUsize) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::SeqCst) {
        let started = Instant::now();
        let mut client = H2Client::connect(address);
        for stream in [1, 3, 5] {
            let answer = client.get(stream, "/");
            assert_eq!((answer.status, answer.text().as_str(), answer.course), (200, cases::BODY, Course::Whole));
            served.fetch_add(1, Ordering::SeqCst);
        }
        longest = longest.max(started.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    longest
}

/// Says the same again and again until the connection ends; the code it ended with and how often it was said.
///
/// # Panics
/// When it was said `most` times and the connection goes on.
#[track_caller]
fn until_it_ends(
    client: &mut H2Client,
    most: usize,
    mut piece: impl FnMut(usize) -> Vec<Frame>,
) -> (Option<u32>, usize) {
    for n in 0..most {
        client.say(&piece(n));
        if n % 16 == 0 && n > 0 {
            // Whatever the server says is read, but never waited for.
            loop {
                match client.hear_within(Duration::from_micros(1)) {
                    Heard::Frame(frame) => client.farewells.extend(frame.code().filter(|_| frame.kind == kind::GOAWAY)),
                    Heard::End => return (client.farewells.last().copied(), n),
                    Heard::Silence => break,
                }
            }
        }
    }
    loop {
        match client.hear_within(Duration::from_secs(3)) {
            Heard::Frame(frame) => client.farewells.extend(frame.code().filter(|_| frame.kind == kind::GOAWAY)),
            Heard::End => return (client.farewells.last().copied(), most),
            Heard::Silence => panic!("said {most} times, and the connection goes on"),
        }
    }
}

#[track_caller]
fn calmed(what: &str, (code, times): (Option<u32>, usize)) {
    // A client that is still talking may lose the GOAWAY to the reset its own bytes provoke.
    let said = code.map_or("nothing".to_owned(), name);
    assert!(code.is_none_or(|code| code == code::ENHANCE_YOUR_CALM), "{what}: {said} after {times} times");
}

#[test]
fn requests_that_are_taken_back_at_once() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::connect(site.address);
        let ended = until_it_ends(&mut client, 30_000, |n| {
            let stream = 2 * u32::try_from(n).unwrap() + 1;
            vec![Frame { stream, ..get(1) }, Frame::reset(stream, code::CANCEL)]
        });
        calmed("rapid reset", ended);
    });
}

#[test]
fn requests_that_make_the_server_reset_them() {
    // The stream ends by the server's own reset, while the request is already on its way.
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::connect(site.address);
        let ended = until_it_ends(&mut client, 30_000, |n| {
            let stream = 2 * u32::try_from(n).unwrap() + 1;
            vec![Frame { stream, ..post(1) }, Frame::window_update(stream, 0x7fff_ffff)]
        });
        calmed("made to reset", ended);
    });
}

#[test]
fn malformed_requests_without_end() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::connect(site.address);
        let bad = block("GET", &[("connection", "close")]);
        let ended =
            until_it_ends(&mut client, 30_000, |n| vec![Frame::headers(2 * u32::try_from(n).unwrap() + 1, BOTH, &bad)]);
        calmed("malformed requests", ended);
    });
}

#[test]
fn a_block_that_does_not_end() {
    let origin = cases::origin();
    for piece in [Vec::new(), hpack::block(&[("x", "y")]), hpack::block(&[("x-filler", &"y".repeat(16_000))])] {
        besiege(cases::site(&origin), |site| {
            let mut client = H2Client::connect(site.address);
            client.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[]))]);
            let (code, _) = until_it_ends(&mut client, 20_000, |_| vec![Frame::continuation(1, 0, &piece)]);
            let good = [code::ENHANCE_YOUR_CALM, code::COMPRESSION_ERROR, code::PROTOCOL_ERROR];
            assert!(code.is_none_or(|code| good.contains(&code)), "{code:?}");
        });
    }
}

#[test]
fn a_small_block_that_unfolds() {
    let origin = cases::origin();
    // One kept entry, then as many references to it as a frame holds.
    for (field, value) in
        [("x-bomb", "y".repeat(4000)), ("cookie", "y".repeat(4000)), ("cookie", String::new()), ("x", String::new())]
    {
        besiege(cases::site(&origin), |site| {
            for _ in 0..20 {
                let mut client = H2Client::connect(site.address);
                let kept = hpack::literal(Form::Kept, Name::New(field), &value, false);
                let block = [block("GET", &[]), kept, hpack::indexed(62).repeat(12_000)].concat();
                client.say(&[Frame::headers(1, BOTH, block)]);
                let answer = client.answer(1);
                assert!(answer.status == 431 || answer.course != Course::Whole, "{field} {}: {answer:?}", value.len());
            }
        });
        assert!(origin.requests().iter().all(|request| request.field("x-bomb").is_none()));
    }
}

#[test]
fn bombs_that_are_held() {
    // The window is shut, so that nothing the server would say is ever taken: what it holds for that must stay small.
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut clients: Vec<H2Client> = Vec::new();
        for _ in 0..20 {
            let mut client = H2Client::tcp(site.address).greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
            let kept = hpack::literal(Form::Kept, Name::New("cookie"), "", false);
            for n in 0..50u32 {
                let block =
                    [block("GET", &[]), if n == 0 { kept.clone() } else { Vec::new() }, hpack::indexed(62).repeat(90)];
                client.say(&[Frame::headers(2 * n + 1, BOTH, block.concat())]);
            }
            client.settle();
            clients.push(client);
        }
    });
}

#[test]
fn questions_without_end() {
    let origin = cases::origin();
    let floods: [(&str, Frame); 5] = [
        ("pings", Frame::ping([7; 8])),
        ("settings", Frame::settings(&[(setting::ENABLE_PUSH, 0)])),
        ("empty settings", Frame::settings(&[])),
        ("priorities", Frame::priority(9, 0, false, 16)),
        ("answers nobody asked for", Frame::new(kind::PING, flag::ACK, 0, [7; 8])),
    ];
    for (what, frame) in floods {
        besiege(cases::site(&origin), |site| {
            let mut client = H2Client::connect(site.address);
            // The answers are not read. Either the server says enough, or it stops listening until they are.
            let tcp = client.wire.transport().tcp().unwrap();
            tcp.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let flood = frame.encode().repeat(1000);
            for _ in 0..300 {
                if client.wire.send(&flood).is_err() {
                    break;
                }
            }
            while let Heard::Frame(frame) = client.hear_within(Duration::from_secs(1)) {
                client.farewells.extend(frame.code().filter(|_| frame.kind == kind::GOAWAY));
            }
            let code = client.farewells.last().copied();
            assert!(code.is_none_or(|code| code == code::ENHANCE_YOUR_CALM), "{what}: {code:?}");
            // Nobody fills a disk with what is said of it.
            let lines = site.output().lines().count();
            assert!(lines < 20, "{what}: {lines} lines, the last {:?}", site.output().lines().last());
        });
    }
}

#[test]
fn bodies_of_nothing() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::connect(site.address);
        client.say(&[post(1)]);
        let ended = until_it_ends(&mut client, 50_000, |_| vec![Frame::data(1, 0, ""); 4]);
        calmed("empty DATA", ended);
        // Padding is no body either.
        let mut client = H2Client::connect(site.address);
        client.say(&[post(1)]);
        let ended = until_it_ends(&mut client, 50_000, |_| vec![Frame::data(1, 0, "").padded(0, 0); 4]);
        calmed("padded nothing", ended);
    });
}

#[test]
fn windows_that_stay_shut() {
    let origin = cases::origin();
    let site = cases::site(&origin).defaults("timeouts: { client: 700ms }");
    besiege(site, |site| {
        let mut clients: Vec<H2Client> =
            (0..10).map(|_| H2Client::tcp(site.address).greet(&[(setting::INITIAL_WINDOW_SIZE, 0)])).collect();
        for client in &mut clients {
            for n in 0..50 {
                client.ask(2 * n + 1, &request("GET", "/large"), true);
            }
        }
        // Nothing is ever read: `timeouts.client` ends it, stream by stream or the whole connection.
        for mut client in clients {
            for n in 0..50 {
                let course = client.answer(2 * n + 1).course;
                assert!(matches!(course, Course::Reset(_) | Course::Lost(_)), "stream {}: {course:?}", 2 * n + 1);
            }
        }
    });
}

#[test]
fn windows_that_open_byte_by_byte() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::tcp(site.address).greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
        client.consumes = false;
        for n in 0..20 {
            client.ask(2 * n + 1, &request("GET", "/large"), true);
        }
        for _ in 0..500 {
            let updates: Vec<Frame> = (0..20).map(|n| Frame::window_update(2 * n + 1, 1)).collect();
            client.say(&updates);
        }
        // Bytes come, a few to a frame, or the server has had enough.
        let (mut bytes, mut end) = (0, false);
        while bytes < 500 && !end {
            match client.hear_within(Duration::from_secs(5)) {
                Heard::Frame(frame) if frame.kind == kind::DATA => bytes += frame.payload.len(),
                Heard::Frame(_) => {}
                Heard::End => end = true,
                Heard::Silence => panic!("{bytes} bytes, then nothing"),
            }
        }
    });
}

#[test]
fn priorities_of_many_streams() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = H2Client::connect(site.address);
        for round in 0..100u32 {
            let frames: Vec<Frame> =
                (0..1000).map(|n| Frame::priority(2 * (round * 1000 + n) + 3, 1, n % 2 == 0, 16)).collect();
            client.say(&frames);
        }
        client.say(&[get(1)]);
        let course = client.answer(1).course;
        assert!(matches!(course, Course::Whole | Course::Lost(None | Some(code::ENHANCE_YOUR_CALM))), "{course:?}");
    });
}

#[test]
fn a_frame_that_announces_sixteen_megabytes() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        for kind in [kind::DATA, kind::HEADERS, kind::SETTINGS, kind::PING, 0x77] {
            let mut client = H2Client::connect(site.address);
            client.send([0xff, 0xff, 0xff, kind, 0, 0, 0, 0, if kind < 2 { 1 } else { 0 }]);
            assert_eq!(client.ended(), Some(code::FRAME_SIZE_ERROR), "kind {kind}");
        }
    });
}

#[test]
fn half_a_frame_and_silence() {
    let origin = cases::origin();
    let site = cases::site(&origin).defaults("timeouts: { request: 400ms, keepalive: 400ms, client: 400ms }");
    besiege(site, |site| {
        let beginnings: [(&str, Vec<u8>); 9] = [
            ("nothing", Vec::new()),
            ("half a preface", PREFACE[..10].to_vec()),
            ("a preface", PREFACE.to_vec()),
            ("half of the settings", [PREFACE, &Frame::settings(&[(3, 100)]).encode()[..11]].concat()),
            ("settings", [PREFACE, &Frame::settings(&[]).encode()].concat()),
            ("half a frame's head", [PREFACE, &Frame::settings(&[]).encode(), &get(1).encode()[..5]].concat()),
            ("half a block", [PREFACE, &Frame::settings(&[]).encode(), &get(1).encode()[..20]].concat()),
            (
                "a block without its end",
                [PREFACE, &Frame::settings(&[]).encode(), &Frame::headers(1, 1, block("GET", &[])).encode()].concat(),
            ),
            (
                "a request without its body",
                [PREFACE, &Frame::settings(&[]).encode(), &post(1).encode(), &Frame::data(1, 0, "some").encode()]
                    .concat(),
            ),
        ];
        for (what, bytes) in beginnings {
            let started = Instant::now();
            let mut client = H2Client::tcp(site.address);
            client.send(&bytes);
            // Not a byte more, acknowledgements neither.
            while let Heard::Frame(_) = client.hear() {}
            let patience = started.elapsed();
            assert!(
                patience >= Duration::from_millis(300) && patience < Duration::from_secs(5),
                "{what}: {patience:?}"
            );
        }
    });
}

#[test]
fn a_head_that_comes_slowly() {
    let origin = cases::origin();
    let site = cases::site(&origin).defaults("timeouts: { request: 700ms, keepalive: 10s, client: 10s }");
    besiege(site, |site| {
        // Every byte is soon after the last, and the head never whole.
        let mut client = H2Client::connect(site.address);
        let started = Instant::now();
        client.say(&[Frame::headers(1, flag::END_STREAM, block("GET", &[]))]);
        let ended = loop {
            client.say(&[Frame::continuation(1, 0, hpack::block(&[("x", "y")]))]);
            // Few enough pieces that their number alone is no offence.
            match client.hear_within(Duration::from_millis(200)) {
                Heard::End => break started.elapsed(),
                _ if started.elapsed() > Duration::from_secs(8) => panic!("a head may take for ever"),
                _ => {}
            }
        };
        assert!(ended >= Duration::from_millis(500), "{ended:?}");
        // The same inside one frame.
        let mut client = H2Client::connect(site.address);
        let started = Instant::now();
        let bytes = get(1).encode();
        for byte in &bytes[..bytes.len() - 1] {
            client.send([*byte]);
            if client.hear_within(Duration::from_millis(40)) == Heard::End {
                break;
            }
        }
        client.ended();
        assert!(started.elapsed() < Duration::from_secs(8));
    });
}

#[test]
fn a_connection_without_requests_ends() {
    let origin = cases::origin();
    let site = cases::site(&origin).defaults("timeouts: { request: 10s, keepalive: 500ms, client: 10s }");
    besiege(site, |site| {
        let mut client = H2Client::connect(site.address);
        assert_eq!(client.get(1, "/").status, 200);
        // Pings are no requests.
        let started = Instant::now();
        let code = loop {
            client.say(&[Frame::ping([1; 8])]);
            match client.hear_within(Duration::from_millis(100)) {
                Heard::Frame(frame) => client.take_in(&frame),
                Heard::End => break client.farewells.last().copied(),
                Heard::Silence => {}
            }
            assert!(started.elapsed() < Duration::from_secs(8), "pings keep it open");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(code, Some(code::NO_ERROR));
    });
}

#[test]
fn streams_that_never_end() {
    // As many requests without an answer as are allowed, on many connections: others are served.
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut clients: Vec<H2Client> = (0..10).map(|_| H2Client::connect(site.address)).collect();
        for client in &mut clients {
            for n in 0..50 {
                client.say(&[Frame { stream: 2 * n + 1, ..hold(1) }]);
            }
            client.settle();
        }
        until("every request to be at the server", || site.stat("web", "s1").number("scur") >= 500);
        drop(clients);
        until("every request to be given up", || site.stat("web", "s1").number("scur") < 10);
    });
}

#[test]
fn http_1_at_the_wrong_door() {
    let origin = cases::origin();
    besiege(cases::site(&origin), |site| {
        let mut client = crate::support::client::RawClient::connect(site.address);
        client.send("GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n");
        // Whatever is said, it ends, and soon.
        client.wire.take_rest().unwrap();
    });
    assert!(origin.requests().iter().all(|request| request.target() == "/"));
}
