//! Operator state on disk: what people said about servers survives a crash and a reboot.
//!
//! The file is replaced as a whole (written beside, synced, renamed), by a thread of its own, so that a slow disk never
//! holds up the control task.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::core::fleet::saved::SavedState;

/// The state file, and the thread that writes it.
#[derive(Debug)]
pub struct StateFile {
    writer: mpsc::Sender<String>,
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

    /// Starts the thread that writes `path`. Its folder must be there: an order that cannot be kept is better known
    /// now than after a crash.
    pub fn open(path: PathBuf) -> io::Result<StateFile> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let text = format!("state_file: the folder {} does not exist; create it", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let (writer, texts) = mpsc::channel::<String>();
        std::thread::Builder::new().name("state-file".into()).spawn(move || {
            while let Ok(mut text) = texts.recv() {
                // Only the newest state matters.
                while let Ok(newer) = texts.try_recv() {
                    text = newer;
                }
                if let Err(error) = replace(&path, &text) {
                    tracing::error!(%error, path = %path.display(), "cannot write the state file");
                }
            }
        })?;
        Ok(StateFile { writer })
    }

    /// Has `state` written soon.
    pub fn save(&self, state: &SavedState) {
        match serde_json::to_string_pretty(state) {
            Ok(text) => drop(self.writer.send(text)),
            Err(error) => tracing::error!(%error, "cannot render the operator state"),
        }
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_empty_state_and_a_broken_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert!(StateFile::load(&path).is_ok());
        std::fs::write(&path, "{ not json").unwrap();
        let error = StateFile::load(&path).unwrap_err().to_string();
        assert!(error.contains("remove the file"), "{error}");
    }
}
