//! What is offered in a handshake, from the numbers of a configuration to the library's own values.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedProtocolVersion, version};

use super::provider;
use crate::config::model::TlsOffer;
use crate::core::tls::names::TlsVersion;

/// A provider with the suites and groups of an offer alone, in its order; the common one when it leaves nothing out.
pub(super) fn provider_of(offer: &TlsOffer) -> Arc<CryptoProvider> {
    let common = provider();
    let suites: Vec<_> = offer
        .ciphers
        .iter()
        .filter_map(|code| aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| u16::from(suite.suite()) == *code))
        .copied()
        .collect();
    let groups: Vec<_> = offer
        .groups
        .iter()
        .filter_map(|code| aws_lc_rs::ALL_KX_GROUPS.iter().find(|group| u16::from(group.name()) == *code))
        .copied()
        .collect();
    let same_suites = suites.iter().map(|s| s.suite()).eq(common.cipher_suites.iter().map(|s| s.suite()));
    let same_groups = groups.iter().map(|g| g.name()).eq(common.kx_groups.iter().map(|g| g.name()));
    if same_suites && same_groups {
        return common;
    }
    Arc::new(CryptoProvider { cipher_suites: suites, kx_groups: groups, ..(*common).clone() })
}

/// The versions in a range, newest first.
pub(super) fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::V1_3, &version::TLS13), (TlsVersion::V1_2, &version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, supported)| supported)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tls::names::{CIPHERS, GROUPS};

    #[test]
    fn every_name_stands_for_something() {
        let all = TlsOffer {
            ciphers: CIPHERS.iter().map(|cipher| cipher.code).collect(),
            groups: GROUPS.iter().map(|group| group.code).collect(),
            ..TlsOffer::default()
        };
        let provider = provider_of(&all);
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (CIPHERS.len(), GROUPS.len()));
    }

    #[test]
    fn nothing_said_is_the_common_provider() {
        assert!(Arc::ptr_eq(&provider_of(&TlsOffer::default()), &provider()));
        let one = TlsOffer { ciphers: vec![0x1301], groups: vec![0x1d], ..TlsOffer::default() };
        let provider = provider_of(&one);
        assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (1, 1));
    }
}
