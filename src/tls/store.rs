//! Certificates as they lie on disk: read, paired with their keys, checked.
//!
//! Every file is read once, whole; [`super::watch`] sees when one has changed. Which certificate a client gets is decided
//! in [`super::resolver`]. Expired certificates load: a server that answers with one is mended sooner than a server that
//! does not start, and [`CertificateStore::certificates`] tells `check` and the log.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::provider;
use crate::core::tls::ocsp::{OcspResponse, OcspTrouble, RESPONSE_MAX_BYTES};

/// Largest PEM file that is read, in bytes.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Most certificates one bind may have.
pub const CERTIFICATES_MAX: usize = 20_000;

/// The certificates of one bind, in the order they were named; the first is the default.
#[derive(Debug, Clone)]
pub struct CertificateStore {
    certificates: Vec<Certificate>,
    sources: Vec<Source>,
}

/// Where certificates of a store came from: what the configuration named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file: this certificate.
    File(usize),
    /// A folder with these certificates.
    Folder(PathBuf, Range<usize>),
}

/// A certificate chain with its key, and what it says of itself.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The file the chain came from.
    pub path: PathBuf,
    /// DNS names it is for, lower-case, from the subject alternative names; the common name when there are none.
    pub names: Vec<Box<str>>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it stops being valid, in seconds since 1970.
    pub not_after: i64,
    /// Chain and signing key, with the response that is stapled now, if one is.
    pub key: Arc<CertifiedKey>,
    /// The OCSP response that lies beside the file; `None` when there is none.
    pub staple: Option<Staple>,
}

/// An OCSP response beside a certificate (`site.pem.ocsp`, `site.ocsp`), in DER.
#[derive(Debug, Clone)]
pub struct Staple {
    /// The file it came from.
    pub path: PathBuf,
    /// The response as it is shown to clients, and what it says; or why it cannot be shown.
    pub response: Result<(Arc<[u8]>, OcspResponse), OcspTrouble>,
}

/// Why certificates could not be loaded: names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file or folder could not be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is larger than [`FILE_MAX_BYTES`].
    #[error("{path} is larger than 1 MiB; is it a PEM file?", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not well-formed PEM.
    #[error("{path} is not a well-formed PEM file ({reason}); it must hold blocks like -----BEGIN CERTIFICATE-----", path = .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate; put the chain there, the server's own certificate first", path = .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate without its key.
    #[error(
        "{path} has no private key; append the key to it or put it beside it as {beside}",
        path = .path.display(), beside = .beside.display()
    )]
    NoKey {
        /// The file with the certificate.
        path: PathBuf,
        /// Where a key would be found.
        beside: PathBuf,
    },
    /// The key is protected by a pass phrase.
    #[error("the private key in {path} is encrypted; store it without a pass phrase (openssl pkey -in KEY -out NEWKEY)", path = .path.display())]
    EncryptedKey {
        /// The file with the key.
        path: PathBuf,
    },
    /// The key is of a kind that is not supported, or damaged.
    #[error("the private key in {path} cannot be used ({reason}); RSA (2048 bits or more), ECDSA P-256, P-384, P-521 and Ed25519 keys can", path = .path.display())]
    BadKey {
        /// The file with the key.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The first certificate and the key are not a pair.
    #[error(
        "the private key in {key} does not belong to the first certificate in {path}; the server's own certificate must come first in the chain",
        path = .path.display(), key = .key.display()
    )]
    KeyMismatch {
        /// The file with the chain.
        path: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The certificate cannot be parsed.
    #[error("the first certificate in {path} cannot be parsed ({reason}); issue it anew", path = .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A folder without certificates.
    #[error("{path} holds no .pem or .crt file with a certificate", path = .path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// No file or folder was named.
    #[error("no certificate is named; name at least one file or folder")]
    None,
    /// More than [`CERTIFICATES_MAX`].
    #[error("more than {CERTIFICATES_MAX} certificates; spread them over several binds")]
    TooMany,
}

impl CertificateStore {
    /// Loads files and folders, in order.
    ///
    /// A file holds a chain and its key, or a chain whose key lies beside it (`site.pem` with `site.pem.key` or
    /// `site.key`). Of a folder every `.pem` and `.crt` file is taken, sorted by name; hidden files and files that
    /// hold a private key alone are passed over.
    pub fn load(paths: &[PathBuf]) -> Result<CertificateStore, CertificateError> {
        let mut certificates = Vec::new();
        let mut sources = Vec::with_capacity(paths.len());
        for path in paths {
            let before = certificates.len();
            if fs::metadata(path).map_err(|error| CertificateError::Unreadable { path: path.clone(), error })?.is_dir()
            {
                load_folder(path, &mut certificates)?;
                sources.push(Source::Folder(path.clone(), before..certificates.len()));
            } else {
                certificates.push(load_file(path)?);
                sources.push(Source::File(before));
            }
            if certificates.len() > CERTIFICATES_MAX {
                return Err(CertificateError::TooMany);
            }
        }
        if certificates.is_empty() {
            return Err(CertificateError::None);
        }
        Ok(CertificateStore { certificates, sources })
    }

