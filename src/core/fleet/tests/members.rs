//! Servers that are added and deleted: places, numbers, what the state file keeps, what is refused.

use std::sync::Arc;
use std::time::Duration;

use super::lab::{Lab, by_cli};
use super::specs::{backend, fleet, server, unchecked};
use crate::core::fleet::event::*;
use crate::core::fleet::spec::*;
use crate::core::server::AdminState;

const B: BackendIndex = BackendIndex(0);

fn add(name: &str) -> Event {
    Event::AddServer { backend: B, spec: Arc::new(unchecked(name)), sid: None }
}

fn delete(lab: &Lab, name: &str) -> Event {
    Event::DeleteServer { server: lab.id(name) }
}

fn numbers(lab: &Lab) -> Vec<(String, u32)> {
    lab.fleet.servers().map(|s| (s.spec.name.to_string(), s.sid)).collect()
}

#[test]
fn a_new_server_waits_in_maintenance_until_it_is_enabled() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    lab.apply(Event::AddServer { backend: B, spec: Arc::new(server("dyn1")), sid: None });
    assert_eq!(lab.word("dyn1"), "MAINT");
    assert_eq!(lab.entry("dyn1").state.admin_flags(), 1, "not disabled by the configuration");
    assert!(!lab.entry("dyn1").state.checks_enabled);
    assert!(!lab.server_view("dyn1").eligible);
    lab.wait(Duration::from_secs(10));
    assert!(lab.probes.is_empty() && lab.entry("dyn1").last_check.is_none(), "nobody asked for checks");

    let id = lab.id("dyn1");
    lab.apply(Event::SetChecks { server: id, enabled: true });
    lab.ready("dyn1");
    assert_eq!(lab.word("dyn1"), "UP 1/3");
    assert!(lab.server_view("dyn1").eligible);
    lab.pass("dyn1");
    assert_eq!(lab.word("dyn1"), "UP");
    assert_eq!(lab.fleet.backends()[0].usable().active, 2);
    assert!(lab.fleet.saved_state().backends.is_empty(), "a server that is not in the configuration is not kept");
}

#[test]
fn the_lowest_free_number_is_given_and_the_place_is_not() {
    let mut lab = Lab::web(vec![unchecked("web1"), unchecked("web2"), unchecked("web3")]);
    lab.maint("web2");
    let old = lab.view().servers[1].live.clone();
    let former = lab.id("web2");
    lab.apply(delete(&lab, "web2"));
    assert_eq!(numbers(&lab), [("web1".into(), 1), ("web3".into(), 3)]);
    assert!(lab.view().servers[1].is_deleted());
    assert_eq!(lab.effect_words(), ["publish", "dispatch", "close idle", "save"]);
    assert_eq!(lab.fleet.find_server("be_web/#3").unwrap(), lab.id("web3"));

    lab.apply(add("web2"));
    assert_eq!(lab.entry("web2").sid, 2);
    assert_ne!(lab.id("web2"), former, "workers may still mean the former one by that place");
    assert_eq!(lab.entry("web2").revision, 1, "the number was another's before");
    lab.apply(Event::AddServer { backend: B, spec: Arc::new(unchecked("web9")), sid: Some(9) });
    assert_eq!(lab.entry("web9").sid, 9);
    lab.apply(add("web4"));
    assert_eq!(lab.entry("web4").sid, 4);

    // The old place is free when nobody holds the former server, after a rest.
    lab.wait(Duration::from_secs(61));
    lab.apply(add("a"));
    assert_ne!(lab.id("a"), former, "somebody holds an old picture");
    drop(old);
    lab.apply(add("b"));
    assert_eq!(lab.id("b"), former);
    assert!(!lab.view().servers[1].is_deleted());
    assert_eq!(&*lab.view().servers[1].spec.name, "b");
}

