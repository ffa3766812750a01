//! What `add server` says of TLS: HAProxy's words, and the settings that come of them with the backend's.

use std::path::PathBuf;
use std::sync::Arc;

use super::parse::shown;
use crate::core::fleet::Refusal;
use crate::core::fleet::spec::ServerAddress;
use crate::core::tls::names::{Cipher, TlsVersion, split_list};
use crate::core::tls::{Identity, ServerTls, Sni, TlsUse, Verify};

/// What was said of TLS. What is absent is as the backend has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NewServerTls {
    ssl: Option<bool>,
    verify: Option<bool>,
    ca_file: Option<PathBuf>,
    crl_file: Option<PathBuf>,
    certificate: Option<PathBuf>,
    sni: Option<Sni>,
    name: Option<Box<str>>,
    alpn: Option<Vec<Box<str>>>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    ciphers: Vec<u16>,
    /// `check-ssl`, `no-check-ssl`
    pub(super) check: Option<bool>,
    /// `check-sni`
    pub(super) check_sni: Option<Box<str>>,
}

impl NewServerTls {
    /// Takes a word in if it is about TLS; false when it is not.
    pub(super) fn option<'a>(
        &mut self,
        keyword: &str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<bool, String> {
        let mut value = || words.next().ok_or_else(|| format!("'{keyword}' expects a value."));
        match keyword {
            "ssl" => self.ssl = Some(true),
            "no-ssl" => self.ssl = Some(false),
            "check-ssl" => self.check = Some(true),
            "no-check-ssl" => self.check = Some(false),
            "check-sni" => self.check_sni = Some(host_name(keyword, value()?)?),
            "verify" => match value()? {
                "none" => self.verify = Some(false),
                "required" => self.verify = Some(true),
                other => {
                    let methods = "only 'none' and 'required' are supported";
                    return Err(format!("'verify' : unknown verify method '{}', {methods}.", shown(other)));
                }
            },
            "verifyhost" => self.name = Some(host_name(keyword, value()?)?),
            "crl-file" => self.crl_file = Some(value()?.into()),
            "ca-file" => self.ca_file = Some(value()?.into()),
            "crt" => self.certificate = Some(value()?.into()),
            "sni" => {
                let expression = words.next().ok_or_else(|| "'sni' : missing sni expression.".to_owned())?;
                self.sni = Some(sni(expression)?);
            }
            "alpn" => {
                let list = value()?;
                if let Some(other) = list.split(',').find(|protocol| *protocol != "http/1.1") {
                    return Err(format!("'alpn' : '{}' is not spoken here, only 'http/1.1'.", shown(other)));
                }
                self.alpn = Some(list.split(',').map(Box::from).collect());
            }
            "ssl-min-ver" => self.min_version = Some(version(value()?)?),
            "ssl-max-ver" => self.max_version = Some(version(value()?)?),
            "ciphers" | "ciphersuites" => {
                for name in split_list(value()?) {
                    let unknown = || format!("'{keyword}' : there is no suite '{}' here.", shown(name));
                    self.ciphers.push(Cipher::parse(name).ok_or_else(unknown)?.code);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The settings of server `owner`, with what the backend says of all of its servers.
    pub(super) fn build(&self, owner: String, address: &ServerAddress, backend: &TlsUse) -> Result<TlsUse, Refusal> {
        let wanted = self.ssl.unwrap_or(backend.is_on());
        let Some(mut tls) = self.template(wanted, backend) else { return Ok(TlsUse::Unset) };
        tls.owner = owner.into();
        match (&self.ca_file, self.verify) {
            (_, Some(false)) => tls.verify = Verify::Nothing,
            (Some(path), _) if path.as_os_str() == "@system-ca" => tls.verify = Verify::SystemRoots,
            (Some(path), _) => tls.verify = Verify::Roots(path.clone()),
            (None, Some(true)) if tls.verify == Verify::Nothing => tls.verify = Verify::SystemRoots,
            (None, _) => {}
        }
        if self.crl_file.is_some() {
            tls.crl_file.clone_from(&self.crl_file);
        }
        if let Some(certificate) = &self.certificate {
            tls.identity = Some(Identity { certificate: certificate.clone(), key: None });
        }
        let sent = match &self.sni {
            Some(Sni::Fixed(name)) => Some(name.clone()),
            _ => None,
        };
        tls.sni = self.sni.clone().unwrap_or(tls.sni);
        let host = match address {
            ServerAddress::Name { host, .. } if tls.sni != Sni::RequestHost => Some(host.clone()),
            _ => None,
        };
        tls.name = self.name.clone().or(sent).or(tls.name).or(host);
        tls.alpn = self.alpn.clone().unwrap_or(tls.alpn);
        tls.min_version = self.min_version.unwrap_or(tls.min_version);
        tls.max_version = self.max_version.unwrap_or(tls.max_version);
        if tls.min_version > tls.max_version {
            return Err(Refusal("'ssl-min-ver' is newer than 'ssl-max-ver'.".to_owned()));
        }
        if !self.ciphers.is_empty() {
            tls.ciphers.clone_from(&self.ciphers);
        }
        if tls.lacks_name() {
            if !wanted {
                return Ok(TlsUse::Unset);
            }
            let text = "verify is enabled by default but which name the server's certificate must carry is not known: \
                        add 'verifyhost NAME' or 'sni str(NAME)', or an explicit 'verify none'.";
            return Err(Refusal(text.to_owned()));
        }
        let tls = Arc::new(tls);
        Ok(if wanted { TlsUse::On(tls) } else { TlsUse::Off(tls) })
    }

    /// What the words are added to: the backend's settings, or strict ones where TLS is asked for.
    fn template(&self, wanted: bool, backend: &TlsUse) -> Option<ServerTls> {
        match backend.settings() {
            Some(settings) => Some((**settings).clone()),
            None => wanted.then(|| ServerTls::strict("", None)),
        }
    }
}

/// The expressions of `sni` that mean something here.
fn sni(expression: &str) -> Result<Sni, String> {
    if matches!(expression, "req.hdr(host)" | "hdr(host)" | "req.hdr(Host)" | "hdr(Host)") {
        return Ok(Sni::RequestHost);
    }
    match expression.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
        Some(name) => Ok(Sni::Fixed(host_name("sni", name)?)),
        None => Err(format!("'sni' : '{}' is neither 'str(NAME)' nor 'req.hdr(host)'.", shown(expression))),
    }
}

fn host_name(keyword: &str, text: &str) -> Result<Box<str>, String> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match super::new_server::is_host_name(&lower) || text.parse::<std::net::IpAddr>().is_ok() {
        true => Ok(lower.into()),
        false => Err(format!("'{keyword}' : '{}' is not a host name.", shown(text))),
    }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    match (text, TlsVersion::parse(text)) {
        (_, Some(version)) if text.starts_with("TLSv") => Ok(version),
        ("SSLv3" | "TLSv1.0" | "TLSv1.1", _) => Err(format!("'{text}' : is not spoken here, TLSv1.2 and TLSv1.3 are.")),
        _ => Err(format!("'{}' : unknown ssl/tls version.", shown(text))),
    }
}
