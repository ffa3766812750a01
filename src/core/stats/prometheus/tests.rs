use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::core::fleet::Fleet;
use crate::core::fleet::saved::SavedState;
use crate::core::fleet::spec::{BackendSpec, FleetSpec, ServerSpec};
use crate::core::fleet::tests::specs::{backend, fleet, server, unchecked};
use crate::core::stats::Rates;
use crate::core::stats::counters::{Counter, Shard};

struct Desk {
    fleet: Fleet,
    rates: Rates,
    now: Instant,
}

impl Desk {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn new(spec: &FleetSpec) -> Desk {
        let now = Instant::now();
        let (fleet, _) = Fleet::new(spec, 3, &SavedState::default(), 1, now);
        let mut rates = Rates::default();
        rates.sample(&fleet, 0, now);
        Desk { fleet, rates, now }
    }

    fn of(backends: Vec<BackendSpec>) -> Desk {
        Desk::new(&fleet(backends))
    }

    fn page(&self, query: &str, facts: &MetricsFacts<'_>) -> String {
        self.page_as(query, Exposition::Text, facts)
    }

    fn page_as(&self, query: &str, exposition: Exposition, facts: &MetricsFacts<'_>) -> String {
        let view = View { fleet: &self.fleet, rates: &self.rates, started: self.now, now: self.now, legends: false };
        let query = MetricsQuery::parse(query, exposition).unwrap();
        render(&query, &view, &process(self.now), facts)
    }
}

fn process(now: Instant) -> ProcessFacts {
    ProcessFacts {
        pid: 7,
        started: now,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_290_910_710),
        boot_time: Duration::from_millis(8),
        threads: 2,
        maxconn: 2000,
        descriptor_limit: 4037,
        connections: 3,
        tls_connections: 0,
        admin_connections: 5_000_000_000,
        maxconn_reached: 0,
        tls_cache_lookups: 0,
        tls_cache_misses: 0,
        compression_memory: 0,
        compression_memory_max: 0,
        idle_percent: 99,
        node: "lab \"1\"".into(),
        description: Some("golden lab".into()),
        stopping: false,
        listeners: 8,
        tasks: 31,
        memory_bytes: 86_344,
        lost_log_lines: 4,
        failed_resolutions: 0,
        warnings: 3,
    }
}

#[track_caller]
fn has(page: &str, line: &str) {
    assert!(page.lines().any(|l| l == line), "no line {line:?} in\n{page}");
}

#[test]
fn the_process() {
    let page = Desk::of(vec![]).page("", &MetricsFacts::default());
    has(&page, "haproxy_process_nbthread 2");
    has(&page, "haproxy_process_connections_total 5000000000");
    has(&page, "# TYPE haproxy_process_connections_total counter");
    has(&page, "haproxy_process_node{node=\"lab \\\"1\\\"\"} 1");
    has(&page, "haproxy_process_description{desc=\"golden lab\"} 1");
    has(&page, "haproxy_process_build_info{version=\"2.8.0-lockgate-0.1.0\"} 1");
    has(&page, "lockgate_start_time_seconds 1795290910.710");
    has(&page, "lockgate_config_last_reload_success 1");
    has(&page, "lockgate_log_lines_lost_total 4");
    let described = Desk::of(vec![]).page("desc-labels&scope=global", &MetricsFacts::default());
    has(&described, "haproxy_process_nbthread{desc=\"golden lab\"} 2");
    assert!(!described.contains("lockgate_"), "{described}");
}

