//! When checks leave, and which results count.

use std::sync::Arc;
use std::time::Duration;

use super::lab::{Lab, failed, passed};
use super::specs::{check, haproxy, server, unchecked};
use crate::core::fleet::event::*;
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::fleet::spec::*;
use crate::core::health::CheckSpec;

/// Interval 10 s, fastinter 2 s, downinter 30 s.
fn paced() -> ServerSpec {
    let seconds = Duration::from_secs;
    let check = CheckSpec {
        interval: seconds(10),
        fastinter: seconds(2),
        downinter: seconds(30),
        timeout: seconds(1),
        ..check()
    };
    ServerSpec { check: Some(Arc::new(check)), ..haproxy("web1") }
}

/// Seconds until the next check leaves.
fn next_check(lab: &mut Lab) -> f64 {
    let from = lab.now;
    let server = lab.id("web1");
    while !lab.probes.contains_key(&server) {
        let deadline = lab.now + Duration::from_secs(100);
        assert!(lab.tick(deadline));
    }
    (lab.now - from).as_secs_f64()
}

#[test]
fn the_pace_follows_health_with_a_tenth_of_spread() {
    let mut lab = Lab::web(vec![paced()]);
    let mut expect = |outcome, seconds: f64| {
        assert!(next_check(&mut lab) <= 1.1 * seconds.max(40.0));
        lab.answer("web1", outcome);
        let wait = next_check(&mut lab);
        assert!((0.9 * seconds..=1.1 * seconds).contains(&wait), "waited {wait}, expected {seconds}");
    };
    expect(passed(), 10.0);
    expect(passed(), 10.0);
    expect(failed(), 2.0);
    expect(failed(), 2.0);
    expect(failed(), 30.0);
    expect(failed(), 30.0);
    expect(passed(), 2.0);
    expect(passed(), 2.0);
    expect(passed(), 10.0);
}

#[test]
fn checks_of_many_servers_drift_apart() {
    let servers = (0..50).map(|n| ServerSpec { name: format!("s{n}").into(), ..paced() }).collect();
    let mut lab = Lab::web(servers);
    assert_eq!(lab.probes.len(), 50, "the first checks leave at once");
    lab.wait(Duration::from_secs(1));
    let mut times = vec![];
    let deadline = lab.now + Duration::from_secs(11);
    while lab.tick(deadline) {
        times.push(lab.now);
    }
    times.dedup();
    assert!(times.len() > 40, "only {} different times", times.len());
}

#[test]
fn a_slow_check_is_followed_at_once_and_never_overlapped() {
    let mut lab = Lab::web(vec![paced()]);
    lab.pass("web1");
    next_check(&mut lab);
    lab.now += Duration::from_millis(10_900);
    let server = lab.id("web1");
    let ticket = lab.probes.remove(&server).unwrap();
    lab.apply(Event::Checked { server, ticket, outcome: failed() });
    assert_eq!(lab.effect_words(), ["probe"], "fastinter has long passed");
}

#[test]
fn a_probe_that_never_comes_back_is_replaced() {
    let mut lab = Lab::web(vec![paced()]);
    let server = lab.id("web1");
    let lost = lab.probes[&server];
    let deadline = lab.now + Duration::from_secs(60);
    assert!(lab.tick(deadline));
    assert_eq!(lab.now - lab.start, Duration::from_secs(11));
    assert_ne!(lab.probes[&server], lost);
    lab.apply(Event::Checked { server, ticket: lost, outcome: failed() });
    assert_eq!(lab.word("web1"), "UP 1/3", "too late to count");
    assert!(lab.entry("web1").check_running);
}

