//! What the address of a request asks of a stats page: `/haproxy;csv;norefresh?scope=web`.
//!
//! The configured path is a prefix. Options stand behind it, each after a `;`, in any order; slashes and a `?` before
//! them are read over, because tools append `/;csv` to whatever address they were given.

use super::spec::PageSpec;

/// Longest part of a name that `scope` may look for, in bytes; a longer one is cut.
const SCOPE_MAX_BYTES: usize = 64;

/// What a frontend's `stats` serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The stats page in one of its forms.
    Stats,
    /// Counters for Prometheus.
    Metrics,
}

/// The form of a stats page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// For people.
    #[default]
    Html,
    /// `;csv`
    Csv,
    /// `;json`
    Json,
    /// `;json-schema`
    JsonSchema,
    /// `;typed`
    Typed,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// In which form.
    pub form: Form,
    /// `;norefresh`: without the field that makes browsers load it anew.
    pub norefresh: bool,
    /// `;up`: without servers that are down.
    pub up: bool,
    /// `;no-maint`: without servers in maintenance.
    pub no_maint: bool,
    /// `?scope=`: only frontends and backends with this in their name.
    pub scope: Option<String>,
    /// `;st=CODE`: what came of the last order.
    pub outcome: Option<String>,
}

/// Whose a request is: one of the pages of `spec`, or none. Only `GET`, `HEAD` and, for the stats page, `POST` are.
pub fn page_of(spec: &PageSpec, method: &[u8], target: &[u8]) -> Option<Page> {
    let reads = matches!(method, b"GET" | b"HEAD");
    if (reads || method == b"POST") && options(&spec.path, target).is_some() {
        return Some(Page::Stats);
    }
    let metrics = spec.metrics.as_deref()?;
    let rest = origin_form(target).strip_prefix(metrics.as_bytes())?;
    (reads && matches!(rest.first(), None | Some(b'?'))).then_some(Page::Metrics)
}

/// What `target` asks of the stats page at `path`; `None` when it is not that page's.
pub fn parse(path: &str, target: &[u8]) -> Option<Asked> {
    let options = String::from_utf8_lossy(options(path, target)?);
    let mut asked = Asked::default();
    for word in options.split([';', '?', '&']) {
        match word {
            "csv" => asked.form = Form::Csv,
            "json" => asked.form = Form::Json,
            "json-schema" => asked.form = Form::JsonSchema,
            "typed" => asked.form = Form::Typed,
            "norefresh" => asked.norefresh = true,
            "up" => asked.up = true,
            "no-maint" => asked.no_maint = true,
            _ => match word.split_once('=') {
                Some(("st", code)) => asked.outcome = Some(code.to_owned()),
                Some(("scope", part)) => asked.scope = scope(part),
                _ => {}
            },
        }
    }
    Some(asked)
}

impl Asked {
    /// The options that an answer to a form keeps, as they stand behind `;st=CODE`. What is for machines is not kept.
    pub fn kept_options(&self) -> String {
        let mut out = String::new();
        for (set, option) in [(self.norefresh, ";norefresh"), (self.up, ";up"), (self.no_maint, ";no-maint")] {
            if set {
                out.push_str(option);
            }
        }
        if let Some(scope) = &self.scope {
            out.push_str("?scope=");
            out.extend(percent_encoding::utf8_percent_encode(scope, percent_encoding::NON_ALPHANUMERIC));
        }
        out
    }

    /// Whether a frontend or backend of this name is asked for.
    pub fn covers(&self, proxy: &str) -> bool {
        self.scope.as_ref().is_none_or(|part| proxy.contains(part.as_str()))
    }
}

/// The path and query of a target that may be in absolute form.
fn origin_form(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(behind) = memchr::memmem::find(target, b"://").and_then(|at| target.get(at + 3..)) else { return target };
    memchr::memchr(b'/', behind).and_then(|at| behind.get(at..)).unwrap_or(b"/")
}

/// What stands behind the page's path; `None` when `target` is another path.
fn options<'a>(path: &str, target: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = origin_form(target).strip_prefix(path.as_bytes())?;
    while let [b'/', behind @ ..] = rest {
        rest = behind;
    }
    match rest.first() {
        None | Some(b';' | b'?') => Some(rest),
        Some(b'&') if path.contains('?') => Some(rest),
        Some(_) => None,
    }
}

