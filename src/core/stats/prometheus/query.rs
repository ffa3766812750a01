//! What a scrape asks for: the query string of HAProxy's exporter, and the format by the `Accept` field.

use percent_encoding::percent_decode_str;

/// In which format metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The `Content-Type` that goes with it.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one a client prefers, by its `Accept` field: OpenMetrics only where it is asked for by name and nothing else
    /// is asked for more.
    pub fn by_accept(accept: &str) -> Exposition {
        let (mut open_metrics, mut text) = (0u32, 0u32);
        for item in accept.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut weight = 1000;
            let mut known = true;
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", value)) => weight = thousandths(value),
                    Some(("version", value)) => known = matches!(value.trim_matches('"'), "1.0.0" | "0.0.1" | "0.0.4"),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if known => open_metrics = open_metrics.max(weight),
                "text/plain" | "text/*" if known => text = text.max(weight),
                _ => {}
            }
        }
        if open_metrics > 0 && open_metrics >= text { Exposition::OpenMetrics } else { Exposition::Text }
    }
}

/// A `q` value (RFC 9110, 12.4.2) in thousandths; what is none counts as 1.
fn thousandths(value: &str) -> u32 {
    value.trim().parse::<f32>().map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32)
}

/// A part of the metrics (`scope=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `global`: the process.
    Global,
    /// `frontend`
    Frontend,
    /// `listener`
    Listener,
    /// `backend`
    Backend,
    /// `server`
    Server,
    /// `lockgate`: everything HAProxy has no name for.
    Own,
}

/// All scopes with their names.
const SCOPES: [(&str, Scope); 6] = [
    ("global", Scope::Global),
    ("frontend", Scope::Frontend),
    ("listener", Scope::Listener),
    ("backend", Scope::Backend),
    ("server", Scope::Server),
    ("lockgate", Scope::Own),
];

/// What a scrape asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsQuery {
    /// In which format.
    pub exposition: Exposition,
    /// Only these; all when absent.
    scopes: Option<Vec<Scope>>,
    /// `metrics=`: names to show; all when empty.
    included: Vec<Box<str>>,
    /// `metrics=-NAME`: names to leave out.
    excluded: Vec<Box<str>>,
    /// `no-maint`: servers in maintenance are left out.
    pub hide_maint: bool,
    /// `desc-labels`: the process's description is a label of its metrics.
    pub describe: bool,
}

/// The query string cannot be understood; HAProxy answers 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuery(String);

impl MetricsQuery {
    /// Reads a query string, without its question mark. Options that are not known are passed over, as HAProxy does; a
    /// scope that is not known is refused.
    pub fn parse(query: &str, exposition: Exposition) -> Result<MetricsQuery, BadQuery> {
        let mut parsed = MetricsQuery { exposition, ..MetricsQuery::default() };
        for item in query.split('&').filter(|item| !item.is_empty()) {
            let (key, value) = match item.split_once('=') {
                Some((key, value)) => (decoded(key)?, Some(decoded(value)?)),
                None => (decoded(item)?, None),
            };
            match (key.as_str(), value) {
                ("scope", Some(scope)) => parsed.add_scope(&scope)?,
                ("metrics", Some(names)) => parsed.add_names(&names),
                ("scope" | "metrics", None) => return Err(BadQuery(format!("`{key}` has no value"))),
                ("no-maint", _) => parsed.hide_maint = true,
                ("desc-labels", _) => parsed.describe = true,
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn add_scope(&mut self, name: &str) -> Result<(), BadQuery> {
        let scopes = self.scopes.get_or_insert_default();
        match name {
            "" => scopes.clear(),
            "*" => scopes.extend(SCOPES.map(|(_, scope)| scope)),
            name => match SCOPES.iter().find(|(known, _)| *known == name) {
                Some((_, scope)) => scopes.push(*scope),
                None => {
                    let known = SCOPES.map(|(name, _)| name).join(", ");
                    return Err(BadQuery(format!("there is no scope `{name}`; there are {known} and *")));
                }
            },
        }
        Ok(())
    }

    fn add_names(&mut self, names: &str) {
        for name in names.split(',') {
            match name.strip_prefix('-') {
                Some("") => {}
                Some(name) => self.excluded.push(name.into()),
                None if name.is_empty() => {}
                None => self.included.push(name.into()),
            }
        }
    }

    /// Whether that part was asked for.
    pub fn shows(&self, scope: Scope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope))
    }

    /// Whether a metric was asked for; its name is given in two parts.
    pub(super) fn wants(&self, prefix: &str, name: &str) -> bool {
        let among = |listed: &[Box<str>]| listed.iter().any(|l| l.strip_prefix(prefix) == Some(name));
        !among(&self.excluded) && (self.included.is_empty() || among(&self.included))
    }
}

fn decoded(text: &str) -> Result<String, BadQuery> {
    let bytes = percent_decode_str(text).decode_utf8();
    bytes.map(|t| t.replace('+', " ")).map_err(|_| BadQuery(format!("`{}` is not UTF-8", text.escape_default())))
}