#[test]
fn maintenance_and_disabled_checks_are_quiet() {
    let mut lab = Lab::web(vec![paced(), unchecked("other")]);
    let server = lab.id("web1");
    let ticket = lab.probes[&server];
    lab.maint("web1");
    assert!(!lab.entry("web1").check_running);
    assert_eq!(lab.fleet.next_timeout(), None);
    lab.apply(Event::Checked { server, ticket, outcome: passed() });
    assert_eq!((lab.word("web1"), lab.entry("web1").last_check.is_none()), ("MAINT".to_owned(), true));
    lab.probes.remove(&server);
    lab.ready("web1");
    assert_eq!(next_check(&mut lab), 1.0, "checked soon, after half a fastinter");
    lab.pass("web1");
    lab.apply(Event::SetChecks { server, enabled: false });
    assert_eq!((lab.word("web1").as_str(), lab.fleet.next_timeout()), ("no check", None));
    lab.apply(Event::SetChecks { server, enabled: true });
    assert_eq!(lab.effect_words(), ["save", "probe"]);
    assert_eq!(lab.word("web1"), "UP");
}

#[test]
fn observed_errors_hurry_the_next_check() {
    let observe = Some(ObserveSpec { layer7: false, error_limit: 3, on_error: OnError::Fastinter });
    let mut lab = Lab::web(vec![ServerSpec { observe, ..paced() }]);
    lab.pass("web1");
    let server = lab.id("web1");
    lab.apply(Event::Observed { server, text: "Connection refused".into() });
    assert_eq!(next_check(&mut lab), 2.0);
}

#[test]
fn a_check_may_go_elsewhere() {
    let target = |address: &str, ip: Option<&str>, port: Option<u16>| {
        let address = match address.strip_prefix("unix:") {
            Some(path) => ServerAddress::Unix(path.into()),
            None => ServerAddress::Ip(address.parse().unwrap()),
        };
        let check = CheckSpec { address: ip.map(|ip| ip.parse().unwrap()), port, ..check() };
        let lab = Lab::web(vec![ServerSpec { address, check: Some(Arc::new(check)), ..server("web1") }]);
        let to = lab.effects.iter().find_map(|e| match e {
            Effect::Probe { to, .. } => Some(to.clone()),
            _ => None,
        });
        match to.unwrap() {
            ConnectTo::Ip(a) => a.to_string(),
            ConnectTo::Unix(p) => p.display().to_string(),
        }
    };
    assert_eq!(target("10.0.0.1:80", None, None), "10.0.0.1:80");
    assert_eq!(target("10.0.0.1:80", None, Some(81)), "10.0.0.1:81");
    assert_eq!(target("10.0.0.1:80", Some("10.0.0.9"), None), "10.0.0.9:80");
    assert_eq!(target("10.0.0.1:80", Some("::1"), Some(81)), "[::1]:81");
    assert_eq!(target("unix:/run/app.sock", None, None), "/run/app.sock");
    assert_eq!(target("unix:/run/app.sock", None, Some(81)), "/run/app.sock");
    assert_eq!(target("unix:/run/app.sock", Some("127.0.0.1"), Some(81)), "127.0.0.1:81");
}

#[test]
fn ready_means_every_first_check_is_in() {
    let mut lab = Lab::web(vec![
        server("web1"),
        ServerSpec { initial: InitialState::Checks, ..server("web2") },
        haproxy("web3"),
        unchecked("web4"),
        ServerSpec { disabled: true, ..server("web5") },
    ]);
    assert!(!lab.fleet.is_ready());
    assert!(!lab.effect_words().contains(&"ready"));
    lab.pass("web2");
    assert!(!lab.fleet.is_ready());
    lab.fail("web1");
    assert!(lab.fleet.is_ready(), "a failed check is a check");
    assert_eq!(lab.effects.last().map(|e| matches!(e, Effect::Ready)), Some(true));
    lab.pass("web1");
    assert!(!lab.effect_words().contains(&"ready"), "said once");
    let mut one = Lab::web(vec![server("web1")]);
    one.maint("web1");
    assert!(one.effect_words().contains(&"ready"), "maintenance is not waited for");
}

#[test]
fn requests_wait_only_while_a_first_result_is_out() {
    let mut lab = Lab::web(vec![server("web1"), server("web2")]);
    assert!(lab.view().awaiting_first_check && !lab.view().picker.has_candidates());
    lab.fail("web1");
    assert!(lab.view().awaiting_first_check);
    lab.fail("web2");
    assert!(!lab.view().awaiting_first_check);
    assert_eq!(lab.effect_words(), ["log", "log", "publish", "dispatch", "ready"]);
}
