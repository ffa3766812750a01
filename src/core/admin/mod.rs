//! The admin socket's language: commands in, replies out.
//!
//! Reading order: [`input`] cuts bytes into lines, [`words`] cuts a line into commands and words, [`mod@parse`] makes an
//! [`Order`] of them, and [`help`] lists what there is. The replies stand by noun: [`servers`],
//! [`sessions`], [`captured`], [`table`], [`patterns`], [`certificates`], [`diagnosis`] with [`threads`] and
//! [`descriptors`], and `show stat` and `show info` in [`crate::core::stats`]. [`texts`] holds the
//! sentences that tools compare letter by letter with HAProxy 2.8's.
//!
//! Not here: sockets, and carrying an order out; that is `crate::admin`.

pub mod captured;
pub mod certificates;
pub mod checks;
pub mod command;
pub mod descriptors;
pub mod diagnosis;
pub mod help;
pub mod input;
mod limits;
pub mod modes;
pub mod new_server;
mod new_server_tls;
pub mod parse;
pub mod patterns;
pub mod servers;
pub mod sessions;
pub mod table;
pub mod texts;
pub mod threads;
pub mod words;

pub use captured::CapturedError;
pub use certificates::CertificateView;
pub use command::{Command, Order};
pub use input::{Input, Line, Next};
pub use parse::{parse, parse_with};
pub use sessions::StreamRow;
pub use table::{TableRow, TableView};
pub use words::commands;

/// What a connection may do, in rising order. HAProxy: `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// May look at what is harmless.
    User,
    /// May look at everything and clear maxima.
    Operator,
    /// May change things.
    Admin,
}

impl Level {
    /// As `show cli level` and `show cli sockets` write it.
    pub fn word(self) -> &'static str {
        match self {
            Level::User => "user",
            Level::Operator => "operator",
            Level::Admin => "admin",
        }
    }
}
