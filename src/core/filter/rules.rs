//! Applying header rules to a head, in order.

use super::{HeaderRule, TemplateContext};
use crate::core::http::grammar::{is_field_value, trim};
use crate::core::http::head::{Edit, Head, Known};
use crate::core::http::host;

/// Longest value a `replace` may make; a longer one leaves the field as it was.
const REPLACED_MAX_BYTES: usize = 64 * 1024;

/// Applies the rules to a head, in order. `context.request` is the request as it was before any rule, so a rule reads
/// what the client sent, not what an earlier rule of the same list wrote. A rule whose outcome would not be a valid
/// field (a `Host` that is no host) changes nothing; how often that happened is returned (`wrew`).
pub fn apply_rules(head: &mut Head, rules: &[HeaderRule], context: &TemplateContext<'_>) -> u64 {
    let mut value = Vec::new();
    let mut refused = 0;
    for rule in rules {
        match rule {
            HeaderRule::Set { name, value: template } => {
                value.clear();
                template.render(context, &mut value);
                if is_acceptable(head, name, &value) {
                    head.set(name.as_bytes(), trim(&value));
                } else {
                    refused += 1;
                }
            }
            HeaderRule::Add { name, value: template } => {
                value.clear();
                template.render(context, &mut value);
                if is_acceptable(head, name, &value) {
                    head.add(name.as_bytes(), trim(&value));
                } else {
                    refused += 1;
                }
            }
            HeaderRule::Delete { name } => {
                head.remove(name.as_bytes());
            }
            HeaderRule::Replace { name, pattern, with } => {
                let is_request = head.status() == 0;
                head.edit_fields(|known, field, old| {
                    if !field.eq_ignore_ascii_case(name.as_bytes()) || !pattern.is_match(old) {
                        return Edit::Keep;
                    }
                    let new = pattern.replace_all(old, with.as_bytes());
                    let is_valid_host = known != Known::Host || !is_request || host::parse(&new).is_some();
                    if new.len() > REPLACED_MAX_BYTES || !is_field_value(&new) || !is_valid_host {
                        refused += 1;
                        return Edit::Keep;
                    }
                    Edit::Value(trim(&new).to_vec())
                });
            }
        }
    }
    refused
}

/// Whether some rule reads the request itself, so that a caller who changes that very request must keep a copy.
pub fn reads_request(rules: &[HeaderRule]) -> bool {
    rules.iter().any(|rule| match rule {
        HeaderRule::Set { value, .. } | HeaderRule::Add { value, .. } => value.reads_request(),
        HeaderRule::Delete { .. } | HeaderRule::Replace { .. } => false,
    })
}

fn is_acceptable(head: &Head, name: &str, value: &[u8]) -> bool {
    head.status() != 0 || Known::of(name.as_bytes()) != Known::Host || host::parse(trim(value)).is_some()
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::super::template::tests::{context, request};
    use super::*;
    use crate::core::filter::Template;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn applied(fields: &[(&str, &str)], rules: &[HeaderRule]) -> String {
        applied_with_refusals(fields, rules).0
    }

    fn applied_with_refusals(fields: &[(&str, &str)], rules: &[HeaderRule]) -> (String, u64) {
        let mut head = request("GET", "/", fields);
        let original = head.clone();
        let refused = apply_rules(&mut head, rules, &context(&original));
        let mut out = Vec::new();
        head.write_fields(&mut out);
        (String::from_utf8(out).unwrap().replace("\r\n", "|"), refused)
    }

    #[test]
    fn refused_outcomes_are_counted() {
        let host = [("Host", "a.example"), ("X", "not a host"), ("Y", "ab")];
        let rules = [
            set("host", "%[header(X)]"),
            set("Host", "b.example"),
            replace("Host", "b", "/"),
            replace("Y", "a|b", "\r\n"),
            replace("Z", "a", "b"),
            HeaderRule::Delete { name: "None".into() },
        ];
        let (fields, refused) = applied_with_refusals(&host, &rules);
        assert_eq!((fields.as_str(), refused), ("X: not a host|Y: ab|Host: b.example|", 3));
    }

    fn set(name: &str, value: &str) -> HeaderRule {
        HeaderRule::Set { name: name.into(), value: template(value) }
    }

    fn replace(name: &str, pattern: &str, with: &str) -> HeaderRule {
        HeaderRule::Replace { name: name.into(), pattern: Regex::new(pattern).unwrap(), with: with.into() }
    }

    #[test]
    fn rules_run_in_order() {
        let rules = [
            set("X-A", "1"),
            HeaderRule::Add { name: "X-A".into(), value: template("2") },
            HeaderRule::Delete { name: "x-b".into() },
            set("X-C", " %[header(X-A)] "),
        ];
        let before = [("x-a", "old"), ("X-A", "older"), ("X-B", "b"), ("X-B", "bb"), ("Y", "z")];
        assert_eq!(applied(&before, &rules), "Y: z|X-A: 1|X-A: 2|X-C: old|");
        assert!(reads_request(&rules));
        assert!(!reads_request(&rules[..3]));
    }

    #[test]
    fn replacing() {
        let rules = [replace("Location", "^http://([^/]+)/old", "https://$1/new")];
        assert_eq!(
            applied(&[("location", "http://a/old/x"), ("Location", "/y"), ("X", "http://a/old")], &rules),
            "location: https://a/new/x|Location: /y|X: http://a/old|"
        );
        assert_eq!(applied(&[("X", "aXbX")], &[replace("x", "X", "-")]), "X: a-b-|");
        assert_eq!(applied(&[("X", "ab")], &[replace("x", "a|b", "\r\n")]), "X: ab|", "no line is ever broken");
        let huge = "$0".repeat(100);
        assert_eq!(applied(&[("X", &"a".repeat(1000))], &[replace("X", "a+", &huge)]).len(), 1004, "growth is bounded");
    }

    #[test]
    fn host_stays_a_host() {
        let host = [("Host", "a.example"), ("X", "not a host")];
        assert_eq!(applied(&host, &[set("Host", "b.example:80")]), "X: not a host|Host: b.example:80|");
        assert_eq!(applied(&host, &[set("host", "%[header(X)]")]), "Host: a.example|X: not a host|");
        assert_eq!(applied(&host, &[replace("Host", "a", "/")]), "Host: a.example|X: not a host|");
        assert_eq!(applied(&host, &[replace("Host", "^a", "b")]), "Host: b.example|X: not a host|");
    }
}
