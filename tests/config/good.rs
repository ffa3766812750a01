//! Files that load, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use lockgate::config::model::{AdminAddress, Level, LogDestination};
use lockgate::config::{Host, Model, Source, load};
use lockgate::core::filter::TemplatePiece;
use lockgate::core::fleet::spec::{InitialState, ReturnFromDrain, ServerAddress};
use lockgate::core::health::CheckKind;
use lockgate::core::route::{HostPattern, PathPattern, Redirect, RedirectTarget, RouteAction, ValueTest};
use lockgate::core::tls::names::TlsVersion;
use lockgate::core::tls::{ServerTls, Sni};

use serde_yaml::Value;

use crate::machine::Machine;

fn read(path: &std::path::Path) -> Source {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    Source { name, text: std::fs::read_to_string(path).expect("a readable file") }
}

/// Loads a file that has neither error nor warning.
fn loaded(path: &std::path::Path) -> Model {
    let (model, report) = load(&read(path), &Machine);
    assert!(report.diagnostics().is_empty(), "{}", report.render(false));
    model.expect("no error, so there is a model")
}

fn model_of(text: &str) -> Model {
    let (model, report) = load(&Source { name: "f.yaml".into(), text: text.into() }, &Machine);
    assert!(report.diagnostics().is_empty(), "{}", report.render(false));
    model.expect("no error, so there is a model")
}

#[test]
fn good_files_load_without_a_word() {
    let files = crate::yaml_files("tests/config/good");
    assert!(!files.is_empty());
    for file in files {
        loaded(&file);
    }
}

#[test]
fn the_minimal_file_loads() {
    let model = loaded(&crate::repository("conf/minimal.yaml"));
    assert_eq!((model.fleet.frontends.len(), model.fleet.backends.len(), model.binds.len()), (1, 1, 1));
    assert_eq!(model.global.threads, 2);
    assert_eq!(model.global.maxconn, 100_000);
    let server = &model.fleet.backends[0].servers[0];
    assert_eq!(
        (server.weight, server.initial, server.return_from_drain),
        (1, InitialState::First, ReturnFromDrain::Checks)
    );
    let check = server.check.as_ref().expect("servers are checked unless said otherwise");
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!((check.rise, check.fall), (3, 3));
    let CheckKind::Http(http) = &check.kind else { panic!("{:?}", check.kind) };
    assert_eq!((&*http.method, &*http.path, &http.expect[..]), ("HEAD", "/", &[(200, 200)][..]));
}

#[test]
fn the_first_file_of_an_installation_answers_lockgate_ctl() {
    let model = loaded(&crate::repository("conf/lockgate.yaml"));
    let AdminAddress::Unix(socket) = &model.global.admin[0].address else { panic!("not a unix socket") };
    assert_eq!(socket.path.to_str(), Some(lockgate::cli::socket::DEFAULT_SOCKET));
    assert_eq!(model.global.admin[0].level, Level::Admin);
    assert!(model.global.state_file.is_some() && !model.global.logs.is_empty());
}

/// Whether a file has the key of a path like `frontends.NAME.bind.tls`, in any of its frontends and binds.
fn shows(value: &Value, path: &str) -> bool {
    if let Value::Sequence(items) = value {
        return items.iter().any(|item| shows(item, path));
    }
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    let key = key.trim_end_matches("[]");
    let Value::Mapping(map) = value else { return false };
    let mut found = map.iter().filter(|(name, _)| key == "NAME" || name.as_str() == Some(key)).map(|(_, value)| value);
    if rest.is_empty() { found.next().is_some() } else { found.any(|value| shows(value, rest)) }
}

/// A time at which the example's certificate is valid, whenever the test runs.
fn the_year_2040() -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(70 * 365 * 86_400)
}

#[test]
fn the_example_loads_and_has_every_key() {
    let file = crate::repository("conf/example.yaml");
    let source = read(&file);
    // The files it names stand beside it, so it loads on any Debian machine.
    let (model, report) = load(&source, &Host::beside(&file, the_year_2040()));
    assert!(model.is_some() && report.diagnostics().is_empty(), "{}", report.render(false));
    let written: Value = serde_yaml::from_str(&source.text).expect("YAML");
    let keys = lockgate::config::keys();
    // A section that can stand in several places (`health_check`, `limits`, …) is one schema; showing a key in one of
    // its places is enough.
    let place = |schema: &'static serde_json::Value| std::ptr::from_ref(schema);
    let shown: Vec<_> = keys.iter().filter(|(path, _)| shows(&written, path)).map(|(_, s)| place(s)).collect();
    let missing: Vec<&str> =
        keys.iter().filter(|(_, schema)| !shown.contains(&place(schema))).map(|(path, _)| &**path).collect();
    // Nobody shall copy a password that stands there as it is; it is warned about, too.
    let missing: Vec<&str> = missing.into_iter().filter(|path| !path.ends_with(".users.NAME.password")).collect();
    assert!(missing.is_empty(), "conf/example.yaml does not show {missing:?}");
}

