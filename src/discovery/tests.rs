//! Look-ups against a name server of a few lines, which builds its answers byte by byte (RFC 1035 section 4).

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::*;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;

/// How the name server answers a question for a name and type: `None` is silence, else response code, answers and
/// authorities as (type, seconds to live, data).
type Zone = fn(name: &str, kind: u16) -> Option<(u8, Vec<Record>, Vec<Record>)>;
type Record = (u16, u32, Vec<u8>);

const V4: [u8; 4] = [192, 0, 2, 1];

fn zone(name: &str, kind: u16) -> Option<(u8, Vec<Record>, Vec<Record>)> {
    let v6 = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let soa = |minimum: u32| {
        // Root as primary and mailbox, then serial, refresh, retry, expire, minimum (RFC 2308: the negative TTL).
        let mut data = vec![0, 0];
        [1, 2, 3, 4, minimum].iter().for_each(|field| data.extend_from_slice(&field.to_be_bytes()));
        (SOA, 3600, data)
    };
    Some(match (name, kind) {
        ("both.test", A) => (0, vec![(A, 300, V4.into()), (A, 60, vec![192, 0, 2, 2])], vec![]),
        ("both.test", AAAA) => (0, vec![(AAAA, 120, v6)], vec![]),
        ("four.test", A) => (0, vec![(A, 7, V4.into()), (A, 7, V4.into())], vec![]),
        ("half.test", A) => (0, vec![(A, 30, V4.into())], vec![]),
        ("half.test", AAAA) => (2, vec![], vec![]),
        // An alias that holds for a shorter time than the address behind it.
        ("alias.test", A) => (0, vec![(CNAME, 5, b"\x04four\x04test\x00".to_vec()), (A, 400, V4.into())], vec![]),
        ("old.test", A) => (0, vec![(A, 0, V4.into())], vec![]),
        ("ages.test", A) => (0, vec![(A, 10_000_000, V4.into())], vec![]),
        ("gone.test", _) => (3, vec![], vec![soa(17)]),
        ("gone-bare.test", _) => (3, vec![], vec![]),
        ("broken.test", _) => (2, vec![], vec![]),
        ("refused.test", _) => (5, vec![], vec![]),
        ("silent.test", _) => return None,
        _ => (0, vec![], vec![soa(23)]),
    })
}

async fn name_server(socket: UdpSocket, zone: Zone) {
    let mut buffer = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        if let Some(reply) = answer(&buffer[..length], zone) {
            socket.send_to(&reply, from).await.unwrap();
        }
    }
}

fn answer(query: &[u8], zone: Zone) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..=at + length].to_vec()).unwrap().to_ascii_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let (code, answers, authorities) = zone(&labels.join("."), kind)?;

    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1]);
    reply.extend((answers.len() as u16).to_be_bytes());
    reply.extend((authorities.len() as u16).to_be_bytes());
    reply.extend([0, 0]);
    reply.extend(question);
    let aliased = answers.first().is_some_and(|(kind, ..)| *kind == CNAME);
    for (position, (kind, ttl, data)) in answers.into_iter().chain(authorities).enumerate() {
        if aliased && position > 0 {
            reply.extend(b"\x04four\x04test\x00");
        } else {
            reply.extend([0xc0, 12]);
        }
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(ttl.to_be_bytes());
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

async fn start() -> Lookup {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(name_server(socket, zone));
    Lookup::with_name_servers(&[address], Duration::from_millis(200)).with_hosts("/nonexistent/hosts".into())
}

#[tokio::test]
async fn answers_come_with_their_time_to_live() {
    let lookup = start().await;
    let rows: &[(&str, &[&str], u64)] = &[
        ("both.test", &["192.0.2.1", "192.0.2.2", "2001:db8::1"], 60),
        ("BOTH.test.", &["192.0.2.1", "192.0.2.2", "2001:db8::1"], 60),
        ("four.test", &["192.0.2.1"], 7),
        ("half.test", &["192.0.2.1"], 30),
        ("alias.test", &["192.0.2.1"], 5),
        ("old.test", &["192.0.2.1"], 0),
        ("ages.test", &["192.0.2.1"], 86_400),
        ("203.0.113.9", &["203.0.113.9"], 86_400),
        ("2001:db8::9", &["2001:db8::9"], 86_400),
        ("localhost", &["127.0.0.1", "::1"], 10),
    ];
    for (host, addresses, seconds) in rows {
        let (answer, ttl) = lookup.lookup(host).await;
        let answer: Vec<String> = answer.unwrap().iter().map(IpAddr::to_string).collect();
        assert_eq!(answer, *addresses, "{host}");
        assert_eq!(ttl, Duration::from_secs(*seconds), "{host}");
    }
}

#[tokio::test]
async fn failures_say_why_and_how_long_they_hold() {
    let lookup = start().await;
    let rows = [
        ("gone.test", "the name does not exist (NXDOMAIN)", 17),
        ("gone-bare.test", "the name does not exist (NXDOMAIN)", 1),
        ("none.test", "the name has no address (neither A nor AAAA)", 23),
        ("broken.test", "the name server failed (SERVFAIL)", 1),
        ("refused.test", "the name server refused to answer (REFUSED)", 1),
        ("silent.test", "no name server answered in time", 1),
    ];
    for (host, reason, seconds) in rows {
        let (answer, ttl) = lookup.lookup(host).await;
        assert_eq!(&*answer.unwrap_err(), reason, "{host}");
        assert_eq!(ttl, Duration::from_secs(seconds), "{host}");
    }
    let (answer, _) = lookup.lookup("bad..name").await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn every_look_up_asks_anew() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let lookup = Lookup::with_name_servers(&[socket.local_addr().unwrap()], Duration::from_secs(5))
        .with_hosts("/nonexistent/hosts".into());
    let asked = std::cell::Cell::new(0);
    let serving = async {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            asked.set(asked.get() + 1);
            socket.send_to(&answer(&buffer[..length], zone).unwrap(), from).await.unwrap();
        }
    };
    let asking = async {
        for _ in 0..3 {
            lookup.lookup("four.test").await.0.unwrap();
        }
    };
    tokio::select! {
        () = asking => {}
        () = serving => {}
    }
    assert_eq!(asked.get(), 6, "an A and an AAAA question each time");
}

#[tokio::test]
async fn the_hosts_file_is_read_anew_and_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let lookup = start().await.with_hosts(hosts.clone());
    let first = async || lookup.lookup("four.test").await.0.unwrap()[0];
    assert_eq!(first().await, Ipv4Addr::from(V4));
    std::fs::write(&hosts, "10.9.8.7 four.test\n").unwrap();
    assert_eq!(first().await, Ipv4Addr::new(10, 9, 8, 7));
    assert_eq!(lookup.lookup("four.test").await.1, HOSTS_TTL);
}

#[tokio::test]
async fn without_name_servers_the_reason_is_told() {
    let lookup = Lookup::without("no name server in /etc/resolv.conf".to_owned());
    assert_eq!(&*lookup.lookup("web.test").await.0.unwrap_err(), "no name server in /etc/resolv.conf");
    assert!(lookup.lookup("localhost").await.0.is_ok());
}

#[tokio::test]
async fn the_systems_own_configuration_never_stops_a_start() {
    let lookup = Lookup::system().with_hosts("/nonexistent/hosts".into());
    assert_eq!(lookup.lookup("localhost").await.0.unwrap().len(), 2);
}
