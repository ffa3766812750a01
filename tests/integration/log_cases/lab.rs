//! The set-up HAProxy's log lines were recorded with: the same names of frontends, backends and servers, the same
//! behaviour behind them, shorter waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::httplog::Row;
use crate::support::logs::LogReceiver;
use crate::support::message::Role;
use crate::support::origin::{Blackhole, Origin, OriginConn};
use crate::support::proxy::Proxy;
use crate::support::{PATIENCE, eventually_or, ports, until};

/// lockgate with the recordings' frontends.
pub struct Lab {
    pub proxy: Proxy,
    pub logs: LogReceiver,
    pub authority: Authority,
    origin: Origin,
    addresses: Vec<(&'static str, SocketAddr)>,
    _blackhole: Blackhole,
}

const FRONTENDS: [&str; 8] =
    ["fe_http", "fe_plain", "fe_rate", "fe_clf", "fe_asap", "fe_errlog", "fe_custom", "fe_ctimeout"];

/// The recording's format string, without the request id, which is made otherwise here, and the machine's name.
pub const CUSTOM: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq \
     %hr %hs %{+Q}r Th=%Th Ti=%Ti Tq=%Tq Tt=%Tt Tu=%Tu U=%U HM=%HM HP=%HP HQ=%HQ HV=%HV pid=%pid fi=%fi:%fp bi=%bi:%bp \
     si=%si:%sp rt=%rt lc=%lc";

impl Lab {
    #[track_caller]
    pub fn start() -> Lab {
        let dir: Arc<TempDir> = Arc::new(tempfile::tempdir().unwrap());
        let (logs, authority, origin, blackhole) =
            (LogReceiver::udp(), Authority::new(), Origin::script(behave), Blackhole::new());
        let mut addresses: Vec<_> = FRONTENDS.iter().map(|name| (*name, ports::address())).collect();
        addresses.extend([("tls", ports::address()), ("fe_httpslog", ports::address())]);
        let at = |name: &str| addresses.iter().find(|(known, _)| *known == name).unwrap().1;
        let certificate = authority.write(&dir.path().join("one.pem"), &["127.0.0.1", "a.test"], Key::Ecdsa);
        let admin = dir.path().join("admin.sock");
        let tls = format!("tls: {{ certificates: [ {} ] }}", certificate.display());
        let simple = |name: &str, more: &str| {
            format!("  {name}: {{ bind: \"{}\", {more} routes: [ {{ backend: be_web }} ] }}\n", at(name))
        };
        let (web, dead, hole) = (origin.addr(), ports::address(), blackhole.addr());
        let yaml = format!(
            r#"global:
  threads: 1
  grace: 1s
  logs: [ {{ target: "{logs}", syslog: rfc3164 }} ]
  admin: [ {{ socket: {admin}, level: admin, timeout: 60s }} ]
defaults:
  timeouts: {{ request: 400ms, keepalive: 5s, client: 700ms, server: 1s, queue: 400ms, connect: 150ms, tarpit: 200ms, tunnel: 500ms }}
  health_check: off
  initial: up
  return_from_drain: keep
  retries: 3
  retry_on: none
  log_null: true
frontends:
  fe_http:
    bind: [ "{fe_http}", {{ address: "{tls_at}", name: tls, {tls} }} ]
    capture:
      request: [ {{ header: Host, max: 32 }}, {{ header: User-Agent, max: 16 }}, {{ header: X-Forwarded-For, max: 32 }} ]
      response: [ {{ header: X-Page-View, max: 1 }}, {{ header: X-Route-Name, max: 64 }}, {{ header: X-Aspnet-Duration-Ms, max: 9 }} ]
    rate_limits: [ {{ name: pit, key: header(X-Pit), rate: 1/h, burst: 1, action: tarpit }} ]
    routes:
      - {{ path: "= /redir", redirect: {{ location: /elsewhere, status: 302 }} }}
      - {{ path: "= /ret", respond: {{ status: 200, body: hi }} }}
      - {{ path: "= /refuse", backend: be_refuse }}
      - {{ path: "= /redisp", backend: be_redisp }}
      - {{ path: /queue/, backend: be_queue }}
      - {{ path: "= /down", backend: be_down }}
      - {{ path: "= /ctimeout", backend: be_timeout }}
      - {{ path: "= /cookie", backend: be_cookie }}
      - {{ path: "= /kill", backend: be_kill }}
      - {{ path: "= /maint", backend: be_maint }}
      - {{ backend: be_web }}
{plain}{rate}{clf}{asap}{errlog}
  fe_custom:
    bind: "{fe_custom}"
    log: "{CUSTOM}"
    capture: {{ request: [ {{ header: Host, max: 32 }} ] }}
    routes: [ {{ backend: be_web }} ]
  fe_ctimeout: {{ bind: "{fe_ctimeout}", timeouts: {{ client: 300ms }}, routes: [ {{ backend: be_long }} ] }}
  fe_httpslog: {{ bind: {{ address: "{fe_httpslog}", {tls} }}, log: httpslog, routes: [ {{ backend: be_web }} ] }}
backends:
  be_web: {{ servers: {{ web1: "{web}" }} }}
  be_long: {{ servers: {{ web1: "{web}" }} }}
  be_refuse: {{ redispatch: false, servers: {{ r1: "{dead}" }} }}
  be_redisp: {{ balance: roundrobin, servers: {{ r1: "{dead}", ok: "{web}" }} }}
  be_queue: {{ servers: {{ q1: {{ address: "{web}", maxconn: 1 }} }} }}
  be_down: {{ servers: {{ d1: {{ address: "{dead}", health_check: {{ type: tcp, interval: 100ms, timeout: 100ms, fall: 1 }} }} }} }}
  be_timeout: {{ servers: {{ t1: "{hole}" }} }}
  be_cookie:
    balance: roundrobin
    cookie: {{ name: SRV }}
    servers: {{ c1: "{web}", c2: "{web}", c3: {{ address: "{dead}", disabled: true }} }}
  be_kill:
    servers:
      k1: {{ address: "{web}", on_marked_down: shutdown-sessions, health_check: {{ path: /health, interval: 60s, timeout: 1s, fall: 1, rise: 1 }} }}
  be_maint: {{ servers: {{ m1: {{ address: "{web}", disabled: true }} }} }}
"#,
            logs = logs.target(),
            admin = admin.display(),
            fe_http = at("fe_http"),
            tls_at = at("tls"),
            fe_custom = at("fe_custom"),
            fe_ctimeout = at("fe_ctimeout"),
            fe_httpslog = at("fe_httpslog"),
            plain = simple("fe_plain", ""),
            rate = simple("fe_rate", "rate_limits: [ { name: r, key: client_ip, rate: 1/h, burst: 2 } ],"),
            clf = simple("fe_clf", "log: clf,"),
            asap = simple("fe_asap", "logasap: true,"),
            errlog = simple("fe_errlog", "log_separate_errors: true,"),
        );
        let mut proxy = Proxy::spawn(dir, &yaml, admin, &[]);
        proxy.wait_started();
        until("the dead server to be found out", || proxy.stat("be_down", "d1").get("status").starts_with("DOWN"));
        Lab { proxy, logs, authority, origin, addresses, _blackhole: blackhole }
    }

