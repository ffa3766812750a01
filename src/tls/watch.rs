//! Files of certificates as they change on disk: seen at once by the kernel's notices, and every few seconds by looking,
//! for file systems that give none.
//!
//! A thread of its own reads and checks what has changed, because reading thousands of certificates would stall whoever
//! else does it. What it found goes to the control thread as a [`Scan`], which takes it into use
//! ([`super::certificates`]). Folders are watched, not files: a file that is replaced is another file. Every folder on
//! the way from a name to its file is watched, so that it does not matter which of the links is swapped
//! (Kubernetes' `..data`, certbot's `live`, a whole folder that is a link).
//!
//! Writers need time, and many write chain and key one after the other: what cannot be used is looked at again a moment
//! later before it is called so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use super::resumption::Clock;
use super::store::{Certificate, folder_files, key_paths, load_file, load_of_folder, staple_paths};

/// How often everything is looked at without a notice.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// So long nothing must happen before changes are read.
const QUIET: Duration = Duration::from_millis(40);
/// They are read after this, quiet or not.
const QUIET_MAX: Duration = Duration::from_millis(250);
/// What cannot be used is looked at again after this.
const SECOND_LOOK: Duration = Duration::from_millis(250);
/// Links that are followed from a name to its file.
const LINKS_MAX: usize = 32;

/// What is watched.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Files with certificates.
    pub files: BTreeSet<PathBuf>,
    /// Folders of them.
    pub folders: BTreeSet<PathBuf>,
    /// Files of other kinds: certificates of authorities, revocation lists, ticket keys.
    pub others: BTreeSet<PathBuf>,
    /// What the files were known by when they were loaded.
    pub baseline: Baseline,
}

/// What files were known by before they were loaded: what differs from it has changed since, however soon.
#[derive(Debug, Clone, Default)]
pub struct Baseline(BTreeMap<PathBuf, Vec<Stamp>>);

impl Baseline {
    /// Notes a file, or the files of a folder. To be called before they are read; a file that was noted stays as it was.
    pub fn note(&mut self, path: &Path) {
        let files = if path.is_dir() { folder_files(path).unwrap_or_default() } else { vec![path.to_owned()] };
        for path in files {
            self.0.entry(path).or_insert_with_key(|path| stamps(path));
        }
    }
}

impl Watched {
    /// Whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && self.others.is_empty()
    }
}

/// What has changed on disk.
#[derive(Debug)]
pub struct Scan {
    /// Each change.
    pub changes: Vec<Change>,
    /// Who ordered the look, and waits to hear what came of it.
    pub asked: Option<oneshot::Sender<String>>,
}

/// One change.
#[derive(Debug)]
pub enum Change {
    /// A certificate was written: as it is now, or why it cannot be used.
    Written {
        /// The file.
        path: PathBuf,
        /// The folder that is configured, for a file in one.
        folder: Option<PathBuf>,
        /// The certificate.
        loaded: Result<Box<Certificate>, String>,
    },
    /// A certificate is no longer in its folder.
    Gone {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// A file of another kind was written.
    Other(PathBuf),
}

enum Ask {
    /// Something happened in a watched folder.
    Notice,
    /// Look now, and tell.
    Look(oneshot::Sender<String>),
    /// End.
    Stop,
}

/// A running watch; ends when it is dropped.
#[derive(Debug)]
pub struct FolderWatch {
    to_thread: mpsc::Sender<Ask>,
}

impl FolderWatch {
    /// Begins to watch. Scans with what has changed since the baseline go to `scans`.
    pub fn start(
        watched: Watched,
        wall: Clock,
        scans: async_mpsc::UnboundedSender<Scan>,
    ) -> std::io::Result<FolderWatch> {
        let (to_thread, asks) = mpsc::channel();
        let notices = to_thread.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is no change; our own reading would have no end.
            let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
            if event.is_ok_and(|event| event.kind.is_access() && event.kind != closed) {
                return;
            }
            let _ = notices.send(Ask::Notice);
        });
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "changed certificates are only seen every {} s", LOOK_EVERY.as_secs());
                None
            }
        };
        let mut looker = Looker {
            watched,
            wall,
            known: BTreeMap::new(),
            contents: BTreeMap::new(),
            watcher,
            noticed: BTreeSet::new(),
        };
        looker.remember_all();
        looker.watch_folders();
        let thread = std::thread::Builder::new().name("certificates".to_owned());
        thread.spawn(move || looker.run(&asks, &scans))?;
        Ok(FolderWatch { to_thread })
    }

    /// Has everything looked at now; the answer says what came of it, a line for each change.
    pub fn look(&self) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.to_thread.send(Ask::Look(sender));
        receiver
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        let _ = self.to_thread.send(Ask::Stop);
    }
}

