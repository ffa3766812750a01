//! Programs that poll and do not run here, imitated by their own rules (reference 7.7 to 7.10): as strict as they are,
//! no more forgiving.

use std::collections::BTreeMap;

use regex::Regex;

use crate::support::lab::Lab;

/// Columns Opserver, hatop and Netdata read by position.
const BY_POSITION: usize = 51;

/// Telegraf's `inputs.haproxy`: a header that begins with `# `, rows as long as it, types up to 3, numbers without sign.
///
/// # Errors
/// What it would log and give the scrape up for.
pub fn telegraf(csv: &str) -> Result<usize, String> {
    const TEXTS: [&str; 9] =
        ["status", "check_status", "last_chk", "mode", "tracked", "agent_status", "last_agt", "addr", "cookie"];
    let mut lines = csv.lines();
    let header = lines.next().unwrap_or_default();
    let names: Vec<&str> =
        header.strip_prefix("# ").ok_or("did not receive valid haproxy headers")?.split(',').collect();
    let mut values = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let row = quoted(line);
        if row.len() != names.len() {
            return Err(format!("number of columns does not match number of headers in {line}"));
        }
        for (name, value) in names.iter().zip(&row).filter(|(_, value)| !value.is_empty()) {
            match *name {
                "type" => match value.parse::<u32>() {
                    Ok(0..=3) => {}
                    _ => return Err(format!("unable to convert type value {value:?}")),
                },
                "pxname" | "svname" | "-" | "" => {}
                name if TEXTS.contains(&name) => values += 1,
                // Other texts are dropped without a word.
                _ => values += usize::from(value.parse::<u64>().is_ok()),
            }
        }
    }
    Ok(values)
}

/// Opserver: a plain split, types by position, one bad value fails the poll. Gives the statuses of the servers.
///
/// # Errors
/// The value it stumbles over.
pub fn opserver(csv: &str) -> Result<Vec<(String, &'static str)>, String> {
    let mut servers = Vec::new();
    for line in csv.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let row: Vec<&str> = line.split(',').collect();
        if row.len() < BY_POSITION {
            return Err(format!("too few fields: {line}"));
        }
        for (n, value) in row.iter().enumerate().take(BY_POSITION).filter(|(_, value)| !value.is_empty()) {
            let fits = match n {
                0 | 1 | 17 | 36 | 45 => true,
                2..=6 | 18..=20 | 23..=29 | 31..=35 | 37 | 38 | 46 | 47 => value.parse::<i32>().is_ok(),
                _ => value.parse::<i64>().is_ok(),
            };
            if !fits {
                return Err(format!("column {n} holds {value:?}: {line}"));
            }
        }
        if row[32] == "2" {
            servers.push((format!("{}/{}", row[0], row[1]), opserver_status(row[17])));
        }
    }
    Ok(servers)
}

/// What Opserver makes of a status word.
fn opserver_status(word: &str) -> &'static str {
    let counted = |prefix: &str| {
        let numbers = word.strip_prefix(prefix).and_then(|rest| rest.split_once('/'));
        numbers.is_some_and(|(n, m)| n.parse::<u32>().is_ok() && m.parse::<u32>().is_ok())
    };
    match word {
        "UP" | "OPEN" | "no check" => "good",
        "DOWN" => "critical",
        "MAINT" => "maintenance",
        "DRAIN" => "drain",
        _ if counted("UP ") => "warning",
        _ if counted("DOWN ") => "critical",
        _ => "unknown",
    }
}

