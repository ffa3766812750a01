//! TLS client configurations of checks, kept by what they trust: reading a bundle of roots for every check would cost
//! more than the check. A bundle that changed on disk is read again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;

use crate::core::health::CheckTls;
use crate::tls::connector::{ConnectorError, Verify, client_config};

/// Kept configurations; beyond it all are dropped and made again as needed.
const KEPT_MAX: usize = 64;

struct Kept {
    config: Arc<ClientConfig>,
    modified: Option<SystemTime>,
}

thread_local! {
    static KEPT: RefCell<HashMap<Verify, Kept>> = RefCell::new(HashMap::new());
}

/// The configuration a check connects with.
pub(super) fn for_check(tls: &CheckTls) -> Result<Arc<ClientConfig>, ConnectorError> {
    let (verify, modified) = match (&tls.ca_file, tls.verify) {
        (_, false) => (Verify::Nothing, None),
        (None, true) => (Verify::SystemRoots, None),
        (Some(path), true) => (Verify::Roots(path.clone()), modified(path)),
    };
    KEPT.with_borrow_mut(|kept| {
        if let Some(found) = kept.get(&verify).filter(|found| found.modified == modified) {
            return Ok(found.config.clone());
        }
        let config = client_config(&verify)?;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(verify, Kept { config: config.clone(), modified });
        Ok(config)
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
