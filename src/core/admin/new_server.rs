//! `add server B/S ADDRESS [OPTION …]`: what the words say, and the server that comes of it with the backend's defaults.
//!
//! The options are those of HAProxy's `server` line that mean something here. Times without a unit are milliseconds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::new_server_tls::NewServerTls;
use super::parse::shown;
use super::send_proxy::SendProxyWords;
use crate::core::fleet::Refusal;
use crate::core::fleet::spec::{
    BackendSpec, ObserveSpec, OnError, ServerAddress, ServerDefaults, ServerProtocol, ServerSpec,
};
use crate::core::health::{CheckKind, CheckSpec};
use crate::core::proxy_protocol::SendSpec;
use crate::core::tls::{ServerTls, Sni, TlsUse, Verify};

/// A check's intervals are at least this, as in the configuration.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Longest time that means anything.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most passes or failures in a row, as in the configuration.
const COUNT_MAX: u32 = 1000;
/// Longest name, as in the configuration.
const NAME_MAX: usize = 128;

/// What was said of the new server. What is absent is as the backend has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewServer {
    address: Option<ServerAddress>,
    protocol: Option<ServerProtocol>,
    /// The number it asks for (`id`).
    pub sid: Option<u32>,
    weight: Option<u32>,
    maxconn: Option<u32>,
    backup: bool,
    check: bool,
    inter: Option<Duration>,
    fastinter: Option<Duration>,
    downinter: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
    check_port: Option<u16>,
    check_address: Option<IpAddr>,
    cookie: Option<Box<str>>,
    send_proxy: SendProxyWords,
    track: Option<Box<str>>,
    slowstart: Option<Duration>,
    observe: Option<bool>,
    error_limit: Option<u32>,
    on_error: Option<OnError>,
    on_marked_down_shutdown: Option<bool>,
    tls: NewServerTls,
}

impl NewServer {
    /// Reads the words behind `B/S`. The mistakes are HAProxy's sentences where tools may see them.
    pub fn parse(name: &str, words: &[&str]) -> Result<NewServer, String> {
        check_name(name)?;
        let mut words = words.iter().copied();
        let Some(address) = words.next() else {
            return Err("'server' expects <name> and <addr>[:<port>] as arguments.".to_owned());
        };
        let mut new = NewServer { address: Some(parse_address(name, address)?), ..NewServer::default() };
        while let Some(keyword) = words.next() {
            new.option(keyword, &mut words)?;
        }
        Ok(new)
    }

