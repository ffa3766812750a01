//! Log formats, as `core::log` reads them; here are the words for what is wrong in one.

use super::{Lowering, first};
use crate::config::diagnostic::closest;
use crate::config::raw::text::LogFormat as Written;
use crate::config::raw::{At, frontend as raw};
use crate::config::shape::shorten;
use crate::core::fleet::spec::FrontendLog;
use crate::core::log::format::variable::VARIABLES;
use crate::core::log::format::{FormatTrouble, LogFormat};

const NAMES: &str = "formats are `httplog`, `httpslog`, `tcplog`, `clf`, `json`, or a string with `%` variables; \
     a frontend's `log` may also be `off`";

impl Lowering<'_> {
    /// A format by its name, or a format string.
    pub fn log_format(&mut self, written: &At<Written>) -> Option<LogFormat> {
        let error = match LogFormat::parse(written.as_ref()) {
            Ok(format) => return Some(format),
            Err(error) => error,
        };
        let text = written.as_ref();
        let column = text.get(..error.at).map_or(0, |before| before.chars().count()) + 1;
        let says = match &error.trouble {
            FormatTrouble::UnknownName => format!("`{}` is not a log format", shorten(text)),
            FormatTrouble::UnknownVariable(name) => format!("there is no log variable `%{}`", shorten(name)),
            FormatTrouble::Expression(inside) => format!("`%[{}]` is not known here", shorten(inside)),
            _ => error.to_string(),
        };
        let diagnostic = self.error(written.id(), says);
        match &error.trouble {
            FormatTrouble::UnknownName => {
                diagnostic.did_you_mean(text, LogFormat::NAMES).help(NAMES);
            }
            FormatTrouble::UnknownVariable(name) => {
                // A name of two letters is one letter away from many: those that differ in case come first.
                let mut names = VARIABLES.iter().map(|(name, _)| *name);
                let same_letters = names.clone().find(|known| known.eq_ignore_ascii_case(name));
                if let Some(known) = same_letters.or_else(|| closest(name, &mut names)) {
                    diagnostic.help(format!("did you mean `%{known}`?"));
                }
                diagnostic
                    .label(format!("at character {column}"))
                    .help("the variables are listed in docs/CONFIG.md; a percent sign itself is written `%%`");
            }
            FormatTrouble::NoName | FormatTrouble::Unclosed(_) => {
                diagnostic
                    .label(format!("at character {column}"))
                    .help("variables are written `%name` or `%{+Q}name`, a percent sign `%%`");
            }
            FormatTrouble::UnknownFlag(_) => {
                diagnostic
                    .label(format!("at character {column}"))
                    .help("flags are `Q` (quote), `E` (escape) and `X` (hexadecimal), as in `%{+Q,+E}r`");
            }
            FormatTrouble::Expression(_) => {
                diagnostic
                    .label(format!("at character {column}"))
                    .help("use a variable; header fields are captured (`capture`) and shown by `%hr` and `%hs`");
            }
            FormatTrouble::ControlByte => {
                diagnostic.label(format!("at character {column}")).help("a line is one line; separate with blanks");
            }
        }
        None
    }

    /// How a frontend is logged.
    pub fn frontend_log(&mut self, written: Option<&raw::Frontend>) -> FrontendLog {
        let defaults = self.defaults;
        let log = first!(log in written, defaults);
        let off = log.is_some_and(|log| log.as_ref() == "off");
        let asap = first!(logasap in written, defaults).is_some_and(|on| **on);
        FrontendLog {
            off,
            format: log.filter(|_| !off).and_then(|log| self.log_format(log)),
            asap,
            separate_errors: first!(log_separate_errors in written, defaults).is_some_and(|on| **on),
        }
    }
}
