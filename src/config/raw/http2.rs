//! `http2` of a frontend.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Opt, text};

/// Limits on HTTP/2 connections of clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Http2 {
    /// Requests at once on a connection; further ones are refused, and clients make them again later. Default: 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams: Opt<u32>,
    /// Bytes of one request's body that may be on their way or unread. Default: 128KiB.
    pub stream_window: Opt<text::Size>,
    /// The same for all bodies of a connection. Default: 1MiB.
    pub connection_window: Opt<text::Size>,
    /// Bytes of the largest frame taken. Default: 16KiB.
    pub max_frame: Opt<text::Size>,
    /// Requests a client may call off beyond as many as were served on its connection. Default: 100.
    pub max_resets: Opt<u32>,
    /// Frames a second that move nothing on (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty ones), ten times as many at
    /// once; requests and answers let more through. Default: 100.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_control_frames: Opt<u32>,
    /// Mistakes of a client before its connection is closed. Default: 100.
    pub max_glitches: Opt<u32>,
}
