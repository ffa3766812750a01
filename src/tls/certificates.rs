//! The certificates of all binds while the process runs: looked at, replaced, added and removed.
//!
//! A change is a transaction, as in HAProxy: `set` puts a chain or a key into it, `commit` checks that they belong
//! together and swaps them in. There is one transaction at a time. Everything happens in memory: what is to survive a
//! restart must be written to the files, too. Files that change on disk are taken into use as well
//! ([`Certificates::take_changes`]); what is refused leaves everything as it was. Only the control thread changes things here; workers see new certificates
//! through the [`LiveResolver`] of each bind, from their next handshake on.
//!
//! Sessions go on: a client that resumes gets no certificate, neither the old nor the new one, until its session is too
//! old to be resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::facts::facts;
use super::resolver::{CertificateResolver, LiveResolver};
use super::store::{
    CERTIFICATES_MAX, Certificate, CertificateError, CertificateStore, Source, assemble, holds_encrypted_key,
    read_facts,
};
use super::watch::Baseline;
use crate::config::model::BindTls;
use crate::core::admin::certificates::{CertificateFacts, CertificateStatus, CertificateView};
use crate::core::admin::texts;

/// Every certificate of the process, by name, and the binds that use them.
#[derive(Debug, Default)]
pub struct Certificates {
    /// `None`: made by `new`, nothing committed yet.
    files: BTreeMap<Box<str>, Option<Certificate>>,
    /// Folders of certificates. HAProxy: crt-list.
    lists: BTreeMap<Box<str>, List>,
    binds: Vec<Bind>,
    transaction: Option<Transaction>,
    reloads: Reloads,
    /// What the files were known by when they were loaded, for the watch.
    baseline: Baseline,
}

/// How often certificates on disk were taken into use, and how often what was there could not be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Certificates that were read anew, added and removed.
    pub taken: u64,
    /// What was refused; the old certificate stayed.
    pub refused: u64,
}

/// What came of a change on disk, for the log and for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Something was refused.
    pub refused: bool,
    /// What happened, in a sentence.
    pub text: String,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<ListEntry>,
    /// Lines given out so far; what was there at the start is on line 0.
    lines: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ListEntry {
    certificate: Box<str>,
    line: u32,
}

#[derive(Debug)]
struct Bind {
    /// What it is called in a reply.
    name: Box<str>,
    /// Each with the number of its offer ([`CertificateResolver::arrange`]).
    sources: Vec<(BindSource, usize)>,
    strict: bool,
    resolver: Arc<LiveResolver>,
}

#[derive(Debug)]
enum BindSource {
    File(Box<str>),
    List(Box<str>),
}

/// What is to become of a certificate.
#[derive(Debug)]
struct Transaction {
    name: Box<str>,
    chain: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
}

