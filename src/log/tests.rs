//! The whole way of a line: worker, channel, writer, and real receivers on this machine.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::config::model::{Envelope, LogDestination, LogFormat};
use crate::core::filter::CaptureSpec;
use crate::core::log::record::{ConnectionCounts, Record, RequestLine, Timers};
use crate::core::log::severity;

const PATIENCE: Duration = Duration::from_secs(30);

fn target(to: LogDestination) -> LogTarget {
    LogTarget {
        to,
        envelope: Envelope::Rfc3164,
        facility: 16,
        format: LogFormat::Httplog,
        tag: "haproxy".into(),
        hostname: None,
        max_line_bytes: 8192,
        level: 7,
    }
}

fn raw(to: LogDestination) -> LogTarget {
    LogTarget { envelope: Envelope::Raw, ..target(to) }
}

struct Log {
    writer: LogWriter,
    worker: WorkerLog,
    control: ControlLog,
    live: Arc<ProcessLive>,
}

fn start(targets: &[LogTarget]) -> Log {
    let live = ProcessLive::new();
    let clock = LogClock {
        monotonic: Instant::now,
        wall: || UNIX_EPOCH + Duration::from_secs(1_795_290_378), // 2026-11-21 19:46:18 UTC
    };
    let setup = LogSetup { workers: 1, live: live.clone(), pid: 6775, zone: TimeZone::UTC, clock };
    let (writer, mut workers, control) = LogWriter::start(targets, setup).unwrap();
    Log { writer, worker: workers.pop().unwrap(), control, live }
}

static NO_CAPTURES: CaptureSpec = CaptureSpec { request: Vec::new(), response: Vec::new(), cookie: None };

impl Log {
    fn push(&mut self, path: &str) {
        self.worker.push(&Record {
            mode: crate::core::fleet::mode::Mode::Http,
            client: Some("127.0.0.1:39762".parse().unwrap()),
            accepted_us: 1_795_290_378_187_000,
            frontend: "fe",
            tls: false,
            backend: Some("be"),
            server: Some("s1"),
            timers: Timers { active: 1000, ..Timers::default() },
            status: Some(200),
            bytes_out: 185,
            bytes_in: 60,
            request_cookie: None,
            response_cookie: None,
            termination: *b"----",
            connections: ConnectionCounts::default(),
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
            request_captures: None,
            response_captures: None,
            capture_names: &NO_CAPTURES,
            request: Some(RequestLine { method: b"GET", target: path.as_bytes(), version: "HTTP/1.1" }),
            request_id: None,
            reason: None,
            limited_by: None,
            peer: None,
            severity: 6,
            format: None,
            asap: false,
            announced: None,
            tls_session: None,
            frontend_address: None,
            server_source: None,
            server_address: None,
            request_counter: 0,
            log_counter: 0,
        });
    }

    fn push_numbered(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.push(&format!("/{number}"));
        }
        self.worker.flush();
    }

    fn lost(&self) -> u64 {
        self.live.lost_log_lines.load(Ordering::Relaxed)
    }

    fn stop(self) {
        drop(self.worker);
        drop(self.control);
        self.writer.shutdown();
    }
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The number in `GET /NUMBER HTTP/1.1`; `None` for lines that are not requests.
fn number(line: &str) -> Option<usize> {
    line.split_once("\"GET /")?.1.split_once(' ')?.0.parse().ok()
}

fn receive_udp(socket: &UdpSocket) -> String {
    let mut buffer = [0; 70_000];
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn udp() -> (UdpSocket, LogDestination) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, LogDestination::Udp(address))
}

#[test]
fn a_udp_receiver_gets_the_line_haproxy_would_send() {
    let (socket, to) = udp();
    let mut log = start(&[target(to)]);
    assert!(log.worker.is_empty());
    log.push("/one");
    log.push("/two");
    assert_eq!(log.worker.pending(), 2);
    log.worker.flush();
    assert!(log.worker.is_empty());
    for path in ["/one", "/two"] {
        assert_eq!(
            receive_udp(&socket),
            format!(
                "<134>Nov 21 19:46:19 haproxy[6775]: 127.0.0.1:39762 [21/Nov/2026:19:46:18.187] fe be/s1 \
                 -1/-1/-1/-1/1000 200 185 - - ---- 0/0/0/0/0 0/0 \"GET {path} HTTP/1.1\"\n"
            )
        );
    }
    log.stop();
}