    /// Where a frontend listens; `tls` is the second socket of `fe_http`.
    pub fn at(&self, frontend: &str) -> SocketAddr {
        self.addresses.iter().find(|(name, _)| *name == frontend).expect("a frontend of the lab").1
    }

    pub fn client(&self, frontend: &str) -> RawClient {
        RawClient::connect(self.at(frontend))
    }

    /// A client that has asked for `target`, which a server is at work on.
    #[track_caller]
    pub fn asking(&self, request: &str) -> RawClient {
        let before = self.origin.requests().len();
        let mut client = self.client("fe_http");
        client.send(request);
        until("the request to reach the server", || self.origin.requests().len() > before);
        client
    }

    /// Rows of requests so far.
    pub fn rows(&self) -> Vec<Row> {
        self.logs.rows()
    }

    /// Waits for `count` lines that `test` takes, beyond the first `seen`.
    #[track_caller]
    pub fn lines_after(&self, seen: usize, count: usize, test: impl Fn(&str) -> bool) -> Vec<String> {
        let found = eventually_or(PATIENCE, || {
            let lines: Vec<String> = self.logs.lines().into_iter().skip(seen).filter(|line| test(line)).collect();
            (lines.len() >= count).then_some(lines)
        });
        found.unwrap_or_else(|| {
            panic!("fewer than {count} lines after the first {seen}:\n{}", self.logs.lines().join(""))
        })
    }
}

/// What the recordings' origin servers do, by path.
fn behave(conn: &mut OriginConn) -> std::io::Result<()> {
    const TIMED: &str = "X-Page-View: 12\r\nX-Route-Name: Questions/Show\r\nX-Aspnet-Duration-Ms: 12\r\n";
    let body = |status: u16, fields: &str, text: &str| {
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{fields}\r\n{text}", text.len())
    };
    while let Some(mut request) = conn.request_head()? {
        request.read_body(&mut conn.wire, Role::Request)?;
        let target = request.target().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/slow" if query == "ms=150" => {
                std::thread::sleep(Duration::from_millis(150));
                conn.send(body(200, "", "slow"))?;
            }
            "/slow" => return conn.stall(),
            "/status" => conn.send(body(query.trim_start_matches("c=").parse().unwrap_or(500), "", "said"))?,
            "/abort" => return Ok(()),
            "/partial" | "/rst" | "/stall" => {
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(300)))?;
                match path {
                    "/partial" => {}
                    "/stall" => return conn.stall(),
                    _ => {
                        // The proxy has it when the next read ends.
                        conn.wire.read_patience(Duration::from_millis(100));
                        let _ = conn.wire.fill();
                        conn.reset_at_end();
                    }
                }
                return Ok(());
            }
            "/garbage" => return conn.send("not http at all\r\n\r\n"),
            "/big" => {
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30))?;
                loop {
                    conn.send([b'y'; 65536])?;
                }
            }
            "/ws" => {
                conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
                return conn.stall();
            }
            "/health" => conn.send(body(200, "", ""))?,
            _ if request.method() == "HEAD" => {
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n{TIMED}\r\n"))?;
            }
            _ => conn.send(body(200, TIMED, &format!("origin {target}")))?,
        }
    }
    Ok(())
}
