//! A server that talks in lines, as HAProxy was recorded with: `echo LINE` to everything but a few orders.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The server; ends when dropped.
pub struct Peer {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    seen: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Peer {
    /// Says `hello` first, if that is not empty.
    pub fn greeting(hello: &'static str) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (open, seen, stop) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, known, stopped) = (open.clone(), seen.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let counted = counted.clone();
                counted.fetch_add(1, Ordering::AcqRel);
                known.fetch_add(1, Ordering::AcqRel);
                std::thread::spawn(move || {
                    let _ = converse(stream, hello);
                    counted.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Peer { address, open, seen, stop }
    }

    pub fn new() -> Peer {
        Peer::greeting("")
    }

    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Sessions open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Sessions there ever were.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Acquire)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn converse(mut stream: TcpStream, hello: &str) -> std::io::Result<()> {
    stream.write_all(hello.as_bytes())?;
    let mut buffer = Vec::new();
    let mut mute = false;
    let mut chunk = [0; 65536];
    loop {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return if mute { Ok(()) } else { stream.write_all(b"bye\n") };
        }
        buffer.extend_from_slice(&chunk[..n]);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            match line.trim_ascii() {
                b"close" => return stream.write_all(b"closing\n"),
                b"rst" => {
                    reset(stream);
                    return Ok(());
                }
                b"datarst" => {
                    stream.write_all(&[b'x'; 1000])?;
                    std::thread::sleep(Duration::from_millis(100));
                    reset(stream);
                    return Ok(());
                }
                b"half" => {
                    stream.write_all(b"half\n")?;
                    stream.shutdown(Shutdown::Write)?;
                    mute = true;
                }
                _ if mute => {}
                // Nothing more is read or said until the other side gives up.
                b"silent" => return wait_until_gone(&stream),
                b"flood" => stream.write_all(&vec![b'z'; 8 << 20])?,
                other => stream.write_all(&[b"echo ", other, b"\n"].concat())?,
            }
        }
    }
}

fn wait_until_gone(stream: &TcpStream) -> std::io::Result<()> {
    use std::os::fd::AsFd;
    // Hang-up alone: neither data nor the end of it is looked at.
    let mut polled = [nix::poll::PollFd::new(stream.as_fd(), nix::poll::PollFlags::empty())];
    for _ in 0..100 {
        let _ = nix::poll::poll(&mut polled, 100u16);
        if polled[0].revents().is_some_and(|r| !r.is_empty()) {
            break;
        }
    }
    Ok(())
}
