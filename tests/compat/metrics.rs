//! The page of metrics compared with the one of HAProxy 2.6's own exporter, and read by Prometheus' own checker.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use lockgate::admin::Orders;
use lockgate::core::stats::View;
use lockgate::core::stats::prometheus::{
    CertificateExpiry, Exposition, LimitCount, MetricsFacts, MetricsQuery, render,
};

use crate::lab::Lab;

/// Written down in docs/HAPROXY_COMPAT.md: what of HAProxy's page differs here, and how.
const OTHER_TYPE: &[&str] = &["haproxy_process_failed_resolutions"];
/// Without a value there is no sample, and nothing here has one of these.
const ABSENT: &[&str] =
    &["haproxy_server_current_throttle", "haproxy_server_queue_limit", "haproxy_server_idle_connections_limit"];

fn page(exposition: Exposition) -> String {
    let lab = Lab::new();
    lab.traffic();
    let (fleet, rates, process) = (lab.fleet.borrow(), lab.rates.borrow(), lab.facts());
    let view = View { fleet: &fleet, rates: &rates, started: process.started, now: lab.now(), legends: false };
    let facts = MetricsFacts {
        certificates: &[CertificateExpiry {
            file: "/etc/lockgate/a.pem".into(),
            name: "*.example.com".into(),
            not_after: 1_800_000_000,
        }],
        tls: None,
        limits: &[LimitCount {
            frontend: "fe_main".into(),
            name: "per \"client\"".into(),
            action: "deny",
            exceeded: 3,
        }],
        worker_cpu: &[std::time::Duration::from_millis(1234)],
        last_reload: None,
    };
    render(&MetricsQuery::parse("", exposition).unwrap(), &view, &process, &facts)
}

/// Types by metric, and each metric with the names of its labels.
fn shape(page: &str) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut types, mut samples) = (BTreeMap::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (name, labels) = line.rsplit_once(' ').unwrap().0.split_once('{').unwrap_or((line, ""));
            let name = name.split(' ').next().unwrap();
            let labels = labels.split(',').filter_map(|l| l.split_once('=')).map(|(name, _)| name);
            samples.insert(format!("{name}{{{}}}", labels.collect::<Vec<_>>().join(",")));
        }
    }
    (types, samples)
}

#[test]
fn names_types_and_labels_are_haproxys() {
    let golden = include_str!("golden/metrics-2.6.txt");
    let (types, samples) = shape(&page(Exposition::Text));
    let mut wrong = Vec::new();
    for line in golden.lines() {
        match line.strip_prefix("  ") {
            Some(sample) => {
                let absent = ABSENT.iter().any(|name| sample.starts_with(name));
                if !absent && !samples.contains(sample) {
                    wrong.push(format!("no sample {sample}"));
                }
            }
            None => {
                let (name, kind) = line.split_once(' ').unwrap();
                let expected = (!OTHER_TYPE.contains(&name)).then_some(kind);
                match types.get(name) {
                    Some(ours) if expected.is_some_and(|kind| kind != ours) => {
                        wrong.push(format!("{name} is a {ours}, not a {kind}"));
                    }
                    Some(_) => {}
                    None if ABSENT.contains(&name) => {}
                    None => wrong.push(format!("no metric {name}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(golden.lines().count() > 300);
}

#[test]
fn prometheus_takes_it() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs promtool: run scripts/test, or apt-get install prometheus");
    let mut stdin = promtool.stdin.take().unwrap();
    let text = page(Exposition::Text);
    let feeding = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let said = promtool.wait_with_output().unwrap();
    feeding.join().unwrap();
    let said = (said.status.success(), String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!((said.0, &*said.1, &*said.2), (true, "", ""));
}

/// What a strict reader of OpenMetrics 1.0 insists on, beyond what the text format does.
#[test]
fn open_metrics_is_strict() {
    let page = page(Exposition::OpenMetrics);
    let body = page.strip_suffix("# EOF\n").expect("the page ends with its end");
    let (mut family, mut kind) = (String::new(), String::new());
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line && !line.contains('\t'), "{line:?}");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            (family, kind) = (name.to_owned(), of.to_owned());
            assert!(!family.ends_with("_total"), "{family}");
            continue;
        }
        if line.starts_with('#') {
            assert!(line.starts_with("# HELP "), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{name} under {family}"));
        match kind.as_str() {
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "counter" => assert_eq!(suffix, "_total", "{line}"),
            "histogram" => match suffix {
                "_bucket" => {
                    let (_, bound) = series.rsplit_once("le=\"").unwrap();
                    let bound = bound.trim_end_matches("\"}");
                    assert!(bound.contains(['.', 'e']) || bound == "+Inf", "{line}: not a canonical number");
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                    buckets.push((bound, value.parse().unwrap()));
                }
                "_sum" => {}
                "_count" => {
                    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{line}");
                    let all = buckets.last().copied();
                    assert_eq!(all, Some((f64::INFINITY, value.parse().unwrap())), "{line}");
                    buckets.clear();
                }
                _ => panic!("{line}"),
            },
            _ => panic!("{family} is a {kind}"),
        }
    }
    assert!(buckets.is_empty());
    // For other programs' parsers.
    if let Some(folder) = std::env::var_os("METRICS_DUMP") {
        std::fs::write(std::path::Path::new(&folder).join("open_metrics.txt"), &page).unwrap();
    }
}