/// Datadog's check over the socket: two blocks, `Key: value` lines with exactly one colon down to `Uptime_sec`, rows by
/// name.
///
/// # Errors
/// Where it would raise.
pub fn datadog(replies: &str) -> Result<String, String> {
    let blocks: Vec<&str> = replies.split("\n\n").collect();
    let [info, stat, ""] = blocks.as_slice() else { return Err(format!("{} blocks", blocks.len())) };
    let mut version = None;
    for line in info.lines() {
        let [key, value] = line.split(':').collect::<Vec<_>>()[..] else { return Err(format!("two parts: {line}")) };
        if key == "Version" {
            version = Some(value.trim().to_owned());
        }
        if key == "Uptime_sec" {
            break;
        }
    }
    let version = version.ok_or("no Version")?;
    let numbers: Vec<u32> = version.split('.').take(2).filter_map(|n| n.parse().ok()).collect();
    if numbers.len() != 2 || numbers < vec![1, 5] {
        return Err(format!("version {version} has no stick tables"));
    }
    let names: Vec<&str> = stat.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']).split(',').collect();
    for line in stat.lines().skip(1) {
        let row: std::collections::HashMap<_, _> = names.iter().copied().zip(line.split(',')).collect();
        if row["svname"] != "FRONTEND" && row["status"].is_empty() {
            return Err(format!("no status: {line}"));
        }
    }
    Ok(version)
}

/// Datadog's reading of `show table`.
pub fn datadog_tables(reply: &str) -> Vec<(String, String, u64, u64)> {
    let pattern = regex::Regex::new(r"^# table: ([^ ,]+), type: ([^ ,]+), size:(\d+), used:(\d+)$").unwrap();
    let found = reply.lines().filter_map(|line| pattern.captures(line));
    found.map(|c| (c[1].to_owned(), c[2].to_owned(), c[3].parse().unwrap(), c[4].parse().unwrap())).collect()
}

/// Datadog's reading of the HTML page: a line with `uptime = ` and a `0d 0h00m12s` in it.
pub fn datadog_uptime(html: &str) -> bool {
    let pattern = regex::Regex::new(r"(\d+d )?(\d+h)?(\d+m)?(\d+s)").unwrap();
    html.lines().any(|line| line.contains("uptime = ") && pattern.is_match(line))
}

/// Netdata's python.d plugin: header key `# pxname`, plain split; servers up and down of a backend, by exact words.
pub fn netdata(csv: &str, backend: &str) -> (usize, usize) {
    let names: Vec<&str> = csv.lines().next().unwrap_or_default().split(',').collect();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no column {name}"));
    let (proxy, server, status) = (at("# pxname"), at("svname"), at("status"));
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let servers: Vec<&str> = rows
        .filter(|row| row.len() == names.len() && row[proxy] == backend)
        .filter(|row| !matches!(row[server], "FRONTEND" | "BACKEND"))
        .map(|row| row[status])
        .collect();
    let counted = |word| servers.iter().filter(|s| **s == word).count();
    (counted("UP"), counted("DOWN"))
}

/// A sample of the text format: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads Prometheus' text format.
///
/// # Errors
/// The line that is none.
fn samples(metrics: &str) -> Result<Vec<Sample>, String> {
    let line = Regex::new(r"^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? ([-+0-9.eEaIfNn]+)$").unwrap();
    let label = Regex::new(r#"([a-z_]+)="((?:[^"\\]|\\.)*)",?"#).unwrap();
    let lines = metrics.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|text| {
            let found = line.captures(text).ok_or_else(|| format!("no sample: {text}"))?;
            let labels = found.get(2).map_or("", |m| m.as_str());
            let labels = label.captures_iter(labels).map(|c| (c[1].to_owned(), c[2].to_owned())).collect();
            Ok((found[1].to_owned(), labels, found[3].parse().map_err(|_| format!("no number: {text}"))?))
        })
        .collect()
}

