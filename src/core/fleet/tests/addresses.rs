//! Addresses: by name, by an operator's order, and what is said about it.

use std::net::IpAddr;
use std::time::Duration;

use super::lab::{Lab, by_cli};
use super::specs::{server, unchecked};
use crate::core::fleet::event::{Effect, Event};
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::fleet::spec::*;

fn named() -> ServerSpec {
    ServerSpec { address: ServerAddress::Name { host: "app.internal".into(), port: 8080 }, ..server("web1") }
}

fn at(lab: &Lab) -> String {
    match &lab.server_view("web1").address {
        Some(ConnectTo::Ip(a)) => a.to_string(),
        Some(ConnectTo::Unix(p)) => p.display().to_string(),
        None => "nowhere".to_owned(),
    }
}

fn unanswered(lab: &mut Lab, why: &str) {
    let server = lab.id("web1");
    lab.look_ups.clear();
    lab.apply(Event::Resolved { server, answer: Err(why.into()), ttl: Duration::ZERO });
}

#[test]
fn a_name_is_looked_up_then_checked_then_used() {
    let mut lab = Lab::web(vec![named()]);
    assert_eq!(lab.effect_words(), ["publish", "resolve"]);
    assert_eq!((lab.word("web1"), at(&lab)), ("MAINT (resolution)".to_owned(), "nowhere".to_owned()));
    assert!(lab.view().awaiting_first_check && !lab.fleet.is_ready());
    lab.resolve("web1", &["10.0.0.1", "10.0.0.2"], 30);
    assert_eq!(lab.effect_words(), ["log", "log", "publish", "dispatch", "probe"]);
    assert_eq!((lab.word("web1"), at(&lab)), ("DOWN".to_owned(), "10.0.0.1:8080".to_owned()));
    assert!(lab.view().awaiting_first_check);
    assert_eq!(
        lab.told(),
        [
            "5 be_web/web1 changed its IP from (none) to 10.0.0.1 by DNS.",
            "5 Server be_web/web1 ('app.internal') is DOWN/READY (resolves again)."
        ]
    );
    lab.pass("web1");
    assert_eq!(lab.word("web1"), "UP");
    assert!(lab.fleet.is_ready());
}

#[test]
fn the_last_good_answer_is_kept() {
    let mut lab = Lab::web(vec![named(), unchecked("other")]);
    lab.resolve("web1", &["10.0.0.1"], 30);
    lab.pass("web1");
    lab.told();
    lab.wait(Duration::from_secs(30));
    assert_eq!(lab.look_ups.len(), 1, "asked again when the answer is too old");
    unanswered(&mut lab, "SERVFAIL");
    assert_eq!((lab.word("web1"), at(&lab)), ("UP".to_owned(), "10.0.0.1:8080".to_owned()));
    assert_eq!(lab.told(), ["4 be_web/web1 cannot resolve 'app.internal' (SERVFAIL), keeping 10.0.0.1."]);
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.look_ups.len(), 1, "asked again soon");
    unanswered(&mut lab, "SERVFAIL");
    assert_eq!(lab.told(), Vec::<String>::new(), "said once");
    lab.resolve("web1", &[], 30);
    assert_eq!(at(&lab), "10.0.0.1:8080", "no addresses is no answer");
    lab.resolve("web1", &["10.0.0.3", "10.0.0.1"], 30);
    assert_eq!(at(&lab), "10.0.0.1:8080", "still answered, still used");
    lab.resolve("web1", &["10.0.0.3", "10.0.0.2"], 30);
    assert_eq!(at(&lab), "10.0.0.3:8080");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "close idle", "probe"]);
    assert_eq!(lab.told(), ["5 be_web/web1 changed its IP from 10.0.0.1 to 10.0.0.3 by DNS."]);
    assert_eq!(lab.word("web1"), "UP", "a server that moves keeps its state");
}