#[test]
fn a_full_batch_leaves_without_being_flushed() {
    let (socket, to) = udp();
    let mut log = start(&[target(to)]);
    for number in 0..64 {
        log.push(&format!("/{number}"));
    }
    assert!(log.worker.is_empty());
    for expected in 0..64 {
        assert_eq!(number(&receive_udp(&socket)), Some(expected));
    }
    for pending in 0..8 {
        assert_eq!(log.worker.pending(), pending);
        log.push(&"x".repeat(4000));
    }
    assert!(log.worker.is_empty(), "eight lines are more than 32 KiB");
    log.stop();
}

#[test]
fn a_line_that_is_too_long_keeps_its_quote() {
    let (socket, to) = udp();
    let mut log = start(&[
        LogTarget { max_line_bytes: 1000, ..target(to.clone()) },
        LogTarget { max_line_bytes: 200_000, ..target(to) },
    ]);
    log.push(&"x".repeat(100_000));
    log.worker.flush();
    let mut lengths = [receive_udp(&socket), receive_udp(&socket)].map(|line| {
        assert!(line.ends_with("xxx\"\n"));
        line.len() - 1
    });
    lengths.sort_unstable();
    assert_eq!(lengths, [1000, 65_000]);
    log.stop();
}

#[test]
fn events_reach_those_whose_level_takes_them() {
    let (all, to_all) = udp();
    let (few, to_few) = udp();
    let (json, to_json) = udp();
    let mut log = start(&[
        LogTarget { envelope: Envelope::Rfc5424, hostname: Some("lb1".into()), ..target(to_all) },
        LogTarget { level: 4, ..target(to_few) },
        LogTarget { envelope: Envelope::Raw, format: LogFormat::Json, ..target(to_json) },
    ]);
    log.push("/request");
    log.worker.flush();
    assert!(receive_udp(&all).contains("/request"));
    assert!(receive_udp(&json).contains("\"target\":\"/request\""));
    log.control.event(severity::NOTICE, "Server b/s is UP.");
    log.control.clone().event(severity::ALERT, "Server b/s is DOWN.\nforged");
    assert_eq!(receive_udp(&all), "<133>1 2026-11-21T19:46:18.000000+00:00 lb1 haproxy 6775 - - Server b/s is UP.\n");
    assert_eq!(
        receive_udp(&all),
        "<129>1 2026-11-21T19:46:18.000000+00:00 lb1 haproxy 6775 - - Server b/s is DOWN.#0Aforged\n"
    );
    assert_eq!(receive_udp(&few), "<129>Nov 21 19:46:18 haproxy[6775]: Server b/s is DOWN.#0Aforged\n");
    assert_eq!(
        receive_udp(&json),
        "{\"time\":\"2026-11-21T19:46:18.000000+00:00\",\"severity\":5,\"event\":\"Server b/s is UP.\"}\n"
    );
    log.stop();
}

#[test]
fn a_closed_udp_port_loses_lines_which_are_counted_and_told_when_it_is_open_again() {
    let (socket, to) = udp();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let mut log = start(&[target(to)]);
    let mut pushed = 0;
    eventually("losses are known", || {
        log.push_numbered(0..64);
        pushed += 64;
        log.lost() >= 200
    });
    assert!(log.lost() <= pushed);
    let by_target = log.writer.lost();
    assert_eq!(by_target.len(), 1);
    assert!(by_target[0].0.starts_with("udp://127.0.0.1:") && by_target[0].1 >= 200);

    let socket = UdpSocket::bind(address).unwrap();
    let mut told = String::new();
    eventually("the receiver is told", || {
        log.push_numbered(0..1);
        told = receive_udp(&socket);
        number(&told).is_none()
    });
    assert!(told.ends_with(&format!("lockgate: {} log lines were lost\n", log.lost())), "{told}");
    log.stop();
}

/// Reads so many lines of requests and returns their numbers. Counts into `received` as it goes.
fn receive_unix(socket: &UnixDatagram, received: &AtomicUsize, expected: usize) -> Vec<usize> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 10_000];
    let mut numbers = Vec::new();
    while numbers.len() < expected {
        let length = socket.recv(&mut buffer).unwrap();
        numbers.extend(number(std::str::from_utf8(&buffer[..length]).unwrap()));
        received.store(numbers.len(), Ordering::Relaxed);
    }
    numbers
}

#[test]
fn a_fast_unix_receiver_gets_every_line_in_order() {
    const LINES: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut log = start(&[target(LogDestination::UnixDatagram(path))]);
    let received = AtomicUsize::new(0);
    let numbers = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive_unix(&socket, &received, LINES));
        for start in (0..LINES).step_by(1000) {
            log.push_numbered(start..start + 1000);
            eventually("the receiver follows", || received.load(Ordering::Relaxed) + 15_000 > start);
        }
        receiver.join().unwrap()
    });
    assert!(numbers.iter().copied().eq(0..LINES));
    assert_eq!(log.lost(), 0);
    log.stop();
}

