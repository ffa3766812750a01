//! The one table of what `show stat` tells: every column in HAProxy 2.8's order (management guide 9.1), with its tags,
//! the rows it applies to and where its value comes from.
//!
//! A column that no getter fills keeps its place and stays empty: tools read by position.

use super::counters::Counter;
use super::rates::{Rate, ServerRates};
use super::rows::{BackendRow, FrontendRow, Kind, ListenerRow, Row, ServerRow, seconds, since_last_session};
use super::value::Value;
use super::value::Value::{S32, U32, U64};
use crate::core::fleet::agent::AgentEntry;
use crate::core::health::CheckStatus;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// HAProxy's name.
    pub name: &'static str,
    /// What it tells, in words (`show stat typed desc`).
    pub description: &'static str,
    tags: &'static str,
    backend_tags: Option<&'static str>,
    server_tags: Option<&'static str>,
    frontend: Option<for<'a> fn(FrontendRow<'a>) -> Value<'a>>,
    backend: Option<for<'a> fn(BackendRow<'a>) -> Value<'a>>,
    server: Option<for<'a> fn(ServerRow<'a>) -> Value<'a>>,
    listener: Option<for<'a> fn(ListenerRow<'a>) -> Value<'a>>,
    metric: Option<Metric>,
}

/// A column as a metric of HAProxy's own Prometheus exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name without the prefix; one that ends in `_total` is a counter, any other a gauge.
    pub name: &'static str,
    /// What its samples are made of.
    pub shape: Shape,
}

/// What the samples of a metric are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The column's number.
    Number,
    /// The column's milliseconds in seconds.
    Seconds,
    /// One sample for each state there is, 1 for the present one.
    State,
    /// One sample for each result of a check there is, 1 for the last one.
    CheckResult,
    /// The column's number, with the class of status as a label.
    Code(&'static str),
    /// The backend's servers counted by state.
    ServersByState,
    /// The backend's servers counted by the result of their last check.
    ServersByCheck,
}

const fn column(name: &'static str, tags: &'static str, description: &'static str) -> Column {
    Column {
        name,
        description,
        tags,
        backend_tags: None,
        server_tags: None,
        frontend: None,
        backend: None,
        server: None,
        listener: None,
        metric: None,
    }
}

impl Column {
    const fn frontend(mut self, get: for<'a> fn(FrontendRow<'a>) -> Value<'a>) -> Column {
        self.frontend = Some(get);
        self
    }

    const fn backend(mut self, get: for<'a> fn(BackendRow<'a>) -> Value<'a>) -> Column {
        self.backend = Some(get);
        self
    }

    const fn server(mut self, get: for<'a> fn(ServerRow<'a>) -> Value<'a>) -> Column {
        self.server = Some(get);
        self
    }

    const fn listener(mut self, get: for<'a> fn(ListenerRow<'a>) -> Value<'a>) -> Column {
        self.listener = Some(get);
        self
    }

    const fn metric(self, name: &'static str) -> Column {
        self.metric_of(name, Shape::Number)
    }

    const fn metric_of(mut self, name: &'static str, shape: Shape) -> Column {
        self.metric = Some(Metric { name, shape });
        self
    }

    /// HAProxy tags a few columns differently on backends.
    const fn backend_tags(mut self, tags: &'static str) -> Column {
        self.backend_tags = Some(tags);
        self
    }

    /// HAProxy tags a few columns differently on servers.
    const fn server_tags(mut self, tags: &'static str) -> Column {
        self.server_tags = Some(tags);
        self
    }

    /// Three letters: origin, nature and scope.
    pub fn tags(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Frontend | Kind::Listener => self.tags,
            Kind::Backend => self.backend_tags.unwrap_or(self.tags),
            Kind::Server => self.server_tags.unwrap_or(self.tags),
        }
    }

    /// The value in a row.
    pub fn value<'a>(&self, row: &Row<'a>) -> Value<'a> {
        match row {
            Row::Frontend(r) => self.frontend.map_or(Value::Empty, |get| get(*r)),
            Row::Backend(r) => self.backend.map_or(Value::Empty, |get| get(*r)),
            Row::Server(r) => self.server.map_or(Value::Empty, |get| get(*r)),
            Row::Listener(r) => self.listener.map_or(Value::Empty, |get| get(*r)),
        }
    }

    /// The metric it is on rows of that kind, if it is one.
    pub fn metric_on(&self, kind: Kind) -> Option<Metric> {
        let applies = match kind {
            Kind::Frontend => self.frontend.is_some(),
            Kind::Backend => self.backend.is_some(),
            Kind::Server => self.server.is_some(),
            Kind::Listener => self.listener.is_some(),
        };
        let metric = self.metric.filter(|_| applies)?;
        // On a server it tells what it is, on a backend how many there are.
        let name = match (kind, metric.name) {
            (Kind::Server, "active_servers") => "active",
            (Kind::Server, "backup_servers") => "backup",
            (_, name) => name,
        };
        Some(Metric { name, ..metric })
    }
}

