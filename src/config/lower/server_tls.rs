//! `tls` of servers: what `defaults`, a backend and a server say, put together key by key.
//!
//! What a section says is looked at once, by itself, with the files it names; putting together then only has to see to
//! what no section could know alone.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::Lowering;
use super::route::is_host_name;
use crate::config::document::NodeId;
use crate::config::raw::frontend::TlsVersion as Written;
use crate::config::raw::server_tls::{ServerTls as Raw, ServerTlsChoice, VerifyWord};
use crate::config::raw::{At, OneOrMany, text};
use crate::config::shape::shorten;
use crate::core::fleet::spec::ServerAddress;
use crate::core::tls::names::{CIPHERS, Cipher, GROUPS, Group, TlsVersion, split_list};
use crate::core::tls::server::SESSIONS_DEFAULT;
use crate::core::tls::{Identity, ServerTls, Sni, TlsUse, Verify};

/// Where a server's settings are put together: what only it knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    /// `backend/server`
    pub owner: &'a str,
    /// Where it is.
    pub address: &'a ServerAddress,
    /// Its place in the file.
    pub at: NodeId,
}

/// The sections that count, the outermost first.
struct Layers<'a>(Vec<&'a Raw>);

impl<'a> Layers<'a> {
    fn pick<T>(&self, key: impl Fn(&'a Raw) -> Option<&'a At<T>>) -> Option<&'a At<T>> {
        self.0.iter().rev().find_map(|layer| key(layer))
    }
}