#[test]
fn a_name_without_an_answer_holds_up_nobody() {
    let mut lab = Lab::web(vec![named()]);
    unanswered(&mut lab, "NXDOMAIN");
    assert!(!lab.view().awaiting_first_check && lab.fleet.is_ready());
    assert_eq!(
        lab.told(),
        [
            "4 be_web/web1 cannot resolve 'app.internal' (NXDOMAIN), it has no address yet.",
            "0 backend be_web has no server available!"
        ]
    );
    let initial_up = ServerSpec { initial: InitialState::Up, ..named() };
    let mut lab = Lab::web(vec![initial_up]);
    assert!(lab.view().awaiting_first_check, "the name alone is waited for");
    lab.resolve("web1", &["10.0.0.1"], 1);
    assert!(lab.view().picker.has_candidates());
}

#[test]
fn an_operators_address_wins() {
    let mut lab = Lab::web(vec![named(), unchecked("web2")]);
    let server = lab.id("web1");
    assert_eq!(
        lab.refused(Event::SetAddress { server, ip: None, port: Some(81), by: by_cli() }),
        "The server 'web1' has no address yet: give one."
    );
    lab.apply(Event::SetAddress { server, ip: Some("10.9.9.9".parse().unwrap()), port: None, by: by_cli() });
    assert_eq!(at(&lab), "10.9.9.9:8080");
    lab.resolve("web1", &["10.0.0.1"], 1);
    assert_eq!(at(&lab), "10.9.9.9:8080", "answers come too late");
    lab.pass("web1");
    lab.told();
    lab.apply(Event::SetAddress { server, ip: None, port: Some(81), by: by_cli() });
    assert_eq!(at(&lab), "10.9.9.9:81");
    assert_eq!(lab.effect_words(), ["log", "publish", "dispatch", "close idle", "save", "probe"]);
    assert_eq!(lab.told(), ["5 be_web/web1 changed its port from 8080 to 81 by 'stats socket command'."]);
    assert_eq!(
        lab.refused(Event::SetAddress { server, ip: None, port: Some(0), by: by_cli() }),
        "provided port is invalid"
    );
    lab.wait(Duration::from_secs(4000));
    assert_eq!(lab.look_ups, Vec::<ServerId>::new(), "nobody asks for the name any more");
    let socket = ServerSpec { address: ServerAddress::Unix("/run/app.sock".into()), ..unchecked("web1") };
    let mut lab = Lab::web(vec![socket]);
    let ip = Some("10.9.9.9".parse().unwrap());
    assert_eq!(
        lab.refused(Event::SetAddress { server, ip, port: None, by: by_cli() }),
        "The server 'web1' listens on a unix socket: its address cannot be changed."
    );
    assert_eq!(at(&lab), "/run/app.sock");
    assert!(!lab.effects.iter().any(|e| matches!(e, Effect::CloseIdle(_))));
}

#[test]
fn the_reply_to_set_addr() {
    let lab = Lab::web(vec![unchecked("web1")]);
    let say = |ip: Option<&str>, port| {
        let ip: Option<IpAddr> = ip.map(|ip| ip.parse().unwrap());
        lab.fleet.describe_address_change(lab.id("web1"), ip, port)
    };
    let by = "by 'stats socket command'";
    assert_eq!(say(Some("10.0.0.1"), None), format!("IP changed from '127.0.0.1' to '10.0.0.1' {by}"));
    assert_eq!(
        say(Some("10.0.0.1"), Some(18104)),
        format!("IP changed from '127.0.0.1' to '10.0.0.1', port changed from '18101' to '18104' {by}")
    );
    assert_eq!(
        say(Some("::1"), Some(18101)),
        format!("IP changed from '127.0.0.1' to '::1', no need to change the port {by}")
    );
    assert_eq!(
        say(Some("127.0.0.1"), Some(18104)),
        format!("no need to change the addr, port changed from '18101' to '18104' {by}")
    );
    assert_eq!(
        say(Some("127.0.0.1"), Some(18101)),
        format!("no need to change the addr, no need to change the port {by}")
    );
    assert_eq!(say(Some("127.0.0.1"), None), format!("no need to change the addr {by}"));
}