#[test]
fn servers_and_backends() {
    let disabled = ServerSpec { disabled: true, ..server("web3") };
    let desk = Desk::of(vec![backend("be_web", vec![unchecked("web1"), server("web2"), disabled])]);
    let entry = &desk.fleet.backends()[0];
    let live = &entry.servers[0].live;
    for counter in [Counter::Hrsp2xx, Counter::ReqTot, Counter::TimedRequests] {
        live.counters.add(Shard(0), counter, 3);
    }
    live.counters.slide(Shard(0), Counter::ResponseSlide, 4500);
    live.counters.raise(Shard(1), Counter::ResponseMaxMs, 2500);
    let page = desk.page("", &MetricsFacts::default());
    let web1 = "{proxy=\"be_web\",server=\"web1\"";
    has(&page, "# TYPE haproxy_server_http_responses_total counter");
    has(&page, &format!("haproxy_server_http_responses_total{web1},code=\"2xx\"}} 3"));
    has(&page, &format!("haproxy_server_status{web1},state=\"UP\"}} 1"));
    has(&page, &format!("haproxy_server_status{web1},state=\"DOWN\"}} 0"));
    has(&page, &format!("haproxy_server_response_time_average_seconds{web1}}} 1.500"));
    has(&page, &format!("haproxy_server_max_response_time_seconds{web1}}} 2.500"));
    has(&page, &format!("haproxy_server_active{web1}}} 1"));
    assert!(!page.contains(&format!("haproxy_server_check_status{web1}")), "it has no checks");
    assert!(!page.contains("limit_sessions{proxy=\"be_web\",server"), "no limit was set");
    has(&page, "haproxy_server_status{proxy=\"be_web\",server=\"web3\",state=\"MAINT\"} 1");
    has(&page, "haproxy_backend_agg_server_status{proxy=\"be_web\",state=\"UP\"} 1");
    has(&page, "haproxy_backend_agg_server_status{proxy=\"be_web\",state=\"DOWN\"} 1");
    has(&page, "haproxy_backend_agg_server_status{proxy=\"be_web\",state=\"MAINT\"} 1");
    has(&page, "haproxy_backend_active_servers{proxy=\"be_web\"} 1");
    has(&page, "haproxy_backend_status{proxy=\"be_web\",state=\"UP\"} 1");
    let calm = desk.page("no-maint&scope=server&scope=lockgate", &MetricsFacts::default());
    assert!(calm.contains("web2") && !calm.contains("web3") && !calm.contains("haproxy_backend_"), "{calm}");
}

#[test]
fn histograms() {
    let desk = Desk::of(vec![backend("be", vec![unchecked("a")])]);
    let times = &desk.fleet.backends()[0].live.times;
    for (shard, micros) in [(0, 150), (1, 1_000), (2, 1_001), (0, 200_000_000)] {
        times.total.observe(Shard(shard), micros);
    }
    let page = desk.page("scope=lockgate", &MetricsFacts::default());
    has(&page, "# TYPE lockgate_backend_total_seconds histogram");
    for line in [
        "_bucket{proxy=\"be\",le=\"0.0001\"} 0",
        "_bucket{proxy=\"be\",le=\"0.0002\"} 1",
        "_bucket{proxy=\"be\",le=\"0.001\"} 2",
        "_bucket{proxy=\"be\",le=\"0.002\"} 3",
        "_bucket{proxy=\"be\",le=\"1.0\"} 3",
        "_bucket{proxy=\"be\",le=\"100.0\"} 3",
        "_bucket{proxy=\"be\",le=\"+Inf\"} 4",
        "_sum{proxy=\"be\"} 200.002151",
        "_count{proxy=\"be\"} 4",
    ] {
        has(&page, &format!("lockgate_backend_total_seconds{line}"));
    }
}

#[test]
fn what_only_the_caller_knows() {
    let facts = MetricsFacts {
        certificates: &[CertificateExpiry {
            file: "/etc/a\\b.pem".into(),
            name: "example.com".into(),
            not_after: 1_800_000_000,
        }],
        tls: Some(TlsUpkeep { reloads_taken: 3, reloads_refused: 1, sessions: 7, ticket_keys: 2 }),
        limits: &[LimitCount { frontend: "fe".into(), name: "per-client".into(), action: "deny", exceeded: 12 }],
        worker_cpu: &[Duration::from_millis(1500), Duration::ZERO],
        last_reload: Some(Reload { at: SystemTime::UNIX_EPOCH + Duration::from_secs(9), success: false }),
    };
    let page = Desk::of(vec![]).page("scope=lockgate", &facts);
    has(&page, "lockgate_certificate_not_after_seconds{file=\"/etc/a\\\\b.pem\",name=\"example.com\"} 1800000000");
    has(&page, "lockgate_certificate_reloads_total{result=\"taken\"} 3");
    has(&page, "lockgate_certificate_reloads_total{result=\"refused\"} 1");
    has(&page, "lockgate_tls_ticket_keys 2");
    has(&page, "lockgate_frontend_rate_limit_exceeded_total{proxy=\"fe\",limit=\"per-client\",action=\"deny\"} 12");
    has(&page, "lockgate_worker_cpu_seconds_total{worker=\"0\"} 1.500000");
    has(&page, "lockgate_config_last_reload_success 0");
    has(&page, "lockgate_config_last_reload_timestamp_seconds 9.000");
}

