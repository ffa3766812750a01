//! Backends up and down, downtime, weights and which servers are picked from.

use std::time::Duration;

use super::lab::Lab;
use super::specs::{backend, fleet, haproxy, server, unchecked};
use crate::core::fleet::event::WeightChange;
use crate::core::fleet::spec::ServerSpec;
use crate::core::health::{CheckOutcome, CheckStatus};

fn picked(lab: &Lab) -> Vec<usize> {
    (0..lab.view().servers.len()).filter(|i| lab.view().picker.is_candidate(*i)).collect()
}

#[test]
fn a_backend_is_down_without_a_usable_server() {
    // Experiment W.
    let mut lab = Lab::web(vec![haproxy("a"), haproxy("b")]);
    let row = |lab: &Lab| {
        let b = &lab.fleet.backends()[0];
        (b.up, b.total_weight(), b.usable().active, b.down_count, b.downtime_at(lab.now).as_secs())
    };
    assert_eq!(row(&lab), (true, 2, 2, 0, 0));
    lab.fail("a");
    lab.fail("b");
    assert_eq!(row(&lab), (false, 0, 0, 1, 0));
    lab.now += Duration::from_secs(3);
    assert_eq!(row(&lab), (false, 0, 0, 1, 3));
    for _ in 0..3 {
        lab.pass("a");
        lab.pass("b");
    }
    let downtime = row(&lab).4;
    assert!(row(&lab).0 && downtime >= 3);
    lab.now += Duration::from_secs(5);
    assert_eq!(row(&lab), (true, 2, 2, 1, downtime));
    lab.drain("a");
    lab.drain("b");
    assert_eq!(row(&lab), (false, 0, 0, 2, downtime));
    lab.maint("a");
    lab.maint("b");
    assert_eq!(row(&lab), (false, 0, 0, 2, downtime));
}

#[test]
fn a_start_is_no_outage() {
    let mut lab = Lab::web(vec![server("a")]);
    assert!(!lab.fleet.backends()[0].up);
    lab.pass("a");
    let b = &lab.fleet.backends()[0];
    assert!(b.up);
    assert_eq!(b.down_count, 0);
    let empty = Lab::new(&fleet(vec![backend("none", vec![])]));
    assert!(empty.fleet.backends()[0].up, "HAProxy shows a backend without servers as UP");
    let disabled = Lab::web(vec![ServerSpec { disabled: true, ..haproxy("a") }]);
    assert!(!disabled.fleet.backends()[0].up);
    assert_eq!(disabled.logs, Vec::<String>::new());
}

#[test]
fn backups_serve_only_alone_and_only_the_first() {
    let backup = |name| ServerSpec { backup: true, ..unchecked(name) };
    let mut lab = Lab::web(vec![backup("bak1"), unchecked("web1"), unchecked("web2"), backup("bak2")]);
    assert_eq!(picked(&lab), [1, 2]);
    assert_eq!(lab.fleet.backends()[0].total_weight(), 2);
    lab.maint("web1");
    assert_eq!(picked(&lab), [2]);
    lab.weight("web2", WeightChange::Absolute(0));
    assert_eq!(picked(&lab), [0]);
    let usable = lab.fleet.backends()[0].usable();
    assert_eq!((usable.active, usable.backup), (0, 2));
    assert_eq!(lab.fleet.backends()[0].total_weight(), 1, "the second backup gets nothing");
    lab.drain("bak1");
    assert_eq!(picked(&lab), [3]);
    lab.ready("web1");
    assert_eq!(picked(&lab), [1]);
}

#[test]
fn downtime_runs_while_down_drained_or_in_maintenance() {
    let mut lab = Lab::web(vec![server("a"), unchecked("b")]);
    let seconds = Duration::from_secs;
    lab.now += seconds(2);
    assert_eq!(lab.entry("a").downtime_at(lab.now), seconds(0), "nothing is known yet");
    lab.pass("a");
    let clock = |lab: &mut Lab, s| {
        lab.now += seconds(s);
        (lab.entry("a").downtime_at(lab.now).as_secs(), (lab.now - lab.entry("a").changed_at).as_secs())
    };
    assert_eq!(clock(&mut lab, 4), (0, 4));
    lab.maint("a");
    assert_eq!(clock(&mut lab, 5), (5, 5));
    lab.ready("a");
    assert_eq!(clock(&mut lab, 7), (5, 7));
    lab.drain("a");
    assert_eq!(clock(&mut lab, 3), (8, 3));
    lab.ready("a");
    assert_eq!(lab.word("a"), "DOWN");
    assert_eq!(clock(&mut lab, 1), (9, 1));
}

#[test]
fn a_check_that_could_not_be_sent_says_nothing_of_the_server() {
    let unsent = || CheckOutcome {
        status: CheckStatus::SocketError,
        code: None,
        duration: Duration::ZERO,
        text: "Too many open files".into(),
    };
    let mut lab = Lab::web(vec![haproxy("up"), server("down"), server("new")]);
    lab.pass("up");
    lab.fail("down");
    lab.told();
    for _ in 0..5 {
        lab.answer("up", unsent());
        lab.answer("down", unsent());
    }
    assert_eq!((lab.word("up"), lab.entry("up").check_failures), ("UP".to_owned(), 0));
    assert_eq!(lab.word("down"), "DOWN");
    assert_eq!(lab.entry("up").last_check.as_ref().unwrap().outcome.status, CheckStatus::SocketError);
    assert_eq!(
        lab.told(),
        [
            "4 Health check for server be_web/up could not be sent: Too many open files.",
            "4 Health check for server be_web/down could not be sent: Too many open files.",
        ],
        "said once each"
    );
    lab.pass("down");
    lab.answer("down", unsent());
    lab.pass("down");
    lab.pass("down");
    assert_eq!(lab.word("down"), "UP", "the passes before it still count");
    // Requests wait for a server that was never judged: they must not wait for ever.
    lab.answer("new", unsent());
    assert!(!lab.entry("new").state.awaiting_first_check);
    assert_eq!(lab.word("new"), "DOWN");
}
