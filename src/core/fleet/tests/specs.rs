//! Configurations for tests, with the defaults of the configuration language.

use std::sync::Arc;
use std::time::Duration;

use crate::core::balance::Algorithm;
use crate::core::fleet::spec::*;
use crate::core::health::{CheckKind, CheckSpec};
use crate::core::route::FixedAnswer;

/// A check every second, rise 3, fall 3.
pub(crate) fn check() -> CheckSpec {
    CheckSpec {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(1),
        fastinter: Duration::from_secs(1),
        downinter: Duration::from_secs(1),
        timeout: Duration::from_millis(900),
        rise: 3,
        fall: 3,
        address: None,
        port: None,
        tls: None,
    }
}

/// A checked server of weight 1 on loopback.
pub(crate) fn server(name: &str) -> ServerSpec {
    ServerSpec {
        name: name.into(),
        address: ServerAddress::Ip("127.0.0.1:18101".parse().unwrap()),
        protocol: ServerProtocol::H1,
        weight: 1,
        maxconn: None,
        backup: false,
        disabled: false,
        cookie: None,
        check: Some(Arc::new(check())),
        track: None,
        agent: None,
        observe: None,
        slowstart: None,
        initial: InitialState::First,
        return_from_drain: ReturnFromDrain::Checks,
        return_from_maint: ReturnFromMaint::Up,
        on_marked_down_shutdown: false,
        tls: TlsUse::Unset,
    }
}

/// As HAProxy behaves.
pub(crate) fn haproxy(name: &str) -> ServerSpec {
    ServerSpec { initial: InitialState::Up, return_from_drain: ReturnFromDrain::Keep, ..server(name) }
}

/// A server without checks.
pub(crate) fn unchecked(name: &str) -> ServerSpec {
    ServerSpec { check: None, ..server(name) }
}

pub(crate) fn backend(name: &str, servers: Vec<ServerSpec>) -> BackendSpec {
    let seconds = Duration::from_secs;
    BackendSpec {
        name: name.into(),
        iid: 4,
        algorithm: Algorithm::RoundRobin,
        timeouts: ServerTimeouts {
            queue: seconds(30),
            connect: seconds(5),
            server: seconds(30),
            tunnel: seconds(3600),
            handshake: seconds(5),
        },
        limits: HttpLimits::default(),
        retries: 3,
        redispatch: true,
        retry_on: RetryOn { empty_response: false, status_503: false },
        cookie: None,
        queue_max: 10_000,
        server_queue_max: None,
        maintenance: false,
        maintenance_answer: FixedAnswer { status: 503, headers: vec![], body: Arc::from(&b"closed"[..]) },
        pool: PoolSpec { max_idle: 64, idle_timeout: seconds(30) },
        http2: Http2ToServers::default(),
        source: vec![],
        log_health_checks: false,
        request_rules: vec![],
        response_rules: vec![],
        servers: servers.into_iter().map(Arc::new).collect(),
        server_defaults: ServerDefaults::default(),
    }
}

pub(crate) fn fleet(backends: Vec<BackendSpec>) -> FleetSpec {
    FleetSpec { frontends: vec![], backends: backends.into_iter().map(Arc::new).collect() }
}
