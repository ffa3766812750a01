//! Agents: what their words do, beside checks and orders. The expectations were taken from HAProxy 2.8 with the same
//! agents.

use std::sync::Arc;
use std::time::Duration;

use super::lab::{Lab, by_cli};
use super::specs::{backend, fleet, haproxy, server, unchecked};
use crate::core::fleet::event::{AgentOrder, Effect, Event, ForcedHealth, Way};
use crate::core::fleet::saved::SavedState;
use crate::core::fleet::spec::*;
use crate::core::health::CheckStatus;
use crate::core::health::agent::{AgentAnswer, AgentSpec};
use crate::core::server::AdminState;

fn spec() -> AgentSpec {
    let seconds = Duration::from_secs;
    AgentSpec { port: 5555, address: None, send: "hello\n".into(), interval: seconds(2), timeout: seconds(1) }
}

fn with_agent(server: ServerSpec) -> ServerSpec {
    ServerSpec { weight: 10, agent: Some(Arc::new(spec())), ..server }
}

/// A checked server and one without checks, both with agents, and one that has none.
fn lab() -> Lab {
    let mut lab = Lab::web(vec![with_agent(haproxy("s")), with_agent(unchecked("u")), unchecked("other")]);
    lab.pass("s");
    lab
}

/// Word, weight, `maxconn`, agent's status, text and health.
fn seen(lab: &Lab, name: &str) -> String {
    let entry = lab.entry(name);
    let agent = entry.agent.as_ref().unwrap();
    let text = agent.last.as_ref().map_or("", |last| &last.outcome.text);
    let health = entry.state.agent.unwrap().health();
    let maxconn = entry.maxconn.map_or("-".to_owned(), |m| m.to_string());
    format!("{} {} {maxconn} {} '{text}' {health}", lab.word(name), entry.weight, agent.status().word())
}

#[test]
fn words_act_as_they_do_in_haproxy() {
    let mut lab = lab();
    assert_eq!(seen(&lab, "s"), "UP 10 - INI '' 1");
    assert_eq!(seen(&lab, "u"), "no check 10 - INI '' 1");
    let mut say = |line: &str, checked: &str, unchecked: &str| {
        lab.says("s", line);
        lab.says("u", line);
        assert_eq!((seen(&lab, "s").as_str(), seen(&lab, "u").as_str()), (checked, unchecked), "{line}");
    };
    say("", "UP 10 - CHECKED '' 1", "no check 10 - CHECKED '' 1");
    say("50%", "UP 5 - CHECKED '' 1", "no check 5 - CHECKED '' 1");
    say("maxconn:30 drain 200%", "DRAIN (agent) 20 30 CHECKED '' 1", "DRAIN (agent) 20 30 CHECKED '' 1");
    say("ready", "UP 20 30 CHECKED '' 1", "no check 20 30 CHECKED '' 1");
    let down = "DOWN (agent) 20 30 L7STS 'via agent : down (broken disk)' 0";
    say("down # broken disk", down, down);
    say("", "DOWN (agent) 20 30 CHECKED '' 0", "DOWN (agent) 20 30 CHECKED '' 0");
    say("up", "UP 20 30 L7OK 'via agent : up' 1", "no check 20 30 L7OK 'via agent : up' 1");
    say("maxconn:0 100%", "UP 10 - CHECKED '' 1", "no check 10 - CHECKED '' 1");
    let odd = "CHECKED 'agent reports an error : bogus' 1";
    say("bogus", &format!("UP 10 - {odd}"), &format!("no check 10 - {odd}"));
    say("maint", "MAINT 10 - CHECKED '' 1", "MAINT 10 - CHECKED '' 1");
    // It is asked on in MAINT, and can end it.
    say("ready", "UP 1/3 10 - CHECKED '' 1", "no check 10 - CHECKED '' 1");
    assert_eq!(lab.entry("s").changed_by.as_ref().unwrap().way, Way::Agent);
}

