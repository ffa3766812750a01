//! Every rule an HTTP/1 message can break, with the status a client gets for it.
//!
//! Not here: what is answered and logged for a status; that is `crate::core::termination`.

use std::fmt;

/// Status of an answer that could not be read: the server's fault, not the client's.
pub const BAD_GATEWAY: u16 = 502;

/// A message that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// What the client gets: 4xx or 5xx for a request, 502 for an answer.
    pub status: u16,
    /// The rule that was broken.
    pub reason: RejectReason,
    /// Byte offset of the trouble: in the buffer while parsing, in the message afterwards.
    pub at: usize,
}

impl Reject {
    /// A request that is refused with the status of the rule.
    pub fn request(reason: RejectReason, at: usize) -> Reject {
        Reject { status: reason.row().0, reason, at }
    }

    /// An answer that is refused, whatever the rule.
    pub fn response(reason: RejectReason, at: usize) -> Reject {
        Reject { status: BAD_GATEWAY, reason, at }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}

impl std::error::Error for Reject {}

/// One variant per rule. `Display` is the text for logs and `show errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// LF without CR before it.
    BareLf,
    /// CR without LF behind it.
    BareCr,
    /// A NUL byte.
    Nul,
    /// Another control byte.
    ControlByte,
    /// A field line that begins with a space or a tab (RFC 9112 section 5.2).
    ObsFold,
    /// A space or a tab between field name and colon (RFC 9112 section 5.1).
    SpaceBeforeColon,
    /// A field line that begins with its colon.
    EmptyName,
    /// A byte in a field name that no token may hold.
    NameByte,
    /// A field line without a colon.
    NoColon,
    /// Anything but a token where the method should be.
    Method,
    /// A method longer than any that is passed on.
    MethodTooLong,
    /// A byte in the request target that is not passed on: a control, non-ASCII or backslash.
    TargetByte,
    /// Nothing, or a second space, where the target should be.
    TargetMissing,
    /// A request line without a version, as HTTP/0.9 had it.
    VersionMissing,
    /// Anything but `HTTP/1.x` and the end of the line where the version should be.
    VersionMalformed,
    /// A version other than 1.0 and 1.1.
    VersionUnsupported,
    /// An answer that does not begin with `HTTP/1.x`, a space and a status.
    StatusLine,
    /// Anything but three digits from 100 on where the status should be.
    StatusCode,
    /// The head is over `head_max_bytes`.
    HeadTooLarge,
    /// The target is over `uri_max_bytes`.
    TargetTooLong,
    /// More fields than `fields_max`.
    TooManyFields,
    /// Two `Content-Length` fields, equal or not.
    LengthRepeated,
    /// A `Content-Length` that is not one to eighteen digits.
    LengthMalformed,
    /// `Content-Length` and `Transfer-Encoding` in one message.
    LengthAndEncoding,
    /// Two `Transfer-Encoding` fields.
    EncodingRepeated,
    /// A `Transfer-Encoding` that is no list of codings, or has `chunked` twice or not last.
    EncodingMalformed,
    /// A coding other than `chunked`.
    EncodingUnsupported,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    EncodingInHttp10,
    /// `Connection` with more names than any head has fields.
    ConnectionTooLong,
    /// `Expect` with anything but `100-continue`.
    ExpectUnsupported,
    /// A body on a method that must not have one (TRACE).
    BodyOnTrace,
    /// No `Host` in an HTTP/1.1 request.
    HostMissing,
    /// Two `Host` fields.
    HostRepeated,
    /// A host that is no name, no IPv4 and no bracketed IPv6 address, or a bad port.
    HostMalformed,
    /// `Host` and an absolute target name different hosts.
    HostDisagrees,
    /// CONNECT: this is no forward proxy.
    Connect,
    /// A target that is neither a path, nor `http(s)://…`, nor the `*` of OPTIONS.
    TargetForm,
    /// A user name in an absolute target.
    TargetUserinfo,
    /// A `#` in the target.
    TargetFragment,
    /// A percent sign without two hexadecimal digits in the path.
    TargetPercent,
    /// `%00` in the path.
    TargetNul,
    /// 101 that nobody asked for.
    SwitchUnasked,
    /// 101 without an `Upgrade` field, or from an HTTP/1.0 server.
    SwitchMalformed,
    /// A body on an answer that cannot have one (1xx, 204).
    BodyOnBodiless,
    /// No hexadecimal digit where a chunk size should be, or something else behind it than `;` and CRLF.
    ChunkSize,
    /// A chunk size over sixteen digits.
    ChunkSizeTooLarge,
    /// A chunk-size line over `chunk_line_max_bytes`.
    ChunkLineTooLong,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// Trailers over `head_max_bytes` or `fields_max`.
    TrailersTooLarge,
    /// The body is over `body_max_bytes`.
    BodyTooLarge,
    /// HTTP/2: a blank at an end of a field value (RFC 9113 section 8.2.1).
    ValueBlanks,
    /// HTTP/2: a field that belongs to an HTTP/1 connection (RFC 9113 section 8.2.2).
    ConnectionField,
    /// HTTP/2: an extended CONNECT for anything but `websocket` (RFC 8441).
    ConnectProtocol,
    /// HTTP/2: the body is not as long as `Content-Length` says.
    LengthMismatch,
    /// HTTP/1 where only HTTP/2 is served.
    NotHttp2,
}

