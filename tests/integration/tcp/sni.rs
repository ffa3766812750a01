//! Routing by the name in a ClientHello, without ending the TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::peer::Peer;
use super::{Tcp, folder};
use crate::support::certificates::{Authority, Key};
use crate::support::{PATIENCE, ports};

/// The first bytes of a TLS client that asks for `name`.
pub fn client_hello(name: &str) -> Vec<u8> {
    let authority = Authority::new();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(authority.client(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Three backends by name, and one for everybody else.
fn by_name(peers: &[&Peer; 3], bind: &str, more: &str) -> String {
    format!(
        r#"defaults: {{ health_check: off, log_null: true }}
frontends:
  fe:
    mode: tcp
    bind: {bind}
    {more}
    routes:
      - {{ sni: [a.test, "*.a.test"], backend: be_a }}
      - {{ sni: b.test, backend: be_b }}
      - {{ client_ip: 127.0.0.9, backend: be_b }}
      - {{ backend: be_rest }}
backends:
  be_a: {{ mode: tcp, servers: {{ a: "{}" }} }}
  be_b: {{ mode: tcp, servers: {{ b: "{}" }} }}
  be_rest: {{ mode: tcp, servers: {{ rest: "{}" }} }}
"#,
        peers[0].addr(),
        peers[1].addr(),
        peers[2].addr()
    )
}

/// Which of the three got a client that says this.
fn reached(tcp: &Tcp, address: std::net::SocketAddr, bytes: &[u8], n: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    tcp.rows("fe", n).last().unwrap().to.clone()
}

#[test]
fn the_name_decides_and_the_bytes_are_untouched() {
    let peers = [&Peer::new(), &Peer::new(), &Peer::new()];
    let address = ports::address();
    let tcp = Tcp::start(folder(), &by_name(&peers, &format!("\"{address}\""), ""));
    let hellos = [
        (client_hello("a.test"), "be_a/a"),
        (client_hello("A.Test"), "be_a/a"),
        (client_hello("x.y.a.test"), "be_a/a"),
        (client_hello("b.test"), "be_b/b"),
        (client_hello("nota.test"), "be_rest/rest"),
        (b"plain text\n".to_vec(), "be_rest/rest"),
    ];
    for (n, (bytes, expected)) in hellos.iter().enumerate() {
        assert_eq!(reached(&tcp, address, bytes, n + 1), *expected, "{n}");
    }
    // In records of one byte, and byte by byte.
    let hello = client_hello("b.test");
    let pieces: Vec<u8> = hello[5..].iter().flat_map(|byte| [&[22, 3, 1, 0, 1][..], &[*byte]].concat()).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in &pieces {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(b"\nclose\n").unwrap();
    let mut echoed = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut echoed).unwrap();
    drop(stream);
    assert_eq!(tcp.rows("fe", hellos.len() + 1).last().unwrap().to, "be_b/b");
    let first = pieces.split(|b| *b == b'\n').next().unwrap().trim_ascii();
    assert!(echoed.starts_with(&[b"echo ", first].concat()), "{echoed:?}");
}

#[test]
fn without_a_name_the_other_conditions_decide() {
    let peers = [&Peer::new(), &Peer::new(), &Peer::greeting("hello\n")];
    let address = ports::address();
    let tcp = Tcp::start(folder(), &by_name(&peers, &format!("\"{address}\""), "timeouts: { hello: 200ms }"));
    // A client that waits for the server to speak goes on when the time for its hello is over.
    let mut silent = TcpStream::connect(address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0; 6];
    silent.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"hello\n");
    drop(silent);
    assert_eq!(tcp.rows("fe", 1)[0].to, "be_rest/rest");
    let mut known = crate::support::client::RawClient::connect_from([127, 0, 0, 9], address);
    known.send("close\n").expect_closed_after(b"closing\n");
    drop(known);
    assert_eq!(tcp.rows("fe", 2)[1].to, "be_b/b");
}

#[test]
fn a_broken_hello_is_closed_and_counted_and_others_are_served() {
    let peers = [&Peer::new(), &Peer::new(), &Peer::new()];
    let address = ports::address();
    let tcp = Tcp::start(folder(), &by_name(&peers, &format!("\"{address}\""), ""));
    let mut whole = client_hello("a.test");
    let broken: [Vec<u8>; 4] = [
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00".to_vec(),
        b"\x16\x03\x01\x00\x00".to_vec(),
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff".to_vec(),
        {
            // One byte too much behind the extensions.
            whole[4] += 1;
            whole[8] += 1;
            whole.push(0);
            whole
        },
    ];
    for (n, bytes) in broken.iter().enumerate() {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0, "{n}");
        let row = tcp.rows("fe", n + 1)[n].clone();
        assert_eq!((&*row.to, &*row.flags), ("fe/<NOSRV>", "PR"), "{n}");
    }
    assert_eq!(tcp.proxy.stat("fe", "FRONTEND").get("ereq"), "4");
    assert_eq!(peers.iter().map(|p| p.seen()).sum::<usize>(), 0);
    assert_eq!(reached(&tcp, address, &client_hello("a.test"), 5), "be_a/a");
}

#[test]
fn openssl_talks_through_it_to_the_server_it_names() {
    let dir = folder();
    let authority = Authority::new();
    let root = authority.write_root(&dir.path().join("root.pem"));
    let mut servers = Vec::new();
    let mut backends = String::new();
    for name in ["one.test", "two.test"] {
        let pem = authority.write(&dir.path().join(format!("{name}.pem")), &[name], Key::Ecdsa);
        let port = ports::reserve();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(&pem)
            .arg("-key")
            .arg(&pem)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        servers.push(Ended(child));
        let word = name.split('.').next().unwrap();
        backends.push_str(&format!("  {word}: {{ mode: tcp, servers: {{ s: \"127.0.0.1:{port}\" }} }}\n"));
    }
    let address = ports::address();
    let tcp = Tcp::start(
        dir.clone(),
        &format!(
            "defaults: {{ health_check: {{ interval: 100ms, timeout: 100ms, rise: 1 }} }}\nfrontends:\n  fe:\n    mode: tcp\n    bind: \"{address}\"\n    routes: [ {{ sni: one.test, backend: one }}, {{ sni: two.test, backend: two }} ]\nbackends:\n{backends}"
        ),
    );
    for name in ["one", "two"] {
        crate::support::until("the checks", || tcp.proxy.stat(name, "s").get("check_status") == "L4OK");
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-connect", &address.to_string(), "-servername"])
            .arg(format!("{name}.test"))
            .args(["-verify_hostname", &format!("{name}.test"), "-CAfile"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        client.stdin.take().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let out = client.wait_with_output().unwrap();
        let page = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && page.contains("200 ok"), "{name}: {page}");
        let row = tcp.rows("fe", if name == "one" { 1 } else { 2 }).pop().unwrap();
        assert_eq!(row.to, format!("{name}/s"));
    }
}

#[test]
fn where_tls_ends_here_the_same_routes_go_by_the_name() {
    let peers = [&Peer::new(), &Peer::new(), &Peer::new()];
    let (dir, address, authority) = (folder(), ports::address(), Authority::new());
    let pem = authority.write(&dir.path().join("one.pem"), &["a.test", "b.test", "c.test"], Key::Ecdsa);
    let bind = format!("{{ address: \"{address}\", tls: {{ certificates: {} }} }}", pem.display());
    let tcp = Tcp::start(dir, &by_name(&peers, &bind, ""));
    for (n, (name, to)) in [("b.test", "be_b/b"), ("c.test", "be_rest/rest"), ("a.test", "be_a/a")].iter().enumerate() {
        let mut client = authority.connect(address, name);
        client.send("line\n");
        assert_eq!(client.wire.take(10).unwrap(), b"echo line\n");
        // The end of one side is told to the other, and its last words come back.
        client.wire.half_close();
        assert_eq!(client.wire.take_rest().unwrap(), b"bye\n");
        let row = tcp.rows("fe", n + 1)[n].clone();
        assert_eq!((&*row.to, &*row.flags, row.bytes), (*to, "--", 14));
    }
    assert!(tcp.logs.line_with("be_a/a").contains(" fe~ "));
}

/// A program that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

trait Closing {
    fn expect_closed_after(&mut self, bytes: &[u8]);
}

impl Closing for crate::support::client::RawClient {
    fn expect_closed_after(&mut self, bytes: &[u8]) {
        self.wire.read_patience(Duration::from_secs(10));
        assert_eq!(self.wire.take_rest().unwrap(), bytes);
    }
}
