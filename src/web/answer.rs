//! Answers: the page in each of its forms, and the refusals.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Visitor;
use crate::admin::Orders;
use crate::core::stats::prometheus::{Exposition, MetricsQuery};
use crate::core::stats::render::render_where;
use crate::core::stats::{Format, Query, View, schema};
use crate::core::web::page::{self, Look};
use crate::core::web::{AccessLevel, Asked, Form, Page, PageSpec, target};
use crate::runtime::page::{PageAnswer, PageRequest};

/// Only what stands in the document itself may style and run, and nobody may frame it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; form-action 'self'; \
         img-src data:; base-uri 'none'; frame-ancestors 'none'",
        hash(page::STYLE),
        hash(page::SCRIPT)
    )
});

/// What a `GET` or `HEAD` gets.
pub(super) fn render(orders: &dyn Orders, request: &PageRequest, visitor: &Visitor<'_>) -> PageAnswer {
    match request.page {
        Page::Stats => stats(orders, request, visitor),
        Page::Metrics => metrics(orders, request),
    }
}

fn stats(orders: &dyn Orders, request: &PageRequest, visitor: &Visitor<'_>) -> PageAnswer {
    let spec = &*request.spec;
    let asked = target::parse(&spec.path, &request.target).unwrap_or_default();
    let facts = orders.facts();
    let (fleet, rates) = (orders.fleet(), orders.rates());
    let legends = spec.show_legends || visitor.level >= AccessLevel::Operator;
    let view = View { fleet: &fleet, rates: &rates, started: facts.started, now: orders.now(), legends };
    let (kind, body) = match asked.form {
        Form::Html => {
            let look =
                Look { view: &view, facts: &facts, spec, asked: &asked, level: visitor.level, user: visitor.name };
            ("text/html", page::render(&look))
        }
        Form::Csv => ("text/plain", rows(Format::Csv, spec, &asked, &view) + "\n"),
        Form::Typed => ("text/plain", rows(Format::Typed, spec, &asked, &view)),
        Form::Json => ("application/json", rows(Format::Json, spec, &asked, &view)),
        Form::JsonSchema => ("application/json", schema::render()),
    };
    let mut fields = vec![("cache-control", "no-cache".to_owned()), ("content-type", kind.to_owned())];
    if let Some(refresh) = spec.refresh.filter(|_| !asked.norefresh && reloads(asked.form, request)) {
        fields.push(("refresh", refresh.as_secs().max(1).to_string()));
    }
    if asked.form == Form::Html {
        fields.push(("content-security-policy", POLICY.clone()));
        fields.push(("referrer-policy", "same-origin".to_owned()));
    }
    fields.push(("x-content-type-options", "nosniff".to_owned()));
    PageAnswer { status: 200, fields, body: body.into_bytes(), sized: false, refused: false }
}

/// Everything that is counted, for Prometheus and whatever reads its format.
fn metrics(orders: &dyn Orders, request: &PageRequest) -> PageAnswer {
    let target = String::from_utf8_lossy(&request.target);
    let asked = target.split_once('?').map_or("", |(_, query)| query);
    let accept = String::from_utf8_lossy(request.fields.accept.as_deref().unwrap_or_default());
    let exposition = Exposition::by_accept(&accept);
    let query = match MetricsQuery::parse(asked, exposition) {
        Ok(query) => query,
        Err(bad) => {
            let fields =
                vec![("content-type", "text/plain".to_owned()), ("x-content-type-options", "nosniff".to_owned())];
            return PageAnswer {
                status: 400,
                fields,
                body: format!("{bad}\n").into_bytes(),
                sized: true,
                refused: false,
            };
        }
    };
    let fields = vec![
        ("cache-control", "no-cache".to_owned()),
        ("content-type", exposition.content_type().to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    PageAnswer { status: 200, fields, body: orders.metrics(&query).into_bytes(), sized: false, refused: false }
}

/// Browsers update the page in place, or by a `meta` element without scripts; a field would throw away what was chosen.
fn reloads(form: Form, request: &PageRequest) -> bool {
    let html = |accept: &[u8]| memchr::memmem::find(accept, b"text/html").is_some();
    form != Form::Html || !request.fields.accept.as_deref().is_some_and(html)
}

fn rows(format: Format, spec: &PageSpec, asked: &Asked, view: &View<'_>) -> String {
    let query = Query { format, hide_down: asked.up, hide_maint: asked.no_maint, ..Query::default() };
    let shown = |name: &str| spec.covers(name) && asked.covers(name);
    render_where(&query, view, shown)
}

/// To sign in. HAProxy's status and fields.
pub(super) fn unauthorized(spec: &PageSpec) -> PageAnswer {
    let mut answer = error(401, "You need a valid user and password to see this page.");
    // Lowering lets no quote and no control character into a realm.
    answer.fields.push(("www-authenticate", format!("Basic realm=\"{}\"", spec.realm)));
    answer
}

/// A form sent by a page of another site.
pub(super) fn cross_site() -> PageAnswer {
    let text = "This form was sent by a page of another site. Open the stats page itself and try again.";
    PageAnswer { refused: true, ..error(403, text) }
}

/// Too many failed logins.
pub(super) fn slow_down(wait: Duration) -> PageAnswer {
    let mut answer = error(429, "Too many failed logins. Wait a minute and try again.");
    answer.refused = true;
    answer.fields.push(("retry-after", wait.as_secs().max(1).to_string()));
    answer
}

/// Too many passwords are being checked.
pub(super) fn busy() -> PageAnswer {
    let mut answer = error(503, "Too many people are signing in. Try again in a moment.");
    answer.fields.push(("retry-after", "1".to_owned()));
    answer
}

/// The end of a form: the client is sent on to the page.
pub(super) fn see_other(location: String) -> PageAnswer {
    let fields = vec![
        ("cache-control", "no-cache".to_owned()),
        ("content-type", "text/plain".to_owned()),
        ("location", location),
    ];
    PageAnswer { status: 303, fields, body: Vec::new(), sized: true, refused: false }
}

fn error(status: u16, text: &str) -> PageAnswer {
    let body =
        format!("<!doctype html>\n<html lang=\"en\"><title>{status}</title><h1>{status}</h1>\n<p>{text}</p></html>\n");
    let fields = vec![("cache-control", "no-cache".to_owned()), ("content-type", "text/html".to_owned())];
    PageAnswer { status, fields, body: body.into_bytes(), sized: true, refused: false }
}
