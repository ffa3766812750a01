//! Sessions with one server, kept so that the next connections to it begin with less.
//!
//! TLS 1.3 tickets are used once, the newest first (RFC 8446, C.4); of TLS 1.2 one session per name is kept and used
//! again and again. The number of both together is bounded; what is over it goes, the oldest first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Names of which the group that the server likes is remembered, whatever the bound for sessions.
const HINTS_MAX: usize = 64;

/// The sessions of one server's settings.
pub struct ClientSessions {
    max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The newest last.
    sessions: VecDeque<(ServerName<'static>, Session)>,
    hints: VecDeque<(ServerName<'static>, NamedGroup)>,
}

enum Session {
    Tls12(Box<Tls12ClientSessionValue>),
    Tls13(Box<Tls13ClientSessionValue>),
}

impl ClientSessions {
    /// At most `max` sessions.
    pub fn new(max: usize) -> ClientSessions {
        ClientSessions { max, kept: Mutex::default() }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here is half done when a thread panics.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, name: ServerName<'static>, session: Session) {
        if self.max == 0 {
            return;
        }
        let mut kept = self.lock();
        if let Session::Tls12(_) = session {
            kept.forget_tls12(&name);
        }
        while kept.sessions.len() >= self.max {
            kept.sessions.pop_front();
        }
        kept.sessions.push_back((name, session));
    }
}

impl Kept {
    fn forget_tls12(&mut self, name: &ServerName<'_>) {
        self.sessions.retain(|(of, session)| of != name || !matches!(session, Session::Tls12(_)));
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        let hints = &mut self.lock().hints;
        match hints.iter_mut().find(|(of, _)| *of == name) {
            Some((_, hint)) => *hint = group,
            None => {
                if hints.len() >= HINTS_MAX {
                    hints.pop_front();
                }
                hints.push_back((name, group));
            }
        }
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().hints.iter().find(|(of, _)| of == name).map(|(_, group)| *group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.keep(name, Session::Tls12(Box::new(session)));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.lock().sessions.iter().rev().find_map(|(of, session)| match session {
            Session::Tls12(session) if of == name => Some((**session).clone()),
            _ => None,
        })
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.lock().forget_tls12(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.keep(name, Session::Tls13(Box::new(ticket)));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let sessions = &mut self.lock().sessions;
        let newest = sessions.iter().rposition(|(of, session)| of == name && matches!(session, Session::Tls13(_)))?;
        match sessions.remove(newest)? {
            (_, Session::Tls13(ticket)) => Some(*ticket),
            (_, Session::Tls12(_)) => None,
        }
    }
}

impl std::fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The sessions are secrets.
        f.debug_struct("ClientSessions").field("max", &self.max).finish_non_exhaustive()
    }
}
