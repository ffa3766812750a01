//! Ports that nobody else takes between choosing and binding.
//!
//! A port that was bound to 0 and released may be handed to another process at once. So ports come from below the
//! kernel's ephemeral range, and each is kept by a locked file for the life of this process: tests of one machine that
//! run at the same time, as threads or processes, never meet.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that is free for TCP and UDP and stays ours.
pub fn reserve() -> u16 {
    let folder = std::env::temp_dir().join("lockgate-test-ports");
    std::fs::create_dir_all(&folder).expect("the folder of port locks can be made");
    let (low, high) = (10_100u16, ephemeral_start().saturating_sub(1).max(20_000));
    let count = high - low;
    let start = fastrand::u16(0..count);
    for step in 0..count {
        let port = low + (start + step) % count;
        let Ok(lock) = File::create(folder.join(port.to_string())) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("::1", port)).map_or_else(|e| e.kind() != std::io::ErrorKind::AddrInUse, |_| true);
        if free {
            KEPT.lock().expect("no test panics while it keeps a port").push(lock);
            return port;
        }
    }
    panic!("no free port between {low} and {high}");
}

/// [`reserve`] as an address on 127.0.0.1.
pub fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], reserve()))
}

fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next().and_then(|n| n.parse().ok()))
        .unwrap_or(32_768)
}
