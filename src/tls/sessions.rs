//! Sessions in memory, for TLS 1.2 clients that resume by session id (RFC 5246 section 7.3).
//!
//! Sharded, so that workers seldom meet at a lock; bounded by a number of sessions, with second-chance eviction: a
//! session that was resumed since the hand last passed is spared once. Secrets are wiped when they leave.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::resumption::{CONTEXT_BYTES, Clock};

const SHARDS: usize = 16;

/// Longest key and largest value that are stored; rustls' are 32 and a few hundred bytes.
const KEY_MAX_BYTES: usize = 64;
const VALUE_MAX_BYTES: usize = 16 * 1024;

/// Context and session id.
type Key = SmallVec<[u8; CONTEXT_BYTES + 32]>;

/// The session cache of the process.
pub struct SessionCache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    clock: Clock,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Key, usize>,
    /// A ring the hand goes round; never longer than `capacity`.
    ring: Vec<Slot>,
    hand: usize,
    capacity: usize,
    lifetime: Duration,
}

struct Slot {
    key: Key,
    value: Zeroizing<Vec<u8>>,
    stored: Duration,
    spared: bool,
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("sessions", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

impl SessionCache {
    /// An empty cache of at most `capacity` sessions, each usable for `lifetime`.
    pub fn new(capacity: usize, lifetime: Duration, clock: Clock) -> SessionCache {
        let cache = SessionCache { shards: Default::default(), hasher: RandomState::new(), clock };
        cache.configure(capacity, lifetime);
        cache
    }

    /// Changes size and lifetime; sessions beyond a smaller size are dropped.
    pub fn configure(&self, capacity: usize, lifetime: Duration) {
        for (position, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            shard.capacity = capacity / SHARDS + usize::from(position < capacity % SHARDS);
            shard.lifetime = lifetime;
            shard.shrink();
        }
    }

    /// Stores a session, evicting another when the cache is full. Returns whether it was stored.
    pub fn put(&self, context: &[u8; CONTEXT_BYTES], key: &[u8], value: Vec<u8>) -> bool {
        let value = Zeroizing::new(value);
        if key.len() > KEY_MAX_BYTES || value.len() > VALUE_MAX_BYTES {
            return false;
        }
        let key = join(context, key);
        let stored = (self.clock)();
        self.shard(&key).lock().put(Slot { key, value, stored, spared: false })
    }

    /// A copy of a stored session.
    pub fn get(&self, context: &[u8; CONTEXT_BYTES], key: &[u8]) -> Option<Vec<u8>> {
        let key = join(context, key);
        let now = (self.clock)();
        self.shard(&key).lock().get(&key, now)
    }

    /// A stored session, which is stored no longer.
    pub fn take(&self, context: &[u8; CONTEXT_BYTES], key: &[u8]) -> Option<Vec<u8>> {
        let key = join(context, key);
        let now = (self.clock)();
        let mut shard = self.shard(&key).lock();
        let value = shard.get(&key, now)?;
        shard.remove(&key);
        Some(value)
    }

    /// Sessions stored.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().ring.len()).sum()
    }

    /// Whether no session is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sessions that may be stored.
    pub fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().capacity).sum()
    }

    /// Whether any session may be stored: the first shard has a place as soon as there is one.
    pub fn can_store(&self) -> bool {
        self.shards.first().is_some_and(|shard| shard.lock().capacity > 0)
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let position = self.hasher.hash_one(key) as usize % SHARDS;
        &self.shards[position]
    }
}

impl Shard {
    fn put(&mut self, slot: Slot) -> bool {
        if self.capacity == 0 {
            return false;
        }
        if let Some(&position) = self.slots.get(&slot.key) {
            self.ring[position] = slot;
            return true;
        }
        if self.ring.len() < self.capacity {
            self.slots.insert(slot.key.clone(), self.ring.len());
            self.ring.push(slot);
            return true;
        }
        let position = self.victim();
        self.slots.remove(&self.ring[position].key);
        self.slots.insert(slot.key.clone(), position);
        self.ring[position] = slot;
        true
    }

    fn get(&mut self, key: &Key, now: Duration) -> Option<Vec<u8>> {
        let position = *self.slots.get(key)?;
        let slot = &mut self.ring[position];
        if now.saturating_sub(slot.stored) >= self.lifetime {
            self.remove(key);
            return None;
        }
        slot.spared = true;
        Some(slot.value.to_vec())
    }

