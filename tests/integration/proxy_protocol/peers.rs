//! Between programs that speak the PROXY protocol themselves: HAProxy in front and behind, nginx behind, curl.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{GET, bind};
use crate::support::certificates::{Authority, Key};
use crate::support::client::RawClient;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::tools::{self, Running};
use crate::support::{ports, until};

/// Starts HAProxy with what stands in `sections`.
fn haproxy(folder: &Path, listens: SocketAddr, sections: &str) -> Running {
    let file = folder.join("haproxy.cfg");
    let defaults = "defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n";
    std::fs::write(&file, format!("{defaults}{sections}")).unwrap();
    let mut command = Command::new(tools::need("haproxy", "haproxy"));
    command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(&mut command);
    until("HAProxy to listen", || TcpStream::connect(listens).is_ok());
    running
}

#[test]
fn haproxy_in_front() {
    let authority = Authority::new();
    let origin = Origin::named("s1");
    let site = bind(Site::of(&[&origin]), "from: 127.0.0.0/8")
        .frontend("request_headers: [ { set: { X-Said: \"%[fc_pp_tls] %[fc_pp_tls_version] %[fc_pp_authority] %[fc_pp_unique_id]\" } } ]")
        .start();
    let folder = site.dir.path();
    let file = authority.write(&folder.join("front.pem"), &["front.test"], Key::Ecdsa);
    let [v1, v2, ssl] = std::array::from_fn(|_| ports::address());
    let to = site.address;
    let sections = format!(
        "listen v1\n bind {v1}\n server s {to} send-proxy check\n\
         listen v2\n bind {v2}\n server s {to} send-proxy-v2 check\n\
         listen ssl\n bind {ssl} ssl crt {}\n unique-id-format %{{+X}}o\\ %ci\n http-request set-header X-A b\n \
         server s {to} send-proxy-v2-ssl proxy-v2-options authority,crc32c,unique-id\n",
        file.display()
    );
    let _front = haproxy(folder, v1, &sections);
    for front in [v1, v2] {
        // Its checks make it ready: they are taken as what they are.
        let client = crate::support::eventually("HAProxy to find us well", || {
            let mut client = RawClient::connect_from([127, 0, 0, 9], front);
            (client.ask(GET).text() == "s1").then_some(client)
        });
        let seen = origin.requests().pop().unwrap();
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.9"]);
        assert_eq!(seen.all("x-forwarded-port"), [front.port().to_string()]);
        site.logs.line_with(&format!(" {} [", client.local_addr()));
    }
    let mut client = authority.connect(ssl, "front.test");
    assert_eq!(client.get("/secure").text(), "s1");
    let seen = origin.requests().pop().unwrap();
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    let said = seen.field("x-said").unwrap();
    assert!(said.starts_with("1 TLSv1.3 front.test 7F000001"), "{said}");
}

#[test]
fn haproxy_behind() {
    let folder = Site::new();
    let [v1, v2] = std::array::from_fn(|_| ports::address());
    let section = |name: &str, at: SocketAddr| {
        format!(
            "frontend {name}\n bind {at} accept-proxy\n http-request return status 200 content-type text/plain \
             lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]\"\n"
        )
    };
    // Connecting without a header, as the wait does, is a failed connection to it.
    let _behind = haproxy(folder.folder().path(), v1, &(section("v1", v1) + &section("v2", v2)));
    for (at, send_proxy, id) in [
        (v1, "v1".to_owned(), ""),
        (v2, "{ version: v2, tlvs: [unique-id, crc32c, ssl, authority] }".to_owned(), "id-1"),
    ] {
        let site = Site::new()
            .backend("health_check: { interval: 100ms }")
            .frontend("trusted_proxies: 127.0.0.0/8")
            .server(at, &format!("send_proxy: {send_proxy}"))
            .start();
        site.wait_status("s1", "UP");
        let mut client = RawClient::connect_from([127, 0, 0, 9], site.address);
        let from = client.local_addr();
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-1\r\n\r\n").text();
        let expected = format!("{from} {} ", site.address);
        assert!(answer.starts_with(&expected) && answer.ends_with(id), "{answer:?}, not {expected:?}");
    }
}

