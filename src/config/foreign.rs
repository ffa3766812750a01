//! What people write who know other programs: words and lines of HAProxy's and nginx's configurations, and what says
//! the same here. Only messages are made better by it; nothing of this is accepted.

/// What other programs call a key that means the same here.
const SYNONYMS: [(&str, &str); 27] = [
    ("ssl", "tls"),
    ("listen", "bind"),
    ("crt", "certificates"),
    ("crt", "certificate"),
    ("verifyhost", "verify_host"),
    ("server_name", "sni"),
    ("curves", "groups"),
    ("ssl_certificate", "certificates"),
    ("upstreams", "backends"),
    ("clusters", "backends"),
    ("nodes", "servers"),
    ("hosts", "servers"),
    ("endpoints", "servers"),
    ("check", "health_check"),
    ("default_backend", "routes"),
    ("inter", "interval"),
    ("nbthread", "threads"),
    ("worker_processes", "threads"),
    ("acl", "routes"),
    ("uri", "path"),
    ("auth", "users"),
    ("hide-version", "show_version"),
    ("len", "max_line"),
    ("src", "client_ip"),
    ("map", "host_map"),
    ("agent-check", "agent"),
    ("agent-inter", "interval"),
];

/// Words of other programs and what to write instead. The first words of a key are looked up: `timeout connect` finds
/// `timeout`.
const SENTENCES: &[(&str, &str)] = &[
    // HAProxy's sections.
    ("frontend", "frontends stand under `frontends`, by name: `frontends: { public: { bind: …, routes: … } }`"),
    ("backend", "backends stand under `backends`, by name: `backends: { web: { servers: … } }`"),
    (
        "listen",
        "`bind` of a frontend says where it listens; HAProxy's `listen` is a frontend, a backend and a route between them",
    ),
    ("upstream", "servers stand in a backend: `backends: { web: { servers: { web01: 10.0.0.1:80 } } }`"),
    ("resolvers", "remove it: names are resolved by the name servers of /etc/resolv.conf"),
    ("peers", "remove it: rate-limit tables belong to one process"),
    ("userlist", "users of a stats page stand in its `users`: `users: { ops: { hash: …, level: admin } }`"),
    ("http", "remove it: `global`, `defaults`, `frontends` and `backends` stand at the top"),
    ("events", "remove it: `global: { threads: auto, maxconn: … }` says what is needed"),
    // HAProxy's keywords.
    ("mode", "it stands in a frontend or a backend: `mode: tcp`; without it everything is HTTP"),
    (
        "option",
        "remove it: `httplog` is the format of logs, `forwardfor` is `forwarded`, `httpchk` is `health_check`, `redispatch` a key of its own",
    ),
    ("timeout", "write `timeouts: { connect: 5s, client: 30s, server: 30s }`"),
    ("server", "write `servers: { web01: 10.0.0.1:80 }`"),
    ("default-server", "what all servers share stands in the backend: `health_check`, `slowstart`, `observe`"),
    ("server-template", "write each server: `servers: { web01: 10.0.0.1:80 }`"),
    ("default_backend", "write a route without conditions as the last one: `routes: [ { backend: web } ]`"),
    (
        "use_backend",
        "write a route: `routes: [ { host: example.com, path: /api/, backend: api } ]`, or by a file `{ host_map: hosts.map, backend: web }`",
    ),
    (
        "acl",
        "conditions stand in the route: `{ host: example.com, path: /api/, backend: api }`; who is refused stands in `deny`",
    ),
    ("redirect", "a redirect is a route: `{ host: old.example.com, redirect: { to: https://example.com } }`"),
    ("http-request", "header rules are `request_headers`, denials `deny`, limits and tables `rate_limits`"),
    ("http-response", "header rules are `response_headers`"),
    (
        "stick-table",
        "tables are those of `rate_limits` (`action: track`, `store`); persistence is `cookie` or `balance: source`",
    ),
    ("stick", "persistence is `cookie` or `balance: source` of a backend"),
    (
        "stats",
        "a stats page is `stats: { path: /haproxy }` of a frontend, or `global: { stats: [ { bind: \"127.0.0.1:8404\" } ] }`; an admin socket is `global: { admin: [ { socket: PATH, level: admin } ] }`",
    ),
    ("auth", "write `users: { NAME: { hash: HASH, level: admin } }`; `lockgate hash-password` makes the hash"),
    ("hide-version", "write `show_version: false`"),
    ("agent-check", "write `agent: { port: 5555 }`"),
    ("agent-port", "write `agent: { port: 5555 }`"),
    ("agent-addr", "write `agent: { address: 10.0.0.1, port: 5555 }`"),
    ("agent-send", "write `agent: { port: 5555, send: \"TEXT\\n\" }`"),
    ("master-worker", "remove it: there is one process, which systemd looks after"),
    (
        "accept-proxy",
        "write `proxy_protocol: { from: [10.0.0.0/8] }` in the bind, with the networks of the load balancers in front",
    ),
    ("log", "write `global: { logs: [ { target: \"udp://127.0.0.1:514\" } ] }`"),
    ("log-format", "write it as `log` of the frontend, or as `format` of a log target"),
    ("access_log", "write `global: { logs: [ { target: \"file:///var/log/lockgate/requests.log\" } ] }`"),
    ("error_log", "remove it: what lockgate says of itself goes to standard error"),
    ("errorfile", "pages are `maintenance_page` of a backend and `no_route` of a frontend"),
    ("error_page", "pages are `maintenance_page` of a backend and `no_route` of a frontend"),
    ("monitor-uri", "write a route: `{ path: \"= /alive\", respond: { status: 200 } }`"),
    ("compression", "write `compression: { algorithms: [gzip], types: [text/html] }` in frontend, backend or route"),
    ("gzip", "write `compression: { algorithms: [gzip] }` in frontend, backend or route"),
    ("gzip_types", "write `compression: { types: [text/html, text/css] }` in frontend, backend or route"),
    ("gzip_min_length", "write `compression: { min_bytes: 1KiB }` in frontend, backend or route"),
    ("brotli", "write `compression: { algorithms: [br] }` in frontend, backend or route"),
    ("capture", "write `capture: { request: [ { header: Host, max: 64 } ] }` in the frontend"),
    ("http-check", "write `health_check: { method: GET, path: /health, expect: 200 }`"),
    ("httpchk", "write `health_check: { method: GET, path: /health, expect: 200 }`"),
    ("http-reuse", "connections are reused: `pool: { max_idle: 64 }`; 0 switches it off"),
    ("dispatch", "write `servers: { web01: 10.0.0.1:80 }`"),
    ("fullconn", "remove it: limits of servers do not move; `queue_max` limits who waits"),
    ("daemon", "remove it: lockgate stays in the foreground, systemd does the rest"),
    ("pidfile", "remove it: systemd knows the process"),
    ("chroot", "remove it: the systemd unit confines the process"),
    ("user", "remove it: the systemd unit says who runs lockgate"),
    ("group", "remove it: the systemd unit says who runs lockgate"),
    ("ulimit-n", "remove it: the limit is raised as far as allowed (`LimitNOFILE=` of the systemd unit)"),
    ("maxcomprate", "write `global: { compression: { max_rate: 1MiB } }`, in bytes per second"),
    ("maxcompcpuusage", "write `global: { compression: { max_cpu: 80 } }`"),
    ("maxzlibmem", "write `global: { compression: { memory: 64MiB } }`"),
    ("rate-limit", "write `rate_limit_sessions: 100` in the frontend"),
    ("tune", "limits of messages are `limits` in `defaults`, frontends and backends"),
    ("ssl-default-bind-options", "write `min_version` in `tls` of the bind"),
    ("ssl-default-bind-ciphers", "remove it: only strong ciphers are offered"),
    ("ca-base", "remove it: paths start from the folder of this file"),
    ("crt-base", "remove it: paths start from the folder of this file"),
    // nginx's.
    ("server_name", "write `host` in a route: `{ host: [example.com, www.example.com], backend: web }`"),
    ("location", "write `path` in a route: `{ path: /api/, backend: api }`"),
    ("proxy_pass", "write `backend` in a route: `{ path: /api/, backend: api }`"),
    ("proxy_set_header", "write `request_headers: [ { set: { NAME: VALUE } } ]`"),
    ("add_header", "write `response_headers: [ { add: { NAME: VALUE } } ]`"),
    ("root", "remove it: files are served by your web servers; `respond: { file: … }` serves one"),
    ("return", "write `respond: { status: 404 }` or `redirect: { to: … }` in a route"),
    ("rewrite", "write `redirect` in a route; paths are passed to servers as they came"),
    ("ssl_certificate_key", "the key stands in the file of the certificate, or beside it as `.key`"),
    ("ssl_protocols", "write `min_version` in `tls` of the bind"),
    ("client_max_body_size", "write `limits: { body: 10MiB }`"),
    ("client_header_timeout", "write `timeouts: { request: 10s }`"),
    ("client_body_timeout", "write `timeouts: { client: 30s }`"),
    ("keepalive_timeout", "write `timeouts: { keepalive: 60s }`"),
    ("proxy_connect_timeout", "write `timeouts: { connect: 5s }`"),
    ("proxy_read_timeout", "write `timeouts: { server: 30s }`"),
    ("proxy_send_timeout", "write `timeouts: { server: 30s }`"),
    ("limit_req", "write `rate_limits: [ { name: per-client, rate: 100/s, burst: 200 } ]`"),
    ("limit_conn", "write `rate_limits: [ { name: per-client, concurrent: 50 } ]`"),
    ("set_real_ip_from", "write `trusted_proxies: [10.0.0.0/8]` in the frontend"),
    ("worker_processes", "write `global: { threads: auto }`"),
    ("nbthread", "write `global: { threads: auto }`"),
    ("ip_hash", "write `balance: source`"),
    ("least_conn", "write `balance: leastconn`"),
    ("proxy-protocol", "write `proxy_protocol: { from: [10.0.0.0/8] }` in the bind"),
    ("send-proxy", "write `send_proxy: v1`"),
    ("send-proxy-v2", "write `send_proxy: v2`"),
    ("send-proxy-v2-ssl", "write `send_proxy: { version: v2, tlvs: [ssl] }`"),
    ("send-proxy-v2-ssl-cn", "write `send_proxy: { version: v2, tlvs: [ssl, cert-cn] }`"),
    ("proxy-v2-options", "write `send_proxy: { version: v2, tlvs: [ssl, unique-id] }`"),
    ("check-send-proxy", "write `health_check: { send_proxy: v2 }`"),
    ("worker_connections", "write `global: { maxconn: … }`"),
];

