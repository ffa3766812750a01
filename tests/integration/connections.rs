//! Listening: kinds of binds, and limits on connections.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::client::RawClient;
use crate::support::origin::Origin;
use crate::support::site::Site;
use crate::support::{ports, until};

#[test]
fn several_binds() {
    let origin = Origin::named("s1");
    let (one, two, six) = (ports::address(), ports::address(), ports::reserve());
    let site = Site::of(&[&origin]);
    let path = site.path("fe.sock");
    let site = site
        .frontend(format!(
            "bind:\n  - \"{one}\"\n  - \"{two}\"\n  - \"[::1]:{six}\"\n  - {{ address: \"unix:{}\", mode: \"600\" }}",
            path.display()
        ))
        .start();
    assert_eq!(RawClient::connect(one).get("/").text(), "s1");
    assert_eq!(RawClient::connect(two).get("/").text(), "s1");
    assert_eq!(RawClient::connect(format!("[::1]:{six}").parse().unwrap()).get("/").text(), "s1");
    assert_eq!(RawClient::connect_unix(&path).get("/unix").text(), "s1");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(site.logs.row_of("/unix").client.starts_with("unix:"), "{:?}", site.logs.row_of("/unix"));
}

#[test]
fn connections_over_the_frontends_limit_wait() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("maxconn: 2").start();
    let (mut a, mut b) = (site.client(), site.client());
    assert_eq!((a.get("/").status(), b.get("/").status()), (200, 200));
    let mut waiting = site.client();
    waiting.send("GET /waited HTTP/1.1\r\nHost: a\r\n\r\n");
    waiting.expect_silence(Duration::from_millis(300));
    assert_eq!(site.stat("fe", "FRONTEND").number("scur"), 2);
    assert_eq!(a.get("/").status(), 200, "those inside are not touched");
    drop(a);
    assert_eq!(waiting.answer().status(), 200);
    assert_eq!(site.stat("fe", "FRONTEND").number("smax"), 2);
    assert_eq!(site.stat("fe", "FRONTEND").number("slim"), 2);
}

#[test]
fn connections_over_the_processs_limit_wait() {
    let origin = Origin::named("s1");
    let other = ports::address();
    let site = Site::of(&[&origin])
        .global("maxconn", "2")
        .global("threads", "2")
        .more("frontends", format!("second:\n  bind: [ \"{other}\" ]\n  routes: [ {{ backend: web }} ]"))
        .start();
    let (mut a, mut b) = (site.client(), RawClient::connect(other));
    assert_eq!((a.get("/").status(), b.get("/").status()), (200, 200));
    let mut waiting = RawClient::connect(other);
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    waiting.expect_silence(Duration::from_millis(300));
    drop(a);
    assert_eq!(waiting.answer().status(), 200);
    assert_eq!(site.info("Maxconn"), "2");
}

#[test]
fn one_source_cannot_take_all() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).frontend("maxconn_per_source: 2").start();
    let greedy = || RawClient::connect_from([127, 0, 9, 1], site.address);
    let (mut a, mut b) = (greedy(), greedy());
    assert_eq!((a.get("/").status(), b.get("/").status()), (200, 200));
    let mut third = greedy();
    let _ = third.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    third.expect_closed();
    assert_eq!(RawClient::connect_from([127, 0, 9, 2], site.address).get("/").status(), 200);
    assert_eq!(site.stat("fe", "FRONTEND").number("dcon"), 1);
    drop(a);
    until("room again", || {
        let mut again = greedy();
        again.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
            && crate::support::message::Message::read_head(&mut again.wire).is_ok_and(|head| head.is_some())
    });
}

#[test]
fn many_connections() {
    let origin = Origin::named("s1");
    let site = Site::of(&[&origin]).global("threads", "2").start();
    let mut clients: Vec<RawClient> = (0..400).map(|_| site.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(site.stat("fe", "FRONTEND").number("scur"), 400);
    assert_eq!(site.info("CurrConns"), "400");
    drop(clients);
    until("all to be gone", || site.stat("fe", "FRONTEND").number("scur") == 0);
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let origin = Origin::named("s1");
    let setup = Site::of(&[&origin]).frontend("maxconn: 100000");
    // A child of a shell with few descriptors: it may raise its soft limit no higher than this.
    let (yaml, admin, address) = (setup.yaml(), setup.path("admin.sock"), setup.address());
    let file = setup.path("limited.yaml");
    std::fs::write(&file, yaml).unwrap();
    let binary = crate::support::proxy::BINARY;
    let _process = crate::support::tools::Running::start(
        std::process::Command::new("sh")
            .args(["-c", &format!("ulimit -n 64; exec {binary} run -c {}", file.display())])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null()),
    );
    until("the start", || crate::support::proxy::exchange(&admin, "show info\n").is_ok());
    let clients: Vec<RawClient> = (0..200).map(|_| RawClient::connect(address)).collect();
    std::thread::sleep(Duration::from_millis(300));
    drop(clients);
    until("service again", || {
        let mut client = RawClient::connect(address);
        client.wire.read_patience(Duration::from_millis(500));
        client.wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok()
            && crate::support::message::Message::read_head(&mut client.wire).is_ok_and(|head| head.is_some())
    });
}

#[test]
fn a_taken_port_is_an_error_with_a_remedy() {
    let origin = Origin::named("s1");
    let setup = Site::of(&[&origin]);
    let _taken = std::net::TcpListener::bind(setup.address()).unwrap();
    let file = setup.path("taken.yaml");
    std::fs::write(&file, setup.yaml()).unwrap();
    let output =
        std::process::Command::new(crate::support::proxy::BINARY).arg("run").arg("-c").arg(file).output().unwrap();
    let text = crate::support::tools::text(&output);
    assert!(!output.status.success());
    assert!(text.contains(&setup.address().to_string()) && text.to_lowercase().contains("in use"), "{text}");
}
