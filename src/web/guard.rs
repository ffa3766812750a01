//! Credentials: reading them, remembering those that were proved, and slowing down who guesses.
//!
//! Hashes are slow on purpose, and pollers come every few seconds: who was let in once is known again by a keyed digest
//! of name, password and stored hash, so that the slow hash runs once. Nothing of a password is kept.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::core::web::UserSpec;

/// Proved credentials that are remembered; the oldest are forgotten first.
const REMEMBERED_MAX: usize = 256;
/// Failed logins allowed to one client within [`WINDOW`].
const FAILURES_MAX: u32 = 10;
/// How long failed logins are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// Clients whose failures are counted; the oldest are forgotten first.
const CLIENTS_MAX: usize = 4096;

/// Who someone says to be.
#[derive(Clone)]
pub(super) struct Claim {
    pub name: String,
    pub password: Vec<u8>,
}

impl Claim {
    /// Reads `Basic …` (RFC 7617). `None` when there is nothing to be understood.
    pub fn read(authorization: Option<&[u8]>) -> Option<Claim> {
        let text = std::str::from_utf8(authorization?).ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|b| *b == b':')?;
        let name = std::str::from_utf8(decoded.get(..colon)?).ok()?.to_owned();
        Some(Claim { name, password: decoded.get(colon + 1..)?.to_vec() })
    }
}

/// Credentials that are being checked, without being them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark([u8; 32]);

