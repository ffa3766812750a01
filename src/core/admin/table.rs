//! `show table`, `clear table`: rate-limit tables as HAProxy shows its stick tables.

use std::fmt::Write as _;

use super::texts;
pub use crate::core::limit::TableRow;
use crate::core::limit::{DataType, KeyPart, RateTable, Stored};

/// Conditions in one command. HAProxy: `STKTABLE_FILTER_LEN`.
const CONDITIONS_MAX: usize = 4;

/// A table as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableView {
    /// Its name.
    pub name: Box<str>,
    /// Keys are addresses; else texts.
    pub addresses: bool,
    /// Keys it holds at most.
    pub size: usize,
    /// Keys it holds now.
    pub used: usize,
    /// What it stores of each key, in the order of [`TableRow::values`].
    pub stored: Vec<Stored>,
}

impl From<&RateTable> for TableView {
    fn from(table: &RateTable) -> TableView {
        let spec = table.spec();
        TableView {
            name: spec.name.clone(),
            addresses: matches!(spec.key[..], [KeyPart::ClientIp { .. }]),
            size: spec.table_size,
            used: table.len(),
            stored: spec.shown(),
        }
    }
}

/// What `set table` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableValues {
    /// The key, as written.
    pub key: String,
    /// Type and number of each, or what is wrong with them: HAProxy looks at the key first.
    pub values: Result<Vec<(DataType, u64)>, String>,
}

impl TableValues {
    /// What stands behind a table's name.
    pub fn parse(words: &[&str]) -> Result<TableValues, String> {
        match words {
            ["key"] => Err(texts::KEY_EXPECTED.to_owned()),
            ["key", key, rest @ ..] => {
                Ok(TableValues { key: (*key).to_owned(), values: rest.chunks(2).map(value).collect() })
            }
            [data, ..] if data.starts_with("data.") => Err(texts::SET_TABLE_BY_KEY.to_owned()),
            _ => Err(texts::SET_TABLE_USAGE.to_owned()),
        }
    }
}

fn value(words: &[&str]) -> Result<(DataType, u64), String> {
    let refuse = |text: &str| Err(text.to_owned());
    let Some(what) = words.first().and_then(|word| word.strip_prefix("data.")) else {
        return refuse(texts::DATA_EXPECTED);
    };
    let Some(what) = DataType::parse(what) else {
        return refuse(if DataType::is_known(what) { texts::DATA_NOT_STORED } else { texts::UNKNOWN_DATA_TYPE });
    };
    match words.get(1).and_then(|word| word.parse().ok()) {
        Some(value) => Ok((what, value)),
        None => refuse(texts::STORED_INTEGER_REQUIRED),
    }
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableFilter {
    /// Every one.
    All,
    /// The one with this key.
    Key(String),
    /// Those that meet every condition.
    Data(Vec<Condition>),
}

/// `data.X op V`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    what: Box<str>,
    operator: Operator,
    value: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
}

impl Operator {
    fn parse(word: &str) -> Option<Operator> {
        Some(match word {
            "eq" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "le" => Operator::LessOrEqual,
            "ge" => Operator::GreaterOrEqual,
            "lt" => Operator::Less,
            "gt" => Operator::Greater,
            _ => return None,
        })
    }

    fn holds(self, a: i64, b: i64) -> bool {
        match self {
            Operator::Equal => a == b,
            Operator::NotEqual => a != b,
            Operator::LessOrEqual => a <= b,
            Operator::GreaterOrEqual => a >= b,
            Operator::Less => a < b,
            Operator::Greater => a > b,
        }
    }
}

impl TableFilter {
    /// What stands behind a table's name.
    pub fn parse(words: &[&str], clearing: bool) -> Result<TableFilter, String> {
        let usage = if clearing { texts::CLEAR_TABLE_USAGE } else { texts::SHOW_TABLE_USAGE };
        match words {
            [] => Ok(TableFilter::All),
            ["key"] => Err(texts::KEY_EXPECTED.to_owned()),
            ["key", key, ..] => Ok(TableFilter::Key((*key).to_owned())),
            [data, ..] if data.starts_with("data.") => conditions(words),
            _ => Err(usage.to_owned()),
        }
    }
}

