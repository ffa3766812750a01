//! HTTP/2 with clients: heads there and back, and how much trouble a connection may make.
//!
//! Reading order: [`request`] and [`response`] (between field lists and the arena [`crate::core::http::Head`]),
//! [`watch`] (what kinds of frames pass), [`conduct`] (which of them are too many).
//!
//! Not here: frames, HPACK and flow control themselves, which are the `h2` crate's, and sockets (`frontend::h2`).

pub mod conduct;
#[cfg(test)]
mod invariants;
pub mod request;
pub mod response;
pub mod watch;

pub use conduct::{Conduct, Offence};
pub use watch::{FrameWatch, Seen};

/// What a client says first on a connection that is to be HTTP/2 (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client is told that begins in no language we know: empty SETTINGS, and GOAWAY with PROTOCOL_ERROR.
pub const BAD_PREFACE: &[u8; 26] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

/// Limits on HTTP/2 connections of clients, each with a default (`http2`). What holds for heads and bodies of any
/// version is in [`crate::core::fleet::spec::HttpLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at once on a connection (`max_streams`, default 100); further ones are refused with REFUSED_STREAM.
    pub max_streams: u32,
    /// Bytes of a request's body that may be on their way or unread (`stream_window`, default 128 KiB).
    pub stream_window_bytes: u32,
    /// The same for all bodies of a connection (`connection_window`, default 1 MiB).
    pub connection_window_bytes: u32,
    /// Bytes of the largest frame taken (`max_frame`, default 16 KiB).
    pub max_frame_bytes: u32,
    /// Requests a client may call off beyond as many as were served on the connection (`max_resets`, default 100).
    pub max_resets: u32,
    /// Frames a second that move nothing on: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty and unknown ones; ten times
    /// as many at once (`max_control_frames`, default 100).
    pub max_control_frames: u32,
    /// Mistakes of a client before its connection is closed (`max_glitches`, default 100).
    pub max_glitches: u32,
}

impl Default for Http2Limits {
    fn default() -> Http2Limits {
        Http2Limits {
            max_streams: 100,
            stream_window_bytes: 128 * 1024,
            connection_window_bytes: 1024 * 1024,
            max_frame_bytes: 16 * 1024,
            max_resets: 100,
            max_control_frames: 100,
            max_glitches: 100,
        }
    }
}
