//! `show stat`: which rows were asked for, and the three forms they are written in.

use std::fmt::Write as _;

use super::columns::{COLUMNS, SEPARATOR};
use super::rows::{BackendRow, FrontendRow, ListenerRow, Row, ServerRow, View};
use super::value::{Value, write_json_string};
use crate::core::server::OperationalState;

/// The form of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Comma-separated, with a header line.
    #[default]
    Csv,
    /// One line per field.
    Typed,
    /// An array of arrays of fields.
    Json,
}

/// What `show stat` was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Only some rows.
    pub only: Option<Only>,
    /// In which form.
    pub format: Format,
    /// `desc`: typed lines end with the column's description.
    pub describe: bool,
    /// `up`: servers that are down or in maintenance are left out.
    pub hide_down: bool,
    /// `no-maint`: servers in maintenance are left out.
    pub hide_maint: bool,
}

/// `show stat {proxy} {type} {sid}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    /// A frontend's or backend's name or `iid`; -1 is all.
    pub proxy: String,
    /// Sum of 1 frontends, 2 backends, 4 servers, 8 listeners; -1 is all.
    pub kinds: i64,
    /// A server's `sid`; -1 is all.
    pub sid: i64,
}

/// No frontend or backend has that name, and it is no number either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchProxy;

/// The reply to `show stat`, without the empty line that ends every reply.
pub fn render(query: &Query, view: &View<'_>) -> Result<String, NoSuchProxy> {
    Ok(write(&select(query, view)?, query))
}

/// As [`render`], for the frontends and backends whose names `shown` takes: the stats page's `scope`.
pub fn render_where(query: &Query, view: &View<'_>, shown: impl Fn(&str) -> bool) -> String {
    let mut rows = select(query, view).unwrap_or_default();
    rows.retain(|row| match row {
        Row::Frontend(r) => shown(&r.frontend.spec.name),
        Row::Listener(r) => shown(&r.frontend.spec.name),
        Row::Backend(r) => shown(&r.backend.spec.name),
        Row::Server(r) => shown(&r.backend.spec.name),
    });
    write(&rows, query)
}

