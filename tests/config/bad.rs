//! Broken files and what is said about them, to the letter.

use lockgate::cli::check::verdict;
use lockgate::config::{Source, load};

use crate::machine::Machine;

/// The golden text of a file: the report and the verdict, as `lockgate check` prints them.
fn check(path: &std::path::Path) -> (String, bool) {
    let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a readable file");
    let (model, report) = load(&Source { name, text }, &Machine);
    (format!("{}{}\n", report.render(false), verdict(model.as_ref(), &report)), report.diagnostics().is_empty())
}

#[test]
fn every_broken_file_gets_its_exact_diagnostics() {
    let files = crate::yaml_files("tests/config/bad");
    assert!(files.len() >= 30, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let (said, silent) = check(&file);
        assert!(!silent, "nothing was found wrong with {}", file.display());
        let golden = file.with_extension("txt");
        if crate::updating() {
            std::fs::write(&golden, &said).expect("a writable golden file");
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("--- {}\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "not as in the golden files (UPDATE_GOLDEN=1 writes them):\n{}", wrong.join("\n"));
}

#[test]
fn lines_are_short_and_complete() {
    let text = "frontends:\n  web:\n    bind: 0.0.0.0:80\n    routes: [ { backend: wbe } ]\n    maxconn: 0\nbackends:\n  web: { servers: { a: 10.0.0.1:80 } }\n";
    let (model, report) = load(&Source { name: "f.yaml".into(), text: text.into() }, &Machine);
    assert!(model.is_none());
    let lines: Vec<String> = report.lines().collect();
    assert_eq!(
        lines,
        [
            "f.yaml:4:26: error: frontends.web.routes[0].backend: there is no backend `wbe`",
            "f.yaml:5:14: error: frontends.web.maxconn: 0 is too small",
        ]
    );
}

#[test]
fn columns_count_characters_behind_other_alphabets() {
    let text = "# größe — 大小\nfrontends:\n  web: { bind: \"0.0.0.0:80\", #ü\n    routes: [ { host: \"грå\", backend: web } ] }\nbackends: { web: { servers: { a: \"10.0.0.1:80\" } } }\n";
    let (_, report) = load(&Source { name: "f.yaml".into(), text: text.into() }, &Machine);
    let line = report.lines().next().expect("one error");
    assert_eq!(line, "f.yaml:4:23: error: frontends.web.routes[0].host: `грå` is not a host");
    assert!(report.render(false).contains("\"грå\""), "{}", report.render(false));
}
