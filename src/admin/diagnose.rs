//! Carrying out commands that only look at the process.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use jiff::tz::TimeZone;

use super::connection::Connection;
use crate::core::admin::descriptors::DescriptorQuery;
use crate::core::admin::diagnosis::{self, Diagnosis, Remembered};
use crate::core::admin::{descriptors, texts, threads};
use crate::core::fleet::{Fleet, Refusal};
use crate::runtime::proc;

/// The reply to one of them.
pub(super) async fn answer(what: Diagnosis, connection: &Connection) -> Result<String, Refusal> {
    let orders = &connection.orders;
    let or_refuse = |found: Option<String>, text: &str| found.ok_or_else(|| Refusal(text.to_owned()));
    match what {
        Diagnosis::Environment(name) => {
            let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
            let variables: Vec<(String, String)> =
                std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
            or_refuse(diagnosis::environment(name.as_deref(), &variables), texts::NO_VARIABLE)
        }
        Diagnosis::Descriptors(query) => {
            let servers = servers(&orders.fleet());
            show_descriptors(query, orders.remembered(), servers).await
        }
        Diagnosis::Activity => {
            let workers = orders.workers().await;
            let now = orders.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let uptime = orders.now().saturating_duration_since(orders.facts().started);
            Ok(threads::activity(&kernel_threads(), &workers, now, uptime))
        }
        Diagnosis::Pools => Ok(threads::pools(&orders.workers().await, proc::resident_bytes())),
        Diagnosis::Threads => {
            let workers = orders.workers().await;
            Ok(threads::threads(&kernel_threads(), &workers, proc::thread_id()))
        }
        Diagnosis::Tasks => {
            let streams = orders.streams().await;
            Ok(threads::tasks(&streams, orders.facts().threads as usize))
        }
        Diagnosis::Profiling => Ok(diagnosis::profiling()),
        Diagnosis::Libraries => Ok(libraries()),
        Diagnosis::Resolvers(id) => {
            or_refuse(diagnosis::resolvers(id.as_deref(), &orders.remembered()), texts::NO_RESOLVERS)
        }
        Diagnosis::Sinks => Ok(diagnosis::sinks(&orders.remembered())),
        Diagnosis::Events { sink, .. } if sink != "buf0" => Err(Refusal(texts::NO_SINK.into())),
        Diagnosis::Events { only_new: true, .. } => Ok(String::new()),
        Diagnosis::Events { .. } => Ok(diagnosis::events_of(&orders.remembered(), &TimeZone::system())),
        Diagnosis::StartupLogs => Ok(diagnosis::startup(&orders.remembered(), std::process::id())),
        Diagnosis::Nothing => Ok(String::new()),
        Diagnosis::TlsKeys { secrets } => Ok(diagnosis::tls_keys(secrets)),
        Diagnosis::Trace => Ok(diagnosis::trace()),
    }
}

fn kernel_threads() -> Vec<threads::ThreadView> {
    proc::threads().unwrap_or_default()
}

/// On a thread that may wait: with many connections the kernel's tables are long.
async fn show_descriptors(
    query: DescriptorQuery,
    remembered: Remembered,
    servers: Vec<(Box<str>, SocketAddr)>,
) -> Result<String, Refusal> {
    let read = tokio::task::spawn_blocking(move || {
        let open = proc::descriptors()?;
        Ok::<_, std::io::Error>(descriptors::render(&query, &open, &remembered.binds, &servers))
    });
    match read.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(Refusal(format!("the descriptors cannot be listed: {error}"))),
        Err(_) => Err(Refusal("the descriptors cannot be listed".into())),
    }
}

/// Every server's name and address, if it has one.
fn servers(fleet: &Fleet) -> Vec<(Box<str>, SocketAddr)> {
    let mut servers = Vec::new();
    for backend in &fleet.snapshot().backends {
        for server in &backend.servers {
            if let Some(crate::core::fleet::snapshot::ConnectTo::Ip(address)) = server.address {
                servers.push((format!("{}/{}", backend.spec.name, server.spec.name).into(), address));
            }
        }
    }
    servers
}

fn libraries() -> String {
    let mut out = String::new();
    for (from, to, path) in proc::libraries() {
        let _ = writeln!(out, "{from:#014x}-{to:#014x} ({:#09x}) {path}", to.saturating_sub(from).saturating_add(1));
    }
    out
}
