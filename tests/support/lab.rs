//! The set-up HAProxy's recordings were made with, in lockgate's words (`tests/lab/core.yaml`): frontends `fe_main` and
//! `fe_tls`, backends `be_web` and `be_api` with three servers each, an admin socket of each level.
//!
//! Everything is on ports of its own; [`Lab::translated`] and [`Lab::as_recorded`] turn the recordings' ports and paths
//! into this lab's and back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::{Authority, Key};
use super::logs::LogReceiver;
use super::message::Message;
use super::origin::{Origin, OriginConn, Reply};
use super::proxy::{Proxy, exchange};
use super::{eventually, ports};

/// The template.
const TEMPLATE: &str = include_str!("../lab/core.yaml");

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
    /// Who signed its certificates.
    pub authority: Authority,
    nowhere: u16,
}

impl Lab {
    /// Starts everything and waits until every server is up.
    #[track_caller]
    pub fn start() -> Lab {
        let dir = Arc::new(tempfile::Builder::new().prefix("lockgate-").tempdir().expect("a temporary folder"));
        let authority = Authority::new();
        std::fs::create_dir(dir.path().join("certs")).expect("the lab's own folder can be written");
        for name in ["one", "two"] {
            let path = dir.path().join(format!("certs/{name}.pem"));
            authority.write(&path, &[&format!("{name}.example.test")], Key::Rsa);
        }
        let origins: Vec<Origin> = SERVERS.iter().map(|_| Origin::script(serve)).collect();
        let (main, tls, logs) = (ports::address(), ports::address(), LogReceiver::udp());
        let mut yaml = TEMPLATE
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@LOG@", logs.target())
            .replace("@MAIN@", &main.to_string())
            .replace("@TLS@", &tls.to_string());
        for ((name, _), origin) in SERVERS.iter().zip(&origins) {
            yaml = yaml.replace(&format!("@{name}@"), &origin.addr().to_string());
        }
        let left: Vec<&str> = yaml.lines().filter(|line| line.contains('@') && !line.starts_with('#')).collect();
        assert!(left.is_empty(), "nothing fills these placeholders in: {left:?}");
        let admin = dir.path().join("admin.sock");
        let mut proxy = Proxy::spawn(dir, &yaml, admin, &[]);
        proxy.wait_ready();
        let lab = Lab { proxy, logs, origins, main, tls, authority, nowhere: ports::reserve() };
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
        self.ports().fold(reply.replace(&self.folder(), "/lab/"), |text, (then, now)| {
            text.replace(&now.to_string(), &then.to_string())
        })
    }

    fn folder(&self) -> String {
        format!("{}/", self.proxy.dir.path().display())
    }

    fn ports(&self) -> impl Iterator<Item = (u16, u16)> {
        let servers = SERVERS.iter().zip(&self.origins).map(|((_, port), origin)| (*port, origin.addr().port()));
        servers.chain([(18080, self.main.port()), (18443, self.tls.port()), (NOWHERE, self.nowhere)])
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
