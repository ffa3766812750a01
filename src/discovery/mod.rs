//! Looking server names up: one question in, addresses or a reason out, with how long that holds.
//!
//! `localhost` and `/etc/hosts` are looked at first, the file anew each time; then the name servers of
//! `/etc/resolv.conf` are asked for A and AAAA records. Nothing is cached here: when a name is looked up again, and
//! which of two answers counts, is decided in `core::discovery`. Addresses come in the order they were answered, IPv4
//! first, each once.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;

use crate::core::admin::diagnosis::LookupCounts;

mod hosts;

#[cfg(test)]
mod tests;

/// Names another name server to ask instead of those in `/etc/resolv.conf`, as `IP:PORT`. For trying things.
pub const NAME_SERVER_VARIABLE: &str = "LOCKGATE_NAME_SERVER";

/// How long one question to one name server may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Questions per name server before giving up.
const ATTEMPTS: usize = 2;

/// How long a whole look-up may take, search domains included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an answer from `/etc/hosts` holds; the file has no times to live.
pub const HOSTS_TTL: Duration = Duration::from_secs(10);

/// How long a failure holds that came without a time to live.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Longest time any answer is said to hold.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Looks names up. Must be used within a tokio runtime.
pub struct Lookup {
    resolver: Result<TokioResolver, Box<str>>,
    hosts: PathBuf,
    timeout: Duration,
    name_servers: Vec<Box<str>>,
    counts: Cell<LookupCounts>,
}

/// What came of a look-up: the addresses (at least one) or why there are none, and how long that holds.
pub type Answer = (Result<Vec<IpAddr>, Box<str>>, Duration);

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("hosts", &self.hosts).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Lookup {
    /// As the system is configured, or as [`NAME_SERVER_VARIABLE`] says.
    ///
    /// Never fails: without usable name servers, names that only they know get an answer that says so.
    pub fn system() -> Lookup {
        let (config, options) = match std::env::var(NAME_SERVER_VARIABLE) {
            Ok(address) => match address.parse() {
                Ok(address) => (only(&[address]), ResolverOpts::default()),
                Err(_) => {
                    return Lookup::without(format!(
                        "{NAME_SERVER_VARIABLE}={address} is not an address with a port, like 127.0.0.1:53"
                    ));
                }
            },
            Err(_) => match hickory_resolver::system_conf::read_system_conf() {
                Ok(read) => read,
                Err(error) => return Lookup::without(format!("no name server in /etc/resolv.conf ({error})")),
            },
        };
        Lookup::build(config, options, QUESTION_TIMEOUT)
    }

    /// Asks these name servers only, without search domains; `timeout` holds for one question.
    pub fn with_name_servers(name_servers: &[SocketAddr], timeout: Duration) -> Lookup {
        Lookup::build(only(name_servers), ResolverOpts::default(), timeout)
    }

    /// Reads this file instead of `/etc/hosts`.
    pub fn with_hosts(mut self, hosts: PathBuf) -> Lookup {
        self.hosts = hosts;
        self
    }

    /// The addresses of `host`: an address itself, a name in the hosts file, or one that name servers know.
    pub async fn lookup(&self, host: &str) -> Answer {
        if let Ok(address) = host.parse() {
            return (Ok(vec![address]), TTL_MAX);
        }
        if let Some(addresses) = hosts::find(&self.hosts, host) {
            return (Ok(addresses), HOSTS_TTL);
        }
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(reason) => return (Err(reason.clone()), FAILURE_TTL),
        };
        self.count(|counts| &mut counts.sent);
        let answer = tokio::time::timeout(self.timeout, resolver.lookup_ip(host)).await;
        self.count(|counts| outcome(&answer, counts));
        match answer {
            Ok(Ok(found)) => {
                let mut addresses = Vec::new();
                for address in found.iter() {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or_default();
                if addresses.is_empty() {
                    return (Err("no address in the answer".into()), FAILURE_TTL);
                }
                (Ok(addresses), Duration::from_secs(ttl.into()).min(TTL_MAX))
            }
            Ok(Err(error)) => (Err(explain(&error).into()), failure_ttl(&error)),
            Err(_) => (Err(TIMED_OUT.into()), FAILURE_TTL),
        }
    }

    /// How look-ups ended so far; what `/etc/hosts` answers is none.
    pub fn counts(&self) -> LookupCounts {
        self.counts.get()
    }

    /// The name servers that are asked, with their ports.
    pub fn name_servers(&self) -> &[Box<str>] {
        &self.name_servers
    }

    fn count(&self, which: impl FnOnce(&mut LookupCounts) -> &mut u64) {
        let mut counts = self.counts.get();
        *which(&mut counts) += 1;
        self.counts.set(counts);
    }

    fn build(config: ResolverConfig, mut options: ResolverOpts, timeout: Duration) -> Lookup {
        options.timeout = timeout;
        options.attempts = ATTEMPTS;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.preserve_intermediates = true;
        // Each search domain is a question of its own.
        let timeout = LOOKUP_TIMEOUT.min(timeout.saturating_mul(2 * ATTEMPTS as u32));
        let name_servers = config.name_servers().iter().map(shown).collect();
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| format!("name resolution cannot be set up ({error})").into());
        Lookup { resolver, hosts: hosts::SYSTEM.into(), timeout, name_servers, counts: Cell::default() }
    }

    fn without(reason: String) -> Lookup {
        Lookup {
            resolver: Err(reason.into()),
            hosts: hosts::SYSTEM.into(),
            timeout: LOOKUP_TIMEOUT,
            name_servers: Vec::new(),
            counts: Cell::default(),
        }
    }
}

