//! Passwords as they are kept: `crypt(3)` strings, of SHA-crypt (`$5$`, `$6$`) or bcrypt (`$2y$`, as `htpasswd -B`
//! writes it).
//!
//! Hashing is slow on purpose: [`PasswordHash::is_of`] must not run on a worker, nor on the control thread itself.

use sha_crypt::password_hash::PasswordHasher as _;
use sha_crypt::{Algorithm, Params, PasswordVerifier as _, ShaCrypt};

/// Longest password that is looked at, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 512;
/// Most rounds of SHA-crypt taken from a configuration: about a second of a core.
const ROUNDS_MAX: u32 = 1_000_000;
/// Rounds of the hashes made here.
const ROUNDS: u32 = 50_000;
/// Highest cost of bcrypt taken from a configuration: about a second of a core.
const COST_MAX: u32 = 14;

/// A hashed password. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// Why a text is no hash that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// Another way of hashing, such as `$apr1$` or `$1$`.
    #[error("this kind of hash is not known")]
    Unknown,
    /// It begins right but is cut short, or holds what cannot stand there.
    #[error("it is not complete")]
    Broken,
    /// Checking it would take longer than a second.
    #[error("it takes too long to check")]
    TooSlow,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PasswordHash {
    /// Takes a `crypt(3)` string.
    pub fn parse(text: &str) -> Result<PasswordHash, BadHash> {
        let mut fields = text.strip_prefix('$').ok_or(BadHash::Unknown)?.split('$');
        let digest_letters = match fields.next() {
            Some("5") => 43,
            Some("6") => 86,
            Some("2a" | "2b" | "2y") => return bcrypt_hash(text, fields),
            _ => return Err(BadHash::Unknown),
        };
        let mut salt = fields.next().ok_or(BadHash::Broken)?;
        if let Some(rounds) = salt.strip_prefix("rounds=") {
            match rounds.parse::<u32>() {
                Ok(rounds) if rounds > ROUNDS_MAX => return Err(BadHash::TooSlow),
                Ok(Params::ROUNDS_MIN..) => {}
                _ => return Err(BadHash::Broken),
            }
            salt = fields.next().ok_or(BadHash::Broken)?;
        }
        let digest = fields.next().ok_or(BadHash::Broken)?;
        let good = is_crypt64(salt) && salt.len() <= 16 && is_crypt64(digest) && digest.len() == digest_letters;
        (good && fields.next().is_none()).then(|| PasswordHash(text.into())).ok_or(BadHash::Broken)
    }

    /// Hashes a password, with random bytes as salt.
    pub fn make(password: &str, salt: [u8; 12]) -> PasswordHash {
        make(password, salt, ROUNDS)
    }

    /// Hashes a password that stands in the configuration as it is: there is nothing to slow down for.
    pub fn make_quickly(password: &str, salt: [u8; 12]) -> PasswordHash {
        make(password, salt, Params::ROUNDS_MIN)
    }

    /// Whether it is the hash of this password; compared in constant time. Slow.
    pub fn is_of(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_MAX_BYTES {
            return false;
        }
        if self.0.starts_with("$2") {
            return bcrypt::verify(password, &self.0).unwrap_or(false);
        }
        let Ok(hash) = sha_crypt::PasswordHashRef::new(&self.0) else { return false };
        ShaCrypt::default().verify_password(password, hash).is_ok()
    }

    /// As it is written in a configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn make(password: &str, salt: [u8; 12], rounds: u32) -> PasswordHash {
    let params = Params::new(rounds).expect("both constants are in range");
    let hash = ShaCrypt::new(Algorithm::Sha512Crypt, params).hash_password_with_salt(password.as_bytes(), &salt);
    PasswordHash(hash.expect("a salt of twelve bytes can be written").as_str().into())
}

/// `$2y$10$` and 53 letters.
fn bcrypt_hash<'a>(text: &str, mut fields: impl Iterator<Item = &'a str>) -> Result<PasswordHash, BadHash> {
    let (Some(cost), Some(rest), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(BadHash::Broken);
    };
    match cost.parse::<u32>() {
        Ok(4..=COST_MAX) if cost.len() == 2 && rest.len() == 53 && is_crypt64(rest) => Ok(PasswordHash(text.into())),
        Ok(cost) if cost > COST_MAX => Err(BadHash::TooSlow),
        _ => Err(BadHash::Broken),
    }
}

fn is_crypt64(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_other_programs_are_understood() {
        // Of `openssl passwd`, and a vector of the authors of bcrypt.
        let check = |hash: &str, password: &str| {
            let hash = PasswordHash::parse(hash).unwrap();
            assert!(hash.is_of(password.as_bytes()), "{password}");
            assert!(!hash.is_of(b"something else") && !hash.is_of(b""));
        };
        check("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!");
        check(
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        );
        check("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U");
    }

    #[test]
    fn what_is_made_here_is_understood_here() {
        let hash = PasswordHash::make_quickly("secret", [7; 12]);
        assert!(hash.as_str().starts_with("$6$rounds=1000$"), "{}", hash.as_str());
        let read = PasswordHash::parse(hash.as_str()).unwrap();
        assert!(read.is_of(b"secret") && !read.is_of(b"Secret"));
        assert_ne!(hash, PasswordHash::make_quickly("secret", [8; 12]));
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
        assert!(!hash.is_of(&[b'x'; PASSWORD_MAX_BYTES + 1]));
    }

    #[test]
    fn what_is_no_usable_hash_is_told() {
        let check = |text: &str, error| assert_eq!(PasswordHash::parse(text).err(), Some(error), "{text}");
        check("secret", BadHash::Unknown);
        check("$apr1$x$y", BadHash::Unknown);
        check("$1$salt$x", BadHash::Unknown);
        check("$", BadHash::Unknown);
        check("$5$", BadHash::Broken);
        check("$5$saltstring$5B8vYYiY", BadHash::Broken);
        check("$5$salt:tring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", BadHash::Broken);
        check("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8$", BadHash::Broken);
        check("$5$rounds=10$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", BadHash::Broken);
        check("$5$rounds=999999999$s$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", BadHash::TooSlow);
        check("$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", BadHash::TooSlow);
        check("$2y$05$CCCC", BadHash::Broken);
    }
}
