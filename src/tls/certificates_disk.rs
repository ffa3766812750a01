//! Certificates as they change on disk: taken into use, refused, and shown with their OCSP responses while these hold.
//!
//! What has changed is found by [`crate::tls::watch`]; orders on the admin socket are in the parent.

use std::path::{Path, PathBuf};

use super::{Bind, BindSource, Certificate, Certificates, Notice, Reloads};
use crate::tls::watch::{Change, Watched};

impl Certificates {
    /// The files and folders that binds name, to be watched. To be asked once.
    pub fn watched(&mut self) -> Watched {
        let mut watched = Watched { baseline: std::mem::take(&mut self.baseline), ..Watched::default() };
        for (source, _) in self.binds.iter().flat_map(|bind| &bind.sources) {
            match source {
                BindSource::File(name) => watched.files.insert(PathBuf::from(&**name)),
                BindSource::List(list) => watched.folders.insert(PathBuf::from(&**list)),
            };
        }
        watched
    }

    /// Certificates read anew from disk, added, removed and refused so far.
    pub fn reloads(&self) -> Reloads {
        self.reloads
    }

    /// Takes what has changed on disk into use. What cannot be used changes nothing: the certificate in memory stays.
    /// What is in memory by an order and not on disk stays, too, until its file is written.
    pub fn take_changes(&mut self, changes: Vec<Change>, now_unix: i64) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut touched: Vec<Box<str>> = Vec::new();
        for change in changes {
            match change {
                Change::Written { path, folder, loaded } => {
                    let name: Box<str> = path.display().to_string().into();
                    match loaded {
                        Ok(certificate) => {
                            notices.extend(self.take_certificate(&name, folder.as_deref(), *certificate, now_unix));
                            touched.push(name);
                        }
                        Err(reason) => {
                            let stays = if self.files.get(&name).is_some_and(Option::is_some) {
                                "the certificate in use stays"
                            } else {
                                "it is not used"
                            };
                            notices.push(
                                self.refuse(format!("Certificate {name} was not read from disk, {stays}: {reason}.")),
                            );
                        }
                    }
                }
                Change::Gone { path, folder } => {
                    let name: Box<str> = path.display().to_string().into();
                    notices.extend(self.take_away(&name, &folder.display().to_string()));
                    touched.push(name);
                }
                Change::Other(_) => {}
            }
        }
        if !touched.is_empty() {
            let binds: Vec<&Bind> = self.binds.iter().filter(|bind| bind.is_touched(&touched, &self.lists)).collect();
            binds.iter().for_each(|bind| bind.resolver.replace(self.resolver(&bind.sources, bind.strict)));
        }
        notices
    }

    /// Puts a certificate that was read anew in the place of the one before; `None` when it is the same.
    fn take_certificate(
        &mut self,
        name: &str,
        folder: Option<&Path>,
        mut certificate: Certificate,
        now_unix: i64,
    ) -> Option<Notice> {
        certificate.staple_at(now_unix);
        let list = folder.map(|folder| folder.display().to_string());
        let listed = list.as_deref().and_then(|list| self.lists.get_mut(list));
        let is_new = listed.is_some_and(|list| list.add_from_disk(name));
        let before = self.files.get(name).and_then(Option::as_ref);
        let same_chain = before.is_some_and(|before| before.key.cert == certificate.key.cert);
        let same_staple = before.is_some_and(|before| before.key.ocsp == certificate.key.ocsp);
        let trouble = certificate.staple_trouble(now_unix);
        self.files.insert(name.into(), Some(certificate));
        let text = match (is_new, same_chain, same_staple) {
            (true, ..) => format!("Certificate {name} was added, found on disk."),
            (_, false, _) => format!("Certificate {name} was replaced, changed on disk."),
            (_, true, false) => format!("The OCSP response of certificate {name} was replaced, changed on disk."),
            (_, true, true) => return None,
        };
        if let Some(trouble) = trouble.filter(|_| !same_staple || !same_chain) {
            let notice = self.refuse(format!("{text} {trouble}"));
            self.reloads.taken += 1;
            return Some(notice);
        }
        self.reloads.taken += 1;
        Some(Notice { refused: false, text })
    }

    /// Takes a certificate out of a folder's list, unless a bind would have none left.
    fn take_away(&mut self, name: &str, list: &str) -> Option<Notice> {
        let entries = &mut self.lists.get_mut(list)?.entries;
        let at = entries.iter().position(|entry| *entry.certificate == *name)?;
        let removed = entries.remove(at);
        let bare = self.binds.iter().any(|bind| bind.names_list(list) && bind.default_name(&self.lists).is_none());
        if bare {
            self.lists.get_mut(list)?.entries.insert(at, removed);
            return Some(self.refuse(format!(
                "Certificate {name} is gone from disk and stays in use: it is the last one of a bind."
            )));
        }
        if !self.is_used(name) {
            self.files.remove(name);
        }
        self.reloads.taken += 1;
        Some(Notice { refused: false, text: format!("Certificate {name} was removed, gone from disk.") })
    }

    fn refuse(&mut self, text: String) -> Notice {
        self.reloads.refused += 1;
        Notice { refused: true, text }
    }

    /// Has every handshake show the OCSP response that may be shown at this second, and none that may not. What became
    /// of responses that cannot be used any more.
    pub fn refresh_staples(&mut self, now_unix: i64) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut touched = Vec::new();
        for (name, certificate) in &mut self.files {
            let Some(certificate) = certificate.as_mut().filter(|certificate| certificate.staple.is_some()) else {
                continue;
            };
            if !certificate.staple_at(now_unix) {
                continue;
            }
            touched.push(name.clone());
            if let Some(trouble) = certificate.staple_trouble(now_unix) {
                notices.push(Notice { refused: true, text: format!("Certificate {name}: {trouble}") });
            }
        }
        self.reloads.refused += notices.len() as u64;
        if !touched.is_empty() {
            self.renew(|lists, bind| bind.is_touched(&touched, lists));
        }
        notices
    }

    /// OCSP responses that lie beside certificates and cannot be shown.
    pub fn staple_troubles(&self, now_unix: i64) -> Vec<String> {
        let troubled = |certificate: &Certificate| certificate.staple_trouble(now_unix);
        let troubles = self.files.iter().filter_map(|(name, certificate)| {
            Some(format!("Certificate {name}: {}", certificate.as_ref().and_then(troubled)?))
        });
        troubles.collect()
    }
}