impl RejectReason {
    /// Status in a request, and the text.
    const fn row(self) -> (u16, &'static str) {
        use RejectReason::*;
        match self {
            BareLf => (400, "bare LF"),
            BareCr => (400, "bare CR"),
            Nul => (400, "NUL byte"),
            ControlByte => (400, "control byte"),
            ObsFold => (400, "folded or indented field line"),
            SpaceBeforeColon => (400, "space before the colon of a field"),
            EmptyName => (400, "empty field name"),
            NameByte => (400, "invalid byte in a field name"),
            NoColon => (400, "field line without a colon"),
            Method => (400, "invalid method"),
            MethodTooLong => (501, "method too long"),
            TargetByte => (400, "invalid byte in the request target"),
            TargetMissing => (400, "no request target"),
            VersionMissing => (400, "request line without a version"),
            VersionMalformed => (400, "malformed version"),
            VersionUnsupported => (505, "unsupported HTTP version"),
            StatusLine => (400, "malformed status line"),
            StatusCode => (400, "malformed status code"),
            HeadTooLarge => (431, "head too large"),
            TargetTooLong => (414, "request target too long"),
            TooManyFields => (431, "too many fields"),
            LengthRepeated => (400, "more than one Content-Length"),
            LengthMalformed => (400, "malformed Content-Length"),
            LengthAndEncoding => (400, "Content-Length with Transfer-Encoding"),
            EncodingRepeated => (400, "more than one Transfer-Encoding"),
            EncodingMalformed => (400, "malformed Transfer-Encoding"),
            EncodingUnsupported => (501, "unsupported transfer coding"),
            EncodingInHttp10 => (400, "Transfer-Encoding in HTTP/1.0"),
            ConnectionTooLong => (400, "too many names in Connection"),
            ExpectUnsupported => (417, "unsupported expectation"),
            BodyOnTrace => (400, "TRACE with a body"),
            HostMissing => (400, "no Host"),
            HostRepeated => (400, "more than one Host"),
            HostMalformed => (400, "malformed host"),
            HostDisagrees => (400, "Host and request target name different hosts"),
            Connect => (405, "CONNECT"),
            TargetForm => (400, "request target of an unknown form"),
            TargetUserinfo => (400, "user name in the request target"),
            TargetFragment => (400, "fragment in the request target"),
            TargetPercent => (400, "malformed percent-encoding in the path"),
            TargetNul => (400, "encoded NUL in the path"),
            SwitchUnasked => (400, "101 without an upgrade asked for"),
            SwitchMalformed => (400, "malformed 101"),
            BodyOnBodiless => (400, "body on a 1xx or 204"),
            ChunkSize => (400, "malformed chunk size"),
            ChunkSizeTooLarge => (400, "chunk size too large"),
            ChunkLineTooLong => (400, "chunk-size line too long"),
            ChunkEnd => (400, "chunk data not followed by CRLF"),
            TrailersTooLarge => (431, "trailers too large"),
            BodyTooLarge => (413, "body too large"),
            ValueBlanks => (400, "blank at an end of a field value"),
            ConnectionField => (400, "connection-specific field in HTTP/2"),
            ConnectProtocol => (501, "extended CONNECT for an unknown protocol"),
            LengthMismatch => (400, "body and Content-Length differ"),
            NotHttp2 => (505, "HTTP/1 on a socket for HTTP/2"),
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}
