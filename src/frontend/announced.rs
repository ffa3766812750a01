//! Connections that begin with a PROXY header: it is read before everything else, and from then on the connection is
//! from whom it names.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::connection::{self, Arrival, Held};
use super::registry::{Doing, Registered};
use super::worker::{BindContext, Worker};
use crate::config::model::ProxyProtocol;
use crate::core::fleet::snapshot::FrontendView;
use crate::core::log::httplog::FailedConnection;
use crate::core::log::severity;
use crate::core::proxy_protocol::{Header, Tlvs};
use crate::core::stats::counters::Counter;
use crate::listener::proxy_protocol::{self, Failure};
use crate::runtime::clock;

/// What a PROXY header said of a connection.
#[derive(Debug)]
pub struct Announced {
    /// Who sent it; `None` on unix sockets.
    pub sender: Option<SocketAddr>,
    /// The client, and where it connected to, unless the sender spoke for itself or did not say.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// What else it said.
    pub tlvs: Tlvs,
}

impl Announced {
    fn new(header: Header, sender: Option<SocketAddr>) -> Announced {
        Announced { sender, addresses: header.addresses(), tlvs: header.tlvs }
    }

    /// Whether the client spoke TLS with the sender.
    pub fn used_tls(&self) -> bool {
        self.tlvs.tls().is_some_and(|tls| tls.is_used())
    }
}

/// Reads the header of a fresh connection in a task of its own, which then starts to serve it.
pub fn start(
    worker: &Rc<Worker>,
    bind: Rc<BindContext>,
    frontend: std::sync::Arc<FrontendView>,
    mut arrival: Arrival,
    mut held: Held,
    accepted: Instant,
    place: Registered,
) {
    let worker = worker.clone();
    place.entry.doing.set(Doing::Handshake);
    tokio::task::spawn_local(async move {
        let Some(expected) = &bind.proxy_protocol else { return };
        let accepted_us = clock::wall_us();
        match take(&frontend, expected, &mut arrival, &place).await {
            Taken::Header(header) => {
                let of = if header.local { Counter::ProxyLocal } else { Counter::ProxyTold };
                frontend.live.counters.inc(worker.shard, of);
                let announced = Announced::new(header, arrival.peer);
                if let Some((client, destination)) = announced.addresses {
                    arrival.peer = Some(client);
                    place.entry.peer.set(Some(client));
                    place.entry.destination.set(Some(destination));
                }
                arrival.announced = Some(Rc::new(announced));
            }
            Taken::Nothing => {}
            Taken::Ended => return,
            Taken::Failed(failure) => {
                frontend.live.counters.inc(worker.shard, Counter::ProxyRefused);
                log(&worker, &bind, &frontend, arrival.peer, accepted_us, failure);
                return;
            }
        }
        // Limits go by who the connection is from.
        match bind.enter(&frontend, worker.shard, arrival.peer) {
            Some(source) => held.belongs_to(source),
            None => return,
        }
        frontend.live.counters.inc(worker.shard, Counter::Stot);
        place.entry.doing.set(Doing::Idle);
        connection::begin(&worker, bind, frontend, arrival, held, accepted, place);
    });
}

enum Taken {
    Header(Header),
    /// There is none, and there need not be one.
    Nothing,
    Failed(Failure),
    /// It was ordered to end.
    Ended,
}

async fn take(frontend: &FrontendView, expected: &ProxyProtocol, arrival: &mut Arrival, place: &Registered) -> Taken {
    let timeout = frontend.spec.timeouts.proxy_header;
    place.entry.expires(true, clock::now() + timeout);
    let peer = arrival.peer.map(|peer| peer.ip());
    let mut taking = pin!(proxy_protocol::take(&mut arrival.socket, peer, expected, timeout));
    poll_fn(|cx| {
        place.entry.set_waker(cx.waker());
        if place.entry.kill.get().is_some() {
            return Poll::Ready(Taken::Ended);
        }
        taking.as_mut().poll(cx).map(|taken| match taken {
            Ok(Some(header)) => Taken::Header(header),
            Ok(None) => Taken::Nothing,
            Err(failure) => Taken::Failed(failure),
        })
    })
    .await
}

fn log(
    worker: &Worker,
    bind: &BindContext,
    frontend: &FrontendView,
    peer: Option<SocketAddr>,
    accepted_us: u64,
    failure: Failure,
) {
    let log = &frontend.spec.log;
    if log.off || (failure.is_null() && !frontend.spec.log_null) {
        return;
    }
    let failed = FailedConnection {
        client: peer,
        accepted_us,
        ended_us: clock::wall_us(),
        frontend: &frontend.spec.name,
        bind: &bind.name,
        reason: &failure.to_string(),
        severity: if log.separate_errors { severity::ERROR } else { severity::INFO },
        format: log.format.as_ref(),
    };
    worker.with_log(|log| log.push_failed(&failed));
}