#[test]
fn a_unix_receiver_may_come_late_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = start(&[target(LogDestination::UnixDatagram(path.clone()))]);
    let received = AtomicUsize::new(0);
    log.push_numbered(0..100);
    let socket = UnixDatagram::bind(&path).unwrap();
    assert!(receive_unix(&socket, &received, 100).into_iter().eq(0..100));
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    log.push_numbered(100..300);
    let socket = UnixDatagram::bind(&path).unwrap();
    assert!(receive_unix(&socket, &received, 200).into_iter().eq(100..300));
    assert_eq!(log.lost(), 0);
    log.stop();
}

#[test]
fn a_unix_receiver_that_stalls_costs_itself_lines_and_nobody_else() {
    const LINES: usize = 60_000;
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("log"), folder.path().join("file"));
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut log = start(&[target(LogDestination::UnixDatagram(path)), raw(LogDestination::File(file.clone()))]);
    let lines_in_file = || std::fs::read(&file).unwrap().iter().filter(|byte| **byte == b'\n').count();
    for start in (0..LINES).step_by(5000) {
        log.push_numbered(start..start + 5000);
        eventually("the file follows", || lines_in_file() >= start);
    }
    eventually("the file has all lines", || lines_in_file() == LINES);
    assert_eq!(log.writer.lost()[1].1, 0);
    let lost = log.writer.lost()[0].1 as usize;
    assert!(lost > 10_000, "4 MiB hold far less than was sent: {lost}");
    assert_eq!(log.lost() as usize, lost);

    let received = AtomicUsize::new(0);
    let numbers = receive_unix(&socket, &received, LINES - lost);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    let mut buffer = [0; 10_000];
    let length = socket.recv(&mut buffer).unwrap();
    let told = std::str::from_utf8(&buffer[..length]).unwrap();
    assert_eq!(told, format!("<132>Nov 21 19:46:18 haproxy[6775]: lockgate: {lost} log lines were lost\n"));
    log.stop();
}

/// Reads one octet-counted line (RFC 6587).
fn read_frame(stream: &mut impl Read) -> Option<String> {
    let mut length = 0;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut line = vec![0; length];
    stream.read_exact(&mut line).ok()?;
    Some(String::from_utf8(line).unwrap())
}

fn accept(listener: &TcpListener) -> std::io::BufReader<TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::BufReader::new(stream)
}

fn tcp() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_fast_tcp_receiver_gets_every_line_in_order() {
    const LINES: usize = 100_000;
    let (listener, address) = tcp();
    let mut log = start(&[target(LogDestination::Tcp(address))]);
    let received = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut stream = accept(&listener);
            for expected in 0..LINES {
                let line = read_frame(&mut stream).unwrap();
                assert!(line.starts_with("<134>Nov 21 ") && line.ends_with(" HTTP/1.1\""), "{line}");
                assert_eq!(number(&line), Some(expected));
                received.store(expected, Ordering::Relaxed);
            }
        });
        for start in (0..LINES).step_by(1000) {
            log.push_numbered(start..start + 1000);
            eventually("the receiver follows", || received.load(Ordering::Relaxed) + 15_000 > start);
        }
        receiver.join().unwrap();
    });
    assert_eq!(log.lost(), 0);
    log.stop();
}

#[test]
fn a_tcp_receiver_that_stalls_gets_what_was_held_and_is_told_of_the_rest() {
    const LINES: usize = 150_000;
    let (listener, address) = tcp();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut log = start(&[target(LogDestination::Tcp(address)), raw(LogDestination::File(file.clone()))]);
    log.push_numbered(0..1);
    let mut stream = accept(&listener);
    let size = || std::fs::metadata(&file).unwrap().len();
    let mut pushed = 1;
    // The other target shows that the writer goes on; the kernel's buffers take some megabytes first.
    while pushed < LINES {
        let before = size();
        log.push_numbered(pushed..pushed + 5000);
        pushed += 5000;
        eventually("the file grows", || size() > before);
        eventually("the writer follows", || size() > (pushed as u64).saturating_sub(10_000) * 100);
    }
    eventually("lines are lost", || log.writer.lost()[0].1 > 0);
    let mut seen = 0u64;
    let mut told = None;
    let mut last = None;
    while told.is_none() {
        let line = read_frame(&mut stream).unwrap();
        match number(&line) {
            Some(number) => {
                assert!(last.is_none_or(|last| last < number), "in order");
                last = Some(number);
                seen += 1;
            }
            None => told = Some(line),
        }
    }
    let told = told.unwrap();
    let lost = log.writer.lost()[0].1;
    assert_eq!(seen + lost, pushed as u64);
    assert!(told.ends_with(&format!("lockgate: {lost} log lines were lost")), "{told} but {lost}");
    assert_eq!(log.writer.lost()[1].1, 0);
    log.stop();
}

