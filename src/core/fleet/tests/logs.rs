//! The log lines, as recorded in state-change-logs-2.8.txt (without `option log-health-checks`).

use super::lab::{Lab, failed};
use super::specs::{backend, fleet, haproxy, server, unchecked};
use crate::core::fleet::event::{Event, ForcedHealth};
use crate::core::fleet::spec::ServerSpec;
use crate::core::health::{CheckOutcome, CheckStatus};

/// Eight servers and a backup, as recorded; all up.
fn lab() -> Lab {
    let mut servers = vec![haproxy("web1")];
    servers.extend((2..=8).map(|n| unchecked(&format!("web{n}"))));
    servers.push(ServerSpec { backup: true, ..unchecked("bak") });
    let mut lab = Lab::web(servers);
    lab.pass("web1");
    assert_eq!(lab.told(), Vec::<String>::new(), "an up server that passes is no news");
    lab
}

const LEFT_7: &str = "7 active and 1 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
const ONLINE_7: &str = "7 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.";
const ONLINE_8: &str = "8 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.";
const FAILED: &str = "reason: Layer7 wrong status, code: 503, info: \"Service Unavailable\", check duration: 2ms";
const PASSED: &str = "reason: Layer7 check passed, code: 200, check duration: 0ms";

#[test]
fn maintenance() {
    let mut lab = lab();
    lab.maint("web1");
    assert_eq!(lab.told(), [format!("1 Server be_web/web1 is going DOWN for maintenance. {LEFT_7}")]);
    lab.maint("web1");
    assert_eq!(lab.told(), Vec::<String>::new(), "said twice is not news");
    lab.ready("web1");
    assert_eq!(lab.told(), ["5 Server be_web/web1 is UP/READY (leaving forced maintenance)."]);
    lab.fail("web1");
    assert_eq!(lab.told(), [format!("1 Server be_web/web1 is DOWN, {FAILED}. {LEFT_7}")]);
    lab.maint("web1");
    assert_eq!(lab.told(), ["5 Server be_web/web1 was DOWN and now enters maintenance."]);
    lab.drain("web1");
    assert_eq!(
        lab.told(),
        [
            "5 Server be_web/web1 is UP/DRAIN (leaving forced maintenance).",
            "5 Server be_web/web1 remains in forced drain mode."
        ]
    );
    lab.maint("web1");
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is going DOWN for maintenance. {LEFT_7}")]);
}

#[test]
fn drain() {
    let mut lab = lab();
    lab.drain("web1");
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 enters drain state. {ONLINE_7}")]);
    lab.ready("web1");
    assert_eq!(lab.told(), ["5 Server be_web/web1 is UP (leaving forced drain)."]);
    lab.drain("web1");
    lab.told();
    for _ in 0..3 {
        lab.fail("web1");
    }
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is DOWN, {FAILED}. {LEFT_7}")], "no alarm for a drained one");
    lab.ready("web1");
    assert_eq!(lab.told(), ["5 Server be_web/web1 is DOWN (leaving forced drain)."]);
    for _ in 0..3 {
        lab.pass("web1");
    }
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is UP, {PASSED}. {ONLINE_8}")]);
}

#[test]
fn health_by_hand() {
    let mut lab = lab();
    lab.health("web1", ForcedHealth::Down);
    assert_eq!(lab.told(), [format!("1 Server be_web/web1 is DOWN, changed from CLI. {LEFT_7}")]);
    lab.health("web1", ForcedHealth::Up);
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is UP, changed from CLI. {ONLINE_8}")]);
    lab.health("web1", ForcedHealth::Up);
    assert_eq!(lab.told(), Vec::<String>::new());
    lab.health("web1", ForcedHealth::Stopping);
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is stopping, changed from CLI. {ONLINE_7}")]);
    lab.pass("web1");
    assert_eq!(lab.told(), [format!("5 Server be_web/web1 is UP, {PASSED}. {ONLINE_8}")]);
    let by = crate::core::fleet::event::Origin { way: crate::core::fleet::event::Way::Web, ..super::lab::by_cli() };
    let server = lab.id("web1");
    lab.apply(Event::SetHealth { server, health: ForcedHealth::Down, by });
    assert_eq!(lab.told(), [format!("1 Server be_web/web1 is DOWN, changed from Web interface. {LEFT_7}")]);
}

