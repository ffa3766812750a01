//! Files of ticket keys, in HAProxy's format (configuration manual, `tls-ticket-keys`): one key in base64 on each line,
//! of 48 or 80 bytes. The last three are accepted, the one before the last seals new tickets. So a rotation is a line
//! appended on every machine: the new key is accepted everywhere before any machine uses it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Keys that are accepted at once; a file has at least as many. HAProxy: `TLS_TICKETS_NO`.
pub const KEYS_ACCEPTED: usize = 3;

/// Lengths a key may have, in bytes: HAProxy's for AES-128 and AES-256.
pub const KEY_BYTES: [usize; 2] = [48, 80];

/// Largest file that is read, in bytes.
pub const FILE_MAX_BYTES: usize = 64 * 1024;

/// One key as it stands in the file. Wiped when dropped.
pub type RawKey = Zeroizing<Vec<u8>>;

/// What is wrong in a file of ticket keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketKeysError {
    /// A line is not base64.
    NotBase64 {
        /// The line, from 1 on.
        line: usize,
    },
    /// A key is not 48 or 80 bytes long.
    Length {
        /// The line, from 1 on.
        line: usize,
        /// How long it is.
        bytes: usize,
    },
    /// Keys of different lengths.
    Mixed {
        /// The line of the first that differs, from 1 on.
        line: usize,
    },
    /// The same key twice.
    Twice {
        /// The line of the second, from 1 on.
        line: usize,
    },
    /// Fewer than [`KEYS_ACCEPTED`].
    TooFew {
        /// How many there are.
        keys: usize,
    },
}

impl fmt::Display for TicketKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketKeysError::NotBase64 { line } => write!(f, "line {line} is not base64"),
            TicketKeysError::Length { line, bytes } => {
                write!(f, "the key on line {line} has {bytes} bytes; keys have 48 or 80 (openssl rand -base64 80)")
            }
            TicketKeysError::Mixed { line } => {
                write!(f, "the key on line {line} has another length than the ones before")
            }
            TicketKeysError::Twice { line } => write!(f, "the key on line {line} is one of the keys before"),
            TicketKeysError::TooFew { keys } => {
                write!(f, "there are {keys} keys; at least {KEYS_ACCEPTED} are needed, one on each line")
            }
        }
    }
}

impl std::error::Error for TicketKeysError {}

/// The keys that count of a file's text, oldest first; the one before the last seals.
pub fn parse(text: &[u8]) -> Result<Vec<RawKey>, TicketKeysError> {
    let mut keys: Vec<RawKey> = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line_number = index.saturating_add(1);
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let decoded = STANDARD.decode(line).map_err(|_| TicketKeysError::NotBase64 { line: line_number })?;
        let key = Zeroizing::new(decoded);
        if !KEY_BYTES.contains(&key.len()) {
            return Err(TicketKeysError::Length { line: line_number, bytes: key.len() });
        }
        if keys.first().is_some_and(|first| first.len() != key.len()) {
            return Err(TicketKeysError::Mixed { line: line_number });
        }
        if keys.contains(&key) {
            return Err(TicketKeysError::Twice { line: line_number });
        }
        keys.push(key);
    }
    if keys.len() < KEYS_ACCEPTED {
        return Err(TicketKeysError::TooFew { keys: keys.len() });
    }
    Ok(keys.split_off(keys.len() - KEYS_ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8, length: usize) -> String {
        STANDARD.encode(vec![byte; length]) + "\n"
    }

    #[test]
    fn the_last_three_count() {
        let text: String = (1..=5).map(|n| line(n, 80)).collect();
        let keys = parse(text.as_bytes()).unwrap();
        assert_eq!(keys.iter().map(|key| (key[0], key.len())).collect::<Vec<_>>(), [(3, 80), (4, 80), (5, 80)]);
        let text = format!("\n{}\r\n{}\n\n{}", line(1, 48).trim(), line(2, 48), line(3, 48).trim());
        assert_eq!(parse(text.as_bytes()).unwrap().len(), 3);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (String::new(), "there are 0 keys"),
            (line(1, 48) + &line(2, 48), "there are 2 keys"),
            (line(1, 48) + "no base64!\n", "line 2 is not base64"),
            (line(1, 32), "the key on line 1 has 32 bytes"),
            (line(1, 48) + &line(2, 80), "the key on line 2 has another length"),
            (line(1, 48) + &line(1, 48), "the key on line 2 is one of the keys before"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
