//! `show info`: facts of the process, in HAProxy 2.8's order (management guide, `show info`).
//!
//! Fields of things lockgate does not have stand at 0, because tools look them up by name.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use super::counters::Counter;
use super::rates::{ProcessTotals, Rates};
use super::render::{Format, write_json_field};
use super::value::Value;
use super::value::Value::{Float, U32, U64};
use super::{RELEASE_DATE, VERSION};
use crate::core::fleet::Fleet;
use crate::core::limit::process::ProcessLimits;

/// What only the process itself knows; the caller fills it for each reply.
#[derive(Debug, Clone)]
pub struct ProcessFacts {
    /// `Pid`
    pub pid: u32,
    /// When the process started, for ages.
    pub started: Instant,
    /// When the process started, by the wall clock (`Start_time_sec`).
    pub started_at: SystemTime,
    /// From the start until connections were accepted (`BootTime_ms`).
    pub boot_time: Duration,
    /// Worker threads (`Nbthread`).
    pub threads: u32,
    /// Client connections allowed at once (`Maxconn`).
    pub maxconn: u32,
    /// Descriptors the process may open (`Ulimit-n`, `Maxsock`).
    pub descriptor_limit: u64,
    /// Client connections now (`CurrConns`).
    pub connections: u32,
    /// TLS connections now (`CurrSslConns`).
    pub tls_connections: u32,
    /// Admin connections so far; part of `CumConns` and `CumReq`.
    pub admin_connections: u64,
    /// Times a connection had to wait because `maxconn` was reached (`MaxconnReached`).
    pub maxconn_reached: u64,
    /// TLS sessions looked up for resumption (`SslCacheLookups`).
    pub tls_cache_lookups: u64,
    /// Look-ups that found nothing (`SslCacheMisses`).
    pub tls_cache_misses: u64,
    /// Percentage of time the workers had nothing to do (`Idle_pct`), 0 to 100.
    pub idle_percent: u32,
    /// Name of the machine or as configured (`node`); never empty.
    pub node: Box<str>,
    /// As configured (`description`).
    pub description: Option<Box<str>>,
    /// The process is draining (`Stopping`).
    pub stopping: bool,
    /// Listening sockets, admin sockets included (`Listeners`).
    pub listeners: u32,
    /// Tasks alive, as far as known (`Tasks`).
    pub tasks: u32,
    /// Bytes of memory allocated (`PoolAlloc_bytes`, `PoolUsed_bytes`); 0 when unknown.
    pub memory_bytes: u64,
    /// Log lines that were lost (`DroppedLogs`).
    pub lost_log_lines: u64,
    /// Server names that could not be resolved (`FailedResolutions`).
    pub failed_resolutions: u64,
    /// Warnings given at start (`TotalWarnings`).
    pub warnings: u32,
}

/// What `show info` was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InfoQuery {
    /// In which form; `Csv` is `Key: value` lines.
    pub format: Format,
    /// `desc`: lines end with the field's description.
    pub describe: bool,
    /// `float`: times with their fractions.
    pub float: bool,
}

/// What a field's value is made of.
pub(super) struct Context<'a> {
    facts: &'a ProcessFacts,
    rates: &'a Rates,
    totals: ProcessTotals,
    tls_resumed: u64,
    limits: ProcessLimits,
    now: Instant,
    float: bool,
}

/// A field.
pub(super) struct Field {
    name: &'static str,
    tags: &'static str,
    /// What it tells, in words.
    pub(super) description: &'static str,
    /// Its name in HAProxy's own Prometheus exporter, without the prefix. One that ends in `_total` is a counter.
    pub(super) metric: Option<&'static str>,
    get: for<'a> fn(&Context<'a>) -> Value<'a>,
    /// The value before it was cut to 32 bits, where it may outgrow them.
    whole: Option<for<'a> fn(&Context<'a>) -> u64>,
}

impl Field {
    const fn metric(mut self, name: &'static str) -> Field {
        self.metric = Some(name);
        self
    }