fn conditions(words: &[&str]) -> Result<TableFilter, String> {
    let mut conditions = Vec::new();
    for (n, group) in words.chunks(3).take(CONDITIONS_MAX).enumerate() {
        let refuse = |text: &str| Err(format!("Filter entry #{}: {text}", n + 1));
        let Some(what) = group.first().and_then(|w| w.strip_prefix("data.")) else { break };
        if !DataType::is_known(what) {
            return refuse("Unknown data type");
        }
        let Some(operator) = group.get(1).and_then(|w| Operator::parse(w)) else {
            return refuse(r#"Require and operator among "eq", "ne", "le", "ge", "lt", "gt""#);
        };
        let Some(value) = group.get(2).and_then(|w| w.parse().ok()) else {
            return refuse("Require a valid integer value to compare against");
        };
        conditions.push(Condition { what: what.into(), operator, value });
    }
    Ok(TableFilter::Data(conditions))
}

impl TableView {
    /// Its first line.
    pub fn write_header(&self, out: &mut String) {
        let kind = if self.addresses { "ip" } else { "string" };
        writeln!(out, "# table: {}, type: {kind}, size:{}, used:{}", self.name, self.size, self.used)
            .expect("writing to a String cannot fail");
    }

    /// The position of a data type among the values of a row.
    fn position(&self, what: &str) -> Option<usize> {
        self.stored.iter().position(|stored| stored.what.word() == what)
    }
}

impl TableRow {
    fn data(&self, position: Option<usize>) -> i64 {
        let value = position.and_then(|at| self.values.get(at)).copied().unwrap_or(0);
        i64::try_from(value).unwrap_or(i64::MAX)
    }

    fn write(&self, table: &TableView, out: &mut String) -> std::fmt::Result {
        write!(out, "0x{:x}: key=", handle(&table.name, &self.key))?;
        write_key(&self.key, out);
        write!(out, " use={} exp={} shard=0", self.in_use, self.expires_in.as_millis())?;
        for (stored, value) in table.stored.iter().zip(&self.values) {
            match stored.period {
                Some(period) => write!(out, " {}({})={value}", stored.what.word(), period.as_millis())?,
                None => write!(out, " {}={value}", stored.what.word())?,
            }
        }
        out.push('\n');
        Ok(())
    }
}

/// The rows a filter means, or what is wrong with it.
pub fn select<'a>(filter: &TableFilter, table: &TableView, rows: &'a [TableRow]) -> Result<Vec<&'a TableRow>, String> {
    match filter {
        TableFilter::All => Ok(rows.iter().collect()),
        TableFilter::Key(key) => Ok(rows.iter().filter(|r| r.key == *key).collect()),
        TableFilter::Data(conditions) => {
            let mut positions = Vec::with_capacity(conditions.len());
            for (n, condition) in conditions.iter().enumerate() {
                let position = table.position(&condition.what);
                if position.is_none() {
                    return Err(format!("Filter entry #{}: Data type not stored in this table", n + 1));
                }
                positions.push(position);
            }
            let meets =
                |r: &&TableRow| conditions.iter().zip(&positions).all(|(c, at)| c.operator.holds(r.data(*at), c.value));
            Ok(rows.iter().filter(meets).collect())
        }
    }
}

/// The reply to `show table T …`: the table's first line and the rows; nothing at all for a key it does not hold.
pub fn render(filter: &TableFilter, table: &TableView, rows: &[TableRow]) -> Result<String, String> {
    let rows = select(filter, table, rows)?;
    if rows.is_empty() && matches!(filter, TableFilter::Key(_)) {
        return Ok(String::new());
    }
    let mut out = String::with_capacity(64 + rows.len() * 128);
    table.write_header(&mut out);
    for row in rows {
        row.write(table, &mut out).expect("writing to a String cannot fail");
    }
    Ok(out)
}

/// Stands where HAProxy shows an entry's address: the same for the same key.
fn handle(table: &str, key: &str) -> u64 {
    let seed = xxhash_rust::xxh3::xxh3_64(table.as_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), seed) & 0x7fff_ffff_fff0 | 0x1000_0000
}

