//! Connectors kept by what they were made from: reading roots for every connection would cost more than the connection,
//! and sessions must be found again. Files that changed on disk are read again.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::connector::{Connector, ConnectorError};
use crate::core::tls::{ServerTls, Verify};

/// How often the files of a connector in use are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// From so many on, connectors that nobody's settings lead to any more are dropped.
const KEPT_MAX: usize = 1024;
/// The same trouble with the same server is not told again for so long.
const QUIET: Duration = Duration::from_secs(60);

/// Every connector of the process, shared by workers and checks.
#[derive(Debug, Default)]
pub struct Connectors {
    kept: Mutex<HashMap<Arc<ServerTls>, Kept>>,
    /// What was told of a server last, and when.
    told: Mutex<HashMap<Box<str>, (String, Instant)>>,
}

#[derive(Debug)]
struct Kept {
    connector: Arc<ArcSwap<Connector>>,
    looked_at: Instant,
    /// When its files had last changed.
    modified: Vec<Option<Stamp>>,
}

impl Connectors {
    /// None yet.
    pub fn new() -> Connectors {
        Connectors::default()
    }

    /// The connector for these settings. When its files have changed to something unusable, the one made of what they
    /// held before stays.
    pub fn get(&self, settings: &Arc<ServerTls>, now: Instant) -> Result<Arc<Connector>, ConnectorError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get_mut(settings) {
            if now.saturating_duration_since(found.looked_at) >= LOOK {
                found.look(settings, now);
            }
            return Ok(found.connector.load_full());
        }
        let modified = modified(settings);
        let connector = Arc::new(Connector::new(settings)?);
        if kept.len() >= KEPT_MAX {
            // The key and the connector hold one each.
            kept.retain(|settings, _| Arc::strong_count(settings) > 2);
        }
        let slot = Arc::new(ArcSwap::new(connector.clone()));
        kept.insert(settings.clone(), Kept { connector: slot, looked_at: now, modified });
        Ok(connector)
    }

    /// Whether trouble with a server is worth a line: it is another than the last, or that was told a while ago.
    pub fn is_news(&self, owner: &str, trouble: &str, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, at)) = told.get_mut(owner) {
            if last == trouble && now.saturating_duration_since(*at) < QUIET {
                return false;
            }
            (*last, *at) = (trouble.to_owned(), now);
            return true;
        }
        if told.len() >= KEPT_MAX {
            told.retain(|_, (_, at)| now.saturating_duration_since(*at) < QUIET);
        }
        if told.len() < KEPT_MAX {
            told.insert(owner.into(), (trouble.to_owned(), now));
        }
        true
    }
}

impl Kept {
    /// Has the connector made anew if its files have changed. Reading them takes a while, which nobody waits for: what
    /// was there stays until then.
    fn look(&mut self, settings: &Arc<ServerTls>, now: Instant) {
        self.looked_at = now;
        let modified = modified(settings);
        if modified == self.modified {
            return;
        }
        self.modified = modified;
        let (slot, settings) = (self.connector.clone(), settings.clone());
        let owner = settings.owner.clone();
        let reading = move || match Connector::new(&settings) {
            Ok(connector) => {
                tracing::info!(server = %settings.owner, "files for TLS to a server changed and were read again");
                slot.store(Arc::new(connector));
            }
            Err(error) => {
                tracing::warn!(server = %settings.owner, %error, "files for TLS to a server changed and cannot be used");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("tls-files".to_owned()).spawn(reading) {
            // Looked at again a second later.
            self.modified.clear();
            tracing::warn!(server = %owner, %error, "files for TLS to a server changed and cannot be read now");
        }
    }
}

fn files(settings: &ServerTls) -> impl Iterator<Item = &PathBuf> {
    let roots = match &settings.verify {
        Verify::Roots(path) => Some(path),
        Verify::Nothing | Verify::SystemRoots => None,
    };
    let identity = settings.identity.iter().flat_map(|identity| [Some(&identity.certificate), identity.key.as_ref()]);
    roots.into_iter().chain(&settings.crl_file).chain(identity.flatten())
}

/// What a file is known by: device, inode, size, and when its content and itself changed, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn modified(settings: &ServerTls) -> Vec<Option<Stamp>> {
    let stamp =
        |m: std::fs::Metadata| (m.dev(), m.ino(), m.size(), (m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
    files(settings).map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}
