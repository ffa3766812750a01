//! What is known of a running lockgate, and which of it is a problem.
//!
//! The names of the fields are the JSON form of `lockgate status --json`: scripts rely on them (docs/ADMIN.md).

use std::collections::HashMap;

use serde::Serialize;

use super::rows::{Row, Rows};

/// The line that asks for everything.
pub const QUESTION: &str = "show info; show stat; show servers checks\n";

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The process.
    pub process: Process,
    /// How many of the servers and backends here are down.
    pub down: usize,
    /// In the order of the configuration.
    pub frontends: Vec<Frontend>,
    /// In the order of the configuration.
    pub backends: Vec<Backend>,
}

/// The process.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// lockgate's version.
    pub version: String,
    /// `global.node`.
    pub node: String,
    /// Process id.
    pub pid: u64,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Client connections now.
    pub connections: u64,
    /// Client connections allowed.
    pub connections_limit: u64,
    /// Idle time of the workers.
    pub idle_percent: u64,
    /// Log lines lost since the start.
    pub lost_log_lines: u64,
    /// The process is on its way out.
    pub stopping: bool,
}

/// How something is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nobody can use it, and nobody wished that.
    Down,
    /// On its way up or down.
    Changing,
    /// Out of rotation by somebody's wish: drained, in maintenance, paused, of weight 0.
    SetAside,
    /// As it should be.
    Fine,
}

/// A frontend.
#[derive(Debug, Clone, Serialize)]
pub struct Frontend {
    /// Its name.
    pub name: String,
    /// HAProxy's word: `OPEN`, `PAUSED`, `STOP`.
    pub status: String,
    /// What the status amounts to.
    pub condition: Condition,
    /// What passes through it.
    pub traffic: Traffic,
    /// Requests in the last second.
    pub requests_per_second: u64,
    /// Requests refused by rules.
    pub denied: u64,
}

/// A backend.
#[derive(Debug, Clone, Serialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// `UP` or `DOWN`.
    pub status: String,
    /// What the status amounts to.
    pub condition: Condition,
    /// Since the status changed last.
    pub changed_seconds: u64,
    /// Servers that take new requests: active ones, or backups when there is no active one.
    pub servers_usable: u64,
    /// What passes through it.
    pub traffic: Traffic,
    /// In the order of the configuration.
    pub servers: Vec<Server>,
}

/// A server.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Address and port, as far as this socket's level may know.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// HAProxy's words: `UP`, `UP 2/3`, `DOWN`, `DRAIN`, `MAINT`, `no check` and so on.
    pub status: String,
    /// What the status amounts to.
    pub condition: Condition,
    /// Since the status changed last.
    pub changed_seconds: u64,
    /// Its weight now.
    pub weight: u64,
    /// Used only when no other server is usable.
    pub backup: bool,
    /// What passes through it.
    pub traffic: Traffic,
    /// The last health check, if it is checked.
    pub check: Option<Check>,
}

/// What passes through.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Traffic {
    /// Sessions now; on a backend or server, requests in flight.
    pub sessions: u64,
    /// The most there may be at once.
    pub sessions_limit: Option<u64>,
    /// Sessions in the last second.
    pub sessions_per_second: u64,
    /// Requests that wait now. Frontends have no queue.
    pub queued: u64,
    /// Requests since the start or the last `clear counters all`.
    pub requests: u64,
    /// Answers with a status of 500 and more.
    pub answers_5xx: u64,
    /// Frontends: broken requests. Backends and servers: failed connections and broken answers.
    pub errors: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// A health check's result.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// HAProxy's word: `L7OK`, `L4CON`, `L7STS` and so on.
    pub status: String,
    /// The HTTP status, when there was one.
    pub code: Option<u64>,
    /// How long it took.
    pub duration_ms: u64,
    /// How long ago it ended, when lockgate tells.
    pub age_ms: Option<u64>,
    /// What went wrong; empty when nothing did.
    pub text: String,
}