/// A key without blanks, line ends and equals signs of its own, so that the line stays readable for programs.
fn write_key(key: &str, out: &mut String) {
    for c in key.chars() {
        match c {
            ' ' | '=' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\x{:02x}", u32::from(c)).expect("writing to a String cannot fail");
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table() -> TableView {
        let count = |what| Stored { what, period: None };
        let rate = Stored { what: DataType::HttpReqRate, period: Some(Duration::from_secs(10)) };
        TableView {
            name: "st_rate".into(),
            addresses: true,
            size: 10240,
            used: 2,
            stored: vec![count(DataType::Gpc0), count(DataType::ConnCur), count(DataType::HttpReqCnt), rate],
        }
    }

    fn row(key: &str, total: u64, limited: u64) -> TableRow {
        TableRow {
            key: key.into(),
            in_use: 0,
            expires_in: Duration::from_millis(59_797),
            rate_count: total,
            in_flight: 0,
            total,
            limited,
            values: vec![limited, 0, total, total],
        }
    }

    fn show(words: &str) -> Result<String, String> {
        let words: Vec<&str> = words.split_whitespace().collect();
        let rows = [row("127.0.0.1", 12, 0), row("10.0.0.7", 42, 5)];
        render(&TableFilter::parse(&words, false)?, &table(), &rows)
    }

    #[test]
    fn rows_are_written_and_filtered() {
        let header = "# table: st_rate, type: ip, size:10240, used:2\n";
        let all = show("").unwrap();
        assert!(all.starts_with(header), "{all}");
        let line = all.lines().nth(1).unwrap();
        let (pointer, rest) = line.split_once(": ").unwrap();
        assert!(pointer.starts_with("0x"), "{line}");
        assert_eq!(
            rest,
            "key=127.0.0.1 use=0 exp=59797 shard=0 gpc0=0 conn_cur=0 http_req_cnt=12 http_req_rate(10000)=12"
        );
        let keys = |words: &str| -> Vec<String> {
            let reply = show(words).unwrap();
            let rows = reply.lines().skip(1).map(|l| l.split("key=").nth(1).unwrap());
            rows.map(|r| r.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(keys("key 10.0.0.7"), ["10.0.0.7"]);
        assert_eq!(keys("data.http_req_cnt gt 12"), ["10.0.0.7"]);
        assert_eq!(keys("data.http_req_cnt ge 12 data.gpc0 eq 0"), ["127.0.0.1"]);
        assert_eq!(keys("data.gpc0 ne 0"), ["10.0.0.7"]);
        assert_eq!(show("data.http_req_rate gt 100000").unwrap(), header);
        assert_eq!(show("key 10.9.9.9").unwrap(), "");
    }

    #[test]
    fn mistakes_are_named() {
        let check = |words: &str, text: &str| assert_eq!(show(words), Err(text.to_owned()), "{words}");
        check("data.nope gt 1", "Filter entry #1: Unknown data type");
        check(
            "data.gpc0 xx 1",
            "Filter entry #1: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
        );
        check(
            "data.gpc0",
            "Filter entry #1: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
        );
        check("data.gpc0 eq 0 data.gpt0 gt 1", "Filter entry #2: Data type not stored in this table");
        check("data.gpc0 gt x", "Filter entry #1: Require a valid integer value to compare against");
        check("key", texts::KEY_EXPECTED);
        check("zzz", texts::SHOW_TABLE_USAGE);
        assert_eq!(TableFilter::parse(&["zzz"], true), Err(texts::CLEAR_TABLE_USAGE.to_owned()));
    }

    #[test]
    fn what_is_to_be_set() {
        let parse = |words: &str| TableValues::parse(&words.split_whitespace().collect::<Vec<_>>());
        let values = |words: &str| parse(words).and_then(|set| set.values);
        let expected = vec![(DataType::Gpc0, 5), (DataType::HttpReqCnt, 42)];
        assert_eq!(values("key 10.0.0.7 data.gpc0 5 data.http_req_cnt 42"), Ok(expected));
        assert_eq!(values("key 10.0.0.7"), Ok(Vec::new()));
        for (words, text) in [
            ("", texts::SET_TABLE_USAGE),
            ("zzz", texts::SET_TABLE_USAGE),
            ("key", texts::KEY_EXPECTED),
            ("data.gpc0 gt 5", texts::SET_TABLE_BY_KEY),
            ("key k gpc0 5", texts::DATA_EXPECTED),
            ("key k data.nope 5", texts::UNKNOWN_DATA_TYPE),
            ("key k data.server_id 5", texts::DATA_NOT_STORED),
            ("key k data.gpc0", texts::STORED_INTEGER_REQUIRED),
            ("key k data.gpc0 x", texts::STORED_INTEGER_REQUIRED),
            ("key k data.gpc0 -1", texts::STORED_INTEGER_REQUIRED),
        ] {
            assert_eq!(values(words), Err(text.to_owned()), "{words}");
        }
    }

    #[test]
    fn odd_keys_stay_on_their_line() {
        let mut out = String::new();
        write_key("a b=c\n\u{1}\\é", &mut out);
        assert_eq!(out, "a\\ b\\=c\\n\\x01\\\\é");
        assert_ne!(handle("a", "k"), handle("b", "k"));
    }
}