/// HAProxy's `option`s and what to write instead.
const OPTIONS: &[(&str, &str)] = &[
    (
        "httplog",
        "remove it: `httplog` is the usual format; `log` of a frontend and `format` of a log target say another",
    ),
    ("httpslog", "write `log: httpslog`"),
    ("tcplog", "write `log: tcplog`"),
    ("logasap", "write `logasap: true`"),
    ("log-health-checks", "write `log_health_checks: true`"),
    ("log-separate-errors", "write `log_separate_errors: true`"),
    ("dontlognull", "remove it: connections that send nothing are not logged unless `log_null: true`"),
    ("dontlog-normal", "write `log_separate_errors: true`, and `level: err` in the log target"),
    ("socket-stats", "write `socket_stats: true`"),
    ("forwardfor", "remove it: `X-Forwarded-For` is sent unless `forwarded: { x_forwarded_for: false }`"),
    ("httpchk", "write `health_check: { method: GET, path: /health, expect: 200 }`"),
    ("redispatch", "write `redispatch: true`, which is the default"),
];

/// Balancing algorithms of other programs, and ours.
const ALGORITHMS: [(&str, &str); 8] = [
    ("static-rr", "roundrobin"),
    ("round-robin", "roundrobin"),
    ("round_robin", "roundrobin"),
    ("least_conn", "leastconn"),
    ("least-connections", "leastconn"),
    ("ip_hash", "source"),
    ("hash", "uri"),
    ("url_param", "uri"),
];

