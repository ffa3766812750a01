//! Servers that do exactly what a test tells them, and remember every byte they received.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::message::{Message, Role};
use super::ports;
use super::wire::{Transport, Wire};

type Script = dyn Fn(&mut OriginConn) -> io::Result<()> + Send + Sync;

/// A server on a port of its own. One thread per connection runs its script.
pub struct Origin {
    address: SocketAddr,
    script: Arc<Script>,
    shared: Arc<Shared>,
    running: Mutex<Option<Arc<AtomicBool>>>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    records: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    requests: Mutex<Vec<Message>>,
    open: Mutex<HashMap<usize, TcpStream>>,
    tls: Mutex<Option<Arc<rustls::ServerConfig>>>,
}

/// One connection as a script sees it.
pub struct OriginConn {
    /// The bytes.
    pub wire: Wire,
    /// Which connection of this origin it is, from 0.
    pub index: usize,
    shared: Arc<Shared>,
}

impl OriginConn {
    /// The next request with its body; `None` when the proxy closed.
    pub fn request(&mut self) -> io::Result<Option<Message>> {
        let Some(mut request) = Message::read_head(&mut self.wire)? else { return Ok(None) };
        request.read_body(&mut self.wire, Role::Request)?;
        lock(&self.shared.requests).push(request.clone());
        Ok(Some(request))
    }

    /// The next request's head; its body stays on the wire.
    pub fn request_head(&mut self) -> io::Result<Option<Message>> {
        let request = Message::read_head(&mut self.wire)?;
        lock(&self.shared.requests).extend(request.clone());
        Ok(request)
    }

    /// Says it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes)
    }

    /// Says nothing more until the proxy closes.
    pub fn stall(&mut self) -> io::Result<()> {
        self.wire.read_patience(Duration::from_secs(600));
        while self.wire.fill()? > 0 {}
        Ok(())
    }

    /// Ends the connection with a reset when the script returns.
    pub fn reset_at_end(&mut self) {
        if let Some(tcp) = self.wire.transport().tcp() {
            socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)).expect("linger can be set");
        }
        // The shared clone would keep the socket alive past the script.
        lock(&self.shared.open).remove(&self.index);
    }
}

impl Origin {
    /// A server with a script per connection; a script's error ends its connection quietly.
    pub fn script(script: impl Fn(&mut OriginConn) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        let origin = Origin {
            address: ports::address(),
            script: Arc::new(script),
            shared: Arc::default(),
            running: Mutex::new(None),
        };
        origin.start();
        origin
    }

    /// A server that answers every request of a connection in turn.
    pub fn answering(answer: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::script(move |conn| {
            while let Some(request) = conn.request()? {
                if !answer(&request).say(conn, request.method() == "HEAD")? {
                    return Ok(());
                }
            }
            Ok(())
        })
    }

    /// A server that answers 200 with its name, which also stands in `X-Served-By`.
    pub fn named(name: &str) -> Origin {
        let name = name.to_owned();
        Origin::answering(move |_| Reply::ok(&name).field("X-Served-By", &name))
    }

