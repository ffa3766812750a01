//! OCSP responses (RFC 6960) as far as a server that staples one must read it: is it an answer, about which certificate,
//! is that one good, and from when until when. Whether the signature is right is for the client to find out.

use std::fmt;

/// Largest response that is looked at, in bytes; usual ones have a few hundred to a few thousand.
pub const RESPONSE_MAX_BYTES: usize = 64 * 1024;

/// What a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspResponse {
    /// Serial number of the certificate it is about, without leading zeros.
    pub serial: Box<[u8]>,
    /// From when on it holds, in seconds since 1970.
    pub this_update: i64,
    /// When a newer one is there at the latest; without it a response does not get old.
    pub next_update: Option<i64>,
}

/// Why a response cannot be stapled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspTrouble {
    /// It is no OCSP response.
    Malformed,
    /// The responder had no answer (RFC 6960, section 4.2.1).
    NoAnswer,
    /// The certificate was revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// It is about another certificate.
    OtherCertificate,
    /// It does not hold yet.
    NotYet,
    /// There is a newer one by now.
    Stale,
}

impl fmt::Display for OcspTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OcspTrouble::Malformed => "it is no OCSP response in DER",
            OcspTrouble::NoAnswer => "the responder gave no answer",
            OcspTrouble::Revoked => "it says that the certificate was revoked",
            OcspTrouble::Unknown => "it says that the responder does not know the certificate",
            OcspTrouble::OtherCertificate => "it is about another certificate",
            OcspTrouble::NotYet => "it does not hold yet",
            OcspTrouble::Stale => "it is too old, fetch a new one",
        })
    }
}

impl std::error::Error for OcspTrouble {}

impl OcspResponse {
    /// Reads a response; of several certificates in it the first counts.
    pub fn parse(der: &[u8]) -> Result<OcspResponse, OcspTrouble> {
        if der.len() > RESPONSE_MAX_BYTES {
            return Err(OcspTrouble::Malformed);
        }
        let basic = basic_response(der)?;
        single_response(basic).unwrap_or(Err(OcspTrouble::Malformed))
    }

    /// Whether it may be shown to clients at this second, with the certificate of that serial number.
    pub fn check(&self, serial: &[u8], now_unix: i64) -> Result<(), OcspTrouble> {
        if *self.serial != *without_zeros(serial) {
            return Err(OcspTrouble::OtherCertificate);
        }
        if now_unix < self.this_update {
            return Err(OcspTrouble::NotYet);
        }
        match self.next_update {
            Some(until) if now_unix >= until => Err(OcspTrouble::Stale),
            _ => Ok(()),
        }
    }
}

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0a;
const OCTETS: u8 = 0x04;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const TIME: u8 = 0x18;
const CONTEXT_0: u8 = 0xa0;
/// `[0] IMPLICIT NULL`: good.
const GOOD: u8 = 0x80;
/// `[1] IMPLICIT RevokedInfo`
const REVOKED: u8 = 0xa1;
/// `id-pkix-ocsp-basic`, 1.3.6.1.5.5.7.48.1.1
const BASIC: [u8; 9] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Takes the envelope off: the bytes of `ResponseData`.
fn basic_response(der: &[u8]) -> Result<&[u8], OcspTrouble> {
    let mut outer = Der(der).take(SEQUENCE).ok_or(OcspTrouble::Malformed)?;
    match outer.take(ENUMERATED).ok_or(OcspTrouble::Malformed)?.0 {
        [0] => {}
        _ => return Err(OcspTrouble::NoAnswer),
    }
    response_data(&mut outer).ok_or(OcspTrouble::Malformed)
}

fn response_data<'a>(outer: &mut Der<'a>) -> Option<&'a [u8]> {
    let mut bytes = outer.take(CONTEXT_0)?.take(SEQUENCE)?;
    if bytes.take(OBJECT_ID)?.0 != BASIC {
        return None;
    }
    Some(bytes.take(OCTETS)?.take(SEQUENCE)?.take(SEQUENCE)?.0)
}

/// The first `SingleResponse` of a `ResponseData`.
fn single_response(data: &[u8]) -> Option<Result<OcspResponse, OcspTrouble>> {
    let mut data = Der(data);
    if data.peek()? == CONTEXT_0 {
        data.take(CONTEXT_0)?;
    }
    // Responder's name or key.
    data.next()?;
    data.take(TIME)?;
    let mut single = data.take(SEQUENCE)?.take(SEQUENCE)?;
    let mut id = single.take(SEQUENCE)?;
    id.take(SEQUENCE)?;
    id.take(OCTETS)?;
    id.take(OCTETS)?;
    let serial = without_zeros(id.take(INTEGER)?.0).into();
    match single.next()?.0 {
        GOOD => {}
        REVOKED => return Some(Err(OcspTrouble::Revoked)),
        _ => return Some(Err(OcspTrouble::Unknown)),
    }
    let this_update = seconds(single.take(TIME)?.0)?;
    let next_update = match single.peek() {
        Some(CONTEXT_0) => Some(seconds(single.take(CONTEXT_0)?.take(TIME)?.0)?),
        _ => None,
    };
    Some(Ok(OcspResponse { serial, this_update, next_update }))
}

/// DER puts a zero before a number whose first bit is set.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => without_zeros(rest),
        bytes => bytes,
    }
}

