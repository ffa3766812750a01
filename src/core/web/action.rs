//! What the form's actions do (HAProxy: `stats admin`), in one table, and what is answered.

use super::spec::AccessLevel;
use crate::core::fleet::ServerEntry;
use crate::core::fleet::event::{AgentOrder, Event, ForcedHealth, Origin};
use crate::core::server::AdminState;

/// What came of a form: the code in the address that the client is sent on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every named server was changed.
    Done,
    /// Some of them are unknown.
    Part,
    /// There was nothing to do.
    None,
    /// The action, the backend or every server is unknown.
    Unknown,
    /// The form is too large.
    TooLarge,
    /// It is not allowed.
    Denied,
}

impl Outcome {
    /// HAProxy's code.
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Done => "DONE",
            Outcome::Part => "PART",
            Outcome::None => "NONE",
            Outcome::Unknown => "ERRP",
            Outcome::TooLarge => "EXCD",
            Outcome::Denied => "DENY",
        }
    }

    /// A code of an address in words for the page, and whether it is good news. Codes that are not ours are "UNKN".
    pub fn describe(code: &str) -> (&'static str, bool) {
        match code {
            "DONE" => ("The order was carried out on every chosen server.", true),
            "PART" => ("The order was carried out, but some of the servers are unknown.", false),
            "NONE" => ("Nothing was changed: no server, no action, or nothing that applies.", false),
            "ERRP" => ("Nothing was changed: the action, the backend or the servers are unknown.", false),
            "EXCD" => ("Nothing was changed: the form is too large. Choose fewer servers at once.", false),
            "DENY" => ("Nothing was changed: you may not do this here.", false),
            _ => ("It is not known what came of the last order.", false),
        }
    }
}

/// What follows from an action on a server.
#[derive(Debug, Clone)]
pub enum Deed {
    /// The fleet is told this.
    Event(Event),
    /// The server's sessions are ended.
    EndSessions,
    /// It does not apply to this server.
    Nothing,
}

/// One action.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Its name in the form.
    pub name: &'static str,
    /// What the page's menu calls it; old names are not in the menu.
    pub label: Option<&'static str>,
    /// What it will do, for the question before it is done.
    pub effect: &'static str,
    /// Who may do it.
    pub level: AccessLevel,
    deed: fn(&ServerEntry, Origin) -> Deed,
}

impl Action {
    /// By its name.
    pub fn find(name: &str) -> Option<&'static Action> {
        ACTIONS.iter().find(|a| a.name == name)
    }

    /// What it does to a server, ordered by `by`.
    pub fn on(&self, server: &ServerEntry, by: Origin) -> Deed {
        (self.deed)(server, by)
    }
}

const fn action(
    name: &'static str,
    label: Option<&'static str>,
    level: AccessLevel,
    effect: &'static str,
    deed: fn(&ServerEntry, Origin) -> Deed,
) -> Action {
    Action { name, label, effect, level, deed }
}

use AccessLevel::{Admin, Operator};