/// Datadog's newer check reads HAProxy's own Prometheus endpoint: metrics by name, each with the labels that become tags,
/// and a service check made of the states.
///
/// # Errors
/// The first metric it would miss.
pub fn datadog_v2(metrics: &str) -> Result<(), String> {
    const WANTED: [(&str, &[&str], &[&str]); 4] = [
        (
            "haproxy_process_",
            &[],
            &[
                "nbthread",
                "nbproc",
                "relative_process_id",
                "start_time_seconds",
                "max_memory_bytes",
                "max_fds",
                "max_sockets",
                "max_connections",
                "hard_max_connections",
                "current_connections",
                "connections_total",
                "requests_total",
                "max_ssl_connections",
                "current_ssl_connections",
                "ssl_connections_total",
                "current_connection_rate",
                "limit_connection_rate",
                "max_connection_rate",
                "current_session_rate",
                "limit_session_rate",
                "max_session_rate",
                "current_ssl_rate",
                "max_ssl_rate",
                "current_tasks",
                "current_run_queue",
                "idle_time_percent",
                "stopping",
                "jobs",
                "listeners",
                "dropped_logs_total",
                "failed_resolutions",
                "bytes_out_total",
                "busy_polling_enabled",
            ],
        ),
        (
            "haproxy_frontend_",
            &["proxy"],
            &[
                "status",
                "current_sessions",
                "max_sessions",
                "limit_sessions",
                "sessions_total",
                "bytes_in_total",
                "bytes_out_total",
                "requests_denied_total",
                "responses_denied_total",
                "request_errors_total",
                "current_session_rate",
                "max_session_rate",
                "limit_session_rate",
                "http_responses_total",
                "http_requests_rate_max",
                "http_requests_total",
                "connections_rate_max",
                "connections_total",
                "intercepted_requests_total",
                "denied_connections_total",
                "denied_sessions_total",
            ],
        ),
        (
            "haproxy_backend_",
            &["proxy"],
            &[
                "status",
                "current_queue",
                "max_queue",
                "current_sessions",
                "max_sessions",
                "limit_sessions",
                "sessions_total",
                "bytes_in_total",
                "bytes_out_total",
                "requests_denied_total",
                "responses_denied_total",
                "connection_errors_total",
                "response_errors_total",
                "retry_warnings_total",
                "redispatch_warnings_total",
                "weight",
                "active_servers",
                "backup_servers",
                "check_up_down_total",
                "check_last_change_seconds",
                "downtime_seconds_total",
                "loadbalanced_total",
                "max_session_rate",
                "http_responses_total",
                "http_requests_total",
                "client_aborts_total",
                "server_aborts_total",
                "last_session_seconds",
                "queue_time_average_seconds",
                "connect_time_average_seconds",
                "response_time_average_seconds",
                "total_time_average_seconds",
                "connection_attempts_total",
                "connection_reuses_total",
            ],
        ),
        (
            "haproxy_server_",
            &["proxy", "server"],
            &[
                "status",
                "check_status",
                "current_queue",
                "max_queue",
                "current_sessions",
                "max_sessions",
                "sessions_total",
                "bytes_in_total",
                "bytes_out_total",
                "connection_errors_total",
                "response_errors_total",
                "retry_warnings_total",
                "redispatch_warnings_total",
                "weight",
                "check_failures_total",
                "check_up_down_total",
                "downtime_seconds_total",
                "check_last_change_seconds",
                "loadbalanced_total",
                "max_session_rate",
                "check_duration_seconds",
                "http_responses_total",
                "client_aborts_total",
                "server_aborts_total",
                "last_session_seconds",
                "connection_attempts_total",
                "connection_reuses_total",
                "idle_connections_current",
                "safe_idle_connections_current",
            ],
        ),
    ];
    let samples = samples(metrics)?;
    for (prefix, labels, names) in WANTED {
        for name in names {
            let wanted = format!("{prefix}{name}");
            let sample = samples.iter().find(|(name, ..)| *name == wanted).ok_or_else(|| format!("no {wanted}"))?;
            if let Some(label) = labels.iter().find(|label| !sample.1.contains_key(**label)) {
                return Err(format!("{wanted} has no label {label}"));
            }
        }
    }
    for (status, states) in
        [("haproxy_backend_status", &["UP", "DOWN"][..]), ("haproxy_server_status", &["UP", "DOWN"])]
    {
        for state in states {
            let of = |(name, labels, _): &&Sample| name == status && labels.get("state").is_some_and(|s| s == state);
            samples.iter().find(of).ok_or_else(|| format!("{status} has no state {state}"))?;
        }
    }
    Ok(())
}

