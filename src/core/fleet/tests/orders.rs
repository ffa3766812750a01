//! Orders of people and what they bring about: replies, effects and their order, passive checks, maintenance.

use std::sync::Arc;

use super::lab::{Lab, by_cli};
use super::specs::{backend, fleet, haproxy, server, unchecked};
use crate::core::fleet::event::*;
use crate::core::fleet::spec::*;
use crate::core::queue::{self, Waiter};
use crate::core::server::AdminState;
use crate::core::stats::Counter;
use crate::core::tls::ServerTls;

#[test]
fn names_and_numbers_lead_to_servers() {
    let other = BackendSpec { iid: 9, ..backend("be_api", vec![unchecked("api1")]) };
    let lab = Lab::new(&fleet(vec![backend("be_web", vec![unchecked("web1"), unchecked("web2")]), other]));
    let find = |path: &str| lab.fleet.find_server(path).map(|id| (id.backend.0, id.index)).map_err(|r| r.to_string());
    assert_eq!(find("be_web/web2"), Ok((0, 1)));
    assert_eq!(find("#4/#2"), Ok((0, 1)));
    assert_eq!(find("be_api/#1"), Ok((1, 0)));
    assert_eq!(find("#9/api1"), Ok((1, 0)));
    for (path, reply) in [
        ("", "Require 'backend/server'."),
        ("be_web", "Require 'backend/server'."),
        ("nope/web1", "No such backend."),
        ("#5/web1", "No such backend."),
        ("be_web/nope", "No such server."),
        ("be_web/#3", "No such server."),
        ("be_web/#0", "No such server."),
        ("be_web/", "No such server."),
    ] {
        assert_eq!(find(path), Err(reply.to_owned()), "{path}");
    }
    assert_eq!(lab.fleet.find_backend("#9"), Some(BackendIndex(1)));
    assert_eq!(lab.fleet.find_backend("be_api"), Some(BackendIndex(1)));
    assert_eq!(lab.fleet.find_backend("nope"), None);
}

#[test]
fn weights() {
    let mut lab = Lab::web(vec![ServerSpec { weight: 10, ..unchecked("web1") }, unchecked("web2")]);
    let mut set = |change, expected: Result<u32, &str>| {
        let before = lab.entry("web1").weight;
        let server = lab.id("web1");
        let event = Event::SetWeight { server, weight: change, by: by_cli() };
        match expected {
            Ok(weight) => {
                lab.apply(event);
                assert_eq!(lab.entry("web1").weight, weight, "{change:?}");
                assert_eq!(lab.server_view("web1").weight, weight * 256);
                assert_eq!(lab.server_view("web1").eligible, weight > 0);
                assert_eq!(lab.word("web1"), "no check", "weight is not state");
            }
            Err(text) => {
                assert_eq!(lab.refused(event), text);
                assert_eq!(lab.entry("web1").weight, before);
            }
        }
    };
    set(WeightChange::Absolute(0), Ok(0));
    set(WeightChange::Absolute(256), Ok(256));
    set(WeightChange::Absolute(257), Err("Absolute weight can only be between 0 and 256 inclusive."));
    set(WeightChange::Percent(50), Ok(5));
    set(WeightChange::Percent(101), Ok(10));
    set(WeightChange::Percent(100_000), Ok(256));
    set(WeightChange::Percent(u32::MAX), Ok(256));
    set(WeightChange::Percent(0), Ok(0));
    set(WeightChange::Percent(100), Ok(10));
}