#[test]
fn open_metrics_differs_where_it_must() {
    let desk = Desk::of(vec![backend("be", vec![unchecked("a")])]);
    let page = desk.page_as("scope=backend", Exposition::OpenMetrics, &MetricsFacts::default());
    has(&page, "# TYPE haproxy_backend_sessions counter");
    has(&page, "haproxy_backend_sessions_total{proxy=\"be\"} 0");
    assert!(page.ends_with("\n# EOF\n"));
    let text = desk.page("scope=backend", &MetricsFacts::default());
    has(&text, "# TYPE haproxy_backend_sessions_total counter");
    assert!(!text.contains("EOF"));
}

#[test]
fn only_what_was_asked_for() {
    let desk = Desk::of(vec![backend("be", vec![unchecked("a")])]);
    let names = |query: &str| -> BTreeSet<String> {
        let page = desk.page(query, &MetricsFacts::default());
        let types = page.lines().filter_map(|l| l.strip_prefix("# TYPE "));
        types.map(|l| l.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names("scope="), BTreeSet::new());
    assert_eq!(names("scope=*&scope="), BTreeSet::new());
    assert_eq!(names("scope=*"), names(""));
    assert_eq!(names("unknown=1&x"), names(""));
    assert!(names("scope=%62ackend").iter().all(|n| n.starts_with("haproxy_backend_")));
    let some = names("metrics=haproxy_server_status,haproxy_backend_status");
    assert!(some.iter().eq(["haproxy_backend_status", "haproxy_server_status"]), "{some:?}");
    let all_but_one = names("metrics=-haproxy_server_status");
    assert_eq!(all_but_one.len() + 1, names("").len());
    for bad in ["scope", "scope=nobody", "metrics", "scope=%ff"] {
        assert!(MetricsQuery::parse(bad, Exposition::Text).is_err(), "{bad}");
    }
    let refused = MetricsQuery::parse("scope=nobody", Exposition::Text).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there is no scope `nobody`; there are global, frontend, listener, backend, server, lockgate and *"
    );
}

#[test]
fn the_format_a_client_prefers() {
    for (accept, expected) in [
        ("", Exposition::Text),
        ("*/*", Exposition::Text),
        ("text/plain", Exposition::Text),
        ("application/openmetrics-text", Exposition::OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            Exposition::OpenMetrics,
        ),
        ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.9", Exposition::Text),
        ("application/openmetrics-text;version=7.0.0", Exposition::Text),
        ("Application/OpenMetrics-Text; q=0", Exposition::Text),
    ] {
        assert_eq!(Exposition::by_accept(accept), expected, "{accept}");
    }
}

/// Each metric's samples stand together behind one help and one type line, and no series comes twice.
#[test]
fn pages_are_well_formed() {
    let desk = Desk::of(vec![backend("be_web", vec![server("a"), unchecked("b")]), backend("none", vec![])]);
    for exposition in [Exposition::Text, Exposition::OpenMetrics] {
        let page = desk.page_as("", exposition, &MetricsFacts::default());
        let (mut families, mut series, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
        for line in page.lines().filter(|l| *l != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                assert!(!help.is_empty() && !help.to_lowercase().contains("millisecond"), "{line}");
                current = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert_eq!(rest.split(' ').next(), Some(&*current));
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&current), "{line} under {current}");
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                assert!(series.insert(name.to_owned()), "{name} comes twice");
            }
        }
        assert!(families.len() > 100 && series.len() > 300);
    }
}

/// A thousand servers, on the control thread between two other things it does.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_thousand_servers_are_quick() {
    let of = |n: usize| backend(&format!("be{n}"), (0..50).map(|s| server(&format!("web{s}"))).collect());
    let desk = Desk::of((0..20).map(of).collect());
    let started = Instant::now();
    let page = desk.page("", &MetricsFacts::default());
    let took = started.elapsed();
    assert!(page.lines().count() > 60_000);
    println!("{} KiB in {took:?}", page.len() / 1024);
    // Without optimisation, on a machine that does other things: ten times what is allowed where it counts.
    assert!(took < Duration::from_secs(2), "{took:?}");
}