#[test]
fn a_tcp_receiver_may_come_late_and_come_back() {
    let (listener, address) = tcp();
    let mut log = start(&[target(LogDestination::Tcp(address))]);
    log.push_numbered(0..1000);
    let mut stream = accept(&listener);
    for expected in 0..1000 {
        assert_eq!(number(&read_frame(&mut stream).unwrap()), Some(expected));
    }
    // Closed while nothing is on the way: the writer sees it before it sends again.
    drop(stream);
    log.push_numbered(1000..2000);
    let mut stream = accept(&listener);
    for expected in 1000..2000 {
        assert_eq!(number(&read_frame(&mut stream).unwrap()), Some(expected));
    }
    assert_eq!(log.lost(), 0);
    log.stop();
}

#[test]
fn a_log_file_is_opened_anew_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut log = start(&[raw(LogDestination::File(path.clone()))]);
    let numbers = |path: &Path| -> Vec<usize> {
        std::fs::read_to_string(path).unwrap_or_default().lines().map(|line| number(line).unwrap()).collect()
    };
    log.push_numbered(0..3);
    eventually("the lines are there", || numbers(&path).len() == 3);
    std::fs::rename(&path, &rotated).unwrap();
    log.push_numbered(3..5);
    eventually("the old file goes on", || numbers(&rotated) == [0, 1, 2, 3, 4]);
    log.writer.reopen();
    eventually("there is a new file", || path.exists());
    log.push_numbered(5..7);
    eventually("it has the new lines", || numbers(&path) == [5, 6]);
    assert_eq!(numbers(&rotated).len(), 5);
    log.stop();
}

#[test]
fn workers_never_wait_for_a_blocked_writer_and_lost_batches_are_counted() {
    const LINES: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A pipe with a reader that does not read: the writer blocks in it. Open for both, so that opening does not wait.
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut log = start(&[raw(LogDestination::File(path))]);
    log.push_numbered(0..LINES);
    let lost = log.lost() as usize;
    assert!(lost > 0 && lost < LINES, "{lost}");
    let received = std::thread::scope(|scope| {
        let counting = scope.spawn(move || {
            let (mut buffer, mut text) = ([0; 65_536], Vec::new());
            while !text.ends_with(b"the end\n") {
                let length = reader.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..length]);
            }
            String::from_utf8(text).unwrap().lines().filter_map(number).count()
        });
        eventually("the writer has caught up", || {
            log.control.event(severity::INFO, "the end");
            counting.is_finished()
        });
        counting.join().unwrap()
    });
    assert_eq!(received + lost, LINES);
    // Nobody reads the pipe any more and nobody has it open, so what is left cannot block the end.
    log.stop();
}

#[test]
fn the_last_lines_leave_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (listener, address) = tcp();
    let mut log = start(&[raw(LogDestination::File(path.clone())), target(LogDestination::Tcp(address))]);
    let receiver = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        std::iter::from_fn(|| read_frame(&mut stream)).count()
    });
    for number in 0..10 {
        log.push(&format!("/{number}"));
    }
    log.control.event(severity::NOTICE, "stopping");
    log.stop();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 11);
    assert_eq!(receiver.join().unwrap(), 11);
}

#[test]
fn what_could_not_leave_is_counted_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = start(&[target(LogDestination::UnixDatagram(folder.path().join("nobody")))]);
    let live = log.live.clone();
    log.push_numbered(0..10);
    log.stop();
    assert_eq!(live.lost_log_lines.load(Ordering::Relaxed), 10);
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let live = ProcessLive::new();
    let clock = LogClock { monotonic: Instant::now, wall: SystemTime::now };
    let setup = LogSetup { workers: 1, live, pid: 1, zone: TimeZone::UTC, clock };
    let error = LogWriter::start(&[raw(LogDestination::File("/nonexistent/log".into()))], setup).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/log"));
}

#[test]
fn without_targets_nothing_happens() {
    let mut log = start(&[]);
    log.push_numbered(0..1000);
    log.control.event(severity::ALERT, "nobody hears it");
    assert!(log.worker.is_empty());
    assert_eq!(log.lost(), 0);
    log.stop();
}
