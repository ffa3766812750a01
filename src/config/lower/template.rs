//! Values with variables: `%[client_ip]`, `%[header(X-Name)]`; `%%` is a percent sign.

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::shape::shorten;
use crate::core::filter::{Template, TemplatePiece};

/// The variables, in the order they are listed to a reader.
const VARIABLES: [(&str, TemplatePiece); 11] = [
    ("client_ip", TemplatePiece::ClientIp),
    ("client_port", TemplatePiece::ClientPort),
    ("frontend", TemplatePiece::Frontend),
    ("backend", TemplatePiece::Backend),
    ("server", TemplatePiece::Server),
    ("request_id", TemplatePiece::RequestId),
    ("scheme", TemplatePiece::Scheme),
    ("host", TemplatePiece::Host),
    ("path", TemplatePiece::Path),
    ("query", TemplatePiece::Query),
    ("method", TemplatePiece::Method),
];

impl Lowering<'_> {
    /// A field value with variables.
    pub fn template(&mut self, at: NodeId, written: &str) -> Option<Template> {
        let written = self.field_value(at, written)?;
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = &*written;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('[') {
                let Some((name, after)) = after.split_once(']') else {
                    self.error(at, "`%[` is not closed").help("variables are written `%[name]`, a percent sign `%%`");
                    return None;
                };
                let piece = self.variable(at, name)?;
                flush(&mut literal, &mut pieces);
                pieces.push(piece);
                rest = after;
            } else {
                literal.push('%');
                rest = after.strip_prefix('%').unwrap_or(after);
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut pieces);
        Some(Template { pieces })
    }

    fn variable(&mut self, at: NodeId, name: &str) -> Option<TemplatePiece> {
        let name = name.trim();
        if let Some((_, piece)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Some(piece.clone());
        }
        if let Some(field) = name.strip_prefix("header(").and_then(|rest| rest.strip_suffix(')')) {
            return self.field_name(at, field).map(TemplatePiece::Header);
        }
        let known: Vec<_> = VARIABLES.iter().map(|(name, _)| format!("`%[{name}]`")).collect();
        self.error(at, format!("there is no variable `{}`", shorten(name)))
            .did_you_mean(name, VARIABLES.iter().map(|(known, _)| *known))
            .help(format!("variables: {}, `%[header(NAME)]`", known.join(", ")));
        None
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<TemplatePiece>) {
    if !literal.is_empty() {
        pieces.push(TemplatePiece::Literal(std::mem::take(literal).into()));
    }
}
