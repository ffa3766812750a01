//! The decision table of a message: how long its body is, whether its connection may live on, what it asks for.
//!
//! Each question is answered once, here, from the same fields that are sent on. Bodies are read by `super::chunked` or
//! counted by the caller.

use super::reject::{Reject, RejectReason};
use crate::core::http::grammar::{is_same_name, is_token, list, parse_length, trim};
use crate::core::http::head::{Head, Known, Version};
use crate::core::http::host::{self, Authority};
use crate::core::http::uri::{self, UriTrouble};

/// Options in all `Connection` fields together. Each may name any field, so work grows with both numbers.
const CONNECTION_OPTIONS_MAX: u32 = 100;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// That many bytes; never 0.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Everything until the connection closes; answers only.
    UntilClose,
}

/// What a request asks of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFraming {
    /// What follows the head.
    pub body: Body,
    /// Whether the client wants to go on using the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The upgrade asked for, if it may be passed on.
    pub upgrade: Option<Upgrade>,
}

/// An upgrade that may be passed on to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// It is (also) for `websocket`.
    pub websocket: bool,
}

/// What an answer means for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// What follows the head.
    pub body: Body,
    /// Whether the server connection may be reused once the body was read to its end.
    pub keep_alive: bool,
    /// A 1xx other than 101: the real answer is still to come.
    pub interim: bool,
    /// A 101: the connection is a tunnel from here on.
    pub switching: bool,
}

/// Decides a request that was parsed. Afterwards `head` holds exactly one valid `Host` (HTTP/1.0 may have none), a
/// normalised origin-form forward target (or `*`), at most one `Content-Length` in plain digits, and `Upgrade` only
/// when [`RequestFraming::upgrade`] says so.
pub fn request_framing(head: &mut Head) -> Result<RequestFraming, Reject> {
    decide_request(head).map_err(|(reason, at)| Reject::request(reason, at))
}

/// Decides an answer that was parsed, to a request of that method. `upgrade_asked` is whether the request that was sent
/// carried `Upgrade`. Every refusal is a 502.
pub fn response_framing(head: &Head, request_method: &[u8], upgrade_asked: bool) -> Result<ResponseFraming, Reject> {
    decide_response(head, request_method, upgrade_asked).map_err(|(reason, at)| Reject::response(reason, at))
}

type Trouble = (RejectReason, usize);

fn decide_request(head: &mut Head) -> Result<RequestFraming, Trouble> {
    let facts = Facts::gather(head)?;
    let body = match (facts.length, facts.chunked) {
        (_, true) => Body::Chunked,
        (None | Some(0), false) => Body::Empty,
        (Some(n), false) => Body::Length(n),
    };
    if body != Body::Empty && head.method() == b"TRACE" {
        return Err((RejectReason::BodyOnTrace, 0));
    }
    let http11 = head.version() == Version::Http11;
    let upgrade = facts.upgrade.filter(|_| http11 && facts.connection.upgrade && body == Body::Empty);
    let framing = RequestFraming {
        body,
        keep_alive: facts.connection.keeps_alive(head.version()),
        expect_continue: facts.expects_continue && http11 && body != Body::Empty,
        upgrade,
    };
    let canonical_length = facts.length.filter(|_| facts.length_padded);
    let has_upgrade_field = facts.has_upgrade_field;
    let host = match facts.host {
        None => None,
        Some(value) => Some(host::parse(value).ok_or_else(|| (RejectReason::HostMalformed, head.offset_of(value)))?),
    };
    if host.is_none() && http11 {
        // RFC 9112 section 3.2: HTTP/1.1 needs the field even beside an absolute target.
        return Err((RejectReason::HostMissing, 0));
    }
    let target = Target::decide(head, host)?;
    target.apply(head);
    if let Some(length) = canonical_length {
        head.set(b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
    }
    if has_upgrade_field && upgrade.is_none() {
        head.remove_known(Known::Upgrade);
    }
    Ok(framing)
}

fn decide_response(head: &Head, request_method: &[u8], upgrade_asked: bool) -> Result<ResponseFraming, Trouble> {
    let facts = Facts::gather(head)?;
    let status = head.status();
    if status == 101 {
        if !upgrade_asked {
            return Err((RejectReason::SwitchUnasked, 0));
        }
        let announced = facts.has_upgrade_field && facts.connection.upgrade;
        if !announced || head.version() == Version::Http10 {
            return Err((RejectReason::SwitchMalformed, 0));
        }
    }
    let framed = facts.chunked || facts.length.is_some_and(|n| n > 0);
    let bodiless = status < 200 || status == 204;
    if bodiless && framed {
        return Err((RejectReason::BodyOnBodiless, 0));
    }
    let body = match (facts.length, facts.chunked) {
        _ if bodiless || status == 304 || request_method == b"HEAD" => Body::Empty,
        (_, true) => Body::Chunked,
        (Some(0), false) => Body::Empty,
        (Some(n), false) => Body::Length(n),
        (None, false) => Body::UntilClose,
    };
    Ok(ResponseFraming {
        body,
        keep_alive: body != Body::UntilClose && status != 101 && facts.connection.keeps_alive(head.version()),
        interim: status < 200 && status != 101,
        switching: status == 101,
    })
}

/// What the fields that steer a message say, gathered in one walk and checked one by one.
#[derive(Debug, Default)]
struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    /// The length was written with leading zeros.
    length_padded: bool,
    chunked: bool,
    connection: Connection,
    has_upgrade_field: bool,
    upgrade: Option<Upgrade>,
    expects_continue: bool,
}