    /// A counter that `show info` cuts to 32 bits, as HAProxy's do.
    const fn wide(mut self, whole: for<'a> fn(&Context<'a>) -> u64) -> Field {
        self.whole = Some(whole);
        self
    }

    /// The value as a metric.
    pub(super) fn measure<'a>(&self, context: &Context<'a>) -> Value<'a> {
        self.whole.map_or_else(|| (self.get)(context), |get| U64(get(context)))
    }
}

/// The reply to `show info`, without the empty line that ends every reply.
pub fn render(query: InfoQuery, facts: &ProcessFacts, fleet: &Fleet, rates: &Rates, now: Instant) -> String {
    let context = Context::new(facts, fleet, rates, now, query.float);
    let mut out = String::with_capacity(4096);
    match query.format {
        Format::Json => write_json(&context, &mut out),
        format => write_lines(&context, format == Format::Typed, query.describe, &mut out),
    }
    out
}

fn write_lines(context: &Context<'_>, typed: bool, describe: bool, out: &mut String) {
    for (index, field) in FIELDS.iter().enumerate() {
        let value = (field.get)(context);
        let Some(kind) = value.type_name() else { continue };
        let written = match typed {
            true => write!(out, "{index}.{}.1:{}:{kind}:", field.name, field.tags),
            false => write!(out, "{}: ", field.name),
        };
        written.expect("writing to a String cannot fail");
        value.write_plain(out);
        if describe {
            write!(out, ":\"{}\"", field.description).expect("writing to a String cannot fail");
        }
        out.push('\n');
    }
}

fn write_json(context: &Context<'_>, out: &mut String) {
    out.push('[');
    let mut first = true;
    for (index, field) in FIELDS.iter().enumerate() {
        let value = (field.get)(context);
        if value == Value::Empty {
            continue;
        }
        out.push_str(if std::mem::take(&mut first) { "{" } else { ",{" });
        write_json_field(index, field.name, field.tags, &value, out);
        out.push('}');
    }
    out.push_str("]\n");
}

const fn field(
    name: &'static str,
    tags: &'static str,
    description: &'static str,
    get: for<'a> fn(&Context<'a>) -> Value<'a>,
) -> Field {
    Field { name, tags, description, metric: None, get, whole: None }
}

/// A field of something lockgate does not have.
const fn zero(name: &'static str, tags: &'static str, description: &'static str) -> Field {
    field(name, tags, description, |_| U32(0))
}

