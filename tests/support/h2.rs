//! HTTP/2 clients: one built on the `h2` crate, and one that says exactly the frames it is told to.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::client::RawClient;

/// A connection. What it has to do is done while one of its methods waits.
pub struct H2Client {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct H2Answer {
    /// Its head.
    pub head: Response<()>,
    /// 1xx that came before it.
    pub interim: Vec<u16>,
    /// Its body.
    pub body: Vec<u8>,
    /// What came behind the body.
    pub trailers: HeaderMap,
}

impl H2Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// A field's value, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().expect("a field of text"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl H2Client {
    /// Connects without TLS, with prior knowledge.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> H2Client {
        H2Client::connect_with(to, &h2::client::Builder::new())
    }

    /// The same with other settings.
    #[track_caller]
    pub fn connect_with(to: SocketAddr, builder: &h2::client::Builder) -> H2Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (send, connection) = runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(to).await.unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
            let (send, connection) = builder.handshake::<_, Bytes>(tcp).await.expect("a handshake");
            (send, tokio::spawn(connection))
        });
        H2Client { runtime, send, connection }
    }

    /// Waits for something, under a deadline.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Starts a request; `ends` when it has no body.
    #[track_caller]
    pub fn start(&mut self, request: Request<()>, ends: bool) -> H2Stream {
        let mut send = self.send.clone();
        let stream = self.wait("a stream", async {
            poll_fn(|cx| send.poll_ready(cx)).await.expect("room for a stream");
            send.send_request(request, ends).expect("a request that can be sent")
        });
        H2Stream { answer: Some(stream.0), send: stream.1, interim: Vec::new() }
    }

    /// Asks for `path` of `www.example.test`.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> H2Answer {
        self.ask(get(path), &[])
    }

    /// A whole exchange.
    #[track_caller]
    pub fn ask(&mut self, request: Request<()>, body: &[u8]) -> H2Answer {
        let mut stream = self.start(request, body.is_empty());
        if !body.is_empty() {
            self.say(&mut stream, body, true);
        }
        self.answer(stream).unwrap_or_else(|e| panic!("instead of an answer: {e}"))
    }

    /// Sends of the body, as windows allow.
    #[track_caller]
    pub fn say(&self, stream: &mut H2Stream, mut body: &[u8], ends: bool) {
        self.wait("room for a body", async {
            while !body.is_empty() {
                stream.send.reserve_capacity(body.len());
                let room = match stream.send.capacity() {
                    0 => match poll_fn(|cx| stream.send.poll_capacity(cx)).await {
                        Some(Ok(room)) => room,
                        // The answer says why.
                        _ => return,
                    },
                    room => room,
                };
                let (now, later) = body.split_at(room.min(body.len()));
                if stream.send.send_data(Bytes::copy_from_slice(now), ends && later.is_empty()).is_err() {
                    return;
                }
                body = later;
            }
        });
    }

    /// The head of the answer and its body, still to be read.
    pub fn head(&self, stream: &mut H2Stream) -> Result<Response<RecvStream>, h2::Error> {
        let mut answer = stream.answer.take().expect("asked once");
        let interim = &mut stream.interim;
        self.wait("an answer", async {
            let mut interims = true;
            poll_fn(|cx| {
                while interims {
                    match answer.poll_informational(cx) {
                        std::task::Poll::Ready(Some(Ok(head))) => interim.push(head.status().as_u16()),
                        std::task::Poll::Ready(_) => interims = false,
                        std::task::Poll::Pending => break,
                    }
                }
                std::pin::Pin::new(&mut answer).poll(cx)
            })
            .await
        })
    }

    /// The whole answer.
    pub fn answer(&self, mut stream: H2Stream) -> Result<H2Answer, h2::Error> {
        let (head, mut recv) = self.head(&mut stream)?.into_parts();
        let mut answer = H2Answer {
            head: Response::from_parts(head, ()),
            interim: stream.interim,
            body: Vec::new(),
            trailers: HeaderMap::new(),
        };
        self.wait("the answer's body", async {
            while let Some(piece) = recv.data().await {
                let piece = piece?;
                let _ = recv.flow_control().release_capacity(piece.len());
                answer.body.extend_from_slice(&piece);
            }
            answer.trailers = recv.trailers().await?.unwrap_or_default();
            Ok(answer)
        })
    }

    /// Waits until the connection is over and says how it ended: the code of the server's GOAWAY, if it complained.
    #[track_caller]
    pub fn ended(mut self) -> Option<Reason> {
        let connection = &mut self.connection;
        let runtime = &self.runtime;
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, connection).await });
        let ended = ended.expect("the connection should end").expect("its task is sound");
        ended.err().and_then(|error| error.reason())
    }

    /// Whether the server still serves on it.
    pub fn is_open(&self) -> bool {
        // Lets the task look.
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        !self.connection.is_finished()
    }
}

/// A request that was started.
pub struct H2Stream {
    answer: Option<h2::client::ResponseFuture>,
    /// Its body.
    pub send: SendStream<Bytes>,
    interim: Vec<u16>,
}

/// `GET` of `path` of `www.example.test`.
pub fn get(path: &str) -> Request<()> {
    request(Method::GET, path, &[])
}

/// A request to `www.example.test`.
pub fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let uri = format!("http://www.example.test{path}");
    let mut request = Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// A frame: its kind, flags, stream and payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

/// A client that says exactly the frames it is told to.
pub struct FrameClient {
    /// The bytes.
    pub raw: RawClient,
}

impl FrameClient {
    /// Connects, says the preface and empty settings.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> FrameClient {
        let mut client = FrameClient { raw: RawClient::connect(to) };
        client.raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(4, 0, 0, b"");
        client
    }

    /// One frame as bytes.
    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Says a frame.
    #[track_caller]
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw.send(FrameClient::frame(kind, flags, stream, payload));
    }

    /// The header block of a `GET` of `path` of `www.example.test`, without Huffman coding and tables.
    pub fn get(path: &str) -> Vec<u8> {
        let mut block = vec![0x82, 0x86];
        for (index, value) in [(1u8, "www.example.test"), (4, path)] {
            block.extend([index, u8::try_from(value.len()).expect("a short value")]);
            block.extend(value.as_bytes());
        }
        block
    }

    /// The next frame; `None` at the end of the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let wire = &mut self.raw.wire;
        loop {
            let have = wire.buffered();
            if let Some(&[a, b, c, kind, flags, d, e, f, g]) = have.first_chunk::<9>() {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if have.len() >= 9 + length {
                    let mut payload = wire.take(9 + length).expect("bytes that are there");
                    payload.drain(..9);
                    return Some((kind, flags, u32::from_be_bytes([d, e, f, g]), payload));
                }
            }
            match wire.fill() {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Waits for the GOAWAY that ends the connection, and gives its code.
    #[track_caller]
    pub fn goaway(&mut self) -> u32 {
        loop {
            match self.next() {
                Some((7, _, _, payload)) => return u32::from_be_bytes(payload[4..8].try_into().expect("a code")),
                Some(_) => {}
                None => panic!("closed without a GOAWAY"),
            }
        }
    }
}
