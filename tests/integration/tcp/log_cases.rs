//! HAProxy's own `tcplog` lines, recorded from 2.8 (`tests/compat/golden/tcp-2.8.txt`), replayed: the same clients, the
//! same servers, the same names. Compared are the place, the letters, retries, queues and which times were never reached.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::peer::{Peer, reset};
use super::{Row, Tcp, folder};
use crate::support::{PATIENCE, ports, until};

const GOLDEN: &str = include_str!("../../compat/golden/tcp-2.8.txt");

/// Cases by name, with their lines.
fn golden() -> HashMap<&'static str, Vec<Row>> {
    let cases = GOLDEN.split("### ").skip(1);
    let rows = |case: &str| case.lines().filter_map(Row::parse).collect();
    cases.map(|case| (case.lines().next().unwrap(), rows(case))).collect()
}

/// What of a line does not depend on the clock.
fn shape(row: &Row) -> String {
    let reached = |ms: i64| if ms < 0 { "-1" } else { "n" };
    format!(
        "{} {} {}/{} {} rc={} {}",
        row.frontend,
        row.to,
        reached(row.queue),
        reached(row.connect),
        row.flags,
        row.retries,
        row.queues
    )
}

struct Lab {
    tcp: Tcp,
    ports: HashMap<&'static str, SocketAddr>,
    health: Option<TcpListener>,
    _peer: Peer,
}

impl Lab {
    fn start() -> Lab {
        let names = ["ok", "refuse", "redisp", "queue", "nosrv", "reject", "sni", "fin", "srvto", "kill"];
        let ports: HashMap<_, _> = names.into_iter().map(|name| (name, ports::address())).collect();
        let at = |name: &str| ports[name];
        let peer = Peer::new();
        let (org, dead) = (peer.addr(), ports::address());
        let health = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = health.local_addr().unwrap().port();
        let simple = |name: &str, more: &str| {
            format!(
                "  fe_{name}: {{ mode: tcp, bind: \"{}\", {more} routes: [ {{ backend: be_{name} }} ] }}\n",
                at(name)
            )
        };
        let sections = format!(
            r#"defaults:
  timeouts: {{ connect: 200ms, client: 1500ms, server: 2s, queue: 400ms }}
  log_null: true
  redispatch: false
  health_check: off
  initial: up
frontends:
{ok}{refuse}{redisp}{queue}{nosrv}{fin}{srvto}{kill}
  fe_reject: {{ mode: tcp, bind: "{reject}", deny: [ {{ client_ip: 127.0.0.0/8 }} ], routes: [ {{ backend: be_ok }} ] }}
  fe_sni:
    mode: tcp
    bind: "{sni}"
    timeouts: {{ hello: 300ms }}
    routes: [ {{ sni: a.test, backend: be_ok }} ]
backends:
  be_ok: {{ mode: tcp, servers: {{ s1: "{org}" }} }}
  be_refuse: {{ mode: tcp, servers: {{ s1: "{dead}" }} }}
  be_redisp: {{ mode: tcp, redispatch: true, servers: {{ r1: "{dead}", ok: "{org}" }} }}
  be_queue: {{ mode: tcp, servers: {{ s1: {{ address: "{org}", maxconn: 1 }} }} }}
  be_nosrv: {{ mode: tcp, servers: {{ s1: {{ address: "{org}", disabled: true }} }} }}
  be_fin: {{ mode: tcp, timeouts: {{ server_fin: 350ms }}, servers: {{ s1: "{org}" }} }}
  be_srvto: {{ mode: tcp, timeouts: {{ server: 400ms }}, servers: {{ s1: "{org}" }} }}
  be_kill:
    mode: tcp
    health_check: {{ type: tcp, port: {check}, interval: 100ms, timeout: 100ms, rise: 1, fall: 1 }}
    on_marked_down: shutdown-sessions
    servers: {{ k1: "{org}" }}
"#,
            ok = simple("ok", ""),
            refuse = simple("refuse", "timeouts: { client: 10s },"),
            redisp = simple("redisp", ""),
            queue = simple("queue", ""),
            nosrv = simple("nosrv", ""),
            fin = simple("fin", "timeouts: { client_fin: 250ms },"),
            srvto = simple("srvto", "timeouts: { client: 5s },"),
            kill = simple("kill", "timeouts: { client: 10s },"),
            reject = at("reject"),
            sni = at("sni"),
        );
        let tcp = Tcp::start(folder(), &sections);
        Lab { tcp, ports, health: Some(health), _peer: peer }
    }