/// Why an order about certificates was refused. `Display` is HAProxy 2.8's reply where it has one.
#[derive(Debug, thiserror::Error)]
pub enum CertificateRefusal {
    /// `show ssl cert F`
    #[error("Can't display the certificate: Not found or the certificate is a bundle!")]
    NotShown,
    /// `set ssl cert F`
    #[error("Can't replace a certificate which is not referenced by the configuration!\nCan't update {0}!")]
    NotReferenced(Box<str>),
    /// The payload holds no usable certificate.
    #[error("unable to load certificate from file '{name}': {reason}.\nCan't load the payload\nCan't update {name}!")]
    BadCertificate {
        /// As it was called.
        name: Box<str>,
        /// Why.
        reason: String,
    },
    /// The payload holds no usable private key.
    #[error(
        "unable to load private key from file '{file}'{colon}{reason}.\nCan't load the payload\nCan't update {name}!",
        colon = if .reason.is_empty() { "" } else { ": " }
    )]
    BadKey {
        /// The certificate it is for.
        file: Box<str>,
        /// As it was called.
        name: Box<str>,
        /// Why; empty when there is none.
        reason: String,
    },
    /// Another certificate's transaction is open.
    #[error("The ongoing transaction is about '{open}' but you are trying to {what}")]
    OtherTransaction {
        /// Whose it is.
        open: Box<str>,
        /// What was tried, and what follows from it.
        what: String,
    },
    /// `commit ssl cert F` without `set`.
    #[error("No ongoing transaction! !\nCan't commit {0}!")]
    NothingToCommit(Box<str>),
    /// `abort ssl cert F` without `set`.
    #[error("No ongoing transaction!")]
    NothingToAbort,
    /// `commit ssl cert F`: only a chain, or only a key.
    #[error("The transaction must contain at least a certificate and a private key!\nCan't commit {0}!")]
    Incomplete(Box<str>),
    /// `commit ssl cert F`: they are no pair.
    #[error("inconsistencies between private key and certificate loaded '{0}'.\nCan't commit {0}!")]
    KeyMismatch(Box<str>),
    /// `commit ssl cert F`: they cannot be used for another reason.
    #[error("{error}\nCan't commit {name}!")]
    Unusable {
        /// As it was called.
        name: Box<str>,
        /// Why.
        error: CertificateError,
    },
    /// `new ssl cert F`
    #[error("Certificate '{0}' already exists!")]
    Exists(Box<str>),
    /// `new ssl cert F`, `add ssl crt-list L F`: [`CERTIFICATES_MAX`].
    #[error("Can't edit the crt-list: more than {CERTIFICATES_MAX} certificates!")]
    TooMany,
    /// `del ssl cert F`
    #[error("Can't remove the certificate: {0}")]
    NotRemoved(String),
    /// `show ssl crt-list L`
    #[error("{}", texts::SHOW_CRT_LIST)]
    NoList,
    /// `add ssl crt-list L F`
    #[error("Can't edit the crt-list: {0}")]
    NotAdded(String),
    /// `del ssl crt-list L F`
    #[error("Can't delete the entry: {0}")]
    NotDeleted(String),
}

use CertificateRefusal as Refused;

/// What `set` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The certificate it is about, without `.key`.
    pub name: Box<str>,
    /// There was no transaction before.
    pub created: bool,
}

impl Certificates {
    /// None yet.
    pub fn new() -> Certificates {
        Certificates::default()
    }

    /// Loads the certificates of a bind; `name` calls the bind in replies. A file that several binds name is the same
    /// certificate for all of them.
    pub fn open_bind(&mut self, name: &str, spec: &BindTls) -> Result<Arc<LiveResolver>, CertificateError> {
        let paths: Vec<PathBuf> = spec.certificates.iter().map(|source| source.path.clone()).collect();
        paths.iter().for_each(|path| self.baseline.note(path));
        let store = CertificateStore::load(&paths)?;
        let mut names: Vec<Box<str>> = Vec::with_capacity(store.certificates().len());
        for certificate in store.certificates() {
            let name: Box<str> = certificate.path.display().to_string().into();
            self.files.entry(name.clone()).or_insert_with(|| Some(certificate.clone()));
            names.push(name);
        }
        let mut sources = Vec::with_capacity(store.sources().len());
        let mut offers = 0;
        for (source, written) in store.sources().iter().zip(&spec.certificates) {
            offers += usize::from(written.offer.is_some());
            let offer = if written.offer.is_some() { offers } else { 0 };
            let source = match source {
                Source::File(index) => BindSource::File(names.get(*index).cloned().unwrap_or_default()),
                Source::Folder(path, range) => {
                    let list: Box<str> = path.display().to_string().into();
                    let of_folder = names.get(range.clone()).unwrap_or_default();
                    self.lists.entry(list.clone()).or_insert_with(|| List::of(of_folder));
                    BindSource::List(list)
                }
            };
            sources.push((source, offer));
        }
        let strict = spec.strict_sni;
        let resolver = LiveResolver::new(self.resolver(&sources, strict));
        self.binds.push(Bind { name: name.into(), sources, strict, resolver: resolver.clone() });
        Ok(resolver)
    }