    /// A store of one chain and key in PEM, as [`super::selfsigned`] makes them; `path` stands in errors only.
    pub fn from_pem(path: &Path, pem: &[u8]) -> Result<CertificateStore, CertificateError> {
        let certificate = read_pair(path, pem, path, pem)?;
        Ok(CertificateStore { certificates: vec![certificate], sources: vec![Source::File(0)] })
    }

    /// The certificates, the default first. Never empty.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// What the certificates came from, in order.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

fn load_folder(folder: &Path, into: &mut Vec<Certificate>) -> Result<(), CertificateError> {
    let before = into.len();
    for path in folder_files(folder)? {
        into.extend(load_of_folder(&path)?);
    }
    if into.len() == before {
        return Err(CertificateError::EmptyFolder { path: folder.to_owned() });
    }
    Ok(())
}

/// The certificate of one file.
pub(super) fn load_file(path: &Path) -> Result<Certificate, CertificateError> {
    load_pem(path, &read(path)?)
}

/// The certificate in `pem`, with its key and what else lies beside it.
fn load_pem(path: &Path, pem: &[u8]) -> Result<Certificate, CertificateError> {
    let mut certificate = load_chain(path, pem)?;
    certificate.staple = read_staple(path);
    Ok(certificate)
}

/// Where a response for the certificate in this file is looked for.
pub(super) fn staple_paths(path: &Path) -> [PathBuf; 2] {
    let mut appended = path.as_os_str().to_owned();
    appended.push(".ocsp");
    [PathBuf::from(appended), path.with_extension("ocsp")]
}

/// Where the key of a chain in this file is looked for, when it is not in the same file.
pub(super) fn key_paths(path: &Path) -> [PathBuf; 2] {
    let mut appended = path.as_os_str().to_owned();
    appended.push(".key");
    [PathBuf::from(appended), path.with_extension("key")]
}

fn read_staple(path: &Path) -> Option<Staple> {
    let found = staple_paths(path).into_iter().find_map(|path| {
        let bytes = read_up_to(&path, RESPONSE_MAX_BYTES as u64);
        match bytes {
            Ok(bytes) => Some((path, bytes)),
            Err(_) => None,
        }
    });
    let (path, bytes) = found?;
    let response = OcspResponse::parse(&bytes).map(|read| (bytes.into(), read));
    Some(Staple { path, response })
}

/// Pairs the chain in `pem` with the key in it, or else with the key beside it.
fn load_chain(path: &Path, pem: &[u8]) -> Result<Certificate, CertificateError> {
    if PrivateKeyDer::pem_slice_iter(pem).next().is_some() || holds_encrypted_key(pem) {
        return read_pair(path, pem, path, pem);
    }
    if CertificateDer::pem_slice_iter(pem).next().is_none() {
        return Err(CertificateError::NoCertificate { path: path.to_owned() });
    }
    let beside = key_paths(path);
    for key_path in &beside {
        match read(key_path) {
            Ok(key_pem) => return read_pair(path, pem, key_path, &key_pem),
            Err(CertificateError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let [_, beside] = beside;
    Err(CertificateError::NoKey { path: path.to_owned(), beside })
}

fn read_pair(path: &Path, pem: &[u8], key_path: &Path, key_pem: &[u8]) -> Result<Certificate, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::NotPem { path: path.to_owned(), reason: error.to_string() })?;
    let key = match PrivateKeyDer::pem_slice_iter(key_pem).next() {
        Some(Ok(key)) => key,
        Some(Err(error)) => {
            return Err(CertificateError::NotPem { path: key_path.to_owned(), reason: error.to_string() });
        }
        None if holds_encrypted_key(key_pem) => {
            return Err(CertificateError::EncryptedKey { path: key_path.to_owned() });
        }
        None => return Err(CertificateError::NoKey { path: path.to_owned(), beside: key_path.to_owned() }),
    };
    assemble(path, chain, key_path, key)
}

/// Makes a certificate of a chain and a key, if they are a pair. The paths stand in errors.
pub(super) fn assemble(
    path: &Path,
    chain: Vec<CertificateDer<'static>>,
    key_path: &Path,
    key: PrivateKeyDer<'static>,
) -> Result<Certificate, CertificateError> {
    let leaf = chain.first().ok_or_else(|| CertificateError::NoCertificate { path: path.to_owned() })?;
    let (names, validity) =
        read_facts(leaf).map_err(|reason| CertificateError::BadCertificate { path: path.to_owned(), reason })?;
    let bad_key =
        |error: rustls::Error| CertificateError::BadKey { path: key_path.to_owned(), reason: error.to_string() };
    let signing_key = provider().key_provider.load_private_key(key).map_err(bad_key)?;
    let key = CertifiedKey::new(chain, signing_key);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(CertificateError::KeyMismatch { path: path.to_owned(), key: key_path.to_owned() });
        }
        Err(error) => {
            return Err(CertificateError::BadCertificate { path: path.to_owned(), reason: error.to_string() });
        }
    }
    let Range { start: not_before, end: not_after } = validity;
    Ok(Certificate { path: path.to_owned(), names, not_before, not_after, key: Arc::new(key), staple: None })
}

