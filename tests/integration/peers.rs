//! Between real peers: three nginx as servers, curl as client, rsyslogd as receiver, 10,000 mixed requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::httplog::Row;
use crate::support::nginx::Nginx;
use crate::support::rsyslog::{self, Rsyslog};
use crate::support::site::Site;
use crate::support::{eventually_or, tools};

/// What the servers do. `$arg_n` is the request's number; it comes back in the timing fields.
const LOCATIONS: &str = "
    add_header X-Total-Ms $arg_n always;
    add_header X-Route $uri always;
    location /ok { return 200 'a short answer'; }
    location /moved { return 302 /elsewhere; }
    location /missing { return 404 'no such page'; }
    location /broken { return 500; }
    location /empty { return 204; }
    location /file { }
    location /post { return 200 'taken'; }
";
const TOTAL: usize = 10_000;

/// What curl saw of one request.
struct Seen {
    status: i32,
    bytes: u64,
}

struct Request {
    target: String,
    method: &'static str,
    options: &'static str,
    status: i32,
}

fn requests() -> Vec<Request> {
    (0..TOTAL)
        .map(|n| {
            let (path, method, options, status) = match n % 10 {
                0 => ("/moved", "GET", "", 302),
                1 => ("/missing", "GET", "", 404),
                2 => ("/broken", "GET", "", 500),
                3 => ("/empty", "GET", "", 204),
                4 => ("/file/large", "GET", "", 200),
                5 => ("/ok", "HEAD", "head\n", 200),
                6 => ("/post", "POST", "data = \"a=1&b=2\"\n", 200),
                7 => (
                    "/post",
                    "PUT",
                    "request = \"PUT\"\nheader = \"Transfer-Encoding: chunked\"\ndata = \"in chunks\"\n",
                    200,
                ),
                8 => ("/ok", "GET", "http1.0\n", 200),
                _ => ("/ok", "GET", "user-agent = \"mixed/1.0\"\n", 200),
            };
            Request { target: format!("{path}?n={n}"), method, options, status }
        })
        .collect()
}

/// Runs curl over all requests: one process, kept connections, four at a time.
fn curl(folder: &Path, address: &str, requests: &[Request]) -> (BTreeMap<String, Seen>, String) {
    let heads = folder.join("heads");
    let mut config = String::new();
    for request in requests {
        config.push_str(&format!(
            "url = \"http://{address}{}\"\nsilent\noutput = /dev/null\ndump-header = \"{}\"\nmax-time = 60\n\
             write-out = \"%{{url_effective}} %{{http_code}} %{{size_header}} %{{size_download}}\\n\"\n{}next\n",
            request.target,
            heads.display(),
            request.options
        ));
    }
    let file = folder.join("curl.config");
    std::fs::write(&file, config.trim_end_matches("next\n")).unwrap();
    let mut command = Command::new(tools::need("curl", "curl"));
    let output = tools::run(command.args(["-q", "-K"]).arg(file), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let seen = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let target = words[0].trim_start_matches(&format!("http://{address}")).to_owned();
            let bytes = words[2].parse::<u64>().unwrap() + words[3].parse::<u64>().unwrap();
            (target, Seen { status: words[1].parse().unwrap(), bytes })
        })
        .collect();
    (seen, std::fs::read_to_string(heads).unwrap_or_default())
}