/// Options behind a server's address that take a value, and the key that says the same.
const SERVER_VALUES: [(&str, &str); 6] = [
    ("weight", "weight"),
    ("maxconn", "maxconn"),
    ("max_conns", "maxconn"),
    ("cookie", "cookie"),
    ("slowstart", "slowstart"),
    ("slow_start", "slowstart"),
];

/// Options behind a server's address that take none.
const SERVER_FLAGS: [(&str, &str); 5] = [
    ("backup", "backup: true"),
    ("disabled", "disabled: true"),
    ("down", "disabled: true"),
    ("send-proxy", "send_proxy: v1"),
    ("send-proxy-v2", "send_proxy: v2"),
];

/// The key of ours that a word of another program stands for.
pub(super) fn synonym(word: &str) -> Option<&'static str> {
    SYNONYMS.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours)
}

/// What to write instead of a key that other programs know.
pub(super) fn sentence(key: &str) -> Option<&'static str> {
    let mut words = key.split([' ', '\t', '.']);
    let (word, second) = (words.next().unwrap_or_default(), words.next());
    if let ("option", Some(option)) = (word, second)
        && let Some((_, sentence)) = OPTIONS.iter().find(|(foreign, _)| *foreign == option)
    {
        return Some(sentence);
    }
    SENTENCES.iter().find(|(foreign, _)| *foreign == word).map(|(_, sentence)| *sentence)
}