impl Report {
    /// From the replies to [`QUESTION`].
    ///
    /// # Errors
    /// These are other replies.
    pub fn read(replies: &str) -> Result<Report, String> {
        let mut parts = replies.split("\n\n");
        let info = parts.next().unwrap_or_default();
        let process = Process::read(info)?;
        let rows = Rows::read(parts.next().unwrap_or_default())?;
        let ages = ages(parts.next().unwrap_or_default());
        let mut report = Report { process, down: 0, frontends: Vec::new(), backends: Vec::new() };
        let mut servers: HashMap<&str, Vec<Server>> = HashMap::new();
        for row in rows.iter() {
            let proxy = row.text("pxname");
            match row.text("type") {
                "0" => report.frontends.push(Frontend::read(row)),
                "1" => {
                    let servers = servers.remove(proxy).unwrap_or_default();
                    report.backends.push(Backend::read(row, servers));
                }
                "2" => {
                    let age = ages.get(&*format!("{proxy}/{}", row.text("svname"))).copied();
                    servers.entry(proxy).or_default().push(Server::read(row, age));
                }
                _ => {}
            }
        }
        report.count();
        Ok(report)
    }

    /// Only these backends, without frontends.
    ///
    /// # Errors
    /// One of them does not exist; the text names those that do.
    pub fn only(mut self, names: &[String]) -> Result<Report, String> {
        if let Some(name) = names.iter().find(|name| self.backends.iter().all(|b| b.name != **name)) {
            let known: Vec<&str> = self.backends.iter().map(|b| b.name.as_str()).collect();
            return Err(format!("there is no backend `{name}`; there are: {}", known.join(", ")));
        }
        self.frontends.clear();
        self.backends.retain(|b| names.contains(&b.name));
        self.count();
        Ok(self)
    }

    /// Puts what needs somebody's eyes in front.
    pub fn problems_first(&mut self) {
        self.frontends.sort_by_key(|f| f.condition);
        for backend in &mut self.backends {
            backend.servers.sort_by_key(|s| s.condition);
        }
        self.backends.sort_by_key(Backend::worst);
    }

    /// Names of everything in this condition, servers as `backend/server`, each with its age in seconds.
    pub fn all_in(&self, condition: Condition) -> Vec<(String, Option<u64>)> {
        let frontends = self.frontends.iter().filter(|f| f.condition == condition).map(|f| (f.name.clone(), None));
        let mut found: Vec<_> = frontends.collect();
        for backend in &self.backends {
            if backend.condition == condition {
                found.push((backend.name.clone(), Some(backend.changed_seconds)));
            }
            let servers = backend.servers.iter().filter(|s| s.condition == condition);
            found.extend(servers.map(|s| (format!("{}/{}", backend.name, s.name), Some(s.changed_seconds))));
        }
        found
    }

    /// A server by `backend/server`, either of them by name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        let (backend, server) = name.split_once('/')?;
        self.backends.iter().find(|b| b.name == backend)?.servers.iter().find(|s| s.name == server)
    }

    fn count(&mut self) {
        self.down = self.all_in(Condition::Down).len();
    }
}

impl Process {
    fn read(info: &str) -> Result<Process, String> {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(": ")).collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default();
        let number = |name: &str| text(name).parse().unwrap_or(0);
        if text("Version").is_empty() {
            let begin: String = info.chars().take(60).collect();
            return Err(format!("is this a lockgate? It answered {begin:?} to `show info`"));
        }
        let version = text("Version");
        Ok(Process {
            version: version.split_once("lockgate-").map_or(version, |(_, own)| own).to_owned(),
            node: text("node").to_owned(),
            pid: number("Pid"),
            uptime_seconds: number("Uptime_sec"),
            connections: number("CurrConns"),
            connections_limit: number("Maxconn"),
            idle_percent: number("Idle_pct"),
            lost_log_lines: number("DroppedLogs"),
            stopping: number("Stopping") != 0,
        })
    }
}

impl Frontend {
    fn read(row: Row<'_>) -> Frontend {
        let status = row.text("status").to_owned();
        let condition = match status.as_str() {
            "OPEN" => Condition::Fine,
            "FULL" => Condition::Changing,
            _ => Condition::SetAside,
        };
        let traffic = Traffic { errors: row.number("ereq"), ..Traffic::read(row) };
        Frontend {
            name: row.text("pxname").to_owned(),
            status,
            condition,
            traffic,
            requests_per_second: row.number("req_rate"),
            denied: row.number("dreq"),
        }
    }
}