/// Every action, in the order of the menu.
pub static ACTIONS: &[Action] = &[
    action(
        "ready",
        Some("Set state to READY"),
        Operator,
        "will take traffic again as soon as health allows",
        |s, by| admin(s, AdminState::Ready, by),
    ),
    action(
        "drain",
        Some("Set state to DRAIN"),
        Operator,
        "will get no new requests except those bound by persistence; open requests finish, checks go on",
        |s, by| admin(s, AdminState::Drain, by),
    ),
    action("maint", Some("Set state to MAINT"), Operator, "will get no requests at all, and checks stop", |s, by| {
        admin(s, AdminState::Maint, by)
    }),
    action(
        "dhlth",
        Some("Health: disable checks"),
        Operator,
        "will not be checked any more and stay as they are",
        |s, _| checks(s, false),
    ),
    action("ehlth", Some("Health: enable checks"), Operator, "will be checked again", |s, _| checks(s, true)),
    action("hrunn", Some("Health: force UP"), Operator, "will count as up until checks say otherwise", |s, by| {
        health(s, ForcedHealth::Up, by)
    }),
    action("hnolb", Some("Health: force NOLB"), Operator, "will get no new requests until a check passes", |s, by| {
        health(s, ForcedHealth::Stopping, by)
    }),
    action(
        "hdown",
        Some("Health: force DOWN"),
        Operator,
        "will count as down until enough checks have passed",
        |s, by| health(s, ForcedHealth::Down, by),
    ),
    action("dagent", Some("Agent: disable checks"), Operator, "will not ask their agents any more", |s, _| {
        agent(s, AgentOrder::Enable(false))
    }),
    action("eagent", Some("Agent: enable checks"), Operator, "will ask their agents again", |s, _| {
        agent(s, AgentOrder::Enable(true))
    }),
    action("arunn", Some("Agent: force UP"), Operator, "will count as up for their agents", |s, by| {
        agent(s, AgentOrder::Health { up: true, by })
    }),
    action("adown", Some("Agent: force DOWN"), Operator, "will count as down for their agents", |s, by| {
        agent(s, AgentOrder::Health { up: false, by })
    }),
    action("shutdown", Some("Kill sessions"), Admin, "will have every open request and websocket cut off", |_, _| {
        Deed::EndSessions
    }),
    // Old names: each moves one flag only.
    action("disable", None, Operator, "will go to MAINT", |s, by| admin(s, AdminState::Maint, by)),
    action("enable", None, Operator, "will leave MAINT", |s, by| match s.state.admin {
        AdminState::Drain => Deed::Nothing,
        _ => admin(s, AdminState::Ready, by),
    }),
    action("stop", None, Operator, "will go to DRAIN", |s, by| match s.state.admin {
        AdminState::Ready => admin(s, AdminState::Drain, by),
        _ => Deed::Nothing,
    }),
    action("start", None, Operator, "will leave DRAIN", |s, by| match s.state.admin {
        AdminState::Drain => admin(s, AdminState::Ready, by),
        _ => Deed::Nothing,
    }),
];

fn admin(server: &ServerEntry, state: AdminState, by: Origin) -> Deed {
    Deed::Event(Event::SetAdminState { server: server.id, state, by })
}

fn health(server: &ServerEntry, health: ForcedHealth, by: Origin) -> Deed {
    Deed::Event(Event::SetHealth { server: server.id, health, by })
}

/// Servers without configured checks have none to switch.
fn checks(server: &ServerEntry, enabled: bool) -> Deed {
    match server.spec.check {
        Some(_) => Deed::Event(Event::SetChecks { server: server.id, enabled }),
        None => Deed::Nothing,
    }
}

/// Servers without an agent have none to switch, and one that is not asked has nothing to say.
fn agent(server: &ServerEntry, order: AgentOrder) -> Deed {
    let asked = server.state.agent.is_some_and(|agent| agent.enabled);
    match (&server.spec.agent, &order) {
        (None, _) => Deed::Nothing,
        (Some(_), AgentOrder::Health { .. }) if !asked => Deed::Nothing,
        (Some(_), _) => Deed::Event(Event::OrderAgent { server: server.id, order }),
    }
}

/// Adds up what came of an action on several servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    changed: usize,
    unknown: usize,
}

impl Tally {
    /// One was changed.
    pub fn changed(&mut self) {
        self.changed += 1;
    }

    /// One is unknown.
    pub fn unknown(&mut self) {
        self.unknown += 1;
    }

    /// What is answered. Servers that an action does not apply to count as if they had not been named.
    pub fn outcome(self) -> Outcome {
        match (self.changed, self.unknown) {
            (0, 0) => Outcome::None,
            (0, _) => Outcome::Unknown,
            (_, 0) => Outcome::Done,
            _ => Outcome::Part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_haproxys() {
        let names: Vec<_> = ACTIONS.iter().map(|a| a.name).collect();
        let expected = "ready drain maint dhlth ehlth hrunn hnolb hdown dagent eagent arunn adown shutdown \
                        disable enable stop start";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert!(Action::find("").is_none() && Action::find("READY").is_none());
        for action in ACTIONS {
            assert!(action.effect.starts_with("will "), "{}", action.name);
        }
    }

    #[test]
    fn outcomes_follow_haproxy() {
        let check = |changed, unknown, code| {
            assert_eq!(Tally { changed, unknown }.outcome().code(), code);
        };
        check(2, 0, "DONE");
        check(1, 1, "PART");
        check(0, 1, "ERRP");
        check(0, 0, "NONE");
        for code in ["DONE", "PART", "NONE", "ERRP", "EXCD", "DENY", "ZZZZ"] {
            assert_eq!(Outcome::describe(code).1, code == "DONE");
        }
    }
}
