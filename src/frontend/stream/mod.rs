//! One request, in phases. [`handle`] is the order of the work; each phase has its file.
//!
//! `head` reads it, `rules` understands, limits and routes it, `local` and `page` answer what is answered here, `attempt`
//! finds a server (`introduce` says what one is told of the client), `exchange` (with `upload`, `download`, `encode` and
//! `numbers`) or `over_h2` talks to it, `finish` counts and logs.
//! `multiplexed` is what differs for HTTP/2 clients; the rest is the same for all.

mod attempt;
mod download;
mod encode;
mod exchange;
mod finish;
mod head;
pub(super) mod introduce;
mod local;
mod multiplexed;
mod numbers;
mod over_h2;
mod page;
mod rules;
mod upload;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::connection::Connection;
use super::registry::Doing;
use super::worker::{Pinned, Worker};
use crate::backend::{Lease, ServerIo};
use crate::core::fleet::snapshot::{BackendView, FrontendView, ServerView};
use crate::core::http::Head;
use crate::core::http::h1::{Body, RequestFraming};
use crate::core::limit::RowPlace;
use crate::core::log::record::{CapturedValue, Timers};
use crate::core::termination::{Cause, Phase};
use crate::runtime::buffer::Buffer;
use crate::runtime::clock;

pub(super) use finish::next_number;
pub use finish::{answer_late, ended_without_request, refuse_http1, run_tunnel};

/// What a connection does after a request.
#[derive(Debug)]
pub enum Next {
    /// The next request.
    KeepAlive,
    /// Close; the client has everything and sends nothing more that matters.
    Close,
    /// Close without a word: what was sent was cut short and must look so.
    Cut,
    /// Close, but read on for a while first: the client may still be sending.
    Linger,
    /// It was upgraded.
    Tunnel(Box<Tunnel>),
}

/// An upgraded connection's server side, and what its log line needs in the end.
#[derive(Debug)]
pub struct Tunnel {
    server: ServerIo,
    early: Buffer,
    epilogue: Epilogue,
}

/// Memory of one request, reused from request to request.
#[derive(Debug, Default)]
pub struct Scratch {
    request: Head,
    response: Head,
    request_captures: Vec<CapturedValue>,
    response_captures: Vec<CapturedValue>,
    /// The request's host as routed by.
    host: String,
    /// The request id; empty when there is none.
    id: Vec<u8>,
    /// The captured request cookie.
    request_cookie: Option<Vec<u8>>,
    /// The captured response cookie.
    response_cookie: Option<Vec<u8>>,
    /// Bytes to the client that are not in the server's buffer.
    out: Vec<u8>,
    /// The head as sent to the server.
    to_server: Vec<u8>,
    /// Keys of rate limits, locations of redirects.
    text: Vec<u8>,
}

impl Scratch {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.request_captures.clear();
        self.response_captures.clear();
        self.host.clear();
        self.id.clear();
        self.request_cookie = None;
        self.response_cookie = None;
        self.out.clear();
        self.to_server.clear();
        self.text.clear();
    }

    /// Gives back what an upgraded connection's log line does not need.
    fn shrink_for_tunnel(&mut self) {
        self.response = Head::new();
        self.request.forget_fields();
        self.out = Vec::new();
        self.to_server = Vec::new();
        self.text = Vec::new();
    }

    /// Whether it is small enough to be kept.
    pub fn is_modest(&self) -> bool {
        self.request.capacity() + self.response.capacity() + self.out.capacity() + self.to_server.capacity()
            < 256 * 1024
    }
}

/// Why a stream ends, and where.
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

/// How long the stages of the last attempt took.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    queue: Duration,
    connect: Duration,
    response: Duration,
}

/// Everything the log line needs, kept through the request.
#[derive(Debug)]
struct Epilogue {
    scratch: Box<Scratch>,
    snapshot: Rc<Pinned>,
    frontend: usize,
    backend: Option<usize>,
    server: Option<usize>,
    /// The picture in which `server` was chosen, if it is newer than `snapshot`: servers may have come since.
    newer: Option<Arc<BackendView>>,
    lease: Option<Lease>,
    sessions: Option<BackendPlace>,
    /// Its parts in the tables of rate limits.
    row_places: SmallVec<[RowPlace; 2]>,
    first_byte: Instant,
    /// The clock as last read: good enough for what follows without a wait.
    latest: Instant,
    accepted_us: u64,
    timers: Timers,
    /// The same more exactly, for histograms.
    times: Times,
    /// When the connection to the server stood (or was reused).
    connected: Option<Instant>,
    /// Status sent to the client.
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    retries: u32,
    redispatched: bool,
    server_queue: u32,
    backend_queue: u32,
    /// Third and fourth letters of the termination state.
    persistence: [u8; 2],
    /// The request's head was understood: it has a request line and captures.
    understood: bool,
    limited_by: Option<Arc<crate::core::limit::RateLimitSpec>>,
    client: Option<SocketAddr>,
    route: Option<usize>,
    no_route: bool,
    /// Our address and the server's, if a log format shows them.
    server_side: (Option<SocketAddr>, Option<SocketAddr>),
    /// Its line is written already (`logasap`).
    logged: bool,
    /// It was answered by the stats page.
    page: bool,
    /// It came by HTTP/2.
    http2: bool,
}

