//! Session tickets (RFC 5077, RFC 8446 section 4.6.1): sealed with AES-256-GCM under keys that rotate.
//!
//! A ticket is the key's name (16 bytes), a random nonce (12), the sealed session with the second it was made, and the
//! tag (16); name and context are authenticated with it. Readers take no lock: the ring of keys is replaced whole, and
//! only the thread that makes a new key holds a lock, which the others do not wait for.
//!
//! Keys come from one of three places ([`KeySource`]): made here and known to nobody else; read from a file that several
//! machines have; or derived from a secret and the time, so that machines that share the secret have the same keys at
//! the same time without sharing anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::resumption::{CONTEXT_BYTES, Clocks, NoRandom};
use crate::core::tls::ticket_keys::RawKey;

const NAME_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const TIME_BYTES: usize = 8;

/// Tickets sealed with one key before a new one is made early: far below the 2^32 up to which random nonces are safe.
const SEALS_MAX: u64 = 1 << 30;

/// Largest ticket that is looked at; ours are a few hundred bytes, more with a client's certificates in them.
const TICKET_MAX_BYTES: usize = 16 * 1024;

/// Shortest rotation, so that a mistaken setting does not make a key for each handshake.
const ROTATION_MIN: Duration = Duration::from_secs(1);

/// How far another machine's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Where ticket keys come from.
#[derive(Clone)]
pub enum KeySource {
    /// Made here, at random. Nobody else can resume, nor can this process after a restart.
    Own,
    /// These keys, oldest first; the one before the last seals ([`crate::core::tls::ticket_keys`]).
    File(Vec<RawKey>),
    /// Derived from this secret, one for each rotation of the wall clock.
    Secret(Arc<Zeroizing<Vec<u8>>>),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeySource::Own => "Own",
            KeySource::File(_) => "File",
            KeySource::Secret(_) => "Secret",
        })
    }
}

/// The ticket keys of the process.
pub struct TicketKeys {
    ring: ArcSwap<Ring>,
    /// The secret keys are derived from; `None` for the other sources.
    secret: ArcSwapOption<Zeroizing<Vec<u8>>>,
    rotating: Mutex<()>,
    rotation_ms: AtomicU64,
    clocks: Clocks,
}

