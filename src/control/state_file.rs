//! Operator state on disk: what people said about servers survives a crash and a reboot.
//!
//! The file is replaced as a whole (written beside, synced, renamed), by a thread of its own, so that a slow disk never
//! holds up the control task.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::core::fleet::saved::SavedState;

/// How long a stopping process waits for a disk that does not answer.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// The state file, and the thread that writes it. Dropping it waits until the last state is on disk.
#[derive(Debug)]
pub struct StateFile {
    desk: Arc<Desk>,
    writer: Option<JoinHandle<()>>,
}

/// What is still to be written: only the newest state matters, so there is never more than one.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    /// Something was put down, or taken up, or is done.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Option<SavedState>,
    /// A state is being written.
    busy: bool,
    closed: bool,
}

impl StateFile {
    /// Reads what was saved. A file that cannot be understood is an error that names it: silently forgetting that a
    /// server was in maintenance would send traffic to it.
    pub fn load(path: &Path) -> io::Result<SavedState> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(SavedState::default()),
            Err(e) => return Err(e),
        };
        serde_json::from_str(&text).map_err(|e| {
            let hint = "remove the file to start without saved state";
            io::Error::new(io::ErrorKind::InvalidData, format!("not a state file: {e}; {hint}"))
        })
    }

    /// Starts the thread that writes `path`. Its folder must be there and writable: an order that cannot be kept is
    /// better known now than after a crash.
    pub fn open(path: PathBuf) -> io::Result<StateFile> {
        let folder = folder_of(&path);
        let refuse = |kind, text: &str| Err(io::Error::new(kind, format!("state_file: {} {text}", folder.display())));
        if !folder.is_dir() {
            return refuse(io::ErrorKind::NotFound, "is no folder; create it");
        }
        if nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_err() {
            return refuse(
                io::ErrorKind::PermissionDenied,
                "cannot be written; give it to the user that runs lockgate",
            );
        }
        let desk = Arc::new(Desk::default());
        let of_writer = desk.clone();
        let writer =
            std::thread::Builder::new().name("state-file".into()).spawn(move || of_writer.write_all_to(&path))?;
        Ok(StateFile { desk, writer: Some(writer) })
    }

    /// Has `state` written soon, in place of one that still waits.
    pub fn save(&self, state: SavedState) {
        self.desk.waiting.lock().state = Some(state);
        self.desk.moved.notify_all();
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        let mut waiting = self.desk.waiting.lock();
        waiting.closed = true;
        self.desk.moved.notify_all();
        let is_late = |w: &mut Waiting| w.busy || w.state.is_some();
        let timed_out = self.desk.moved.wait_while_for(&mut waiting, is_late, LAST_WRITE).timed_out();
        drop(waiting);
        if timed_out {
            tracing::error!("the state file was not written in time");
        } else if let Some(writer) = self.writer.take() {
            // A panic in it was already reported by the panic hook.
            let _ = writer.join();
        }
    }
}

impl Desk {
    /// Writes what is put down until the desk is closed and empty.
    fn write_all_to(&self, path: &Path) {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(state) = waiting.state.take() {
                waiting.busy = true;
                drop(waiting);
                if let Err(error) = replace(path, &state) {
                    tracing::error!(%error, path = %path.display(), "cannot write the state file");
                }
                waiting = self.waiting.lock();
                waiting.busy = false;
                self.moved.notify_all();
            } else if waiting.closed {
                return;
            } else {
                self.moved.wait(&mut waiting);
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace(path: &Path, state: &SavedState) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(serde_json::to_string_pretty(state)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The new name must outlive a loss of power, too.
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::saved::{SavedBackend, SavedServer};

    #[test]
    fn a_missing_file_is_an_empty_state_and_a_broken_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert!(StateFile::load(&path).is_ok());
        std::fs::write(&path, "{ not json").unwrap();
        let error = StateFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("remove the file"), "{error}");
    }

    fn weight(weight: u32) -> SavedState {
        let server = SavedServer { weight: Some(weight), ..SavedServer::default() };
        let backend = SavedBackend { servers: [("a".to_owned(), server)].into(), ..SavedBackend::default() };
        SavedState { backends: [("web".to_owned(), backend)].into() }
    }

    #[test]
    fn the_last_order_is_on_disk_when_the_process_has_stopped() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["state.json", "state.new", "saved"] {
            let path = dir.path().join(name);
            let file = StateFile::open(path.clone()).unwrap();
            for n in 0..=200 {
                file.save(weight(n));
            }
            drop(file);
            assert_eq!(StateFile::load(&path).unwrap(), weight(200), "{name}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 3, "nothing is left beside them");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_known_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let error = StateFile::open(dir.path().join("none/state.json")).unwrap_err().to_string();
        assert!(error.contains("create it"), "{error}");
        // Root may write everywhere but here.
        let error = StateFile::open("/proc/self/state.json".into()).err().map(|e| e.to_string());
        if !nix::unistd::geteuid().is_root() {
            assert!(error.is_some_and(|e| e.contains("cannot be written")));
        }
    }
}
