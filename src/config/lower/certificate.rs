//! Certificates and keys: whether they can be read, are what they should be, and belong together.
//!
//! Only checked here; `tls::store` loads them when a listener starts or they change, with the same rules: PEM files with
//! chain and key, or a chain with its key beside it (`x.key`, `x.pem.key`), and folders of `.pem` and `.crt` files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use zeroize::Zeroizing;

use super::Lowering;
use crate::config::document::NodeId;

/// Certificates of one folder; as many as `tls::store` loads.
const FOLDER_MAX: usize = 20_000;

impl Lowering<'_> {
    /// Checks one entry of `certificates`: a file or a folder.
    pub fn certificate(&mut self, at: NodeId, written: &str) {
        let path = self.path(written);
        if !self.env.is_folder(&path) {
            self.certificate_file(at, &path, Path::new(written));
            return;
        }
        let files = match self.env.list(&path) {
            Ok(files) => files,
            Err(error) => {
                self.unreadable(at, Path::new(written), &error);
                return;
            }
        };
        let ending = |file: &Path| file.extension().is_some_and(|e| e == "pem" || e == "crt");
        let hidden = |file: &Path| file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let mut files: Vec<PathBuf> = files.into_iter().filter(|file| ending(file) && !hidden(file)).collect();
        files.retain(|file| !self.env.is_folder(file));
        files.sort();
        if files.len() > FOLDER_MAX {
            self.error(at, format!("more than {FOLDER_MAX} certificates in folder `{written}`"))
                .help("spread them over several binds");
            files.truncate(FOLDER_MAX);
        }
        let mut found = 0;
        for file in files {
            if self.env.read(&file).is_ok_and(|bytes| holds_key_alone(&bytes)) {
                continue;
            }
            found += 1;
            let shown = Path::new(written).join(file.file_name().unwrap_or_default());
            self.certificate_file(at, &file, &shown);
        }
        if found == 0 {
            self.error(at, format!("there is no certificate in folder `{written}`"))
                .help("files that end in `.pem` or `.crt` are read");
        }
    }

    fn certificate_file(&mut self, at: NodeId, path: &Path, shown: &Path) {
        if !self.certificates.insert(path.to_owned()) {
            return;
        }
        let bytes = match self.env.read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) => {
                self.unreadable(at, shown, &error);
                return;
            }
        };
        let shown_name = shown.display();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let chain = match chain {
            Ok(chain) => chain,
            Err(error) => {
                self.error(at, format!("`{shown_name}` is not PEM: {error}")).help(PEM_FORM);
                return;
            }
        };
        let Some(leaf) = chain.first() else {
            self.error(at, format!("there is no certificate in `{shown_name}`")).help(PEM_FORM);
            return;
        };
        let readable = match X509Certificate::from_der(leaf) {
            Ok((_, leaf)) => {
                self.validity(at, shown, &leaf);
                true
            }
            Err(_) => {
                self.error(at, format!("the certificate in `{shown_name}` cannot be parsed"))
                    .help("make it anew, or look at it with `openssl x509 -text -noout -in FILE`");
                false
            }
        };
        let Some((key, key_shown)) = self.private_key(at, path, shown, &bytes) else { return };
        let signing = match rustls::crypto::aws_lc_rs::sign::any_supported_type(&key) {
            Ok(signing) => signing,
            Err(_) => {
                self.error(at, format!("the private key in `{}` cannot be used", key_shown.display()))
                    .help("keys are RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519, not encrypted");
                return;
            }
        };
        let pair = CertifiedKey::new(chain, signing);
        let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
        if readable && pair.keys_match() == Err(mismatch) {
            self.error(at, format!("the private key in `{}` does not belong to the certificate", key_shown.display()))
                .label("they do not match")
                .help("the first certificate in the file must be the server's own; the rest of the chain follows it");
        }
    }

    /// The key in the file itself, or beside it.
    fn private_key(
        &mut self,
        at: NodeId,
        path: &Path,
        shown: &Path,
        bytes: &[u8],
    ) -> Option<(PrivateKeyDer<'static>, PathBuf)> {
        if let Some(Ok(key)) = PrivateKeyDer::pem_slice_iter(bytes).next() {
            return Some((key, shown.to_owned()));
        }
        if holds_encrypted_key(bytes) {
            self.error(at, format!("the private key in `{}` is encrypted", shown.display()))
                .help("decrypt it: `openssl pkey -in FILE -out NEW`, and protect the file by its mode");
            return None;
        }
        let mut appended = path.as_os_str().to_owned();
        appended.push(".key");
        for beside in [PathBuf::from(appended), path.with_extension("key")] {
            let shown = shown.with_file_name(beside.file_name().unwrap_or_default());
            let bytes = match self.env.read(&beside) {
                Ok(bytes) => Zeroizing::new(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.unreadable(at, &shown, &error);
                    return None;
                }
            };
            return match PrivateKeyDer::pem_slice_iter(&bytes).next() {
                Some(Ok(key)) => Some((key, shown)),
                _ => {
                    self.error(at, format!("there is no private key in `{}`", shown.display()))
                        .help("it begins with `-----BEGIN PRIVATE KEY-----`; encrypted keys are not read");
                    None
                }
            };
        }
        let beside = shown.with_extension("key");
        self.error(at, format!("there is no private key for `{}`", shown.display()))
            .help(format!("put it into the same file, or into `{}`", beside.display()));
        None
    }

    fn validity(&mut self, at: NodeId, shown: &Path, leaf: &X509Certificate<'_>) {
        let now = self.env.now_unix();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        if now > to {
            self.warning(at, format!("the certificate in `{}` expired on {}", shown.display(), day(to)))
                .help("clients will refuse it: renew it");
        } else if now < from {
            self.warning(at, format!("the certificate in `{}` is not valid before {}", shown.display(), day(from)))
                .help("clients will refuse it until then; is the clock of this machine right?");
        }
    }

    /// Checks a bundle of trusted roots.
    pub fn trusted_roots(&mut self, at: NodeId, written: &str) {
        let Some(bytes) = self.read(at, written) else { return };
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match roots {
            Ok(roots) if roots.is_empty() => {
                self.error(at, format!("there is no certificate in `{written}`")).help(PEM_FORM);
            }
            Ok(roots) => {
                if roots.iter().any(|root| X509Certificate::from_der(root).is_err()) {
                    self.error(at, format!("a certificate in `{written}` cannot be parsed")).help("remove or renew it");
                }
            }
            Err(error) => {
                self.error(at, format!("`{written}` is not PEM: {error}")).help(PEM_FORM);
            }
        }
    }
}

const PEM_FORM: &str = "PEM files have blocks that begin with `-----BEGIN CERTIFICATE-----`";

/// Whether a PEM file holds a private key and no certificate; a folder may hold such files beside their chains.
fn holds_key_alone(pem: &[u8]) -> bool {
    let has_key = PrivateKeyDer::pem_slice_iter(pem).next().is_some() || holds_encrypted_key(pem);
    has_key && CertificateDer::pem_slice_iter(pem).next().is_none()
}

fn holds_encrypted_key(pem: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| memchr::memmem::find(pem, mark).is_some())
}

/// `2024-01-31`
fn day(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |t| t.strftime("%Y-%m-%d").to_string())
}