/// The algorithm that another program calls so.
pub(super) fn algorithm(word: &str) -> Option<&'static str> {
    let word = word.split([' ', '(']).next().unwrap_or_default();
    ALGORITHMS.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours)
}

/// `10.0.0.1:80 check weight 5` → the address, and how its options are written here.
pub(super) fn server_line(written: &str) -> Option<String> {
    let mut words: Vec<&str> = written.split_whitespace().collect();
    // `server web01 10.0.0.1:80 check`, or `web01 10.0.0.1:80 check`
    while words.len() > 1 && !words.first().is_some_and(|word| word.contains([':', '.'])) {
        words.remove(0);
    }
    let (address, options) = words.split_first()?;
    let mut keys: Vec<String> = Vec::new();
    let mut options = options.iter().flat_map(|option| option.split('='));
    while let Some(option) = options.next() {
        if let Some((_, key)) = SERVER_VALUES.iter().find(|(foreign, _)| *foreign == option) {
            keys.extend(options.next().map(|value| format!("{key}: {value}")));
        } else if let Some((_, key)) = SERVER_FLAGS.iter().find(|(foreign, _)| *foreign == option) {
            keys.push((*key).to_owned());
        }
    }
    Some(match keys.is_empty() {
        true => format!("`{address}`"),
        false => format!("`{{ address: {address}, {} }}`", keys.join(", ")),
    })
}

/// The program whose configuration a text is, when lines of it could not stand in a file of ours.
pub(super) fn program(text: &str) -> Option<&'static str> {
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split_whitespace();
        let (first, second, third) = (words.next().unwrap_or_default(), words.next(), words.next());
        match (first, second, third) {
            ("http" | "events" | "server" | "stream", Some("{"), None) => return Some("nginx"),
            ("upstream" | "location", Some(_), Some("{")) => return Some("nginx"),
            _ if code.starts_with([' ', '\t']) => {}
            ("global" | "defaults", None, None) => return Some("HAProxy"),
            ("frontend" | "backend" | "listen" | "userlist" | "resolvers" | "peers", Some(name), _)
                if !first.ends_with(':') && !name.starts_with(['{', '[', ':']) =>
            {
                return Some("HAProxy");
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_programs_are_recognised() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(program(text), expected, "{text}");
        check("# haproxy\nglobal\n    daemon\ndefaults\n    mode http\n", Some("HAProxy"));
        check("frontend http-in\n    bind *:80\n", Some("HAProxy"));
        check("listen stats :8404\n", Some("HAProxy"));
        check("events {\n}\nhttp {\n}\n", Some("nginx"));
        check("upstream web {\n  server 10.0.0.1;\n}\n", Some("nginx"));
        check("global:\n  threads: 4\nfrontends:\n  backend web: {}\n", None);
        check("frontend: {}\nbackend : { }\n", None);
        check("", None);
    }

    #[test]
    fn server_lines_become_values() {
        let check = |line: &str, expected: &str| assert_eq!(server_line(line).as_deref(), Some(expected), "{line}");
        check("10.0.0.1:80 check", "`10.0.0.1:80`");
        check("10.0.0.1:80 check inter 2s weight 5 backup", "`{ address: 10.0.0.1:80, weight: 5, backup: true }`");
        check("server web01 10.0.0.1:80 cookie a", "`{ address: 10.0.0.1:80, cookie: a }`");
        check("10.0.0.1:80 weight=5", "`{ address: 10.0.0.1:80, weight: 5 }`");
    }

    #[test]
    fn first_words_find_their_sentence() {
        for key in ["timeout connect", "option httplog", "http-request", "tune.bufsize", "server web01"] {
            assert!(sentence(key).is_some(), "{key}");
        }
        assert_eq!(sentence("option log-health-checks"), Some("write `log_health_checks: true`"));
        assert_eq!(sentence("colour"), None);
    }
}
