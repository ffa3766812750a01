//! Sessions in TCP mode: one connection of a client, one to a server, and bytes both ways.
//!
//! `serve` is the life of one. This file is the order of the work up to the server: who may come in, where it goes
//! (by the name in a ClientHello, if routes ask for one: `peek`), finding a server (`reach`). Then `relay` moves
//! the bytes, and `books` counts and logs. Places, queues, limits, lists and routes are those of HTTP.

mod books;
mod peek;
mod reach;
mod relay;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::connection::{Connection, Held};
use super::registry::Doing;
use super::worker::Worker;
use crate::core::http::Head;
use crate::core::limit::{self, KeyFacts, LimitAction, Verdict};
use crate::core::pattern::RequestFacts;
use crate::core::route::{self, RouteAction, RouteFacts};
use crate::core::stats::counters::Counter;
use crate::core::termination::{Cause, Phase};
use crate::runtime::clock;
use books::Books;
use relay::{Patience, Supplies};

/// Why a session ends, and where.
#[derive(Debug, Clone, Copy)]
struct End {
    cause: Cause,
    phase: Phase,
}

impl End {
    fn new(cause: Cause, phase: Phase) -> End {
        End { cause, phase }
    }
}

/// Serves a connection of a frontend in TCP mode to its end.
pub(super) fn serve(worker: Rc<Worker>, connection: Connection, held: Held) -> impl Future<Output = ()> {
    // What finds a server is large and short-lived, what moves bytes is small and may last for days.
    let opening = Box::pin(open(worker, connection));
    async move {
        let Some(passing) = opening.await else { return };
        passing.await;
        drop(held);
    }
}