impl Backend {
    fn read(row: Row<'_>, servers: Vec<Server>) -> Backend {
        let status = row.text("status").to_owned();
        let starts = !servers.is_empty() && servers.iter().all(|s| s.condition == Condition::Changing);
        let condition = match status.as_str() {
            "UP" => Condition::Fine,
            _ if starts => Condition::Changing,
            _ => Condition::Down,
        };
        let active = row.number("act");
        Backend {
            name: row.text("pxname").to_owned(),
            status,
            condition,
            changed_seconds: row.number("lastchg"),
            servers_usable: if active > 0 { active } else { row.number("bck") },
            traffic: Traffic { sessions_limit: None, ..Traffic::read(row) },
            servers,
        }
    }

    /// The worst condition of itself and its servers.
    fn worst(&self) -> Condition {
        self.servers.iter().map(|s| s.condition).fold(self.condition, Condition::min)
    }
}

impl Server {
    fn read(row: Row<'_>, age_ms: Option<u64>) -> Server {
        let status = row.text("status").to_owned();
        let word = row.text("check_status").trim_start_matches("* ");
        let weight = row.number("weight");
        let condition = match status.as_str() {
            // Nobody has looked at it yet.
            _ if status.starts_with("DOWN") && word == "INI" => Condition::Changing,
            "MAINT (resolution)" => Condition::Down,
            s if s.starts_with("DOWN") => Condition::Down,
            s if s.starts_with("MAINT") || s.starts_with("DRAIN") => Condition::SetAside,
            s if s.starts_with("UP ") || s.starts_with("NOLB") => Condition::Changing,
            _ if weight == 0 => Condition::SetAside,
            _ => Condition::Fine,
        };
        let check = (!word.is_empty() && word != "INI").then(|| Check {
            status: word.to_owned(),
            code: row.maybe("check_code").filter(|code| *code > 0),
            duration_ms: row.number("check_duration"),
            age_ms,
            text: row.text("last_chk").to_owned(),
        });
        Server {
            name: row.text("svname").to_owned(),
            address: row.text("addr").to_owned(),
            status,
            condition,
            changed_seconds: row.number("lastchg"),
            weight,
            backup: row.number("bck") > 0,
            traffic: Traffic::read(row),
            check,
        }
    }
}

impl Traffic {
    fn read(row: Row<'_>) -> Traffic {
        Traffic {
            sessions: row.number("scur"),
            sessions_limit: row.maybe("slim").filter(|limit| *limit > 0),
            sessions_per_second: row.number("rate"),
            queued: row.number("qcur"),
            requests: row.number("req_tot"),
            answers_5xx: row.number("hrsp_5xx"),
            errors: row.number("econ") + row.number("eresp"),
            bytes_in: row.number("bin"),
            bytes_out: row.number("bout"),
        }
    }
}