    /// Every certificate, by name.
    pub fn views(&self) -> Vec<CertificateView> {
        let uses = self.uses();
        let mut views = Vec::with_capacity(self.files.len());
        for (name, certificate) in &self.files {
            views.push(CertificateView {
                name: name.clone(),
                names: certificate.as_ref().map(|c| c.names.clone()).unwrap_or_default(),
                not_after: certificate.as_ref().map(|c| c.not_after),
                binds: uses.get(&**name).copied().unwrap_or(0),
            });
        }
        views
    }

    /// The names of every certificate, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(|name| &**name)
    }

    /// The certificate that is being changed.
    pub fn transaction(&self) -> Option<&str> {
        self.transaction.as_ref().map(|open| &*open.name)
    }

    /// What there is to show of a certificate, or with `*` before its name of the one that waits to be committed.
    pub fn facts(&self, name: &str) -> Result<(CertificateStatus, Option<CertificateFacts>), Refused> {
        if let Some(name) = name.strip_prefix('*') {
            let open = self.transaction.as_ref().filter(|open| *open.name == *name).ok_or(Refused::NotShown)?;
            return Ok((CertificateStatus::Unused, facts(&open.chain)));
        }
        match self.files.get(name).ok_or(Refused::NotShown)? {
            None => Ok((CertificateStatus::Empty, None)),
            Some(certificate) if self.is_used(name) => Ok((CertificateStatus::Used, facts(&certificate.key.cert))),
            Some(certificate) => Ok((CertificateStatus::Unused, facts(&certificate.key.cert))),
        }
    }

    /// `set ssl cert`: opens a transaction, or puts something else into the open one. A payload for a certificate is a
    /// chain, perhaps with its key; one for its key (`F.key`, or the name of the file beside it) is a key that replaces
    /// the one before and keeps the chain.
    pub fn set(&mut self, name: &str, pem: &[u8]) -> Result<Prepared, Refused> {
        let (target, only_key) = self.target(name).ok_or_else(|| Refused::NotReferenced(name.into()))?;
        if let Some(open) = self.transaction.as_ref().filter(|open| open.name != target) {
            let what = format!("set '{target}'\nCan't update {name}!");
            return Err(Refused::OtherTransaction { open: open.name.clone(), what });
        }
        let (chain, key) = match only_key {
            true => (self.chain_of(&target), Some(read_key(&target, name, pem)?)),
            false => read_pem(name, pem)?,
        };
        let created = self.transaction.is_none();
        self.transaction = Some(Transaction { name: target.clone(), chain, key });
        Ok(Prepared { name: target, created })
    }

    /// `commit ssl cert`: the certificate takes effect on every bind that uses it; returns how many those are. Refused,
    /// everything stays as it was, the transaction included.
    pub fn commit(&mut self, name: &str) -> Result<usize, Refused> {
        let Some(open) = &self.transaction else { return Err(Refused::NothingToCommit(name.into())) };
        if *open.name != *name {
            let what = format!("set '{name}'\nCan't commit {name}!");
            return Err(Refused::OtherTransaction { open: open.name.clone(), what });
        }
        let Some(key) = open.key.as_ref().filter(|_| !open.chain.is_empty()) else {
            return Err(Refused::Incomplete(name.into()));
        };
        let path = Path::new(name);
        let certificate = assemble(path, open.chain.clone(), path, key.clone_key()).map_err(|error| match error {
            CertificateError::KeyMismatch { .. } => Refused::KeyMismatch(name.into()),
            error => Refused::Unusable { name: name.into(), error },
        })?;
        self.files.insert(name.into(), Some(certificate));
        self.transaction = None;
        Ok(self.renew(|lists, bind| bind.uses(name, lists)))
    }

    /// `abort ssl cert`: forgets the transaction.
    pub fn abort(&mut self, name: &str) -> Result<(), Refused> {
        match &self.transaction {
            None => Err(Refused::NothingToAbort),
            Some(open) if *open.name != *name => {
                let what = format!("abort a transaction for '{name}'");
                Err(Refused::OtherTransaction { open: open.name.clone(), what })
            }
            Some(_) => {
                self.transaction = None;
                Ok(())
            }
        }
    }

    /// `new ssl cert`: a name without a certificate.
    pub fn create(&mut self, name: &str) -> Result<(), Refused> {
        if self.files.contains_key(name) {
            return Err(Refused::Exists(name.into()));
        }
        if self.files.len() >= CERTIFICATES_MAX {
            return Err(Refused::TooMany);
        }
        self.files.insert(name.into(), None);
        Ok(())
    }

    /// `del ssl cert`: forgets one that nobody uses.
    pub fn delete(&mut self, name: &str) -> Result<(), Refused> {
        let refuse = |text: String| Err(Refused::NotRemoved(text));
        if self.transaction.as_ref().is_some_and(|open| *open.name == *name) {
            return refuse(format!("ongoing transaction for the certificate '{name}'"));
        }
        if !self.files.contains_key(name) {
            return refuse(format!("certificate '{name}' doesn't exist!"));
        }
        if self.is_used(name) {
            return refuse(format!("certificate '{name}' in use, can't be deleted!"));
        }
        self.files.remove(name);
        Ok(())
    }

    /// `show ssl crt-list`: the folders that binds name.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(|name| &**name)
    }

    /// `show ssl crt-list L`: its certificates with their lines.
    pub fn list(&self, list: &str) -> Result<impl Iterator<Item = (&str, u32)>, Refused> {
        let list = self.lists.get(list).ok_or(Refused::NoList)?;
        Ok(list.entries.iter().map(|entry| (&*entry.certificate, entry.line)))
    }

    /// `add ssl crt-list`: binds that name the folder may answer with this certificate, too. The file itself need not
    /// exist, but its name must be one in the folder: after a restart the folder is what counts.
    pub fn add_to_list(&mut self, list: &str, name: &str) -> Result<(), Refused> {
        let refuse = |text: String| Err(Refused::NotAdded(text));
        let Some(entries) = self.lists.get_mut(list) else {
            return refuse(format!("crt-list '{list}' does not exist!"));
        };
        let inside = Path::new(name).parent().is_some_and(|folder| folder == Path::new(list));
        if !inside {
            return refuse(format!(
                "'{list}' is a directory, certificate path '{name}' must contain the directory path"
            ));
        }
        match self.files.get(name) {
            None => return refuse(format!("certificate '{name}' does not exist!")),
            Some(None) => return refuse(format!("certificate '{name}' is empty!")),
            Some(Some(_)) => {}
        }
        if entries.entries.len() >= CERTIFICATES_MAX {
            return Err(Refused::TooMany);
        }
        entries.lines += 1;
        entries.entries.push(ListEntry { certificate: name.into(), line: entries.lines });
        self.renew(|_, bind| bind.names_list(list));
        Ok(())
    }

    /// `del ssl crt-list`: takes one entry out of a folder's certificates.
    pub fn delete_from_list(&mut self, list: &str, name: &str, line: Option<u32>) -> Result<(), Refused> {
        let refuse = |text: String| Err(Refused::NotDeleted(text));
        match self.files.get(name) {
            _ if !self.lists.contains_key(list) => return refuse(format!("crt-list '{list}' does not exist!")),
            None => return refuse(format!("certificate '{name}' does not exist!")),
            Some(None) => return refuse(format!("certificate '{name}' is empty!")),
            Some(Some(_)) => {}
        }
        let defaults: Vec<&str> = self
            .binds
            .iter()
            .filter(|bind| bind.names_list(list) && bind.default_name(&self.lists) == Some(name))
            .map(|bind| &*bind.name)
            .collect();
        let Some(entries) = self.lists.get_mut(list).map(|list| &mut list.entries) else {
            return Err(Refused::NoList);
        };
        let wanted = |entry: &ListEntry| *entry.certificate == *name && line.is_none_or(|line| line == entry.line);
        let found: Vec<usize> =
            entries.iter().enumerate().filter(|(_, entry)| wanted(entry)).map(|(index, _)| index).collect();
        let &[index] = &found[..] else {
            if found.is_empty() {
                return refuse(format!("certificate '{name}' is not in crt-list '{list}'!"));
            }
            let lines: Vec<String> =
                entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.line.to_string()).collect();
            return refuse(format!(
                "found the certificate '{name}' in several entries, please specify a line number preceded by colons ({})!",
                lines.join(", ")
            ));
        };
        let stays = entries.iter().enumerate().any(|(i, entry)| i != index && *entry.certificate == *name);
        if !defaults.is_empty() && !stays {
            return refuse(format!(
                "certificate '{name}' cannot be deleted, it is used as default certificate by the following \
                 frontends:\n\t- {}",
                defaults.join("\n\t- ")
            ));
        }
        entries.remove(index);
        self.renew(|_, bind| bind.names_list(list));
        Ok(())
    }

    /// The certificate that `set` is about, and whether only about its key.
    fn target(&self, name: &str) -> Option<(Box<str>, bool)> {
        if let Some((known, _)) = self.files.get_key_value(name) {
            return Some((known.clone(), false));
        }
        let stem = name.strip_suffix(".key")?;
        let candidates = [stem.to_owned(), format!("{stem}.pem"), format!("{stem}.crt")];
        let known = candidates.iter().find_map(|candidate| self.files.get_key_value(candidate.as_str()))?;
        Some((known.0.clone(), true))
    }

    /// The chain a key alone is put to: the open transaction's, or the one in use.
    fn chain_of(&self, name: &str) -> Vec<CertificateDer<'static>> {
        match (&self.transaction, self.files.get(name)) {
            (Some(open), _) => open.chain.clone(),
            (None, Some(Some(certificate))) => certificate.key.cert.clone(),
            _ => Vec::new(),
        }
    }

    fn is_used(&self, name: &str) -> bool {
        self.binds.iter().any(|bind| bind.uses(name, &self.lists))
    }

    /// How many binds use each certificate.
    fn uses(&self) -> BTreeMap<&str, usize> {
        let mut uses = BTreeMap::new();
        for bind in &self.binds {
            let mut names: Vec<&str> = bind.names(&self.lists).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().for_each(|name| *uses.entry(name).or_default() += 1);
        }
        uses
    }

    /// Gives the chosen binds their certificates anew; how many there were.
    fn renew(&self, chosen: impl Fn(&BTreeMap<Box<str>, List>, &Bind) -> bool) -> usize {
        let binds = self.binds.iter().filter(|bind| chosen(&self.lists, bind));
        binds.map(|bind| bind.resolver.replace(self.resolver(&bind.sources, bind.strict))).count()
    }

    fn resolver(&self, sources: &[(BindSource, usize)], strict: bool) -> CertificateResolver {
        let names =
            sources.iter().flat_map(|(source, offer)| source.names(&self.lists).map(move |name| (name, *offer)));
        let found = |(name, offer): (&str, usize)| Some((self.files.get(name)?.as_ref()?, offer));
        let certificates: Vec<(&Certificate, usize)> = names.filter_map(found).collect();
        CertificateResolver::arrange(&certificates, strict)
    }
}