impl Epilogue {
    fn frontend(&self) -> &Arc<FrontendView> {
        &self.snapshot.frontends[self.frontend]
    }

    fn backend(&self) -> Option<&Arc<BackendView>> {
        self.snapshot.backends.get(self.backend?)
    }

    /// The server the request is at, or was at last.
    fn server(&self) -> Option<&ServerView> {
        self.newer.as_ref().or(self.backend())?.servers.get(self.server?)
    }
}

/// A request's part in its backend's gauge; leaves it when dropped.
#[derive(Debug)]
pub(in crate::frontend) struct BackendPlace {
    snapshot: Rc<Pinned>,
    backend: usize,
}

impl BackendPlace {
    /// Enters it.
    pub(in crate::frontend) fn new(snapshot: &Rc<Pinned>, backend: usize) -> BackendPlace {
        snapshot.backends[backend].live.sessions.rise();
        BackendPlace { snapshot: snapshot.clone(), backend }
    }
}

impl Drop for BackendPlace {
    fn drop(&mut self) {
        self.snapshot.backends[self.backend].live.sessions.fall();
    }
}

/// One request on its way.
struct Stream<'c> {
    worker: &'c Rc<Worker>,
    connection: &'c mut Connection,
    e: Epilogue,
    framing: RequestFraming,
    upload: upload::Upload,
    /// The client asked to end the connection, or it must end for another reason.
    close: bool,
    /// The answer was cut short, and only a reset shows the client that it was.
    cut_visibly: bool,
    /// A server said 100: the client sends its body.
    continued: bool,
    /// The next attempt only replaces a kept connection that turned out dead.
    replacing: bool,
    /// Kept connections are not for this request any more.
    fresh_only: bool,
    /// When a shared connection failed the request: only newer ones are for it.
    failed_at: Option<Instant>,
    /// How much of the scratch's `to_server` is the head; behind it is a small body.
    head_end: usize,
    /// The answer may be compressed.
    offer: Option<encode::Offer>,
    /// The answer's body is compressed.
    encoding: Option<Box<encode::Encoding>>,
    /// The answer's body would be compressed, but a limit forbids it.
    bypasses: bool,
    /// The client said that it understands trailers (`TE: trailers`).
    takes_trailers: bool,
    /// A socket to tunnel to, once the server switched protocols.
    switched: Option<(ServerIo, Buffer)>,
}

/// Serves one request whose first byte is in the connection's buffer.
pub async fn handle(worker: &Rc<Worker>, connection: &mut Connection) -> Next {
    let mut stream = Stream::begin(worker, connection);
    let end = match stream.phases().await {
        Ok(end) => end,
        Err(end) => stream.refuse(end).await,
    };
    stream.finish(end)
}

impl<'c> Stream<'c> {
    fn begin(worker: &'c Rc<Worker>, connection: &'c mut Connection) -> Stream<'c> {
        let first_byte = clock::now();
        let entry = &connection.place.entry;
        entry.doing.set(Doing::Request);
        entry.request_since.set(Some(first_byte));
        entry.requests.set(entry.requests.get().wrapping_add(1));
        entry.retries.set(0);
        entry.bytes_out.set(0);
        let first = connection.requests == 0;
        let timers = Timers {
            handshake: Some(if first { connection.handshake_ms } else { 0 }),
            idle: Some(super::connection::millis(first_byte.saturating_duration_since(connection.idle_since))),
            ..Timers::default()
        };
        let frontend = connection.bind.frontend;
        let client = connection.peer;
        Stream {
            worker,
            e: Epilogue {
                scratch: worker.scratch(),
                snapshot: worker.snapshot(),
                frontend,
                backend: None,
                server: None,
                newer: None,
                lease: None,
                sessions: None,
                row_places: SmallVec::new(),
                first_byte,
                latest: first_byte,
                accepted_us: clock::wall_us(),
                timers,
                times: Times::default(),
                connected: None,
                status: None,
                bytes_in: 0,
                bytes_out: 0,
                retries: 0,
                redispatched: false,
                server_queue: 0,
                backend_queue: 0,
                persistence: *b"--",
                understood: false,
                limited_by: None,
                client,
                route: None,
                no_route: false,
                server_side: (None, None),
                logged: false,
                page: false,
                http2: connection.io.is_h2(),
            },
            framing: RequestFraming { body: Body::Empty, keep_alive: false, expect_continue: false, upgrade: None },
            upload: upload::Upload::none(),
            close: false,
            continued: false,
            replacing: false,
            fresh_only: false,
            failed_at: None,
            head_end: 0,
            cut_visibly: false,
            offer: None,
            encoding: None,
            bypasses: false,
            takes_trailers: false,
            switched: None,
            connection,
        }
    }

    /// The order of the work.
    async fn phases(&mut self) -> Result<End, End> {
        self.read_head().await?;
        self.understand()?;
        self.deny()?;
        self.limit().await?;
        match self.route() {
            rules::Decision::Backend(backend) => self.proxy(backend).await,
            rules::Decision::Local(local) => self.answer_here(local).await,
            rules::Decision::Page(page) => self.serve_page(page).await,
        }
    }
}
