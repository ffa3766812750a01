//! Much data, many sessions, slow readers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::peer::Peer;
use super::{Tcp, folder};
use crate::support::certificates::{Authority, Key};
use crate::support::{PATIENCE, holds_for, ports, until};

const MIB: usize = 1 << 20;

/// Bytes that tell if some are missing, doubled or moved.
struct Pattern(u64);

impl Pattern {
    fn fill(&mut self, chunk: &mut [u8]) {
        for word in chunk.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let bytes = self.0.to_be_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

fn send(to: &mut impl Write, bytes: usize, seed: u64) {
    let mut pattern = Pattern(seed);
    let mut chunk = vec![0; 64 * 1024];
    for _ in 0..bytes / chunk.len() {
        pattern.fill(&mut chunk);
        to.write_all(&chunk).unwrap();
    }
}

/// Reads that many bytes and checks each.
fn expect(from: &mut impl Read, bytes: usize, seed: u64) {
    let mut pattern = Pattern(seed);
    let (mut chunk, mut good) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    for n in 0..bytes / chunk.len() {
        from.read_exact(&mut chunk).unwrap_or_else(|e| panic!("chunk {n}: {e}"));
        pattern.fill(&mut good);
        assert!(chunk == good, "chunk {n} is not what was sent");
    }
}

fn site(server: SocketAddr, bind: &str, more: &str) -> String {
    format!(
        "defaults: {{ health_check: off }}\nfrontends:\n  fe: {{ mode: tcp, bind: {bind}, {more} routes: [ {{ backend: web }} ] }}\nbackends:\n  web: {{ mode: tcp, servers: {{ s: \"{server}\" }} }}\n"
    )
}

/// A server that sends and takes so many bytes at once, then ends.
fn both_ways(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let sending = std::thread::spawn(move || {
                    send(&mut writer, bytes, 7);
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                expect(&mut stream, bytes, 8);
                assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
                sending.join().unwrap();
            });
        }
    });
    address
}

/// Pipes the process has open.
fn pipes(tcp: &Tcp) -> usize {
    let folder = format!("/proc/{}/fd", tcp.proxy.pid());
    let is_pipe = |path: &Path| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("pipe:"));
    std::fs::read_dir(folder).unwrap().flatten().filter(|entry| is_pipe(&entry.path())).count()
}

#[test]
fn sixty_four_mebibytes_both_ways_arrive_as_they_were_sent() {
    let bytes = 64 * MIB;
    let address = ports::address();
    let tcp = Tcp::start(folder(), &site(both_ways(bytes), &format!("\"{address}\""), ""));
    let before = pipes(&tcp);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        send(&mut writer, bytes, 8);
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    expect(&mut client, bytes, 7);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    sending.join().unwrap();
    let row = tcp.rows("fe", 1)[0].clone();
    assert_eq!((&*row.flags, row.bytes), ("--", bytes as u64));
    assert_eq!(tcp.proxy.stat("fe", "FRONTEND").get("bin"), bytes.to_string());
    let spliced = pipes(&tcp) - before;
    assert!((2..=4).contains(&spliced), "{spliced} ends of pipes: the kernel moved the bytes");
}

#[test]
fn through_tls_it_is_copied_and_the_same() {
    let bytes = 16 * MIB;
    let (dir, address, authority) = (folder(), ports::address(), Authority::new());
    let pem = authority.write(&dir.path().join("one.pem"), &["a.test"], Key::Ecdsa);
    let bind = format!("{{ address: \"{address}\", tls: {{ certificates: {} }} }}", pem.display());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        expect(&mut stream, bytes, 8);
        send(&mut stream, bytes, 7);
    });
    let tcp = Tcp::start(dir, &site(server, &bind, ""));
    let before = pipes(&tcp);
    let mut client = authority.connect(address, "a.test");
    let mut all = Vec::new();
    send(&mut all, bytes, 8);
    client.send(&all);
    let got = client.wire.take(bytes).unwrap();
    expect(&mut &got[..], bytes, 7);
    assert!(client.wire.take_rest().unwrap().is_empty());
    assert_eq!(pipes(&tcp), before, "TLS cannot be spliced");
}

#[test]
fn a_slow_reader_holds_the_server_back_and_not_our_memory() {
    let address = ports::address();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let chunk = vec![1; 64 * 1024];
        while stream.write_all(&chunk).is_ok() {
            counted.fetch_add(chunk.len(), std::sync::atomic::Ordering::AcqRel);
        }
    });
    let tcp = Tcp::start(folder(), &site(server, &format!("\"{address}\""), ""));
    let memory = tcp.proxy.memory_kib("VmRSS");
    let mut client = crate::support::client::RawClient::connect_narrow(address);
    client.wire.fill().unwrap();
    let now = || sent.load(std::sync::atomic::Ordering::Acquire);
    // What the kernels' buffers take, and then no more.
    let mut last = usize::MAX;
    until("the server to be held back", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, now()) == now()
    });
    let held = now();
    holds_for(Duration::from_millis(300), "it is held back", || now() == held);
    assert!(tcp.proxy.memory_kib("VmRSS") < memory + 2048, "{memory} KiB before");
    // Who reads on gets on.
    client.wire.skip(4 * MIB as u64).unwrap();
    until("the server to go on", || now() > held);
}

#[test]
fn a_thousand_sessions_at_once_and_none_lost() {
    let peer = Peer::new();
    let address = ports::address();
    let tcp = Tcp::with_global(folder(), "threads: 2", &site(peer.addr(), &format!("\"{address}\""), ""));
    let mut clients: Vec<_> = (0..1000)
        .map(|_| {
            let client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        })
        .collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("{n}\n").as_bytes()).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let expected = format!("echo {n}\n");
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
    assert_eq!((peer.open(), tcp.proxy.stat("web", "s").get("scur")), (1000, "1000"));
    for client in &clients {
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for client in &mut clients {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"bye\n");
    }
    let rows = tcp.rows("fe", 1000);
    assert!(rows.iter().all(|row| row.flags == "--"));
    until("all to be gone", || tcp.proxy.stat("fe", "FRONTEND").get("scur") == "0");
}