#[test]
fn health_checks_are_put_together_key_by_key() {
    let model = model_of(
        "defaults: { health_check: { interval: 4s, rise: 2 } }\n\
         frontends: { web: { bind: 127.0.0.1:0, routes: [ { backend: web } ] } }\n\
         backends:\n  web:\n    health_check: { path: /up, fall: 5 }\n    servers:\n\
         \x20     a: 10.0.0.1:80\n\
         \x20     b: { address: '10.0.0.2:80', health_check: { type: tcp, port: 9000 } }\n\
         \x20     c: { address: '10.0.0.3:80', health_check: off }\n",
    );
    let servers = &model.fleet.backends[0].servers;
    let (a, b) = (servers[0].check.as_ref().expect("checked"), servers[1].check.as_ref().expect("checked"));
    let CheckKind::Http(http) = &a.kind else { panic!("{:?}", a.kind) };
    assert_eq!((&*http.path, a.interval, a.rise, a.fall), ("/up", Duration::from_secs(4), 2, 5));
    assert_eq!(
        (&b.kind, b.interval, b.rise, b.fall, b.port),
        (&CheckKind::Tcp, Duration::from_secs(4), 2, 5, Some(9000))
    );
    assert!(servers[2].check.is_none());
}

#[test]
fn tls_to_servers_is_put_together_key_by_key() {
    let model = model_of(
        "defaults: { server_tls: { min_version: '1.3', session_cache: 9 } }\n\
         frontends: { web: { bind: 127.0.0.1:0, routes: [ { backend: web } ] } }\n\
         backends:\n  web:\n    tls: { groups: [P-256, x25519], sni: request_host }\n    health_check: { host: 'up.test:81' }\n\
         \x20   servers:\n\
         \x20     a: app.test:443\n\
         \x20     b: { address: '10.0.0.2:443', tls: { sni: B.test, ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256' } }\n\
         \x20     c: { address: '10.0.0.3:443', tls: false, health_check: { tls: { server_name: c.test } } }\n\
         \x20     d: { address: 'app2.test:443', tls: { sni: 'off' }, health_check: { port: 80 } }\n",
    );
    let servers = &model.fleet.backends[0].servers;
    let tls = |i: usize| servers[i].tls.settings().expect("known");
    let check = |i: usize| servers[i].check.as_ref().and_then(|check| check.tls.as_ref());
    let shown = |tls: &ServerTls| (tls.sni.clone(), tls.name.as_deref().map(str::to_owned));
    assert!(servers[0].tls.is_on() && servers[1].tls.is_on() && !servers[2].tls.is_on());
    assert_eq!(shown(tls(0)), (Sni::RequestHost, None));
    assert_eq!((&tls(0).groups[..], tls(0).sessions_max, tls(0).min_version), (&[0x17, 0x1d][..], 9, TlsVersion::V1_3));
    assert_eq!(&*tls(0).owner, "web/a");
    // A check sends its own host where requests send theirs.
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(shown(check(0).expect("as the server")), (Sni::Fixed("up.test".into()), name("up.test")));
    assert_eq!(shown(tls(1)), (Sni::Fixed("b.test".into()), name("b.test")));
    assert_eq!(tls(1).ciphers, [0x1301, 0xc02f]);
    assert!(Arc::ptr_eq(tls(1), check(1).expect("as the server")), "one connector for both");
    assert_eq!(shown(check(2).expect("its own")), (Sni::Name, name("c.test")));
    assert_eq!(shown(tls(3)), (Sni::Off, name("app2.test")));
    assert_eq!(check(3), None, "it is checked elsewhere");
    assert!(model.fleet.backends[0].server_defaults.tls.is_on());
}

#[test]
fn a_shorter_interval_shortens_the_default_timeout() {
    let model = model_of(
        "frontends: { web: { bind: 127.0.0.1:0, routes: [ { backend: web } ] } }\n\
         backends: { web: { health_check: { interval: 2s, fastinter: 300ms }, servers: { a: '10.0.0.1:80' } } }\n",
    );
    let check = model.fleet.backends[0].servers[0].check.clone().expect("checked");
    assert_eq!((check.timeout, check.downinter), (Duration::from_millis(300), Duration::from_secs(2)));
}

