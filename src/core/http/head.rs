//! A message head in one arena: the bytes as received, spans into them, and edits appended behind.
//!
//! HTTP/1 and HTTP/2 heads both end up here, so routing, rules, captures and logs are written once. Parsing fills it
//! (`super::h1`); nothing here judges a message.

use std::ops::Range;

use super::grammar::is_same_name;

/// Where some bytes are in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Offsets as they are. A head is at most `head_max_bytes` long, far below 4 GiB.
    fn at(range: Range<usize>) -> Span {
        Span { start: range.start as u32, end: range.end as u32 }
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Fields a proxy itself looks at, recognised once while parsing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    /// Any other field.
    Other,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `Expect`
    Expect,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `HTTP2-Settings`
    Http2Settings,
    /// `Cookie`
    Cookie,
    /// `Set-Cookie`
    SetCookie,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Port`
    XForwardedPort,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `Forwarded`
    Forwarded,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// A field that steers a proxy, written with an underscore for a hyphen (`X_Forwarded_For`). Servers that turn
    /// both into one variable would take it for the real one, so it is never forwarded.
    Alias,
}

/// Hyphenated fields whose underscore spellings are [`Known::Alias`], lower case.
const ALIASED: [&[u8]; 24] = [
    b"content-length",
    b"content-type",
    b"transfer-encoding",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"http2-settings",
    b"set-cookie",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-port",
    b"x-forwarded-host",
    b"x-forwarded-by",
    b"x-forwarded-server",
    b"x-forwarded-prefix",
    b"x-forwarded-scheme",
    b"x-forwarded-ssl",
    b"x-real-ip",
    b"x-request-id",
    b"x-client-ip",
    b"x-original-url",
    b"x-rewrite-url",
    b"x-http-method-override",
];

impl Known {
    /// Recognises a field name, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first().map(u8::to_ascii_lowercase) else { return Known::Other };
        // Length and first letter leave one name to compare with; two in one case.
        let (text, known): (&[u8], Known) = match (name.len(), first) {
            (2, b't') => (b"te", Known::Te),
            (4, b'h') => (b"host", Known::Host),
            (4, b'd') => (b"date", Known::Date),
            (6, b'c') => (b"cookie", Known::Cookie),
            (6, b'e') => (b"expect", Known::Expect),
            (6, b's') => (b"server", Known::Server),
            (7, b'u') => (b"upgrade", Known::Upgrade),
            (7, b't') => (b"trailer", Known::Trailer),
            (9, b'f') => (b"forwarded", Known::Forwarded),
            (10, b'c') => (b"connection", Known::Connection),
            (10, b'k') => (b"keep-alive", Known::KeepAlive),
            (10, b's') => (b"set-cookie", Known::SetCookie),
            (14, b'c') => (b"content-length", Known::ContentLength),
            (14, b'h') => (b"http2-settings", Known::Http2Settings),
            (15, b'x') => (b"x-forwarded-for", Known::XForwardedFor),
            (16, b'p') => (b"proxy-connection", Known::ProxyConnection),
            (16, b'x') => (b"x-forwarded-port", Known::XForwardedPort),
            (17, b't') => (b"transfer-encoding", Known::TransferEncoding),
            (17, b'x') => (b"x-forwarded-proto", Known::XForwardedProto),
            (18, b'p') => (b"proxy-authenticate", Known::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Known::ProxyAuthorization),
            _ => (b"", Known::Other),
        };
        if is_same_name(name, text) {
            known
        } else if name.len() == 16 && is_same_name(name, b"x-forwarded-host") {
            Known::XForwardedHost
        } else if matches!(first, b'c' | b'h' | b'k' | b'p' | b's' | b't' | b'x') && is_aliased(name) {
            Known::Alias
        } else {
            Known::Other
        }
    }
}

/// Whether it is one of [`ALIASED`] with an underscore in it. Their first letters are those that [`Known::of`] asks for.
fn is_aliased(name: &[u8]) -> bool {
    name.contains(&b'_') && ALIASED.iter().any(|text| is_alias(name, text))
}

/// Whether two names are one when underscores count as hyphens and case does not count.
pub(crate) fn is_alias(name: &[u8], of: &[u8]) -> bool {
    let fold = |b: &u8| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == of.len() && name.iter().map(fold).eq(of.iter().map(fold))
}

/// One field: its name, its value, what it is, and whether it still counts.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: Span,
    value: Span,
    known: Known,
    removed: bool,
}

impl Field {
    /// What the field is.
    pub fn known(&self) -> Known {
        self.known
    }
}

/// HTTP versions of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    #[default]
    Http11,
    /// HTTP/2, which has no version on the wire.
    Http2,
}

impl Version {
    /// As on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
    }
}

/// What a parser is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// A request.
    Request,
    /// A response.
    Response,
}

/// A request's or a response's head. Cleared and reused from message to message.
#[derive(Debug, Default, Clone)]
pub struct Head {
    arena: Vec<u8>,
    method: Span,
    target: Span,
    /// What is sent on and matched: the normalised origin-form target.
    forward_target: Span,
    reason: Span,
    status: u16,
    version: Version,
    fields: Vec<Field>,
    /// Set while the arena is exactly the lines a parser has read so far of a message that is not all there.
    unfinished: Option<MessageKind>,
}

impl Head {
    /// An empty head.
    pub fn new() -> Head {
        Head::default()
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.fields.clear();
        self.method = Span::default();
        self.target = Span::default();
        self.forward_target = Span::default();
        self.reason = Span::default();
        self.status = 0;
        self.version = Version::Http11;
        self.unfinished = None;
    }

    /// Keeps only the start line, in as little memory as it needs; for requests that became long-lived tunnels.
    pub fn forget_fields(&mut self) {
        let mut kept = Head { status: self.status, version: self.version, ..Head::default() };
        kept.arena.reserve_exact(self.method.len() + self.target.len());
        kept.method = kept.store(self.method());
        kept.target = kept.store(self.target());
        kept.forward_target = kept.target;
        *self = kept;
    }

    /// Starts a head from its bytes: they become the arena, and spans given to the setters are offsets into them.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.clear();
        self.arena.extend_from_slice(bytes);
    }

    /// A span of the arena, for parsers that know offsets. Clamped to the arena.
    pub fn span(&self, range: Range<usize>) -> Span {
        let end = range.end.min(self.arena.len());
        Span { start: range.start.min(end) as u32, end: end as u32 }
    }

    /// Appends bytes to the arena.
    pub fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.unfinished = None;
        self.span(start..self.arena.len())
    }

    /// The bytes of a span.
    #[inline]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.arena[span.range()]
    }

    /// Sets the request line. `target` is as received; it is forwarded and matched as it is until
    /// [`Head::set_forward_target`] says otherwise.
    pub fn set_request_line(&mut self, method: Span, target: Span, version: Version) {
        self.method = method;
        self.target = target;
        self.forward_target = target;
        self.version = version;
    }

    /// Sets the status line.
    pub fn set_status_line(&mut self, status: u16, reason: Span, version: Version) {
        self.status = status;
        self.reason = reason;
        self.version = version;
    }

    /// Sets what is forwarded and matched instead of the received target.
    pub fn set_forward_target(&mut self, target: Span) {
        self.forward_target = target;
    }

    /// Appends a field whose name and value are already in the arena.
    pub fn push_span(&mut self, name: Span, value: Span) -> Known {
        let known = Known::of(self.bytes(name));
        self.fields.push(Field { name, value, known, removed: false });
        known
    }

    /// Where a parser may go on: behind the lines it read before, if `buf` begins with exactly those, else at 0 with an
    /// empty head.
    pub(crate) fn resume(&mut self, buf: &[u8], kind: MessageKind) -> usize {
        if self.unfinished != Some(kind) || !buf.starts_with(&self.arena) {
            self.clear();
        }
        self.arena.len()
    }

    /// Ends a parser's call: `read` becomes the arena, which the spans made since [`Head::resume`] point into.
    pub(crate) fn adopt(&mut self, read: &[u8], kind: MessageKind, unfinished: bool) {
        let new = read.get(self.arena.len()..).unwrap_or_default();
        self.arena.extend_from_slice(new);
        self.unfinished = unfinished.then_some(kind);
    }

    /// Sets the request line from offsets into bytes that [`Head::adopt`] will bring.
    pub(crate) fn set_request_line_at(&mut self, method: Range<usize>, target: Range<usize>, version: Version) {
        self.set_request_line(Span::at(method), Span::at(target), version);
    }

    /// Sets the status line from offsets into bytes that [`Head::adopt`] will bring.
    pub(crate) fn set_status_line_at(&mut self, status: u16, reason: Range<usize>, version: Version) {
        self.set_status_line(status, Span::at(reason), version);
    }

    /// Appends a field from offsets into `buf`, whose bytes [`Head::adopt`] will bring.
    #[inline]
    pub(crate) fn push_parsed(&mut self, buf: &[u8], name: Range<usize>, value: Range<usize>) {
        let known = Known::of(&buf[name.clone()]);
        self.fields.push(Field { name: Span::at(name), value: Span::at(value), known, removed: false });
    }

    /// Where a part of this head is in its arena, for the offsets of refusals.
    pub(crate) fn offset_of(&self, part: &[u8]) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.arena.as_ptr() as usize).min(self.arena.len())
    }

    /// The request method.
    pub fn method(&self) -> &[u8] {
        self.bytes(self.method)
    }

    /// The request target as received.
    pub fn target(&self) -> &[u8] {
        self.bytes(self.target)
    }

    /// The normalised target: what is matched and sent on.
    pub fn forward_target(&self) -> &[u8] {
        self.bytes(self.forward_target)
    }

    /// Path of the normalised target, without query.
    pub fn path(&self) -> &[u8] {
        let t = self.forward_target();
        &t[..memchr::memchr(b'?', t).unwrap_or(t.len())]
    }

    /// Query of the normalised target, without the question mark; `None` when there is none.
    pub fn query(&self) -> Option<&[u8]> {
        let t = self.forward_target();
        memchr::memchr(b'?', t).map(|i| &t[i + 1..])
    }

    /// The status code; 0 in a request.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase as received.
    pub fn reason(&self) -> &[u8] {
        self.bytes(self.reason)
    }

    /// The message's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields that still count, in order, as (what it is, name, value).
    pub fn fields(&self) -> impl Iterator<Item = (Known, &[u8], &[u8])> {
        self.fields.iter().filter(|f| !f.removed).map(|f| (f.known, self.bytes(f.name), self.bytes(f.value)))
    }

    /// How many fields were received or added, removed ones included.
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// The first value of a known field.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.fields.iter().find(|f| f.known == known && !f.removed).map(|f| self.bytes(f.value))
    }

    /// All values of a known field.
    pub fn known_all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |f| f.known == known && !f.removed).map(|f| self.bytes(f.value))
    }

    /// The first value of a field, by name in any case.
    pub fn get<'a>(&'a self, name: &[u8]) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The last value of a field, by name in any case.
    pub fn get_last<'a>(&'a self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .rev()
            .find(|f| f.name.len() == name.len() && !f.removed && is_same_name(self.bytes(f.name), name))
            .map(|f| self.bytes(f.value))
    }

    /// All values of a field, by name in any case.
    pub fn get_all<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |f| !f.removed && f.name.len() == name.len() && is_same_name(self.bytes(f.name), name))
            .map(|f| self.bytes(f.value))
    }

    /// Adds a field at the end. The caller vouches for both being valid field text.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.push_span(name, value);
    }

    /// Adds a field whose value is all of `values` with `separator` between them.
    pub fn add_joined<'v>(&mut self, name: &[u8], values: impl Iterator<Item = &'v [u8]>, separator: &[u8]) {
        let name = self.store(name);
        let start = self.arena.len();
        for (n, value) in values.enumerate() {
            if n > 0 {
                self.arena.extend_from_slice(separator);
            }
            self.arena.extend_from_slice(value);
        }
        let value = self.span(start..self.arena.len());
        self.push_span(name, value);
    }

    /// All bytes the head's parts lie in, parts that were removed or replaced included.
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// Removes all fields of that name; returns how many.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let mut removed = 0;
        for i in 0..self.fields.len() {
            let f = self.fields[i];
            if !f.removed && f.name.len() == name.len() && is_same_name(&self.arena[f.name.range()], name) {
                self.fields[i].removed = true;
                removed += 1;
            }
        }
        removed
    }

    /// Removes all fields of that kind.
    pub fn remove_known(&mut self, known: Known) {
        for f in self.fields.iter_mut().filter(|f| f.known == known) {
            f.removed = true;
        }
    }

    /// Removes all fields whose kind is to go.
    pub fn remove_where(&mut self, goes: impl Fn(Known) -> bool) {
        for f in &mut self.fields {
            f.removed |= goes(f.known);
        }
    }

    /// Removes all fields of that name and adds one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Offers each remaining field to `edit`, which may keep it, drop it or give it another value.
    pub fn edit_fields(&mut self, mut edit: impl FnMut(Known, &[u8], &[u8]) -> Edit) {
        for i in 0..self.fields.len() {
            let f = self.fields[i];
            if f.removed {
                continue;
            }
            match edit(f.known, &self.arena[f.name.range()], &self.arena[f.value.range()]) {
                Edit::Keep => {}
                Edit::Remove => self.fields[i].removed = true,
                Edit::Value(value) => self.fields[i].value = self.store(&value),
            }
        }
    }

    /// Writes the remaining fields as `name: value` lines, without the empty line at the end.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        for f in self.fields.iter().filter(|f| !f.removed) {
            out.extend_from_slice(&self.arena[f.name.range()]);
            out.extend_from_slice(b": ");
            out.extend_from_slice(&self.arena[f.value.range()]);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.arena.capacity()
    }
}

/// What [`Head::edit_fields`] does with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
    /// It gets this value.
    Value(Vec<u8>),
}
