//! A syslog receiver in the test: UDP, unix datagram or TCP.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::httplog::Row;
use super::{PATIENCE, ports};

/// Receives lines on a thread and keeps them.
#[derive(Clone)]
pub struct LogReceiver {
    lines: Arc<Mutex<Vec<String>>>,
    target: String,
}

impl LogReceiver {
    /// Receives datagrams on a UDP port with as large a buffer as the kernel gives.
    pub fn udp() -> LogReceiver {
        let address = ports::address();
        let socket = UdpSocket::bind(address).expect("a reserved port can be bound");
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(16 << 20);
        let receiver = LogReceiver { lines: Arc::default(), target: format!("udp://{address}") };
        receiver.collect(move |buffer| socket.recv(buffer).ok());
        receiver
    }

    /// Receives datagrams on a unix socket.
    pub fn unix(path: &Path) -> LogReceiver {
        let socket = UnixDatagram::bind(path).expect("a socket in the test's own folder can be bound");
        let receiver = LogReceiver { lines: Arc::default(), target: format!("unix://{}", path.display()) };
        receiver.collect(move |buffer| socket.recv(buffer).ok());
        receiver
    }

    /// Receives octet-counted messages (RFC 6587) over TCP, one connection after another.
    pub fn tcp() -> LogReceiver {
        let address = ports::address();
        let listener = TcpListener::bind(address).expect("a reserved port can be bound");
        let receiver = LogReceiver { lines: Arc::default(), target: format!("tcp://{address}") };
        let lines = Arc::clone(&receiver.lines);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let lines = Arc::clone(&lines);
                std::thread::spawn(move || read_octet_counted(stream, &lines));
            }
        });
        receiver
    }

    fn collect(&self, receive: impl Fn(&mut [u8]) -> Option<usize> + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            let mut buffer = vec![0u8; 70_000];
            while let Some(n) = receive(&mut buffer) {
                let line = String::from_utf8_lossy(&buffer[..n]).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }

    /// The target as the configuration writes it.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Everything received so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows of requests among them.
    pub fn rows(&self) -> Vec<Row> {
        self.lines().iter().filter_map(|line| Row::parse(line)).collect()
    }

    /// Waits until at least `n` rows of requests are there.
    #[track_caller]
    pub fn wait_rows(&self, n: usize) -> Vec<Row> {
        let patience = PATIENCE + Duration::from_millis(n as u64);
        let found = super::eventually_or(patience, || Some(self.rows()).filter(|rows| rows.len() >= n));
        found.unwrap_or_else(|| panic!("fewer than {n} rows; the lines are:\n{}", self.lines().join("\n")))
    }

    /// Waits for the row of the request with that target.
    #[track_caller]
    pub fn row_of(&self, target: &str) -> Row {
        self.row_where(&format!("the row of {target}"), |row| row.target() == target)
    }

    /// Waits for a row.
    #[track_caller]
    pub fn row_where(&self, what: &str, test: impl Fn(&Row) -> bool) -> Row {
        let found = super::eventually_or(PATIENCE, || self.rows().into_iter().find(|row| test(row)));
        found.unwrap_or_else(|| panic!("no log line is {what}; there are:\n{}", self.lines().join("\n")))
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub fn line_with(&self, text: &str) -> String {
        let found = super::eventually_or(PATIENCE, || self.lines().into_iter().find(|line| line.contains(text)));
        found.unwrap_or_else(|| panic!("no log line has {text:?}; there are:\n{}", self.lines().join("\n")))
    }
}

fn read_octet_counted(mut stream: impl Read, lines: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    let mut chunk = [0u8; 65_536];
    while let Ok(n) = stream.read(&mut chunk) {
        if n == 0 {
            return;
        }
        buffer.extend_from_slice(&chunk[..n]);
        while let Some(blank) = buffer.iter().position(|&b| b == b' ') {
            let length: usize =
                std::str::from_utf8(&buffer[..blank]).ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
                    panic!("not octet-counted: {:?}", String::from_utf8_lossy(&buffer));
                });
            if buffer.len() < blank + 1 + length {
                break;
            }
            let line = String::from_utf8_lossy(&buffer[blank + 1..blank + 1 + length]).into_owned();
            buffer.drain(..blank + 1 + length);
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}