/// Who was let in, and who failed.
pub(super) struct Guard {
    key: hmac::Key,
    proved: VecDeque<hmac::Tag>,
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Guard {
    /// Knows nobody yet.
    pub fn new() -> std::io::Result<Guard> {
        let mut secret = [0u8; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| std::io::Error::other("no random bytes"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Guard { key, proved: VecDeque::new(), failures: HashMap::new() })
    }

    /// Whether these credentials were proved before, against the hash that is configured now.
    pub fn knows(&self, claim: &Claim, user: &UserSpec) -> bool {
        let text = self.text(claim, Some(user));
        self.proved.iter().any(|tag| hmac::verify(&self.key, &text, tag.as_ref()).is_ok())
    }

    /// Remembers credentials that were proved.
    pub fn remember(&mut self, claim: &Claim, user: &UserSpec) {
        if self.proved.len() >= REMEMBERED_MAX {
            self.proved.pop_front();
        }
        let text = self.text(claim, Some(user));
        self.proved.push_back(hmac::sign(&self.key, &text));
    }

    /// Counts an attempt as failed until [`Guard::succeeded`] says otherwise; `Err` says how long to wait.
    pub fn may_try(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = network(client);
        if self.failures.len() >= CLIENTS_MAX && !self.failures.contains_key(&client) {
            self.failures.retain(|_, f| now.saturating_duration_since(f.since) < WINDOW);
            if self.failures.len() >= CLIENTS_MAX
                && let Some(oldest) = self.failures.iter().min_by_key(|(_, f)| f.since).map(|(ip, _)| *ip)
            {
                self.failures.remove(&oldest);
            }
        }
        let failures = self.failures.entry(client).or_insert(Failures { since: now, count: 0 });
        let passed = now.saturating_duration_since(failures.since);
        if passed >= WINDOW {
            *failures = Failures { since: now, count: 0 };
        } else if failures.count >= FAILURES_MAX {
            return Err(WINDOW - passed);
        }
        failures.count += 1;
        Ok(())
    }

    /// The client proved itself: its attempts are forgotten.
    pub fn succeeded(&mut self, client: IpAddr) {
        self.failures.remove(&network(client));
    }

    /// What tells one claim from another while it is checked: the same for the same name, password and stored hash.
    pub fn mark(&self, claim: &Claim, user: Option<&UserSpec>) -> Mark {
        let mut mark = [0; 32];
        let tag = hmac::sign(&self.key, &self.text(claim, user));
        mark.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Mark(mark)
    }

    /// Whose hash a name that nobody has is checked against: always the same one, and nobody can tell whose. Then it takes
    /// as long as a wrong password of some user, however differently slow the users' hashes are.
    pub fn stand_in(&self, name: &str, users: usize) -> usize {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        usize::try_from(number % (users.max(1) as u64)).unwrap_or(0)
    }

    fn text(&self, claim: &Claim, user: Option<&UserSpec>) -> Vec<u8> {
        let stored = user.map_or(&b""[..], |user| user.password.as_str().as_bytes());
        let mut text = Vec::with_capacity(claim.name.len() + claim.password.len() + stored.len() + 16);
        for part in [claim.name.as_bytes(), &claim.password, stored] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        text
    }
}

/// IPv6 clients own networks of 64 bits.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::web::AccessLevel;
    use crate::core::web::password::PasswordHash;

    fn user(name: &str, password: &str) -> UserSpec {
        let password = PasswordHash::make_quickly(password, [1; 12]);
        UserSpec { name: name.into(), password, level: AccessLevel::Viewer }
    }

    fn claim(name: &str, password: &str) -> Claim {
        Claim { name: name.into(), password: password.into() }
    }

    #[test]
    fn basic_credentials_are_read() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let got = Claim::read(Some(text.as_bytes()));
            let got = got.map(|c| (c.name, String::from_utf8(c.password).unwrap()));
            assert_eq!(got.as_ref().map(|(n, p)| (&n[..], &p[..])), expected, "{text}");
        };
        check("Basic YWRtaW46c2VjcmV0", Some(("admin", "secret")));
        check("basic  YWRtaW46c2VjcmV0 ", Some(("admin", "secret")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic Og==", Some(("", "")));
        for text in ["", "Basic", "Basic !!!", "Basic YWRtaW4=", "Bearer YWRtaW46c2VjcmV0", "YWRtaW46c2VjcmV0"] {
            check(text, None);
        }
        assert!(Claim::read(None).is_none() && Claim::read(Some(b"Basic \xff")).is_none());
    }

    #[test]
    fn who_was_let_in_is_known_again_until_the_password_changes() {
        let mut guard = Guard::new().unwrap();
        let ops = user("ops", "secret");
        assert!(!guard.knows(&claim("ops", "secret"), &ops));
        guard.remember(&claim("ops", "secret"), &ops);
        assert!(guard.knows(&claim("ops", "secret"), &ops));
        assert!(!guard.knows(&claim("ops", "Secret"), &ops));
        assert!(!guard.knows(&claim("opss", "ecret"), &ops));
        assert!(!guard.knows(&claim("ops", "secret"), &user("ops", "changed")));
        for n in 0..REMEMBERED_MAX {
            guard.remember(&claim("ops", &n.to_string()), &ops);
        }
        assert_eq!(guard.proved.len(), REMEMBERED_MAX);
        assert!(!guard.knows(&claim("ops", "secret"), &ops), "the oldest is forgotten");
    }

    #[test]
    fn claims_are_told_apart() {
        let guard = Guard::new().unwrap();
        let ops = user("ops", "secret");
        let mark = |name: &str, password: &str, user| guard.mark(&claim(name, password), user);
        assert_eq!(mark("ops", "secret", Some(&ops)), mark("ops", "secret", Some(&ops)));
        assert_ne!(mark("ops", "secret", Some(&ops)), mark("ops", "secret", None));
        assert_ne!(mark("ops", "secret", None), mark("opss", "ecret", None));
        assert_ne!(mark("ops", "secret", None), Guard::new().unwrap().mark(&claim("ops", "secret"), None));
        let stand_ins: Vec<usize> = (0..64).map(|n| guard.stand_in(&n.to_string(), 3)).collect();
        assert_eq!(guard.stand_in("7", 3), stand_ins[7]);
        assert!((0..3).all(|user| stand_ins.contains(&user)), "{stand_ins:?}");
        assert_eq!(guard.stand_in("x", 0), 0);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn guessing_is_bounded_per_client() {
        let mut guard = Guard::new().unwrap();
        let (start, ip) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..FAILURES_MAX {
            guard.may_try(ip, start).unwrap();
        }
        assert_eq!(guard.may_try(ip, start + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        guard.may_try(IpAddr::from([192, 0, 2, 2]), start).unwrap();
        guard.may_try(ip, start + WINDOW).unwrap();
        guard.succeeded(ip);
        for _ in 0..FAILURES_MAX {
            guard.may_try(ip, start + WINDOW).unwrap();
        }
        for n in 0..2 * CLIENTS_MAX as u32 {
            guard.may_try(IpAddr::from(n.to_be_bytes()), start + WINDOW).unwrap();
        }
        assert!(guard.failures.len() <= CLIENTS_MAX);
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        assert_eq!(network(v6(1)), network(v6(2)));
    }
}
