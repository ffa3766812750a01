//! The set-up HAProxy's recordings were made with, in lockgate's words (`tests/lab/core.yaml`): frontends `fe_main` and
//! `fe_tls`, backends `be_web` and `be_api` with three servers each, the table `st_rate`, a map and an access list, three
//! stats pages and an admin socket of each level.
//!
//! Everything is on ports of its own; [`Lab::translated`] and [`Lab::as_recorded`] turn the recordings' ports and paths
//! into this lab's and back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::logs::LogReceiver;
use super::message::Message;
use super::origin::{Origin, OriginConn, Reply};
use super::proxy::{Proxy, exchange};
use super::{eventually, ports};

/// The template.
const TEMPLATE: &str = include_str!("../lab/core.yaml");

/// Files the configuration names, below the lab's own folder.
const FILES: [(&str, &str); 4] = [
    ("certs/one.pem", include_str!("../compat/certs/one.pem")),
    ("certs/two.pem", include_str!("../compat/certs/two.pem")),
    ("maps/blocked.acl", include_str!("../lab/maps/blocked.acl")),
    ("maps/hosts.map", include_str!("../lab/maps/hosts.map")),
];

/// Placeholders of the servers, with the port each had when HAProxy was recorded.
const SERVERS: [(&str, u16); 6] =
    [("WEB1", 18101), ("WEB2", 18102), ("WEB3", 18103), ("API1", 18111), ("API2", 18112), ("API3", 18113)];

/// A port the recordings move servers to; nobody listens there.
const NOWHERE: u16 = 18104;

/// A running lab.
pub struct Lab {
    /// lockgate.
    pub proxy: Proxy,
    /// What reached syslog.
    pub logs: LogReceiver,
    /// web1 to web3, then api1 to api3.
    pub origins: Vec<Origin>,
    /// Where `fe_main` listens.
    pub main: SocketAddr,
    /// Where `fe_tls` listens.
    pub tls: SocketAddr,
    /// The stats page that lets everybody do everything, at `/haproxy`.
    pub stats: SocketAddr,
    /// The same for `admin` with the password `secret`.
    pub stats_auth: SocketAddr,
    /// A stats page to read, at `/`.
    pub stats_ro: SocketAddr,
    nowhere: u16,
}

impl Lab {
    /// Starts everything and waits until every server is up.
    #[track_caller]
    pub fn start() -> Lab {
        let dir = Arc::new(tempfile::Builder::new().prefix("lockgate-").tempdir().expect("a temporary folder"));
        for (name, content) in FILES {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the lab's own folder");
            std::fs::write(path, content).expect("the lab's own folder can be written");
        }
        let origins: Vec<Origin> = SERVERS.iter().map(|_| Origin::script(serve)).collect();
        let [main, tls, stats, stats_auth, stats_ro] = std::array::from_fn(|_| ports::address());
        let logs = LogReceiver::udp();
        let mut yaml = TEMPLATE
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@LOG@", logs.target())
            .replace("@MAIN@", &main.to_string())
            .replace("@TLS@", &tls.to_string())
            .replace("@STATS@", &stats.to_string())
            .replace("@STATS_AUTH@", &stats_auth.to_string())
            .replace("@STATS_RO@", &stats_ro.to_string());
        for ((name, _), origin) in SERVERS.iter().zip(&origins) {
            yaml = yaml.replace(&format!("@{name}@"), &origin.addr().to_string());
        }
        let left: Vec<&str> = yaml.lines().filter(|line| line.contains('@') && !line.starts_with('#')).collect();
        assert!(left.is_empty(), "nothing fills these placeholders in: {left:?}");
        let admin = dir.path().join("admin.sock");
        let mut proxy = Proxy::spawn(dir, &yaml, admin, &[]);
        proxy.wait_ready();
        let lab = Lab { proxy, logs, origins, main, tls, stats, stats_auth, stats_ro, nowhere: ports::reserve() };
        for (server, _) in SERVERS {
            let name = server.to_lowercase();
            lab.wait_status(&format!("{}/{name}", backend_of(&name)), "UP");
        }
        lab
    }

    /// The admin socket of a level.
    pub fn socket(&self, level: &str) -> PathBuf {
        self.proxy.dir.path().join(format!("{level}.sock"))
    }

    /// Sends bytes to the socket of a level and reads to the end.
    #[track_caller]
    pub fn ask(&self, level: &str, bytes: &str) -> String {
        exchange(&self.socket(level), bytes).unwrap_or_else(|e| panic!("{bytes:?}: {e}\n{}", self.proxy.output()))
    }

    /// The status word of `backend/server`.
    #[track_caller]
    pub fn status(&self, server: &str) -> String {
        let (backend, name) = server.split_once('/').expect("backend/server");
        self.proxy.stat(backend, name).get("status").to_owned()
    }

    /// Waits for that status.
    #[track_caller]
    pub fn wait_status(&self, server: &str, status: &str) {
        eventually(&format!("{server} to be {status}"), || (self.status(server) == status).then_some(()));
    }

    /// A recorded command with this lab's ports and paths.
    pub fn translated(&self, recorded: &str) -> String {
        self.ports().fold(recorded.replace("/lab/", &self.folder()), |text, (then, now)| {
            text.replace(&then.to_string(), &now.to_string())
        })
    }

    /// A reply of this lab as it would have been recorded.
    pub fn as_recorded(&self, reply: &str) -> String {
        let reply = reply.replace(&self.folder(), "/lab/").replace("/lab/lockgate.yaml", "/lab/core.cfg");
        self.ports().fold(reply, |text, (then, now)| text.replace(&now.to_string(), &then.to_string()))
    }

    fn folder(&self) -> String {
        format!("{}/", self.proxy.dir.path().display())
    }

    fn ports(&self) -> impl Iterator<Item = (u16, u16)> {
        let servers = SERVERS.iter().zip(&self.origins).map(|((_, port), origin)| (*port, origin.addr().port()));
        let binds = [(18080, self.main), (18443, self.tls), (18404, self.stats), (18405, self.stats_auth)];
        let binds = binds.into_iter().chain([(18406, self.stats_ro)]).map(|(port, address)| (port, address.port()));
        servers.chain(binds).chain([(NOWHERE, self.nowhere)])
    }
}

/// The backend a server of the lab is in.
fn backend_of(server: &str) -> &'static str {
    if server.starts_with("web") { "be_web" } else { "be_api" }
}

/// One connection of a server. `/garbage` is answered with bytes that are not HTTP, `/abort` not at all.
fn serve(conn: &mut OriginConn) -> std::io::Result<()> {
    while let Some(request) = conn.request()? {
        match request.target() {
            "/garbage" => return conn.send("not http at all\r\n\r\n"),
            "/abort" => return Ok(()),
            _ => {}
        }
        let reply = behave(&request);
        if !reply.say(conn, request.method() == "HEAD")? {
            return Ok(());
        }
    }
    Ok(())
}

/// What is answered: `/slow?ms=N` late, `/status?c=N` with that status, everything else with timing headers.
fn behave(request: &Message) -> Reply {
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    let value = query.split_once('=').and_then(|(_, value)| value.parse::<u64>().ok()).unwrap_or(1000);
    match path {
        "/health" => Reply::ok("health\n").closing(),
        "/slow" => Reply::ok("slow\n").after(Duration::from_millis(value)),
        "/status" => Reply::status(u16::try_from(value).unwrap_or(200)),
        path => Reply::ok(format!("origin {} {path}\n", request.method()))
            .field("X-Page-View", "1")
            .field("X-Route-Name", "Questions/Show")
            .field("X-Aspnet-Duration-Ms", "12"),
    }
}