    fn option<'a>(&mut self, keyword: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| format!("'{keyword}' expects a value."));
        match keyword {
            "backup" => self.backup = true,
            "no-backup" => self.backup = false,
            "check" => self.check = true,
            "no-check" => self.check = false,
            // It starts in maintenance whatever is said.
            "disabled" | "enabled" => {}
            "weight" => self.weight = Some(number(keyword, value()?, 0, 256)?),
            "maxconn" => self.maxconn = Some(number(keyword, value()?, 0, u32::MAX)?).filter(|n| *n > 0),
            "id" => self.sid = Some(number(keyword, value()?, 1, u32::MAX)?),
            "inter" => self.inter = Some(time(keyword, value()?, INTERVAL_MIN)?),
            "fastinter" => self.fastinter = Some(time(keyword, value()?, INTERVAL_MIN)?),
            "downinter" => self.downinter = Some(time(keyword, value()?, INTERVAL_MIN)?),
            "rise" => self.rise = Some(number(keyword, value()?, 1, COUNT_MAX)?),
            "fall" => self.fall = Some(number(keyword, value()?, 1, COUNT_MAX)?),
            "slowstart" => self.slowstart = Some(time(keyword, value()?, Duration::ZERO)?),
            "error-limit" => self.error_limit = Some(number(keyword, value()?, 1, u32::MAX)?),
            "port" => self.check_port = u16::try_from(number(keyword, value()?, 1, 65_535)?).ok(),
            "addr" => {
                let text = value()?;
                let ip = text.parse().map_err(|_| format!("'addr' : '{}' is not an IP address.", shown(text)))?;
                self.check_address = Some(ip);
            }
            "cookie" => {
                let text = value()?;
                if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() && !"\",;\\".contains(c)) {
                    return Err(format!("'cookie' : '{}' cannot be the value of a cookie.", shown(text)));
                }
                self.cookie = Some(text.into());
            }
            "proto" => match value()? {
                "h1" => self.protocol = Some(ServerProtocol::H1),
                "h2" => self.protocol = Some(ServerProtocol::H2),
                _ => return Err("'proto' expects 'h1' or 'h2'.".to_owned()),
            },
            "track" => self.track = Some(value()?.into()),
            "observe" => match value()? {
                "layer4" => self.observe = Some(false),
                "layer7" => self.observe = Some(true),
                _ => return Err("'observe' expects one of 'none', 'layer4', 'layer7'.".to_owned()),
            },
            "on-error" => {
                self.on_error = Some(match value()? {
                    "fastinter" => OnError::Fastinter,
                    "fail-check" => OnError::FailCheck,
                    "sudden-death" => OnError::SuddenDeath,
                    "mark-down" => OnError::MarkDown,
                    _ => {
                        let words = "'fastinter', 'fail-check', 'sudden-death' or 'mark-down'";
                        return Err(format!("'on-error' expects one of {words}."));
                    }
                });
            }
            "on-marked-down" => match value()? {
                "shutdown-sessions" => self.on_marked_down_shutdown = Some(true),
                _ => return Err("'on-marked-down' expects 'shutdown-sessions'.".to_owned()),
            },
            "proxy-v2-options" => self.send_proxy.options(value()?)?,
            flag if self.send_proxy.flag(flag) => {}
            keyword => {
                if !self.tls.option(keyword, words)? {
                    return Err(format!("unknown keyword '{}'.", shown(keyword)));
                }
            }
        }
        Ok(())
    }

    /// The server, with what the backend says of all of its servers.
    pub fn build(self, name: &str, backend: &BackendSpec) -> Result<ServerSpec, Refusal> {
        let defaults = &backend.server_defaults;
        let Some(address) = self.address.clone() else {
            return Err(Refusal("'server' expects <name> and <addr>[:<port>] as arguments.".to_owned()));
        };
        if self.check && self.track.is_some() {
            return Err(Refusal("unable to enable checks and tracking at the same time!".to_owned()));
        }
        let protocol = self.protocol.unwrap_or(defaults.protocol);
        let owner = format!("{}/{name}", backend.name);
        let tls = self.tls.build(owner, &address, &defaults.tls)?.speaking_h2(protocol == ServerProtocol::H2);
        let send_proxy = self.send_proxy.server(defaults.send_proxy);
        let check = match self.check {
            true => Some(Arc::new(self.build_check(&address, defaults, &tls, protocol, send_proxy)?)),
            false => None,
        };
        let observe = match self.observe {
            Some(layer7) => Some(ObserveSpec {
                layer7,
                error_limit: self.error_limit.unwrap_or(10),
                on_error: self.on_error.unwrap_or(OnError::FailCheck),
            }),
            None => defaults.observe,
        };
        Ok(ServerSpec {
            name: name.into(),
            protocol,
            weight: self.weight.unwrap_or(1),
            maxconn: self.maxconn,
            backup: self.backup,
            disabled: false,
            cookie: self.cookie,
            send_proxy,
            track: self.track,
            agent: None,
            observe: observe.filter(|_| check.is_some()),
            check,
            slowstart: self.slowstart.or(defaults.slowstart).filter(|s| !s.is_zero()),
            initial: defaults.initial,
            return_from_drain: defaults.return_from_drain,
            return_from_maint: defaults.return_from_maint,
            on_marked_down_shutdown: self.on_marked_down_shutdown.unwrap_or(defaults.on_marked_down_shutdown),
            tls,
            address,
        })
    }

    /// The backend's check with what was said here; connecting is enough where the backend has none.
    fn build_check(
        &self,
        address: &ServerAddress,
        defaults: &ServerDefaults,
        tls: &TlsUse,
        protocol: ServerProtocol,
        send_proxy: Option<SendSpec>,
    ) -> Result<CheckSpec, Refusal> {
        let template = defaults.check.as_deref();
        let mut check = template.cloned().unwrap_or(CheckSpec {
            kind: CheckKind::Tcp,
            interval: Duration::from_secs(2),
            fastinter: Duration::from_secs(2),
            downinter: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 3,
            fall: 3,
            address: None,
            port: None,
            send_proxy: None,
            tls: None,
        });
        if let Some(inter) = self.inter {
            (check.interval, check.fastinter, check.downinter) = (inter, inter, inter);
        }
        check.fastinter = self.fastinter.unwrap_or(check.fastinter);
        check.downinter = self.downinter.unwrap_or(check.downinter);
        check.timeout = check.timeout.min(check.interval).min(check.fastinter).min(check.downinter);
        check.rise = self.rise.unwrap_or(check.rise);
        check.fall = self.fall.unwrap_or(check.fall);
        check.port = self.check_port.or(check.port);
        check.address = self.check_address.or(check.address);
        let elsewhere = self.check_port.is_some() || self.check_address.is_some();
        check.send_proxy = self.send_proxy.check(send_proxy, elsewhere, check.send_proxy);
        if matches!(address, ServerAddress::Unix(_)) && check.address.is_some() != check.port.is_some() {
            let text = "A unix socket is checked at 'addr' and 'port' or, without both, at the socket itself.";
            return Err(Refusal(text.to_owned()));
        }
        let elsewhere = self.check_port.is_some() || self.check_address.is_some();
        check.tls = self.check_tls(check.tls.take(), elsewhere, address, defaults, tls)?;
        check.speak(protocol == ServerProtocol::H2);
        Ok(check)
    }

    /// TLS of its check: its own, unless the backend's check says otherwise or goes elsewhere.
    fn check_tls(
        &self,
        template: Option<Arc<ServerTls>>,
        elsewhere: bool,
        address: &ServerAddress,
        defaults: &ServerDefaults,
        own: &TlsUse,
    ) -> Result<Option<Arc<ServerTls>>, Refusal> {
        let inherited = match (&template, &defaults.tls) {
            (Some(check), TlsUse::On(servers)) => Arc::ptr_eq(check, servers),
            (None, servers) => !servers.is_on(),
            _ => false,
        };
        let chosen = match self.tls.check {
            Some(false) => None,
            Some(true) => own.settings().cloned().or(template),
            None if inherited => own.settings().filter(|_| own.is_on() && !elsewhere).cloned(),
            None => template,
        };
        let Some(mut chosen) = chosen else { return Ok(None) };
        if let Some(name) = &self.tls.check_sni {
            let tls = Arc::make_mut(&mut chosen);
            (tls.name, tls.sni) = (Some(name.clone()), Sni::Name);
        }
        if let (None, ServerAddress::Name { host, .. }) = (&chosen.name, address) {
            Arc::make_mut(&mut chosen).name = Some(host.clone());
        }
        if chosen.name.is_none() && chosen.verify != Verify::Nothing {
            let text = "The backend checks certificates, and which name this server's must carry is not known: \
                        give the backend's check a 'host', or the server a name for its address.";
            return Err(Refusal(text.to_owned()));
        }
        Ok(Some(chosen))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if let Some(bad) = name.chars().find(|c| !good(*c)) {
        let bad = shown(&bad.to_string());
        return Err(format!("character '{bad}' is not permitted in server name '{}'.", shown(name)));
    }
    if name.len() > NAME_MAX || matches!(name, "FRONTEND" | "BACKEND") {
        return Err(format!("'{}' cannot be the name of a server.", shown(name)));
    }
    Ok(())
}

