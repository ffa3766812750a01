//! The configuration of a world, drawn by chance.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use lockgate::core::balance::Algorithm;
use lockgate::core::fleet::spec::*;
use lockgate::core::health::agent::AgentSpec;
use lockgate::core::health::{CheckKind, CheckSpec};
use lockgate::core::route::FixedAnswer;

/// One to three backends of one to six servers.
pub fn draw(rng: &mut Rng) -> FleetSpec {
    let mut backends: Vec<BackendSpec> = (0..rng.u32(1..=3)).map(|n| backend(rng, n)).collect();
    follow(rng, &mut backends);
    FleetSpec { frontends: vec![], backends: backends.into_iter().map(Arc::new).collect() }
}

/// The last server of some backends tracks the first of all, if that is checked.
fn follow(rng: &mut Rng, backends: &mut [BackendSpec]) {
    if backends[0].servers[0].check.is_none() {
        return;
    }
    for (backend, at) in backends.iter_mut().zip(0..) {
        if let Some(last) = backend.servers.last_mut().filter(|last| (at > 0 || *last.name != *"s0") && rng.bool()) {
            let track = Some("be0/s0".into());
            *last = Arc::new(ServerSpec { track, check: None, observe: None, agent: None, ..(**last).clone() });
        }
    }
}

fn backend(rng: &mut Rng, number: u32) -> BackendSpec {
    let algorithm = match rng.u32(0..7) {
        0 => Algorithm::RoundRobin,
        1 => Algorithm::LeastConn,
        2 => Algorithm::Random,
        3 => Algorithm::First,
        4 => Algorithm::Source,
        5 => Algorithm::Uri,
        _ => Algorithm::Header("X-User".into()),
    };
    let seconds = Duration::from_secs;
    let capped = rng.u32(0..4) > 0;
    BackendSpec {
        name: format!("be{number}").into(),
        iid: 2 + number,
        algorithm,
        timeouts: ServerTimeouts {
            queue: seconds(rng.u64(1..20)),
            connect: seconds(5),
            server: seconds(30),
            tunnel: seconds(60),
            handshake: seconds(5),
        },
        limits: HttpLimits::default(),
        retries: 3,
        redispatch: true,
        retry_on: RetryOn { empty_response: false, status_503: false },
        cookie: None,
        queue_max: if rng.bool() { 10_000 } else { rng.u32(0..8) },
        server_queue_max: rng.bool().then(|| rng.u32(0..4)),
        maintenance: false,
        maintenance_answer: FixedAnswer { status: 503, headers: vec![], body: Arc::from(&b""[..]) },
        pool: PoolSpec { max_idle: 64, idle_timeout: seconds(30) },
        http2: Http2ToServers::default(),
        source: vec![],
        log_health_checks: rng.bool(),
        request_rules: vec![],
        response_rules: vec![],
        servers: (0..rng.u32(1..=6)).map(|n| Arc::new(server(rng, n, capped))).collect(),
        server_defaults: ServerDefaults::default(),
    }
}

/// One server, and what an operator may add later.
pub fn server(rng: &mut Rng, number: u32, capped: bool) -> ServerSpec {
    let address = if rng.u32(0..5) == 0 {
        ServerAddress::Name { host: format!("app{number}.internal").into(), port: 8080 }
    } else {
        ServerAddress::Ip(SocketAddr::new(ip(number), 80))
    };
    let checked = rng.u32(0..6) > 0;
    let on_error = match rng.u32(0..4) {
        0 => OnError::Fastinter,
        1 => OnError::FailCheck,
        2 => OnError::SuddenDeath,
        _ => OnError::MarkDown,
    };
    ServerSpec {
        name: format!("s{number}").into(),
        address,
        protocol: ServerProtocol::H1,
        weight: if rng.u32(0..10) == 0 { 0 } else { rng.u32(1..=10) },
        maxconn: capped.then(|| rng.u32(1..=4)),
        backup: rng.u32(0..5) == 0,
        disabled: rng.u32(0..12) == 0,
        cookie: None,
        check: checked.then(|| Arc::new(check(rng))),
        track: None,
        agent: (rng.u32(0..5) == 0).then(|| Arc::new(agent(rng))),
        observe: checked.then_some(ObserveSpec { layer7: true, error_limit: 3, on_error }),
        slowstart: (rng.u32(0..3) == 0).then(|| Duration::from_millis(rng.u64(500..30_000))),
        initial: match rng.u32(0..4) {
            0 => InitialState::Up,
            1 => InitialState::Checks,
            _ => InitialState::First,
        },
        return_from_drain: if rng.u32(0..3) == 0 { ReturnFromDrain::Keep } else { ReturnFromDrain::Checks },
        return_from_maint: if rng.u32(0..3) == 0 { ReturnFromMaint::Checks } else { ReturnFromMaint::Up },
        on_marked_down_shutdown: rng.u32(0..3) == 0,
        tls: TlsUse::Unset,
    }
}

fn agent(rng: &mut Rng) -> AgentSpec {
    let address = rng.bool().then(|| ip(300));
    let interval = Duration::from_millis(rng.u64(500..4000));
    AgentSpec { port: 5555, address, send: "".into(), interval, timeout: Duration::from_millis(400) }
}

fn check(rng: &mut Rng) -> CheckSpec {
    let millis = |rng: &mut Rng| Duration::from_millis(rng.u64(500..4000));
    CheckSpec {
        kind: CheckKind::Tcp,
        interval: millis(rng),
        fastinter: millis(rng),
        downinter: millis(rng),
        timeout: Duration::from_millis(400),
        rise: rng.u32(1..=4),
        fall: rng.u32(1..=4),
        address: None,
        port: rng.bool().then_some(8081),
        tls: None,
    }
}

/// An address of this world.
pub fn ip(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + number))
}
