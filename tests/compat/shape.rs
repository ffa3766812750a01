//! Masks: what may differ between two replies to the same command, and how each kind of reply is compared.

use std::sync::LazyLock;

use regex::Regex;

/// Sections of the recorded configuration that have no counterpart in the lab's fleet.
const ELSEWHERE: &[&str] = &["st_rate", "stats", "stats_auth", "stats_ro"];

/// HAProxy's columns from this one on are modules' counters; lockgate ends its rows here.
const FIXED_COLUMNS: usize = 114;

/// How a reply is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// All of it.
    Whole,
    /// The first line, and that it ends with one empty line.
    FirstLine,
    /// All but lines that begin with two blanks (lists of commands).
    WithoutLists,
    /// `show info`: the names of the fields in their order, and in typed form their tags and types.
    Info,
    /// `show stat`: the fixed columns of rows that exist here.
    Csv,
    /// `show stat typed`
    Typed,
    /// `show stat json`
    Json,
    /// `show sess`: without HAProxy's own connection and inner flags.
    Sessions,
    /// `show sess ID` and `show sess all`: without connections to the socket itself and HAProxy's innermost lines.
    Stream,
    /// `show errors`: without the reason, which only lockgate tells.
    Errors,
    /// `show acl`: without lists of conditions that are not lists here.
    Files,
    /// A list of names, one a line.
    Names,
}

/// What is left of a reply to compare.
pub fn masked(shape: Shape, reply: &str) -> String {
    match shape {
        Shape::Whole => mask(reply),
        Shape::FirstLine => {
            let first = reply.lines().next().unwrap_or_default();
            mask(first)
        }
        Shape::WithoutLists => mask(&keep_lines(reply, |l| !l.starts_with("  "))),
        Shape::Info => info(reply),
        Shape::Csv => csv(reply),
        Shape::Typed => typed(reply),
        Shape::Json => json(reply),
        Shape::Sessions => {
            let lines = keep_lines(reply, |l| !l.contains("proto=unix_stream"));
            let lines = replace(&lines, r"\b[0-9a-f]+h\b", "H");
            mask(&replace(&lines, r"\b(rex|wex|exp|c_exp|age)=[^,\] \n]*", "$1=T"))
        }
        Shape::Stream => {
            let of_client = std::cell::Cell::new(false);
            let lines = keep_lines(reply, |l| {
                if !l.starts_with(' ') && !l.is_empty() {
                    of_client.set(l.contains("proto=tcpv4"));
                }
                let inner = ["      h1s=", "      .meth", "      .subs", "      h1c=", "      htx=", "  request="];
                l.is_empty() || of_client.get() && !inner.iter().any(|i| l.starts_with(i))
            });
            let lines = replace(&lines, r"(?m)^(  backend=.*\)) addr=.*$", "$1");
            let lines = replace(&lines, r"listener=\S+", "listener=L");
            let lines = replace(&lines, r"\b(rex|exp|age)=(<NEVER>|\w+)", "$1=T");
            mask(&replace(&lines, r"0x[0-9a-f]+", "PTR"))
        }
        Shape::Errors => mask(&keep_lines(reply, |l| !l.starts_with("  reason: "))),
        Shape::Files => mask(&keep_lines(reply, |l| !l.contains(" () acl '"))),
        Shape::Names => keep_lines(reply, |l| !ELSEWHERE.contains(&l)),
    }
}

fn replace(text: &str, pattern: &str, with: &str) -> String {
    Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
}

/// The masks of every reply, in the order they are put on.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"0x[0-9a-f]{6,}", "PTR"),
        (r"\[\d\d/\w{3}/\d{4}:[\d:.]+\]", "[DATE]"),
        (r"\d+\.\d+[-.][\w.+~-]*", "VER"),
        (r"unix@\S*/", "unix@DIR/"),
        (r"-?\d+", "N"),
    ]
    .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
    .into()
});

fn mask(text: &str) -> String {
    MASKS.iter().fold(text.to_owned(), |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned())
}

fn keep_lines(text: &str, keep: impl Fn(&str) -> bool) -> String {
    text.split_inclusive('\n').filter(|l| keep(l.trim_end_matches('\n'))).collect()
}

fn info(reply: &str) -> String {
    if reply.starts_with('[') {
        return json(reply);
    }
    let line = |l: &str| match l.split_once(": ") {
        Some((name, _)) => name.to_owned(),
        None => l.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"),
    };
    reply.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn csv(reply: &str) -> String {
    let row = |line: &str| -> Option<String> {
        let fields: Vec<&str> = line.split(',').collect();
        if ELSEWHERE.contains(&fields[0]) {
            return None;
        }
        if fields.len() == 1 {
            return Some(line.to_owned());
        }
        assert_eq!(fields.last(), Some(&""), "every row ends with a comma");
        let names = usize::from(line.starts_with('#')) * FIXED_COLUMNS;
        // `* ` before a check's result tells that the next one is running: a matter of the moment.
        let cell = |(n, f): (usize, &&str)| match n {
            n if n < 2 || n < names => (*f).to_owned(),
            _ => mask(f.trim_start_matches("* ")),
        };
        Some(fields.iter().take(FIXED_COLUMNS).enumerate().map(cell).collect::<Vec<_>>().join(","))
    };
    reply.split('\n').filter_map(row).collect::<Vec<_>>().join("\n")
}

fn typed(reply: &str) -> String {
    keep_lines(reply, |l| {
        let parts: Vec<&str> = l.split('.').collect();
        let number = |n: usize| parts.get(n).and_then(|p| p.parse().ok()).unwrap_or(0usize);
        l.is_empty() || (number(1) < 6 && number(3) < FIXED_COLUMNS - 1)
    })
    .split('\n')
    .map(|l| match l.rsplit_once(':') {
        Some((place, value)) if !place.contains(".addr.") => format!("{place}:{}", mask(value)),
        _ => mask(l),
    })
    .collect::<Vec<_>>()
    .join("\n")
}

fn json(reply: &str) -> String {
    let parsed: serde_json::Value = serde_json::from_str(reply).unwrap();
    let mut out = String::new();
    let items = parsed.as_array().unwrap().iter();
    let fields = items.flat_map(|item| item.as_array().cloned().unwrap_or_else(|| vec![item.clone()]));
    for mut field in fields {
        let position = field["field"]["pos"].as_u64().unwrap() as usize;
        if field.get("objType").is_some() && position >= FIXED_COLUMNS - 1 {
            continue;
        }
        field["value"]["value"] = serde_json::Value::Null;
        out += &format!("{field}\n");
    }
    out + &reply[reply.trim_end().len()..]
}
