//! TLS to clients: what is offered, certificates of clients, ticket keys. Certificates themselves are checked in
//! `certificate`.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::model::{
    CertificateSource, ClientAuth, ClientAuthMode, HttpVersion, TicketKeysFrom, TlsOffer, TlsVersion,
};
use crate::config::raw::frontend::{self as raw, CertificateChoice, ClientAuthWord};
use crate::config::raw::{At, OneOrMany, Opt, global, text};
use crate::config::shape::shorten;
use crate::core::tls::TlsSample;
use crate::core::tls::names::{CIPHERS, Cipher, GROUPS, Group, split_list};
use crate::core::tls::ticket_keys;

/// Fewest bytes of a secret that ticket keys are derived from.
const SECRET_MIN_BYTES: usize = 32;

/// What of an offer is written in one place.
pub(super) struct Written<'a> {
    pub min_version: &'a Opt<raw::TlsVersion>,
    pub max_version: &'a Opt<raw::TlsVersion>,
    pub ciphers: &'a Opt<OneOrMany<text::Text>>,
    pub cipher_suites: &'a Opt<OneOrMany<text::Text>>,
    pub groups: &'a Opt<OneOrMany<text::Text>>,
}

impl Lowering<'_> {
    /// An offer, from what is written and from what holds otherwise. Protocols are the caller's.
    pub fn tls_offer(&mut self, written: &Written<'_>, otherwise: &TlsOffer) -> TlsOffer {
        let version = |v: &raw::TlsVersion| match v {
            raw::TlsVersion::V1_2 => TlsVersion::V1_2,
            raw::TlsVersion::V1_3 => TlsVersion::V1_3,
        };
        let min_version = written.min_version.as_deref().map_or(otherwise.min_version, version);
        let max_version = written.max_version.as_deref().map_or(otherwise.max_version, version);
        if let (true, Some(at)) =
            (min_version > max_version, written.max_version.as_ref().or(written.min_version.as_ref()))
        {
            let diagnostic = self.error(at.id(), "`max_version` is older than `min_version`");
            match (written.min_version, written.max_version) {
                (Some(min), Some(_)) => diagnostic.related(min.id(), "the oldest version offered"),
                _ => diagnostic.help("the other one is the bind's: write both here"),
            };
        }
        let range = min_version..=max_version;
        for (list, of) in [(written.ciphers, TlsVersion::V1_2), (written.cipher_suites, TlsVersion::V1_3)] {
            if let Some(at) = list.as_ref().filter(|_| min_version <= max_version && !range.contains(&of)) {
                self.error(at.id(), format!("{} is not offered", of.name()))
                    .help("remove the key, or offer the version");
            }
        }
        let mut ciphers = Vec::new();
        for (list, of) in [(written.cipher_suites, TlsVersion::V1_3), (written.ciphers, TlsVersion::V1_2)] {
            match list {
                Some(list) => ciphers.extend(self.offered_ciphers(list, of)),
                None => {
                    let is_of = |code: &u16| Cipher::of_code(*code).is_some_and(|cipher| cipher.version == of);
                    ciphers.extend(otherwise.ciphers.iter().copied().filter(is_of));
                }
            }
        }
        let groups = match written.groups {
            Some(list) => self.offered_groups(list),
            None => otherwise.groups.clone(),
        };
        TlsOffer { min_version, max_version, alpn: otherwise.alpn.clone(), ciphers, groups }
    }

    fn offered_ciphers(&mut self, list: &At<OneOrMany<text::Text>>, version: TlsVersion) -> Vec<u16> {
        let mut codes = Vec::new();
        for (at, name) in names(list) {
            match Cipher::parse(name) {
                Some(cipher) if cipher.version == version => push(&mut codes, cipher.code),
                Some(cipher) => {
                    let key = if cipher.version == TlsVersion::V1_3 { "cipher_suites" } else { "ciphers" };
                    self.error(at, format!("`{}` is a suite of {}", shorten(name), cipher.version.name()))
                        .help(format!("write it under `{key}`"));
                }
                None => {
                    let known = || CIPHERS.iter().filter(|cipher| cipher.version == version);
                    let all: Vec<_> = known().map(|cipher| cipher.openssl).collect();
                    self.error(at, format!("`{}` is not a cipher suite that is offered here", shorten(name)))
                        .did_you_mean(name, known().flat_map(|cipher| [cipher.openssl, cipher.iana]))
                        .help(format!("suites: `{}`", all.join("`, `")));
                }
            }
        }
        self.not_empty(list, &codes);
        codes
    }

    fn offered_groups(&mut self, list: &At<OneOrMany<text::Text>>) -> Vec<u16> {
        let mut codes = Vec::new();
        for (at, name) in names(list) {
            match Group::parse(name) {
                Some(group) => push(&mut codes, group.code),
                None => {
                    let all: Vec<_> = GROUPS.iter().map(|group| group.iana).collect();
                    self.error(at, format!("`{}` is not a group that is offered here", shorten(name)))
                        .did_you_mean(name, GROUPS.iter().flat_map(|group| [group.iana, group.openssl]))
                        .help(format!("groups: `{}`", all.join("`, `")));
                }
            }
        }
        self.not_empty(list, &codes);
        codes
    }

    fn not_empty(&mut self, list: &At<OneOrMany<text::Text>>, codes: &[u16]) {
        if codes.is_empty() && names(list).is_empty() {
            self.missing(list.id(), "this list is empty").help("name something, or remove the key");
        }
    }

    /// One item of `certificates`.
    pub fn certificate_source(
        &mut self,
        at: NodeId,
        written: &CertificateChoice,
        bind: &TlsOffer,
    ) -> Option<CertificateSource> {
        let entry = match written {
            CertificateChoice::Path(path) => {
                self.certificate(at, path.as_ref());
                return Some(CertificateSource { path: self.path(path.as_ref()), offer: None });
            }
            CertificateChoice::Full(entry) => entry,
        };
        let own = Written {
            min_version: &entry.min_version,
            max_version: &entry.max_version,
            ciphers: &entry.ciphers,
            cipher_suites: &entry.cipher_suites,
            groups: &entry.groups,
        };
        let mut offer = self.tls_offer(&own, bind);
        if let Some(alpn) = &entry.alpn {
            offer.alpn = self.offered_protocols(alpn);
        }
        let Some(path) = &entry.path else {
            self.missing(at, "which certificate?").help("add `path: FILE`, or a folder");
            return None;
        };
        self.certificate(path.id(), path.as_ref());
        Some(CertificateSource { path: self.path(path.as_ref()), offer: (offer != *bind).then_some(offer) })
    }

    /// The protocols of `alpn`, in order.
    pub fn offered_protocols(&mut self, written: &At<OneOrMany<text::Text>>) -> Vec<HttpVersion> {
        let items = written.items();
        if items.is_empty() {
            self.missing(written.id(), "there is no protocol in this list").help("allowed: `h2`, `http/1.1`");
        }
        let mut alpn = Vec::new();
        for (at, protocol) in items {
            let version = match protocol.as_ref() {
                "http/1.1" => HttpVersion::Http1,
                "h2" => HttpVersion::Http2,
                other => {
                    self.error(at, format!("`{}` is not served here", shorten(other)))
                        .did_you_mean(other, ["h2", "http/1.1"])
                        .help("allowed: `h2`, `http/1.1`");
                    continue;
                }
            };
            if alpn.contains(&version) {
                self.error(at, format!("`{}` is offered twice", protocol.as_ref())).help("remove one");
                continue;
            }
            alpn.push(version);
        }
        alpn
    }

    /// `client_auth` with its files.
    pub fn client_auth(&mut self, written: &raw::BindTls) -> Option<ClientAuth> {
        let mode = match written.client_auth.as_deref() {
            None | Some(ClientAuthWord::Off) => None,
            Some(ClientAuthWord::Required) => Some(ClientAuthMode::Required),
            Some(ClientAuthWord::Optional) => Some(ClientAuthMode::Optional),
            Some(ClientAuthWord::Any) => Some(ClientAuthMode::Any),
        };
        let Some(mode) = mode else {
            for (name, file) in [("ca_file", &written.ca_file), ("crl_file", &written.crl_file)] {
                if let Some(file) = file {
                    self.error(file.id(), format!("`{name}` belongs to `client_auth`"))
                        .help("add `client_auth: required` or `optional`, or remove it");
                }
            }
            return None;
        };
        if let Some(file) = &written.ca_file {
            self.trusted_roots(file.id(), file.as_ref());
        } else if mode != ClientAuthMode::Any {
            let at = written.client_auth.as_ref().map_or(NodeId(0), At::id);
            self.missing(at, "whom are clients' certificates to come from?")
                .help("add `ca_file: FILE` with the certificates of those who issue them");
        }
        if let Some(file) = &written.crl_file {
            self.revocation_lists(file.id(), file.as_ref());
            if written.ca_file.is_none() {
                self.error(file.id(), "`crl_file` belongs to `ca_file`").help("add `ca_file: FILE`");
            }
        }
        Some(ClientAuth {
            mode,
            ca_file: written.ca_file.as_ref().map(|file| self.path(file.as_ref())),
            crl_file: written.crl_file.as_ref().map(|file| self.path(file.as_ref())),
        })
    }

    /// Checks a file of revocation lists.
    fn revocation_lists(&mut self, at: NodeId, written: &str) {
        const FORM: &str = "lists begin with `-----BEGIN X509 CRL-----`; `openssl crl -inform DER` makes them of DER";
        let Some(bytes) = self.read(at, written) else { return };
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = match lists {
            Ok(lists) if lists.is_empty() => {
                self.error(at, format!("there is no revocation list in `{written}`")).help(FORM);
                return;
            }
            Ok(lists) => lists,
            Err(error) => {
                self.error(at, format!("`{written}` is not PEM: {error}")).help(FORM);
                return;
            }
        };
        let now = self.env.now_unix();
        for list in &lists {
            match CertificateRevocationList::from_der(list) {
                Err(_) => {
                    self.error(at, format!("a revocation list in `{written}` cannot be parsed")).help("fetch it anew");
                }
                Ok((_, list)) => {
                    if list.next_update().is_some_and(|until| until.timestamp() < now) {
                        self.warning(at, format!("a revocation list in `{written}` is too old"))
                            .help("clients of its issuer are refused until there is a newer one: fetch it");
                    }
                }
            }
        }
    }

    /// Where ticket keys come from.
    pub fn ticket_keys(&mut self, written: Option<&global::TlsGlobal>) -> TicketKeysFrom {
        let derived = written.and_then(|written| written.ticket_keys_derived.as_ref());
        let Some(file) = written.and_then(|written| written.ticket_keys_file.as_ref()) else {
            if let Some(derived) = derived.filter(|derived| ***derived) {
                self.missing(derived.id(), "derived from which secret?").help("add `ticket_keys_file: FILE`");
            }
            return TicketKeysFrom::Own;
        };
        let (at, name) = (file.id(), file.as_ref());
        let path = self.path(name);
        let bytes = self.read(at, name).map(zeroize::Zeroizing::new);
        if derived.is_some_and(|derived| **derived) {
            if bytes.is_some_and(|bytes| bytes.trim_ascii().len() < SECRET_MIN_BYTES) {
                self.error(at, format!("the secret in `{name}` is too short"))
                    .help(format!("it needs at least {SECRET_MIN_BYTES} bytes: `openssl rand -base64 48`"));
            }
            return TicketKeysFrom::Secret(path);
        }
        if let Some(Err(error)) = bytes.map(|bytes| ticket_keys::parse(&bytes)) {
            self.error(at, format!("`{name}`: {error}"))
                .help("one key a line, in base64; the last three are accepted, the one before the last is used")
                .help("a file with one secret that keys are derived from needs `ticket_keys_derived: true`");
        }
        TicketKeysFrom::File(path)
    }

    /// A sample of the client's TLS.
    pub fn tls_sample(&mut self, at: NodeId, name: &str) -> Option<TlsSample> {
        let sample = TlsSample::parse(name);
        if sample.is_none() {
            let all: Vec<_> = TlsSample::names().collect();
            self.error(at, format!("there is no sample `{}`", shorten(name)))
                .did_you_mean(name, TlsSample::names())
                .help(format!("samples: `{}`; of names a part as in `ssl_c_s_dn(CN)`", all.join("`, `")));
        }
        sample
    }
}

/// The names in a list, each of whose items may be a list as OpenSSL writes it.
fn names(list: &At<OneOrMany<text::Text>>) -> Vec<(NodeId, &str)> {
    let items = list.items();
    items.into_iter().flat_map(|(at, text)| split_list(text.as_ref()).map(move |name| (at, name))).collect()
}

fn push(codes: &mut Vec<u16>, code: u16) {
    if !codes.contains(&code) {
        codes.push(code);
    }
}
