//! One immutable version of a list, as workers ask it.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::entry::{Matching, NetworkKey, Pattern};
use super::index::Index;
use crate::core::fleet::spec::BackendIndex;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the process; stands where HAProxy shows an entry's address.
    pub id: u64,
    /// Key and value.
    pub pattern: Pattern,
    /// The backend its value names, if it names one.
    pub backend: Option<BackendIndex>,
}

/// A version of a list. Look-ups take no lock and allocate nothing; copies share all entries.
#[derive(Debug, Clone)]
pub struct Lookup {
    matching: Matching,
    index: Index,
    /// Prefix lengths that occur, longest first, with how many entries have them: of IPv4 and of IPv6.
    lengths: [SmallVec<[(u8, u32); 8]>; 2],
    /// Entries that begin with `*.`.
    wildcards: usize,
    /// Most slashes in a path that ever stood in this version.
    depth: usize,
}

impl Lookup {
    /// An empty list.
    pub fn new(matching: Matching) -> Lookup {
        Lookup { matching, index: Index::new(), lengths: Default::default(), wildcards: 0, depth: 0 }
    }

    /// How its keys are compared.
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// The narrowest network an address is in. An IPv4 address in IPv6 clothes is the IPv4 address. One look-up for
    /// each prefix length that occurs.
    pub fn find_client(&self, client: IpAddr) -> Option<&Arc<Entry>> {
        let client = client.to_canonical();
        let lengths = &self.lengths[usize::from(client.is_ipv6())];
        lengths.iter().find_map(|(length, _)| self.index.get(NetworkKey::new(client, *length).as_bytes()))
    }

    /// The entry of a normalised host: its own, else that of the longest `*.` pattern it is under.
    pub fn find_host(&self, host: &str) -> Option<&Arc<Entry>> {
        // No host begins with a dot, so no wildcard is taken for a host's own entry.
        let own = self.index.get(host.as_bytes());
        if own.is_some() || self.wildcards == 0 {
            return own;
        }
        let dots = memchr::memchr_iter(b'.', host.as_bytes()).filter(|at| *at > 0);
        let mut suffixes = dots.filter_map(|at| host.as_bytes().get(at..));
        suffixes.find_map(|suffix| self.index.get(suffix))
    }

    /// The entry of a normalised path: the longest one that is the path or lies above it.
    pub fn find_path(&self, path: &[u8]) -> Option<&Arc<Entry>> {
        let mut found = None;
        let mut slashes = 0;
        for at in memchr::memchr_iter(b'/', path) {
            // In front of the n-th slash stands a stem with n - 1 of them.
            if slashes > self.depth {
                return found;
            }
            found = self.index.get(path.get(..at).unwrap_or_default()).or(found);
            slashes += 1;
        }
        if slashes <= self.depth { self.index.get(path).or(found) } else { found }
    }

    /// The entry with exactly this key.
    pub fn find_text(&self, text: &[u8]) -> Option<&Arc<Entry>> {
        self.index.get(text)
    }

    /// The entry for a sample given as text, as `get map` and `get acl` ask.
    pub fn find(&self, sample: &str) -> Option<&Arc<Entry>> {
        match self.matching {
            Matching::Network => self.find_client(sample.parse().ok()?),
            Matching::Host => self.find_host(sample),
            Matching::Path => self.find_path(sample.as_bytes()),
            Matching::Text => self.find_text(sample.as_bytes()),
        }
    }

    /// Every entry with the key of this pattern, oldest first.
    pub(super) fn same_key<'a>(&'a self, pattern: &'a Pattern) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.index.get_all(pattern.index_key())
    }

    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        if let Some((family, length)) = entry.pattern.prefix() {
            let lengths = &mut self.lengths[usize::from(family == 6)];
            match lengths.iter_mut().find(|(l, _)| *l == length) {
                Some((_, count)) => *count += 1,
                None => {
                    let at = lengths.partition_point(|(l, _)| *l > length);
                    lengths.insert(at, (length, 1));
                }
            }
        }
        self.wildcards += usize::from(entry.pattern.is_wildcard());
        if self.matching == Matching::Path {
            self.depth = self.depth.max(memchr::memchr_iter(b'/', entry.pattern.index_key()).count());
        }
        self.index.insert(entry);
    }

    pub(super) fn replace(&mut self, entry: &Arc<Entry>) {
        self.index.replace(entry);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        if let Some((family, length)) = entry.pattern.prefix() {
            let lengths = &mut self.lengths[usize::from(family == 6)];
            if let Some((_, count)) = lengths.iter_mut().find(|(l, _)| *l == length) {
                *count = count.saturating_sub(1);
            }
            lengths.retain(|(_, count)| *count > 0);
        }
        self.wildcards = self.wildcards.saturating_sub(usize::from(entry.pattern.is_wildcard()));
        self.index.remove(entry);
    }
}