#[test]
fn log_lines_name_the_agents_reason() {
    let mut lab = lab();
    lab.told();
    lab.says("s", "down # broken disk");
    let left = "2 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
    assert_eq!(
        lab.told(),
        [format!(
            "1 Server be_web/s is DOWN, reason: Layer7 wrong status, code: 0, info: \"via agent : down (broken disk)\", \
             check duration: 2ms. {left}"
        )]
    );
    lab.says("s", "down");
    assert_eq!(lab.told(), Vec::<String>::new());
    lab.says("s", "up");
    let online = "3 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
    assert_eq!(
        lab.told(),
        [format!(
            "5 Server be_web/s is UP, reason: Layer7 check passed, code: 0, info: \"via agent : up\", check duration: 2ms. \
             {online}"
        )]
    );
    lab.says("s", "drain");
    assert!(lab.told()[0].starts_with("5 Server be_web/s enters drain state. 2 active"));
}

#[test]
fn every_agent_check_that_is_news_is_told_if_wanted() {
    let web = BackendSpec {
        log_health_checks: true,
        ..backend("be_web", vec![with_agent(haproxy("s")), with_agent(ServerSpec { backup: true, ..unchecked("u") })])
    };
    let mut lab = Lab::new(&fleet(vec![web]));
    lab.pass("s");
    assert_eq!(
        lab.told(),
        ["5 Health check for server be_web/s succeeded, reason: Layer7 check passed, code: 200, check duration: 0ms, \
          status: 3/3 UP."]
    );
    lab.pass("s");
    lab.says("s", "50%");
    assert_eq!(lab.told(), Vec::<String>::new(), "nothing is news");
    lab.says("s", "down # full");
    assert_eq!(
        lab.told(),
        [
            "5 Agent check for server be_web/s failed, reason: Layer7 wrong status, code: 0, info: \"via agent : down \
             (full)\", check duration: 2ms, status: 0/1 DOWN.",
            "1 Server be_web/s is DOWN. 0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 \
             requeued, 0 remaining in queue."
        ]
    );
    let refused = || AgentAnswer::Failed(CheckStatus::L4Connect, "Connection refused".into());
    lab.agent("u", refused());
    lab.agent("u", refused());
    assert_eq!(
        lab.told(),
        ["5 Agent check for backup server be_web/u failed, reason: Layer4 connection problem, info: \"Connection \
          refused\", check duration: 2ms, status: 1/1 UP."],
        "said once"
    );
    lab.weight("s", crate::core::fleet::event::WeightChange::Absolute(0));
    lab.says("s", "up");
    assert!(lab.told()[0].ends_with("info: \"via agent : up\", check duration: 2ms, status: 1/1 DRAIN."));
}

#[test]
fn an_agent_that_is_not_reached_changes_nothing() {
    let mut lab = lab();
    lab.agent("s", AgentAnswer::Failed(CheckStatus::L4Connect, "Connection refused".into()));
    assert_eq!(seen(&lab, "s"), "UP 10 - L4CON 'Connection refused' 1");
    lab.says("s", "down");
    lab.agent("s", AgentAnswer::Failed(CheckStatus::L7Timeout, "".into()));
    assert_eq!(seen(&lab, "s"), "DOWN (agent) 10 - L7TOUT '' 0");
    lab.says("s", "up");
    lab.agent("s", AgentAnswer::Incomplete);
    assert_eq!(seen(&lab, "s"), "UP 10 - L7OK 'Ignoring incomplete line from agent' 1");
}

