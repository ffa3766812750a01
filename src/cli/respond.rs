//! `lockgate respond`: a small web server that answers as it is told, for trying things. `demo` runs three of them.
//!
//! Every answer carries the timing headers of an application behind a balancer, made up but plausible. What an answer
//! is can be set for the server (flags), for one request (its query: `/x?status=404&delay=50ms&size=1MiB&chunked=1`),
//! and for the health path at run time: `POST /_respond?health=fail`. A request to `/_respond` without a query tells
//! the state. A websocket handshake is accepted and every byte after it sent back.
//!
//! It trusts everybody and limits nobody: it is not a server for anything but trials.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};

use crate::health::hyper_io::HyperIo;

mod behaviour;
mod body;
mod websocket;

#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, HealthMode};
use behaviour::{Override, parse_delay, parse_header, parse_size};
use body::ReplyBody;

/// Where the server is told what to do.
const CONTROL_PATH: &str = "/_respond";

/// Pause after a failed accept (no descriptors left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Flags of `lockgate respond`.
#[derive(Debug, Clone, clap::Args)]
pub struct RespondArgs {
    /// Address to listen on; port 0 takes a free one. Several give several servers in one process.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    pub listen: Vec<SocketAddr>,
    /// Name told in X-Served-By and in bodies; several servers get it with a number. [default: the bound address]
    #[arg(long)]
    pub name: Option<String>,
    /// Status of every answer.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,
    /// Header added to every answer, as 'Name: value'. May be repeated.
    #[arg(long, value_name = "HEADER", value_parser = parse_header)]
    pub header: Vec<(HeaderName, HeaderValue)>,
    /// Wait before every answer, like 50ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_delay)]
    pub delay: Duration,
    /// Size of every body, like 512 or 64KiB. [default: a line of text]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub body_size: Option<u64>,
    /// Send bodies chunked, without a length.
    #[arg(long)]
    pub chunked: bool,
    /// Path that answers health checks; HEAD / answers as it does.
    #[arg(long, value_name = "PATH", default_value = "/health")]
    pub health_path: String,
    /// How health checks are answered at first.
    #[arg(long, value_name = "MODE", default_value = "ok")]
    pub health: HealthMode,
    /// How long a slow health answer takes.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_delay)]
    pub slow: Duration,
}

/// Runs `lockgate respond` until the process is stopped. Prints the bound addresses on standard output, one a line.
pub fn run(args: &RespondArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut servers = JoinSet::new();
        for (position, address) in args.listen.iter().enumerate() {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}; choose another --listen"))?;
            let bound = listener.local_addr()?;
            let name = match &args.name {
                Some(name) if args.listen.len() > 1 => format!("{name}{}", position + 1),
                Some(name) => name.clone(),
                None => bound.to_string(),
            };
            print_line(&bound.to_string())?;
            servers.spawn_local(serve(listener, args.behaviour(name)));
        }
        while servers.join_next().await.is_some() {}
        Ok(())
    })
}

