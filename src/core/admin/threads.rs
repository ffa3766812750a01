//! `show threads`, `show activity`, `show tasks`, `show pools`: what threads do, and what workers keep.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::sessions::{StreamRow, StreamState};

/// A thread of the process, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadView {
    /// The kernel's number.
    pub id: u32,
    /// `worker-0`, …
    pub name: Box<str>,
    /// `R` running, `S` sleeping, `D` waiting for a disk.
    pub state: char,
    /// Processor time so far, in ns.
    pub cpu_ns: u64,
    /// Time it was ready to run and had to wait for a processor, in ns.
    pub waited_ns: u64,
    /// Times it was switched to.
    pub switches: u64,
}

/// What a worker tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerView {
    /// Its position.
    pub index: usize,
    /// Client connections it serves now.
    pub connections: u32,
    /// Client connections it was given so far.
    pub accepted: u64,
    /// Requests so far.
    pub requests: u64,
    /// Tasks alive.
    pub tasks: u64,
    /// Times it had nothing to do and waited for the kernel.
    pub loops: u64,
    /// Time it was not waiting.
    pub busy: Duration,
    /// Memory kept for reuse.
    pub pools: Vec<PoolView>,
}

/// Objects of one size that a worker keeps for reuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// What they are.
    pub name: &'static str,
    /// Bytes of each.
    pub size: usize,
    /// How many are kept.
    pub kept: usize,
}

/// The reply to `show threads`. `own` is the thread that answers.
pub fn threads(threads: &[ThreadView], workers: &[WorkerView], own: u32) -> String {
    let mut out = String::new();
    for (position, thread) in threads.iter().enumerate() {
        let worker = workers.iter().find(|worker| *thread.name == *format!("worker-{}", worker.index));
        let mark = if thread.id == own { '*' } else { ' ' };
        let _ = writeln!(
            out,
            "{mark} Thread {:<2}: id={} name={} state={} act={}",
            position + 1,
            thread.id,
            thread.name,
            thread.state,
            u8::from(thread.id == own || thread.state == 'R')
        );
        let _ = writeln!(
            out,
            "             cpu_ns: now={} waited={} switches={}",
            thread.cpu_ns, thread.waited_ns, thread.switches
        );
        if let Some(worker) = worker {
            let _ = writeln!(
                out,
                "             conns={} tasks={} loops={} busy_us={}",
                worker.connections,
                worker.tasks,
                worker.loops,
                worker.busy.as_micros()
            );
        }
    }
    out
}

/// The reply to `show activity`: totals, and with several workers each one's share. `now` is the wall clock's time since
/// 1970.
pub fn activity(threads: &[ThreadView], workers: &[WorkerView], now: Duration, uptime: Duration) -> String {
    let mut out = format!(
        "thread_id: 0 (1..{})\ndate_now: {}.{:06}\nuptime_now: {}.{:06}\n",
        workers.len(),
        now.as_secs(),
        now.subsec_micros(),
        uptime.as_secs(),
        uptime.subsec_micros()
    );
    let thread = |worker: &WorkerView| threads.iter().find(|t| *t.name == *format!("worker-{}", worker.index));
    let of_thread = |value: fn(&ThreadView) -> u64| {
        let values: Vec<u64> = workers.iter().map(|worker| thread(worker).map_or(0, value)).collect();
        values
    };
    let of_worker = |value: fn(&WorkerView) -> u64| workers.iter().map(value).collect::<Vec<u64>>();
    let up = uptime.as_nanos().max(1);
    let percent: Vec<u64> = of_thread(|t| t.cpu_ns).iter().map(|ns| (u128::from(*ns) * 100 / up) as u64).collect();
    let loop_us: Vec<u64> =
        workers.iter().map(|w| (w.busy.as_micros() as u64).checked_div(w.loops).unwrap_or(0)).collect();
    for (name, values) in [
        ("ctxsw", of_thread(|t| t.switches)),
        ("loops", of_worker(|w| w.loops)),
        ("tasks", of_worker(|w| w.tasks)),
        ("cpust_ms_tot", of_thread(|t| t.waited_ns / 1_000_000)),
        ("cpu_ms_tot", of_thread(|t| t.cpu_ns / 1_000_000)),
    ] {
        row(&mut out, name, values.iter().sum(), &values);
    }
    let mean = |values: &[u64]| values.iter().sum::<u64>().checked_div(values.len() as u64).unwrap_or(0);
    row(&mut out, "avg_cpu_pct", mean(&percent), &percent);
    row(&mut out, "avg_loop_us", mean(&loop_us), &loop_us);
    for (name, values) in [
        ("accepted", of_worker(|w| w.accepted)),
        ("requests", of_worker(|w| w.requests)),
        ("conn_cur", of_worker(|w| u64::from(w.connections))),
    ] {
        row(&mut out, name, values.iter().sum(), &values);
    }
    out
}

