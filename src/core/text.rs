//! Numbers and addresses as text, without the formatter: what every request's head or log line holds.

use std::io::Write;
use std::net::IpAddr;

/// The longest IPv6 address as text, an IPv4 address at its end.
const IP_TEXT_MAX_BYTES: usize = 45;

/// An address as `inet_ntop` writes it.
#[derive(Debug, Clone, Copy)]
pub struct IpText {
    text: [u8; IP_TEXT_MAX_BYTES],
    len: usize,
}

impl IpText {
    /// Lays it out.
    pub fn new(ip: IpAddr) -> IpText {
        let mut text = [0; IP_TEXT_MAX_BYTES];
        let len = match ip {
            IpAddr::V4(ip) => {
                let mut end = 0;
                for octet in ip.octets() {
                    end = put_octet(&mut text, end, octet);
                    text[end] = b'.';
                    end += 1;
                }
                end - 1
            }
            IpAddr::V6(ip) => {
                let mut rest = &mut text[..];
                let complete = write!(rest, "{ip}").is_ok();
                debug_assert!(complete, "the buffer holds the longest");
                IP_TEXT_MAX_BYTES - rest.len()
            }
        };
        IpText { text, len }
    }

    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Writes a number below 256 at `at`; gives its end.
fn put_octet(text: &mut [u8; IP_TEXT_MAX_BYTES], mut at: usize, octet: u8) -> usize {
    if octet >= 100 {
        text[at] = b'0' + octet / 100;
        at += 1;
    }
    if octet >= 10 {
        text[at] = b'0' + octet / 10 % 10;
        at += 1;
    }
    text[at] = b'0' + octet % 10;
    at + 1
}

/// A status code's three digits. Codes above 999 do not exist; their last three digits are written.
pub fn push_status(status: u16, out: &mut Vec<u8>) {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status)]);
}

/// A number in 16 hexadecimal digits.
pub fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    text
}

/// Appends a number in decimal. Most that are written have one digit.
#[inline]
pub fn push_number(value: impl Into<u64>, out: &mut Vec<u8>) {
    match value.into() {
        digit @ 0..=9 => out.push(b'0' + digit as u8),
        value => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_the_formatter_writes_them() {
        let addresses = [
            "0.0.0.0",
            "1.20.255.100",
            "99.100.9.10",
            "::",
            "::1",
            "::ffff:255.255.255.255",
            "2001:db8::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        for text in addresses {
            assert_eq!(IpText::new(text.parse().unwrap()).as_bytes(), text.as_bytes());
        }
        for octet in 0..=255 {
            let ip = IpAddr::from([octet; 4]);
            assert_eq!(IpText::new(ip).as_bytes(), ip.to_string().as_bytes());
        }
    }

    #[test]
    fn hexadecimal_keeps_its_zeros() {
        assert_eq!(&hex(0x00ab_cdef_0123_4567), b"00abcdef01234567");
    }

    #[test]
    fn statuses_have_three_digits() {
        for status in [100, 204, 999] {
            let mut out = Vec::new();
            push_status(status, &mut out);
            assert_eq!(out, status.to_string().as_bytes());
        }
    }
}
