//! The machine all files of these tests are checked on: the same everywhere, on every day.

use std::io;
use std::path::{Path, PathBuf};

use lockgate::config::Environment;

/// A machine whose `/etc/lockgate` is `tests/config/files`, with two cores, 250,000 descriptors, the user `lockgate`
/// and the group `ops`, on 2026-01-01.
#[derive(Debug)]
pub struct Machine;

impl Machine {
    fn real(path: &Path) -> io::Result<PathBuf> {
        let inside = path.strip_prefix("/etc/lockgate").map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        if inside.ends_with("secret.pem") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(crate::repository("tests/config/files").join(inside))
    }
}

impl Environment for Machine {
    fn base(&self) -> PathBuf {
        "/etc/lockgate".into()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(Machine::real(path)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(Machine::real(path)?)?;
        entries.map(|entry| Ok(path.join(entry?.file_name()))).collect()
    }

    fn is_folder(&self, path: &Path) -> bool {
        Machine::real(path).is_ok_and(|path| path.is_dir())
    }

    fn cores(&self) -> usize {
        2
    }

    fn fd_limit(&self) -> u64 {
        250_000
    }

    fn user_exists(&self, name: &str) -> bool {
        name == "lockgate"
    }

    fn group_exists(&self, name: &str) -> bool {
        name == "ops"
    }

    fn now_unix(&self) -> i64 {
        1_767_225_600
    }
}