/// The watch ends.
struct Ended;

/// What a file is known by; `None` when there is none.
type Stamp = Option<FileStamp>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    /// Device and inode.
    file: (u64, u64),
    size: u64,
    /// When its content was written, in seconds and nanoseconds since 1970.
    written: (i64, i64),
    /// When it, its name or its mode changed.
    changed: (i64, i64),
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Known {
    /// Of the file and of those beside it, as they were when last read.
    stamps: Vec<Stamp>,
    /// The same as last seen, of a file of another kind.
    seen: Vec<Stamp>,
    /// It could not be used when it was last read, and is looked at again.
    doubtful: bool,
}

struct Looker {
    watched: Watched,
    wall: Clock,
    known: BTreeMap<PathBuf, Known>,
    /// The certificates of each folder.
    contents: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    watcher: Option<RecommendedWatcher>,
    /// Folders the kernel gives notice of.
    noticed: BTreeSet<PathBuf>,
}

impl Looker {
    fn run(mut self, asks: &mpsc::Receiver<Ask>, scans: &async_mpsc::UnboundedSender<Scan>) {
        // Soon, for what was written since it was loaded.
        let mut wait = SECOND_LOOK;
        loop {
            let mut asked = match asks.recv_timeout(wait) {
                Ok(Ask::Notice) => match self.await_quiet(asks) {
                    Ok(asked) => asked,
                    Err(Ended) => return,
                },
                Ok(Ask::Look(sender)) => Some(sender),
                Err(RecvTimeoutError::Timeout) => None,
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            self.watch_folders();
            let (changes, doubtful) = self.look(asked.is_some());
            wait = if doubtful { SECOND_LOOK } else { LOOK_EVERY };
            if (!changes.is_empty() || asked.is_some()) && scans.send(Scan { changes, asked: asked.take() }).is_err() {
                return;
            }
        }
    }

    /// Waits until writers are done, or until somebody asks.
    fn await_quiet(&self, asks: &mpsc::Receiver<Ask>) -> Result<Option<oneshot::Sender<String>>, Ended> {
        let begun = (self.wall)();
        loop {
            match asks.recv_timeout(QUIET) {
                Ok(Ask::Notice) if (self.wall)().saturating_sub(begun) < QUIET_MAX => {}
                Ok(Ask::Look(sender)) => return Ok(Some(sender)),
                Ok(Ask::Notice) | Err(RecvTimeoutError::Timeout) => return Ok(None),
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            }
        }
    }

    /// Takes what was loaded as known.
    fn remember_all(&mut self) {
        for folder in &self.watched.folders {
            let known = self.watched.baseline.0.keys().filter(|path| path.parent() == Some(folder)).cloned();
            self.contents.insert(folder.clone(), known.collect());
        }
        for (path, stamps) in std::mem::take(&mut self.watched.baseline).0 {
            self.known.insert(path, Known { stamps, ..Known::default() });
        }
    }

    /// What has changed since the last look, and whether something is to be looked at again soon. When it was `ordered`
    /// what cannot be used is told at once.
    fn look(&mut self, ordered: bool) -> (Vec<Change>, bool) {
        let mut changes = Vec::new();
        let mut doubtful = false;
        for path in self.watched.files.clone() {
            if let Some(due) = self.due(&path, ordered) {
                let loaded = load_file(&path).map_err(|error| error.to_string());
                self.written(path, None, loaded.map(Some), (due, ordered), &mut changes, &mut doubtful);
            }
        }
        for folder in self.watched.folders.clone() {
            // A folder that cannot be read now keeps its certificates.
            let Ok(files) = folder_files(&folder) else { continue };
            for path in &files {
                if let Some(due) = self.due(path, ordered) {
                    let loaded = load_of_folder(path).map_err(|error| error.to_string());
                    self.written(path.clone(), Some(&folder), loaded, (due, ordered), &mut changes, &mut doubtful);
                }
            }
            let files: BTreeSet<PathBuf> = files.into_iter().collect();
            let before = self.contents.insert(folder.clone(), files.clone()).unwrap_or_default();
            for path in before.difference(&files) {
                self.known.remove(path);
                changes.push(Change::Gone { path: path.clone(), folder: folder.clone() });
            }
        }
        for path in self.watched.others.clone() {
            let now = stamps(&path);
            let known = self.known.entry(path.clone()).or_default();
            let is_there = now.first().is_some_and(Option::is_some);
            if !is_there || (known.stamps == now && !ordered) {
                continue;
            }
            // Whether it can be used is for others to say, so it is looked at twice before they are asked.
            if known.seen != now && !ordered {
                known.seen = now;
                doubtful = true;
                continue;
            }
            known.stamps = now;
            changes.push(Change::Other(path));
        }
        (changes, doubtful)
    }

    /// The stamps of a file that is to be read: because they changed, or because it was doubtful or there was an order.
    fn due(&self, path: &Path, ordered: bool) -> Option<Vec<Stamp>> {
        let now = stamps(path);
        match self.known.get(path) {
            Some(known) if known.stamps == now && !known.doubtful && !ordered => None,
            _ => Some(now),
        }
    }

    fn written(
        &mut self,
        path: PathBuf,
        folder: Option<&Path>,
        loaded: Result<Option<Certificate>, String>,
        (due, ordered): (Vec<Stamp>, bool),
        changes: &mut Vec<Change>,
        doubtful: &mut bool,
    ) {
        let loaded = match loaded {
            // A key for a chain beside it.
            Ok(None) => {
                self.known.insert(path, Known { stamps: due, ..Known::default() });
                return;
            }
            Ok(Some(certificate)) => self.check_dates(certificate),
            Err(reason) => Err(reason),
        };
        let known = self.known.entry(path.clone()).or_default();
        if loaded.is_err() && !known.doubtful && !ordered {
            known.doubtful = true;
            *doubtful = true;
            return;
        }
        known.stamps = due;
        known.doubtful = false;
        changes.push(Change::Written { path, folder: folder.map(Path::to_owned), loaded: loaded.map(Box::new) });
    }

    /// What clients would refuse is not taken in the place of what they take.
    fn check_dates(&self, certificate: Certificate) -> Result<Certificate, String> {
        let now = i64::try_from((self.wall)().as_secs()).unwrap_or(i64::MAX);
        let at = |second: i64| {
            jiff::Timestamp::from_second(second)
                .map_or_else(|_| second.to_string(), |t| t.strftime("%F %T UTC").to_string())
        };
        if now > certificate.not_after {
            return Err(format!(
                "the certificate in {} expired on {}",
                certificate.path.display(),
                at(certificate.not_after)
            ));
        }
        if now < certificate.not_before {
            let from = at(certificate.not_before);
            return Err(format!("the certificate in {} is not valid before {from}", certificate.path.display()));
        }
        Ok(certificate)
    }

    /// Has the kernel give notice of every folder that a name leads through.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeSet::new();
        for path in self.watched.files.iter().chain(&self.watched.others) {
            folders_to(path, &mut wanted);
        }
        for folder in &self.watched.folders {
            folders_to(folder, &mut wanted);
            wanted.insert(folder.clone());
            // The files in it may be links, too.
            for path in self.contents.get(folder).into_iter().flatten() {
                folders_to(path, &mut wanted);
            }
        }
        for gone in self.noticed.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // Watched anew each time: a folder that was deleted and made again is another one.
        self.noticed =
            wanted.into_iter().filter(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()).collect();
    }
}

