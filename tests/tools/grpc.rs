//! gRPC through lockgate with grpcio at both ends: all four kinds of calls, failures, deadlines and clients that leave.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::interop::Door;
use crate::python;
use crate::support::site::Site;
use crate::support::{ports, tools, until};

/// A server of grpcio's.
fn server() -> (std::net::SocketAddr, tools::Running) {
    let address = ports::address();
    let mut command = Command::new(python::program("python"));
    command.arg("-B").arg(python::folder().join("drivers/grpc_calls.py")).args(["serve", &address.to_string()]);
    let mut server = tools::Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut said = [0; 5];
    server.child().stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready");
    (address, server)
}

#[test]
fn calls_of_all_four_kinds() {
    let (address, _server) = server();
    // The library with itself, so that a failure below is lockgate's.
    python::must_work("grpc_calls.py", &["call", &address.to_string()]);
    let door = Door::open(Site::new().server(address, "proto: h2"));
    python::must_work("grpc_calls.py", &["call", &door.plain.to_string()]);
    let secure = format!("localhost:{}", door.secure.port());
    python::must_work("grpc_calls.py", &["call", &secure, &door.root(), "localhost"]);
    until("every call to end", || door.site.stat("web", "s1").number("scur") == 0);
}

#[test]
fn a_server_that_is_gone_is_unavailable() {
    let (address, server) = server();
    let door = Door::open(Site::new().server(address, "proto: h2"));
    python::must_work("grpc_calls.py", &["once", &door.plain.to_string(), "OK"]);
    drop(server);
    until("nobody to listen", || std::net::TcpStream::connect(address).is_err());
    python::must_work("grpc_calls.py", &["once", &door.plain.to_string(), "UNAVAILABLE"]);
}
