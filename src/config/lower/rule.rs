//! `request_headers` and `response_headers`.

use super::Lowering;
use crate::config::document::NodeId;
use crate::config::raw::{At, frontend as raw};
use crate::core::filter::HeaderRule;

/// What a rule works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// Fields that say how a message is read, or that belong to one connection: lockgate's own business
/// (RFC 9110, section 7.6.1).
pub(super) fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ];
    FRAMING.iter().any(|field| field.eq_ignore_ascii_case(name))
}

impl Lowering<'_> {
    pub fn header_rules(&mut self, written: Option<&Vec<At<raw::HeaderRule>>>, side: Side) -> Vec<HeaderRule> {
        let mut rules = Vec::new();
        for rule in written.into_iter().flatten() {
            let said = [rule.set.is_some(), rule.add.is_some(), rule.delete.is_some(), rule.replace.is_some()];
            match said.iter().filter(|said| **said).count() {
                0 => {
                    self.missing(rule.id(), "this rule does nothing")
                        .help("it has one of `set`, `add`, `delete`, `replace`");
                }
                1 => {}
                _ => {
                    self.error(rule.id(), "this rule does several things, in no order")
                        .help("make one list item of each: `- set: …`, `- delete: …`");
                }
            }
            self.header_rule(rule, side, &mut rules);
        }
        rules
    }

    fn header_rule(&mut self, rule: &raw::HeaderRule, side: Side, rules: &mut Vec<HeaderRule>) {
        for (name, value) in rule.set.iter().flat_map(|set| set.0.iter()) {
            let field = self.rule_field(name.id(), name, side, true);
            if let (Some(name), Some(value)) = (field, self.template(value.id(), (**value).as_ref())) {
                rules.push(HeaderRule::Set { name, value });
            }
        }
        for (name, value) in rule.add.iter().flat_map(|add| add.0.iter()) {
            let field = self.rule_field(name.id(), name, side, false);
            if let (Some(name), Some(value)) = (field, self.template(value.id(), (**value).as_ref())) {
                rules.push(HeaderRule::Add { name, value });
            }
        }
        for (at, name) in rule.delete.iter().flat_map(|delete| delete.items()) {
            if let Some(name) = self.rule_field(at, name.as_ref(), side, false) {
                rules.push(HeaderRule::Delete { name });
            }
        }
        if let Some(replace) = &rule.replace {
            rules.extend(self.replace(replace, side));
        }
    }

    fn replace(&mut self, written: &At<raw::Replace>, side: Side) -> Option<HeaderRule> {
        let (Some(header), Some(pattern), Some(with)) = (&written.header, &written.pattern, &written.with) else {
            self.missing(written.id(), "`replace` is incomplete").help("it needs `header`, `pattern` and `with`");
            return None;
        };
        let name = self.rule_field(header.id(), header.as_ref(), side, true);
        let pattern = self.regex(pattern.id(), pattern.as_ref());
        let text = self.field_value(with.id(), with.as_ref());
        let (name, pattern, text) = (name?, pattern?, text?);
        self.group_references(with.id(), &text, &pattern);
        Some(HeaderRule::Replace { name, pattern, with: text })
    }

    /// Checks that every `$1` and `$name` of a replacement is a group of its pattern.
    fn group_references(&mut self, at: NodeId, text: &str, pattern: &regex::bytes::Regex) {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('$') {
            if let Some(escaped) = after.strip_prefix('$') {
                rest = escaped;
                continue;
            }
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (group, next) = braced.unwrap_or_else(|| after.split_at(end));
            rest = next;
            if group.is_empty() {
                continue;
            }
            let known = match group.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern.capture_names().flatten().any(|name| name == group),
            };
            if !known {
                let digits: String = group.chars().take_while(char::is_ascii_digit).collect();
                let diagnostic = self.error(at, format!("the pattern has no group `{group}`"));
                if !digits.is_empty() && digits.len() < group.len() {
                    diagnostic.label(format!(
                        "did you mean `${{{digits}}}{}`?",
                        group.get(digits.len()..).unwrap_or_default()
                    ));
                }
                diagnostic.help(match pattern.captures_len().saturating_sub(1) {
                    0 => "it has none: put what is to be kept into `( )`; a dollar sign itself is written `$$`"
                        .to_owned(),
                    1 => "it has one, `$1`; a dollar sign itself is written `$$`".to_owned(),
                    last => format!("it has `$1` to `${last}`; a dollar sign itself is written `$$`"),
                });
            }
        }
    }

    /// A field a rule may touch. `Host` can be changed, but there is always exactly one.
    fn rule_field(&mut self, at: NodeId, name: &str, side: Side, keeps_count: bool) -> Option<Box<str>> {
        let field = self.field_name(at, name)?;
        if is_framing(&field) {
            self.error(at, format!("`{field}` cannot be set or removed here"))
                .help("it says how a message is read or belongs to one connection; lockgate writes it");
            return None;
        }
        if side == Side::Request && field.eq_ignore_ascii_case("host") && !keeps_count {
            self.error(at, "a request has exactly one `Host`").help("use `set` or `replace`");
            return None;
        }
        Some(field)
    }

    /// A request field that lockgate itself sets.
    pub fn request_field(&mut self, at: NodeId, name: &str) -> Option<Box<str>> {
        self.rule_field(at, name, Side::Request, false)
    }
}
