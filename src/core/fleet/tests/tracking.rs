//! Servers that track others. The lines and states were taken from HAProxy 2.8.

use std::time::Duration;

use super::lab::{Lab, by_cli};
use super::specs::{backend, fleet, haproxy, server, unchecked};
use crate::core::fleet::event::{Event, ForcedHealth};
use crate::core::fleet::spec::*;

fn follower(name: &str, lead: &str) -> ServerSpec {
    ServerSpec { check: None, track: Some(format!("be_web/{lead}").into()), ..haproxy(name) }
}

/// `s` with `t` behind it and `t2` behind that, and one that stands alone.
fn lab() -> Lab {
    let mut lab = Lab::web(vec![follower("t2", "t"), haproxy("s"), follower("t", "s"), unchecked("u")]);
    lab.pass("s");
    lab.told();
    lab
}

fn seen(lab: &Lab, name: &str) -> String {
    let state = &lab.entry(name).state;
    format!("{} op {} adm {}", state.status_word(), state.operational.number(), state.admin_flags())
}

#[test]
fn followers_are_what_their_lead_is() {
    let mut lab = lab();
    assert_eq!((seen(&lab, "t"), seen(&lab, "t2")), ("UP op 2 adm 0".into(), "UP op 2 adm 0".into()));
    lab.maint("s");
    assert_eq!(seen(&lab, "t"), "MAINT (via be_web/s) op 0 adm 2");
    assert_eq!(seen(&lab, "t2"), "MAINT (via be_web/t) op 0 adm 2");
    assert!(!lab.server_view("t2").eligible);
    lab.ready("s");
    assert_eq!(seen(&lab, "t2"), "UP 1/3 op 2 adm 0");
    lab.pass("s");
    lab.drain("s");
    assert_eq!((seen(&lab, "t"), seen(&lab, "t2")), ("DRAIN op 2 adm 16".into(), "DRAIN op 2 adm 16".into()));
    assert!(!lab.server_view("t").eligible && lab.server_view("t").accepts_persistent);
    lab.fail("s");
    assert_eq!(seen(&lab, "t"), "DRAIN 2/3 op 2 adm 16");
    lab.ready("s");
    lab.health("s", ForcedHealth::Stopping);
    assert_eq!(seen(&lab, "t2"), "NOLB op 3 adm 0");
    lab.health("s", ForcedHealth::Down);
    assert_eq!(seen(&lab, "t2"), "DOWN op 0 adm 0");
    lab.pass("s");
    assert_eq!(seen(&lab, "t2"), "DOWN 1/3 op 0 adm 0");
    let server = lab.id("t");
    let by = by_cli();
    assert_eq!(
        lab.refused(Event::SetHealth { server, health: ForcedHealth::Up, by }),
        "cannot change health on a tracking server."
    );
}

#[test]
fn orders_to_a_follower_stand_beside_what_it_inherits() {
    let mut lab = Lab::web(vec![haproxy("s"), follower("t", "s"), unchecked("u")]);
    lab.pass("s");
    lab.health("s", ForcedHealth::Down);
    lab.told();
    let left = "1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
    let mut step = |who: &str, what: &str, state: &str, told: &[&str]| {
        match what {
            "drain" => lab.drain(who),
            "ready" => lab.ready(who),
            _ => lab.maint(who),
        }
        assert_eq!(seen(&lab, "t"), state, "{what} {who}");
        let told: Vec<String> = told.iter().map(|line| line.replace("{left}", left)).collect();
        assert_eq!(lab.told(), told, "{what} {who}");
    };
    step("t", "drain", "DOWN op 0 adm 8", &["5 Server be_web/t enters drain state. {left}"]);
    step(
        "s",
        "drain",
        "DOWN op 0 adm 24",
        &["5 Server be_web/s enters drain state. {left}", "5 Server be_web/t remains in forced drain mode."],
    );
    step("t", "ready", "DOWN op 0 adm 16", &["5 Server be_web/t remains in drain mode via be_web/s."]);
    step("t", "maint", "MAINT op 0 adm 17", &["5 Server be_web/t was DOWN and now enters maintenance."]);
    step("s", "maint", "MAINT (via be_web/s) op 0 adm 3", &["5 Server be_web/s was DOWN and now enters maintenance."]);
    step(
        "t",
        "ready",
        "MAINT (via be_web/s) op 0 adm 2",
        &["5 Server be_web/t is leaving forced maintenance but remains in maintenance via be_web/s."],
    );
    step("t", "maint", "MAINT (via be_web/s) op 0 adm 3", &[]);
    step(
        "s",
        "ready",
        "MAINT op 0 adm 1",
        &[
            "5 Server be_web/s is UP/READY (leaving forced maintenance).",
            "5 Server be_web/t remains in forced maintenance.",
        ],
    );
    step("t", "ready", "UP 1/3 op 2 adm 0", &["5 Server be_web/t is UP/READY (leaving forced maintenance)."]);
}

