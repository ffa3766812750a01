//! The ClientHello (RFC 8446, 4.1.2), read off the bytes a client sends first, before anybody answers them.
//!
//! [`HelloReader`] takes it out of the TLS records it comes in, as bytes arrive; [`ClientHello`] is the whole message,
//! checked once, so that nothing asked of it later can fail. Not here: the ClientHello of QUIC, whose bytes are
//! encrypted and come in other packets, and what is decided by what a client says.

#[cfg(test)]
mod tests;

use std::ops::Range;

/// Bytes of a ClientHello that are read; a longer one is refused. HAProxy: `tune.bufsize`, 16 KiB by default.
pub const HELLO_MAX_BYTES: usize = 16 * 1024;
/// Bytes it may take on the wire: records of one byte each would need five more for every byte.
pub const WIRE_MAX_BYTES: usize = 32 * 1024;
/// Extensions of a ClientHello; browsers send about twenty.
pub const EXTENSIONS_MAX: usize = 256;

/// Bytes of a record's header (RFC 8446, 5.1).
const RECORD_HEADER_BYTES: usize = 5;
/// Bytes of a plain record (RFC 8446, 5.1).
const RECORD_MAX_BYTES: usize = 1 << 14;
/// Bytes of a handshake message's header (RFC 8446, 4).
const MESSAGE_HEADER_BYTES: usize = 4;
/// Record type `handshake`.
const HANDSHAKE: u8 = 22;
/// Handshake type `client_hello`.
const CLIENT_HELLO: u8 = 1;

/// Numbers of the extensions that are looked into (IANA, TLS ExtensionType Values).
pub mod extension {
    /// `server_name` (RFC 6066, 3).
    pub const SERVER_NAME: u16 = 0;
    /// `supported_groups` (RFC 8446, 4.2.7).
    pub const SUPPORTED_GROUPS: u16 = 10;
    /// `signature_algorithms` (RFC 8446, 4.2.3).
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// `application_layer_protocol_negotiation` (RFC 7301).
    pub const ALPN: u16 = 16;
    /// `supported_versions` (RFC 8446, 4.2.1).
    pub const SUPPORTED_VERSIONS: u16 = 43;
}

/// Why there is no ClientHello in what a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first bytes are those of another protocol.
    #[error("the client does not speak TLS")]
    NotTls,
    /// It begins as TLS and goes on as something else; the text says where.
    #[error("broken ClientHello: {0}")]
    Malformed(&'static str),
    /// It is longer than [`HELLO_MAX_BYTES`] or [`WIRE_MAX_BYTES`].
    #[error("the ClientHello is too long")]
    TooLong,
}

/// Takes a ClientHello out of the records it comes in.
///
/// It is given all bytes of the connection each time, which stay where they are, and goes on where it stopped: the work
/// is in proportion to the bytes, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Bytes of the connection that were looked at.
    seen: usize,
    /// Bytes of the present record that are still to come.
    record_left: usize,
    /// The handshake message so far, its header included.
    message: Vec<u8>,
}

impl HelloReader {
    /// Reads on in `wire`, which holds everything the client has sent so far. `None`: more is needed.
    ///
    /// # Errors
    /// It is none, or none that is read here; the reader is of no further use then.
    pub fn read(&mut self, wire: &[u8]) -> Result<Option<ClientHello>, HelloError> {
        loop {
            let rest = wire.get(self.seen..).unwrap_or_default();
            if self.record_left == 0 {
                let Some(length) = record_length(rest, self.seen == 0)? else { return Ok(None) };
                self.seen += RECORD_HEADER_BYTES;
                self.record_left = length;
                continue;
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let taken = rest.get(..self.record_left).unwrap_or(rest);
            self.message.extend_from_slice(taken);
            self.seen += taken.len();
            self.record_left -= taken.len();
            if let Some(end) = message_end(&self.message)? {
                let mut message = std::mem::take(&mut self.message);
                message.truncate(end);
                return ClientHello::check(message).map(Some);
            }
            if self.seen >= WIRE_MAX_BYTES {
                return Err(HelloError::TooLong);
            }
        }
    }
}

/// The length of the record that begins `bytes`; `None` while its header is not all there. What can be refused by the
/// bytes that are there is refused at once.
fn record_length(bytes: &[u8], is_first: bool) -> Result<Option<usize>, HelloError> {
    let foreign = if is_first { HelloError::NotTls } else { HelloError::Malformed("a record that is no handshake") };
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Err(foreign);
    }
    let [_, _, minor, high, low, ..] = bytes else { return Ok(None) };
    if *minor > 4 {
        return Err(foreign);
    }
    match usize::from(u16::from_be_bytes([*high, *low])) {
        0 => Err(HelloError::Malformed("an empty record")),
        length if length > RECORD_MAX_BYTES => Err(HelloError::Malformed("a record that is too long")),
        length => Ok(Some(length)),
    }
}