    /// A server that says the same bytes to every request.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Origin {
        let bytes = bytes.into();
        Origin::script(move |conn| {
            while conn.request()?.is_some() {
                conn.send(&bytes)?;
            }
            Ok(())
        })
    }

    /// Speaks TLS from the next connection on.
    pub fn with_tls(self, config: Arc<rustls::ServerConfig>) -> Origin {
        *lock(&self.shared.tls) = Some(config);
        self
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far, health checks included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.open).len()
    }

    /// Every byte received, connection by connection.
    pub fn received_by_connection(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.records).iter().map(|r| lock(r).clone()).collect()
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Message> {
        lock(&self.shared.requests).clone()
    }

    /// Requests so far that were not health checks (those use `path`).
    pub fn requests_other_than(&self, path: &str) -> usize {
        lock(&self.shared.requests).iter().filter(|r| r.target() != path).count()
    }

    /// Listens again after [`Origin::stop`].
    pub fn start(&self) {
        let listener = TcpListener::bind(self.address).unwrap_or_else(|e| panic!("binding {}: {e}", self.address));
        let stop = Arc::new(AtomicBool::new(false));
        *lock(&self.running) = Some(Arc::clone(&stop));
        let (script, shared) = (Arc::clone(&self.script), Arc::clone(&self.shared));
        std::thread::spawn(move || {
            for accepted in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(tcp) = accepted else { return };
                let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
                let index = shared.connections.fetch_add(1, Ordering::SeqCst);
                let record: Arc<Mutex<Vec<u8>>> = Arc::default();
                lock(&shared.records).push(Arc::clone(&record));
                if let Ok(clone) = tcp.try_clone() {
                    lock(&shared.open).insert(index, clone);
                }
                std::thread::spawn(move || serve(tcp, index, record, &script, &shared));
            }
        });
    }

    /// Stops as a killed process would: nothing listens, every connection is closed.
    pub fn stop(&self) {
        if let Some(stop) = lock(&self.running).take() {
            stop.store(true, Ordering::SeqCst);
            // Wakes the accepting thread, which then drops the listener.
            let _ = TcpStream::connect(self.address);
            super::until("the stopped origin to refuse connections", || TcpStream::connect(self.address).is_err());
        }
        for (_, tcp) in lock(&self.shared.open).drain() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn serve(tcp: TcpStream, index: usize, record: Arc<Mutex<Vec<u8>>>, script: &Arc<Script>, shared: &Arc<Shared>) {
    let tls = lock(&shared.tls).clone();
    let transport = match tls {
        None => Transport::Tcp(tcp),
        Some(config) => {
            let conn = rustls::ServerConnection::new(config).expect("a valid TLS configuration");
            Transport::TlsServer(Box::new(rustls::StreamOwned::new(conn, tcp)))
        }
    };
    let mut conn = OriginConn { wire: Wire::new(transport).recording(record), index, shared: Arc::clone(shared) };
    conn.wire.read_patience(Duration::from_secs(600));
    // A script that cannot go on ends its connection; the test judges what the client saw.
    let _ = script(&mut conn);
    lock(&shared.open).remove(&index);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock only means that another test thread has failed already.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An answer of a server.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
    delay: Duration,
    close: bool,
}

impl Reply {
    /// 200 with this body and its length.
    pub fn ok(body: impl AsRef<[u8]>) -> Reply {
        Reply {
            status: 200,
            fields: Vec::new(),
            body: body.as_ref().to_vec(),
            chunked: false,
            delay: Duration::ZERO,
            close: false,
        }
    }

    /// That status, no body.
    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::ok("") }
    }

    /// One more field.
    pub fn field(mut self, name: &str, value: &str) -> Reply {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In chunks of 1000 bytes instead of with a length.
    pub fn chunked(mut self) -> Reply {
        self.chunked = true;
        self
    }

    /// After thinking this long.
    pub fn after(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// And closes the connection.
    pub fn closing(mut self) -> Reply {
        self.close = true;
        self.field("Connection", "close")
    }

    /// Says it, after its delay; whether the connection goes on.
    pub fn say(&self, conn: &mut OriginConn, head_only: bool) -> io::Result<bool> {
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        conn.send(self.render(head_only))?;
        Ok(!self.close)
    }

    fn render(&self, head_only: bool) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} Said\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
        if self.chunked {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        } else if self.status == 204 || self.status == 304 {
            out.extend(b"\r\n");
        } else {
            out.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
        }
        if head_only {
            return out;
        }
        if self.chunked {
            for piece in self.body.chunks(1000) {
                out.extend(format!("{:x}\r\n", piece.len()).bytes());
                out.extend(piece);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        } else {
            out.extend(&self.body);
        }
        out
    }
}

/// An address that accepts nobody: its accept queue is full, so a connection attempt waits for ever.
pub struct Blackhole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _fillers: Vec<socket2::Socket>,
}

impl Blackhole {
    /// Makes one and checks that it swallows.
    pub fn new() -> Blackhole {
        let address = ports::address();
        let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let listener = new();
        // Connections of an earlier test may still be leaving.
        listener.set_reuse_address(true).expect("an option every socket has");
        listener.bind(&address.into()).expect("a reserved port can be bound");
        listener.listen(0).expect("listening");
        let mut fillers = Vec::new();
        for _ in 0..8 {
            let filler = new();
            if filler.connect_timeout(&address.into(), Duration::from_millis(200)).is_err() {
                return Blackhole { address, _listener: listener, _fillers: fillers };
            }
            fillers.push(filler);
        }
        panic!("the accept queue of {address} does not fill");
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}