#[test]
fn requests_wait_for_the_lead_of_a_follower() {
    let web = backend("be_web", vec![server("s")]);
    let behind = backend("be_api", vec![follower("t", "s")]);
    let mut lab = Lab::new(&fleet(vec![web, behind]));
    let api = |lab: &Lab| lab.fleet.snapshot().backends[1].clone();
    assert!(api(&lab).awaiting_first_check && !lab.fleet.is_ready());
    assert_eq!(lab.word("be_api/t"), "DOWN");
    lab.pass("be_web/s");
    assert!(!api(&lab).awaiting_first_check && lab.fleet.is_ready());
    assert!(api(&lab).picker.has_candidates());
    assert_eq!(lab.word("be_api/t"), "UP");
    let named = ServerAddress::Name { host: "app.internal".into(), port: 80 };
    let web = backend("be_web", vec![ServerSpec { address: named, ..server("s") }]);
    let behind = backend("be_api", vec![follower("t", "s")]);
    let mut lab = Lab::new(&fleet(vec![web, behind]));
    assert_eq!(lab.word("be_api/t"), "MAINT (via be_web/s)");
    assert!(api(&lab).awaiting_first_check, "the name may still be found");
    let server = lab.id("be_web/s");
    lab.apply(Event::Resolved { server, answer: Err("NXDOMAIN".into()), ttl: Duration::ZERO });
    assert!(!api(&lab).awaiting_first_check);
}

#[test]
fn a_follower_has_a_ramp_of_its_own() {
    let slow = ServerSpec { slowstart: Some(Duration::from_secs(4)), ..follower("t", "s") };
    let mut lab = Lab::web(vec![haproxy("s"), slow]);
    lab.pass("s");
    lab.maint("s");
    lab.ready("s");
    assert_eq!((lab.entry("s").throttle(), lab.entry("t").throttle()), (None, Some(7)));
}

#[test]
fn a_404_lets_a_server_finish() {
    use crate::core::health::{CheckOutcome, CheckStatus};
    let answer = || CheckOutcome {
        status: CheckStatus::L7OkConditional,
        code: Some(404),
        duration: Duration::ZERO,
        text: "Not Found".into(),
    };
    let mut lab = lab();
    lab.answer("s", answer());
    assert_eq!((seen(&lab, "s"), seen(&lab, "t")), ("NOLB op 3 adm 0".into(), "NOLB op 3 adm 0".into()));
    assert_eq!(&*lab.entry("s").last_check.as_ref().unwrap().outcome.text, "");
    assert!(
        lab.told()[0].contains("is stopping, reason: Layer7 check conditionally passed, code: 404, check duration")
    );
    lab.pass("s");
    assert_eq!(seen(&lab, "s"), "UP op 2 adm 0");
    for _ in 0..3 {
        lab.fail("s");
    }
    lab.answer("s", answer());
    assert_eq!(seen(&lab, "s"), "DOWN op 0 adm 0", "it brings nobody back");
    assert_eq!(lab.entry("s").last_check.as_ref().unwrap().outcome.status, CheckStatus::L7Status);
}