/// Every field, in order.
pub(super) static FIELDS: &[Field] = &[
    field("Name", "POS", "Name that tools expect", |_| Value::text("HAProxy")),
    field("Version", "POS", "Version of the interface, then product and version", |_| Value::text(VERSION)),
    field("Release_date", "POS", "Day of the release", |_| Value::text(RELEASE_DATE)),
    field("Nbthread", "CGS", "Worker threads", |c| U32(c.facts.threads)).metric("nbthread"),
    field("Nbproc", "CGS", "Processes, always 1", |_| U32(1)).metric("nbproc"),
    field("Process_num", "KGP", "Number of this process, always 1", |_| U32(1)).metric("relative_process_id"),
    field("Pid", "SGP", "Process id", |c| U32(c.facts.pid)),
    field("Uptime", "MDP", "Time since the start", |c| Value::text(days(c.uptime()))),
    field("Uptime_sec", "MDP", "Seconds since the start", |c| match c.float {
        true => Float(c.uptime().as_secs_f64()),
        false => U32(narrow(c.uptime().as_secs())),
    })
    .metric("uptime_seconds"),
    zero("Memmax_MB", "CLP", "Limit of memory in MB, 0 for none"),
    field("PoolAlloc_MB", "MGP", "Memory allocated in MB", |c| U32(narrow(c.facts.memory_bytes >> 20))),
    field("PoolUsed_MB", "MGP", "Memory in use in MB", |c| U32(narrow(c.facts.memory_bytes >> 20))),
    zero("PoolFailed", "MCP", "Allocations that failed").metric("pool_failures_total"),
    field("Ulimit-n", "CLP", "Descriptors the process may open", |c| U32(narrow(c.facts.descriptor_limit)))
        .wide(|c| c.facts.descriptor_limit)
        .metric("max_fds"),
    field("Maxsock", "CLP", "Sockets the process may open", |c| U32(narrow(c.facts.descriptor_limit)))
        .wide(|c| c.facts.descriptor_limit)
        .metric("max_sockets"),
    field("Maxconn", "CLP", "Client connections allowed at once", |c| U32(c.facts.maxconn)).metric("max_connections"),
    field("Hard_maxconn", "CLP", "Client connections allowed at once, as configured", |c| {
        U32(c.limits.maxconn_highest)
    })
    .metric("hard_max_connections"),
    field("CurrConns", "MGP", "Client connections now", |c| U32(c.facts.connections)).metric("current_connections"),
    field("CumConns", "MCP", "Connections so far", |c| U32(narrow(c.totals.connections)))
        .wide(|c| c.totals.connections)
        .metric("connections_total"),
    field("CumReq", "MCP", "Requests so far", |c| U32(narrow(c.totals.requests + c.facts.admin_connections)))
        .wide(|c| c.totals.requests + c.facts.admin_connections)
        .metric("requests_total"),
    zero("MaxSslConns", "MMP", "TLS connections allowed at once, 0 for no limit of their own")
        .metric("max_ssl_connections"),
    field("CurrSslConns", "MGP", "TLS connections now", |c| U32(c.facts.tls_connections))
        .metric("current_ssl_connections"),
    field("CumSslConns", "MCP", "TLS connections so far", |c| U32(narrow(c.totals.tls)))
        .wide(|c| c.totals.tls)
        .metric("ssl_connections_total"),
    zero("Maxpipes", "CLP", "Pipes allowed at once").metric("max_pipes"),
    zero("PipesUsed", "MGP", "Pipes in use").metric("pipes_used_total"),
    zero("PipesFree", "MGP", "Pipes kept for use").metric("pipes_free_total"),
    field("ConnRate", "MRP", "Connections in the last second", |c| {
        U32(narrow(c.rates.process().connections.read(c.totals.connections, c.now)))
    })
    .metric("current_connection_rate"),
    field("ConnRateLimit", "CLP", "Connections allowed per second, 0 for any number", |c| {
        U32(c.limits.connection_rate)
    })
    .metric("limit_connection_rate"),
    field("MaxConnRate", "MMP", "Most connections in a second", |c| {
        U32(narrow(c.rates.process().connections.max(c.totals.connections, c.now)))
    })
    .metric("max_connection_rate"),
    field("SessRate", "MRP", "Sessions in the last second", |c| {
        U32(narrow(c.rates.process().sessions.read(c.totals.sessions, c.now)))
    })
    .metric("current_session_rate"),
    field("SessRateLimit", "CLP", "Sessions allowed per second, 0 for any number", |c| U32(c.limits.session_rate))
        .metric("limit_session_rate"),
    field("MaxSessRate", "MRP", "Most sessions in a second", |c| {
        U32(narrow(c.rates.process().sessions.max(c.totals.sessions, c.now)))
    })
    .metric("max_session_rate"),
    field("SslRate", "MRP", "TLS connections in the last second", |c| {
        U32(narrow(c.rates.process().tls.read(c.totals.tls, c.now)))
    })
    .metric("current_ssl_rate"),
    field("SslRateLimit", "CLP", "TLS connections allowed per second, 0 for any number", |c| U32(c.limits.tls_rate))
        .metric("limit_ssl_rate"),
    field("MaxSslRate", "MMP", "Most TLS connections in a second", |c| {
        U32(narrow(c.rates.process().tls.max(c.totals.tls, c.now)))
    })
    .metric("max_ssl_rate"),
    field("SslFrontendKeyRate", "MGP", "Complete TLS handshakes with clients in the last second", |c| {
        U32(narrow(c.rates.process().tls_full.read(c.totals.tls_full, c.now)))
    })
    .metric("current_frontend_ssl_key_rate"),
    field("SslFrontendMaxKeyRate", "MMP", "Most complete TLS handshakes with clients in a second", |c| {
        U32(narrow(c.rates.process().tls_full.max(c.totals.tls_full, c.now)))
    })
    .metric("max_frontend_ssl_key_rate"),
    field("SslFrontendSessionReuse_pct", "MGP", "Percentage of TLS handshakes that resumed a session", |c| {
        U32(narrow((c.tls_resumed * 100).checked_div(c.totals.tls).unwrap_or(0)))
    })
    .metric("frontend_ssl_reuse"),
    field("SslBackendKeyRate", "MRP", "Complete TLS handshakes with servers in the last second", |c| {
        U32(narrow(c.rates.process().tls_full_servers.read(c.totals.tls_full_servers, c.now)))
    })
    .metric("current_backend_ssl_key_rate"),
    field("SslBackendMaxKeyRate", "MMP", "Most complete TLS handshakes with servers in a second", |c| {
        U32(narrow(c.rates.process().tls_full_servers.max(c.totals.tls_full_servers, c.now)))
    })
    .metric("max_backend_ssl_key_rate"),
    field("SslCacheLookups", "MCP", "TLS sessions looked up", |c| U32(narrow(c.facts.tls_cache_lookups)))
        .wide(|c| c.facts.tls_cache_lookups)
        .metric("ssl_cache_lookups_total"),
    field("SslCacheMisses", "MCP", "TLS sessions that were not found", |c| U32(narrow(c.facts.tls_cache_misses)))
        .wide(|c| c.facts.tls_cache_misses)
        .metric("ssl_cache_misses_total"),
    zero("CompressBpsIn", "MRP", "Bytes per second given to compression").metric("http_comp_bytes_in_total"),
    zero("CompressBpsOut", "MRP", "Bytes per second that come out of compression").metric("http_comp_bytes_out_total"),
    field("CompressBpsRateLim", "CLP", "Limit of compression in bytes per second", |c| U32(c.limits.compression_rate))
        .metric("limit_http_comp"),
    zero("ZlibMemUsage", "MGP", "Memory used by compression").metric("current_zlib_memory"),
    zero("MaxZlibMemUsage", "CLP", "Memory allowed for compression").metric("max_zlib_memory"),
    field("Tasks", "MGP", "Tasks alive", |c| U32(c.facts.tasks)).metric("current_tasks"),
    zero("Run_queue", "MGP", "Tasks that wait for a thread").metric("current_run_queue"),
    field("Idle_pct", "MaP", "Percentage of time the workers were idle", |c| U32(c.facts.idle_percent.min(100)))
        .metric("idle_time_percent"),
    field("node", "COS", "Name of the machine", |c| Value::text(&*c.facts.node)).metric("node"),
    field("description", "COS", "Description as configured", |c| {
        Value::text(c.facts.description.as_deref().unwrap_or(""))
    })
    .metric("description"),
    field("Stopping", "MGP", "1 while the process is stopping", |c| U32(u32::from(c.facts.stopping)))
        .metric("stopping"),
    field("Jobs", "MGP", "Connections and listening sockets", |c| {
        U32(c.facts.connections.saturating_add(c.facts.listeners))
    })
    .metric("jobs"),
    zero("Unstoppable Jobs", "MGP", "Jobs that cannot be stopped").metric("unstoppable_jobs"),
    field("Listeners", "MGP", "Listening sockets", |c| U32(c.facts.listeners)).metric("listeners"),
    zero("ActivePeers", "MGP", "Peers").metric("active_peers"),
    zero("ConnectedPeers", "MGP", "Peers connected").metric("connected_peers"),
    field("DroppedLogs", "MGP", "Log lines that were lost", |c| U32(narrow(c.facts.lost_log_lines)))
        .wide(|c| c.facts.lost_log_lines)
        .metric("dropped_logs_total"),
    zero("BusyPolling", "MGP", "1 when threads never sleep").metric("busy_polling_enabled"),
    field("FailedResolutions", "MGP", "Server names that could not be resolved", |c| {
        U32(narrow(c.facts.failed_resolutions))
    })
    .metric("failed_resolutions"),
    field("TotalBytesOut", "MGP", "Bytes sent to clients", |c| U64(c.totals.bytes_out)).metric("bytes_out_total"),
    field("TotalSplicedBytesOut", "MGP", "Bytes that went through pipes", |_| U64(0)).metric("spliced_bytes_out_total"),
    field("BytesOutRate", "MRP", "Bytes sent to clients in the last second", |c| {
        U64(c.rates.process().bytes_out.read(c.totals.bytes_out, c.now))
    })
    .metric("bytes_out_rate"),
    zero("DebugCommandsIssued", "MGP", "Debug commands given"),
    zero("CumRecvLogs", "MCP", "Log lines received").metric("recv_logs_total"),
    field("Build info", "POS", "Version of the build", |_| Value::text(VERSION)).metric("build_info"),
    zero("Memmax_bytes", "CLP", "Limit of memory in bytes, 0 for none").metric("max_memory_bytes"),
    field("PoolAlloc_bytes", "MGP", "Memory allocated in bytes", |c| U64(c.facts.memory_bytes))
        .metric("pool_allocated_bytes"),
    field("PoolUsed_bytes", "MGP", "Memory in use in bytes", |c| U64(c.facts.memory_bytes)).metric("pool_used_bytes"),
    field("Start_time_sec", "MDP", "Start in seconds since 1970", |c| {
        let since = c.facts.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match c.float {
            true => Float(since.as_secs_f64()),
            false => U32(narrow(since.as_secs())),
        }
    })
    .metric("start_time_seconds"),
    field("Tainted", "SGP", "Unusual things done to the process", |_| Value::text("0")),
    field("TotalWarnings", "MCP", "Warnings given at start", |c| U32(c.facts.warnings)).metric("total_warnings"),
    field("MaxconnReached", "MCP", "Times a connection waited for maxconn", |c| U32(narrow(c.facts.maxconn_reached))),
    field("BootTime_ms", "MDP", "Milliseconds the start took", |c| {
        U32(u32::try_from(c.facts.boot_time.as_millis()).unwrap_or(u32::MAX))
    }),
];

