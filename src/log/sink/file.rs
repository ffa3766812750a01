//! Lines to a file or to standard output: one write per batch.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Held, Sink};
use crate::log::batch::Lines;

/// Between two tries on a pipe that somebody made non-blocking and that is full.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(1);
/// So many tries, then the lines are lost.
const FULL_PIPE_TRIES: u32 = 20;

/// A file, appended to.
pub(super) struct FileSink {
    file: File,
    /// Where to open it anew; `None` for standard output.
    path: Option<PathBuf>,
    /// A write failed in the middle of a line: the next one begins with a line end.
    torn: bool,
}

/// Opens a log file for appending; one that is made is readable by its owner and group only.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open log file {}: {error}", path.display())))
}

/// Standard output, without the standard library's buffer and lock around it.
pub(super) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

impl FileSink {
    pub(super) fn new(file: File, path: Option<PathBuf>) -> FileSink {
        FileSink { file, path, torn: false }
    }

    /// Writes bytes until all are written or an error stands in the way; returns how many were.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        let mut tries_left = FULL_PIPE_TRIES;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && tries_left > 0 => {
                    tries_left -= 1;
                    std::thread::sleep(FULL_PIPE_PAUSE);
                }
                Err(_) => break,
            }
        }
        written
    }
}

impl Sink for FileSink {
    fn write(&mut self, lines: &Lines, _now: Instant) -> u64 {
        if self.torn && self.write_some(b"\n") == 0 {
            return lines.count() as u64;
        }
        let written = self.write_some(lines.bytes());
        let whole = lines.whole_in(written);
        let whole_bytes: usize = (0..whole).map(|index| lines.line(index).len()).sum();
        self.torn = written > whole_bytes;
        (lines.count() - whole) as u64
    }

    fn pump(&mut self, _now: Instant) -> u64 {
        0
    }

    fn wait(&mut self, _now: Instant) {}

    fn held(&self) -> Held {
        Held::Nothing
    }

    fn held_lines(&self) -> usize {
        0
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.file = file,
            Err(error) => tracing::warn!(%error, "log file not opened anew, going on with the old one"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the sink ignores the time it is given")]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Lines {
        let mut lines = Lines::default();
        texts.iter().for_each(|text| lines.add(|out| out.extend_from_slice(text.as_bytes())));
        lines
    }

    #[test]
    fn a_device_that_is_full_loses_lines_and_counts_them() {
        let mut sink = FileSink::new(open(Path::new("/dev/full")).unwrap(), None);
        assert_eq!(sink.write(&lines(&["one", "two"]), Instant::now()), 2);
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = FileSink::new(open(&path).unwrap(), Some(path.clone()));
        sink.write_some(b"half of a li");
        sink.torn = true;
        assert_eq!(sink.write(&lines(&["one", "two"]), Instant::now()), 0);
        assert_eq!(sink.write(&lines(&["three"]), Instant::now()), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half of a li\none\ntwo\nthree\n");
    }

    #[test]
    fn an_error_at_the_start_names_the_path() {
        let error = open(Path::new("/nonexistent/log")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/log"), "{error}");
    }
}
