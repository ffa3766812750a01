//! Carrying out what the fleet asks for.

use super::ControlHandle;
use crate::core::fleet::event::{Effect, Event};
use crate::core::limit::process::ProcessLimit;
use crate::core::queue;
use crate::core::termination::Cause;
use crate::health;
use crate::runtime::clock;
use crate::runtime::notify::notify;
use crate::runtime::worker::WorkerOrder;

impl ControlHandle {
    pub(super) fn carry_out_one(&self, effect: Effect) {
        match effect {
            Effect::Publish => {
                let control = self.control.borrow();
                control.shared.snapshot.publish(control.fleet.snapshot().clone());
            }
            Effect::Dispatch(backend) => {
                let control = self.control.borrow();
                if let Some(view) = control.fleet.snapshot().backends.get(backend.0 as usize) {
                    queue::dispatch(view);
                }
            }
            Effect::Probe { server, ticket, to, check } => {
                let this = self.clone();
                let connectors = self.control.borrow().connectors.clone();
                tokio::task::spawn_local(async move {
                    let outcome = health::probe(&check, &to, &connectors).await;
                    this.tell(Event::Checked { server, ticket, outcome });
                });
            }
            Effect::AskAgent { server, ticket, to, send, timeout } => {
                let this = self.clone();
                tokio::task::spawn_local(async move {
                    let outcome = health::agent::ask(to, &send, timeout).await;
                    this.tell(Event::AgentAnswered { server, ticket, outcome, at: clock::wall() });
                });
            }
            Effect::Resolve { server, host } => {
                let this = self.clone();
                let lookup = self.control.borrow().lookup.clone();
                tokio::task::spawn_local(async move {
                    let (answer, ttl) = lookup.lookup(&host).await;
                    this.tell(Event::Resolved { server, answer, ttl });
                });
            }
            Effect::Log { severity, text } => self.control.borrow_mut().log_event(severity, &text),
            Effect::ShutdownSessions { server, flag } => {
                let cause = if flag == 'D' { Cause::ServerDown } else { Cause::Killed };
                self.order_all(|| WorkerOrder::KillServerStreams { server, cause });
            }
            Effect::SetListening { frontend, status } => {
                self.order_all(|| WorkerOrder::SetListening { frontend: frontend.0 as usize, status });
            }
            Effect::SetFrontendMaxconn { frontend, maxconn } => {
                let control = self.control.borrow();
                if let Some(gate) = control.shared.frontend_connections.get(frontend.0 as usize) {
                    gate.set_limit(maxconn);
                }
            }
            Effect::SetProcessLimit { limit, to } => {
                let control = self.control.borrow();
                let shared = &control.shared;
                match limit {
                    ProcessLimit::Maxconn => shared.connections.set_limit(to),
                    ProcessLimit::ConnectionRate => shared.throttles.connections.set(to),
                    ProcessLimit::SessionRate => shared.throttles.sessions.set(to),
                    ProcessLimit::TlsRate => shared.throttles.tls.set(to),
                    // Nothing is compressed: the value is only shown.
                    ProcessLimit::CompressionRate => {}
                }
            }
            Effect::CloseIdle(server) => self.order_all(|| WorkerOrder::CloseIdle(server)),
            Effect::Save => {
                let control = self.control.borrow();
                if let Some(file) = &control.state_file {
                    file.save(control.fleet.saved_state());
                }
            }
            Effect::Ready => {
                let mut control = self.control.borrow_mut();
                if !control.ready {
                    control.ready = true;
                    notify(&format!("READY=1\nSTATUS={}", control.status_line()));
                    control.log_event(5, "lockgate is ready: every server has been checked.");
                }
                self.ready.notify_waiters();
                self.ready.notify_one();
            }
        }
    }

    /// Lets something happen that nobody waits for.
    fn tell(&self, event: Event) {
        if let Err(refusal) = self.apply(event) {
            tracing::debug!(%refusal, "event changed nothing");
        }
    }

    pub(super) fn order_all(&self, order: impl Fn() -> WorkerOrder) {
        for worker in &self.control.borrow().workers {
            let _ = worker.orders.send(order());
        }
    }
}
