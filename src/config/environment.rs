//! What lowering asks of the machine: files, users, cores and limits. Kept behind a trait so that a test can be any
//! machine at any date.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The largest file read while lowering (certificates, pages).
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The largest list of patterns read (maps, access lists).
pub const LIST_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The machine a configuration is checked on.
pub trait Environment {
    /// The folder that relative paths of the file start from; empty leaves them to the working directory.
    fn base(&self) -> PathBuf;
    /// A file's content. Errors are the operating system's; a file over [`FILE_MAX_BYTES`] is one too.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A list of patterns: as [`Environment::read`], up to [`LIST_FILE_MAX_BYTES`].
    fn read_list(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read(path)
    }
    /// The paths in a folder, in any order. `Err` with `NotADirectory` when it is a file.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether a folder is there.
    fn is_folder(&self, path: &Path) -> bool;
    /// Cores this process may run on, at least 1.
    fn cores(&self) -> usize;
    /// The highest number of open descriptors this process may ask for.
    fn fd_limit(&self) -> u64;
    /// Whether a user of that name exists.
    fn user_exists(&self, name: &str) -> bool;
    /// Whether a group of that name exists.
    fn group_exists(&self, name: &str) -> bool;
    /// Seconds since the Unix epoch, to tell expired certificates.
    fn now_unix(&self) -> i64;
}

/// This machine.
#[derive(Debug, Clone)]
pub struct Host {
    base: PathBuf,
    now_unix: i64,
}

impl Host {
    /// The machine as seen by a configuration file in this folder, at this time.
    pub fn new(base: impl Into<PathBuf>, now: SystemTime) -> Host {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Host { base: base.into(), now_unix: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX) }
    }

    /// As [`Host::new`], for the folder a configuration file stands in.
    pub fn beside(file: &Path, now: SystemTime) -> Host {
        Host::new(file.parent().unwrap_or(Path::new("")), now)
    }
}

impl Environment for Host {
    fn base(&self) -> PathBuf {
        self.base.clone()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_up_to(path, FILE_MAX_BYTES)
    }

    fn read_list(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_up_to(path, LIST_FILE_MAX_BYTES)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }

    fn fd_limit(&self) -> u64 {
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard)
    }

    fn user_exists(&self, name: &str) -> bool {
        nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
    }

    fn group_exists(&self, name: &str) -> bool {
        nix::unistd::Group::from_name(name).is_ok_and(|group| group.is_some())
    }

    fn now_unix(&self) -> i64 {
        self.now_unix
    }
}

fn read_up_to(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let text = format!("is larger than {} MiB", max_bytes / (1024 * 1024));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// A machine without files, users or groups: two cores, 20,000 descriptors, 1970. For fuzzing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Environment for Nothing {
    fn base(&self) -> PathBuf {
        PathBuf::new()
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn is_folder(&self, _: &Path) -> bool {
        false
    }
    fn cores(&self) -> usize {
        2
    }
    fn fd_limit(&self) -> u64 {
        20_000
    }
    fn user_exists(&self, _: &str) -> bool {
        false
    }
    fn group_exists(&self, _: &str) -> bool {
        false
    }
    fn now_unix(&self) -> i64 {
        0
    }
}