/// The keys that are accepted, one of which seals.
struct Ring {
    /// Newest first, never empty.
    keys: Vec<Arc<TicketKey>>,
    /// Which one seals.
    seals: usize,
    kind: RingKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RingKind {
    /// Made here: new ones as time goes by.
    Own,
    /// From a file: as they are until the file changes.
    File,
    /// Of this rotation since 1970.
    Derived(u64),
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
    /// Keys of this source.
    pub fn new(source: &KeySource, rotation: Duration, clocks: Clocks) -> Result<TicketKeys, NoRandom> {
        let key = TicketKey::generate((clocks.monotonic)()).ok_or(NoRandom)?;
        let keys = TicketKeys {
            ring: ArcSwap::from_pointee(Ring { keys: vec![Arc::new(key)], seals: 0, kind: RingKind::Own }),
            secret: ArcSwapOption::empty(),
            rotating: Mutex::new(()),
            rotation_ms: AtomicU64::new(whole_ms(rotation)),
            clocks,
        };
        keys.set_source(source)?;
        Ok(keys)
    }

    /// Takes keys from another place, or the changed keys of the same; false when they are the same. Tickets of keys that
    /// are not among them resume no more.
    pub fn set_source(&self, source: &KeySource) -> Result<bool, NoRandom> {
        let _rotating = self.rotating.lock();
        let now = (self.clocks.monotonic)();
        let (ring, secret) = match source {
            KeySource::Own => {
                let is_own = self.ring.load().kind == RingKind::Own;
                if is_own {
                    self.secret.store(None);
                    return Ok(false);
                }
                let key = TicketKey::generate(now).ok_or(NoRandom)?;
                (Ring { keys: vec![Arc::new(key)], seals: 0, kind: RingKind::Own }, None)
            }
            KeySource::File(raw) => {
                let keys: Vec<_> =
                    raw.iter().rev().filter_map(|raw| TicketKey::of_file(raw, now)).map(Arc::new).collect();
                if keys.is_empty() {
                    return Err(NoRandom);
                }
                let ring = self.ring.load();
                if ring.kind == RingKind::File
                    && ring.keys.iter().map(|key| key.name).eq(keys.iter().map(|key| key.name))
                {
                    return Ok(false);
                }
                // The newest is accepted everywhere before any machine seals with it.
                let seals = usize::from(keys.len() > 1);
                (Ring { keys, seals, kind: RingKind::File }, None)
            }
            KeySource::Secret(secret) => {
                if self.secret.load().as_deref().is_some_and(|before| **before == ***secret) {
                    return Ok(false);
                }
                let epoch = self.epoch();
                let ring = derived_ring(secret, self.rotation(), epoch, now).ok_or(NoRandom)?;
                (ring, Some(secret.clone()))
            }
        };
        self.secret.store(secret);
        self.ring.store(Arc::new(ring));
        Ok(true)
    }

    /// How often a new key is made.
    pub fn rotation(&self) -> Duration {
        Duration::from_millis(self.rotation_ms.load(Ordering::Relaxed))
    }

    /// Changes how often a new key is made; holds for the keys there are, too.
    pub fn set_rotation(&self, rotation: Duration) {
        self.rotation_ms.store(whole_ms(rotation), Ordering::Relaxed);
    }

    /// How long a ticket is good for: two rotations.
    pub fn lifetime(&self) -> Duration {
        self.rotation().saturating_mul(2)
    }

    /// Keys in the ring.
    pub fn len(&self) -> usize {
        self.ring.load().keys.len()
    }

    /// Never: there is always a key.
    pub fn is_empty(&self) -> bool {
        self.ring.load().keys.is_empty()
    }

    /// Seals `plain` for `context`. `None` when the system gives no random bytes: the handshake then goes on without a
    /// ticket.
    pub fn seal(&self, context: &[u8; CONTEXT_BYTES], plain: &[u8]) -> Option<Vec<u8>> {
        self.rotate_if_due();
        let ring = self.ring.load();
        let key = ring.keys.get(ring.seals)?;
        key.sealed.fetch_add(1, Ordering::Relaxed);

        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut body = Vec::with_capacity(TIME_BYTES + plain.len() + TAG_BYTES);
        body.extend_from_slice(&(self.clocks.wall)().as_secs().to_be_bytes());
        body.extend_from_slice(plain);
        let aad = authenticated(&key.name, context);
        key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body).ok()?;

        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + body.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&body);
        Some(ticket)
    }

    /// Opens a ticket that was sealed for the same context by a key that is still accepted, not longer ago than
    /// [`TicketKeys::lifetime`]; `None` for anything else.
    pub fn open(&self, context: &[u8; CONTEXT_BYTES], ticket: &[u8]) -> Option<Vec<u8>> {
        self.rotate_if_due();
        if ticket.len() > TICKET_MAX_BYTES {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ring = self.ring.load();
        // Names are public and random; comparing them need not take constant time.
        let key = ring.keys.iter().find(|key| key.name == *name)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let aad = authenticated(name, context);
        let opened =
            key.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut plain[..]).ok()?;
        let (made, session) = opened.split_first_chunk::<TIME_BYTES>()?;
        let made = Duration::from_secs(u64::from_be_bytes(*made));
        let now = (self.clocks.wall)();
        let too_old = now.saturating_sub(made) > self.keys_lifetime(ring.kind);
        if too_old || made > now.saturating_add(CLOCK_SKEW) {
            return None;
        }
        Some(session.to_vec())
    }

    /// How long after it was made a ticket is opened, if its key is still there.
    fn keys_lifetime(&self, kind: RingKind) -> Duration {
        match kind {
            // Keys go by themselves.
            RingKind::Own => self.rotation().saturating_mul(3),
            RingKind::File | RingKind::Derived(_) => self.lifetime(),
        }
    }

    /// Which rotation since 1970 it is.
    fn epoch(&self) -> u64 {
        let rotation = self.rotation().as_millis().max(1);
        u64::try_from((self.clocks.wall)().as_millis() / rotation).unwrap_or(u64::MAX)
    }

    /// Makes a new key when the newest is one rotation old (or has sealed very many tickets) and drops the keys that
    /// are no longer accepted: of keys made here those that are three rotations old. Keys of a file stay as they are.
    pub fn rotate_if_due(&self) {
        let now = (self.clocks.monotonic)();
        let rotation = self.rotation();
        if !self.is_due(&self.ring.load(), now, rotation) {
            return;
        }
        let Some(_rotating) = self.rotating.try_lock() else {
            return;
        };
        let ring = self.ring.load();
        if !self.is_due(&ring, now, rotation) {
            return;
        }
        let next = match ring.kind {
            RingKind::File => None,
            RingKind::Derived(_) => {
                let secret = self.secret.load();
                secret.as_deref().and_then(|secret| derived_ring(secret, rotation, self.epoch(), now))
            }
            RingKind::Own => own_ring(&ring.keys, now, rotation),
        };
        // Better the old keys for a while longer than none: the next handshake tries again.
        if let Some(next) = next {
            self.ring.store(Arc::new(next));
        }
    }

    fn is_due(&self, ring: &Ring, now: Duration, rotation: Duration) -> bool {
        match ring.kind {
            RingKind::File => false,
            RingKind::Derived(epoch) => epoch != self.epoch(),
            RingKind::Own => {
                needs_key(&ring.keys, now, rotation) || ring.keys.iter().any(|key| !is_accepted(key, now, rotation))
            }
        }
    }
}

