//! How a line is laid out: the formats by name, and format strings with HAProxy's `%` variables (configuration manual,
//! 8.2.6 "Custom log format").
//!
//! A string is read once, when the configuration is, and rendered without allocation. [`variable`] lists the variables,
//! `parse` reads strings, `render` writes lines. `httplog` and JSON have renderers of their own beside this folder,
//! because they are what nearly everybody uses; `httpslog`, `tcplog` and `clf` are format strings.
//!
//! Not here: sample expressions (`%[…]`), save those about the client's TLS and those that `httpslog` is made of.

mod parse;
mod render;
pub mod variable;

use std::sync::{Arc, OnceLock};

pub use parse::{FormatError, FormatTrouble};
pub use render::Surroundings;
use variable::{Flags, Variable, Wants};

/// `option httplog` as a format string, for those who want to start from it.
pub const HTTPLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq \
     %hr %hs %{+Q}r";
/// `option httpslog`: `httplog` and what became of the TLS handshake.
pub const HTTPSLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc \
     %sq/%bq %hr %hs %{+Q}r %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] \
     %[ssl_fc_sni]/%sslv/%sslc";
/// `option tcplog`.
pub const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
/// `option httplog clf`.
pub const CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc \
     %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";

/// How the line of a request is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// HAProxy's `option httplog`.
    Httplog,
    /// One JSON object.
    Json,
    /// A format string: `httpslog`, `tcplog`, `clf` or the operator's own.
    Line(Arc<LineFormat>),
}

/// A format string, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    pieces: Box<[Piece]>,
    wants: Wants,
    /// Some variable escapes with backslashes, so a quote behind one ends nothing.
    escapes: bool,
}

/// A piece of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// As it stands.
    Text(Box<[u8]>),
    /// Blanks between pieces; those around a variable that shows nothing become one.
    Blank,
    /// A value.
    Variable(Variable, Flags),
}

impl LogFormat {
    /// The formats that have names.
    pub const NAMES: [&str; 5] = ["httplog", "httpslog", "tcplog", "clf", "json"];

    /// A format by its name, or a format string (anything with a `%` in it).
    pub fn parse(text: &str) -> Result<LogFormat, FormatError> {
        let text = match text {
            "httplog" => return Ok(LogFormat::Httplog),
            "json" => return Ok(LogFormat::Json),
            "httpslog" => HTTPSLOG,
            "tcplog" => TCPLOG,
            "clf" => CLF,
            own if own.contains('%') => own,
            _ => return Err(FormatError { at: 0, trouble: FormatTrouble::UnknownName }),
        };
        Ok(LogFormat::Line(Arc::new(LineFormat::parse(text)?)))
    }

    /// What the format shows that has to be found out for it.
    pub fn wants(&self) -> Wants {
        match self {
            LogFormat::Httplog | LogFormat::Json => Wants::default(),
            LogFormat::Line(line) => line.wants,
        }
    }
}

/// [`TCPLOG`], read once.
pub fn tcplog() -> &'static LineFormat {
    static FORMAT: OnceLock<LineFormat> = OnceLock::new();
    FORMAT.get_or_init(|| LineFormat::parse(TCPLOG).expect("a test reads this format"))
}

/// Shortens a finished line, which begins at `start`, to `max_bytes`: whole escapes only, and a quote that would be left
/// open is closed. A line that ended with a quote still does. With `escapes`, quotes behind a backslash are text.
pub fn cut(start: usize, max_bytes: usize, escapes: bool, out: &mut Vec<u8>) {
    let longest = start.saturating_add(max_bytes.max(1));
    if out.len() <= longest {
        return;
    }
    let ended_quoted = out.last() == Some(&b'"');
    let mut end = longest - 1;
    // A `#` begins an escape of three bytes, nearly always.
    if let Some(back) = (1..=2).find(|back| end.checked_sub(*back).is_some_and(|at| at >= start && out[at] == b'#')) {
        end -= back;
    }
    let mut open = false;
    let mut at = start;
    while at < end {
        match out[at] {
            b'"' => open = !open,
            b'\\' if escapes && at + 1 == end => {
                end = at;
                break;
            }
            b'\\' if escapes => at += 1,
            _ => {}
        }
        at += 1;
    }
    out.truncate(end);
    if open || ended_quoted {
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests;