impl<'a> Facts<'a> {
    fn gather(head: &'a Head) -> Result<Facts<'a>, Trouble> {
        let is_request = head.status() == 0;
        let mut facts = Facts::default();
        let mut upgrade_is_safe = true;
        for (known, _, value) in head.fields() {
            let err = |reason| Err((reason, head.offset_of(value)));
            match known {
                Known::Host if is_request => match facts.host.replace(value) {
                    None => {}
                    Some(_) => return err(RejectReason::HostRepeated),
                },
                Known::ContentLength => {
                    let Some(length) = parse_length(value) else { return err(RejectReason::LengthMalformed) };
                    if facts.length.replace(length).is_some() {
                        return err(RejectReason::LengthRepeated);
                    }
                    facts.length_padded = value.len() > 1 && value.starts_with(b"0");
                }
                Known::TransferEncoding => {
                    if facts.chunked {
                        return err(RejectReason::EncodingRepeated);
                    }
                    if let Err(reason) = check_encoding(value) {
                        return err(reason);
                    }
                    if head.version() == Version::Http10 {
                        return err(RejectReason::EncodingInHttp10);
                    }
                    facts.chunked = true;
                }
                Known::Connection => {
                    facts.connection.observe(value);
                    if facts.connection.options > CONNECTION_OPTIONS_MAX {
                        return err(RejectReason::ConnectionTooLong);
                    }
                }
                Known::Upgrade => {
                    facts.has_upgrade_field = true;
                    for protocol in list(value) {
                        upgrade_is_safe &= is_safe_upgrade(protocol);
                        let websocket = protocol.eq_ignore_ascii_case(b"websocket");
                        let before = facts.upgrade.is_some_and(|u| u.websocket);
                        facts.upgrade = Some(Upgrade { websocket: websocket || before });
                    }
                }
                Known::Expect if is_request => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return err(RejectReason::ExpectUnsupported);
                    }
                    facts.expects_continue = true;
                }
                _ => {}
            }
        }
        if facts.chunked && facts.length.is_some() {
            return Err((RejectReason::LengthAndEncoding, 0));
        }
        if !upgrade_is_safe {
            facts.upgrade = None;
        }
        Ok(facts)
    }
}

/// Accepts exactly `chunked`; tells codings we do not speak from lists that mean nothing.
fn check_encoding(value: &[u8]) -> Result<(), RejectReason> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = 0;
    let mut chunked = 0;
    let mut chunked_last = false;
    for coding in value.split(|&b| b == b',').map(trim) {
        if !is_token(coding) {
            return Err(RejectReason::EncodingMalformed);
        }
        codings += 1;
        chunked_last = coding.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(chunked_last);
    }
    let foreign_only = chunked == 0;
    let foreign_then_chunked = chunked == 1 && chunked_last && codings > 1;
    Err(if foreign_only || foreign_then_chunked {
        RejectReason::EncodingUnsupported
    } else {
        RejectReason::EncodingMalformed
    })
}

