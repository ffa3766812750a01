//! The lists as the control thread holds them: every version with its entries in order, and what commands do to them.
//!
//! A change of the version in force is published at once; a prepared version is changed in place, seen by nobody, until
//! it is committed. What is wrong with a command leaves its list as it was.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use super::entry::{Matching, Pattern, PatternError, VALUE_MAX_BYTES};
use super::{ENTRIES_MAX, Entry, ListKind, LivePatterns, Lookup, PatternId, PatternSpec, VERSIONS_MAX};
use crate::core::fleet::spec::BackendIndex;

/// Where ids of entries begin: they stand where HAProxy shows addresses, and look like such.
const FIRST_REFERENCE: u64 = 0x1000_0000;

/// Every list of the process.
#[derive(Debug)]
pub struct Patterns {
    lists: Vec<List>,
    live: Arc<LivePatterns>,
    /// What the values of maps name.
    backends: HashMap<Box<str>, BackendIndex>,
    next_reference: u64,
    /// Versions that a worker may still be reading. They are dropped here, never by a worker.
    retired: Vec<Arc<Lookup>>,
}

#[derive(Debug)]
struct List {
    kind: ListKind,
    file: Option<Box<str>>,
    description: String,
    /// The version in force.
    current: u32,
    /// The newest version prepared.
    newest: u32,
    /// The version in force, and prepared ones that have entries.
    versions: BTreeMap<u32, Version>,
}

#[derive(Debug, Clone)]
struct Version {
    /// By id, which is by age.
    entries: BTreeMap<u64, Arc<Entry>>,
    lookup: Lookup,
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All with this key.
    Key(String),
    /// The one with this id (`#0x…`).
    Reference(u64),
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// An entry cannot stand in the list.
    Pattern(PatternError),
    /// The list has [`ENTRIES_MAX`] entries.
    Full,
    /// [`VERSIONS_MAX`] prepared versions have entries.
    TooManyVersions,
    /// No such entry.
    NotFound,
    /// A version that was not prepared yet.
    InTheFuture,
    /// A version that is over, or was never prepared.
    OutOfRange,
}