/// Where the message ends, its header included; `None` while it is not all there.
fn message_end(message: &[u8]) -> Result<Option<usize>, HelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::Malformed("another message comes first"));
    }
    let [_, a, b, c, ..] = message else { return Ok(None) };
    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
    if length > HELLO_MAX_BYTES {
        return Err(HelloError::TooLong);
    }
    let end = length + MESSAGE_HEADER_BYTES;
    Ok((message.len() >= end).then_some(end))
}

/// A ClientHello, whole and well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    message: Vec<u8>,
    legacy_version: u16,
    session_id: Range<usize>,
    ciphers: Range<usize>,
    extensions: Range<usize>,
}

impl ClientHello {
    /// Reads a message, its header of four bytes included, and checks all of it.
    fn check(message: Vec<u8>) -> Result<ClientHello, HelloError> {
        let cut = HelloError::Malformed("it ends too early");
        let mut at = Cursor { bytes: &message, at: MESSAGE_HEADER_BYTES };
        let legacy_version = at.number().ok_or(cut)?;
        at.take(32).ok_or(cut)?;
        let session_id = at.short_list().ok_or(cut)?;
        let ciphers = at.list().ok_or(cut)?;
        let compressions = at.short_list().ok_or(cut)?;
        // RFC 8446, 4.1.2: before TLS 1.2 there may be no extensions at all.
        let extensions = if at.is_at_end() { message.len()..message.len() } else { at.list().ok_or(cut)? };
        if !at.is_at_end() {
            return Err(HelloError::Malformed("bytes behind the extensions"));
        }
        if session_id.len() > 32 {
            return Err(HelloError::Malformed("a session id that is too long"));
        }
        if ciphers.is_empty() || !ciphers.len().is_multiple_of(2) || compressions.is_empty() {
            return Err(HelloError::Malformed("no cipher suites or compressions"));
        }
        check_extensions(message.get(extensions.clone()).unwrap_or_default())?;
        Ok(ClientHello { legacy_version, session_id, ciphers, extensions, message })
    }

    /// `legacy_version`: 0x0303 since TLS 1.2; what is really offered is in [`ClientHello::supported_versions`].
    pub fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The session id, 0 to 32 bytes.
    pub fn session_id(&self) -> &[u8] {
        self.message.get(self.session_id.clone()).unwrap_or_default()
    }

    /// Cipher suites in the client's order, GREASE values included ([`is_grease`]).
    pub fn ciphers(&self) -> impl Iterator<Item = u16> {
        numbers(self.message.get(self.ciphers.clone()).unwrap_or_default())
    }

    /// Extensions in the client's order, each with its number and its bytes, GREASE values included.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &[u8])> {
        extensions(self.message.get(self.extensions.clone()).unwrap_or_default())
    }

    /// The bytes of one extension.
    pub fn extension(&self, number: u16) -> Option<&[u8]> {
        self.extensions().find(|(other, _)| *other == number).map(|(_, bytes)| bytes)
    }

    /// The host name asked for, as the client wrote it: printable ASCII, not empty.
    pub fn server_name(&self) -> Option<&str> {
        let name = host_name(self.extension(extension::SERVER_NAME)?)??;
        std::str::from_utf8(name).ok()
    }

    /// Application protocols in the client's order of preference (RFC 7301).
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let listed = self.extension(extension::ALPN).and_then(|bytes| bytes.get(2..)).unwrap_or_default();
        let mut at = Cursor { bytes: listed, at: 0 };
        std::iter::from_fn(move || at.short_list().and_then(|name| listed.get(name)))
    }

    /// Versions offered, newest first as clients write them; [`ClientHello::legacy_version`] alone when there is no
    /// such list.
    pub fn supported_versions(&self) -> impl Iterator<Item = u16> {
        let listed = self.extension(extension::SUPPORTED_VERSIONS).and_then(|bytes| bytes.get(1..));
        let legacy = listed.is_none().then_some(self.legacy_version);
        numbers(listed.unwrap_or_default()).chain(legacy)
    }

    /// Signature algorithms in the client's order.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> {
        self.listed_numbers(extension::SIGNATURE_ALGORITHMS)
    }

    /// Key exchange groups in the client's order.
    pub fn supported_groups(&self) -> impl Iterator<Item = u16> {
        self.listed_numbers(extension::SUPPORTED_GROUPS)
    }

    /// Numbers behind a length of two bytes.
    fn listed_numbers(&self, number: u16) -> impl Iterator<Item = u16> {
        numbers(self.extension(number).and_then(|bytes| bytes.get(2..)).unwrap_or_default())
    }
}

