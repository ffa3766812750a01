//! Configuration files as users write them: good ones load, broken ones get the exact diagnostics beside them.
//!
//! `UPDATE_GOLDEN=1 cargo test --test config` writes the `.txt` files and the tables of `docs/CONFIG.md` anew; look at
//! the difference before you keep it.

mod bad;
mod command;
mod good;
mod machine;
mod reference;
mod robust;

use std::path::{Path, PathBuf};

/// A path inside the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The `.yaml` files of a folder, sorted.
fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository(folder)).expect("the folder of test files is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

/// Whether golden files are to be written instead of compared.
fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}