fn parse_address(name: &str, text: &str) -> Result<ServerAddress, String> {
    let invalid = || format!("'server {}' : invalid address: '{}'.", shown(name), shown(text));
    if let Some(path) =
        text.strip_prefix("unix@").or_else(|| text.strip_prefix("unix:")).or(text.strip_prefix('/').map(|_| text))
    {
        return if path.starts_with('/') { Ok(ServerAddress::Unix(path.into())) } else { Err(invalid()) };
    }
    let text_of_ip = text.strip_prefix("ipv4@").or_else(|| text.strip_prefix("ipv6@")).unwrap_or(text);
    if let Ok(address) = text_of_ip.parse::<SocketAddr>() {
        let good = address.port() > 0 && !address.ip().is_unspecified();
        return good.then_some(ServerAddress::Ip(address)).ok_or_else(invalid);
    }
    let no_port = || format!("'server {}' : missing port in address '{}'.", shown(name), shown(text));
    if text_of_ip.parse::<IpAddr>().is_ok() {
        return Err(no_port());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match port.parse::<u16>() {
        Ok(port @ 1..) if is_host_name(&host) && !numeric => Ok(ServerAddress::Name { host: host.into(), port }),
        _ => Err(invalid()),
    }
}

/// RFC 1123, section 2.1, and underscores, which DNS allows and people use.
pub(super) fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn number(keyword: &str, word: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = word.parse::<u32>().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| match most {
        u32::MAX => format!("'{keyword}' expects a number of at least {least}, not '{}'.", shown(word)),
        most => format!("'{keyword}' expects a number from {least} to {most}, not '{}'.", shown(word)),
    })
}

