//! Log lines: the record of one request, and the formats it is written in.
//!
//! [`record`] is what is known of a request, [`httplog`], [`json`] and [`mod@format`] (strings with variables) lay it out, [`envelope`] puts syslog's header
//! before it and [`date`] writes the times in all of them. Not here: where lines go, and anything that reads a clock or
//! the machine's time zone (the room `crate::log`).

pub mod date;
pub mod envelope;
mod escape;
pub mod format;
pub mod httplog;
pub mod json;
pub mod record;

/// Syslog severities used here (RFC 5424, 6.2.1). Smaller is more important.
pub mod severity {
    /// `emerg`: a backend has no server left.
    pub const EMERGENCY: u8 = 0;
    /// `alert`: a server went down.
    pub const ALERT: u8 = 1;
    /// `err`: a request that went wrong, in frontends with `log_separate_errors`.
    pub const ERROR: u8 = 3;
    /// `warning`: a frontend was paused, log lines were lost.
    pub const WARNING: u8 = 4;
    /// `notice`: a server came up.
    pub const NOTICE: u8 = 5;
    /// `info`: one request.
    pub const INFO: u8 = 6;
}

#[cfg(test)]
mod tests;