impl<'a> Context<'a> {
    pub(super) fn new(
        facts: &'a ProcessFacts,
        fleet: &Fleet,
        rates: &'a Rates,
        now: Instant,
        float: bool,
    ) -> Context<'a> {
        Context {
            facts,
            rates,
            totals: ProcessTotals::of(fleet, facts.admin_connections),
            tls_resumed: fleet.frontends().iter().map(|f| f.live.counters.sum(Counter::TlsResumed)).sum(),
            limits: *fleet.limits(),
            now,
            float,
        }
    }

    fn uptime(&self) -> Duration {
        self.now.saturating_duration_since(self.facts.started)
    }
}

/// `0d 0h02m06s`
fn days(uptime: Duration) -> String {
    let s = uptime.as_secs();
    format!("{}d {}h{:02}m{:02}s", s / 86400, s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Counters of `show info` are 32 bits wide in HAProxy and wrap there; tools take differences.
fn narrow(n: u64) -> u32 {
    (n & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_written_as_tools_read_it() {
        for (s, text) in [(0, "0d 0h00m00s"), (126, "0d 0h02m06s"), (86399, "0d 23h59m59s"), (90061, "1d 1h01m01s")] {
            assert_eq!(days(Duration::from_secs(s)), text);
        }
    }

    #[test]
    fn names_hold_no_colon_and_descriptions_no_quote() {
        for f in FIELDS {
            assert!(!f.name.contains(':') && !f.description.contains('"'), "{}", f.name);
            assert_eq!(f.tags.len(), 3, "{}", f.name);
        }
        assert_eq!(FIELDS.len(), 75);
    }
}
