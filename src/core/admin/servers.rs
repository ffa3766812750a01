//! `show servers state`, `show servers conn`, `show backend` and `get weight`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use super::texts;
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::fleet::spec::ServerAddress;
use crate::core::fleet::{BackendEntry, Fleet, Refusal, ServerEntry};
use crate::core::health::CheckStatus;

/// The columns of `show servers state`, version 1 (HAProxy's server-state file).
const STATE_HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
     srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
     bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
     srv_agent_addr srv_agent_port\n";

/// The columns of `show servers conn`. lockgate counts idle connections per server, not per worker: the last field is
/// always one total.
const CONN_HEADER: &str = "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb \
     idle_lim idle_cur idle_per_thr[1]\n";

/// `srv_check_state` bits.
const CHECK_RUNNING: u32 = 1;
const CHECK_CONFIGURED: u32 = 2;
const CHECK_ENABLED: u32 = 4;
const CHECK_PAUSED: u32 = 8;
const CHECK_AGENT: u32 = 16;

/// The `srv_admin_state` bit of a name that an operator set.
const NAME_SET: u32 = 64;

/// The reply to `show servers state`.
pub fn state(fleet: &Fleet, backend: Option<&str>, now: Instant) -> Result<String, Refusal> {
    let mut out = format!("1\n{STATE_HEADER}");
    for (backend, server) in chosen(fleet, backend)? {
        write_state(backend, server, now, &mut out).expect("writing to a String cannot fail");
    }
    Ok(out)
}

/// The reply to `show servers conn`.
pub fn connections(fleet: &Fleet, backend: Option<&str>) -> Result<String, Refusal> {
    let mut out = CONN_HEADER.to_owned();
    for (backend, server) in chosen(fleet, backend)? {
        write_connections(backend, server, &mut out).expect("writing to a String cannot fail");
    }
    Ok(out)
}

/// The reply to `show backend`.
pub fn backends(fleet: &Fleet) -> String {
    let mut out = String::from("# name\n");
    for backend in fleet.backends() {
        out.push_str(&backend.spec.name);
        out.push('\n');
    }
    out
}

/// The reply to `get weight B/S`.
pub fn weight(fleet: &Fleet, server: &str) -> Result<String, Refusal> {
    let id = fleet.find_server(server)?;
    let server = fleet.server(id).ok_or_else(|| Refusal(texts::NO_SUCH_SERVER.to_owned()))?;
    Ok(format!("{} (initial {})\n", server.weight, server.spec.weight))
}

fn chosen<'a>(
    fleet: &'a Fleet,
    backend: Option<&str>,
) -> Result<impl Iterator<Item = (&'a BackendEntry, &'a ServerEntry)>, Refusal> {
    let backends = match backend {
        None => fleet.backends(),
        Some(name) => {
            let found = fleet.find_backend(name).and_then(|index| fleet.backend(index));
            std::slice::from_ref(found.ok_or_else(|| Refusal(texts::CANNOT_FIND_BACKEND.to_owned()))?)
        }
    };
    Ok(backends.iter().flat_map(|b| b.servers.iter().map(move |s| (b, s))))
}

fn write_state(backend: &BackendEntry, server: &ServerEntry, now: Instant, out: &mut String) -> std::fmt::Result {
    let state = &server.state;
    let status = server.last_check.as_ref().map_or(CheckStatus::Initializing, |c| c.outcome.status);
    let (address, port) = place(server);
    write!(out, "{} {} ", backend.spec.iid, backend.spec.name)?;
    write!(out, "{} {} {address} ", server.sid, server.spec.name)?;
    let name_set = if server.set_name().is_some() { NAME_SET } else { 0 };
    write!(out, "{} {} ", state.operational.number(), state.admin_flags() | name_set)?;
    write!(out, "{} {} ", server.weight, server.spec.weight)?;
    write!(out, "{} ", now.saturating_duration_since(server.changed_at).as_secs())?;
    write!(out, "{} {} {} ", status.number(), check_result(server, status), state.health)?;
    write!(out, "{} {} 0 0 ", check_state(server), agent_state(server))?;
    write!(out, "{} {port} - {} ", server.host().unwrap_or("-"), u8::from(server.speaks_tls()))?;
    let shown = |address: Option<IpAddr>| address.map_or_else(|| "-".to_owned(), |a| a.to_string());
    write!(out, "{} {} ", server.check_port().unwrap_or(0), shown(server.check_address()))?;
    let agent = server.agent.as_ref();
    writeln!(out, "{} {}", shown(agent.and_then(|a| a.address)), agent.map_or(0, |a| a.port))
}

fn write_connections(backend: &BackendEntry, server: &ServerEntry, out: &mut String) -> std::fmt::Result {
    let (address, port) = place(server);
    let (used, most, idle) = (server.live.inflight.now(), server.live.inflight.max(), server.live.idle.now());
    write!(out, "{}/{} {}/{} ", backend.spec.name, server.spec.name, backend.spec.iid, server.sid)?;
    write!(out, "{address} {port} - {} ", backend.spec.pool.idle_timeout.as_millis())?;
    writeln!(out, "{used} {most} {most} 0 {idle} -1 {idle} {idle}")
}

/// Address and port, `-` for a name without address or a unix socket.
fn place(server: &ServerEntry) -> (String, u16) {
    match &server.address {
        Some(ConnectTo::Ip(address)) => (address.ip().to_string(), address.port()),
        Some(ConnectTo::Unix(_)) => ("-".to_owned(), 0),
        None => ("-".to_owned(), configured_port(server)),
    }
}

fn configured_port(server: &ServerEntry) -> u16 {
    match &server.spec.address {
        ServerAddress::Ip(address) => address.port(),
        ServerAddress::Name { port, .. } => *port,
        ServerAddress::Unix(_) => 0,
    }
}

/// 0 unknown or running, 2 failed, 3 passed, 4 passed on condition.
fn check_result(server: &ServerEntry, status: CheckStatus) -> u32 {
    match status {
        _ if server.check_running => 0,
        status if !status.is_verdict() => 0,
        CheckStatus::L7OkConditional => 4,
        status if status.passed() => 3,
        _ => 2,
    }
}

fn check_state(server: &ServerEntry) -> u32 {
    let state = &server.state;
    if !state.checked {
        return 0;
    }
    let mut bits = CHECK_CONFIGURED;
    if state.checks_enabled {
        bits |= CHECK_ENABLED;
        if state.is_in_maintenance() {
            bits |= CHECK_PAUSED;
        } else if server.check_running {
            bits |= CHECK_RUNNING;
        }
    }
    bits
}

/// `srv_agent_state`: agents are not paused in MAINT.
fn agent_state(server: &ServerEntry) -> u32 {
    let Some(agent) = &server.agent else { return 0 };
    let enabled = if server.state.has_agent() { CHECK_ENABLED } else { 0 };
    CHECK_AGENT | CHECK_CONFIGURED | enabled | if agent.is_running() { CHECK_RUNNING } else { 0 }
}
