//! `http2` of a frontend.

use super::Lowering;
use crate::config::raw::{At, http2 as raw, text};
use crate::core::http::h2::Http2Limits;

/// Windows are 31 bits wide (RFC 9113 section 6.9.1).
const WINDOW_MAX: u64 = (1 << 31) - 1;

impl Lowering<'_> {
    pub fn http2_limits(&mut self, written: Option<&raw::Http2>) -> Http2Limits {
        let standard = Http2Limits::default();
        let Some(written) = written else { return standard };
        let number = |written: &Option<At<u32>>, default: u32| written.as_deref().copied().unwrap_or(default);
        Http2Limits {
            max_streams: number(&written.max_streams, standard.max_streams),
            stream_window_bytes: self.frame_bytes(
                &written.stream_window,
                standard.stream_window_bytes,
                1024,
                WINDOW_MAX,
            ),
            connection_window_bytes: self.frame_bytes(
                &written.connection_window,
                standard.connection_window_bytes,
                65_535,
                WINDOW_MAX,
            ),
            max_frame_bytes: self.frame_bytes(&written.max_frame, standard.max_frame_bytes, 1 << 14, (1 << 24) - 1),
            max_resets: number(&written.max_resets, standard.max_resets),
            max_control_frames: number(&written.max_control_frames, standard.max_control_frames),
            max_glitches: number(&written.max_glitches, standard.max_glitches),
        }
    }

    fn frame_bytes(&mut self, written: &Option<At<text::Size>>, default: u32, least: u64, most: u64) -> u32 {
        let bytes = written.as_ref().and_then(|w| self.size(w, least, most)).and_then(|b| u32::try_from(b).ok());
        bytes.unwrap_or(default)
    }
}
