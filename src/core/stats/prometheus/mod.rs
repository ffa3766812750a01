//! Everything that is counted, as metrics: Prometheus text 0.0.4 or OpenMetrics 1.0.
//!
//! Names, labels and query options of `haproxy_…` are those of HAProxy's own exporter (`prometheus-exporter`), so that
//! its dashboards and alerts work; they stand in the tables of [`super::columns`] and [`super::info`]. What HAProxy has
//! no name for is called `lockgate_…`. Reading order: [`query`] (what was asked for), `text` (how a metric is written),
//! `haproxy` and `own` (which ones there are).
//!
//! Not here: who may ask, and over which socket. Nothing here waits for anything workers hold: all that is read is
//! atomics and the control task's own state.

mod haproxy;
mod own;
pub mod query;
#[cfg(test)]
mod tests;
mod text;

use std::time::{Duration, SystemTime};

use super::info::ProcessFacts;
use super::rows::View;
pub use query::{BadQuery, Exposition, MetricsQuery, Scope};
use text::Writer;

/// What is told beside the counters of the fleet and the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsFacts<'a> {
    /// The certificates in use.
    pub certificates: &'a [CertificateExpiry],
    /// What keeps TLS with clients going; `None` without TLS.
    pub tls: Option<TlsUpkeep>,
    /// The rate limits of all frontends.
    pub limits: &'a [LimitCount],
    /// Processor time of each worker, by its number.
    pub worker_cpu: &'a [Duration],
    /// The last time a configuration was read while running; the start's when that never happened.
    pub last_reload: Option<Reload>,
}

/// What keeps TLS with clients going.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsUpkeep {
    /// Changes of certificates on disk that were taken into use.
    pub reloads_taken: u64,
    /// Those that were refused.
    pub reloads_refused: u64,
    /// Sessions in memory.
    pub sessions: usize,
    /// Ticket keys that are accepted.
    pub ticket_keys: usize,
}

/// When a certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The file it was read from.
    pub file: Box<str>,
    /// The first name it is for.
    pub name: Box<str>,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// How often a rate limit was exceeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitCount {
    /// Its frontend.
    pub frontend: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// `deny`, `tarpit` or `log`.
    pub action: &'static str,
    /// Requests over it so far.
    pub exceeded: u64,
}

/// One reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// When.
    pub at: SystemTime,
    /// Whether it was taken.
    pub success: bool,
}

/// The whole page.
pub fn render(query: &MetricsQuery, view: &View<'_>, process: &ProcessFacts, facts: &MetricsFacts<'_>) -> String {
    let servers: usize = view.fleet.backends().iter().map(|b| b.servers.len()).sum();
    let mut out = Writer::new(query, 64 * 1024 + servers * 10 * 1024);
    if query.shows(Scope::Global) {
        haproxy::process(&mut out, query, view, process);
    }
    haproxy::rows(&mut out, query, view);
    if query.shows(Scope::Own) {
        own::write(&mut out, query, view, process, facts);
    }
    out.finish()
}
