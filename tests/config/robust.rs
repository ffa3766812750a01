//! Files made to do harm: an error, soon, and never a panic.

use lockgate::config::{Nothing, Source, fuzz_config, load};
use proptest::prelude::*;

fn first_error(text: String) -> String {
    let (model, report) = load(&Source { name: "f.yaml".into(), text }, &Nothing);
    assert!(model.is_none());
    let _ = report.render(true);
    report.diagnostics().first().expect("an error").message.clone()
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (next, last) in ('b'..='p').zip('a'..) {
        text.push_str(&format!("{next}: &{next} [*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last}]\n"));
    }
    assert_eq!(first_error(text), "more than 400000 values");
}

#[test]
fn a_value_cannot_contain_itself() {
    assert_eq!(first_error("a: &a [*a]\n".into()), "this alias stands inside the value it names");
}

#[test]
fn a_large_file_is_refused_unread() {
    let text = "x: y\n".repeat(2_200_000);
    assert_eq!(first_error(text), "the file is 11000000 bytes long, 4194304 at most are read");
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a: ", "- "] {
        let error = first_error(open.repeat(100_000));
        assert!(error.contains("nested deeper") || error.contains("not YAML"), "{error}");
    }
}

#[test]
fn a_file_full_of_mistakes_is_told_in_short() {
    let mut text = "frontends:\n".to_owned();
    for number in 0..50_000 {
        text.push_str(&format!("  f{number}: {{ bnd: x }}\n"));
    }
    let (_, report) = load(&Source { name: "f.yaml".into(), text }, &Nothing);
    assert!(report.error_count() >= 50_000);
    let shown = report.render(false);
    assert!(shown.len() < 200_000 && shown.contains(" more\n"), "{} bytes", shown.len());
}

#[test]
fn one_long_line_is_cut() {
    let text = format!("frontends: {{ web: {{ {} }} }}\n", "bnd: [1, 2], ".repeat(20_000));
    let (_, report) = load(&Source { name: "f.yaml".into(), text }, &Nothing);
    assert!(report.render(false).len() < 3_000_000);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        fuzz_config(&text);
    }

    /// Pieces of a real configuration, shuffled, so that most of them get past the YAML parser.
    #[test]
    fn any_mixture_of_real_pieces_is_survived(
        lines in proptest::collection::vec((0usize..6, proptest::sample::select(PIECES)), 0..40)
    ) {
        let text: String = lines.iter().map(|(depth, piece)| format!("{}{piece}\n", "  ".repeat(*depth))).collect();
        fuzz_config(&text);
    }
}

const PIECES: &[&str] = &[
    "global:",
    "defaults:",
    "frontends:",
    "backends:",
    "web:",
    "servers:",
    "routes:",
    "bind:",
    "- 0.0.0.0:80",
    "- { backend: web }",
    "- { host: '*.a', redirect: { scheme: https } }",
    "a: 10.0.0.1:80",
    "a: &x { address: b:1 }",
    "<<: *x",
    "b: *x",
    "timeouts: { client: 5 }",
    "health_check: off",
    "health_check: { timeout: 5s, interval: 1s }",
    "limits: { head: 1KiB }",
    "capture: { request: [ { header: Host } ] }",
    "key: [client_ip, 'header(X)']",
    "- { name: a, rate: 1/s }",
    "observe: layer7",
    "slowstart: 99999999999d",
    "maxconn: 4294967296",
    "weight: -1",
    "- set: { A: '%[header(B)]%%%[' }",
    "? [a]",
    ": b",
    "--- x",
    "!!int 5",
    "\"unclosed",
    "expect: [2xx, 200-299]",
    "tls: { certificates: /nowhere }",
    "- { target: udp://x }",
    "é: ü",
    "-",
    "{",
    "]",
];

#[test]
fn a_large_honest_file_loads_soon() {
    let mut text = "frontends:\n  web:\n    bind: 127.0.0.1:0\n    routes:\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("      - {{ host: h{number}.example.com, backend: b{} }}\n", number % 100));
    }
    text.push_str("backends:\n");
    for backend in 0..100 {
        text.push_str(&format!("  b{backend}:\n    servers:\n"));
        for server in 0..50 {
            text.push_str(&format!("      s{server}: 10.0.{backend}.{server}:80\n"));
        }
    }
    let (model, report) = load(&Source { name: "f.yaml".into(), text }, &Nothing);
    let model = model.unwrap_or_else(|| panic!("{}", report.render(false)));
    assert_eq!(model.fleet.frontends[0].routes.len(), 10_000);
    assert_eq!(model.fleet.backends.iter().map(|b| b.servers.len()).sum::<usize>(), 5_000);
}