#[test]
fn checks_and_agent_must_both_have_it_up() {
    let mut lab = lab();
    lab.says("s", "down");
    for _ in 0..5 {
        lab.pass("s");
    }
    assert_eq!((lab.word("s").as_str(), lab.entry("s").state.health), ("DOWN (agent)", 5));
    for _ in 0..3 {
        lab.fail("s");
    }
    lab.says("s", "up");
    assert_eq!(lab.word("s"), "DOWN", "the checks have it down");
    for word in ["DOWN 1/3", "DOWN 2/3", "UP"] {
        lab.pass("s");
        assert_eq!(lab.word("s"), word);
    }
    assert_eq!(lab.entry("s").check_failures, 3, "what an agent says is no failed check");
    lab.says("s", "down");
    lab.maint("s");
    lab.ready("s");
    assert_eq!((lab.word("s").as_str(), lab.entry("s").state.health), ("DOWN (agent)", 3));
    assert!(!lab.server_view("s").eligible);
    // The first check decides alone, but not against the agent.
    let mut lab = Lab::web(vec![with_agent(server("new")), unchecked("other")]);
    lab.says("new", "down");
    lab.pass("new");
    assert_eq!(lab.word("new"), "DOWN (agent)");
    lab.says("new", "up");
    assert_eq!(lab.word("new"), "UP");
}

#[test]
fn orders_about_agents() {
    let mut lab = lab();
    let by = by_cli;
    lab.told();
    lab.order_agent("s", AgentOrder::Health { up: false, by: by() });
    assert_eq!(lab.word("s"), "DOWN (agent)");
    assert!(lab.told()[0].starts_with("1 Server be_web/s is DOWN, changed from CLI."));
    lab.order_agent("s", AgentOrder::Health { up: true, by: by() });
    assert_eq!(lab.word("s"), "UP");
    lab.fail("s");
    lab.health("s", ForcedHealth::Down);
    lab.order_agent("s", AgentOrder::Health { up: true, by: by() });
    assert_eq!(lab.entry("s").state.operational.number(), 2, "by hand it is up whatever the checks say");
    lab.fail("s");
    assert_eq!(lab.word("s"), "DOWN", "and the next failure takes it down");
    for _ in 0..3 {
        lab.pass("s");
    }
    // Switched off, it leaves the server as it is; the next check brings it back.
    lab.says("s", "down");
    lab.order_agent("s", AgentOrder::Enable(false));
    assert_eq!(lab.entry("s").state.operational.number(), 0);
    lab.pass("s");
    assert_eq!(lab.word("s"), "UP");
    let server = lab.id("s");
    let refused = |lab: &mut Lab, server, order| lab.refused(Event::OrderAgent { server, order });
    let text = "agent checks are not enabled on this server.";
    assert_eq!(refused(&mut lab, server, AgentOrder::Health { up: true, by: by() }), text);
    assert_eq!(refused(&mut lab, server, AgentOrder::Send("x".into())), text);
    let target = || AgentOrder::Target { ip: None, port: Some(1) };
    assert_eq!(refused(&mut lab, server, target()), text.trim_end_matches('.'));
    lab.questions.clear();
    lab.order_agent("s", AgentOrder::Enable(true));
    assert_eq!(lab.effect_words(), ["save", "ask"], "asked at once");
    lab.order_agent("s", AgentOrder::Target { ip: Some("127.0.0.9".parse().unwrap()), port: Some(7) });
    lab.order_agent("s", AgentOrder::Send("who\n".into()));
    lab.says("s", "up");
    lab.questions.clear();
    let deadline = lab.now + Duration::from_secs(3);
    while !lab.questions.contains_key(&server) {
        assert!(lab.tick(deadline));
    }
    let asked = lab.effects.iter().find_map(|effect| match effect {
        Effect::AskAgent { to, send, .. } => Some((to.to_string(), send.to_string())),
        _ => None,
    });
    assert_eq!(asked, Some(("127.0.0.9:7".to_owned(), "who\n".to_owned())));
    let other = lab.id("other");
    lab.order_agent("other", AgentOrder::Enable(false));
    assert_eq!(lab.effect_words(), Vec::<&str>::new());
    let text = "Agent was not configured on this server, cannot enable.";
    assert_eq!(refused(&mut lab, other, AgentOrder::Enable(true)), text);
    assert_eq!(refused(&mut lab, other, target()), "agent checks are not enabled on this server");
}

