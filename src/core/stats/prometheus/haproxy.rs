//! The metrics HAProxy's own exporter has, by its names.

use std::borrow::Cow;

use super::super::VERSION;
use super::super::columns::{COLUMNS, Column, Metric, Shape};
use super::super::info::{Context, FIELDS, ProcessFacts};
use super::super::render::{Query, select};
use super::super::rows::{BackendRow, Kind, Row, ServerRow, View};
use super::super::value::Value;
use super::query::{MetricsQuery, Scope};
use super::text::{Number, Writer, label};
use crate::core::server::OperationalState;

/// States of a frontend and of a backend.
const UP_OR_DOWN: [&str; 2] = ["DOWN", "UP"];
/// States of a listening socket.
const LISTENER_STATES: [&str; 3] = ["WAITING", "OPEN", "FULL"];
/// States of a server.
const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
/// Results of a finished check.
const CHECK_RESULTS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK", "L7OKC",
    "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// `haproxy_process_…`
pub(super) fn process(out: &mut Writer<'_>, query: &MetricsQuery, view: &View<'_>, facts: &ProcessFacts) {
    let context = Context::new(facts, view.fleet, view.rates, view.now, false);
    let described = facts.description.as_deref().filter(|_| query.describe);
    for field in FIELDS {
        let Some(name) = field.metric else { continue };
        if (name == "description" && facts.description.is_none())
            || !out.family("haproxy_process_", name, field.description)
        {
            continue;
        }
        let mut labels = String::new();
        let mut number = Number::of(&field.measure(&context));
        match name {
            "node" => label(&mut labels, "node", &facts.node),
            "build_info" => label(&mut labels, "version", VERSION),
            _ => {}
        }
        let description = if name == "description" { facts.description.as_deref() } else { described };
        if let Some(description) = description {
            label(&mut labels, "desc", description);
        }
        // A text stands in a label, beside a 1.
        let number = number.get_or_insert(Number::Whole(1));
        out.sample(&labels, *number);
    }
}

/// `haproxy_frontend_…`, `haproxy_listener_…`, `haproxy_backend_…` and `haproxy_server_…`: metric by metric, for the
/// samples of one must stand together.
pub(super) fn rows(out: &mut Writer<'_>, query: &MetricsQuery, view: &View<'_>) {
    let asked = Query { hide_maint: query.hide_maint, ..Query::default() };
    let rows = select(&asked, view).unwrap_or_default();
    for (kind, scope, prefix) in [
        (Kind::Frontend, Scope::Frontend, "haproxy_frontend_"),
        (Kind::Backend, Scope::Backend, "haproxy_backend_"),
        (Kind::Listener, Scope::Listener, "haproxy_listener_"),
        (Kind::Server, Scope::Server, "haproxy_server_"),
    ] {
        if query.shows(scope) {
            let labelled: Vec<_> = rows.iter().filter(|r| r.kind() == kind).map(|r| (labels(r), r)).collect();
            of_kind(out, kind, prefix, &labelled);
        }
    }
}

fn of_kind(out: &mut Writer<'_>, kind: Kind, prefix: &str, rows: &[(String, &Row<'_>)]) {
    if rows.is_empty() {
        return;
    }
    let mut begun = None;
    for column in COLUMNS {
        let Some(metric) = column.metric_on(kind) else { continue };
        // Columns that are one metric with several labels stand side by side.
        if begun.is_none_or(|(name, _)| name != metric.name) {
            begun = Some((metric.name, out.family(prefix, metric.name, &help(column, metric))));
        }
        if begun.is_some_and(|(_, wanted)| wanted) {
            for (labels, row) in rows {
                sample(out, column, metric, labels, row);
            }
        }
    }
}

fn help(column: &Column, metric: Metric) -> Cow<'static, str> {
    match metric.shape {
        Shape::Number => column.description.into(),
        Shape::Seconds => {
            column.description.replace("milliseconds", "seconds").replace("Milliseconds", "Seconds").into()
        }
        Shape::State => "1 for the state it is in".into(),
        Shape::CheckResult => "1 for the result of the last check".into(),
        Shape::Code(_) => "Responses by class of status".into(),
        Shape::ServersByState => "Servers by state".into(),
        Shape::ServersByCheck => "Servers by the result of their last check".into(),
    }
}