fn scope(written: &str) -> Option<String> {
    let spaced = written.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
    let mut end = decoded.len().min(SCOPE_MAX_BYTES);
    while !decoded.is_char_boundary(end) {
        end -= 1;
    }
    let part = decoded.get(..end).unwrap_or_default();
    (!part.is_empty()).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::web::AccessLevel;

    fn spec(path: &str) -> PageSpec {
        PageSpec {
            path: path.into(),
            metrics: Some("/metrics".into()),
            refresh: None,
            realm: "r".into(),
            title: None,
            show_version: true,
            show_legends: false,
            show_node: false,
            users: Vec::new(),
            level: AccessLevel::Viewer,
            scope: Vec::new(),
        }
    }

    #[test]
    fn a_page_takes_its_path_with_options_and_nothing_else() {
        let check = |path: &str, method: &str, target: &str, expected| {
            assert_eq!(page_of(&spec(path), method.as_bytes(), target.as_bytes()), expected, "{method} {target}");
        };
        for target in ["/haproxy", "/haproxy/", "/haproxy;csv", "/haproxy/;csv", "/haproxy?;csv", "/haproxy?scope=x"] {
            check("/haproxy", "GET", target, Some(Page::Stats));
            check("/haproxy", "HEAD", target, Some(Page::Stats));
            check("/haproxy", "POST", target, Some(Page::Stats));
            for method in ["PUT", "DELETE", "OPTIONS", "get"] {
                check("/haproxy", method, target, None);
            }
        }
        for target in ["/", "/haproxyx", "/haproxy/x", "/Haproxy", "/hap", "*", "haproxy"] {
            check("/haproxy", "GET", target, None);
        }
        check("/haproxy", "GET", "http://host/haproxy;csv", Some(Page::Stats));
        check("/haproxy?stats", "GET", "/haproxy?stats;csv", Some(Page::Stats));
        check("/haproxy?stats", "GET", "/haproxy?stats&scope=x", Some(Page::Stats));
        check("/haproxy?stats", "GET", "/haproxy", None);
        for target in ["/", "//;csv", "/;csv", "/?;csv", "http://host", "http://host/"] {
            check("/", "GET", target, Some(Page::Stats));
        }
        check("/", "GET", "/nope", None);
        check("/", "GET", "*", None);
        check("/", "GET", "/metrics", Some(Page::Metrics));
        check("/", "GET", "/metrics?scope=server", Some(Page::Metrics));
        check("/", "POST", "/metrics", None);
        check("/", "GET", "/metricsx", None);
    }

    #[test]
    fn options_stand_in_any_order() {
        let check = |target: &str, expected: Asked| {
            assert_eq!(parse("/haproxy", target.as_bytes()), Some(expected), "{target}");
        };
        let csv = Asked { form: Form::Csv, ..Asked::default() };
        check("/haproxy", Asked::default());
        check("/haproxy;csv", csv.clone());
        check("/haproxy/;csv", csv.clone());
        check("/haproxy?;csv", csv.clone());
        check("/haproxy;csv;norefresh", Asked { norefresh: true, ..csv.clone() });
        check("/haproxy;norefresh;csv", Asked { norefresh: true, ..csv.clone() });
        check("/haproxy;up;no-maint;csv", Asked { up: true, no_maint: true, ..csv.clone() });
        check("/haproxy;csv?scope=be_web", Asked { scope: Some("be_web".into()), ..csv.clone() });
        check("/haproxy?scope=be%5Fweb;csv", Asked { scope: Some("be_web".into()), ..csv });
        check("/haproxy;json", Asked { form: Form::Json, ..Asked::default() });
        check("/haproxy;json-schema", Asked { form: Form::JsonSchema, ..Asked::default() });
        check("/haproxy;typed", Asked { form: Form::Typed, ..Asked::default() });
        check("/haproxy;st=DONE", Asked { outcome: Some("DONE".into()), ..Asked::default() });
        check("/haproxy;update;x=y?scope=", Asked::default());
    }

    #[test]
    fn an_answer_to_a_form_keeps_what_was_chosen() {
        let check = |target: &str, kept: &str| {
            let asked = parse("/haproxy", target.as_bytes()).unwrap();
            assert_eq!(asked.kept_options(), kept, "{target}");
        };
        check("/haproxy;csv", "");
        check("/haproxy;norefresh", ";norefresh");
        check("/haproxy;up?scope=be", ";up?scope=be");
        check("/haproxy?scope=%0d%0aa%20b", "?scope=%0D%0Aa%20b");
    }

    #[test]
    fn a_long_scope_is_cut_between_characters() {
        let target = format!("/haproxy?scope={}", "é".repeat(100));
        let asked = parse("/haproxy", target.as_bytes()).unwrap();
        assert_eq!(asked.scope.unwrap().len(), SCOPE_MAX_BYTES);
        parse("/haproxy", b"/haproxy?scope=\xff%ff").unwrap();
    }
}
