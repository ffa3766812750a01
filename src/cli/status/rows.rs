//! `show stat`, read by column names as any tool does.

use std::collections::HashMap;

/// The rows of a CSV.
pub struct Rows<'a> {
    columns: HashMap<&'a str, usize>,
    rows: Vec<Vec<String>>,
}

/// One row.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a HashMap<&'a str, usize>,
    fields: &'a [String],
}

impl<'a> Rows<'a> {
    /// Reads header and rows.
    ///
    /// # Errors
    /// The text is no such CSV.
    pub fn read(csv: &'a str) -> Result<Rows<'a>, String> {
        let mut lines = csv.lines();
        let header = lines.next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        if !header.starts_with("pxname,svname,") {
            let begin: String = csv.chars().take(60).collect();
            return Err(format!("is this a lockgate? It answered {begin:?} to `show stat`"));
        }
        let columns = header.split(',').enumerate().map(|(n, name)| (name, n)).collect();
        let rows = lines.filter(|line| !line.is_empty()).map(fields).collect();
        Ok(Rows { columns, rows })
    }

    /// In their order.
    pub fn iter(&'a self) -> impl Iterator<Item = Row<'a>> {
        self.rows.iter().map(|fields| Row { columns: &self.columns, fields })
    }
}

impl<'a> Row<'a> {
    /// A column's text; empty when there is none.
    pub fn text(&self, column: &str) -> &'a str {
        let found = self.columns.get(column).and_then(|at| self.fields.get(*at));
        found.map_or("", String::as_str)
    }

    /// A column's number, when it has one.
    pub fn maybe(&self, column: &str) -> Option<u64> {
        self.text(column).parse().ok()
    }

    /// A column's number; 0 when there is none.
    pub fn number(&self, column: &str) -> u64 {
        self.maybe(column).unwrap_or(0)
    }
}

/// RFC 4180: quoted fields may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_name() {
        let rows =
            Rows::read("# pxname,svname,scur,last_chk,\nweb,w1,3,\"a, \"\"b\"\"\",\nweb,BACKEND,,,\n\n").unwrap();
        let all: Vec<Row> = rows.iter().collect();
        assert_eq!((all[0].text("last_chk"), all[0].number("scur")), ("a, \"b\"", 3));
        assert_eq!((all[1].maybe("scur"), all[1].text("nope")), (None, ""));
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn other_texts_are_refused() {
        assert!(Rows::read("Permission denied\n").err().unwrap().contains("Permission denied"));
        assert!(Rows::read("").is_err());
    }
}
