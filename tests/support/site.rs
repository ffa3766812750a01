//! A whole set-up in a few lines: a frontend `fe`, a backend `web` with servers `s1`, `s2`, …, and a log receiver.
//!
//! What a test is about it adds as YAML, line by line, to the section it belongs to. Servers are unchecked unless the
//! test gives a `health_check`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tempfile::TempDir;

use super::client::RawClient;
use super::logs::LogReceiver;
use super::message::Message;
use super::origin::Origin;
use super::ports;
use super::proxy::Proxy;

/// What is to be started.
pub struct Site {
    dir: Arc<TempDir>,
    address: SocketAddr,
    logs: LogReceiver,
    global: BTreeMap<String, String>,
    defaults: Vec<String>,
    frontend: Vec<String>,
    backend: Vec<String>,
    servers: Vec<(String, String)>,
    more: BTreeMap<&'static str, String>,
    environment: Vec<(&'static str, String)>,
    wait_for_checks: bool,
}

impl Site {
    /// No servers yet.
    pub fn new() -> Site {
        let dir = Arc::new(tempfile::Builder::new().prefix("lockgate-").tempdir().expect("a temporary folder"));
        let logs = LogReceiver::udp();
        let global = BTreeMap::from([
            ("threads".to_owned(), "1".to_owned()),
            ("grace".to_owned(), "5s".to_owned()),
            ("logs".to_owned(), format!("[ {{ target: \"{}\", syslog: rfc3164, format: httplog }} ]", logs.target())),
            (
                "admin".to_owned(),
                format!("[ {{ socket: {}, level: admin, timeout: 60s }} ]", dir.path().join("admin.sock").display()),
            ),
        ]);
        Site {
            dir,
            address: ports::address(),
            logs,
            global,
            defaults: Vec::new(),
            frontend: Vec::new(),
            backend: Vec::new(),
            servers: Vec::new(),
            more: BTreeMap::new(),
            environment: Vec::new(),
            wait_for_checks: true,
        }
    }

    /// Servers `s1`, `s2`, … in order.
    pub fn of(origins: &[&Origin]) -> Site {
        origins.iter().fold(Site::new(), |site, origin| site.server(origin.addr(), ""))
    }

    /// Keeps the folder until what is held here is dropped: processes of a test must end before their files go.
    pub fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// A path in the folder everything is in.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// One more server, with keys in YAML flow style: `weight: 2, backup: true`.
    pub fn server(mut self, address: SocketAddr, keys: &str) -> Site {
        let name = format!("s{}", self.servers.len() + 1);
        let comma = if keys.is_empty() { "" } else { ", " };
        self.servers.push((name, format!("{{ address: \"{address}\"{comma}{keys} }}")));
        self
    }

    /// Replaces or adds a key of `global`, its value in YAML flow style.
    pub fn global(mut self, key: &str, value: impl Into<String>) -> Site {
        self.global.insert(key.to_owned(), value.into());
        self
    }

    /// Lines of `defaults`.
    pub fn defaults(mut self, yaml: impl Into<String>) -> Site {
        self.defaults.push(yaml.into());
        self
    }

    /// Lines of the frontend; `bind:` and `routes:` here replace the usual ones.
    pub fn frontend(mut self, yaml: impl Into<String>) -> Site {
        self.frontend.push(yaml.into());
        self
    }

    /// Lines of the backend; `health_check:` here replaces `off`.
    pub fn backend(mut self, yaml: impl Into<String>) -> Site {
        self.backend.push(yaml.into());
        self
    }

    /// Whole further sections: `more("backends", "api:\n  servers: …")`.
    pub fn more(mut self, section: &'static str, yaml: impl AsRef<str>) -> Site {
        let text = self.more.entry(section).or_default();
        text.push_str(yaml.as_ref());
        text.push('\n');
        self
    }

    /// An environment variable of the process.
    pub fn environment(mut self, name: &'static str, value: impl Into<String>) -> Site {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts without waiting for the servers' first checks.
    pub fn without_waiting_for_checks(mut self) -> Site {
        self.wait_for_checks = false;
        self
    }

    /// Where the frontend listens, for configurations that name it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration file's text.
    pub fn yaml(&self) -> String {
        let mut out = String::from("global:\n");
        for (key, value) in &self.global {
            out.push_str(&format!("  {key}: {value}\n"));
        }
        if !self.defaults.is_empty() {
            out.push_str("defaults:\n");
            push(&mut out, 2, &self.defaults);
        }
        out.push_str("frontends:\n  fe:\n");
        if !has_key(&self.frontend, "bind") {
            out.push_str(&format!("    bind: [ \"{}\" ]\n", self.address));
        }
        push(&mut out, 4, &self.frontend);
        if !has_key(&self.frontend, "routes") {
            out.push_str("    routes: [ { backend: web } ]\n");
        }
        push(&mut out, 2, self.more.get("frontends").as_slice());
        out.push_str("backends:\n");
        if !self.servers.is_empty() {
            out.push_str("  web:\n");
            if !has_key(&self.backend, "health_check") {
                out.push_str("    health_check: off\n");
            }
            push(&mut out, 4, &self.backend);
            out.push_str("    servers:\n");
            for (name, keys) in &self.servers {
                out.push_str(&format!("      {name}: {keys}\n"));
            }
        }
        push(&mut out, 2, self.more.get("backends").as_slice());
        out
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Running {
        let admin = self.path("admin.sock");
        let mut proxy = Proxy::spawn(Arc::clone(&self.dir), &self.yaml(), admin, &self.environment);
        if self.wait_for_checks {
            proxy.wait_ready();
        } else {
            proxy.wait_started();
        }
        Running { proxy, logs: self.logs, address: self.address }
    }
}

/// A started [`Site`]; everything of [`Proxy`] is at hand.
pub struct Running {
    proxy: Proxy,
    /// What reached syslog.
    pub logs: LogReceiver,
    /// Where the frontend listens.
    pub address: SocketAddr,
}

impl Running {
    /// A new connection to the frontend.
    #[track_caller]
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.address)
    }

    /// One `GET` on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Message {
        self.client().get(target)
    }

    /// One exchange on a connection of its own.
    #[track_caller]
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Message {
        self.client().ask(bytes)
    }

    /// Who answers, `n` times in a row on one connection.
    #[track_caller]
    pub fn served_by(&self, n: usize) -> Vec<String> {
        let mut client = self.client();
        (0..n).map(|_| client.get("/").text()).collect()
    }
}

impl Deref for Running {
    type Target = Proxy;
    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Proxy {
        &mut self.proxy
    }
}

fn has_key(blocks: &[String], key: &str) -> bool {
    blocks
        .iter()
        .flat_map(|block| block.lines())
        .any(|line| line.starts_with(key) && line[key.len()..].starts_with(':'))
}

fn push(out: &mut String, indent: usize, blocks: &[impl AsRef<str>]) {
    for line in blocks.iter().flat_map(|block| block.as_ref().lines()) {
        out.push_str(&" ".repeat(indent));
        out.push_str(line);
        out.push('\n');
    }
}
