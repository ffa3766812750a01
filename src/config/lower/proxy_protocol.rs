//! `proxy_protocol` of a bind, `send_proxy` of backends, servers and checks.

use super::Lowering;
use crate::config::model::{BindAddress, ProxyProtocol};
use crate::config::raw::At;
use crate::config::raw::frontend::BindProxyProtocol;
use crate::config::raw::proxy_protocol::{CheckSendProxy, ProxyTlv, ProxyVersion, SendProxyChoice};
use crate::core::proxy_protocol::{SendSpec, TlvChoice, Version};

impl Lowering<'_> {
    /// Whose headers a bind takes.
    pub fn bind_proxy_protocol(
        &mut self,
        written: &At<BindProxyProtocol>,
        address: &BindAddress,
    ) -> Option<ProxyProtocol> {
        let required = written.required.as_deref().copied().unwrap_or(true);
        let is_unix = matches!(address, BindAddress::Unix(_));
        match &written.from {
            Some(from) if is_unix => {
                self.error(from.id(), "who connects to a unix socket has no address")
                    .help("remove the key; `mode`, `user` and `group` of the socket say who may connect");
            }
            None if !is_unix => {
                self.missing(written.id(), "whose PROXY headers are believed?")
                    .help("name the load balancers in front: `proxy_protocol: { from: [10.0.0.0/8] }`");
                return None;
            }
            Some(from) if from.items().is_empty() => {
                self.missing(from.id(), "nobody may send a PROXY header")
                    .help("name the load balancers in front: `from: [10.0.0.0/8]`");
            }
            _ => {}
        }
        Some(ProxyProtocol { from: self.networks(written.from.as_ref().filter(|_| !is_unix)), required })
    }

    /// How servers are told who connects; `None` when they are not.
    pub fn send_proxy(&mut self, written: Option<&At<SendProxyChoice>>) -> Option<SendSpec> {
        let written = written?;
        let full = match &**written {
            SendProxyChoice::Off(_) => return None,
            SendProxyChoice::Version(version) => return Some(SendSpec::plain(spoken(*version))),
            SendProxyChoice::Full(full) => full,
        };
        let Some(version) = &full.version else {
            self.missing(written.id(), "which version of the PROXY protocol?").help("add `version: v2`");
            return None;
        };
        let version_2 = matches!(**version, ProxyVersion::V2);
        let mut tlvs = TlvChoice::default();
        for (at, tlv) in full.tlvs.iter().flat_map(|tlvs| tlvs.items()) {
            if !version_2 {
                self.error(at, "only version 2 says more than addresses")
                    .related(version.id(), "the version")
                    .help("write `version: v2`, or remove `tlvs`");
                break;
            }
            *match tlv {
                ProxyTlv::Ssl => &mut tlvs.ssl,
                ProxyTlv::CertCn => &mut tlvs.cert_cn,
                ProxyTlv::SslCipher => &mut tlvs.ssl_cipher,
                ProxyTlv::Authority => &mut tlvs.authority,
                ProxyTlv::UniqueId => &mut tlvs.unique_id,
                ProxyTlv::Crc32c => &mut tlvs.crc32c,
            } = true;
        }
        // They stand inside of what `ssl` says.
        tlvs.ssl |= tlvs.cert_cn || tlvs.ssl_cipher;
        Some(SendSpec { version: spoken(**version), tlvs })
    }

    /// What a check says of itself: what the check's own key says, else the server's version unless the check goes
    /// elsewhere. HAProxy: `check-send-proxy`.
    pub fn check_send_proxy(
        &self,
        written: Option<CheckSendProxy>,
        elsewhere: bool,
        server: Option<SendSpec>,
    ) -> Option<Version> {
        match written {
            Some(CheckSendProxy::Off) => None,
            Some(CheckSendProxy::V1) => Some(Version::V1),
            Some(CheckSendProxy::V2) => Some(Version::V2),
            None => server.filter(|_| !elsewhere).map(|spec| spec.version),
        }
    }
}

fn spoken(version: ProxyVersion) -> Version {
    match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    }
}