/// One counter, the same for every kind of row that has it.
macro_rules! counted {
    ($name:literal, LFBS, $counter:ident, $description:literal) => {
        counted!($name, FBS, $counter, $description).listener(|l| U64(l.count(Counter::$counter)))
    };
    ($name:literal, LFB, $counter:ident, $description:literal) => {
        counted!($name, FB, $counter, $description).listener(|l| U64(l.count(Counter::$counter)))
    };
    ($name:literal, LF, $counter:ident, $description:literal) => {
        counted!($name, F, $counter, $description).listener(|l| U64(l.count(Counter::$counter)))
    };
    ($name:literal, FBS, $counter:ident, $description:literal) => {
        counted!($name, BS, $counter, $description).frontend(|f| U64(f.count(Counter::$counter)))
    };
    ($name:literal, FB, $counter:ident, $description:literal) => {
        column($name, "MCP", $description)
            .frontend(|f| U64(f.count(Counter::$counter)))
            .backend(|b| U64(b.count(Counter::$counter)))
    };
    ($name:literal, BS, $counter:ident, $description:literal) => {
        column($name, "MCP", $description)
            .backend(|b| U64(b.count(Counter::$counter)))
            .server(|s| U64(s.count(Counter::$counter)))
    };
    ($name:literal, F, $counter:ident, $description:literal) => {
        column($name, "MCP", $description).frontend(|f| U64(f.count(Counter::$counter)))
    };
}

/// A counter of something lockgate does not do.
macro_rules! none_counted {
    ($name:literal, FB, $description:literal) => {
        column($name, "MCP", $description).frontend(|_| U64(0)).backend(|_| U64(0))
    };
    ($name:literal, LF, $description:literal) => {
        column($name, "MCP", $description).frontend(|_| U64(0)).listener(|_| U64(0))
    };
    ($name:literal, F, $description:literal) => {
        column($name, "MCP", $description).frontend(|_| U64(0))
    };
}

/// A mean or highest time in milliseconds.
macro_rules! timed {
    ($name:literal, $tags:literal, $read:ident, $counter:ident, $description:literal) => {
        column($name, $tags, $description)
            .backend(|b| U32(narrow(b.backend.live.counters.$read(Counter::$counter))))
            .server(|s| U32(narrow(s.live().counters.$read(Counter::$counter))))
    };
}