fn print_line(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

impl RespondArgs {
    fn behaviour(&self, name: String) -> Behaviour {
        Behaviour {
            name,
            status: self.status,
            headers: self.header.clone(),
            delay: self.delay,
            body_size: self.body_size,
            chunked: self.chunked,
            health_path: self.health_path.clone(),
            health: self.health,
            slow: self.slow,
        }
    }
}

/// Answers connections of `listener` for ever; dropping the future closes them all.
///
/// Must run where local tasks can (a `LocalRuntime` or a `LocalSet`).
pub async fn serve(listener: TcpListener, behaviour: Behaviour) {
    let server =
        Rc::new(Server { health: Cell::new(behaviour.health), rng: RefCell::new(fastrand::Rng::new()), behaviour });
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn_local(connection(stream, server.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

struct Server {
    behaviour: Behaviour,
    health: Cell<HealthMode>,
    rng: RefCell<fastrand::Rng>,
}

/// Requests of one connection, and the echo after an upgrade.
async fn connection(stream: TcpStream, server: Rc<Server>) {
    let _ = stream.set_nodelay(true);
    let upgrade: Rc<Cell<Option<OnUpgrade>>> = Rc::default();
    let service = service_fn(|request| {
        let (server, upgrade) = (server.clone(), upgrade.clone());
        async move { Ok::<_, Infallible>(server.answer(request, &upgrade).await) }
    });
    let served = http1::Builder::new()
        .header_read_timeout(None)
        .title_case_headers(true)
        .serve_connection(HyperIo::new(stream), service)
        .with_upgrades()
        .await;
    // A client that breaks off is its own affair.
    if let (Ok(()), Some(upgrade)) = (served, upgrade.take())
        && let Ok(upgraded) = upgrade.await
    {
        let _ = websocket::echo(upgraded).await;
    }
}

impl Server {
    async fn answer(&self, mut request: Request<Incoming>, upgrade: &Cell<Option<OnUpgrade>>) -> Response<ReplyBody> {
        if let Some(accept) = websocket::accept_value(&request) {
            upgrade.set(Some(hyper::upgrade::on(&mut request)));
            return self.switch_protocols(accept);
        }
        let (parts, body) = request.into_parts();
        let received = drain(body).await;
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let mut response = if path == CONTROL_PATH {
            self.control(&parts.method, query)
        } else if path == self.behaviour.health_path || (path == "/" && parts.method == Method::HEAD) {
            self.answer_check().await
        } else {
            match Override::parse(query) {
                Ok(wanted) => self.answer_page(&parts.method, path, &wanted).await,
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            }
        };
        let fields = response.headers_mut();
        if let Some(received) = received {
            fields.insert("x-received-bytes", HeaderValue::from(received));
        }
        self.sign(fields);
        response
    }

    async fn answer_page(&self, method: &Method, path: &str, wanted: &Override) -> Response<ReplyBody> {
        let behaviour = &self.behaviour;
        let delay = wanted.delay.unwrap_or(behaviour.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let status = wanted.status.unwrap_or(behaviour.status);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let chunked = wanted.chunked.unwrap_or(behaviour.chunked);
        let body = match wanted.size.or(behaviour.body_size) {
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => ReplyBody::empty(),
            Some(size) => ReplyBody::generated(size, chunked),
            None => ReplyBody::text(Bytes::from(format!("{} answers {method} {path}\n", behaviour.name)), chunked),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if wanted.close {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.time(fields, delay);
        for (name, value) in &behaviour.headers {
            fields.append(name.clone(), value.clone());
        }
        response
    }

    async fn answer_check(&self) -> Response<ReplyBody> {
        match self.health.get() {
            HealthMode::Ok => text(StatusCode::OK, "ok\n".into()),
            HealthMode::Fail => text(StatusCode::INTERNAL_SERVER_ERROR, "told to fail\n".into()),
            HealthMode::Redirect => {
                let mut response = text(StatusCode::FOUND, "told to redirect\n".into());
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/error"));
                response
            }
            HealthMode::Slow => {
                tokio::time::sleep(self.behaviour.slow).await;
                text(StatusCode::OK, "ok, at last\n".into())
            }
        }
    }

    /// `/_respond`: changes how checks are answered, or tells it.
    fn control(&self, method: &Method, query: &str) -> Response<ReplyBody> {
        if method == Method::POST || method == Method::PUT {
            match HealthMode::from_query(query) {
                Ok(mode) => self.health.set(mode),
                Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            }
        }
        text(StatusCode::OK, format!("{}: health={}\n", self.behaviour.name, self.health.get()))
    }

    fn switch_protocols(&self, accept: HeaderValue) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        self.sign(fields);
        response
    }

    fn sign(&self, fields: &mut HeaderMap) {
        if let Ok(name) = HeaderValue::from_str(&self.behaviour.name) {
            fields.insert("x-served-by", name);
        }
    }

    /// What an application says of itself: the parts are less than the whole.
    fn time(&self, fields: &mut HeaderMap, delay: Duration) {
        let mut rng = self.rng.borrow_mut();
        let work_ms = rng.u64(4..90);
        let sql_ms = rng.u64(0..=work_ms / 2);
        let redis_ms = rng.u64(0..=work_ms / 4);
        let sql_count = if sql_ms == 0 { 0 } else { rng.u64(1..=12) };
        let redis_count = if redis_ms == 0 { rng.u64(0..=2) } else { rng.u64(1..=20) };
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("x-aspnet-duration-ms", work_ms.saturating_add(delay_ms)),
            ("x-sql-count", sql_count),
            ("x-sql-duration-ms", sql_ms),
            ("x-redis-count", redis_count),
            ("x-redis-duration-ms", redis_ms),
        ] {
            fields.insert(name, HeaderValue::from(value));
        }
    }
}

/// Reads a body away; its length, or `None` when there was none to come.
async fn drain(mut body: Incoming) -> Option<u64> {
    if body.is_end_stream() {
        return None;
    }
    let mut received: u64 = 0;
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(piece) = frame.data_ref() {
            received = received.saturating_add(piece.len() as u64);
        }
    }
    Some(received)
}

fn text(status: StatusCode, text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::text(text.into(), false));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