impl Certificate {
    /// Has the handshake show the response beside the certificate, if it may be shown at this second, and none
    /// otherwise. Whether that changed anything.
    pub(super) fn staple_at(&mut self, now_unix: i64) -> bool {
        let wanted = self.staple.as_ref().and_then(|staple| staple.usable(&self.key, now_unix).ok());
        if self.key.ocsp.as_deref() == wanted.as_deref() {
            return false;
        }
        let ocsp = wanted.map(|bytes| bytes.to_vec());
        self.key = Arc::new(CertifiedKey { ocsp, ..(*self.key).clone() });
        true
    }

    /// Why the response beside the certificate is not shown at this second; `None` when it is, or there is none.
    pub(super) fn staple_trouble(&self, now_unix: i64) -> Option<String> {
        let staple = self.staple.as_ref()?;
        let trouble = staple.usable(&self.key, now_unix).err()?;
        Some(format!("OCSP response {} is not sent: {trouble}.", staple.path.display()))
    }
}

impl Staple {
    /// The bytes to show with this certificate at this second, or why they are not shown.
    pub(super) fn usable(&self, key: &CertifiedKey, now_unix: i64) -> Result<Arc<[u8]>, OcspTrouble> {
        let (bytes, read) = self.response.as_ref().map_err(|trouble| *trouble)?;
        let leaf = key.cert.first().ok_or(OcspTrouble::OtherCertificate)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| OcspTrouble::OtherCertificate)?;
        read.check(parsed.raw_serial(), now_unix)?;
        Ok(bytes.clone())
    }
}

/// The files in a folder that may hold certificates, sorted: those that end in `.pem` or `.crt` and are not hidden.
pub(super) fn folder_files(folder: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable { path: folder.to_owned(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let wanted = path.extension().is_some_and(|extension| extension == "pem" || extension == "crt");
        if !hidden && wanted && path.is_file() {
            files.push(path);
        }
        if files.len() > CERTIFICATES_MAX {
            return Err(CertificateError::TooMany);
        }
    }
    files.sort();
    Ok(files)
}

/// The certificate of a file in a folder; `None` when it holds a key alone, for a chain beside it.
pub(super) fn load_of_folder(path: &Path) -> Result<Option<Certificate>, CertificateError> {
    let pem = read(path)?;
    if holds_key_alone(&pem) {
        return Ok(None);
    }
    load_pem(path, &pem).map(Some)
}

/// The DNS names of a certificate, lower-case, and the seconds its validity begins and ends.
pub(super) fn read_facts(leaf: &CertificateDer<'_>) -> Result<(Vec<Box<str>>, Range<i64>), String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let mut names: Vec<Box<str>> = Vec::new();
    let alternative = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            names.push(normalise(name));
        }
    }
    if names.is_empty() {
        names.extend(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(normalise));
    }
    names.dedup();
    let validity = parsed.validity();
    Ok((names, validity.not_before.timestamp()..validity.not_after.timestamp()))
}

fn normalise(name: &str) -> Box<str> {
    name.trim_end_matches('.').to_ascii_lowercase().into()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    match read_up_to(path, FILE_MAX_BYTES) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(CertificateError::TooLarge { path: path.to_owned() })
        }
        Err(error) => Err(CertificateError::Unreadable { path: path.to_owned(), error }),
    }
}

/// A file's bytes; one of more than `max_bytes` is an error of kind `FileTooLarge`.
pub(super) fn read_up_to(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let text = format!("larger than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

pub(super) fn holds_encrypted_key(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some()
        || memchr::memmem::find(pem, b"Proc-Type: 4,ENCRYPTED").is_some()
}

fn holds_key_alone(pem: &[u8]) -> bool {
    memchr::memmem::find(pem, b"-----BEGIN CERTIFICATE-----").is_none()
        && memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some()
}