impl List {
    fn of(names: &[Box<str>]) -> List {
        let entries = names.iter().map(|name| ListEntry { certificate: name.clone(), line: 0 }).collect();
        List { entries, lines: 0 }
    }

    /// Adds a file of the folder where it would stand had it been there at the start; false when it is there.
    fn add_from_disk(&mut self, name: &str) -> bool {
        if self.entries.iter().any(|entry| *entry.certificate == *name) {
            return false;
        }
        let from_disk = self.entries.iter().take_while(|entry| entry.line == 0);
        let at = from_disk.take_while(|entry| Path::new(&*entry.certificate) < Path::new(name)).count();
        self.entries.insert(at, ListEntry { certificate: name.into(), line: 0 });
        true
    }
}

impl Bind {
    fn names<'a>(&'a self, lists: &'a BTreeMap<Box<str>, List>) -> impl Iterator<Item = &'a str> {
        self.sources.iter().flat_map(move |(source, _)| source.names(lists))
    }

    /// Whether it uses one of these certificates, or did when its lists still had them.
    fn is_touched(&self, names: &[Box<str>], lists: &BTreeMap<Box<str>, List>) -> bool {
        let in_list = |name: &str| {
            let folder = Path::new(name).parent().map(|folder| folder.display().to_string());
            folder.is_some_and(|folder| self.names_list(&folder))
        };
        names.iter().any(|name| self.uses(name, lists) || in_list(name))
    }