/// What stands between the braces of a row's samples.
fn labels(row: &Row<'_>) -> String {
    let mut labels = String::new();
    match row {
        Row::Frontend(r) => label(&mut labels, "proxy", &r.frontend.spec.name),
        Row::Backend(r) => label(&mut labels, "proxy", &r.backend.spec.name),
        Row::Server(r) => {
            label(&mut labels, "proxy", &r.backend.spec.name);
            label(&mut labels, "server", &r.server.spec.name);
        }
        Row::Listener(r) => {
            label(&mut labels, "proxy", &r.frontend.spec.name);
            label(&mut labels, "listener", &r.listener.name);
        }
    }
    labels
}

fn sample(out: &mut Writer<'_>, column: &Column, metric: Metric, labels: &str, row: &Row<'_>) {
    match metric.shape {
        Shape::Number => {
            if let Some(number) = Number::of(&column.value(row)) {
                out.sample(labels, number);
            }
        }
        Shape::Seconds => {
            if let Some(number) = Number::of_millis(&column.value(row)) {
                out.sample(labels, number);
            }
        }
        Shape::Code(code) => {
            if let Some(number) = Number::of(&column.value(row)) {
                out.sample_with(labels, ("code", code), number);
            }
        }
        Shape::State => {
            let status = column.value(row);
            let (states, present) = state(row, &status);
            one_of(out, labels, states, present);
        }
        Shape::CheckResult => {
            if let Value::Str(result) = column.value(row) {
                let result = result.trim_start_matches("* ");
                one_of(out, labels, &CHECK_RESULTS, result);
            }
        }
        Shape::ServersByState => {
            if let Row::Backend(backend) = row {
                counted(out, labels, &SERVER_STATES, backend, |s| Some(server_state(s)));
            }
        }
        Shape::ServersByCheck => {
            if let Row::Backend(backend) = row {
                counted(out, labels, &CHECK_RESULTS, backend, |s| {
                    s.checks_running().then(|| s.server.last_check.as_ref().map_or("INI", |c| c.outcome.status.word()))
                });
            }
        }
    }
}

fn one_of(out: &mut Writer<'_>, labels: &str, states: &[&str], present: &str) {
    for state in states {
        out.sample_with(labels, ("state", state), Number::Whole(u64::from(*state == present)));
    }
}

fn counted(
    out: &mut Writer<'_>,
    labels: &str,
    states: &[&str],
    backend: &BackendRow<'_>,
    state_of: impl Fn(ServerRow<'_>) -> Option<&'static str>,
) {
    let entry = backend.backend;
    if entry.servers.is_empty() {
        return;
    }
    let row = |server| ServerRow { view: backend.view, backend: entry, server };
    let found: Vec<_> = entry.servers.iter().filter_map(|s| state_of(row(s))).collect();
    for state in states {
        let count = found.iter().filter(|found| *found == state).count();
        out.sample_with(labels, ("state", state), Number::Whole(count as u64));
    }
}

/// The states an object can be in, and the one it is in. `status` is the column's word.
fn state<'v>(row: &Row<'_>, status: &'v Value<'_>) -> (&'static [&'static str], &'v str) {
    let word = match status {
        Value::Str(word) => &**word,
        _ => "",
    };
    match row {
        Row::Frontend(_) => (&UP_OR_DOWN, if word == "STOP" { "DOWN" } else { "UP" }),
        Row::Backend(_) => (&UP_OR_DOWN, if word.starts_with("UP") { "UP" } else { "DOWN" }),
        Row::Listener(_) => (&LISTENER_STATES, word),
        Row::Server(server) => (&SERVER_STATES, server_state(*server)),
    }
}

fn server_state(row: ServerRow<'_>) -> &'static str {
    let state = &row.server.state;
    match state.operational {
        _ if state.is_in_maintenance() => "MAINT",
        OperationalState::Starting | OperationalState::Running if state.is_draining() => "DRAIN",
        OperationalState::Starting | OperationalState::Running => "UP",
        OperationalState::Stopping => "NOLB",
        OperationalState::Stopped => "DOWN",
    }
}