fn write(rows: &[Row<'_>], query: &Query) -> String {
    let mut out = String::with_capacity(1500 + rows.len() * 400);
    match query.format {
        Format::Csv => write_csv(rows, &mut out),
        Format::Typed => write_typed(rows, query.describe, &mut out),
        Format::Json => write_json(rows, &mut out),
    }
    out
}

/// The rows asked for, in configuration order; a frontend's listening sockets stand behind its own row, a backend's
/// servers before it.
pub fn select<'a>(query: &Query, view: &'a View<'a>) -> Result<Vec<Row<'a>>, NoSuchProxy> {
    let (iid, kinds, sid) = match &query.only {
        None => (-1, -1, -1),
        Some(only) => (find_iid(&only.proxy, view)?, only.kinds, only.sid),
    };
    let wanted = |n: u32| iid == -1 || i64::from(n) == iid;
    let mut rows = Vec::new();
    for frontend in view.fleet.frontends().iter().filter(|f| wanted(f.spec.iid)) {
        if kinds & 1 != 0 {
            rows.push(Row::Frontend(FrontendRow { view, frontend }));
        }
        if kinds & 8 != 0 {
            let listeners = frontend.spec.listeners.iter().enumerate();
            let listeners = listeners.map(|(index, listener)| ListenerRow { view, frontend, listener, index });
            rows.extend(listeners.filter(|l| sid == -1 || i64::from(l.sid()) == sid).map(Row::Listener));
        }
    }
    for backend in view.fleet.backends().iter().filter(|b| wanted(b.spec.iid)) {
        if kinds & 4 != 0 {
            for server in &backend.servers {
                let row = ServerRow { view, backend, server };
                if (sid == -1 || i64::from(row.sid()) == sid) && !hidden(query, &row) {
                    rows.push(Row::Server(row));
                }
            }
        }
        if kinds & 2 != 0 {
            let servers_hidden = query.hide_down || query.hide_maint;
            rows.push(Row::Backend(BackendRow { view, backend, servers_hidden }));
        }
    }
    Ok(rows)
}

fn hidden(query: &Query, row: &ServerRow<'_>) -> bool {
    let state = &row.server.state;
    let maintenance = state.is_in_maintenance();
    let rising = row.checks_enabled() && state.health > 0;
    let down = maintenance || (state.operational == OperationalState::Stopped && !rising);
    (query.hide_maint && maintenance) || (query.hide_down && down)
}

/// A name, `#iid` or a number. 0, which is also what words that are no number read as, is nobody.
fn find_iid(proxy: &str, view: &View<'_>) -> Result<i64, NoSuchProxy> {
    let named = (view.fleet.frontends().iter().map(|f| (&f.spec.name, f.spec.iid)))
        .chain(view.fleet.backends().iter().map(|b| (&b.spec.name, b.spec.iid)))
        .find(|(name, _)| ***name == *proxy);
    match named {
        Some((_, iid)) => Ok(i64::from(iid)),
        None => match leading_number(proxy.strip_prefix('#').unwrap_or(proxy)) {
            0 => Err(NoSuchProxy),
            iid => Ok(iid),
        },
    }
}

/// The number a word begins with, as C's `atoi` reads it: 0 when there is none.
pub fn leading_number(word: &str) -> i64 {
    let word = word.trim_start();
    let (sign, digits) = match word.as_bytes().first() {
        Some(b'-') => (-1, &word[1..]),
        Some(b'+') => (1, &word[1..]),
        _ => (1, word),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    sign * digits.fold(0i64, |n, d| n.saturating_mul(10).saturating_add(i64::from(d - b'0')))
}

fn write_csv(rows: &[Row<'_>], out: &mut String) {
    out.push_str("# ");
    for column in COLUMNS {
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    for row in rows {
        for column in COLUMNS {
            match column.name {
                SEPARATOR => out.push_str(SEPARATOR),
                _ => column.value(row).write_csv(out),
            }
            out.push(',');
        }
        out.push('\n');
    }
}

fn write_typed(rows: &[Row<'_>], describe: bool, out: &mut String) {
    for row in rows {
        for (index, column) in COLUMNS.iter().enumerate() {
            let value = column.value(row);
            let Some(kind) = value.type_name() else { continue };
            let (letter, iid, sid, name) = (row.kind().letter(), row.iid(), row.sid(), column.name);
            let tags = column.tags(row.kind());
            write!(out, "{letter}.{iid}.{sid}.{index}.{name}.1:{tags}:{kind}:")
                .expect("writing to a String cannot fail");
            value.write_plain(out);
            if describe {
                write!(out, ":\"{}\"", column.description).expect("writing to a String cannot fail");
            }
            out.push('\n');
        }
    }
}

fn write_json(rows: &[Row<'_>], out: &mut String) {
    out.push('[');
    for (n, row) in rows.iter().enumerate() {
        out.push_str(if n == 0 { "[" } else { ",[" });
        let mut first = true;
        for (index, column) in COLUMNS.iter().enumerate() {
            let value = column.value(row);
            if value == Value::Empty {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            let (kind, iid, sid) = (row.kind().name(), row.iid(), row.sid());
            write!(out, "{{\"objType\":\"{kind}\",\"proxyId\":{iid},\"id\":{sid},")
                .expect("writing to a String cannot fail");
            write_json_field(index, column.name, column.tags(row.kind()), &value, out);
            out.push('}');
        }
        out.push(']');
    }
    out.push_str("]\n");
}

/// What `show stat json` and `show info json` have in common: field, process number, tags and value.
pub(super) fn write_json_field(index: usize, name: &str, tags: &str, value: &Value<'_>, out: &mut String) {
    write!(out, "\"field\":{{\"pos\":{index},\"name\":").expect("writing to a String cannot fail");
    write_json_string(name, out);
    let mut letters = tags.chars();
    let (origin, nature, scope) = (letters.next(), letters.next(), letters.next());
    write!(
        out,
        "}},\"processNum\":1,\"tags\":{{\"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\"value\":{{\"type\":\"{}\",\"value\":",
        origin_word(origin),
        nature_word(nature),
        scope_word(scope),
        value.type_name().unwrap_or("str"),
    )
    .expect("writing to a String cannot fail");
    value.write_json(out);
    out.push('}');
}

fn origin_word(letter: Option<char>) -> &'static str {
    match letter {
        Some('M') => "Metric",
        Some('S') => "Status",
        Some('K') => "Key",
        Some('C') => "Config",
        Some('P') => "Product",
        _ => "Unknown",
    }
}

fn nature_word(letter: Option<char>) -> &'static str {
    match letter {
        Some('G') => "Gauge",
        Some('L') => "Limit",
        Some('m') => "Min",
        Some('M') => "Max",
        Some('R') => "Rate",
        Some('C') => "Counter",
        Some('D') => "Duration",
        Some('A') => "Age",
        Some('T') => "Time",
        Some('N') => "Name",
        Some('O') => "Output",
        Some('a') => "Avg",
        _ => "Unknown",
    }
}

fn scope_word(letter: Option<char>) -> &'static str {
    match letter {
        Some('C') => "Cluster",
        Some('P') => "Process",
        Some('S') => "Service",
        Some('s') => "System",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_atoi_does() {
        for (word, expected) in [
            ("4", 4),
            ("-1", -1),
            ("+7", 7),
            ("12abc", 12),
            ("abc", 0),
            ("", 0),
            ("-", 0),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(leading_number(word), expected, "{word:?}");
        }
    }

    #[test]
    fn the_table_has_the_fixed_positions() {
        assert_eq!(COLUMNS.len(), 114);
        for (index, name) in [
            (0, "pxname"),
            (17, "status"),
            (32, "type"),
            (36, "check_status"),
            (50, "srv_abrt"),
            (56, "last_chk"),
            (73, "addr"),
            (99, "uweight"),
            (103, "srid"),
            (112, "proto"),
            (113, "-"),
        ] {
            assert_eq!(COLUMNS[index].name, name, "column {index}");
        }
        for column in COLUMNS {
            assert!(!column.description.contains('"'), "{}", column.name);
            for kind in [super::super::rows::Kind::Frontend, super::super::rows::Kind::Server] {
                let tags = column.tags(kind);
                assert!(tags.len() == 3 && origin_word(tags.chars().next()) != "Unknown", "{}", column.name);
            }
        }
    }
}