/// Every column, by its index. The last one is HAProxy's separator `-`.
pub static COLUMNS: &[Column] = &[
    // 0: names and queues
    column("pxname", "KNS", "Name of the frontend or backend")
        .frontend(|f| Value::text(&*f.frontend.spec.name))
        .backend(|b| Value::text(&*b.backend.spec.name))
        .server(|s| Value::text(&*s.backend.spec.name))
        .listener(|l| Value::text(&*l.frontend.spec.name)),
    column("svname", "KNS", "Name of the server, or FRONTEND or BACKEND")
        .frontend(|_| Value::text("FRONTEND"))
        .backend(|_| Value::text("BACKEND"))
        .server(|s| Value::text(&*s.server.spec.name))
        .listener(|l| Value::text(&*l.listener.name)),
    column("qcur", "MGP", "Requests waiting now")
        .backend(|b| U32(b.backend.live.queued.now()))
        .server(|s| U32(s.live().queued.now()))
        .metric("current_queue"),
    column("qmax", "MMP", "Most requests that ever waited at once")
        .backend(|b| U32(b.backend.live.queued.max()))
        .server(|s| U32(s.live().queued.max()))
        .metric("max_queue"),
    column("scur", "MGP", "Sessions now")
        .frontend(|f| U32(f.frontend.live.connections.now()))
        .backend(|b| U32(b.backend.live.sessions.now()))
        .server(|s| U32(s.live().inflight.now()))
        .listener(|l| U32(l.live().map_or(0, |l| l.connections.now())))
        .metric("current_sessions"),
    column("smax", "MMP", "Most sessions there ever were at once")
        .frontend(|f| U32(f.frontend.live.connections.max()))
        .backend(|b| U32(b.backend.live.sessions.max()))
        .server(|s| U32(s.live().inflight.max()))
        .listener(|l| U32(l.live().map_or(0, |l| l.connections.max())))
        .metric("max_sessions"),
    column("slim", "CLP", "Limit of sessions")
        .frontend(|f| U32(f.frontend.live.maxconn()))
        .backend(|b| U32(b.backend.session_limit))
        .server(|s| Value::or_empty(s.server.maxconn.map(U32)))
        .listener(|_| U32(0))
        .metric("limit_sessions"),
    counted!("stot", LFBS, Stot, "Sessions so far").metric("sessions_total"),
    counted!("bin", LFBS, Bin, "Bytes received from clients").metric("bytes_in_total"),
    counted!("bout", LFBS, Bout, "Bytes sent to clients").metric("bytes_out_total"),
    // 10: errors
    counted!("dreq", LFB, Dreq, "Requests denied by rules and limits").metric("requests_denied_total"),
    counted!("dresp", LFBS, Dresp, "Responses denied").metric("responses_denied_total"),
    counted!("ereq", LF, Ereq, "Broken requests").metric("request_errors_total"),
    counted!("econ", BS, Econ, "Failed connections to servers").metric("connection_errors_total"),
    counted!("eresp", BS, Eresp, "Broken or missing responses").metric("response_errors_total"),
    counted!("wretr", BS, Wretr, "Connections tried again").metric("retry_warnings_total"),
    counted!("wredis", BS, Wredis, "Requests sent to another server after a failure")
        .metric("redispatch_warnings_total"),
    // 17: state
    column("status", "SGP", "State")
        .frontend(|f| Value::text(f.frontend.live.status().word()))
        .backend(|b| Value::text(b.status()))
        .server(|s| Value::text(s.server.state.status_word()))
        .listener(|_| Value::text("OPEN"))
        .metric_of("status", Shape::State),
    column("weight", "MaP", "Effective weight")
        .backend(|b| U32(b.backend.total_weight()))
        .server(|s| U32(s.server.effective_weight()))
        .metric("weight"),
    column("act", "MGP", "Usable servers that are not backups; on a server whether it is not one")
        .server_tags("SGP")
        .backend(|b| U32(size(b.backend.usable().active)))
        .server(|s| U32(u32::from(!s.server.spec.backup)))
        .metric("active_servers"),
    column("bck", "MGP", "Usable backups; on a server whether it is one")
        .server_tags("SGP")
        .backend(|b| U32(size(b.backend.usable().backup)))
        .server(|s| U32(u32::from(s.server.spec.backup)))
        .metric("backup_servers"),
    column("chkfail", "MCP", "Failed checks while up")
        .server(|s| if_checked(s, U64(s.server.check_failures)))
        .metric("check_failures_total"),
    column("chkdown", "MCP", "Times it went down")
        .backend(|b| U64(b.backend.down_count))
        .server(|s| if_checked(s, U64(s.server.down_count)))
        .metric("check_up_down_total"),
    column("lastchg", "MAP", "Seconds since the state changed")
        .backend(|b| U32(seconds(b.since_change())))
        .server(|s| U32(seconds(s.view.now.saturating_duration_since(s.server.changed_at))))
        .metric("check_last_change_seconds"),
    column("downtime", "MCP", "Seconds down so far")
        .backend(|b| {
            if b.backend.servers.is_empty() { Value::Empty } else { U32(seconds(b.backend.downtime_at(b.view.now))) }
        })
        .server(|s| if_checked(s, U32(seconds(s.server.downtime_at(s.view.now)))))
        .metric("downtime_seconds_total"),
    column("qlimit", "CLS", "Requests that may wait for this server")
        .server(|s| Value::or_empty(s.backend.spec.server_queue_max.map(U32)))
        .metric("queue_limit"),
    // 26: numbers
    column("pid", "KGP", "Process number, always 1")
        .frontend(|_| U32(1))
        .backend(|_| U32(1))
        .server(|_| U32(1))
        .listener(|_| U32(1)),
    column("iid", "KGS", "Number of the frontend or backend")
        .frontend(|f| U32(f.frontend.spec.iid))
        .backend(|b| U32(b.backend.spec.iid))
        .server(|s| U32(s.backend.spec.iid))
        .listener(|l| U32(l.frontend.spec.iid)),
    column("sid", "KGS", "Number of the server, 0 for frontends and backends")
        .frontend(|_| U32(0))
        .backend(|_| U32(0))
        .server(|s| U32(s.sid()))
        .listener(|l| U32(l.sid())),
    column("throttle", "MaP", "Percentage of the weight while warming up")
        .server(|s| Value::or_empty(s.server.throttle().map(U32)))
        .metric("current_throttle"),
    counted!("lbtot", BS, Lbtot, "Times chosen by load balancing").metric("loadbalanced_total"),
    column("tracked", "CNS", "The server whose checks decide")
        .server(|s| Value::or_empty(s.server.spec.track.as_deref().map(Value::text))),
    column("type", "CGS", "0 frontend, 1 backend, 2 server, 3 listener")
        .frontend(|_| U32(Kind::Frontend.number()))
        .backend(|_| U32(Kind::Backend.number()))
        .server(|_| U32(Kind::Server.number()))
        .listener(|_| U32(Kind::Listener.number())),
    // 33: rates
    column("rate", "MRP", "Sessions in the last second")
        .backend_tags("MGP")
        .frontend(|f| read(f.rates(|r| &r.sessions), f.count(Counter::Stot), f.view.now))
        .backend(|b| read(b.rate(), b.count(Counter::Stot), b.view.now))
        .server(|s| read(s.rate(), s.count(Counter::Stot), s.view.now))
        .metric("current_session_rate"),
    column("rate_lim", "CLP", "Limit of sessions per second, 0 for none")
        .frontend(|f| U32(f.frontend.spec.session_rate.unwrap_or(0)))
        .metric("limit_session_rate"),
    column("rate_max", "MMP", "Most sessions in a second")
        .backend_tags("MGP")
        .frontend(|f| highest(f.rates(|r| &r.sessions), f.count(Counter::Stot), f.view.now))
        .backend(|b| highest(b.rate(), b.count(Counter::Stot), b.view.now))
        .server(|s| highest(s.rate(), s.count(Counter::Stot), s.view.now))
        .metric("max_session_rate"),
    // 36: checks
    column("check_status", "MOP", "Result of the last check")
        .server(|s| {
            let running = if s.server.check_running { "* " } else { "" };
            if_checking(s, Value::text(format!("{running}{}", last_status(s).word())))
        })
        .metric_of("check_status", Shape::CheckResult),
    column("check_code", "MOP", "HTTP status of the last check")
        .server(|s| {
            let code = s.server.last_check.as_ref().and_then(|c| c.outcome.code);
            match last_status(s).has_code() {
                true => if_checking(s, U32(code.map_or(0, u32::from))),
                false => Value::Empty,
            }
        })
        .metric("check_code"),
    column("check_duration", "MDP", "Milliseconds the last check took")
        .server(|s| match &s.server.last_check {
            Some(last) if is_finished(last.outcome.status) => {
                if_checking(s, U64(u64::try_from(last.outcome.duration.as_millis()).unwrap_or(u64::MAX)))
            }
            _ => Value::Empty,
        })
        .metric_of("check_duration_seconds", Shape::Seconds),
    counted!("hrsp_1xx", FBS, Hrsp1xx, "Responses with status 1xx")
        .metric_of("http_responses_total", Shape::Code("1xx")),
    counted!("hrsp_2xx", FBS, Hrsp2xx, "Responses with status 2xx")
        .metric_of("http_responses_total", Shape::Code("2xx")),
    counted!("hrsp_3xx", FBS, Hrsp3xx, "Responses with status 3xx")
        .metric_of("http_responses_total", Shape::Code("3xx")),
    counted!("hrsp_4xx", FBS, Hrsp4xx, "Responses with status 4xx")
        .metric_of("http_responses_total", Shape::Code("4xx")),
    counted!("hrsp_5xx", FBS, Hrsp5xx, "Responses with status 5xx")
        .metric_of("http_responses_total", Shape::Code("5xx")),
    counted!("hrsp_other", FBS, HrspOther, "Responses with another status, or without one")
        .metric_of("http_responses_total", Shape::Code("other")),
    column("hanafail", "MCP", "Errors seen on live traffic").server(|s| match s.server.spec.observe {
        Some(_) => U64(s.count(Counter::Hanafail)),
        None => Value::Empty,
    }),
    column("req_rate", "MRP", "HTTP requests in the last second")
        .frontend(|f| read(f.rates(|r| &r.requests), f.count(Counter::ReqTot), f.view.now)),
    column("req_rate_max", "MMP", "Most HTTP requests in a second")
        .frontend(|f| highest(f.rates(|r| &r.requests), f.count(Counter::ReqTot), f.view.now))
        .metric("http_requests_rate_max"),
    counted!("req_tot", FBS, ReqTot, "HTTP requests so far").metric("http_requests_total"),
    counted!("cli_abrt", BS, CliAbrt, "Transfers broken off by clients").metric("client_aborts_total"),
    counted!("srv_abrt", BS, SrvAbrt, "Transfers broken off by servers").metric("server_aborts_total"),
    none_counted!("comp_in", FB, "Bytes given to compression").metric("http_comp_bytes_in_total"),
    none_counted!("comp_out", FB, "Bytes that came out of compression").metric("http_comp_bytes_out_total"),
    none_counted!("comp_byp", FB, "Bytes that passed compression by").metric("http_comp_bytes_bypassed_total"),
    none_counted!("comp_rsp", FB, "Responses that were compressed").metric("http_comp_responses_total"),
    // 55: times and texts
    column("lastsess", "MAP", "Seconds since the last session, -1 for never")
        .backend(|b| S32(since_last_session(stamp(&b.backend.live.last_session_ms), b.view)))
        .server(|s| S32(since_last_session(stamp(&s.live().last_session_ms), s.view)))
        .metric("last_session_seconds"),
    column("last_chk", "MOP", "Text of the last check").server(|s| {
        let text = s.server.last_check.as_ref().map_or("", |c| &*c.outcome.text);
        if_checking(s, Value::text(text))
    }),
    column("last_agt", "MOP", "Text of the last agent check")
        .server(|s| Value::or_empty(s.agent().map(|a| Value::text(a.last.as_ref().map_or("", |l| &*l.outcome.text))))),
    timed!("qtime", "MaP", sliding_mean, QueueSlide, "Mean milliseconds in queues over the last 1024 requests")
        .metric_of("queue_time_average_seconds", Shape::Seconds),
    timed!("ctime", "MaP", sliding_mean, ConnectSlide, "Mean milliseconds of connecting")
        .metric_of("connect_time_average_seconds", Shape::Seconds),
    timed!("rtime", "MaP", sliding_mean, ResponseSlide, "Mean milliseconds until the response began")
        .metric_of("response_time_average_seconds", Shape::Seconds),
    timed!("ttime", "MaP", sliding_mean, TotalSlide, "Mean milliseconds in all")
        .metric_of("total_time_average_seconds", Shape::Seconds),
    column("agent_status", "MOP", "Result of the last agent check")
        .server(|s| {
            let running = |a: &AgentEntry| if a.is_running() { "* " } else { "" };
            Value::or_empty(s.agent().map(|a| Value::text(format!("{}{}", running(a), a.status().word()))))
        })
        .metric_of("agent_status", Shape::CheckResult),
    column("agent_code", "MOP", "Code of the last agent check")
        .server(|s| Value::or_empty(s.agent().filter(|a| a.status().has_code()).map(|_| U32(0))))
        .metric("agent_code"),
    column("agent_duration", "MDP", "Milliseconds the last agent check took")
        .server(|s| {
            let millis = |a: &AgentEntry| a.last.as_ref().map_or(0, |last| last.outcome.duration.as_millis());
            Value::or_empty(s.agent().map(|a| U64(u64::try_from(millis(a)).unwrap_or(u64::MAX))))
        })
        .metric_of("agent_duration_seconds", Shape::Seconds),
    column("check_desc", "MOP", "Result of the last check, in words")
        .server(|s| if_checking(s, Value::text(last_status(s).description()))),
    column("agent_desc", "MOP", "Result of the last agent check, in words")
        .server(|s| Value::or_empty(s.agent().map(|a| Value::text(a.status().description())))),
    column("check_rise", "CGS", "Passes in a row that bring it up")
        .server(|s| if_checking(s, U32(s.server.state.rise))),
    column("check_fall", "CGS", "Failures in a row that take it down")
        .server(|s| if_checking(s, U32(s.server.state.fall))),
    column("check_health", "CGS", "Health counter, 0 to rise+fall-1")
        .server(|s| if_checking(s, U32(s.server.state.health))),
    column("agent_rise", "CGS", "Agent's rise, always 1").server(|s| Value::or_empty(s.agent().map(|_| U32(1)))),
    column("agent_fall", "CGS", "Agent's fall, always 1").server(|s| Value::or_empty(s.agent().map(|_| U32(1)))),
    column("agent_health", "CGS", "Agent's health counter, 0 or 1")
        .server(|s| Value::or_empty(s.server.state.agent.filter(|a| a.enabled).map(|a| U32(a.health())))),
    column("addr", "CGS", "Address and port")
        .server(|s| match s.view.legends {
            true => Value::or_empty(s.address().map(Value::text)),
            false => Value::Empty,
        })
        .listener(|l| if l.view.legends { Value::text(&*l.listener.address) } else { Value::Empty }),
    column("cookie", "CNS", "Name of the persistence cookie, on a server its value")
        .backend(|b| match &b.backend.spec.cookie {
            Some(cookie) if b.view.legends => Value::text(&*cookie.name),
            _ => Value::Empty,
        })
        .server(|s| match s.view.legends {
            true => Value::or_empty(s.cookie().map(Value::text)),
            false => Value::Empty,
        }),
    column("mode", "CGS", "Always http")
        .frontend(|_| Value::text("http"))
        .backend(|_| Value::text("http"))
        .server(|_| Value::text("http"))
        .listener(|_| Value::text("http")),
    column("algo", "CGS", "How requests are spread").backend(|b| Value::text(b.backend.spec.algorithm.name())),
    // 77: connections
    column("conn_rate", "MRP", "Connections in the last second")
        .frontend(|f| read(f.rates(|r| &r.connections), f.count(Counter::ConnTot), f.view.now)),
    column("conn_rate_max", "MMP", "Most connections in a second")
        .frontend(|f| highest(f.rates(|r| &r.connections), f.count(Counter::ConnTot), f.view.now))
        .metric("connections_rate_max"),
    counted!("conn_tot", F, ConnTot, "Connections so far").metric("connections_total"),
    counted!("intercepted", F, Intercepted, "Requests answered by the proxy itself")
        .metric("intercepted_requests_total"),
    counted!("dcon", LF, Dcon, "Connections refused by the limit per source").metric("denied_connections_total"),
    none_counted!("dses", LF, "Sessions refused by rules").metric("denied_sessions_total"),
    counted!("wrew", LFBS, Wrew, "Header changes that failed").metric("failed_header_rewriting_total"),
    counted!("connect", BS, Connect, "Connections attempted").metric("connection_attempts_total"),
    counted!("reuse", BS, Reuse, "Requests sent on a kept connection").metric("connection_reuses_total"),
    none_counted!("cache_lookups", FB, "Look-ups in the cache").metric("http_cache_lookups_total"),
    none_counted!("cache_hits", FB, "Hits in the cache").metric("http_cache_hits_total"),
    column("srv_icur", "MGP", "Idle connections kept")
        .server(|s| U32(s.live().idle.now()))
        .metric("idle_connections_current"),
    column("src_ilim", "CLP", "Limit of idle connections over all workers")
        .server(|s| match s.backend.spec.pool.max_idle {
            u32::MAX => Value::Empty,
            each => U32(each.saturating_mul(size(s.view.fleet.workers()))),
        })
        .metric("idle_connections_limit"),
    timed!("qtime_max", "MMP", highest, QueueMaxMs, "Most milliseconds in queues")
        .metric_of("max_queue_time_seconds", Shape::Seconds),
    timed!("ctime_max", "MMP", highest, ConnectMaxMs, "Most milliseconds of connecting")
        .metric_of("max_connect_time_seconds", Shape::Seconds),
    timed!("rtime_max", "MMP", highest, ResponseMaxMs, "Most milliseconds until the response began")
        .metric_of("max_response_time_seconds", Shape::Seconds),
    timed!("ttime_max", "MMP", highest, TotalMaxMs, "Most milliseconds in all")
        .metric_of("max_total_time_seconds", Shape::Seconds),
    counted!("eint", LFBS, Eint, "Internal errors").metric("internal_errors_total"),
    column("idle_conn_cur", "MGP", "Idle connections that are not safe to reuse")
        .server(|_| U32(0))
        .metric("unsafe_idle_connections_current"),
    column("safe_conn_cur", "MGP", "Idle connections that are safe to reuse")
        .server(|s| U32(s.live().idle.now()))
        .metric("safe_idle_connections_current"),
    column("used_conn_cur", "MGP", "Connections in use")
        .server(|s| U32(s.live().inflight.now()))
        .metric("used_connections_current"),
    column("need_conn_est", "MGP", "Most connections in use lately")
        .server(|s| U32(s.live().inflight.now().max(s.server_rates().map_or(0, |r| r.needed))))
        .metric("need_connections_current"),
    column("uweight", "MaP", "Weight set by configuration or operator")
        .backend(|b| U32(b.user_weight()))
        .server(|s| U32(s.server.weight))
        .metric("uweight"),
    column("agg_server_status", "MGP", "For Prometheus only")
        .backend(|_| U32(0))
        .metric_of("agg_server_status", Shape::ServersByState),
    column("agg_server_check_status", "MGP", "For Prometheus only")
        .backend(|_| U32(0))
        .metric_of("agg_server_check_status", Shape::ServersByState),
    column("agg_check_status", "MGP", "For Prometheus only")
        .backend(|_| U32(0))
        .metric_of("agg_check_status", Shape::ServersByCheck),
    column("srid", "MCP", "Revision of the server: grows when numbers of deleted servers may be used again")
        .server(|s| U32(s.server.revision)),
    // 104: by protocol
    column("sess_other", "MCP", "Sessions that never came to speak HTTP")
        .frontend(|f| U64(f.count(Counter::Stot).saturating_sub(f.count(Counter::H1Sess) + f.count(Counter::H2Sess)))),
    counted!("h1sess", F, H1Sess, "HTTP/1 sessions"),
    counted!("h2sess", F, H2Sess, "HTTP/2 sessions"),
    none_counted!("h3sess", F, "HTTP/3 sessions"),
    column("req_other", "MCP", "Requests that were of no known version of HTTP")
        .frontend(|f| U64(f.count(Counter::ReqTot).saturating_sub(f.count(Counter::H1Req) + f.count(Counter::H2Req)))),
    counted!("h1req", F, H1Req, "HTTP/1 requests"),
    counted!("h2req", F, H2Req, "HTTP/2 requests"),
    none_counted!("h3req", F, "HTTP/3 requests"),
    column("proto", "SGP", "Protocol of a listener").listener(|l| Value::text(l.listener.protocol)),
    column(SEPARATOR, "MCP", "Separates the fixed columns from modules' counters"),
];

