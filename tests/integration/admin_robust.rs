//! The admin socket under abuse: everything it takes is bounded, it goes on answering, and requests do not notice.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::origin::Origin;
use crate::support::site::{Running, Site};

/// Longest time a request may take while the admin socket is abused; without abuse it takes under a millisecond, and the
/// machine that runs the tests is busy.
const LONGEST: Duration = Duration::from_secs(2);

/// Requests one after the other until told to stop: how many, and the slowest.
fn requests(site: &Running, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, Duration)> {
    let (mut client, stop) = (site.client(), stop.clone());
    std::thread::spawn(move || {
        let (mut count, mut slowest) = (0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            assert_eq!(client.get("/meanwhile").status(), 200);
            slowest = slowest.max(started.elapsed());
            count += 1;
        }
        (count, slowest)
    })
}

/// Runs `abuse` while requests are made, then looks whether all is well.
fn meanwhile(site: &Running, abuse: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let client = requests(site, &stop);
    abuse();
    stop.store(true, Ordering::Relaxed);
    let (count, slowest) = client.join().unwrap();
    assert!(count > 0 && slowest < LONGEST, "{count} requests, the slowest took {slowest:?}");
    assert_eq!(site.status("s1"), "no check", "the socket answers");
}

/// Sends this and reads to the end; the peer may be cut off while it sends.
fn throw(site: &Running, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(site.admin_socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn garbage_of_every_kind() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    let too_big = "The command is too big for the buffer size.";
    meanwhile(&site, || {
        assert!(throw(&site, &vec![b'a'; 10 << 20]).starts_with(too_big));
        assert!(throw(&site, &[&b"set ssl cert x <<\n"[..], &b"line\n".repeat(2 << 20)].concat()).starts_with(too_big));
        assert!(throw(&site, &[&b"set ssl cert x <<\n"[..], &vec![b'x'; 10 << 20]].concat()).starts_with(too_big));
        assert_eq!(throw(&site, b"show info"), "", "half a command does nothing");
        assert_eq!(throw(&site, b"set ssl cert x <<\nhalf a payload\n"), "");
        assert!(throw(&site, b"show \0 version\n").starts_with("Unknown command: 'show"));
        assert!(throw(&site, &[&[0; 1000][..], b"\n"].concat()).starts_with("Unknown command: '???"));
        assert!(throw(&site, &[&[0xff; 1000][..], b"\n"].concat()).starts_with("Unknown command: "));
        assert!(throw(&site, &[&b";".repeat(10_000)[..], b"\n"].concat()).len() > 10_000);
        throw(&site, &[&b"show stat;".repeat(1000)[..], b"\n"].concat());
    });
    let used = site.memory_kib("VmRSS");
    assert!(used < 100 * 1024, "{used} KiB");
}

#[test]
fn a_payload_that_comes_byte_by_byte_costs_little() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).start();
    meanwhile(&site, || {
        let mut stream = UnixStream::connect(site.admin_socket()).unwrap();
        stream.write_all(b"set ssl cert x <<\n").unwrap();
        for _ in 0..30_000 {
            stream.write_all(b"x").unwrap();
        }
        stream.write_all(b"\n\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("Can't replace a certificate which is not referenced"), "{reply}");
    });
}

#[test]
fn five_hundred_connections_at_once() {
    let origin = Origin::named("s1");
    let setup = Site::of(&[&origin]);
    let path = setup.path("admin.sock");
    let spare = setup.path("spare.sock");
    let site = setup
        .global(
            "admin",
            format!(
                "[ {{ socket: {}, level: admin, timeout: 1s }}, {{ socket: {}, level: user }} ]",
                path.display(),
                spare.display()
            ),
        )
        .start();
    meanwhile(&site, || {
        // Ten are served, the kernel keeps some more, the rest has to wait with connecting.
        let crowd: Vec<_> = (0..500)
            .map(|n| {
                let path = path.clone();
                std::thread::Builder::new()
                    .stack_size(128 * 1024)
                    .spawn(move || {
                        let mut stream = UnixStream::connect(path).ok()?;
                        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
                        // Every fiftieth says nothing and is closed after a second.
                        if n % 50 != 0 {
                            stream.write_all(b"show version\n").ok()?;
                        }
                        let mut reply = String::new();
                        stream.read_to_string(&mut reply).ok()?;
                        Some(reply)
                    })
                    .unwrap()
            })
            .collect();
        let other = crate::support::proxy::exchange(&spare, "show cli level\n").unwrap();
        assert_eq!(other, "user\n\n", "another socket is not held up");
        let replies: Vec<Option<String>> = crowd.into_iter().map(|one| one.join().unwrap()).collect();
        let answered = replies.iter().flatten().filter(|reply| reply.contains("lockgate")).count();
        assert_eq!(answered, 490, "every one that asked was answered");
    });
}

