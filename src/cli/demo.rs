//! `lockgate demo`: three web servers, lockgate in front of them on plain HTTP and on TLS, and what to try.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::respond::{self, Behaviour};
use crate::app;
use crate::config::model::BindAddress;
use crate::config::{self, Host, Source};
use crate::listener::bind::BindError;
use crate::runtime::clock;
use crate::runtime::worker::spawn;
use crate::tls::selfsigned;

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Port for plain HTTP; any free one if it is taken
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Port for HTTPS; any free one if it is taken
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port for the stats page and the metrics; any free one if it is taken
    #[arg(long, default_value_t = 8404)]
    stats_port: u16,
    /// Folder for the certificate and the admin socket; a temporary one by default
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// The names of the three servers.
const SERVERS: [&str; 3] = ["web01", "web02", "web03"];
/// The certificate's file in the demo's folder.
const CERTIFICATE: &str = "demo.pem";

/// Runs the demo until a signal.
pub fn run(args: &DemoArgs) -> ExitCode {
    let temporary = args.folder.is_none();
    let folder = args
        .folder
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("lockgate-demo-{}", std::process::id())));
    let ended = prepare(&folder).and_then(|servers| {
        let ports = [args.http_port, args.https_port, args.stats_port];
        match serve(&folder, &servers, ports) {
            // Somebody else has one of the ports: any will do for a demo.
            Err(error) if error.is::<BindError>() => serve(&folder, &servers, [0, 0, 0]),
            ended => ended,
        }
    });
    if temporary {
        let _ = std::fs::remove_dir_all(&folder);
    }
    super::finished(ended)
}

/// Makes the folder, a certificate in it, and three web servers.
fn prepare(folder: &Path) -> Result<Vec<SocketAddr>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let pem = selfsigned::self_signed(&selfsigned::DEMO_NAMES)?;
    let certificate = folder.join(CERTIFICATE);
    std::fs::write(&certificate, pem).with_context(|| format!("cannot write {}", certificate.display()))?;
    SERVERS.iter().map(|name| start_server(name)).collect()
}

fn serve(folder: &Path, servers: &[SocketAddr], ports: [u16; 3]) -> Result<()> {
    let text = configuration(folder, servers, ports);
    std::fs::write(folder.join("demo.yaml"), &text)?;
    let source = Source { name: "demo.yaml".into(), text };
    let (model, report) = config::load(&source, &Host::new(folder.to_owned(), clock::wall()));
    let model = model.with_context(|| format!("the demo's own configuration is refused:\n{}", report.render(false)))?;
    app::run(model, Vec::new(), |listening| print_what_to_try(listening, folder, servers))
}

fn start_server(name: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot open a port for a demo server")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let behaviour = Behaviour::named(name);
    spawn(name.to_owned(), move || async move {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => respond::serve(listener, behaviour).await,
            Err(error) => tracing::error!(%error, "a demo server cannot start"),
        }
    })?;
    Ok(address)
}

fn configuration(folder: &Path, servers: &[SocketAddr], [http, https, stats]: [u16; 3]) -> String {
    let listed: String =
        SERVERS.iter().zip(servers).map(|(name, address)| format!("      {name}: {address}\n")).collect();
    format!(
        r#"global:
  admin:
    - {{ socket: {socket}, level: admin }}
  state_file: {state}
  stats:
    - {{ bind: "127.0.0.1:{stats}", level: admin, metrics: /metrics, title: lockgate demo }}
  logs:
    - {{ target: stdout, syslog: rfc3164, format: httplog }}
frontends:
  public:
    bind:
      - 127.0.0.1:{http}
      - {{ address: "127.0.0.1:{https}", tls: {{ certificates: [{certificate}] }} }}
    capture:
      request:
        - {{ header: Host, max: 64 }}
        - {{ header: User-Agent, max: 64 }}
      response:
        - {{ header: X-AspNet-Duration-Ms, max: 10, strip: true }}
        - {{ header: X-Sql-Count, max: 6, strip: true }}
        - {{ header: X-Sql-Duration-Ms, max: 10, strip: true }}
    rate_limits:
      - {{ name: per-client, key: client_ip, rate: 1000/s, burst: 2000, action: deny }}
    routes:
      - {{ path: "= /lockgate-says-hello", respond: {{ status: 200, body: "hello from lockgate\n" }} }}
      - {{ backend: web }}
backends:
  web:
    balance: roundrobin
    health_check: {{ method: HEAD, path: /health, expect: 200, interval: 1s, timeout: 500ms, rise: 3, fall: 2 }}
    servers:
{listed}"#,
        socket = folder.join("admin.sock").display(),
        state = folder.join("state.json").display(),
        certificate = folder.join(CERTIFICATE).display(),
    )
}

fn print_what_to_try(listening: &app::Listening, folder: &Path, servers: &[SocketAddr]) {
    let port = |i: usize| match listening.binds.get(i) {
        Some((_, BindAddress::Tcp(address))) => address.port(),
        _ => 0,
    };
    let (http, https, stats) = (port(0), port(1), port(2));
    let socket = folder.join("admin.sock").display().to_string();
    let program = std::env::current_exe().map_or_else(|_| "lockgate".into(), |p| p.display().to_string());
    let first = servers.first().map(ToString::to_string).unwrap_or_default();
    println!(
        "Demo: {} web servers behind http://127.0.0.1:{http}/ and https://127.0.0.1:{https}/

Try, in another terminal:

  a request
    curl -i http://127.0.0.1:{http}/questions/1
  the same over TLS
    curl -ik https://127.0.0.1:{https}/questions/1
  the stats page, in a browser: its buttons take servers out and bring them back
    http://127.0.0.1:{stats}/
  the metrics, as Prometheus gets them
    curl -s http://127.0.0.1:{stats}/metrics
  how everything is; with --watch again and again
    {program} status --socket {socket}
  all counters as CSV, as HAProxy's tools ask for them; without a command it is a prompt
    {program} ctl --socket {socket} 'show stat'
  take web01 out
    {program} drain --socket {socket} web/web01
  bring it back, and wait for its three passing checks
    {program} ready --socket {socket} --wait web/web01
  fail web01's check, and mend it again
    curl -X POST 'http://{first}/_respond?health=fail'
    curl -X POST 'http://{first}/_respond?health=ok'

The configuration is {config}. Log lines follow as they would reach syslog; end with Ctrl-C.
",
        servers.len(),
        config = folder.join("demo.yaml").display(),
    );
}
