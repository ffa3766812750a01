//! `show stat` read back: rows as maps from column name to value.

use std::collections::BTreeMap;

/// One row of the CSV.
#[derive(Debug, Clone, Default)]
pub struct StatRow(BTreeMap<String, String>);

impl StatRow {
    /// A column's text.
    #[track_caller]
    pub fn get(&self, column: &str) -> &str {
        self.0.get(column).unwrap_or_else(|| panic!("show stat has no column {column}"))
    }

    /// What the last check came to, without the star that says that the next one is under way.
    #[track_caller]
    pub fn check_status(&self) -> &str {
        self.get("check_status").trim_start_matches("* ")
    }

    /// A column's number; an empty one is 0.
    #[track_caller]
    pub fn number(&self, column: &str) -> i64 {
        let text = self.get(column);
        if text.is_empty() { 0 } else { text.parse().unwrap_or_else(|_| panic!("{column} is {text:?}")) }
    }
}

/// Every row of a `show stat` reply.
pub fn parse(csv: &str) -> Vec<StatRow> {
    let mut lines = csv.lines().filter(|line| !line.is_empty());
    let header = lines.next().expect("show stat begins with a header");
    let names = split(header.trim_start_matches("# "));
    lines
        .map(|line| {
            let values = split(line);
            assert_eq!(values.len(), names.len(), "every row has the header's number of fields: {line}");
            StatRow(names.iter().cloned().zip(values).collect())
        })
        .collect()
}

/// RFC 4180: quoted fields may hold commas and doubled quotes.
fn split(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}