/// The name and the value of the last column; it appears in CSV only.
pub const SEPARATOR: &str = "-";

impl FrontendRow<'_> {
    fn rates(&self, which: fn(&super::rates::FrontendRates) -> &Rate) -> Option<&Rate> {
        self.view.rates.frontend(&self.frontend.spec.name).map(which)
    }
}

impl BackendRow<'_> {
    fn rate(&self) -> Option<&Rate> {
        Some(&self.view.rates.backend(&self.backend.spec.name)?.sessions)
    }
}

impl ServerRow<'_> {
    fn rate(&self) -> Option<&Rate> {
        Some(&self.server_rates()?.sessions)
    }

    fn server_rates(&self) -> Option<&ServerRates> {
        self.view.rates.backend(&self.backend.spec.name)?.server(&self.server.spec.name)
    }
}

fn read<'a>(rate: Option<&Rate>, total: u64, now: std::time::Instant) -> Value<'a> {
    U32(rate.map_or(0, |r| narrow(r.read(total, now))))
}

fn highest<'a>(rate: Option<&Rate>, total: u64, now: std::time::Instant) -> Value<'a> {
    U32(rate.map_or(0, |r| narrow(r.max(total, now))))
}

fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn stamp(cell: &std::sync::atomic::AtomicI64) -> i64 {
    cell.load(std::sync::atomic::Ordering::Relaxed)
}

fn last_status(s: ServerRow<'_>) -> CheckStatus {
    s.server.last_check.as_ref().map_or(CheckStatus::Initializing, |c| c.outcome.status)
}

/// Only then `check_duration` is shown.
fn is_finished(status: CheckStatus) -> bool {
    !matches!(status, CheckStatus::Unknown | CheckStatus::Initializing)
}

fn if_checked<'a>(s: ServerRow<'a>, value: Value<'a>) -> Value<'a> {
    if s.checks_enabled() { value } else { Value::Empty }
}

fn if_checking<'a>(s: ServerRow<'a>, value: Value<'a>) -> Value<'a> {
    if s.checks_running() { value } else { Value::Empty }
}