impl Patterns {
    /// The lists as configured; `backends` are the names of all backends in their order.
    pub fn new<'a>(specs: Vec<PatternSpec>, backends: impl Iterator<Item = &'a str>) -> Patterns {
        let mut patterns = Patterns {
            lists: Vec::with_capacity(specs.len()),
            live: Arc::default(),
            backends: backends.zip(0..).map(|(name, index)| (name.into(), BackendIndex(index))).collect(),
            next_reference: FIRST_REFERENCE,
            retired: Vec::new(),
        };
        for spec in specs {
            let description = spec.description();
            let mut version = Version::new(spec.matching);
            for pattern in spec.patterns {
                version.insert(patterns.entry(pattern));
            }
            patterns.lists.push(List {
                kind: spec.kind,
                file: spec.file,
                description,
                current: 0,
                newest: 0,
                versions: BTreeMap::from([(0, version)]),
            });
        }
        patterns.live = Arc::new(LivePatterns::new(patterns.lists.iter().map(|list| list.current().lookup.clone())));
        patterns
    }

    /// What workers read.
    pub fn live(&self) -> &Arc<LivePatterns> {
        &self.live
    }

    /// A list by `#` and its number, or by its file.
    pub fn find(&self, kind: ListKind, name: &str) -> Option<PatternId> {
        let number = name.strip_prefix('#').and_then(|n| n.parse::<usize>().ok());
        let named = |(at, list): (usize, &List)| number == Some(at) || list.file.as_deref() == Some(name);
        let at = self.lists.iter().enumerate().position(named)?;
        (self.lists.get(at)?.kind == kind).then_some(PatternId(u32::try_from(at).ok()?))
    }

    /// Writes a line on each list of a kind.
    pub fn write_lists(&self, kind: ListKind, out: &mut String) {
        for (number, list) in self.lists.iter().enumerate().filter(|(_, list)| list.kind == kind) {
            let count: usize = list.versions.values().map(|version| version.entries.len()).sum();
            let (file, description) = (list.file.as_deref().unwrap_or_default(), &list.description);
            let _ = writeln!(
                out,
                "{number} ({file}) {description}. curr_ver={} next_ver={} entry_cnt={count}",
                list.current, list.newest
            );
        }
    }

    /// The entries of a version in their order, of the one in force unless another is named.
    pub fn entries(&self, id: PatternId, version: Option<u32>) -> impl Iterator<Item = &Arc<Entry>> {
        let list = self.lists.get(id.0 as usize);
        let version = list.and_then(|list| list.versions.get(&version.unwrap_or(list.current)));
        version.into_iter().flat_map(|version| version.entries.values())
    }

    /// The version in force, for look-ups.
    pub fn in_force(&self, id: PatternId) -> Option<&Lookup> {
        self.lists.get(id.0 as usize).map(|list| &list.current().lookup)
    }

    /// Adds entries, all or none.
    pub fn add(&mut self, id: PatternId, version: Option<u32>, pairs: &[(String, String)]) -> Result<(), ListError> {
        let list = self.list(id)?;
        let matching = list.current().lookup.matching();
        let held: usize = list.versions.values().map(|version| version.entries.len()).sum();
        if held + pairs.len() > ENTRIES_MAX {
            return Err(ListError::Full);
        }
        let patterns: Result<Vec<Pattern>, PatternError> =
            pairs.iter().map(|(key, value)| Pattern::parse(matching, key, value)).collect();
        let entries: Vec<_> = patterns.map_err(ListError::Pattern)?.into_iter().map(|p| self.entry(p)).collect();
        let version = self.list_mut(id)?.open(version)?;
        entries.into_iter().for_each(|entry| version.insert(entry));
        self.publish(id);
        Ok(())
    }

    /// Gives entries of a map another value.
    pub fn set(&mut self, id: PatternId, version: Option<u32>, which: &Which, value: &str) -> Result<(), ListError> {
        if value.len() > VALUE_MAX_BYTES {
            return Err(ListError::Pattern(PatternError::TooLong));
        }
        let backend = self.backends.get(value.trim()).copied();
        let version = self.list_mut(id)?.open(version)?;
        let found = version.find(which);
        if found.is_empty() {
            return Err(ListError::NotFound);
        }
        for old in found {
            let entry = Arc::new(Entry { id: old.id, pattern: old.pattern.with_value(value.trim()), backend });
            version.lookup.replace(&entry);
            version.entries.insert(entry.id, entry);
        }
        self.publish(id);
        Ok(())
    }

    /// Removes entries.
    pub fn delete(&mut self, id: PatternId, version: Option<u32>, which: &Which) -> Result<(), ListError> {
        let version = self.list_mut(id)?.open(version)?;
        let found = version.find(which);
        if found.is_empty() {
            return Err(ListError::NotFound);
        }
        for entry in found {
            version.lookup.remove(&entry);
            version.entries.remove(&entry.id);
        }
        self.publish(id);
        Ok(())
    }

    /// Empties a version.
    pub fn clear(&mut self, id: PatternId, version: Option<u32>) -> Result<(), ListError> {
        let version = self.list_mut(id)?.open(version)?;
        *version = Version::new(version.lookup.matching());
        self.publish(id);
        Ok(())
    }

    /// Opens a new version, empty and not in force, and says its number.
    pub fn prepare(&mut self, id: PatternId) -> Result<u32, ListError> {
        let list = self.list_mut(id)?;
        list.newest = list.newest.checked_add(1).ok_or(ListError::OutOfRange)?;
        Ok(list.newest)
    }

    /// Puts a prepared version in force; those before it are gone.
    pub fn commit(&mut self, id: PatternId, version: u32) -> Result<(), ListError> {
        let list = self.list_mut(id)?;
        if version <= list.current || version > list.newest {
            return Err(ListError::OutOfRange);
        }
        let matching = list.current().lookup.matching();
        list.versions = list.versions.split_off(&version);
        list.versions.entry(version).or_insert_with(|| Version::new(matching));
        list.current = version;
        self.publish(id);
        Ok(())
    }

    /// Drops versions that no worker reads any more. To be called now and then.
    pub fn tidy(&mut self) {
        self.retired.retain(|version| Arc::strong_count(version) > 1);
    }

    #[cfg(test)]
    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    /// Puts the version in force before the workers, if it changed.
    fn publish(&mut self, id: PatternId) {
        self.tidy();
        if let Some(list) = self.lists.get(id.0 as usize) {
            self.retired.extend(self.live.publish(id, list.current().lookup.clone()));
        }
    }

    fn entry(&mut self, pattern: Pattern) -> Arc<Entry> {
        let id = self.next_reference;
        self.next_reference += 0x10;
        let backend = self.backends.get(pattern.value()).copied();
        Arc::new(Entry { id, pattern, backend })
    }

    fn list(&self, id: PatternId) -> Result<&List, ListError> {
        self.lists.get(id.0 as usize).ok_or(ListError::NotFound)
    }

    fn list_mut(&mut self, id: PatternId) -> Result<&mut List, ListError> {
        self.lists.get_mut(id.0 as usize).ok_or(ListError::NotFound)
    }
}

impl List {
    fn current(&self) -> &Version {
        self.versions.get(&self.current).expect("the version in force is always kept")
    }

    /// A version that is to be changed: the one in force, or one that was prepared.
    fn open(&mut self, version: Option<u32>) -> Result<&mut Version, ListError> {
        let number = version.unwrap_or(self.current);
        if number > self.newest {
            return Err(ListError::InTheFuture);
        }
        if number < self.current {
            return Err(ListError::OutOfRange);
        }
        if self.versions.len() > VERSIONS_MAX && !self.versions.contains_key(&number) {
            return Err(ListError::TooManyVersions);
        }
        let matching = self.current().lookup.matching();
        Ok(self.versions.entry(number).or_insert_with(|| Version::new(matching)))
    }
}

impl Version {
    fn new(matching: Matching) -> Version {
        Version { entries: BTreeMap::new(), lookup: Lookup::new(matching) }
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        self.lookup.insert(entry.clone());
        self.entries.insert(entry.id, entry);
    }

    fn find(&self, which: &Which) -> Vec<Arc<Entry>> {
        match which {
            Which::Reference(id) => self.entries.get(id).cloned().into_iter().collect(),
            Which::Key(key) => match Pattern::parse(self.lookup.matching(), key, "") {
                Ok(pattern) => self.lookup.same_key(&pattern).cloned().collect(),
                Err(_) => Vec::new(),
            },
        }
    }
}
