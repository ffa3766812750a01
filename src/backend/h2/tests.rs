//! Connections against a server of the h2 library, and against raw frames where that would not misbehave.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::h2::server::{self, SendResponse};
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::backend::connect::ConnectError;
use crate::core::fleet::snapshot::BackendView;
use crate::core::fleet::spec::{Http2ToServers, ServerAddress, ServerSpec, ServerTimeouts};
use crate::core::fleet::tests::lab::Lab;
use crate::core::fleet::tests::specs::{backend, fleet, unchecked};
use crate::core::stats::counters::Shard;
use crate::runtime::clock;

const SMALL: Http2ToServers = Http2ToServers {
    max_streams: 3,
    window_bytes: 65_535,
    ping_interval: Duration::from_secs(30),
    ping_timeout: Duration::from_secs(10),
};

fn view(to: SocketAddr, http2: Http2ToServers) -> Arc<BackendView> {
    let server = ServerSpec { address: ServerAddress::Ip(to), ..unchecked("s1") };
    let mut spec = backend("web", vec![server]);
    spec.http2 = http2;
    spec.timeouts = ServerTimeouts { connect: Duration::from_secs(2), ..spec.timeouts };
    Lab::new(&fleet(vec![spec])).fleet.snapshot().backends[0].clone()
}

/// A request as a server got it.
struct Got {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

/// Serves one connection; requests go to the test.
async fn serve(socket: TcpStream, got: mpsc::UnboundedSender<Got>, most: Option<u32>) {
    let mut builder = server::Builder::new();
    if let Some(most) = most {
        builder.max_concurrent_streams(most);
    }
    let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        if got.send(Got { request, respond }).is_err() {
            connection.graceful_shutdown();
        }
    }
}

/// A server; each of its connections is a channel of requests.
async fn listen(most: Option<u32>) -> (SocketAddr, mpsc::UnboundedReceiver<mpsc::UnboundedReceiver<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, accepted) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (requests, got) = mpsc::unbounded_channel();
            tokio::task::spawn_local(serve(socket, requests, most));
            if connections.send(got).is_err() {
                return;
            }
        }
    });
    (address, accepted)
}

fn ask(connections: &mut Connections, view: &Arc<BackendView>) -> Asked {
    let wanted = || Wanted {
        view: view.clone(),
        server: view.servers[0].clone(),
        host: "a.example".into(),
        connectors: Arc::default(),
        turn: 0,
        shard: Shard(0),
    };
    connections.ask(wanted, &view.servers[0], Whose { spec: &view.spec, host: None, newer_than: None })
}

async fn place(connections: &mut Connections, view: &Arc<BackendView>) -> Result<Place, Rc<ConnectError>> {
    loop {
        match ask(connections, view) {
            Asked::Place(place) => return Ok(place),
            Asked::Wait { mut waiting, .. } => {
                if let Some(place) = poll_fn(|cx| waiting.poll_place(cx)).await? {
                    return Ok(place);
                }
            }
        }
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

async fn answer(exchange: &mut Exchange) -> Result<Answer, Fault> {
    poll_fn(|cx| exchange.poll_answer(cx)).await
}

async fn piece(exchange: &mut Exchange) -> Result<Piece, Fault> {
    poll_fn(|cx| exchange.poll_piece(cx)).await
}

/// Runs a test where local tasks can be started, under a deadline.
fn local(test: impl Future<Output = ()>) {
    let runtime = crate::runtime::worker::local_runtime().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.unwrap() });
}

#[test]
fn requests_share_a_connection_until_it_is_full() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let mut exchanges = Vec::new();
        for n in 0..4 {
            let place = place(&mut connections, &view).await.unwrap();
            assert_eq!(place.is_reused(), n % 3 != 0, "{n}");
            exchanges.push(place.start(get("/"), true).unwrap());
        }
        assert_eq!(connections.standing(), 2);
        let (mut first, mut second) = (accepted.recv().await.unwrap(), accepted.recv().await.unwrap());
        for _ in 0..3 {
            first.recv().await.unwrap();
        }
        second.recv().await.unwrap();
        // A place that is given back is taken again.
        exchanges.remove(0);
        assert!(place(&mut connections, &view).await.unwrap().is_reused());
        assert_eq!(connections.standing(), 2);
    });
}

#[test]
fn a_server_that_allows_fewer_gets_fewer() {
    local(async {
        let (address, _accepted) = listen(Some(1)).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let _one = place(&mut connections, &view).await.unwrap();
        let two = place(&mut connections, &view).await.unwrap();
        assert!(!two.is_reused());
        assert_eq!(connections.standing(), 2);
    });
}