/// Everything up to the connection to a server; what is left to do then. A session that gets no server ends here.
async fn open(worker: Rc<Worker>, connection: Connection) -> Option<Pin<Box<impl Future<Output = ()>>>> {
    poll_fn(|cx| {
        connection.place.entry.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
    let mut session = Session::begin(worker, connection);
    match session.phases().await {
        Ok(server) => Some(Box::pin(pass(session, server))),
        Err(end) => {
            session.finish(end);
            None
        }
    }
}

/// Moves bytes until the session is over. An `async fn` would keep its arguments twice.
#[allow(clippy::manual_async_fn, reason = "the block uses what it is given where it is")]
fn pass(session: Session, mut server: reach::Server) -> impl Future<Output = ()> {
    let Session { worker, mut connection, mut books } = session;
    async move {
        let patience = books.patience();
        let early = std::mem::take(&mut connection.buffer);
        let entry = connection.place.entry.clone();
        entry.doing.set(Doing::Tunnel);
        let supplies = Supplies { buffers: &worker.shelf, pipes: &worker.pipes };
        let ended = connection.client_ended;
        let (io, deadline) = (&mut connection.io, &mut connection.deadline);
        let count = |bytes_in, bytes_out| books.count_bytes(&worker, &connection.bind, bytes_in, bytes_out);
        let end = relay::run(io, &mut server, early, ended, supplies, deadline, patience, &entry, count).await;
        books.close(&worker, &connection, End::new(end.cause, Phase::Data));
    }
}

/// One session on its way.
struct Session {
    worker: Rc<Worker>,
    connection: Connection,
    books: Books,
}

impl Session {
    fn begin(worker: Rc<Worker>, connection: Connection) -> Session {
        let entry = &connection.place.entry;
        entry.doing.set(Doing::Request);
        entry.request_since.set(Some(connection.accepted));
        entry.requests.set(1);
        let books = Books::open(&worker, &connection);
        Session { worker, connection, books }
    }

    /// The order of the work.
    async fn phases(&mut self) -> Result<reach::Server, End> {
        self.deny()?;
        self.limit()?;
        self.books.server_name = self.wanted_name().await?;
        let backend = self.route()?;
        self.reach(backend).await
    }

    /// Asks every list of the frontend's denials.
    fn deny(&mut self) -> Result<(), End> {
        let snapshot = self.books.snapshot.clone();
        let rules = &snapshot.frontends[self.books.frontend].spec.deny;
        if rules.is_empty() {
            return Ok(());
        }
        let tls = self.connection.io.tls_facts();
        let client = self.books.client_ip();
        let facts = RequestFacts { client, host: "", head: &Head::new(), tls: tls.as_deref() };
        match rules.iter().any(|rule| rule.denies(&facts, &self.worker.shared.patterns)) {
            false => Ok(()),
            true => Err(End::new(Cause::Denied(403), Phase::Request)),
        }
    }

    /// Asks every limit of the frontend; a session counts as one request.
    fn limit(&mut self) -> Result<(), End> {
        let Some(tables) = self.worker.shared.rate_tables.get(self.books.frontend) else { return Ok(()) };
        if tables.is_empty() {
            return Ok(());
        }
        let client = self.books.client_ip();
        let now = clock::now();
        let tls = self.connection.io.tls_facts();
        let facts = KeyFacts { client, host: "", path: b"", header: &|_| None, tls: tls.as_deref() };
        let mut key = Vec::new();
        for table in tables {
            let spec = table.spec();
            if limit::is_exempt(spec, client) || !limit::build_key(spec, &facts, &mut key) {
                continue;
            }
            let (place, over) = match table.admit(&key, true, now) {
                Verdict::Admitted { place } => (place, None),
                Verdict::Denied { place } => (place, Some(spec.deny_status)),
                Verdict::Limited { place, .. } if spec.action == LimitAction::LogOnly => {
                    self.books.limited_by = Some(spec.clone());
                    self.books.frontend().live.counters.inc(self.worker.shard, Counter::LimitDryRun);
                    (place, None)
                }
                Verdict::Limited { place, .. } => (place, Some(429)),
            };
            self.books.row_places.extend(place);
            if let Some(status) = over {
                self.books.limited_by = Some(spec.clone());
                return Err(End::new(Cause::Denied(status), Phase::Request));
            }
        }
        Ok(())
    }

    /// Decides where the session goes.
    fn route(&mut self) -> Result<usize, End> {
        let snapshot = self.books.snapshot.clone();
        let spec = &snapshot.frontends[self.books.frontend].spec;
        let tls_facts = self.connection.io.tls_facts();
        let facts = RouteFacts {
            head: &Head::new(),
            host: &self.books.server_name,
            tls: self.connection.is_secure(),
            tls_facts: tls_facts.as_deref(),
            client: self.books.client_ip(),
            patterns: &self.worker.shared.patterns,
        };
        let found = match self.worker.shared.route_indexes.get(self.books.frontend) {
            Some(index) => index.find(&spec.routes, &facts),
            None => route::find(&spec.routes, &facts),
        };
        match found.and_then(|number| spec.routes.get(number)).map(|route| &route.action) {
            Some(RouteAction::Backend(backend)) => Ok(backend.0 as usize),
            _ => {
                self.books.no_route = true;
                Err(End::new(Cause::NoServer, Phase::Request))
            }
        }
    }

    /// Ends a session that has no server.
    fn finish(mut self, end: End) {
        self.books.count_early(&self.worker, &self.connection);
        self.connection.buffer.consume(usize::MAX);
        self.worker.shelf.shelve(&mut self.connection.buffer);
        self.books.close(&self.worker, &self.connection, end);
    }

    /// Waits for something until `due`, while the client may leave or an operator end the session. `gone` says what a
    /// client means that has ended, or broke.
    async fn wait<T>(
        &mut self,
        due: Option<Instant>,
        mut ready: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>,
        gone: impl Fn(Cause, bool) -> bool,
    ) -> Result<Waited<T>, Cause> {
        let connection = &mut self.connection;
        let shelf = &self.worker.shelf;
        if let Some(due) = due {
            connection.deadline.set(due);
        }
        poll_fn(|cx| {
            if let Poll::Ready(it) = ready(cx) {
                return Poll::Ready(Ok(Waited::Came(it)));
            }
            if let Some(cause) = connection.place.entry.kill.get() {
                return Poll::Ready(Err(cause));
            }
            // Read ahead as far as one buffer goes; behind that the client waits.
            if let Some(cause) = connection.poll_left(cx, shelf, crate::runtime::buffer::BUFFER_BYTES - 1)
                && gone(cause, connection.buffer.is_empty())
            {
                return Poll::Ready(Err(cause));
            }
            match due {
                Some(_) => connection.deadline.poll_passed(cx).map(|()| Ok(Waited::Passed)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// What a wait came to.
#[derive(Debug)]
enum Waited<T> {
    /// What was waited for.
    Came(T),
    /// The time is over.
    Passed,
}

/// A client that has left: it broke off, or it ended without having said anything that is still to be delivered.
fn left(cause: Cause, nothing_said: bool) -> bool {
    cause == Cause::ClientReset || nothing_said
}

/// A client that broke off. One that has only ended may still want to hear the server.
fn broke_off(cause: Cause, _: bool) -> bool {
    cause == Cause::ClientReset
}
