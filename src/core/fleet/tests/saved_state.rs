//! What operators set survives the process, and an odd state file does no harm.

use std::time::{Duration, SystemTime};

use super::lab::{Lab, by_cli};
use super::specs::{backend, fleet, server, unchecked};
use crate::core::fleet::event::*;
use crate::core::fleet::saved::SavedState;
use crate::core::fleet::spec::*;

fn spec() -> FleetSpec {
    let disabled = ServerSpec { disabled: true, ..server("web3") };
    let named = ServerSpec { address: ServerAddress::Name { host: "app".into(), port: 80 }, ..server("web4") };
    let capped = ServerSpec { maxconn: Some(10), ..server("web5") };
    fleet(vec![
        backend("be_web", vec![server("web1"), server("web2"), disabled, named, capped]),
        backend("be_api", vec![unchecked("api1")]),
    ])
}

#[test]
fn a_fleet_nobody_touched_saves_nothing() {
    assert_eq!(serde_json::to_string(&Lab::new(&spec()).fleet.saved_state()).unwrap(), r#"{"backends":{}}"#);
}

#[test]
fn what_was_set_holds_from_the_first_moment() {
    let mut lab = Lab::new(&spec());
    lab.pass("web1");
    lab.drain("web1");
    lab.maint("web2");
    lab.ready("web3");
    lab.weight("web1", WeightChange::Absolute(7));
    let by = by_cli();
    let (ip, port) = (Some("10.9.9.9".parse().unwrap()), Some(81));
    lab.apply(Event::SetAddress { server: lab.id("web4"), ip, port, by });
    lab.apply(Event::SetMaxconn { server: lab.id("web5"), maxconn: 0 });
    lab.apply(Event::SetChecks { server: lab.id("web5"), enabled: false });
    lab.apply(Event::SetMaintenance { backend: BackendIndex(1), on: true });
    let text = serde_json::to_string(&lab.fleet.saved_state()).unwrap();

    let saved: SavedState = serde_json::from_str(&text).unwrap();
    assert_eq!(saved, lab.fleet.saved_state());
    let mut again = Lab::with(&spec(), &saved);
    assert_eq!(again.logs, Vec::<String>::new());
    assert_eq!(again.fleet.saved_state(), saved, "and is saved again");
    assert_eq!(again.entry("web1").weight, 7);
    assert_eq!(again.server_view("web1").weight, 7 * 256);
    assert_eq!(again.entry("web1").changed_by, lab.entry("web1").changed_by);
    assert_eq!(again.word("web2"), "MAINT");
    assert!(!again.probes.contains_key(&again.id("web2")), "no checks in MAINT");
    assert_eq!((again.word("web3"), again.entry("web3").state.admin_flags()), ("DOWN".to_owned(), 4));
    assert!(again.look_ups.is_empty() && again.probes.contains_key(&again.id("web4")));
    assert_eq!(again.entry("web4").set_address(), Some("10.9.9.9:81".parse().unwrap()));
    assert_eq!((again.entry("web5").maxconn, again.entry("web5").state.checks_enabled), (None, false));
    assert!(again.fleet.backends()[1].maintenance);
    again.pass("web1");
    assert_eq!(again.word("web1"), "DRAIN", "a drained server stays drained");
}

#[test]
fn odd_files_do_no_harm() {
    let start = |text: &str| {
        let saved: SavedState = serde_json::from_str(text).unwrap();
        Lab::with(&spec(), &saved)
    };
    start("{}");
    start(r#"{"version":9,"backends":{"gone":{"servers":{"x":{"admin":"maint"}}},"be_web":{"servers":{"gone":{}}}}}"#);
    let lab = start(
        r#"{"backends":{"be_web":{"servers":{"web1":{"weight":9999,"future":1,
            "by":{"way":"carrier pigeon","at_ms":18446744073709551615}}}}}}"#,
    );
    assert_eq!(lab.entry("web1").weight, 1);
    let origin = lab.entry("web1").changed_by.clone().unwrap();
    assert_eq!(origin.way, Way::StateFile);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    assert!(origin.at == SystemTime::UNIX_EPOCH || origin.at > far);
}
