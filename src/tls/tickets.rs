//! Session tickets (RFC 5077, RFC 8446 section 4.6.1): sealed with AES-256-GCM under keys that rotate.
//!
//! A ticket is the key's name (16 bytes), a random nonce (12), the sealed session and the tag (16); name and context
//! are authenticated with it. A new key is made each `rotation`; the old ones open tickets for two rotations more and
//! are then erased. Readers take no lock: the ring of keys is replaced whole, and only the thread that makes a new key
//! holds a lock, which the others do not wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::resumption::{CONTEXT_BYTES, MonotonicClock, NoRandom};

const NAME_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// Tickets sealed with one key before a new one is made early: far below the 2^32 up to which random nonces are safe.
const SEALS_MAX: u64 = 1 << 30;

/// Largest ticket that is looked at; ours are a few hundred bytes.
const TICKET_MAX_BYTES: usize = 16 * 1024;

/// Shortest rotation, so that a mistaken setting does not make a key for each handshake.
const ROTATION_MIN: Duration = Duration::from_secs(1);

/// The ticket keys of the process.
pub struct TicketKeys {
    /// Newest first, never empty.
    ring: ArcSwap<Vec<Arc<TicketKey>>>,
    rotating: Mutex<()>,
    rotation_ms: AtomicU64,
    clock: MonotonicClock,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
    made: Duration,
    sealed: AtomicU64,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.len()).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// A ring with one fresh key.
    pub fn new(rotation: Duration, clock: MonotonicClock) -> Result<TicketKeys, NoRandom> {
        let key = TicketKey::generate(clock()).ok_or(NoRandom)?;
        Ok(TicketKeys {
            ring: ArcSwap::from_pointee(vec![Arc::new(key)]),
            rotating: Mutex::new(()),
            rotation_ms: AtomicU64::new(whole_ms(rotation)),
            clock,
        })
    }

    /// How often a new key is made.
    pub fn rotation(&self) -> Duration {
        Duration::from_millis(self.rotation_ms.load(Ordering::Relaxed))
    }

    /// Changes how often a new key is made; holds for the keys there are, too.
    pub fn set_rotation(&self, rotation: Duration) {
        self.rotation_ms.store(whole_ms(rotation), Ordering::Relaxed);
    }

    /// Keys in the ring.
    pub fn len(&self) -> usize {
        self.ring.load().len()
    }

    /// Never: there is always a key.
    pub fn is_empty(&self) -> bool {
        self.ring.load().is_empty()
    }

    /// Seals `plain` for `context` with the newest key. `None` when the system gives no random bytes: the handshake
    /// then goes on without a ticket.
    pub fn seal(&self, context: &[u8; CONTEXT_BYTES], plain: &[u8]) -> Option<Vec<u8>> {
        self.rotate_if_due();
        let ring = self.ring.load();
        let key = ring.first()?;
        key.sealed.fetch_add(1, Ordering::Relaxed);

        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut body = Vec::with_capacity(plain.len() + TAG_BYTES);
        body.extend_from_slice(plain);
        let aad = authenticated(&key.name, context);
        key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body).ok()?;

        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + body.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&body);
        Some(ticket)
    }

    /// Opens a ticket that was sealed for the same context by a key that is still accepted; `None` for anything else.
    pub fn open(&self, context: &[u8; CONTEXT_BYTES], ticket: &[u8]) -> Option<Vec<u8>> {
        self.rotate_if_due();
        if ticket.len() > TICKET_MAX_BYTES {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ring = self.ring.load();
        // Names are public and random; comparing them need not take constant time.
        let key = ring.iter().find(|key| key.name == *name)?;
        let mut plain = body.to_vec();
        let aad = authenticated(name, context);
        let opened = key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut plain).ok()?;
        let length = opened.len();
        plain.truncate(length);
        Some(plain)
    }

    /// Makes a new key when the newest is one rotation old (or has sealed very many tickets) and drops the keys that
    /// are three rotations old.
    pub fn rotate_if_due(&self) {
        let now = (self.clock)();
        let rotation = self.rotation();
        if !is_due(&self.ring.load(), now, rotation) {
            return;
        }
        let Some(_rotating) = self.rotating.try_lock() else {
            return;
        };
        let ring = self.ring.load();
        if !is_due(&ring, now, rotation) {
            return;
        }
        let mut next: Vec<_> = Vec::with_capacity(ring.len() + 1);
        if needs_key(&ring, now, rotation) {
            match TicketKey::generate(now) {
                Some(key) => next.push(Arc::new(key)),
                // Better the old key for a while longer than none: the next handshake tries again.
                None => return,
            }
        }
        next.extend(ring.iter().filter(|key| is_accepted(key, now, rotation)).cloned());
        self.ring.store(Arc::new(next));
    }
}

