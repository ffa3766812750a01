//! Servers that speak HTTP/2 in clear text, on a thread of their own, answering as a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::oneshot;

/// A request and the way to answer it.
pub struct Call {
    /// The request, with its body still to be read.
    pub request: Request<RecvStream>,
    /// The way to answer.
    pub respond: SendResponse<Bytes>,
    /// The number of the connection it came on, from 1 on.
    pub connection: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What came of a request's head.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of the connection it came on, from 1 on.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// Scheme, authority and path.
    pub uri: String,
    /// The fields.
    pub fields: HeaderMap,
    /// The stream was reset by the client, with this code.
    pub reset: Option<u32>,
}

impl Call {
    /// All of the body, and what stood behind it.
    pub async fn body(&mut self) -> (Vec<u8>, HeaderMap) {
        let body = self.request.body_mut();
        let mut read = Vec::new();
        while let Some(Ok(piece)) = body.data().await {
            read.extend_from_slice(&piece);
            let _ = body.flow_control().release_capacity(piece.len());
        }
        (read, body.trailers().await.ok().flatten().unwrap_or_default())
    }

    /// Answers with a status, fields and a whole body, under a `content-length`.
    pub fn answer(mut self, status: u16, fields: &[(&str, &str)], body: &str) {
        let mut head = head(status, fields);
        head.headers_mut().insert("content-length", HeaderValue::from(body.len()));
        let mut send = self.respond.send_response(head, body.is_empty()).expect("a fresh stream");
        if !body.is_empty() {
            let _ = send.send_data(Bytes::copy_from_slice(body.as_bytes()), true);
        }
    }

    /// Ends the stream with this code.
    pub fn reset(mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Waits until the client resets the stream; noted in [`H2Origin::seen`].
    pub async fn until_reset(mut self) {
        let reason = std::future::poll_fn(|cx| self.respond.poll_reset(cx)).await;
        let number = self.number();
        if let Some(seen) = self.seen.lock().expect("not poisoned").get_mut(number) {
            seen.reset = Some(reason.map_or(u32::MAX, u32::from));
        }
    }

    /// Its place in [`H2Origin::seen`].
    fn number(&self) -> usize {
        self.request.extensions().get::<Number>().map_or(0, |n| n.0)
    }
}

#[derive(Clone)]
struct Number(usize);

/// A head with a status and fields.
pub fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut head = Response::builder().status(status).body(()).expect("a status");
    *head.headers_mut() = headers(fields);
    head
}

/// Fields.
pub fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    fields.iter().map(pair).collect()
}

type Answering = Rc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A server of HTTP/2.
pub struct H2Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl H2Origin {
    /// Answers each request by itself.
    pub fn answering<F, A>(answer: A) -> H2Origin
    where
        A: Fn(Call) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        H2Origin::with(h2::server::Builder::new(), answer)
    }

    /// The same with settings of its own.
    pub fn with<F, A>(settings: h2::server::Builder, answer: A) -> H2Origin
    where
        A: Fn(Call) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let shared = (connections.clone(), open.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let local = tokio::task::LocalSet::new();
            let answer: Answering = Rc::new(move |call| Box::pin(answer(call)));
            let (connections, open, seen) = shared;
            local.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                let accepting = async {
                    while let Ok((socket, _)) = listener.accept().await {
                        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                        open.fetch_add(1, Ordering::SeqCst);
                        let (answer, seen, open) = (answer.clone(), seen.clone(), open.clone());
                        let settings = settings.clone();
                        tokio::task::spawn_local(async move {
                            serve(socket, settings, number, answer, seen).await;
                            open.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        H2Origin { address, connections, open, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// Says its name as a body.
    pub fn named(name: &'static str) -> H2Origin {
        H2Origin::answering(move |call| async move { call.answer(200, &[], name) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections now.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    socket: tokio::net::TcpStream,
    settings: h2::server::Builder,
    number: usize,
    answer: Answering,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let Ok(mut connection) = settings.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((mut request, respond))) = connection.accept().await {
        let position = {
            let mut seen = seen.lock().expect("not poisoned");
            seen.push(Seen {
                connection: number,
                method: request.method().to_string(),
                uri: request.uri().to_string(),
                fields: request.headers().clone(),
                reset: None,
            });
            seen.len() - 1
        };
        request.extensions_mut().insert(Number(position));
        let call = Call { request, respond, connection: number, seen: seen.clone() };
        tokio::task::spawn_local(answer(call));
    }
}