/// Whether a value means nothing and is sent to keep implementations honest (RFC 8701): `0x0a0a`, `0x1a1a`, … `0xfafa`.
pub fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Checks that extensions are well-formed, that none stands twice, and what is in those that are looked into.
fn check_extensions(bytes: &[u8]) -> Result<(), HelloError> {
    let mut at = Cursor { bytes, at: 0 };
    let mut seen: Vec<u16> = Vec::new();
    while !at.is_at_end() {
        let (Some(number), Some(range)) = (at.number(), at.list()) else {
            return Err(HelloError::Malformed("an extension ends too early"));
        };
        if seen.len() >= EXTENSIONS_MAX {
            return Err(HelloError::Malformed("too many extensions"));
        }
        if seen.contains(&number) {
            return Err(HelloError::Malformed("an extension stands twice"));
        }
        seen.push(number);
        check_extension(number, bytes.get(range).unwrap_or_default())?;
    }
    Ok(())
}

fn check_extension(number: u16, bytes: &[u8]) -> Result<(), HelloError> {
    let even = |list: &Range<usize>| !list.is_empty() && list.len().is_multiple_of(2);
    let mut at = Cursor { bytes, at: 0 };
    match number {
        extension::SERVER_NAME => match host_name(bytes) {
            Some(_) => Ok(()),
            None => Err(HelloError::Malformed("its server name")),
        },
        extension::SUPPORTED_GROUPS | extension::SIGNATURE_ALGORITHMS => match at.list() {
            Some(list) if at.is_at_end() && even(&list) => Ok(()),
            _ => Err(HelloError::Malformed("its groups or signature algorithms")),
        },
        extension::SUPPORTED_VERSIONS => match at.short_list() {
            Some(list) if at.is_at_end() && even(&list) => Ok(()),
            _ => Err(HelloError::Malformed("its versions")),
        },
        extension::ALPN => {
            let broken = HelloError::Malformed("its application protocols");
            let listed = at.list().filter(|_| at.is_at_end()).and_then(|list| bytes.get(list)).ok_or(broken)?;
            let mut at = Cursor { bytes: listed, at: 0 };
            while !at.is_at_end() {
                at.short_list().filter(|name| !name.is_empty()).ok_or(broken)?;
            }
            if listed.is_empty() { Err(broken) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// The host name in a `server_name` extension; `Some(None)` when there are only names of other kinds, `None` when it is
/// broken.
fn host_name(bytes: &[u8]) -> Option<Option<&[u8]>> {
    let mut at = Cursor { bytes, at: 0 };
    let listed = at.list().filter(|_| at.is_at_end()).and_then(|list| bytes.get(list))?;
    let mut at = Cursor { bytes: listed, at: 0 };
    let mut found = None;
    while !at.is_at_end() {
        let kind = at.take(1).and_then(|kind| listed.get(kind))?;
        let name = at.list().and_then(|name| listed.get(name))?;
        if kind == [0] {
            // RFC 6066, 3: one name of a kind.
            if found.is_some() || name.is_empty() || name.len() > 255 || !name.iter().all(u8::is_ascii_graphic) {
                return None;
            }
            found = Some(name);
        }
    }
    (!listed.is_empty()).then_some(found)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

fn extensions(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut at = Cursor { bytes, at: 0 };
    std::iter::from_fn(move || {
        let number = at.number()?;
        let range = at.list()?;
        Some((number, bytes.get(range)?))
    })
}

/// A place in some bytes; what it reads are ranges of them.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, n: usize) -> Option<Range<usize>> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    fn number(&mut self) -> Option<u16> {
        let range = self.take(2)?;
        let pair = self.bytes.get(range)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*pair))
    }

    /// Bytes behind a length of one byte.
    fn short_list(&mut self) -> Option<Range<usize>> {
        let length = self.take(1)?;
        let length = self.bytes.get(length)?.first()?;
        self.take(usize::from(*length))
    }

    /// Bytes behind a length of two bytes.
    fn list(&mut self) -> Option<Range<usize>> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}