/// Age in milliseconds of each server's last check, from `show servers checks`; nothing from programs that do not know
/// the command.
fn ages(reply: &str) -> HashMap<&str, u64> {
    let mut lines = reply.lines();
    if !lines.next().is_some_and(|line| line.starts_with("# bkname/svname status code duration_ms age_ms")) {
        return HashMap::new();
    }
    let read = |line| {
        let mut words = str::split_whitespace(line);
        Some((words.next()?, words.nth(3)?.parse().ok()?))
    };
    lines.filter_map(read).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of a few rows: `(proxy, name, type, status, check_status, weight)`.
    pub(in crate::cli::status) fn report(rows: &[(&str, &str, u32, &str, &str, u32)]) -> Report {
        let mut text = "Name: HAProxy\nVersion: 2.8.0-lockgate-0.1.0\nPid: 12\nUptime_sec: 3700\nCurrConns: 3\n\
                        Maxconn: 2000\nIdle_pct: 97\nnode: lab1\n\n"
            .to_owned();
        text += "# pxname,svname,qcur,scur,slim,type,status,lastchg,check_status,check_code,check_duration,last_chk,\
                 weight,act,bck,rate,req_tot,hrsp_5xx,econ,eresp,\n";
        for (proxy, name, kind, status, check, weight) in rows {
            text +=
                &format!("{proxy},{name},1,2,50,{kind},{status},754,{check},200,3,,{weight},1,0,12,1234567,7,2,1,\n");
        }
        text += "\n# bkname/svname status code duration_ms age_ms running text\nweb/w1 L7OK 200 3 1500 0 -\n\n";
        Report::read(&text).unwrap()
    }

    #[test]
    fn what_counts_as_down() {
        for (status, check, weight, condition) in [
            ("UP", "L7OK", 1, Condition::Fine),
            ("no check", "", 1, Condition::Fine),
            ("UP", "L7OK", 0, Condition::SetAside),
            ("UP 2/3", "L7STS", 1, Condition::Changing),
            ("NOLB", "L7OKC", 1, Condition::Changing),
            ("DOWN", "INI", 1, Condition::Changing),
            ("DOWN", "* L4CON", 1, Condition::Down),
            ("DOWN 1/3", "L7OK", 1, Condition::Down),
            ("DOWN (agent)", "L7OK", 1, Condition::Down),
            ("MAINT (resolution)", "", 1, Condition::Down),
            ("MAINT", "", 1, Condition::SetAside),
            ("MAINT (via web/w2)", "", 1, Condition::SetAside),
            ("DRAIN 1/3", "L7STS", 1, Condition::SetAside),
        ] {
            let report = report(&[("web", "w1", 2, status, check, weight), ("web", "BACKEND", 1, "UP", "", 1)]);
            assert_eq!(report.backends[0].servers[0].condition, condition, "{status} {check} {weight}");
            assert_eq!(report.down, usize::from(condition == Condition::Down), "{status}");
        }
        let empty = report(&[("web", "w1", 2, "MAINT", "", 1), ("web", "BACKEND", 1, "DOWN", "", 0)]);
        assert_eq!((empty.backends[0].condition, empty.down), (Condition::Down, 1), "no usable server");
        let starting = report(&[("web", "w1", 2, "DOWN", "INI", 1), ("web", "BACKEND", 1, "DOWN", "", 0)]);
        assert_eq!((starting.backends[0].condition, starting.down), (Condition::Changing, 0));
    }

    #[test]
    fn numbers_and_checks_are_read() {
        let report = report(&[
            ("fe", "FRONTEND", 0, "OPEN", "", 1),
            ("web", "w1", 2, "UP", "* L7OK", 1),
            ("web", "BACKEND", 1, "UP", "", 1),
        ]);
        assert_eq!((report.process.version.as_str(), report.process.pid), ("0.1.0", 12));
        assert_eq!((report.process.uptime_seconds, report.process.connections_limit), (3700, 2000));
        let server = &report.backends[0].servers[0];
        let check = server.check.as_ref().unwrap();
        assert_eq!(
            (check.status.as_str(), check.code, check.duration_ms, check.age_ms),
            ("L7OK", Some(200), 3, Some(1500))
        );
        assert_eq!((server.traffic.sessions, server.traffic.sessions_limit, server.traffic.errors), (2, Some(50), 3));
        assert_eq!(report.frontends[0].traffic.errors, 0, "a frontend has no connections to servers");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["backends"][0]["servers"][0]["condition"], "fine");
        assert_eq!(json["backends"][0]["servers"][0]["traffic"]["requests"], 1_234_567);
    }

    #[test]
    fn a_choice_of_backends() {
        let rows = [
            ("fe", "FRONTEND", 0, "OPEN", "", 1),
            ("web", "w1", 2, "DOWN", "L4CON", 1),
            ("web", "BACKEND", 1, "DOWN", "", 1),
            ("api", "BACKEND", 1, "UP", "", 1),
        ];
        let all = report(&rows);
        assert_eq!(all.down, 2);
        let api = all.clone().only(&["api".into()]).unwrap();
        assert_eq!((api.down, api.frontends.len(), api.backends.len()), (0, 0, 1));
        let refused = all.only(&["apo".into()]).unwrap_err();
        assert_eq!(refused, "there is no backend `apo`; there are: web, api");
    }

    #[test]
    fn problems_come_first() {
        let mut report = report(&[
            ("a", "a1", 2, "UP", "L7OK", 1),
            ("a", "BACKEND", 1, "UP", "", 1),
            ("b", "b1", 2, "UP", "L7OK", 1),
            ("b", "b2", 2, "DOWN", "L7STS", 1),
            ("b", "BACKEND", 1, "UP", "", 1),
        ]);
        report.problems_first();
        let names: Vec<&str> = report.backends.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(report.backends[0].servers[0].name, "b2");
    }

    #[test]
    fn other_programs_are_told_from_a_lockgate() {
        assert!(Report::read("HTTP/1.1 400 Bad Request\n\n").unwrap_err().contains("is this a lockgate"));
        assert!(Report::read("").is_err());
    }
}
