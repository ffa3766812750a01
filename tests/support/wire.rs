//! A byte stream with a read buffer: TCP, unix socket or TLS, at either end of the proxy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::PATIENCE;

/// What carries the bytes.
pub enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsClient(Box<StreamOwned<ClientConnection, TcpStream>>),
    TlsServer(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Transport {
    /// The TCP socket underneath, if there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(s) => Some(s),
            Transport::Unix(_) => None,
            Transport::TlsClient(s) => Some(&s.sock),
            Transport::TlsServer(s) => Some(&s.sock),
        }
    }

    fn io(&mut self) -> &mut dyn ReadWrite {
        match self {
            Transport::Tcp(s) => s,
            Transport::Unix(s) => s,
            Transport::TlsClient(s) => s.as_mut(),
            Transport::TlsServer(s) => s.as_mut(),
        }
    }

    fn set_read_timeout(&self, wait: Duration) {
        match (self.tcp(), self) {
            (Some(s), _) => s.set_read_timeout(Some(wait)),
            (None, Transport::Unix(s)) => s.set_read_timeout(Some(wait)),
            (None, _) => unreachable!("every other transport is TCP"),
        }
        .expect("a read timeout can be set");
    }

    fn shutdown(&self, how: Shutdown) {
        // The peer may have closed already: nothing to do then.
        let _ = match (self.tcp(), self) {
            (Some(s), _) => s.shutdown(how),
            (None, Transport::Unix(s)) => s.shutdown(how),
            (None, _) => unreachable!("every other transport is TCP"),
        };
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A connection with what has been read but not yet used.
pub struct Wire {
    transport: Transport,
    buffer: Vec<u8>,
    /// Every byte ever received, for tests that judge them.
    record: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Wire {
    /// Nothing read yet; reads give up after [`PATIENCE`].
    pub fn new(transport: Transport) -> Wire {
        transport.set_read_timeout(PATIENCE);
        if let Some(tcp) = transport.tcp() {
            tcp.set_nodelay(true).expect("nodelay can be set");
        }
        Wire { transport, buffer: Vec::new(), record: None }
    }

    /// Notes every received byte in `record` from now on.
    pub fn recording(mut self, record: Arc<Mutex<Vec<u8>>>) -> Wire {
        self.record = Some(record);
        self
    }

    /// How long a read waits for bytes.
    pub fn read_patience(&self, wait: Duration) {
        self.transport.set_read_timeout(wait);
    }

    /// The transport.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Writes all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.transport.io().write_all(bytes.as_ref())?;
        self.transport.io().flush()
    }

    /// Reads more into the buffer; `Ok(0)` is the end.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0u8; 64 * 1024];
        let n = match self.transport.io().read(&mut chunk) {
            // rustls reports a close without close_notify as an error; here it is an end like any other.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        if let Some(record) = &self.record {
            record.lock().expect("a recording is never abandoned half-way").extend_from_slice(&chunk[..n]);
        }
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// What is read and not yet taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes `n` bytes, reading as needed. An early end is an error.
    pub fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            if self.fill()? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed after {} of {n} bytes: {:?}", self.buffer.len(), lossy(&self.buffer)),
                ));
            }
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Takes everything up to and including `end`; `None` when the peer closes before the first byte.
    pub fn take_until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer[searched..], end) {
                return Ok(Some(self.buffer.drain(..searched + at + end.len()).collect()));
            }
            searched = self.buffer.len().saturating_sub(end.len() - 1);
            if self.fill()? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed before {:?}: {:?}", lossy(end), lossy(&self.buffer)),
                ));
            }
        }
    }

    /// Takes everything until the peer closes.
    pub fn take_rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads and forgets `n` bytes without holding them.
    pub fn skip(&mut self, mut n: u64) -> io::Result<()> {
        while n > 0 {
            if self.buffer.is_empty() && self.fill()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{n} bytes short")));
            }
            let taken = self.buffer.len().min(usize::try_from(n).unwrap_or(usize::MAX));
            self.buffer.drain(..taken);
            n -= taken as u64;
        }
        Ok(())
    }

    /// Ends our direction; the other stays open. On TLS with a close_notify.
    pub fn half_close(&mut self) {
        match &mut self.transport {
            Transport::TlsClient(s) => s.conn.send_close_notify(),
            Transport::TlsServer(s) => s.conn.send_close_notify(),
            Transport::Tcp(_) | Transport::Unix(_) => {}
        }
        let _ = self.transport.io().flush();
        self.transport.shutdown(Shutdown::Write);
    }

    /// Reads to the end; whether the peer said its farewell (TLS's close_notify) before it closed.
    pub fn ends_politely(&mut self) -> io::Result<bool> {
        let mut chunk = [0u8; 4096];
        loop {
            match self.transport.io().read(&mut chunk) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }

    /// Ends the connection with a reset instead of a close.
    pub fn reset(self) {
        if let Some(tcp) = self.transport.tcp() {
            socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)).expect("linger can be set");
        }
    }
}

/// Bytes as text for messages and comparisons.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
