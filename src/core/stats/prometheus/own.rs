//! The metrics HAProxy has no name for: histograms, certificates, limits, workers.

use std::time::SystemTime;

use super::super::counters::Counter;
use super::super::histogram::{TimeHistogram, ValueHistogram};
use super::super::info::ProcessFacts;
use super::super::rows::View;
use super::MetricsFacts;
use super::query::MetricsQuery;
use super::text::{Number, Writer, label};
use crate::core::fleet::live::BackendTimes;

const PREFIX: &str = "lockgate_";
/// Microseconds in a second.
const MICROS: u32 = 1_000_000;
/// Thousandths in one.
const THOUSANDTHS: u32 = 1_000;

/// Every one of them.
pub(super) fn write(
    out: &mut Writer<'_>,
    query: &MetricsQuery,
    view: &View<'_>,
    process: &ProcessFacts,
    facts: &MetricsFacts<'_>,
) {
    of_process(out, process, facts);
    frontends(out, view);
    limits(out, facts);
    backends(out, view);
    servers(out, query, view);
    certificates(out, facts);
}

fn labelled(pairs: &[(&str, &str)]) -> String {
    let mut labels = String::new();
    for (name, value) in pairs {
        label(&mut labels, name, value);
    }
    labels
}

fn since_1970(at: SystemTime) -> Number {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Number::Thousandths(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn of_process(out: &mut Writer<'_>, process: &ProcessFacts, facts: &MetricsFacts<'_>) {
    if out.family(PREFIX, "build_info", "Always 1; the version is a label") {
        out.sample(&labelled(&[("version", env!("CARGO_PKG_VERSION"))]), Number::Whole(1));
    }
    if out.family(PREFIX, "start_time_seconds", "When the process started, in seconds since 1970") {
        out.sample("", since_1970(process.started_at));
    }
    let (at, success) = facts.last_reload.map_or((process.started_at, true), |r| (r.at, r.success));
    if out.family(PREFIX, "config_last_reload_timestamp_seconds", "When the configuration was last read") {
        out.sample("", since_1970(at));
    }
    if out.family(PREFIX, "config_last_reload_success", "1 when the configuration last read was taken, 0 when refused")
    {
        out.sample("", Number::Whole(u64::from(success)));
    }
    if out.family(PREFIX, "log_lines_lost_total", "Log lines that no target could take") {
        out.sample("", Number::Whole(process.lost_log_lines));
    }
    if !facts.worker_cpu.is_empty()
        && out.family(PREFIX, "worker_cpu_seconds_total", "Processor time of each worker thread")
    {
        for (number, used) in facts.worker_cpu.iter().enumerate() {
            let micros = u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
            out.sample(&labelled(&[("worker", &number.to_string())]), Number::Millionths(micros));
        }
    }
}

fn frontends(out: &mut Writer<'_>, view: &View<'_>) {
    let frontends = view.fleet.frontends();
    if frontends.is_empty() {
        return;
    }
    if out.family(PREFIX, "frontend_requests_without_route_total", "Requests that no route matched") {
        for f in frontends {
            let labels = labelled(&[("proxy", &f.spec.name)]);
            out.sample(&labels, Number::Whole(f.live.counters.sum(Counter::NoRoute)));
        }
    }
    if out.family(PREFIX, "frontend_tls_handshakes_total", "TLS handshakes with clients by outcome") {
        for f in frontends {
            let labels = labelled(&[("proxy", &f.spec.name)]);
            for (result, counter) in
                [("full", Counter::TlsFull), ("resumed", Counter::TlsResumed), ("failed", Counter::TlsFailed)]
            {
                out.sample_with(&labels, ("result", result), Number::Whole(f.live.counters.sum(counter)));
            }
        }
    }
    if out.family(PREFIX, "frontend_proxy_headers_total", "PROXY headers of clients by what came of them") {
        for f in frontends {
            let labels = labelled(&[("proxy", &f.spec.name)]);
            for (result, counter) in
                [("told", Counter::ProxyTold), ("local", Counter::ProxyLocal), ("refused", Counter::ProxyRefused)]
            {
                out.sample_with(&labels, ("result", result), Number::Whole(f.live.counters.sum(counter)));
            }
        }
    }
    for (name, help, counter) in [
        ("frontend_http2_glitches_total", "Mistakes of HTTP/2 clients", Counter::H2Glitches),
        (
            "frontend_http2_connections_expelled_total",
            "HTTP/2 connections closed because of what their clients did",
            Counter::H2Expelled,
        ),
    ] {
        if out.family(PREFIX, name, help) {
            for f in frontends {
                out.sample(&labelled(&[("proxy", &f.spec.name)]), Number::Whole(f.live.counters.sum(counter)));
            }
        }
    }
    let captures = frontends.iter().any(|f| !f.live.named().captured.is_empty());
    if captures && out.histograms(PREFIX, "frontend_captured_response", "Numbers in captured response fields") {
        for f in frontends {
            for captured in &f.live.named().captured {
                let labels = labelled(&[("proxy", &f.spec.name), ("header", &captured.header)]);
                out.histogram(&labels, ValueHistogram::bounds(), &captured.values.distribution(), THOUSANDTHS);
            }
        }
    }
}

fn limits(out: &mut Writer<'_>, facts: &MetricsFacts<'_>) {
    if facts.limits.is_empty()
        || !out.family(PREFIX, "frontend_rate_limit_exceeded_total", "Requests over a rate limit, dry runs included")
    {
        return;
    }
    for limit in facts.limits {
        let labels = labelled(&[("proxy", &limit.frontend), ("limit", &limit.name), ("action", limit.action)]);
        out.sample(&labels, Number::Whole(limit.exceeded));
    }
}

/// A stage of a request: its metric, what it is, and where it is noted.
type Stage = (&'static str, &'static str, fn(&BackendTimes) -> &TimeHistogram);

const STAGES: [Stage; 4] = [
    ("backend_queue_seconds", "Time of answered requests in queues", |t| &t.queue),
    ("backend_connect_seconds", "Time of answered requests until a server was connected", |t| &t.connect),
    ("backend_response_seconds", "Time servers took to begin their answers", |t| &t.response),
    ("backend_total_seconds", "Time from the first byte of a request to the last of its answer", |t| &t.total),
];

fn backends(out: &mut Writer<'_>, view: &View<'_>) {
    let backends = view.fleet.backends();
    if backends.is_empty() {
        return;
    }
    if out.family(PREFIX, "backend_maintenance", "1 while the backend is in maintenance") {
        for b in backends {
            out.sample(&labelled(&[("proxy", &b.spec.name)]), Number::Whole(u64::from(b.maintenance)));
        }
    }
    for (name, help, histogram) in STAGES {
        if out.histograms(PREFIX, name, help) {
            for b in backends {
                let labels = labelled(&[("proxy", &b.spec.name)]);
                out.histogram(&labels, TimeHistogram::bounds(), &histogram(&b.live.times).distribution(), MICROS);
            }
        }
    }
}

fn servers(out: &mut Writer<'_>, query: &MetricsQuery, view: &View<'_>) {
    let shown = || {
        let servers = view.fleet.backends().iter().flat_map(|b| b.servers.iter().map(move |s| (b, s)));
        servers.filter(|(_, s)| !query.hide_maint || !s.state.is_in_maintenance())
    };
    if shown().next().is_none() {
        return;
    }
    let labels: Vec<_> = shown().map(|(b, s)| labelled(&[("proxy", &b.spec.name), ("server", &s.spec.name)])).collect();
    if shown().any(|(_, s)| s.last_check.is_some())
        && out.family(PREFIX, "server_check_age_seconds", "How long ago the last check ended")
    {
        for ((_, s), labels) in shown().zip(&labels) {
            if let Some(last) = &s.last_check {
                let age = view.now.saturating_duration_since(last.at).as_millis();
                out.sample(labels, Number::Thousandths(u64::try_from(age).unwrap_or(u64::MAX)));
            }
        }
    }
    let speaks_tls = || shown().any(|(_, s)| s.spec.tls.settings().is_some());
    if speaks_tls() && out.family(PREFIX, "server_tls_handshakes_total", "TLS handshakes with servers by outcome") {
        let results = [("full", Counter::TlsFull), ("resumed", Counter::TlsResumed), ("failed", Counter::TlsFailed)];
        for ((_, s), labels) in shown().zip(&labels).filter(|((_, s), _)| s.spec.tls.settings().is_some()) {
            for (result, counter) in results {
                out.sample_with(labels, ("result", result), Number::Whole(s.live.counters.sum(counter)));
            }
        }
    }
    if out.family(PREFIX, "server_upgraded_connections", "Upgraded connections (websockets) open now") {
        for ((_, s), labels) in shown().zip(&labels) {
            out.sample(labels, Number::Whole(u64::from(s.live.upgraded.now())));
        }
    }
    if out.family(PREFIX, "server_upgrades_total", "Connections that were upgraded") {
        for ((_, s), labels) in shown().zip(&labels) {
            out.sample(labels, Number::Whole(s.live.counters.sum(Counter::Upgrades)));
        }
    }
}

fn certificates(out: &mut Writer<'_>, facts: &MetricsFacts<'_>) {
    if let Some(tls) = facts.tls {
        if out.family(PREFIX, "certificate_reloads_total", "Changes of certificates on disk by outcome") {
            out.sample_with("", ("result", "taken"), Number::Whole(tls.reloads_taken));
            out.sample_with("", ("result", "refused"), Number::Whole(tls.reloads_refused));
        }
        if out.family(PREFIX, "tls_sessions", "TLS sessions in memory") {
            out.sample("", Number::Whole(tls.sessions as u64));
        }
        if out.family(PREFIX, "tls_ticket_keys", "Ticket keys that are accepted") {
            out.sample("", Number::Whole(tls.ticket_keys as u64));
        }
    }
    if facts.certificates.is_empty()
        || !out.family(PREFIX, "certificate_not_after_seconds", "When a certificate ends, in seconds since 1970")
    {
        return;
    }
    for certificate in facts.certificates {
        let labels = labelled(&[("file", &certificate.file), ("name", &certificate.name)]);
        out.sample(&labels, Number::Signed(certificate.not_after));
    }
}