#[test]
fn nginx_behind() {
    let own = Site::new();
    let folder = own.folder();
    let dir = folder.path().display();
    let [plain, tls] = std::array::from_fn(|_| ports::address());
    let authority = Authority::new();
    let file = authority.write(&folder.path().join("n.pem"), &["n.test"], Key::Ecdsa);
    let pem = file.display();
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "daemon off; master_process off; {user} pid {dir}/pid; error_log {dir}/error.log warn;\n\
         events {{ worker_connections 128; }}\n\
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n\
           uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
           server {{ listen {plain} proxy_protocol; listen {tls} ssl proxy_protocol; ssl_certificate {pem};\n\
             ssl_certificate_key {pem};\n\
             location / {{ return 200 '$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_port'; }} }} }}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(tools::need("nginx", "nginx-light"));
    command.arg("-c").arg(folder.path().join("nginx.conf")).arg("-p").arg(folder.path());
    let _nginx = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    until("nginx to listen", || TcpStream::connect(plain).is_ok());
    for send_proxy in ["v1", "v2", "{ version: v2, tlvs: [ssl, crc32c, unique-id] }"] {
        let site = Site::new()
            .backend("health_check: { interval: 100ms }")
            .server(plain, &format!("send_proxy: {send_proxy}"))
            .start();
        site.wait_status("s1", "UP");
        let mut client = RawClient::connect_from([127, 0, 0, 9], site.address);
        let expected = format!("{} {}", client.local_addr(), site.address.port());
        assert_eq!(client.get("/").text(), expected, "{send_proxy}");
        assert_eq!(client.get("/again").text(), expected, "{send_proxy}");
    }
    // Checks over TLS begin with the header, too.
    let check = "health_check: { interval: 100ms, tls: { verify: false } }";
    let site = Site::new().backend(check).server(tls, "send_proxy: v2").start();
    site.wait_status("s1", "UP");
}

#[test]
fn lockgate_behind_lockgate() {
    let origin = Origin::named("s1");
    let inner = bind(Site::of(&[&origin]), "from: 127.0.0.0/8").start();
    for send_proxy in ["v1", "{ version: v2, tlvs: [ssl, authority, unique-id, crc32c] }"] {
        let outer = Site::new()
            .backend("health_check: { interval: 100ms }")
            .server(inner.address, &format!("send_proxy: {send_proxy}"))
            .start();
        outer.wait_status("s1", "UP");
        let mut client = RawClient::connect_from([127, 0, 0, 9], outer.address);
        assert_eq!(client.get("/chain").text(), "s1");
        let line = format!(" {} [", client.local_addr());
        inner.logs.line_with(&line);
        outer.logs.line_with(&line);
    }
}

#[test]
fn curl_says_who_it_is() {
    let origin = Origin::named("s1");
    let site = bind(Site::of(&[&origin]), "from: 127.0.0.0/8").start();
    let mut command = Command::new(tools::need("curl", "curl"));
    command.args(["-sS", "--haproxy-protocol", "--interface", "127.0.0.8"]).arg(format!("http://{}/", site.address));
    assert_eq!(tools::text(&tools::run(&mut command, "")), "s1");
    assert_eq!(origin.requests()[0].all("x-forwarded-for"), ["127.0.0.8"]);
}

#[test]
fn http2_with_headers_on_both_ends() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]);
    let line =
        format!("bind: [ {{ address: \"{}\", proto: h2, proxy_protocol: {{ from: 127.0.0.0/8 }} }} ]", site.address());
    let inner = site.frontend(line).start();
    let outer = Site::new()
        .backend("health_check: { interval: 100ms }")
        .server(inner.address, "proto: h2, send_proxy: { version: v2, tlvs: [unique-id] }")
        .start();
    outer.wait_status("s1", "UP");
    let from = |last| RawClient::connect_from([127, 0, 0, last], outer.address);
    let (mut first, mut second) = (from(9), from(10));
    for _ in 0..3 {
        for (client, address) in [(&mut first, "127.0.0.9"), (&mut second, "127.0.0.10")] {
            assert_eq!(client.get("/h2").text(), "s1");
            assert_eq!(
                origin.requests().last().unwrap().all("x-forwarded-for"),
                [address],
                "nobody is taken for another"
            );
        }
    }
    assert_eq!(outer.stat("web", "s1").number("reuse"), 4, "each client's connection serves its own requests");
    for client in [&first, &second] {
        inner.logs.line_with(&format!(" {} [", client.local_addr()));
    }
    // They go with their clients.
    let open = || inner.stat("fe", "FRONTEND").number("scur");
    drop((first, second));
    until("the connections to end", || open() == 0);
}
