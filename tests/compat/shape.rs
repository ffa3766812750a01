//! Masks: what may differ between two replies to the same command, and how each kind of reply is compared.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// Sections of the recorded configuration whose backends do not exist in lockgate: a table, and stats pages, which are
/// frontends alone.
const NO_BACKENDS: &[&str] = &["st_rate", "stats", "stats_auth", "stats_ro"];

/// The column of a limit that servers always have in lockgate and seldom in HAProxy: `src_ilim`.
const IDLE_LIMIT: usize = 89;

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
///
/// Statistics are put in the order of the proxies' names, because in HAProxy frontends and backends stand as they are
/// written, and in lockgate all frontends come first.
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
        Shape::Names => keep_lines(reply, |l| !NO_BACKENDS.contains(&l)),
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
    let row = |line: &str| -> Option<(String, String)> {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() == 1 {
            // What is behind the rows stays there.
            return Some(("~".to_owned(), line.to_owned()));
        }
        if NO_BACKENDS.contains(&fields[0]) && fields[1] == "BACKEND" {
            return None;
        }
        assert_eq!(fields.last(), Some(&""), "every row ends with a comma");
        let names = usize::from(line.starts_with('#')) * FIXED_COLUMNS;
        // `* ` before a check's result tells that the next one is running: a matter of the moment.
        let cell = |(n, f): (usize, &&str)| match n {
            n if n < 2 || n < names => (*f).to_owned(),
            IDLE_LIMIT => String::new(),
            _ => mask(f.trim_start_matches("* ")),
        };
        let row = fields.iter().take(FIXED_COLUMNS).enumerate().map(cell).collect::<Vec<_>>().join(",");
        Some((fields[0].to_owned(), row))
    };
    by_proxy(reply.split('\n').filter_map(row).collect()).join("\n")
}

/// Lines in the order of their proxies' names, each proxy's as they came.
fn by_proxy(mut lines: Vec<(String, String)>) -> Vec<String> {
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// `show stat typed`: `KIND.IID.SID.COLUMN.NAME.PROCESS:TAGS:TYPE:VALUE`.
fn typed(reply: &str) -> String {
    let place = |line: &str| -> Option<(String, String, usize)> {
        let parts: Vec<&str> = line.split('.').collect();
        Some((parts.first()?.to_string(), parts.get(1)?.to_string(), parts.get(3)?.parse().ok()?))
    };
    let name = |line: &str| line.rsplit(':').next().unwrap_or_default().to_owned();
    let named = reply.lines().filter(|l| l.contains(".0.pxname."));
    let names: HashMap<String, String> = named.filter_map(|l| Some((place(l)?.1, name(l)))).collect();
    let line = |line: &str| -> Option<(String, String)> {
        let Some((kind, iid, column)) = place(line) else { return Some(("~".to_owned(), line.to_owned())) };
        let proxy = names.get(&iid).cloned().unwrap_or_default();
        let elsewhere = kind == "B" && NO_BACKENDS.contains(&proxy.as_str());
        if elsewhere || column >= FIXED_COLUMNS - 1 || column == IDLE_LIMIT {
            return None;
        }
        let line = line.replacen(&format!("{kind}.{iid}."), &format!("{kind}.{proxy}."), 1);
        let line = match line.rsplit_once(':') {
            Some((place, value)) if !place.contains(".addr.") => format!("{place}:{}", mask(value)),
            _ => mask(&line),
        };
        Some((proxy, line))
    };
    by_proxy(reply.split('\n').filter_map(line).collect()).join("\n")
}

fn json(reply: &str) -> String {
    let parsed: serde_json::Value = serde_json::from_str(reply).unwrap();
    let items = parsed.as_array().unwrap().iter();
    let fields: Vec<_> = items.flat_map(|i| i.as_array().cloned().unwrap_or_else(|| vec![i.clone()])).collect();
    let named = fields.iter().filter(|f| f["field"]["name"] == "pxname");
    let names: HashMap<u64, String> =
        named.filter_map(|f| Some((f["proxyId"].as_u64()?, f["value"]["value"].as_str()?.to_owned()))).collect();
    let mut lines = Vec::new();
    for mut field in fields {
        let position = field["field"]["pos"].as_u64().unwrap() as usize;
        let mut proxy = String::new();
        if field.get("objType").is_some() {
            proxy = field["proxyId"].as_u64().and_then(|id| names.get(&id)).cloned().unwrap_or_default();
            field["proxyId"] = proxy.clone().into();
            let elsewhere = field["objType"] == "Backend" && NO_BACKENDS.contains(&proxy.as_str());
            if elsewhere || position >= FIXED_COLUMNS - 1 || position == IDLE_LIMIT {
                continue;
            }
        }
        field["value"]["value"] = serde_json::Value::Null;
        lines.push((proxy, format!("{field}\n")));
    }
    by_proxy(lines).concat() + &reply[reply.trim_end().len()..]
}