#[test]
fn answers_said_again_and_again_are_kept_once() {
    let mut lab = lab();
    lab.says("s", "drain 50% maxconn:5");
    assert!(lab.effect_words().contains(&"save"));
    lab.says("s", "drain 50% maxconn:5");
    assert_eq!(lab.effect_words(), Vec::<&str>::new());
    let ticket = 99_999;
    let server = lab.id("s");
    let outcome = crate::core::health::agent::AgentOutcome {
        answer: AgentAnswer::Line("ready".into()),
        duration: Duration::ZERO,
    };
    lab.apply(Event::AgentAnswered { server, ticket, outcome, at: by_cli().at });
    assert_eq!(lab.entry("s").state.admin, AdminState::Drain, "an old answer is dropped");
}

#[test]
fn agents_are_asked_at_their_interval_and_never_twice_at_once() {
    let mut lab = lab();
    let server = lab.id("s");
    lab.says("s", "");
    let asked = lab.now;
    lab.wait(Duration::from_millis(1700));
    assert!(!lab.questions.contains_key(&server));
    lab.wait(Duration::from_millis(600));
    let first = lab.questions[&server];
    assert!((lab.now - asked).as_secs_f64() <= 2.4);
    lab.wait(Duration::from_secs(10));
    assert_eq!(lab.questions[&server], first);
    lab.wait(Duration::from_secs(2));
    assert_ne!(lab.questions[&server], first, "one that never came back is replaced");
    // Without an address there is nobody to ask, and nothing to wait for.
    let address = ServerAddress::Name { host: "app.internal".into(), port: 80 };
    let mut lab = Lab::web(vec![with_agent(ServerSpec { address, ..unchecked("named") })]);
    assert_eq!(lab.effect_words(), ["publish", "resolve"]);
    lab.resolve("named", &["10.0.0.1"], 3600);
    assert!(lab.effect_words().contains(&"ask"));
}

#[test]
fn what_was_set_survives() {
    let mut lab = lab();
    lab.order_agent("s", AgentOrder::Target { ip: Some("127.0.0.9".parse().unwrap()), port: Some(7) });
    lab.order_agent("u", AgentOrder::Enable(false));
    let server = lab.id("s");
    lab.apply(Event::SetCheckTarget { server, ip: None, port: Some(8080) });
    let text = serde_json::to_string(&lab.fleet.saved_state()).unwrap();
    let saved: SavedState = serde_json::from_str(&text).unwrap();
    let servers = vec![with_agent(haproxy("s")), with_agent(unchecked("u")), unchecked("other")];
    let again = Lab::with(&fleet(vec![backend("be_web", servers)]), &saved);
    let agent = again.entry("s").agent.as_ref().unwrap();
    assert_eq!((agent.address, agent.port), (Some("127.0.0.9".parse().unwrap()), 7));
    assert!(!again.entry("u").state.has_agent());
    assert_eq!(again.entry("s").check_port(), Some(8080));
    assert_eq!(again.fleet.saved_state(), saved);
}

#[test]
fn a_name_that_resolves_does_not_undo_what_the_agent_said() {
    let elsewhere = AgentSpec { address: Some("10.9.9.9".parse().unwrap()), ..spec() };
    let named = ServerSpec {
        address: ServerAddress::Name { host: "app.internal".into(), port: 80 },
        agent: Some(Arc::new(elsewhere)),
        ..unchecked("s")
    };
    let mut lab = Lab::web(vec![named, unchecked("other")]);
    lab.says("s", "down");
    lab.resolve("s", &["10.0.0.1"], 30);
    assert_eq!(lab.word("s"), "DOWN (agent)");
    assert!(!lab.server_view("s").eligible);
    lab.says("s", "up");
    assert_eq!(lab.word("s"), "no check");
}