#[test]
fn who_asks_at_once_waits_for_the_same_connection() {
    local(async {
        let (address, _accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let asked: Vec<_> = (0..3).map(|_| ask(&mut connections, &view)).collect();
        let fresh = |a: &Asked| matches!(a, Asked::Wait { fresh: true, .. });
        assert_eq!(asked.iter().filter(|a| fresh(a)).count(), 1);
        let mut places = Vec::new();
        for asked in asked {
            let Asked::Wait { mut waiting, .. } = asked else { panic!("nothing stands yet") };
            places.push(poll_fn(|cx| waiting.poll_place(cx)).await.unwrap().unwrap());
        }
        assert_eq!(connections.standing(), 1);
    });
}

#[test]
fn interim_answers_bodies_and_trailers_come_in_order() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), false).unwrap();
        let mut sent = Bytes::from_static(b"question");
        assert_eq!(poll_fn(|cx| exchange.poll_send(cx, &mut sent, false)).await, Some(8));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        assert!(exchange.end_with(trailers));

        let Got { request, mut respond } = accepted.recv().await.unwrap().recv().await.unwrap();
        let mut body = request.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "question");
        assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "1");
        respond.send_informational(Response::builder().status(103).body(()).unwrap()).unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"answer"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        send.send_trailers(trailers).unwrap();

        assert!(matches!(answer(&mut exchange).await, Ok(Answer::Interim(head)) if head.status() == 103));
        let Ok(Answer::Final { head, ended: false }) = answer(&mut exchange).await else { panic!("the answer") };
        assert_eq!(head.status(), 200);
        assert!(matches!(piece(&mut exchange).await, Ok(Piece::Data(data)) if data == "answer"));
        assert!(matches!(piece(&mut exchange).await, Ok(Piece::Trailers(t)) if t["grpc-status"] == "0"));
        assert!(matches!(piece(&mut exchange).await, Ok(Piece::End)));
    });
}

#[test]
fn a_client_that_takes_nothing_holds_the_server_back() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        let Got { mut respond, .. } = accepted.recv().await.unwrap().recv().await.unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.reserve_capacity(200_000);
        let Ok(Answer::Final { .. }) = answer(&mut exchange).await else { panic!("the answer") };
        assert_eq!(poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap(), 65_535);
        send.send_data(Bytes::from(vec![7; 65_535]), false).unwrap();
        let mut came = 0;
        while came < 65_535 {
            let Ok(Piece::Data(data)) = piece(&mut exchange).await else { panic!("the body") };
            came += data.len();
        }
        assert_eq!(send.capacity(), 0, "what was read was not taken yet");
        let more = poll_fn(|cx| send.poll_capacity(cx));
        assert!(tokio::time::timeout(Duration::from_millis(50), more).await.is_err());
        exchange.release(65_535);
        assert_eq!(poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap(), 65_535);
    });
}

#[test]
fn refused_and_reset_streams_are_told_apart() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let mut requests = None;
        for (reason, expected) in [
            (Reason::REFUSED_STREAM, Fault::Refused),
            (Reason::INTERNAL_ERROR, Fault::Reset(Reason::INTERNAL_ERROR)),
            (Reason::HTTP_1_1_REQUIRED, Fault::Reset(Reason::HTTP_1_1_REQUIRED)),
        ] {
            let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
            if requests.is_none() {
                requests = accepted.recv().await;
            }
            requests.as_mut().unwrap().recv().await.unwrap().respond.send_reset(reason);
            assert_eq!(answer(&mut exchange).await.unwrap_err(), expected);
        }
        assert_eq!(connections.standing(), 1, "a stream that is reset leaves the connection as it is");
    });
}

#[test]
fn a_connection_that_is_lost_takes_its_requests_with_it() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (view, mut connections) = (view(listener.local_addr().unwrap(), SMALL), Connections::default());
        let serving = tokio::task::spawn_local(async move {
            let mut connection = server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            connection.accept().await.unwrap().unwrap();
        });
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        serving.await.unwrap();
        assert_eq!(answer(&mut exchange).await.unwrap_err(), Fault::Lost);
        connections.sweep(clock::now());
        assert_eq!(connections.standing(), 0);
    });
}

/// The frame header of RFC 9113 section 4.1, and what follows.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

async fn until_headers(socket: &mut TcpStream) {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    while read_frame(socket).await.0 != 1 {}
}

async fn read_frame(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    socket.read_exact(&mut payload).await.unwrap();
    (head[3], payload)
}

