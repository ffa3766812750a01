//! Certificates, revocation lists and ticket keys as they change while the process runs.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::{Control, ControlHandle};
use crate::config::model::TicketKeysFrom;
use crate::runtime::clock;
use crate::tls::certificates::Notice;
use crate::tls::resumption::Clock;
use crate::tls::watch::{Change, FolderWatch, Scan, Watched};
use crate::tls::{BindAcceptor, ticket_source};

/// TLS of all binds, and the watch over its files.
pub struct LiveTls {
    /// What binds offer.
    pub acceptors: Vec<Arc<BindAcceptor>>,
}

/// The watch over files; `None` when there is nothing to watch.
pub(super) type Watch = Option<Rc<FolderWatch>>;

fn wall() -> Duration {
    clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn now_unix() -> i64 {
    i64::try_from(wall().as_secs()).unwrap_or(i64::MAX)
}

impl Control {
    /// Everything whose changes are to be seen.
    fn watched(&mut self) -> Watched {
        let mut watched = self.certificates.watched();
        for auth in self.tls.acceptors.iter().filter_map(|acceptor| acceptor.client_auth()) {
            watched.others.extend([&auth.ca_file, &auth.crl_file].into_iter().flatten().cloned());
        }
        match &self.global.tls.ticket_keys {
            TicketKeysFrom::Own => {}
            TicketKeysFrom::File(path) | TicketKeysFrom::Secret(path) => drop(watched.others.insert(path.clone())),
        }
        watched
    }

    /// Takes what has changed on disk into use, and says in lines what came of it.
    fn take_scan(&mut self, changes: Vec<Change>) -> String {
        let others: Vec<PathBuf> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Other(path) => Some(path.clone()),
                _ => None,
            })
            .collect();
        let mut notices = self.certificates.take_changes(changes, now_unix());
        notices.extend(self.take_others(&others));
        self.tell(&notices);
        notices.iter().fold(String::new(), |text, notice| text + &notice.text + "\n")
    }

    /// Files of authorities, revocation lists or ticket keys were written.
    fn take_others(&mut self, paths: &[PathBuf]) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        for acceptor in self.tls.acceptors.iter().filter(|a| paths.iter().any(|path| a.trusts(path))) {
            // All of a bind's files are read at once, whichever of them made the difference.
            let files = acceptor.client_auth().into_iter().flat_map(|auth| [&auth.ca_file, &auth.crl_file]).flatten();
            let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
            let (shown, were) = (files.join(" and "), if files.len() > 1 { "were" } else { "was" });
            let notice = match acceptor.renew() {
                Ok(false) => continue,
                Ok(true) => Notice { refused: false, text: format!("{shown} {were} read anew, changed on disk.") },
                Err(error) => Notice {
                    refused: true,
                    text: format!("{shown} {were} not read from disk, what was said before stays in force: {error}."),
                },
            };
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        let keys = &self.global.tls.ticket_keys;
        if let TicketKeysFrom::File(file) | TicketKeysFrom::Secret(file) = keys
            && paths.contains(file)
        {
            let shown = file.display();
            let taken = ticket_source::load(keys).map_err(|error| error.to_string());
            let taken = taken.and_then(|keys| self.resumption.set_keys(&keys).map_err(|error| error.to_string()));
            notices.extend(match taken {
                Ok(false) => None,
                Ok(true) => Some(Notice { refused: false, text: format!("Ticket keys were read anew from {shown}.") }),
                Err(error) => Some(Notice {
                    refused: true,
                    text: format!("Ticket keys were not read from disk, those in use stay: {error}."),
                }),
            });
        }
        notices
    }

    fn tell(&mut self, notices: &[Notice]) {
        for notice in notices {
            self.log_event(if notice.refused { 4 } else { 5 }, &notice.text);
        }
    }

    /// Once a second: drops OCSP responses that have become too old.
    pub(super) fn keep_staples(&mut self) {
        let notices = self.certificates.refresh_staples(now_unix());
        self.tell(&notices);
    }
}

impl ControlHandle {
    /// Sees certificates, revocation lists and ticket keys change on disk. Never returns.
    pub async fn keep_certificates(self) {
        let troubles = self.control.borrow().certificates.staple_troubles(now_unix());
        for trouble in troubles {
            self.control.borrow_mut().log_event(4, &trouble);
        }
        let watched = self.control.borrow_mut().watched();
        if watched.is_empty() {
            return std::future::pending().await;
        }
        let (to_us, mut scans) = mpsc::unbounded_channel();
        let wall: Clock = Arc::new(wall);
        match FolderWatch::start(watched, wall, to_us) {
            Ok(watch) => self.control.borrow_mut().watch = Some(Rc::new(watch)),
            Err(error) => {
                tracing::error!(%error, "certificates that change on disk are not seen");
                return std::future::pending().await;
            }
        }
        while let Some(Scan { changes, asked }) = scans.recv().await {
            let text = self.control.borrow_mut().take_scan(changes);
            if let Some(asked) = asked {
                let _ = asked.send(text);
            }
        }
        // The thread ended: nothing changes any more, but what is served stays.
        std::future::pending().await
    }

    /// Has all files looked at now; `None` when nothing is watched.
    pub(super) fn look_at_certificates(&self) -> Option<oneshot::Receiver<String>> {
        self.control.borrow().watch.as_ref().map(|watch| watch.look())
    }
}
