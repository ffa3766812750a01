//! Ticket keys as they lie on disk: a file of them, or a secret they are derived from.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::store::read_up_to;
use super::tickets::KeySource;
use crate::config::model::TicketKeysFrom;
use crate::core::tls::ticket_keys::{self, FILE_MAX_BYTES, TicketKeysError};

/// Fewest bytes of a secret, blanks around it not counted.
pub const SECRET_MIN_BYTES: usize = 32;

/// Why there are no ticket keys. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The file could not be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is no file of keys.
    #[error("{path} is no file of ticket keys: {error}", path = .path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: TicketKeysError,
    },
    /// The secret can be guessed.
    #[error(
        "the secret in {path} has {bytes} bytes; it needs at least {SECRET_MIN_BYTES} (openssl rand -base64 48 > {path})",
        path = .path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
}

/// Reads what is configured.
pub fn load(from: &TicketKeysFrom) -> Result<KeySource, KeySourceError> {
    let read = |path: &PathBuf| {
        read_up_to(path, FILE_MAX_BYTES as u64)
            .map(Zeroizing::new)
            .map_err(|error| KeySourceError::Unreadable { path: path.clone(), error })
    };
    match from {
        TicketKeysFrom::Own => Ok(KeySource::Own),
        TicketKeysFrom::File(path) => match ticket_keys::parse(&read(path)?) {
            Ok(keys) => Ok(KeySource::File(keys)),
            Err(error) => Err(KeySourceError::Keys { path: path.clone(), error }),
        },
        TicketKeysFrom::Secret(path) => {
            let bytes = read(path)?;
            let secret = bytes.trim_ascii();
            if secret.len() < SECRET_MIN_BYTES {
                return Err(KeySourceError::TooShort { path: path.clone(), bytes: secret.len() });
            }
            Ok(KeySource::Secret(Arc::new(Zeroizing::new(secret.to_vec()))))
        }
    }
}
