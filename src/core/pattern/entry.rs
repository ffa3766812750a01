//! One pattern: its key as it is shown, and the bytes it is found by.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::core::http::host;

/// Longest key, in bytes.
pub const KEY_MAX_BYTES: usize = 4096;
/// Longest value, in bytes.
pub const VALUE_MAX_BYTES: usize = 4096;

/// How the keys of a list are compared with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matching {
    /// The sample is an address in the network; the longest prefix goes first.
    Network,
    /// The sample is that host, or for `*.example.com` one or more labels in front of it. Keys are kept in lower case.
    Host,
    /// The sample is that path or something below it; whole segments count.
    Path,
    /// The sample is exactly that.
    Text,
}

impl Matching {
    /// HAProxy's name for it (`type=` of `get map`, `get acl`).
    pub fn word(self) -> &'static str {
        match self {
            Matching::Network => "ip",
            Matching::Host | Matching::Text => "str",
            Matching::Path => "beg",
        }
    }
}

/// Why a key or value cannot stand in a list. `Display` is what the admin socket answers, without the full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// HAProxy's sentence.
    #[error("'{0}' is not a valid IPv4 or IPv6 address")]
    NotANetwork(Box<str>),
    /// Not a host name, or one with a port.
    #[error("'{0}' is not a host: as 'example.com' or '*.example.com', without a port")]
    NotAHost(Box<str>),
    /// A path begins with a slash.
    #[error("'{0}' is not a path: it begins with '/'")]
    NotAPath(Box<str>),
    /// No key at all.
    #[error("a key is missing")]
    Empty,
    /// Over [`KEY_MAX_BYTES`] or [`VALUE_MAX_BYTES`].
    #[error("a key or value is longer than {KEY_MAX_BYTES} bytes")]
    TooLong,
}

/// A key, perhaps with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    key: Box<str>,
    value: Box<str>,
    form: Form,
}

/// What a pattern is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Its key.
    Whole,
    /// Its key without its first character: `.example.com` of `*.example.com`.
    Wildcard,
    /// Its key without the slash at its end.
    Stem,
    /// A network.
    Network(NetworkKey),
}

/// A network in bytes that cannot be taken for another one: family, prefix length, masked address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NetworkKey {
    bytes: [u8; 18],
    length: u8,
}

impl NetworkKey {
    /// The first `prefix` bits of an address.
    #[inline]
    pub fn new(address: IpAddr, prefix: u8) -> NetworkKey {
        let mut bytes = [0; 18];
        let length = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
                bytes[0] = 4;
                bytes[2..6].copy_from_slice(&(v4.to_bits() & mask).to_be_bytes());
                6
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
                bytes[0] = 6;
                bytes[2..].copy_from_slice(&(v6.to_bits() & mask).to_be_bytes());
                18
            }
        };
        bytes[1] = prefix;
        NetworkKey { bytes, length }
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Pattern {
    /// Reads a key and its value (empty in access lists).
    pub fn parse(matching: Matching, key: &str, value: &str) -> Result<Pattern, PatternError> {
        let key = key.trim();
        if key.is_empty() {
            return Err(PatternError::Empty);
        }
        if key.len() > KEY_MAX_BYTES || value.len() > VALUE_MAX_BYTES {
            return Err(PatternError::TooLong);
        }
        let (key, form) = match matching {
            Matching::Text => (key.into(), Form::Whole),
            Matching::Path if !key.starts_with('/') => return Err(PatternError::NotAPath(key.into())),
            Matching::Path if key.ends_with('/') => (key.into(), Form::Stem),
            Matching::Path => (key.into(), Form::Whole),
            Matching::Network => (key.into(), Form::Network(network(key)?)),
            Matching::Host => match key.strip_prefix("*.") {
                Some(rest) => (format!("*.{}", host_name(key, rest)?).into(), Form::Wildcard),
                None => (host_name(key, key)?.into(), Form::Whole),
            },
        };
        Ok(Pattern { key, value: value.trim().into(), form })
    }

    /// The key as it is shown: networks and texts as written, hosts in lower case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value; empty in access lists.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The same key with another value.
    pub fn with_value(&self, value: &str) -> Pattern {
        Pattern { value: value.into(), ..self.clone() }
    }

    /// What it is found by.
    #[inline]
    pub(super) fn index_key(&self) -> &[u8] {
        let key = self.key.as_bytes();
        match &self.form {
            Form::Whole => key,
            Form::Wildcard => key.get(1..).unwrap_or_default(),
            Form::Stem => key.strip_suffix(b"/").unwrap_or(key),
            Form::Network(network) => network.as_bytes(),
        }
    }

    /// Whether it covers hosts below its own.
    pub(super) fn is_wildcard(&self) -> bool {
        self.form == Form::Wildcard
    }

    /// Family and prefix length of a network.
    pub(super) fn prefix(&self) -> Option<(u8, u8)> {
        match &self.form {
            Form::Network(network) => Some((network.bytes[0], network.bytes[1])),
            _ => None,
        }
    }
}

/// An address, a network, or an IPv4 network with its mask in full. Bits behind the prefix do not count, as in HAProxy.
/// What wears IPv6 clothes is the IPv4 network.
fn network(key: &str) -> Result<NetworkKey, PatternError> {
    let wrong = || PatternError::NotANetwork(key.into());
    if let Ok(address) = key.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Ok(NetworkKey::new(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    if let Ok(network) = key.parse::<IpNet>() {
        let mapped = match network {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6.addr().to_ipv4_mapped(),
            _ => None,
        };
        return Ok(match mapped {
            Some(v4) => NetworkKey::new(v4.into(), network.prefix_len() - 96),
            None => NetworkKey::new(network.addr(), network.prefix_len()),
        });
    }
    let (address, mask) = key.split_once('/').ok_or_else(wrong)?;
    let (address, mask) = (address.parse().map_err(|_| wrong())?, mask.parse().map_err(|_| wrong())?);
    let network = Ipv4Net::with_netmask(address, mask).map_err(|_| wrong())?;
    Ok(NetworkKey::new(address.into(), network.prefix_len()))
}

/// A host as requests are compared with it.
fn host_name(key: &str, name: &str) -> Result<String, PatternError> {
    match host::parse(name.as_bytes()) {
        Some(authority) if authority.port.is_none() => {
            let mut out = String::with_capacity(name.len());
            authority.write_normalised(&mut out);
            Ok(out)
        }
        _ => Err(PatternError::NotAHost(key.into())),
    }
}