/// The folders in which a name and each link it leads to stand.
fn folders_to(path: &Path, into: &mut BTreeSet<PathBuf>) {
    let mut waiting = vec![path.to_owned()];
    let mut links = 0;
    while let Some(path) = waiting.pop() {
        let Some(folder) = path.parent() else { continue };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Ok(target) = fs::read_link(&path) {
            links += 1;
            if links <= LINKS_MAX {
                waiting.push(folder.join(target));
            }
        }
        into.insert(folder.to_owned());
        // Folders on the way may be links as well; those that are none say nothing.
        let mut above = folder;
        while let Some(next) = above.parent().filter(|next| !next.as_os_str().is_empty()) {
            if let Ok(target) = fs::read_link(above) {
                links += 1;
                if links <= LINKS_MAX {
                    into.insert(next.to_owned());
                    let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
                    waiting.push(next.join(target).join(rest));
                }
            }
            above = next;
        }
    }
}

/// Of a file and of what may lie beside it: key and OCSP response. Links are followed.
fn stamps(path: &Path) -> Vec<Stamp> {
    let beside = key_paths(path).into_iter().chain(staple_paths(path));
    std::iter::once(path.to_owned()).chain(beside).map(|path| stamp(&path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some(FileStamp {
        file: (found.dev(), found.ino()),
        size: found.size(),
        written: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