#[test]
fn what_cannot_be_added() {
    let cookie = |name: &str| ServerSpec { cookie: Some("c1".into()), ..unchecked(name) };
    let mut with_cookies = backend("be_web", vec![cookie("web1")]);
    with_cookies.cookie = Some(CookiePersistence {
        name: "SRV".into(),
        secure: false,
        http_only: false,
        domain: None,
        path: "/".into(),
        same_site: None,
        nocache: true,
    });
    let mut lab = Lab::new(&fleet(vec![with_cookies]));
    assert_eq!(lab.refused(add("web1")), "Already exists a server with the same name in backend.");
    let event = Event::AddServer { backend: B, spec: Arc::new(cookie("web2")), sid: None };
    assert_eq!(lab.refused(event), "Already exists a server with the same cookie value in backend.");
    let event = Event::AddServer { backend: B, spec: Arc::new(unchecked("web2")), sid: Some(1) };
    assert!(lab.refused(event).starts_with("'id' : custom id 1 "));
    let event = Event::AddServer { backend: BackendIndex(7), spec: Arc::new(unchecked("web2")), sid: None };
    assert_eq!(lab.refused(event), "No such backend.");
    assert_eq!(numbers(&lab).len(), 1);
}

#[test]
fn only_an_idle_server_in_maintenance_is_deleted() {
    let mut lab = Lab::web(vec![unchecked("web1"), unchecked("web2")]);
    for state in [AdminState::Ready, AdminState::Drain] {
        lab.admin("web1", state);
        assert_eq!(lab.refused(delete(&lab, "web1")), "Only servers in maintenance mode can be deleted.");
    }
    lab.maint("web1");
    let live = lab.entry("web1").live.clone();
    live.inflight.rise();
    let busy = "Server still has connections attached to it, cannot remove it.";
    assert_eq!(lab.refused(delete(&lab, "web1")), busy);
    live.inflight.fall();
    live.queued.rise();
    assert_eq!(lab.refused(delete(&lab, "web1")), busy);
    live.queued.fall();
    let gone = lab.id("web1");
    lab.apply(delete(&lab, "web1"));
    assert_eq!(lab.refused(Event::DeleteServer { server: gone }), "No such server.");
    let state = Event::SetAdminState { server: gone, state: AdminState::Ready, by: by_cli() };
    assert_eq!(lab.refused(state), "No such server.");
    assert_eq!(lab.word("web2"), "no check");
}

#[test]
fn the_last_server_can_go_and_another_come() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    lab.maint("web1");
    lab.apply(delete(&lab, "web1"));
    assert!(!lab.view().picker.has_candidates());
    lab.apply(add("web1"));
    lab.ready("web1");
    assert!(lab.view().picker.has_candidates() && lab.fleet.backends()[0].up);
}

#[test]
fn a_name_is_looked_up_in_maintenance_already() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    let address = ServerAddress::Name { host: "app.internal".into(), port: 8080 };
    let spec = Arc::new(ServerSpec { address, ..unchecked("dyn1") });
    lab.apply(Event::AddServer { backend: B, spec, sid: None });
    assert_eq!(lab.look_ups, [lab.id("dyn1")]);
    lab.resolve("dyn1", &["10.0.0.9"], 60);
    assert_eq!(lab.word("dyn1"), "MAINT");
    lab.ready("dyn1");
    assert!(lab.server_view("dyn1").eligible);
}

#[test]
fn servers_that_come_and_go_leave_nothing_behind() {
    let mut lab = Lab::web(vec![unchecked("web1")]);
    for _ in 0..50_000 {
        lab.apply(add("dyn1"));
        lab.apply(delete(&lab, "dyn1"));
    }
    assert!(lab.view().servers.len() <= 3, "{} places", lab.view().servers.len());
    assert_eq!(numbers(&lab), [("web1".into(), 1)]);
}

#[test]
fn the_place_of_a_server_that_others_speak_of_rests() {
    let address = ServerAddress::Name { host: "app.internal".into(), port: 8080 };
    let named = Arc::new(ServerSpec { address, ..unchecked("named") });
    let mut lab = Lab::web(vec![unchecked("web1")]);
    lab.apply(Event::AddServer { backend: B, spec: named, sid: None });
    let former = lab.id("named");
    lab.apply(delete(&lab, "named"));
    lab.apply(add("dyn1"));
    assert_ne!(lab.id("dyn1"), former, "the answer of the name server is still on its way");
    lab.wait(Duration::from_secs(61));
    lab.apply(add("dyn2"));
    assert_eq!(lab.id("dyn2"), former);
}
