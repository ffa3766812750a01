//! What a worker tells of itself when the control task asks.

use super::registry::{Doing, Role};
use super::stream::Scratch;
use super::worker::Worker;
use crate::core::admin::StreamRow;
use crate::core::admin::sessions::StreamState;
use crate::core::admin::threads::{PoolView, WorkerView};
use crate::core::fleet::snapshot::ConnectTo;
use crate::core::stats::counters::Counter;
use crate::runtime::buffer::{BUFFER_BYTES, LARGE_BUFFER_BYTES};
use crate::runtime::clock;

/// What it did and what it keeps, for `show activity` and `show pools`.
pub fn describe(worker: &Worker) -> WorkerView {
    let snapshot = worker.snapshot();
    let counted = |counter| snapshot.frontends.iter().map(|f| f.live.counters.of(worker.shard, counter)).sum();
    let runtime = tokio::runtime::Handle::current().metrics();
    let [buffers, large_buffers, _] = worker.shelf.kept();
    WorkerView {
        index: worker.index,
        connections: connections(worker),
        accepted: counted(Counter::ConnTot),
        requests: counted(Counter::ReqTot),
        tasks: runtime.num_alive_tasks() as u64,
        loops: runtime.worker_park_count(0),
        busy: runtime.worker_total_busy_duration(0),
        pools: vec![
            PoolView { name: "buffer", size: BUFFER_BYTES, kept: buffers },
            PoolView { name: "large_buffer", size: LARGE_BUFFER_BYTES, kept: large_buffers },
            PoolView { name: "scratch", size: size_of::<Scratch>(), kept: worker.scratches_kept() },
        ],
    }
}

fn connections(worker: &Worker) -> u32 {
    let mut count = 0;
    worker.registry.for_each(|e| count += u32::from(e.role.get() != Role::Carried));
    count
}

/// Every stream it serves, for `show sess`.
pub fn list(worker: &Worker) -> Vec<StreamRow> {
    let snapshot = worker.snapshot();
    let now = clock::now();
    let mut rows = Vec::with_capacity(worker.registry.len());
    worker.registry.for_each(|e| {
        if e.carried.get() > 0 {
            // It is shown by its requests.
            return;
        }
        let backend = e.backend.get().and_then(|i| snapshot.backends.get(i));
        let server = e.server.get().and_then(|id| backend?.servers.get(id.index as usize));
        let is_idle = matches!(e.doing.get(), Doing::Handshake | Doing::Idle | Doing::Request);
        let expires_in = |on_client: bool| {
            let expiry = e.expiry.get().filter(|x| x.on_client == on_client)?;
            Some(expiry.at.saturating_duration_since(now))
        };
        rows.push(StreamRow {
            id: e.id,
            began_at: e.began_at,
            age: now.saturating_duration_since(e.since),
            source: e.peer,
            destination: e.destination,
            tls: e.tls,
            http2: e.role.get() != Role::Connection,
            glitches: e.glitches.get(),
            frontend: snapshot
                .frontends
                .get(e.frontend)
                .map_or_else(|| (Box::default(), 0), |f| (f.spec.name.clone(), f.spec.iid)),
            backend: backend.map(|b| (b.spec.name.clone(), b.spec.iid)),
            server: server.map(|s| (s.spec.name.clone(), s.sid)),
            server_address: server.and_then(|s| match s.address {
                Some(ConnectTo::Ip(address)) => Some(address),
                _ => None,
            }),
            requests: e.requests.get(),
            retries: e.retries.get(),
            state: match e.doing.get() {
                Doing::Handshake | Doing::Idle | Doing::Request => StreamState::Request,
                Doing::Tarpit => StreamState::Tarpit,
                Doing::Queue => StreamState::Queue,
                Doing::Connect => StreamState::Connect,
                Doing::Headers => StreamState::Response,
                Doing::Data => StreamState::Transfer,
                Doing::Tunnel => StreamState::Tunnel,
            },
            client_expires_in: expires_in(true),
            server_expires_in: expires_in(false),
            bytes_in: e.bytes_in.get(),
            bytes_out: e.bytes_out.get(),
            request: if is_idle { Box::default() } else { e.request.get().to_text().into() },
        });
    });
    rows
}
