//! The virtual environment of the Python tools, made once, and running what is in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::support::tools;

/// The folder of `tests/tools`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools")
}

/// The environment's folder. The first test to ask makes it; others wait.
#[track_caller]
pub fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let home = target.join("tools-venv");
        std::fs::create_dir_all(&target).unwrap();
        // Tests are processes of their own under nextest.
        let lock = std::fs::File::create(target.join("tools-venv.lock")).unwrap();
        lock.lock().unwrap();
        let setup = folder().join("setup");
        let output = tools::run(Command::new(&setup).arg(&home), "");
        assert!(
            output.status.success(),
            "the Python tools cannot be set up. Run\n  {} {}\nand see (python3-venv must be installed, and pip must \
             reach a package index). It said:\n{}",
            setup.display(),
            home.display(),
            tools::text(&output)
        );
        home
    })
}

/// A program of the environment.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    home().join("bin").join(name)
}

/// Runs a driver with arguments.
#[track_caller]
pub fn drive(driver: &str, arguments: &[&str]) -> Output {
    let script = folder().join("drivers").join(driver);
    let path = format!("{}:{}", home().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program("python"));
    command.arg("-B").arg(script).args(arguments).env("PATH", path);
    tools::run(&mut command, "")
}

/// Runs a driver that ends by saying `works`.
#[track_caller]
pub fn must_work(driver: &str, arguments: &[&str]) {
    let output = drive(driver, arguments);
    let text = tools::text(&output);
    assert!(output.status.success() && text.trim_end().ends_with("works"), "{driver}: {}\n{text}", output.status);
}
