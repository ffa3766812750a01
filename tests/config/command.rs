//! `lockgate check` on this machine: real files, standard error's text, exit codes are those of `verdict`.

use std::time::{Duration, SystemTime};

use lockgate::cli::check::{load, verdict};

fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

#[test]
fn a_good_file_has_a_one_line_verdict() {
    let (model, report) = load(&crate::repository("conf/minimal.yaml"), date());
    let verdict = verdict(model.as_ref(), &report);
    assert!(verdict.ends_with("conf/minimal.yaml: ok, 1 frontend, 1 backend, 1 server"), "{verdict}");
    assert_eq!(report.render(false), "");
}

#[test]
fn relative_paths_start_from_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("lockgate.yaml");
    let text = "frontends: { a: { bind: { address: '127.0.0.1:0', tls: { certificates: certs } }, routes: [ { backend: b } ] } }\n\
                backends: { b: { servers: { s: '10.0.0.1:80' } } }\n";
    std::fs::write(&file, text).expect("a writable file");
    let (model, report) = load(&file, date());
    assert!(model.is_none());
    let lines: Vec<String> = report.lines().collect();
    assert!(lines[0].ends_with("cannot read `certs`: there is no such file"), "{lines:?}");

    std::fs::create_dir(folder.path().join("certs")).expect("a folder");
    let pem = std::fs::read(crate::repository("tests/config/files/certs/good.pem")).expect("a certificate");
    std::fs::write(folder.path().join("certs/one.pem"), pem).expect("a writable file");
    let (model, report) = load(&file, date());
    let model = model.unwrap_or_else(|| panic!("{}", report.render(false)));
    let tls = model.binds[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.certificates[0].path, folder.path().join("certs"));
}

#[test]
fn what_cannot_be_read_is_one_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (model, report) = load(&folder.path().join("none.yaml"), date());
    assert!(model.is_none() && report.has_errors());
    assert!(report.render(false).contains("cannot read the file"), "{}", report.render(false));
    assert!(verdict(None, &report).ends_with("none.yaml: 1 error"));

    let latin1 = folder.path().join("latin1.yaml");
    std::fs::write(&latin1, b"# gr\xfc\xdfe\n").expect("a writable file");
    let (_, report) = load(&latin1, date());
    assert!(report.render(false).contains("not UTF-8 text (byte 4)"), "{}", report.render(false));

    let (_, report) = load(folder.path(), date());
    assert!(report.has_errors());
}
