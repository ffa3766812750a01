//! Sessions with servers that want TLS or a PROXY header, and from proxies that send one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::peer::Peer;
use super::{Tcp, folder};
use crate::support::certificates::Authority;
use crate::support::{PATIENCE, ports};

fn site(bind: &str, routes: &str, backend: &str, server: SocketAddr) -> String {
    format!(
        "defaults: {{ health_check: off, log_null: true }}\nfrontends:\n  fe: {{ mode: tcp, bind: {bind}, routes: [ {routes} ] }}\nbackends:\n  web: {{ mode: tcp, {backend} servers: {{ s: \"{server}\" }} }}\n"
    )
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A server that answers one line over TLS and then closes without a farewell.
fn rude_tls_server(config: Arc<rustls::ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, tcp);
            let mut line = [0; 6];
            if stream.read_exact(&mut line).is_ok() {
                let _ = stream
                    .write_all(b"over TLS: ")
                    .and_then(|()| stream.write_all(&line))
                    .and_then(|()| stream.flush());
            }
        }
    });
    address
}

#[test]
fn a_server_may_be_spoken_to_in_tls() {
    let (dir, authority, address) = (folder(), Authority::new(), ports::address());
    let root = authority.write_root(&dir.path().join("root.pem"));
    let server = rude_tls_server(authority.server(&["db.test"]));
    let tls = format!("tls: {{ ca_file: {}, verify_host: db.test }},", root.display());
    let tcp = Tcp::start(dir, &site(&format!("\"{address}\""), "{ backend: web }", &tls, server));
    let mut client = connect(address);
    client.write_all(b"hello\n").unwrap();
    let mut got = String::new();
    client.read_to_string(&mut got).unwrap();
    assert_eq!(got, "over TLS: hello\n");
    drop(client);
    let row = tcp.rows("fe", 1)[0].clone();
    assert_eq!((&*row.to, &*row.flags, row.bytes), ("web/s", "--", 16));
}

#[test]
fn a_server_that_shows_the_wrong_certificate_gets_nothing() {
    let (dir, authority, address) = (folder(), Authority::new(), ports::address());
    let root = authority.write_root(&dir.path().join("root.pem"));
    let server = rude_tls_server(authority.server(&["other.test"]));
    let backend = format!("retries: 0, tls: {{ ca_file: {}, verify_host: db.test }},", root.display());
    let tcp = Tcp::start(dir, &site(&format!("\"{address}\""), "{ backend: web }", &backend, server));
    let mut client = connect(address);
    client.write_all(b"secret\n").unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    let row = tcp.rows("fe", 1)[0].clone();
    assert_eq!((&*row.to, row.connect, row.bytes), ("web/s", -1, 0));
    assert_eq!(&row.flags[1..], "C");
    assert_eq!(tcp.proxy.stat("web", "s").get("econ"), "1");
}

#[test]
fn a_server_is_told_of_the_client_and_of_the_name_it_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ports::address();
    let backend = "send_proxy: { version: v2, tlvs: [authority] },";
    let routes = "{ sni: a.test, backend: web }, { backend: web }";
    let server = listener.local_addr().unwrap();
    let _tcp = Tcp::start(folder(), &site(&format!("\"{address}\""), routes, backend, server));
    let mut client = connect(address);
    let hello = super::sni::client_hello("a.test");
    client.write_all(&hello).unwrap();
    let mut accepted = listener.accept().unwrap().0;
    accepted.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; 16];
    accepted.read_exact(&mut head).unwrap();
    assert_eq!(&head[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
    accepted.read_exact(&mut rest).unwrap();
    let client_address = client.local_addr().unwrap();
    assert_eq!((&rest[..4], &rest[8..10]), (&[127, 0, 0, 1][..], &client_address.port().to_be_bytes()[..]));
    // PP2_TYPE_AUTHORITY
    let told = rest.windows(9).any(|window| window == b"\x02\x00\x06a.test");
    assert!(told, "{rest:?}");
    let mut passed = vec![0; hello.len()];
    accepted.read_exact(&mut passed).unwrap();
    assert!(passed == hello, "the hello comes behind it, untouched");
}

#[test]
fn a_proxy_in_front_tells_who_the_client_is() {
    let (peer, address) = (Peer::new(), ports::address());
    let bind = format!("{{ address: \"{address}\", proxy_protocol: {{ from: 127.0.0.0/8 }} }}");
    let tcp = Tcp::start(folder(), &site(&bind, "{ client_ip: 192.0.2.0/24, backend: web }", "", peer.addr()));
    let mut client = connect(address);
    client.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nclose\n").unwrap();
    let mut got = String::new();
    client.read_to_string(&mut got).unwrap();
    assert_eq!(got, "closing\n");
    drop(client);
    let row = tcp.rows("fe", 1)[0].clone();
    assert_eq!((&*row.to, &*row.flags), ("web/s", "--"));
    assert!(tcp.logs.line_with("]: 192.0.2.7:4711 [").contains(" web/s "));
    let mut other = connect(address);
    other.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\nclose\n").unwrap();
    assert_eq!(other.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(tcp.rows("fe", 2)[1].to, "fe/<NOSRV>");
}