/// Whether an upgraded connection carries something other than HTTP: `h2c` and its kin would be a way past every rule.
fn is_safe_upgrade(protocol: &[u8]) -> bool {
    let name = protocol.split(|&b| b == b'/').next().unwrap_or(protocol);
    is_token(name)
        && ![&b"h2c"[..], b"h2", b"h3", b"http", b"tls", b"spdy"].iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// What `Connection` asks for.
#[derive(Debug, Default, Clone, Copy)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// How many options there are.
    options: u32,
}

impl Connection {
    fn observe(&mut self, value: &[u8]) {
        for option in list(value) {
            self.options = self.options.saturating_add(1);
            if is_same_name(option, b"close") {
                self.close = true;
            } else if is_same_name(option, b"keep-alive") {
                self.keep_alive = true;
            } else if is_same_name(option, b"upgrade") {
                self.upgrade = true;
            } else if !is_token(option) {
                // Unreadable: closing is right whatever was meant.
                self.close = true;
            }
        }
    }

    fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// What becomes of the target and of `Host`.
#[derive(Debug)]
struct Target {
    /// The forward target, where it is not the received one.
    forward: Option<Vec<u8>>,
    /// The `Host` to add, where none was received.
    host: Option<Vec<u8>>,
}

impl Target {
    fn decide(head: &Head, host: Option<Authority<'_>>) -> Result<Target, Trouble> {
        let target = head.target();
        let err = |reason| Err((reason, head.offset_of(target)));
        if head.method() == b"CONNECT" {
            return err(RejectReason::Connect);
        }
        if target.starts_with(b"/") {
            return Ok(Target { forward: normal_form(head, target)?, host: None });
        }
        if target == b"*" {
            return if head.method() == b"OPTIONS" {
                Ok(Target { forward: None, host: None })
            } else {
                err(RejectReason::TargetForm)
            };
        }
        let Some((default_port, rest)) = split_scheme(target) else { return err(RejectReason::TargetForm) };
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains(&b'@') {
            return err(RejectReason::TargetUserinfo);
        }
        let Some(named) = host::parse(authority) else { return err(RejectReason::HostMalformed) };
        if host.is_some_and(|host| !host.is_same(&named, default_port)) {
            return err(RejectReason::HostDisagrees);
        }
        let forward = if path.starts_with(b"/") {
            normal_form(head, path)?.unwrap_or_else(|| path.to_vec())
        } else if path.is_empty() && head.method() == b"OPTIONS" {
            b"*".to_vec()
        } else {
            let path = [b"/", path].concat();
            normal_form(head, &path)?.unwrap_or(path)
        };
        Ok(Target { forward: Some(forward), host: host.is_none().then(|| authority.to_vec()) })
    }

    fn apply(self, head: &mut Head) {
        if let Some(forward) = self.forward {
            let span = head.store(&forward);
            head.set_forward_target(span);
        }
        if let Some(host) = self.host {
            head.add(b"Host", &host);
        }
    }
}

fn normal_form(head: &Head, target: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
    match uri::normalise(target) {
        Ok(std::borrow::Cow::Borrowed(_)) => Ok(None),
        Ok(std::borrow::Cow::Owned(normal)) => Ok(Some(normal)),
        Err((trouble, at)) => Err((reason_of(trouble), head.offset_of(head.target()) + at)),
    }
}

/// The rule that a target breaks.
pub(in crate::core::http) fn reason_of(trouble: UriTrouble) -> RejectReason {
    match trouble {
        UriTrouble::NoPath => RejectReason::TargetForm,
        UriTrouble::Byte => RejectReason::TargetByte,
        UriTrouble::Fragment => RejectReason::TargetFragment,
        UriTrouble::Percent => RejectReason::TargetPercent,
        UriTrouble::Nul => RejectReason::TargetNul,
    }
}

/// The default port of an `http` or `https` target and what follows `://`.
fn split_scheme(target: &[u8]) -> Option<(u16, &[u8])> {
    for (scheme, port) in [(&b"http://"[..], 80), (b"https://", 443)] {
        if let Some((start, rest)) = target.split_at_checked(scheme.len())
            && start.eq_ignore_ascii_case(scheme)
        {
            return Some((port, rest));
        }
    }
    None
}