const TIMED_OUT: &str = "no name server answered in time";

fn shown(name_server: &NameServerConfig) -> Box<str> {
    let port = name_server.connections.first().map_or(53, |connection| connection.port);
    SocketAddr::new(name_server.ip, port).to_string().into()
}

/// Where the end of a look-up is counted.
fn outcome<'a, T, E>(answer: &Result<Result<T, NetError>, E>, counts: &'a mut LookupCounts) -> &'a mut u64 {
    let code = match answer {
        Ok(Ok(_)) => return &mut counts.valid,
        Err(_) | Ok(Err(NetError::Timeout)) => return &mut counts.timeout,
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => none.response_code,
        Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => *code,
        Ok(Err(_)) => return &mut counts.other,
    };
    match code {
        ResponseCode::NXDomain => &mut counts.nx,
        ResponseCode::Refused => &mut counts.refused,
        _ => &mut counts.other,
    }
}

fn only(name_servers: &[SocketAddr]) -> ResolverConfig {
    let name_servers = name_servers
        .iter()
        .map(|address| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = address.port());
            NameServerConfig::new(address.ip(), true, connections)
        })
        .collect();
    ResolverConfig::from_name_servers(name_servers)
}

fn explain(error: &NetError) -> String {
    match error {
        NetError::Timeout => TIMED_OUT.to_owned(),
        NetError::Dns(DnsError::NoRecordsFound(none)) => explain_code(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => explain_code(*code),
        other => format!("the look-up failed: {other}"),
    }
}

fn explain_code(code: ResponseCode) -> String {
    match code {
        ResponseCode::NXDomain => "the name does not exist (NXDOMAIN)".to_owned(),
        ResponseCode::NoError => "the name has no address (neither A nor AAAA)".to_owned(),
        ResponseCode::ServFail => "the name server failed (SERVFAIL)".to_owned(),
        ResponseCode::Refused => "the name server refused to answer (REFUSED)".to_owned(),
        other => format!("the name server answered: {other}"),
    }
}

fn failure_ttl(error: &NetError) -> Duration {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            none.negative_ttl.map_or(FAILURE_TTL, |seconds| Duration::from_secs(seconds.into()).min(TTL_MAX))
        }
        _ => FAILURE_TTL,
    }
}