/// A number with `us`, `ms`, `s`, `m`, `h` or `d` behind it; milliseconds without.
fn time(keyword: &str, word: &str, least: Duration) -> Result<Duration, String> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let micros = match unit {
        "us" => Some(1),
        "" | "ms" => Some(1_000),
        "s" => Some(1_000_000),
        "m" => Some(60_000_000),
        "h" => Some(3_600_000_000),
        "d" => Some(86_400_000_000),
        _ => None,
    };
    let time = micros.zip(number.parse::<u64>().ok()).and_then(|(unit, n)| n.checked_mul(unit));
    let time = time.map(Duration::from_micros).filter(|t| (least..=TIME_MAX).contains(t));
    let least = least.as_millis();
    time.ok_or_else(|| format!("'{keyword}' expects a time of {least}ms to 24h, not '{}'.", shown(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::tests::specs::{backend, server};

    fn parsed(line: &str) -> Result<NewServer, String> {
        NewServer::parse("dyn1", &line.split_whitespace().collect::<Vec<_>>())
    }

    fn built(line: &str) -> Result<ServerSpec, String> {
        let template = server("s").check;
        let spec = backend("web", vec![]);
        let slowstart = Some(Duration::from_secs(20));
        let server_defaults = ServerDefaults { check: template, slowstart, ..ServerDefaults::default() };
        parsed(line)?.build("dyn1", &BackendSpec { server_defaults, ..spec }).map_err(|r| r.0)
    }

    #[test]
    fn a_server_is_what_was_said_and_for_the_rest_what_the_backend_says() {
        let plain = built("127.0.0.1:80").unwrap();
        assert_eq!((plain.weight, plain.maxconn, plain.backup), (1, None, false));
        assert_eq!(plain.check, None, "without `check` it has none");
        assert_eq!(plain.slowstart, Some(Duration::from_secs(20)));
        let full = built(
            "[::1]:8080 weight 10 maxconn 30 backup check inter 500 fastinter 100ms rise 2 fall 4 port 9000 \
             cookie c1 slowstart 0 disabled observe layer4 on-error mark-down error-limit 3 on-marked-down shutdown-sessions",
        )
        .unwrap();
        assert_eq!(full.address, ServerAddress::Ip("[::1]:8080".parse().unwrap()));
        assert_eq!((full.weight, full.maxconn, full.backup, full.disabled), (10, Some(30), true, false));
        assert_eq!((full.cookie.as_deref(), full.slowstart), (Some("c1"), None));
        let check = full.check.unwrap();
        let ms = Duration::from_millis;
        assert_eq!((check.interval, check.fastinter, check.downinter), (ms(500), ms(100), ms(500)));
        assert!(check.timeout <= ms(100), "a check is over before the next");
        assert_eq!((check.rise, check.fall, check.port), (2, 4, Some(9000)));
        let expected = ObserveSpec { layer7: false, error_limit: 3, on_error: OnError::MarkDown };
        assert_eq!((full.observe, full.on_marked_down_shutdown), (Some(expected), true));
        let named = built("App.Internal.:80").unwrap().address;
        assert_eq!(named, ServerAddress::Name { host: "app.internal".into(), port: 80 });
        assert_eq!(built("unix@/run/app.sock").unwrap().address, ServerAddress::Unix("/run/app.sock".into()));
        assert_eq!(parsed("127.0.0.1:80 id 7").unwrap().sid, Some(7));
    }

    #[test]
    fn tls_is_what_was_said_and_for_the_rest_what_the_backend_says() {
        let settings = |spec: &ServerSpec| spec.tls.settings().map(|tls| (**tls).clone());
        assert_eq!(built("127.0.0.1:443").unwrap().tls, TlsUse::Unset);
        assert_eq!(built("127.0.0.1:443 verify none").unwrap().tls, TlsUse::Unset, "without `ssl`");
        let strict = ServerTls::strict("web/dyn1", Some("app.internal".into()));
        assert_eq!(settings(&built("app.internal:443 ssl").unwrap()), Some(strict.clone()));
        let full = built(
            "127.0.0.1:443 ssl verify required ca-file /ca.pem crl-file /c.crl crt /our.pem sni str(a.test) alpn http/1.1 \
             ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256",
        )
        .unwrap();
        let expected = ServerTls {
            verify: Verify::Roots("/ca.pem".into()),
            crl_file: Some("/c.crl".into()),
            name: Some("a.test".into()),
            sni: Sni::Fixed("a.test".into()),
            identity: Some(crate::core::tls::Identity { certificate: "/our.pem".into(), key: None }),
            alpn: vec!["http/1.1".into()],
            min_version: crate::core::tls::names::TlsVersion::V1_3,
            ciphers: vec![0x1301],
            ..strict.clone()
        };
        assert_eq!(settings(&full), Some(expected));
        let by_host = settings(&built("app.internal:443 ssl sni req.hdr(host)").unwrap()).unwrap();
        assert_eq!((by_host.sni, by_host.name), (Sni::RequestHost, None), "each request's host is verified");

        // Checks go by the server's own TLS, unless they go elsewhere.
        let check_tls = |line: &str| built(line).unwrap().check.unwrap().tls.clone();
        assert_eq!(check_tls("app.internal:443 ssl check").as_deref(), Some(&strict));
        assert_eq!(check_tls("app.internal:443 ssl check port 80"), None);
        assert_eq!(check_tls("app.internal:443 ssl check no-check-ssl"), None);
        assert!(check_tls("app.internal:443 ssl check port 80 check-ssl").is_some());
        let named = check_tls("app.internal:443 ssl check check-sni up.internal").unwrap();
        assert_eq!((named.name.as_deref(), &named.sni), (Some("up.internal"), &Sni::Name));

        // A backend with TLS has servers with TLS.
        let tls = TlsUse::On(Arc::new(ServerTls { verify: Verify::Nothing, ..ServerTls::strict("", None) }));
        let spec = backend("web", vec![]);
        let spec = BackendSpec { server_defaults: ServerDefaults { tls, ..ServerDefaults::default() }, ..spec };
        let in_it = |line: &str| parsed(line).unwrap().build("dyn1", &spec).unwrap();
        assert!(in_it("127.0.0.1:443").tls.is_on());
        assert_eq!(settings(&in_it("127.0.0.1:443")).unwrap().verify, Verify::Nothing);
        assert!(!in_it("127.0.0.1:443 no-ssl").tls.is_on());
        let refused = parsed("127.0.0.1:443 ssl verify required").unwrap().build("dyn1", &spec).unwrap_err();
        assert!(refused.0.contains("add 'verifyhost NAME'"), "{refused}");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, text) in [
            ("", "'server' expects <name> and <addr>[:<port>] as arguments."),
            ("127.0.0.1:80 bogus", "unknown keyword 'bogus'."),
            ("127.0.0.1:80 weight", "'weight' expects a value."),
            ("127.0.0.1:80 weight 257", "'weight' expects a number from 0 to 256, not '257'."),
            ("127.0.0.1:80 inter 5x", "'inter' expects a time of 10ms to 24h, not '5x'."),
            ("127.0.0.1:80 inter 1", "'inter' expects a time of 10ms to 24h, not '1'."),
            ("127.0.0.1:80 port 0", "'port' expects a number from 1 to 65535, not '0'."),
            ("127.0.0.1:80 on-marked-down x", "'on-marked-down' expects 'shutdown-sessions'."),
            ("127.0.0.1", "'server dyn1' : missing port in address '127.0.0.1'."),
            ("::1", "'server dyn1' : missing port in address '::1'."),
            ("host", "'server dyn1' : missing port in address 'host'."),
            ("127.0.0.1:0", "'server dyn1' : invalid address: '127.0.0.1:0'."),
            ("0.0.0.0:80", "'server dyn1' : invalid address: '0.0.0.0:80'."),
            ("10.1:80", "'server dyn1' : invalid address: '10.1:80'."),
            ("a..b:80", "'server dyn1' : invalid address: 'a..b:80'."),
            ("host:99999", "'server dyn1' : invalid address: 'host:99999'."),
            ("unix@run", "'server dyn1' : invalid address: 'unix@run'."),
        ] {
            assert_eq!(parsed(line), Err(text.to_owned()), "{line}");
        }
        let named = |name| NewServer::parse(name, &["127.0.0.1:80"]).unwrap_err();
        assert_eq!(named("a,b"), "character ',' is not permitted in server name 'a,b'.");
        assert_eq!(named("BACKEND"), "'BACKEND' cannot be the name of a server.");
    }
}
