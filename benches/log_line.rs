//! What one log line costs: laying it out, and the whole way to a UDP receiver on this machine.
//!
//! `cargo bench --bench log_line` prints nanoseconds of the whole process's CPU time (user and system) per line.

use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;
use lockgate::config::model::{Envelope, LogDestination, LogFormat, LogTarget};
use lockgate::core::filter::{CaptureSpec, HeaderCapture};
use lockgate::core::fleet::live::ProcessLive;
use lockgate::core::log::date::DateCache;
use lockgate::core::log::format::{HTTPLOG, LineFormat, Surroundings};
use lockgate::core::log::record::{CapturedValue, ConnectionCounts, Record, RequestLine, Timers};
use lockgate::core::log::{httplog, json};
use lockgate::log::{LogClock, LogSetup, LogWriter};

const LINES: u64 = 1_000_000;

/// What lays out a record in at most so many bytes.
type Render<'a> = dyn Fn(&Record<'_>, &mut DateCache, usize, &mut Vec<u8>) + 'a;

fn main() {
    let spec = CaptureSpec {
        request: captured(&["Host", "User-Agent"]),
        response: captured(&["X-AspNet-Duration-Ms", "X-Sql-Count", "X-Redis-Ms"]),
        cookie: None,
    };
    let request =
        values(&["www.example.com", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"]);
    let response = values(&["12", "3", "0.4"]);
    let mut record = record(&spec, &request, &response);

    let mut dates = DateCache::new(TimeZone::UTC);
    let mut out = Vec::new();
    let string = LineFormat::parse(HTTPLOG).expect("a format of our own");
    let surroundings = Surroundings { hostname: "lb1".into(), pid: std::process::id() };
    let by_string = |record: &Record<'_>, dates: &mut DateCache, max_bytes: usize, out: &mut Vec<u8>| {
        string.render(record, &surroundings, dates, max_bytes, out);
    };
    let renderers: [(&str, &Render<'_>); 3] =
        [("httplog", &httplog::render), ("httplog as a string", &by_string), ("json", &json::render)];
    for (name, render) in renderers {
        let begin = cpu_time();
        for number in 0..LINES {
            record.accepted_us += 50 * (number & 1);
            out.clear();
            render(std::hint::black_box(&record), &mut dates, 8192, &mut out);
            std::hint::black_box(&out);
        }
        println!("{name:<24} {:>6} ns of CPU per line of {} bytes", per_line(cpu_time() - begin), out.len());
    }
    to_udp(&record);
}

fn to_udp(record: &Record<'_>) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a free port on loopback");
    let target = LogTarget {
        to: LogDestination::Udp(receiver.local_addr().expect("it is bound")),
        envelope: Envelope::Rfc3164,
        facility: 16,
        format: LogFormat::Httplog,
        tag: "haproxy".into(),
        hostname: None,
        max_line_bytes: 8192,
        level: 7,
    };
    let live = ProcessLive::new();
    let setup = LogSetup {
        workers: 1,
        live: live.clone(),
        pid: std::process::id(),
        zone: TimeZone::UTC,
        clock: LogClock { monotonic: now, wall },
    };
    let (writer, mut workers, control) = LogWriter::start(&[target], setup).expect("nothing to open");
    let mut worker = workers.pop().expect("one was asked for");
    drop(control);

    // A socket that is never read drops what does not fit, at no cost to the sender, and takes no CPU of this process.
    let begin = cpu_time();
    for number in 0..LINES {
        worker.push(record);
        if number % 4096 == 0 {
            // Keeps the pace of a busy proxy rather than flooding the channel.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    drop(worker);
    writer.shutdown();
    let lost = live.lost_log_lines.load(Ordering::Relaxed);
    println!("{:<24} {:>6} ns of CPU per line, {lost} lost", "httplog to udp", per_line(cpu_time() - begin));
}

fn record<'a>(spec: &'a CaptureSpec, request: &'a [CapturedValue], response: &'a [CapturedValue]) -> Record<'a> {
    Record {
        mode: lockgate::core::fleet::mode::Mode::Http,
        client: Some("203.0.113.77:39762".parse().expect("an address")),
        accepted_us: 1_795_290_378_187_000,
        frontend: "public",
        tls: true,
        backend: Some("web"),
        server: Some("web01"),
        timers: Timers {
            handshake: Some(0),
            idle: Some(12),
            request: Some(0),
            queue: Some(0),
            connect: Some(1),
            response: Some(14),
            active: 16,
        },
        status: Some(200),
        bytes_out: 34_185,
        bytes_in: 460,
        request_cookie: None,
        response_cookie: None,
        termination: *b"----",
        connections: ConnectionCounts { process: 5123, frontend: 5001, backend: 40, server: 5 },
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        request_captures: Some(request),
        response_captures: Some(response),
        capture_names: spec,
        request: Some(RequestLine {
            method: b"GET",
            target: b"/questions/11227809/why-is-processing-a-sorted-array-faster?tab=votes&page=2",
            version: "HTTP/1.1",
        }),
        request_id: Some(b"01JD8Z6K3T5V9Q2W4X7Y"),
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
    }
}

fn captured(names: &[&str]) -> Vec<HeaderCapture> {
    names.iter().map(|name| HeaderCapture { header: (*name).into(), max_bytes: 64, strip: false }).collect()
}

fn values(texts: &[&str]) -> Vec<CapturedValue> {
    texts.iter().map(|text| CapturedValue::from_slice(text.as_bytes())).collect()
}

fn per_line(time: Duration) -> u128 {
    time.as_nanos() / u128::from(LINES)
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("always there");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn wall() -> SystemTime {
    SystemTime::now()
}