    fn client(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.ports[name]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client that has said a line and heard the answer.
    fn talking(&self, name: &str) -> TcpStream {
        let mut stream = self.client(name);
        say(&mut stream, "a\n");
        stream
    }

    fn wait_stat(&self, proxy: &str, row: &str, column: &str, value: &str) {
        until(&format!("{proxy}/{row} {column}={value}"), || self.tcp.proxy.stat(proxy, row).get(column) == value);
    }

    fn wait_kill_server(&self, status: &str) {
        self.wait_stat("be_kill", "k1", "status", status);
    }
}

fn say(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(line.as_bytes()).unwrap();
    let mut got = [0; 1024];
    let n = stream.read(&mut got).unwrap();
    String::from_utf8_lossy(&got[..n]).into_owned()
}

/// Everything until the end, or until it breaks.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

fn hello(name: &str) -> Vec<u8> {
    super::sni::client_hello(name)
}

/// Plays a case as it was played with HAProxy.
fn play(lab: &mut Lab, case: &str) {
    let half = |mut s: TcpStream| {
        // A session that is over already is found by its line.
        let _ = s.shutdown(Shutdown::Write);
        rest(&mut s)
    };
    let ask = |lab: &Lab, name: &str, words: &[u8]| {
        let mut s = lab.client(name);
        s.write_all(words).unwrap();
        rest(&mut s)
    };
    match case {
        "client-closes-first" => assert_eq!(half(lab.talking("ok")), b"bye\n"),
        "server-closes-first" => assert_eq!(ask(lab, "ok", b"close\n"), b"closing\n"),
        "client-rst" => reset(lab.talking("ok")),
        "server-rst" => assert_eq!(ask(lab, "ok", b"rst\n"), b""),
        "server-data-rst" => assert_eq!(ask(lab, "ok", b"datarst\n").len(), 1000),
        "client-idle" => drop(rest(&mut lab.talking("ok"))),
        "server-idle" => drop(rest(&mut lab.talking("srvto"))),
        "client-not-reading" => {
            let mut s = lab.client("ok");
            s.write_all(b"flood\n").unwrap();
            lab.tcp.rows("fe_ok", 1);
            assert!(rest(&mut s).len() < 8 << 20);
        }
        "server-not-reading" => {
            let mut s = lab.client("srvto");
            s.write_all(b"silent\n").unwrap();
            s.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            while s.write(&[b'q'; 65536]).is_ok() {}
            lab.tcp.rows("fe_srvto", 1);
        }
        "refused" => assert_eq!(ask(lab, "refuse", b"hello\n"), b""),
        "refused-no-bytes" => assert_eq!(rest(&mut lab.client("refuse")), b""),
        "redispatched" => {
            for _ in 0..2 {
                half(lab.talking("redisp"));
            }
        }
        "queue-timeout" => {
            let first = lab.talking("queue");
            assert_eq!(ask(lab, "queue", b"b\n"), b"");
            half(first);
        }
        "waited-in-queue" | "client-half-closes-in-queue-with-data" => {
            let first = lab.talking("queue");
            let mut second = lab.client("queue");
            second.write_all(b"b\n").unwrap();
            if case != "waited-in-queue" {
                second.shutdown(Shutdown::Write).unwrap();
            }
            lab.wait_stat("be_queue", "BACKEND", "qcur", "1");
            half(first);
            assert_eq!(half(second), b"echo b\nbye\n");
        }
        "client-leaves-queue-empty" => {
            let first = lab.talking("queue");
            let second = lab.client("queue");
            lab.wait_stat("be_queue", "BACKEND", "qcur", "1");
            drop(second);
            lab.tcp.rows("fe_queue", 1);
            half(first);
        }
        "no-server" => assert_eq!(ask(lab, "nosrv", b"x\n"), b""),
        "rejected" => assert_eq!(ask(lab, "reject", b"x\n"), b""),
        "sni-not-tls" => assert_eq!(ask(lab, "sni", b"x\n"), b""),
        "sni-silent" => assert_eq!(rest(&mut lab.client("sni")), b""),
        "sni-unknown" => assert_eq!(ask(lab, "sni", &hello("b.test")), b""),
        "sni-known" => {
            let mut s = lab.client("sni");
            s.write_all(&hello("a.test")).unwrap();
            assert!(half(s).ends_with(b"bye\n"));
        }
        "client-half-closes-at-once" => assert_eq!(half(lab.client("ok")), b"bye\n"),
        "client-closes-at-once" => drop(lab.client("ok")),
        "server-half-closed-client-fin" => {
            let mut s = lab.client("fin");
            assert_eq!(say(&mut s, "half\n"), "half\n");
            lab.tcp.rows("fe_fin", 1);
        }
        "client-half-closed-server-fin" | "client-half-closed" => {
            let mut s = lab.client(if case == "client-half-closed" { "srvto" } else { "fin" });
            s.write_all(b"silent\n").unwrap();
            half(s);
        }
        "server-half-closed" => {
            let mut s = lab.client("ok");
            assert_eq!(say(&mut s, "half\n"), "half\n");
            lab.tcp.rows("fe_ok", 1);
        }
        "killed" => {
            lab.wait_kill_server("UP");
            let mut s = lab.talking("kill");
            lab.tcp.proxy.order("shutdown sessions server be_kill/k1");
            assert_eq!(rest(&mut s), b"");
        }
        "server-down" => {
            lab.wait_kill_server("UP");
            let mut s = lab.talking("kill");
            lab.health = None;
            assert_eq!(rest(&mut s), b"");
        }
        other => panic!("{other} is not played"),
    }
}

/// What is not as recorded, on purpose.
const DIFFERENT: [(&str, &str); 3] = [
    ("sni-close", "HAProxy asks its routes for a client that has left without a word; here it is `CR`"),
    ("client-rst-in-queue", "`CD` in HAProxy; here `CQ`, as for a client that closes there"),
    ("show-sess", "a session for another recording"),
];
/// Cases played at a time.
const AT_ONCE: usize = 4;

/// Where shorter waits of one side were needed here, another frontend stands for the recording's.
fn frontend_of(case: &str, rows: &[Row]) -> String {
    match case {
        "server-not-reading" | "client-half-closed" => "fe_srvto".to_owned(),
        _ => rows[0].frontend.clone(),
    }
}

/// Plays a case in a lab of its own; what is different, if anything.
fn differs(case: &str, rows: &[Row]) -> Option<String> {
    let mut lab = Lab::start();
    play(&mut lab, case);
    let frontend = frontend_of(case, rows);
    let (from, to) = (&rows[0].frontend[3..], &frontend[3..]);
    let (recorded, here) = (format!("fe_{from} be_{from}/"), format!("fe_{to} be_{to}/"));
    let mut expected: Vec<_> = rows.iter().map(|row| shape(row).replace(&recorded, &here)).collect();
    let mut got: Vec<_> = lab.tcp.rows(&frontend, rows.len()).iter().map(shape).collect();
    expected.sort();
    got.sort();
    (expected != got).then(|| format!("{case}:\n  HAProxy {expected:?}\n  here    {got:?}"))
}

#[test]
fn sessions_are_logged_as_haproxy_logs_them() {
    let golden = golden();
    assert!(golden.len() > 30, "{} cases", golden.len());
    let mut names: Vec<_> = golden.keys().copied().collect();
    names.retain(|name| DIFFERENT.iter().all(|(other, _)| other != name));
    names.sort_unstable();
    let mut wrong = Vec::new();
    for some in names.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let golden = &golden;
            let played: Vec<_> = some.iter().map(|name| scope.spawn(move || differs(name, &golden[name]))).collect();
            wrong.extend(played.into_iter().filter_map(|thread| thread.join().unwrap()));
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