    fn uses(&self, name: &str, lists: &BTreeMap<Box<str>, List>) -> bool {
        self.names(lists).any(|used| used == name)
    }

    fn names_list(&self, list: &str) -> bool {
        self.sources.iter().any(|(source, _)| matches!(source, BindSource::List(name) if **name == *list))
    }

    /// The certificate for clients that ask for no name it knows.
    fn default_name<'a>(&'a self, lists: &'a BTreeMap<Box<str>, List>) -> Option<&'a str> {
        self.names(lists).next()
    }
}

impl BindSource {
    fn names<'a>(&'a self, lists: &'a BTreeMap<Box<str>, List>) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match self {
            BindSource::File(name) => Box::new(std::iter::once(&**name)),
            BindSource::List(list) => {
                let entries = lists.get(list).into_iter().flat_map(|list| &list.entries);
                Box::new(entries.map(|entry| &*entry.certificate))
            }
        }
    }
}

type ChainAndKey = (Vec<CertificateDer<'static>>, Option<PrivateKeyDer<'static>>);

/// A chain and perhaps a key, checked as far as each can be checked alone.
fn read_pem(name: &str, pem: &[u8]) -> Result<ChainAndKey, Refused> {
    let bad = |reason: &str| Refused::BadCertificate { name: name.into(), reason: reason.to_owned() };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| bad(&error.to_string()))?;
    let leaf = chain.first().ok_or_else(|| bad("no start line"))?;
    read_facts(leaf).map_err(|reason| bad(&reason))?;
    if chain.iter().skip(1).any(|further| read_facts(further).is_err()) {
        return Err(bad("a further certificate of the chain cannot be parsed"));
    }
    let key = match PrivateKeyDer::pem_slice_iter(pem).next() {
        None if !holds_encrypted_key(pem) => None,
        _ => Some(read_key(name, name, pem)?),
    };
    Ok((chain, key))
}

/// The private key in a payload for the certificate `file`, which the order called `name`.
fn read_key(file: &str, name: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Refused> {
    let bad = |reason: String| Refused::BadKey { file: file.into(), name: name.into(), reason };
    if holds_encrypted_key(pem) {
        return Err(bad("it is encrypted, store it without a pass phrase".into()));
    }
    let key = match PrivateKeyDer::pem_slice_iter(pem).next() {
        Some(Ok(key)) => key,
        Some(Err(error)) => return Err(bad(error.to_string())),
        None => return Err(bad(String::new())),
    };
    match super::provider().key_provider.load_private_key(key.clone_key()) {
        Ok(_) => Ok(key),
        Err(error) => Err(bad(error.to_string())),
    }
}

#[path = "certificates_disk.rs"]
mod disk;
#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