    fn remove(&mut self, key: &Key) {
        let Some(position) = self.slots.remove(key) else {
            return;
        };
        self.ring.swap_remove(position);
        if let Some(moved) = self.ring.get(position) {
            self.slots.insert(moved.key.clone(), position);
        }
    }

    /// Where the hand stops: the first slot that was not used since it last passed. Ends within two rounds, because
    /// the first takes every mark away.
    fn victim(&mut self) -> usize {
        loop {
            let position = self.hand % self.ring.len();
            self.hand = position + 1;
            if !std::mem::take(&mut self.ring[position].spared) {
                return position;
            }
        }
    }

    fn shrink(&mut self) {
        while self.ring.len() > self.capacity {
            let position = self.victim();
            let key = self.ring[position].key.clone();
            self.remove(&key);
        }
    }
}

fn join(context: &[u8; CONTEXT_BYTES], key: &[u8]) -> Key {
    let mut joined = Key::with_capacity(CONTEXT_BYTES + key.len());
    joined.extend_from_slice(context);
    joined.extend_from_slice(key);
    joined
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HERE: [u8; CONTEXT_BYTES] = [1; CONTEXT_BYTES];
    const THERE: [u8; CONTEXT_BYTES] = [2; CONTEXT_BYTES];

    fn cache(capacity: usize) -> (SessionCache, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(0));
        let read = seconds.clone();
        let clock: Clock = Arc::new(move || Duration::from_secs(read.load(Ordering::Relaxed)));
        (SessionCache::new(capacity, Duration::from_secs(100), clock), seconds)
    }

    #[test]
    fn sessions_are_found_in_their_context_only() {
        let (cache, _) = cache(100);
        assert!(cache.put(&HERE, b"id", b"value".to_vec()));
        assert_eq!(cache.get(&HERE, b"id").as_deref(), Some(&b"value"[..]));
        assert_eq!(cache.get(&THERE, b"id"), None);
        assert!(cache.put(&HERE, b"id", b"other".to_vec()));
        assert_eq!(cache.take(&HERE, b"id").as_deref(), Some(&b"other"[..]));
        assert_eq!(cache.get(&HERE, b"id"), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn sessions_end_with_their_lifetime() {
        let (cache, seconds) = cache(100);
        cache.put(&HERE, b"id", b"value".to_vec());
        seconds.store(99, Ordering::Relaxed);
        assert!(cache.get(&HERE, b"id").is_some());
        seconds.store(100, Ordering::Relaxed);
        assert_eq!(cache.get(&HERE, b"id"), None);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn the_size_asked_is_never_exceeded() {
        for capacity in [0, 1, 5, 16, 17, 1000] {
            let (cache, _) = cache(capacity);
            assert_eq!(cache.capacity(), capacity);
            for id in 0..5000_u32 {
                cache.put(&HERE, &id.to_be_bytes(), vec![0; 10]);
                assert!(cache.len() <= capacity);
                for shard in &cache.shards {
                    let shard = shard.lock();
                    assert_eq!(shard.slots.len(), shard.ring.len());
                }
            }
            // Each shard is full by now, whatever way the ids fell.
            assert_eq!(cache.len(), capacity);
        }
    }

    #[test]
    fn what_is_in_use_outlives_what_is_not() {
        let mut shard = Shard { capacity: 3, lifetime: Duration::from_secs(100), ..Shard::default() };
        let slot = |id: u8| Slot {
            key: Key::from_slice(&[id]),
            value: Zeroizing::new(vec![id]),
            stored: Duration::ZERO,
            spared: false,
        };
        for id in [1, 2, 3] {
            shard.put(slot(id));
        }
        shard.get(&Key::from_slice(&[1]), Duration::ZERO);
        shard.put(slot(4));
        let kept: Vec<bool> =
            [1, 2, 3, 4].iter().map(|id| shard.get(&Key::from_slice(&[*id]), Duration::ZERO).is_some()).collect();
        assert_eq!(kept, [true, false, true, true]);
    }

    #[test]
    fn a_smaller_size_drops_what_does_not_fit() {
        let (cache, _) = cache(1000);
        for id in 0..1000_u32 {
            cache.put(&HERE, &id.to_be_bytes(), vec![0; 10]);
        }
        cache.configure(10, Duration::from_secs(100));
        assert!(cache.len() <= 10);
        cache.configure(0, Duration::from_secs(100));
        assert!(cache.is_empty());
        assert!(!cache.put(&HERE, b"id", vec![0]));
    }
}
