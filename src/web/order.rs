//! Carrying out a form: the same events as on the admin socket, under the name of who signed in.

use super::{Visitor, answer};
use crate::admin::Orders;
use crate::core::fleet::event::{Origin, Way};
use crate::core::web::action::{Action, Deed, Outcome, Tally};
use crate::core::web::form::{self, Order};
use crate::core::web::origin::{self, Sender};
use crate::core::web::{PageSpec, target};
use crate::runtime::page::{PageAnswer, PageRequest};

/// What a `POST` gets. The state is changed before the answer is sent.
pub(super) fn carry_out(orders: &dyn Orders, request: &PageRequest, visitor: &Visitor<'_>) -> PageAnswer {
    let fields = &request.fields;
    let sender = Sender {
        fetch_site: fields.fetch_site.as_deref(),
        origin: fields.origin.as_deref(),
        referer: fields.referer.as_deref(),
        host: &fields.host,
    };
    if !origin::is_own(&sender) {
        tracing::warn!(client = %request.client, "a form for the stats page came from another site");
        return answer::cross_site();
    }
    let outcome = match request.body.as_deref() {
        None => Outcome::TooLarge,
        Some(body) => execute(orders, &form::parse(body), request, visitor),
    };
    let asked = target::parse(&request.spec.path, &request.target).unwrap_or_default();
    answer::see_other(format!("{};st={}{}", request.spec.path, outcome.code(), asked.kept_options()))
}

fn execute(orders: &dyn Orders, order: &Order, request: &PageRequest, visitor: &Visitor<'_>) -> Outcome {
    let (Some(name), Some(backend)) = (&order.action, &order.backend) else {
        return denied_or(visitor, Outcome::None);
    };
    let Some(action) = Action::find(name) else { return denied_or(visitor, Outcome::Unknown) };
    if visitor.level < action.level {
        return Outcome::Denied;
    }
    if order.servers.is_empty() {
        return Outcome::None;
    }
    let Some(backend) = known_backend(orders, backend, &request.spec) else { return Outcome::Unknown };
    let who = match visitor.name {
        Some(name) => name.to_owned(),
        None => request.client.to_string(),
    };
    tracing::info!(%who, action = action.name, %backend, servers = ?order.servers, "order from the stats page");
    let by = Origin { way: Way::Web, who: who.into(), at: orders.wall() };
    let mut tally = Tally::default();
    for name in &order.servers {
        let deed = {
            let fleet = orders.fleet();
            let server = fleet.find_server(&format!("{backend}/{name}")).ok().and_then(|id| fleet.server(id));
            server.map(|server| (server.id, action.on(server, by.clone())))
        };
        match deed {
            None => tally.unknown(),
            Some((_, Deed::Nothing)) => {}
            Some((id, Deed::EndSessions)) => {
                orders.kill_server_streams(id);
                tally.changed();
            }
            Some((_, Deed::Event(event))) => match orders.apply(event) {
                Ok(()) => tally.changed(),
                Err(refusal) => tracing::debug!(%refusal, "order from the stats page changed nothing"),
            },
        }
    }
    tally.outcome()
}

/// Who may do nothing at all is not told what a form was missing.
fn denied_or(visitor: &Visitor<'_>, outcome: Outcome) -> Outcome {
    match visitor.level {
        crate::core::web::AccessLevel::Viewer => Outcome::Denied,
        _ => outcome,
    }
}

/// The backend as `find_server` takes it: `#` and its number. Frontends and what the page does not tell of are unknown.
fn known_backend(orders: &dyn Orders, named: &str, spec: &PageSpec) -> Option<String> {
    let fleet = orders.fleet();
    let entry = fleet.find_backend(named).and_then(|index| fleet.backend(index))?;
    spec.covers(&entry.spec.name).then(|| format!("#{}", entry.spec.iid))
}
