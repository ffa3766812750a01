//! How a metric is written: lines for its name, its type and its samples.

use std::fmt::Write as _;

use super::super::histogram::Distribution;
use super::super::value::Value;
use super::query::{Exposition, MetricsQuery};

/// What is written of a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Signed(i64),
    /// Thousandths of the unit.
    Thousandths(u64),
    /// Millionths of the unit.
    Millionths(u64),
    Float(f64),
}

impl Number {
    /// Of a column's or field's value, if it is a number.
    pub(super) fn of(value: &Value<'_>) -> Option<Number> {
        match value {
            Value::U32(n) => Some(Number::Whole(u64::from(*n))),
            Value::U64(n) => Some(Number::Whole(*n)),
            Value::S32(n) => Some(Number::Signed(i64::from(*n))),
            Value::Float(n) => Some(Number::Float(*n)),
            Value::Empty | Value::Str(_) => None,
        }
    }

    /// Of a value that is milliseconds.
    pub(super) fn of_millis(value: &Value<'_>) -> Option<Number> {
        match value {
            Value::U32(n) => Some(Number::Thousandths(u64::from(*n))),
            Value::U64(n) => Some(Number::Thousandths(*n)),
            _ => None,
        }
    }
}

/// A page in the making.
pub(super) struct Writer<'q> {
    out: String,
    query: &'q MetricsQuery,
    /// The metric whose samples come, whole.
    name: String,
}

impl<'q> Writer<'q> {
    pub(super) fn new(query: &'q MetricsQuery, capacity: usize) -> Writer<'q> {
        Writer { out: String::with_capacity(capacity), query, name: String::new() }
    }

    /// Begins a metric: a counter when its name ends in `_total`, else a gauge. `false` when it was not asked for.
    pub(super) fn family(&mut self, prefix: &str, name: &str, help: &str) -> bool {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        self.begin(prefix, name, kind, help)
    }

    /// Begins a histogram.
    pub(super) fn histograms(&mut self, prefix: &str, name: &str, help: &str) -> bool {
        self.begin(prefix, name, "histogram", help)
    }

    fn begin(&mut self, prefix: &str, name: &str, kind: &str, help: &str) -> bool {
        if !self.query.wants(prefix, name) {
            return false;
        }
        self.name.clear();
        self.name.push_str(prefix);
        self.name.push_str(name);
        // OpenMetrics calls a counter by its name without the suffix of its sample.
        let family = match self.query.exposition {
            Exposition::OpenMetrics => self.name.strip_suffix("_total").unwrap_or(&self.name),
            Exposition::Text => &self.name,
        };
        let out = &mut self.out;
        write!(out, "# HELP {family} ").expect("writing to a String cannot fail");
        escape(help, out);
        write!(out, "\n# TYPE {family} {kind}\n").expect("writing to a String cannot fail");
        true
    }

    /// One sample. `labels` is what stands between the braces.
    pub(super) fn sample(&mut self, labels: &str, number: Number) {
        self.line("", labels, None, number);
    }

    /// One sample with one more label, whose value needs no escaping.
    pub(super) fn sample_with(&mut self, labels: &str, more: (&str, &str), number: Number) {
        self.line("", labels, Some(more), number);
    }

    /// The samples of one histogram. `unit` is how many of what was observed make one of the metric's unit.
    pub(super) fn histogram(&mut self, labels: &str, bounds: &[u64], distribution: &Distribution, unit: u32) {
        for (bound, count) in bounds.iter().zip(&distribution.cumulative) {
            let bound = canonical(*bound as f64 / f64::from(unit));
            self.line("_bucket", labels, Some(("le", &bound)), Number::Whole(*count));
        }
        self.line("_bucket", labels, Some(("le", "+Inf")), Number::Whole(distribution.count));
        let sum = match unit {
            1_000 => Number::Thousandths(distribution.sum),
            _ => Number::Millionths(distribution.sum),
        };
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, Number::Whole(distribution.count));
    }

    fn line(&mut self, suffix: &str, labels: &str, more: Option<(&str, &str)>, number: Number) {
        let out = &mut self.out;
        out.push_str(&self.name);
        out.push_str(suffix);
        if !labels.is_empty() || more.is_some() {
            out.push('{');
            out.push_str(labels);
            if let Some((name, value)) = more {
                if !labels.is_empty() {
                    out.push(',');
                }
                out.push_str(name);
                out.push_str("=\"");
                out.push_str(value);
                out.push('"');
            }
            out.push('}');
        }
        out.push(' ');
        let mut digits = itoa::Buffer::new();
        match number {
            Number::Whole(n) => out.push_str(digits.format(n)),
            Number::Signed(n) => out.push_str(digits.format(n)),
            Number::Thousandths(n) => fraction(n, 1_000, 3, out),
            Number::Millionths(n) => fraction(n, 1_000_000, 6, out),
            Number::Float(n) => write!(out, "{n:.6}").expect("writing to a String cannot fail"),
        }
        out.push('\n');
    }

    /// The page.
    pub(super) fn finish(mut self) -> String {
        if self.query.exposition == Exposition::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// Adds a label and escapes its value.
pub(super) fn label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    escape(value, labels);
    labels.push('"');
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn fraction(n: u64, unit: u64, width: usize, out: &mut String) {
    write!(out, "{}.{:0width$}", n / unit, n % unit).expect("writing to a String cannot fail");
}

/// A bucket's bound as OpenMetrics wants it written, so that it is one series whichever format is scraped.
fn canonical(bound: f64) -> String {
    if bound >= 1e6 { format!("{bound:e}").replace('e', "e+0") } else { format!("{bound:?}") }
}