/// The next ring of keys made here; `None` when the system gives no random bytes.
fn own_ring(keys: &[Arc<TicketKey>], now: Duration, rotation: Duration) -> Option<Ring> {
    let mut next: Vec<_> = Vec::with_capacity(keys.len() + 1);
    if needs_key(keys, now, rotation) {
        next.push(Arc::new(TicketKey::generate(now)?));
    }
    next.extend(keys.iter().filter(|key| is_accepted(key, now, rotation)).cloned());
    Some(Ring { keys: next, seals: 0, kind: RingKind::Own })
}

/// The keys of a rotation: the next one's, for machines whose clocks are ahead; its own, which seals; and two before.
fn derived_ring(secret: &[u8], rotation: Duration, epoch: u64, now: Duration) -> Option<Ring> {
    let epochs = (epoch.saturating_sub(2)..=epoch.saturating_add(1)).rev();
    let keys = epochs.map(|epoch| TicketKey::derive(secret, rotation, epoch, now).map(Arc::new));
    let keys: Vec<_> = keys.collect::<Option<_>>()?;
    Some(Ring { keys, seals: 1, kind: RingKind::Derived(epoch) })
}

fn needs_key(keys: &[Arc<TicketKey>], now: Duration, rotation: Duration) -> bool {
    keys.first().is_none_or(|newest| {
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

/// HMAC-SHA-256 as a function that derives 32 bytes for a purpose.
fn derive(secret: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
    let mut out = Zeroizing::new([0; 32]);
    out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

impl TicketKey {
    fn generate(made: Duration) -> Option<TicketKey> {
        let mut name = [0; NAME_BYTES];
        rand::fill(&mut name).ok()?;
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut()).ok()?;
        TicketKey::new(name, &secret, made)
    }

    /// HAProxy's keys begin with a name; what seals here is derived from the whole of the key.
    fn of_file(raw: &RawKey, made: Duration) -> Option<TicketKey> {
        let (name, _) = raw.split_first_chunk::<NAME_BYTES>()?;
        TicketKey::new(*name, &derive(raw, b"lockgate ticket key"), made)
    }

    fn derive(secret: &[u8], rotation: Duration, epoch: u64, made: Duration) -> Option<TicketKey> {
        let rotation = u64::try_from(rotation.as_millis()).unwrap_or(u64::MAX);
        let of = |purpose: &[u8]| {
            let text = [purpose, &rotation.to_be_bytes(), &epoch.to_be_bytes()].concat();
            derive(secret, &text)
        };
        let name = of(b"lockgate ticket key name");
        let (name, _) = name.split_first_chunk::<NAME_BYTES>()?;
        TicketKey::new(*name, &of(b"lockgate ticket key"), made)
    }

    fn new(name: [u8; NAME_BYTES], secret: &[u8; 32], made: Duration) -> Option<TicketKey> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?);
        Some(TicketKey { name, key, made, sealed: AtomicU64::new(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; CONTEXT_BYTES] = [1; CONTEXT_BYTES];
    const THERE: [u8; CONTEXT_BYTES] = [2; CONTEXT_BYTES];
    const HOUR: Duration = Duration::from_secs(3600);

    /// Keys of a source on a machine whose clocks show these seconds.
    fn keys_of(source: &KeySource) -> (TicketKeys, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(0));
        let (read, also) = (seconds.clone(), seconds.clone());
        let clocks = Clocks {
            monotonic: Arc::new(move || Duration::from_secs(read.load(Ordering::Relaxed))),
            wall: Arc::new(move || Duration::from_secs(1_000_000_000 + also.load(Ordering::Relaxed))),
        };
        (TicketKeys::new(source, HOUR, clocks).unwrap(), seconds)
    }

    fn keys() -> (TicketKeys, Arc<AtomicU64>) {
        keys_of(&KeySource::Own)
    }

    fn file(numbers: &[u8]) -> KeySource {
        KeySource::File(numbers.iter().map(|n| Zeroizing::new(vec![*n; 80])).collect())
    }

    fn secret(text: &[u8]) -> KeySource {
        KeySource::Secret(Arc::new(Zeroizing::new(text.to_vec())))
    }

    #[test]
    fn machines_with_the_same_file_open_each_others_tickets() {
        let (here, _) = keys_of(&file(&[1, 2, 3]));
        let (there, _) = keys_of(&file(&[1, 2, 3]));
        let before = here.seal(&HERE, b"x").unwrap();
        assert!(there.open(&HERE, &before).is_some());
        assert_eq!(there.open(&THERE, &before), None);

        // One machine has the new file first.
        here.set_source(&file(&[2, 3, 4])).unwrap();
        let after = here.seal(&HERE, b"y").unwrap();
        assert_ne!(before[..NAME_BYTES], after[..NAME_BYTES], "the next key seals");
        assert_eq!(there.open(&HERE, &after).as_deref(), Some(&b"y"[..]), "the key was there before it was used");
        there.set_source(&file(&[2, 3, 4])).unwrap();
        assert!(here.open(&HERE, &before).is_some() && there.open(&HERE, &before).is_some());
        there.set_source(&file(&[3, 4, 5])).unwrap();
        assert_eq!(there.open(&HERE, &before), None, "its key has left the file");
        assert!(there.open(&HERE, &after).is_some());
    }

    #[test]
    fn machines_with_the_same_secret_open_each_others_tickets() {
        let (here, time_here) = keys_of(&secret(b"a secret of many machines"));
        let (there, time_there) = keys_of(&secret(b"a secret of many machines"));
        let (stranger, _) = keys_of(&secret(b"another secret"));
        let at = |here: u64, there: u64| {
            time_here.store(here, Ordering::Relaxed);
            time_there.store(there, Ordering::Relaxed);
        };
        at(0, 0);
        let ticket = here.seal(&HERE, b"x").unwrap();
        assert_eq!(there.open(&HERE, &ticket).as_deref(), Some(&b"x"[..]));
        assert_eq!(stranger.open(&HERE, &ticket), None);
        at(0, 7200);
        assert!(there.open(&HERE, &ticket).is_some(), "two rotations later");
        at(0, 7201);
        assert_eq!(there.open(&HERE, &ticket), None, "too old");
        // The other machine's clock is a little ahead, and in the next rotation.
        at(3600, 3599);
        assert!(there.open(&HERE, &here.seal(&HERE, b"y").unwrap()).is_some());
        at(3600 + 600, 3600);
        assert_eq!(there.open(&HERE, &here.seal(&HERE, b"z").unwrap()), None, "ten minutes ahead");
    }

    #[test]
    fn tickets_of_a_file_get_too_old() {
        let (keys, seconds) = keys_of(&file(&[1, 2, 3]));
        let ticket = keys.seal(&HERE, b"x").unwrap();
        seconds.store(7200, Ordering::Relaxed);
        assert!(keys.open(&HERE, &ticket).is_some());
        seconds.store(7201, Ordering::Relaxed);
        assert_eq!(keys.open(&HERE, &ticket), None);
        assert_eq!(keys.len(), 3, "the keys stay");
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
