//! Per-second values made of totals: `rate`, `rate_max`, `req_rate`, `ConnRate` and so on.
//!
//! The control task calls [`Rates::sample`] once per second. Between two samples a reading adds what came since to
//! what is left of the second before, so a burst is seen at once and fades within a second, as HAProxy's frequency
//! counters do. Everything is kept by name and so survives a reload.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::counters::{Counter, Counters};
use crate::core::fleet::Fleet;

const SECOND: Duration = Duration::from_secs(1);

/// Every rate, sampled.
#[derive(Debug, Default)]
pub struct Rates {
    frontends: HashMap<Box<str>, FrontendRates>,
    backends: HashMap<Box<str>, BackendRates>,
    process: ProcessRates,
}

/// The rates of a frontend.
#[derive(Debug, Default)]
pub struct FrontendRates {
    /// `rate`, `rate_max`: sessions.
    pub sessions: Rate,
    /// `req_rate`, `req_rate_max`: HTTP requests.
    pub requests: Rate,
    /// `conn_rate`, `conn_rate_max`: connections.
    pub connections: Rate,
}

/// The rates of a backend and of its servers.
#[derive(Debug, Default)]
pub struct BackendRates {
    /// `rate`, `rate_max`: sessions.
    pub sessions: Rate,
    servers: HashMap<Box<str>, ServerRates>,
}

/// The rates of a server.
#[derive(Debug, Default)]
pub struct ServerRates {
    /// `rate`, `rate_max`: sessions.
    pub sessions: Rate,
    /// `need_conn_est`: the most connections in use lately. A peak fades by an eighth each second.
    pub needed: u32,
}

/// The rates of the process (`show info`).
#[derive(Debug, Default)]
pub struct ProcessRates {
    /// `ConnRate`, `MaxConnRate`.
    pub connections: Rate,
    /// `SessRate`, `MaxSessRate`.
    pub sessions: Rate,
    /// `SslRate`, `MaxSslRate`: handshakes that ended well.
    pub tls: Rate,
    /// `SslFrontendKeyRate`: complete handshakes.
    pub tls_full: Rate,
    /// `SslBackendKeyRate`, `SslBackendMaxKeyRate`: complete handshakes with servers.
    pub tls_full_servers: Rate,
    /// `BytesOutRate`.
    pub bytes_out: Rate,
}

/// Sums over all frontends that process rates are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessTotals {
    /// Connections accepted, admin connections included (`CumConns`).
    pub connections: u64,
    /// Sessions, admin connections included.
    pub sessions: u64,
    /// Requests (`CumReq`).
    pub requests: u64,
    /// TLS handshakes that ended well (`CumSslConns`).
    pub tls: u64,
    /// Those of them that were complete ones.
    pub tls_full: u64,
    /// Complete TLS handshakes with servers.
    pub tls_full_servers: u64,
    /// Bytes sent to clients (`TotalBytesOut`).
    pub bytes_out: u64,
}

impl ProcessTotals {
    /// Adds up all frontends.
    pub fn of(fleet: &Fleet, admin_connections: u64) -> ProcessTotals {
        let mut totals =
            ProcessTotals { connections: admin_connections, sessions: admin_connections, ..ProcessTotals::default() };
        for frontend in fleet.frontends() {
            let counters = &frontend.live.counters;
            totals.connections += counters.sum(Counter::ConnTot);
            totals.sessions += counters.sum(Counter::Stot);
            totals.requests += counters.sum(Counter::ReqTot);
            totals.tls_full += counters.sum(Counter::TlsFull);
            totals.tls += counters.sum(Counter::TlsFull) + counters.sum(Counter::TlsResumed);
            totals.bytes_out += counters.sum(Counter::Bout);
        }
        for server in fleet.servers().filter(|server| server.spec.tls.settings().is_some()) {
            totals.tls_full_servers += server.live.counters.sum(Counter::TlsFull);
        }
        totals
    }
}

impl Rates {
    /// Takes the totals of this second. `admin_connections` is the process's count of admin connections.
    pub fn sample(&mut self, fleet: &Fleet, admin_connections: u64, now: Instant) {
        let totals = ProcessTotals::of(fleet, admin_connections);
        self.process.connections.sample(totals.connections, now);
        self.process.sessions.sample(totals.sessions, now);
        self.process.tls.sample(totals.tls, now);
        self.process.tls_full.sample(totals.tls_full, now);
        self.process.tls_full_servers.sample(totals.tls_full_servers, now);
        self.process.bytes_out.sample(totals.bytes_out, now);
        for frontend in fleet.frontends() {
            let counters = &frontend.live.counters;
            let rates = kept(&mut self.frontends, &frontend.spec.name);
            rates.sessions.follow(counters, Counter::Stot, now);
            rates.requests.follow(counters, Counter::ReqTot, now);
            rates.connections.follow(counters, Counter::ConnTot, now);
        }
        for backend in fleet.backends() {
            let rates = kept(&mut self.backends, &backend.spec.name);
            rates.sessions.follow(&backend.live.counters, Counter::Stot, now);
            for server in &backend.servers {
                let of_server = kept(&mut rates.servers, &server.spec.name);
                of_server.sessions.follow(&server.live.counters, Counter::Stot, now);
                let faded = of_server.needed - of_server.needed.div_ceil(8);
                of_server.needed = faded.max(server.live.inflight.now());
            }
        }
        self.forget_missing(fleet);
    }