fn row(out: &mut String, name: &str, all: u64, each: &[u64]) {
    let _ = write!(out, "{name}: {all}");
    if each.len() > 1 {
        out.push_str(" [");
        each.iter().for_each(|value| {
            let _ = write!(out, " {value}");
        });
        out.push_str(" ]");
    }
    out.push('\n');
}

/// The reply to `show tasks`: client connections by what they are doing. How long tasks wait to be run is not measured.
pub fn tasks(streams: &[StreamRow], workers: usize) -> String {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for stream in streams {
        *counts.entry(doing(stream.state)).or_default() += 1;
    }
    let mut out = format!(
        "Running tasks: {} ({workers} threads)\n  function                     places     %    lat_tot   lat_avg\n",
        streams.len()
    );
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    for (name, count) in rows {
        let percent = count as f64 * 100.0 / streams.len() as f64;
        let _ = writeln!(out, "  {name:<25} {count:>9} {percent:>5.1} {:>10} {:>9}", "-", "-");
    }
    out
}

fn doing(state: StreamState) -> &'static str {
    match state {
        StreamState::Request => "client_request",
        StreamState::Tarpit => "tarpit",
        StreamState::Queue => "queue",
        StreamState::Connect => "server_connect",
        StreamState::Response => "server_response",
        StreamState::Transfer => "transfer",
        StreamState::Tunnel => "tunnel",
    }
}

/// The reply to `show pools`: what workers keep for reuse, all together, and the memory of the process in bytes.
pub fn pools(workers: &[WorkerView], resident: u64) -> String {
    let mut sums: BTreeMap<(&'static str, usize), usize> = BTreeMap::new();
    for pool in workers.iter().flat_map(|worker| &worker.pools) {
        *sums.entry((pool.name, pool.size)).or_default() += pool.kept;
    }
    let mut out = String::from("Dumping pools usage. What is in use is not counted.\n");
    let mut bytes = 0;
    for ((name, size), kept) in &sums {
        bytes += size * kept;
        let _ = writeln!(
            out,
            "  - Pool {name} ({size} bytes) : {kept} kept ({} bytes), by {} threads",
            size * kept,
            workers.len()
        );
    }
    let _ = writeln!(out, "Total: {} pools, {bytes} bytes kept, {resident} bytes resident.", sums.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> (Vec<ThreadView>, Vec<WorkerView>) {
        let thread = |id, name: &str, ns| ThreadView {
            id,
            name: name.into(),
            state: 'S',
            cpu_ns: ns,
            waited_ns: 2_000_000,
            switches: 10,
        };
        let worker = |index, requests| WorkerView {
            index,
            connections: 1,
            accepted: 2,
            requests,
            tasks: 4,
            loops: 5,
            busy: Duration::from_micros(100),
            pools: vec![PoolView { name: "buffer", size: 16384, kept: 2 }],
        };
        let threads = vec![
            thread(7, "lockgate", 1_000_000),
            thread(8, "worker-0", 500_000_000),
            thread(9, "worker-1", 250_000_000),
        ];
        (threads, vec![worker(0, 30), worker(1, 12)])
    }

    #[test]
    fn each_thread_is_listed_and_the_answering_one_marked() {
        let (kernel, workers) = seen();
        let text = threads(&kernel, &workers, 7);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "* Thread 1 : id=7 name=lockgate state=S act=1");
        assert_eq!(lines[1], "             cpu_ns: now=1000000 waited=2000000 switches=10");
        assert_eq!(lines[2], "  Thread 2 : id=8 name=worker-0 state=S act=0");
        assert_eq!(lines[4], "             conns=1 tasks=4 loops=5 busy_us=100");
        assert_eq!(lines.len(), 2 + 3 + 3);
    }

    #[test]
    fn activity_is_summed_and_shared_out() {
        let (kernel, workers) = seen();
        let text = activity(&kernel, &workers, Duration::from_micros(1_795_290_914_569_944), Duration::from_secs(1));
        for line in [
            "thread_id: 0 (1..2)",
            "date_now: 1795290914.569944",
            "uptime_now: 1.000000",
            "ctxsw: 20 [ 10 10 ]",
            "avg_cpu_pct: 37 [ 50 25 ]",
            "avg_loop_us: 20 [ 20 20 ]",
            "requests: 42 [ 30 12 ]",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let single = activity(&kernel, &workers[..1], Duration::ZERO, Duration::from_secs(1));
        assert!(single.contains("\nrequests: 30\n"), "{single}");
        assert!(activity(&[], &[], Duration::ZERO, Duration::ZERO).contains("avg_cpu_pct: 0\n"), "nothing is no panic");
    }

    #[test]
    fn pools_are_summed() {
        let (_, workers) = seen();
        let text = pools(&workers, 1000);
        assert!(text.contains("  - Pool buffer (16384 bytes) : 4 kept (65536 bytes), by 2 threads\n"), "{text}");
        assert!(text.ends_with("Total: 1 pools, 65536 bytes kept, 1000 bytes resident.\n"), "{text}");
    }
}