#[test]
fn checks_and_names_can_be_sent_elsewhere() {
    let named = ServerAddress::Name { host: "old.internal".into(), port: 80 };
    let mut lab = Lab::web(vec![ServerSpec { address: named, ..haproxy("n") }, haproxy("s"), unchecked("u")]);
    let set = |lab: &mut Lab, name: &str, ip: Option<&str>, port| {
        let server = lab.id(name);
        lab.fleet.apply(Event::SetCheckTarget { server, ip: ip.map(|ip| ip.parse().unwrap()), port }, lab.now)
    };
    assert!(set(&mut lab, "s", Some("127.0.0.7"), Some(81)).is_ok());
    assert!(set(&mut lab, "s", None, Some(0)).is_ok());
    assert_eq!((lab.entry("s").check_address().is_some(), lab.entry("s").check_port()), (true, None));
    let refused = set(&mut lab, "u", None, Some(81)).unwrap_err().to_string();
    assert_eq!(refused, "health checks are not enabled on this server");

    let rename = |lab: &mut Lab, name: &str| {
        let server = lab.id("n");
        lab.look_ups.clear();
        lab.apply(Event::SetName { server, name: name.into(), by: by_cli() });
    };
    let describe = |lab: &Lab, server: &str, name: &str| lab.fleet.describe_name_change(lab.id(server), name);
    let by = "by 'stats socket command'";
    assert_eq!(
        describe(&lab, "n", "new.internal").unwrap(),
        format!("be_web/n changed its FQDN from old.internal to new.internal {by}")
    );
    assert_eq!(describe(&lab, "n", "old.internal").unwrap(), format!("no need to change the FDQN {by}"));
    let refused = "set server <b>/<s> fqdn failed because no resolution is configured.";
    assert_eq!(describe(&lab, "s", "new.internal").unwrap_err().to_string(), refused);
    // The answer under way is to the old name: it is dropped, and only then the new one is asked for.
    rename(&mut lab, "new.internal");
    assert_eq!(lab.look_ups, []);
    lab.resolve("n", &["10.0.0.1"], 30);
    assert_eq!((lab.look_ups.len(), lab.word("n").as_str()), (1, "MAINT (resolution)"));
    lab.resolve("n", &["10.0.0.2"], 30);
    assert_eq!(lab.entry("n").address, Some(super::super::ConnectTo::Ip("10.0.0.2:80".parse().unwrap())));
    assert_eq!((lab.entry("n").host(), lab.entry("n").set_name()), (Some("new.internal"), Some("new.internal")));
    // Until the next one has an address, this one is used.
    rename(&mut lab, "old.internal");
    assert_eq!((lab.look_ups.len(), lab.entry("n").set_name()), (1, None));
    assert!(lab.entry("n").address.is_some());
}

#[test]
fn a_followers_name_that_resolves_does_not_bring_it_up() {
    let named = |host: &str, follower: ServerSpec| ServerSpec {
        address: ServerAddress::Name { host: host.into(), port: 80 },
        ..follower
    };
    let mut lab = Lab::web(vec![server("s"), named("t.internal", follower("t", "s")), unchecked("u")]);
    lab.resolve("t", &["10.0.0.1"], 30);
    assert_eq!(seen(&lab, "t"), "DOWN op 0 adm 0", "nothing is known of its lead yet");
    assert!(!lab.server_view("t").eligible);
    lab.pass("s");
    assert_eq!(seen(&lab, "t"), "UP op 2 adm 0");

    let mut lab = Lab::web(vec![server("s"), named("t.internal", follower("t", "s")), unchecked("u")]);
    lab.fail("s");
    lab.resolve("t", &["10.0.0.1"], 30);
    assert_eq!(seen(&lab, "t"), "DOWN op 0 adm 0", "its lead is down");
    assert!(!lab.server_view("t").eligible && !lab.server_view("t").accepts_persistent);
}