    /// Forgets the maxima (`clear counters`).
    pub fn clear_maxima(&mut self) {
        let process = &mut self.process;
        for rate in [
            &mut process.connections,
            &mut process.sessions,
            &mut process.tls,
            &mut process.tls_full,
            &mut process.tls_full_servers,
            &mut process.bytes_out,
        ] {
            rate.highest = 0;
        }
        for rates in self.frontends.values_mut() {
            for rate in [&mut rates.sessions, &mut rates.requests, &mut rates.connections] {
                rate.highest = 0;
            }
        }
        for rates in self.backends.values_mut() {
            rates.sessions.highest = 0;
            rates.servers.values_mut().for_each(|r| r.sessions.highest = 0);
        }
    }

    /// Of a frontend, once it was sampled.
    pub fn frontend(&self, name: &str) -> Option<&FrontendRates> {
        self.frontends.get(name)
    }

    /// Of a backend, once it was sampled.
    pub fn backend(&self, name: &str) -> Option<&BackendRates> {
        self.backends.get(name)
    }

    /// Of the process.
    pub fn process(&self) -> &ProcessRates {
        &self.process
    }

    fn forget_missing(&mut self, fleet: &Fleet) {
        if self.frontends.len() > fleet.frontends().len() {
            self.frontends.retain(|name, _| fleet.frontends().iter().any(|f| f.spec.name == *name));
        }
        if self.backends.len() > fleet.backends().len() {
            self.backends.retain(|name, _| fleet.backends().iter().any(|b| b.spec.name == *name));
        }
        for backend in fleet.backends() {
            if let Some(rates) = self.backends.get_mut(&backend.spec.name)
                && rates.servers.len() > backend.servers.len()
            {
                rates.servers.retain(|name, _| backend.servers.iter().any(|s| s.spec.name == *name));
            }
        }
    }
}

impl BackendRates {
    /// Of one of its servers, once it was sampled.
    pub fn server(&self, name: &str) -> Option<&ServerRates> {
        self.servers.get(name)
    }
}

fn kept<'a, T: Default>(map: &'a mut HashMap<Box<str>, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.into(), T::default());
    }
    map.get_mut(name).expect("inserted above when it was missing")
}

/// Events per second of one total.
#[derive(Debug, Default, Clone)]
pub struct Rate {
    sampled: Option<Sampled>,
    highest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sampled {
    at: Instant,
    total: u64,
    /// Events in the second before `at`.
    before: u64,
}

impl Rate {
    /// Notes the total at `now`. The first note only sets the starting point.
    pub fn sample(&mut self, total: u64, now: Instant) {
        let before = match self.sampled {
            None => 0,
            Some(last) => per_second(last.came_since(total), now.saturating_duration_since(last.at)),
        };
        self.highest = self.highest.max(before);
        self.sampled = Some(Sampled { at: now, total, before });
    }

    /// Events per second at `now`, when the total has come to `total`.
    pub fn read(&self, total: u64, now: Instant) -> u64 {
        let Some(last) = self.sampled else { return 0 };
        let elapsed = now.saturating_duration_since(last.at);
        let came = last.came_since(total);
        if elapsed >= SECOND {
            return per_second(came, elapsed);
        }
        let rest = SECOND - elapsed;
        came + u64::try_from(u128::from(last.before) * rest.as_millis() / 1000).unwrap_or(u64::MAX)
    }

    /// The highest rate since the last clearing, the present one included.
    pub fn max(&self, total: u64, now: Instant) -> u64 {
        self.highest.max(self.read(total, now))
    }

    fn follow(&mut self, counters: &Counters, counter: Counter, now: Instant) {
        self.sample(counters.sum(counter), now);
    }
}

impl Sampled {
    /// A total that went backwards was cleared (`clear counters all`).
    fn came_since(&self, total: u64) -> u64 {
        if total >= self.total { total - self.total } else { total }
    }
}

fn per_second(events: u64, elapsed: Duration) -> u64 {
    let ms = elapsed.as_millis().max(1000);
    u64::try_from(u128::from(events) * 1000 / ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn bursts_are_seen_at_once_and_fade() {
        let (t, ms) = (start(), Duration::from_millis);
        let mut rate = Rate::default();
        assert_eq!(rate.read(50, t), 0, "nothing sampled yet");
        rate.sample(50, t);
        assert_eq!(rate.read(60, t + ms(100)), 10, "ten since the sample");
        rate.sample(60, t + ms(1000));
        assert_eq!(rate.read(60, t + ms(1000)), 10);
        assert_eq!(rate.read(60, t + ms(1500)), 5, "half of the second before is left");
        assert_eq!(rate.read(64, t + ms(1500)), 9);
        assert_eq!(rate.read(60, t + ms(2000)), 0);
        assert_eq!(rate.max(60, t + ms(2000)), 10);
    }

    #[test]
    fn a_late_sample_is_spread_over_its_time() {
        let t = start();
        let mut rate = Rate::default();
        rate.sample(0, t);
        rate.sample(40, t + Duration::from_secs(4));
        assert_eq!(rate.read(40, t + Duration::from_secs(4)), 10);
        assert_eq!(rate.max(40, t + Duration::from_secs(9)), 10);
    }

    #[test]
    fn a_cleared_total_starts_again() {
        let t = start();
        let mut rate = Rate::default();
        rate.sample(1000, t);
        assert_eq!(rate.read(3, t + Duration::from_millis(10)), 3);
        rate.sample(5, t + SECOND);
        assert_eq!(rate.read(5, t + SECOND), 5);
    }
}