#[test]
fn effects_come_in_order() {
    let named = ServerSpec { on_marked_down_shutdown: true, ..haproxy("web1") };
    let mut lab = Lab::web(vec![named, unchecked("web2")]);
    assert_eq!(lab.effect_words(), ["publish", "probe", "ready"]);
    lab.pass("web1");
    assert_eq!(lab.effect_words(), Vec::<&str>::new(), "nothing workers could see has changed");
    lab.maint("web1");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "shutdown", "close idle", "save"]);
    lab.maint("web1");
    assert_eq!(lab.effect_words(), ["save"]);
    lab.ready("web1");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "save"]);
    lab.fail("web1");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "shutdown"]);
    lab.drain("web1");
    assert_eq!(lab.effect_words(), ["log", "save"], "down and drained look the same to workers");
    let server = lab.id("web1");
    assert!(lab.effects.iter().all(|e| !matches!(e, Effect::ShutdownSessions { .. })));
    lab.apply(Event::SetMaxconn { server, maxconn: 5 });
    assert_eq!(lab.effect_words(), ["publish", "dispatch", "save"]);
    assert_eq!(lab.server_view("web1").maxconn, 5);
    lab.apply(Event::SetMaxconn { server, maxconn: 0 });
    assert_eq!(lab.server_view("web1").maxconn, u32::MAX);
}

#[test]
fn sessions_survive_the_return_from_drain() {
    let mut lab = Lab::web(vec![ServerSpec { on_marked_down_shutdown: true, ..server("web1") }, unchecked("web2")]);
    lab.pass("web1");
    lab.drain("web1");
    lab.ready("web1");
    assert_eq!(lab.word("web1"), "DOWN");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "save", "probe"], "assumed down is not found down");
}

#[test]
fn only_what_changed_is_rebuilt() {
    let spec = fleet(vec![backend("be_web", vec![unchecked("web1")]), backend("be_api", vec![unchecked("api1")])]);
    let mut lab = Lab::new(&spec);
    let before = lab.fleet.snapshot().clone();
    lab.maint("be_api/api1");
    let after = lab.fleet.snapshot();
    assert_eq!(after.generation, before.generation + 1);
    assert!(std::sync::Arc::ptr_eq(&before.backends[0], &after.backends[0]));
    assert!(!std::sync::Arc::ptr_eq(&before.backends[1], &after.backends[1]));
}

#[test]
fn a_server_that_leaves_gives_its_line_to_the_backend() {
    let mut lab = Lab::web(vec![ServerSpec { maxconn: Some(1), ..haproxy("web1") }, unchecked("web2")]);
    let view = lab.fleet.snapshot().backends[0].clone();
    assert!(view.servers[0].live.inflight.try_rise(1));
    for _ in 0..2 {
        queue::enter(&view, Some(0), Waiter::new()).unwrap();
    }
    lab.maint("web1");
    assert!(lab.effect_words().contains(&"dispatch"));
    assert_eq!(
        lab.told(),
        ["1 Server be_web/web1 is going DOWN for maintenance. 1 active and 0 backup servers left. \
          1 sessions active, 2 requeued, 0 remaining in queue."]
    );
    assert_eq!((view.servers[0].live.queued.now(), view.live.queued.now()), (0, 2));
    queue::dispatch(lab.view());
    assert_eq!((view.live.queued.now(), view.servers[1].live.inflight.now()), (0, 2));
}

#[test]
fn a_backend_in_maintenance() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    lab.apply(Event::SetMaintenance { backend: BackendIndex(0), on: true });
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "save"]);
    assert!(lab.view().maintenance);
    lab.apply(Event::SetMaintenance { backend: BackendIndex(0), on: true });
    assert_eq!(lab.effect_words(), Vec::<&str>::new());
    lab.apply(Event::SetMaintenance { backend: BackendIndex(0), on: false });
    assert!(!lab.view().maintenance);
    assert_eq!(lab.told(), ["5 Backend be_web enters maintenance.", "5 Backend be_web leaves maintenance."]);
}

