//! Where lines leave the process: one small trait, one file per transport.
//!
//! All sinks live on the writer thread. None of them waits for a receiver on its own account: what cannot leave now is
//! held back, up to a limit, and the writer is told when to try again. A blocked file system or a pipe nobody reads is
//! the exception: writing to those blocks the writer (never a worker), and lines are lost at its channel meanwhile.

mod datagram;
mod file;
mod stream;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use super::batch::Lines;
use crate::config::model::{LogDestination, LogTarget};

/// One target's way out.
pub(super) trait Sink {
    /// Sends lines in order, or holds back what cannot leave now. Returns how many are lost.
    fn write(&mut self, lines: &Lines, now: Instant) -> u64;

    /// Tries again to send what is held back. Returns how many are lost.
    fn pump(&mut self, now: Instant) -> u64;

    /// Waits a few milliseconds at most for a receiver that is slow, if [`Held::Slow`] asked for that.
    fn wait(&mut self, now: Instant);

    /// What is held back, and when to try again.
    fn held(&self) -> Held;

    /// How many lines are held back.
    fn held_lines(&self) -> usize;

    /// Opens a file anew.
    fn reopen(&mut self);
}

/// What a sink holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// Lines whose receiver has been quick so far: [`Sink::wait`] for it if there is nothing else to do.
    Slow,
    /// Lines that may be tried again then.
    Until(Instant),
}

/// A target whose file, if it is one, is open.
pub(super) enum Opened {
    Stdout(File),
    File(File, PathBuf),
    Udp(SocketAddr),
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Opened {
    /// Opens the target's file. Errors name the path.
    pub(super) fn open(target: &LogTarget) -> io::Result<Opened> {
        Ok(match &target.to {
            LogDestination::Udp(address) => Opened::Udp(*address),
            LogDestination::Tcp(address) => Opened::Tcp(*address),
            LogDestination::UnixDatagram(path) => Opened::Unix(path.clone()),
            LogDestination::Stdout => Opened::Stdout(file::stdout()?),
            LogDestination::File(path) => Opened::File(file::open(path)?, path.clone()),
        })
    }

    /// The sink, on the thread that will use it.
    pub(super) fn into_sink(self) -> Box<dyn Sink> {
        match self {
            Opened::Stdout(file) => Box::new(file::FileSink::new(file, None)),
            Opened::File(file, path) => Box::new(file::FileSink::new(file, Some(path))),
            Opened::Udp(address) => Box::new(datagram::DatagramSink::udp(address)),
            Opened::Unix(path) => Box::new(datagram::DatagramSink::unix(&path)),
            Opened::Tcp(address) => Box::new(stream::StreamSink::new(address)),
        }
    }
}