#[test]
fn what_a_leaving_server_has_not_looked_at_goes_elsewhere() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (view, mut connections) = (view(listener.local_addr().unwrap(), SMALL), Connections::default());
        tokio::task::spawn_local(async move {
            let mut socket = listener.accept().await.unwrap().0;
            socket.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
            until_headers(&mut socket).await;
            // Nothing above stream 0 was looked at.
            socket.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).await.unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            let mut socket = listener.accept().await.unwrap().0;
            socket.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
            until_headers(&mut socket).await;
            socket.write_all(&frame(1, 5, 1, &[0x88])).await.unwrap();
            let _ = socket.read_to_end(&mut rest).await;
        });
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        assert_eq!(answer(&mut exchange).await.unwrap_err(), Fault::Unprocessed);
        exchange.place().leave_connection();
        drop(exchange);
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        assert!(matches!(answer(&mut exchange).await, Ok(Answer::Final { ended: true, .. })));
    });
}

#[test]
fn a_server_that_does_not_speak_it_is_found_out_at_once() {
    local(async {
        for says in [&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], b""] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (view, mut connections) = (view(listener.local_addr().unwrap(), SMALL), Connections::default());
            tokio::task::spawn_local(async move {
                let mut socket = listener.accept().await.unwrap().0;
                let mut preface = [0; 24];
                socket.read_exact(&mut preface).await.unwrap();
                socket.write_all(says).await.unwrap();
            });
            let error = place(&mut connections, &view).await.unwrap_err();
            assert!(matches!(*error, ConnectError::Http2(_)), "{error:?}");
        }
    });
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_longer_than_for_a_connection() {
    let runtime = crate::runtime::worker::local_runtime().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (view, mut connections) = (view(listener.local_addr().unwrap(), SMALL), Connections::default());
        tokio::time::pause();
        let start = clock::now();
        let error = place(&mut connections, &view).await.unwrap_err();
        assert!(matches!(*error, ConnectError::Timeout), "{error:?}");
        assert!(clock::now() - start < Duration::from_millis(2100));
    });
}

#[test]
fn a_server_without_a_sign_of_life_is_given_up() {
    let runtime = crate::runtime::worker::local_runtime().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (view, mut connections) = (view(listener.local_addr().unwrap(), SMALL), Connections::default());
        let (pinged, mut pings) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            let mut socket = listener.accept().await.unwrap().0;
            socket.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
            until_headers(&mut socket).await;
            let (mut last, mut count) = (clock::now(), 0);
            loop {
                let (kind, payload) = read_frame(&mut socket).await;
                if kind != PING {
                    continue;
                }
                count += 1;
                pinged.send(clock::now() - last).unwrap();
                last = clock::now();
                if count == 1 {
                    // The first is answered, the second is not.
                    socket.write_all(&frame(PING, 1, 0, &payload)).await.unwrap();
                }
            }
        });
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        tokio::time::pause();
        assert_eq!(answer(&mut exchange).await.unwrap_err(), Fault::Lost);
        assert!(pings.recv().await.unwrap() >= Duration::from_secs(29));
        assert!(pings.recv().await.unwrap() >= Duration::from_secs(29));
        assert!(pings.try_recv().is_err());
    });
}

#[test]
fn idle_connections_are_counted_and_closed() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let idle = || view.servers[0].live.idle.now();
        let exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        let mut requests = accepted.recv().await.unwrap();
        requests.recv().await.unwrap();
        assert_eq!(idle(), 0);
        drop(exchange);
        assert_eq!(idle(), 1);
        connections.sweep(clock::now() + Duration::from_secs(29));
        assert_eq!((connections.standing(), idle()), (1, 1));
        connections.sweep(clock::now() + Duration::from_secs(31));
        assert_eq!((connections.standing(), idle()), (0, 0));
        assert!(requests.recv().await.is_none(), "the server sees the connection closed");
    });
}

#[test]
fn closing_spares_what_is_under_way() {
    local(async {
        let (address, mut accepted) = listen(None).await;
        let (view, mut connections) = (view(address, SMALL), Connections::default());
        let mut exchange = place(&mut connections, &view).await.unwrap().start(get("/"), true).unwrap();
        connections.close(view.servers[0].id);
        assert_eq!(connections.standing(), 0);
        let mut requests = accepted.recv().await.unwrap();
        requests.recv().await.unwrap().respond.send_response(Response::new(()), true).unwrap();
        assert!(matches!(answer(&mut exchange).await, Ok(Answer::Final { ended: true, .. })));
        drop(exchange);
        assert!(requests.recv().await.is_none());
    });
}
