//! What lets clients resume: one session cache and one ring of ticket keys, shared by all workers and all binds.
//!
//! Shared storage, separate contexts: every bind seals its tickets and files its sessions under a context of its own,
//! so that what was negotiated at one bind is worth nothing at another (the class of CVE-2025-23419). The context is a
//! name that stays the same over reloads and certificate renewals, so that neither makes clients start anew, and that
//! says nothing of the machine, so that the machines of a fleet can resume each other's sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::UnixTime;
use rustls::server::{ProducesTickets, StoresServerSessions};

use super::sessions::SessionCache;
use super::tickets::{KeySource, TicketKeys};
use crate::config::model::TlsGlobal;

/// Time since some fixed moment: how this room reads a clock.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clocks of this room.
#[derive(Clone)]
pub struct Clocks {
    /// Since some moment, never going back.
    pub monotonic: Clock,
    /// Since 1970. Machines that share ticket keys agree on it, roughly.
    pub wall: Clock,
}

/// Longest life of a ticket, RFC 8446 section 4.6.1: 7 days.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Session cache and ticket keys of the process.
pub struct Resumption {
    tickets: TicketKeys,
    sessions: SessionCache,
    wall: Clock,
    lookups: AtomicU64,
    misses: AtomicU64,
}

impl std::fmt::Debug for Resumption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumption").field("tickets", &self.tickets).field("sessions", &self.sessions).finish()
    }
}

/// The system gave no random bytes for a ticket key.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a TLS ticket key: the system gives no random bytes")]
pub struct NoRandom;

impl Resumption {
    /// An empty cache of the configured size, and ticket keys of this source.
    pub fn new(spec: &TlsGlobal, keys: &KeySource, clocks: Clocks) -> Result<Arc<Resumption>, NoRandom> {
        Ok(Arc::new(Resumption {
            sessions: SessionCache::new(spec.session_cache, session_lifetime(spec), clocks.monotonic.clone()),
            wall: clocks.wall.clone(),
            tickets: TicketKeys::new(keys, spec.ticket_rotation, clocks)?,
            lookups: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }))
    }

    /// Takes over changed settings; sessions and keys are kept as far as the new size allows.
    pub fn configure(&self, spec: &TlsGlobal) {
        self.tickets.set_rotation(spec.ticket_rotation);
        self.sessions.configure(spec.session_cache, session_lifetime(spec));
    }

    /// Takes over changed ticket keys: a file that was written anew, another secret. False when they are the same.
    pub fn set_keys(&self, keys: &KeySource) -> Result<bool, NoRandom> {
        self.tickets.set_source(keys)
    }

    /// Makes a new ticket key if the current one is due, and erases those that are no longer accepted.
    ///
    /// Handshakes do this too; called now and then, it erases keys on time when there are none.
    pub fn rotate(&self) {
        self.tickets.rotate_if_due();
    }

    /// How often clients offered a session to resume, by id or ticket, and how often it was not found or not ours
    /// (`SslCacheLookups`, `SslCacheMisses`).
    pub fn lookups(&self) -> (u64, u64) {
        (self.lookups.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The wall clock, as certificates are judged by it.
    pub(super) fn unix_time(&self) -> UnixTime {
        UnixTime::since_unix_epoch((self.wall)())
    }

    fn count(&self, found: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        if found.is_none() {
            self.misses.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Sessions in the cache.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Ticket keys that are accepted now.
    pub fn ticket_keys(&self) -> usize {
        self.tickets.len()
    }

    /// The session cache and the ticket keys as one bind sees them.
    pub(super) fn for_context(self: &Arc<Self>, context: &[u8]) -> Arc<Context> {
        let hash = digest::digest(&digest::SHA256, context);
        let mut id = [0; CONTEXT_BYTES];
        id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        Arc::new(Context { id, shared: self.clone() })
    }
}

fn session_lifetime(spec: &TlsGlobal) -> Duration {
    spec.ticket_rotation.saturating_mul(2).min(LIFETIME_MAX)
}

/// Bytes of a context's id: a truncated SHA-256 of its name.
pub(super) const CONTEXT_BYTES: usize = 16;

/// [`Resumption`] as one bind sees it.
#[derive(Debug)]
pub(super) struct Context {
    id: [u8; CONTEXT_BYTES],
    shared: Arc<Resumption>,
}

impl ProducesTickets for Context {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // A ticket made now is accepted for at least two rotations.
        let seconds = self.shared.tickets.lifetime().min(LIFETIME_MAX).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.shared.tickets.seal(&self.id, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.shared.count(self.shared.tickets.open(&self.id, cipher))
    }
}

impl StoresServerSessions for Context {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.shared.sessions.put(&self.id, &key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.count(self.shared.sessions.get(&self.id, key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.count(self.shared.sessions.take(&self.id, key))
    }

    fn can_cache(&self) -> bool {
        self.shared.sessions.can_store()
    }
}