/// Netdata's go.d plugin: some name begins with `haproxy_`, its charts are of backends, by the labels `proxy` and `code`.
/// Gives each backend's answers of class 2xx.
///
/// # Errors
/// The first metric it would miss.
pub fn netdata_go(metrics: &str) -> Result<BTreeMap<String, f64>, String> {
    const CHARTS: [&str; 8] = [
        "sessions_total",
        "current_sessions",
        "response_time_average_seconds",
        "queue_time_average_seconds",
        "current_queue",
        "bytes_in_total",
        "bytes_out_total",
        "http_responses_total",
    ];
    let samples = samples(metrics)?;
    let mut backends = BTreeMap::new();
    for chart in CHARTS {
        let wanted = format!("haproxy_backend_{chart}");
        let mut found =
            samples.iter().filter(|(name, labels, _)| *name == wanted && labels.contains_key("proxy")).peekable();
        found.peek().ok_or_else(|| format!("no {wanted}"))?;
        for (_, labels, value) in found.filter(|(_, labels, _)| labels.get("code").is_some_and(|code| code == "2xx")) {
            backends.insert(labels["proxy"].clone(), *value);
        }
    }
    Ok(backends)
}

/// RFC 4180 within a line.
fn quoted(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// A lab in which every kind of status is to be seen.
fn colourful() -> Lab {
    let lab = Lab::start();
    lab.proxy.order("set server be_web/web2 state drain");
    lab.proxy.order("set server be_web/web3 state maint");
    lab.origins[3].stop();
    lab.wait_status("be_api/api1", "DOWN");
    lab
}

#[test]
fn telegraf_reads_every_row() {
    let lab = colourful();
    let values = telegraf(&lab.ask("user", "show stat\n")).unwrap();
    assert!(values > 400, "{values}");
}

#[test]
fn opserver_reads_every_row_and_knows_the_states() {
    let lab = colourful();
    let servers = opserver(&lab.ask("user", "show stat\n")).unwrap();
    let status = |name: &str| servers.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name}")).1;
    assert_eq!(status("be_web/web1"), "good");
    assert_eq!(status("be_web/web2"), "drain");
    assert_eq!(status("be_web/web3"), "maintenance");
    assert_eq!(status("be_api/api1"), "critical");
    assert_eq!(servers.len(), 6);
}

#[test]
fn datadog_reads_both_replies_and_the_tables() {
    let lab = colourful();
    let version = datadog(&lab.ask("user", "show info;show stat\r\n")).unwrap();
    assert!(version.starts_with("2.8."), "{version}");
    let tables = datadog_tables(&lab.ask("user", "show table\r\n"));
    assert_eq!(tables, [("st_rate".to_owned(), "ip".to_owned(), 10_240, 0)]);
}

#[test]
fn netdata_counts_servers() {
    let lab = colourful();
    let csv = lab.ask("user", "show stat\n");
    assert_eq!(netdata(&csv, "be_web"), (1, 0));
    assert_eq!(netdata(&csv, "be_api"), (2, 1));
    let info = lab.ask("user", "show info\n");
    assert!(info.lines().any(|line| line.starts_with("Idle_pct: ")), "{info}");
}

#[test]
fn these_rules_refuse_what_the_programs_refuse() {
    let header = "# pxname,svname,status,type,\n";
    assert!(telegraf("pxname,svname,\n").is_err());
    assert!(telegraf(&format!("{header}a,b,UP,2\n")).unwrap_err().contains("number of columns"));
    assert!(telegraf(&format!("{header}a,b,UP,9,\n")).is_err());
    let mut row = vec![""; 60];
    (row[0], row[1], row[17], row[32]) = ("be", "s", "UP", "2");
    assert_eq!(opserver(&row.join(",")).unwrap(), [("be/s".to_owned(), "good")]);
    row[31] = "be/other";
    assert!(opserver(&row.join(",")).unwrap_err().contains("column 31"), "a tracking server fails the poll");
    assert!(datadog("Name: HAProxy\nUptime: 1:2\n\n# pxname,svname,status\n\n").is_err());
}