#[test]
fn order_and_numbers_are_those_of_the_file() {
    let model = model_of(
        "frontends: { zeta: { bind: 127.0.0.1:0, routes: [ { backend: b } ] }, alpha: { bind: 127.0.0.1:0, routes: [ { backend: a } ] } }\n\
         backends: { b: { servers: { z: '10.0.0.1:80', y: 'host.example:81' } }, a: { servers: { x: 'unix:/run/x' } } }\n",
    );
    let names: Vec<_> = model.fleet.frontends.iter().map(|f| (&*f.name, f.iid)).collect();
    assert_eq!(names, [("zeta", 2), ("alpha", 3)]);
    let names: Vec<_> = model.fleet.backends.iter().map(|b| (&*b.name, b.iid)).collect();
    assert_eq!(names, [("b", 4), ("a", 5)]);
    let servers: Vec<_> = model.fleet.backends[0].servers.iter().map(|s| &*s.name).collect();
    assert_eq!(servers, ["z", "y"]);
    assert_eq!(
        model.fleet.backends[0].servers[1].address,
        ServerAddress::Name { host: "host.example".into(), port: 81 }
    );
    assert_eq!(model.fleet.backends[1].servers[0].address, ServerAddress::Unix("/run/x".into()));
}

#[test]
fn merge_keys_and_aliases_work() {
    let model = model_of(
        "frontends: { web: { bind: 127.0.0.1:0, routes: [ { backend: web } ] } }\n\
         backends:\n  web:\n    servers:\n      a: &big { address: 10.0.0.1:80, weight: 7, maxconn: 9 }\n\
         \x20     b: { <<: *big, address: 10.0.0.2:80 }\n",
    );
    let server = &model.fleet.backends[0].servers[1];
    assert_eq!((server.weight, server.maxconn), (7, Some(9)));
    assert_eq!(server.address, ServerAddress::Ip("10.0.0.2:80".parse().expect("an address")));
}

#[test]
fn paths_hosts_and_redirects_become_what_they_say() {
    let model = loaded(&crate::repository("tests/config/good/shapes.yaml"));
    let routes = &model.fleet.frontends[0].routes;
    assert!(matches!(&routes[0].paths[..], [PathPattern::Exact(path)] if &**path == "/exact"));
    assert!(matches!(&routes[1].paths[..], [PathPattern::Regex(regex), PathPattern::Prefix(path)]
        if regex.as_str() == "^/x" && &**path == "/y/"));
    assert!(matches!(&routes[2].headers[0].test, ValueTest::Exact(value) if &**value == "~x"));
    assert!(matches!(&routes[2].headers[1].test, ValueTest::Present));
    let exact = |host: &str| HostPattern::Exact(host.into());
    assert_eq!(routes[3].hosts, [exact("[::1]"), exact("example.com"), HostPattern::Suffix(".example.org".into())]);
    let RouteAction::Redirect(Redirect { to: RedirectTarget::Location(template), status: 301 }) = &routes[4].action
    else {
        panic!("{:?}", routes[4].action)
    };
    let literal = |text: &str| TemplatePiece::Literal(text.into());
    assert_eq!(template.pieces, [literal("https://"), TemplatePiece::Host, literal("/%20"), TemplatePiece::Path]);
    let only = &model.fleet.backends[0];
    assert_eq!(only.maintenance_answer.headers.iter().filter(|(name, _)| &**name == "Retry-After").count(), 0);
    let check = only.servers[0].check.as_ref().expect("checked");
    assert_eq!(check.tls.as_ref().and_then(|tls| tls.name.as_deref()), Some("a.example"));
    let CheckKind::Http(http) = &check.kind else { panic!("{:?}", check.kind) };
    assert_eq!(http.expect, [(200, 204), (301, 301)]);
    assert_eq!(model.fleet.frontends[0].request_id.header, None);
    assert_eq!(model.global.logs[3].to, LogDestination::Tcp("[::1]:601".parse().expect("an address")));
}

#[test]
fn the_default_maintenance_page_asks_to_come_back() {
    let model = loaded(&crate::repository("conf/minimal.yaml"));
    let answer = &model.fleet.backends[0].maintenance_answer;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains(&("Retry-After".into(), "30".into())), "{:?}", answer.headers);
    assert!(!answer.body.is_empty());
    assert_eq!(model.fleet.frontends[0].no_route.status, 404);
}