impl Lowering<'_> {
    /// Looks at what one section says.
    pub fn server_tls_alone(&mut self, written: Option<&At<ServerTlsChoice>>) {
        let Some(ServerTlsChoice::Full(tls)) = written.map(|w| &**w) else { return };
        if let Some(verify) = tls.verify.as_ref().filter(|v| ***v == VerifyWord::None) {
            self.warning(verify.id(), "whoever answers is taken for the server: its certificate is not verified")
                .help("trust its issuer with `ca_file`, and say which name it is for with `verify_host`");
            if let Some(file) = &tls.ca_file {
                self.error(file.id(), "trusted roots are not used with `verify: none`").help("remove one of them");
            }
            if let Some(file) = &tls.crl_file {
                self.error(file.id(), "revocation lists are not used with `verify: none`").help("remove one of them");
            }
        }
        if let Some(file) = &tls.ca_file {
            self.trusted_roots(file.id(), file.as_ref());
        }
        if let Some(file) = &tls.crl_file {
            self.revocations(file);
        }
        if let Some(name) = &tls.verify_host {
            self.verified_name(name.id(), name.as_ref());
        }
        if let Some(sni) = &tls.sni {
            self.sni(sni);
        }
        match (&tls.certificate, &tls.key) {
            (None, Some(key)) => {
                self.error(key.id(), "a key without its certificate").help("name the chain with `certificate`");
            }
            (Some(certificate), key) => self.identity(certificate, key.as_ref()),
            (None, None) => {}
        }
        self.ciphers(tls.ciphers.as_ref());
        self.groups(tls.groups.as_ref());
        self.protocols(tls.alpn.as_ref());
    }

    /// Puts the sections together, the outermost first. Without a server it is what servers added at run time begin with.
    pub fn server_tls(&mut self, written: &[Option<&At<ServerTlsChoice>>], whose: Option<Whose<'_>>) -> TlsUse {
        let mut on = false;
        let mut layers = Vec::new();
        for layer in written.iter().flatten() {
            match &***layer {
                ServerTlsChoice::Plain(wanted) => on = *wanted,
                ServerTlsChoice::Full(tls) => {
                    on = true;
                    layers.push(&**tls);
                }
            }
        }
        if layers.is_empty() && !on {
            return TlsUse::Unset;
        }
        let place = written.iter().flatten().next_back().map(|w| w.id());
        let tls = self.settings(&Layers(layers), whose);
        if let (true, Some(whose)) = (tls.lacks_name(), whose) {
            if !on {
                return TlsUse::Unset;
            }
            self.error(whose.at, "which name must the certificate of this server carry?")
                .related(place.unwrap_or(whose.at), "TLS is asked for here")
                .help("add `verify_host: NAME` or `sni: NAME` to its `tls` (or its IP address, if it is for that)")
                .help("or `verify: none`, which believes anyone");
        }
        if on { TlsUse::On(Arc::new(tls)) } else { TlsUse::Off(Arc::new(tls)) }
    }

    fn settings(&mut self, layers: &Layers<'_>, whose: Option<Whose<'_>>) -> ServerTls {
        let sni = layers.pick(|t| t.sni.as_ref()).map_or(Sni::Name, |sni| read_sni(sni.as_ref()));
        let verify_host = layers.pick(|t| t.verify_host.as_ref()).map(|name| lower(name.as_ref()));
        let name = verify_host.or_else(|| match (&sni, whose.map(|w| w.address)) {
            (Sni::Fixed(name), _) => Some(name.clone()),
            (Sni::Name | Sni::Off, Some(ServerAddress::Name { host, .. })) => Some(host.clone()),
            _ => None,
        });
        let verify = match (layers.pick(|t| t.verify.as_ref()).map(|v| **v), layers.pick(|t| t.ca_file.as_ref())) {
            (Some(VerifyWord::None), _) => Verify::Nothing,
            (_, Some(file)) => Verify::Roots(self.path(file.as_ref())),
            (_, None) => Verify::SystemRoots,
        };
        // The key stands beside its certificate, in the same section.
        let identity = layers.0.iter().rev().find_map(|layer| Some((layer.certificate.as_ref()?, layer.key.as_ref())));
        let identity = identity.map(|(certificate, key)| Identity {
            certificate: self.path(certificate.as_ref()),
            key: key.map(|key| self.path(key.as_ref())),
        });
        let oldest = layers.pick(|t| t.min_version.as_ref());
        let newest = layers.pick(|t| t.max_version.as_ref());
        let min_version = oldest.map_or(TlsVersion::V1_2, |v| version(v));
        let max_version = newest.map_or(TlsVersion::V1_3, |v| version(v));
        if let (true, Some(max)) = (min_version > max_version, newest) {
            self.error(max.id(), "`max_version` is older than `min_version`")
                .related(oldest.map_or(max.id(), At::id), "the oldest version offered");
        }
        ServerTls {
            owner: whose.map_or("", |w| w.owner).into(),
            verify,
            crl_file: layers.pick(|t| t.crl_file.as_ref()).map(|file| self.path(file.as_ref())),
            name,
            sni,
            identity,
            min_version,
            max_version,
            ciphers: listed(layers.pick(|t| t.ciphers.as_ref()), |name| Cipher::parse(name).map(|c| c.code)),
            groups: listed(layers.pick(|t| t.groups.as_ref()), |name| Group::parse(name).map(|g| g.code)),
            alpn: listed(layers.pick(|t| t.alpn.as_ref()), |name| Some(name.into())),
            sessions_max: layers.pick(|t| t.session_cache.as_ref()).map_or(SESSIONS_DEFAULT, |n| **n),
        }
    }

    fn revocations(&mut self, written: &At<text::FilePath>) {
        let Some(pem) = self.read(written.id(), written.as_ref()) else { return };
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
        if lists.is_ok_and(|lists| !lists.is_empty()) {
            return;
        }
        self.error(written.id(), format!("there is no revocation list in `{}`", shorten(written.as_ref())))
            .help("PEM files of them have blocks that begin with `-----BEGIN X509 CRL-----`");
    }

    fn verified_name(&mut self, at: NodeId, written: &str) {
        if !is_host_name(&lower(written)) && written.parse::<std::net::IpAddr>().is_err() {
            let diagnostic = self.error(at, format!("`{}` is neither a host name nor an address", shorten(written)));
            if let Some((host, _)) = written.rsplit_once(':').filter(|(host, _)| is_host_name(host)) {
                diagnostic.label(format!("write `{host}`, without the port"));
            }
            diagnostic.help("as the certificate has it: `app.example.com`");
        }
    }

    fn sni(&mut self, written: &At<text::Text>) {
        let text: &str = written.as_ref();
        if let Sni::Fixed(name) = read_sni(text)
            && (!is_host_name(&name) || text.parse::<std::net::IpAddr>().is_ok())
        {
            let diagnostic = self.error(written.id(), format!("`{}` is not a host name", shorten(text)));
            if text.contains("hdr(host)") || text == "host" {
                diagnostic.label("did you mean `request_host`?");
            } else if let Some(name) = text.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
                diagnostic.label(format!("write `{}`", shorten(name)));
            }
            diagnostic.help("allowed: a host name, `request_host`, `off`; addresses are never sent");
        }
    }

    fn ciphers(&mut self, written: Option<&At<OneOrMany<text::Text>>>) {
        for (at, list) in written.iter().flat_map(|list| list.items()) {
            for name in split_list(list.as_ref()).filter(|name| Cipher::parse(name).is_none()) {
                let names = CIPHERS.iter().map(|c| c.openssl).collect::<Vec<_>>();
                self.error(at, format!("there is no cipher suite `{}` here", shorten(name)))
                    .did_you_mean(name, names.iter().copied())
                    .help(format!("suites: {}", names.join(", ")));
            }
        }
        self.something_listed(written, "cipher suite");
    }

    fn groups(&mut self, written: Option<&At<OneOrMany<text::Text>>>) {
        for (at, list) in written.iter().flat_map(|list| list.items()) {
            for name in split_list(list.as_ref()).filter(|name| Group::parse(name).is_none()) {
                let names = GROUPS.iter().map(|g| g.iana).collect::<Vec<_>>();
                self.error(at, format!("there is no group `{}` here", shorten(name)))
                    .did_you_mean(name, names.iter().copied())
                    .help(format!("groups: {}", names.join(", ")));
            }
        }
        self.something_listed(written, "group");
    }

    fn protocols(&mut self, written: Option<&At<OneOrMany<text::Text>>>) {
        for (at, protocol) in written.iter().flat_map(|list| list.items()) {
            let protocol: &str = protocol.as_ref();
            if protocol != "http/1.1" {
                self.error(at, format!("`{}` is not spoken to servers", shorten(protocol)))
                    .did_you_mean(protocol, ["http/1.1"])
                    .help("allowed: `http/1.1`; HTTP/2 is asked for by `proto: h2`");
            }
        }
    }

    fn something_listed(&mut self, written: Option<&At<OneOrMany<text::Text>>>, what: &str) {
        if let Some(list) = written.filter(|list| names(list).is_empty()) {
            self.missing(list.id(), format!("there is no {what} in this list")).help("name one, or remove the key");
        }
    }

    /// Checks a certificate that is shown to servers, and its key.
    fn identity(&mut self, certificate: &At<text::FilePath>, key: Option<&At<text::FilePath>>) {
        let written: &str = certificate.as_ref();
        let Some(pem) = self.read(certificate.id(), written).map(Zeroizing::new) else { return };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
            self.error(certificate.id(), format!("there is no certificate in `{written}`"))
                .help("PEM files have blocks that begin with `-----BEGIN CERTIFICATE-----`");
            return;
        };
        let (key_at, key_written, key_pem) = match key {
            None => (certificate.id(), written, pem),
            Some(key) => {
                let Some(pem) = self.read(key.id(), key.as_ref()) else { return };
                (key.id(), key.as_ref(), Zeroizing::new(pem))
            }
        };
        let parsed = PrivateKeyDer::from_pem_slice(&key_pem).ok();
        let signing = parsed.and_then(|key| rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok());
        let Some(signing) = signing else {
            self.error(key_at, format!("there is no usable private key in `{}`", Path::new(key_written).display()))
                .help("keys are RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519, not encrypted");
            return;
        };
        let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
        if CertifiedKey::new(chain, signing).keys_match() == Err(mismatch) {
            let diagnostic =
                self.error(key_at, format!("the private key in `{key_written}` does not belong to the certificate"));
            if key_at != certificate.id() {
                diagnostic.related(certificate.id(), "the certificate");
            }
            diagnostic.help("the first certificate in the file must be our own; the rest of the chain follows it");
        }
    }
}

fn version(written: &Written) -> TlsVersion {
    match written {
        Written::V1_2 => TlsVersion::V1_2,
        Written::V1_3 => TlsVersion::V1_3,
    }
}

fn lower(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

fn read_sni(written: &str) -> Sni {
    match written {
        "request_host" => Sni::RequestHost,
        "off" => Sni::Off,
        name => Sni::Fixed(lower(name)),
    }
}

/// Every name of a list, of which each part may be a list of OpenSSL's.
fn names(list: &At<OneOrMany<text::Text>>) -> Vec<&str> {
    list.items().into_iter().flat_map(|(_, part)| split_list(part.as_ref())).collect()
}

fn listed<T>(list: Option<&At<OneOrMany<text::Text>>>, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    list.map(names).unwrap_or_default().into_iter().filter_map(read).collect()
}