#[test]
fn ten_thousand_requests_give_ten_thousand_right_rows() {
    let site = Site::new();
    let _until_the_servers_have_ended = site.folder();
    let folder = site.path("peers");
    std::fs::create_dir(&folder).unwrap();
    let servers: Vec<Nginx> = ["s1", "s2", "s3"].iter().map(|name| Nginx::start(&folder, name, LOCATIONS)).collect();
    for nginx in &servers {
        let file = nginx.folder().join("html/file/large");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x".repeat(40_000)).unwrap();
    }
    let rsyslog = Rsyslog::start(&folder, rsyslog::AS_RECEIVED);
    let (target, received) = (rsyslog.target(), rsyslog.file());
    let site = servers
        .iter()
        .fold(site, |site, nginx| site.server(nginx.addr(), ""))
        .backend("balance: roundrobin\nhealth_check: { path: /ok, interval: 2s, timeout: 1s }")
        .frontend(
            "capture:\n  request: [ { header: User-Agent, max: 9 }, { header: Host, max: 64 } ]\n  \
             response: [ { header: X-Total-Ms, max: 6, strip: true }, { header: X-Route, max: 40, strip: true } ]",
        )
        .global("logs", format!("[ {{ target: \"{target}\", syslog: rfc3164, format: httplog }} ]"))
        .global("threads", "2")
        .start();

    let requests = requests();
    let (seen, heads) = curl(&folder, &site.address.to_string(), &requests);
    assert_eq!(seen.len(), TOTAL);

    // No captured field reached the client.
    let lower = heads.to_lowercase();
    assert!(lower.contains("server: nginx"), "curl wrote no heads");
    assert!(!lower.contains("x-total-ms") && !lower.contains("x-route"));

    // What the servers saw: who served which target, with which status.
    let mut served: BTreeMap<String, (String, String, i32)> = BTreeMap::new();
    for nginx in &servers {
        for line in nginx.access_log() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[1].contains("?n=") {
                let entry = (nginx.name().to_owned(), words[0].to_owned(), words[2].parse().unwrap());
                assert!(served.insert(words[1].to_owned(), entry).is_none(), "{} was served twice", words[1]);
            }
        }
    }
    assert_eq!(served.len(), TOTAL);

    let rows_now = || -> Vec<Row> {
        std::fs::read_to_string(received).unwrap_or_default().lines().filter_map(Row::parse).collect()
    };
    let rows = eventually_or(crate::support::PATIENCE, || Some(rows_now()).filter(|rows| rows.len() >= TOTAL));
    let rows = rows.unwrap_or_else(|| panic!("{} rows of {TOTAL}", rows_now().len()));
    assert_eq!(rows.len(), TOTAL);
    let by_target: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.target(), row)).collect();
    assert_eq!(by_target.len(), TOTAL, "some request has two rows");

    for (n, request) in requests.iter().enumerate() {
        let row = by_target.get(request.target.as_str()).unwrap_or_else(|| panic!("{} has no row", request.target));
        let (client, (server, method, status)) = (&seen[&request.target], &served[&request.target]);
        assert_eq!((client.status, row.status, *status), (request.status, request.status, request.status), "{row:?}");
        assert_eq!(row.bytes, client.bytes, "{row:?}");
        assert_eq!((row.backend.as_str(), &row.server), ("web", server), "{row:?}");
        assert_eq!((row.request.split(' ').next().unwrap(), method.as_str()), (request.method, request.method));
        assert_eq!((row.frontend.as_str(), row.termination.as_str(), row.retries), ("fe", "----", 0), "{row:?}");
        assert!(row.timers.iter().all(|&t| (0..60_000).contains(&t)), "{row:?}");
        assert!(row.client.starts_with("127.0.0.1:"), "{row:?}");
        let agent = if request.options.contains("mixed") { "mixed/1.0" } else { "curl/" };
        let captured = row.request_captures.as_ref().expect("a block of request captures");
        assert!(captured[0].starts_with(agent) && captured[0].len() <= 9, "{row:?}");
        assert_eq!(captured[1], site.address.to_string());
        let path = request.target.split('?').next().unwrap();
        assert_eq!(row.response_captures.as_ref().unwrap(), &[n.to_string(), path.to_owned()], "{row:?}");
    }
    let counts = servers.iter().map(|s| served.values().filter(|(name, _, _)| name == s.name()).count());
    assert!(counts.clone().all(|n| n == TOTAL / 3 || n == TOTAL / 3 + 1), "{:?}", counts.collect::<Vec<_>>());
    assert_eq!(site.stat("fe", "FRONTEND").number("req_tot"), TOTAL as i64);
}