#[test]
fn peers_that_never_read() {
    let origin = Origin::named("s1");
    let servers: String = (0..1000).map(|n| format!("    extra{n}: 127.0.0.1:9\n")).collect();
    let setup = Site::of(&[&origin]).more("backends", format!("many:\n  health_check: off\n  servers:\n{servers}"));
    let path = setup.path("admin.sock");
    let site =
        setup.global("admin", format!("[ {{ socket: {}, level: admin, timeout: 2s }} ]", path.display())).start();
    let before = site.memory_kib("VmRSS");
    meanwhile(&site, || {
        // All ten places are taken by peers that ask for much and read nothing.
        let held: Vec<UnixStream> = (0..10)
            .map(|_| {
                let mut stream = UnixStream::connect(&path).unwrap();
                stream.write_all(&[&b"show stat;".repeat(100)[..], b"\n"].concat()).unwrap();
                stream
            })
            .collect();
        // They are given up after the timeout: whoever asks next is answered.
        assert_eq!(site.stats().len(), 1000 + 4);
        let grown = site.memory_kib("VmHWM").saturating_sub(before);
        assert!(grown < 64 * 1024, "replies do not pile up: {grown} KiB more");
        drop(held);
    });
}

#[test]
fn looking_at_the_process() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2").environment("LOCKGATE_TEST_WORD", "seen").start();
    let mut client = site.client();
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(site.admin("show env LOCKGATE_TEST_WORD"), "LOCKGATE_TEST_WORD=seen\n");
    let startup = site.admin("show startup-logs");
    assert!(startup.starts_with(&format!("[NOTICE]   ({}) : lockgate version is ", site.pid())), "{startup}");
    let descriptors = site.admin("show fd");
    for part in [
        format!("st=LISTEN l.st=RDY fe=fe fam=ipv4 lport={}", site.address.port()),
        format!("st=ESTABLISHED back=0 fam=ipv4 lport={} rport={}", site.address.port(), client.local_addr().port()),
        "st=ESTABLISHED back=1 fam=ipv4 lport=".to_owned(),
        " sv=web/s1\n".to_owned(),
    ] {
        assert!(descriptors.contains(&part), "{part} is not in\n{descriptors}");
    }
    let threads = site.admin("show threads");
    assert!(threads.contains(" name=worker-0 ") && threads.contains(" name=worker-1 "), "{threads}");
    assert!(threads.lines().any(|line| line.starts_with("* Thread 1 ") && line.contains("name=lockgate")), "{threads}");
    let activity = site.admin("show activity");
    let line = activity.lines().find(|line| line.starts_with("requests: ")).unwrap();
    assert!(line == "requests: 1 [ 1 0 ]" || line == "requests: 1 [ 0 1 ]", "{activity}");
    assert!(site.admin("show tasks").starts_with("Running tasks: 1 (2 threads)\n"));
    assert!(site.admin("show pools").contains("  - Pool buffer (16384 bytes) : "));
    assert!(site.admin("show libs").contains("/lockgate\n"));
    let events = site.admin("show events buf0");
    assert!(events.starts_with("<5>20") && events.contains(" lockgate is ready"), "{events}");
}

#[test]
fn look_ups_are_counted() {
    let origin = Origin::named("s1");
    let dead = crate::support::ports::address();
    let site = Site::of(&[&origin])
        .more("backends", "named:\n  health_check: off\n  servers:\n    a: no-such-name.invalid:80\n")
        .environment("LOCKGATE_NAME_SERVER", dead.to_string())
        .without_waiting_for_checks()
        .start();
    crate::support::until("a look-up", || {
        let shown = site.admin("show resolvers default");
        assert!(shown.contains(&format!(" nameserver {dead}:\n")), "{shown}");
        !shown.contains("  sent:        0\n")
    });
}
