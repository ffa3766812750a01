//! Files that load, and what becomes of them.

use std::time::Duration;

use lockgate::config::{Model, Source, load};
use lockgate::core::fleet::spec::{InitialState, ReturnFromDrain, ServerAddress};
use lockgate::core::health::CheckKind;

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
fn the_example_loads_and_has_every_key() {
    let source = read(&crate::repository("conf/example.yaml"));
    let (model, report) = load(&source, &Machine);
    assert!(model.is_some() && report.diagnostics().is_empty(), "{}", report.render(false));
    let missing: Vec<String> = lockgate::config::keys()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            let key = path.rsplit('.').next().unwrap_or(path);
            !crate::reference::mentions_key(&source.text, key)
        })
        .collect();
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