#[test]
fn the_gauges_are_read() {
    let mut lab = lab();
    let live = lab.entry("web1").live.clone();
    live.inflight.rise();
    live.inflight.rise();
    lab.fail("web1");
    lab.fail("web1");
    lab.fail("web1");
    let expected = "2 sessions active, 0 requeued, 0 remaining in queue.";
    assert!(lab.told()[0].ends_with(expected));
}

#[test]
fn the_reason_of_a_failed_check() {
    let say = |status, code, ms, text: &str| {
        let mut lab = Lab::web(vec![haproxy("web1"), unchecked("web2")]);
        let duration = std::time::Duration::from_millis(ms);
        lab.answer("web1", CheckOutcome { status, code, duration, text: text.into() });
        let line = lab.told().remove(0);
        line.split_once(" is DOWN").unwrap().1.split_once(". 1 active").unwrap().0.to_owned()
    };
    assert_eq!(
        say(CheckStatus::L4Connect, None, 0, "Connection refused"),
        ", reason: Layer4 connection problem, info: \"Connection refused\", check duration: 0ms"
    );
    assert_eq!(say(CheckStatus::L7Timeout, None, 901, ""), ", reason: Layer7 timeout, check duration: 901ms");
    assert_eq!(
        say(CheckStatus::L7Status, Some(302), 3, "a \"quoted\"\nreason"),
        ", reason: Layer7 wrong status, code: 302, info: \"a \\\"quoted\\\"\\x0Areason\", check duration: 3ms"
    );
}

#[test]
fn the_last_server() {
    let two = vec![haproxy("d404"), haproxy("s2")];
    let mut lab = Lab::new(&fleet(vec![backend("be_404", two)]));
    lab.pass("be_404/d404");
    lab.pass("be_404/s2");
    lab.drain("be_404/d404");
    lab.told();
    lab.drain("be_404/s2");
    assert_eq!(
        lab.told(),
        [
            "5 Server be_404/s2 enters drain state. 0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
            "0 backend be_404 has no server available!"
        ]
    );
    lab.maint("be_404/d404");
    assert_eq!(
        lab.told(),
        ["5 Server be_404/d404 is going DOWN for maintenance. 0 active and 0 backup servers left. \
          0 sessions active, 0 requeued, 0 remaining in queue."]
    );
}

#[test]
fn backups() {
    let mut lab = Lab::web(vec![haproxy("web1"), ServerSpec { backup: true, ..haproxy("bak") }]);
    lab.fail("web1");
    assert_eq!(
        lab.told(),
        [format!(
            "1 Server be_web/web1 is DOWN, {FAILED}. 0 active and 1 backup servers left. Running on backup. \
             0 sessions active, 0 requeued, 0 remaining in queue."
        )]
    );
    lab.fail("bak");
    assert_eq!(
        lab.told(),
        [
            format!(
                "1 Backup Server be_web/bak is DOWN, {FAILED}. 0 active and 0 backup servers left. \
                 0 sessions active, 0 requeued, 0 remaining in queue."
            ),
            "0 backend be_web has no server available!".to_owned()
        ]
    );
}

#[test]
fn a_start_with_initial_first() {
    let mut lab = Lab::web(vec![server("web1"), server("web2")]);
    assert_eq!(lab.told(), Vec::<String>::new(), "nothing is known yet, nothing is lost yet");
    lab.fail("web1");
    assert_eq!(
        lab.told(),
        [format!(
            "1 Server be_web/web1 is DOWN, {FAILED}. 0 active and 0 backup servers left. \
             0 sessions active, 0 requeued, 0 remaining in queue."
        )],
        "the backend still waits for web2"
    );
    lab.answer("web2", failed());
    assert_eq!(lab.told()[1], "0 backend be_web has no server available!");
    for _ in 0..3 {
        lab.pass("web1");
    }
    assert_eq!(
        lab.told(),
        [format!(
            "5 Server be_web/web1 is UP, {PASSED}. 1 active and 0 backup servers online. \
             0 sessions requeued, 0 total in queue."
        )]
    );
}

#[test]
fn the_end_of_a_ramp() {
    let slow = ServerSpec { slowstart: Some(std::time::Duration::from_secs(4)), ..haproxy("slow") };
    let mut lab = Lab::web(vec![slow, unchecked("other")]);
    lab.maint("slow");
    lab.ready("slow");
    lab.told();
    lab.wait(std::time::Duration::from_secs(5));
    assert_eq!(
        lab.told(),
        ["5 Server be_web/slow is UP. 2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."]
    );
}