#[test]
fn what_does_not_exist_is_refused() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    let server = ServerId { backend: BackendIndex(0), index: 9 };
    let state = AdminState::Maint;
    assert_eq!(lab.refused(Event::SetAdminState { server, state, by: by_cli() }), "No such server.");
    assert_eq!(lab.refused(Event::SetMaintenance { backend: BackendIndex(7), on: true }), "No such backend.");
    let server = lab.id("web1");
    assert_eq!(
        lab.refused(Event::SetChecks { server, enabled: true }),
        "Health checks are not configured on this server, cannot enable."
    );
    lab.apply(Event::SetChecks { server, enabled: false });
    assert_eq!(lab.effect_words(), Vec::<&str>::new());
}

#[test]
fn passive_checks_act() {
    let observed = |on_error| {
        let observe = Some(ObserveSpec { layer7: true, error_limit: 10, on_error });
        let mut lab = Lab::web(vec![ServerSpec { observe, ..haproxy("web1") }, unchecked("web2")]);
        lab.pass("web1");
        let server = lab.id("web1");
        lab.entry("web1").live.observed_errors.store(10, std::sync::atomic::Ordering::Relaxed);
        lab.apply(Event::Observed { server, text: "Wrong http response".into() });
        let entry = lab.entry("web1");
        assert_eq!(entry.live.observed_errors.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert_eq!(entry.live.counters.sum(Counter::Hanafail), 1);
        let word = entry.last_check.as_ref().unwrap().outcome.status.word();
        (lab.word("web1"), word, lab.told())
    };
    assert_eq!(observed(OnError::Fastinter), ("UP".to_owned(), "L7OK", vec![]));
    assert_eq!(observed(OnError::FailCheck), ("UP 2/3".to_owned(), "HANA", vec![]));
    assert_eq!(observed(OnError::SuddenDeath), ("UP 1/3".to_owned(), "HANA", vec![]));
    let (word, status, told) = observed(OnError::MarkDown);
    assert_eq!((word.as_str(), status), ("DOWN", "HANA"));
    assert_eq!(
        told,
        [
            "1 Server be_web/web1 is DOWN, reason: Health analyze, info: \"Detected 10 consecutive errors, last one was: \
          Wrong http response\". 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
        ]
    );
}

#[test]
fn tls_is_an_order_about_servers_that_have_it() {
    let settings = || Arc::new(ServerTls::strict("be_web/web2", Some("a.test".into())));
    let on = ServerSpec { tls: TlsUse::On(settings()), ..unchecked("web2") };
    let off = ServerSpec { tls: TlsUse::Off(settings()), ..unchecked("web3") };
    let spec = fleet(vec![backend("be_web", vec![unchecked("web1"), on, off])]);
    let mut lab = Lab::new(&spec);
    let speaks = |lab: &Lab| ["web1", "web2", "web3"].map(|name| lab.server_view(name).tls.is_some());
    assert_eq!(speaks(&lab), [false, true, false]);
    let refusal = lab.fleet.may_set_tls(lab.id("web1")).unwrap_err();
    assert_eq!(refusal.0, "'set server <srv> ssl' cannot be set.  default-server should define ssl settings");

    lab.apply(Event::SetTls { server: lab.id("web2"), on: false, by: by_cli() });
    assert_eq!(lab.effect_words(), ["publish", "dispatch", "close idle", "save"]);
    lab.apply(Event::SetTls { server: lab.id("web2"), on: false, by: by_cli() });
    assert_eq!(lab.effect_words(), Vec::<&str>::new(), "nothing has changed");
    lab.apply(Event::SetTls { server: lab.id("web3"), on: true, by: by_cli() });
    assert_eq!(speaks(&lab), [false, false, true]);

    let saved = lab.fleet.saved_state();
    let again = Lab::with(&spec, &saved);
    assert_eq!(speaks(&again), [false, false, true]);
    assert_eq!(again.fleet.saved_state(), saved);
    lab.apply(Event::SetTls { server: lab.id("web3"), on: false, by: by_cli() });
    let saved = serde_json::to_string(&lab.fleet.saved_state()).unwrap();
    assert_eq!(saved.matches("\"tls\"").count(), 1, "what is as configured is not saved: {saved}");
}
