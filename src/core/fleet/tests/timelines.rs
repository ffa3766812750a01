//! HAProxy's recorded experiments on a whole fleet: words, counters, flags and check columns after each command.

use std::time::Duration;

use super::lab::Lab;
use super::specs::{haproxy, server, unchecked};
use crate::core::fleet::event::ForcedHealth;
use crate::core::fleet::spec::ServerSpec;

/// `status chkfail/chkdown`
fn seen(lab: &Lab, name: &str) -> String {
    let e = lab.entry(name);
    format!("{} {}/{}", e.state.status_word(), e.check_failures, e.down_count)
}

#[track_caller]
fn replay(lab: &mut Lab, steps: &[(&str, &str)]) {
    for (n, (what, expected)) in steps.iter().enumerate() {
        match *what {
            "maint" => lab.maint("web1"),
            "drain" => lab.drain("web1"),
            "ready" => lab.ready("web1"),
            "hdown" => lab.health("web1", ForcedHealth::Down),
            "hup" => lab.health("web1", ForcedHealth::Up),
            "pass" => lab.pass("web1"),
            "fail" => lab.fail("web1"),
            other => panic!("no such step: {other}"),
        }
        assert_eq!(seen(lab, "web1"), *expected, "step {n}, {what}");
    }
}

#[test]
fn counters_run_as_recorded() {
    // Experiments A to K in one life of web1, as they were recorded.
    let mut lab = Lab::web(vec![haproxy("web1"), unchecked("other")]);
    assert_eq!(seen(&lab, "web1"), "UP 1/3 0/0");
    replay(&mut lab, &[("pass", "UP 0/0"), ("maint", "MAINT 0/1"), ("ready", "UP 1/3 0/1"), ("pass", "UP 0/1")]);
    replay(&mut lab, &[("maint", "MAINT 0/2"), ("ready", "UP 1/3 0/2"), ("fail", "DOWN 1/3")]);
    replay(&mut lab, &[("pass", "DOWN 1/3 1/3"), ("pass", "DOWN 2/3 1/3"), ("pass", "UP 1/3")]);
    replay(&mut lab, &[("drain", "DRAIN 1/3"), ("ready", "UP 1/3"), ("drain", "DRAIN 1/3")]);
    replay(
        &mut lab,
        &[("fail", "DRAIN 2/3 2/3"), ("fail", "DRAIN 1/3 3/3"), ("fail", "DOWN 4/4"), ("ready", "DOWN 4/4")],
    );
    replay(&mut lab, &[("pass", "DOWN 1/3 4/4"), ("pass", "DOWN 2/3 4/4"), ("pass", "UP 4/4")]);
    replay(&mut lab, &[("drain", "DRAIN 4/4"), ("hdown", "DOWN 4/5"), ("ready", "DOWN 4/5"), ("fail", "DOWN 4/5")]);
    replay(&mut lab, &[("hup", "UP 4/5"), ("fail", "UP 2/3 5/5")]);
}

#[test]
fn a_deploy_by_drain_waits_for_three_passes() {
    let mut lab = Lab::web(vec![server("web1"), unchecked("other")]);
    replay(&mut lab, &[("pass", "UP 0/0"), ("drain", "DRAIN 0/0")]);
    assert!(!lab.server_view("web1").eligible && lab.server_view("web1").accepts_persistent);
    replay(&mut lab, &[("pass", "DRAIN 0/0"), ("hdown", "DOWN 0/1"), ("fail", "DOWN 0/1")]);
    // A check that left before the READY passes after it: it says nothing about what was started for the READY.
    lab.wait(Duration::from_millis(1));
    let server = lab.id("web1");
    while !lab.probes.contains_key(&server) {
        let deadline = lab.now + Duration::from_secs(5);
        lab.tick(deadline);
    }
    let stale = lab.probes[&server];
    replay(&mut lab, &[("ready", "DOWN 0/1")]);
    assert_ne!(lab.probes[&server], stale, "the next check leaves at once");
    lab.apply(crate::core::fleet::event::Event::Checked { server, ticket: stale, outcome: super::lab::passed() });
    assert_eq!(seen(&lab, "web1"), "DOWN 0/1");
    replay(&mut lab, &[("pass", "DOWN 1/3 0/1"), ("pass", "DOWN 2/3 0/1")]);
    assert!(!lab.server_view("web1").eligible);
    replay(&mut lab, &[("pass", "UP 0/1")]);
    assert!(lab.server_view("web1").eligible);
}

#[test]
fn a_deploy_by_maint_takes_traffic_at_once() {
    let mut lab = Lab::web(vec![server("web1"), unchecked("other")]);
    replay(&mut lab, &[("pass", "UP 0/0"), ("maint", "MAINT 0/1")]);
    assert!(!lab.server_view("web1").eligible && !lab.server_view("web1").accepts_persistent);
    replay(&mut lab, &[("ready", "UP 1/3 0/1")]);
    assert!(lab.server_view("web1").eligible);
    assert!(lab.fleet.next_timeout().is_some(), "and is checked soon");
    replay(&mut lab, &[("fail", "DOWN 1/2")]);
    assert!(!lab.server_view("web1").eligible);
}

#[test]
fn slowstart_throttles_as_recorded() {
    let ramping = |name| ServerSpec { slowstart: Some(Duration::from_secs(4)), maxconn: Some(50), ..haproxy(name) };
    let mut lab = Lab::web(vec![ramping("slow"), unchecked("other")]);
    lab.pass("slow");
    assert_eq!(lab.entry("slow").throttle(), None);
    let sample = |lab: &Lab| {
        let (e, v) = (lab.entry("slow"), lab.server_view("slow"));
        (e.throttle(), e.state.operational.number(), e.effective_weight(), v.weight, v.maxconn)
    };
    let ramp = [
        (Some(7), 1, 1, 16, 4),
        (Some(32), 1, 1, 80, 16),
        (Some(57), 1, 1, 144, 29),
        (Some(82), 1, 1, 208, 41),
        (None, 2, 1, 256, 50),
    ];
    // Q: after DOWN to UP.
    lab.health("slow", ForcedHealth::Down);
    for _ in 0..3 {
        lab.pass("slow");
    }
    for expected in ramp {
        assert_eq!(sample(&lab), expected);
        lab.wait(Duration::from_secs(1));
    }
    // Q2: after MAINT to READY.
    lab.maint("slow");
    lab.ready("slow");
    for expected in ramp {
        assert_eq!(sample(&lab), expected);
        lab.wait(Duration::from_secs(1));
    }
    // Q3: not after DRAIN to READY.
    lab.drain("slow");
    lab.ready("slow");
    assert_eq!(sample(&lab), ramp[4]);
    // Down on the way up: the next return begins anew.
    lab.maint("slow");
    lab.ready("slow");
    lab.wait(Duration::from_millis(2500));
    assert_eq!(lab.entry("slow").throttle(), Some(57));
    lab.drain("slow");
    assert_eq!(lab.entry("slow").throttle(), None, "a draining server shows no throttle");
    lab.maint("slow");
    lab.ready("slow");
    assert_eq!(sample(&lab), ramp[0]);
    lab.weight("slow", crate::core::fleet::event::WeightChange::Absolute(0));
    assert_eq!(sample(&lab), (Some(100), 1, 0, 0, 4));
}
