//! The options of `add server` that say how a server is told who connects, in HAProxy's words.

use super::parse::shown;
use crate::core::proxy_protocol::{SendSpec, TlvChoice, Version};

/// What was said of PROXY headers; what is absent is as the backend has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendProxyWords {
    /// A version, or none.
    version: Option<Option<Version>>,
    tlvs: TlvChoice,
    check: Option<bool>,
}

impl SendProxyWords {
    /// Takes an option without a value, if it is one of these.
    pub fn flag(&mut self, keyword: &str) -> bool {
        match keyword {
            "send-proxy" => self.version = Some(Some(Version::V1)),
            "send-proxy-v2" => self.version = Some(Some(Version::V2)),
            "send-proxy-v2-ssl" => {
                self.version = Some(Some(Version::V2));
                self.tlvs.ssl = true;
            }
            "send-proxy-v2-ssl-cn" => {
                self.version = Some(Some(Version::V2));
                (self.tlvs.ssl, self.tlvs.cert_cn) = (true, true);
            }
            "no-send-proxy" | "no-send-proxy-v2" | "no-send-proxy-v2-ssl" | "no-send-proxy-v2-ssl-cn" => {
                self.version = Some(None);
            }
            "check-send-proxy" => self.check = Some(true),
            "no-check-send-proxy" => self.check = Some(false),
            _ => return false,
        }
        true
    }

    /// Takes the value of `proxy-v2-options`.
    ///
    /// # Errors
    /// The sentence for an option that does not exist here.
    pub fn options(&mut self, value: &str) -> Result<(), String> {
        for option in value.split(',') {
            match option {
                "ssl" => self.tlvs.ssl = true,
                "cert-cn" => (self.tlvs.ssl, self.tlvs.cert_cn) = (true, true),
                "ssl-cipher" => (self.tlvs.ssl, self.tlvs.ssl_cipher) = (true, true),
                "authority" => self.tlvs.authority = true,
                "unique-id" => self.tlvs.unique_id = true,
                "crc32c" => self.tlvs.crc32c = true,
                unknown => {
                    return Err(format!("'proxy-v2-options' : option '{}' not implemented.", shown(unknown)));
                }
            }
        }
        Ok(())
    }

    /// How the server is told who connects.
    pub fn server(&self, defaults: Option<SendSpec>) -> Option<SendSpec> {
        match self.version {
            Some(version) => version.map(|version| SendSpec { version, tlvs: self.tlvs }),
            None => defaults,
        }
    }

    /// What its check says; `elsewhere` when it was sent to another address or port than requests. `template` is what
    /// the checks of the backend say.
    pub fn check(&self, server: Option<SendSpec>, elsewhere: bool, template: Option<Version>) -> Option<Version> {
        match (self.check, self.version) {
            (Some(false), _) => None,
            // Without a version of the server's own it is the first.
            (Some(true), _) => Some(server.map_or(Version::V1, |spec| spec.version)),
            (None, _) if elsewhere => None,
            (None, Some(_)) => server.map(|spec| spec.version),
            (None, None) => template,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> SendProxyWords {
        let mut said = SendProxyWords::default();
        for word in words {
            match word.strip_prefix("proxy-v2-options ") {
                Some(options) => said.options(options).unwrap(),
                None => assert!(said.flag(word), "{word}"),
            }
        }
        said
    }

    #[test]
    fn words_become_headers() {
        let v1 = Some(SendSpec::plain(Version::V1));
        let v2 = |tlvs| Some(SendSpec { version: Version::V2, tlvs });
        let nothing = TlvChoice::default();
        let ssl = TlvChoice { ssl: true, ..nothing };
        for (words, defaults, expected) in [
            (&[][..], None, None),
            (&[], v1, v1),
            (&["send-proxy"], None, v1),
            (&["send-proxy-v2"], v1, v2(nothing)),
            (&["send-proxy-v2-ssl"], None, v2(ssl)),
            (&["send-proxy-v2-ssl-cn"], None, v2(TlvChoice { cert_cn: true, ..ssl })),
            (&["no-send-proxy"], v1, None),
            (
                &["send-proxy-v2", "proxy-v2-options crc32c,unique-id,authority,ssl-cipher"],
                None,
                v2(TlvChoice { ssl_cipher: true, authority: true, unique_id: true, crc32c: true, ..ssl }),
            ),
        ] {
            assert_eq!(said(words).server(defaults), expected, "{words:?}");
        }
        let unknown = SendProxyWords::default().options("ssl,cert-sig").unwrap_err();
        assert_eq!(unknown, "'proxy-v2-options' : option 'cert-sig' not implemented.");
        assert!(!SendProxyWords::default().flag("send-proxy-v3"));
    }

    #[test]
    fn checks_say_what_the_server_is_told_unless_they_go_elsewhere() {
        let v2 = Some(SendSpec::plain(Version::V2));
        for (words, server, elsewhere, template, expected) in [
            (&[][..], None, false, None, None),
            (&[], None, false, Some(Version::V1), Some(Version::V1)),
            (&["send-proxy-v2"], v2, false, None, Some(Version::V2)),
            (&["send-proxy-v2"], v2, true, None, None),
            (&["no-send-proxy"], None, false, Some(Version::V2), None),
            (&["check-send-proxy"], v2, true, None, Some(Version::V2)),
            (&["check-send-proxy"], None, true, None, Some(Version::V1)),
            (&["no-check-send-proxy"], v2, false, Some(Version::V2), None),
        ] {
            assert_eq!(said(words).check(server, elsewhere, template), expected, "{words:?}");
        }
    }
}
