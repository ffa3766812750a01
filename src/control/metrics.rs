//! Everything that is counted, for a scrape.

use std::time::Duration;

use super::ControlHandle;
use crate::core::admin::CertificateView;
use crate::core::limit::{LimitAction, RateTable};
use crate::core::stats::View;
use crate::core::stats::prometheus::{self, CertificateExpiry, LimitCount, MetricsFacts, MetricsQuery, TlsUpkeep};
use crate::runtime::clock;
use crate::runtime::shared::Shared;

impl ControlHandle {
    /// The page of metrics. Nothing that workers wait for is held while it is made.
    pub fn metrics(&self, query: &MetricsQuery) -> String {
        let control = self.control.borrow();
        let process = control.facts();
        let limits = limits(&control.shared, |i| control.fleet.frontends().get(i).map(|f| f.spec.name.clone()));
        let worker_cpu = worker_cpu(control.workers.len());
        let used = control.certificates.views().into_iter().filter(|view| view.binds > 0);
        let certificates: Vec<CertificateExpiry> = used.filter_map(expiry).collect();
        let (started, now) = (process.started, clock::now());
        let view = View { fleet: &control.fleet, rates: &control.rates, started, now, legends: false };
        let reloads = control.certificates.reloads();
        let tls = (!control.tls.acceptors.is_empty()).then(|| TlsUpkeep {
            reloads_taken: reloads.taken,
            reloads_refused: reloads.refused,
            sessions: control.resumption.sessions(),
            ticket_keys: control.resumption.ticket_keys(),
        });
        let facts = MetricsFacts {
            certificates: &certificates,
            tls,
            limits: &limits,
            worker_cpu: &worker_cpu,
            last_reload: None,
        };
        prometheus::render(query, &view, &process, &facts)
    }
}

fn expiry(view: CertificateView) -> Option<CertificateExpiry> {
    let name = view.names.into_iter().next().unwrap_or_default();
    Some(CertificateExpiry { file: view.name, name, not_after: view.not_after? })
}

fn limits(shared: &Shared, name_of: impl Fn(usize) -> Option<Box<str>>) -> Vec<LimitCount> {
    let tables = shared.rate_tables.iter().enumerate().flat_map(|(i, tables)| tables.iter().map(move |t| (i, t)));
    let count = |(frontend, table): (usize, &std::sync::Arc<RateTable>)| {
        let spec = table.spec();
        let action = match spec.action {
            LimitAction::Deny => "deny",
            LimitAction::Tarpit => "tarpit",
            LimitAction::LogOnly => "log",
            LimitAction::Track => "track",
        };
        let frontend = name_of(frontend)?;
        Some(LimitCount { frontend, name: spec.name.clone(), action, exceeded: table.refused() })
    };
    tables.filter_map(count).collect()
}

/// Processor time of each worker thread, from `/proc`; empty where that cannot be read.
fn worker_cpu(workers: usize) -> Vec<Duration> {
    let mut used = vec![None; workers];
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    for thread in threads.flatten() {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        if let Some((worker, time)) = worker_time(&stat)
            && let Some(place) = used.get_mut(worker)
        {
            *place = Some(time);
        }
    }
    used.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Which worker a line of `/proc/self/task/N/stat` is about, and the time it used (proc(5): `comm`, `utime`, `stime`).
fn worker_time(stat: &str) -> Option<(usize, Duration)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let worker = name.strip_prefix("worker-")?.parse().ok()?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten()?;
    let ticks = user.saturating_add(system).saturating_mul(1000);
    Some((worker, Duration::from_millis(ticks / per_second.unsigned_abs().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_time() {
        let stat = "123 (worker-3) R 1 2 3 0 -1 4194368 5 0 0 0 250 50 0 0 20 0 4 0 99 0 0";
        assert_eq!(worker_time(stat), Some((3, Duration::from_secs(3))));
        for other in ["123 (lockgate) R 1", "", "1 (worker-x) R", "123 (worker-3) R 1 2"] {
            assert_eq!(worker_time(other), None, "{other}");
        }
    }
}
