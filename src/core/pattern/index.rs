//! Entries by the bytes they are found by, in a tree of 64 times 64 leaves that share what did not change.
//!
//! A change copies one leaf and the two nodes above it, whatever the size of the list, so that each change can be its
//! own immutable version; a list that nobody else holds is changed in place. The hash has no secret: operators choose
//! what stands in it, and a look-up costs the same whatever is asked.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::lookup::Entry;

const FAN_BITS: u32 = 6;
const FAN: usize = 1 << FAN_BITS;

/// Entries in the order of their hashes, and of their age where these are the same.
type Leaf = Arc<Vec<(u64, Arc<Entry>)>>;
type Branch = Arc<Vec<Leaf>>;

#[derive(Debug, Clone)]
pub(super) struct Index {
    branches: Arc<Vec<Branch>>,
}

impl Index {
    pub fn new() -> Index {
        let branch: Branch = Arc::new(vec![Leaf::default(); FAN]);
        Index { branches: Arc::new(vec![branch; FAN]) }
    }

    /// The oldest entry that is found by this.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.get_all(key).next()
    }

    /// Every entry that is found by this, oldest first.
    #[inline]
    pub fn get_all<'a, 'k>(&'a self, key: &'k [u8]) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a, 'k> {
        let hash = xxh3_64(key);
        let (branch, leaf) = places(hash);
        let leaf: &[(u64, Arc<Entry>)] = &self.branches[branch][leaf];
        let start = leaf.partition_point(|(h, _)| *h < hash);
        let same = leaf[start..].iter().take_while(move |(h, _)| *h == hash);
        same.map(|(_, entry)| entry).filter(move |entry| entry.pattern.index_key() == key)
    }

    pub fn insert(&mut self, entry: Arc<Entry>) {
        let hash = xxh3_64(entry.pattern.index_key());
        let leaf = self.leaf_mut(hash);
        let at = leaf.partition_point(|(h, e)| (*h, e.id) < (hash, entry.id));
        leaf.insert(at, (hash, entry));
    }

    /// Puts an entry in the place of the one with its id and key.
    pub fn replace(&mut self, entry: &Arc<Entry>) {
        let hash = xxh3_64(entry.pattern.index_key());
        if let Some(place) = self.leaf_mut(hash).iter_mut().find(|(_, e)| e.id == entry.id) {
            place.1 = entry.clone();
        }
    }

    pub fn remove(&mut self, entry: &Entry) {
        let hash = xxh3_64(entry.pattern.index_key());
        self.leaf_mut(hash).retain(|(_, e)| e.id != entry.id);
    }

    fn leaf_mut(&mut self, hash: u64) -> &mut Vec<(u64, Arc<Entry>)> {
        let (branch, leaf) = places(hash);
        let branch = Arc::make_mut(&mut Arc::make_mut(&mut self.branches)[branch]);
        Arc::make_mut(&mut branch[leaf])
    }
}

/// Two numbers below [`FAN`]: the highest bits of a hash.
#[inline]
fn places(hash: u64) -> (usize, usize) {
    let branch = hash >> (64 - FAN_BITS);
    let leaf = hash >> (64 - 2 * FAN_BITS) & (FAN as u64 - 1);
    (branch as usize, leaf as usize)
}