fn is_due(ring: &[Arc<TicketKey>], now: Duration, rotation: Duration) -> bool {
    needs_key(ring, now, rotation) || ring.iter().any(|key| !is_accepted(key, now, rotation))
}

fn needs_key(ring: &[Arc<TicketKey>], now: Duration, rotation: Duration) -> bool {
    ring.first().is_none_or(|newest| {
        now.saturating_sub(newest.made) >= rotation || newest.sealed.load(Ordering::Relaxed) >= SEALS_MAX
    })
}

fn is_accepted(key: &TicketKey, now: Duration, rotation: Duration) -> bool {
    now.saturating_sub(key.made) < rotation.saturating_mul(3)
}

fn authenticated(name: &[u8; NAME_BYTES], context: &[u8; CONTEXT_BYTES]) -> [u8; NAME_BYTES + CONTEXT_BYTES] {
    let mut aad = [0; NAME_BYTES + CONTEXT_BYTES];
    aad.iter_mut().zip(name.iter().chain(context)).for_each(|(to, from)| *to = *from);
    aad
}

fn whole_ms(rotation: Duration) -> u64 {
    u64::try_from(rotation.max(ROTATION_MIN).as_millis()).unwrap_or(u64::MAX)
}

impl TicketKey {
    fn generate(made: Duration) -> Option<TicketKey> {
        let mut name = [0; NAME_BYTES];
        rand::fill(&mut name).ok()?;
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut()).ok()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.as_ref()).ok()?);
        Some(TicketKey { name, key, made, sealed: AtomicU64::new(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; CONTEXT_BYTES] = [1; CONTEXT_BYTES];
    const THERE: [u8; CONTEXT_BYTES] = [2; CONTEXT_BYTES];
    const HOUR: Duration = Duration::from_secs(3600);

    fn keys() -> (TicketKeys, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(0));
        let read = seconds.clone();
        let clock: MonotonicClock = Arc::new(move || Duration::from_secs(read.load(Ordering::Relaxed)));
        (TicketKeys::new(HOUR, clock).unwrap(), seconds)
    }

    #[test]
    fn what_was_sealed_opens_in_its_context_only() {
        let (keys, _) = keys();
        let ticket = keys.seal(&HERE, b"secret of a session").unwrap();
        assert_eq!(keys.open(&HERE, &ticket).as_deref(), Some(&b"secret of a session"[..]));
        assert_eq!(keys.open(&THERE, &ticket), None);
        assert_ne!(ticket, keys.seal(&HERE, b"secret of a session").unwrap(), "nonces differ");
        assert!(memchr::memmem::find(&ticket, b"secret").is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        let (keys, _) = keys();
        let ticket = keys.seal(&HERE, b"x").unwrap();
        for position in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[position] ^= 1;
            assert_eq!(keys.open(&HERE, &bent), None, "byte {position}");
        }
        for length in 0..ticket.len() {
            assert_eq!(keys.open(&HERE, &ticket[..length]), None, "length {length}");
        }
        assert_eq!(keys.open(&HERE, &vec![0; TICKET_MAX_BYTES + 1]), None);
    }

    #[test]
    fn keys_are_accepted_for_two_rotations_after_theirs() {
        let (keys, seconds) = keys();
        let ticket = keys.seal(&HERE, b"x").unwrap();
        for (at, opens, ring) in
            [(3599, true, 1), (3600, true, 2), (7200, true, 3), (10799, true, 3), (10800, false, 3)]
        {
            seconds.store(at, Ordering::Relaxed);
            assert_eq!(keys.open(&HERE, &ticket).is_some(), opens, "at {at} s");
            assert_eq!(keys.len(), ring, "at {at} s");
        }
        seconds.store(1_000_000, Ordering::Relaxed);
        keys.rotate_if_due();
        assert_eq!(keys.len(), 1, "only a fresh key is left after a long rest");
    }

    #[test]
    fn a_shorter_rotation_ends_old_keys_sooner() {
        let (keys, seconds) = keys();
        let ticket = keys.seal(&HERE, b"x").unwrap();
        seconds.store(600, Ordering::Relaxed);
        keys.set_rotation(Duration::from_secs(60));
        assert_eq!(keys.open(&HERE, &ticket), None);
        assert_eq!(keys.rotation(), Duration::from_secs(60));
    }
}
