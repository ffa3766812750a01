//! What frontends and the process are told.

use std::sync::Arc;

use super::lab::Lab;
use crate::core::fleet::event::*;
use crate::core::fleet::frontends::{FrontendOrder, FrontendStatus};
use crate::core::fleet::spec::*;
use crate::core::limit::process::{ProcessLimit, ProcessLimits};
use crate::core::route::FixedAnswer;
use crate::core::stats::Counter;
use crate::core::stats::counters::Shard;

const F: FrontendIndex = FrontendIndex(0);

fn lab() -> Lab {
    let s = std::time::Duration::from_secs;
    let frontend = FrontendSpec {
        name: "fe_main".into(),
        iid: 2,
        maxconn: 1000,
        maxconn_per_source: None,
        session_rate: None,
        timeouts: ClientTimeouts { request: s(5), keepalive: s(5), client: s(5), handshake: s(5), tarpit: s(5) },
        limits: HttpLimits::default(),
        http2: Default::default(),
        trusted_proxies: vec![],
        forward: ForwardFields { x_for: true, x_proto: true, x_port: true, forwarded: false },
        request_id: RequestIdSpec { header: None, respond: false },
        capture: Default::default(),
        deny: vec![],
        rate_limits: vec![],
        request_rules: vec![],
        response_rules: vec![],
        routes: vec![],
        no_route: FixedAnswer { status: 404, headers: vec![], body: Arc::from(&b""[..]) },
        log_null: false,
        log: Default::default(),
        listeners: vec![],
        stats: None,
    };
    Lab::new(&FleetSpec { frontends: vec![Arc::new(frontend)], backends: vec![] })
}

fn order(lab: &mut Lab, order: FrontendOrder) -> Result<(), String> {
    let event = Event::OrderFrontend { frontend: F, order };
    match lab.fleet.apply(event.clone(), lab.now) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.0),
    }
}

#[test]
fn every_order_in_every_status() {
    use FrontendOrder::{Disable, Enable, Shutdown};
    let mut lab = lab();
    let steps = [
        (Enable, Err("All sockets are already enabled."), "OPEN"),
        (Disable, Ok(()), "PAUSED"),
        (Disable, Err("All sockets are already disabled."), "PAUSED"),
        (Enable, Ok(()), "OPEN"),
        (Disable, Ok(()), "PAUSED"),
        (Shutdown, Ok(()), "STOP"),
        (Shutdown, Err("Frontend was already shut down."), "STOP"),
        (Enable, Err("Frontend was previously shut down, cannot enable."), "STOP"),
        (Disable, Err("Frontend was previously shut down, cannot disable."), "STOP"),
    ];
    for (what, expected, word) in steps {
        assert_eq!(order(&mut lab, what), expected.map_err(str::to_owned), "{what:?}");
        assert_eq!(lab.fleet.frontends()[0].live.status().word(), word, "{what:?}");
    }
}

#[test]
fn log_lines_and_effects() {
    let mut lab = lab();
    lab.fleet.frontends()[0].live.counters.add(Shard(0), Counter::ConnTot, 17);
    for (what, status, line) in [
        (FrontendOrder::Disable, FrontendStatus::Paused, "4 Paused frontend fe_main."),
        (FrontendOrder::Enable, FrontendStatus::Open, "4 Resumed frontend fe_main."),
        (FrontendOrder::Shutdown, FrontendStatus::Stopped, "4 Proxy fe_main stopped (cumulated conns: FE: 17, BE: 0)."),
    ] {
        lab.apply(Event::OrderFrontend { frontend: F, order: what });
        assert_eq!(lab.told(), [line]);
        let told = |e: &Effect| matches!(e, Effect::SetListening { frontend: F, status: s } if *s == status);
        assert!(lab.effects.iter().any(told), "{:?}", lab.effects);
    }
}

#[test]
fn limits_are_kept_and_told() {
    let mut lab = lab();
    let limits = ProcessLimits { maxconn: 100, maxconn_highest: 100, ..ProcessLimits::default() };
    let fleet = std::mem::replace(&mut lab.fleet, self::lab().fleet);
    lab.fleet = fleet.with_limits(limits);
    lab.apply(Event::SetFrontendMaxconn { frontend: F, maxconn: 9 });
    assert_eq!(lab.fleet.frontends()[0].live.maxconn(), 9);
    assert!(matches!(lab.effects[..], [Effect::SetFrontendMaxconn { frontend: F, maxconn: 9 }]));
    lab.apply(Event::SetProcessLimit { limit: ProcessLimit::Maxconn, to: 50 });
    assert!(matches!(lab.effects[..], [Effect::SetProcessLimit { limit: ProcessLimit::Maxconn, to: 50 }]));
    lab.apply(Event::SetProcessLimit { limit: ProcessLimit::Maxconn, to: 0 });
    assert!(matches!(lab.effects[..], [Effect::SetProcessLimit { limit: ProcessLimit::Maxconn, to: 100 }]));
    let refused = lab.refused(Event::SetProcessLimit { limit: ProcessLimit::Maxconn, to: 101 });
    assert_eq!(refused, "Value out of range.");
    lab.apply(Event::SetProcessLimit { limit: ProcessLimit::TlsRate, to: 7 });
    assert_eq!((lab.fleet.limits().tls_rate, lab.fleet.limits().maxconn), (7, 100));
    assert_eq!(lab.refused(Event::SetFrontendMaxconn { frontend: FrontendIndex(3), maxconn: 9 }), "No such frontend.");
}
