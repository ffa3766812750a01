//! What an HTTP/2 client may not do, and what becomes of its connection; others go on being served.

use std::time::{Duration, Instant};

use h2::Reason;

use crate::support::h2::{FrameClient, H2Client, get};
use crate::support::origin::{Origin, Reply};
use crate::support::site::{Running, Site};
use crate::support::until;

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

fn start(site: Site, http2: &str) -> Running {
    let bind = format!("bind: [ {{ address: \"{}\", proto: h2 }} ]\nhttp2: {{ {http2} }}", site.address());
    site.frontend(bind).start()
}

#[test]
fn rapid_resets_end_the_connection() {
    let origin = Origin::answering(|_| Reply::ok("late").after(Duration::from_secs(5)));
    let site = start(Site::of(&[&origin]), "max_resets: 50");
    let mut client = FrameClient::connect(site.address);
    let mut bytes = Vec::new();
    for n in 0..500u32 {
        bytes.extend(FrameClient::frame(1, 5, 2 * n + 1, &FrameClient::get("/")));
        bytes.extend(FrameClient::frame(3, 0, 2 * n + 1, &8u32.to_be_bytes()));
    }
    let _ = client.raw.wire.send(&bytes);
    assert_eq!(client.goaway(), ENHANCE_YOUR_CALM);
    until("every request to be given up", || site.stat("web", "s1").number("scur") == 0);
    assert!(origin.requests().len() <= 60, "{} requests reached the server", origin.requests().len());
    let metrics = site.stat("fe", "FRONTEND");
    assert_eq!(metrics.number("h2sess"), 1);
}

#[test]
fn frames_that_move_nothing_on_end_the_connection() {
    let origin = Origin::named("s1");
    let site = start(Site::of(&[&origin]), "max_control_frames: 10");
    let ping = FrameClient::frame(6, 0, 0, &[0; 8]);
    let settings = FrameClient::frame(4, 0, 0, b"");
    let priority = FrameClient::frame(2, 0, 1, &[0, 0, 0, 0, 1]);
    let window = FrameClient::frame(8, 0, 0, &[0, 0, 0, 1]);
    let unknown = FrameClient::frame(77, 0, 0, b"x");
    for (name, frame) in [
        ("PING", ping),
        ("SETTINGS", settings),
        ("PRIORITY", priority),
        ("WINDOW_UPDATE", window),
        ("unknown", unknown),
    ] {
        let mut client = FrameClient::connect(site.address);
        let _ = client.raw.wire.send(frame.repeat(2000));
        assert_eq!(client.goaway(), ENHANCE_YOUR_CALM, "{name}");
    }
    assert_eq!(H2Client::connect(site.address).get("/").text(), "s1");
}

#[test]
fn a_download_pays_for_the_windows_it_needs() {
    let origin = Origin::answering(|_| Reply::ok(vec![b'x'; 4_000_000]));
    let site = start(Site::of(&[&origin]), "max_control_frames: 1");
    let mut client = FrameClient::connect(site.address);
    client.send(1, 5, 1, &FrameClient::get("/"));
    let mut came = 0;
    while came < 4_000_000 {
        let (kind, _, _, payload) = client.next().expect("a client that opens its windows often is served");
        if kind == 0 && !payload.is_empty() {
            came += payload.len();
            let mut windows = Vec::new();
            for piece in payload.chunks(4096) {
                let size = u32::try_from(piece.len()).unwrap().to_be_bytes();
                windows.extend(FrameClient::frame(8, 0, 0, &size));
                windows.extend(FrameClient::frame(8, 0, 1, &size));
            }
            client.raw.send(windows);
        }
    }
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let origin = Origin::answering(|_| Reply::ok("late").after(Duration::from_millis(500)));
    let site = start(Site::of(&[&origin]), "max_streams: 2");
    let mut client = FrameClient::connect(site.address);
    let mut bytes = Vec::new();
    for stream in [1, 3, 5] {
        bytes.extend(FrameClient::frame(1, 5, stream, &FrameClient::get("/")));
    }
    client.raw.send(bytes);
    let mut answered = Vec::new();
    while answered.len() < 2 {
        match client.next().expect("frames") {
            (3, _, stream, code) => {
                assert_eq!((stream, code), (5, REFUSED_STREAM.to_be_bytes().to_vec()));
            }
            (1, _, stream, _) => answered.push(stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let origin = Origin::named("s1");
    let site = start(Site::of(&[&origin]).defaults("timeouts: { request: 300ms, keepalive: 60s }"), "");
    let begun = Instant::now();
    let mut client = FrameClient::connect(site.address);
    let block = FrameClient::get("/");
    client.send(1, 1, 1, &block[..5]);
    while client.next().is_some() {}
    assert!(begun.elapsed() < Duration::from_secs(10));
    // The same after a request that was served.
    let mut client = FrameClient::connect(site.address);
    client.send(1, 5, 1, &block);
    while client.next().expect("an answer").0 != 0 {}
    client.send(1, 1, 3, &block[..5]);
    while client.next().is_some() {}
}

#[test]
fn connections_without_requests_are_closed_in_time() {
    let origin = Origin::named("s1");
    let site = start(Site::of(&[&origin]).defaults("timeouts: { request: 300ms, keepalive: 400ms }"), "");
    let mut silent = FrameClient::connect(site.address);
    assert_eq!(silent.goaway(), 0);
    let mut client = H2Client::connect(site.address);
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(client.ended(), None);
    let mut client = FrameClient { raw: site.client() };
    client.raw.send(b"PRI * HT");
    let _ = client.raw.wire.take_rest();
}

#[test]
fn a_window_that_stays_shut_is_given_up() {
    let origin = Origin::answering(|_| Reply::ok(vec![b'x'; 1_000_000]));
    let site = start(Site::of(&[&origin]).defaults("timeouts: { client: 300ms }"), "");
    let mut client = H2Client::connect(site.address);
    let mut stream = client.start(get("/stuck"), true);
    let (_, mut body) = client.head(&mut stream).unwrap().into_parts();
    let error = client.wait("the reset", async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("all of it came though the window was shut"),
            }
        }
    });
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let row = site.logs.row_where("the stuck one", |row| row.target().ends_with("/stuck"));
    assert_eq!(row.termination, "cD--");
    assert_eq!(client.wait("another", async {}), ());
}

#[test]
fn requests_per_connection_end_it_in_good_order() {
    let origin = Origin::named("s1");
    let site = start(Site::of(&[&origin]).frontend("limits: { requests_per_connection: 3 }"), "");
    let mut client = H2Client::connect(site.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "s1");
    }
    assert_eq!(client.ended(), None);
}

#[test]
fn mistakes_add_up_to_the_end_of_the_connection() {
    let origin = Origin::named("s1");
    let site = start(Site::of(&[&origin]), "max_glitches: 5");
    let mut client = FrameClient::connect(site.address);
    // A request without a path: the library resets each.
    let mut block = vec![0x82, 0x86];
    block.extend([1, 1, b'a']);
    let mut bytes = Vec::new();
    for n in 0..20u32 {
        bytes.extend(FrameClient::frame(1, 5, 2 * n + 1, &block));
    }
    let _ = client.raw.wire.send(&bytes);
    assert_eq!(client.goaway(), ENHANCE_YOUR_CALM);
    assert_eq!(H2Client::connect(site.address).get("/").text(), "s1");
}