/// `20261122034500Z` (RFC 5280, section 4.1.2.5.2) in seconds since 1970.
fn seconds(time: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let date = jiff::civil::Date::new(text.get(..4)?.parse().ok()?, part(4, 6)?, part(6, 8)?).ok()?;
    let time = jiff::civil::Time::new(part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?;
    let at = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_second())
}

/// Bytes in DER (X.690), read from the front.
#[derive(Debug, Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        if self.peek()? != tag {
            return None;
        }
        self.next().map(|(_, inside)| inside)
    }

    /// The next value with its tag. Tags above 30 and lengths of more than three bytes do not occur.
    fn next(&mut self) -> Option<(u8, Der<'a>)> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if *first >= 0x80 {
            let bytes = usize::from(first & 0x7f);
            if !(1..=3).contains(&bytes) {
                return None;
            }
            let (digits, after) = rest.split_at_checked(bytes)?;
            length = digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            rest = after;
        }
        let (inside, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((*tag, Der(inside)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inside = parts.concat();
        let mut out = vec![tag];
        match inside.len() {
            length @ 0..0x80 => out.push(length as u8),
            length => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(inside);
        out
    }

    /// A response for a serial number, without a signature worth the name.
    pub(crate) fn response(serial: &[u8], status: &[u8], this_update: &str, next_update: Option<&str>) -> Vec<u8> {
        let time = |text: &str| wrap(TIME, &[text.as_bytes()]);
        let hash = wrap(SEQUENCE, &[&wrap(OBJECT_ID, &[&[0x2b, 0x0e, 0x03, 0x02, 0x1a]])]);
        let id =
            wrap(SEQUENCE, &[&hash, &wrap(OCTETS, &[&[1; 20]]), &wrap(OCTETS, &[&[2; 20]]), &wrap(INTEGER, &[serial])]);
        let next = next_update.map(|text| wrap(CONTEXT_0, &[&time(text)])).unwrap_or_default();
        let single = wrap(SEQUENCE, &[&id, status, &time(this_update), &next]);
        let responder = wrap(0xa2, &[&wrap(OCTETS, &[&[3; 20]])]);
        let data = wrap(SEQUENCE, &[&responder, &time(this_update), &wrap(SEQUENCE, &[&single])]);
        let basic = wrap(SEQUENCE, &[&data]);
        let bytes = wrap(SEQUENCE, &[&wrap(OBJECT_ID, &[&BASIC]), &wrap(OCTETS, &[&basic])]);
        wrap(SEQUENCE, &[&wrap(ENUMERATED, &[&[0]]), &wrap(CONTEXT_0, &[&bytes])])
    }

    const THEN: &str = "20261121120000Z";
    const LATER: &str = "20261128120000Z";
    const NOON: i64 = 1_795_262_400;

    #[test]
    fn what_a_response_says() {
        let read = OcspResponse::parse(&response(&[0, 0x8f, 1], &[GOOD, 0], THEN, Some(LATER))).unwrap();
        assert_eq!(read.serial[..], [0x8f, 1]);
        assert_eq!((read.this_update, read.next_update), (NOON, Some(NOON + 7 * 86_400)));
        let week = 7 * 86_400;
        for (serial, at, expected) in [
            (&[0, 0x8f, 1][..], NOON, Ok(())),
            (&[0x8f, 1], NOON + week - 1, Ok(())),
            (&[0x8f, 1], NOON + week, Err(OcspTrouble::Stale)),
            (&[0x8f, 1], NOON - 1, Err(OcspTrouble::NotYet)),
            (&[0x8f, 2], NOON, Err(OcspTrouble::OtherCertificate)),
        ] {
            assert_eq!(read.check(serial, at), expected, "{serial:?} at {at}");
        }
        let endless = OcspResponse::parse(&response(&[5], &[GOOD, 0], THEN, None)).unwrap();
        assert_eq!(endless.check(&[5], i64::MAX), Ok(()));
    }

    #[test]
    fn what_cannot_be_stapled() {
        let revoked = wrap(REVOKED, &[&wrap(TIME, &[THEN.as_bytes()])]);
        for (der, expected) in [
            (response(&[5], &revoked, THEN, None), OcspTrouble::Revoked),
            (response(&[5], &[0x82, 0], THEN, None), OcspTrouble::Unknown),
            (response(&[5], &[GOOD, 0], "20261332120000Z", None), OcspTrouble::Malformed),
            (response(&[5], &[GOOD, 0], "2026-11-21", None), OcspTrouble::Malformed),
            (wrap(SEQUENCE, &[&wrap(ENUMERATED, &[&[3]])]), OcspTrouble::NoAnswer),
            (Vec::new(), OcspTrouble::Malformed),
            (b"-----BEGIN".to_vec(), OcspTrouble::Malformed),
            (vec![0; RESPONSE_MAX_BYTES + 1], OcspTrouble::Malformed),
        ] {
            assert_eq!(OcspResponse::parse(&der), Err(expected), "{der:02x?}");
        }
        let whole = response(&[5], &[GOOD, 0], THEN, Some(LATER));
        for length in 0..whole.len() {
            assert!(OcspResponse::parse(&whole[..length]).is_err(), "cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = OcspResponse::parse(&bytes);
        }
    }
}
